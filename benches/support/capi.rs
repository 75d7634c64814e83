//! What the way through C costs: the same work asked for in Rust and through
//! the exported functions.
//!
//! These are called as C calls them, by address and with C's types, and the
//! callbacks are functions of C's kind: it is the code that a compiler for C
//! makes of the same calls. What links both in one program leaves out is the
//! jump through the shared library's table, a nanosecond; and it is optimised
//! for speed, where the library that is shipped is optimised for size. Where
//! that was built it is loaded, and calls go [there](Shipped).

use std::ffi::{CStr, CString, c_void};
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use loopkeeper::capi::{
    self, Cx, lk_controller_config, lk_env, lk_event, lk_events, lk_loop_status, lk_watcher,
    lk_watcher_config,
};
use loopkeeper::controller::{Outcome, Reconciler};
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    Context, ControllerConfig, Delivery, Env, Probe, Subscription, Watcher, WatcherConfig, bench_hooks,
};

use super::floors::LULL;
use super::measure::ns;

/// An exported function as C sees it. Its own parameters are made from
/// pointers nowhere but at the border.
macro_rules! c {
    ($name:ident($($argument:ty),*)) => {{
        static LOADED: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
        let library = LIBRARY.load(Ordering::Relaxed);
        let address = if library.is_null() {
            capi::$name as *const ()
        } else {
            let name = concat!(stringify!($name), "\0");
            loaded(library, &LOADED, CStr::from_bytes_with_nul(name.as_bytes()).expect("one NUL"))
        };
        // SAFETY: the parameters of the function are these, each in a
        // transparent type of its own.
        let function = unsafe {
            std::mem::transmute::<*const (), unsafe extern "C" fn($($argument),*) -> i32>(address)
        };
        // Not to be seen through: it is in another library.
        black_box(function)
    }};
}

/// Where calls go: the library that is linked in when NULL.
static LIBRARY: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Calls go to the library as it is shipped, as long as there is one of these.
pub(crate) struct Shipped(());

impl Shipped {
    /// Loads what `make -C examples/c library` makes; `None` where it was not
    /// made or is of another version.
    pub(crate) fn load() -> Option<Self> {
        let program = std::env::current_exe().ok()?;
        let path = program.parent()?.parent()?.parent()?.join("release-c/libloopkeeper.so");
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        // SAFETY: the path is text; the library runs nothing when it is loaded.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return None;
        }
        let linked = c!(lk_abi_version());
        LIBRARY.store(library, Ordering::Relaxed);
        let this = Self(());
        let shipped = c!(lk_abi_version());
        // SAFETY: both take nothing.
        unsafe { linked() == shipped() }.then_some(this)
    }
}

impl Drop for Shipped {
    fn drop(&mut self) {
        LIBRARY.store(null_mut(), Ordering::Relaxed);
    }
}

fn loaded(library: *mut c_void, place: &AtomicPtr<c_void>, name: &CStr) -> *const () {
    let mut at = place.load(Ordering::Relaxed);
    if at.is_null() {
        // SAFETY: the library is loaded, the name is text.
        at = unsafe { libc::dlsym(library, name.as_ptr()) };
        assert!(!at.is_null(), "{name:?}");
        place.store(at, Ordering::Relaxed);
    }
    at.cast_const().cast()
}

/// Calls an exported function that must succeed.
macro_rules! ok {
    ($name:ident($($value:expr => $argument:ty),*)) => {{
        let function = c!($name($($argument),*));
        // SAFETY: every pointer is to a whole value of what it says.
        let status = unsafe { function($($value),*) };
        assert_eq!(status, 0, stringify!($name));
    }};
}

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MS: u64 = 3_600_000;

extern "C" fn count(userdata: *mut c_void, _: Cx) -> i32 {
    // SAFETY: it is the counter that was registered with the function.
    let state = unsafe { &mut *userdata.cast::<u64>() };
    *state += 1;
    black_box(*state);
    0
}

