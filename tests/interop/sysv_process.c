/*
 * sysv_process: an ordinary program that has semaphores adjusted at its end,
 * and replaces itself, has children of every kind, and calls in other ways than
 * by libc's names.  Says what came of it.  Knows nothing of servers.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

struct message {
    long type;
    char text[100];
};

#ifdef PLUGIN

/* What a library loaded at run time calls. */
int
plugin(int id)
{
    struct message message;

    message.type = 3;
    memcpy(message.text, "plug", 4);
    return msgsnd(id, &message, 4, 0);
}

#else

static int
say(const char *what, long result)
{
    if (result < 0)
        printf("%-40s %s\n", what, strerror(errno));
    else
        printf("%-40s %ld\n", what, result);
    fflush(stdout);
    return (int)result;
}

static int
change(int id, int num, int op, int flags)
{
    struct sembuf sop;

    sop.sem_num = (unsigned short)num;
    sop.sem_op = (short)op;
    sop.sem_flg = (short)flags;
    return semop(id, &sop, 1);
}

static int
value(int id, int num)
{
    return semctl(id, num, GETVAL);
}

static void
check_child(const char *what, pid_t child)
{
    int status = -1;

    waitpid(child, &status, 0);
    printf("%-40s ended with %d\n", what, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    fflush(stdout);
}

/* ---- exec ------------------------------------------------------------------------- */

/* What the next program sees: the adjustment is still held, and goes on counting. */
static int
after(const char *set, const char *pid)
{
    int id = atoi(set);

    say("after exec: the same process", atoi(pid) == getpid());
    say("after exec: held", value(id, 0));
    say("after exec: more", change(id, 0, 1, SEM_UNDO));
    say("after exec: and a little less", change(id, 0, -1, SEM_UNDO | IPC_NOWAIT));
    say("after exec: by me", semctl(id, 0, GETPID) == getpid());
    say("after exec: a variable that should not be", getenv("IPCSERVER_SESSION") != NULL);
    return 7;
}

static void
one_exec(const char *self, const char *how, int id)
{
    char set[20];
    char pid[20];
    char *argv[5];
    char script[400];
    pid_t child = fork();

    if (child != 0) {
        check_child(how, child);
        say("undone at the end", value(id, 0));
        return;
    }
    sprintf(set, "%d", id);
    sprintf(pid, "%d", (int)getpid());
    argv[0] = (char *)self;
    argv[1] = "after";
    argv[2] = set;
    argv[3] = pid;
    argv[4] = NULL;
    change(id, 0, 2, SEM_UNDO);
    (void)execl("/nonexistent/program", "program", (char *)NULL);
    say("an exec that failed changes nothing", value(id, 0));
    change(id, 0, 1, SEM_UNDO);
    if (strcmp(how, "execl") == 0)
        execl(self, self, "after", set, pid, (char *)NULL);
    if (strcmp(how, "execle") == 0)
        execle(self, self, "after", set, pid, (char *)NULL, environ);
    if (strcmp(how, "execlp") == 0)
        execlp(self, self, "after", set, pid, (char *)NULL);
    if (strcmp(how, "execv") == 0)
        execv(self, argv);
    if (strcmp(how, "execve") == 0)
        execve(self, argv, environ);
    if (strcmp(how, "execvp") == 0)
        execvp(self, argv);
    if (strcmp(how, "execvpe") == 0)
        execvpe(self, argv, environ);
    if (strcmp(how, "fexecve") == 0)
        fexecve(open(self, O_RDONLY | O_CLOEXEC), argv, environ);
    if (strcmp(how, "SYS_execve") == 0)
        syscall(SYS_execve, self, argv, environ);
    if (strcmp(how, "sh") == 0) {
        sprintf(script, "exec %s after %s %s", self, set, pid);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
    }
    _exit(99);
}

/* A program that is not preloaded holds it as long as it lives. */
static void
exec_of_a_stranger(int id)
{
    char *const none[] = {NULL};
    int ends[2];
    int out[2];
    char byte;
    pid_t child;

    if (pipe(ends) < 0 || pipe(out) < 0)
        exit(1);
    child = fork();
    if (child == 0) {
        change(id, 1, 1, SEM_UNDO);
        dup2(ends[0], 0);
        dup2(out[1], 1);
        close(ends[0]);
        close(ends[1]);
        execle("/bin/cat", "cat", (char *)NULL, none);
        _exit(99);
    }
    close(ends[0]);
    if (write(ends[1], "x", 1) != 1 || read(out[0], &byte, 1) != 1)
        exit(1);
    say("held by a program without variables", value(id, 1));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    say("undone with it", change(id, 1, 0, 0));
}

static void *
blocked(void *set)
{
    change(*(int *)set, 2, -1, 0);
    return NULL;
}

/* Threads end with exec, and what they wait for is not given to them. */
static void
exec_with_threads(const char *self, int id)
{
    char set[20];
    char pid[20];
    pthread_t thread;
    pid_t child = fork();

    if (child == 0) {
        sprintf(set, "%d", id);
        sprintf(pid, "%d", (int)getpid());
        change(id, 0, 3, SEM_UNDO);
        pthread_create(&thread, NULL, blocked, &id);
        while (semctl(id, 2, GETNCNT) != 1)
            usleep(1000);
        execl(self, self, "after", set, pid, (char *)NULL);
        _exit(99);
    }
    check_child("exec with a waiting thread", child);
    say("nobody waits", semctl(id, 2, GETNCNT));
}

static void
execs(const char *self)
{
    static const char *const hows[] = {
        "execl", "execle", "execlp", "execv", "execve", "execvp", "execvpe", "fexecve", "SYS_execve", "sh"
    };
    int id = semget(IPC_PRIVATE, 3, 0600);
    size_t i;

    for (i = 0; i < sizeof hows / sizeof hows[0]; i++)
        one_exec(self, hows[i], id);
    exec_of_a_stranger(id);
    exec_with_threads(self, id);
    say("IPC_RMID", semctl(id, 0, IPC_RMID));
}

/* ---- children ----------------------------------------------------------------------- */

static void
children(void)
{
    char *argv[] = {"true", NULL};
    char command[100];
    char line[100];
    FILE *stream;
    pid_t child;
    int id = semget(IPC_PRIVATE, 2, 0600);

    say("held", change(id, 0, 5, SEM_UNDO));
    child = vfork();
    if (child == 0) {
        execv("/bin/true", argv);
        _exit(99);
    }
    check_child("vfork and exec", child);
    say("still held", value(id, 0));
    child = vfork();
    if (child == 0)
        _exit(3);
    check_child("vfork and _exit", child);
    say("still held", value(id, 0));
    child = vfork();
    if (child == 0) {
        change(id, 0, 2, SEM_UNDO);
        change(id, 1, 1, 0);
        _exit(value(id, 0));
    }
    check_child("vfork and semop", child);
    say("still held, without the child's", value(id, 0));
    say("and the other one", value(id, 1));
    say("take back", change(id, 0, -1, SEM_UNDO | IPC_NOWAIT));
    posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ);
    check_child("posix_spawn", child);
    say("still held", value(id, 0));
    say("system", system("exit 3") >> 8);
    say("still held", value(id, 0));
    sprintf(command, "echo $((%d + 1))", 41);
    stream = popen(command, "r");
    printf("popen: %s", fgets(line, sizeof line, stream));
    say("pclose", pclose(stream));
    say("still held", value(id, 0));
    child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        change(id, 0, 3, SEM_UNDO);
        _exit(value(id, 0));
    }
    check_child("clone by number", child);
    say("still held, without the child's", value(id, 0));
    child = fork();
    if (child == 0) {
        change(id, 0, 3, SEM_UNDO);
        syscall(SYS_exit_group, value(id, 0));
    }
    check_child("exit_group by number", child);
    say("still held, without the child's", value(id, 0));
    say("IPC_RMID", semctl(id, 0, IPC_RMID));
}

