/* Every part of the library, used once as it is meant. */

#include "fixture.h"

static lk_env *env;

/* What happens is heard by an observer and a log. */

static int events_heard, lines_heard, counters, added, gauges, set, histograms, observed, begun, ended, drops;

static void count_drop(void *userdata)
{
    (void)userdata;
    COUNT(drops);
}

static void hear_event(void *userdata, const lk_event *event, const char *text)
{
    (void)userdata;
    CHECK(event->size == sizeof *event && event->seq > 0 && strlen(text) > 0);
    COUNT(events_heard);
}

static void *make_counter(void *userdata, const char *name, const lk_attr *labels, size_t n_labels)
{
    CHECK(strlen(name) > 0 && (n_labels == 0 || labels[0].key[0] != 0));
    COUNT(counters);
    return userdata;
}

static void add(void *userdata, void *counter, uint64_t n)
{
    CHECK(userdata == counter && n > 0);
    COUNT(added);
}

static void *make_gauge(void *userdata, const char *name, const lk_attr *labels, size_t n_labels)
{
    (void)name;
    (void)labels;
    (void)n_labels;
    COUNT(gauges);
    return userdata;
}

static void set_gauge(void *userdata, void *gauge, double value)
{
    (void)value;
    CHECK(userdata == gauge);
    COUNT(set);
}

static void *make_histogram(void *userdata, const char *name, const lk_attr *labels, size_t n_labels)
{
    (void)name;
    (void)labels;
    (void)n_labels;
    COUNT(histograms);
    return userdata;
}

static void observe(void *userdata, void *histogram, double value)
{
    CHECK(userdata == histogram && value >= 0.0);
    COUNT(observed);
}

static void *begin_span(void *userdata, const char *name, const lk_attr *attrs, size_t n_attrs)
{
    (void)name;
    (void)attrs;
    (void)n_attrs;
    COUNT(begun);
    return userdata;
}

static void end_span(void *userdata, void *span)
{
    CHECK(userdata == span);
    COUNT(ended);
}

static void hear_line(void *userdata, lk_log_level level, const char *target, const char *text)
{
    (void)userdata;
    CHECK(level >= LK_LOG_ERROR && level <= LK_LOG_DEBUG && strlen(target) > 0 && strlen(text) > 0);
    COUNT(lines_heard);
}

static void test_observer(void)
{
    lk_env_config config;
    lk_observer observer;
    lk_log log;
    lk_env *observed_env = NULL;
    lk_watcher_config watcher_config;
    lk_watcher *watcher = NULL;

    OK(lk_observer_init(&observer, sizeof observer));
    observer.userdata = &observer;
    observer.drop = count_drop;
    observer.on_event = hear_event;
    observer.counter = make_counter;
    observer.counter_add = add;
    observer.gauge = make_gauge;
    observer.gauge_set = set_gauge;
    observer.histogram = make_histogram;
    observer.histogram_observe = observe;
    observer.span = begin_span;
    observer.span_end = end_span;
    OK(lk_log_init(&log, sizeof log));
    log.write = hear_line;
    log.max_level = LK_LOG_DEBUG;
    log.drop = count_drop;
    OK(lk_env_config_init(&config, sizeof config));
    config.observer = &observer;
    config.log = &log;
    OK(lk_env_new(&config, &observed_env));
    OK(lk_watcher_config_init(&watcher_config, sizeof watcher_config));
    watcher_config.name = "observed";
    watcher_config.probe = probe_ok;
    OK(lk_watcher_start(observed_env, &watcher_config, &watcher));
    OK(lk_watcher_wait_ready(watcher, 10000));
    OK(lk_watcher_stop(watcher, 10000, NULL));
    OK(lk_watcher_free(watcher));
    OK(lk_env_free(observed_env));
    CHECK(events_heard >= 3 && lines_heard >= 3);
    CHECK(counters > 0 && added > 0 && gauges > 0 && set > 0 && histograms > 0 && observed > 0);
    CHECK(begun == 1 && ended == 1 && drops == 2);
}

/* Probes that come with the library, by their configuration. */

static void test_probes(void)
{
    static const struct {
        const char *json;
        const char *error;
    } probes[] = {
        {"{\"dns\": {\"host\": \"localhost\"}}", NULL},
        {"{\"unix\": {\"path\": \"/no/such.sock\"}}", "unix /no/such.sock: no such file or folder"},
        {"{\"dns\": {\"host\": \"localhost\", \"expect_address\": [\"192.0.2.1\"]}}",
         "dns localhost: 192.0.2.1 is not among its addresses"},
        {"{\"http\": {\"url\": \"http://127.0.0.1:1/\", \"expect_json\": \"body./a == 1\"}}",
         "GET http://127.0.0.1:1/: connection refused"},
    };
    lk_env *own = NULL;
    lk_watcher_config config;
    size_t i;

    OK(lk_env_new(NULL, &own));
    for (i = 0; i < sizeof probes / sizeof *probes; i++) {
        lk_watcher *watcher = NULL;
        lk_loop_status status;

        OK(lk_watcher_config_init(&config, sizeof config));
        config.name = "shipped";
        config.probe_json = probes[i].json;
        OK(lk_watcher_start(own, &config, &watcher));
        OK(lk_loop_status_init(&status, sizeof status));
        EVENTUALLY(lk_watcher_status(watcher, &status) == LK_OK && status.health != LK_HEALTH_UNKNOWN);
        CHECK(status.health == (probes[i].error == NULL ? LK_HEALTH_READY : LK_HEALTH_DOWN));
        CHECK(probes[i].error == NULL || strncmp(status.last_error, probes[i].error, strlen(probes[i].error)) == 0);
        OK(lk_watcher_free(watcher));
    }
    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "shipped";
    config.probe_json = "{\"http\": {\"url\": \"http://127.0.0.1:1/\", \"expect_json\": \"age(/x) < 1h\"}}";
    {
        lk_watcher *watcher = NULL;

        IS(LK_ERR_CONFIG, lk_watcher_start(own, &config, &watcher));
        CHECK(watcher == NULL && strstr(lk_last_error_message(), "expected the answer only") != NULL);
    }
    OK(lk_env_free(own));
}

