/* Handles and members after their end, of another kind, on other threads; and
 * no thread or descriptor that stays. */

#include <pthread.h>

#include "fixture.h"

static int dropped;

static void count_drop(void *userdata)
{
    (void)userdata;
    COUNT(dropped);
}

static void *use_elsewhere(void *argument)
{
    lk_watcher *watcher = argument;
    lk_loop_status status;

    OK(lk_loop_status_init(&status, sizeof status));
    OK(lk_watcher_wait_ready(watcher, 10000));
    OK(lk_watcher_status(watcher, &status));
    CHECK(status.health == LK_HEALTH_READY && strcmp(status.name, "w") == 0);
    return NULL;
}

static void *trigger_until_stale(void *argument)
{
    lk_watcher *watcher = argument;
    lk_status status;

    while ((status = lk_watcher_trigger(watcher)) == LK_OK)
        ;
    IS(LK_ERR_STALE, status);
    return NULL;
}

static void watcher_settings(lk_watcher_config *config, const char *name)
{
    OK(lk_watcher_config_init(config, sizeof *config));
    config->name = name;
    config->probe = probe_ok;
    config->drop = count_drop;
}

static void test_handles(void)
{
    lk_env *env = NULL;
    lk_env *copy;
    lk_watcher *watcher = NULL;
    lk_watcher *other = NULL;
    lk_watcher_config config;
    pthread_t thread[4];
    int i;

    OK(lk_env_new(NULL, &env));
    watcher_settings(&config, "w");
    OK(lk_watcher_start(env, &config, &watcher));
    for (i = 0; i < 4; i++)
        CHECK(pthread_create(&thread[i], NULL, use_elsewhere, watcher) == 0);
    for (i = 0; i < 4; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);

    /* Of another kind. */
    IS(LK_ERR_HANDLE, lk_watcher_trigger((const lk_watcher *)(const void *)env));
    IS(LK_ERR_HANDLE, lk_watcher_free((lk_watcher *)(void *)env));
    IS(LK_ERR_HANDLE, lk_env_free((lk_env *)(void *)watcher));
    /* Never given. */
    IS(LK_ERR_HANDLE, lk_env_free((lk_env *)(void *)&config));
    IS(LK_ERR_HANDLE, lk_env_trigger((const lk_env *)(void *)(uintptr_t)1, "w"));
    IS(LK_ERR_HANDLE, lk_env_trigger((const lk_env *)(void *)UINTPTR_MAX, "w"));

    /* Freed while others use it. */
    for (i = 0; i < 4; i++)
        CHECK(pthread_create(&thread[i], NULL, trigger_until_stale, watcher) == 0);
    OK(lk_watcher_free(watcher));
    for (i = 0; i < 4; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    CHECK(LOAD(dropped) == 1);

    /* After its end, twice, and once the slot is another's. */
    IS(LK_ERR_STALE, lk_watcher_trigger(watcher));
    IS(LK_ERR_STALE, lk_watcher_free(watcher));
    CHECK(lk_watcher_is_ready(watcher) == 0);
    watcher_settings(&config, "w");
    OK(lk_watcher_start(env, &config, &other));
    CHECK(other != watcher);
    IS(LK_ERR_STALE, lk_watcher_free(watcher));
    OK(lk_watcher_trigger(other));

    /* What was made in it keeps the environment. */
    copy = env;
    OK(lk_env_free(env));
    IS(LK_ERR_STALE, lk_env_trigger(copy, "w"));
    IS(LK_ERR_STALE, lk_env_free(copy));
    OK(lk_watcher_wait_ready(other, 10000));
    OK(lk_watcher_free(other));
    CHECK(LOAD(dropped) == 2);
    OK(lk_watcher_free(NULL));
    OK(lk_env_free(NULL));
}

/* A free waits for a call that another thread is in. */

static int waiting;

static int32_t never_ready(void *userdata, const lk_context *cx)
{
    (void)userdata;
    (void)cx;
    return LK_ERR_PROBE;
}

static void *wait_a_while(void *argument)
{
    lk_status status;

    STORE(waiting, 1);
    status = lk_watcher_wait_ready(argument, 100);
    CHECK(status == LK_ERR_TIMEOUT || status == LK_ERR_STALE);
    return NULL;
}

static void test_free_waits(void)
{
    int i;

    for (i = 0; i < 5; i++) {
        lk_env *env = NULL;
        lk_watcher *watcher = NULL;
        lk_watcher_config config;
        struct timespec nap = {0, 20000000};
        pthread_t thread;

        STORE(dropped, 0);
        STORE(waiting, 0);
        OK(lk_env_new(NULL, &env));
        watcher_settings(&config, "w");
        config.probe = never_ready;
        OK(lk_watcher_start(env, &config, &watcher));
        CHECK(pthread_create(&thread, NULL, wait_a_while, watcher) == 0);
        EVENTUALLY(LOAD(waiting) == 1);
        nanosleep(&nap, NULL);
        OK(lk_watcher_free(watcher));
        CHECK(LOAD(dropped) == 1);
        OK(lk_env_free(env));
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

/* A free ends the calls of others that might never return. */

enum { WATCHER, CONTROLLER, MONITOR, RECOVERY, HOST, EVENTS, CANCEL, WAITS };

struct wait {
    int kind;
    void *handle;
    lk_cancel *cancel;
    lk_status status;
};

static void *wait_for_ever(void *argument)
{
    struct wait *wait = argument;
    lk_event event;

    OK(lk_event_init(&event, sizeof event));
    COUNT(waiting);
    switch (wait->kind) {
    case WATCHER:
        wait->status = lk_watcher_wait_ready(wait->handle, LK_FOREVER);
        break;
    case CONTROLLER:
        wait->status = lk_controller_wait_ready(wait->handle, LK_FOREVER);
        break;
    case MONITOR:
        wait->status = lk_monitor_wait_ready(wait->handle, LK_FOREVER);
        break;
    case RECOVERY:
        wait->status = lk_recovery_wait_idle(wait->handle, LK_FOREVER);
        break;
    case HOST:
        wait->status = lk_host_run(wait->handle, wait->cancel);
        break;
    case CANCEL:
        wait->status = lk_cancel_wait(wait->handle, LK_FOREVER);
        break;
    default:
        wait->status = lk_events_next(wait->handle, LK_FOREVER, &event);
    }
    return NULL;
}

static int32_t fetch_corrupted(void *userdata, const lk_context *cx, const char *run)
{
    (void)userdata;
    (void)run;
    return lk_context_set_answer(cx, "{\"corrupted\": true, \"last_checkpoint\": {\"path\": \"p\"}}");
}

static int32_t restore_in_vain(void *userdata, const lk_context *cx, const lk_restore *request)
{
    (void)userdata;
    (void)request;
    return lk_context_sleep(cx, LK_FOREVER);
}

static void test_free_ends_waits(void)
{
    static const lk_status expected[WAITS] = {LK_ERR_TIMEOUT, LK_ERR_TIMEOUT, LK_ERR_TIMEOUT,
                                              LK_OK, LK_OK, LK_ERR_STALE, LK_ERR_STALE};
    struct wait waits[WAITS];
    pthread_t thread[WAITS];
    lk_env *env = NULL;
    lk_env *other = NULL;
    lk_watcher *watcher = NULL;
    lk_controller *controller = NULL;
    lk_monitor *monitor = NULL;
    lk_recovery *recovery = NULL;
    lk_host *host = NULL;
    lk_events *events = NULL;
    lk_watcher_config watcher_config;
    lk_controller_config controller_config;
    lk_monitor_config monitor_config;
    lk_recovery_config recovery_config;
    lk_component *component = NULL;
    lk_component_config component_config;
    lk_host *keeper = NULL;
    lk_checker checker;
    lk_cancel *cancel = NULL;
    lk_cancel *waited = NULL;
    struct timespec before, after;
    struct timespec nap = {0, 50000000};
    int i;

    STORE(dropped, 0);
    STORE(waiting, 0);
    OK(lk_env_new(NULL, &env));
    OK(lk_env_new(NULL, &other));
    OK(lk_cancel_new(&cancel));
    OK(lk_cancel_new(&waited));
    watcher_settings(&watcher_config, "w");
    watcher_config.probe = never_ready;
    OK(lk_watcher_start(env, &watcher_config, &watcher));
    OK(lk_controller_config_init(&controller_config, sizeof controller_config));
    controller_config.name = "c";
    controller_config.reconcile = never_ready;
    controller_config.drop = count_drop;
    OK(lk_controller_start(env, &controller_config, &controller));
    OK(lk_monitor_config_init(&monitor_config, sizeof monitor_config));
    monitor_config.name = "m";
    OK(lk_monitor_new(env, &monitor_config, &monitor));
    OK(lk_checker_init(&checker, sizeof checker));
    checker.name = "c";
    checker.check = never_ready;
    checker.drop = count_drop;
    OK(lk_monitor_add_checker(monitor, &checker));
    /* Before its start there is nothing to stop. */
    OK(lk_monitor_stop(monitor, 1000, NULL));
    IS(LK_ERR_STATE, lk_monitor_trigger(monitor));
    OK(lk_monitor_start(monitor));
    OK(lk_recovery_config_init(&recovery_config, sizeof recovery_config));
    recovery_config.name = "r";
    recovery_config.fetch = fetch_corrupted;
    recovery_config.restore = restore_in_vain;
    recovery_config.drop = count_drop;
    OK(lk_recovery_start(env, &recovery_config, &recovery));
    OK(lk_recovery_watch_run(recovery, "run", NULL));
    OK(lk_host_new(env, NULL, &host));
    OK(lk_env_subscribe(other, &events));

    memset(waits, 0, sizeof waits);
    waits[WATCHER].handle = watcher;
    waits[CONTROLLER].handle = controller;
    waits[MONITOR].handle = monitor;
    waits[RECOVERY].handle = recovery;
    waits[HOST].handle = host;
    waits[HOST].cancel = cancel;
    waits[EVENTS].handle = events;
    waits[CANCEL].handle = waited;
    for (i = 0; i < WAITS; i++) {
        waits[i].kind = i;
        CHECK(pthread_create(&thread[i], NULL, wait_for_ever, &waits[i]) == 0);
    }
    EVENTUALLY(LOAD(waiting) == WAITS);
    nanosleep(&nap, NULL);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0);
    OK(lk_watcher_free(watcher));
    OK(lk_controller_free(controller));
    OK(lk_monitor_free(monitor));
    OK(lk_recovery_free(recovery));
    OK(lk_host_free(host));
    OK(lk_events_free(events));
    OK(lk_cancel_free(waited));
    CHECK(LOAD(dropped) == 4);
    for (i = 0; i < WAITS; i++) {
        CHECK(pthread_join(thread[i], NULL) == 0);
        IS(expected[i], waits[i].status);
    }
    CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
    CHECK(after.tv_sec - before.tv_sec < 5);

    /* What a host has as a component goes on there. */
    watcher_config.probe = probe_ok;
    OK(lk_watcher_start(env, &watcher_config, &watcher));
    OK(lk_component_of_watcher(watcher, &component));
    OK(lk_component_config_init(&component_config, sizeof component_config));
    component_config.name = "w";
    component_config.component = component;
    OK(lk_host_new(env, NULL, &keeper));
    OK(lk_host_register(keeper, &component_config, NULL));
    OK(lk_component_free(component));
    OK(lk_host_start(keeper));
    OK(lk_watcher_free(watcher));
    OK(lk_env_trigger(env, "w"));
    OK(lk_host_free(keeper));
    CHECK(LOAD(dropped) == 5);
    OK(lk_cancel_free(cancel));
    OK(lk_env_free(other));
    OK(lk_env_free(env));
}

/* Nor does it take a start before: who waits for one hears of a stop and of a
 * free. */
static void test_end_of_what_never_began(void)
{
    struct timespec nap = {0, 20000000};
    lk_env *env = NULL;
    int frees;

    OK(lk_env_new(NULL, &env));
    for (frees = 0; frees < 2; frees++) {
        lk_watcher_config config;
        lk_watcher *watcher = NULL;
        lk_events *events = NULL;
        struct wait waits[2];
        pthread_t thread[2];
        int i;

        STORE(waiting, 0);
        watcher_settings(&config, "w");
        OK(lk_watcher_new(env, &config, &watcher));
        OK(lk_watcher_subscribe(watcher, &events));
        memset(waits, 0, sizeof waits);
        waits[0].kind = WATCHER;
        waits[0].handle = watcher;
        waits[1].kind = EVENTS;
        waits[1].handle = events;
        for (i = 0; i < 2; i++)
            CHECK(pthread_create(&thread[i], NULL, wait_for_ever, &waits[i]) == 0);
        EVENTUALLY(LOAD(waiting) == 2);
        nanosleep(&nap, NULL);
        if (frees)
            OK(lk_watcher_free(watcher));
        else
            OK(lk_watcher_stop(watcher, 1000, NULL));
        for (i = 0; i < 2; i++)
            CHECK(pthread_join(thread[i], NULL) == 0 && waits[i].status != LK_OK);
        IS(LK_ERR_TIMEOUT, waits[0].status);
        OK(lk_events_free(events));
        if (!frees) {
            /* It may begin for all that. */
            OK(lk_watcher_restart(watcher));
            OK(lk_watcher_wait_ready(watcher, 10000));
            OK(lk_watcher_free(watcher));
        }
    }
    OK(lk_env_free(env));
}

/* Numbers of one are of nothing at another. */
static void test_members_of_others(void)
{
    lk_env *env = NULL;
    lk_host *hosts[2] = {NULL, NULL};
    lk_watch_manager *managers[2] = {NULL, NULL};
    lk_watcher_config config;
    lk_component_config component;
    lk_component_status status;
    lk_member parts[2], watchers[2];
    int i;

    OK(lk_env_new(NULL, &env));
    OK(lk_component_config_init(&component, sizeof component));
    component.name = "a";
    component.start = probe_ok;
    component.stop = probe_ok;
    OK(lk_component_status_init(&status, sizeof status));
    watcher_settings(&config, "a");
    for (i = 0; i < 2; i++) {
        OK(lk_host_new(env, NULL, &hosts[i]));
        OK(lk_host_register(hosts[i], &component, &parts[i]));
        OK(lk_watch_manager_new(env, &managers[i]));
        OK(lk_watch_manager_watch(managers[i], &config, &watchers[i]));
    }
    for (i = 0; i < 2; i++) {
        OK(lk_host_component_status(hosts[i], parts[i], &status));
        IS(LK_ERR_STALE, lk_host_component_status(hosts[i], parts[1 - i], &status));
        IS(LK_ERR_STALE, lk_host_undeploy(hosts[i], parts[1 - i], 1000, NULL));
        IS(LK_ERR_STALE, lk_host_component_status(hosts[i], watchers[i], &status));
        OK(lk_watch_manager_trigger(managers[i], watchers[i]));
        IS(LK_ERR_STALE, lk_watch_manager_trigger(managers[i], watchers[1 - i]));
        IS(LK_ERR_STALE, lk_watch_manager_trigger(managers[i], parts[i]));
    }
    /* Who wants no number of the new one is rid of the old one, too. */
    STORE(dropped, 0);
    OK(lk_watch_manager_replace(managers[0], &config, 1000, NULL, NULL));
    CHECK(LOAD(dropped) == 1);
    for (i = 0; i < 2; i++) {
        OK(lk_watch_manager_free(managers[i]));
        OK(lk_host_free(hosts[i]));
    }
    OK(lk_env_free(env));
}

static void test_members(void)
{
    lk_env *env = NULL;
    lk_watch_manager *manager = NULL;
    lk_host *host = NULL;
    lk_watcher_config config;
    lk_component_config component;
    lk_component_status status;
    lk_loop_status loop;
    lk_stop_report report;
    lk_member a, b, c, found;

    OK(lk_env_new(NULL, &env));
    OK(lk_watch_manager_new(env, &manager));
    watcher_settings(&config, "a");
    OK(lk_watch_manager_watch(manager, &config, &a));
    IS(LK_ERR_DUPLICATE, lk_watch_manager_watch(manager, &config, &b));
    OK(lk_watch_manager_wait_ready(manager, a, 10000));
    OK(lk_stop_report_init(&report, sizeof report));
    OK(lk_watch_manager_replace(manager, &config, 1000, &report, &b));
    CHECK(a != b && strcmp(report.text, "clean") == 0);
    OK(lk_loop_status_init(&loop, sizeof loop));
    IS(LK_ERR_STALE, lk_watch_manager_trigger(manager, a));
    IS(LK_ERR_STALE, lk_watch_manager_status(manager, a, &loop));
    IS(LK_ERR_STALE, lk_watch_manager_unwatch(manager, a, 1000, NULL));
    OK(lk_watch_manager_status(manager, b, &loop));
    OK(lk_watch_manager_find(manager, "a", &found));
    CHECK(found == b);
    OK(lk_watch_manager_trigger(manager, found));
    STORE(dropped, 0);
    OK(lk_watch_manager_unwatch(manager, b, 1000, NULL));
    CHECK(LOAD(dropped) == 1);
    IS(LK_ERR_STALE, lk_watch_manager_unwatch(manager, b, 1000, NULL));
    IS(LK_ERR_STALE, lk_watch_manager_trigger(manager, found));
    IS(LK_ERR_NOT_FOUND, lk_watch_manager_find(manager, "a", &found));
    IS(LK_ERR_STALE, lk_watch_manager_trigger(manager, 0));
    IS(LK_ERR_STALE, lk_watch_manager_trigger(manager, UINT64_MAX));
    OK(lk_watch_manager_watch(manager, &config, &c));
    CHECK(c != a && c != b);
    OK(lk_watch_manager_stop(manager, 1000, NULL));
    config.name = "b";
    IS(LK_ERR_STATE, lk_watch_manager_watch(manager, &config, NULL));
    OK(lk_watch_manager_free(manager));
    IS(LK_ERR_STALE, lk_watch_manager_trigger(manager, c));

    OK(lk_host_new(env, NULL, &host));
    OK(lk_component_config_init(&component, sizeof component));
    component.name = "a";
    component.start = probe_ok;
    component.stop = probe_ok;
    OK(lk_host_register(host, &component, &a));
    OK(lk_host_start(host));
    OK(lk_component_status_init(&status, sizeof status));
    OK(lk_host_component_status(host, a, &status));
    CHECK(status.state == LK_STATE_READY);
    OK(lk_host_replace(host, &component, 5000, &b));
    CHECK(a != b);
    IS(LK_ERR_STALE, lk_host_component_status(host, a, &status));
    IS(LK_ERR_STALE, lk_host_undeploy(host, a, 1000, NULL));
    OK(lk_host_component_status(host, b, &status));
    OK(lk_host_undeploy(host, b, 1000, NULL));
    IS(LK_ERR_STALE, lk_host_undeploy(host, b, 1000, NULL));
    IS(LK_ERR_STALE, lk_host_undeploy(host, 0, 1000, NULL));
    OK(lk_host_free(host));
    IS(LK_ERR_STALE, lk_host_component_status(host, b, &status));
    OK(lk_env_free(env));
}

int main(void)
{
    struct all all;
    int before_threads, before_descriptors, i;

    make_all(&all);
    free_all(&all);
    before_threads = threads();
    before_descriptors = descriptors();
    for (i = 0; i < 5; i++) {
        make_all(&all);
        free_all(&all);
    }
    test_handles();
    test_free_waits();
    test_free_ends_waits();
    test_end_of_what_never_began();
    test_members();
    test_members_of_others();
    CHECK(comes_to(threads, before_threads));
    CHECK(comes_to(descriptors, before_descriptors));
    puts("well");
    return 0;
}
