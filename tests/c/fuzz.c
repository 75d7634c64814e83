/* Calls every function of the header in random order with arguments that mean
 * something or nothing, from several threads and from inside callbacks:
 *
 *     fuzz SECONDS [SEED]
 *
 * Nothing may crash, hang or leak, and each userdata is dropped once, after
 * the last call with it: it is freed there, so that a sanitizer sees the
 * others. The calls are made from the header by .ci/fuzz-calls. One seed is one
 * sequence for each thread; how the threads mix is the machine's. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "counts.h"
#include "loopkeeper.h"

#define THREADS 3
/* How many open handles of a kind there are at most, and how many are kept in
 * mind, the freed ones among them. */
#define OPEN 6
#define KNOWN 16
#define MOST 5000

static uint64_t seed;
static volatile int ended;

/* Numbers. */

static __thread uint64_t state;

static uint64_t some_number(void)
{
    static const uint64_t edges[] = {0, 1, 2, 3, 7, 255, 4096, 65536, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX};
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % 8 < 7 ? edges[(state >> 8) % (sizeof edges / sizeof *edges)] : state >> 8;
}

static unsigned below(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 16) % n);
}

static int chance(unsigned percent)
{
    return below(100) < percent;
}

static uint64_t some_ms(void)
{
    static const uint64_t times[] = {0, 1, 2, 5, 20, 100, 1000, 60000, UINT64_MAX / 2, LK_FOREVER};
    return times[below(sizeof times / sizeof *times)];
}

/* For what blocks as long as it is told. */
static uint64_t some_wait(void)
{
    static const uint64_t times[] = {0, 0, 1, 5, 30};
    return times[below(sizeof times / sizeof *times)];
}

/* For a clock. One that is at its end stands still for ever, and so does what
 * waits for a later moment of it, as a start that sleeps. */
static uint64_t some_move(void)
{
    static const uint64_t times[] = {0, 1, 5, 30, 1000, 60000, 3600000, 86400000};
    return times[below(sizeof times / sizeof *times)];
}

static double some_double(void)
{
    static const double numbers[] = {0.0, 1.0, 0.5, -1.0, 2.0, 1e300, -1e300, 1e-300};
    unsigned n = below(10);
    double zero = 0.0;
    return n < 8 ? numbers[n] : n == 8 ? zero / zero : 1.0 / zero;
}

static size_t some_size(void)
{
    return chance(90) ? below(300) : (size_t)some_number();
}

static size_t some_len(void)
{
    return chance(50) ? 4096 : below(200);
}

/* Right, too large or too small; one that is taken is at least `least` and not
 * larger than the room that each struct has then. */
static uint32_t some_struct_size(size_t size, size_t least)
{
    switch (below(6)) {
    case 0:
        return below(4);
    case 1:
        return (uint32_t)some_number() | 1 << 20;
    case 2:
        return (uint32_t)size + 8 * below(10);
    case 3:
        return (uint32_t)(least + 7) / 8 * 8 + 8 * below(1 + (unsigned)((size - least) / 8));
    case 4:
        return (uint32_t)size - 1 - below(7);
    default:
        return (uint32_t)size;
    }
}

static int32_t some_answer(void)
{
    return chance(75) ? LK_OK : chance(80) ? (int32_t)below(20) : (int32_t)some_number();
}

/* Memory for one call. */

static __thread struct {
    void *places[256];
    int n;
} scratch;

/* What is written past its end is written past that of a block. */
static void *room(size_t size)
{
    void *place = calloc(1, size > 0 ? size : 1);
    if (place == NULL || scratch.n == (int)(sizeof scratch.places / sizeof *scratch.places))
        abort();
    scratch.places[scratch.n++] = place;
    return place;
}

static void clear_scratch(int down_to)
{
    while (scratch.n > down_to)
        free(scratch.places[--scratch.n]);
}

/* Texts. */

