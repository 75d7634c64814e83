/* Loads the library, uses it, stops and unloads it, again and again: threads
 * and descriptors are as many as before. */

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "counts.h"
#include "loopkeeper.h"

/* Every function by its name: nothing here is linked with the library. */
#define FIND(name) (*(void **)(&name##_) = dlsym(library, #name), name##_)

static int32_t probe(void *userdata, const lk_context *cx)
{
    (void)cx;
    COUNT(*(int *)userdata);
    return 0;
}

static int use(const char *path)
{
    lk_status (*lk_env_new_)(const lk_env_config *, lk_env **);
    lk_status (*lk_env_free_)(lk_env *);
    lk_status (*lk_env_subscribe_)(const lk_env *, lk_events **);
    lk_status (*lk_env_trigger_)(const lk_env *, const char *);
    lk_status (*lk_events_fd_)(const lk_events *, int *);
    lk_status (*lk_events_free_)(lk_events *);
    lk_status (*lk_watcher_config_init_)(lk_watcher_config *, size_t);
    lk_status (*lk_watcher_start_)(const lk_env *, const lk_watcher_config *, lk_watcher **);
    lk_status (*lk_watcher_wait_ready_)(const lk_watcher *, uint64_t);
    lk_status (*lk_watcher_stop_)(const lk_watcher *, uint64_t, lk_stop_report *);
    lk_status (*lk_watcher_free_)(lk_watcher *);
    const char *(*lk_last_error_message_)(void);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    lk_watcher_config config;
    lk_env *env = NULL;
    lk_watcher *watcher = NULL;
    lk_events *events = NULL;
    int fd = -1;
    int probes = 0;

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (FIND(lk_env_new)(NULL, &env) != LK_OK || FIND(lk_env_subscribe)(env, &events) != LK_OK ||
        FIND(lk_events_fd)(events, &fd) != LK_OK ||
        FIND(lk_watcher_config_init)(&config, sizeof config) != LK_OK)
        return 1;
    config.name = "w";
    config.probe = probe;
    config.userdata = &probes;
    if (FIND(lk_watcher_start)(env, &config, &watcher) != LK_OK ||
        FIND(lk_watcher_wait_ready)(watcher, 10000) != LK_OK)
        return 1;
    if (FIND(lk_env_trigger)(env, "nobody") != LK_ERR_NOT_FOUND ||
        strlen(FIND(lk_last_error_message)()) == 0)
        return 1;
    if (FIND(lk_watcher_stop)(watcher, 10000, NULL) != LK_OK ||
        FIND(lk_watcher_free)(watcher) != LK_OK || FIND(lk_events_free)(events) != LK_OK ||
        FIND(lk_env_free)(env) != LK_OK)
        return 1;
    if (LOAD(probes) < 1)
        return 1;
    return dlclose(library) != 0;
}

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);         \
            return 1;                                                                       \
        }                                                                                   \
    } while (0)

int main(int argc, char **argv)
{
    int before_threads, before_descriptors, i;

    CHECK(argc == 2);
    CHECK(use(argv[1]) == 0);
    before_threads = threads();
    before_descriptors = descriptors();
    for (i = 0; i < 200; i++) {
        CHECK(use(argv[1]) == 0);
        CHECK(comes_to(threads, before_threads));
        CHECK(comes_to(descriptors, before_descriptors));
    }
    puts("well");
    return 0;
}
