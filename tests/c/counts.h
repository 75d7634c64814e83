/* How many threads and descriptors a process has, and what threads share. */
#ifndef COUNTS_H
#define COUNTS_H

#include <dirent.h>
#include <time.h>

#if defined(__GNUC__)
#define MAYBE_UNUSED __attribute__((unused))
#else
#define MAYBE_UNUSED
#endif

#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_SEQ_CST)
#define STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_SEQ_CST)
#define COUNT(place) __atomic_add_fetch(&(place), 1, __ATOMIC_SEQ_CST)

/* How many threads or descriptors this process has, with the one that looks. */
MAYBE_UNUSED static int count_in(const char *folder)
{
    DIR *dir = opendir(folder);
    int n = 0;
    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

MAYBE_UNUSED static int threads(void)
{
    return count_in("/proc/self/task");
}

MAYBE_UNUSED static int descriptors(void)
{
    return count_in("/proc/self/fd");
}

/* Whether a count comes to be so, within ten seconds: a thread that was joined
 * may be listed for a moment longer. */
MAYBE_UNUSED static int comes_to(int (*count)(void), int expected)
{
    int n;
    for (n = 0; n < 5000; n++) {
        struct timespec nap = {0, 2000000};
        if (count() == expected)
            return 1;
        nanosleep(&nap, NULL);
    }
    return 0;
}

#endif
