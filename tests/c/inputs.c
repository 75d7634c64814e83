/* Inputs that cannot be meant: sizes, texts, numbers. */

#include "fixture.h"

static void test_texts(const struct all *all)
{
    static const char bad[] = {'a', (char)0xff, 'b', 0};
    size_t mega = 1 << 20;
    char *long_text = malloc(mega + 1);
    char *json = malloc(mega + 64);
    lk_watcher_config config;
    lk_watcher *none = NULL;
    lk_config *cut = NULL;
    lk_snapshot *snapshot = NULL;
    struct timespec before, after;
    char buf[8];
    size_t needed = 0, at;
    int i;

    CHECK(long_text != NULL && json != NULL);
    memset(long_text, 'x', mega);
    long_text[mega] = 0;
    IS(LK_ERR_UTF8, lk_env_trigger(all->env, bad));
    CHECK(strstr(lk_last_error_message(), "name: is not UTF-8 at byte 1") != NULL);
    IS(LK_ERR_NOT_FOUND, lk_env_trigger(all->env, ""));
    IS(LK_ERR_NOT_FOUND, lk_env_trigger(all->env, long_text));
    IS(LK_ERR_NOT_FOUND, lk_env_heartbeat(all->env, long_text));

    OK(lk_watcher_config_init(&config, sizeof config));
    config.probe = probe_ok;
    config.name = "";
    IS(LK_ERR_INVALID, lk_watcher_start(all->env, &config, &none));
    config.name = long_text;
    IS(LK_ERR_INVALID, lk_watcher_start(all->env, &config, &none));
    config.name = bad;
    IS(LK_ERR_UTF8, lk_watcher_start(all->env, &config, &none));
    config.name = "x";
    config.probe = NULL;
    config.probe_json = long_text;
    IS(LK_ERR_CONFIG, lk_watcher_start(all->env, &config, &none));
    config.probe_json = "";
    IS(LK_ERR_CONFIG, lk_watcher_start(all->env, &config, &none));
    config.probe_json = "{\"tpc\": {}}";
    IS(LK_ERR_CONFIG, lk_watcher_start(all->env, &config, &none));
    CHECK(strstr(lk_last_error_message(), "did you mean \"tcp\"?") != NULL);
    sprintf(json, "{\"file_age\": {\"path\": \"%s\", \"max_age\": \"1s\"}}", long_text);
    config.probe_json = json;
    OK(lk_watcher_start(all->env, &config, &none));
    OK(lk_watcher_free(none));

    IS(LK_ERR_CONFIG, lk_host_deploy_json(all->host, "", NULL));
    IS(LK_ERR_CONFIG, lk_host_deploy_json(all->host, long_text, NULL));
    IS(LK_ERR_CONFIG, lk_host_deploy_json(all->host, "{\"name\": \"x\", \"type\": \"wacher\"}", NULL));
    CHECK(strstr(lk_last_error_message(), "did you mean \"watcher\"?") != NULL);
    IS(LK_ERR_NOT_FOUND, lk_snapshot_require_string(all->snapshot, long_text, buf, sizeof buf, NULL));
    IS(LK_ERR_INVALID, lk_recovery_watch_run(all->recovery, long_text, NULL));
    IS(LK_ERR_INVALID, lk_recovery_watch_run(all->recovery, "run", "[1]"));

    /* Paths without end, and a text that C would cut. */
    for (i = 0; i < 2; i++) {
        lk_config *deep = NULL;

        memset(long_text, '.', mega);
        for (at = 0; i == 1 && at < mega; at += 2)
            long_text[at] = 'a';
        CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0);
        OK(lk_config_new(all->env, &deep));
        OK(lk_config_set(deep, long_text, "1"));
        IS(LK_ERR_CONFIG, lk_config_load(deep));
        OK(lk_config_free(deep));
        OK(lk_config_new(all->env, &deep));
        OK(lk_config_secret(deep, long_text));
        OK(lk_config_load(deep));
        OK(lk_config_free(deep));
        CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
        CHECK(after.tv_sec - before.tv_sec < 5);
    }
    OK(lk_config_new(all->env, &cut));
    OK(lk_config_add_text(cut, "cut.json", "{\"a\": \"a\\u0000b\", \"ab\": \"ab\"}"));
    OK(lk_config_load(cut));
    OK(lk_config_snapshot(cut, &snapshot));
    IS(LK_ERR_CONFIG, lk_snapshot_require_string(snapshot, "a", buf, sizeof buf, &needed));
    CHECK(strstr(lk_last_error_message(), "cut.json:1:7: a: holds a NUL") != NULL);
    OK(lk_snapshot_require_string(snapshot, "ab", buf, sizeof buf, &needed));
    CHECK(needed == 3);
    OK(lk_snapshot_free(snapshot));
    OK(lk_config_free(cut));

    /* Out: whole, or not at all. */
    memset(buf, 'q', sizeof buf);
    IS(LK_ERR_BUFFER, lk_env_status_json(all->env, buf, sizeof buf, &needed));
    CHECK(needed > sizeof buf && buf[0] == 'q' && buf[7] == 'q');
    needed = 0;
    IS(LK_ERR_BUFFER, lk_env_status_json(all->env, NULL, 0, &needed));
    CHECK(needed > sizeof buf);
    IS(LK_ERR_NULL, lk_env_status_json(all->env, NULL, 0, NULL));
    IS(LK_ERR_NULL, lk_env_status_json(all->env, NULL, 1, &needed));
    needed = 0;
    OK(lk_snapshot_require_string(all->snapshot, "a.text", buf, 2, &needed));
    CHECK(needed == 2 && strcmp(buf, "t") == 0);
    IS(LK_ERR_BUFFER, lk_snapshot_require_string(all->snapshot, "a.text", buf, 1, &needed));
    free(long_text);
    free(json);
}

