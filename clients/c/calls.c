/*
 * calls.c: System V's calls: their arguments as ipc.x has them, their results
 * and errno as System V has them.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define MODE 0777
#define SMALL 256               /* room for arguments without text or arrays */
#define BITS 32768              /* ids are seq * 32768 + index */

#ifndef MSG_EXCEPT
#define MSG_EXCEPT 020000
#endif
#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

/* ---- values ------------------------------------------------------------------- */

ripc_hyper
ipcc__hyper(long value)
{
    ripc_hyper hyper;

    /* Two shifts: where long has 32 bits, one by 32 would be undefined. */
    hyper.hi = (int)(value >> 16 >> 16);
    if (sizeof value <= 4)
        hyper.hi = value < 0 ? -1 : 0;
    hyper.lo = (u_int)((unsigned long)value & 0xffffffffUL);
    return hyper;
}

long
ipcc__long(ripc_hyper value)
{
    if (sizeof(long) <= 4)
        return (long)value.lo;
    return (long)((unsigned long)(u_int)value.hi << 16 << 16 | value.lo);
}

/* Sets errno as a status says; returns -1. */
int
ipcc__fail(ripc_status status)
{
    switch (status) {
    case RIPC_EPERM: errno = EPERM; break;
    case RIPC_ENOENT: errno = ENOENT; break;
    case RIPC_EINTR: errno = EINTR; break;
    case RIPC_E2BIG: errno = E2BIG; break;
    case RIPC_EAGAIN: case RIPC_ETIMEDOUT: errno = EAGAIN; break;
    case RIPC_ENOMEM: errno = ENOMEM; break;
    case RIPC_EACCES: errno = EACCES; break;
    case RIPC_EEXIST: errno = EEXIST; break;
    case RIPC_EINVAL: errno = EINVAL; break;
    case RIPC_EFBIG: errno = EFBIG; break;
    case RIPC_ENOSPC: case RIPC_EQUOTA: errno = ENOSPC; break;
    case RIPC_ERANGE: errno = ERANGE; break;
    case RIPC_ENOMSG: errno = ENOMSG; break;
    case RIPC_EIDRM: errno = EIDRM; break;
    case RIPC_ENOSYS: errno = ENOSYS; break;
    default: errno = EIO; break;
    }
    return -1;
}

/* Flags have the values that System V gave them; this machine's may differ. */
u_int
ipcc__get_flags(int flags)
{
    return ((flags & IPC_CREAT) ? RIPC_CREAT : 0) | ((flags & IPC_EXCL) ? RIPC_EXCL : 0);
}

/* Describes a call with a small argument; ctx is within it, or NULL for a call that changes nothing. */
void
ipcc__describe(struct ipcc__request *request, u_long procedure, xdrproc_t xdr_arg, void *arg, ripc_ctx *ctx)
{
    memset(request, 0, sizeof *request);
    request->procedure = procedure;
    request->xdr_arg = xdr_arg;
    request->arg = arg;
    request->room = SMALL;
    request->ctx = ctx;
}

/* Makes a call.  Returns 0 if the status that its answer begins with is RIPC_OK, else -1 and errno. */
int
ipcc__ask(struct ipcc__request *request, xdrproc_t xdr_res, void *res, size_t size)
{
    ripc_status status;

    memset(res, 0, size);
    request->xdr_res = xdr_res;
    request->res = res;
    if (ipcc__call(request) < 0)
        return -1;
    status = *(const ripc_status *)res;
    return status == RIPC_OK ? 0 : ipcc__fail(status);
}

/* Makes a call whose whole answer is a status. */
int
ipcc__order(struct ipcc__request *request)
{
    ripc_status status;

    return ipcc__ask(request, (xdrproc_t)xdr_ripc_status, &status, sizeof status);
}

/* Makes a call that is answered by an id. */
int
ipcc__get(struct ipcc__request *request)
{
    ripc_id_res res;

    return ipcc__ask(request, (xdrproc_t)xdr_ripc_id_res, &res, sizeof res) < 0 ? -1 : res.ripc_id_res_u.id;
}

int
ipcc__rmid(u_long procedure, int id)
{
    struct ipcc__request request;
    ripc_rmid_args args;

    args.id = id;
    ipcc__describe(&request, procedure, (xdrproc_t)xdr_ripc_rmid_args, &args, &args.ctx);
    return ipcc__order(&request);
}

/* Has a status told, of an object of any kind. */
int
ipcc__stat(u_long procedure, ripc_stat_by by, int id, xdrproc_t xdr_res, void *res, size_t size)
{
    struct ipcc__request request;
    ripc_stat_args args;

    args.by = by;
    args.id = id;
    ipcc__describe(&request, procedure, (xdrproc_t)xdr_ripc_stat_args, &args, NULL);
    return ipcc__ask(&request, xdr_res, res, size);
}