/// `guarded_calls` with a callback of C's kind.
pub(crate) fn probes(calls: u32) -> Duration {
    let env = Env::new().expect("a watchdog can be started");
    let mut state = 0_u64;
    let mut config = watcher_config();
    config.probe = Some(count);
    config.userdata = (&raw mut state).cast();
    let probe: Box<dyn Probe> = black_box(capi::bench_probe(&config).expect("it has a callback"));
    let begin = Instant::now();
    let in_time = bench_hooks::guarded_calls(&env, calls, probe);
    let time = begin.elapsed();
    assert_eq!(in_time.ok(), Some(calls), "every call is in time");
    time
}

fn watcher_config() -> lk_watcher_config {
    // SAFETY: numbers and pointers, of which none is followed.
    let mut config = unsafe { std::mem::zeroed::<lk_watcher_config>() };
    ok!(lk_watcher_config_init(&raw mut config => *mut lk_watcher_config, size_of_val(&config) => usize));
    config
}

fn env() -> *mut lk_env {
    let mut env = null_mut();
    ok!(lk_env_new(null() => *const c_void, &raw mut env => *mut *mut lk_env));
    env
}

extern "C" fn tell(userdata: *mut c_void, cx: Cx) -> i32 {
    if userdata.is_null() {
        return 0;
    }
    let set_error = c!(lk_context_set_error(Cx, *const u8));
    // SAFETY: the context is that of this call, the text a constant.
    let status = unsafe { set_error(cx, c"connection refused".as_ptr().cast()) };
    assert_eq!(status, 0);
    loopkeeper::ErrorKind::Probe as i32
}

/// As many loops on both sides, of which one in ten has an error to show.
pub(crate) struct Statuses {
    env: Env,
    kept: Vec<Watcher>,
    c_env: *mut lk_env,
    c_kept: Vec<*mut lk_watcher>,
    row: Vec<lk_loop_status>,
    json: Vec<u8>,
}

impl Statuses {
    pub(crate) fn new(n: usize) -> Self {
        let env = Env::new().expect("a watchdog can be started");
        let backoff =
            BackoffConfig { initial_delay: HOUR, max_delay: HOUR, poll_interval: HOUR, ..Default::default() };
        let start = |i: usize| {
            let probe =
                move |_: &Context| if i % 10 == 0 { Err("connection refused".into()) } else { Ok(()) };
            let config = WatcherConfig::new(format!("watcher-{i}"), probe).backoff(backoff.clone());
            Watcher::start_in(&env, config).expect("the machine allows as many watchers")
        };
        let kept: Vec<Watcher> = (0..n).map(start).collect();
        let c_env = self::env();
        let mut failing = 0_u8;
        let c_start = |i: usize| {
            let name = CString::new(format!("watcher-{i}")).expect("no NUL is in it");
            let mut config = watcher_config();
            set_name(&mut config.name, &name);
            config.probe = Some(tell);
            config.userdata = if i % 10 == 0 { (&raw mut failing).cast() } else { null_mut() };
            config.initial_delay_ms = HOUR_MS;
            config.max_delay_ms = HOUR_MS;
            config.poll_interval_ms = HOUR_MS;
            let mut watcher = null_mut();
            ok!(lk_watcher_start(
                c_env => *const lk_env,
                &raw const config => *const lk_watcher_config,
                &raw mut watcher => *mut *mut lk_watcher
            ));
            watcher
        };
        let c_kept = (0..n).map(c_start).collect();
        // SAFETY: numbers and characters.
        let mut empty = unsafe { std::mem::zeroed::<lk_loop_status>() };
        ok!(lk_loop_status_init(&raw mut empty => *mut lk_loop_status, size_of_val(&empty) => usize));
        let this = Self { env, kept, c_env, c_kept, row: vec![empty; n], json: vec![0; 1 << 20] };
        let have_run =
            |all: &[lk_loop_status]| all.iter().all(|one| one.runs == 1 && one.latency_us != u64::MAX);
        let mut this = this;
        while !have_run({
            this.all_in_c();
            &this.row
        }) || !this.env.statuses().iter().all(|one| one.runs == 1 && one.latency.is_some())
        {
            std::thread::yield_now();
        }
        this
    }

