/*
 * sysv_matrix: an ordinary program that makes every System V call with all combinations of good and bad arguments that
 * the manual pages speak of, so that the order in which they are looked at shows.  It says what each call gave, and what
 * the objects look like from time to time, for the kernel and librpcipc.so to be laid beside each other.
 *
 *     sysv_matrix KIND [UID MODE [own]]   as that user, on objects of that mode made before, or by that user
 */

#define _GNU_SOURCE

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif
#define COUNT(list) (sizeof list / sizeof list[0])
#define EACH(i, list) for (i = 0; i < COUNT(list); i++)

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
    void *pointer;
};

static struct { long type; char text[20000]; } message;
static int queue;
static int set;
static int mode = 0600;

static const char *
result(long done)
{
    static char text[40];

    if (done < 0)
        return strerrorname_np(errno);
    snprintf(text, sizeof text, "%ld", done);
    return text;
}

static void
become(int uid)
{
    if (uid == 0)
        return;
    if (setgroups(0, NULL) < 0 || setegid(uid) < 0 || seteuid(uid) < 0)
        exit(2);
}

static void
look_at_queue(void)
{
    struct msqid_ds ds;

    if (msgctl(queue, IPC_STAT, &ds) < 0)
        printf("  queue: %s\n", result(-1));
    else
        printf("  queue: %ld messages, %ld bytes of %ld, mode %o, uid %d, gid %d, times %d %d, pids %d %d\n",
               (long)ds.msg_qnum, (long)ds.__msg_cbytes, (long)ds.msg_qbytes, ds.msg_perm.mode, ds.msg_perm.uid,
               ds.msg_perm.gid, ds.msg_stime != 0, ds.msg_rtime != 0, ds.msg_lspid == getpid(), ds.msg_lrpid == getpid());
}

static void
look_at_set(void)
{
    unsigned short values[4] = {9, 9, 9, 9};
    struct semid_ds ds;
    union semun arg;

    arg.array = values;
    printf("  set: %s", result(semctl(set, 0, GETALL, arg)));
    arg.buf = &ds;
    printf(" %d %d %d %s", values[0], values[1], values[2], result(semctl(set, 0, IPC_STAT, arg)));
    printf(" mode %o, pid %d\n", ds.sem_perm.mode, semctl(set, 0, GETPID) == getpid());
}

/* A good id, one of an earlier life of the slot, one that never was, and what is none. */
static void
ids_of(int good, int ids[5])
{
    ids[0] = good;
    ids[1] = good + 32768;
    ids[2] = 31000;
    ids[3] = -1;
    ids[4] = INT_MIN;
}

static void
getting(void)
{
    static const int flags[] = {0, IPC_CREAT, IPC_CREAT | IPC_EXCL, IPC_EXCL, IPC_CREAT | 0666, 0400, 0200, 0060, 0006, 0777};
    static const int sizes[] = {0, 1, 3, 4, -1, INT_MIN, 32000, 32001, INT_MAX};
    static const key_t keys[] = {0x7e5a0001, 0x7e5a0002, -5, INT_MAX};
    size_t i;
    size_t j;
    size_t k;

    EACH(i, keys) EACH(j, flags) {
        int id = msgget(keys[i], flags[j]);

        printf("msgget(%x, %o): %s\n", keys[i], flags[j], result(id < 0 ? -1 : id == queue));
        if (id >= 0 && id != queue)
            printf("  removed: %s\n", result(msgctl(id, IPC_RMID, NULL)));
        EACH(k, sizes) {
            id = semget(keys[i], sizes[k], flags[j]);
            printf("semget(%x, %d, %o): %s\n", keys[i], sizes[k], flags[j], result(id < 0 ? -1 : id == set));
            if (id >= 0 && id != set)
                printf("  removed: %s\n", result(semctl(id, 0, IPC_RMID)));
        }
    }
    EACH(k, sizes)
        printf("semget(IPC_PRIVATE, %d): %d\n", sizes[k], semget(IPC_PRIVATE, sizes[k], 0600) < 0 ? errno : 0);
}