/* What IPC_SET sets of an object of any kind. */
void
ipcc__fill_set(ripc_set_args *args, int id, const struct ipc_perm *perm)
{
    args->id = id;
    args->uid = perm->uid;
    args->gid = perm->gid;
    args->mode = perm->mode & MODE;
}

void
ipcc__fill_perm(struct ipc_perm *to, const ripc_perm *from)
{
    to->uid = from->uid;
    to->gid = from->gid;
    to->cuid = from->cuid;
    to->cgid = from->cgid;
    to->mode = (unsigned short)from->mode;
}

/* ---- message queues ------------------------------------------------------------- */

int
ipcc_msgget(key_t key, int msgflg)
{
    struct ipcc__request request;
    ripc_msgget_args args;

    args.key = (int)key;
    args.flags = ipcc__get_flags(msgflg);
    args.mode = (u_int)msgflg & MODE;
    ipcc__describe(&request, RIPC_MSGGET, (xdrproc_t)xdr_ripc_msgget_args, &args, &args.ctx);
    return ipcc__get(&request);
}

int
ipcc_msgsnd(int msqid, const void *msgp, size_t msgsz, int msgflg)
{
    struct ipcc__request request;
    ripc_msgsnd_args args;
    long type;

    if (msgsz > RIPC_MSGMAX) {
        errno = EINVAL;
        return -1;
    }
    memcpy(&type, msgp, sizeof type);
    args.id = msqid;
    args.flags = (msgflg & IPC_NOWAIT) ? RIPC_NOWAIT : 0;
    args.wait_ms = 0;
    args.mtype = ipcc__hyper(type);
    args.mtext.mtext_len = (u_int)msgsz;
    args.mtext.mtext_val = (char *)msgp + sizeof type;
    ipcc__describe(&request, RIPC_MSGSND, (xdrproc_t)xdr_ripc_msgsnd_args, &args, &args.ctx);
    request.room = SMALL + msgsz;
    request.wait_ms = (msgflg & IPC_NOWAIT) ? NULL : &args.wait_ms;
    return ipcc__order(&request);
}

ssize_t
ipcc_msgrcv(int msqid, void *msgp, size_t msgsz, long msgtyp, int msgflg)
{
    struct ipcc__request request;
    ripc_msgrcv_args args;
    ripc_msgrcv_res res;
    ripc_msg *msg = &res.ripc_msgrcv_res_u.msg;
    long type;
    u_int length;

    if ((long)msgsz < 0) {
        errno = EINVAL;
        return -1;
    }
    args.id = msqid;
    args.flags = ((msgflg & IPC_NOWAIT) ? RIPC_NOWAIT : 0) | ((msgflg & MSG_NOERROR) ? RIPC_NOERROR : 0)
        | ((msgflg & MSG_EXCEPT) ? RIPC_EXCEPT : 0) | ((msgflg & MSG_COPY) ? RIPC_COPY : 0);
    args.wait_ms = 0;
    args.msgtyp = ipcc__hyper(msgtyp);
    args.msgsz = ipcc__hyper((long)msgsz);
    ipcc__describe(&request, RIPC_MSGRCV, (xdrproc_t)xdr_ripc_msgrcv_args, &args, &args.ctx);
    request.wait_ms = (msgflg & IPC_NOWAIT) ? NULL : &args.wait_ms;
    request.redo = 1;
    if (ipcc__ask(&request, (xdrproc_t)xdr_ripc_msgrcv_res, &res, sizeof res) < 0)
        return -1;
    length = msg->mtext.mtext_len > msgsz ? (u_int)msgsz : msg->mtext.mtext_len;
    type = ipcc__long(msg->mtype);
    memcpy(msgp, &type, sizeof type);
    if (length > 0)
        memcpy((char *)msgp + sizeof type, msg->mtext.mtext_val, length);
    xdr_free((xdrproc_t)xdr_ripc_msgrcv_res, (char *)&res);
    return (ssize_t)length;
}

void
ipcc__fill_msqid(struct msqid_ds *to, const ripc_msqid_ds *from)
{
    memset(to, 0, sizeof *to);
    ipcc__fill_perm(&to->msg_perm, &from->perm);
    to->msg_stime = ipcc__long(from->stime);
    to->msg_rtime = ipcc__long(from->rtime);
    to->msg_ctime = ipcc__long(from->ctime);
    to->msg_qnum = from->qnum;
    to->msg_qbytes = (msglen_t)ipcc__long(from->qbytes);
    to->msg_lspid = from->lspid;
    to->msg_lrpid = from->lrpid;
    ipcc__extra_msqid(to, from);
}

