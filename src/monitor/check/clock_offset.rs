//! Looks how far the machine's clock is off.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, UNIX_EPOCH};

use super::sntp::{Answer, Flaw, LEN, from_unix_nanos, question, read};
use crate::component::Context;
use crate::duration::GoDuration;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::monitor::{Checker, Report, Verdict};
use crate::probe::connect::{Failure, resolve};
use crate::probe::tcp::check_address;
use crate::probe::text::reason;
use crate::probe::wait::{Stop, Took, Wait};
use crate::sys::wait::Interest;

/// How often a question is asked that nobody answers: packets get lost.
const TRIES: u32 = 3;

/// Asks the time server at `server`, a `host:port`, how far this machine's
/// clock is off.
///
/// See [`ClockOffsetChecker`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::monitor::check;
/// use loopkeeper::Checker;
///
/// assert!(check::clock_offset("pool.ntp.org:123").max_offset(Duration::from_millis(500)).validate().is_ok());
/// let error = check::clock_offset("pool.ntp.org").validate().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"server: expected HOST:PORT such as "127.0.0.1:1883" or "[::1]:1883", found "pool.ntp.org""#,
/// );
/// ```
pub fn clock_offset(server: impl Into<String>) -> ClockOffsetChecker {
    ClockOffsetChecker { server: server.into(), max_offset: Duration::from_secs(1) }
}

/// Asks a server for the time by SNTP; made by [`clock_offset`](clock_offset()).
///
/// What is measured is the wall clock of this machine against that of the
/// server, half way between question and answer; it is known to half of the
/// time that both took, and only an offset that is larger than the bound
/// whatever the way took is told. The server is believed: name one of your
/// own network where an answer could be forged. No privileges are needed.
///
/// A question is asked up to three times within the deadline. The lookup of a
/// name cannot be told to end.
///
/// # Errors
///
/// `Probe` when the clock is off, or when the server refuses or does not know
/// the time; `Timeout`, `Cancelled`, `Io`, `Budget` when there is no answer.
#[derive(Debug, Clone)]
#[must_use = "a checker does nothing until it is called"]
pub struct ClockOffsetChecker {
    server: String,
    max_offset: Duration,
}

impl ClockOffsetChecker {
    /// How far the clock may be off. Defaults to 1 s.
    pub fn max_offset(self, max: Duration) -> Self {
        Self { max_offset: max, ..self }
    }

    fn ask(&self, cx: &Context, wait: &Wait, what: &str) -> Result<Answer> {
        let addresses = resolve(wait, &self.server).map_err(|failure| failure.into_error(what, wait))?;
        let refused = |text: &str| {
            Error::new(ErrorKind::Probe).context(format!("{what}: {text} after {}", wait.took()))
        };
        let Some(address) = addresses.first() else { return Err(refused("the name has no address")) };
        let broken = |error: std::io::Error| match error.kind() {
            // Of an earlier packet: nobody listens there.
            std::io::ErrorKind::ConnectionRefused => refused(&reason(&error)),
            _ => Failure::Local(error).into_error(what, wait),
        };
        let socket = socket(address).map_err(broken)?;
        for tries_left in (1..=TRIES).rev() {
            let nonce = RandomState::new().build_hasher().finish();
            let sent_at = wall(cx);
            let sent_after = wait.took().0;
            socket.send(&question(nonce)).map_err(broken)?;
            let until = wait.took().0 + wait.remaining() / tries_left;
            let mut packet = [0; LEN * 4];
            loop {
                let left = until.saturating_sub(wait.took().0);
                if left.is_zero() {
                    break;
                }
                match wait.ready(socket.as_fd(), Interest::Read, left) {
                    Ok(()) => {}
                    Err(Stop::TimedOut) => break,
                    Err(Stop::Cancelled) => return Err(Failure::Cancelled.into_error(what, wait)),
                    Err(Stop::Refused(error)) => return Err(broken(error)),
                }
                let len = match socket.recv(&mut packet) {
                    Ok(len) => len,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(broken(error)),
                };
                // By the steady clock: the wall clock may be set meanwhile.
                let took = wait.took().0.saturating_sub(sent_after);
                let (sent, received) = (from_unix_nanos(sent_at), from_unix_nanos(sent_at + took.as_nanos()));
                match read(&packet[..len], nonce, sent, received) {
                    Ok(answer) => return Ok(answer),
                    Err(Flaw::NotOurs) => {}
                    Err(Flaw::Refused(text)) => return Err(refused(&format!("the server {text},"))),
                }
            }
        }
        Err(Failure::TimedOut("no answer".to_owned()).into_error(what, wait))
    }
}

/// Nanoseconds since 1970.
fn wall(cx: &Context) -> u128 {
    cx.env().clock().wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

fn socket(address: &SocketAddr) -> std::io::Result<UdpSocket> {
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own)?;
    socket.set_nonblocking(true)?;
    // Only packets of that address are received.
    socket.connect(address)?;
    Ok(socket)
}

impl Checker for ClockOffsetChecker {
    fn check(&mut self, cx: &Context, _: &Report) -> Result<Verdict, BoxError> {
        self.validate()?;
        let what = format!("time of {}", self.server);
        let wait = Wait::begin(cx, &what)?;
        let answer = self.ask(cx, &wait, &what)?;
        let offset = Duration::from_nanos(answer.ahead.unsigned_abs());
        let unsure = Duration::from_nanos(answer.round_trip / 2);
        if offset.saturating_sub(unsure) <= self.max_offset {
            return Ok(Verdict::Ready);
        }
        let side = if answer.ahead > 0 { "behind" } else { "ahead of" };
        let text = format!(
            "the clock is {} {side} that of {} (known to {}), allowed is {}",
            Took(offset),
            self.server,
            Took(unsure),
            GoDuration(self.max_offset)
        );
        Err(Error::new(ErrorKind::Probe).context(text).into())
    }

    fn validate(&self) -> Result<()> {
        check_address(&self.server).map_err(|text| Error::invalid(format!("server: {text}")))?;
        if self.max_offset.is_zero() {
            return Err(Error::invalid("max_offset: must be more than zero"));
        }
        Ok(())
    }
}

/// Reads a packet in every way, for a fuzzer.
#[doc(hidden)]
pub fn fuzz_sntp(bytes: &[u8]) {
    let word = |at: usize| {
        bytes
            .get(at..at + 8)
            .map_or(0, |word| word.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    // As often its own nonce as another.
    for nonce in [word(24), 0] {
        match read(bytes, nonce, word(0), word(8)) {
            Ok(answer) => assert!((1..=15).contains(&answer.stratum) && bytes.len() >= LEN),
            Err(Flaw::Refused(text)) => assert!(!text.contains('\n'), "{text}"),
            Err(Flaw::NotOurs) => {}
        }
    }
}
