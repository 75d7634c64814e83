/* Two hosts in one process that do not notice each other, and a folder in one
 * call. */

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "fixture.h"

static int starts[2], stops[2];

static int32_t count_start(void *userdata, const lk_context *cx)
{
    (void)cx;
    COUNT(starts[*(int *)userdata]);
    return 0;
}

static int32_t count_stop(void *userdata, const lk_context *cx)
{
    (void)cx;
    COUNT(stops[*(int *)userdata]);
    return 0;
}

/* Row by row: in order, none left out, and the last one is what the others
   speak of. */
static void read_in_rows(lk_events *events, uint64_t seq)
{
    lk_event rows[3];
    char text[512], last[32];
    size_t count = 7, i;

    for (i = 0; i < 3; i++)
        OK(lk_event_init(&rows[i], sizeof rows[i]));
    IS(LK_ERR_RANGE, lk_events_read(events, 0, rows, 0, &count));
    rows[0].size = 3;
    IS(LK_ERR_SIZE, lk_events_read(events, 0, rows, 3, &count));
    CHECK(count == 7 && rows[1].seq == 0);
    OK(lk_event_init(&rows[0], sizeof rows[0]));
    do {
        OK(lk_events_read(events, 0, rows, 3, &count));
        CHECK(count >= 1 && count <= 3);
        for (i = 0; i < count; i++) {
            seq++;
            CHECK(rows[i].seq == seq && rows[i].lost == 0 && rows[i].size == sizeof rows[i]);
            CHECK(rows[i].kind != 0 && strcmp(rows[i].source, "same") == 0);
        }
        OK(lk_events_last_json(events, text, sizeof text, NULL));
        sprintf(last, "\"seq\":%u,", (unsigned)seq);
        CHECK(strstr(text, last) != NULL);
    } while (!lk_events_has_ended(events));
    CHECK(seq > 4);
    IS(LK_ERR_ENDED, lk_events_read(events, LK_FOREVER, rows, 3, &count));
}

static int is_ready(int fd)
{
    struct pollfd one;

    one.fd = fd;
    one.events = POLLIN;
    one.revents = 0;
    return poll(&one, 1, 0) == 1;
}

/* The descriptor is ready while one waits, also after some were read, and not
   once all were. */
static void read_by_descriptor(lk_events *events)
{
    lk_event event;
    int fd = -1, read = 0, tries = 0;

    OK(lk_event_init(&event, sizeof event));
    OK(lk_events_next(events, 0, &event));
    OK(lk_events_fd(events, &fd));
    CHECK(is_ready(fd));
    OK(lk_events_next(events, 0, &event));
    CHECK(is_ready(fd));
    /* Somebody else may still have something to tell. */
    do {
        while (lk_events_next(events, 0, &event) == LK_OK)
            read++;
    } while (is_ready(fd) && tries++ < 100);
    CHECK(read >= 1 && !is_ready(fd));
}

/* Its descriptor is closed with a handle, and not when the source has something
   to tell at last. */
static void test_descriptor_of_a_quiet_source(void)
{
    lk_env *env = NULL;
    lk_events *events = NULL;
    int fd = -1;

    OK(lk_env_new(NULL, &env));
    OK(lk_env_subscribe(env, &events));
    OK(lk_events_fd(events, &fd));
    CHECK(fcntl(fd, F_GETFD) != -1);
    OK(lk_events_free(events));
    CHECK(fcntl(fd, F_GETFD) == -1);
    OK(lk_env_free(env));
}

static void test_two(void)
{
    static int number[2] = {0, 1};
    lk_env *env[2];
    lk_host *host[2];
    lk_events *events[2];
    lk_event event;
    size_t count;
    int i;

    for (i = 0; i < 2; i++) {
        lk_component_config config;

        env[i] = NULL;
        host[i] = NULL;
        events[i] = NULL;
        OK(lk_env_new(NULL, &env[i]));
        OK(lk_host_new(env[i], NULL, &host[i]));
        OK(lk_component_config_init(&config, sizeof config));
        config.name = "same";
        config.start = count_start;
        config.stop = count_stop;
        config.userdata = &number[i];
        OK(lk_host_register(host[i], &config, NULL));
        OK(lk_env_subscribe(env[i], &events[i]));
    }
    OK(lk_host_start(host[0]));
    CHECK(starts[0] == 1 && starts[1] == 0);
    OK(lk_event_init(&event, sizeof event));
    OK(lk_events_next(events[0], 10000, &event));
    CHECK(event.seq == 1);
    IS(LK_ERR_TIMEOUT, lk_events_next(events[1], 0, &event));
    IS(LK_ERR_TIMEOUT, lk_events_read(events[1], 0, &event, 1, &count));
    OK(lk_host_start(host[1]));
    read_by_descriptor(events[1]);
    OK(lk_host_stop(host[0], 5000, NULL));
    CHECK(stops[0] == 1 && stops[1] == 0);
    OK(lk_host_free(host[0]));
    OK(lk_env_free(env[0]));
    read_in_rows(events[0], event.seq);
    CHECK(lk_events_has_ended(events[0]) == 1);
    IS(LK_ERR_ENDED, lk_events_next(events[0], LK_FOREVER, &event));
    CHECK(lk_events_has_ended(events[1]) == 0);
    OK(lk_host_stop(host[1], 5000, NULL));
    CHECK(starts[1] == 1 && stops[1] == 1);
    OK(lk_host_free(host[1]));
    OK(lk_env_free(env[1]));
    OK(lk_events_free(events[0]));
    OK(lk_events_free(events[1]));
}

