/*
 * preload.c: librpcipc.so, by which unmodified programs use a server:
 *
 *     IPCSERVER=host:port LD_PRELOAD=/path/librpcipc.so program
 *
 * The System V calls of libc are replaced; pointers are looked at as the kernel
 * looks at them (EFAULT instead of a signal), and errno is one that the manual
 * pages allow.  Linux only.
 */

#define _GNU_SOURCE 1

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload.h"

#define FEW 4096                /* bytes of a message that need no memory of their own */

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

/* ---- the program's memory ------------------------------------------------------- */

/* The kernel copies, and sees whether it can.  Where it may not be asked, we trust the program. */
static int
copy(void *mine, void *theirs, size_t count, int out)
{
    struct iovec here;
    struct iovec there;
    ssize_t done;

    if (count == 0)
        return 0;
    here.iov_base = mine;
    there.iov_base = theirs;
    here.iov_len = there.iov_len = count;
    done = out ? process_vm_writev(getpid(), &here, 1, &there, 1, 0) : process_vm_readv(getpid(), &here, 1, &there, 1, 0);
    if (done == (ssize_t)count)
        return 0;
    if (done < 0 && (errno == ENOSYS || errno == EPERM)) {
        if (out)
            memcpy(theirs, mine, count);
        else
            memcpy(mine, theirs, count);
        return 0;
    }
    errno = EFAULT;
    return -1;
}

int
ipcc__fetch(void *to, const void *from, size_t count)
{
    return copy(to, (void *)from, count, 0);
}

int
ipcc__store(void *to, const void *from, size_t count)
{
    return copy((void *)from, to, count, 1);
}

/* ---- errno ------------------------------------------------------------------------ */

static int said;                /* why no server is reached; once is enough */

static void
say(const char *address, int error, const char *more)
{
    if (said)
        return;
    said = 1;
    fprintf(stderr, "librpcipc: IPC server %s: %s%s\n", address, strerror(error), more);
}

/* A program that waits for its server should not look as if it hung. */
void
ipcc__waiting(const char *address, int error, long patience_ms)
{
    char more[100];

    if (patience_ms < 1000)
        return;
    snprintf(more, sizeof more, "; trying again for %ld s (IPCSERVER_PATIENCE)", patience_ms / 1000);
    say(address, error, more);
}

/* What a program is told when it failed for a reason that the kernel does not have. */
int
ipcc__told(int result, int instead)
{
    const char *server;

    if (result >= 0)
        return result;
    if (ipcc__trouble() != 0 && errno == ipcc__trouble()) {
        server = getenv("IPCSERVER");
        say(server == NULL || *server == '\0' ? "localhost" : server, errno,
            errno == EINVAL ? " (is that an address?)" : errno == EACCES ? " (may we reach it, does it trust us?)" : "");
        errno = instead;
        return -1;
    }
    switch (errno) {
    case EPERM: case EINTR: case E2BIG: case EAGAIN: case ENOMEM: case EACCES: case EFAULT: case EEXIST: case EINVAL:
    case EFBIG: case ERANGE: case ENOMSG: case EIDRM: case ENOENT:
        break;
    case ENOSPC:
        if (instead == EIDRM)
            errno = ENOMEM;     /* the server's disk is full: of these the manual pages have only this */
        break;
    default:
        errno = instead;
        break;
    }
    return -1;
}

/* ---- message queues ----------------------------------------------------------------- */

SHOWN int
msgget(key_t key, int flags)
{
    return ipcc__told(ipcc_msgget(key, flags), ENOSPC);
}

/* The most bytes in a message; the size is looked at before the text is. */
static size_t
most(void)
{
    static size_t msgmax;
    ripc_info_res info;

    if (msgmax == 0 && ipcc__info(&info) == 0)
        msgmax = info.limits.msgmax;
    return msgmax == 0 ? RIPC_MSGMAX : msgmax;
}

SHOWN int
msgsnd(int id, const void *msgp, size_t size, int flags)
{
    long few[FEW / sizeof(long)];
    char *message = (char *)few;
    long type;
    int result;
    int error;

    if (ipcc__fetch(&type, msgp, sizeof type) < 0)
        return -1;
    if (id < 0 || type < 1 || (long)size < 0 || size > most() || size > RIPC_MSGMAX) {
        errno = EINVAL;
        return -1;
    }
    if (sizeof type + size > sizeof few && (message = malloc(sizeof type + size)) == NULL)
        return -1;
    if (ipcc__fetch(message, msgp, sizeof type + size) < 0)
        result = -1;
    else
        result = ipcc__told(ipcc_msgsnd(id, message, size, flags), EIDRM);
    error = errno;
    if (message != (char *)few)
        free(message);
    errno = error;
    return result;
}

