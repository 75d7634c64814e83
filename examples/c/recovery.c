/* A training run that is found corrupted, restored from its last checkpoint
 * and watched until the recovery is proven. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loopkeeper.h"

/* Called for several runs at once in a larger program: guard what is shared. */
static int32_t fetch(void *userdata, const lk_context *cx, const char *run)
{
    char answer[256];
    (void)userdata;
    snprintf(answer, sizeof answer, "{\"corrupted\": %s, \"last_checkpoint\": {\"path\": \"store/%s/7\"}}",
             strcmp(run, "run-1") == 0 ? "true" : "false", run);
    lk_context_set_answer(cx, answer);
    return LK_OK;
}

static int32_t restore(void *userdata, const lk_context *cx, const lk_restore *request)
{
    int *attempts = userdata;
    ++*attempts;
    printf("attempt %u: %s from %s\n", request->attempt, request->run, request->checkpoint_path);
    if (request->attempt == 1) {
        lk_context_set_error(cx, "no machine is free");
        return LK_ERR_BUDGET;
    }
    lk_context_set_answer(cx, "run-2");
    return LK_OK;
}

static int32_t on_recovery(void *userdata, const char *run, const char *restored,
                           const char *checkpoint, uint32_t attempt)
{
    (void)userdata;
    (void)checkpoint;
    printf("%s runs as %s after %u attempts\n", run, restored, attempt);
    return 0;
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
    int attempts = 0;
    lk_env *env = NULL;
    lk_recovery *recovery = NULL;
    lk_events *events = NULL;
    lk_recovery_config config;
    lk_event event;
    char text[1024];
    int code = EXIT_FAILURE;

    if (lk_abi_version() != LK_ABI_VERSION)
        return EXIT_FAILURE;
    if (failed("env", lk_env_new(NULL, &env)))
        goto done;

    lk_recovery_config_init(&config, sizeof config);
    config.name = "training";
    config.policy_json = "{\"backoff\": \"20ms\", \"poll_interval\": \"20ms\", \"verify_polls\": 2}";
    config.fetch = fetch;
    config.restore = restore;
    config.on_recovery = on_recovery;
    config.userdata = &attempts;
    if (failed("recovery", lk_recovery_start(env, &config, &recovery)))
        goto done;
    if (failed("subscribe", lk_recovery_subscribe(recovery, &events)))
        goto done;
    if (failed("watch", lk_recovery_watch_run(recovery, "run-1", "{\"team\": \"north\"}")))
        goto done;

    lk_event_init(&event, sizeof event);
    do {
        if (failed("events", lk_events_next(events, 10000, &event)))
            goto done;
        if (failed("text", lk_events_last_text(events, text, sizeof text, NULL)))
            goto done;
        printf("event: %s\n", text);
    } while (event.kind != LK_EVENT_RECOVERY_VERIFIED);

    if (failed("runs", lk_recovery_runs_json(recovery, text, sizeof text, NULL)))
        goto done;
    printf("%s\n", text);
    if (failed("stop", lk_recovery_stop(recovery, 5000, NULL)))
        goto done;
    if (attempts == 2)
        code = EXIT_SUCCESS;

done:
    lk_events_free(events);
    if (failed("free", lk_recovery_free(recovery)) || failed("free", lk_env_free(env)))
        code = EXIT_FAILURE;
    return code;
}
