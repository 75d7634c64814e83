/* What callbacks may do: fail in any way, hang, and call whatever they like. */

#include <pthread.h>

#include "fixture.h"

static lk_env *env;

/* What a program may return, and what is made of it. */

static int32_t fail_as_told(void *userdata, const lk_context *cx)
{
    lk_context_set_error(cx, "told to");
    return *(const int32_t *)userdata;
}

static void test_codes(void)
{
    static const int32_t codes[] = {1, 4, 8, 13, 15, 16, 99, 100, -1, INT32_MAX, INT32_MIN};
    size_t i;

    for (i = 0; i < sizeof codes / sizeof *codes; i++) {
        lk_watcher_config config;
        lk_watcher *watcher = NULL;
        lk_events *events = NULL;
        lk_event event;
        /* Nothing is cancelled here. */
        int is_kind = codes[i] >= 1 && codes[i] <= 15 && codes[i] != LK_ERR_CANCELLED;
        lk_status expected = is_kind ? codes[i] : LK_ERR_COMPONENT;
        char text[256];
        int32_t code = codes[i];

        OK(lk_watcher_config_init(&config, sizeof config));
        config.name = "codes";
        config.probe = fail_as_told;
        config.userdata = &code;
        OK(lk_watcher_new(env, &config, &watcher));
        OK(lk_watcher_subscribe(watcher, &events));
        OK(lk_watcher_restart(watcher));
        OK(lk_event_init(&event, sizeof event));
        do
            OK(lk_events_next(events, 10000, &event));
        while (event.kind != LK_EVENT_DOWN);
        CHECK(event.error == expected);
        OK(lk_events_last_text(events, text, sizeof text, NULL));
        CHECK(strstr(text, "told to") != NULL);
        OK(lk_watcher_free(watcher));
        OK(lk_events_free(events));
    }
}

/* Contexts are of one call and one thread. */

static const lk_context *kept;
static int asked;

static int32_t keep_context(void *userdata, const lk_context *cx)
{
    char name[64];
    lk_cancel *cancel = NULL;
    lk_cancel **keep = userdata;

    kept = cx;
    OK(lk_context_name(cx, name, sizeof name, NULL));
    CHECK(strcmp(name, "contexts") == 0);
    CHECK(lk_context_remaining_ms(cx) > 0 && lk_context_remaining_ms(cx) <= 10000);
    CHECK(lk_context_is_cancelled(cx) == 0 && lk_context_is_dry_run(cx) == 0);
    OK(lk_context_sleep(cx, 1));
    IS(LK_ERR_STATE, lk_context_report(cx, "item", LK_HEALTH_READY, NULL));
    IS(LK_ERR_STATE, lk_context_set_degraded(cx, "no checker"));
    OK(lk_context_cancel(cx, &cancel));
    CHECK(lk_cancel_is_cancelled(cancel) == 0);
    if (*keep == NULL)
        *keep = cancel;
    else
        OK(lk_cancel_free(cancel));
    COUNT(asked);
    return LK_OK;
}

static void *use_context(void *argument)
{
    IS(LK_ERR_STALE, lk_context_set_error((const lk_context *)argument, "from elsewhere"));
    CHECK(lk_context_remaining_ms((const lk_context *)argument) == 0);
    return NULL;
}

