/* A program with an event loop of its own, which reads our events when their
 * descriptor is ready, beside whatever else it waits for. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loopkeeper.h"

static int32_t probe(void *userdata, const lk_context *cx)
{
    (void)userdata;
    (void)cx;
    return LK_OK;
}

static int failed(const char *what, lk_status status)
{
    if (status == LK_OK)
        return 0;
    fprintf(stderr, "%s: %s: %s\n", what, lk_status_name(status), lk_last_error_message());
    return 1;
}

/* Reads every event that is there. Says how many, or -1. */
static int read_all(const lk_events *events, int *is_over)
{
    lk_event event;
    lk_status status;
    int n = 0;

    lk_event_init(&event, sizeof event);
    while ((status = lk_events_next(events, 0, &event)) == LK_OK) {
        printf("event %llu of %s: kind %d\n", (unsigned long long)event.n, event.source, (int)event.kind);
        n++;
    }
    if (status == LK_ERR_ENDED)
        *is_over = 1;
    else if (status != LK_ERR_TIMEOUT)
        return -1;
    return n;
}

int main(void)
{
    lk_env *env = NULL;
    lk_watcher *watcher = NULL;
    lk_events *events = NULL;
    lk_watcher_config config;
    struct epoll_event interest = {0};
    struct epoll_event ready;
    int loop = -1;
    int fd = -1;
    int is_over = 0;
    int n = 0;
    int code = EXIT_FAILURE;

    if (lk_abi_version() != LK_ABI_VERSION)
        return EXIT_FAILURE;
    if (failed("env", lk_env_new(NULL, &env)))
        goto done;
    lk_watcher_config_init(&config, sizeof config);
    config.name = "queue";
    config.probe = probe;
    config.poll_interval_ms = 50;
    if (failed("watcher", lk_watcher_new(env, &config, &watcher)))
        goto done;
    if (failed("subscribe", lk_watcher_subscribe(watcher, &events)))
        goto done;
    if (failed("descriptor", lk_events_fd(events, &fd)))
        goto done;
    if (failed("start", lk_watcher_restart(watcher)))
        goto done;

    loop = epoll_create1(0);
    interest.events = EPOLLIN;
    interest.data.ptr = events;
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, fd, &interest) != 0)
        goto done;
    while (!is_over) {
        int found;
        if (epoll_wait(loop, &ready, 1, 10000) != 1)
            goto done;
        found = read_all(ready.data.ptr, &is_over);
        if (found < 0)
            goto done;
        n += found;
        /* Started and ready: enough. The events that are left still come. */
        if (n >= 2 && failed("stop", lk_watcher_stop(watcher, 5000, NULL)))
            goto done;
    }
    printf("%d events, and no more\n", n);
    code = EXIT_SUCCESS;

done:
    if (loop >= 0)
        close(loop);
    lk_events_free(events);
    if (failed("free", lk_watcher_free(watcher)) || failed("free", lk_env_free(env)))
        code = EXIT_FAILURE;
    return code;
}
