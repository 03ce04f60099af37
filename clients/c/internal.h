/*
 * internal.h: what the library's files share.  Names begin with ipcc__.
 *
 *   calls.c     System V's calls: arguments, results, errno
 *   session.c   sessions, slots, and how a call is made once over connections that break
 *   wire.c      Sun RPC messages in records
 *   os.c        connections, the clock, signals (POSIX)
 *   linux.c     what only Linux has
 */

#ifndef IPCC_INTERNAL_H
#define IPCC_INTERNAL_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

#include <rpc/rpc.h>

#include "ipc.h"
#include "ipcclient.h"

/* ---- wire.c ------------------------------------------------------------- */

struct ipcc__buffer {
    char *data;
    size_t used;
    size_t room;
};

/* Answers of ipcc__parse beyond 0: the server did not do the call. */
#define IPCC_AGAIN 1            /* it may do it if it is sent again */

int ipcc__compose(struct ipcc__buffer *out, u_long procedure, xdrproc_t xdr_arg, void *arg, size_t room);
void ipcc__set_xid(struct ipcc__buffer *out, u_int xid);
/* Takes one record's bytes out of what has arrived: its length, 0 if it is not whole yet, -1 if it is none. */
long ipcc__record(struct ipcc__buffer *in, size_t *taken);
u_int ipcc__xid_of(const struct ipcc__buffer *in);
int ipcc__parse(struct ipcc__buffer *in, size_t length, xdrproc_t xdr_res, void *res);
int ipcc__reserve(struct ipcc__buffer *buffer, size_t room);

/* ---- session.c ---------------------------------------------------------- */

/* A call to make. */
struct ipcc__request {
    u_long procedure;
    xdrproc_t xdr_arg;
    void *arg;
    size_t room;                /* bytes that the argument needs at most */
    xdrproc_t xdr_res;
    void *res;                  /* begins with its ripc_status, unless bare */
    int bare;
    ripc_ctx *ctx;              /* within arg; NULL: changes nothing, may be made twice */
    u_int *wait_ms;             /* within arg; NULL: does not wait */
    const struct timespec *timeout; /* of the wait; NULL: none */
    int redo;                   /* a lost session put back what the call took */
    int undo;                   /* leaves adjustments behind */
};

/* Returns 0 when the answer is in res, else -1 and errno. */
int ipcc__call(struct ipcc__request *request);

/* Tells whether a server has ever answered this process. */
int ipcc__reached(void);

/* The server's limits and use. */
int ipcc__info(ripc_info_res *info);

/* ---- calls.c ------------------------------------------------------------ */

int ipcc__fail(ripc_status status);
long ipcc__long(ripc_hyper value);
ripc_hyper ipcc__hyper(long value);
void ipcc__fill_msqid(struct msqid_ds *to, const ripc_msqid_ds *from);
void ipcc__fill_semid(struct semid_ds *to, const ripc_semid_ds *from);
int ipcc__msgstat(ripc_stat_by by, int id, ripc_msqid_ds *ds);
int ipcc__semstat(ripc_stat_by by, int id, ripc_semid_ds *ds);

int ipcc__getall(int semid, unsigned short *array, u_int *count);
int ipcc__nsems(int semid, u_int *count);
int ipcc__setall(int semid, const unsigned short *array, u_int count);

/* ---- os.c --------------------------------------------------------------- */

struct ipcc__mask {
    sigset_t before;
};

void ipcc__hold_signals(struct ipcc__mask *mask);
void ipcc__let_signals(const struct ipcc__mask *mask);
/* A connection to "tcp:HOST:PORT", "HOST[:PORT]", "unix:/PATH" or "/PATH"; -1 and errno. */
int ipcc__connect(const char *address, long timeout_ms);
int ipcc__address_ok(const char *address);
/* Milliseconds of a clock that does not jump, where there is one. */
long ipcc__now(void);
void ipcc__random(void *bytes, size_t count);
/* Which file a descriptor stands for, so that we see if the program has closed it under us. */
struct ipcc__file {
    dev_t device;
    ino_t inode;
};

void ipcc__know(int fd, struct ipcc__file *file);
int ipcc__is(int fd, const struct ipcc__file *file);
int ipcc__send(int fd, const char *data, size_t count);

/* ---- linux.c ------------------------------------------------------------ */

/* 1: readable (or at its end); 0: time is up; -1: a signal was caught. fd -1: only sleeps. */
int ipcc__wait(int fd, long ms, const struct ipcc__mask *mask);
void ipcc__extra_msqid(struct msqid_ds *to, const ripc_msqid_ds *from);
void ipcc__extra_semid(struct semid_ds *to, const ripc_semid_ds *from);
/* Commands that only Linux has; -1 and EINVAL for others. */
int ipcc__extra_msgctl(int msqid, int cmd, struct msqid_ds *buf);
int ipcc__extra_semctl(int semid, int cmd, union ipcc_semun arg);

#endif
