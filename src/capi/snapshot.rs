//! Snapshots: a configuration at one moment.

use std::sync::Arc;
use std::time::Duration;

use super::boundary::{Buffer, Failure, Out, Text, guard, guard_or};
use super::handle::{Own, Ref, object};
use super::status::{LK_ERR_CONFIG, LK_ERR_NOT_FOUND, lk_status};
use crate::config::Snapshot;

/// One configuration, which does not change any more. Keys are dotted paths;
/// one that holds a dot is in double quotes.
#[derive(Debug)]
pub struct lk_snapshot {
    _private: [u8; 0],
}

object!(lk_snapshot => Arc<Snapshot>);

/// Whether there is a value other than null at a path.
///
/// snapshot: not consumed. key: its path.
/// Returns: 1 when there is; else 0, also when an argument cannot be used.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_is_set(snapshot: Ref<lk_snapshot>, key: Text) -> i32 {
    guard_or(0, move || Ok(i32::from(snapshot.get("snapshot")?.is_set(key.read("key")?))))
}

/// A whole number, or a fallback.
///
/// snapshot: not consumed. key: its path, such as "http.port".
/// Returns: the value; `fallback` when it is missing, of another type or out
/// of range, and when an argument cannot be used. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_int(snapshot: Ref<lk_snapshot>, key: Text, fallback: i64) -> i64 {
    guard_or(fallback, move || {
        let (snapshot, key) = (snapshot.get("snapshot")?, key.read("key")?);
        Ok(snapshot.int(key, fallback))
    })
}

/// A number, or a fallback.
///
/// snapshot: not consumed. key: its path, such as "http.port".
/// Returns: the value; `fallback` when it is missing, of another type or out
/// of range, and when an argument cannot be used. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_float(snapshot: Ref<lk_snapshot>, key: Text, fallback: f64) -> f64 {
    guard_or(fallback, move || {
        let (snapshot, key) = (snapshot.get("snapshot")?, key.read("key")?);
        Ok(snapshot.float(key, fallback))
    })
}

/// A truth value, as 1 or 0, or a fallback.
///
/// snapshot: not consumed. key: its path, such as "http.port".
/// Returns: the value; `fallback` when it is missing, of another type or out
/// of range, and when an argument cannot be used. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_bool(snapshot: Ref<lk_snapshot>, key: Text, fallback: i32) -> i32 {
    guard_or(fallback, move || {
        let (snapshot, key) = (snapshot.get("snapshot")?, key.read("key")?);
        Ok(snapshot.optional::<bool>(key)?.map_or(fallback, i32::from))
    })
}

/// A duration, as Go text or a number of seconds, or a fallback.
///
/// snapshot: not consumed. key: its path, such as "http.port".
/// Returns: the value; `fallback` when it is missing, of another type or out
/// of range, and when an argument cannot be used. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_duration_ms(snapshot: Ref<lk_snapshot>, key: Text, fallback: u64) -> u64 {
    guard_or(fallback, move || {
        let (snapshot, key) = (snapshot.get("snapshot")?, key.read("key")?);
        Ok(snapshot.optional(key)?.map_or(fallback, in_millis))
    })
}

/// A text, which must be there.
///
/// snapshot: not consumed. key: its path. buf, len: where the text goes, with
/// its NUL. needed: how many bytes it needs, written also with LK_ERR_BUFFER;
/// may be NULL.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
/// place, when it is of another type or holds a NUL; LK_ERR_BUFFER;
/// LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_require_string(
    snapshot: Ref<lk_snapshot>,
    key: Text,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (snapshot, key) = (snapshot.get("snapshot")?, key.read("key")?);
        let place = buf.check(len, &needed)?;
        let text: String = snapshot.require(key)?;
        if text.contains('\0') {
            let place = snapshot.explain(key).map(|found| format!("{}: ", found.place)).unwrap_or_default();
            let text = format!("{place}{key}: holds a NUL character, with which a text ends in C");
            return Err(Failure::new(LK_ERR_CONFIG, text));
        }
        place.set(&text)
    })
}

