//! Observers: where spans, metrics and events go, and the log.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use super::boundary::{Answer, Failure, In, Out, Versioned, guard, init};
use super::call::enter;
use super::event::lk_event;
use super::status::{LK_ERR_RANGE, lk_status};
use super::text::c_text;
use super::userdata::{Userdata, lk_drop_fn};
use crate::observe::{Attr, Counter, Gauge, Histogram, Observer, SpanSink};

/// A key and a value, as texts.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_attr {
    /// The key.
    pub key: *const c_char,
    /// The value.
    pub value: *const c_char,
}

/// Makes an instrument, or begins a span, for a name and its labels; called
/// once per instrument when a loop starts, once per span. userdata: that of
/// the table. Names and labels are valid until it returns. Returns what the
/// calls about it are handed; may be NULL.
pub type lk_resolve_fn = Option<
    extern "C" fn(
        userdata: *mut c_void,
        name: *const c_char,
        labels: *const lk_attr,
        n_labels: usize,
    ) -> *mut c_void,
>;
/// Adds to a counter. Where it happened, from several threads at once; must
/// not block.
pub type lk_counter_add_fn = Option<extern "C" fn(userdata: *mut c_void, counter: *mut c_void, n: u64)>;
/// Sets a gauge, or adds a measurement to a histogram. Where it happened, from
/// several threads at once; must not block.
pub type lk_value_fn = Option<extern "C" fn(userdata: *mut c_void, instrument: *mut c_void, value: f64)>;
/// Adds an attribute to a span.
pub type lk_span_attr_fn =
    Option<extern "C" fn(userdata: *mut c_void, span: *mut c_void, attr: *const lk_attr)>;
/// Says that what a span stands for failed, and why.
pub type lk_span_error_fn =
    Option<extern "C" fn(userdata: *mut c_void, span: *mut c_void, text: *const c_char)>;
/// Ends a span; called once for each, as the last call about it.
pub type lk_span_end_fn = Option<extern "C" fn(userdata: *mut c_void, span: *mut c_void)>;
/// Hears of an event. text: it as a line for people. Both are valid until it
/// returns. Runs on the dispatcher's thread, in order per source.
pub type lk_on_event_fn =
    Option<extern "C" fn(userdata: *mut c_void, event: *const lk_event, text: *const c_char)>;

/// Where spans, metrics and events go; every function may be NULL. The names
/// and labels are those that the exporter of metrics has, without its prefix.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_observer {
    /// sizeof(lk_observer); lk_observer_init sets it.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// Passed to each function.
    pub userdata: *mut c_void,
    /// Called once, after the last call of any other; may be NULL.
    pub drop: lk_drop_fn,
    /// Hears of every event.
    pub on_event: lk_on_event_fn,
    /// Makes a counter; without `counter_add` none is made.
    pub counter: lk_resolve_fn,
    /// Adds to one.
    pub counter_add: lk_counter_add_fn,
    /// Makes a gauge; without `gauge_set` none is made.
    pub gauge: lk_resolve_fn,
    /// Sets one.
    pub gauge_set: lk_value_fn,
    /// Makes a histogram; without `histogram_observe` none is made.
    pub histogram: lk_resolve_fn,
    /// Adds a measurement to one, in seconds where it is a time.
    pub histogram_observe: lk_value_fn,
    /// Begins a span; without `span_end` none is begun.
    pub span: lk_resolve_fn,
    /// Adds an attribute to one; may be NULL.
    pub span_attr: lk_span_attr_fn,
    /// Says that one failed; may be NULL.
    pub span_error: lk_span_error_fn,
    /// Ends one.
    pub span_end: lk_span_end_fn,
}

// SAFETY: numbers, a pointer that is only passed back, and functions that may
// be absent.
unsafe impl Versioned for lk_observer {
    const NAME: &'static str = "lk_observer";
    const MIN: usize = std::mem::offset_of!(Self, counter);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            reserved: 0,
            userdata: std::ptr::null_mut(),
            drop: None,
            on_event: None,
            counter: None,
            counter_add: None,
            gauge: None,
            gauge_set: None,
            histogram: None,
            histogram_observe: None,
            span: None,
            span_attr: None,
            span_error: None,
            span_end: None,
        }
    }
}

