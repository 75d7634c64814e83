/* A host of two components: a database that is started first, and a server
 * that requires it. Stopped in reverse. */

#include <stdio.h>
#include <stdlib.h>

#include "loopkeeper.h"

struct part {
    const char *name;
    int is_open;
};

static int32_t start(void *userdata, const lk_context *cx)
{
    struct part *part = userdata;
    if (lk_context_is_cancelled(cx))
        return LK_ERR_CANCELLED;
    printf("%s: starts, with %s\n", part->name,
           lk_context_remaining_ms(cx) > 1000 ? "time enough" : "little time");
    part->is_open = 1;
    return LK_OK;
}

static int32_t stop(void *userdata, const lk_context *cx)
{
    struct part *part = userdata;
    (void)cx;
    printf("%s: stops\n", part->name);
    part->is_open = 0;
    return LK_OK;
}

static int32_t refuse(void *userdata, const lk_context *cx)
{
    (void)userdata;
    lk_context_set_error(cx, "port 80 is taken");
    return LK_ERR_IO;
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
    struct part db = {"db", 0};
    struct part api = {"api", 0};
    struct part web = {"web", 0};
    lk_env *env = NULL;
    lk_host *host = NULL;
    lk_component_config config;
    lk_component_status status;
    lk_stop_report report;
    lk_member member;
    int code = EXIT_FAILURE;

    if (lk_abi_version() != LK_ABI_VERSION)
        return EXIT_FAILURE;
    if (failed("env", lk_env_new(NULL, &env)))
        goto done;
    if (failed("host", lk_host_new(env, NULL, &host)))
        goto done;

    lk_component_config_init(&config, sizeof config);
    config.name = "api";
    config.start = start;
    config.stop = stop;
    config.userdata = &api;
    config.requires_json = "[\"db\"]";
    if (failed("api", lk_host_register(host, &config, &member)))
        goto done;

    lk_component_config_init(&config, sizeof config);
    config.name = "db";
    config.start = start;
    config.stop = stop;
    config.userdata = &db;
    if (failed("db", lk_host_register(host, &config, NULL)))
        goto done;

    if (failed("start", lk_host_start(host)))
        goto done;
    lk_component_status_init(&status, sizeof status);
    if (failed("status", lk_host_component_status(host, member, &status)))
        goto done;
    printf("%s is %s\n", status.name, status.state == LK_STATE_READY ? "ready" : "not ready");

    /* One that cannot start is taken out again, and says why. */
    lk_component_config_init(&config, sizeof config);
    config.name = "web";
    config.start = refuse;
    config.stop = stop;
    config.userdata = &web;
    if (lk_host_deploy(host, &config, NULL) != LK_ERR_IO)
        goto done;
    printf("refused: %s\n", lk_last_error_message());

    /* A component that comes with the library, as in a file. */
    if (failed("deploy", lk_host_deploy_json(host,
                                             "{\"name\": \"disk\", \"type\": \"watcher\", \"config\": "
                                             "{\"probe\": {\"disk\": {\"path\": \"/\", \"min_free\": 1}}}}",
                                             &member)))
        goto done;
    if (failed("undeploy", lk_host_undeploy(host, member, 5000, NULL)))
        goto done;
    if (lk_host_undeploy(host, member, 5000, NULL) != LK_ERR_STALE)
        goto done;

    lk_stop_report_init(&report, sizeof report);
    if (failed("stop", lk_host_stop(host, 10000, &report)))
        goto done;
    printf("stopped: %s\n", report.text);
    if (!db.is_open && !api.is_open)
        code = EXIT_SUCCESS;

done:
    if (failed("free", lk_host_free(host)) || failed("free", lk_env_free(env)))
        code = EXIT_FAILURE;
    return code;
}