static void
sends(void)
{
    static const size_t sizes[] = {0, 1, 8192, 8193, 65536, 65537, (size_t)INT_MAX + 1, (size_t)-1};
    static const long types[] = {1, LONG_MAX, 0, -1, LONG_MIN};
    int ids[5];
    size_t i;
    size_t j;
    size_t k;

    ids_of(queue, ids);
    EACH(i, ids) EACH(j, sizes) EACH(k, types) {
        message.type = types[k];
        printf("msgsnd(%zu, %zu bytes, type %ld): %s\n", i, sizes[j], types[k],
               result(msgsnd(ids[i], &message, sizes[j], IPC_NOWAIT)));
    }
    look_at_queue();
    message.type = 1;
    for (i = 0; i < 5; i++)
        printf("msgsnd more: %s\n", result(msgsnd(queue, &message, 4000, IPC_NOWAIT)));
    look_at_queue();
}

static void
receives(void)
{
    static const size_t sizes[] = {0, 1, 4, 5000, (size_t)INT_MAX + 1, (size_t)-1};
    static const long types[] = {0, 2, -2, 9, -9, LONG_MAX, LONG_MIN};
    static const int flags[] = {
        0, MSG_NOERROR, MSG_EXCEPT, MSG_COPY, MSG_COPY | MSG_EXCEPT, MSG_COPY | MSG_NOERROR, MSG_EXCEPT | MSG_NOERROR
    };
    static const long sent[] = {3, 2, 5, 2};
    int ids[5];
    size_t i;
    size_t j;
    size_t k;
    size_t n;

    ids_of(queue, ids);
    EACH(i, ids) EACH(j, sizes) EACH(k, types) EACH(n, flags) {
        size_t s;
        long got;

        if (i == 0 && mode == 0600) {       /* the same queue for each */
            while (msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT) >= 0)
                ;
            EACH(s, sent) {
                message.type = sent[s];
                msgsnd(queue, &message, s + 2, 0);
            }
        }
        message.type = 0;
        got = msgrcv(ids[i], &message, sizes[j], types[k], flags[n] | IPC_NOWAIT);
        printf("msgrcv(%zu, %zu bytes, type %ld, %o): %s", i, sizes[j], types[k], flags[n], result(got));
        printf(" type %ld\n", message.type);
        if (i == 0)
            look_at_queue();
    }
    printf("msgrcv MSG_COPY to wait: %s\n", result(msgrcv(queue, &message, 10, 0, MSG_COPY)));
}

static void
controls(void)
{
    static const int commands[] = {IPC_STAT, MSG_STAT, 13, 99, -1, 4, 16, 19};
    static const long bytes[] = {0, 1, 16384, 16385, 1L << 31, -1};
    static const int modes[] = {0600, 0, 01777, 0666};
    struct msqid_ds ds;
    struct msqid_ds was;
    int ids[5];
    size_t i;
    size_t j;

    ids_of(queue, ids);
    EACH(i, ids) EACH(j, commands) {
        int done = msgctl(i < 3 && (commands[j] == MSG_STAT || commands[j] == 13) ? ids[i] % 32768 : ids[i], commands[j], &ds);

        /* The commands by index give the id, which is another here and there. */
        printf("msgctl(%zu, %d): %s\n", i, commands[j], result(done == queue ? 0 : done));
    }
    memset(&was, 0, sizeof was);
    was.msg_perm.uid = getuid();
    was.msg_qbytes = 16384;
    msgctl(queue, IPC_STAT, &was);
    EACH(i, ids) EACH(j, bytes) {
        if (geteuid() == 0 && (unsigned long)bytes[j] > 16384)
            continue;           /* what root may depends on what he is in */
        ds = was;
        ds.msg_qbytes = (msglen_t)bytes[j];
        ds.msg_perm.mode = modes[j % COUNT(modes)];
        printf("IPC_SET(%zu, %ld bytes, %o): %s\n", i, bytes[j], ds.msg_perm.mode, result(msgctl(ids[i], IPC_SET, &ds)));
        if (i == 0)
            look_at_queue();
    }
    ds = was;
    ds.msg_perm.uid = 54000;
    ds.msg_perm.gid = 54001;
    printf("IPC_SET to another: %s\n", result(msgctl(queue, IPC_SET, &ds)));
    look_at_queue();
    ds.msg_perm.uid = (uid_t)-1;
    printf("IPC_SET to nobody: %s\n", result(msgctl(queue, IPC_SET, &ds)));
    printf("IPC_SET back: %s\n", result(msgctl(queue, IPC_SET, &was)));
    EACH(i, ids)
        if (i > 0)
            printf("IPC_RMID(%zu): %s\n", i, result(msgctl(ids[i], IPC_RMID, NULL)));
}