SHOWN ssize_t
msgrcv(int id, void *msgp, size_t size, long type, int flags)
{
    long few[FEW / sizeof(long)];
    char *message = (char *)few;
    size_t room = size > RIPC_MSGMAX ? RIPC_MSGMAX : size;
    int result;
    int error;

    if (id < 0 || (long)size < 0) {
        errno = EINVAL;
        return -1;
    }
    if (sizeof type + room > sizeof few && (message = malloc(sizeof type + room)) == NULL)
        return -1;
    result = ipcc__told((int)ipcc_msgrcv(id, message, size, type, flags), EIDRM);
    if (result >= 0 && ipcc__store(msgp, message, sizeof type + (size_t)result) < 0)
        result = -1;            /* and the message is lost, as in the kernel */
    error = errno;
    if (message != (char *)few)
        free(message);
    errno = error;
    return result;
}

SHOWN int
msgctl(int id, int cmd, struct msqid_ds *buf)
{
    union {
        struct msqid_ds ds;
        struct msginfo info;
    } mine;
    size_t size = sizeof mine.ds;
    int result;

    cmd &= ~IPC_64;
    if (id < 0 || cmd < 0) {
        errno = EINVAL;
        return -1;
    }
    memset(&mine, 0, sizeof mine);
    if (cmd == IPC_SET && ipcc__fetch(&mine.ds, buf, sizeof mine.ds) < 0)
        return -1;
    result = ipcc__told(ipcc_msgctl(id, cmd, &mine.ds), EIDRM);
    if (cmd == IPC_INFO || cmd == MSG_INFO)
        size = sizeof mine.info;
    if (result >= 0 && cmd != IPC_SET && cmd != IPC_RMID && ipcc__store(buf, &mine, size) < 0)
        return -1;
    return result;
}

/* ---- semaphore sets ------------------------------------------------------------------- */

SHOWN int
semget(key_t key, int nsems, int flags)
{
    return ipcc__told(ipcc_semget(key, nsems, flags), ENOSPC);
}

SHOWN int
semtimedop(int id, struct sembuf *sops, size_t nsops, const struct timespec *timeout)
{
    struct sembuf mine[RIPC_SEMOPM];
    struct timespec time;

    if (timeout != NULL && ipcc__fetch(&time, timeout, sizeof time) < 0)
        return -1;
    if (nsops > RIPC_SEMOPM) {
        errno = E2BIG;
        return -1;
    }
    if (ipcc__fetch(mine, sops, nsops * sizeof *sops) < 0)
        return -1;
    if (nsops < 1 || id < 0) {
        errno = EINVAL;
        return -1;
    }
    return ipcc__told(ipcc_semtimedop(id, mine, nsops, timeout == NULL ? NULL : &time), EIDRM);
}

SHOWN int
semop(int id, struct sembuf *sops, size_t nsops)
{
    return semtimedop(id, sops, nsops, NULL);
}

static int
all(int id, int cmd, unsigned short *array)
{
    unsigned short *mine = malloc(RIPC_SEMMSL * sizeof *mine);
    u_int count = 0;
    int result;
    int error;

    if (mine == NULL)
        return -1;
    if (cmd == GETALL) {
        result = ipcc__told(ipcc__getall(id, mine, &count), EIDRM);
        if (result >= 0)
            result = ipcc__store(array, mine, count * sizeof *mine);
    } else {
        result = ipcc__told(ipcc__nsems(id, &count), EIDRM);
        if (result >= 0)
            result = ipcc__fetch(mine, array, count * sizeof *mine);
        if (result >= 0)
            result = ipcc__told(ipcc__setall(id, mine, count), EIDRM);
    }
    error = errno;
    free(mine);
    errno = error;
    return result;
}

SHOWN int
semctl(int id, int num, int cmd, ...)
{
    union {
        struct semid_ds ds;
        struct seminfo info;
    } mine;
    union ipcc_semun theirs;
    union ipcc_semun arg;
    size_t size = sizeof mine.ds;
    va_list arguments;
    int result;

    cmd &= ~IPC_64;
    if (id < 0) {
        errno = EINVAL;
        return -1;
    }
    va_start(arguments, cmd);
    theirs = va_arg(arguments, union ipcc_semun);
    va_end(arguments);
    arg = theirs;
    memset(&mine, 0, sizeof mine);
    switch (cmd) {
    case GETALL:
    case SETALL:
        return all(id, cmd, theirs.array);
    case IPC_SET:
        if (ipcc__fetch(&mine.ds, theirs.buf, sizeof mine.ds) < 0)
            return -1;
        arg.buf = &mine.ds;
        return ipcc__told(ipcc_semctl(id, num, cmd, arg), EIDRM);
    case IPC_INFO:
    case SEM_INFO:
        size = sizeof mine.info;
        /* fall through */
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
        arg.info = &mine;
        result = ipcc__told(ipcc_semctl(id, num, cmd, arg), EIDRM);
        if (result >= 0 && ipcc__store(theirs.info, &mine, size) < 0)
            return -1;
        return result;
    default:
        return ipcc__told(ipcc_semctl(id, num, cmd, arg), EIDRM);
    }
}