    pub(crate) fn one(&self) {
        drop(black_box(self.kept[0].status()));
    }

    pub(crate) fn one_in_c(&mut self) {
        ok!(lk_watcher_status(
            self.c_kept[0] => *const lk_watcher,
            self.row.as_mut_ptr() => *mut lk_loop_status
        ));
        black_box(&self.row);
    }

    pub(crate) fn all(&self) {
        drop(black_box(self.env.statuses()));
    }

    pub(crate) fn all_in_c(&mut self) {
        let mut n = 0;
        ok!(lk_env_loops(
            self.c_env => *const lk_env,
            self.row.as_mut_ptr() => *mut lk_loop_status,
            self.row.len() => usize,
            &raw mut n => *mut usize
        ));
        assert_eq!(n, self.row.len());
        black_box(&self.row);
    }

    pub(crate) fn json(&self) {
        drop(black_box(serde_json::to_string(&self.env.statuses()).expect("it is text")));
    }

    pub(crate) fn json_in_c(&mut self) {
        ok!(lk_env_status_json(
            self.c_env => *const lk_env,
            self.json.as_mut_ptr() => *mut u8,
            self.json.len() => usize,
            null_mut() => *mut usize
        ));
        black_box(&self.json);
    }
}

impl Drop for Statuses {
    fn drop(&mut self) {
        for watcher in self.c_kept.drain(..) {
            ok!(lk_watcher_free(watcher => *mut lk_watcher));
        }
        ok!(lk_env_free(self.c_env => *mut lk_env));
    }
}

/// What is in the place of a text is a pointer.
fn set_name<T>(place: &mut T, name: &CString) {
    // SAFETY: a transparent type around a pointer to characters.
    unsafe { (&raw mut *place).cast::<*const std::ffi::c_char>().write(name.as_ptr()) };
}

/// How many events are made at once; a queue holds some more.
pub(crate) const EVENTS: u32 = 200;

/// How many are read with one call.
const ROW: usize = 32;

/// A loop on both sides that makes `EVENTS` events when it is triggered, and
/// somebody who reads them when all are there.
pub(crate) struct Heard {
    busy: Reconciler,
    events: Subscription,
    c_env: *mut lk_env,
    c_busy: *mut capi::lk_controller,
    c_events: *mut lk_events,
    row: Vec<lk_event>,
}

static LEFT: AtomicU32 = AtomicU32::new(0);

extern "C" fn make_event(_: *mut c_void, cx: Cx) -> i32 {
    let left = LEFT.load(Ordering::Relaxed);
    if left == 0 {
        return 0;
    }
    ok!(lk_context_set_items(cx => Cx, 1 => u64));
    if left > 1 {
        ok!(lk_context_set_requeue(cx => Cx, 0 => u64));
    }
    LEFT.store(left - 1, Ordering::Relaxed);
    0
}

