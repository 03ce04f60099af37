/*
 * session.h: sessions and their slots, for session.c and exchange.c alone.
 */

#ifndef IPCC_SESSION_H
#define IPCC_SESSION_H

#include <pthread.h>

#include "internal.h"

struct slot {
    struct slot *next;          /* of the session's free ones, or of those in use */
    struct session *session;
    u_int number;
    u_int seq;                  /* of its last call */
    int doubtful;               /* calls in a row that the server may not have taken up */
    int fd;
    struct ipcc__file file;     /* what fd is, as long as the program leaves it alone */
    u_int receipt;              /* xid of a receipt whose answer was not seen yet, or 0 */
    uid_t made_as;              /* the effective user when the connection was made; a local server knows that one */
    int joined;                 /* the server has heard of the session through it */
    int aside;                  /* a connection that went silent, or -1; the session lives by it until another is heard */
    struct ipcc__file aside_file;
    pthread_t owner;
    char *frame;                /* where on the stack its owner is; lower is deeper */
    struct ipcc__buffer out;
    struct ipcc__buffer in;
};

/*
 * The session of a process.  There is one, unless a child made by vfork(2), which uses our memory, makes calls too: then
 * one for each, found by the process's id.
 */
struct session {
    struct session *next;
    pid_t pid;
    int gone;                   /* not in the list any more; freed when nobody uses it */
    int uses;                   /* slots in use, and the renewing thread */
    int open;
    int undo;                   /* it has adjustments, perhaps */
    int renewed;                /* it was tried to have a thread renew its lease */
    int renewing;               /* there is that thread */
    ripc_hyper id;
    ripc_hyper nonce;
    long lease_ms;
    u_int limit;                /* slots that the server grants */
    u_int made;
    struct slot *free;
    struct slot *used;
    struct slot *keeper;        /* the renewing thread's */
};

struct ipcc__globals {
    pthread_mutex_t lock;
    pthread_cond_t given;       /* a slot came back */
    pthread_mutex_t xid_lock;
    char *address;
    long patience_ms;
    int ending;
    int trouble;                /* errno of the last call if it could not be made, else 0 */
    int reached;                /* a server has answered once */
    int given_up;               /* patience was in vain: until a server answers, calls try once */
    struct session *sessions;
    pid_t home;                 /* the process whose memory this is */
    u_int xid;
    int prepared;               /* the handlers of fork are in place */
};

extern struct ipcc__globals ipcc__g;

/* ---- session.c ---------------------------------------------------------- */

/* A slot of the process's session for a call made by this frame, or NULL and errno.  Waits if all are in use. */
struct slot *ipcc__take(char *frame);
void ipcc__give(struct slot *slot);
/* Gives it back in the middle of a call: the server is told to wait no more, and its late answer is passed over. */
void ipcc__leave(struct slot *slot);
void ipcc__disconnect(struct slot *slot);
/* Leaves a connection alone that went silent, perhaps until the network is back. */
void ipcc__set_aside(struct slot *slot);
void ipcc__close_aside(struct slot *slot);
/* The session of this process or NULL.  Under the lock. */
struct session *ipcc__own(void);
/* The next call begins another session.  Under the lock.  Slots in use are discarded when they come back. */
void ipcc__forget(struct session *session);
/* Uses a session no more.  Under the lock. */
void ipcc__release(struct session *session);
struct slot *ipcc__new_slot(struct session *session, u_int number);
void ipcc__discard(struct slot *slot);

/* ---- exchange.c --------------------------------------------------------- */

void ipcc__tell_cancel(struct slot *slot);
/* Has a thread renew the lease from now on, unless one does.  Under the lock. */
void ipcc__renew(struct session *session);

#endif