/* ---- other ways to the calls ------------------------------------------------------------ */

static void
by_number(void)
{
    struct timespec soon = {0, 1000000};
    struct sembuf up = {0, 2, 0};
    struct sembuf down = {0, -3, 0};
    struct msqid_ds ds;
    struct message message;
    int queue = msgget(IPC_PRIVATE, 0600);
    int set = (int)syscall(SYS_semget, IPC_PRIVATE, 1, 0600);

    message.type = 2;
    say("SYS_getpid", syscall(SYS_getpid) == getpid());
    say("SYS_close", syscall(SYS_close, -1));
    say("SYS_msgsnd", syscall(SYS_msgsnd, queue, &message, 10, 0));
    say("SYS_msgsnd bad pointer", syscall(SYS_msgsnd, queue, NULL, 10, 0));
    say("SYS_msgctl", syscall(SYS_msgctl, queue, IPC_STAT, &ds));
    say("messages", (long)ds.msg_qnum);
    say("SYS_msgrcv", syscall(SYS_msgrcv, queue, &message, 100, -5L, IPC_NOWAIT));
    say("SYS_msgrcv none", syscall(SYS_msgrcv, queue, &message, 100, 0L, IPC_NOWAIT));
    say("SYS_msgctl", syscall(SYS_msgctl, queue, IPC_RMID, NULL));
    say("msgctl", msgctl(queue, IPC_RMID, NULL));
    say("SYS_semop", syscall(SYS_semop, set, &up, 1));
    say("SYS_semtimedop", syscall(SYS_semtimedop, set, &down, 1, &soon));
    say("SYS_semctl", syscall(SYS_semctl, set, 0, GETVAL, 0));
    say("SYS_semctl", syscall(SYS_semctl, set, 0, SETVAL, 9));
    say("semctl", value(set, 0));
    say("SYS_semctl", syscall(SYS_semctl, set, 0, IPC_RMID, 0));
    say("SYS_msgget", syscall(SYS_msgget, 0x7e57ab1e, 0));
}