static void test_numbers(const struct all *all)
{
    lk_watcher_config config;
    lk_watcher *none = NULL;
    lk_env_config environment;
    lk_env *env = NULL;
    lk_log log;
    lk_component_config component;
    lk_host_config host;
    lk_host *no_host = NULL;
    lk_controller_manager *manager = NULL;

    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "n";
    config.probe = probe_ok;
    config.critical = 2;
    IS(LK_ERR_RANGE, lk_watcher_start(all->env, &config, &none));
    config.critical = 1;
    config.poll_interval_ms = 0;
    IS(LK_ERR_INVALID, lk_watcher_start(all->env, &config, &none));
    config.poll_interval_ms = LK_FOREVER;
    config.jitter = 2.0;
    IS(LK_ERR_INVALID, lk_watcher_start(all->env, &config, &none));
    config.jitter = 0.0;
    config.multiplier = 0.0 / 0.0;
    IS(LK_ERR_INVALID, lk_watcher_start(all->env, &config, &none));
    config.multiplier = 1.0;
    config.max_retries = 0;
    IS(LK_ERR_INVALID, lk_watcher_start(all->env, &config, &none));
    config.max_retries = 1;
    config.initial_delay_ms = UINT64_MAX - 1;
    config.max_delay_ms = UINT64_MAX - 1;
    config.probe_timeout_ms = LK_FOREVER;
    OK(lk_watcher_start(all->env, &config, &none));
    OK(lk_watcher_wait_ready(none, 10000));
    OK(lk_watcher_free(none));

    OK(lk_env_config_init(&environment, sizeof environment));
    environment.stack_size = 1;
    IS(LK_ERR_RANGE, lk_env_new(&environment, &env));
    environment.stack_size = UINT64_MAX;
    IS(LK_ERR_RANGE, lk_env_new(&environment, &env));
    environment.stack_size = 1 << 20;
    environment.spread = -1;
    IS(LK_ERR_RANGE, lk_env_new(&environment, &env));
    environment.spread = 0;
    OK(lk_log_init(&log, sizeof log));
    environment.log = &log;
    log.max_level = 6;
    IS(LK_ERR_RANGE, lk_env_new(&environment, &env));
    log.max_level = 1;
    IS(LK_ERR_NULL, lk_env_new(&environment, &env));
    CHECK(env == NULL);

    OK(lk_host_config_init(&host, sizeof host));
    host.store = "mysql://nowhere";
    IS(LK_ERR_INVALID, lk_host_new(all->env, &host, &no_host));
    CHECK(strstr(lk_last_error_message(), "store: ") == lk_last_error_message());
    CHECK(no_host == NULL);

    OK(lk_component_config_init(&component, sizeof component));
    component.name = "n";
    component.start = probe_ok;
    component.stop = probe_ok;
    component.restart = 3;
    IS(LK_ERR_RANGE, lk_host_deploy(all->host, &component, NULL));
    IS(LK_ERR_RANGE, lk_reporter_set_health(all->reporter, 4));
    IS(LK_ERR_RANGE, lk_reporter_set_health(all->reporter, -1));
    IS(LK_ERR_RANGE, lk_controller_manager_new(all->env, 7, &manager));
    CHECK(strcmp(lk_status_name(-7), "LK_ERR_UNKNOWN") == 0);
    CHECK(strcmp(lk_status_name(LK_ERR_STALE), "LK_ERR_STALE") == 0);
}

