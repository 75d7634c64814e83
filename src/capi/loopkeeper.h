/*
 * Loopkeeper keeps the background loops of a program alive, honest and
 * stoppable: it watches services, reconciles state, runs checks, recovers what
 * broke and hosts the parts that run for ever. Plain threads, no event loop.
 *
 * This header is the manual. It is generated; do not edit it.
 *
 * The contract, which holds for every function:
 *
 *  1. Names. All begin with lk_ or LK_: lk_<noun>_<verb>, and the first
 *     parameter is the noun's handle.
 *  2. Handles. `lk_host *` and the like are opaque; they are made through an
 *     out-parameter and freed once with the function whose name ends in _free.
 *     Freeing NULL does nothing. A handle that was freed is found out
 *     (LK_ERR_STALE), and so is one of another kind or that never was
 *     (LK_ERR_HANDLE): nothing is touched then. Freeing while another thread is
 *     in a call with the handle is safe: it ends one that waits, and, where it
 *     is the owner's (5.), waits for any other, up to five seconds, whatever
 *     else it says of blocking, unless it is called from inside a callback; one
 *     that goes on for longer lets go of the object at its end. What a host has
 *     as a component goes on there.
 *     Members of a host or a manager are lk_member, a number passed by value:
 *     one that was removed, that another took the place of, or of another host
 *     or manager, is LK_ERR_STALE.
 *  3. Answers. What can fail returns lk_status; 0 is success. What cannot
 *     returns a value, with a fallback that its comment names.
 *  4. Parameters. Inputs come first, out-parameters last. These are written
 *     only on success, but for two that say so: `needed` and `report`.
 *  5. Threads. Every function says in one word who may call it:
 *       any    any thread, at the same time as others, callbacks included
 *       one    one thread at a time
 *       owner  as any, but not from inside a callback; a _free may be called
 *              there, but for what it is a callback of: what a component makes
 *              in its start it frees in its stop
 *     None may be called from a signal handler.
 *  6. NULL where a pointer is needed is LK_ERR_NULL; a number that stands for
 *     nothing is LK_ERR_RANGE; a text that is not UTF-8 is LK_ERR_UTF8.
 *  7. Texts. Those passed in end with NUL, are UTF-8, and are copied before the
 *     call returns. Those passed out go to a buffer of the caller, whole and
 *     with their NUL, or not at all: LK_ERR_BUFFER, and `needed` says how many
 *     bytes there must be. To ask for that alone pass NULL and 0.
 *  8. lk_last_error_message() says in words what went wrong last on this
 *     thread. It is valid until the next call on it; success does not clear it.
 *  9. Times are milliseconds in names that end in _ms, microseconds in those
 *     that end in _us. LK_FOREVER has no end. Zero is no time to wait, and is
 *     refused where a loop would run without pause.
 * 10. Structs begin with `size`. Fill one in with the function whose name ends
 *     in _init, passing sizeof, and then change what should be different: so
 *     a program keeps working with a library that knows more fields, and a
 *     library that knows fewer says LK_ERR_SIZE where one of them is used.
 * 11. Callbacks get the `userdata` of their table first. They return 0 for
 *     success; 1 to 15 stand for the LK_ERR_ of that number, everything else
 *     for LK_ERR_COMPONENT. Probes, checks and the like run on the thread of
 *     their loop, notifications on the dispatcher's; one at a time per table
 *     unless it says otherwise. Their stack is of 256 KiB by default, not of the
 *     8 MiB that a program's first thread has: `stack_size` of lk_env_config
 *     says how large. Every signal that a program may handle is blocked there,
 *     and in the children that they fork: unblock them before exec. They must
 *     not throw, longjmp or end their thread: pthread_exit and pthread_cancel
 *     abort the process. They may call any function here: what would wait for
 *     itself is LK_ERR_STATE. LK_ERR_CANCELLED is no failure when the call was
 *     cancelled, and LK_ERR_COMPONENT when it was not. A table's `drop` is
 *     called exactly once, after the last call of its other functions, also
 *     when the table was refused; only where the table could not be read (NULL,
 *     a wrong size, a forked process) it is not.
 * 12. A mistake in the library is LK_ERR_PANIC; it never unwinds into C.
 * 13. Numbers are only added, never changed or used again.
 * 14. Call lk_abi_version() first and compare it with LK_ABI_VERSION.
 * 15. Unloading. Stop, free everything, and then the library may be unloaded:
 *     each _stop that returns LK_OK has waited for its threads. After
 *     LK_ERR_TIMEOUT a thread is still in the program's code: do not unload. A
 *     _free gives up after its grace and cannot say so: stop first, and look at
 *     the report. A process that was forked after the first handle was made,
 *     freed or not, cannot use the library any more: every call is LK_ERR_FORKED
 *     there. Fork first, or run another program; loading and lk_abi_version()
 *     start nothing.
 */

#ifndef LOOPKEEPER_H
#define LOOPKEEPER_H

#include <stddef.h>
#include <stdint.h>

/**
 * Always.
 */
#define LK_RESTART_PERMANENT 0

/**
 * When it failed.
 */
#define LK_RESTART_TRANSIENT 1

/**
 * Never.
 */
#define LK_RESTART_TEMPORARY 2

/**
 * Known, and not started.
 */
#define LK_STATE_REGISTERED 1

/**
 * Not started until what it requires is ready.
 */
#define LK_STATE_WAITING 2

/**
 * In its start, or started and not up yet.
 */
#define LK_STATE_STARTING 3

/**
 * It can take work.
 */
#define LK_STATE_READY 4

/**
 * It can take work, in part.
 */
#define LK_STATE_DEGRADED 5

/**
 * It runs and can take no work.
 */
#define LK_STATE_DOWN 6

/**
 * It ended with an error and is left alone.
 */
#define LK_STATE_FAILED 7

/**
 * It ended with an error and is started again when its delay is over.
 */
#define LK_STATE_BACKING_OFF 8

/**
 * In its stop, or about to be.
 */
#define LK_STATE_STOPPING 9

/**
 * It has ended.
 */
#define LK_STATE_STOPPED 10

/**
 * Stuck in a call past its deadline; the host goes on without it.
 */
#define LK_STATE_ABANDONED 11

/**
 * All are left out; the next run is at its own time.
 */
#define LK_OVERRUN_SKIP 0

/**
 * One is made up for, right after; more are left out.
 */
#define LK_OVERRUN_QUEUE_ONE 1

/**
 * They are made up for, one right after the other, up to `catch_up`.
 */
#define LK_OVERRUN_CATCH_UP 2

/**
 * The loop was started; its first call follows.
 */
#define LK_EVENT_STARTED 1

/**
 * The service turned ready.
 */
#define LK_EVENT_READY 2

/**
 * The service turned down.
 */
#define LK_EVENT_DOWN 3

/**
 * The service did not come up in the start-up's attempts; probing goes on.
 */
#define LK_EVENT_GAVE_UP 4

/**
 * A call passed its deadline and is still stuck.
 */
#define LK_EVENT_TIMED_OUT 5

/**
 * A call that had timed out came back; its answer was thrown away.
 */
#define LK_EVENT_LATE 6

/**
 * A run of a controller dealt with items.
 */
#define LK_EVENT_RECONCILED 7

/**
 * A run of a controller failed.
 */
#define LK_EVENT_RECONCILE_FAILED 8

/**
 * What a monitor's checkers found, all together, is another state.
 */
#define LK_EVENT_HEALTH_CHANGED 9

/**
 * What one checker of a monitor looks at is in another state.
 */
#define LK_EVENT_CHECKER_CHANGED 10

/**
 * A look of a checker passed its deadline and is still stuck.
 */
#define LK_EVENT_CHECK_TIMED_OUT 11

/**
 * A look that had timed out came back; what it found was thrown away.
 */
#define LK_EVENT_CHECK_LATE 12

/**
 * The controller does not run any more unless it is triggered.
 */
#define LK_EVENT_PAUSED 13

/**
 * The controller runs at its regular times again.
 */
#define LK_EVENT_RESUMED 14

/**
 * Another configuration is in force.
 */
#define LK_EVENT_CONFIG_RELOADED 15

/**
 * What is on disk cannot be put in force; what was in force still is.
 */
#define LK_EVENT_CONFIG_REJECTED 16

/**
 * A component that a file describes runs now.
 */
#define LK_EVENT_DEPLOYED 17

/**
 * A component runs in place of the one that had its name.
 */
#define LK_EVENT_REPLACED 18

/**
 * A component that no file describes any more was stopped.
 */
#define LK_EVENT_UNDEPLOYED 19

/**
 * A component that no file describes any more could not be stopped.
 */
#define LK_EVENT_UNDEPLOY_FAILED 20

/**
 * A file cannot be used. What runs goes on.
 */
#define LK_EVENT_REJECTED 21

/**
 * A component did not come up in place of the one that had its name.
 */
#define LK_EVENT_ROLLED_BACK 22

/**
 * The loop was told to end.
 */
#define LK_EVENT_STOPPED 23

/**
 * The component waits for what it requires.
 */
#define LK_EVENT_COMPONENT_WAITING 24

/**
 * The component's start is called.
 */
#define LK_EVENT_COMPONENT_STARTING 25

/**
 * The component works.
 */
#define LK_EVENT_COMPONENT_UP 26

/**
 * The component can take work.
 */
#define LK_EVENT_COMPONENT_READY 27

/**
 * The component runs and can take no work any more.
 */
#define LK_EVENT_COMPONENT_NOT_READY 28

/**
 * The component did not start, failed while it ran, or did not stop.
 */
#define LK_EVENT_COMPONENT_FAILED 29

/**
 * The component is started again after a delay.
 */
#define LK_EVENT_COMPONENT_RESTARTING 30

/**
 * The component used up its restarts and is left as failed.
 */
#define LK_EVENT_COMPONENT_GAVE_UP 31

/**
 * The component's stop is called.
 */
#define LK_EVENT_COMPONENT_STOPPING 32

/**
 * The component has ended.
 */
#define LK_EVENT_COMPONENT_STOPPED 33

/**
 * A call into the component passed its deadline; the host went on without.
 */
#define LK_EVENT_COMPONENT_ABANDONED 34

/**
 * The component took the place of another, which is gone.
 */
#define LK_EVENT_COMPONENT_REPLACED 35

/**
 * The one in this component's place did not come up; this one is back.
 */
#define LK_EVENT_COMPONENT_ROLLED_BACK 36

/**
 * The component is no longer part of the host.
 */
#define LK_EVENT_COMPONENT_REMOVED 37

/**
 * A poll found a run corrupted.
 */
#define LK_EVENT_RECOVERY_DETECTED 101

/**
 * A run could not be polled; it stays watched.
 */
#define LK_EVENT_RECOVERY_POLL_ERROR 102

/**
 * An attempt to restore a run began.
 */
#define LK_EVENT_RECOVERY_STARTED 103

/**
 * The attempt has chosen what it restores from.
 */
#define LK_EVENT_RECOVERY_CHECKPOINT_SELECTED 104

/**
 * The attempt has made a run anew.
 */
#define LK_EVENT_RECOVERY_CLIENT_CREATED 105

/**
 * The attempt succeeded; the recovery is not proven yet.
 */
#define LK_EVENT_RECOVERY_COMPLETED 106

/**
 * An attempt failed.
 */
#define LK_EVENT_RECOVERY_FAILED 107

/**
 * Nothing more is tried.
 */
#define LK_EVENT_RECOVERY_EXHAUSTED 108

/**
 * The restored run was found well in enough polls.
 */
#define LK_EVENT_RECOVERY_VERIFIED 109

/**
 * The restored run is corrupted: the same incident goes on.
 */
#define LK_EVENT_RECOVERY_RELAPSED 110

/**
 * A corrupted run is not recovered now, or need not be any more.
 */
#define LK_EVENT_RECOVERY_SKIPPED 111

/**
 * The recovery was told to end.
 */
#define LK_EVENT_RECOVERY_CANCELLED 112

/**
 * A run that is not used any more could not be let go of.
 */
#define LK_EVENT_RECOVERY_LEFT_BEHIND 113

/**
 * Nothing is known yet, or nobody looks any more.
 */
#define LK_HEALTH_UNKNOWN 0

/**
 * It can take work.
 */
#define LK_HEALTH_READY 1

/**
 * It works, in part.
 */
#define LK_HEALTH_DEGRADED 2

/**
 * It cannot take work.
 */
#define LK_HEALTH_DOWN 3

/**
 * Watches one service.
 */
#define LK_LOOP_WATCHER 1

/**
 * Watches the files of a configuration.
 */
#define LK_LOOP_CONFIG 2

/**
 * Turns a folder of descriptors into running components.
 */
#define LK_LOOP_DEPLOYER 3

/**
 * Reconciles a part of the program's state.
 */
#define LK_LOOP_CONTROLLER 4

/**
 * Looks at regular times whether things are as they should be.
 */
#define LK_LOOP_MONITOR 5

/**
 * Watches runs and restores those that are corrupted.
 */
#define LK_LOOP_RECOVERY 6

/**
 * A part of the program that a host starts and stops.
 */
#define LK_LOOP_COMPONENT 7

/**
 * Trying for the first time, with growing delays.
 */
#define LK_PHASE_STARTING 1

/**
 * Looking at regular times.
 */
#define LK_PHASE_POLLING 2

/**
 * Down after having been ready: trying with growing delays.
 */
#define LK_PHASE_RECOVERING 3

/**
 * Running, without regular looks.
 */
#define LK_PHASE_RUNNING 4

/**
 * Ended, or told to end.
 */
#define LK_PHASE_STOPPED 5

/**
 * Not known, or no call has passed its deadline.
 */
#define LK_ACTIVITY_UNKNOWN 0

/**
 * It burns processor time: an endless loop, or much work.
 */
#define LK_ACTIVITY_BURNING 1

/**
 * It waits for something that does not come.
 */
#define LK_ACTIVITY_BLOCKED 2

/**
 * It does both in turn.
 */
#define LK_ACTIVITY_BOTH 3

/**
 * Something failed.
 */
#define LK_LOG_ERROR 1

/**
 * Something is down, gave up, timed out or was refused.
 */
#define LK_LOG_WARN 2

/**
 * Every other event.
 */
#define LK_LOG_INFO 3

/**
 * Spans and metrics.
 */
#define LK_LOG_DEBUG 4

/**
 * Nothing yet.
 */
#define LK_LOG_TRACE 5

/**
 * It was done.
 */
#define LK_OK 0

/**
 * A setting or argument cannot be used: the text says which and why.
 */
#define LK_ERR_INVALID 1

/**
 * Not allowed in the present state, or from this thread or callback.
 */
#define LK_ERR_STATE 2

/**
 * A thread could not be made.
 */
#define LK_ERR_SPAWN 3

/**
 * A deadline passed.
 */
#define LK_ERR_TIMEOUT 4

/**
 * A configuration file or descriptor is wrong.
 */
#define LK_ERR_CONFIG 5

/**
 * Code of the program's returned an error.
 */
#define LK_ERR_COMPONENT 6

/**
 * Code of the program's panicked; C code cannot.
 */
#define LK_ERR_PANICKED 7

/**
 * The work was cancelled; never counted as a failure.
 */
#define LK_ERR_CANCELLED 8

/**
 * A name is taken already.
 */
#define LK_ERR_DUPLICATE 9

/**
 * Nothing has this name.
 */
#define LK_ERR_NOT_FOUND 10

/**
 * A limit of the machine or of the process would be passed.
 */
#define LK_ERR_BUDGET 11

/**
 * The operating system refused something.
 */
#define LK_ERR_IO 12

/**
 * A probe reached what it asked and did not like the answer.
 */
#define LK_ERR_PROBE 13

/**
 * The handle or member was freed, removed or redeployed; nothing was touched.
 */
#define LK_ERR_STALE 14

/**
 * A database refused something or did not answer.
 */
#define LK_ERR_STORE 15

/**
 * A pointer is NULL that must not be.
 */
#define LK_ERR_NULL 100

/**
 * A text is not UTF-8.
 */
#define LK_ERR_UTF8 101

/**
 * A number stands for nothing: a choice that does not exist, a truth value
 * that is neither 0 nor 1.
 */
#define LK_ERR_RANGE 102

/**
 * The buffer is too small; how much it needs was written to `needed`.
 */
#define LK_ERR_BUFFER 103

/**
 * The `size` of a struct is one that no header ever had, or the struct sets
 * what this library does not know.
 */
#define LK_ERR_SIZE 104

/**
 * The handle is one of another kind, or was never given.
 */
#define LK_ERR_HANDLE 105

/**
 * The process was forked after the library was in use: its threads are in
 * the parent.
 */
#define LK_ERR_FORKED 106

/**
 * A mistake in the library, caught at its border; please report it.
 */
#define LK_ERR_PANIC 107

/**
 * Nothing more comes: the source of these events has ended.
 */
#define LK_ERR_ENDED 108

/**
 * A time without end, for every parameter and field that ends in `_ms`.
 */
#define LK_FOREVER UINT64_MAX

/**
 * The version of the binary interface that this header describes.
 */
#define LK_ABI_VERSION 1

/**
 * Tells people what the loops of an environment find out: those whose
 * descriptor or configuration says `on_down` or `on_ready`. Without one of
 * these nobody is told.
 */
typedef struct lk_alerts lk_alerts;

/**
 * Something that can be cancelled, once and for good; what was given it
 * ends then.
 */
typedef struct lk_cancel lk_cancel;

/**
 * A clock that stands still until it is told to go on. Environments made
 * with it have its time; with none, the machine's.
 */
typedef struct lk_clock lk_clock;

/**
 * A part of a program, made from another handle, that is to be given to a
 * host.
 */