static void
by_dlsym(const char *library)
{
    int (*get)(key_t, int);
    int (*ctl)(int, int, struct msqid_ds *);
    int (*plug)(int);
    int (*printing)(const char *);
    struct msqid_ds ds;
    void *libc = dlopen("libc.so.6", RTLD_LAZY);
    void *loaded = dlopen(library, RTLD_NOW | RTLD_DEEPBIND);
    int queue;

    *(void **)&get = dlsym(libc, "msgget");
    *(void **)&ctl = dlsym(RTLD_NEXT, "msgctl");
    *(void **)&plug = dlsym(loaded, "plugin");
    *(void **)&printing = dlsym(libc, "puts");
    printing("found");
    say("nothing of this name", dlsym(libc, "msgfly") == NULL);
    queue = get(IPC_PRIVATE, 0600);
    say("the library's msgsnd", plug(queue));
    say("IPC_STAT", msgctl(queue, IPC_STAT, &ds));
    say("messages", (long)ds.msg_qnum);
    say("IPC_RMID", ctl(queue, IPC_RMID, NULL));
}

/* ---- for tests of what is outside the process ------------------------------------------- */

static void
hold(const char *key)
{
    say("held", change(semget((key_t)strtol(key, NULL, 0), 1, IPC_CREAT | 0666), 0, 1, SEM_UNDO));
    for (;;)
        pause();
}

/* Attaches in ways that go together with copies, and in ways that do not. */
static void
segments(void)
{
    struct shmid_ds ds;
    char *first;
    char *second;
    pid_t child;
    int id = shmget(IPC_PRIVATE, 5000, 0600);

    first = shmat(id, NULL, 0);
    say("zero at first", first[0] == 0 && first[4999] == 0);
    strcpy(first, "first");
    strcpy(first + 4990, "last");
    say("shmdt", shmdt(first));
    say("shmdt again", shmdt(first));
    first = shmat(id, NULL, SHM_RDONLY);
    printf("%s %s\n", first, first + 4990);
    second = shmat(id, first + 0x10000 + 5, SHM_RND);
    say("shmat where it was asked for", second == first + 0x10000);
    say("shmat at an odd place", (long)shmat(id, first + 5, 0) == -1 ? -1 : 0);
    say("shmat where something is", (long)shmat(id, first, 0) == -1 ? -1 : 0);
    say("IPC_STAT", shmctl(id, IPC_STAT, &ds));
    printf("%ld bytes, %ld attached\n", (long)ds.shm_segsz, (long)ds.shm_nattch);
    say("IPC_STAT bad pointer", shmctl(id, IPC_STAT, NULL));
    say("shmdt", shmdt(first));
    say("shmdt", shmdt(second));
    fflush(stdout);
    child = fork();
    if (child == 0) {
        first = shmat(id, NULL, 0);
        strcpy(first + 100, "at the end");
        exit(0);
    }
    waitpid(child, NULL, 0);
    child = fork();
    if (child == 0) {
        first = shmat(id, NULL, 0);
        first[4990] = 'p';
        _exit(0);
    }
    waitpid(child, NULL, 0);
    first = shmat(id, NULL, 0);
    printf("%s %s %s\n", first, first + 100, first + 4990);
    say("IPC_RMID", shmctl(id, IPC_RMID, NULL));
    say("shmget of none", shmget(IPC_PRIVATE, 0, 0600));
    say("shmget of nothing", shmget(0x7e57ab1e, 0, 0));
    say("shmat of nothing", (long)shmat(-1, NULL, 0) == -1 ? -1 : 0);
}

/* ---- out of a blocked call --------------------------------------------------------------- */

static volatile pid_t forked = -1;
static sigjmp_buf back;

static void
forking(int number)
{
    (void)number;
    forked = fork();
}

