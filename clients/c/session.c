/*
 * session.c: sessions, slots, and how a call is made once.
 *
 * A process has a session.  A call takes a slot, which has a connection and a
 * sequence number of its own, so that as many threads may wait as there are
 * slots.  A call whose connection breaks is sent again, the same bytes over
 * another connection: the server knows it by its number and does it once.
 *
 * All signals are held during a call, except while it waits for the answer.
 */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define CHUNK_MS 20000L         /* longest wait of one call: a longer one is made of several, so that a dead link shows */
#define MARGIN_MS 10000L        /* how much longer than its wait a call may take */
#define FIRST_PAUSE_MS 20L
#define LONGEST_PAUSE_MS 1000L
#define CONNECT_MS 5000L
#define GOODBYE_MS 2000L
#define SMALL 512               /* room for the arguments of HELLO, RENEW, CANCEL */

struct slot {
    struct slot *next;          /* of the free ones, or of those in use */
    u_int number;
    u_int seq;                  /* of its last call */
    int doubtful;               /* calls in a row that the server may not have taken up */
    unsigned long session_no;   /* which of our sessions it belongs to */
    int fd;
    struct ipcc__file file;     /* what fd is, as long as the program leaves it alone */
    pthread_t owner;
    char *frame;                /* where on the stack its owner is; lower is deeper */
    struct ipcc__buffer out;
    struct ipcc__buffer in;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t given;       /* a slot came back */
    char *address;
    long patience_ms;
    int ending;
    pid_t pid;                  /* whose session this is */
    unsigned long session_no;   /* goes up with each session */
    int open;
    ripc_hyper session;
    ripc_hyper nonce;
    int nonced;
    int undo;                   /* the session has adjustments, perhaps */
    u_int limit;                /* slots that the server grants */
    u_int made;
    u_int xid;
    struct slot *free;
    struct slot *used;
    int prepared;               /* the handlers of fork are in place */
} g = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, -1, IPCC_BOUND, 0, 1, 0, {0, 0}, {0, 0}, 0, 0,
    RIPC_SLOTMAX, 0, 0, NULL, NULL, 0
};

/* ---- settings ------------------------------------------------------------- */

int
ipcc_server(const char *address)
{
    struct ipcc__mask mask;
    char *copy;

    if (address == NULL || !ipcc__address_ok(address)) {
        errno = EINVAL;
        return -1;
    }
    copy = malloc(strlen(address) + 1);
    if (copy == NULL)
        return -1;
    strcpy(copy, address);
    ipcc_close();
    ipcc__hold_signals(&mask);
    (void)pthread_mutex_lock(&g.lock);
    free(g.address);
    g.address = copy;
    (void)pthread_mutex_unlock(&g.lock);
    ipcc__let_signals(&mask);
    return 0;
}

int
ipcc_patience(long seconds)
{
    if (seconds < 0 || seconds > 1000000L) {
        errno = EINVAL;
        return -1;
    }
    g.patience_ms = seconds * 1000L;
    return 0;
}

int
ipcc_ending(int how)
{
    if (how != IPCC_BOUND && how != IPCC_LEASE) {
        errno = EINVAL;
        return -1;
    }
    g.ending = how;
    return 0;
}

/* What the environment says, for what the program did not say.  Under the lock. */
static int
settings(void)
{
    const char *text;

    if (g.patience_ms < 0) {
        text = getenv("IPCSERVER_PATIENCE");
        g.patience_ms = text != NULL && *text != '\0' ? atol(text) * 1000L : 60000L;
        if (g.patience_ms < 0)
            g.patience_ms = 0;
    }
    if (g.address == NULL) {
        text = getenv("IPCSERVER");
        if (text == NULL || *text == '\0')
            text = "localhost";
        if (!ipcc__address_ok(text)) {
            errno = EINVAL;
            return -1;
        }
        g.address = malloc(strlen(text) + 1);
        if (g.address == NULL)
            return -1;
        strcpy(g.address, text);
    }
    return 0;
}

/* ---- slots ------------------------------------------------------------------ */

static void
disconnect(struct slot *slot)
{
    /* A program that closes all that it does not know may have a file of its own under this number by now. */
    if (slot->fd >= 0 && ipcc__is(slot->fd, &slot->file))
        (void)close(slot->fd);
    slot->fd = -1;
    slot->in.used = 0;
}

static void
discard(struct slot *slot)
{
    disconnect(slot);
    free(slot->out.data);
    free(slot->in.data);
    free(slot);
}

/* Begins anew, with the next call's session.  Under the lock.  Slots in use are discarded when they come back. */
static void
forget_session(void)
{
    struct slot *slot;

    while ((slot = g.free) != NULL) {
        g.free = slot->next;
        discard(slot);
    }
    g.session_no++;
    g.open = 0;
    g.nonced = 0;
    g.undo = 0;
    g.made = 0;
    g.limit = RIPC_SLOTMAX;
}