typedef struct lk_component lk_component;

/**
 * What a program reads its settings from: layers in which every value knows
 * its place. Later ones win: defaults, a file, the environment, what is set.
 */
typedef struct lk_config lk_config;

/**
 * Notices edits of a configuration's files, puts them in force and tells what
 * changed.
 */
typedef struct lk_config_watcher lk_config_watcher;

/**
 * What a callback is handed about the call that it is in. Valid until it
 * returns, on its thread only.
 */
typedef struct lk_context lk_context;

/**
 * One controller, on a thread of its own.
 */
typedef struct lk_controller lk_controller;

/**
 * Many controllers under unique names.
 */
typedef struct lk_controller_manager lk_controller_manager;

/**
 * Keeps what runs in a host as a folder of descriptors says.
 */
typedef struct lk_deployer lk_deployer;

/**
 * What loops share: a clock, the thread that guards their deadlines, the
 * thread that makes callbacks, the log of events. Two in one process do
 * not notice each other.
 */
typedef struct lk_env lk_env;

/**
 * Events as they happen, from the moment of subscribing, in order. At least
 * 256 wait to be read; when there are more, the oldest are lost and counted.
 */
typedef struct lk_events lk_events;

/**
 * Restores runs when it is told to, a bounded number at once, and watches
 * none.
 */
typedef struct lk_executor lk_executor;

/**
 * Holds the components of a program: starts them in order, keeps them
 * running, stops them in reverse.
 */
typedef struct lk_host lk_host;

/**
 * Looks at regular times whether things are as they should be.
 */
typedef struct lk_monitor lk_monitor;

/**
 * Polls runs, has those restored that are corrupted, and watches them until
 * the recovery is proven.
 */
typedef struct lk_recovery lk_recovery;

/**
 * Through what a component says, at any time, how it is.
 */
typedef struct lk_reporter lk_reporter;

/**
 * One configuration, which does not change any more. Keys are dotted paths;
 * one that holds a dot is in double quotes.
 */
typedef struct lk_snapshot lk_snapshot;

/**
 * Many watched services, one thread each.
 */
typedef struct lk_watch_manager lk_watch_manager;

/**
 * One watched service, on a thread of its own.
 */
typedef struct lk_watcher lk_watcher;

/**
 * What a call answers: LK_OK, or why it did not do what it was asked.
 * Numbers are only ever added; a new library may answer one that this header
 * does not have.
 */
typedef int32_t lk_status;

/**
 * Settings of alerts.
 */
typedef struct {
  /**
   * sizeof(lk_alerts_config); lk_alerts_config_init sets it.
   */
  uint32_t size;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * The host whose components say what they require: while one of those is
   * down nobody is told of what waits for it. Not consumed. Defaults to
   * NULL: everybody is told of everything.
   */
  const lk_host *host;
  /**
   * A small file in which is kept what was told and what waits to be, so
   * that the next program neither tells an incident again nor forgets to
   * tell its end. One that cannot be read or written is left out with a
   * warning in the log. A lock on a file beside it, whose name has `.lock`
   * at its end, keeps a second writer out until the stop. Defaults to NULL,
   * none.
   */
  const char *state_file;
} lk_alerts_config;

/**
 * Whether a thread computes or waits. Known on Linux.
 */
typedef int32_t lk_activity;

/**
 * How a stop went. Old as soon as it is read: a thread that did not end may
 * end any time.
 */
typedef struct {
  /**
   * sizeof(lk_stop_report); lk_stop_report_init sets it.
   */
  uint32_t size;
  /**
   * How many threads did not end in time.
   */
  uint32_t stragglers;
  /**
   * How many events nobody was called about, because the grace was over.
   */
  uint64_t dropped_callbacks;
  /**
   * How many other things went wrong, such as a component's stop.
   */
  uint32_t errors;
  /**
   * How long the longest has been stuck, in whole milliseconds.
   */
  uint64_t stuck_for_ms;
  /**
   * Who did not end, where and for how long, and what else went wrong;
   * "clean" when all is well. Cut at 511 bytes.
   */
  char text[512];
  /**
   * The kernel's number of the thread that has been stuck for longest; 0
   * where there is none.
   */
  uint32_t tid;
  /**
   * Whether that thread computes or waits: LK_ACTIVITY_...
   */
  lk_activity activity;
  /**
   * The loop or component that it belongs to; "" where there is none.
   */
  char straggler[64];
  /**
   * The thread's name.
   */
  char thread[64];
  /**
   * What its call says that it is doing, such as "looking up db.internal",
   * cut at 127 bytes; else what it is in, such as "its call".
   */
  char call_phase[128];
} lk_stop_report;

/**
 * Starts or stops a component.
 *
 * userdata: that of the table. cx: valid until it returns. Returns 0 when it
 * is done; anything else when it is not, after lk_context_set_error if there
 * is something to say. start is called first and stop after it, also when
 * start failed; then start may be called again. Runs on a thread of the host,
 * one call at a time. It should return before lk_context_remaining_ms is 0:
 * when it does not, the host goes on without it.
 */
typedef int32_t (*lk_component_fn)(void *userdata, const lk_context *cx);

/**
 * Called once, after the last call of any other callback of the same table.
 */
typedef void (*lk_drop_fn)(void *userdata);

/**
 * Whether a component is started again when it ended after its start.
 */
typedef int32_t lk_restart;

/**
 * A component and how its host treats it.
 */
typedef struct {
  /**
   * sizeof(lk_component_config); lk_component_config_init sets it.
   */
  uint32_t size;
  /**
   * Whether the whole is down, and not only degraded, while this component
   * is: 0 or 1. Defaults to 1.
   */
  int32_t critical;
  /**
   * Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
   */
  const char *name;
  /**
   * Begins its work. Either this and `stop`, or `component`.
   */
  lk_component_fn start;
  /**
   * Ends its work; when it returns, its threads have ended.
   */
  lk_component_fn stop;
  /**
   * Called once, after the last call of the above; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
  /**
   * One that was made from another handle, instead of callbacks: taken by
   * the call, but for its handle, which is still to be freed.
   */
  const lk_component *component;
  /**
   * What must be ready before it starts, as in a descriptor: a JSON list
   * such as ["mqtt", {"name": "db", "on_down": "stop", "timeout": "30s"}].
   * Defaults to NULL, nothing.
   */
  const char *requires_json;
  /**
   * How long its start may take. Defaults to 0: as the host says.
   */
  uint64_t start_timeout_ms;
  /**
   * How long its stop may take. Defaults to 0: as the host says.
   */
  uint64_t stop_timeout_ms;
  /**
   * How long it waits for what it requires before that counts as a failure
   * of its own. Defaults to LK_FOREVER.
   */
  uint64_t wait_timeout_ms;
  /**
   * Whether it is started again: LK_RESTART_... Defaults to
   * LK_RESTART_PERMANENT.
   */
  lk_restart restart;
  /**
   * How often it is started again within `restart_window_ms` before it is
   * left alone. Defaults to 5.
   */
  uint32_t max_restarts;
  /**
   * Defaults to 60 s.
   */
  uint64_t restart_window_ms;
  /**
   * The delay before it is started again the first time; each further one
   * is twice as long. Defaults to 1 s.
   */
  uint64_t restart_delay_ms;
  /**
   * No delay is longer. Defaults to 60 s.
   */
  uint64_t max_restart_delay_ms;
} lk_component_config;

/**
 * The answer to "can it take work?".
 */
typedef int32_t lk_health;

/**
 * Where a component is.
 */
typedef int32_t lk_component_state;

/**
 * One component at one moment.
 */
typedef struct {
  /**
   * sizeof(lk_component_status); lk_component_status_init sets it.
   */
  uint32_t size;
  /**
   * Where it is: LK_STATE_...
   */
  lk_component_state state;
  /**
   * What it says of itself: LK_HEALTH_...
   */
  lk_health health;
  /**
   * 1 when it works; else 0.
   */
  int32_t up;
  /**
   * 1 when what requires it may run; else 0.
   */
  int32_t ready;
  /**
   * 1 when the whole is down while this is; else 0.
   */
  int32_t critical;
  /**
   * Since when it is where it is, in microseconds since 1970 UTC.
   */
  uint64_t since_us;
  /**
   * How often it was started again by itself.
   */
  uint64_t restarts;
  /**
   * How often it was started.
   */
  uint64_t runs;
  /**
   * For how long the call into it has run; UINT64_MAX when there is none.
   */
  uint64_t running_for_us;
  /**
   * Its name.
   */
  char name[64];
  /**
   * Why it failed the last time, cut at 255 bytes; "" when it did not.
   */
  char last_error[256];
} lk_component_status;

/**
 * Makes a component of a type of the program's.
 *
 * userdata: that of the table. name: the component's. config_json: the
 * `config` object of its descriptor; both valid until it returns. out: filled
 * in by lk_component_config_init; set `start` and `stop`, `drop` and
 * `userdata`, or `component`; the other fields are not looked at. buf, len:
 * where to say, as a NUL-terminated text, what is wrong with the settings.
 * Returns 0 when it is made; else what is wrong, as one of LK_ERR_. The handle
 * in `component` is still to be freed, by the program, after it returned; that
 * of the watcher or the like of which it was made may be freed before. Runs on
 * the thread that deploys.
 */
typedef int32_t (*lk_type_fn)(void *userdata,
                              const char *name,
                              const char *config_json,
                              lk_component_config *out,
                              char *buf,
                              size_t len);

/**
 * A type of component that descriptors may name.
 */