/* A host that runs until it is cancelled. */

static void *cancel_when_up(void *argument)
{
    EVENTUALLY(LOAD(starts[0]) == 2);
    OK(lk_cancel_cancel(argument));
    return NULL;
}

static void test_run(void)
{
    static int zero = 0;
    lk_env *env = NULL;
    lk_host *host = NULL;
    lk_cancel *cancel = NULL;
    lk_component_config config;
    pthread_t thread;

    OK(lk_env_new(NULL, &env));
    OK(lk_host_new(env, NULL, &host));
    OK(lk_cancel_new(&cancel));
    OK(lk_component_config_init(&config, sizeof config));
    config.name = "one";
    config.start = count_start;
    config.stop = count_stop;
    config.userdata = &zero;
    OK(lk_host_register(host, &config, NULL));
    CHECK(pthread_create(&thread, NULL, cancel_when_up, cancel) == 0);
    OK(lk_host_run(host, cancel));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(LOAD(stops[0]) == 2);
    OK(lk_cancel_free(cancel));
    OK(lk_host_free(host));
    OK(lk_env_free(env));
}

/* A folder, with the log that tells of it. */

static int deployed, rejected, drops;
static char folder[256], told[300];

static void put(const char *name, const char *text)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void hear(void *userdata, lk_log_level level, const char *target, const char *text)
{
    (void)userdata;
    CHECK(level >= LK_LOG_ERROR && level <= LK_LOG_INFO);
    CHECK(strncmp(target, "loopkeeper::", 12) == 0);
    if (strstr(text, "deployed disk") != NULL)
        COUNT(deployed);
    if (strstr(text, "rejected") != NULL)
        COUNT(rejected);
}

static void count_drop(void *userdata)
{
    (void)userdata;
    COUNT(drops);
}

static void *end_when_deployed(void *argument)
{
    EVENTUALLY(LOAD(deployed) == 1 && LOAD(rejected) == 1 && access(told, F_OK) == 0);
    if (argument != NULL)
        OK(lk_cancel_cancel(argument));
    else
        CHECK(kill(getpid(), SIGTERM) == 0);
    return NULL;
}

static void test_folder(void)
{
    int i;
    char gone[1024];

    snprintf(told, sizeof told, "%s/told", folder);
    snprintf(gone, sizeof gone,
             "{\"name\": \"gone\", \"type\": \"watcher\", \"config\": {\"probe\": {\"unix\": {\"path\": "
             "\"/nowhere/at/all\"}}, \"backoff\": {\"initial_delay\": \"1ms\", \"max_retries\": 1}, "
             "\"on_down\": {\"exec\": {\"command\": [\"touch\", \"%s\"]}}}}",
             told);
    put("gone.json", gone);
    put("disk.json", "{\"name\": \"disk\", \"type\": \"watcher\", \"config\": "
                     "{\"probe\": {\"disk\": {\"path\": \"/\", \"min_free\": 1}}}}");
    put("wrong.json", "{\"name\": \"wrong\", \"type\": \"wacher\"}");
    for (i = 0; i < 2; i++) {
        lk_cancel *cancel = NULL;
        lk_log log;
        pthread_t thread;
        sigset_t set, before;

        STORE(deployed, 0);
        STORE(rejected, 0);
        STORE(drops, 0);
        (void)unlink(told);
        OK(lk_log_init(&log, sizeof log));
        log.write = hear;
        log.drop = count_drop;
        if (i == 0)
            OK(lk_cancel_new(&cancel));
        /* Other threads of a program block what ends it. */
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        CHECK(pthread_sigmask(SIG_BLOCK, &set, &before) == 0);
        CHECK(pthread_create(&thread, NULL, end_when_deployed, cancel) == 0);
        CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
        OK(lk_run_descriptor_dir(folder, &log, cancel));
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(LOAD(drops) == 1);
        OK(lk_cancel_free(cancel));
    }
    IS(LK_ERR_IO, lk_run_descriptor_dir("/nowhere/at/all", NULL, NULL));
}

int main(int argc, char **argv)
{
    int before, descriptors_before;

    CHECK(argc == 2);
    snprintf(folder, sizeof folder, "%s", argv[1]);
    before = threads();
    descriptors_before = descriptors();
    test_descriptor_of_a_quiet_source();
    test_two();
    test_run();
    test_folder();
    CHECK(comes_to(threads, before));
    CHECK(comes_to(descriptors, descriptors_before));
    puts("well");
    return 0;
}