static const char *const texts[] = {
    "a", "b", "c", "watcher", "reporter", "", " ", "bad name", "\xff\xfe", "a\xc3", "/nowhere/at/all", ".",
    "{}", "[]", "null", "{\"a\": ", "[\"a\"]", "[\"a\", {\"name\": \"b\", \"on_down\": \"stop\", \"timeout\": \"1s\"}]",
    "{\"heartbeat\": {\"grace\": \"1s\"}}", "{\"disk\": {\"path\": \"/\", \"min_free\": \"1KiB\"}}",
    "{\"file_age\": {\"path\": \"/etc/passwd\", \"max_age\": \"1h\"}}", "{\"tcp\": {\"address\": \"127.0.0.1:1\"}}",
    "{\"exec\": {\"command\": [\"true\"]}}", "{\"unix\": {\"path\": \"@nobody\"}}", "{\"dns\": {\"host\": \"localhost\"}}",
    "{\"poll_period\": \"10ms\", \"checkers\": [{\"name\": \"disk\", \"probe\": {\"disk\": {\"path\": \"/\", "
    "\"min_free\": \"1KiB\"}}}]}",
    "{\"name\": \"a\", \"type\": \"a\", \"config\": {}}", "{\"name\": \"d\", \"type\": \"watcher\", \"config\": "
    "{\"probe\": {\"disk\": {\"path\": \"/\", \"min_free\": \"1KiB\"}}}}",
    "{\"max_attempts\": 2, \"backoff\": \"1ms\", \"poll_interval\": \"5ms\"}",
    "{\"corrupted\": true, \"last_checkpoint\": {\"path\": \"/c\"}}", "{\"a\": {\"b\": 7, \"text\": \"t\"}, \"list\": [1]}",
    "a.b", "a.text", "list", "app.json", "APP_", "run-1", "run-2", "[{\"path\": \"/c\"}]", "1s", "%s%n",
};

/* Where a text is needed for anything to come of it. */
static unsigned text_chance(const char *name, const char *field)
{
    (void)name;
    if (strcmp(field, "name") == 0 || strcmp(field, "dir") == 0)
        return 97;
    return 25;
}

static const char *some_text(const char *what)
{
    if (chance(2))
        return NULL;
    if (chance(1)) {
        size_t n = 1 << 20;
        char *large = room(n);
        memset(large, 'x', n - 1);
        return large;
    }
    if (strcmp(what, "name") == 0 && chance(80)) {
        char *name = room(16);
        snprintf(name, 16, "n%u", below(30));
        return name;
    }
    if (strcmp(what, "run") == 0 && chance(80))
        return chance(50) ? "run-1" : "run-2";
    if (strcmp(what, "dir") == 0)
        return chance(80) ? "." : "/nowhere/at/all";
    return texts[below(sizeof texts / sizeof *texts)];
}

static void read_text(const char *text)
{
    static volatile size_t sink;
    if (text != NULL)
        sink += strlen(text);
}

/* What callbacks work with: one block each, freed by its drop. */

struct userdata {
    int calls;
    /* Which call it was made for. */
    const char *call;
};

static __thread const char *present_call;

static int made, dropped;

/* Those of the present call, to free where their table could not be read. */
static __thread struct {
    struct userdata *places[16];
    int n;
} fresh;

static pthread_mutex_t userdata_lock = PTHREAD_MUTEX_INITIALIZER;
static struct userdata *live[1 << 16];
static int n_live;

static void *new_userdata(void)
{
    struct userdata *userdata = calloc(1, sizeof *userdata);
    if (userdata == NULL || fresh.n == (int)(sizeof fresh.places / sizeof *fresh.places))
        abort();
    pthread_mutex_lock(&userdata_lock);
    if (n_live == (int)(sizeof live / sizeof *live))
        abort();
    userdata->call = present_call;
    live[n_live++] = userdata;
    pthread_mutex_unlock(&userdata_lock);
    COUNT(made);
    fresh.places[fresh.n++] = userdata;
    return userdata;
}

/* Whether it was there, and so had not been dropped. */
static int forget(struct userdata *userdata)
{
    int i, found = 0;

    pthread_mutex_lock(&userdata_lock);
    for (i = 0; i < n_live && !found; i++)
        if (live[i] == userdata) {
            live[i] = live[--n_live];
            found = 1;
        }
    pthread_mutex_unlock(&userdata_lock);
    return found;
}

