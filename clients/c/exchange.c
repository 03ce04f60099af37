/*
 * exchange.c: how a call is made once.
 *
 * A call whose connection breaks is sent again, the same bytes over another
 * connection: the server knows it by its number and does it once.
 *
 * All signals are held during a call, except while it waits for the answer.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

#define g ipcc__g

#ifndef CHUNK_MS
#define CHUNK_MS 20000L         /* longest wait of one call: a longer one is made of several, so that a dead link shows */
#endif
#ifndef MARGIN_MS
#define MARGIN_MS 10000L        /* how much longer than its wait a call may take */
#endif
#define FIRST_PAUSE_MS 20L
#define LONGEST_PAUSE_MS 1000L
#define CONNECT_MS 5000L
#define GOODBYE_MS 2000L
#define STACK 262144UL          /* bytes of the renewing thread's stack; looking up a host takes some */
#define SMALL 512               /* room for the arguments of HELLO, RENEW, CANCEL */

void (*ipcc__notice)(const char *address, int error, long patience_ms);

/* ---- exchanges -------------------------------------------------------------- */

/* How exchange ends besides 0 (an answer) and -1 (errno). */
#define BROKEN 1                /* no answer came, or none that counts: send it again */

static u_int
next_xid(void)
{
    u_int xid;

    (void)pthread_mutex_lock(&g.xid_lock);
    if (g.xid == 0)
        ipcc__random(&g.xid, sizeof g.xid);
    xid = ++g.xid;
    (void)pthread_mutex_unlock(&g.xid_lock);
    return xid;
}

/* Sends a call whose answer nobody waits for; returns its xid. */
static u_int
tell(struct slot *slot, u_long procedure, xdrproc_t xdr_arg, void *arg)
{
    struct ipcc__buffer out;
    u_int xid = next_xid();

    memset(&out, 0, sizeof out);
    if (slot->fd >= 0 && ipcc__compose(&out, procedure, xdr_arg, arg, SMALL) == 0) {
        ipcc__set_xid(&out, xid);
        if (ipcc__send(slot->fd, out.data, out.used) < 0)
            ipcc__disconnect(slot);
    }
    free(out.data);
    return xid;
}

void
ipcc__tell_cancel(struct slot *slot)
{
    ripc_cancel_args args;

    args.session = slot->session->id;
    args.slot = slot->number;
    args.seq = slot->seq;
    args.xid = 0;
    (void)tell(slot, RIPC_CANCEL, (xdrproc_t)xdr_ripc_cancel_args, &args);
}

/* The answer has arrived: a message that was received does not go back if we die now. */
static void
tell_received(struct slot *slot)
{
    ripc_renew_args args;
    ripc_ack ack;

    ack.slot = slot->number;
    ack.seq = slot->seq;
    args.session = slot->session->id;
    args.acks.acks_len = 1;
    args.acks.acks_val = &ack;
    slot->receipt = tell(slot, RIPC_RENEW, (xdrproc_t)xdr_ripc_renew_args, &args);
}

/* Takes what has arrived at a slot's socket.  Returns 1, 0 if nothing was there, -1 at the connection's end. */
static int
receive(struct slot *slot)
{
    struct ipcc__buffer *in = &slot->in;
    ssize_t got;

    if (in->room - in->used < 4096 && ipcc__reserve(in, in->room == 0 ? 8192 : 2 * in->room) < 0)
        return -1;
    got = read(slot->fd, in->data + in->used, in->room - in->used);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    if (got == 0)
        return -1;
    in->used += (size_t)got;
    return 1;
}

/* Drops the first record of what has arrived: its length, and how many bytes of the stream it took. */
static void
drop(struct slot *slot, size_t length, size_t taken)
{
    ripc_status status = RIPC_EIO;

    if (ipcc__xid_of(&slot->in) == slot->receipt
        && ipcc__parse(&slot->in, length, (xdrproc_t)xdr_ripc_status, &status) == 0 && status == RIPC_OK)
        slot->receipt = 0;
    memmove(slot->in.data, slot->in.data + taken, slot->in.used - taken);
    slot->in.used -= taken;
}