impl Heard {
    pub(crate) fn new() -> Self {
        let env = Env::new().expect("a watchdog can be started");
        let events = env.subscribe();
        let reconcile = |_: &Context| {
            let left = LEFT.load(Ordering::Relaxed);
            if left == 0 {
                return Ok(Outcome::default());
            }
            LEFT.store(left - 1, Ordering::Relaxed);
            let outcome = Outcome::processed(1);
            Ok(if left > 1 { outcome.requeue_after(Duration::ZERO) } else { outcome })
        };
        let busy = Reconciler::start_in(&env, ControllerConfig::new("busy").interval(HOUR), reconcile);
        let busy = busy.expect("one thread");

        let c_env = self::env();
        // SAFETY: numbers and pointers, of which none is followed.
        let mut config = unsafe { std::mem::zeroed::<lk_controller_config>() };
        ok!(lk_controller_config_init(
            &raw mut config => *mut lk_controller_config,
            size_of_val(&config) => usize
        ));
        let name = CString::from(c"busy");
        set_name(&mut config.name, &name);
        config.reconcile = Some(make_event);
        config.interval_ms = HOUR_MS;
        let (mut c_busy, mut c_events) = (null_mut(), null_mut());
        ok!(lk_env_subscribe(c_env => *const lk_env, &raw mut c_events => *mut *mut lk_events));
        ok!(lk_controller_start(
            c_env => *const lk_env,
            &raw const config => *const lk_controller_config,
            &raw mut c_busy => *mut *mut capi::lk_controller
        ));
        // SAFETY: numbers and characters.
        let mut event = unsafe { std::mem::zeroed::<lk_event>() };
        ok!(lk_event_init(&raw mut event => *mut lk_event, size_of_val(&event) => usize));
        let mut this = Self { busy, events, c_env, c_busy, c_events, row: vec![event; ROW] };
        // What else there is to hear comes with the first runs.
        this.read(1);
        this.read_in_c(1);
        this
    }

    /// The nanoseconds that taking one takes, of `n` events that wait.
    pub(crate) fn read(&mut self, n: u32) -> f64 {
        self.read_each(n, |delivery| {
            black_box(&delivery.event.what);
        })
    }

    /// The nanoseconds that taking one takes and looking at all that C is told of it.
    pub(crate) fn read_whole(&mut self, n: u32) -> f64 {
        self.read_each(n, |delivery| {
            let event = &delivery.event;
            let kind = std::mem::discriminant(&event.what);
            let error = event.what.error().map(loopkeeper::Error::kind);
            black_box((kind, error, event.kind, event.seq, event.n, delivery.lost, event.at));
            let mut source = [0_u8; 64];
            let name = event.source.as_str().as_bytes();
            source[..name.len()].copy_from_slice(name);
            black_box(&source);
        })
    }

    fn read_each(&mut self, n: u32, each: impl Fn(&Delivery)) -> f64 {
        LEFT.store(n, Ordering::Relaxed);
        let seen = self.busy.status().runs;
        self.busy.trigger();
        while self.busy.status().runs < seen + u64::from(n) || self.busy.status().running_for.is_some() {
            std::thread::yield_now();
        }
        let mut read = 0;
        let begin = Instant::now();
        while let Some(delivery) = self.events.try_recv() {
            each(&delivery);
            read += 1;
        }
        let time = begin.elapsed();
        assert!(read >= n, "{read} of {n}");
        ns(time) / f64::from(read)
    }

    pub(crate) fn read_in_c(&mut self, n: u32) -> f64 {
        let next = c!(lk_events_next(*const lk_events, u64, *mut lk_event));
        self.read_each_in_c(n, |events, row| {
            // SAFETY: the handle is open and the first of the row is one.
            let status = unsafe { next(events, 0, row.as_mut_ptr()) };
            u32::from(status == 0)
        })
    }

    /// The same with a call for as many as there is room for.
    pub(crate) fn read_row_in_c(&mut self, n: u32) -> f64 {
        let read = c!(lk_events_read(*const lk_events, u64, *mut lk_event, usize, *mut usize));
        self.read_each_in_c(n, |events, row| {
            let mut n = 0;
            // SAFETY: the handle is open and the row has as many.
            let status = unsafe { read(events, 0, row.as_mut_ptr(), row.len(), &raw mut n) };
            if status == 0 { u32::try_from(n).expect("no more than a row") } else { 0 }
        })
    }