/// Fills in an observer that hears nothing.
///
/// out: where. size: sizeof(lk_observer).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: set `observer` of an lk_env_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_observer_init(out: Out<lk_observer>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// How bad it is what a line of the log tells.
pub type lk_log_level = i32;

/// Something failed.
pub const LK_LOG_ERROR: lk_log_level = 1;
/// Something is down, gave up, timed out or was refused.
pub const LK_LOG_WARN: lk_log_level = 2;
/// Every other event.
pub const LK_LOG_INFO: lk_log_level = 3;
/// Spans and metrics.
pub const LK_LOG_DEBUG: lk_log_level = 4;
/// Nothing yet.
pub const LK_LOG_TRACE: lk_log_level = 5;

/// Writes a line. userdata: that of the table. level: LK_LOG_... target: such
/// as "loopkeeper::watcher::mqtt". Texts are valid until it returns. Events
/// come on the dispatcher's thread, spans and metrics from several at once.
pub type lk_log_fn = Option<
    extern "C" fn(userdata: *mut c_void, level: lk_log_level, target: *const c_char, text: *const c_char),
>;

/// Where lines of the log go.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_log {
    /// sizeof(lk_log); lk_log_init sets it.
    pub size: u32,
    /// The last level that is written: LK_LOG_... Defaults to LK_LOG_INFO.
    pub max_level: lk_log_level,
    /// Writes a line.
    pub write: lk_log_fn,
    /// Called once, after the last call of `write`; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
}

// SAFETY: numbers, a pointer that is only passed back, and functions that may
// be absent.
unsafe impl Versioned for lk_log {
    const NAME: &'static str = "lk_log";
    const MIN: usize = size_of::<Self>();

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            max_level: LK_LOG_INFO,
            write: None,
            drop: None,
            userdata: std::ptr::null_mut(),
        }
    }
}

/// Fills in the default settings; `write` is still to be set.
///
/// out: where. size: sizeof(lk_log).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: set `log` of an lk_env_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_log_init(out: Out<lk_log>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// A table with what its functions work with, whose `drop` is called once.
pub(super) struct Table<T> {
    table: T,
    userdata: Arc<Userdata>,
}

pub(super) fn read_observer(observer: &In<lk_observer>) -> Answer<Option<Table<lk_observer>>> {
    let table = observer.optional("observer")?;
    Ok(table.map(|table| Table { table, userdata: Arc::new(Userdata::new(table.userdata, table.drop)) }))
}

pub(super) fn read_log(log: &In<lk_log>) -> Answer<Option<Table<lk_log>>> {
    let table = log.optional("log")?;
    Ok(table.map(|table| Table { table, userdata: Arc::new(Userdata::new(table.userdata, table.drop)) }))
}

/// What an instrument of the program's is known by.
#[derive(Clone, Copy)]
struct Instrument(*mut c_void);

// SAFETY: it is only passed back, from whichever thread, as the header says.
unsafe impl Send for Instrument {}
// SAFETY: as above.
unsafe impl Sync for Instrument {}

impl Instrument {
    fn get(self) -> *mut c_void {
        self.0
    }
}

type Resolve = extern "C" fn(*mut c_void, *const c_char, *const lk_attr, usize) -> *mut c_void;

fn resolve(call: Resolve, userdata: &Userdata, name: &str, labels: &[Attr]) -> Instrument {
    let name = c_text(name.to_owned());
    let texts: Vec<(CString, CString)> = labels.iter().map(texts).collect();
    let attrs: Vec<lk_attr> =
        texts.iter().map(|(key, value)| lk_attr { key: key.as_ptr(), value: value.as_ptr() }).collect();
    let (instrument, _) = enter(None, |_| call(userdata.get(), name.as_ptr(), attrs.as_ptr(), attrs.len()));
    Instrument(instrument)
}

fn texts(attr: &Attr) -> (CString, CString) {
    (c_text(attr.key.to_owned()), c_text(attr.value.to_string()))
}