/* Whether the server may not have heard that a slot's last message arrived. */
static int
unheard_of(struct slot *slot)
{
    size_t taken;
    long length;

    if (slot->receipt == 0 || slot->fd < 0 || !ipcc__is(slot->fd, &slot->file))
        return slot->receipt != 0;
    while (receive(slot) > 0)
        while ((length = ipcc__record(&slot->in, &taken)) > 0)
            drop(slot, (size_t)length, taken);
    return slot->receipt != 0;
}

/* Tells whether a signal handler forked and this is the child: the call is its parent's. */
static int
stranger(const struct slot *slot)
{
    if (slot->session->pid == getpid())
        return 0;
    errno = EINTR;
    return 1;
}

static uid_t
user(void)
{
    uid_t uid;
    gid_t gid;

    (void)ipcc__user(&uid, &gid, NULL, 0);
    return uid;
}

/*
 * Sends what slot->out holds and waits for its answer.  *cancelled tells that the call was to be cancelled, and becomes
 * so when a signal is caught and interruptible is set.  *sent counts how often the server may have seen the call.
 */
static int
exchange(struct slot *slot, struct ipcc__request *request, long ms, const struct ipcc__mask *mask, int interruptible,
         int *cancelled, int *sent)
{
    long until = ipcc__now() + ms;
    u_int xid = next_xid();
    size_t taken;
    long length;
    long left;
    int ready;
    int done;

    if (stranger(slot))
        return -1;
    if (slot->fd >= 0 && !ipcc__is(slot->fd, &slot->file))
        ipcc__disconnect(slot);
    if (slot->fd < 0) {
        slot->fd = ipcc__connect(g.address, CONNECT_MS);
        if (slot->fd < 0)
            return BROKEN;
        ipcc__know(slot->fd, &slot->file);
        slot->made_as = user();
    }
    ++*sent;
    ipcc__set_xid(&slot->out, xid);
    if (ipcc__send(slot->fd, slot->out.data, slot->out.used) < 0) {
        if (errno == ETIMEDOUT)
            ipcc__set_aside(slot);
        ipcc__disconnect(slot);
        return BROKEN;
    }
    if (*cancelled)
        ipcc__tell_cancel(slot);
    for (;;) {
        while (slot->fd >= 0 && (length = ipcc__record(&slot->in, &taken)) != 0) {
            if (length < 0) {
                ipcc__disconnect(slot);
                errno = EPROTO;
                return BROKEN;
            }
            done = BROKEN;
            if (ipcc__xid_of(&slot->in) == xid) {
                done = ipcc__parse(&slot->in, (size_t)length, request->xdr_res, request->res);
                xid = 0;
            }
            drop(slot, (size_t)length, taken);
            if (xid == 0) {
                if (done < 0 && errno == EACCES && slot->made_as != user()) {
                    /* Who we were when we connected may not speak for who we are: the server refused to look. */
                    ipcc__set_aside(slot);
                    --*sent;
                    return exchange(slot, request, ms, mask, interruptible, cancelled, sent);
                }
                ipcc__close_aside(slot);
                return done;
            }
        }
        left = until - ipcc__now();
        if (slot->fd < 0 || left <= 0) {
            ipcc__set_aside(slot);
            errno = ETIMEDOUT;
            return BROKEN;
        }
        ready = ipcc__wait(slot->fd, left, mask);
        if (ready < 0 && stranger(slot))
            return -1;
        if (ready < 0 && interruptible && !*cancelled) {
            *cancelled = 1;
            ipcc__tell_cancel(slot);
        }
        if (ready > 0 && receive(slot) < 0) {
            ipcc__disconnect(slot);
            errno = ECONNRESET;
            return BROKEN;
        }
    }
}

