/*
 * internal.h: what the library's files share.  Names begin with ipcc__.
 *
 *   calls.c     System V's calls: arguments, results, errno
 *   session.c   sessions and slots; fork and exec
 *   exec.c      a session that goes on in the next program
 *   exchange.c  how a call is made once over connections that break
 *   wire.c      Sun RPC messages in records
 *   portmap.c   the server's port
 *   os.c        connections, the clock, signals (POSIX)
 *   linux.c     what only Linux has
 */

#ifndef IPCC_INTERNAL_H
#define IPCC_INTERNAL_H

#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
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

/* ---- exchange.c --------------------------------------------------------- */

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

/* For exec without a session that goes on: says what has arrived, if the server may not have heard it. */
void ipcc__say_received(void);
/* errno of the last call if it could not be made, else 0. */
int ipcc__trouble(void);
/* Called when the first call of all does not reach a server, before it tries again. */
extern void (*ipcc__notice)(const char *address, int error, long patience_ms);

/* The server's limits and use. */
int ipcc__info(ripc_info_res *info);

/* ---- session.c ---------------------------------------------------------- */

#define IPCC_SESSION "IPCSERVER_SESSION"    /* the variable by which a session goes on after exec */
#define IPCC_TOKEN 1200         /* bytes that hand_on writes at most, besides the address */

/* Goes on with a session that came over exec. */
void ipcc__begin(void);
/*
 * For exec: writes the variable by which the next program goes on with the session, leaves a connection open to it, and
 * lets no call be made until ipcc__keep.  Returns 0, and does nothing, if there is nothing that must live on.
 */
int ipcc__hand_on(char *text, size_t room, int *fd);
/* There was no exec. */
void ipcc__keep(int fd);

/* ---- exec.c ------------------------------------------------------------- */

struct ipcc__handing {
    char token[IPCC_TOKEN + 600];   /* the variable, with the server's address */
    char **envp;
    size_t bytes;
    int fd;
};

/* The environment of the next program: the given one, or with a session that goes on. */
char **ipcc__handed(struct ipcc__handing *handing, char *const *envp);
/* There was no exec; returns -1 and leaves errno alone. */
int ipcc__stayed(struct ipcc__handing *handing);

/* ---- calls.c ------------------------------------------------------------ */

int ipcc__fail(ripc_status status);
void ipcc__describe(struct ipcc__request *request, u_long procedure, xdrproc_t xdr_arg, void *arg, ripc_ctx *ctx);
int ipcc__ask(struct ipcc__request *request, xdrproc_t xdr_res, void *res, size_t size);
int ipcc__order(struct ipcc__request *request);
int ipcc__get(struct ipcc__request *request);
int ipcc__rmid(u_long procedure, int id);
int ipcc__stat(u_long procedure, ripc_stat_by by, int id, xdrproc_t xdr_res, void *res, size_t size);
u_int ipcc__get_flags(int flags);
void ipcc__fill_set(ripc_set_args *args, int id, const struct ipc_perm *perm);
void ipcc__fill_perm(struct ipc_perm *to, const ripc_perm *from);
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

/* What a program lets through while it waits, and nowhere else in a call: signals and cancellation. */
struct ipcc__mask {
    sigset_t before;
    int cancel;
};

void ipcc__hold_signals(struct ipcc__mask *mask);
void ipcc__let_signals(const struct ipcc__mask *mask);
/*
 * A connection to "tcp:HOST:PORT", "HOST[:PORT]", "unix:/PATH" or "/PATH"; -1 and errno.  A port that is not given is
 * asked for at the host's portmapper; if that does not know, it is 600.
 */
int ipcc__connect(const char *address, long timeout_ms);
/* A non-blocking socket, connected within its time; -1 and errno. */
int ipcc__reach(int family, const struct sockaddr *to, socklen_t length, long timeout_ms);
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

/* ---- portmap.c ---------------------------------------------------------- */

/* The server's TCP port by the portmapper of a host; 0: it is not known. */
unsigned ipcc__portmap(const struct sockaddr *host, socklen_t length, long timeout_ms);

/* ---- linux.c ------------------------------------------------------------ */

/* 1: readable (or at its end); 0: time is up; -1: a signal was caught. fd -1: only sleeps. */
int ipcc__wait(int fd, long ms, const struct ipcc__mask *mask);
/* Which file a descriptor stands for; -1 if for none. */
int ipcc__which(int fd, struct ipcc__file *file);
/* The effective user and group; returns the number of further groups, -1 if there are more than room. */
int ipcc__user(uid_t *uid, gid_t *gid, gid_t *groups, int room);
void ipcc__extra_msqid(struct msqid_ds *to, const ripc_msqid_ds *from);
void ipcc__extra_semid(struct semid_ds *to, const ripc_semid_ds *from);
/* Commands that only Linux has; -1 and EINVAL for others. */
int ipcc__extra_msgctl(int msqid, int cmd, struct msqid_ds *buf);
int ipcc__extra_semctl(int semid, int cmd, union ipcc_semun arg);

#endif
