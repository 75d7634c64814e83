/* A process that forks: before the library is in use, and while it is. */

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "fixture.h"

static lk_env *env;
static lk_watcher *watcher;

static int run(void)
{
    lk_env *own = NULL;
    lk_watcher_config config;
    lk_watcher *w = NULL;

    OK(lk_env_new(NULL, &own));
    OK(lk_watcher_config_init(&config, sizeof config));
    config.name = "w";
    config.probe = probe_ok;
    OK(lk_watcher_start(own, &config, &w));
    OK(lk_watcher_wait_ready(w, 10000));
    env = own;
    watcher = w;
    return 0;
}

static int in_child(int (*body)(void))
{
    int state = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(body());
    CHECK(child > 0 && waitpid(child, &state, 0) == child);
    return WIFEXITED(state) ? WEXITSTATUS(state) : 100;
}

static int dropped;

static void count_drop(void *userdata)
{
    (void)userdata;
    dropped++;
}

static int refused(void)
{
    lk_env *own = NULL;
    lk_cancel *cancel = NULL;
    lk_watcher_config config = {0};
    lk_watcher *w = NULL;

    CHECK(lk_abi_version() == LK_ABI_VERSION);
    IS(LK_ERR_FORKED, lk_watcher_trigger(watcher));
    IS(LK_ERR_FORKED, lk_watcher_stop(watcher, 1000, NULL));
    IS(LK_ERR_FORKED, lk_watcher_free(watcher));
    IS(LK_ERR_FORKED, lk_env_free(env));
    IS(LK_ERR_FORKED, lk_env_new(NULL, &own));
    IS(LK_ERR_FORKED, lk_cancel_new(&cancel));
    config.drop = count_drop;
    IS(LK_ERR_FORKED, lk_watcher_start(env, &config, &w));
    CHECK(dropped == 0);
    CHECK(lk_watcher_is_ready(watcher) == 0);
    CHECK(strstr(lk_last_error_message(), "fork") != NULL);
    CHECK(strcmp(lk_status_name(LK_ERR_FORKED), "LK_ERR_FORKED") == 0);
    return 0;
}

/* Signals of the program's never come to threads of the library. */

static pthread_t main_thread;
static int signals, elsewhere;

static void on_signal(int number)
{
    (void)number;
    if (pthread_equal(pthread_self(), main_thread))
        signals++;
    else
        elsewhere++;
}

int main(void)
{
    struct sigaction action;
    int i;

    CHECK(in_child(run) == 0);
    CHECK(run() == 0);
    CHECK(in_child(refused) == 0);
    OK(lk_watcher_trigger(watcher));

    main_thread = pthread_self();
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (i = 0; i < 50; i++)
        CHECK(kill(getpid(), SIGUSR1) == 0);
    EVENTUALLY(signals >= 1);
    CHECK(elsewhere == 0);

    OK(lk_watcher_free(watcher));
    OK(lk_env_free(env));
    puts("well");
    return 0;
}