/* Exchanges again and again until patience is at its end. */
static int
persist(struct slot *slot, struct ipcc__request *request, long ms, const struct ipcc__mask *mask, int interruptible,
        int *cancelled, int *sent)
{
    long pause = FIRST_PAUSE_MS;
    long give_up = 0;
    int broken = 0;
    int error;
    int done;

    for (;;) {
        done = exchange(slot, request, ms, mask, interruptible, cancelled, sent);
        if (done != BROKEN) {
            g.trouble = done == 0 || errno == EINTR ? 0 : errno;
            g.reached = 1;
            g.given_up = 0;
            return done;
        }
        error = errno;
        if (broken++ == 0) {
            give_up = ipcc__now() + (g.given_up ? 0 : g.patience_ms);
            if (!g.reached && ipcc__notice != NULL)
                (*ipcc__notice)(g.address, error, g.patience_ms);
        }
        if (error == EACCES || error == EPERM || ipcc__now() + pause - give_up > 0) {
            g.given_up = 1;
            g.trouble = errno = error;
            return -1;
        }
        (void)ipcc__wait(-1, pause, mask);
        pause = 2 * pause > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : 2 * pause;
    }
}

/* Opens the session over a slot's connection.  Threads may do it together: the same nonce is the same session. */
static int
hello(struct slot *slot, const struct ipcc__mask *mask)
{
    struct ipcc__request request;
    ripc_hello_args args;
    ripc_hello_res res;
    char host[RIPC_HOSTMAX + 1];
    int cancelled = 0;
    int sent = 0;

    memset(&request, 0, sizeof request);
    memset(&res, 0, sizeof res);
    host[0] = '\0';
    (void)gethostname(host, sizeof host - 1);
    host[sizeof host - 1] = '\0';
    args.nonce = slot->session->nonce;
    args.host = host;
    args.pid = (int)getpid();
    args.flags = g.ending == IPCC_BOUND ? RIPC_BOUND : 0;
    args.slots = RIPC_SLOTMAX;
    args.lease_ms = 0;
    request.xdr_res = (xdrproc_t)xdr_ripc_hello_res;
    request.res = &res;
    if (ipcc__compose(&slot->out, RIPC_HELLO, (xdrproc_t)xdr_ripc_hello_args, &args, SMALL) < 0)
        return -1;
    if (persist(slot, &request, MARGIN_MS, mask, 0, &cancelled, &sent) < 0)
        return -1;
    if (res.status != RIPC_OK)
        return ipcc__fail(res.status);
    slot->joined = 1;
    (void)pthread_mutex_lock(&g.lock);
    slot->session->id = res.ripc_hello_res_u.ok.session;
    slot->session->limit = res.ripc_hello_res_u.ok.slots;
    slot->session->lease_ms = (long)res.ripc_hello_res_u.ok.lease_ms;
    slot->session->open = 1;
    if (g.ending == IPCC_LEASE)
        ipcc__renew(slot->session);
    (void)pthread_mutex_unlock(&g.lock);
    return 0;
}

/* ---- calls -------------------------------------------------------------------- */

static ripc_status
status_of(const struct ipcc__request *request)
{
    return request->bare ? RIPC_OK : *(const ripc_status *)request->res;
}

/* Milliseconds of a timeout, rounded up. */
static long
milliseconds(const struct timespec *timeout)
{
    if (timeout->tv_sec > 2000000L)
        return 2000000000L;
    return timeout->tv_sec * 1000L + (timeout->tv_nsec + 999999L) / 1000000L;
}

/* The session is no more; the next call opens another.  Tells whether this call may be made in that one. */
static int
lost(struct slot *slot, const struct ipcc__request *request, int sent)
{
    int undone;

    (void)pthread_mutex_lock(&g.lock);
    undone = slot->session->undo;
    ipcc__forget(slot->session);
    (void)pthread_mutex_unlock(&g.lock);
    return !undone && (sent <= 1 || request->redo);
}