/* Heartbeats, by the clock of a test. */

static void test_heartbeat(void)
{
    lk_clock *clock = NULL;
    lk_env_config config;
    lk_env *manual = NULL;
    lk_watcher_config watcher_config;
    lk_watcher *watcher = NULL;
    lk_loop_status status;

    OK(lk_clock_new(&clock));
    OK(lk_env_config_init(&config, sizeof config));
    config.clock = clock;
    OK(lk_env_new(&config, &manual));
    OK(lk_watcher_config_init(&watcher_config, sizeof watcher_config));
    watcher_config.name = "ingest";
    watcher_config.probe_json = "{\"heartbeat\": {\"grace\": \"30s\"}}";
    watcher_config.poll_interval_ms = 10000;
    OK(lk_watcher_start(manual, &watcher_config, &watcher));
    OK(lk_clock_settle(clock));
    OK(lk_loop_status_init(&status, sizeof status));
    OK(lk_watcher_status(watcher, &status));
    CHECK(status.health == LK_HEALTH_UNKNOWN && strcmp(status.last_error, "heartbeat: none yet") == 0);
    OK(lk_env_heartbeat(manual, "ingest"));
    OK(lk_clock_settle(clock));
    CHECK(lk_watcher_is_ready(watcher) == 1);
    OK(lk_clock_run_for(clock, 25000));
    CHECK(lk_watcher_is_ready(watcher) == 1);
    OK(lk_clock_run_for(clock, 20000));
    CHECK(lk_watcher_is_ready(watcher) == 0);
    OK(lk_env_heartbeat(manual, "ingest"));
    OK(lk_clock_settle(clock));
    CHECK(lk_watcher_is_ready(watcher) == 1);
    OK(lk_env_heartbeat_down(manual, "ingest", "the disk is\nfull"));
    OK(lk_clock_settle(clock));
    OK(lk_watcher_status(watcher, &status));
    CHECK(status.health == LK_HEALTH_DOWN);
    CHECK(strcmp(status.last_error, "heartbeat: it says that it is down: the disk is\\nfull") == 0);
    OK(lk_env_heartbeat(manual, "ingest"));
    OK(lk_clock_settle(clock));
    CHECK(lk_watcher_is_ready(watcher) == 1);
    IS(LK_ERR_NOT_FOUND, lk_env_heartbeat_down(manual, "ingets", "x"));
    IS(LK_ERR_NULL, lk_env_heartbeat_down(manual, "ingest", NULL));
    IS(LK_ERR_NOT_FOUND, lk_env_heartbeat(manual, "ingets"));
    OK(lk_clock_jump(clock, 60000));
    CHECK(lk_clock_now_ms(clock) == 105000);
    OK(lk_watcher_free(watcher));
    OK(lk_env_free(manual));
    OK(lk_clock_free(clock));
}

/* Controllers: pause, resume, dry run, a manager. */

static int runs;

static int32_t count_run(void *userdata, const lk_context *cx)
{
    (void)userdata;
    COUNT(runs);
    if (lk_context_is_dry_run(cx))
        COUNT(*(int *)userdata);
    return LK_OK;
}

static void test_controllers(void)
{
    lk_controller_config config;
    lk_controller *controller = NULL;
    lk_controller_manager *manager = NULL;
    lk_events *events = NULL;
    lk_event event;
    lk_loop_status status;
    lk_loop_status rows[4];
    size_t count = 0;
    int dry = 0;
    int i;

    OK(lk_controller_config_init(&config, sizeof config));
    config.name = "c";
    config.reconcile = count_run;
    config.userdata = &dry;
    config.paused = 1;
    OK(lk_controller_start(env, &config, &controller));
    OK(lk_controller_subscribe(controller, &events));
    CHECK(LOAD(runs) == 0);
    OK(lk_controller_trigger(controller));
    OK(lk_controller_wait_ready(controller, 10000));
    CHECK(LOAD(runs) == 1);
    OK(lk_controller_resume(controller));
    OK(lk_event_init(&event, sizeof event));
    do
        OK(lk_events_next(events, 10000, &event));
    while (event.kind != LK_EVENT_RESUMED);
    OK(lk_controller_pause(controller));
    OK(lk_controller_stop(controller, 10000, NULL));
    OK(lk_controller_restart(controller));
    OK(lk_controller_free(controller));
    OK(lk_events_free(events));

    OK(lk_controller_manager_new(env, 1, &manager));
    config.paused = 0;
    OK(lk_controller_manager_register(manager, &config));
    IS(LK_ERR_DUPLICATE, lk_controller_manager_register(manager, &config));
    OK(lk_controller_manager_start(manager));
    EVENTUALLY(LOAD(dry) == 1);
    OK(lk_controller_manager_trigger(manager, "c"));
    EVENTUALLY(LOAD(dry) == 2);
    OK(lk_controller_manager_pause(manager, "c"));
    OK(lk_controller_manager_resume(manager, "c"));
    EVENTUALLY(lk_controller_manager_health(manager) == LK_HEALTH_READY);
    OK(lk_loop_status_init(&status, sizeof status));
    OK(lk_controller_manager_status(manager, "c", &status));
    CHECK(status.kind == LK_LOOP_CONTROLLER && status.runs >= 2);
    for (i = 0; i < 4; i++)
        OK(lk_loop_status_init(&rows[i], sizeof rows[i]));
    OK(lk_controller_manager_loops(manager, rows, 4, &count));
    CHECK(count == 1 && strcmp(rows[0].name, "c") == 0 && rows[1].name[0] == 0);
    OK(lk_env_loops(env, NULL, 0, &count));
    CHECK(count == 1);
    OK(lk_controller_manager_remove(manager, "c", 10000, NULL));
    IS(LK_ERR_NOT_FOUND, lk_controller_manager_trigger(manager, "c"));
    OK(lk_controller_manager_stop(manager, 10000, NULL));
    OK(lk_controller_manager_free(manager));
}

