/*
 * preload_shm.c: shared memory.
 *
 * Pages cannot be shared over a network, so shmget, shmat, shmdt and shmctl are
 * the kernel's.  IPCSERVER_SHM=experimental asks for something else that has the
 * same names: shmat fetches a copy of a segment of the server's, shmdt (or the
 * process's end) writes the bytes back that were changed.  In between nobody
 * sees what anybody writes.  That does for programs that attach, copy and
 * detach, as Perl's shmread and shmwrite do, and for no others.
 */

#define _GNU_SOURCE 1

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include "preload.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define NEAR 64                 /* unchanged bytes that are not worth a call of their own */
#define RECORD 512              /* room for a call besides its bytes */

struct attachment {
    struct attachment *next;
    char *at;
    char *twin;                 /* as it was fetched; NULL: read only */
    size_t size;
    size_t mapped;
    int id;
    pid_t pid;                  /* who attached it: a child has a copy which the server does not count */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct attachment *attached;

int
ipcc__shm(void)
{
    static int known;           /* 1: no, 2: yes */
    const char *mode;

    if (known == 0) {
        mode = getenv("IPCSERVER_SHM");
        known = mode != NULL && strcmp(mode, "experimental") == 0 ? 2 : 1;
        if (known == 1 && mode != NULL && *mode != '\0' && strcmp(mode, "kernel") != 0)
            fprintf(stderr, "librpcipc: IPCSERVER_SHM=%s is neither \"kernel\" nor \"experimental\": shared memory is the kernel's\n", mode);
    }
    return known == 2;
}

/* Refuses what this mode does not have, and says so. */
static int
refuse(const char *what, int error)
{
    fprintf(stderr, "librpcipc: IPCSERVER_SHM=experimental has no %s\n", what);
    errno = error;
    return -1;
}

/* ---- the server's segments ---------------------------------------------------------- */

static int
stat_segment(ripc_stat_by by, int id, ripc_shmid_ds *ds)
{
    ripc_shmstat_res res;

    if (ipcc__stat(RIPC_SHMSTAT, by, id, (xdrproc_t)xdr_ripc_shmstat_res, &res, sizeof res) < 0)
        return -1;
    *ds = res.ripc_shmstat_res_u.ds;
    return 0;
}

static int
fetch_segment(int id, char *to, size_t size)
{
    struct ipcc__request request;
    ripc_shmread_args args;
    ripc_shmread_res res;
    ripc_shmdata *got = &res.ripc_shmread_res_u.ok;
    size_t done = 0;
    size_t count;

    while (done < size) {
        count = size - done > RIPC_CHUNK ? RIPC_CHUNK : size - done;
        args.id = id;
        args.offset = ipcc__hyper((long)done);
        args.count = (u_int)count;
        ipcc__describe(&request, RIPC_SHMREAD, (xdrproc_t)xdr_ripc_shmread_args, &args, NULL);
        if (ipcc__ask(&request, (xdrproc_t)xdr_ripc_shmread_res, &res, sizeof res) < 0)
            return -1;
        if (got->data.data_len > 0 && got->data.data_len <= count)
            memcpy(to + done, got->data.data_val, got->data.data_len);
        else
            done = size;        /* a server that answers nonsense: what is not known reads as zero */
        done += got->data.data_len;
        xdr_free((xdrproc_t)xdr_ripc_shmread_res, (char *)&res);
    }
    return 0;
}

static int
write_segment(int id, size_t offset, char *from, size_t count)
{
    struct ipcc__request request;
    ripc_shmwrite_args args;
    ripc_stamp_res res;

    args.id = id;
    args.offset = ipcc__hyper((long)offset);
    args.data.data_val = from;
    args.data.data_len = (u_int)count;
    ipcc__describe(&request, RIPC_SHMWRITE, (xdrproc_t)xdr_ripc_shmwrite_args, &args, &args.ctx);
    request.room = RECORD + count;
    return ipcc__ask(&request, (xdrproc_t)xdr_ripc_stamp_res, &res, sizeof res);
}

/* Writes back what differs from what was fetched. */
static int
write_changes(const struct attachment *attachment)
{
    const char *now = attachment->at;
    const char *then = attachment->twin;
    size_t size = attachment->size;
    size_t from = 0;
    size_t to;
    size_t same;
    int result = 0;

    if (then == NULL)
        return 0;
    while (from < size) {
        if (now[from] == then[from]) {
            from++;
            continue;
        }
        same = 0;
        for (to = from + 1; to < size && to - from < RIPC_CHUNK && same < NEAR; to++)
            same = now[to] == then[to] ? same + 1 : 0;
        to -= same;
        if (write_segment(attachment->id, from, attachment->at + from, to - from) < 0)
            result = -1;
        from = to;
    }
    return result;
}

static int
keep_changes(const struct attachment *attachment)
{
    int result = ipcc__told(write_changes(attachment), EINVAL);

    if (result < 0)
        fprintf(stderr, "librpcipc: a segment's changes were not written back: %s\n", strerror(errno));
    return result;
}

/*
 * At the process's end, or before exec, which may fail: so all stays attached here.  What was attached by another process
 * is a copy that fork made, or lies in the memory of the one that called vfork; it is left as it is, but for the bytes.
 */
void
ipcc__write_back(void)
{
    struct attachment *attachment;

    if (!ipcc__shm())
        return;
    (void)pthread_mutex_lock(&lock);
    for (attachment = attached; attachment != NULL; attachment = attachment->next)
        if (keep_changes(attachment) == 0 && attachment->twin != NULL && attachment->pid == getpid())
            memcpy(attachment->twin, attachment->at, attachment->size);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- the calls -------------------------------------------------------------------- */

SHOWN int
shmget(key_t key, size_t size, int flags)
{
    static int (*real)(key_t, size_t, int);
    struct ipcc__request request;
    ripc_shmget_args args;

    if (!ipcc__shm()) {
        ipcc__real("shmget", &real);
        return real(key, size, flags);
    }
    if (flags & SHM_HUGETLB)
        return refuse("SHM_HUGETLB", EINVAL);
    args.key = (int)key;
    args.size = ipcc__hyper((long)size);
    args.flags = ipcc__get_flags(flags);
    args.mode = (u_int)flags & 0777;
    ipcc__describe(&request, RIPC_SHMGET, (xdrproc_t)xdr_ripc_shmget_args, &args, &args.ctx);
    return ipcc__told(ipcc__get(&request), ENOSPC);
}

/* Maps a copy.  Returns NULL and errno. */
static struct attachment *
new_attachment(int id, size_t size, const void *where, int flags)
{
    struct attachment *attachment = calloc(1, sizeof *attachment);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *place = MAP_FAILED;

    if (attachment == NULL)
        return NULL;
    attachment->id = id;
    attachment->pid = getpid();
    attachment->size = size;
    attachment->mapped = (size + page - 1) / page * page;
    if (where != NULL && (flags & SHM_RND))
        where = (const char *)where - (size_t)where % page;
    errno = EINVAL;
    if ((size_t)where % page == 0)
        place = mmap((void *)where, attachment->mapped, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | (where == NULL ? 0 : MAP_FIXED_NOREPLACE), -1, 0);
    if (place == MAP_FAILED && errno == EEXIST)
        errno = EINVAL;
    if (place != MAP_FAILED && where != NULL && place != where) {   /* a kernel that does not know NOREPLACE */
        (void)munmap(place, attachment->mapped);
        place = MAP_FAILED;
        errno = EINVAL;
    }
    if (place != MAP_FAILED && !(flags & SHM_RDONLY) && (attachment->twin = malloc(size)) == NULL) {
        (void)munmap(place, attachment->mapped);
        place = MAP_FAILED;
        errno = ENOMEM;
    }
    if (place == MAP_FAILED) {
        free(attachment);
        return NULL;
    }
    attachment->at = place;
    return attachment;
}

static void
drop(struct attachment *attachment)
{
    (void)munmap(attachment->at, attachment->mapped);
    free(attachment->twin);
    free(attachment);
}

SHOWN void *
shmat(int id, const void *where, int flags)
{
    static void *(*real)(int, const void *, int);
    struct attachment *attachment;
    struct ipcc__request request;
    ripc_shmat_args args;
    ripc_shmid_ds ds;
    ripc_int_res res;
    int error;

    if (!ipcc__shm()) {
        ipcc__real("shmat", &real);
        return real(id, where, flags);
    }
    if (flags & (SHM_EXEC | SHM_REMAP)) {
        (void)refuse("SHM_EXEC and SHM_REMAP", EINVAL);
        return (void *)-1;
    }
    if (id < 0) {
        errno = EINVAL;
        return (void *)-1;
    }
    args.id = id;
    args.flags = (flags & SHM_RDONLY) ? RIPC_RDONLY : 0;
    ipcc__describe(&request, RIPC_SHMAT, (xdrproc_t)xdr_ripc_shmat_args, &args, &args.ctx);
    if (ipcc__told(ipcc__ask(&request, (xdrproc_t)xdr_ripc_int_res, &res, sizeof res), EINVAL) < 0)
        return (void *)-1;
    if (ipcc__told(stat_segment(RIPC_BY_ID, id, &ds), EINVAL) < 0)
        goto failed;
    attachment = new_attachment(id, (size_t)ipcc__long(ds.segsz), where, flags);
    if (attachment == NULL)
        goto failed;
    if (ipcc__told(fetch_segment(id, attachment->at, attachment->size), EINVAL) < 0) {
        error = errno;
        drop(attachment);
        errno = error;
        goto failed;
    }
    if (attachment->twin != NULL)
        memcpy(attachment->twin, attachment->at, attachment->size);
    else
        (void)mprotect(attachment->at, attachment->mapped, PROT_READ);
    (void)pthread_mutex_lock(&lock);
    attachment->next = attached;
    attached = attachment;
    (void)pthread_mutex_unlock(&lock);
    return attachment->at;
failed:
    error = errno;
    (void)ipcc__rmid(RIPC_SHMDT, id);
    errno = error;
    return (void *)-1;
}

SHOWN int
shmdt(const void *where)
{
    static int (*real)(const void *);
    struct attachment **link;
    struct attachment *attachment;

    if (!ipcc__shm()) {
        ipcc__real("shmdt", &real);
        return real(where);
    }
    (void)pthread_mutex_lock(&lock);
    for (link = &attached; *link != NULL && (*link)->at != where; link = &(*link)->next)
        ;
    attachment = *link;
    if (attachment != NULL)
        *link = attachment->next;
    (void)pthread_mutex_unlock(&lock);
    if (attachment == NULL) {
        errno = EINVAL;
        return -1;
    }
    (void)keep_changes(attachment);     /* the kernel's shmdt cannot fail here, and programs do not look */
    if (attachment->pid == getpid())
        (void)ipcc__rmid(RIPC_SHMDT, attachment->id);
    drop(attachment);
    return 0;
}

static void
fill_shmid(struct shmid_ds *to, const ripc_shmid_ds *from)
{
    memset(to, 0, sizeof *to);
    ipcc__fill_perm(&to->shm_perm, &from->perm);
    to->shm_perm.mode = (unsigned short)(from->perm.mode | (from->removed ? SHM_DEST : 0));
    to->shm_perm.__key = from->perm.key;
    to->shm_perm.__seq = (unsigned short)from->perm.seq;
    to->shm_segsz = (size_t)ipcc__long(from->segsz);
    to->shm_atime = ipcc__long(from->atime);
    to->shm_dtime = ipcc__long(from->dtime);
    to->shm_ctime = ipcc__long(from->ctime);
    to->shm_cpid = from->cpid;
    to->shm_lpid = from->lpid;
    to->shm_nattch = from->nattch;
}

static int
tell_limits(int cmd, struct shmid_ds *buf)
{
    union {
        struct shminfo limits;
        struct shm_info use;
    } mine;
    long page = sysconf(_SC_PAGESIZE);
    ripc_info_res info;

    if (ipcc__told(ipcc__info(&info), EIDRM) < 0)
        return -1;
    memset(&mine, 0, sizeof mine);
    if (cmd == IPC_INFO) {
        mine.limits.shmmax = (unsigned long)ipcc__long(info.limits.shmmax);
        mine.limits.shmmin = info.limits.shmmin;
        mine.limits.shmmni = mine.limits.shmseg = info.limits.shmmni;
        mine.limits.shmall = (unsigned long)(ipcc__long(info.limits.shmall) / page);
    } else {
        mine.use.used_ids = (int)info.segments.used;
        mine.use.shm_tot = mine.use.shm_rss = (unsigned long)((ipcc__long(info.segments.bytes) + page - 1) / page);
    }
    if (ipcc__store(buf, &mine, cmd == IPC_INFO ? sizeof mine.limits : sizeof mine.use) < 0)
        return -1;
    return info.segments.highest < 0 ? 0 : info.segments.highest;
}

SHOWN int
shmctl(int id, int cmd, struct shmid_ds *buf)
{
    static int (*real)(int, int, struct shmid_ds *);
    struct ipcc__request request;
    struct shmid_ds mine;
    ripc_set_args args;
    ripc_shmid_ds ds;

    if (!ipcc__shm()) {
        ipcc__real("shmctl", &real);
        return real(id, cmd, buf);
    }
    cmd &= ~IPC_64;
    if (id < 0) {
        errno = EINVAL;
        return -1;
    }
    switch (cmd) {
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY:
        if (ipcc__told(stat_segment(cmd == IPC_STAT ? RIPC_BY_ID : cmd == SHM_STAT ? RIPC_BY_INDEX : RIPC_BY_INDEX_ANY,
                                    id, &ds), EIDRM) < 0)
            return -1;
        fill_shmid(&mine, &ds);
        return ipcc__store(buf, &mine, sizeof mine) < 0 ? -1 : cmd == IPC_STAT ? 0 : ds.id;
    case IPC_SET:
        if (ipcc__fetch(&mine, buf, sizeof mine) < 0)
            return -1;
        ipcc__fill_set(&args, id, &mine.shm_perm);
        ipcc__describe(&request, RIPC_SHMSET, (xdrproc_t)xdr_ripc_set_args, &args, &args.ctx);
        return ipcc__told(ipcc__order(&request), EIDRM);
    case IPC_RMID:
        return ipcc__told(ipcc__rmid(RIPC_SHMRMID, id), EIDRM);
    case IPC_INFO:
    case SHM_INFO:
        return tell_limits(cmd, buf);
    case SHM_LOCK:
    case SHM_UNLOCK:
        return refuse("SHM_LOCK and SHM_UNLOCK", EPERM);
    default:
        errno = EINVAL;
        return -1;
    }
}
