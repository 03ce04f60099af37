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

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

#define SHOWN __attribute__((visibility("default")))
#define IPC_64 0x100            /* what some pass to ask for the long structures, which are all there is */
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

static int
fetch(void *to, const void *from, size_t count)
{
    return copy(to, (void *)from, count, 0);
}

static int
store(void *to, const void *from, size_t count)
{
    return copy((void *)from, to, count, 1);
}

/* ---- errno ------------------------------------------------------------------------ */

/* What a program is told when it failed for a reason that the kernel does not have. */
static int
told(int result, int instead)
{
    static int said;
    const char *server;

    if (result >= 0)
        return result;
    switch (errno) {
    case EPERM: case EINTR: case E2BIG: case EAGAIN: case ENOMEM: case EACCES: case EFAULT: case EEXIST: case EINVAL:
    case EFBIG: case ERANGE: case ENOMSG: case EIDRM:
        return -1;
    case ENOSPC:
        if (instead == EIDRM)
            errno = ENOMEM;     /* the server's disk is full: of these the manual pages have only this */
        return -1;
    case ENOENT:
        /* Of get, it is the key that is missing; a local socket that is missing is reported as such below. */
        if (instead == ENOSPC && ipcc__reached())
            return -1;
        break;
    default:
        break;
    }
    if (!said) {
        said = 1;
        server = getenv("IPCSERVER");
        fprintf(stderr, "librpcipc: IPC server %s: %s\n", server == NULL ? "localhost" : server, strerror(errno));
    }
    errno = instead;
    return -1;
}

/* ---- message queues ----------------------------------------------------------------- */

SHOWN int
msgget(key_t key, int flags)
{
    return told(ipcc_msgget(key, flags), ENOSPC);
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

    if (fetch(&type, msgp, sizeof type) < 0)
        return -1;
    if (id < 0 || type < 1 || (long)size < 0 || size > most() || size > RIPC_MSGMAX) {
        errno = EINVAL;
        return -1;
    }
    if (sizeof type + size > sizeof few && (message = malloc(sizeof type + size)) == NULL)
        return -1;
    if (fetch(message, msgp, sizeof type + size) < 0)
        result = -1;
    else
        result = told(ipcc_msgsnd(id, message, size, flags), EIDRM);
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
    result = told((int)ipcc_msgrcv(id, message, size, type, flags), EIDRM);
    if (result >= 0 && store(msgp, message, sizeof type + (size_t)result) < 0)
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
    if (cmd == IPC_SET && fetch(&mine.ds, buf, sizeof mine.ds) < 0)
        return -1;
    result = told(ipcc_msgctl(id, cmd, &mine.ds), EIDRM);
    if (cmd == IPC_INFO || cmd == MSG_INFO)
        size = sizeof mine.info;
    if (result >= 0 && cmd != IPC_SET && cmd != IPC_RMID && store(buf, &mine, size) < 0)
        return -1;
    return result;
}

/* ---- semaphore sets ------------------------------------------------------------------- */

SHOWN int
semget(key_t key, int nsems, int flags)
{
    return told(ipcc_semget(key, nsems, flags), ENOSPC);
}

SHOWN int
semtimedop(int id, struct sembuf *sops, size_t nsops, const struct timespec *timeout)
{
    struct sembuf mine[RIPC_SEMOPM];
    struct timespec time;

    if (timeout != NULL && fetch(&time, timeout, sizeof time) < 0)
        return -1;
    if (nsops > RIPC_SEMOPM) {
        errno = E2BIG;
        return -1;
    }
    if (nsops < 1 || id < 0) {
        errno = EINVAL;
        return -1;
    }
    if (fetch(mine, sops, nsops * sizeof *sops) < 0)
        return -1;
    return told(ipcc_semtimedop(id, mine, nsops, timeout == NULL ? NULL : &time), EIDRM);
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
        result = told(ipcc__getall(id, mine, &count), EIDRM);
        if (result >= 0)
            result = store(array, mine, count * sizeof *mine);
    } else {
        result = told(ipcc__nsems(id, &count), EIDRM);
        if (result >= 0)
            result = fetch(mine, array, count * sizeof *mine);
        if (result >= 0)
            result = told(ipcc__setall(id, mine, count), EIDRM);
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
        if (fetch(&mine.ds, theirs.buf, sizeof mine.ds) < 0)
            return -1;
        arg.buf = &mine.ds;
        return told(ipcc_semctl(id, num, cmd, arg), EIDRM);
    case IPC_INFO:
    case SEM_INFO:
        size = sizeof mine.info;
        /* fall through */
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
        arg.info = &mine;
        result = told(ipcc_semctl(id, num, cmd, arg), EIDRM);
        if (result >= 0 && store(theirs.info, &mine, size) < 0)
            return -1;
        return result;
    default:
        return told(ipcc_semctl(id, num, cmd, arg), EIDRM);
    }
}

/* ---- the program's beginning and end ---------------------------------------------------- */

/*
 * With RTLD_DEEPBIND a library would find libc's calls before ours.  A tail call, so that the real dlopen sees its
 * true caller.
 */
SHOWN void *
dlopen(const char *file, int mode)
{
    static void *(*real)(const char *, int);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "dlopen");
    return real(file, mode & ~RTLD_DEEPBIND);
}

static void __attribute__((destructor))
end(void)
{
    ipcc_close();
}

/* Adjustments are made before the parent's wait returns; without this the server would only see us gone. */
SHOWN void
_exit(int status)
{
    static void (*real)(int);

    ipcc_close();
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "_exit");
    for (;;)
        real(status);
}

SHOWN void
_Exit(int status)
{
    _exit(status);
}