/* A header that knows less, or more. */

struct larger {
    lk_watcher_config config;
    uint64_t more;
};

static void test_sizes(const struct all *all)
{
    struct larger larger;
    lk_watcher_config config;
    lk_watcher *watcher = NULL;
    lk_loop_status status[2];
    lk_event event;

    OK(lk_watcher_config_init(&larger.config, sizeof larger));
    CHECK(larger.config.size == sizeof larger && larger.more == 0);
    larger.config.name = "larger";
    larger.config.probe = probe_ok;
    OK(lk_watcher_start(all->env, &larger.config, &watcher));
    OK(lk_watcher_free(watcher));
    larger.more = 1;
    IS(LK_ERR_SIZE, lk_watcher_start(all->env, &larger.config, &watcher));
    CHECK(strstr(lk_last_error_message(), "does not know") != NULL);

    /* The last field that a smaller one has is `userdata`. */
    memset(&config, 0xee, sizeof config);
    OK(lk_watcher_config_init(&config, offsetof(lk_watcher_config, initial_delay_ms)));
    CHECK(config.initial_delay_ms == UINT64_C(0xeeeeeeeeeeeeeeee));
    config.name = "smaller";
    config.probe = probe_ok;
    OK(lk_watcher_start(all->env, &config, &watcher));
    OK(lk_watcher_free(watcher));

    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "wrong";
    config.probe = probe_ok;
    config.size = 0;
    IS(LK_ERR_SIZE, lk_watcher_start(all->env, &config, &watcher));
    config.size = 8;
    IS(LK_ERR_SIZE, lk_watcher_start(all->env, &config, &watcher));
    config.size = UINT32_MAX;
    IS(LK_ERR_SIZE, lk_watcher_start(all->env, &config, &watcher));
    IS(LK_ERR_SIZE, lk_watcher_config_init(&config, 0));
    IS(LK_ERR_SIZE, lk_watcher_config_init(&config, SIZE_MAX));

    memset(status, 0, sizeof status);
    IS(LK_ERR_SIZE, lk_watcher_status(all->watcher, &status[0]));
    memset(&event, 0, sizeof event);
    IS(LK_ERR_SIZE, lk_events_next(all->events, 0, &event));
}

int main(void)
{
    struct all all;

    make_all(&all);
    test_texts(&all);
    test_numbers(&all);
    test_sizes(&all);
    free_all(&all);
    puts("well");
    return 0;
}
