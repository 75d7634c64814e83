//! Statuses as JSON, byte for byte what serde makes of them, in less than half
//! the time: the names of fields are written as they are, without a look at
//! each for what must be escaped.

use std::time::Duration;

use super::LoopStatus;
use crate::name::Name;
use crate::stamp::{self, Stamp, Stamps};
use crate::text::{DIGITS, decimal};

/// Writes loops as a JSON list, to the end of `out`.
///
/// # Examples
///
/// ```
/// use loopkeeper::status::{self, StatusSource};
/// use loopkeeper::{Context, Env, WatchManager, WatcherConfig};
///
/// let env = Env::new()?;
/// let manager = WatchManager::new(&env);
/// manager.watch(WatcherConfig::new("db", |_: &Context| Ok(())))?;
///
/// let mut json = Vec::new();
/// status::write_json(&manager.statuses(), &mut json);
/// assert!(json.starts_with(br#"[{"name":"db","kind":"watcher","state":"#));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn write_json(loops: &[LoopStatus], out: &mut Vec<u8>) {
    // What a loop of the common kind needs.
    out.reserve(2 + 640 * loops.len());
    let mut page = Page { out, stamps: Stamps::default() };
    page.raw("[");
    for (i, status) in loops.iter().enumerate() {
        if i > 0 {
            page.raw(",");
        }
        page.status(status);
    }
    page.raw("]");
}

/// Where statuses are written.
struct Page<'a> {
    out: &'a mut Vec<u8>,
    /// Moments of loops of one program are close to each other.
    stamps: Stamps,
}

// What is here for each field is put into the one function that writes them:
// the length of a key is known there, and no key is copied by a call.
impl Page<'_> {
    fn status(&mut self, status: &LoopStatus) {
        // Taken apart, so that a field that is new is not forgotten.
        let LoopStatus {
            name,
            kind,
            health,
            ready,
            stale,
            critical,
            phase,
            since,
            last_check,
            age,
            last_success,
            last_error,
            consecutive_failures,
            attempt,
            next_run,
            latency,
            runs,
            failures,
            panics,
            timeouts,
            late,
            missed,
            transitions,
            running_for,
            overdue_for,
            call,
            thread,
            lost_callbacks,
            requires,
            waits_for,
            parent,
            alert,
            max_attempts,
            config,
            controller,
            monitor,
            recovery,
        } = status;
        // Names and words have nothing that must be escaped.
        self.word("{\"name\":\"", name.as_str());
        self.word("\",\"kind\":\"", kind.as_str());
        self.word("\",\"state\":\"", health.as_str());
        self.flag("\",\"ready\":", *ready);
        if *stale {
            self.raw(",\"stale\":true");
        }
        self.flag(",\"critical\":", *critical);
        self.word(",\"phase\":\"", phase.as_str());
        self.moment("\",\"since\":\"", Some(*since));
        self.moment(",\"last_check\":\"", *last_check);
        self.seconds(",\"age\":", *age);
        self.moment(",\"last_success\":\"", *last_success);
        self.text(",\"last_error\":", last_error.as_deref());
        self.number(",\"consecutive_failures\":", (*consecutive_failures).into());
        self.number(",\"attempt\":", (*attempt).into());
        self.moment(",\"next_run\":\"", *next_run);
        self.seconds(",\"latency\":", *latency);
        self.number(",\"runs\":", *runs);
        self.number(",\"failures\":", *failures);
        self.number(",\"panics\":", *panics);
        self.number(",\"timeouts\":", *timeouts);
        self.number(",\"late\":", *late);
        self.number(",\"missed\":", *missed);
        self.number(",\"transitions\":", *transitions);
        self.seconds(",\"running_for\":", *running_for);
        self.seconds(",\"overdue_for\":", *overdue_for);
        other(self.out, ",\"call\":", call.as_ref());
        if let Some(thread) = thread {
            self.text(",\"thread\":{\"name\":", Some(&thread.name));
            self.number(",\"tid\":", thread.tid.into());
            self.raw("}");
        }
        self.number(",\"lost_callbacks\":", *lost_callbacks);
        names(self.out, ",\"requires\":", requires);
        names(self.out, ",\"waits_for\":", waits_for);
        other(self.out, ",\"parent\":", parent.as_ref());
        other(self.out, ",\"alert\":", alert.as_ref());
        if let Some(n) = max_attempts {
            self.number(",\"max_attempts\":", (*n).into());
        }
        other(self.out, ",\"config\":", config.as_ref());
        other(self.out, ",\"controller\":", controller.as_ref());
        other(self.out, ",\"monitor\":", monitor.as_ref());
        other(self.out, ",\"recovery\":", recovery.as_ref());
        self.raw("}");
    }

    #[inline(always)]
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    fn word(&mut self, key: &str, value: &str) {
        self.raw(key);
        self.raw(value);
    }

    #[inline(always)]
    fn flag(&mut self, key: &str, value: bool) {
        self.raw(key);
        if value { self.raw("true") } else { self.raw("false") }
    }

    #[inline(always)]
    fn number(&mut self, key: &str, value: u64) {
        self.raw(key);
        match u8::try_from(value) {
            // Most are zero.
            Ok(digit @ 0..10) => self.out.push(b'0' + digit),
            _ => self.digits(value),
        }
    }

    #[inline(never)]
    fn digits(&mut self, value: u64) {
        self.out.extend_from_slice(decimal(value, &mut [0; DIGITS]));
    }

    #[inline(always)]
    fn moment(&mut self, key: &str, value: Option<Stamp>) {
        let Some(value) = value else { return };
        self.raw(key);
        let text: &[u8; stamp::LEN] = self.stamps.write(value);
        self.out.extend_from_slice(text);
        self.raw("\"");
    }

    #[inline(always)]
    fn seconds(&mut self, key: &str, value: Option<Duration>) {
        let Some(value) = value else { return };
        self.raw(key);
        self.real(value.as_secs_f64());
    }

    #[inline(never)]
    fn real(&mut self, value: f64) {
        other(self.out, "", Some(&value));
    }

    #[inline(always)]
    fn text(&mut self, key: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.raw(key);
        if is_plain(value) {
            self.raw("\"");
            self.raw(value);
            self.raw("\"");
        } else {
            other(self.out, "", Some(value));
        }
    }
}

