/*
 * ipcclient_peer: one step of a test of libipcclient; says what came of it.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ipcclient.h>

struct message {
    long type;
    char text[100];
};

static const char *
name(int error)
{
    static const struct { int number; const char *name; } names[] = {
        {EACCES, "EACCES"}, {EAGAIN, "EAGAIN"}, {EEXIST, "EEXIST"}, {EIDRM, "EIDRM"}, {EINTR, "EINTR"},
        {EINVAL, "EINVAL"}, {EIO, "EIO"}, {ENOENT, "ENOENT"}, {ENOMSG, "ENOMSG"}, {E2BIG, "E2BIG"},
        {ECONNREFUSED, "ECONNREFUSED"}, {ENOSPC, "ENOSPC"}, {ERANGE, "ERANGE"}, {EFBIG, "EFBIG"}
    };
    size_t i;

    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == error)
            return names[i].name;
    return strerror(error);
}

static long
tell(const char *what, long result)
{
    int error = errno;

    if (result < 0)
        printf("%s: %s\n", what, name(error));
    else
        printf("%s: %ld\n", what, result);
    fflush(stdout);
    return result;
}

static int
queue(const char *key)
{
    return ipcc_msgget((key_t)strtol(key, NULL, 0), IPC_CREAT | 0600);
}

static int
set(const char *key)
{
    return ipcc_semget((key_t)strtol(key, NULL, 0), 3, IPC_CREAT | 0600);
}

static int
send_text(int id, long type, const char *text)
{
    struct message message;

    message.type = type;
    strcpy(message.text, text);
    return ipcc_msgsnd(id, &message, strlen(text), 0);
}

static void
receive(int id, long type, int flags)
{
    struct message message;
    ssize_t length = ipcc_msgrcv(id, &message, sizeof message.text, type, flags);

    if (length < 0)
        tell("received", -1);
    else
        printf("received: type %ld, \"%.*s\"\n", message.type, (int)length, message.text);
    fflush(stdout);
}

static int
change(int id, int num, int op, int flags)
{
    struct sembuf sop;

    sop.sem_num = (unsigned short)num;
    sop.sem_op = (short)op;
    sop.sem_flg = (short)flags;
    return ipcc_semop(id, &sop, 1);
}

static int
value(int id, int num)
{
    union ipcc_semun none;

    none.val = 0;
    return ipcc_semctl(id, num, GETVAL, none);
}

static void
queues(const char *key)
{
    struct msqid_ds ds;
    int id = queue(key);

    tell("get again exclusively", ipcc_msgget((key_t)strtol(key, NULL, 0), IPC_CREAT | IPC_EXCL | 0600));
    tell("send", send_text(id, 1, "first"));
    tell("send", send_text(id, 2, "second"));
    tell("send type 0", send_text(id, 0, "never"));
    tell("stat", ipcc_msgctl(id, IPC_STAT, &ds));
    printf("messages: %ld, last sent by me: %d\n", (long)ds.msg_qnum, ds.msg_lspid == getpid());
    receive(id, 2, 0);
    receive(id, 0, IPC_NOWAIT);
    receive(id, 0, IPC_NOWAIT);
    ds.msg_perm.mode = 0;
    tell("set", ipcc_msgctl(id, IPC_SET, &ds));
    tell("remove", ipcc_msgctl(id, IPC_RMID, NULL));
    tell("send to nothing", send_text(id, 1, "x"));
}

static void
semaphores(const char *key)
{
    struct timespec soon = {0, 20000000L};
    struct sembuf sop = {0, -9, 0};
    unsigned short values[3] = {4, 5, 6};
    union ipcc_semun arg;
    int id = set(key);

    arg.array = values;
    tell("set all", ipcc_semctl(id, 0, SETALL, arg));
    tell("take without waiting", change(id, 0, -9, IPC_NOWAIT));
    tell("take in time", ipcc_semtimedop(id, &sop, 1, &soon));
    tell("take of none", change(id, 3, -1, 0));
    tell("take two", change(id, 0, -2, 0));
    memset(values, 0, sizeof values);
    tell("get all", ipcc_semctl(id, 0, GETALL, arg));
    printf("values: %d %d %d\n", values[0], values[1], values[2]);
    arg.val = 40000;
    tell("set beyond", ipcc_semctl(id, 0, SETVAL, arg));
    printf("mine: %d\n", ipcc_semctl(id, 0, GETPID, arg) == getpid());
}

static volatile sig_atomic_t caught;

static void
handler(int number)
{
    (void)number;
    caught = 1;
}

static void
interrupted(const char *key)
{
    struct sigaction action;
    struct itimerval soon = {{0, 0}, {0, 100000}};
    int id = queue(key);

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
    receive(id, 0, 0);
    printf("caught: %d\n", (int)caught);
    tell("send", send_text(id, 7, "after"));
    receive(id, 0, 0);
}

static void *
one_receiver(void *id)
{
    struct message message;

    return (void *)(ipcc_msgrcv(*(int *)id, &message, sizeof message.text, 0, 0) == 1 ? id : NULL);
}

static void
threads(const char *key)
{
    pthread_t thread[10];
    void *done;
    int id = queue(key);
    int good = 0;
    int i;

    for (i = 0; i < 10; i++)
        pthread_create(&thread[i], NULL, one_receiver, &id);
    for (i = 0; i < 10; i++)
        send_text(id, 1, "x");
    for (i = 0; i < 10; i++) {
        pthread_join(thread[i], &done);
        good += done != NULL;
    }
    printf("received by threads: %d\n", good);
}

static void
forks(const char *key)
{
    int id = set(key);
    pid_t child;

    tell("parent gives", change(id, 0, 5, SEM_UNDO));
    fflush(stdout);
    child = fork();
    if (child == 0) {
        tell("child gives", change(id, 0, 3, SEM_UNDO));
        tell("value", value(id, 0));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    change(id, 0, -6, IPC_NOWAIT | SEM_UNDO) < 0 ? tell("undone with the child", 1) : tell("undone with the child", 0);
    tell("value", value(id, 0));
}

static void
count(const char *key, int from, int to)
{
    char text[20];
    int id = queue(key);

    for (; from < to; from++) {
        sprintf(text, "%d", from);
        if (send_text(id, 1, text) < 0)
            tell("send", -1);
    }
    printf("sent\n");
}

int
main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    const char *key = argc > 2 ? argv[2] : "";

    if (strcmp(what, "queues") == 0) {
        queues(key);
    } else if (strcmp(what, "semaphores") == 0) {
        semaphores(key);
    } else if (strcmp(what, "send") == 0) {
        tell("send", send_text(queue(key), 1, argv[3]));
    } else if (strcmp(what, "receive") == 0) {
        int id = queue(key);

        tell("waiting", id >= 0 ? 0 : -1);
        receive(id, 0, 0);
    } else if (strcmp(what, "receive-and-die") == 0) {
        receive(queue(key), 0, 0);
        kill(getpid(), SIGKILL);
    } else if (strcmp(what, "hold") == 0) {
        tell("held", change(set(key), 0, 1, SEM_UNDO));
        pause();
    } else if (strcmp(what, "hold-lease") == 0) {
        tell("ending", ipcc_ending(IPCC_LEASE));
        tell("held", change(set(key), 0, 1, SEM_UNDO));
        pause();
    } else if (strcmp(what, "exec") == 0) {
        char *arguments[] = {argv[0], "give-back", (char *)key, NULL};
        extern char **environ;

        tell("held", change(set(key), 0, 5, SEM_UNDO));
        tell("no program", ipcc_execve("/nonexistent/program", arguments, environ));
        tell("held more", change(set(key), 0, 1, SEM_UNDO));
        ipcc_execve(argv[0], arguments, environ);
    } else if (strcmp(what, "give-back") == 0) {
        tell("still", value(set(key), 0));
        tell("given back", change(set(key), 0, -2, SEM_UNDO | IPC_NOWAIT));
        tell("still", value(set(key), 0));
    } else if (strcmp(what, "take") == 0) {
        int id = set(key);

        tell("waiting", 0);
        tell("taken", change(id, 0, -1, 0));
    } else if (strcmp(what, "zero") == 0) {
        tell("zero", change(set(key), 0, 0, 0));
    } else if (strcmp(what, "value") == 0) {
        tell("value", value(set(key), 0));
    } else if (strcmp(what, "interrupted") == 0) {
        interrupted(key);
    } else if (strcmp(what, "threads") == 0) {
        threads(key);
    } else if (strcmp(what, "fork") == 0) {
        forks(key);
    } else if (strcmp(what, "count") == 0) {
        count(key, 0, atoi(argv[3]));
    } else if (strcmp(what, "get") == 0) {
        tell("get", queue(key));
    } else {
        fprintf(stderr, "usage: ipcclient_peer STEP KEY [TEXT]\n");
        return 2;
    }
    return 0;
}