static void drop_userdata(void *userdata)
{
    if (!forget(userdata)) {
        fprintf(stderr, "dropped twice, or never made\n");
        abort();
    }
    COUNT(dropped);
    free(userdata);
}

/* Handles. */

static lk_status free_handle(int kind, void *handle);
static void *some_handle(int kind);
static void *handle_to_free(int kind);
static void keep(int kind, void *handle);
static const lk_cancel *ended_cancel(void);
static lk_member some_member(void);
static void keep_member(lk_member member);

/* Calls from inside callbacks. */

static __thread const lk_context *present;
static __thread int depth;
static const lk_context *volatile some_context_ever;

static const lk_context *some_cx(void)
{
    switch (below(12)) {
    case 0:
        return NULL;
    case 1:
        return some_context_ever;
    case 2:
        return (const lk_context *)(const void *)&depth;
    default:
        return present;
    }
}

static void inside(void *userdata, const lk_context *cx);

/* Makes what a descriptor of a type of ours says. */
static int32_t cb_lk_type_fn(void *userdata, const char *name, const char *config_json,
                             lk_component_config *out, char *buf, size_t len);

static const char *last_call = "none";
static int n_calls, n_failed, told;
static int statuses[200];

/* What a call answered. */
static void said(const char *name, lk_status status)
{
    int i;

    read_text(lk_status_name(status));
    if (status >= 0 && status < (int)(sizeof statuses / sizeof *statuses))
        __atomic_add_fetch(&statuses[status], 1, __ATOMIC_RELAXED);
    if (status != LK_OK) {
        __atomic_add_fetch(&n_failed, 1, __ATOMIC_RELAXED);
        if (chance(50))
            read_text(lk_last_error_message());
    }
    if (status == LK_ERR_PANICKED && LOAD(told) < 5 && COUNT(told) > 0)
        printf("%s: %s\n", name, lk_last_error_message());
    if (status == LK_ERR_PANIC) {
        fprintf(stderr, "%s: %s\n", name, lk_last_error_message());
        abort();
    }
    /* Only here a table may be left alone. */
    if (status == LK_ERR_SIZE)
        for (i = 0; i < fresh.n; i++)
            if (forget(fresh.places[i])) {
                COUNT(dropped);
                free(fresh.places[i]);
            }
    fresh.n = 0;
}

#include "fuzz_calls.h"

static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;
static void *known[KINDS][KNOWN];
/* More than OPEN only where some could not be freed, because it was a callback
 * that had no room for another. */
static void *open_handles[KINDS][1 << 14];
static int n_open[KINDS];
static lk_member members[32];

static void *some_handle(int kind)
{
    void *handle;

    if (chance(2))
        return NULL;
    if (chance(1))
        return (void *)(uintptr_t)some_number();
    if (chance(1))
        kind = (int)below(KINDS);
    pthread_mutex_lock(&handles_lock);
    if (n_open[kind] > 0 && chance(90))
        handle = open_handles[kind][below((unsigned)n_open[kind])];
    else
        handle = known[kind][below(KNOWN)];
    pthread_mutex_unlock(&handles_lock);
    return handle;
}

static void *take_open(int kind, int most);

/* Mostly one that is free already: what is closed at once does no work. One
 * that a callback cannot free would be lost. */
static void *handle_to_free(int kind)
{
    /* What is on a clock that nobody moves any more may never end. */
    if (kind == KIND_lk_clock)
        return chance(50) ? NULL : some_handle(KIND_lk_env);
    if (chance(50) || depth > 0)
        return chance(50) ? NULL : known[kind][below(KNOWN)];
    if (chance(10))
        return some_handle(chance(80) ? kind : (int)below(KINDS));
    return take_open(kind, 2);
}

static void add_open(int kind, void *handle)
{
    pthread_mutex_lock(&handles_lock);
    if (n_open[kind] == (int)(sizeof open_handles[kind] / sizeof *open_handles[kind]))
        abort();
    open_handles[kind][n_open[kind]++] = handle;
    known[kind][below(KNOWN)] = handle;
    pthread_mutex_unlock(&handles_lock);
}

