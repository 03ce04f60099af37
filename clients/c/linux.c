/*
 * linux.c: what only Linux has: waiting for an answer and a signal at once
 * without a gap, the fields and commands of its System V calls, questions to
 * the kernel itself.  Elsewhere there is what POSIX has.
 */

#ifdef __linux__
#define _GNU_SOURCE 1
#endif

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#ifdef __linux__

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

int
ipcc__wait(int fd, long ms, const struct ipcc__mask *mask)
{
    struct pollfd wait;
    struct timespec time;
    int ready;
    int error;

    wait.fd = fd;
    wait.events = POLLIN;
    wait.revents = 0;
    time.tv_sec = ms / 1000;
    time.tv_nsec = ms % 1000 * 1000000L;
    (void)pthread_setcancelstate(mask->cancel, NULL);
    ready = ppoll(&wait, 1, &time, &mask->before);
    error = errno;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    errno = error;
    return ready < 0 ? -1 : ready;
}

/*
 * The next two ask the kernel by number: another preloaded library may have replaced libc's calls and use System V IPC to
 * answer them, as fakeroot does, which would lead back to us; and whose call it is must be true.
 */

int
ipcc__which(int fd, struct ipcc__file *file)
{
    struct stat status;
    int done;

#if defined SYS_statx && defined STATX_INO
    struct statx found;

    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &found) == 0) {
        file->device = makedev(found.stx_dev_major, found.stx_dev_minor);
        file->inode = found.stx_ino;
        return 0;
    }
    if (errno == EBADF)
        return -1;
#endif
    done = fstat(fd, &status);
    file->device = status.st_dev;
    file->inode = status.st_ino;
    return done;
}

int
ipcc__user(uid_t *uid, gid_t *gid, gid_t *groups, int room)
{
#ifdef SYS_geteuid32
    *uid = (uid_t)syscall(SYS_geteuid32);
    *gid = (gid_t)syscall(SYS_getegid32);
    return (int)syscall(SYS_getgroups32, room, groups);
#else
    *uid = (uid_t)syscall(SYS_geteuid);
    *gid = (gid_t)syscall(SYS_getegid);
    return (int)syscall(SYS_getgroups, room, groups);
#endif
}

void
ipcc__extra_msqid(struct msqid_ds *to, const ripc_msqid_ds *from)
{
    to->msg_perm.__key = from->perm.key;
    to->msg_perm.__seq = (unsigned short)from->perm.seq;
    to->__msg_cbytes = (unsigned long)ipcc__long(from->cbytes);
}

void
ipcc__extra_semid(struct semid_ds *to, const ripc_semid_ds *from)
{
    to->sem_perm.__key = from->perm.key;
    to->sem_perm.__seq = (unsigned short)from->perm.seq;
}

/* The result of the INFO commands: the highest index in use, 0 if there is none. */
static int
highest(const ripc_use *use)
{
    return use->highest < 0 ? 0 : use->highest;
}

int
ipcc__extra_msgctl(int msqid, int cmd, struct msqid_ds *buf)
{
    struct msginfo *to = (struct msginfo *)(void *)buf;
    ripc_info_res info;
    ripc_msqid_ds ds;

    switch (cmd) {
    case IPC_INFO:
    case MSG_INFO:
        if (ipcc__info(&info) < 0)
            return -1;
        memset(to, 0, sizeof *to);
        to->msgmax = (int)info.limits.msgmax;
        to->msgmnb = (int)info.limits.msgmnb;
        to->msgmni = (int)info.limits.msgmni;
        to->msgssz = 16;
        to->msgseg = 0xffff;
        if (cmd == MSG_INFO) {
            to->msgpool = (int)info.queues.used;
            to->msgmap = (int)ipcc__long(info.queues.parts);
            to->msgtql = (int)ipcc__long(info.queues.bytes);
        } else {
            to->msgpool = (int)(info.limits.msgmni * (info.limits.msgmnb / 1024));
            to->msgmap = to->msgtql = (int)info.limits.msgmnb;
        }
        return highest(&info.queues);
    case MSG_STAT:
    case MSG_STAT_ANY:
        if (ipcc__msgstat(cmd == MSG_STAT ? RIPC_BY_INDEX : RIPC_BY_INDEX_ANY, msqid, &ds) < 0)
            return -1;
        ipcc__fill_msqid(buf, &ds);
        return ds.id;
    default:
        errno = EINVAL;
        return -1;
    }
}

int
ipcc__extra_semctl(int semid, int cmd, union ipcc_semun arg)
{
    struct seminfo *to = arg.info;
    ripc_info_res info;
    ripc_semid_ds ds;

    switch (cmd) {
    case IPC_INFO:
    case SEM_INFO:
        if (ipcc__info(&info) < 0)
            return -1;
        memset(to, 0, sizeof *to);
        to->semmni = (int)info.limits.semmni;
        to->semmsl = (int)info.limits.semmsl;
        to->semmns = to->semmap = to->semmnu = (int)info.limits.semmns;
        to->semopm = to->semume = (int)info.limits.semopm;
        to->semvmx = (int)info.limits.semvmx;
        if (cmd == SEM_INFO) {
            to->semusz = (int)info.sets.used;
            to->semaem = (int)ipcc__long(info.sets.parts);
        } else {
            to->semusz = 20;
            to->semaem = (int)info.limits.semaem;
        }
        return highest(&info.sets);
    case SEM_STAT:
    case SEM_STAT_ANY:
        if (ipcc__semstat(cmd == SEM_STAT ? RIPC_BY_INDEX : RIPC_BY_INDEX_ANY, semid, &ds) < 0)
            return -1;
        ipcc__fill_semid(arg.buf, &ds);
        return ds.id;
    default:
        errno = EINVAL;
        return -1;
    }
}

#else

/* A signal that comes just before the wait is seen at its end at the latest: waits are short. */
int
ipcc__wait(int fd, long ms, const struct ipcc__mask *mask)
{
    struct pollfd wait;
    sigset_t held;
    int ready;
    int error;

    wait.fd = fd;
    wait.events = POLLIN;
    wait.revents = 0;
    (void)pthread_sigmask(SIG_SETMASK, &mask->before, &held);
    (void)pthread_setcancelstate(mask->cancel, NULL);
    ready = poll(&wait, fd < 0 ? 0 : 1, ms > 500 ? 500 : (int)ms);
    error = errno;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &held, NULL);
    errno = error;
    return ready < 0 ? -1 : ready;
}

int
ipcc__which(int fd, struct ipcc__file *file)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -1;
    file->device = status.st_dev;
    file->inode = status.st_ino;
    return 0;
}

int
ipcc__user(uid_t *uid, gid_t *gid, gid_t *groups, int room)
{
    *uid = geteuid();
    *gid = getegid();
    return getgroups(room, groups);
}

void
ipcc__extra_msqid(struct msqid_ds *to, const ripc_msqid_ds *from)
{
    (void)to;
    (void)from;
}

void
ipcc__extra_semid(struct semid_ds *to, const ripc_semid_ds *from)
{
    (void)to;
    (void)from;
}

int
ipcc__extra_msgctl(int msqid, int cmd, struct msqid_ds *buf)
{
    (void)msqid;
    (void)cmd;
    (void)buf;
    errno = EINVAL;
    return -1;
}

int
ipcc__extra_semctl(int semid, int cmd, union ipcc_semun arg)
{
    (void)semid;
    (void)cmd;
    (void)arg;
    errno = EINVAL;
    return -1;
}

#endif
