/* What twenty idle watchers cost: the private memory of this process before
 * the library is loaded, with an environment, and with all of them waiting. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "counts.h"
#include "loopkeeper.h"

#define WATCHERS 20
#define BOUND_KIB 1536

/* Every function by its name: nothing here is linked with the library. */
#define FIND(name) (*(void **)(&name##_) = dlsym(library, #name), name##_)

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);         \
            return 1;                                                                       \
        }                                                                                   \
    } while (0)

/* What only this process has, in KiB: not the pages of the library's file,
 * which others share and the system may drop. "Private_Dirty" counts these,
 * too, while a file that was just written is not yet on the disk. */
static long private_memory(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long sum = 0, part;

    if (file == NULL)
        return -1;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "Anonymous:", 10) == 0 && sscanf(line + 10, "%ld", &part) == 1)
            sum += part;
    fclose(file);
    return sum;
}

static int probes;

static int32_t probe(void *userdata, const lk_context *cx)
{
    (void)userdata;
    (void)cx;
    COUNT(probes);
    return 0;
}

int main(int argc, char **argv)
{
    lk_status (*lk_env_new_)(const lk_env_config *, lk_env **);
    lk_status (*lk_env_free_)(lk_env *);
    lk_status (*lk_watcher_config_init_)(lk_watcher_config *, size_t);
    lk_status (*lk_watcher_start_)(const lk_env *, const lk_watcher_config *, lk_watcher **);
    lk_status (*lk_watcher_wait_ready_)(const lk_watcher *, uint64_t);
    lk_status (*lk_watcher_free_)(lk_watcher *);
    struct timespec nap = {0, 200000000};
    lk_watcher *watchers[WATCHERS] = {0};
    lk_env *env = NULL;
    void *library;
    long before, loaded, all;
    int i;

    CHECK(argc == 2);
    /* Twice, so that what the looking itself needs is there. */
    before = private_memory();
    before = private_memory();
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    CHECK(FIND(lk_env_new)(NULL, &env) == LK_OK);
    loaded = private_memory();
    for (i = 0; i < WATCHERS; i++) {
        lk_watcher_config config;
        char name[32];

        CHECK(FIND(lk_watcher_config_init)(&config, sizeof config) == LK_OK);
        sprintf(name, "watcher-%d", i);
        config.name = name;
        config.probe = probe;
        config.poll_interval_ms = 3600000;
        CHECK(FIND(lk_watcher_start)(env, &config, &watchers[i]) == LK_OK);
    }
    for (i = 0; i < WATCHERS; i++)
        CHECK(FIND(lk_watcher_wait_ready)(watchers[i], 10000) == LK_OK);
    CHECK(LOAD(probes) == WATCHERS);
    /* The last of them are on their way from the first probe into the wait. */
    nanosleep(&nap, NULL);
    all = private_memory();
    printf("%d idle watchers: %ld KiB, and the library with an environment: %ld KiB; "
           "together %ld KiB, bound %d KiB\n",
           WATCHERS, all - loaded, loaded - before, all - before, BOUND_KIB);
    for (i = 0; i < WATCHERS; i++)
        CHECK(FIND(lk_watcher_free)(watchers[i]) == LK_OK);
    CHECK(FIND(lk_env_free)(env) == LK_OK);
    CHECK(dlclose(library) == 0);
    return all - before > BOUND_KIB;
}