/* One of those that are too many, or NULL. */
static void *take_open(int kind, int most)
{
    void *handle = NULL;

    pthread_mutex_lock(&handles_lock);
    if (n_open[kind] > most) {
        unsigned at = below((unsigned)n_open[kind]);
        handle = open_handles[kind][at];
        open_handles[kind][at] = open_handles[kind][--n_open[kind]];
    }
    pthread_mutex_unlock(&handles_lock);
    return handle;
}

static void keep(int kind, void *handle)
{
    void *surplus;

    if (kind == KIND_lk_clock && LOAD(n_open[kind]) >= OPEN) {
        (void)free_handle(kind, handle);
        return;
    }
    add_open(kind, handle);
    surplus = take_open(kind, OPEN);
    if (surplus != NULL && free_handle(kind, surplus) == LK_ERR_STATE)
        add_open(kind, surplus);
}

static lk_member some_member(void)
{
    return chance(95) ? members[below(32)] : (lk_member)some_number();
}

static void keep_member(lk_member member)
{
    if (member != 0)
        members[below(32)] = member;
}

static int32_t cb_lk_type_fn(void *userdata, const char *name, const char *config_json,
                             lk_component_config *out, char *buf, size_t len)
{
    read_text(name);
    read_text(config_json);
    inside(userdata, NULL);
    if (chance(20)) {
        snprintf(buf, len, "nothing of the kind");
        return 1 + (int32_t)below(200);
    }
    out->start = chance(90) ? cb_lk_component_fn : NULL;
    out->stop = chance(90) ? cb_lk_component_fn : NULL;
    present_call = "lk_type_fn";
    out->userdata = new_userdata();
    out->drop = drop_userdata;
    fresh.n--;
    return LK_OK;
}

static const lk_cancel *ended_cancel(void)
{
    const lk_cancel *cancel = some_handle(KIND_lk_cancel);
    return lk_cancel_cancel(cancel) == LK_OK ? cancel : (const lk_cancel *)(const void *)&depth;
}

#define N_CALLS (sizeof calls / sizeof *calls)

static int called[N_CALLS];

static void call_one(void)
{
    int before = scratch.n;
    unsigned at = below(N_CALLS);
    const struct call *call = &calls[at];

    fresh.n = 0;
    present_call = call->name;
    __atomic_store_n(&last_call, call->name, __ATOMIC_RELAXED);
    call->call();
    __atomic_add_fetch(&called[at], 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&n_calls, 1, __ATOMIC_RELAXED);
    clear_scratch(before);
}

static int n_called(void)
{
    unsigned i;
    int n = 0;

    for (i = 0; i < N_CALLS; i++)
        n += called[i] > 0;
    return n;
}

static void inside(void *userdata, const lk_context *cx)
{
    const lk_context *outer = present;
    int n_fresh = fresh.n;
    struct userdata *kept[16];
    const char *outer_call = present_call;
    int n_scratch = scratch.n;

    if (state == 0)
        state = seed * 31 + (uint64_t)(uintptr_t)&state;
    if (userdata != NULL)
        COUNT(((struct userdata *)userdata)->calls);
    if (depth >= 2 || LOAD(ended) || !chance(60))
        return;
    memcpy(kept, fresh.places, sizeof kept);
    depth++;
    present = cx;
    if (cx != NULL) {
        some_context_ever = cx;
        if (chance(40))
            (void)lk_context_set_answer(cx, some_text("answer"));
    }
    call_one();
    clear_scratch(n_scratch);
    present = outer;
    present_call = outer_call;
    depth--;
    memcpy(fresh.places, kept, sizeof kept);
    fresh.n = n_fresh;
}

/* Threads. */

static void *work(void *number)
{
    state = seed * 0x9e3779b97f4a7c15u + (uint64_t)(uintptr_t)number + 1;
    while (!LOAD(ended))
        call_one();
    return NULL;
}

