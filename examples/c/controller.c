/* A controller that expires leases, and a monitor that looks whether the
 * rest is in order. Time is the example's own, so it takes none. */

#include <stdio.h>
#include <stdlib.h>

#include "loopkeeper.h"

struct leases {
    int expired;
    int runs;
};

static int32_t reconcile(void *userdata, const lk_context *cx)
{
    struct leases *leases = userdata;
    int expired = leases->expired;

    leases->runs++;
    if (leases->runs == 1) {
        /* Tried again with growing delays. */
        lk_context_set_error(cx, "the store is locked");
        return LK_ERR_IO;
    }
    if (!lk_context_is_dry_run(cx))
        leases->expired = 0;
    lk_context_set_items(cx, (uint64_t)expired);
    lk_context_set_answer(cx, "expired what was due");
    return LK_OK;
}

static int32_t check_shelves(void *userdata, const lk_context *cx)
{
    (void)userdata;
    lk_context_report(cx, "shelf-a", LK_HEALTH_READY, NULL);
    lk_context_report(cx, "shelf-b", LK_HEALTH_DOWN, "a crack in the middle");
    return LK_OK;
}

static int failed(const char *what, lk_status status)
{
    if (status == LK_OK)
        return 0;
    fprintf(stderr, "%s: %s: %s\n", what, lk_status_name(status), lk_last_error_message());
    return 1;
}

int main(void)
{
    struct leases leases = {3, 0};
    lk_clock *clock = NULL;
    lk_env *env = NULL;
    lk_controller *controller = NULL;
    lk_monitor *monitor = NULL;
    lk_env_config env_config;
    lk_controller_config config;
    lk_monitor_config monitor_config;
    lk_checker checker;
    lk_loop_status status;
    char json[4096];
    int code = EXIT_FAILURE;

    if (lk_abi_version() != LK_ABI_VERSION)
        return EXIT_FAILURE;
    if (failed("clock", lk_clock_new(&clock)))
        goto done;
    lk_env_config_init(&env_config, sizeof env_config);
    env_config.clock = clock;
    if (failed("env", lk_env_new(&env_config, &env)))
        goto done;

    lk_controller_config_init(&config, sizeof config);
    config.name = "leases";
    config.reconcile = reconcile;
    config.userdata = &leases;
    config.interval_ms = 30000;
    if (failed("controller", lk_controller_start(env, &config, &controller)))
        goto done;
    if (failed("settle", lk_clock_settle(clock)))
        goto done;
    lk_loop_status_init(&status, sizeof status);
    if (failed("status", lk_controller_status(controller, &status)))
        goto done;
    printf("%s: health %d: %s\n", status.name, (int)status.health, status.last_error);

    if (failed("run", lk_clock_run_for(clock, 10000)))
        goto done;
    if (failed("status", lk_controller_status(controller, &status)))
        goto done;
    printf("%s: health %d after %llu runs, %d leases left\n", status.name, (int)status.health,
           (unsigned long long)status.runs, leases.expired);

    lk_monitor_config_init(&monitor_config, sizeof monitor_config);
    monitor_config.name = "store";
    monitor_config.json = "{\"poll_period\": \"1m\"}";
    if (failed("monitor", lk_monitor_new(env, &monitor_config, &monitor)))
        goto done;
    lk_checker_init(&checker, sizeof checker);
    checker.name = "shelves";
    checker.check = check_shelves;
    checker.has_items = 1;
    if (failed("checker", lk_monitor_add_checker(monitor, &checker)))
        goto done;
    if (failed("start", lk_monitor_start(monitor)) || failed("settle", lk_clock_settle(clock)))
        goto done;
    if (failed("status", lk_monitor_status_json(monitor, json, sizeof json, NULL)))
        goto done;
    printf("%s\n", json);

    if (failed("stop", lk_monitor_stop(monitor, 5000, NULL)) ||
        failed("stop", lk_controller_stop(controller, 5000, NULL)))
        goto done;
    if (leases.expired == 0 && status.health == LK_HEALTH_READY)
        code = EXIT_SUCCESS;

done:
    if (failed("free", lk_monitor_free(monitor)) || failed("free", lk_controller_free(controller)) ||
        failed("free", lk_env_free(env)) || failed("free", lk_clock_free(clock)))
        code = EXIT_FAILURE;
    return code;
}
