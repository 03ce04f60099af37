/*
 * sysv_program: an ordinary program that uses System V queues and semaphores.
 * It knows nothing of servers, and says what each call gave, so that what the
 * kernel gives and what librpcipc.so gives can be laid beside each other.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
    struct seminfo *info;
};

static struct {
    long type;
    char text[20000];
} message;

static volatile sig_atomic_t caught;

static void
handler(int number)
{
    (void)number;
    caught++;
}

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

static void
say_ok(const char *what, long result)
{
    say(what, result < 0 ? -1 : 0);
}

static void
alarm_soon(void)
{
    struct itimerval soon = {{0, 0}, {0, 50000}};

    setitimer(ITIMER_REAL, &soon, NULL);
}

static void
queues(void)
{
    char *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct msginfo info;
    struct msqid_ds ds;
    pid_t child;
    int id = msgget(IPC_PRIVATE, 0640);
    int status;

    message.type = 5;
    strcpy(message.text, "five");
    say("msgsnd", msgsnd(id, &message, 4, 0));
    say("msgsnd bad pointer", msgsnd(id, bad, 4, 0));
    say("msgsnd bad pointer, bad id", msgsnd(-1, bad, 4, 0));
    say("msgsnd too long", msgsnd(id, &message, 19000, 0));
    say("msgsnd too long by far", msgsnd(id, &message, (size_t)-1, 0));
    message.type = 0;
    say("msgsnd type 0", msgsnd(id, &message, 1, 0));
    message.type = 9;
    say("msgsnd bad id", msgsnd(id + 32768, &message, 1, 0));
    say("msgsnd empty", msgsnd(id, &message, 0, 0));
    say("IPC_STAT", msgctl(id, IPC_STAT, &ds));
    printf("%ld %ld %d %d %o %d %d %d %d %d\n", (long)ds.msg_qnum, (long)ds.__msg_cbytes, ds.msg_lspid == getpid(),
           ds.msg_lrpid, ds.msg_perm.mode, ds.msg_perm.uid == geteuid(), ds.msg_perm.cuid == geteuid(),
           ds.msg_stime != 0, ds.msg_rtime != 0, ds.msg_perm.__key);
    say("IPC_STAT bad pointer", msgctl(id, IPC_STAT, (void *)bad));
    say("IPC_SET bad pointer", msgctl(id, IPC_SET, (void *)bad));
    say("unknown command", msgctl(id, 99, &ds));
    say("msgrcv too small", msgrcv(id, &message, 2, 0, 0));
    say("msgrcv cut", msgrcv(id, &message, 2, 0, MSG_NOERROR));
    say("msgrcv MSG_COPY without IPC_NOWAIT", msgrcv(id, &message, 100, 0, 040000));
    say("msgrcv MSG_COPY", msgrcv(id, &message, 100, 0, 040000 | IPC_NOWAIT));
    say("msgrcv MSG_COPY past the end", msgrcv(id, &message, 100, 5, 040000 | IPC_NOWAIT));
    say("msgrcv MSG_EXCEPT", msgrcv(id, &message, 100, 9, MSG_EXCEPT | IPC_NOWAIT));
    say("msgrcv empty", msgrcv(id, &message, 100, -9, 0));
    printf("type %ld\n", message.type);
    say("msgrcv none", msgrcv(id, &message, 100, 0, IPC_NOWAIT));
    alarm_soon();
    say("msgrcv interrupted", msgrcv(id, &message, 100, 0, 0));
    message.type = 1;
    msgsnd(id, &message, 3, 0);
    say("msgrcv bad pointer", msgrcv(id, bad, 100, 0, 0));
    say("msgrcv what was lost", msgrcv(id, &message, 100, 0, IPC_NOWAIT));
    say_ok("MSG_STAT", msgctl(id & 32767, MSG_STAT, &ds));
    say_ok("MSG_STAT_ANY", msgctl(id & 32767, MSG_STAT_ANY, &ds));
    say("MSG_STAT gives the id", msgctl(id & 32767, MSG_STAT, &ds) == id);
    say_ok("IPC_INFO", msgctl(0, IPC_INFO, (struct msqid_ds *)&info));
    say_ok("MSG_INFO", msgctl(0, MSG_INFO, (struct msqid_ds *)&info));
    say("MSG_INFO counts the queue", info.msgpool >= 1);
    say("MSG_INFO bad pointer", msgctl(0, MSG_INFO, (void *)bad));
    msgctl(id, IPC_STAT, &ds);
    ds.msg_qbytes = 10;
    ds.msg_perm.mode = 0600;
    say("IPC_SET", msgctl(id, IPC_SET, &ds));
    message.type = 1;
    say("msgsnd fills it", msgsnd(id, &message, 10, 0));
    say("msgsnd full", msgsnd(id, &message, 1, IPC_NOWAIT));
    alarm_soon();
    say("msgsnd full interrupted", msgsnd(id, &message, 1, 0));
    child = fork();
    if (child == 0) {
        int done = msgsnd(id, &message, 1, 0);

        _exit(done < 0 && errno == EIDRM ? 7 : 8);
    }
    usleep(300000);
    say("IPC_RMID", msgctl(id, IPC_RMID, NULL));
    waitpid(child, &status, 0);
    say("the waiting child saw EIDRM", WIFEXITED(status) && WEXITSTATUS(status) == 7);
    say("msgrcv removed", msgrcv(id, &message, 100, 0, 0));
    say("msgget without IPC_CREAT", msgget(0x7e57ab1e, 0));
}

static void
semaphores(void)
{
    void *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct timespec soon = {0, 30000000L};
    struct timespec wrong = {0, 1000000000L};
    struct sembuf up = {1, 1, 0};
    struct sembuf down = {1, -30, 0};
    struct sembuf pair[2] = {{0, -1, 0}, {1, -100, IPC_NOWAIT}};
    struct sembuf hold = {2, 1, SEM_UNDO};
    struct sembuf zero = {2, 0, 0};
    struct sembuf far = {3, 1, 0};
    unsigned short values[3] = {1, 2, 0};
    struct semid_ds ds;
    struct seminfo info;
    union semun arg;
    int ready[2];
    pid_t child;
    char byte;
    int id = semget(IPC_PRIVATE, 3, 0600);

    say("semget of none", semget(IPC_PRIVATE, 0, 0600));
    say("semget of too many", semget(IPC_PRIVATE, 40000, 0600));
    arg.array = values;
    say("SETALL", semctl(id, 0, SETALL, arg));
    arg.array = bad;
    say("SETALL bad pointer", semctl(id, 0, SETALL, arg));
    say("GETALL bad pointer", semctl(id, 0, GETALL, arg));
    arg.val = 40000;
    say("SETVAL beyond", semctl(id, 0, SETVAL, arg));
    say("GETVAL", semctl(id, 1, GETVAL));
    say("GETVAL of none", semctl(id, 3, GETVAL));
    say("semop", semop(id, &up, 1));
    say("GETPID", semctl(id, 1, GETPID) == getpid());
    say("semop bad pointer", semop(id, bad, 1));
    say("semop bad pointer, bad id", semop(id + 32768, bad, 1));
    say("semop no operations", semop(id, &up, 0));
    say("semop too many operations", semop(id, &up, 501));
    say("semop far", semop(id, &far, 1));
    say("semop all or none", semop(id, pair, 2));
    say("GETVAL as before", semctl(id, 0, GETVAL));
    say("semtimedop", semtimedop(id, &down, 1, &soon));
    say("semtimedop bad time", semtimedop(id, &down, 1, &wrong));
    say("semtimedop bad pointer", semtimedop(id, &down, 1, bad));
    alarm_soon();
    say("semop interrupted", semop(id, &down, 1));
    arg.buf = &ds;
    say("IPC_STAT", semctl(id, 0, IPC_STAT, arg));
    printf("%ld %o %d %d\n", (long)ds.sem_nsems, ds.sem_perm.mode, ds.sem_otime != 0, ds.sem_ctime != 0);
    say("SEM_STAT gives the id", semctl(id & 32767, 0, SEM_STAT, arg) == id);
    say_ok("SEM_STAT_ANY", semctl(id & 32767, 0, SEM_STAT_ANY, arg));
    arg.buf = bad;
    say("IPC_STAT bad pointer", semctl(id, 0, IPC_STAT, arg));
    arg.info = &info;
    say_ok("IPC_INFO", semctl(0, 0, IPC_INFO, arg));
    say("semvmx", info.semvmx);
    say_ok("SEM_INFO", semctl(0, 0, SEM_INFO, arg));
    say("unknown command", semctl(id, 0, 99, arg));
    if (pipe(ready) < 0)
        exit(1);
    child = fork();
    if (child == 0) {
        semop(id, &hold, 1);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    if (read(ready[0], &byte, 1) != 1)
        exit(1);
    say("held by the child", semctl(id, 2, GETVAL));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    say("undone after kill -9", semop(id, &zero, 1));
    child = fork();
    if (child == 0) {
        semop(id, &hold, 1);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say("undone after _exit", semop(id, &zero, 1));
    say("GETPID is the child's", semctl(id, 2, GETPID) == getpid());
    say("IPC_RMID", semctl(id, 0, IPC_RMID));
    say("IPC_RMID again", semctl(id, 0, IPC_RMID));
}

/* ---- other users -------------------------------------------------------------------- */

