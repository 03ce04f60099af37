/*
 * sysv: the programs that benchmarks/preload.py measures.
 *
 *     sysv null SECONDS SOCKET    two NULL calls, over and over, by plain sockets
 *     sysv pong SECONDS ...       msgsnd and msgrcv, answered by a second process
 *     sysv lock SECONDS ...       semop that takes a semaphore, semop that gives it back
 *     sysv same SECONDS ...       msgsnd and msgrcv by one process
 *     sysv wait PROCESSES ...     each waits in msgrcv until this one ends
 *
 * All but the last print microseconds for a pair, pairs, and microseconds of the processor for a pair of their own.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct { long type; char text[64]; } message;
static int queue;
static int set;
static int fd;

static void
need(int done, const char *what)
{
    if (!done) {
        perror(what);
        exit(1);
    }
}

static double
now(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

/* A NULL call of program 0x20000258 version 1 without a credential, and its answer. */
static void
null(unsigned xid)
{
    unsigned call[11] = {htonl(0x80000000 | 40), xid, 0, htonl(2), htonl(0x20000258), htonl(1)};
    char answer[64];
    size_t got = 0;

    need(write(fd, call, sizeof call) == sizeof call, "write");
    while (got < 28) {
        ssize_t more = read(fd, answer + got, sizeof answer - got);

        need(more > 0, "read");
        got += (size_t)more;
    }
    need(memcmp(answer + 4, &xid, 4) == 0 && memcmp(answer + 24, "\0\0\0\0", 4) == 0, "answer");
}

static void
send_as(long type)
{
    message.type = type;
    need(msgsnd(queue, &message, sizeof message.text, 0) == 0, "msgsnd");
}

static int
receive(long type)
{
    return msgrcv(queue, &message, sizeof message.text, type, 0) == (ssize_t)sizeof message.text;
}

static void
operate(int by)
{
    struct sembuf operation = {0, (short)by, SEM_UNDO};

    need(semop(set, &operation, 1) == 0, "semop");
}

static void
pair(const char *what, unsigned round)
{
    if (*what == 'n') {
        null(2 * round);
        null(2 * round + 1);
    } else if (*what == 'p') {
        send_as(1);
        need(receive(2), "msgrcv");
    } else if (*what == 'l') {
        operate(-1);
        operate(1);
    } else {
        send_as(1);
        need(receive(1), "msgrcv");
    }
}

static void
waiting(int count)
{
    int ready[2];
    int i;

    need(pipe(ready) == 0, "pipe");
    for (i = 0; i < count; i++) {
        pid_t child = fork();

        need(child >= 0, "fork");
        if (child == 0) {
            struct sembuf hold = {0, 1, SEM_UNDO};

            prctl(PR_SET_PDEATHSIG, SIGKILL);
            need(semop(set, &hold, 1) == 0, "semop");
            need(write(ready[1], "x", 1) == 1, "write");
            receive(1);
            _exit(0);
        }
        /* One after the other: what is measured is waiting, not the start. */
        need(read(ready[0], message.text, 1) == 1, "read");
        printf("%d ", (int)child);
    }
    puts("");
    fflush(stdout);
    for (;;)
        pause();
}

int
main(int argc, char **argv)
{
    struct sockaddr_un to = {AF_UNIX};
    const char *what = argv[1];
    unsigned rounds = 0;
    double until;
    double began;
    double spent;
    pid_t child = 0;

    if (argc != 4)
        return 2;
    if (*what == 'n') {
        strncpy(to.sun_path, argv[3], sizeof to.sun_path - 1);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        need(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    } else {
        need((queue = msgget(IPC_PRIVATE, 0600)) >= 0, "msgget");
        need((set = semget(IPC_PRIVATE, 1, 0600)) >= 0, "semget");
        operate(1);
    }
    if (*what == 'w')
        waiting(atoi(argv[2]));
    if (*what == 'p' && (child = fork()) == 0) {
        while (receive(1))
            send_as(2);
        _exit(0);
    }
    for (rounds = 0; rounds < 200; rounds++)
        pair(what, rounds);
    began = now(CLOCK_MONOTONIC);
    spent = now(CLOCK_PROCESS_CPUTIME_ID);
    until = began + atof(argv[2]) * 1e6;
    for (rounds = 0; now(CLOCK_MONOTONIC) < until; rounds++)
        pair(what, rounds);
    /* A round of ping-pong is two pairs. */
    if (child != 0)
        rounds *= 2;
    printf("%.2f %u %.2f\n", (now(CLOCK_MONOTONIC) - began) / rounds, rounds,
           (now(CLOCK_PROCESS_CPUTIME_ID) - spent) / rounds * (child != 0 ? 2 : 1));
    if (*what != 'n') {
        msgctl(queue, IPC_RMID, NULL);
        semctl(set, 0, IPC_RMID);
    }
    if (child != 0)
        waitpid(child, NULL, 0);
    return 0;
}