static void
operations(void)
{
    static const int places[] = {0, 2, 3, 4, 65535};
    static const int amounts[] = {0, 1, -1, 32767, -32768, 32766};
    static const int flags[] = {0, SEM_UNDO};
    static const size_t counts[] = {1, 2, 0, 500, 501, (size_t)-1};
    static const struct timespec times[] = {{0, 1}, {0, 0}, {-1, 0}, {0, -1}, {0, 1000000000L}};
    static struct sembuf many[501];
    struct sembuf two[2];
    int ids[5];
    size_t i;
    size_t j;
    size_t k;
    size_t n;

    ids_of(set, ids);
    EACH(i, ids) EACH(j, places) EACH(k, amounts) EACH(n, flags) {
        two[0].sem_num = places[j];
        two[0].sem_op = amounts[k];
        two[0].sem_flg = flags[n] | IPC_NOWAIT;
        printf("semop(%zu, %d, %d, %d): %s\n", i, places[j], amounts[k], flags[n], result(semop(ids[i], two, 1)));
        if (i == 0)
            look_at_set();
    }
    for (n = 0; n < 3; n++)
        printf("SETVAL: %s\n", result(semctl(set, (int)n, SETVAL, 2)));
    /* The first that cannot be done decides, and nothing is done. */
    EACH(j, places) EACH(k, amounts) {
        two[0].sem_num = 0;
        two[0].sem_op = -1;
        two[0].sem_flg = IPC_NOWAIT | SEM_UNDO;
        two[1].sem_num = places[j];
        two[1].sem_op = amounts[k];
        two[1].sem_flg = k % 2 ? IPC_NOWAIT : IPC_NOWAIT | SEM_UNDO;
        printf("semop(-1, then %d %d): %s\n", places[j], amounts[k], result(semop(set, two, 2)));
        look_at_set();
        printf("SETVAL: %s\n", result(semctl(set, 0, SETVAL, 2)));
    }
    EACH(i, ids) EACH(j, counts) EACH(k, times) {
        memset(many, 0, sizeof many);
        many[0].sem_num = 1;
        many[0].sem_op = -30000;
        printf("semtimedop(%zu, %zu, %ld.%ld): %s\n", i, counts[j], (long)times[k].tv_sec, times[k].tv_nsec,
               result(semtimedop(ids[i], many, counts[j], &times[k])));
    }
    look_at_set();
}

