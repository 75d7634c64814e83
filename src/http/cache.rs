//! The status as JSON, rendered once for all who ask at about the same time,
//! and known by a tag as long as nothing changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::response::Response;
use super::snapshot::Snapshot;
use crate::clock::{Tick, real_deadline};
use crate::env::Env;
use crate::primitive::Mutex;

/// For how long a rendering is answered without a look at the loops, unless
/// there was an event.
const FRESH: Duration = Duration::from_millis(50);
/// For how long a rendering stands in for others that differ in nothing but
/// in how long ago things were.
const KEPT: Duration = Duration::from_secs(10);

/// What a look at the loops depends on; taken before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    real: Instant,
    tick: Tick,
    newest: u64,
}

impl Moment {
    pub(super) fn now(env: &Env) -> Self {
        let (real, tick) = (real_deadline(Duration::ZERO), env.clock().now());
        Self { real, tick, newest: env.events().newest() }
    }

    fn is_close_to(&self, earlier: &Self) -> bool {
        self.newest == earlier.newest
            && self.real.saturating_duration_since(earlier.real) < FRESH
            && self.tick.since(earlier.tick) < FRESH
    }
}

#[derive(Debug, Clone)]
struct Rendering {
    body: Arc<[u8]>,
    /// Where the part begins that says how the loops are.
    changing: usize,
    tag: Arc<str>,
    /// When it was made.
    made: Tick,
    /// When the loops were last seen to be as it says.
    seen: Moment,
}

impl Rendering {
    fn answer(&self, now: Tick) -> Response {
        let age = now.since(self.made).as_secs();
        Response::shared_json(self.body.clone(), self.tag.clone()).header("Age", age.to_string())
    }
}

/// The last rendering.
#[derive(Debug)]
pub(super) struct StatusCache {
    /// Begins each tag, so that no other server ever had it.
    word: String,
    last: Mutex<(u64, Option<Rendering>)>,
}

impl StatusCache {
    pub(super) fn new() -> Self {
        Self { word: Env::word(), last: Mutex::default() }
    }

    /// What was rendered just now, if anything was.
    pub(super) fn fresh(&self, env: &Env) -> Option<Response> {
        let last = self.last.lock();
        let rendering = last.1.as_ref()?;
        let now = Moment::now(env);
        now.is_close_to(&rendering.seen).then(|| rendering.answer(now.tick))
    }

    /// Renders what was seen after `moment`, or answers the last rendering
    /// where that says the same.
    pub(super) fn render(&self, moment: Moment, snapshot: &Snapshot<'_>) -> Response {
        let (body, changing) = super::routes::status_json(snapshot);
        let last = self.last.lock().1.clone();
        let same = last.filter(|last| {
            moment.tick.since(last.made) < KEPT && is_same(&last.body[last.changing..], &body[changing..])
        });
        let mut last = self.last.lock();
        let rendering = match same {
            Some(same) => Rendering { seen: moment, ..same },
            None => {
                last.0 += 1;
                let tag = format!("\"{}-{}\"", self.word, last.0).into();
                Rendering { body: body.into(), changing, tag, made: moment.tick, seen: moment }
            }
        };
        let answer = rendering.answer(moment.tick);
        // Another worker may have looked later and be done earlier.
        if last.1.as_ref().is_none_or(|last| last.seen.tick <= moment.tick) {
            last.1 = Some(rendering);
        }
        answer
    }
}

/// Whether two bodies of JSON say the same, apart from ages. What looks like
/// one within a text has its quotes escaped.
fn is_same(mut a: &[u8], mut b: &[u8]) -> bool {
    const AGE: &[u8] = b"\"age\":";
    loop {
        let (Some(at), Some(other)) = (find(a, AGE), find(b, AGE)) else { return a == b };
        if a[..at] != b[..other] {
            return false;
        }
        (a, b) = (after_number(&a[at + AGE.len()..]), after_number(&b[other + AGE.len()..]));
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    // By its first byte alone: the comparison is for the few that have it.
    while let Some(at) = text[from..].iter().position(|&byte| byte == what[0]) {
        if text[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn after_number(text: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E');
    let end = text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len());
    &text[end..]
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::event::{Event, EventKind, LoopKind};

    #[test]
    fn only_ages_may_differ() {
        for (a, b, same) in [
            ("", "", true),
            (r#"{"a":1}"#, r#"{"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"a":2}"#, false),
            (r#"{"age":1,"b":2}"#, r#"{"age":12.5e-3,"b":2}"#, true),
            (r#"{"age":1,"b":2}"#, r#"{"age":1,"b":3}"#, false),
            (r#"{"a":1,"age":1}"#, r#"{"a":2,"age":1}"#, false),
            (r#"[{"age":1},{"age":2}]"#, r#"[{"age":3},{"age":4}]"#, true),
            (r#"[{"age":1},{"age":2}]"#, r#"[{"age":3}]"#, false),
            (r#"{"e":"\"age\":1"}"#, r#"{"e":"\"age\":2"}"#, false),
            (r#"{"age":"1"}"#, r#"{"age":"2"}"#, false),
            (r#"{"running_for":1}"#, r#"{"running_for":2}"#, false),
        ] {
            assert_eq!(is_same(a.as_bytes(), b.as_bytes()), same, "{a} {b}");
        }
    }

    #[test]
    fn a_rendering_is_kept_while_nothing_changes() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let cache = StatusCache::new();
        assert!(cache.fresh(&env).is_none());
        let render = |cache: &StatusCache| {
            let moment = Moment::now(&env);
            let snapshot = Snapshot { boot: "b", at: env.stamp(), loops: Vec::new() };
            let response = cache.render(moment, &snapshot);
            let body = String::from_utf8(response.body().to_vec()).unwrap();
            let head = response.written();
            let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap().to_owned();
            (body, tag)
        };
        let (first, tag) = render(&cache);
        assert!(cache.fresh(&env).is_some());
        clock.jump(FRESH);
        assert!(cache.fresh(&env).is_none());
        assert_eq!(render(&cache), (first.clone(), tag.clone()));
        assert!(cache.fresh(&env).is_some(), "it was looked at again");
        env.events().append(Event {
            seq: 0,
            n: 1,
            at: env.stamp(),
            source: "s".parse().expect("a name"),
            kind: LoopKind::Watcher,
            what: EventKind::Started,
        });
        assert!(cache.fresh(&env).is_none(), "something happened");
        assert_eq!(render(&cache), (first.clone(), tag.clone()));
        clock.jump(KEPT - FRESH);
        let (second, other) = render(&cache);
        assert!(second != first && other != tag, "{second}");
        assert_ne!(render(&StatusCache::new()).1, tag);
    }
}