/* A monitor: its own checkers, and one that comes with the library. */

static int changes;

static int32_t on_change(void *userdata, const char *checker, lk_health health, const char *reason)
{
    (void)userdata;
    if (checker == NULL && health == LK_HEALTH_DEGRADED && strstr(reason, "half") != NULL)
        COUNT(changes);
    return 0;
}

static int32_t check_half(void *userdata, const lk_context *cx)
{
    (void)userdata;
    OK(lk_context_set_degraded(cx, "half of it works"));
    return LK_OK;
}

/* What it reports counts though it forgot has_items. */
static int32_t check_forgetful(void *userdata, const lk_context *cx)
{
    (void)userdata;
    OK(lk_context_report(cx, "shelf", LK_HEALTH_DOWN, "it fell over"));
    return LK_OK;
}

/* An answer is for others, and makes nothing degraded. */
static int32_t check_talkative(void *userdata, const lk_context *cx)
{
    (void)userdata;
    OK(lk_context_set_answer(cx, "so they say"));
    return LK_OK;
}

static void test_monitor(void)
{
    lk_monitor_config config;
    lk_checker checker;
    lk_monitor *monitor = NULL;
    char json[8192];

    OK(lk_monitor_config_init(&config, sizeof config));
    config.name = "m";
    config.json = "{\"checkers\": [{\"name\": \"root\", \"disk\": {\"paths\": [\"/\"], \"min_free\": 1}}]}";
    config.on_change = on_change;
    OK(lk_monitor_new(env, &config, &monitor));
    OK(lk_checker_init(&checker, sizeof checker));
    checker.name = "half";
    checker.check = check_half;
    OK(lk_monitor_add_checker(monitor, &checker));
    IS(LK_ERR_STATE, lk_monitor_trigger(monitor));
    OK(lk_monitor_start(monitor));
    IS(LK_ERR_STATE, lk_monitor_start(monitor));
    EVENTUALLY(LOAD(changes) == 1);
    OK(lk_monitor_trigger(monitor));
    OK(lk_monitor_status_json(monitor, json, sizeof json, NULL));
    CHECK(strstr(json, "half of it works") != NULL && strstr(json, "\"root\"") != NULL);
    OK(lk_monitor_stop(monitor, 10000, NULL));
    OK(lk_monitor_start(monitor));
    OK(lk_monitor_free(monitor));

    OK(lk_monitor_config_init(&config, sizeof config));
    config.name = "said";
    OK(lk_monitor_new(env, &config, &monitor));
    checker.name = "talkative";
    checker.check = check_talkative;
    OK(lk_monitor_add_checker(monitor, &checker));
    checker.name = "forgetful";
    checker.check = check_forgetful;
    OK(lk_monitor_add_checker(monitor, &checker));
    OK(lk_monitor_start(monitor));
    EVENTUALLY(lk_monitor_status_json(monitor, json, sizeof json, NULL) == LK_OK &&
               strstr(json, "shelf is down: it fell over") != NULL);
    CHECK(strstr(json, "so they say") == NULL);
    OK(lk_monitor_free(monitor));
}

/* Recovery: all its callbacks. */

static int retired, lost;

static int32_t fetch(void *userdata, const lk_context *cx, const char *run)
{
    (void)userdata;
    return lk_context_set_answer(cx, strcmp(run, "good") == 0 || strcmp(run, "new") == 0
                                         ? "{}"
                                         : "{\"corrupted\": true}");
}

static int32_t checkpoints(void *userdata, const lk_context *cx, const char *run)
{
    (void)userdata;
    if (strcmp(run, "lost") == 0) {
        lk_context_set_error(cx, "no such run");
        lk_context_set_terminal(cx, 1);
        return LK_ERR_NOT_FOUND;
    }
    return lk_context_set_answer(cx, "[{\"path\": \"a/1\"}, {\"path\": \"a/2\", \"size_bytes\": 7}]");
}

static int32_t restore(void *userdata, const lk_context *cx, const lk_restore *request)
{
    (void)userdata;
    CHECK(request->size == sizeof *request && request->restore_optimizer == 1);
    CHECK(strstr(request->checkpoint_json, request->checkpoint_path) != NULL);
    return lk_context_set_answer(cx, "new");
}

static int32_t retire(void *userdata, const lk_context *cx, const char *run)
{
    (void)userdata;
    (void)cx;
    CHECK(strcmp(run, "bad") == 0);
    COUNT(retired);
    return LK_OK;
}

static int32_t on_failure(void *userdata, const char *run, lk_status error, const char *text)
{
    (void)userdata;
    (void)error;
    CHECK(strcmp(run, "lost") == 0 && strlen(text) > 0);
    COUNT(lost);
    return 0;
}

/* Executors: runs that the program itself found to be corrupted. */

struct asked {
    int restored, lost, fetched, dropped;
    int held; /* An attempt waits while it is set. */
};