/* What another user may do with objects of mode, and what a user may who was there before. */
static void
as_another(const char *what, int mode)
{
    struct sembuf up = {0, 1, 0};
    struct sembuf zero = {0, 0, IPC_NOWAIT};
    unsigned short values[1] = {3};
    key_t key = (key_t)(0x7e590000 + mode);
    struct semid_ds sem;
    struct msqid_ds ds;
    union semun arg;
    int queue = msgget(key, IPC_CREAT | mode);
    int set = semget(key, 1, IPC_CREAT | mode);
    pid_t child;

    message.type = 1;
    msgsnd(queue, &message, 1, 0);
    printf("%s, mode %o\n", what, mode);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        setgroups(0, NULL);
        if (strcmp(what, "for good") == 0) {
            setgid(54321);
            setuid(54322);
        } else {
            msgctl(queue, IPC_STAT, &ds);   /* a connection made as root */
            setegid(54321);
            seteuid(54322);
        }
        say_ok("msgget as it is", msgget(key, mode));
        say_ok("msgget of nothing", msgget(key, 0));
        say_ok("msgget to write", msgget(key, 0002));
        say_ok("msgget exclusively", msgget(key, IPC_CREAT | IPC_EXCL | 0600));
        say("msgsnd", msgsnd(queue, &message, 1, IPC_NOWAIT));
        say("msgrcv", msgrcv(queue, &message, 10, 0, IPC_NOWAIT));
        say("IPC_STAT", msgctl(queue, IPC_STAT, &ds));
        say_ok("MSG_STAT", msgctl(queue & 32767, MSG_STAT, &ds));
        say_ok("MSG_STAT_ANY", msgctl(queue & 32767, MSG_STAT_ANY, &ds));
        say("IPC_SET", msgctl(queue, IPC_SET, &ds));
        say("IPC_RMID", msgctl(queue, IPC_RMID, NULL));
        say_ok("semget", semget(key, 1, 0600));
        say("semop", semop(set, &up, 1));
        say("semop for zero", semop(set, &zero, 1));
        arg.array = values;
        say("GETVAL", semctl(set, 0, GETVAL));
        say("SETVAL", semctl(set, 0, SETVAL, 1));
        say("GETALL", semctl(set, 0, GETALL, arg));
        say("SETALL", semctl(set, 0, SETALL, arg));
        arg.buf = &sem;
        say("IPC_STAT", semctl(set, 0, IPC_STAT, arg));
        say_ok("SEM_STAT", semctl(set & 32767, 0, SEM_STAT, arg));
        say_ok("SEM_STAT_ANY", semctl(set & 32767, 0, SEM_STAT_ANY, arg));
        say("IPC_SET", semctl(set, 0, IPC_SET, arg));
        say("IPC_RMID", semctl(set, 0, IPC_RMID));
        if (strcmp(what, "for good") != 0) {
            seteuid(0);
            say("msgsnd as root again", msgsnd(queue, &message, 1, IPC_NOWAIT));
        }
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say("IPC_RMID", msgctl(queue, IPC_RMID, NULL));
    say("IPC_RMID", semctl(set, 0, IPC_RMID));
}