/// Whether nothing of a text must be escaped. All of it is looked at, many
/// bytes at once: most texts are plain.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |is_plain, byte| is_plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

fn names(out: &mut Vec<u8>, key: &str, names: &[Name]) {
    for (i, name) in names.iter().enumerate() {
        out.extend_from_slice(if i == 0 { key.as_bytes() } else { b"," });
        out.extend_from_slice(if i == 0 { b"[\"" } else { b"\"" });
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b'"');
    }
    if !names.is_empty() {
        out.push(b']');
    }
}

/// What takes serde.
fn other(out: &mut Vec<u8>, key: &str, value: Option<&(impl serde::Serialize + ?Sized)>) {
    let Some(value) = value else { return };
    out.extend_from_slice(key.as_bytes());
    if serde_json::to_writer(&mut *out, value).is_err() {
        // Only a map with keys that are no texts, and none of ours has any.
        out.extend_from_slice(b"null");
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::event::{Health, LoopKind};
    use crate::status::alert::AlertStatus;
    use crate::status::{
        CallStatus, ConfigStatus, ControllerStatus, Phase, RecoveryStatus, RunResult, ThreadStatus,
    };
    use proptest::prelude::*;

    fn status(text: String, n: u64, some: [bool; 12]) -> LoopStatus {
        let stamp = Stamp::from_micros(n);
        let span = Duration::from_nanos(n);
        let small = (n % u64::from(u32::MAX)) as u32;
        let health = [Health::Ready, Health::Degraded, Health::Down, Health::Unknown][(n % 4) as usize];
        LoopStatus {
            kind: LoopKind::ConfigWatcher,
            ready: some[0],
            stale: some[1],
            critical: some[2],
            phase: Phase::Recovering,
            since: stamp,
            last_check: some[3].then_some(stamp),
            age: some[3].then_some(span),
            last_success: some[4].then_some(stamp),
            last_error: some[5].then(|| text.clone()),
            consecutive_failures: small,
            attempt: small / 2,
            next_run: some[6].then_some(stamp),
            latency: some[7].then_some(span),
            runs: n,
            failures: n / 3,
            panics: n / 1000,
            late: n % 10,
            missed: n % 100,
            transitions: n % 1000,
            running_for: some[8].then_some(span),
            overdue_for: some[9].then_some(span),
            call: some[10].then(|| CallStatus {
                phase: text.clone().into(),
                phase_for: span,
                deadline: some[8].then_some(stamp),
                stuck: some[9],
                activity: None,
            }),
            thread: some[10].then(|| ThreadStatus { name: text.clone(), tid: small }),
            lost_callbacks: n,
            requires: (0..n % 3).map(|i| format!("r{i}").parse().expect("a name")).collect(),
            waits_for: (0..n % 2).map(|_| "r0".parse().expect("a name")).collect(),
            parent: some[4].then(|| "router".parse().expect("a name")),
            alert: some[5].then(|| {
                Box::new(AlertStatus {
                    told: some[6],
                    pending: 1,
                    sent: n,
                    last_sent: some[7].then_some(stamp),
                    failures: n,
                    last_error: some[8].then(|| text.clone()),
                    retry_in: some[9].then_some(span),
                    lost: 0,
                    suppressed_by: None,
                })
            }),
            max_attempts: some[7].then_some(small),
            config: some[11].then(|| {
                Box::new(ConfigStatus {
                    source: Some(text.clone()),
                    generation: n,
                    hash: "h".into(),
                    loaded_at: stamp,
                    age: span,
                    hash_on_disk: None,
                    on_disk_since: None,
                    applied: true,
                    needs_restart: vec![text.clone()],
                })
            }),
            controller: some[1].then(|| {
                Box::new(ControllerStatus {
                    interval: span,
                    deadline: span,
                    paused: true,
                    dry_run: false,
                    last_result: Some(RunResult::Panic),
                    last_items: None,
                    last_summary: Some(text.into()),
                    items: n,
                    overruns: n,
                })
            }),
            recovery: some[2].then(|| {
                Box::new(RecoveryStatus {
                    watched: 1,
                    failing: 0,
                    queued: 0,
                    in_progress: 0,
                    waiting: 0,
                    stuck: 0,
                    incidents: Vec::new(),
                })
            }),
            ..LoopStatus::sample("a.b-c_9", health)
        }
    }

    proptest! {
        #[test]
        fn it_is_what_serde_makes_of_it(
            text in "[ -~]{0,40}|([a-z]|[\\x00-\\x1f\"\\\\\\x7f]|.){0,20}",
            n in any::<u64>(),
            digits in 0..20u32,
            some in any::<[bool; 12]>(),
            len in 0..3usize,
        ) {
            let n = n % 10u64.pow(digits);
            let loops = vec![status(text, n, some); len];
            let mut ours = b"x".to_vec();
            write_json(&loops, &mut ours);
            let serde = serde_json::to_string(&loops).expect("plain values");
            prop_assert_eq!(std::str::from_utf8(&ours).unwrap(), format!("x{serde}"));
        }
    }
}
