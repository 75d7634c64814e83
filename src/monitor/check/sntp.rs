//! The packets that ask a server for the time (SNTP, RFC 4330), without
//! sockets.

/// Seconds from 1900, where these stamps begin, to 1970.
const TO_UNIX: u64 = 2_208_988_800;
pub(super) const LEN: usize = 48;

/// A moment as packets have it: seconds since 1900 and their fractions, 32
/// bits each. Goes round in 2036, so only differences mean something.
pub(super) type NtpTime = u64;

/// A moment after 1970 as packets have it.
pub(super) fn from_unix_nanos(nanos: u128) -> NtpTime {
    let secs = (nanos / 1_000_000_000) as u64;
    let fraction = ((nanos % 1_000_000_000) << 32) / 1_000_000_000;
    (secs.wrapping_add(TO_UNIX) << 32) | fraction as u64
}

/// The question. Servers answer with `nonce`, so that nobody who cannot read
/// it can answer for them; it need not be a time.
pub(super) fn question(nonce: u64) -> [u8; LEN] {
    let mut packet = [0; LEN];
    // No leap second known, version 4, a client.
    packet[0] = 0b00_100_011;
    packet[40..].copy_from_slice(&nonce.to_be_bytes());
    packet
}

/// What a server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// How far the server's clock is ahead of ours, in nanoseconds.
    pub(super) ahead: i64,
    /// How long packets were on their way, both ways together, in nanoseconds.
    /// The offset is known to half of that.
    pub(super) round_trip: u64,
    /// How many servers are between it and a clock of its own.
    pub(super) stratum: u8,
}

/// Why a packet is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It answers another question, or none: wait on.
    NotOurs,
    /// The server says that it cannot or will not answer.
    Refused(String),
}

/// Reads an answer to the question with `nonce`, which was sent at `sent` and
/// came back at `received`, both by our clock.
pub(super) fn read(packet: &[u8], nonce: u64, sent: NtpTime, received: NtpTime) -> Result<Answer, Flaw> {
    let word =
        |at: usize| -> Option<u64> { Some(u64::from_be_bytes(packet.get(at..at + 8)?.try_into().ok()?)) };
    let (Some(origin), Some(came), Some(left)) = (word(24), word(32), word(40)) else {
        return Err(Flaw::NotOurs);
    };
    let mode = packet[0] & 0b111;
    if origin != nonce || mode != 4 {
        return Err(Flaw::NotOurs);
    }
    let (leap, version, stratum) = (packet[0] >> 6, (packet[0] >> 3) & 0b111, packet[1]);
    if !(1..=4).contains(&version) {
        return Err(Flaw::Refused(format!("answers in version {version} of the protocol, expected 1 to 4")));
    }
    if stratum == 0 {
        let code: String = packet[12..16].iter().map(|byte| char::from(*byte)).collect();
        let code = code.trim_end_matches('\0').escape_debug().to_string();
        return Err(Flaw::Refused(format!("refuses to answer (code {code:?})")));
    }
    if leap == 3 || stratum > 15 {
        return Err(Flaw::Refused("says that its own clock is not set".to_owned()));
    }
    if left == 0 {
        return Err(Flaw::Refused("answers without a time".to_owned()));
    }
    // Differences of stamps are right also across the turn of 2036.
    let diff = |later: NtpTime, earlier: NtpTime| i128::from(later.wrapping_sub(earlier) as i64);
    let ahead = (diff(came, sent) + diff(left, received)) / 2;
    let round_trip = diff(received, sent) - diff(left, came);
    Ok(Answer {
        ahead: i64::try_from(to_nanos(ahead)).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX }),
        round_trip: u64::try_from(to_nanos(round_trip)).unwrap_or_default(),
        stratum,
    })
}

fn to_nanos(fractions: i128) -> i128 {
    (fractions * 1_000_000_000) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1 << 32;

    fn answer(nonce: u64, came: NtpTime, left: NtpTime) -> [u8; LEN] {
        let mut packet = [0; LEN];
        packet[0] = 0b00_100_100;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&nonce.to_be_bytes());
        packet[32..40].copy_from_slice(&came.to_be_bytes());
        packet[40..].copy_from_slice(&left.to_be_bytes());
        packet
    }

    #[test]
    fn an_offset_is_told_with_its_round_trip() {
        for (sent, came, left, received, ahead, round_trip) in [
            // One second of way each, a server that is 10 seconds ahead.
            (100, 111, 111, 102, 10, 2),
            (100, 91, 92, 103, -10, 2),
            (100, 101, 101, 102, 0, 2),
            (100, 100, 100, 100, 0, 0),
            // Across the turn of 2036.
            (u64::from(u32::MAX), 0, 0, 1, 0, 2),
        ] {
            let [sent, came, left, received] =
                [sent, came, left, received].map(|secs: u64| secs.wrapping_mul(SEC));
            // A stamp of zero is none.
            let [came, left] = [came, left].map(|stamp| stamp.max(1));
            let read = read(&answer(7, came, left), 7, sent, received).unwrap();
            let near = |a: i128, b: i128| (a - b * 1_000_000_000).abs() <= 1;
            assert!(near(read.ahead.into(), ahead) && near(read.round_trip.into(), round_trip), "{read:?}");
        }
        let now = from_unix_nanos(1_500_000_000);
        assert_eq!((now >> 32, now as u32), (TO_UNIX + 1, 1 << 31));
    }

    #[test]
    fn what_is_no_answer_is_left_or_told() {
        let good = answer(7, SEC, SEC);
        let changed = |at: usize, byte: u8| {
            let mut packet = good;
            packet[at] = byte;
            read(&packet, 7, SEC, SEC)
        };
        assert!(read(&good, 7, SEC, SEC).is_ok());
        assert_eq!(read(&good, 8, SEC, SEC), Err(Flaw::NotOurs));
        assert_eq!(read(&good[..47], 7, SEC, SEC), Err(Flaw::NotOurs));
        assert_eq!(read(&[], 7, SEC, SEC), Err(Flaw::NotOurs));
        // A question, or a broadcast.
        assert_eq!(changed(0, 0b00_100_011), Err(Flaw::NotOurs));
        assert_eq!(changed(0, 0b00_100_101), Err(Flaw::NotOurs));
        let refused = |text: &str| Err(Flaw::Refused(text.to_owned()));
        assert_eq!(
            changed(0, 0b00_111_100),
            refused("answers in version 7 of the protocol, expected 1 to 4")
        );
        assert_eq!(changed(0, 0b11_100_100), refused("says that its own clock is not set"));
        assert_eq!(changed(1, 16), refused("says that its own clock is not set"));
        assert_eq!(read(&answer(7, SEC, 0), 7, SEC, SEC), refused("answers without a time"));
        let mut kiss = good;
        kiss[1] = 0;
        kiss[12..16].copy_from_slice(b"RATE");
        assert_eq!(read(&kiss, 7, SEC, SEC), refused("refuses to answer (code \"RATE\")"));
    }
}