static void
users(void)
{
    static const int modes[] = {0600, 0644, 0622, 0666, 0000};
    size_t i;

    for (i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        as_another("for good", modes[i]);
        as_another("for now", modes[i]);
    }
}

/* ---- lists -------------------------------------------------------------------------- */

/* What ipcs shows when it asks by calls: limits, use, and every object by its index. */
static void
list(void)
{
    struct msginfo limits;
    struct seminfo info;
    struct semid_ds sem;
    struct msqid_ds ds;
    union semun arg;
    int highest;
    int i;

    for (i = 0; i < 3; i++) {
        message.type = 1;
        msgsnd(msgget(0x100 + i, IPC_CREAT | 0640), &message, 10 * (size_t)i, 0);
        semget(0x200 + i, i + 1, IPC_CREAT | 0604);
    }
    msgctl(msgget(0x101, 0), IPC_RMID, NULL);
    semctl(semget(0x200, 0, 0), 0, IPC_RMID);
    say("IPC_INFO", msgctl(0, IPC_INFO, (struct msqid_ds *)&limits));
    printf("%d %d %d %d %d %d %d %d\n", limits.msgpool, limits.msgmap, limits.msgmax, limits.msgmnb, limits.msgmni,
           limits.msgssz, limits.msgtql, limits.msgseg);
    highest = say("MSG_INFO", msgctl(0, MSG_INFO, (struct msqid_ds *)&limits));
    printf("%d queues, %d messages, %d bytes\n", limits.msgpool, limits.msgmap, limits.msgtql);
    for (i = 0; i <= highest; i++) {
        int id = msgctl(i, MSG_STAT, &ds);

        say("MSG_STAT", id);
        if (id >= 0)
            printf("%x %o %d %d %ld %ld %ld %d %d %d\n", ds.msg_perm.__key, ds.msg_perm.mode, ds.msg_perm.uid,
                   ds.msg_perm.cgid, (long)ds.__msg_cbytes, (long)ds.msg_qnum, (long)ds.msg_qbytes,
                   ds.msg_stime != 0, ds.msg_rtime != 0, ds.msg_perm.__seq);
    }
    say("MSG_STAT beyond", msgctl(highest + 1, MSG_STAT, &ds));
    say("MSG_STAT_ANY beyond", msgctl(32767, MSG_STAT_ANY, &ds));
    arg.info = &info;
    say("IPC_INFO", semctl(0, 0, IPC_INFO, arg));
    printf("%d %d %d %d %d %d %d %d %d %d\n", info.semmap, info.semmni, info.semmns, info.semmnu, info.semmsl,
           info.semopm, info.semume, info.semusz, info.semvmx, info.semaem);
    highest = say("SEM_INFO", semctl(0, 0, SEM_INFO, arg));
    printf("%d sets, %d semaphores\n", info.semusz, info.semaem);
    arg.buf = &sem;
    for (i = 0; i <= highest; i++) {
        int id = semctl(i, 0, SEM_STAT, arg);

        say("SEM_STAT", id);
        if (id >= 0)
            printf("%x %o %d %ld %d %d\n", sem.sem_perm.__key, sem.sem_perm.mode, sem.sem_perm.uid,
                   (long)sem.sem_nsems, sem.sem_otime != 0, sem.sem_perm.__seq);
    }
    say("SEM_STAT beyond", semctl(highest + 1, 0, SEM_STAT, arg));
}