/* Moves every clock and ends whatever waits for an end. */
static void *tick(void *nothing)
{
    int i;

    (void)nothing;
    state = seed + 12345;
    while (!LOAD(ended) || LOAD(n_open[KIND_lk_clock]) > 0) {
        struct timespec nap = {0, 5000000};

        nanosleep(&nap, NULL);
        for (i = 0; i < OPEN; i++) {
            void *clock;
            pthread_mutex_lock(&handles_lock);
            clock = i < n_open[KIND_lk_clock] ? open_handles[KIND_lk_clock][i] : NULL;
            pthread_mutex_unlock(&handles_lock);
            if (clock != NULL)
                (void)lk_clock_jump(clock, 1000);
        }
    }
    return NULL;
}

/* Says so where nothing comes to an end any more. */
static void *watch(void *nothing)
{
    int before = -1, quiet = 0;

    (void)nothing;
    while (LOAD(ended) < 2) {
        struct timespec second = {1, 0};

        nanosleep(&second, NULL);
        quiet = LOAD(n_calls) == before ? quiet + 1 : 0;
        before = LOAD(n_calls);
        if (quiet == 90) {
            fprintf(stderr, "seed %llu: nothing has ended for 90 s, the last call was %s\n",
                    (unsigned long long)seed, last_call);
            abort();
        }
    }
    return NULL;
}

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_set_death_callback(void (*callback)(void));

static void last_words(void)
{
    fprintf(stderr, "seed %llu, call %d, %s\n", (unsigned long long)seed, n_calls, last_call);
}
#endif

static void free_all(int kind)
{
    void *handle;

    while ((handle = take_open(kind, 0)) != NULL)
        (void)free_handle(kind, handle);
}

int main(int argc, char **argv)
{
    pthread_t threads_of_ours[THREADS], ticker, watcher;
    time_t end;
    uintptr_t i;
    int kind, before;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "fuzz SECONDS [SEED]\n");
        return 2;
    }
    seed = argc == 3 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
    printf("fuzz %s %llu\n", argv[1], (unsigned long long)seed);
    fflush(stdout);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(last_words);
#endif
    state = seed + 1;
    before = threads();
    end = time(NULL) + atoi(argv[1]);
    for (i = 0; i < THREADS; i++)
        if (pthread_create(&threads_of_ours[i], NULL, work, (void *)i) != 0)
            return 1;
    if (pthread_create(&ticker, NULL, tick, NULL) != 0 || pthread_create(&watcher, NULL, watch, NULL) != 0)
        return 1;
    while (time(NULL) < end) {
        struct timespec nap = {0, 100000000};
        nanosleep(&nap, NULL);
    }
    STORE(ended, 1);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads_of_ours[i], NULL);
    /* What others are part of goes last; clocks last of all, so that they are
     * moved on meanwhile. A callback may still be making something. */
    for (i = 0; i < 3000 && (i == 0 || LOAD(dropped) < LOAD(made) || threads() > before + 2); i++) {
        struct timespec nap = {0, 10000000};

        for (kind = 0; kind < KINDS; kind++)
            if (kind != KIND_lk_env && kind != KIND_lk_clock)
                free_all(kind);
        free_all(KIND_lk_env);
        nanosleep(&nap, NULL);
    }
    free_all(KIND_lk_clock);
    pthread_join(ticker, NULL);
    STORE(ended, 2);
    pthread_join(watcher, NULL);
    for (i = 0; threads() > before && i < 1000; i++) {
        struct timespec nap = {0, 10000000};
        nanosleep(&nap, NULL);
    }
    printf("%d calls of %d functions, %d of them refused; %d tables dropped of %d; %d threads of %d\n", n_calls, n_called(), n_failed,
           dropped, made, threads(), before);
    for (kind = 0; kind < n_live; kind++)
        printf("not dropped: one of %s, called %d times\n", live[kind]->call, live[kind]->calls);
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i] > 0)
            printf("%s%s %d", i == 0 ? "" : ", ", lk_status_name((lk_status)i), statuses[i]);
    printf("\n");
    return dropped != made || threads() != before;
}