impl Table<lk_observer> {
    pub(super) fn into_observer(self) -> Observer {
        let Self { table, userdata } = self;
        let mut observer = Observer::default();
        if let (Some(make), Some(add)) = (table.counter, table.counter_add) {
            let userdata = userdata.clone();
            observer.counter = Some(Arc::new(move |name, labels| {
                let (counter, userdata) = (resolve(make, &userdata, name, labels), userdata.clone());
                Counter::function(move |n| _ = enter(None, |_| add(userdata.get(), counter.get(), n)))
            }));
        }
        if let (Some(make), Some(set)) = (table.gauge, table.gauge_set) {
            let userdata = userdata.clone();
            observer.gauge = Some(Arc::new(move |name, labels| {
                let (gauge, userdata) = (resolve(make, &userdata, name, labels), userdata.clone());
                Gauge::function(move |value| _ = enter(None, |_| set(userdata.get(), gauge.get(), value)))
            }));
        }
        if let (Some(make), Some(observe)) = (table.histogram, table.histogram_observe) {
            let userdata = userdata.clone();
            observer.histogram = Some(Arc::new(move |name, labels| {
                let (histogram, userdata) = (resolve(make, &userdata, name, labels), userdata.clone());
                Histogram::function(move |value| {
                    _ = enter(None, |_| observe(userdata.get(), histogram.get(), value));
                })
            }));
        }
        if let (Some(begin), Some(end)) = (table.span, table.span_end) {
            let userdata = userdata.clone();
            observer.span = Some(Arc::new(move |name, attrs| {
                let span = resolve(begin, &userdata, name, attrs);
                let (attr, error) = (table.span_attr, table.span_error);
                Arc::new(CSpan { span, attr, error, end, userdata: userdata.clone() })
            }));
        }
        if let Some(call) = table.on_event {
            observer.on_event = Some(Arc::new(move |event| {
                let (told, text) = (lk_event::of(event), c_text(event.to_string()));
                _ = enter(None, |_| call(userdata.get(), &raw const told, text.as_ptr()));
            }));
        }
        observer
    }
}

struct CSpan {
    span: Instrument,
    attr: lk_span_attr_fn,
    error: lk_span_error_fn,
    end: extern "C" fn(*mut c_void, *mut c_void),
    userdata: Arc<Userdata>,
}

impl SpanSink for CSpan {
    fn attr(&self, attr: Attr) {
        if let Some(call) = self.attr {
            let (key, value) = texts(&attr);
            let attr = lk_attr { key: key.as_ptr(), value: value.as_ptr() };
            _ = enter(None, |_| call(self.userdata.get(), self.span.get(), &raw const attr));
        }
    }

    fn error(&self, error: &str) {
        if let Some(call) = self.error {
            let text = c_text(error.to_owned());
            _ = enter(None, |_| call(self.userdata.get(), self.span.get(), text.as_ptr()));
        }
    }

    fn end(&self) {
        _ = enter(None, |_| (self.end)(self.userdata.get(), self.span.get()));
    }
}

impl Table<lk_log> {
    pub(super) fn into_observer(self) -> Answer<Observer> {
        let Self { table, userdata } = self;
        let level = match table.max_level {
            LK_LOG_ERROR => log::LevelFilter::Error,
            LK_LOG_WARN => log::LevelFilter::Warn,
            LK_LOG_INFO => log::LevelFilter::Info,
            LK_LOG_DEBUG => log::LevelFilter::Debug,
            LK_LOG_TRACE => log::LevelFilter::Trace,
            other => {
                let text = format!("log: max_level: must be one of LK_LOG_, found {other}");
                return Err(Failure::new(LK_ERR_RANGE, text));
            }
        };
        let call = table
            .write
            .ok_or_else(|| Failure::new(super::status::LK_ERR_NULL, "log: write: must not be NULL"))?;
        Ok(Observer::log_to(level, move |level, target, line| {
            let (target, text) = (c_text(target.to_owned()), c_text(line.to_string()));
            let level = level as lk_log_level;
            _ = enter(None, |_| call(userdata.get(), level, target.as_ptr(), text.as_ptr()));
        }))
    }
}