static void
before_fork(void)
{
    (void)pthread_mutex_lock(&g.lock);
}

static void
in_parent(void)
{
    (void)pthread_mutex_unlock(&g.lock);
}

/* The child closes its copies: they would keep its parent's session alive after the parent's death. */
static void
in_child(void)
{
    struct slot *slot;

    while ((slot = g.used) != NULL) {   /* those of threads that the child does not have */
        g.used = slot->next;
        discard(slot);
    }
    forget_session();
    (void)pthread_mutex_init(&g.lock, NULL);
    (void)pthread_cond_init(&g.given, NULL);
}

static void tell_cancel(struct slot *slot);
static void give(struct slot *slot);

/* Takes a slot out of the list of those in use.  Under the lock. */
static void
unlist(struct slot *slot)
{
    struct slot **link;

    for (link = &g.used; *link != NULL; link = &(*link)->next)
        if (*link == slot) {
            *link = slot->next;
            return;
        }
}

/* Returns a slot that nobody uses; waits for one if the server grants no more. */
static struct slot *
take(char *frame)
{
    struct slot *slot;
    struct slot *each;
    struct slot *next;
    struct slot *left = NULL;

    (void)pthread_mutex_lock(&g.lock);
    if (settings() < 0) {
        (void)pthread_mutex_unlock(&g.lock);
        return NULL;
    }
    if (!g.prepared) {
        g.prepared = 1;
        (void)pthread_atfork(before_fork, in_parent, in_child);
    }
    if (g.pid != getpid()) {
        g.pid = getpid();
        forget_session();
    }
    if (!g.nonced) {
        ipcc__random(&g.nonce, sizeof g.nonce);
        g.nonced = 1;
    }
    /*
     * A signal handler that jumped out of a call left its slot behind; one that makes a call itself is deeper in the
     * stack.  The server is told to wait no more for what was left, and its late answer is passed over.
     */
    for (each = g.used; each != NULL; each = next) {
        next = each->next;
        if (pthread_equal(each->owner, pthread_self()) && each->frame <= frame) {
            unlist(each);
            each->next = left;
            left = each;
        }
    }
    (void)pthread_mutex_unlock(&g.lock);
    while ((each = left) != NULL) {
        left = each->next;
        tell_cancel(each);
        each->doubtful++;
        give(each);
    }
    (void)pthread_mutex_lock(&g.lock);
    for (;;) {
        slot = g.free;
        if (slot != NULL) {
            g.free = slot->next;
            break;
        }
        if (g.made < g.limit) {
            slot = calloc(1, sizeof *slot);
            if (slot == NULL)
                break;
            slot->number = g.made++;
            slot->session_no = g.session_no;
            slot->fd = -1;
            break;
        }
        (void)pthread_cond_wait(&g.given, &g.lock);
    }
    if (slot != NULL) {
        slot->owner = pthread_self();
        slot->frame = frame;
        slot->next = g.used;
        g.used = slot;
    }
    (void)pthread_mutex_unlock(&g.lock);
    if (slot == NULL)
        errno = ENOMEM;
    return slot;
}

static void
give(struct slot *slot)
{
    (void)pthread_mutex_lock(&g.lock);
    unlist(slot);
    if (slot->session_no == g.session_no && slot->number < g.limit) {
        slot->next = g.free;
        g.free = slot;
    } else {
        discard(slot);
    }
    (void)pthread_cond_signal(&g.given);
    (void)pthread_mutex_unlock(&g.lock);
}

/* ---- exchanges -------------------------------------------------------------- */

/* How exchange ends besides 0 (an answer) and -1 (errno). */
#define BROKEN 1                /* no answer came, or none that counts: send it again */

static u_int
next_xid(void)
{
    u_int xid;

    (void)pthread_mutex_lock(&g.lock);
    if (g.xid == 0)
        ipcc__random(&g.xid, sizeof g.xid);
    xid = ++g.xid;
    (void)pthread_mutex_unlock(&g.lock);
    return xid;
}

/* Sends a call whose answer nobody waits for. */
static void
tell(struct slot *slot, u_long procedure, xdrproc_t xdr_arg, void *arg)
{
    struct ipcc__buffer out;

    memset(&out, 0, sizeof out);
    if (slot->fd >= 0 && ipcc__compose(&out, procedure, xdr_arg, arg, SMALL) == 0) {
        ipcc__set_xid(&out, next_xid());
        if (ipcc__send(slot->fd, out.data, out.used) < 0)
            disconnect(slot);
    }
    free(out.data);
}

static void
tell_cancel(struct slot *slot)
{
    ripc_cancel_args args;

    args.session = g.session;
    args.slot = slot->number;
    args.seq = slot->seq;
    args.xid = 0;
    tell(slot, RIPC_CANCEL, (xdrproc_t)xdr_ripc_cancel_args, &args);
}