typedef struct {
  /**
   * sizeof(lk_type); lk_type_init sets it.
   */
  uint32_t size;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * The word for it in descriptors.
   */
  const char *name;
  /**
   * Makes a component of it; may be called from several threads at once.
   */
  lk_type_fn make;
  /**
   * Called once, after the last call of `make`; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
} lk_type;

/**
 * Looks at a configuration that is to be in force.
 *
 * userdata: that of the table. snapshot: all its values; valid until this
 * returns, and not to be freed. buf, len: where to say, as a NUL-terminated
 * text, what is wrong with it. Returns 0 when it may be in force; any other
 * number refuses it, as LK_ERR_CONFIG. Runs on the thread that loads, reloads
 * or validates: the caller's, or that of a config watcher; calls may overlap.
 * To do one of these to the same configuration from inside is LK_ERR_STATE.
 */
typedef int32_t (*lk_config_check_fn)(void *userdata,
                                      const lk_snapshot *snapshot,
                                      char *buf,
                                      size_t len);

/**
 * What no single key can say of a configuration: whether it makes sense as a
 * whole.
 */
typedef struct {
  /**
   * sizeof(lk_config_check); lk_config_check_init sets it.
   */
  uint32_t size;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * Called at the load, at each reload that finds something else than what is
   * in force, and by lk_config_validate_json, once every layer is right.
   */
  lk_config_check_fn check;
  /**
   * Called once, after the last call of `check`; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
} lk_config_check;

/**
 * Called when a value is another, is new or is gone. userdata: that of the
 * table. key: its path, "" for anything; valid until it returns. generation:
 * of the configuration in force; lk_config_snapshot takes its values. What it
 * returns does not matter. Runs on the dispatcher's thread, in order, one at
 * a time.
 */
typedef int32_t (*lk_config_change_fn)(void *userdata, const char *key, uint64_t generation);

/**
 * Settings of a config watcher.
 */
typedef struct {
  /**
   * sizeof(lk_config_watcher_config); lk_config_watcher_config_init sets it.
   */
  uint32_t size;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * Its name. Defaults to NULL, "config".
   */
  const char *name;
  /**
   * What to call back about: a JSON list of paths such as ["http.port"]; for
   * an object, anything in it. Defaults to NULL: once about any change.
   */
  const char *keys_json;
  /**
   * Called about these; may be NULL.
   */
  lk_config_change_fn on_change;
  /**
   * Called once, after the last call of the above; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
  /**
   * The time between two looks at the files. Defaults to 2 s.
   */
  uint64_t interval_ms;
  /**
   * How long freeing it waits for its thread. Defaults to 1 s.
   */
  uint64_t drop_grace_ms;
} lk_config_watcher_config;

/**
 * What kind of loop a source is.
 */
typedef int32_t lk_loop_kind;

/**
 * What a loop is doing.
 */
typedef int32_t lk_phase;

/**
 * One loop at one moment. Moments are microseconds since 1970 UTC, 0 where
 * there is none; spans of time that there are none of are UINT64_MAX.
 */
typedef struct {
  /**
   * sizeof(lk_loop_status); lk_loop_status_init sets it.
   */
  uint32_t size;
  /**
   * What kind of loop it is: LK_LOOP_...
   */
  lk_loop_kind kind;
  /**
   * What is known of what it looks after: LK_HEALTH_...
   */
  lk_health health;
  /**
   * What the loop is doing: LK_PHASE_...
   */
  lk_phase phase;
  /**
   * 1 when what it looks after can take work, in part at least; else 0.
   */
  int32_t ready;
  /**
   * 1 when the whole is down while this is; else 0.
   */
  int32_t critical;
  /**
   * How many calls in a row have failed.
   */
  uint32_t consecutive_failures;
  /**
   * How many calls were made since the start, or since it went down.
   */
  uint32_t attempt;
  /**
   * Since when the health is what it is.
   */
  uint64_t since_us;
  /**
   * When the last call ended or timed out.
   */
  uint64_t last_check_us;
  /**
   * When a call last succeeded.
   */
  uint64_t last_success_us;
  /**
   * When the next call is due.
   */
  uint64_t next_run_us;
  /**
   * How long the last call took that returned in time.
   */
  uint64_t latency_us;
  /**
   * For how long the present call has run.
   */
  uint64_t running_for_us;
  /**
   * For how long the present call is past its deadline, or the next one
   * past its due.
   */
  uint64_t overdue_for_us;
  /**
   * How many calls were begun.
   */
  uint64_t runs;
  /**
   * How many calls failed, each timeout counted.
   */
  uint64_t failures;
  /**
   * How many deadlines passed.
   */
  uint64_t timeouts;
  /**
   * How many calls came back after their deadline.
   */
  uint64_t late;
  /**
   * How many regular runs were left out because their time had passed.
   */
  uint64_t missed;
  /**
   * How often the health changed.
   */
  uint64_t transitions;
  /**
   * How many callbacks were replaced by a later one or dropped at a stop.
   */
  uint64_t lost_callbacks;
  /**
   * The kernel's number of its thread; 0 where there is none.
   */
  uint32_t tid;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * Its name.
   */
  char name[64];
  /**
   * Why the last call failed, cut at 255 bytes; "" after a success.
   */
  char last_error[256];
  /**
   * For how long the present call has been doing what `call_phase` says.
   */
  uint64_t call_phase_for_us;
  /**
   * Whether the thread of a call that has passed its deadline computes or
   * waits: LK_ACTIVITY_...
   */
  lk_activity activity;
  /**
   * That thread's share of one processor in percent; UINT32_MAX where it is
   * not known.
   */
  uint32_t cpu_percent;
  /**
   * What the present call says that it is doing, such as "looking up
   * db.internal", cut at 127 bytes; "" while there is none.
   */
  char call_phase[128];
  /**
   * How long ago the last call ended or timed out; UINT64_MAX before one
   * has. Steps of the wall clock do not change it, unlike what
   * `last_check_us` is compared with.
   */
  uint64_t age_us;
  /**
   * 1 when the loop should have been heard of again by now, so that what is
   * known counts no more, and `ready` is 0; else 0.
   */
  int32_t stale;
  /**
   * Always 0.
   */
  uint32_t reserved2;
} lk_loop_status;

/**
 * Makes a part of the program's state as it should be, once. It must do no
 * harm to run twice.
 *
 * userdata: that of the table. cx: valid until it returns;
 * lk_context_set_items says how much was done, lk_context_set_requeue asks for
 * another run soon, lk_context_set_answer says in words what was done, and
 * lk_context_is_dry_run whether nothing may be changed. Returns 0 when it is
 * done; anything else is tried again with growing delays, unless
 * lk_context_set_terminal says that this cannot help. Runs on the
 * controller's thread, one at a time. It should return before
 * lk_context_remaining_ms is 0, and soon once lk_context_is_cancelled.
 */
typedef int32_t (*lk_reconcile_fn)(void *userdata, const lk_context *cx);

/**
 * What becomes of the regular runs whose time passes during another.
 */
typedef int32_t lk_overrun;

/**
 * A controller: its name, what it does, and when.
 */
typedef struct {
  /**
   * sizeof(lk_controller_config); lk_controller_config_init sets it.
   */
  uint32_t size;
  /**
   * Whether the whole is down, and not only degraded, while this controller
   * is: 0 or 1. Defaults to 0.
   */
  int32_t critical;
  /**
   * Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
   */
  const char *name;
  /**
   * What it does.
   */
  lk_reconcile_fn reconcile;
  /**
   * Called once, after the last call of `reconcile`; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
  /**
   * The time between regular runs, from the beginning of one to that of
   * the next. Defaults to 60 s.
   */
  uint64_t interval_ms;
  /**
   * How long one run may take, whatever the interval. Defaults to 60 s.
   */
  uint64_t deadline_ms;
  /**
   * When the first run is made after a start. Defaults to 0: at once.
   */
  uint64_t first_run_after_ms;
  /**
   * The delay after the first failed run. Defaults to 2 s.
   */
  uint64_t initial_delay_ms;
  /**
   * No delay is longer. Defaults to 60 s.
   */
  uint64_t max_delay_ms;
  /**
   * How long freeing the controller waits for its thread, unless a stop
   * has. Defaults to 1 s.
   */
  uint64_t drop_grace_ms;
  /**
   * By how much each delay is longer than the one before, at least 1.
   * Defaults to 2.
   */
  double multiplier;
  /**
   * By which share of it a delay or the interval may be shorter, at random,
   * 0 to 1. Defaults to 0.1.
   */
  double jitter;
  /**
   * How many runs in a row must fail before the controller is down.
   * Defaults to 1.
   */
  uint32_t failure_threshold;
  /**
   * What becomes of regular runs whose time passes during another:
   * LK_OVERRUN_... Defaults to LK_OVERRUN_SKIP.
   */
  lk_overrun overrun;
  /**
   * For LK_OVERRUN_CATCH_UP: how many runs are made up for at most.
   * Defaults to 1.
   */
  uint32_t catch_up;
  /**
   * Whether the regular times count from the first run, instead of being
   * spread by a hash of the name: 0 or 1. Defaults to 0.
   */
  int32_t in_phase;
  /**
   * Whether it is to say what it would do, and to change nothing: 0 or 1.
   * Defaults to 0.
   */
  int32_t dry_run;
  /**
   * Whether it starts without runs, until it is resumed or triggered: 0 or
   * 1. Defaults to 0.
   */
  int32_t paused;
} lk_controller_config;

/**
 * Settings of a deployer.
 */
typedef struct {
  /**
   * sizeof(lk_deployer_config); lk_deployer_config_init sets it.
   */
  uint32_t size;
  /**
   * Whether the whole is down, and not only degraded, while the folder
   * cannot be read or a file in it is rejected: 0 or 1. Defaults to 0.
   */
  int32_t critical;
  /**
   * The folder; each `*.json` in it describes one component.
   */
  const char *dir;
  /**
   * Its name. Defaults to NULL, "deployer".
   */
  const char *name;
  /**
   * The time between two looks at the folder. Defaults to 5 s.
   */
  uint64_t scan_interval_ms;
  /**
   * How long one look may take before it is told as stuck. Defaults to
   * 60 s.
   */
  uint64_t scan_timeout_ms;
  /**
   * How long to wait before a content that failed is tried a second time;
   * twice as long before the third, which is the last. Defaults to 5 s.
   */
  uint64_t retry_delay_ms;
  /**
   * How long freeing the deployer waits for its thread. Defaults to 1 s.
   */
  uint64_t drop_grace_ms;
} lk_deployer_config;

/**
 * What happened.
 */
typedef int32_t lk_event_kind;

/**
 * One thing that happened. What more there is to say of it says
 * lk_events_last_json.
 */
typedef struct {
  /**
   * sizeof(lk_event); lk_event_init sets it.
   */
  uint32_t size;
  /**
   * What happened: LK_EVENT_..., or a number that this header does not
   * have.
   */
  lk_event_kind kind;
  /**
   * What kind of loop it happened to: LK_LOOP_...
   */
  lk_loop_kind loop_kind;
  /**
   * The status of the error it carries; LK_OK when it carries none.
   */
  lk_status error;
  /**
   * How its source is from now on, where it says so: LK_HEALTH_...; else
   * LK_HEALTH_UNKNOWN.
   */
  lk_health health;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * The number among all events of the environment, from 1.
   */
  uint64_t seq;
  /**
   * The number among the events of this source, from 1, without a gap.
   */
  uint64_t n;
  /**
   * How many events were lost just before this one, because nobody read.
   */
  uint64_t lost;
  /**
   * When it happened, in microseconds since 1970 UTC.
   */
  uint64_t at_us;
  /**
   * Who it happened to.
   */
  char source[64];
} lk_event;

/**
 * Hears of an event. text: it as a line for people. Both are valid until it
 * returns. Runs on the dispatcher's thread, in order per source.
 */
typedef void (*lk_on_event_fn)(void *userdata, const lk_event *event, const char *text);

/**
 * A key and a value, as texts.
 */
typedef struct {
  /**
   * The key.
   */
  const char *key;
  /**
   * The value.
   */
  const char *value;
} lk_attr;

/**
 * Makes an instrument, or begins a span, for a name and its labels; called
 * once per instrument when a loop starts, once per span. userdata: that of
 * the table. Names and labels are valid until it returns. Returns what the
 * calls about it are handed; may be NULL.
 */
typedef void *(*lk_resolve_fn)(void *userdata,
                               const char *name,
                               const lk_attr *labels,
                               size_t n_labels);

/**
 * Adds to a counter. Where it happened, from several threads at once; must
 * not block.
 */
typedef void (*lk_counter_add_fn)(void *userdata, void *counter, uint64_t n);

/**
 * Sets a gauge, or adds a measurement to a histogram. Where it happened, from
 * several threads at once; must not block.
 */
typedef void (*lk_value_fn)(void *userdata, void *instrument, double value);

/**
 * Adds an attribute to a span.
 */
typedef void (*lk_span_attr_fn)(void *userdata, void *span, const lk_attr *attr);

/**
 * Says that what a span stands for failed, and why.
 */
typedef void (*lk_span_error_fn)(void *userdata, void *span, const char *text);

/**
 * Ends a span; called once for each, as the last call about it.
 */
typedef void (*lk_span_end_fn)(void *userdata, void *span);

/**
 * Where spans, metrics and events go; every function may be NULL. The names
 * and labels are those that the exporter of metrics has, without its prefix.
 */
typedef struct {
  /**
   * sizeof(lk_observer); lk_observer_init sets it.
   */
  uint32_t size;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * Passed to each function.
   */
  void *userdata;
  /**
   * Called once, after the last call of any other; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Hears of every event.
   */
  lk_on_event_fn on_event;
  /**
   * Makes a counter; without `counter_add` none is made.
   */
  lk_resolve_fn counter;
  /**
   * Adds to one.
   */
  lk_counter_add_fn counter_add;
  /**
   * Makes a gauge; without `gauge_set` none is made.
   */
  lk_resolve_fn gauge;
  /**
   * Sets one.
   */
  lk_value_fn gauge_set;
  /**
   * Makes a histogram; without `histogram_observe` none is made.
   */
  lk_resolve_fn histogram;
  /**
   * Adds a measurement to one, in seconds where it is a time.
   */
  lk_value_fn histogram_observe;
  /**
   * Begins a span; without `span_end` none is begun.
   */
  lk_resolve_fn span;
  /**
   * Adds an attribute to one; may be NULL.
   */
  lk_span_attr_fn span_attr;
  /**
   * Says that one failed; may be NULL.
   */
  lk_span_error_fn span_error;
  /**
   * Ends one.
   */
  lk_span_end_fn span_end;
} lk_observer;

/**
 * How bad it is what a line of the log tells.
 */
typedef int32_t lk_log_level;

/**
 * Writes a line. userdata: that of the table. level: LK_LOG_... target: such
 * as "loopkeeper::watcher::mqtt". Texts are valid until it returns. Events
 * come on the dispatcher's thread, spans and metrics from several at once.
 */
typedef void (*lk_log_fn)(void *userdata, lk_log_level level, const char *target, const char *text);

/**
 * Where lines of the log go.
 */
typedef struct {
  /**
   * sizeof(lk_log); lk_log_init sets it.
   */
  uint32_t size;
  /**
   * The last level that is written: LK_LOG_... Defaults to LK_LOG_INFO.
   */
  lk_log_level max_level;
  /**
   * Writes a line.
   */
  lk_log_fn write;
  /**
   * Called once, after the last call of `write`; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
} lk_log;

/**
 * Settings of an environment.
 */
typedef struct {
  /**
   * sizeof(lk_env_config); lk_env_config_init sets it.
   */
  uint32_t size;
  /**
   * Whether regular runs are spread over their interval by a hash of the
   * loop's name: 0 or 1. Defaults to 1; with a clock of its own never.
   */
  int32_t spread;
  /**
   * The clock. Defaults to NULL, the machine's.
   */
  const lk_clock *clock;
  /**
   * The stack of each thread that calls the program, in bytes: loops, calls
   * of components, callbacks, observers. Defaults to 256 KiB, a small part of
   * what a program's first thread has.
   */
  uint64_t stack_size;
  /**
   * The seed of all jitter. Defaults to 0: one from the machine's clock.
   */
  uint64_t seed;
  /**
   * Who hears of spans, metrics and events; copied. Defaults to NULL.
   */
  const lk_observer *observer;
  /**
   * Where lines of the log go; copied. Defaults to NULL.
   */
  const lk_log *log;
} lk_env_config;

/**
 * Asks for something about a run.
 *
 * userdata: that of the table. cx: valid until it returns;
 * lk_context_set_answer takes what it answers, as JSON. run: its name, valid
 * until it returns. Returns 0 when it has answered; anything else when it
 * could not. Several may be called at once, for different runs.
 */
typedef int32_t (*lk_run_fn)(void *userdata, const lk_context *cx, const char *run);

/**
 * What one attempt asks for.
 */
typedef struct {
  /**
   * sizeof(lk_restore), as the library knows it.
   */
  uint32_t size;
  /**
   * The number of the attempt, from 1.
   */
  uint32_t attempt;
  /**
   * The run that is corrupted.
   */
  const char *run;
  /**
   * Where the checkpoint is.
   */
  const char *checkpoint_path;
  /**
   * All that is known of the checkpoint, as a JSON object.
   */
  const char *checkpoint_json;
  /**
   * The same for whoever sends one attempt's request again; no two attempts
   * have the same.
   */
  const char *idempotency_key;
  /**
   * How much time the attempt has from its beginning.
   */
  uint64_t timeout_ms;
  /**
   * 1 when the state of the optimizer is restored, too; else 0.
   */
  int32_t restore_optimizer;
  /**
   * Always 0.
   */
  uint32_t reserved;
} lk_restore;

/**
 * Restores a run.
 *
 * userdata: that of the table. cx: valid until it returns;
 * lk_context_set_answer takes the name of the run that was made. request: what
 * to make it from, valid until it returns. Returns 0 when it is made;
 * LK_ERR_NOT_FOUND when the checkpoint is gone, and an older one is tried;
 * anything else is tried again with growing delays, unless
 * lk_context_set_terminal says that this cannot help. Several may be called
 * at once, for different runs.
 */
typedef int32_t (*lk_restore_fn)(void *userdata, const lk_context *cx, const lk_restore *request);

/**
 * Called once a run was restored. userdata: that of the table. run: the one
 * that was corrupted. restored: the one in its place. checkpoint: the path
 * that it was made from. attempt: which it was. Texts are valid until it
 * returns. What it returns does not matter. Runs on the dispatcher's thread.
 */
typedef int32_t (*lk_recovered_fn)(void *userdata,
                                   const char *run,
                                   const char *restored,
                                   const char *checkpoint,
                                   uint32_t attempt);

/**
 * Called once nothing more is tried. userdata: that of the table. run: the
 * one that is lost. error: the kind of the error. text: why. Texts are valid
 * until it returns. What it returns does not matter. Runs on the dispatcher's
 * thread.
 */
typedef int32_t (*lk_lost_fn)(void *userdata, const char *run, lk_status error, const char *text);

/**
 * A recovery or an executor: its name, where the state of runs is known, and
 * how they are restored.
 */
typedef struct {
  /**
   * sizeof(lk_recovery_config); lk_recovery_config_init sets it.
   */
  uint32_t size;
  /**
   * Whether the whole is down, and not only degraded, while a run cannot be
   * recovered: 0 or 1. Defaults to 0.
   */
  int32_t critical;
  /**
   * Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
   */
  const char *name;
  /**
   * When and how runs are restored, as in a descriptor: a JSON object such
   * as {"max_attempts": 5, "backoff": "5s"}. What is absent has its default,
   * but `enabled`, which is true here. Defaults to NULL.
   */
  const char *policy_json;
  /**
   * Answers with the state of a run: {"corrupted": true, "last_checkpoint":
   * {"path": ".."}}. A key may stand once.
   */
  lk_run_fn fetch;
  /**
   * Answers with the checkpoints of a run, a list; may be NULL: only the
   * one that `fetch` tells of.
   */
  lk_run_fn checkpoints;
  /**
   * Makes a run anew; answers with its name.
   */
  lk_restore_fn restore;
  /**
   * Lets go of a run that was restored too late to be used; may be NULL.
   */
  lk_run_fn discard;
  /**
   * Lets go of the corrupted run once another took its place; may be NULL.
   */
  lk_run_fn retire;
  /**
   * Called once a run was restored; may be NULL.
   */
  lk_recovered_fn on_recovery;
  /**
   * Called once nothing more is tried; may be NULL.
   */
  lk_lost_fn on_failure;
  /**
   * Called once, after the last call of any of the above; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
  /**
   * How many runs are polled at once. Defaults to 8. An executor polls none.
   */
  uint32_t max_polls;
  /**
   * How many runs are restored at once. Defaults to 1.
   */
  uint32_t max_concurrent;
  /**
   * How many corrupted runs may wait for their first attempt. Defaults to
   * 1,024.
   */
  uint32_t max_queued;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * How long freeing it waits for its threads, unless a stop has. Defaults
   * to 1 s.
   */
  uint64_t drop_grace_ms;
  /**
   * A small file in which is kept under which name each run goes on that was
   * restored under another, so that the next program does not restore its
   * first one again. One that cannot be read or written is left out with a
   * warning in the log. A lock on a file beside it, whose name has `.lock` at
   * its end, keeps a second writer out until the stop: its start gives
   * LK_ERR_STATE. Defaults to NULL, none. An executor keeps none.
   */
  const char *state_file;
} lk_recovery_config;

/**
 * Settings of a host.
 */
typedef struct {
  /**
   * sizeof(lk_host_config); lk_host_config_init sets it.
   */
  uint32_t size;
  /**
   * How many components may start or stop at once; with more than one the
   * order is that of the requirements only. Defaults to 1.
   */
  uint32_t parallel;
  /**
   * How long a component's start may take, unless it says otherwise.
   * Defaults to 30 s.
   */
  uint64_t start_timeout_ms;
  /**
   * How long a component's stop may take, unless it says otherwise.
   * Defaults to 10 s.
   */
  uint64_t stop_timeout_ms;
  /**
   * How long all components together may take to stop where nobody says
   * otherwise: after a failed start, at the end of lk_host_run, when the
   * host is freed. Defaults to 30 s.
   */
  uint64_t shutdown_timeout_ms;
  /**
   * Where the controllers of a fleet keep what they know, such as
   * "sqlite:/var/lib/fleet.db"; opened when the first of them is deployed.
   * Defaults to NULL, "sqlite:loopkeeper.db".
   */
  const char *store;
} lk_host_config;

/**
 * One of the members of a host or a manager: the number of its slot and of
 * the slot's generation, passed by value. One that was removed, or another
 * took the place of, is LK_ERR_STALE. 0 is never a member.
 */
typedef uint64_t lk_member;

/**
 * Called when what was looked at turned to another state. userdata: that of
 * the table. checker: the name of the checker; NULL for all together.
 * health: LK_HEALTH_... reason: why it is not ready; NULL when there is
 * nothing to say. Texts are valid until it returns. What it returns does not
 * matter. Runs on the dispatcher's thread, in order, one at a time.
 */
typedef int32_t (*lk_change_fn)(void *userdata,
                                const char *checker,
                                lk_health health,
                                const char *reason);

/**
 * A monitor: its name, and what to do about what it finds.
 */
typedef struct {
  /**
   * sizeof(lk_monitor_config); lk_monitor_config_init sets it.
   */
  uint32_t size;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
   */
  const char *name;
  /**
   * When it looks, and at what with checkers that come with the library: the
   * `config` object of its descriptor, such as {"poll_period": "30s",
   * "checkers": [..]}. Defaults to NULL: every minute, no such checkers.
   */
  const char *json;
  /**
   * Called when all checkers together turn to another state; may be NULL.
   */
  lk_change_fn on_change;
  /**
   * Called when what one checker looks at does; may be NULL.
   */
  lk_change_fn on_checker_change;
  /**
   * Called once, after the last call of the above; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
} lk_monitor_config;

/**
 * Looks once whether something is as it should be.
 *
 * userdata: that of the table. cx: valid until it returns. A checker of one
 * thing returns 0 when it is ready, after lk_context_set_degraded when it
 * works in part; anything else when it is not. One of many items (`has_items`)
 * calls lk_context_report for each, good or bad, and returns 0 when it has
 * looked at all; anything else when it could not look: what it reported
 * counts. Runs on the monitor's thread, one checker after the other.
 */
typedef int32_t (*lk_check_fn)(void *userdata, const lk_context *cx);

/**
 * A checker of the program's.
 */
typedef struct {
  /**
   * sizeof(lk_checker); lk_checker_init sets it.
   */
  uint32_t size;
  /**
   * Whether it looks at many items: 0 or 1. Defaults to 0. A look that
   * reports items has some in any case.
   */
  int32_t has_items;
  /**
   * Its name, which no other of the monitor has.
   */
  const char *name;
  /**
   * Looks.
   */
  lk_check_fn check;
  /**
   * Called once, after the last call of `check`; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
  /**
   * How long one look may take. Defaults to 0: as the monitor says.
   */
  uint64_t deadline_ms;
  /**
   * After which time what was found counts no more. Defaults to 0: as the
   * monitor says.
   */
  uint64_t stale_after_ms;
} lk_checker;

/**
 * Asks one question about a service: can it take work?
 *
 * userdata: that of the table. cx: valid until it returns. Returns 0 when the
 * service is ready; anything else when it is not, after lk_context_set_error
 * if there is something to say. Runs on the watcher's thread, one at a time.
 * It should return before lk_context_remaining_ms is 0: when it does not, the
 * service is told as timed out meanwhile.
 */
typedef int32_t (*lk_probe_fn)(void *userdata, const lk_context *cx);

/**
 * Called when something is so. userdata: that of the table. What it returns
 * does not matter. Runs on the dispatcher's thread, in order, one at a time
 * per source; one that runs longer than ten seconds loses its thread.
 */
typedef int32_t (*lk_notify_fn)(void *userdata);

/**
 * Called when something failed. userdata: that of the table. error: the kind
 * of the error. text: why, valid until it returns. As lk_notify_fn otherwise.
 */
typedef int32_t (*lk_notify_error_fn)(void *userdata, lk_status error, const char *text);

/**
 * A service to watch: its name, how to ask it, when, and what to do about it.
 */
typedef struct {
  /**
   * sizeof(lk_watcher_config); lk_watcher_config_init sets it.
   */
  uint32_t size;
  /**
   * Whether the whole is down, and not only degraded, while this service
   * is: 0 or 1. Defaults to 1.
   */
  int32_t critical;
  /**
   * Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
   */
  const char *name;
  /**
   * A probe that comes with the library, as JSON, such as
   * {"tcp": {"address": "127.0.0.1:1883"}}: http, tcp, unix, dns, exec,
   * file_age, disk, heartbeat. Either this or `probe`.
   */
  const char *probe_json;
  /**
   * How to ask the service. Either this or `probe_json`.
   */
  lk_probe_fn probe;
  /**
   * Called when the service turns ready; may be NULL.
   */
  lk_notify_fn on_ready;
  /**
   * Called when the service was ready and turns down; may be NULL.
   */
  lk_notify_error_fn on_down;
  /**
   * Called once when the service did not come up in the start-up's
   * attempts; may be NULL.
   */
  lk_notify_error_fn on_gave_up;
  /**
   * Called once, after the last call of any of the above; may be NULL.
   */
  lk_drop_fn drop;
  /**
   * Passed to each callback.
   */
  void *userdata;
  /**
   * The delay after the first failed probe. Defaults to 2 s.
   */
  uint64_t initial_delay_ms;
  /**
   * No delay is longer. Defaults to 60 s.
   */
  uint64_t max_delay_ms;
  /**
   * The time between regular probes. Defaults to 60 s.
   */
  uint64_t poll_interval_ms;
  /**
   * How long one probe may take. Defaults to 10 s.
   */
  uint64_t probe_timeout_ms;
  /**
   * How long freeing the watcher waits for its thread, unless a stop has.
   * Defaults to 1 s.
   */
  uint64_t drop_grace_ms;
  /**
   * By how much each delay is longer than the one before, at least 1.
   * Defaults to 2.
   */
  double multiplier;
  /**
   * By which share of it a delay may be shorter, at random, 0 to 1.
   * Defaults to 0.1.
   */
  double jitter;
  /**
   * How many probes are made at start-up before the watcher gives up
   * waiting and goes on at the poll interval. Defaults to 10.
   */
  uint32_t max_retries;
  /**
   * How many probes in a row must fail before the service is down.
   * Defaults to 1.
   */
  uint32_t failure_threshold;
  /**
   * How many probes in a row must succeed before the service is ready.
   * Defaults to 1.
   */
  uint32_t success_threshold;
  /**
   * Always 0.
   */
  uint32_t reserved;
  /**
   * What people are told, by a command or a webhook, where the environment
   * has lk_alerts: the fields `on_down`, `on_ready` and `remind_every` of a
   * descriptor, such as {"on_down": {"exec": {"command": ["page", "me"]}}}.
   * Defaults to NULL, nothing.
   */
  const char *alert_json;
} lk_watcher_config;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Fills in the default settings.
 *
 * out: where. size: sizeof(lk_alerts_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_alerts_start.
 */
lk_status lk_alerts_config_init(lk_alerts_config *out, size_t size);

/**
 * Begins to tell. What happened before is not told. Its thread starts with the
 * first loop that has something to tell, runs commands and webhooks one at a
 * time, and tries again what failed; no loop waits for it. An environment has
 * one: of two the later tells.
 *
 * env: not consumed. config: copied; may be NULL for the defaults. out: a new
 * handle, the caller's to free with lk_alerts_free.
 * Returns: LK_OK; LK_ERR_STATE when another, in this process or in one beside
 * it, keeps the file; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE.
 * Thread: any. Does not block, but for reading the file. Next: the field
 * `alert_json` of lk_watcher_config; lk_deployer_start.
 */
lk_status lk_alerts_start(const lk_env *env, const lk_alerts_config *config, lk_alerts **out);

/**
 * What became of the alerts of a loop, as JSON: {"told", "pending", "sent",
 * "failures", "lost", ..}.
 *
 * alerts: not consumed. name: of the loop; copied. buf, len: where the text
 * goes, with its NUL. needed: how many bytes it needs, written also with
 * LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NOT_FOUND when the loop has none, or
 * had nothing to tell yet; LK_ERR_INVALID when it is no name; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_alerts_status_json(const lk_alerts *alerts,
                                const char *name,
                                char *buf,
                                size_t len,
                                size_t *needed);

/**
 * Ends the command or webhook that runs, and tells nothing any more.
 *
 * alerts: not consumed. grace_ms: how long to wait. report: how it went,
 * written also when that was not well; may be NULL.
 * Returns: LK_OK when its thread has ended, also when it was stopped before;
 * LK_ERR_TIMEOUT when it has not in time; LK_ERR_NULL; LK_ERR_SIZE;
 * LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most. Next:
 * lk_alerts_free.
 */
lk_status lk_alerts_stop(const lk_alerts *alerts, uint64_t grace_ms, lk_stop_report *report);

/**
 * Stops telling, and lets go of the handle.
 *
 * alerts: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: owner.
 * Blocks for a second at most.
 */
lk_status lk_alerts_free(lk_alerts *alerts);

/**
 * Makes something that can be cancelled.
 *
 * out: a new handle, the caller's to free with lk_cancel_free.
 * Returns: LK_OK; LK_ERR_NULL. Thread: any. Does not block. Next:
 * lk_host_run, lk_cancel_cancel.
 */
lk_status lk_cancel_new(lk_cancel **out);

/**
 * Cancels. Whoever waits for it wakes; doing it twice is doing it once.
 *
 * cancel: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included;
 * not from a signal handler. Does not block.
 */
lk_status lk_cancel_cancel(const lk_cancel *cancel);

/**
 * Whether it was cancelled.
 *
 * cancel: not consumed.
 * Returns: 1 when it was, also when `cancel` is no such handle; else 0.
 * Thread: any. Does not block.
 */
int32_t lk_cancel_is_cancelled(const lk_cancel *cancel);

/**
 * Waits until it is cancelled.
 *
 * cancel: not consumed. timeout_ms: how long at most; LK_FOREVER.
 * Returns: LK_OK once it is cancelled; LK_ERR_TIMEOUT; LK_ERR_NULL;
 * LK_ERR_STALE, also when the handle is freed meanwhile. Thread: any. Blocks
 * for `timeout_ms` at most.
 */
lk_status lk_cancel_wait(const lk_cancel *cancel, uint64_t timeout_ms);

/**
 * Lets go of the handle; nothing is cancelled by that. An lk_cancel_wait of
 * another thread ends; a run that was given it goes on.
 *
 * cancel: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
 * not block.
 */
lk_status lk_cancel_free(lk_cancel *cancel);

/**
 * Makes a clock that stands still.
 *
 * out: a new handle, the caller's to free with lk_clock_free.
 * Returns: LK_OK; LK_ERR_NULL. Thread: any. Does not block. Next: set `clock`
 * of an lk_env_config to it.
 */
lk_status lk_clock_new(lk_clock **out);

/**
 * Waits until all loops are asleep and every event was told.
 *
 * clock: not consumed.
 * Returns: LK_OK; LK_ERR_TIMEOUT after 30 s without rest, naming who is
 * busy; LK_ERR_STATE from inside a callback; LK_ERR_NULL; LK_ERR_STALE.
 * Thread: owner. Blocks until then, for 30 s at most.
 */
lk_status lk_clock_settle(const lk_clock *clock);

/**
 * Lets time go on, from one moment at which something is due to the next,
 * and waits until all is at rest after each.
 *
 * clock: not consumed. run_ms: by how much; by more when another thread moves
 * the clock meanwhile: it never goes back.
 * Returns: as lk_clock_settle. Thread: owner. Blocks until all is at rest.
 */
lk_status lk_clock_run_for(const lk_clock *clock, uint64_t run_ms);

/**
 * Lets time jump, as after a machine was asleep: all that fell due meanwhile
 * wakes together. After 584 years in all the clock is at its end: it stands
 * still, and what waits for a later moment waits for ever.
 *
 * clock: not consumed. jump_ms: by how much.
 * Returns: as lk_clock_settle. Thread: owner. Blocks until all is at rest.
 */
lk_status lk_clock_jump(const lk_clock *clock, uint64_t jump_ms);

/**
 * What the clock says.
 *
 * clock: not consumed.
 * Returns: milliseconds since it was made; 0 when `clock` is no such handle.
 * Thread: any. Does not block.
 */
uint64_t lk_clock_now_ms(const lk_clock *clock);

/**
 * Lets go of the handle. Environments that have the clock keep it.
 *
 * clock: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
 * not block.
 */
lk_status lk_clock_free(lk_clock *clock);

/**
 * Fills in the default settings; `name`, and `start` and `stop` or
 * `component`, are still to be set.
 *
 * out: where. size: sizeof(lk_component_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_host_register, lk_host_deploy.
 */
lk_status lk_component_config_init(lk_component_config *out, size_t size);

/**
 * A watcher as a component: up after its first verdict, ready while its
 * service is.
 *
 * watcher: not consumed; it goes on when it runs already. out: a new handle,
 * the caller's to free with lk_component_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: set `component` of an lk_component_config to it.
 */
lk_status lk_component_of_watcher(const lk_watcher *watcher, lk_component **out);

/**
 * A watch manager as a component: up after the first verdict about all,
 * ready while they are, together.
 *
 * manager: not consumed. out: a new handle, the caller's to free with
 * lk_component_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: set `component` of an lk_component_config to it.
 */
lk_status lk_component_of_watch_manager(const lk_watch_manager *manager, lk_component **out);

/**
 * A controller as a component: up after its first run, ready while the last
 * one succeeded.
 *
 * controller: not consumed. out: a new handle, the caller's to free with
 * lk_component_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: set `component` of an lk_component_config to it.
 */
lk_status lk_component_of_controller(const lk_controller *controller, lk_component **out);

/**
 * A controller manager as a component.
 *
 * manager: not consumed. out: a new handle, the caller's to free with
 * lk_component_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: set `component` of an lk_component_config to it.
 */
lk_status lk_component_of_controller_manager(const lk_controller_manager *manager,
                                             lk_component **out);

/**
 * A monitor as a component: up after its first pass, ready while what it
 * looks at can take work. No checker can be added any more.
 *
 * monitor: not consumed. out: a new handle, the caller's to free with
 * lk_component_free.
 * Returns: LK_OK; LK_ERR_INVALID or LK_ERR_DUPLICATE when a setting or the
 * name of a checker cannot be used, and LK_ERR_STATE from then on;
 * LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block. Next: set `component` of an lk_component_config to it.
 */
lk_status lk_component_of_monitor(const lk_monitor *monitor, lk_component **out);

/**
 * A recovery as a component: ready while no run is lost.
 *
 * recovery: not consumed. out: a new handle, the caller's to free with
 * lk_component_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: set `component` of an lk_component_config to it.
 */
lk_status lk_component_of_recovery(const lk_recovery *recovery, lk_component **out);

/**
 * A deployer that is not started as a component: stopping it leaves alone
 * what it has put into the host.
 *
 * deployer: not consumed. out: a new handle, the caller's to free with
 * lk_component_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: set `component` of an lk_component_config to it.
 */
lk_status lk_component_of_deployer(const lk_deployer *deployer, lk_component **out);

/**
 * A config watcher that is not started as a component.
 *
 * watcher: not consumed. out: a new handle, the caller's to free with
 * lk_component_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: set `component` of an lk_component_config to it.
 */
lk_status lk_component_of_config_watcher(const lk_config_watcher *watcher, lk_component **out);

/**
 * Lets go of the handle. What a host took stays with it; what none took is
 * stopped, if nothing else has it.
 *
 * component: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: owner.
 * Blocks for such a stop, as the _free of what it was made of does.
 */
lk_status lk_component_free(lk_component *component);

/**
 * Through what the component whose start or stop this is says how it is,
 * also after that has returned. It belongs to this run of the component;
 * nobody hears it after that.
 *
 * cx: the call's context. out: a new handle, the caller's to free with
 * lk_reporter_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
 * Does not block. Next: lk_reporter_set_health.
 */
lk_status lk_context_reporter(const lk_context *cx, lk_reporter **out);

/**
 * Says whether the component can take work. One that says so in its start is
 * up with the first health other than LK_HEALTH_UNKNOWN.
 *
 * reporter: not consumed. health: LK_HEALTH_...
 * Returns: LK_OK; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_reporter_set_health(const lk_reporter *reporter, lk_health health);

/**
 * Says that the component has failed. It is stopped, and started again if
 * its `restart` wants that.
 *
 * reporter: not consumed. error: 1 to 15 for the LK_ERR_ of that number;
 * others are LK_ERR_COMPONENT. text: why; copied.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_reporter_fail(const lk_reporter *reporter, lk_status error, const char *text);

/**
 * Says that the component has done what it was for. It is stopped, and
 * started again only if its `restart` is LK_RESTART_PERMANENT.
 *
 * reporter: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_reporter_done(const lk_reporter *reporter);

/**
 * Lets go of the handle.
 *
 * reporter: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
 * not block.
 */
lk_status lk_reporter_free(lk_reporter *reporter);

/**
 * Fills in an empty status, so that a call can fill in its own.
 *
 * out: where. size: sizeof(lk_component_status).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_host_component_status.
 */
lk_status lk_component_status_init(lk_component_status *out, size_t size);

/**
 * Fills in an empty type; `name` and `make` are still to be set.
 *
 * out: where. size: sizeof(lk_type).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_host_add_type.
 */
lk_status lk_type_init(lk_type *out, size_t size);

/**
 * Makes a configuration without layers.
 *
 * env: not consumed; moments are those of its clock. out: a new handle, the
 * caller's to free with lk_config_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_config_add_file, lk_config_load.
 */
lk_status lk_config_new(const lk_env *env, lk_config **out);

/**
 * Adds values that hold where nobody says otherwise.
 *
 * config: not consumed. json: an object; copied.
 * Returns: LK_OK; LK_ERR_CONFIG when it is none; LK_ERR_STATE once it is
 * loaded; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not
 * block.
 */
lk_status lk_config_add_defaults(const lk_config *config, const char *json);

/**
 * Reads values from a file, which is read again with each reload.
 *
 * config: not consumed. path: copied.
 * Returns: LK_OK; LK_ERR_STATE once it is loaded; LK_ERR_NULL; LK_ERR_UTF8;
 * LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_config_add_file(const lk_config *config, const char *path);

/**
 * Takes values from a text, instead of a file.
 *
 * config: not consumed. name: what places in it are named after; copied.
 * json: an object; copied.
 * Returns: as lk_config_add_file. Thread: any. Does not block.
 */
lk_status lk_config_add_text(const lk_config *config, const char *name, const char *json);

/**
 * Takes values from the variables of the environment whose names begin with a
 * prefix: APP_HTTP__PORT is http.port for the prefix "APP". They are read
 * once, now.
 *
 * config: not consumed. prefix: copied.
 * Returns: as lk_config_add_file. Thread: any, while no other changes the
 * environment. Does not block.
 */
lk_status lk_config_add_environment(const lk_config *config, const char *prefix);

/**
 * Sets one value over all others, as a command line does.
 *
 * config: not consumed. key: its path, such as "http.port"; copied. value:
 * JSON, or a text that is none; copied.
 * Returns: as lk_config_add_file. Thread: any. Does not block.
 */
lk_status lk_config_set(const lk_config *config, const char *key, const char *value);

/**
 * Marks a value as one that nobody is shown.
 *
 * config: not consumed. key: its path; copied.
 * Returns: as lk_config_add_file. Thread: any. Does not block.
 */
lk_status lk_config_secret(const lk_config *config, const char *key);

/**
 * Fills in an empty check; `check` is still to be set.
 *
 * out: where. size: sizeof(lk_config_check).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_config_add_check.
 */
lk_status lk_config_check_init(lk_config_check *out, size_t size);

/**
 * Has the program look at each configuration before it is in force. What it
 * refuses never is: a load fails, and after a reload what was in force still
 * is.
 *
 * config: not consumed. table: copied; its `drop` is called once whatever this
 * returns, unless the table itself is NULL or of a wrong size: at the latest
 * when the configuration and what watches it are freed.
 * Returns: LK_OK; LK_ERR_STATE once it is loaded; LK_ERR_NULL; LK_ERR_SIZE;
 * LK_ERR_STALE. Thread: any. Does not block. Next: lk_config_load.
 */
lk_status lk_config_add_check(const lk_config *config, const lk_config_check *table);

/**
 * Loads the configuration. No layer can be added afterwards.
 *
 * config: not consumed; when it cannot be loaded the layers stay, for another
 * try.
 * Returns: LK_OK; LK_ERR_CONFIG with everything that is wrong with any layer
 * and where, or with what a check says; LK_ERR_STATE when it is loaded
 * already; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Blocks while it reads files
 * and while checks run. Next: lk_config_snapshot.
 */
lk_status lk_config_load(const lk_config *config);

/**
 * Reads all layers again and puts them in force, as a whole or not at all.
 *
 * config: not consumed. changed: how many values are others now; may be NULL.
 * Returns: LK_OK; LK_ERR_CONFIG with everything that is wrong, and then what
 * was in force still is; LK_ERR_STATE before it was loaded, and from a check of
 * it; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Blocks while it reads files and
 * while checks run.
 */
lk_status lk_config_reload(const lk_config *config, size_t *changed);

/**
 * Reads all layers and says what a reload would change, without putting it in
 * force: a JSON list of paths.
 *
 * config: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_CONFIG when it would be refused; LK_ERR_STATE before
 * it was loaded, and from a check of it; LK_ERR_BUFFER; LK_ERR_NULL;
 * LK_ERR_STALE. Thread: any. Blocks while it reads files and while checks run.
 */
lk_status lk_config_validate_json(const lk_config *config, char *buf, size_t len, size_t *needed);

/**
 * The configuration in force: take one for each unit of work, so that all of
 * it goes by the same values.
 *
 * config: not consumed. out: a new handle, the caller's to free with
 * lk_snapshot_free; it does not change any more.
 * Returns: LK_OK; LK_ERR_STATE before it was loaded; LK_ERR_NULL;
 * LK_ERR_STALE. Thread: any. Does not block. Next: lk_snapshot_int.
 */
lk_status lk_config_snapshot(const lk_config *config, lk_snapshot **out);

/**
 * Lets go of the configuration. Its snapshots stay.
 *
 * config: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a check of it, and while it is loaded. Thread: owner. Blocks for a moment
 * where it was the last of a freed environment, whose threads end.
 */
lk_status lk_config_free(lk_config *config);

/**
 * Fills in the default settings.
 *
 * out: where. size: sizeof(lk_config_watcher_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_config_watcher_start.
 */
lk_status lk_config_watcher_config_init(lk_config_watcher_config *out, size_t size);

/**
 * Starts watching a configuration's files.
 *
 * env: not consumed. config: not consumed; loaded. settings: copied, and its
 * texts; its `drop` is called once whatever this returns, unless it is itself
 * NULL or of a wrong size. out: a new handle, the caller's to free with
 * lk_config_watcher_free.
 * Returns: LK_OK; LK_ERR_STATE before the configuration was loaded;
 * LK_ERR_INVALID when a setting cannot be used; LK_ERR_SPAWN or
 * LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE.
 * Thread: any. Does not block. Next: lk_config_watcher_stop.
 */
lk_status lk_config_watcher_start(const lk_env *env,
                                  const lk_config *config,
                                  const lk_config_watcher_config *settings,
                                  lk_config_watcher **out);

/**
 * Makes a config watcher that is not started: for a host, which does that, or
 * for lk_config_watcher_restart.
 *
 * env, config, settings, out: as for lk_config_watcher_start.
 * Returns: as lk_config_watcher_start. Thread: any. Does not block. Next:
 * lk_component_of_config_watcher.
 */
lk_status lk_config_watcher_new(const lk_env *env,
                                const lk_config *config,
                                const lk_config_watcher_config *settings,
                                lk_config_watcher **out);

/**
 * Looks now instead of at the next due; during a look, right after it.
 *
 * watcher: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_config_watcher_trigger(const lk_config_watcher *watcher);

/**
 * Starts again after a stop.
 *
 * watcher: not consumed.
 * Returns: LK_OK; LK_ERR_STATE while it runs, is being stopped or an earlier
 * call is stuck; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE.
 * Thread: any. Does not block.
 */
lk_status lk_config_watcher_restart(const lk_config_watcher *watcher);

/**
 * Stops it. When it returns LK_OK none of its callbacks runs or
 * begins any more.
 *
 * watcher: not consumed. grace_ms: how long to wait. report: how it went,
 * written also when that was not well; may be NULL.
 * Returns: LK_OK when all has ended, also when it was stopped before;
 * LK_ERR_TIMEOUT when a thread or a callback did not end in time;
 * LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
 * Next: lk_config_watcher_free.
 */
lk_status lk_config_watcher_stop(const lk_config_watcher *watcher,
                                 uint64_t grace_ms,
                                 lk_stop_report *report);

/**
 * Everything about it at one moment.
 *
 * watcher: not consumed. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_config_watcher_status(const lk_config_watcher *watcher, lk_loop_status *out);

/**
 * The same as a JSON object, with what only its kind has to say.
 *
 * watcher: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_config_watcher_status_json(const lk_config_watcher *watcher,
                                        char *buf,
                                        size_t len,
                                        size_t *needed);

/**
 * Hears of every event of it from now on.
 *
 * watcher: not consumed. out: a new handle, the caller's to free with
 * lk_events_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next, lk_events_fd.
 */
lk_status lk_config_watcher_subscribe(const lk_config_watcher *watcher, lk_events **out);

/**
 * Stops it, within its drop grace unless a stop has waited already, and lets
 * go of it.
 *
 * watcher: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for that long at most.
 */
lk_status lk_config_watcher_free(lk_config_watcher *watcher);

/**
 * Says in words why the callback is going to fail. What it returns then is
 * the kind of the error: one of 1 to 15, or any other for LK_ERR_COMPONENT.
 *
 * cx: the call's context. text: copied before the call returns.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE when `cx` is not of
 * a call that this thread is in. Thread: one, the callback's. Does not block.
 * Next: return a status other than LK_OK from the callback.
 */
lk_status lk_context_set_error(const lk_context *cx, const char *text);

/**
 * Says that trying again cannot help: the loop waits for its next regular
 * run, a recovery ends, a deployment is rejected until it changes.
 *
 * cx: the call's context. is_terminal: 0 or 1.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_RANGE; LK_ERR_STALE. Thread: one, the
 * callback's. Does not block. Next: return a status other than LK_OK.
 */
lk_status lk_context_set_terminal(const lk_context *cx, int32_t is_terminal);

/**
 * Says how long whoever refused asks to be left alone; what tries again
 * waits at least so long.
 *
 * cx: the call's context. wait_ms: how long.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
 * Does not block. Next: return a status other than LK_OK.
 */
lk_status lk_context_set_retry_after(const lk_context *cx, uint64_t wait_ms);

/**
 * Gives the text that the callback answers with, where it answers with one:
 * which, its table says.
 *
 * cx: the call's context. text: copied before the call returns.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: one, the
 * callback's. Does not block. Next: return LK_OK from the callback.
 */
lk_status lk_context_set_answer(const lk_context *cx, const char *text);

/**
 * Says how many items a run of a controller dealt with.
 *
 * cx: the call's context. items: how many.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
 * Does not block. Next: return LK_OK from the callback.
 */
lk_status lk_context_set_items(const lk_context *cx, uint64_t items);

/**
 * Asks for another run of a controller soon, if the next regular one is not
 * before it.
 *
 * cx: the call's context. delay_ms: when.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
 * Does not block. Next: return LK_OK from the callback.
 */
lk_status lk_context_set_requeue(const lk_context *cx, uint64_t delay_ms);

/**
 * Who the call is for: the name of the loop or component.
 *
 * cx: the call's context. buf, len: where the name goes, with its NUL; 64
 * bytes are always enough. needed: how many bytes it needs; may be NULL.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_BUFFER; LK_ERR_STALE. Thread: one, the
 * callback's. Does not block.
 */
lk_status lk_context_name(const lk_context *cx, char *buf, size_t len, size_t *needed);

/**
 * Says what the call begins to do now, or what it has found. The latest is
 * shown in the loop's status while the call has not returned, and in the
 * report of a stop that it holds up: say it before what may hang.
 *
 * cx: the call's context. text: copied, cut at 512 bytes; no secrets.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE when `cx` is not of
 * a call that this thread is in. Thread: one, the callback's. Does not block.
 * Next: call_phase of lk_loop_status.
 */
lk_status lk_context_step(const lk_context *cx, const char *text);

/**
 * How much time the call has left. When it is over the call is told as timed
 * out while it still runs, and what it returns later is thrown away.
 *
 * cx: the call's context.
 * Returns: milliseconds, rounded down; 0 when there is none left or `cx` is
 * not of a call that this thread is in; LK_FOREVER without a deadline.
 * Thread: one, the callback's. Does not block.
 */
uint64_t lk_context_remaining_ms(const lk_context *cx);

/**
 * Whether the call should end early, because its loop was told to end.
 *
 * cx: the call's context.
 * Returns: 1 when it should, also when `cx` is not of a call that this thread
 * is in; else 0. Thread: one, the callback's. Does not block.
 */
int32_t lk_context_is_cancelled(const lk_context *cx);

/**
 * Whether the call is to say what it would do, and to change nothing.
 *
 * cx: the call's context.
 * Returns: 1 when it is, also when `cx` is not of a call that this thread is
 * in; else 0. Thread: one, the callback's. Does not block.
 */
int32_t lk_context_is_dry_run(const lk_context *cx);

/**
 * Sleeps, unless the call is told to end, and not past its deadline.
 *
 * cx: the call's context. sleep_ms: how long.
 * Returns: LK_OK when the time has passed; LK_ERR_CANCELLED when told to end;
 * LK_ERR_TIMEOUT when the deadline came first; LK_ERR_NULL; LK_ERR_STALE.
 * Thread: one, the callback's. Blocks for `sleep_ms` at most.
 */
lk_status lk_context_sleep(const lk_context *cx, uint64_t sleep_ms);

/**
 * What is cancelled when the call should end early: for other threads that
 * work for it. To cancel it by lk_cancel_cancel ends what waits for it, and
 * neither the call nor its loop.
 *
 * cx: the call's context. out: a new handle, the caller's to free with
 * lk_cancel_free; it may be kept for longer than the call.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
 * Does not block. Next: lk_cancel_wait, lk_cancel_is_cancelled.
 */
lk_status lk_context_cancel(const lk_context *cx, lk_cancel **out);

/**
 * Fills in the default settings; `name` and `reconcile` are still to be set.
 *
 * out: where. size: sizeof(lk_controller_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_controller_start, lk_controller_manager_register.
 */
lk_status lk_controller_config_init(lk_controller_config *out, size_t size);

/**
 * Starts a controller.
 *
 * env: not consumed. config: copied, and its texts; its `drop` is called
 * once whatever this returns, unless the config itself is NULL or of a wrong
 * size. out: a new handle, the caller's to free with lk_controller_free.
 * Returns: LK_OK; LK_ERR_INVALID when a setting cannot be used; LK_ERR_SPAWN
 * or LK_ERR_BUDGET; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8;
 * LK_ERR_STALE. Thread: any. Does not block. Next: lk_controller_stop.
 */
lk_status lk_controller_start(const lk_env *env,
                              const lk_controller_config *config,
                              lk_controller **out);

/**
 * Makes a controller that is not started: for a host, which does that, or
 * for lk_controller_restart.
 *
 * env, config, out: as for lk_controller_start.
 * Returns: as lk_controller_start. Thread: any. Does not block. Next:
 * lk_component_of_controller.
 */
lk_status lk_controller_new(const lk_env *env,
                            const lk_controller_config *config,
                            lk_controller **out);

/**
 * Makes no regular runs any more, until it is resumed.
 *
 * controller: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_controller_pause(const lk_controller *controller);

/**
 * Makes regular runs again.
 *
 * controller: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_controller_resume(const lk_controller *controller);

/**
 * Runs now instead of at the next due; during a run, right after it.
 *
 * controller: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_controller_trigger(const lk_controller *controller);

/**
 * Starts again after a stop.
 *
 * controller: not consumed.
 * Returns: LK_OK; LK_ERR_STATE while it runs, is being stopped or an earlier
 * call is stuck; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE.
 * Thread: any. Does not block.
 */
lk_status lk_controller_restart(const lk_controller *controller);

/**
 * Waits until it is ready.
 *
 * controller: not consumed. timeout_ms: how long at most, in real time;
 * LK_FOREVER.
 * Returns: LK_OK when it is ready; LK_ERR_TIMEOUT when the time has passed or
 * it has ended; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Blocks for
 * `timeout_ms` at most.
 */
lk_status lk_controller_wait_ready(const lk_controller *controller, uint64_t timeout_ms);

/**
 * Stops it: the run in progress is told to end and waited for. When it returns
 * LK_OK none of its callbacks runs or begins any more.
 *
 * controller: not consumed. grace_ms: how long to wait. report: how it went,
 * written also when that was not well; may be NULL.
 * Returns: LK_OK when all has ended, also when it was stopped before;
 * LK_ERR_TIMEOUT when a thread or a callback did not end in time;
 * LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
 * Next: lk_controller_free.
 */
lk_status lk_controller_stop(const lk_controller *controller,
                             uint64_t grace_ms,
                             lk_stop_report *report);

/**
 * Everything about it at one moment.
 *
 * controller: not consumed. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_controller_status(const lk_controller *controller, lk_loop_status *out);

/**
 * The same as a JSON object, with what only its kind has to say.
 *
 * controller: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_controller_status_json(const lk_controller *controller,
                                    char *buf,
                                    size_t len,
                                    size_t *needed);

/**
 * Hears of every event of it from now on.
 *
 * controller: not consumed. out: a new handle, the caller's to free with
 * lk_events_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next, lk_events_fd.
 */
lk_status lk_controller_subscribe(const lk_controller *controller, lk_events **out);

/**
 * Stops it, within its drop grace unless a stop has waited already, and lets
 * go of it.
 *
 * controller: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for that long at most.
 */
lk_status lk_controller_free(lk_controller *controller);

/**
 * Makes a manager without controllers.
 *
 * env: not consumed. dry_run: whether all are to say what they would do, and
 * to change nothing: 0 or 1. out: a new handle, the caller's to free with
 * lk_controller_manager_free.
 * Returns: LK_OK; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block. Next: lk_controller_manager_register.
 */
lk_status lk_controller_manager_new(const lk_env *env,
                                    int32_t dry_run,
                                    lk_controller_manager **out);

/**
 * Adds a controller; while the manager runs it begins at once.
 *
 * manager: not consumed. config: as for lk_controller_start.
 * Returns: LK_OK; LK_ERR_DUPLICATE when the name is taken; otherwise as
 * lk_controller_start. Thread: any. Does not block. Next:
 * lk_controller_manager_start.
 */
lk_status lk_controller_manager_register(const lk_controller_manager *manager,
                                         const lk_controller_config *config);

/**
 * Stops a controller and takes it out.
 *
 * manager: not consumed. name: copied. grace_ms: how long to wait. report:
 * how it went, written also when that was not well; may be NULL.
 * Returns: as lk_controller_stop; LK_ERR_NOT_FOUND. Thread: any. Blocks for
 * `grace_ms` at most.
 */
lk_status lk_controller_manager_remove(const lk_controller_manager *manager,
                                       const char *name,
                                       uint64_t grace_ms,
                                       lk_stop_report *report);

/**
 * Starts every controller.
 *
 * manager: not consumed.
 * Returns: LK_OK; LK_ERR_STATE while it runs; LK_ERR_SPAWN or LK_ERR_BUDGET;
 * LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block. Next:
 * lk_controller_manager_stop.
 */
lk_status lk_controller_manager_start(const lk_controller_manager *manager);

/**
 * Has a controller run now instead of at its next due.
 *
 * manager: not consumed. name: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_STATE when nothing runs;
 * LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_controller_manager_trigger(const lk_controller_manager *manager, const char *name);

/**
 * Has a controller make no regular runs any more, until it is resumed.
 *
 * manager: not consumed. name: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE.
 * Thread: any, callbacks included. Does not block.
 */
lk_status lk_controller_manager_pause(const lk_controller_manager *manager, const char *name);

/**
 * Has a controller make regular runs again.
 *
 * manager: not consumed. name: copied.
 * Returns: as lk_controller_manager_pause. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_controller_manager_resume(const lk_controller_manager *manager, const char *name);

/**
 * Stops every controller together; start may be called again.
 *
 * manager: not consumed. grace_ms: how long to wait for all of them. report:
 * how it went, written also when that was not well; may be NULL.
 * Returns: as lk_controller_stop. Thread: any. Blocks for `grace_ms` at most.
 * Next: lk_controller_manager_free.
 */
lk_status lk_controller_manager_stop(const lk_controller_manager *manager,
                                     uint64_t grace_ms,
                                     lk_stop_report *report);

/**
 * All controllers together: LK_HEALTH_...
 *
 * manager: not consumed.
 * Returns: their health; LK_HEALTH_UNKNOWN when `manager` is no such handle.
 * Thread: any. Does not block.
 */
lk_health lk_controller_manager_health(const lk_controller_manager *manager);

/**
 * Everything about a controller at one moment.
 *
 * manager: not consumed. name: copied. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8;
 * LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_controller_manager_status(const lk_controller_manager *manager,
                                       const char *name,
                                       lk_loop_status *out);

/**
 * Every controller, as JSON: {"boot", "at", "loops": [..]}, by name.
 *
 * manager: not consumed. buf, len: where the text goes, with its NUL.
 * needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
 * NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_controller_manager_all_json(const lk_controller_manager *manager,
                                         char *buf,
                                         size_t len,
                                         size_t *needed);

/**
 * Every controller, as structs, by name.
 *
 * manager: not consumed. items, capacity, count: as for lk_env_loops.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_controller_manager_loops(const lk_controller_manager *manager,
                                      lk_loop_status *items,
                                      size_t capacity,
                                      size_t *count);

/**
 * Hears of every event of every controller from now on.
 *
 * manager: not consumed. out: a new handle, the caller's to free with
 * lk_events_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next.
 */
lk_status lk_controller_manager_subscribe(const lk_controller_manager *manager, lk_events **out);

/**
 * Stops every controller, within a second unless a stop has waited already,
 * and lets go of the manager.
 *
 * manager: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for a second at most.
 */
lk_status lk_controller_manager_free(lk_controller_manager *manager);

/**
 * Fills in the default settings; `dir` is still to be set.
 *
 * out: where. size: sizeof(lk_deployer_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_deployer_start.
 */
lk_status lk_deployer_config_init(lk_deployer_config *out, size_t size);

/**
 * Starts looking at a folder. Types are those that the host knows at this
 * moment.
 *
 * host: not consumed; components are put there. config: copied. out: a new
 * handle, the caller's to free with lk_deployer_free; free it before the
 * host.
 * Returns: LK_OK; LK_ERR_INVALID when a setting cannot be used; LK_ERR_SPAWN
 * or LK_ERR_BUDGET; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8;
 * LK_ERR_STALE. Thread: any. Does not block. Next: lk_deployer_board_json.
 */
lk_status lk_deployer_start(const lk_host *host,
                            const lk_deployer_config *config,
                            lk_deployer **out);

/**
 * Makes a deployer that is not started: for a host, which does that.
 *
 * host, config, out: as for lk_deployer_start.
 * Returns: as lk_deployer_start. Thread: any. Does not block. Next:
 * lk_component_of_deployer.
 */
lk_status lk_deployer_new(const lk_host *host, const lk_deployer_config *config, lk_deployer **out);

/**
 * Looks at the folder now; during a look, right after it.
 *
 * deployer: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_deployer_rescan(const lk_deployer *deployer);

/**
 * What it has done and could not do at the end of its last turn, as JSON:
 * {"running": {"name": "file"}, "under_way": ["name"], "rejected": [{"file",
 * "error"}]}.
 *
 * deployer: not consumed. buf, len: where the text goes, with its NUL.
 * needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
 * NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_deployer_board_json(const lk_deployer *deployer,
                                 char *buf,
                                 size_t len,
                                 size_t *needed);

/**
 * Stops it; what it has put into the host goes on there. When it returns LK_OK
 * none of its callbacks runs or begins any more.
 *
 * deployer: not consumed. grace_ms: how long to wait. report: how it went,
 * written also when that was not well; may be NULL.
 * Returns: LK_OK when all has ended, also when it was stopped before;
 * LK_ERR_TIMEOUT when a thread or a callback did not end in time;
 * LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
 * Next: lk_deployer_free.
 */
lk_status lk_deployer_stop(const lk_deployer *deployer, uint64_t grace_ms, lk_stop_report *report);

/**
 * Everything about it at one moment.
 *
 * deployer: not consumed. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_deployer_status(const lk_deployer *deployer, lk_loop_status *out);

/**
 * The same as a JSON object, with what only its kind has to say.
 *
 * deployer: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_deployer_status_json(const lk_deployer *deployer,
                                  char *buf,
                                  size_t len,
                                  size_t *needed);

/**
 * Hears of every event of it from now on.
 *
 * deployer: not consumed. out: a new handle, the caller's to free with
 * lk_events_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next, lk_events_fd.
 */
lk_status lk_deployer_subscribe(const lk_deployer *deployer, lk_events **out);

/**
 * Stops it, within its drop grace unless a stop has waited already, and lets
 * go of it.
 *
 * deployer: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for that long at most.
 */
lk_status lk_deployer_free(lk_deployer *deployer);

/**
 * Fills in the default settings.
 *
 * out: where. size: sizeof(lk_env_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_env_new.
 */
lk_status lk_env_config_init(lk_env_config *out, size_t size);

/**
 * Makes an environment. Its watchdog's thread starts at once, the
 * dispatcher's with the first callback.
 *
 * config: copied, and the tables it names; each table's `drop` is called once
 * whatever this returns, unless it could not be read; may be NULL for the
 * defaults. out: a new handle, the caller's to free with lk_env_free.
 * Returns: LK_OK; LK_ERR_SPAWN or LK_ERR_BUDGET when there is no thread to be
 * had; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE for a clock that
 * was freed. Thread: any. Does not block. Next: lk_watcher_start,
 * lk_watch_manager_new, lk_host_new.
 */
lk_status lk_env_new(const lk_env_config *config, lk_env **out);

/**
 * Has the loops of a name make their next run now; during a call, right after
 * it.
 *
 * env: not consumed. name: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when no loop that runs has the name;
 * LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_env_trigger(const lk_env *env, const char *name);

/**
 * Says that a name is alive: what the probe {"heartbeat": {"grace": "30s"}}
 * of the watcher of that name waits for.
 *
 * env: not consumed. name: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when no loop has the name, or the one that has
 * it waits for no heartbeat; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread:
 * any, callbacks included. Does not block.
 */
lk_status lk_env_heartbeat(const lk_env *env, const char *name);

/**
 * Says that a name is down, and why: believed at once, whatever the grace and
 * the thresholds of its watcher, until the next lk_env_heartbeat.
 *
 * env: not consumed. name: copied. reason: copied; shown as one line, cut at
 * 900 bytes.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when no loop has the name, or the one that has
 * it waits for no heartbeat; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread:
 * any, callbacks included. Does not block.
 */
lk_status lk_env_heartbeat_down(const lk_env *env, const char *name, const char *reason);

/**
 * Hears of every event of every source from now on.
 *
 * env: not consumed. out: a new handle, the caller's to free with
 * lk_events_free; it ends with the environment.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next, lk_events_fd.
 */
lk_status lk_env_subscribe(const lk_env *env, lk_events **out);

/**
 * The last events of all sources, as JSON: {"boot", "next", "lost",
 * "events": [..]}. The last 4,096 are kept.
 *
 * env: not consumed. after: only those with greater numbers; 0 for all, and
 * the `next` of the answer before to go on. max: how many at most. buf, len:
 * where the text goes, with its NUL. needed: how many bytes it needs, written
 * also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_env_events_json(const lk_env *env,
                             uint64_t after,
                             size_t max,
                             char *buf,
                             size_t len,
                             size_t *needed);

/**
 * Every loop that runs at this moment, as JSON: {"boot", "at", "loops":
 * [..]}.
 *
 * env: not consumed. buf, len, needed: as for lk_env_events_json.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_env_status_json(const lk_env *env, char *buf, size_t len, size_t *needed);

/**
 * Every loop that runs at this moment, as structs, by kind and name.
 *
 * env: not consumed. items: a row of `capacity` statuses, each filled in by
 * lk_loop_status_init; may be NULL when `capacity` is 0. count: how many there
 * are; when that is more than `capacity`, only so many were written.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_env_loops(const lk_env *env, lk_loop_status *items, size_t capacity, size_t *count);

/**
 * Ends the recovery of a run, in whatever monitor it is.
 *
 * env: not consumed. run: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when none that runs is recovering it;
 * LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_env_cancel_recovery(const lk_env *env, const char *run);

/**
 * Has a run tried again now, in whatever monitor it is.
 *
 * env: not consumed. run: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when none that runs is recovering it;
 * LK_ERR_STATE when there is nothing to try again; LK_ERR_NULL; LK_ERR_UTF8;
 * LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_env_retry_recovery(const lk_env *env, const char *run);

/**
 * Lets go of the environment. Its threads end, and are waited for, once all
 * that was made in it is freed, too.
 *
 * env: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: owner.
 * Blocks for a moment.
 */
lk_status lk_env_free(lk_env *env);

/**
 * Fills in an empty event, so that a call can fill in its own.
 *
 * out: where. size: sizeof(lk_event).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_events_next.
 */
lk_status lk_event_init(lk_event *out, size_t size);

/**
 * Reads the next event.
 *
 * events: from a call whose name ends in _subscribe. timeout_ms: how long to
 * wait for one; 0 does not wait; LK_FOREVER. out: an event that was filled in
 * by lk_event_init.
 * Returns: LK_OK; LK_ERR_TIMEOUT when there is none; LK_ERR_ENDED when the
 * source has ended and all was read; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE,
 * also when the handle is freed meanwhile. Thread: one. Blocks for
 * `timeout_ms` at most. Next: lk_events_last_json, lk_events_last_text.
 */
lk_status lk_events_next(const lk_events *events, uint64_t timeout_ms, lk_event *out);

/**
 * Reads as many events as wait and there is room for. Costs less than a call
 * for each.
 *
 * events: as for lk_events_next. timeout_ms: how long to wait for the first; 0
 * does not wait; LK_FOREVER. items: a row of `capacity` events, each filled in
 * by lk_event_init. count: how many were read, at least one.
 * Returns: LK_OK; LK_ERR_RANGE when `capacity` is 0; as lk_events_next, and
 * then nothing is written. Thread: one. Blocks for `timeout_ms` at most. Next:
 * lk_events_last_json, for the last of them.
 */
lk_status lk_events_read(const lk_events *events,
                         uint64_t timeout_ms,
                         lk_event *items,
                         size_t capacity,
                         size_t *count);

/**
 * A descriptor that is ready to read while an event waits, and once the
 * source has ended: for poll, epoll, select and the loops built on them. When
 * it is ready, read events with a timeout of 0 until there is none; never
 * read from it or close it.
 *
 * events: not consumed. out: the descriptor; it is closed with the handle, so
 * take it out of the poll loop before.
 * Returns: LK_OK; LK_ERR_IO when the process has no descriptor left;
 * LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block. Next:
 * lk_events_next.
 */
lk_status lk_events_fd(const lk_events *events, int *out);

/**
 * Whether the source has ended and all was read.
 *
 * events: not consumed.
 * Returns: 1 when it has, also when `events` is no such handle; else 0.
 * Thread: any. Does not block.
 */
int32_t lk_events_has_ended(const lk_events *events);

/**
 * The event that was read last, with all there is to say of it, as a JSON
 * object: seq, n, at, source, kind, event, and the fields of its kind.
 *
 * events: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_STATE before the first event was
 * read; LK_ERR_NULL; LK_ERR_STALE. Thread: one. Does not block.
 */
lk_status lk_events_last_json(const lk_events *events, char *buf, size_t len, size_t *needed);

/**
 * The event that was read last, as a line for people.
 *
 * events: not consumed. buf, len, needed: as for lk_events_last_json.
 * Returns: as lk_events_last_json. Thread: one. Does not block.
 */
lk_status lk_events_last_text(const lk_events *events, char *buf, size_t len, size_t *needed);

/**
 * Stops listening and lets go of the handle; its descriptor is closed.
 *
 * events: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
 * not block.
 */
lk_status lk_events_free(lk_events *events);

/**
 * Starts an executor.
 *
 * env: not consumed. config: as for lk_recovery_start; `critical` and
 * `max_polls` are of no use here. out: a new handle, the caller's to free
 * with lk_executor_free.
 * Returns: LK_OK; LK_ERR_INVALID or LK_ERR_CONFIG when a setting cannot be
 * used; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_RANGE; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block. Next:
 * lk_executor_recover.
 */
lk_status lk_executor_start(const lk_env *env, const lk_recovery_config *config, lk_executor **out);

/**
 * Has a run restored. Events and the callbacks of the config tell what comes
 * of it.
 *
 * executor: not consumed. run: its name; copied. checkpoint_path: the
 * checkpoint written last, as far as the caller knows; copied; NULL: `fetch`
 * and `checkpoints` are asked. metadata_json: as for lk_recovery_watch_run.
 * Returns: LK_OK when it is begun or waits for its turn; LK_ERR_DUPLICATE
 * when it is or does already; LK_ERR_BUDGET when `max_queued` wait;
 * LK_ERR_INVALID when a name or the metadata cannot be used; LK_ERR_STATE
 * when the policy is switched off, or it was stopped or drained; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included. Does not block.
 * Next: lk_executor_drain.
 */
lk_status lk_executor_recover(const lk_executor *executor,
                              const char *run,
                              const char *checkpoint_path,
                              const char *metadata_json);

/**
 * Ends the recovery of a run: it waits no more, and an attempt under way is
 * told to end.
 *
 * executor: not consumed. run: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it is not being recovered;
 * LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_executor_cancel(const lk_executor *executor, const char *run);

/**
 * Makes the next attempt of a run that waits for it now.
 *
 * executor: not consumed. run: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it is not being recovered;
 * LK_ERR_STATE when it waits for nothing but its turn; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included. Does not block.
 */
lk_status lk_executor_retry(const lk_executor *executor, const char *run);

/**
 * Takes nothing new, until lk_executor_restart, and waits until all that
 * there is has come to its end.
 *
 * executor: not consumed. timeout_ms: how long at most, in real time.
 * Returns: LK_OK; LK_ERR_TIMEOUT; LK_ERR_NULL; LK_ERR_STALE. Thread: any; a
 * callback of it would wait in vain. Blocks for `timeout_ms` at most. Next:
 * lk_executor_stop.
 */
lk_status lk_executor_drain(const lk_executor *executor, uint64_t timeout_ms);

/**
 * Every run that is being recovered or waits for it, by name, as a JSON list:
 * {"run", "first_run", "phase", "attempt", "max_attempts", "since",
 * "detected_at", "next_attempt", "checkpoint", "last_error"}, the last three
 * where there is one.
 *
 * executor: not consumed. buf, len: where the text goes, with its NUL.
 * needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
 * NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_executor_runs_json(const lk_executor *executor, char *buf, size_t len, size_t *needed);

/**
 * Starts again after a stop or a drain.
 *
 * executor: not consumed.
 * Returns: LK_OK; LK_ERR_STATE while it runs or is being stopped;
 * LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_executor_restart(const lk_executor *executor);

/**
 * Stops it: attempts under way are told to end and waited for, and what waits
 * is told as cancelled. When it returns LK_OK none of its callbacks runs or
 * begins any more.
 *
 * executor: not consumed. grace_ms: how long to wait. report: how it went,
 * written also when that was not well; may be NULL.
 * Returns: LK_OK when all has ended, also when it was stopped before;
 * LK_ERR_TIMEOUT when a thread or a callback did not end in time;
 * LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
 * Next: lk_executor_free.
 */
lk_status lk_executor_stop(const lk_executor *executor, uint64_t grace_ms, lk_stop_report *report);

/**
 * Everything about it at one moment.
 *
 * executor: not consumed. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_executor_status(const lk_executor *executor, lk_loop_status *out);

/**
 * The same as a JSON object, with what only its kind has to say.
 *
 * executor: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_executor_status_json(const lk_executor *executor,
                                  char *buf,
                                  size_t len,
                                  size_t *needed);

/**
 * Hears of every event of it from now on.
 *
 * executor: not consumed. out: a new handle, the caller's to free with
 * lk_events_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next, lk_events_fd.
 */
lk_status lk_executor_subscribe(const lk_executor *executor, lk_events **out);

/**
 * Stops it, within its drop grace unless a stop has waited already, and lets
 * go of it.
 *
 * executor: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for that long at most.
 */
lk_status lk_executor_free(lk_executor *executor);

/**
 * Fills in the default settings.
 *
 * out: where. size: sizeof(lk_host_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_host_new.
 */
lk_status lk_host_config_init(lk_host_config *out, size_t size);

/**
 * Makes a host without components.
 *
 * env: not consumed. config: copied; may be NULL for the defaults. out: a new
 * handle, the caller's to free with lk_host_free.
 * Returns: LK_OK; LK_ERR_INVALID when a setting cannot be used; LK_ERR_SPAWN
 * or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block. Next: lk_host_register.
 */
lk_status lk_host_new(const lk_env *env, const lk_host_config *config, lk_host **out);

/**
 * Adds a type of the program's to those that descriptors may name, beside
 * those that come with the library: "watcher", "monitor" and, where the
 * library was built with them, "recovery", "agent-health", "job-recovery",
 * "queue-priority", "token-cleanup" and "audit-retention".
 *
 * host: not consumed. table: copied; its `drop` is called once whatever this
 * returns, unless the table itself is NULL or of a wrong size.
 * Returns: LK_OK; LK_ERR_DUPLICATE when there is a type of this name;
 * LK_ERR_INVALID when it cannot be a name; LK_ERR_NULL; LK_ERR_SIZE;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block. Next:
 * lk_host_deploy_json, lk_deployer_start.
 */
lk_status lk_host_add_type(const lk_host *host, const lk_type *table);

/**
 * Adds a component before the start.
 *
 * host: not consumed. config: copied, and its texts; its `drop` is called
 * once whatever this returns, unless the config itself is NULL or of a wrong
 * size. out: the new member; may be NULL.
 * Returns: LK_OK; LK_ERR_DUPLICATE when the name is taken; LK_ERR_INVALID or
 * LK_ERR_CONFIG when a setting cannot be used or components would require
 * each other in a circle; LK_ERR_STATE while the host runs; LK_ERR_RANGE;
 * LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not
 * block. Next: lk_host_start.
 */
lk_status lk_host_register(const lk_host *host, const lk_component_config *config, lk_member *out);

/**
 * Starts every component, each after what it requires and otherwise in the
 * order in which they were added. What requires something that is up and not
 * ready yet is left waiting and starts by itself later. When one fails, it and
 * all that were started are stopped in reverse; start may be tried again.
 *
 * host: not consumed.
 * Returns: LK_OK when every start that could be called has returned;
 * otherwise why the first failed, with its name in the text:
 * LK_ERR_COMPONENT or what its callback returned, LK_ERR_TIMEOUT when a start
 * is stuck, LK_ERR_NOT_FOUND when something required is not there,
 * LK_ERR_CANCELLED when the host was stopped meanwhile, LK_ERR_STATE while it
 * runs or from inside a component's call; LK_ERR_NULL; LK_ERR_STALE. Thread:
 * any. Blocks until then. Next: lk_host_stop.
 */
lk_status lk_host_start(const lk_host *host);

/**
 * Starts every component, waits until `cancel` is cancelled or the host stops
 * by itself, and stops every component.
 *
 * host: not consumed. cancel: not consumed; cancel it from another thread or
 * a callback.
 * Returns: LK_OK when all was well to the end; otherwise as lk_host_start, or
 * who failed or would not stop: LK_ERR_COMPONENT, LK_ERR_TIMEOUT. Thread:
 * any, but a callback of one of its components would wait for itself. Blocks
 * until then. Next: lk_host_free.
 */
lk_status lk_host_run(const lk_host *host, const lk_cancel *cancel);

/**
 * Stops every component, in the reverse order of their starts. Each sees its
 * cancel just before its stop is called. One that is stuck past its time is
 * left behind; the others go on. When it returns LK_OK no component is in a
 * call and none is started any more, and start may be called again.
 *
 * host: not consumed. grace_ms: how long to wait for all of them. report: how
 * it went, written also when that was not well; may be NULL.
 * Returns: LK_OK when all has ended, also when nothing ran; LK_ERR_TIMEOUT
 * when a thread did not end in time; LK_ERR_COMPONENT when a stop failed;
 * LK_ERR_STATE from inside a component's call, which only begins to stop;
 * LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms`
 * at most. Next: lk_host_free.
 */
lk_status lk_host_stop(const lk_host *host, uint64_t grace_ms, lk_stop_report *report);

/**
 * Adds a component to a host that runs and starts it; before the start it is
 * only added.
 *
 * host: not consumed. config, out: as for lk_host_register.
 * Returns: LK_OK when its start has returned or it waits for what it
 * requires; what the start failed for, and then it is taken out again;
 * LK_ERR_NOT_FOUND when something required is not there; LK_ERR_STATE when
 * the host stops; otherwise as lk_host_register. Thread: any. Blocks until
 * then. Next: lk_host_undeploy.
 */
lk_status lk_host_deploy(const lk_host *host, const lk_component_config *config, lk_member *out);

/**
 * The same for a component as a descriptor says it, such as
 * {"name": "mqtt", "type": "watcher", "config": {"probe": {"tcp": {..}}}}.
 *
 * host: not consumed. json: copied. out: the new member; may be NULL.
 * Returns: as lk_host_deploy; LK_ERR_CONFIG with everything that is wrong
 * with the descriptor and where; LK_ERR_INVALID when it is not enabled.
 * Thread: any. Blocks until its start has returned. Next: lk_host_undeploy.
 */
lk_status lk_host_deploy_json(const lk_host *host, const char *json, lk_member *out);

/**
 * Stops a component and starts another of the same name in its place; where
 * none is, the new one is simply deployed. Its start has to return within
 * `limit_ms`, and nothing of it may fail until it is up or that time is over;
 * otherwise it is stopped and the one before comes back.
 *
 * host: not consumed. config: as for lk_host_register. limit_ms: how long the
 * new one may take. out: the new member; may be NULL.
 * Returns: as lk_host_deploy; LK_ERR_STATE from inside its own call, or that of
 * one that has to stop before it or that the new one would wait for. Thread:
 * any. Blocks until then.
 */
lk_status lk_host_replace(const lk_host *host,
                          const lk_component_config *config,
                          uint64_t limit_ms,
                          lk_member *out);

/**
 * The same for a component as a descriptor says it.
 *
 * host: not consumed. json: copied. limit_ms: how long the new one may take.
 * out: the new member; may be NULL.
 * Returns: as lk_host_replace and lk_host_deploy_json. Thread: any. Blocks
 * until then.
 */
lk_status lk_host_replace_json(const lk_host *host,
                               const char *json,
                               uint64_t limit_ms,
                               lk_member *out);

/**
 * Stops a component and takes it out. One whose stop fails stays, as failed,
 * until a later call succeeds; one that is stuck gives its name free. The
 * `drop` of its table may still be to come when this returns.
 *
 * host: not consumed. member: which. grace_ms: how long to wait. report: how
 * it went, written also when that was not well; may be NULL.
 * Returns: LK_OK; LK_ERR_STALE when it is no longer part of the host;
 * LK_ERR_STATE from inside its own call, or that of one that has to stop
 * before it, and when the host stops;
 * LK_ERR_TIMEOUT or LK_ERR_COMPONENT when it did not end; LK_ERR_NULL;
 * LK_ERR_SIZE. Thread: any. Blocks for `grace_ms` at most.
 */
lk_status lk_host_undeploy(const lk_host *host,
                           lk_member member,
                           uint64_t grace_ms,
                           lk_stop_report *report);

/**
 * Finds a component by its name.
 *
 * host: not consumed. name: copied. out: the member.
 * Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE.
 * Thread: any. Does not block.
 */
lk_status lk_host_find(const lk_host *host, const char *name, lk_member *out);

/**
 * One component at this moment.
 *
 * host: not consumed. member: which. out: a status that was filled in by
 * lk_component_status_init.
 * Returns: LK_OK; LK_ERR_STALE; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does
 * not block.
 */
lk_status lk_host_component_status(const lk_host *host, lk_member member, lk_component_status *out);

/**
 * Every component at this moment, in the order of their starts, as a JSON
 * list; then those that were taken out and are stuck in a call.
 *
 * host: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_host_components_json(const lk_host *host, char *buf, size_t len, size_t *needed);

/**
 * Every loop that runs in the host's environment, and every component that
 * has none of its name, as JSON: {"boot", "at", "loops": [..]}.
 *
 * host: not consumed. buf, len, needed: as for lk_host_components_json.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_host_status_json(const lk_host *host, char *buf, size_t len, size_t *needed);

/**
 * The same as structs, by kind and name.
 *
 * host: not consumed. items, capacity, count: as for lk_env_loops.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_host_loops(const lk_host *host, lk_loop_status *items, size_t capacity, size_t *count);

/**
 * Hears of every event of every component from now on.
 *
 * host: not consumed. out: a new handle, the caller's to free with
 * lk_events_free; it ends with the host.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next.
 */
lk_status lk_host_subscribe(const lk_host *host, lk_events **out);

/**
 * Stops every component within the shutdown timeout, drops them, and lets go
 * of the host; its members are stale.
 *
 * host: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a call of one of its components or a callback of its own. Thread:
 * owner; inside a callback of a watcher or another loop that is its component
 * it waits for that one in vain. Blocks for the shutdown timeout at most, and
 * for up to five seconds more where a `drop` hangs. Next: lk_env_free.
 */
lk_status lk_host_free(lk_host *host);

/**
 * Fills in an empty status, so that a call can fill in its own.
 *
 * out: where. size: sizeof(lk_loop_status).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_watcher_status, lk_env_loops and others.
 */
lk_status lk_loop_status_init(lk_loop_status *out, size_t size);

/**
 * Fills in the default settings; `name` is still to be set.
 *
 * out: where. size: sizeof(lk_monitor_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_monitor_new.
 */
lk_status lk_monitor_config_init(lk_monitor_config *out, size_t size);

/**
 * Fills in the default settings; `name` and `check` are still to be set.
 *
 * out: where. size: sizeof(lk_checker).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_monitor_add_checker.
 */
lk_status lk_checker_init(lk_checker *out, size_t size);

/**
 * Makes a monitor that is not started.
 *
 * env: not consumed. config: copied, and its texts; its `drop` is called
 * once whatever this returns, unless the config itself is NULL or of a wrong
 * size. out: a new handle, the caller's to free with lk_monitor_free.
 * Returns: LK_OK; LK_ERR_CONFIG with everything that is wrong with the JSON
 * and where; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread:
 * any. Does not block. Next: lk_monitor_add_checker, lk_monitor_start.
 */
lk_status lk_monitor_new(const lk_env *env, const lk_monitor_config *config, lk_monitor **out);

/**
 * Adds a checker of the program's, which looks after those that were added
 * before.
 *
 * monitor: not consumed. checker: copied; its `drop` is called once whatever
 * this returns, unless the checker itself is NULL or of a wrong size.
 * Returns: LK_OK; LK_ERR_STATE once the monitor was started; LK_ERR_RANGE;
 * LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not
 * block. Next: lk_monitor_start.
 */
lk_status lk_monitor_add_checker(const lk_monitor *monitor, const lk_checker *checker);

/**
 * Starts looking, for the first time or after a stop.
 *
 * monitor: not consumed.
 * Returns: LK_OK; LK_ERR_INVALID or LK_ERR_DUPLICATE when a setting or the
 * name of a checker cannot be used: then it is of no more use, and another must
 * be made; LK_ERR_STATE after that, and while it runs or is being
 * stopped; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE. Thread:
 * any. Does not block. Next: lk_monitor_wait_ready, lk_monitor_stop.
 */
lk_status lk_monitor_start(const lk_monitor *monitor);

/**
 * Says how an item is that a checker looks at: how that is, they say together
 * then, also without `has_items`.
 *
 * cx: the call's context. item: its name; copied. health: LK_HEALTH_...
 * reason: why it is not ready; copied; may be NULL.
 * Returns: LK_OK; LK_ERR_STATE in a callback that is no checker's;
 * LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: one, the
 * callback's. Does not block.
 */
lk_status lk_context_report(const lk_context *cx,
                            const char *item,
                            lk_health health,
                            const char *reason);

/**
 * Says that the one thing a checker looks at works, in part.
 *
 * cx: the call's context. text: what does not; copied.
 * Returns: LK_OK; LK_ERR_STATE in a callback that is no checker's;
 * LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: one, the callback's. Does
 * not block. Next: return LK_OK from the callback.
 */
lk_status lk_context_set_degraded(const lk_context *cx, const char *text);

/**
 * Looks now instead of at the next due; during a pass, right after it.
 *
 * monitor: not consumed.
 * Returns: LK_OK; LK_ERR_STATE before it was started; LK_ERR_NULL;
 * LK_ERR_STALE. Thread: any, callbacks included. Does not block.
 */
lk_status lk_monitor_trigger(const lk_monitor *monitor);

/**
 * Waits until it is ready.
 *
 * monitor: not consumed. timeout_ms: how long at most, in real time;
 * LK_FOREVER.
 * Returns: LK_OK when it is ready; LK_ERR_TIMEOUT when the time has passed or
 * it has ended; LK_ERR_STATE before it was started; LK_ERR_NULL;
 * LK_ERR_STALE. Thread: any. Blocks for `timeout_ms` at most.
 */
lk_status lk_monitor_wait_ready(const lk_monitor *monitor, uint64_t timeout_ms);

/**
 * Stops it. When it returns LK_OK none of its callbacks runs or
 * begins any more.
 *
 * monitor: not consumed. grace_ms: how long to wait. report: how it went,
 * written also when that was not well; may be NULL.
 * Returns: LK_OK when all has ended, also when it was stopped before or not
 * started yet; LK_ERR_TIMEOUT when a thread or a callback did not end in time;
 * LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
 * Next: lk_monitor_free.
 */
lk_status lk_monitor_stop(const lk_monitor *monitor, uint64_t grace_ms, lk_stop_report *report);

/**
 * Everything about it at one moment.
 *
 * monitor: not consumed. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_STATE before it was started; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_monitor_status(const lk_monitor *monitor, lk_loop_status *out);

/**
 * The same as a JSON object, with what only its kind has to say.
 *
 * monitor: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_STATE before it was started;
 * LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_monitor_status_json(const lk_monitor *monitor, char *buf, size_t len, size_t *needed);

/**
 * Hears of every event of it from now on.
 *
 * monitor: not consumed. out: a new handle, the caller's to free with
 * lk_events_free.
 * Returns: LK_OK; LK_ERR_STATE before it was started; LK_ERR_NULL;
 * LK_ERR_STALE. Thread: any. Does not block. Next: lk_events_next,
 * lk_events_fd.
 */
lk_status lk_monitor_subscribe(const lk_monitor *monitor, lk_events **out);

/**
 * Stops it, within its drop grace unless a stop has waited already, and lets
 * go of it.
 *
 * monitor: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for that long at most.
 */
lk_status lk_monitor_free(lk_monitor *monitor);

/**
 * Fills in an observer that hears nothing.
 *
 * out: where. size: sizeof(lk_observer).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: set `observer` of an lk_env_config to it.
 */
lk_status lk_observer_init(lk_observer *out, size_t size);

/**
 * Fills in the default settings; `write` is still to be set.
 *
 * out: where. size: sizeof(lk_log).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: set `log` of an lk_env_config to it.
 */
lk_status lk_log_init(lk_log *out, size_t size);

/**
 * Starts a recovery. No run is watched yet.
 *
 * env: not consumed. config: copied, and its texts; its `drop` is called
 * once whatever this returns, unless the config itself is NULL or of a wrong
 * size. out: a new handle, the caller's to free with lk_recovery_free.
 * Returns: LK_OK; LK_ERR_INVALID or LK_ERR_CONFIG when a setting cannot be
 * used; LK_ERR_STATE when another keeps its `state_file`; LK_ERR_SPAWN or
 * LK_ERR_BUDGET; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8;
 * LK_ERR_STALE. Thread: any. Does not block, but for the `state_file`. Next:
 * lk_recovery_watch_run.
 */
lk_status lk_recovery_start(const lk_env *env, const lk_recovery_config *config, lk_recovery **out);

/**
 * Makes a recovery that is not started: for a host, which does that, or for
 * lk_recovery_restart. Runs may be watched already.
 *
 * env, config, out: as for lk_recovery_start.
 * Returns: as lk_recovery_start. Thread: any. Does not block. Next:
 * lk_component_of_recovery.
 */
lk_status lk_recovery_new(const lk_env *env, const lk_recovery_config *config, lk_recovery **out);

/**
 * Watches a run, beginning with a poll at once. Of one that is watched
 * already only the metadata changes.
 *
 * recovery: not consumed. run: its name; copied. metadata_json: what comes
 * with each of its events: a JSON object of texts; copied; may be NULL.
 * Returns: LK_OK; LK_ERR_INVALID when the name or the metadata cannot be
 * used; LK_ERR_STATE when the policy is switched off; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included. Does not block.
 */
lk_status lk_recovery_watch_run(const lk_recovery *recovery,
                                const char *run,
                                const char *metadata_json);

/**
 * Watches a run no more, under its present name or its first, and ends its
 * recovery.
 *
 * recovery: not consumed. run: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it was not watched; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included. Does not block.
 */
lk_status lk_recovery_stop_watching(const lk_recovery *recovery, const char *run);

/**
 * Ends the recovery of a run, which stays watched.
 *
 * recovery: not consumed. run: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it is not being recovered;
 * LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_recovery_cancel(const lk_recovery *recovery, const char *run);

/**
 * Has a run tried again now: one that waits for its next attempt, or, with
 * all attempts anew, one that is exhausted or was cancelled.
 *
 * recovery: not consumed. run: copied.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it has no incident; LK_ERR_STATE when
 * there is nothing to try again; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE.
 * Thread: any, callbacks included. Does not block.
 */
lk_status lk_recovery_retry(const lk_recovery *recovery, const char *run);

/**
 * Waits until no run is being recovered or waits for it.
 *
 * recovery: not consumed. timeout_ms: how long at most, in real time.
 * Returns: LK_OK; LK_ERR_TIMEOUT; LK_ERR_NULL; LK_ERR_STALE. Thread: any; a
 * callback of it would wait in vain. Blocks for `timeout_ms` at most.
 */
lk_status lk_recovery_wait_idle(const lk_recovery *recovery, uint64_t timeout_ms);

/**
 * Every watched run, by name, as a JSON list: {"run", "first_run",
 * "last_poll", "last_error", "incident"}.
 *
 * recovery: not consumed. buf, len: where the text goes, with its NUL.
 * needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
 * NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_recovery_runs_json(const lk_recovery *recovery, char *buf, size_t len, size_t *needed);

/**
 * Polls all runs now; one that is being polled once more right after.
 *
 * recovery: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_recovery_trigger(const lk_recovery *recovery);

/**
 * Starts again after a stop.
 *
 * recovery: not consumed.
 * Returns: LK_OK; LK_ERR_STATE while it runs, is being stopped, an earlier
 * call is stuck or another keeps its `state_file`; LK_ERR_SPAWN or
 * LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block, but
 * for the `state_file`.
 */
lk_status lk_recovery_restart(const lk_recovery *recovery);

/**
 * Stops it: attempts under way are told to end and waited for. When it returns
 * LK_OK none of its callbacks runs or begins any more.
 *
 * recovery: not consumed. grace_ms: how long to wait. report: how it went,
 * written also when that was not well; may be NULL.
 * Returns: LK_OK when all has ended, also when it was stopped before;
 * LK_ERR_TIMEOUT when a thread or a callback did not end in time;
 * LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
 * Next: lk_recovery_free.
 */
lk_status lk_recovery_stop(const lk_recovery *recovery, uint64_t grace_ms, lk_stop_report *report);

/**
 * Everything about it at one moment.
 *
 * recovery: not consumed. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_recovery_status(const lk_recovery *recovery, lk_loop_status *out);

/**
 * The same as a JSON object, with what only its kind has to say.
 *
 * recovery: not consumed. buf, len: where the text goes, with its NUL. needed:
 * how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_recovery_status_json(const lk_recovery *recovery,
                                  char *buf,
                                  size_t len,
                                  size_t *needed);

/**
 * Hears of every event of it from now on.
 *
 * recovery: not consumed. out: a new handle, the caller's to free with
 * lk_events_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next, lk_events_fd.
 */
lk_status lk_recovery_subscribe(const lk_recovery *recovery, lk_events **out);

/**
 * Stops it, within its drop grace unless a stop has waited already, and lets
 * go of it.
 *
 * recovery: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for that long at most.
 */
lk_status lk_recovery_free(lk_recovery *recovery);

/**
 * Fills in the default settings; `name`, `fetch` and `restore` are still to
 * be set.
 *
 * out: where. size: sizeof(lk_recovery_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_recovery_start.
 */
lk_status lk_recovery_config_init(lk_recovery_config *out, size_t size);

/**
 * Fills in a report without findings, so that a stop can fill in its own.
 *
 * out: where. size: sizeof(lk_stop_report).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: a call whose name ends in _stop.
 */
lk_status lk_stop_report_init(lk_stop_report *out, size_t size);

/**
 * Runs what a folder of descriptors says, as it says it at each moment, until
 * it is told to end; then stops all of it in reverse.
 *
 * What descriptors say of alerts is done, too.
 *
 * dir: the folder; each `*.json` in it describes one component. log: where
 * its events are told; copied; its `drop` is called once whatever this
 * returns; may be NULL. cancel: ends it; not consumed; may be NULL: then
 * SIGTERM and SIGINT end it, which this thread waits for meanwhile, without a
 * handler. Other threads of the program should block them.
 * Returns: LK_OK when all has ended; LK_ERR_IO when the folder cannot be
 * read; LK_ERR_TIMEOUT or LK_ERR_COMPONENT when something would not stop;
 * LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_STATE from inside a callback;
 * LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread:
 * owner. Blocks until it is told to end.
 */
lk_status lk_run_descriptor_dir(const char *dir, const lk_log *log, const lk_cancel *cancel);

/**
 * Whether there is a value other than null at a path.
 *
 * snapshot: not consumed. key: its path.
 * Returns: 1 when there is; else 0, also when an argument cannot be used.
 * Thread: any. Does not block.
 */
int32_t lk_snapshot_is_set(const lk_snapshot *snapshot, const char *key);

/**
 * A whole number, or a fallback.
 *
 * snapshot: not consumed. key: its path, such as "http.port".
 * Returns: the value; `fallback` when it is missing, of another type or out
 * of range, and when an argument cannot be used. Thread: any. Does not block.
 */
int64_t lk_snapshot_int(const lk_snapshot *snapshot, const char *key, int64_t fallback);

/**
 * A number, or a fallback.
 *
 * snapshot: not consumed. key: its path, such as "http.port".
 * Returns: the value; `fallback` when it is missing, of another type or out
 * of range, and when an argument cannot be used. Thread: any. Does not block.
 */
double lk_snapshot_float(const lk_snapshot *snapshot, const char *key, double fallback);

/**
 * A truth value, as 1 or 0, or a fallback.
 *
 * snapshot: not consumed. key: its path, such as "http.port".
 * Returns: the value; `fallback` when it is missing, of another type or out
 * of range, and when an argument cannot be used. Thread: any. Does not block.
 */
int32_t lk_snapshot_bool(const lk_snapshot *snapshot, const char *key, int32_t fallback);

/**
 * A duration, as Go text or a number of seconds, or a fallback.
 *
 * snapshot: not consumed. key: its path, such as "http.port".
 * Returns: the value; `fallback` when it is missing, of another type or out
 * of range, and when an argument cannot be used. Thread: any. Does not block.
 */
uint64_t lk_snapshot_duration_ms(const lk_snapshot *snapshot, const char *key, uint64_t fallback);

/**
 * A text, which must be there.
 *
 * snapshot: not consumed. key: its path. buf, len: where the text goes, with
 * its NUL. needed: how many bytes it needs, written also with LK_ERR_BUFFER;
 * may be NULL.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
 * place, when it is of another type or holds a NUL; LK_ERR_BUFFER;
 * LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_snapshot_require_string(const lk_snapshot *snapshot,
                                     const char *key,
                                     char *buf,
                                     size_t len,
                                     size_t *needed);

/**
 * A whole number, which must be there.
 *
 * snapshot: not consumed. key: its path, such as "http.port". out: the value.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
 * place, when it is of another type or out of range; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_snapshot_require_int(const lk_snapshot *snapshot, const char *key, int64_t *out);

/**
 * A number, which must be there.
 *
 * snapshot: not consumed. key: its path, such as "http.port". out: the value.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
 * place, when it is of another type or out of range; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_snapshot_require_float(const lk_snapshot *snapshot, const char *key, double *out);

/**
 * A truth value, as 1 or 0, which must be there.
 *
 * snapshot: not consumed. key: its path, such as "http.port". out: the value.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
 * place, when it is of another type or out of range; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_snapshot_require_bool(const lk_snapshot *snapshot, const char *key, int32_t *out);

/**
 * A duration in milliseconds, which must be there.
 *
 * snapshot: not consumed. key: its path, such as "http.port". out: the value.
 * Returns: LK_OK; LK_ERR_NOT_FOUND when it is missing; LK_ERR_CONFIG, with its
 * place, when it is of another type or out of range; LK_ERR_NULL;
 * LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_snapshot_require_duration_ms(const lk_snapshot *snapshot,
                                          const char *key,
                                          uint64_t *out);

/**
 * Where a value comes from, as JSON: {"key", "value", "layer", "file", ..}.
 * Secrets are `<secret>`.
 *
 * snapshot: not consumed. key: its path. buf, len, needed: as for
 * lk_snapshot_require_string.
 * Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_UTF8;
 * LK_ERR_STALE. Thread: any. Does not block.
 */
lk_status lk_snapshot_explain_json(const lk_snapshot *snapshot,
                                   const char *key,
                                   char *buf,
                                   size_t len,
                                   size_t *needed);

/**
 * Where every value comes from, as a JSON list.
 *
 * snapshot: not consumed. buf, len, needed: as for
 * lk_snapshot_require_string.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_snapshot_explain_all_json(const lk_snapshot *snapshot,
                                       char *buf,
                                       size_t len,
                                       size_t *needed);

/**
 * All values as JSON. Secrets are `<secret>`.
 *
 * snapshot: not consumed. buf, len, needed: as for
 * lk_snapshot_require_string.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_snapshot_json(const lk_snapshot *snapshot, char *buf, size_t len, size_t *needed);

/**
 * How many configurations were in force before this one, and one.
 *
 * snapshot: not consumed.
 * Returns: the number; 0 when `snapshot` is no such handle. Thread: any. Does
 * not block.
 */
uint64_t lk_snapshot_generation(const lk_snapshot *snapshot);

/**
 * Lets go of the snapshot.
 *
 * snapshot: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
 * not block.
 */
lk_status lk_snapshot_free(lk_snapshot *snapshot);

/**
 * The version of the binary interface that the library was built with. Call
 * it first: `if (lk_abi_version() != LK_ABI_VERSION) ...` tells that header
 * and library do not belong together.
 *
 * Returns: the number. Thread: any. Does not block. Next: lk_env_new.
 */
uint32_t lk_abi_version(void);

/**
 * The version of the library, such as "0.1.0".
 *
 * Returns: a text that is valid as long as the library is loaded. Thread:
 * any. Does not block.
 */
const char *lk_version(void);

/**
 * What went wrong with the last call that failed on this thread, in words: a
 * whole sentence for people, with what was found and what was expected.
 * Success does not clear it.
 *
 * Returns: a text that is valid until the next call of the library on this
 * thread; "" before the first failure; never NULL. Thread: any. Does not
 * block.
 */
const char *lk_last_error_message(void);

/**
 * The name of a status, such as "LK_ERR_TIMEOUT".
 *
 * Returns: a text that is valid as long as the library is loaded;
 * "LK_ERR_UNKNOWN" for a number that this library does not have. Thread: any.
 * Does not block.
 */
const char *lk_status_name(lk_status status);

/**
 * Makes a manager without services.
 *
 * env: not consumed. out: a new handle, the caller's to free with
 * lk_watch_manager_free.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_watch_manager_watch.
 */
lk_status lk_watch_manager_new(const lk_env *env, lk_watch_manager **out);

/**
 * Begins to watch a service.
 *
 * manager: not consumed. config: as for lk_watcher_start. out: the new
 * member; may be NULL.
 * Returns: LK_OK; LK_ERR_DUPLICATE when its name is taken; LK_ERR_STATE after
 * a stop; otherwise as lk_watcher_start. Thread: any. Does not block. Next:
 * lk_watch_manager_wait_ready.
 */
lk_status lk_watch_manager_watch(const lk_watch_manager *manager,
                                 const lk_watcher_config *config,
                                 lk_member *out);

/**
 * Stops watching the service of the config's name and watches this one in
 * its place; one that is not watched yet is simply watched. The settings are
 * checked before the old one is touched.
 *
 * manager: not consumed. config: as for lk_watcher_start. grace_ms: how long
 * the old one may take to end; one that is stuck holds up nothing. report:
 * the old one's end; may be NULL. out: the new member; may be NULL.
 * Returns: LK_OK, also when the old one is stuck; otherwise as
 * lk_watch_manager_watch, without LK_ERR_DUPLICATE. Thread: any. Blocks for
 * `grace_ms` at most.
 */
lk_status lk_watch_manager_replace(const lk_watch_manager *manager,
                                   const lk_watcher_config *config,
                                   uint64_t grace_ms,
                                   lk_stop_report *report,
                                   lk_member *out);

/**
 * Stops watching a service.
 *
 * manager: not consumed. member: which. grace_ms: how long to wait. report:
 * how it went, written also when that was not well; may be NULL.
 * Returns: as lk_watcher_stop; LK_ERR_STALE also when it is not watched any
 * more. Thread: any. Blocks for `grace_ms` at most.
 */
lk_status lk_watch_manager_unwatch(const lk_watch_manager *manager,
                                   lk_member member,
                                   uint64_t grace_ms,
                                   lk_stop_report *report);

/**
 * Probes a service now.
 *
 * manager: not consumed. member: which.
 * Returns: LK_OK; LK_ERR_STALE; LK_ERR_NULL. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_watch_manager_trigger(const lk_watch_manager *manager, lk_member member);

/**
 * Waits until a service is ready.
 *
 * manager: not consumed. member: which. timeout_ms: how long at most, in
 * real time.
 * Returns: LK_OK; LK_ERR_TIMEOUT; LK_ERR_STALE; LK_ERR_NULL. Thread: any.
 * Blocks for `timeout_ms` at most.
 */
lk_status lk_watch_manager_wait_ready(const lk_watch_manager *manager,
                                      lk_member member,
                                      uint64_t timeout_ms);

/**
 * Finds a service by its name.
 *
 * manager: not consumed. name: copied. out: the member.
 * Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE.
 * Thread: any. Does not block.
 */
lk_status lk_watch_manager_find(const lk_watch_manager *manager, const char *name, lk_member *out);

/**
 * Everything about a service at one moment.
 *
 * manager: not consumed. member: which. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_STALE; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does
 * not block.
 */
lk_status lk_watch_manager_status(const lk_watch_manager *manager,
                                  lk_member member,
                                  lk_loop_status *out);

/**
 * The same as a JSON object.
 *
 * manager: not consumed. member: which. buf, len: where the text goes, with
 * its NUL. needed: how many bytes it needs, written also with LK_ERR_BUFFER;
 * may be NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_STALE; LK_ERR_NULL. Thread: any. Does
 * not block.
 */
lk_status lk_watch_manager_status_json(const lk_watch_manager *manager,
                                       lk_member member,
                                       char *buf,
                                       size_t len,
                                       size_t *needed);

/**
 * Every service, as JSON: {"boot", "at", "loops": [..]}, by name.
 *
 * manager: not consumed. buf, len, needed: as for
 * lk_watch_manager_status_json.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_watch_manager_all_json(const lk_watch_manager *manager,
                                    char *buf,
                                    size_t len,
                                    size_t *needed);

/**
 * Every service, as structs, by name.
 *
 * manager: not consumed. items, capacity, count: as for lk_env_loops.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_watch_manager_loops(const lk_watch_manager *manager,
                                 lk_loop_status *items,
                                 size_t capacity,
                                 size_t *count);

/**
 * All services together: down while a critical one is down or unknown,
 * degraded while another one is, else ready.
 *
 * manager: not consumed.
 * Returns: LK_HEALTH_...; LK_HEALTH_UNKNOWN when `manager` is no such handle.
 * Thread: any. Does not block.
 */
lk_health lk_watch_manager_health(const lk_watch_manager *manager);

/**
 * Hears of every event of every service, also of those watched later.
 *
 * manager: not consumed. out: a new handle, the caller's to free with
 * lk_events_free; it ends when the manager is stopped.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next.
 */
lk_status lk_watch_manager_subscribe(const lk_watch_manager *manager, lk_events **out);

/**
 * Stops watching all services together, and waits also for those that were
 * unwatched or replaced and are stuck. Nothing can be watched afterwards.
 *
 * manager: not consumed. grace_ms: how long to wait for all of them. report:
 * how it went, written also when that was not well; may be NULL.
 * Returns: as lk_watcher_stop. Thread: any; from a callback it does not wait
 * for that callback. Blocks for `grace_ms` at most. Next:
 * lk_watch_manager_free.
 */
lk_status lk_watch_manager_stop(const lk_watch_manager *manager,
                                uint64_t grace_ms,
                                lk_stop_report *report);

/**
 * Stops watching, within a second unless a stop has waited already, and lets
 * go of the manager; its members are stale.
 *
 * manager: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for a second at most.
 */
lk_status lk_watch_manager_free(lk_watch_manager *manager);

/**
 * Fills in the default settings; `name` and a probe are still to be set.
 *
 * out: where. size: sizeof(lk_watcher_config).
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
 * Next: lk_watcher_start, lk_watch_manager_watch.
 */
lk_status lk_watcher_config_init(lk_watcher_config *out, size_t size);

/**
 * Starts watching a service. It is probed at once, then with growing delays
 * until it is up, then at the poll interval.
 *
 * env: not consumed. config: copied, and its texts; its `drop` is called
 * once whatever this returns, unless the config itself is NULL or of a wrong
 * size. out: a new handle, the caller's to free with lk_watcher_free.
 * Returns: LK_OK; LK_ERR_INVALID or LK_ERR_CONFIG when a setting cannot be
 * used; LK_ERR_SPAWN or LK_ERR_BUDGET when there is no thread to be had;
 * LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_RANGE; LK_ERR_UTF8; LK_ERR_STALE. Thread:
 * any. Does not block. Next: lk_watcher_wait_ready, lk_watcher_stop.
 */
lk_status lk_watcher_start(const lk_env *env, const lk_watcher_config *config, lk_watcher **out);

/**
 * Makes a watcher that is not started: for a host, which does that, or for
 * lk_watcher_restart.
 *
 * env, config, out: as for lk_watcher_start.
 * Returns: as lk_watcher_start. Thread: any. Does not block. Next:
 * lk_component_of_watcher.
 */
lk_status lk_watcher_new(const lk_env *env, const lk_watcher_config *config, lk_watcher **out);

/**
 * Probes now instead of at the next due; during a probe, right after it.
 *
 * watcher: not consumed.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
 * Does not block.
 */
lk_status lk_watcher_trigger(const lk_watcher *watcher);

/**
 * Stops watching: the probe in progress sees its cancel at once and is waited
 * for a second at most; callbacks that wait are made within `grace_ms`. When
 * it returns LK_OK no callback of this watcher runs or begins any more.
 *
 * watcher: not consumed; it may be started again. grace_ms: how long to wait.
 * report: how it went, written also when that was not well; may be NULL.
 * Returns: LK_OK when all has ended, also when it was stopped before;
 * LK_ERR_TIMEOUT when a thread or a callback did not end in time;
 * LK_ERR_STATE from its own probe, which only cancels; LK_ERR_NULL;
 * LK_ERR_SIZE; LK_ERR_STALE. Thread: any; from a callback it does not wait
 * for that callback, and what is still to be told is dropped and counted.
 * Blocks for `grace_ms` at most. Next: lk_watcher_free, lk_watcher_restart.
 */
lk_status lk_watcher_stop(const lk_watcher *watcher, uint64_t grace_ms, lk_stop_report *report);

/**
 * Starts again after a stop: from unknown, with the start-up's attempts.
 *
 * watcher: not consumed.
 * Returns: LK_OK; LK_ERR_STATE while it runs, is being stopped or an earlier
 * probe is stuck; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE.
 * Thread: any. Does not block.
 */
lk_status lk_watcher_restart(const lk_watcher *watcher);

/**
 * Waits until the service is ready.
 *
 * watcher: not consumed. timeout_ms: how long at most, in real time;
 * LK_FOREVER.
 * Returns: LK_OK when it is ready; LK_ERR_TIMEOUT when the time has passed or
 * the watcher has ended; LK_ERR_NULL; LK_ERR_STALE. Thread: any; a callback of
 * this watcher would wait in vain. Blocks for `timeout_ms` at most.
 */
lk_status lk_watcher_wait_ready(const lk_watcher *watcher, uint64_t timeout_ms);

/**
 * Whether the service is ready.
 *
 * watcher: not consumed.
 * Returns: 1 when it is; else 0, also when `watcher` is no such handle.
 * Thread: any. Does not block.
 */
int32_t lk_watcher_is_ready(const lk_watcher *watcher);

/**
 * Everything about the service at one moment.
 *
 * watcher: not consumed. out: a status that was filled in by
 * lk_loop_status_init.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_watcher_status(const lk_watcher *watcher, lk_loop_status *out);

/**
 * The same as a JSON object.
 *
 * watcher: not consumed. buf, len: where the text goes, with its NUL.
 * needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
 * NULL.
 * Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
 * not block.
 */
lk_status lk_watcher_status_json(const lk_watcher *watcher, char *buf, size_t len, size_t *needed);

/**
 * Hears of every event of this watcher from now on.
 *
 * watcher: not consumed. out: a new handle, the caller's to free with
 * lk_events_free; it ends with the present run of the watcher.
 * Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
 * Next: lk_events_next, lk_events_fd.
 */
lk_status lk_watcher_subscribe(const lk_watcher *watcher, lk_events **out);

/**
 * Stops watching, within its drop grace unless a stop has waited already,
 * and lets go of the watcher.
 *
 * watcher: consumed; NULL does nothing.
 * Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
 * inside a callback of its own. Thread: owner. Blocks for the drop grace at most.
 */
lk_status lk_watcher_free(lk_watcher *watcher);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LOOPKEEPER_H */