    fn read_each_in_c(&mut self, n: u32, next: impl Fn(*mut lk_events, &mut [lk_event]) -> u32) -> f64 {
        LEFT.store(n, Ordering::Relaxed);
        // SAFETY: numbers and characters.
        let mut status = unsafe { std::mem::zeroed::<lk_loop_status>() };
        ok!(lk_loop_status_init(&raw mut status => *mut lk_loop_status, size_of_val(&status) => usize));
        let mut look = || {
            ok!(lk_controller_status(
                self.c_busy => *const capi::lk_controller,
                &raw mut status => *mut lk_loop_status
            ));
            (status.runs, status.running_for_us == u64::MAX)
        };
        let (seen, _) = look();
        ok!(lk_controller_trigger(self.c_busy => *const capi::lk_controller));
        loop {
            let (runs, idle) = look();
            if runs >= seen + u64::from(n) && idle {
                break;
            }
            std::thread::yield_now();
        }
        let mut read = 0;
        let begin = Instant::now();
        loop {
            let more = next(self.c_events, &mut self.row);
            if more == 0 {
                break;
            }
            black_box(&self.row);
            read += more;
        }
        let time = begin.elapsed();
        assert!(read >= n, "{read} of {n}");
        ns(time) / f64::from(read)
    }
}

/// Turns up and down, and says when it decided.
struct Turning {
    up: bool,
    decided: Sender<Instant>,
}

extern "C" fn turn(userdata: *mut c_void, _: Cx) -> i32 {
    // SAFETY: it is what was registered with the function, and calls are one
    // at a time.
    let turning = unsafe { &mut *userdata.cast::<Turning>() };
    turning.up = !turning.up;
    // Nobody hears of the last ones.
    let _ = turning.decided.send(Instant::now());
    if turning.up { 0 } else { loopkeeper::ErrorKind::Probe as i32 }
}

/// `OURS.events` with a reader and a probe of C's kind.
pub(crate) fn events(samples: usize) -> Vec<Duration> {
    let env = self::env();
    let (decided, told) = unbounded();
    let mut turning = Turning { up: false, decided };
    let mut config = watcher_config();
    let name = CString::from(c"turning");
    set_name(&mut config.name, &name);
    config.probe = Some(turn);
    config.userdata = (&raw mut turning).cast();
    let lull = u64::try_from(LULL.as_millis()).expect("a moment");
    config.initial_delay_ms = lull;
    config.poll_interval_ms = lull;
    config.jitter = 0.0;
    let (mut watcher, mut events) = (null_mut(), null_mut());
    ok!(lk_env_subscribe(env => *const lk_env, &raw mut events => *mut *mut lk_events));
    ok!(lk_watcher_start(
        env => *const lk_env,
        &raw const config => *const lk_watcher_config,
        &raw mut watcher => *mut *mut lk_watcher
    ));
    // SAFETY: numbers and characters.
    let mut event = unsafe { std::mem::zeroed::<lk_event>() };
    ok!(lk_event_init(&raw mut event => *mut lk_event, size_of_val(&event) => usize));
    let mut latencies = Vec::with_capacity(samples);
    while latencies.len() < samples {
        ok!(lk_events_next(
            events => *const lk_events,
            capi::LK_FOREVER => u64,
            &raw mut event => *mut lk_event
        ));
        assert_eq!(event.lost, 0, "the reader keeps up");
        if [capi::LK_EVENT_READY, capi::LK_EVENT_DOWN].contains(&event.kind) {
            let decided = told.try_recv().expect("an event comes after its decision");
            latencies.push(decided.elapsed());
        }
    }
    ok!(lk_watcher_free(watcher => *mut lk_watcher));
    ok!(lk_events_free(events => *mut lk_events));
    ok!(lk_env_free(env => *mut lk_env));
    latencies
}

impl Drop for Heard {
    fn drop(&mut self) {
        ok!(lk_events_free(self.c_events => *mut lk_events));
        ok!(lk_controller_free(self.c_busy => *mut capi::lk_controller));
        ok!(lk_env_free(self.c_env => *mut lk_env));
    }
}