static int32_t fetch_told(void *userdata, const lk_context *cx, const char *run)
{
    struct asked *asked = userdata;
    (void)run;
    COUNT(asked->fetched);
    return lk_context_set_answer(cx, "{\"corrupted\": true, \"last_checkpoint\": {\"path\": \"fetched\"}}");
}

static int32_t restore_told(void *userdata, const lk_context *cx, const lk_restore *request)
{
    struct asked *asked = userdata;
    while (LOAD(asked->held) && lk_context_sleep(cx, 1) == LK_OK)
        ;
    if (strcmp(request->run, "broken") == 0) {
        lk_context_set_error(cx, "no room");
        return LK_ERR_IO;
    }
    return lk_context_set_answer(cx, request->checkpoint_path);
}

static int32_t on_told_recovery(void *userdata, const char *run, const char *restored, const char *checkpoint,
                                uint32_t attempt)
{
    struct asked *asked = userdata;
    CHECK(strcmp(restored, checkpoint) == 0 && attempt == 1);
    CHECK(strcmp(checkpoint, strcmp(run, "asks") == 0 ? "fetched" : "told") == 0);
    COUNT(asked->restored);
    return 0;
}

static int32_t on_told_failure(void *userdata, const char *run, lk_status error, const char *text)
{
    struct asked *asked = userdata;
    CHECK(strcmp(run, "broken") == 0 && error != LK_OK && strstr(text, "no room") != NULL);
    COUNT(asked->lost);
    return 0;
}

static void drop_told(void *userdata)
{
    struct asked *asked = userdata;
    COUNT(asked->dropped);
}

static void test_executor(void)
{
    static struct asked asked;
    lk_recovery_config config;
    lk_executor *executor = NULL;
    lk_events *events = NULL;
    lk_event event;
    lk_loop_status status;
    char json[4096];

    OK(lk_recovery_config_init(&config, sizeof config));
    config.name = "on-request";
    config.fetch = fetch_told;
    config.restore = restore_told;
    config.on_recovery = on_told_recovery;
    config.on_failure = on_told_failure;
    config.drop = drop_told;
    config.userdata = &asked;
    config.policy_json = "{\"max_attempts\": 1}";
    config.max_queued = 1;
    OK(lk_executor_start(env, &config, &executor));
    OK(lk_executor_subscribe(executor, &events));

    STORE(asked.held, 1);
    OK(lk_executor_recover(executor, "tells", "told", "{\"team\": \"north\"}"));
    IS(LK_ERR_DUPLICATE, lk_executor_recover(executor, "tells", "told", NULL));
    EVENTUALLY(lk_executor_runs_json(executor, json, sizeof json, NULL) == LK_OK &&
               strstr(json, "\"attempt\":1") != NULL);
    OK(lk_executor_recover(executor, "asks", NULL, NULL));
    IS(LK_ERR_BUDGET, lk_executor_recover(executor, "another", NULL, NULL));
    IS(LK_ERR_INVALID, lk_executor_recover(executor, "", NULL, NULL));
    IS(LK_ERR_INVALID, lk_executor_recover(executor, "another", NULL, "[1]"));
    IS(LK_ERR_STATE, lk_executor_retry(executor, "asks"));
    IS(LK_ERR_NOT_FOUND, lk_executor_retry(executor, "nobody"));
    IS(LK_ERR_NOT_FOUND, lk_executor_cancel(executor, "nobody"));
    IS(LK_ERR_TIMEOUT, lk_executor_drain(executor, 1));
    IS(LK_ERR_STATE, lk_executor_recover(executor, "another", NULL, NULL));
    STORE(asked.held, 0);
    OK(lk_executor_drain(executor, 10000));
    EVENTUALLY(LOAD(asked.restored) == 2);
    CHECK(LOAD(asked.fetched) == 1);
    OK(lk_event_init(&event, sizeof event));
    OK(lk_events_next(events, 10000, &event));

    OK(lk_executor_stop(executor, 10000, NULL));
    OK(lk_executor_restart(executor));
    OK(lk_executor_recover(executor, "broken", "told", NULL));
    EVENTUALLY(LOAD(asked.lost) == 1);
    OK(lk_loop_status_init(&status, sizeof status));
    OK(lk_executor_status(executor, &status));
    CHECK(strcmp(status.name, "on-request") == 0);
    OK(lk_executor_status_json(executor, json, sizeof json, NULL));
    CHECK(strstr(json, "\"on-request\"") != NULL);
    CHECK(LOAD(asked.dropped) == 0);
    OK(lk_executor_free(executor));
    CHECK(LOAD(asked.dropped) == 1);
    OK(lk_events_free(events));
}

