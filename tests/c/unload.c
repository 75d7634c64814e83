/* Loads the library, uses it, stops and unloads it, again and again: threads
 * and descriptors are as many as before. */

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* A thread that comes and goes leaves nothing behind of what the library keeps
 * for it, so there it is unloaded for good. */
static void *use_in_thread(void *path)
{
    return use(path) == 0 ? path : NULL;
}

static int use_in_threads(char *path, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        pthread_t thread;
        void *answer = NULL;
        CHECK(pthread_create(&thread, NULL, use_in_thread, path) == 0);
        CHECK(pthread_join(thread, &answer) == 0 && answer == path);
    }
    return 0;
}

/* Nothing of an unloaded library is called by a fork. */
static int fork_once(void)
{
    int state = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(7);
    CHECK(child > 0 && waitpid(child, &state, 0) == child);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 7);
    return 0;
}

static int is_mapped(const char *path)
{
    char line[1024];
    const char *name = strrchr(path, '/');
    FILE *maps = fopen("/proc/self/maps", "r");
    int n = 0;

    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        n += strstr(line, name) != NULL;
    if (maps != NULL)
        fclose(maps);
    return n > 0;
}

int main(int argc, char **argv)
{
    int before_threads, before_descriptors, i;
    void *library;
    char *real;

    CHECK(argc == 2);
    real = realpath(argv[1], NULL);
    CHECK(real != NULL);
    CHECK(use_in_threads(real, 1) == 0);
    /* What a thread kept is let go of by whoever loads or unloads next. */
    library = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL && dlclose(library) == 0);
    CHECK(!is_mapped(real));
    CHECK(fork_once() == 0);

    CHECK(use(real) == 0);
    before_threads = threads();
    before_descriptors = descriptors();
    for (i = 0; i < 200; i++) {
        CHECK(use(real) == 0);
        CHECK(comes_to(threads, before_threads));
        CHECK(comes_to(descriptors, before_descriptors));
    }
    CHECK(use_in_threads(real, 50) == 0);
    CHECK(comes_to(threads, before_threads));
    CHECK(comes_to(descriptors, before_descriptors));
    CHECK(fork_once() == 0);
    free(real);
    puts("well");
    return 0;
}