/* ---- bad pointers --------------------------------------------------------------------- */

static void
pointers(void)
{
    char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *edge = two + 4096;    /* behind it there is nothing */
    char *fixed = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static const int commands[] = {IPC_STAT, IPC_SET, IPC_INFO, MSG_INFO, MSG_STAT, MSG_STAT_ANY};
    static const int sem_commands[] = {IPC_STAT, IPC_SET, IPC_INFO, SEM_INFO, SEM_STAT, SEM_STAT_ANY, GETALL, SETALL};
    struct timespec soon = {0, 1000};
    struct sembuf up = {0, 1, 0};
    union semun arg;
    int queue = msgget(IPC_PRIVATE, 0600);
    int set = semget(IPC_PRIVATE, 4, 0600);
    size_t i;
    int id;

    munmap(edge, 4096);
    *(long *)(void *)(edge - 16) = 1;
    say("msgsnd to the edge", msgsnd(queue, edge - 16, 8, 0));
    say("msgsnd over the edge", msgsnd(queue, edge - 16, 9, 0));
    say("msgsnd NULL", msgsnd(queue, NULL, 0, 0));
    say("msgsnd of half a type", msgsnd(queue, edge - 4, 0, 0));
    say("msgsnd of nothing at the edge", msgsnd(queue, edge - 16 + 8, 0, 0));
    *(long *)(void *)(edge - 8) = 2;
    say("msgsnd of nothing at the edge", msgsnd(queue, edge - 8, 0, 0));
    say("msgrcv to where nothing can be written", msgrcv(queue, fixed, 8, 0, IPC_NOWAIT));
    say("msgrcv of nothing at the edge", msgrcv(queue, edge - 8, 8, 2, IPC_NOWAIT));
    say("msgrcv with nothing there, bad pointer", msgrcv(queue, NULL, 8, 0, IPC_NOWAIT));
    for (i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        id = i < 2 ? queue : queue & 32767;
        say("msgctl NULL", msgctl(id, commands[i], NULL));
        say("msgctl over the edge", msgctl(id, commands[i], (void *)(edge - 8)));
    }
    say("msgctl unknown, NULL", msgctl(queue, 77, NULL));
    say("msgctl negative", msgctl(-1, IPC_STAT, NULL));
    for (i = 0; i < sizeof sem_commands / sizeof sem_commands[0]; i++) {
        id = i < 2 || i > 5 ? set : set & 32767;
        arg.buf = NULL;
        say("semctl NULL", semctl(id, 0, sem_commands[i], arg));
        arg.buf = (void *)(edge - 4);
        say("semctl over the edge", semctl(id, 0, sem_commands[i], arg));
        arg.buf = (void *)fixed;
        if (sem_commands[i] != IPC_SET)
            say("semctl read-only", semctl(id, 0, sem_commands[i], arg) < 0 ? -1 : 0);
    }
    say("semop NULL", semop(set, NULL, 1));
    say("semop NULL of none", semop(set, NULL, 0));
    say("semop NULL of too many", semop(set, NULL, 501));
    say("semop over the edge", semop(set, (void *)(edge - 4), 1));
    say("semtimedop bad time", semtimedop(set, &up, 1, (void *)(edge - 8)));
    say("semtimedop bad both", semtimedop(set, NULL, 1, (void *)(edge - 8)));
    say("semtimedop", semtimedop(set, &up, 1, &soon));
    say("GETVAL", semctl(set, 0, GETVAL));
    say("IPC_RMID", msgctl(queue, IPC_RMID, (void *)1));
    say("IPC_RMID", semctl(set, 0, IPC_RMID));
}

int
main(int argc, char **argv)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    if (argc > 1) {
        if (strcmp(argv[1], "users") == 0)
            users();
        else if (strcmp(argv[1], "list") == 0)
            list();
        else
            pointers();
        return 0;
    }
    queues();
    semaphores();
    printf("caught %d\n", (int)caught);
    return 0;
}