static void
jumping(int number)
{
    (void)number;
    siglongjmp(back, 1);
}

static void
handle(void (*handler)(int))
{
    struct itimerval soon = {{0, 0}, {0, 100000}};
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
}

static void *
receiving(void *queue)
{
    struct message message;

    return (void *)(long)msgrcv(*(int *)queue, &message, 100, 0, 0);
}

static void
ways_out(void)
{
    struct message message;
    struct msqid_ds ds;
    pthread_t thread;
    void *result;
    int queue = msgget(IPC_PRIVATE, 0600);
    int set = semget(IPC_PRIVATE, 2, 0600);
    int i;

    change(set, 1, 1, SEM_UNDO);
    handle(forking);
    say("semop, a handler forks", change(set, 0, -1, 0));
    if (forked == 0) {
        say("the child goes on by itself", change(set, 0, 1, SEM_UNDO));
        say("its parent holds", value(set, 1));
        _exit(0);
    }
    check_child("the child", forked);
    say("undone", value(set, 0));
    say("held", value(set, 1));
    handle(jumping);
    if (sigsetjmp(back, 1) == 0)
        say("msgrcv", msgrcv(queue, &message, 100, 0, 0));
    say("msgrcv after a jump", msgrcv(queue, &message, 100, 0, IPC_NOWAIT));
    for (i = 0; i < 3; i++) {
        pthread_create(&thread, NULL, receiving, &queue);
        usleep(50000);
        say("pthread_cancel", pthread_cancel(thread));
        pthread_join(thread, &result);
        say("cancelled", result == PTHREAD_CANCELED);
    }
    message.type = 4;
    say("msgsnd", msgsnd(queue, &message, 5, 0));
    usleep(50000);
    msgctl(queue, IPC_STAT, &ds);
    say("messages: nobody else wants it", (long)ds.msg_qnum);
    say("msgrcv", msgrcv(queue, &message, 100, 0, IPC_NOWAIT));
    say("IPC_RMID", msgctl(queue, IPC_RMID, NULL));
    say("IPC_RMID", semctl(set, 0, IPC_RMID));
}

static int
queue_of(const char *key)
{
    return msgget((key_t)strtol(key, NULL, 0), IPC_CREAT | 0666);
}

/* Sends numbers, and waits whenever the queue is full. */
static void
count(const char *key, int number)
{
    struct message message;
    int id = queue_of(key);
    int i;

    message.type = 1;
    for (i = 0; i < number; i++)
        if (msgsnd(id, &message, (size_t)sprintf(message.text, "%-90d", i), 0) < 0)
            say("msgsnd", -1);
    say("sent", number);
}

/* Receives them, and sees whether each comes once and in its turn. */
static void
drain(const char *key, int number)
{
    struct message message;
    ssize_t length;
    int id = queue_of(key);
    int i;

    for (i = 0; i < number; i++) {
        length = msgrcv(id, &message, sizeof message.text - 1, 0, 0);
        if (length < 0)
            say("msgrcv", -1);
        message.text[length < 0 ? 0 : length] = '\0';
        if (atoi(message.text) != i)
            printf("not %d but \"%s\"\n", i, message.text);
        if (i == number / 4)
            say("a quarter", i);
    }
    say("received", number);
}

static void
take(const char *key, int op)
{
    int id = semget((key_t)strtol(key, NULL, 0), 1, IPC_CREAT | 0666);

    say("going", 0);
    say("semop", change(id, 0, op, 0));
}

int
main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "after") == 0)
        return after(argv[2], argv[3]);
    else if (strcmp(what, "exec") == 0)
        execs(argv[0]);
    else if (strcmp(what, "children") == 0)
        children();
    else if (strcmp(what, "number") == 0)
        by_number();
    else if (strcmp(what, "dlsym") == 0)
        by_dlsym(argv[2]);
    else if (strcmp(what, "hold") == 0)
        hold(argv[2]);
    else if (strcmp(what, "out") == 0)
        ways_out();
    else if (strcmp(what, "segments") == 0)
        segments();
    else if (strcmp(what, "lock") == 0)
        say("SHM_LOCK", shmctl(shmget(IPC_PRIVATE, 1, 0600), SHM_LOCK, NULL));
    else if (strcmp(what, "count") == 0)
        count(argv[2], atoi(argv[3]));
    else if (strcmp(what, "drain") == 0)
        drain(argv[2], atoi(argv[3]));
    else if (strcmp(what, "take") == 0)
        take(argv[2], -1);
    else if (strcmp(what, "give") == 0)
        take(argv[2], 1);
    else
        return 2;
    return 0;
}

#endif