int
ipcc__msgstat(ripc_stat_by by, int id, ripc_msqid_ds *ds)
{
    ripc_msgstat_res res;

    if (ipcc__stat(RIPC_MSGSTAT, by, id, (xdrproc_t)xdr_ripc_msgstat_res, &res, sizeof res) < 0)
        return -1;
    *ds = res.ripc_msgstat_res_u.ds;
    return 0;
}

int
ipcc_msgctl(int msqid, int cmd, struct msqid_ds *buf)
{
    struct ipcc__request request;
    ripc_msgset_args args;
    ripc_msqid_ds ds;

    switch (cmd) {
    case IPC_STAT:
        if (ipcc__msgstat(RIPC_BY_ID, msqid, &ds) < 0)
            return -1;
        ipcc__fill_msqid(buf, &ds);
        return 0;
    case IPC_SET:
        ipcc__fill_set(&args.set, msqid, &buf->msg_perm);
        args.qbytes = ipcc__hyper((long)buf->msg_qbytes);
        ipcc__describe(&request, RIPC_MSGSET, (xdrproc_t)xdr_ripc_msgset_args, &args, &args.set.ctx);
        return ipcc__order(&request);
    case IPC_RMID:
        return ipcc__rmid(RIPC_MSGRMID, msqid);
    default:
        return ipcc__extra_msgctl(msqid, cmd, buf);
    }
}

/* ---- semaphore sets --------------------------------------------------------------- */

int
ipcc_semget(key_t key, int nsems, int semflg)
{
    struct ipcc__request request;
    ripc_semget_args args;

    args.key = (int)key;
    args.nsems = nsems;
    args.flags = ipcc__get_flags(semflg);
    args.mode = (u_int)semflg & MODE;
    ipcc__describe(&request, RIPC_SEMGET, (xdrproc_t)xdr_ripc_semget_args, &args, &args.ctx);
    return ipcc__get(&request);
}

int
ipcc_semop(int semid, struct sembuf *sops, size_t nsops)
{
    return ipcc_semtimedop(semid, sops, nsops, NULL);
}

int
ipcc_semtimedop(int semid, struct sembuf *sops, size_t nsops, const struct timespec *timeout)
{
    struct ipcc__request request;
    ripc_semop_args args;
    ripc_sembuf few[8];
    ripc_sembuf *ops = few;
    int undo = 0;
    size_t i;
    int done;

    if (nsops < 1 || nsops > RIPC_SEMOPM) {
        errno = nsops < 1 ? EINVAL : E2BIG;
        return -1;
    }
    if (timeout != NULL && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999999999L)) {
        errno = EINVAL;
        return -1;
    }
    if (nsops > sizeof few / sizeof few[0]) {
        ops = malloc(nsops * sizeof *ops);
        if (ops == NULL)
            return -1;
    }
    for (i = 0; i < nsops; i++) {
        ops[i].num = sops[i].sem_num;
        ops[i].op = sops[i].sem_op;
        ops[i].flags = ((sops[i].sem_flg & IPC_NOWAIT) ? RIPC_NOWAIT : 0) | ((sops[i].sem_flg & SEM_UNDO) ? RIPC_UNDO : 0);
        if ((sops[i].sem_flg & SEM_UNDO) && sops[i].sem_op != 0)
            undo = 1;
    }
    args.id = semid;
    args.wait_ms = 0;
    args.sops.sops_len = (u_int)nsops;
    args.sops.sops_val = ops;
    ipcc__describe(&request, RIPC_SEMOP, (xdrproc_t)xdr_ripc_semop_args, &args, &args.ctx);
    request.room = SMALL + 12 * nsops;
    request.wait_ms = &args.wait_ms;
    request.timeout = timeout;
    request.undo = undo;
    done = ipcc__order(&request);
    if (ops != few) {
        int error = errno;

        free(ops);
        errno = error;
    }
    return done;
}

void
ipcc__fill_semid(struct semid_ds *to, const ripc_semid_ds *from)
{
    memset(to, 0, sizeof *to);
    ipcc__fill_perm(&to->sem_perm, &from->perm);
    to->sem_otime = ipcc__long(from->otime);
    to->sem_ctime = ipcc__long(from->ctime);
    to->sem_nsems = (unsigned short)from->nsems;
    ipcc__extra_semid(to, from);
}

int
ipcc__semstat(ripc_stat_by by, int id, ripc_semid_ds *ds)
{
    ripc_semstat_res res;

    if (ipcc__stat(RIPC_SEMSTAT, by, id, (xdrproc_t)xdr_ripc_semstat_res, &res, sizeof res) < 0)
        return -1;
    *ds = res.ripc_semstat_res_u.ds;
    return 0;
}