static void
set_controls(void)
{
    static const int commands[] = {GETVAL, GETPID, GETNCNT, GETZCNT, SETVAL, GETALL, SETALL, IPC_STAT, 18, 20, 99, -1, 11};
    static const int places[] = {0, 2, 3, -1, INT_MAX};
    static const int values[] = {0, 32767, 32768, -1};
    unsigned short array[4];
    struct semid_ds ds;
    union semun arg;
    int ids[5];
    size_t i;
    size_t j;
    size_t k;

    ids_of(set, ids);
    EACH(i, ids) EACH(j, places) EACH(k, commands) {
        int id = i < 3 && (commands[k] == 18 || commands[k] == 20) ? ids[i] % 32768 : ids[i];
        int done;

        memset(array, 0, sizeof array);
        arg.pointer = NULL;
        if (commands[k] == SETVAL)
            arg.val = 5;
        else if (commands[k] == GETALL || commands[k] == SETALL)
            arg.array = array;
        else
            arg.buf = &ds;
        done = semctl(id, places[j], commands[k], arg);
        printf("semctl(%zu, %d, %d): %s\n", i, places[j], commands[k],
               result(commands[k] == GETPID && done > 0 ? done == getpid() : done == set && commands[k] > 17 ? 0 : done));
    }
    look_at_set();
    EACH(i, ids) EACH(j, places) EACH(k, values)
        printf("SETVAL(%zu, %d, %d): %s\n", i, places[j], values[k], result(semctl(ids[i], places[j], SETVAL, values[k])));
    array[0] = 1;
    array[1] = 32768;
    arg.array = array;
    printf("SETALL beyond: %s\n", result(semctl(set, 0, SETALL, arg)));
    look_at_set();
    arg.buf = &ds;
    semctl(set, 0, IPC_STAT, arg);
    ds.sem_perm.mode = 01644;
    printf("IPC_SET: %s\n", result(semctl(set, 0, IPC_SET, arg)));
    look_at_set();
    EACH(i, ids)
        if (i > 0)
            printf("IPC_RMID(%zu): %s\n", i, result(semctl(ids[i], 7, IPC_RMID)));
}

/* More objects than there may be, and what a number that is used again means. */
static void
full(void)
{
    int queues[10];
    int sets[10];
    int i;

    for (i = 0; i < 10; i++) {
        queues[i] = msgget(IPC_PRIVATE, 0600);
        sets[i] = semget(IPC_PRIVATE, 2, 0600);
        printf("%d: %s", i, result(queues[i] < 0 ? -1 : 0));
        printf(" %s\n", result(sets[i] < 0 ? -1 : 0));
    }
    printf("with a key: %s", result(msgget(0x7e5a0002, IPC_CREAT)));
    printf(" %s\n", result(semget(0x7e5a0002, 1, IPC_CREAT)));
    printf("what is there: %s", result(msgget(0x7e5a0001, IPC_CREAT) == queue));
    printf(" %s\n", result(semget(0x7e5a0001, 0, IPC_CREAT) == set));
    for (i = 0; i < 10; i++) {
        if (queues[i] >= 0)
            msgctl(queues[i], IPC_RMID, NULL);
        if (sets[i] >= 0)
            semctl(sets[i], 0, IPC_RMID);
    }
    printf("again: %s\n", result(msgget(IPC_PRIVATE, 0600) < 0 ? -1 : 0));
}


