/*
 * sysv_program: an ordinary program that uses System V queues and semaphores.
 * It knows nothing of servers, and says what each call gave, so that what the
 * kernel gives and what librpcipc.so gives can be laid beside each other.
 */

#define _GNU_SOURCE

#include <errno.h>
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

static void
say(const char *what, long result)
{
    if (result < 0)
        printf("%-40s %s\n", what, strerror(errno));
    else
        printf("%-40s %ld\n", what, result);
    fflush(stdout);
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

int
main(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    queues();
    semaphores();
    printf("caught %d\n", (int)caught);
    return 0;
}