static void test_recovery(void)
{
    lk_recovery_config config;
    lk_recovery *recovery = NULL, *other = NULL;
    char json[4096];

    OK(lk_recovery_config_init(&config, sizeof config));
    config.name = "r";
    config.state_file = "runs.json";
    config.fetch = fetch;
    config.checkpoints = checkpoints;
    config.restore = restore;
    config.retire = retire;
    config.on_failure = on_failure;
    config.policy_json = "{\"poll_interval\": \"10ms\", \"backoff\": \"10ms\", \"verify_polls\": 1, "
                         "\"max_attempts\": 1}";
    OK(lk_recovery_start(env, &config, &recovery));
    IS(LK_ERR_STATE, lk_recovery_start(env, &config, &other));
    OK(lk_recovery_watch_run(recovery, "good", NULL));
    OK(lk_recovery_watch_run(recovery, "bad", "{\"team\": \"north\"}"));
    OK(lk_recovery_watch_run(recovery, "lost", NULL));
    EVENTUALLY(LOAD(retired) == 1 && LOAD(lost) == 1);
    OK(lk_recovery_wait_idle(recovery, 10000));
    OK(lk_recovery_runs_json(recovery, json, sizeof json, NULL));
    CHECK(strstr(json, "\"run\":\"new\"") != NULL && strstr(json, "\"first_run\":\"bad\"") != NULL);
    IS(LK_ERR_NOT_FOUND, lk_recovery_cancel(recovery, "nobody"));
    OK(lk_recovery_retry(recovery, "lost"));
    IS(LK_ERR_NOT_FOUND, lk_recovery_stop_watching(recovery, "nobody"));
    OK(lk_recovery_stop_watching(recovery, "lost"));
    IS(LK_ERR_NOT_FOUND, lk_env_retry_recovery(env, "nobody"));
    IS(LK_ERR_NOT_FOUND, lk_env_cancel_recovery(env, "nobody"));
    OK(lk_recovery_stop(recovery, 10000, NULL));
    OK(lk_recovery_restart(recovery));
    OK(lk_recovery_free(recovery));

    /* The next program finds the run under its new name. */
    OK(lk_recovery_start(env, &config, &other));
    OK(lk_recovery_watch_run(other, "bad", NULL));
    OK(lk_recovery_runs_json(other, json, sizeof json, NULL));
    CHECK(strstr(json, "\"run\":\"new\"") != NULL && strstr(json, "\"first_run\":\"bad\"") != NULL);
    OK(lk_recovery_free(other));
    CHECK(LOAD(retired) == 1);
}

/* Configuration: layers, getters, reload, watch. */

static int config_changes;

static int32_t on_config_change(void *userdata, const char *key, uint64_t generation)
{
    (void)userdata;
    CHECK(strcmp(key, "http.port") == 0 && generation >= 2);
    COUNT(config_changes);
    return 0;
}

