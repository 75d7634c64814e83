/* Watches two services: one through a callback, one through a probe that comes
 * with the library. Reads what happens, and stops cleanly. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loopkeeper.h"

/* What the callbacks work with. They run on threads of the library: the probe
 * on its watcher's, the others on the dispatcher's. */
struct queue {
    int asked;
};

static int32_t probe_queue(void *userdata, const lk_context *cx)
{
    struct queue *queue = userdata;
    queue->asked++;
    if (queue->asked < 3) {
        lk_context_set_error(cx, "17 jobs wait");
        return LK_ERR_PROBE;
    }
    return LK_OK;
}

static int32_t on_ready(void *userdata)
{
    (void)userdata;
    puts("callback: the queue is ready");
    return 0;
}

static void drop_queue(void *userdata)
{
    puts("callback: nobody asks the queue any more");
    free(userdata);
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
    lk_env *env = NULL;
    lk_watcher *queue = NULL;
    lk_watcher *root = NULL;
    lk_events *events = NULL;
    lk_watcher_config config;
    lk_event event;
    lk_stop_report report;
    char line[512];
    int ready = 0;
    int code = EXIT_FAILURE;

    if (lk_abi_version() != LK_ABI_VERSION) {
        fputs("the header and the library do not belong together\n", stderr);
        return EXIT_FAILURE;
    }
    if (failed("env", lk_env_new(NULL, &env)))
        goto done;
    if (failed("subscribe", lk_env_subscribe(env, &events)))
        goto done;

    lk_watcher_config_init(&config, sizeof config);
    config.name = "queue";
    config.probe = probe_queue;
    config.on_ready = on_ready;
    config.drop = drop_queue;
    config.userdata = calloc(1, sizeof(struct queue));
    config.initial_delay_ms = 20;
    if (config.userdata == NULL || failed("queue", lk_watcher_start(env, &config, &queue)))
        goto done;

    lk_watcher_config_init(&config, sizeof config);
    config.name = "root-disk";
    config.probe_json = "{\"disk\": {\"path\": \"/\", \"min_free\": \"1KiB\"}}";
    config.critical = 0;
    if (failed("root-disk", lk_watcher_start(env, &config, &root)))
        goto done;

    lk_event_init(&event, sizeof event);
    while (ready < 2) {
        if (failed("events", lk_events_next(events, 10000, &event)))
            goto done;
        if (lk_events_last_text(events, line, sizeof line, NULL) == LK_OK)
            printf("event %llu: %s\n", (unsigned long long)event.seq, line);
        if (event.kind == LK_EVENT_READY)
            ready++;
    }

    lk_stop_report_init(&report, sizeof report);
    if (failed("stop", lk_watcher_stop(queue, 5000, &report)))
        goto done;
    printf("stopped: %s\n", report.text);
    code = EXIT_SUCCESS;

done:
    lk_events_free(events);
    if (failed("free", lk_watcher_free(root)) || failed("free", lk_watcher_free(queue)) ||
        failed("free", lk_env_free(env)))
        code = EXIT_FAILURE;
    return code;
}