/* Makes a call in a slot.  Returns 0, -1, or BROKEN if it is to be made in another session. */
static int
perform(struct slot *slot, struct ipcc__request *request, const struct ipcc__mask *mask, long started)
{
    long total = request->timeout == NULL ? -1 : milliseconds(request->timeout);
    long left;
    long ms;
    int cancelled = 0;
    int busy = 0;
    int sent;
    int done;
    ripc_status status;

    for (;;) {
        ms = MARGIN_MS;
        if (request->wait_ms != NULL) {
            left = total < 0 ? CHUNK_MS : total - (ipcc__now() - started);
            *request->wait_ms = left < 1 ? 1 : left > CHUNK_MS ? (u_int)CHUNK_MS : (u_int)left;
            ms += (long)*request->wait_ms;
        }
        if (request->ctx != NULL)
            slot->seq++;
    repeat:
        if (request->ctx != NULL) {
            request->ctx->session = slot->session->id;
            request->ctx->slot = slot->number;
            request->ctx->seq = slot->seq;
            request->ctx->pid = (int)getpid();
        }
        sent = 0;
        if (ipcc__compose(&slot->out, request->procedure, request->xdr_arg, request->arg, request->room) < 0) {
            if (request->ctx != NULL)
                slot->seq--;
            return -1;
        }
        done = persist(slot, request, ms, mask, request->wait_ms != NULL, &cancelled, &sent);
        if (done != 0) {
            slot->doubtful++;   /* what became of it is not known */
            ipcc__disconnect(slot);
            ipcc__close_aside(slot);
            return done;
        }
        if (request->ctx == NULL)
            return 0;
        slot->joined = 1;
        status = status_of(request);
        if (status == RIPC_EMISORDERED && slot->doubtful > 0) {
            /* The call before this one never reached the server's journal: its number is still to be used. */
            slot->doubtful--;
            slot->seq--;
            goto repeat;
        }
        if (status == RIPC_EBUSY && busy++ < 100) {
            /* An earlier call that was given up still waits. */
            slot->seq--;
            ipcc__tell_cancel(slot);
            slot->seq++;
            (void)ipcc__wait(-1, FIRST_PAUSE_MS, mask);
            goto repeat;
        }
        slot->doubtful = status == RIPC_EIO || status == RIPC_ENOSPC ? slot->doubtful + 1 : 0;
        if (slot->doubtful == 0)
            slot->receipt = 0;  /* the next number says that the answer before has arrived */
        if (status == RIPC_ENOSESSION) {
            if (lost(slot, request, sent))
                return BROKEN;
            errno = EIO;
            return -1;
        }
        if (status == RIPC_ETIMEDOUT && !cancelled && (total < 0 || ipcc__now() - started < total))
            continue;
        if (status == RIPC_ETIMEDOUT && cancelled)
            *(ripc_status *)request->res = RIPC_EINTR;
        if (request->redo && status == RIPC_OK)
            tell_received(slot);
        return 0;
    }
}

/* The thread is cancelled while it waits. */
static void
leave(void *slot)
{
    ipcc__leave(slot);
}

int
ipcc__call(struct ipcc__request *request)
{
    struct ipcc__mask mask;
    struct slot *slot;
    long started = ipcc__now();
    char here;
    int error;
    int done = BROKEN;

    ipcc__hold_signals(&mask);
    while (done == BROKEN) {
        slot = ipcc__take(&here);
        if (slot == NULL) {
            done = -1;
            break;
        }
        pthread_cleanup_push(leave, slot);
        if (request->ctx != NULL && !slot->session->open && hello(slot, &mask) < 0)
            done = -1;
        else if (request->ctx != NULL && slot->number >= slot->session->limit)
            done = BROKEN;      /* more threads than the server grants slots: wait for one of those */
        else
            done = perform(slot, request, &mask, started);
        pthread_cleanup_pop(0);
        if (done == 0 && request->undo && status_of(request) == RIPC_OK) {
            (void)pthread_mutex_lock(&g.lock);
            slot->session->undo = 1;
            ipcc__renew(slot->session);
            (void)pthread_mutex_unlock(&g.lock);
        }
        error = errno;
        ipcc__give(slot);
        errno = error;
    }
    error = errno;
    ipcc__let_signals(&mask);
    errno = error;
    return done;
}