static void put(const char *path, const char *text)
{
    char fresh[512];
    FILE *file;

    snprintf(fresh, sizeof fresh, "%s.new", path);
    file = fopen(fresh, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    CHECK(rename(fresh, path) == 0);
}

static lk_config *checked;
static int config_checks;
static int config_check_drops;

static int32_t on_config_check(void *userdata, const lk_snapshot *snapshot, char *buf, size_t len)
{
    size_t changed = 0;

    CHECK(userdata == &config_checks);
    config_checks++;
    CHECK(lk_snapshot_int(snapshot, "http.prot", -1) == -1 && lk_snapshot_is_set(snapshot, "http.port"));
    IS(LK_ERR_STATE, lk_config_reload(checked, &changed));
    IS(LK_ERR_STATE, lk_config_validate_json(checked, NULL, 0, &changed));
    IS(LK_ERR_STATE, lk_config_load(checked));
    IS(LK_ERR_STATE, lk_config_free(checked));
    if (lk_snapshot_int(snapshot, "http.port", 0) == 84)
        return -7;
    if (lk_snapshot_int(snapshot, "http.port", 0) != 83)
        return 0;
    snprintf(buf, len, "http.port: 83 is taken");
    return LK_ERR_DUPLICATE;
}

static void on_config_check_drop(void *userdata)
{
    CHECK(userdata == &config_checks);
    config_check_drops++;
}

/* What a check refuses never is in force, at the load and at a reload. */
static void test_config_check(const char *folder)
{
    char path[400];
    lk_config_check check;
    lk_snapshot *now = NULL;
    size_t changed = 0;

    snprintf(path, sizeof path, "%s/checked.json", folder);
    put(path, "{\"http\": {\"port\": 83}}");
    OK(lk_config_new(env, &checked));
    OK(lk_config_add_file(checked, path));
    OK(lk_config_check_init(&check, sizeof check));
    check.drop = on_config_check_drop;
    check.userdata = &config_checks;
    IS(LK_ERR_NULL, lk_config_add_check(checked, &check));
    CHECK(config_check_drops == 1);
    check.check = on_config_check;
    OK(lk_config_add_check(checked, &check));
    IS(LK_ERR_CONFIG, lk_config_load(checked));
    CHECK(strstr(lk_last_error_message(), "http.port: 83 is taken") != NULL);
    put(path, "{\"http\": {\"port\": 80}}");
    OK(lk_config_load(checked));
    IS(LK_ERR_STATE, lk_config_add_check(checked, &check));
    CHECK(config_check_drops == 2);
    put(path, "{\"http\": {\"port\": 83}}");
    IS(LK_ERR_CONFIG, lk_config_reload(checked, &changed));
    OK(lk_config_snapshot(checked, &now));
    CHECK(lk_snapshot_int(now, "http.port", 0) == 80 && config_checks == 3);
    put(path, "{\"http\": {\"port\": 84}}");
    IS(LK_ERR_CONFIG, lk_config_validate_json(checked, NULL, 0, &changed));
    CHECK(strcmp(lk_last_error_message(), "the callback returned -7") == 0 && config_checks == 4);
    OK(lk_snapshot_free(now));
    OK(lk_config_free(checked));
    CHECK(config_check_drops == 3);
}

static void test_config(const char *folder)
{
    char path[400];
    lk_config *config = NULL;
    lk_snapshot *first = NULL;
    lk_snapshot *second = NULL;
    lk_config_watcher_config settings;
    lk_config_watcher *watcher = NULL;
    int64_t whole = 0;
    double number = 0;
    int32_t truth = 7;
    uint64_t duration = 0;
    size_t changed = 7;
    char text[1024];

    snprintf(path, sizeof path, "%s/app.json", folder);
    put(path, "{\"http\": {\"port\": 80, \"timeout\": \"1m30s\", \"on\": true}, \"ratio\": 0.5, \"key\": \"s3cret\"}");
    OK(lk_config_new(env, &config));
    IS(LK_ERR_STATE, lk_config_snapshot(config, &first));
    OK(lk_config_add_defaults(config, "{\"http\": {\"port\": 1, \"host\": \"a\"}}"));
    IS(LK_ERR_CONFIG, lk_config_add_defaults(config, "{"));
    OK(lk_config_add_file(config, path));
    OK(lk_config_add_environment(config, "LOOPKEEPER_C_TEST"));
    OK(lk_config_set(config, "http.host", "b"));
    OK(lk_config_secret(config, "key"));
    OK(lk_config_load(config));
    IS(LK_ERR_STATE, lk_config_load(config));
    IS(LK_ERR_STATE, lk_config_set(config, "a", "b"));
    OK(lk_config_snapshot(config, &first));

    CHECK(lk_snapshot_is_set(first, "http.port") == 1 && lk_snapshot_is_set(first, "http.prot") == 0);
    CHECK(lk_snapshot_int(first, "http.port", -1) == 80 && lk_snapshot_int(first, "ratio", -1) == -1);
    CHECK(lk_snapshot_float(first, "ratio", 0.0) == 0.5);
    CHECK(lk_snapshot_bool(first, "http.on", 0) == 1 && lk_snapshot_bool(first, "none", 5) == 5);
    CHECK(lk_snapshot_duration_ms(first, "http.timeout", 0) == 90000);
    OK(lk_snapshot_require_int(first, "http.port", &whole));
    OK(lk_snapshot_require_float(first, "ratio", &number));
    OK(lk_snapshot_require_bool(first, "http.on", &truth));
    OK(lk_snapshot_require_duration_ms(first, "http.timeout", &duration));
    CHECK(whole == 80 && number == 0.5 && truth == 1 && duration == 90000);
    IS(LK_ERR_NOT_FOUND, lk_snapshot_require_int(first, "http.prot", &whole));
    IS(LK_ERR_CONFIG, lk_snapshot_require_int(first, "ratio", &whole));
    OK(lk_snapshot_require_string(first, "http.host", text, sizeof text, NULL));
    CHECK(strcmp(text, "b") == 0);
    OK(lk_snapshot_explain_json(first, "http.port", text, sizeof text, NULL));
    CHECK(strstr(text, "app.json") != NULL);
    OK(lk_snapshot_json(first, text, sizeof text, NULL));
    CHECK(strstr(text, "<secret>") != NULL && strstr(text, "s3cret") == NULL);
    OK(lk_snapshot_explain_all_json(first, text, sizeof text, NULL));
    CHECK(strstr(text, "s3cret") == NULL);

    OK(lk_config_reload(config, &changed));
    CHECK(changed == 0);
    put(path, "{\"http\"");
    IS(LK_ERR_CONFIG, lk_config_reload(config, &changed));
    IS(LK_ERR_CONFIG, lk_config_validate_json(config, text, sizeof text, NULL));
    put(path, "{\"http\": {\"port\": 81}}");
    OK(lk_config_validate_json(config, text, sizeof text, NULL));
    CHECK(strstr(text, "http.port") != NULL);
    OK(lk_config_reload(config, &changed));
    CHECK(changed > 0);
    OK(lk_config_snapshot(config, &second));
    CHECK(lk_snapshot_generation(first) == 1 && lk_snapshot_generation(second) == 2);
    CHECK(lk_snapshot_int(first, "http.port", 0) == 80 && lk_snapshot_int(second, "http.port", 0) == 81);
    OK(lk_snapshot_free(second));

    OK(lk_config_watcher_config_init(&settings, sizeof settings));
    settings.interval_ms = 10;
    settings.keys_json = "[\"http.port\"]";
    settings.on_change = on_config_change;
    OK(lk_config_watcher_start(env, config, &settings, &watcher));
    put(path, "{\"http\": {\"port\": 82}}");
    OK(lk_config_watcher_trigger(watcher));
    EVENTUALLY(LOAD(config_changes) == 1);
    OK(lk_config_watcher_stop(watcher, 10000, NULL));
    OK(lk_config_watcher_free(watcher));
    OK(lk_config_free(config));
    CHECK(lk_snapshot_int(first, "http.port", 0) == 80);
    OK(lk_snapshot_free(first));
}

/* A host: loops of other handles as components, a type of the program's, a
 * deployer. */

static int beeps;

static int32_t beep(void *userdata, const lk_context *cx)
{
    (void)cx;
    COUNT(*(int *)userdata);
    return LK_OK;
}

static int32_t make_beeper(void *userdata, const char *name, const char *config_json,
                           lk_component_config *out, char *buf, size_t len)
{
    if (strstr(config_json, "\"tone\"") == NULL) {
        snprintf(buf, len, "%s: needs a tone", name);
        return LK_ERR_CONFIG;
    }
    out->start = beep;
    out->stop = beep;
    out->drop = count_drop;
    out->userdata = userdata;
    return LK_OK;
}

static lk_reporter *reporter;

static int32_t start_unknown(void *userdata, const lk_context *cx)
{
    (void)userdata;
    OK(lk_context_reporter(cx, &reporter));
    OK(lk_reporter_set_health(reporter, LK_HEALTH_UNKNOWN));
    return LK_OK;
}

static void add_component(lk_host *host, const char *name, lk_component *component)
{
    lk_component_config config;

    OK(lk_component_config_init(&config, sizeof config));
    config.name = name;
    config.component = component;
    OK(lk_host_register(host, &config, NULL));
    IS(LK_ERR_STATE, lk_host_register(host, &config, NULL));
    OK(lk_component_free(component));
}

static void test_host(const char *folder)
{
    lk_host_config host_config;
    lk_host *host = NULL;
    lk_watcher_config watcher_config;
    lk_watcher *watcher = NULL;
    lk_watch_manager *services = NULL;
    lk_controller_config controller_config;
    lk_controller *controller = NULL;
    lk_controller_manager *manager = NULL;
    lk_monitor_config monitor_config;
    lk_monitor *monitor = NULL;
    lk_component *component = NULL;
    lk_component_config config;
    lk_component_status status;
    lk_type type;
    lk_deployer_config deployer_config;
    lk_deployer *deployer = NULL;
    lk_events *events = NULL;
    lk_member member;
    char path[400];
    char json[16384];
    size_t count = 0;

    STORE(drops, 0);
    OK(lk_host_config_init(&host_config, sizeof host_config));
    host_config.stop_timeout_ms = 5000;
    OK(lk_host_new(env, &host_config, &host));
    OK(lk_host_subscribe(host, &events));

    OK(lk_watcher_config_init(&watcher_config, sizeof watcher_config));
    watcher_config.name = "in-host";
    watcher_config.probe = probe_ok;
    OK(lk_watcher_new(env, &watcher_config, &watcher));
    OK(lk_component_of_watcher(watcher, &component));
    add_component(host, "in-host", component);
    OK(lk_watch_manager_new(env, &services));
    OK(lk_component_of_watch_manager(services, &component));
    add_component(host, "services", component);
    OK(lk_controller_config_init(&controller_config, sizeof controller_config));
    controller_config.name = "alone";
    controller_config.reconcile = probe_ok;
    OK(lk_controller_new(env, &controller_config, &controller));
    OK(lk_component_of_controller(controller, &component));
    add_component(host, "alone", component);
    OK(lk_controller_manager_new(env, 0, &manager));
    OK(lk_component_of_controller_manager(manager, &component));
    add_component(host, "controllers", component);
    OK(lk_monitor_config_init(&monitor_config, sizeof monitor_config));
    monitor_config.name = "look";
    OK(lk_monitor_new(env, &monitor_config, &monitor));
    OK(lk_component_of_monitor(monitor, &component));
    add_component(host, "look", component);
    OK(lk_host_start(host));
    OK(lk_watcher_wait_ready(watcher, 10000));

    /* One that says itself how it is, and fails. */
    OK(lk_component_config_init(&config, sizeof config));
    config.name = "slow";
    config.start = start_unknown;
    config.stop = probe_ok;
    config.restart = LK_RESTART_TEMPORARY;
    OK(lk_host_deploy(host, &config, &member));
    OK(lk_component_status_init(&status, sizeof status));
    OK(lk_host_component_status(host, member, &status));
    CHECK(status.state == LK_STATE_STARTING && status.up == 0);
    OK(lk_reporter_set_health(reporter, LK_HEALTH_DEGRADED));
    OK(lk_host_component_status(host, member, &status));
    CHECK(status.state == LK_STATE_DEGRADED && status.ready == 1);
    OK(lk_reporter_fail(reporter, LK_ERR_IO, "the wire is cut"));
    EVENTUALLY(lk_host_component_status(host, member, &status) == LK_OK && status.state == LK_STATE_FAILED);
    CHECK(strcmp(status.last_error, "the wire is cut") == 0);
    OK(lk_reporter_done(reporter));
    OK(lk_reporter_free(reporter));

    /* A type of the program's, in a call and in a folder. */
    OK(lk_type_init(&type, sizeof type));
    type.name = "beeper";
    type.make = make_beeper;
    type.userdata = &beeps;
    OK(lk_host_add_type(host, &type));
    IS(LK_ERR_CONFIG, lk_host_deploy_json(host, "{\"name\": \"b\", \"type\": \"beeper\", \"config\": {}}", NULL));
    CHECK(strstr(lk_last_error_message(), "b: needs a tone") != NULL);
    OK(lk_host_deploy_json(host, "{\"name\": \"b\", \"type\": \"beeper\", \"config\": {\"tone\": \"c\"}}", &member));
    CHECK(LOAD(beeps) == 1);
    OK(lk_host_replace_json(host, "{\"name\": \"b\", \"type\": \"beeper\", \"config\": {\"tone\": \"d\"}}", 5000, &member));
    CHECK(LOAD(beeps) == 3);
    OK(lk_host_undeploy(host, member, 5000, NULL));
    CHECK(LOAD(beeps) == 4);
    EVENTUALLY(LOAD(drops) == 2);

    snprintf(path, sizeof path, "%s/beep.json", folder);
    put(path, "{\"name\": \"f\", \"type\": \"beeper\", \"config\": {\"tone\": \"e\"}}");
    OK(lk_deployer_config_init(&deployer_config, sizeof deployer_config));
    deployer_config.dir = folder;
    OK(lk_deployer_start(host, &deployer_config, &deployer));
    EVENTUALLY(LOAD(beeps) == 5);
    EVENTUALLY(lk_deployer_board_json(deployer, json, sizeof json, NULL) == LK_OK &&
               strstr(json, "\"running\":{\"f\":") != NULL);
    CHECK(remove(path) == 0);
    OK(lk_deployer_rescan(deployer));
    EVENTUALLY(LOAD(beeps) == 6);
    OK(lk_deployer_stop(deployer, 10000, NULL));
    OK(lk_deployer_free(deployer));

    OK(lk_host_components_json(host, json, sizeof json, NULL));
    CHECK(strstr(json, "\"name\":\"alone\"") != NULL);
    OK(lk_host_status_json(host, json, sizeof json, NULL));
    CHECK(strstr(json, "\"loops\":[") != NULL);
    OK(lk_host_loops(host, NULL, 0, &count));
    CHECK(count >= 5);
    OK(lk_host_stop(host, 10000, NULL));
    OK(lk_host_free(host));
    OK(lk_events_free(events));
    OK(lk_monitor_free(monitor));
    OK(lk_controller_manager_free(manager));
    OK(lk_controller_free(controller));
    OK(lk_watch_manager_free(services));
    OK(lk_watcher_free(watcher));
    EVENTUALLY(LOAD(drops) == 3);
}

/* The controllers of a fleet, where the library has them. */

static void test_fleet(const char *folder)
{
    static const char *const types[] = {"agent-health", "job-recovery", "queue-priority",
                                        "token-cleanup", "audit-retention"};
    lk_host *host = NULL;
    lk_host_config config;
    char json[600], url[600];
    size_t i;

    /* Not the one of a host that does not say where. */
    snprintf(url, sizeof url, "sqlite:%s/fleet.db", folder);
    OK(lk_host_config_init(&config, sizeof config));
    config.store = url;
    OK(lk_host_new(env, &config, &host));
    OK(lk_host_start(host));
    for (i = 0; i < sizeof types / sizeof *types; i++) {
        lk_status status;
        snprintf(json, sizeof json, "{\"name\": \"%s\", \"type\": \"%s\", \"config\": {}}", types[i], types[i]);
        status = lk_host_deploy_json(host, json, NULL);
        if (status == LK_ERR_CONFIG && strstr(lk_last_error_message(), "unknown type") != NULL)
            break;
        IS(LK_OK, status);
    }
    CHECK(i == 0 || i == 5);
    OK(lk_host_free(host));
    CHECK(access(url + strlen("sqlite:"), F_OK) == (i == 5 ? 0 : -1));
    CHECK(access("loopkeeper.db", F_OK) == -1);
}

static void test_events(void)
{
    char text[65536];
    size_t needed = 0;

    OK(lk_env_events_json(env, 0, 3, text, sizeof text, &needed));
    CHECK(strncmp(text, "{\"boot\":\"", 9) == 0 && strlen(text) + 1 == needed);
    CHECK(strstr(text, "\"next\":3,") != NULL);
    OK(lk_env_status_json(env, text, sizeof text, NULL));
    CHECK(strstr(text, "\"at\":\"") != NULL);
}

/* People are told by a command. */

static int is_broken;

static int32_t probe_flag(void *userdata, const lk_context *cx)
{
    (void)userdata;
    if (LOAD(is_broken) == 0)
        return LK_OK;
    lk_context_set_error(cx, "out of paper");
    return LK_ERR_PROBE;
}

static int is_sent(lk_alerts *alerts)
{
    char status[512];

    return lk_alerts_status_json(alerts, "printer", status, sizeof status, NULL) == LK_OK &&
           strstr(status, "\"sent\":1") != NULL;
}

static void test_alerts(const char *folder)
{
    char path[512], json[1024], told[1024] = "";
    size_t len;
    FILE *file;
    lk_alerts_config config;
    lk_alerts *alerts = NULL;
    lk_watcher_config watcher_config;
    lk_watcher *watcher = NULL;
    lk_stop_report report;

    OK(lk_alerts_config_init(&config, sizeof config));
    snprintf(path, sizeof path, "%s/alerts.json", folder);
    config.state_file = path;
    OK(lk_alerts_start(env, &config, &alerts));
    IS(LK_ERR_NOT_FOUND, lk_alerts_status_json(alerts, "printer", told, sizeof told, NULL));
    IS(LK_ERR_INVALID, lk_alerts_status_json(alerts, "../printer", told, sizeof told, NULL));

    snprintf(path, sizeof path, "%s/told", folder);
    snprintf(json, sizeof json, "{\"on_down\": {\"exec\": {\"command\": [\"sh\", \"-c\", \"cat >%s\"]}}}", path);
    OK(lk_watcher_config_init(&watcher_config, sizeof watcher_config));
    watcher_config.name = "printer";
    watcher_config.probe = probe_flag;
    watcher_config.alert_json = "{\"on_down\": \"page\"}";
    IS(LK_ERR_CONFIG, lk_watcher_start(env, &watcher_config, &watcher));
    CHECK(strstr(lk_last_error_message(), "alert_json:1:13: on_down: expected an object") != NULL);
    watcher_config.alert_json = json;
    OK(lk_watcher_start(env, &watcher_config, &watcher));
    OK(lk_watcher_wait_ready(watcher, 10000));
    STORE(is_broken, 1);
    OK(lk_watcher_trigger(watcher));
    EVENTUALLY(is_sent(alerts));

    file = fopen(path, "r");
    CHECK(file != NULL);
    len = fread(told, 1, sizeof told - 1, file);
    CHECK(fclose(file) == 0 && len > 0);
    CHECK(strstr(told, "\"printer\"") != NULL && strstr(told, "out of paper") != NULL);

    OK(lk_watcher_free(watcher));
    OK(lk_stop_report_init(&report, sizeof report));
    OK(lk_alerts_stop(alerts, 5000, &report));
    CHECK(report.stragglers == 0);
    OK(lk_alerts_free(alerts));
}

int main(int argc, char **argv)
{
    int before_threads = threads();
    int before_descriptors = descriptors();

    CHECK(argc == 2 && chdir(argv[1]) == 0);
    CHECK(lk_abi_version() == LK_ABI_VERSION && strlen(lk_version()) > 0);
    OK(lk_env_new(NULL, &env));
    test_observer();
    test_probes();
    test_heartbeat();
    test_controllers();
    test_monitor();
    test_recovery();
    test_executor();
    test_config(argv[1]);
    test_config_check(argv[1]);
    test_host(argv[1]);
    test_fleet(argv[1]);
    test_alerts(argv[1]);
    test_events();
    OK(lk_env_free(env));
    CHECK(comes_to(threads, before_threads));
    CHECK(comes_to(descriptors, before_descriptors));
    puts("well");
    return 0;
}