static int
getval(int semid, int semnum, int cmd)
{
    struct ipcc__request request;
    ripc_semnum_args args;
    ripc_semval_res res;
    const ripc_sem *sem = &res.ripc_semval_res_u.sem;

    args.id = semid;
    args.num = semnum;
    ipcc__describe(&request, RIPC_SEMGETVAL, (xdrproc_t)xdr_ripc_semnum_args, &args, NULL);
    if (ipcc__ask(&request, (xdrproc_t)xdr_ripc_semval_res, &res, sizeof res) < 0)
        return -1;
    switch (cmd) {
    case GETVAL: return (int)sem->semval;
    case GETPID: return sem->sempid;
    case GETNCNT: return (int)sem->semncnt;
    default: return (int)sem->semzcnt;
    }
}

int
ipcc__getall(int semid, unsigned short *array, u_int *count)
{
    struct ipcc__request request;
    ripc_semall_res res;
    u_int i;

    ipcc__describe(&request, RIPC_SEMGETALL, (xdrproc_t)xdr_int, &semid, NULL);
    if (ipcc__ask(&request, (xdrproc_t)xdr_ripc_semall_res, &res, sizeof res) < 0)
        return -1;
    *count = res.ripc_semall_res_u.vals.vals_len;
    for (i = 0; i < *count; i++)
        array[i] = (unsigned short)res.ripc_semall_res_u.vals.vals_val[i];
    xdr_free((xdrproc_t)xdr_ripc_semall_res, (char *)&res);
    return 0;
}

/* How many there are never changes for an id.  By index, as SETALL needs no right to read. */
int
ipcc__nsems(int semid, u_int *count)
{
    ripc_semid_ds ds;

    if (semid < 0) {
        errno = EINVAL;
        return -1;
    }
    if (ipcc__semstat(RIPC_BY_INDEX_ANY, semid % BITS, &ds) < 0)
        return -1;
    if (ds.id != semid) {
        errno = EINVAL;
        return -1;
    }
    *count = ds.nsems;
    return 0;
}

int
ipcc__setall(int semid, const unsigned short *array, u_int count)
{
    struct ipcc__request request;
    ripc_setall_args args;
    u_int i;
    int done;

    args.vals.vals_len = count;
    args.vals.vals_val = malloc((count + 1) * sizeof *args.vals.vals_val);
    if (args.vals.vals_val == NULL)
        return -1;
    for (i = 0; i < count; i++)
        args.vals.vals_val[i] = array[i];
    args.id = semid;
    ipcc__describe(&request, RIPC_SEMSETALL, (xdrproc_t)xdr_ripc_setall_args, &args, &args.ctx);
    request.room = SMALL + 4 * (size_t)count;
    done = ipcc__order(&request);
    free(args.vals.vals_val);
    return done;
}

static int
setval(int semid, int semnum, int val)
{
    struct ipcc__request request;
    ripc_setval_args args;

    args.id = semid;
    args.num = semnum;
    args.val = val;
    ipcc__describe(&request, RIPC_SEMSETVAL, (xdrproc_t)xdr_ripc_setval_args, &args, &args.ctx);
    return ipcc__order(&request);
}

static int
semset(int semid, const struct semid_ds *buf)
{
    struct ipcc__request request;
    ripc_set_args args;

    ipcc__fill_set(&args, semid, &buf->sem_perm);
    ipcc__describe(&request, RIPC_SEMSET, (xdrproc_t)xdr_ripc_set_args, &args, &args.ctx);
    return ipcc__order(&request);
}

int
ipcc_semctl(int semid, int semnum, int cmd, union ipcc_semun arg)
{
    ripc_semid_ds ds;
    u_int count;

    switch (cmd) {
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
        return getval(semid, semnum, cmd);
    case GETALL:
        return ipcc__getall(semid, arg.array, &count);
    case SETVAL:
        return setval(semid, semnum, arg.val);
    case SETALL:
        return ipcc__nsems(semid, &count) < 0 ? -1 : ipcc__setall(semid, arg.array, count);
    case IPC_STAT:
        if (ipcc__semstat(RIPC_BY_ID, semid, &ds) < 0)
            return -1;
        ipcc__fill_semid(arg.buf, &ds);
        return 0;
    case IPC_SET:
        return semset(semid, arg.buf);
    case IPC_RMID:
        return ipcc__rmid(RIPC_SEMRMID, semid);
    default:
        return ipcc__extra_semctl(semid, cmd, arg);
    }
}
