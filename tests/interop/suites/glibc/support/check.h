/* As much of glibc's test support as its tests of System V IPC use, written for them. */
#ifndef SUITES_CHECK_H
#define SUITES_CHECK_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int verify_failed;

#define TEST_VERIFY(truth) \
    ((truth) ? (void)0 : (void)(verify_failed = 1, printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #truth)))
#define TEST_COMPARE(left, right) TEST_VERIFY((left) == (right))
#define FAIL_EXIT1(...) (printf(__VA_ARGS__), puts(""), exit(1))
#define FAIL_UNSUPPORTED(...) (printf(__VA_ARGS__), puts(""), exit(77))

static inline int
create_temp_file(const char *base, char **name)
{
    char path[200];
    int fd;

    snprintf(path, sizeof path, "/tmp/%sXXXXXX", base);
    fd = mkstemp(path);
    *name = strdup(path);
    return fd;
}

static inline void
caught(int number)
{
    (void)number;
}

/* One signal that is caught, and interrupts. */
static inline void
support_create_timer(long seconds, long nanoseconds, bool repeat, void *handler)
{
    struct itimerval soon = {{0, 0}, {seconds, nanoseconds / 1000}};
    struct sigaction action = {0};

    (void)repeat;
    (void)handler;
    action.sa_handler = caught;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
}

#endif
