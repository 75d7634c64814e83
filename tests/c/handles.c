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
    OK(lk_watch_manager_trigger(manager, found));
    OK(lk_watch_manager_unwatch(manager, b, 1000, NULL));
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
    test_members();
    CHECK(comes_to(threads, before_threads));
    CHECK(comes_to(descriptors, before_descriptors));
    puts("well");
    return 0;
}