/* The answer has arrived: a message that was received does not go back if we die now. */
static void
tell_received(struct slot *slot)
{
    ripc_renew_args args;
    ripc_ack ack;

    ack.slot = slot->number;
    ack.seq = slot->seq;
    args.session = g.session;
    args.acks.acks_len = 1;
    args.acks.acks_val = &ack;
    tell(slot, RIPC_RENEW, (xdrproc_t)xdr_ripc_renew_args, &args);
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

    if (slot->fd >= 0 && !ipcc__is(slot->fd, &slot->file))
        disconnect(slot);
    if (slot->fd < 0) {
        slot->fd = ipcc__connect(g.address, CONNECT_MS);
        if (slot->fd < 0)
            return BROKEN;
        ipcc__know(slot->fd, &slot->file);
    }
    ++*sent;
    ipcc__set_xid(&slot->out, xid);
    if (ipcc__send(slot->fd, slot->out.data, slot->out.used) < 0) {
        disconnect(slot);
        return BROKEN;
    }
    if (*cancelled)
        tell_cancel(slot);
    for (;;) {
        while (slot->fd >= 0 && (length = ipcc__record(&slot->in, &taken)) != 0) {
            if (length < 0) {
                disconnect(slot);
                errno = EPROTO;
                return BROKEN;
            }
            done = BROKEN;
            if (ipcc__xid_of(&slot->in) == xid) {
                done = ipcc__parse(&slot->in, (size_t)length, request->xdr_res, request->res);
                xid = 0;
            }
            memmove(slot->in.data, slot->in.data + taken, slot->in.used - taken);
            slot->in.used -= taken;
            if (xid == 0)
                return done;
        }
        left = until - ipcc__now();
        if (slot->fd < 0 || left <= 0) {
            disconnect(slot);
            errno = ETIMEDOUT;
            return BROKEN;
        }
        ready = ipcc__wait(slot->fd, left, mask);
        if (ready < 0 && interruptible && !*cancelled) {
            *cancelled = 1;
            tell_cancel(slot);
        }
        if (ready > 0 && receive(slot) < 0) {
            disconnect(slot);
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
        if (done != BROKEN)
            return done;
        error = errno;
        if (broken++ == 0)
            give_up = ipcc__now() + g.patience_ms;
        if (ipcc__now() + pause - give_up > 0) {
            errno = error;
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
    args.nonce = g.nonce;
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
    (void)pthread_mutex_lock(&g.lock);
    if (slot->session_no == g.session_no) {
        g.session = res.ripc_hello_res_u.ok.session;
        g.limit = res.ripc_hello_res_u.ok.slots;
        g.open = 1;
    }
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
    undone = g.undo;
    if (slot->session_no == g.session_no)
        forget_session();
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
            request->ctx->session = g.session;
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
            disconnect(slot);
            return done;
        }
        if (request->ctx == NULL)
            return 0;
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
            tell_cancel(slot);
            slot->seq++;
            (void)ipcc__wait(-1, FIRST_PAUSE_MS, mask);
            goto repeat;
        }
        slot->doubtful = status == RIPC_EIO || status == RIPC_ENOSPC ? slot->doubtful + 1 : 0;
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
        slot = take(&here);
        if (slot == NULL) {
            done = -1;
            break;
        }
        if (request->ctx != NULL && !g.open && hello(slot, &mask) < 0)
            done = -1;
        else if (request->ctx != NULL && slot->number >= g.limit)
            done = BROKEN;      /* more threads than the server grants slots: wait for one of those */
        else
            done = perform(slot, request, &mask, started);
        if (done == 0 && request->undo && status_of(request) == RIPC_OK)
            g.undo = 1;
        error = errno;
        give(slot);
        errno = error;
    }
    error = errno;
    ipcc__let_signals(&mask);
    errno = error;
    return done;
}

int
ipcc__reached(void)
{
    return g.open;
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

void
ipcc_close(void)
{
    struct ipcc__request request;
    struct ipcc__mask mask;
    struct slot *slot;
    ripc_status status;
    int cancelled = 0;
    int sent = 0;
    char here;

    ipcc__hold_signals(&mask);
    /* Adjustments are to be made before whoever waits for this process goes on; the rest ends with the connections. */
    if (g.pid == getpid() && g.open && (g.undo || g.ending == IPCC_LEASE)
        && (g.free != NULL || g.made < g.limit) && (slot = take(&here)) != NULL) {
        memset(&request, 0, sizeof request);
        request.xdr_res = (xdrproc_t)xdr_ripc_status;
        request.res = &status;
        if (ipcc__compose(&slot->out, RIPC_GOODBYE, (xdrproc_t)xdr_ripc_hyper, &g.session, SMALL) == 0)
            (void)exchange(slot, &request, GOODBYE_MS, &mask, 0, &cancelled, &sent);
        give(slot);
    }
    (void)pthread_mutex_lock(&g.lock);
    if (g.pid == getpid())
        forget_session();
    (void)pthread_mutex_unlock(&g.lock);
    ipcc__let_signals(&mask);
}