int
ipcc__trouble(void)
{
    return g.trouble;
}

static bool_t
nothing(XDR *xdrs, void *value)
{
    (void)xdrs;
    (void)value;
    return TRUE;
}

int
ipcc__info(ripc_info_res *info)
{
    struct ipcc__request request;

    memset(&request, 0, sizeof request);
    memset(info, 0, sizeof *info);
    request.procedure = RIPC_INFO;
    request.xdr_arg = (xdrproc_t)nothing;
    request.xdr_res = (xdrproc_t)xdr_ripc_info_res;
    request.res = info;
    request.bare = 1;
    return ipcc__call(&request);
}

/* Exchanges for a while as a process ends: a server that crashed is back soon, and must still hear this. */
static void
insist(struct slot *slot, struct ipcc__request *request, const struct ipcc__mask *mask)
{
    ripc_status status;
    long until = ipcc__now() + GOODBYE_MS;
    long pause = FIRST_PAUSE_MS;
    long left;
    int cancelled = 0;
    int sent = 0;

    request->xdr_res = (xdrproc_t)xdr_ripc_status;
    request->res = &status;
    while ((left = until - ipcc__now()) > 0 && exchange(slot, request, left, mask, 0, &cancelled, &sent) == BROKEN
           && !g.given_up) {
        (void)ipcc__wait(-1, pause, mask);
        pause *= 2;
    }
}

/* Ends a session that its connections' end does not end, or not soon enough. */
static void
goodbye(struct slot *slot, const struct ipcc__mask *mask)
{
    struct ipcc__request request;

    memset(&request, 0, sizeof request);
    if (ipcc__compose(&slot->out, RIPC_GOODBYE, (xdrproc_t)xdr_ripc_hyper, &slot->session->id, SMALL) == 0)
        insist(slot, &request, mask);
}

/* Whether one of the session's free slots has a receipt that was not heard, perhaps.  Under the lock. */
static int
unheard(const struct session *session)
{
    struct slot *slot;

    for (slot = session->free; slot != NULL; slot = slot->next)
        if (unheard_of(slot))
            return 1;
    return 0;
}

void
ipcc_close(void)
{
    struct session *session;
    struct ipcc__mask mask;
    struct slot *slot;
    char here;
    int needed;

    ipcc__hold_signals(&mask);
    (void)pthread_mutex_lock(&g.lock);
    session = ipcc__own();
    /*
     * Adjustments are to be made before whoever waits for this process goes on; a message whose receipt was lost with a
     * server must not come back; the rest ends with the connections.
     */
    needed = session != NULL && session->open && (session->undo || g.ending == IPCC_LEASE || unheard(session))
        && (session->free != NULL || session->made < session->limit);
    (void)pthread_mutex_unlock(&g.lock);
    if (needed && (slot = ipcc__take(&here)) != NULL) {
        goodbye(slot, &mask);
        ipcc__give(slot);
    }
    (void)pthread_mutex_lock(&g.lock);
    session = ipcc__own();
    if (session != NULL)
        ipcc__forget(session);
    (void)pthread_mutex_unlock(&g.lock);
    ipcc__let_signals(&mask);
}