static void test_contexts(void)
{
    lk_watcher_config config;
    lk_watcher *watcher = NULL;
    lk_cancel *cancel = NULL;
    pthread_t thread;

    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "contexts";
    config.probe = keep_context;
    config.userdata = &cancel;
    OK(lk_watcher_start(env, &config, &watcher));
    OK(lk_watcher_wait_ready(watcher, 10000));
    IS(LK_ERR_STALE, lk_context_set_error(kept, "too late"));
    IS(LK_ERR_STALE, lk_context_step(kept, "too late"));
    IS(LK_ERR_STALE, lk_context_sleep(kept, 1));
    CHECK(lk_context_is_cancelled(kept) == 1);
    CHECK(pthread_create(&thread, NULL, use_context, (void *)(uintptr_t)kept) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    IS(LK_ERR_STALE, lk_context_set_error((const lk_context *)(const void *)&config, "never one"));
    /* The token that was kept knows of the stop. */
    IS(LK_ERR_TIMEOUT, lk_cancel_wait(cancel, 0));
    OK(lk_watcher_stop(watcher, 1000, NULL));
    OK(lk_cancel_wait(cancel, 10000));
    OK(lk_cancel_free(cancel));
    OK(lk_watcher_free(watcher));
}

/* What a call hands to others is theirs: to cancel it ends neither the call nor
 * its loop. */

static int32_t cancel_for_others(void *userdata, const lk_context *cx)
{
    lk_cancel *cancel = NULL;

    OK(lk_context_cancel(cx, &cancel));
    OK(lk_cancel_cancel(cancel));
    CHECK(lk_cancel_is_cancelled(cancel) == 1 && lk_context_is_cancelled(cx) == 0);
    OK(lk_cancel_free(cancel));
    COUNT(*(int *)userdata);
    return LK_OK;
}

static void test_cancel_for_others(void)
{
    lk_watcher_config config;
    lk_watcher *watcher = NULL;
    int n = 0;

    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "others";
    config.probe = cancel_for_others;
    config.userdata = &n;
    OK(lk_watcher_start(env, &config, &watcher));
    OK(lk_watcher_wait_ready(watcher, 10000));
    OK(lk_watcher_trigger(watcher));
    EVENTUALLY(LOAD(n) >= 2);
    OK(lk_watcher_free(watcher));
}

/* Callbacks have the stack that the environment says. */

static int32_t use_stack(void *userdata)
{
    volatile char room[2 << 20];
    size_t i;

    for (i = 0; i < sizeof room; i += 1024)
        room[i] = 1;
    COUNT(*(int *)userdata);
    return room[0] - 1;
}

static void test_stack(void)
{
    lk_env_config settings;
    lk_env *roomy = NULL;
    lk_watcher_config config;
    lk_watcher *watcher = NULL;
    int n = 0;

    OK(lk_env_config_init(&settings, sizeof settings));
    settings.stack_size = 4 << 20;
    OK(lk_env_new(&settings, &roomy));
    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "roomy";
    config.probe = probe_ok;
    config.on_ready = use_stack;
    config.userdata = &n;
    OK(lk_watcher_start(roomy, &config, &watcher));
    EVENTUALLY(LOAD(n) == 1);
    OK(lk_watcher_free(watcher));
    OK(lk_env_free(roomy));
}

/* Calls from inside. */

static lk_watcher *self;
static lk_host *host;
static lk_clock *manual;
static int from_probe, from_ready;

static void inside(void)
{
    lk_stop_report report;

    /* What would wait for the very call. */
    IS(LK_ERR_STATE, lk_watcher_free(self));
    IS(LK_ERR_STATE, lk_clock_settle(manual));
    IS(LK_ERR_STATE, lk_run_descriptor_dir("/", NULL, NULL));
    /* What works. */
    OK(lk_watcher_trigger(self));
    OK(lk_env_trigger(env, "self"));
    OK(lk_stop_report_init(&report, sizeof report));
}

static int32_t probe_inside(void *userdata, const lk_context *cx)
{
    (void)userdata;
    (void)cx;
    if (LOAD(from_probe) == 0) {
        inside();
        COUNT(from_probe);
    }
    return LK_OK;
}

static int32_t ready_inside(void *userdata)
{
    lk_stop_report report;

    (void)userdata;
    inside();
    /* Works: it does not wait for this callback. Nobody is called about the
     * stop itself any more, and that is counted. */
    OK(lk_stop_report_init(&report, sizeof report));
    IS(LK_ERR_TIMEOUT, lk_watcher_stop(self, 1000, &report));
    CHECK(report.stragglers == 0 && report.dropped_callbacks == 1);
    COUNT(from_ready);
    return 0;
}

static int32_t stop_in_probe(void *userdata, const lk_context *cx)
{
    lk_stop_report report;
    (void)cx;
    OK(lk_stop_report_init(&report, sizeof report));
    IS(LK_ERR_STATE, lk_watcher_stop(self, 1000, &report));
    CHECK(report.errors == 1 && report.stragglers == 0);
    CHECK(lk_context_is_cancelled(cx) == 1);
    COUNT(*(int *)userdata);
    return LK_OK;
}

static int32_t host_inside(void *userdata, const lk_context *cx)
{
    lk_member member;
    (void)cx;
    IS(LK_ERR_STATE, lk_host_start(host));
    IS(LK_ERR_STATE, lk_host_free(host));
    OK(lk_host_find(host, "inside", &member));
    IS(LK_ERR_STATE, lk_host_undeploy(host, member, 1000, NULL));
    COUNT(*(int *)userdata);
    return LK_OK;
}

/* A component frees what it has made, though it is in a callback there: one of
 * its host. */

struct part {
    lk_env *env;
    lk_watcher *watcher;
    lk_config *config;
    lk_clock *clock;
    int made, freed, dropped;
};

static void part_dropped(void *userdata)
{
    struct part *part = userdata;
    COUNT(part->dropped);
}

static int32_t part_start(void *userdata, const lk_context *cx)
{
    struct part *part = userdata;
    lk_watcher_config config;

    (void)cx;
    OK(lk_env_new(NULL, &part->env));
    OK(lk_config_new(part->env, &part->config));
    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "part";
    config.probe = probe_ok;
    config.drop = part_dropped;
    config.userdata = part;
    OK(lk_watcher_start(part->env, &config, &part->watcher));
    OK(lk_watcher_wait_ready(part->watcher, 10000));
    COUNT(part->made);
    return LK_OK;
}

static int32_t part_stop(void *userdata, const lk_context *cx)
{
    struct part *part = userdata;

    (void)cx;
    OK(lk_watcher_free(part->watcher));
    /* Its thread has ended. */
    CHECK(LOAD(part->dropped) == LOAD(part->made));
    OK(lk_config_free(part->config));
    OK(lk_env_free(part->env));
    COUNT(part->freed);
    return LK_OK;
}

/* A type of descriptors that answers with a component of another handle. */

static int32_t make_part(void *userdata, const char *name, const char *config_json,
                         lk_component_config *out, char *buf, size_t len)
{
    lk_watcher_config config;
    lk_watcher *watcher = NULL;
    lk_component **component = userdata;

    (void)config_json;
    (void)buf;
    (void)len;
    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = name;
    config.probe = probe_ok;
    OK(lk_watcher_new(env, &config, &watcher));
    OK(lk_component_of_watcher(watcher, component));
    OK(lk_watcher_free(watcher));
    out->component = *component;
    return LK_OK;
}

static void test_parts(void)
{
    static struct part part;
    lk_component_config component;
    lk_host *parts = NULL;
    lk_type type;
    lk_component *made = NULL;
    lk_member member;
    int i;

    OK(lk_host_new(env, NULL, &parts));
    OK(lk_host_start(parts));
    OK(lk_component_config_init(&component, sizeof component));
    component.name = "part";
    component.start = part_start;
    component.stop = part_stop;
    component.userdata = &part;
    for (i = 0; i < 3; i++) {
        OK(lk_host_deploy(parts, &component, &member));
        EVENTUALLY(LOAD(part.made) == i + 1);
        OK(lk_host_undeploy(parts, member, 10000, NULL));
    }
    CHECK(LOAD(part.made) == 3 && LOAD(part.freed) == 3);
    OK(lk_type_init(&type, sizeof type));
    type.name = "part";
    type.make = make_part;
    type.userdata = &made;
    OK(lk_host_add_type(parts, &type));
    OK(lk_host_deploy_json(parts, "{\"name\": \"p\", \"type\": \"part\", \"config\": {}}", NULL));
    OK(lk_component_free(made));
    OK(lk_env_trigger(env, "p"));
    OK(lk_host_free(parts));
}

static void test_inside(void)
{
    lk_watcher_config config;
    lk_component_config component;
    int n = 0;

    OK(lk_clock_new(&manual));
    OK(lk_host_new(env, NULL, &host));
    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "self";
    config.probe = probe_inside;
    config.on_ready = ready_inside;
    OK(lk_watcher_new(env, &config, &self));
    OK(lk_watcher_restart(self));
    EVENTUALLY(LOAD(from_ready) == 1);
    CHECK(LOAD(from_probe) == 1);
    OK(lk_watcher_stop(self, 5000, NULL));
    OK(lk_watcher_free(self));

    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "self";
    config.probe = stop_in_probe;
    config.userdata = &n;
    OK(lk_watcher_new(env, &config, &self));
    OK(lk_watcher_restart(self));
    EVENTUALLY(LOAD(n) == 1);
    OK(lk_watcher_stop(self, 5000, NULL));
    OK(lk_watcher_free(self));

    OK(lk_component_config_init(&component, sizeof component));
    component.name = "inside";
    component.start = host_inside;
    component.stop = host_inside;
    component.userdata = &n;
    OK(lk_host_register(host, &component, NULL));
    OK(lk_host_start(host));
    OK(lk_host_stop(host, 5000, NULL));
    CHECK(LOAD(n) == 3);
    OK(lk_host_free(host));
    OK(lk_clock_free(manual));
}

/* A call that hangs, and one that never returns before it is let go. */

static int hold;

static int32_t hang(void *userdata, const lk_context *cx)
{
    (void)userdata;
    OK(lk_context_step(cx, "waiting for\na word"));
    while (LOAD(hold)) {
        struct timespec nap = {0, 1000000};
        nanosleep(&nap, NULL);
    }
    return LK_OK;
}

static int drops;

static void count_drop(void *userdata)
{
    (void)userdata;
    COUNT(drops);
}

static void test_hang(void)
{
    lk_watcher_config config;
    lk_watcher *watcher = NULL;
    lk_loop_status status;
    lk_stop_report report;

    STORE(hold, 1);
    STORE(drops, 0);
    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "hangs";
    config.probe = hang;
    config.drop = count_drop;
    config.probe_timeout_ms = 20;
    config.drop_grace_ms = 50;
    OK(lk_watcher_start(env, &config, &watcher));
    OK(lk_loop_status_init(&status, sizeof status));
    EVENTUALLY(lk_watcher_status(watcher, &status) == LK_OK && status.health == LK_HEALTH_DOWN);
    CHECK(status.timeouts >= 1 && status.overdue_for_us != UINT64_MAX);
    CHECK(strcmp(status.call_phase, "waiting for\na word") == 0 && status.call_phase_for_us != UINT64_MAX);
    CHECK(status.age_us != UINT64_MAX && status.stale == 0 && status.reserved2 == 0);
#ifdef __linux__
    /* It wakes up now and then, and may be seen doing that. */
    CHECK(status.activity != LK_ACTIVITY_UNKNOWN);
#endif
    OK(lk_stop_report_init(&report, sizeof report));
    IS(LK_ERR_TIMEOUT, lk_watcher_stop(watcher, 50, &report));
    CHECK(report.stragglers == 1 && strstr(report.text, "hangs is still in") != NULL);
    CHECK(strcmp(report.straggler, "hangs") == 0 && strcmp(report.thread, "w/hangs") == 0);
    CHECK(strcmp(report.call_phase, "waiting for\na word") == 0 && report.tid != 0);
#ifdef __linux__
    CHECK(report.activity != LK_ACTIVITY_UNKNOWN);
#endif
    CHECK(strcmp(report.text, lk_last_error_message()) == 0);
    OK(lk_watcher_free(watcher));
    CHECK(LOAD(drops) == 0);
    STORE(hold, 0);
    EVENTUALLY(LOAD(drops) == 1);
}

/* `drop` is called once for each table, whatever becomes of it. */

static void test_drop(void)
{
    lk_watcher_config watcher;
    lk_component_config component;
    lk_controller_config controller;
    lk_monitor_config monitor;
    lk_checker checker;
    lk_recovery_config recovery;
    lk_type type;
    lk_env_config environment;
    lk_observer observer;
    lk_log log;
    lk_host *its_host = NULL;
    lk_monitor *its_monitor = NULL;
    lk_watcher *no_watcher = NULL;
    lk_controller *no_controller = NULL;
    lk_recovery *no_recovery = NULL;
    lk_env *no_env = NULL;

    STORE(drops, 0);
    OK(lk_host_new(env, NULL, &its_host));
    OK(lk_watcher_config_init(&watcher, sizeof watcher));
    watcher.drop = count_drop;
    IS(LK_ERR_NULL, lk_watcher_start(env, &watcher, &no_watcher));
    CHECK(LOAD(drops) == 1);
    watcher.name = "not a name";
    watcher.probe = probe_ok;
    IS(LK_ERR_INVALID, lk_watcher_start(env, &watcher, &no_watcher));
    CHECK(LOAD(drops) == 2);
    IS(LK_ERR_NULL, lk_watcher_start(NULL, &watcher, &no_watcher));
    CHECK(LOAD(drops) == 3);
    IS(LK_ERR_NULL, lk_watcher_start(env, &watcher, NULL));
    CHECK(LOAD(drops) == 4 && no_watcher == NULL);
    watcher.name = "both";
    watcher.probe_json = "{\"tcp\": {\"address\": \"a:1\"}}";
    IS(LK_ERR_INVALID, lk_watcher_start(env, &watcher, &no_watcher));
    CHECK(LOAD(drops) == 5);
    watcher.size = 3;
    IS(LK_ERR_SIZE, lk_watcher_start(env, &watcher, &no_watcher));
    CHECK(LOAD(drops) == 5);

    STORE(drops, 0);
    OK(lk_component_config_init(&component, sizeof component));
    component.name = "c";
    component.start = probe_ok;
    component.drop = count_drop;
    IS(LK_ERR_INVALID, lk_host_register(its_host, &component, NULL));
    CHECK(LOAD(drops) == 1);
    component.stop = probe_ok;
    OK(lk_host_register(its_host, &component, NULL));
    CHECK(LOAD(drops) == 1);
    IS(LK_ERR_DUPLICATE, lk_host_register(its_host, &component, NULL));
    CHECK(LOAD(drops) == 2);
    component.name = "d";
    component.requires_json = "[\"d\", 7]";
    IS(LK_ERR_CONFIG, lk_host_register(its_host, &component, NULL));
    CHECK(LOAD(drops) == 3);

    STORE(drops, 0);
    OK(lk_type_init(&type, sizeof type));
    type.name = "watcher";
    type.make = make_none;
    type.drop = count_drop;
    IS(LK_ERR_DUPLICATE, lk_host_add_type(its_host, &type));
    CHECK(LOAD(drops) == 1);
    type.name = "none";
    OK(lk_host_add_type(its_host, &type));
    CHECK(LOAD(drops) == 1);
    IS(LK_ERR_INVALID, lk_host_deploy_json(its_host, "{\"name\": \"n\", \"type\": \"none\", \"config\": {}}", NULL));
    CHECK(strstr(lk_last_error_message(), "nothing of the kind") != NULL);
    OK(lk_host_free(its_host));
    /* The type's, and that of the component c. */
    CHECK(LOAD(drops) == 3);

    STORE(drops, 0);
    OK(lk_controller_config_init(&controller, sizeof controller));
    controller.name = "c";
    controller.drop = count_drop;
    IS(LK_ERR_NULL, lk_controller_start(env, &controller, &no_controller));
    controller.reconcile = probe_ok;
    controller.overrun = 9;
    IS(LK_ERR_RANGE, lk_controller_start(env, &controller, &no_controller));
    controller.overrun = LK_OVERRUN_SKIP;
    controller.interval_ms = 0;
    IS(LK_ERR_INVALID, lk_controller_start(env, &controller, &no_controller));
    CHECK(LOAD(drops) == 3);

    STORE(drops, 0);
    OK(lk_monitor_config_init(&monitor, sizeof monitor));
    monitor.name = "m";
    monitor.json = "{\"poll_period\": 0}";
    monitor.drop = count_drop;
    IS(LK_ERR_CONFIG, lk_monitor_new(env, &monitor, &its_monitor));
    CHECK(LOAD(drops) == 1);
    monitor.json = NULL;
    OK(lk_monitor_new(env, &monitor, &its_monitor));
    OK(lk_checker_init(&checker, sizeof checker));
    checker.name = "k";
    checker.drop = count_drop;
    IS(LK_ERR_NULL, lk_monitor_add_checker(its_monitor, &checker));
    checker.check = probe_ok;
    OK(lk_monitor_add_checker(its_monitor, &checker));
    OK(lk_monitor_start(its_monitor));
    IS(LK_ERR_STATE, lk_monitor_add_checker(its_monitor, &checker));
    OK(lk_monitor_free(its_monitor));
    EVENTUALLY(LOAD(drops) == 5);

    STORE(drops, 0);
    OK(lk_recovery_config_init(&recovery, sizeof recovery));
    recovery.name = "r";
    recovery.drop = count_drop;
    recovery.fetch = fetch_ok;
    IS(LK_ERR_NULL, lk_recovery_start(env, &recovery, &no_recovery));
    recovery.restore = restore_ok;
    recovery.policy_json = "{\"max_attempts\": 0}";
    IS(LK_ERR_CONFIG, lk_recovery_start(env, &recovery, &no_recovery));
    CHECK(LOAD(drops) == 2);

    STORE(drops, 0);
    OK(lk_observer_init(&observer, sizeof observer));
    observer.drop = count_drop;
    OK(lk_log_init(&log, sizeof log));
    log.drop = count_drop;
    OK(lk_env_config_init(&environment, sizeof environment));
    environment.observer = &observer;
    environment.log = &log;
    IS(LK_ERR_NULL, lk_env_new(&environment, &no_env));
    CHECK(LOAD(drops) == 2);
}

/* An observer may ask whatever it likes, wherever it is called. */

static lk_watch_manager *asked_watchers;
static lk_controller_manager *asked_controllers;
static lk_env *asked_env;
static int asks;

static void ask_all(void)
{
    char text[64];

    COUNT(asks);
    (void)lk_watch_manager_health(asked_watchers);
    (void)lk_watch_manager_all_json(asked_watchers, text, sizeof text, NULL);
    (void)lk_controller_manager_health(asked_controllers);
    (void)lk_controller_manager_all_json(asked_controllers, text, sizeof text, NULL);
    (void)lk_env_status_json(asked_env, text, sizeof text, NULL);
    (void)lk_env_events_json(asked_env, 0, 10, text, sizeof text, NULL);
}

static void *ask_for_instrument(void *userdata, const char *name, const lk_attr *labels, size_t n)
{
    (void)name;
    (void)labels;
    (void)n;
    ask_all();
    return userdata;
}

static void ask_at_add(void *userdata, void *counter, uint64_t n)
{
    (void)userdata;
    (void)counter;
    (void)n;
    ask_all();
}

static void ask_at_value(void *userdata, void *instrument, double value)
{
    (void)userdata;
    (void)instrument;
    (void)value;
    ask_all();
}

static void ask_at_end(void *userdata, void *span)
{
    (void)userdata;
    (void)span;
    ask_all();
}

static void ask_at_event(void *userdata, const lk_event *event, const char *text)
{
    (void)userdata;
    (void)event;
    (void)text;
    ask_all();
}

static void test_observer_inside(void)
{
    lk_env_config settings;
    lk_observer observer;
    lk_watcher_config config;
    lk_controller_config controller;
    lk_component *components[2] = {NULL, NULL};
    lk_component_config component;
    lk_host *host = NULL;
    lk_member member;
    int i;

    OK(lk_observer_init(&observer, sizeof observer));
    observer.on_event = ask_at_event;
    observer.counter = observer.gauge = observer.histogram = observer.span = ask_for_instrument;
    observer.counter_add = ask_at_add;
    observer.gauge_set = observer.histogram_observe = ask_at_value;
    observer.span_end = ask_at_end;
    OK(lk_env_config_init(&settings, sizeof settings));
    settings.observer = &observer;
    OK(lk_env_new(&settings, &asked_env));
    OK(lk_watch_manager_new(asked_env, &asked_watchers));
    OK(lk_controller_manager_new(asked_env, 0, &asked_controllers));
    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "w";
    config.probe = probe_ok;
    OK(lk_watch_manager_watch(asked_watchers, &config, &member));
    OK(lk_watch_manager_wait_ready(asked_watchers, member, 10000));
    OK(lk_watch_manager_replace(asked_watchers, &config, 1000, NULL, &member));
    OK(lk_controller_config_init(&controller, sizeof controller));
    controller.reconcile = probe_ok;
    controller.name = "before";
    OK(lk_controller_manager_register(asked_controllers, &controller));
    OK(lk_controller_manager_start(asked_controllers));
    controller.name = "after";
    OK(lk_controller_manager_register(asked_controllers, &controller));
    /* Stopped and started again by a host. */
    OK(lk_controller_manager_stop(asked_controllers, 1000, NULL));
    OK(lk_watch_manager_stop(asked_watchers, 1000, NULL));
    OK(lk_host_new(asked_env, NULL, &host));
    OK(lk_component_of_watch_manager(asked_watchers, &components[0]));
    OK(lk_component_of_controller_manager(asked_controllers, &components[1]));
    for (i = 0; i < 2; i++) {
        OK(lk_component_config_init(&component, sizeof component));
        component.name = i == 0 ? "watchers" : "controllers";
        component.component = components[i];
        OK(lk_host_register(host, &component, NULL));
        OK(lk_component_free(components[i]));
    }
    OK(lk_host_start(host));
    OK(lk_host_stop(host, 5000, NULL));
    OK(lk_host_free(host));
    OK(lk_controller_manager_free(asked_controllers));
    OK(lk_watch_manager_free(asked_watchers));
    OK(lk_env_free(asked_env));
    CHECK(LOAD(asks) > 0);
}

int main(void)
{
    OK(lk_env_new(NULL, &env));
    test_codes();
    test_contexts();
    test_cancel_for_others();
    test_stack();
    test_inside();
    test_parts();
    test_hang();
    test_drop();
    test_observer_inside();
    OK(lk_env_free(env));
    puts("well");
    return 0;
}
