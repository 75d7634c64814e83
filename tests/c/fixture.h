/* What the test programs share: checks that say where, and one handle of each
 * kind. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "counts.h"
#include "loopkeeper.h"

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__,     \
                    #condition, lk_last_error_message());                                   \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

#define IS(expected, call)                                                                  \
    do {                                                                                    \
        lk_status is_status = (call);                                                       \
        if (is_status != (expected)) {                                                      \
            fprintf(stderr, "%s:%d: %s: expected %s, found %s: %s\n", __FILE__, __LINE__,   \
                    #call, lk_status_name(expected), lk_status_name(is_status),             \
                    lk_last_error_message());                                               \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

#define OK(call) IS(LK_OK, call)

/* Waits for a condition, up to ten seconds. */
#define EVENTUALLY(condition)                                                               \
    do {                                                                                    \
        int eventually_n = 0;                                                               \
        while (!(condition)) {                                                              \
            struct timespec eventually_nap = {0, 2000000};                                  \
            nanosleep(&eventually_nap, NULL);                                               \
            CHECK(++eventually_n < 5000 && "eventually: " #condition);                      \
        }                                                                                   \
    } while (0)

MAYBE_UNUSED static int32_t probe_ok(void *userdata, const lk_context *cx)
{
    (void)userdata;
    (void)cx;
    return LK_OK;
}

MAYBE_UNUSED static int32_t fetch_ok(void *userdata, const lk_context *cx, const char *run)
{
    (void)userdata;
    (void)run;
    lk_context_set_answer(cx, "{}");
    return LK_OK;
}

MAYBE_UNUSED static int32_t restore_ok(void *userdata, const lk_context *cx, const lk_restore *request)
{
    (void)userdata;
    (void)request;
    lk_context_set_answer(cx, "another");
    return LK_OK;
}

MAYBE_UNUSED static int32_t keep_reporter(void *userdata, const lk_context *cx)
{
    return lk_context_reporter(cx, userdata);
}

MAYBE_UNUSED static int32_t make_none(void *userdata, const char *name, const char *config_json,
                                      lk_component_config *out, char *buf, size_t len)
{
    (void)userdata;
    (void)name;
    (void)config_json;
    (void)out;
    snprintf(buf, len, "nothing of the kind");
    return LK_ERR_INVALID;
}

/* One of each. */
struct all {
    lk_env *env;
    lk_clock *clock;
    lk_cancel *cancel;
    lk_watcher *watcher;
    lk_watch_manager *watch_manager;
    lk_events *events;
    lk_host *host;
    lk_component *component;
    lk_reporter *reporter;
    lk_deployer *deployer;
    lk_controller *controller;
    lk_controller_manager *controller_manager;
    lk_monitor *monitor;
    lk_recovery *recovery;
    lk_executor *executor;
    lk_alerts *alerts;
    lk_config *config;
    lk_config_watcher *config_watcher;
    lk_snapshot *snapshot;
};

MAYBE_UNUSED static void make_all(struct all *all)
{
    lk_watcher_config watcher;
    lk_component_config component;
    lk_deployer_config deployer;
    lk_controller_config controller;
    lk_monitor_config monitor;
    lk_recovery_config recovery;
    lk_config_watcher_config config_watcher;

    memset(all, 0, sizeof *all);
    OK(lk_env_new(NULL, &all->env));
    OK(lk_clock_new(&all->clock));
    OK(lk_cancel_new(&all->cancel));

    OK(lk_watcher_config_init(&watcher, sizeof watcher));
    watcher.name = "watcher";
    watcher.probe = probe_ok;
    OK(lk_watcher_start(all->env, &watcher, &all->watcher));
    OK(lk_watch_manager_new(all->env, &all->watch_manager));
    OK(lk_env_subscribe(all->env, &all->events));

    OK(lk_host_new(all->env, NULL, &all->host));
    OK(lk_component_config_init(&component, sizeof component));
    component.name = "reporter";
    component.start = keep_reporter;
    component.stop = probe_ok;
    component.userdata = &all->reporter;
    component.restart = LK_RESTART_TEMPORARY;
    OK(lk_host_register(all->host, &component, NULL));
    OK(lk_host_start(all->host));
    CHECK(all->reporter != NULL);
    OK(lk_component_of_watcher(all->watcher, &all->component));
    OK(lk_deployer_config_init(&deployer, sizeof deployer));
    deployer.dir = "/nowhere/at/all";
    OK(lk_deployer_start(all->host, &deployer, &all->deployer));

    OK(lk_controller_config_init(&controller, sizeof controller));
    controller.name = "controller";
    controller.reconcile = probe_ok;
    OK(lk_controller_start(all->env, &controller, &all->controller));
    OK(lk_controller_manager_new(all->env, 0, &all->controller_manager));
    OK(lk_monitor_config_init(&monitor, sizeof monitor));
    monitor.name = "monitor";
    OK(lk_monitor_new(all->env, &monitor, &all->monitor));
    OK(lk_monitor_start(all->monitor));
    OK(lk_recovery_config_init(&recovery, sizeof recovery));
    recovery.name = "recovery";
    recovery.fetch = fetch_ok;
    recovery.restore = restore_ok;
    OK(lk_recovery_start(all->env, &recovery, &all->recovery));
    recovery.name = "executor";
    OK(lk_executor_start(all->env, &recovery, &all->executor));

    OK(lk_alerts_start(all->env, NULL, &all->alerts));
    OK(lk_config_new(all->env, &all->config));
    OK(lk_config_add_text(all->config, "app.json", "{\"a\": {\"b\": 7, \"text\": \"t\"}}"));
    OK(lk_config_load(all->config));
    OK(lk_config_snapshot(all->config, &all->snapshot));
    OK(lk_config_watcher_config_init(&config_watcher, sizeof config_watcher));
    OK(lk_config_watcher_start(all->env, all->config, &config_watcher, &all->config_watcher));
}

/* Frees all, in an order in which nothing is used after what it is part of. */
MAYBE_UNUSED static void free_all(struct all *all)
{
    OK(lk_config_watcher_free(all->config_watcher));
    OK(lk_snapshot_free(all->snapshot));
    OK(lk_config_free(all->config));
    OK(lk_alerts_free(all->alerts));
    OK(lk_executor_free(all->executor));
    OK(lk_recovery_free(all->recovery));
    OK(lk_monitor_free(all->monitor));
    OK(lk_controller_manager_free(all->controller_manager));
    OK(lk_controller_free(all->controller));
    OK(lk_deployer_free(all->deployer));
    OK(lk_component_free(all->component));
    OK(lk_host_free(all->host));
    OK(lk_reporter_free(all->reporter));
    OK(lk_events_free(all->events));
    OK(lk_watch_manager_free(all->watch_manager));
    OK(lk_watcher_free(all->watcher));
    OK(lk_cancel_free(all->cancel));
    OK(lk_env_free(all->env));
    OK(lk_clock_free(all->clock));
}

#endif