/// A whole number, which must be there.
///
/// snapshot: not consumed. key: its path, such as "http.port". out: the value.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
/// place, when it is of another type or out of range; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_require_int(snapshot: Ref<lk_snapshot>, key: Text, out: Out<i64>) -> lk_status {
    guard(move || {
        let (snapshot, key, place) = (snapshot.get("snapshot")?, key.read("key")?, out.check("out")?);
        let value: i64 = snapshot.require(key)?;
        place.set(value);
        Ok(())
    })
}

/// A number, which must be there.
///
/// snapshot: not consumed. key: its path, such as "http.port". out: the value.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
/// place, when it is of another type or out of range; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_require_float(
    snapshot: Ref<lk_snapshot>,
    key: Text,
    out: Out<f64>,
) -> lk_status {
    guard(move || {
        let (snapshot, key, place) = (snapshot.get("snapshot")?, key.read("key")?, out.check("out")?);
        let value: f64 = snapshot.require(key)?;
        place.set(value);
        Ok(())
    })
}

/// A truth value, as 1 or 0, which must be there.
///
/// snapshot: not consumed. key: its path, such as "http.port". out: the value.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
/// place, when it is of another type or out of range; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_require_bool(
    snapshot: Ref<lk_snapshot>,
    key: Text,
    out: Out<i32>,
) -> lk_status {
    guard(move || {
        let (snapshot, key, place) = (snapshot.get("snapshot")?, key.read("key")?, out.check("out")?);
        let value: bool = snapshot.require(key)?;
        place.set(i32::from(value));
        Ok(())
    })
}

/// A duration in milliseconds, which must be there.
///
/// snapshot: not consumed. key: its path, such as "http.port". out: the value.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
/// place, when it is of another type or out of range; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_require_duration_ms(
    snapshot: Ref<lk_snapshot>,
    key: Text,
    out: Out<u64>,
) -> lk_status {
    guard(move || {
        let (snapshot, key, place) = (snapshot.get("snapshot")?, key.read("key")?, out.check("out")?);
        let value: Duration = snapshot.require(key)?;
        place.set(in_millis(value));
        Ok(())
    })
}

/// Where a value comes from, as JSON: {"key", "value", "layer", "file", ..}.
/// Secrets are `<secret>`.
///
/// snapshot: not consumed. key: its path. buf, len, needed: as for
/// lk_snapshot_require_string.
/// Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_UTF8;
/// LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_explain_json(
    snapshot: Ref<lk_snapshot>,
    key: Text,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (snapshot, key) = (snapshot.get("snapshot")?, key.read("key")?);
        let place = buf.check(len, &needed)?;
        match snapshot.explain(key) {
            Some(explanation) => place.set_json(&explanation),
            None => Err(Failure::new(LK_ERR_NOT_FOUND, format!("{key:?}: is not in the configuration"))),
        }
    })
}

/// Where every value comes from, as a JSON list.
///
/// snapshot: not consumed. buf, len, needed: as for
/// lk_snapshot_require_string.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_explain_all_json(
    snapshot: Ref<lk_snapshot>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (snapshot, place) = (snapshot.get("snapshot")?, buf.check(len, &needed)?);
        place.set_json(&snapshot.explain_all())
    })
}

/// All values as JSON. Secrets are `<secret>`.
///
/// snapshot: not consumed. buf, len, needed: as for
/// lk_snapshot_require_string.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_json(
    snapshot: Ref<lk_snapshot>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (snapshot, place) = (snapshot.get("snapshot")?, buf.check(len, &needed)?);
        place.set_json(&snapshot.redacted())
    })
}

/// How many configurations were in force before this one, and one.
///
/// snapshot: not consumed.
/// Returns: the number; 0 when `snapshot` is no such handle. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_generation(snapshot: Ref<lk_snapshot>) -> u64 {
    guard_or(0, move || Ok(snapshot.get("snapshot")?.generation()))
}

/// Lets go of the snapshot.
///
/// snapshot: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_snapshot_free(snapshot: Own<lk_snapshot>) -> lk_status {
    guard(move || snapshot.release("snapshot"))
}

fn in_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