/* Those who wait when the object goes, and how often they are counted until then. */
static void
removed(void)
{
    struct sembuf down = {0, -20000, 0};
    struct sembuf zero = {1, 0, 0};
    struct sembuf second[2] = {{1, -1, 0}, {2, -20000, 0}};
    struct timespec long_time = {100, 0};
    static const char *const names[] = {"msgrcv", "msgsnd", "semop", "for zero", "second", "semtimedop"};
    struct msqid_ds ds;
    pid_t children[6];
    int full_queue = msgget(IPC_PRIVATE, 0600);
    int status;
    int tries;
    size_t i;

    message.type = 1;
    while (msgsnd(full_queue, &message, 4096, IPC_NOWAIT) == 0)
        ;
    semctl(set, 1, SETVAL, 3);
    EACH(i, names) {
        children[i] = fork();
        if (children[i] == 0) {
            long done = i == 0 ? msgrcv(queue, &message, 10, 77, 0) : i == 1 ? msgsnd(full_queue, &message, 1, 0)
                : i == 2 ? semop(set, &down, 1) : i == 3 ? semop(set, &zero, 1) : i == 4 ? semop(set, second, 2)
                : semtimedop(set, &down, 1, &long_time);

            _exit(done < 0 ? errno : 0);
        }
    }
    for (tries = 0; tries < 2000; tries++) {
        if (semctl(set, 0, GETNCNT) == 2 && semctl(set, 1, GETZCNT) == 1 && semctl(set, 2, GETNCNT) == 1)
            break;
        usleep(5000);
    }
    printf("counts: %d %d %d", semctl(set, 0, GETNCNT), semctl(set, 1, GETNCNT), semctl(set, 2, GETNCNT));
    printf(" %d %d %d\n", semctl(set, 0, GETZCNT), semctl(set, 1, GETZCNT), semctl(set, 2, GETZCNT));
    usleep(200000);             /* nothing tells whether somebody waits at a queue */
    msgctl(full_queue, IPC_STAT, &ds);
    printf("full: %ld messages\n", (long)ds.msg_qnum);
    msgctl(queue, IPC_RMID, NULL);
    msgctl(full_queue, IPC_RMID, NULL);
    semctl(set, 0, IPC_RMID);
    EACH(i, names) {
        waitpid(children[i], &status, 0);
        printf("%s: %s\n", names[i], strerrorname_np(WEXITSTATUS(status)));
    }
}

/* An empty message costs no bytes; the number of messages is limited all the same. */
static void
empty(void)
{
    struct msqid_ds ds;
    int sent = 0;

    msgctl(queue, IPC_STAT, &ds);
    ds.msg_qbytes = 40;
    printf("IPC_SET: %s\n", result(msgctl(queue, IPC_SET, &ds)));
    message.type = 3;
    while (sent < 100 && msgsnd(queue, &message, 0, IPC_NOWAIT) == 0)
        sent++;
    printf("%d empty ones, then %s\n", sent, result(-1));
    printf("msgrcv: %s\n", result(msgrcv(queue, &message, 0, 0, 0)));
    printf("msgsnd: %s\n", result(msgsnd(queue, &message, 41, IPC_NOWAIT)));
    printf("msgsnd: %s\n", result(msgsnd(queue, &message, 40, IPC_NOWAIT)));
    look_at_queue();
    ds.msg_qbytes = 0;
    printf("IPC_SET: %s\n", result(msgctl(queue, IPC_SET, &ds)));
    printf("msgsnd: %s\n", result(msgsnd(queue, &message, 0, IPC_NOWAIT)));
}

int
main(int argc, char **argv)
{
    const char *kind = argv[1];
    int uid = argc > 3 ? atoi(argv[2]) : 0;

    if (argc > 3)
        mode = (int)strtol(argv[3], NULL, 8);
    if (argc > 4)
        become(uid);
    queue = msgget(0x7e5a0001, IPC_CREAT | mode);
    set = semget(0x7e5a0001, 3, IPC_CREAT | mode);
    if (argc <= 4)
        become(uid);
    strcmp(kind, "getting") == 0 ? getting() : strcmp(kind, "sends") == 0 ? sends() : strcmp(kind, "receives") == 0 ? receives()
        : strcmp(kind, "controls") == 0 ? controls() : strcmp(kind, "operations") == 0 ? operations()
        : strcmp(kind, "set_controls") == 0 ? set_controls() : strcmp(kind, "full") == 0 ? full()
        : strcmp(kind, "removed") == 0 ? removed() : empty();
    if (uid != 0 && seteuid(0) < 0)
        return 2;               /* root removes it */
    printf("removed: %s", result(msgctl(queue, IPC_RMID, NULL)));
    printf(" %s\n", result(semctl(set, 0, IPC_RMID)));
    return 0;
}
