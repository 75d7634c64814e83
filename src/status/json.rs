//! Statuses as JSON, byte for byte what serde makes of them, in less than half
//! the time: the names of fields are written as they are, without a look at
//! each for what must be escaped.

use std::time::Duration;

use super::LoopStatus;
use crate::name::Name;
use crate::stamp::{self, Stamp};
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
    out.push(b'[');
    for (i, status) in loops.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(status, out);
    }
    out.push(b']');
}

fn write(status: &LoopStatus, out: &mut Vec<u8>) {
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
    word(out, "{\"name\":\"", name.as_str());
    word(out, "\",\"kind\":\"", kind.as_str());
    word(out, "\",\"state\":\"", health.as_str());
    flag(out, "\",\"ready\":", *ready);
    if *stale {
        flag(out, ",\"stale\":", true);
    }
    flag(out, ",\"critical\":", *critical);
    word(out, ",\"phase\":\"", phase.as_str());
    moment(out, "\",\"since\":\"", Some(*since));
    moment(out, ",\"last_check\":\"", *last_check);
    seconds(out, ",\"age\":", *age);
    moment(out, ",\"last_success\":\"", *last_success);
    other(out, ",\"last_error\":", last_error.as_ref());
    number(out, ",\"consecutive_failures\":", (*consecutive_failures).into());
    number(out, ",\"attempt\":", (*attempt).into());
    moment(out, ",\"next_run\":\"", *next_run);
    seconds(out, ",\"latency\":", *latency);
    number(out, ",\"runs\":", *runs);
    number(out, ",\"failures\":", *failures);
    number(out, ",\"panics\":", *panics);
    number(out, ",\"timeouts\":", *timeouts);
    number(out, ",\"late\":", *late);
    number(out, ",\"missed\":", *missed);
    number(out, ",\"transitions\":", *transitions);
    seconds(out, ",\"running_for\":", *running_for);
    seconds(out, ",\"overdue_for\":", *overdue_for);
    other(out, ",\"call\":", call.as_ref());
    if let Some(thread) = thread {
        other(out, ",\"thread\":{\"name\":", Some(&thread.name));
        number(out, ",\"tid\":", thread.tid.into());
        out.push(b'}');
    }
    number(out, ",\"lost_callbacks\":", *lost_callbacks);
    names(out, ",\"requires\":", requires);
    names(out, ",\"waits_for\":", waits_for);
    other(out, ",\"parent\":", parent.as_ref());
    other(out, ",\"alert\":", alert.as_ref());
    if let Some(n) = max_attempts {
        number(out, ",\"max_attempts\":", (*n).into());
    }
    other(out, ",\"config\":", config.as_ref());
    other(out, ",\"controller\":", controller.as_ref());
    other(out, ",\"monitor\":", monitor.as_ref());
    other(out, ",\"recovery\":", recovery.as_ref());
    out.push(b'}');
}

fn word(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn flag(out: &mut Vec<u8>, key: &str, value: bool) {
    word(out, key, if value { "true" } else { "false" });
}

fn moment(out: &mut Vec<u8>, key: &str, value: Option<Stamp>) {
    let Some(value) = value else { return };
    word(out, key, value.write_to(&mut [0; stamp::LEN]));
    out.push(b'"');
}

fn seconds(out: &mut Vec<u8>, key: &str, value: Option<Duration>) {
    other(out, key, value.map(|value| value.as_secs_f64()).as_ref());
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(decimal(value, &mut [0; DIGITS]));
}

fn names(out: &mut Vec<u8>, key: &str, names: &[Name]) {
    for (i, name) in names.iter().enumerate() {
        out.extend_from_slice(if i == 0 { key.as_bytes() } else { b"," });
        word(out, if i == 0 { "[\"" } else { "\"" }, name.as_str());
        out.push(b'"');
    }
    if !names.is_empty() {
        out.push(b']');
    }
}

/// What takes serde.
fn other(out: &mut Vec<u8>, key: &str, value: Option<&impl serde::Serialize>) {
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
            text in ".{0,12}",
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
