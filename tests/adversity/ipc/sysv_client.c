/*
 * sysv_client: a client of clients.py in C.  It sends numbered messages, receives, takes and gives back semaphores with
 * SEM_UNDO, or counts up, until SIGTERM, and writes down each call before and after it as history.py does.
 *
 *   sysv_client NAME HISTORY QUEUE SEMAPHORES       NAME is ROLE-WAY-NUMBER-LIFE
 *
 * As it is, it is a System V program that knows of no server; with -DLIBRARY it is one that was written for libipcclient.
 * Senders and receivers are three threads, with a history each.  Signals are caught in the middle of calls all the time.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef LIBRARY
#include <ipcclient.h>
#define msgsnd ipcc_msgsnd
#define msgrcv ipcc_msgrcv
#define semop ipcc_semop
#define semtimedop ipcc_semtimedop
#endif

#define MOST_THREADS 3
#define LINE 512
#define NAME 64

struct message {
    long type;
    char text[512];
};

struct worker {
    pthread_t thread;
    int number;
    int history;
    long calls;                 /* how many are in the history */
    unsigned seed;
    char name[NAME];
};

static const char *role;
static int mtype;
static int life;
static int queue;
static int semaphores;
static volatile sig_atomic_t stop;
static struct worker workers[MOST_THREADS];
static struct worker leader;    /* the main thread, which makes no calls */
static int ended[MOST_THREADS];

static double
now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int
below(struct worker *me, int limit)
{
    return (int)(rand_r(&me->seed) / ((double)RAND_MAX + 1) * limit);
}

static void
doze(struct worker *me, int most_us)
{
    struct timespec time;

    time.tv_sec = 0;
    time.tv_nsec = below(me, most_us) * 1000L;
    (void)nanosleep(&time, NULL);
}

/* A line in one system call: all of it or nothing. */
static void
note(const struct worker *me, const char *line, int length)
{
    if (write(me->history, line, (size_t)length) != length) {
        perror("history");
        _exit(1);
    }
}

static long
begin(struct worker *me, const char *kind, const char *what)
{
    char line[LINE];

    note(me, line, snprintf(line, sizeof line, "[\"begin\", %ld, \"%s\", \"%s\", \"%s\", %.9f]\n", me->calls, me->name,
                            kind, what, now()));
    return me->calls++;
}

/* Writes down what came of a call, by its result and errno; returns whether it was done. */
static int
end(struct worker *me, long call, long result, const char *what)
{
    char line[LINE];
    int error = result < 0 ? errno : 0;

    switch (error) {
    case 0:
    case EINTR:
    case EAGAIN:
        note(me, line, snprintf(line, sizeof line, "[\"end\", %ld, \"%s\", \"%s\", %d, %.9f]\n", call,
                                error == 0 ? "done" : "refused", error == 0 ? what : "", error, now()));
        break;
    case EIO:
    case EIDRM:
        /* What libipcclient and librpcipc.so say of a call in a session that was lost.  The call's fate is unknown. */
        note(me, line, snprintf(line, sizeof line, "[\"lost\"]\n"));
        break;
    default:
        printf("%s: call %ld: %s\n", me->name, call, strerror(error));
        fflush(stdout);
        _exit(1);
    }
    return error == 0;
}

/* ---- roles ---------------------------------------------------------------------- */

static void
sender(struct worker *me)
{
    struct message message;
    char what[NAME];
    long count = 0;
    long call;
    size_t size;

    while (!stop) {
        (void)snprintf(what, sizeof what, "%d:%d.%ld", MOST_THREADS * mtype + me->number, life, ++count);
        memset(&message, 0, sizeof message);
        message.type = MOST_THREADS * mtype + me->number;
        (void)snprintf(message.text, sizeof message.text, "%s ", what);
        size = strlen(message.text) + (size_t)below(me, 300);
        call = begin(me, "send", what);
        (void)end(me, call, msgsnd(queue, &message, size, 0), what);
    }
}

/* Waits as long as it takes; signals end the wait now and then. */
static void
receiver(struct worker *me)
{
    static const long types[] = {0, 0, -1000};
    struct message message;
    ssize_t size;
    long type;
    long call;

    while (!stop) {
        type = below(me, 4);
        type = type < 3 ? types[type] : MOST_THREADS * mtype + me->number;
        call = begin(me, "receive", "");
        size = msgrcv(queue, &message, sizeof message.text, type, below(me, 4) == 0 ? MSG_NOERROR : 0);
        if (size < 0 && errno == ENOMSG)
            errno = EAGAIN;
        if (size >= 0) {
            message.text[(size_t)size < sizeof message.text ? (size_t)size : sizeof message.text - 1] = '\0';
            message.text[strcspn(message.text, " ")] = '\0';
        }
        (void)end(me, call, size, message.text);
    }
}