void
ipcc__say_received(void)
{
    struct ipcc__request request;
    struct ipcc__mask mask;
    struct session *session;
    struct slot *slot;
    ripc_renew_args args;
    ripc_ack acks[RIPC_SLOTMAX];
    u_int count = 0;
    char here;

    ipcc__hold_signals(&mask);
    (void)pthread_mutex_lock(&g.lock);
    session = ipcc__own();
    for (slot = session == NULL ? NULL : session->free; slot != NULL && count < RIPC_SLOTMAX; slot = slot->next)
        if (unheard_of(slot)) {
            acks[count].slot = slot->number;
            acks[count++].seq = slot->seq;
        }
    (void)pthread_mutex_unlock(&g.lock);
    if (count > 0 && (slot = ipcc__take(&here)) != NULL) {
        memset(&request, 0, sizeof request);
        args.session = slot->session->id;
        args.acks.acks_len = count;
        args.acks.acks_val = acks;
        if (ipcc__compose(&slot->out, RIPC_RENEW, (xdrproc_t)xdr_ripc_renew_args, &args, SMALL + sizeof acks) == 0)
            insist(slot, &request, &mask);
        ipcc__give(slot);
    }
    ipcc__let_signals(&mask);
}

/* ---- the lease ---------------------------------------------------------------- */

/*
 * A process that computes makes no calls.  This thread says that it lives, notices when the server goes, and comes back
 * to its successor in time.
 */
static void *
renewing(void *argument)
{
    struct session *session = argument;
    struct slot *slot = session->keeper;
    struct ipcc__request request;
    struct ipcc__mask mask;
    ripc_renew_args args;
    ripc_status status = RIPC_OK;
    long longest = session->lease_ms / 10 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : session->lease_ms / 10;
    long until;
    long left;
    long pause = FIRST_PAUSE_MS;
    int cancelled = 0;
    int sent = 0;
    int done;

    ipcc__hold_signals(&mask);
    ipcc__hold_signals(&mask);  /* nothing is let through while waiting either */
    memset(&request, 0, sizeof request);
    request.xdr_res = (xdrproc_t)xdr_ripc_status;
    request.res = &status;
    args.session = session->id;
    args.acks.acks_len = 0;
    args.acks.acks_val = NULL;
    /* A short life needs no second connection, whose end would have to be noticed too. */
    (void)ipcc__wait(-1, longest, &mask);
    while (!session->gone && status != RIPC_ENOSESSION) {
        done = -1;
        if (ipcc__compose(&slot->out, RIPC_RENEW, (xdrproc_t)xdr_ripc_renew_args, &args, SMALL) == 0)
            done = exchange(slot, &request, MARGIN_MS, &mask, 0, &cancelled, &sent);
        if (done != 0) {
            (void)ipcc__wait(-1, pause, &mask);
            pause = 2 * pause > longest ? longest : 2 * pause;
            continue;
        }
        pause = FIRST_PAUSE_MS;
        slot->joined = 1;
        /* Until a third of the lease is over, or the connection is. */
        until = ipcc__now() + session->lease_ms / 3;
        while (slot->fd >= 0 && !session->gone && (left = until - ipcc__now()) > 0)
            if (ipcc__wait(slot->fd, left, &mask) > 0 && receive(slot) < 0)
                ipcc__disconnect(slot);
    }
    (void)pthread_mutex_lock(&g.lock);
    session->keeper = NULL;
    session->renewing = 0;
    ipcc__discard(slot);
    ipcc__release(session);
    (void)pthread_mutex_unlock(&g.lock);
    return NULL;
}

void
ipcc__renew(struct session *session)
{
    pthread_attr_t attributes;
    pthread_t thread;

    /* Not in a child made by vfork: its memory is its parent's.  Without the thread, calls renew the lease. */
    if (session->renewed || g.home != session->pid)
        return;
    session->renewed = 1;
    if (session->keeper == NULL)
        session->keeper = ipcc__new_slot(session, 0);
    if (session->keeper == NULL)
        return;
    session->uses++;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK);
    if (pthread_create(&thread, &attributes, renewing, session) == 0)
        session->renewing = 1;
    else
        session->uses--;
    (void)pthread_attr_destroy(&attributes);
}