/* One semaphore in each call: one may have "mutex", two "pool". */
static void
hold_one(struct worker *me, int leaves_it)
{
    static const char *const names[] = {"mutex", "pool"};
    struct timespec timeout;
    struct sembuf change;
    long call;
    int done;

    change.sem_num = (unsigned short)below(me, 2);
    change.sem_op = -1;
    change.sem_flg = SEM_UNDO;
    timeout.tv_sec = 2;
    timeout.tv_nsec = 0;
    call = begin(me, "acquire", names[change.sem_num]);
    if (below(me, 2) == 0)
        done = end(me, call, semtimedop(semaphores, &change, 1, &timeout), names[change.sem_num]);
    else
        done = end(me, call, semop(semaphores, &change, 1), names[change.sem_num]);
    if (!done)
        return;
    doze(me, 3000);
    call = begin(me, "release", names[change.sem_num]);
    if (leaves_it) {
#ifdef LIBRARY
        ipcc_close();
        (void)end(me, call, 0, names[change.sem_num]);
#endif
        return;
    }
    change.sem_op = 1;
    while (semop(semaphores, &change, 1) < 0)
        if (errno != EINTR) {
            (void)end(me, call, -1, names[change.sem_num]);
            return;
        }
    (void)end(me, call, 0, names[change.sem_num]);
}

static void
holder(struct worker *me)
{
    while (!stop) {
        int leaves_it = below(me, 50) == 0;
#ifndef LIBRARY
        if (leaves_it) {
            /* A child takes it, and its end gives it back: before wait returns. */
            pid_t child = fork();
            int status = -1;

            if (child == 0) {
                (void)alarm(2);
                hold_one(me, 1);
                _exit(0);
            }
            while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
                ;
            if (status != 0) {
                printf("%s: a child ended with %d\n", me->name, status);
                fflush(stdout);
                _exit(1);
            }
            me->calls += 2;
            continue;
        }
#endif
        hold_one(me, leaves_it);
    }
}

static void
adder(struct worker *me)
{
    struct sembuf change;
    long call;

    change.sem_num = 2;
    change.sem_op = 1;
    change.sem_flg = 0;
    while (!stop) {
        call = begin(me, "add", "counter");
        (void)end(me, call, semop(semaphores, &change, 1), "counter");
        doze(me, 20000);
    }
}

/* ---- the process ------------------------------------------------------------------ */

static void
caught(int number)
{
    (void)number;
}

static void *
work(void *argument)
{
    struct worker *me = argument;

    if (strcmp(role, "sender") == 0)
        sender(me);
    else if (strcmp(role, "receiver") == 0)
        receiver(me);
    else if (strcmp(role, "holder") == 0)
        holder(me);
    else
        adder(me);
    __atomic_store_n(&ended[me->number], 1, __ATOMIC_RELEASE);
    return NULL;
}

/* "x.history" for the first thread, "x~1.history" for the second. */
static int
history_of(const char *path, int number)
{
    char name[4096];

    if (number == 0)
        (void)snprintf(name, sizeof name, "%s", path);
    else
        (void)snprintf(name, sizeof name, "%.*s~%d.history", (int)(strlen(path) - strlen(".history")), path, number);
    return open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

int
main(int count, char **arguments)
{
    struct sigaction action;
    struct timespec pause;
    sigset_t waited;
    char name[NAME];
    int threads;
    int alive;
    int i;

    if (count != 5)
        return 2;
    (void)snprintf(name, sizeof name, "%s", arguments[1]);
    role = strtok(name, "-");
    (void)strtok(NULL, "-");
    mtype = atoi(strtok(NULL, "-"));
    life = atoi(strtok(NULL, "-"));
    queue = atoi(arguments[3]);
    semaphores = atoi(arguments[4]);
    threads = strcmp(role, "sender") == 0 || strcmp(role, "receiver") == 0 ? MOST_THREADS : 1;
#ifdef LIBRARY
    (void)ipcc_ending(IPCC_LEASE);
#endif
    memset(&action, 0, sizeof action);
    action.sa_handler = caught;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)sigemptyset(&waited);
    (void)sigaddset(&waited, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &waited, NULL);
    for (i = 0; i < threads; i++) {
        workers[i].number = i;
        workers[i].seed = (unsigned)(getpid() * MOST_THREADS + i);
        (void)snprintf(workers[i].name, NAME, "%s~%d", arguments[1], i);
        workers[i].history = history_of(arguments[2], i);
        if (workers[i].history < 0 || pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            perror(arguments[2]);
            return 1;
        }
    }
    leader.seed = (unsigned)getpid();
    pause.tv_sec = 0;
    do {
        pause.tv_nsec = stop ? 20000000L : below(&leader, 200) * 1000000L;
        if (sigtimedwait(&waited, NULL, &pause) == SIGTERM)
            stop = 1;
        alive = 0;
        for (i = 0; i < threads; i++)
            if (!__atomic_load_n(&ended[i], __ATOMIC_ACQUIRE)) {
                alive = 1;
                if (stop || below(&leader, threads) == 0)
                    (void)pthread_kill(workers[i].thread, SIGALRM);
            }
    } while (alive);
    for (i = 0; i < threads; i++)
        (void)pthread_join(workers[i].thread, NULL);
#ifdef LIBRARY
    ipcc_close();
#endif
    return 0;
}
