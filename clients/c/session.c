/*
 * session.c: the sessions of a process, their slots, and how fork and exec part
 * or keep them.
 *
 * A process has a session.  A call takes a slot, which has a connection and a
 * sequence number of its own, so that as many threads may wait as there are
 * slots.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

#define g ipcc__g



struct ipcc__globals ipcc__g = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, NULL, -1, IPCC_BOUND, 0, 0, 0, NULL, 0, 0, 0
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

/* ---- sessions ----------------------------------------------------------------- */

void
ipcc__disconnect(struct slot *slot)
{
    /* A program that closes all that it does not know may have a file of its own under this number by now. */
    if (slot->fd >= 0 && ipcc__is(slot->fd, &slot->file))
        (void)close(slot->fd);
    slot->fd = -1;
    slot->joined = 0;
    slot->in.used = 0;
}

void
ipcc__close_aside(struct slot *slot)
{
    if (slot->aside >= 0 && ipcc__is(slot->aside, &slot->aside_file))
        (void)close(slot->aside);
    slot->aside = -1;
}

void
ipcc__set_aside(struct slot *slot)
{
    if (slot->joined && slot->aside < 0) {
        slot->aside = slot->fd;
        slot->aside_file = slot->file;
        slot->fd = -1;
    }
    ipcc__disconnect(slot);
}

struct slot *
ipcc__new_slot(struct session *session, u_int number)
{
    struct slot *slot = calloc(1, sizeof *slot);

    if (slot != NULL) {
        slot->session = session;
        slot->number = number;
        slot->fd = -1;
        slot->aside = -1;
    }
    return slot;
}

void
ipcc__discard(struct slot *slot)
{
    ipcc__disconnect(slot);
    ipcc__close_aside(slot);
    free(slot->out.data);
    free(slot->in.data);
    free(slot);
}

static void
discard_all(struct slot **list)
{
    struct slot *slot;

    while ((slot = *list) != NULL) {
        *list = slot->next;
        ipcc__discard(slot);
    }
}

struct session *
ipcc__own(void)
{
    struct session *session;
    pid_t pid = getpid();

    for (session = g.sessions; session != NULL; session = session->next)
        if (session->pid == pid)
            return session;
    return NULL;
}

void
ipcc__release(struct session *session)
{
    if (--session->uses == 0 && session->gone)
        free(session);
}

void
ipcc__forget(struct session *session)
{
    struct session **link;

    if (session->gone)
        return;
    for (link = &g.sessions; *link != session; link = &(*link)->next)
        ;
    *link = session->next;
    session->gone = 1;
    session->uses++;
    discard_all(&session->free);
    if (!session->renewing && session->keeper != NULL) {
        ipcc__discard(session->keeper);
        session->keeper = NULL;
    }
    ipcc__release(session);
}

static struct session *
new_session(void)
{
    struct session *session = calloc(1, sizeof *session);

    if (session == NULL)
        return NULL;
    session->pid = getpid();
    session->limit = RIPC_SLOTMAX;
    ipcc__random(&session->nonce, sizeof session->nonce);
    session->next = g.sessions;
    g.sessions = session;
    return session;
}

/* ---- fork ----------------------------------------------------------------------- */

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
    struct session *session;
    struct slot *slot;

    while ((session = g.sessions) != NULL) {
        g.sessions = session->next;
        session->gone = 1;
        discard_all(&session->free);
        if (session->keeper != NULL)
            ipcc__discard(session->keeper);
        session->keeper = NULL;
        /* A signal handler that forked returns into its call, there to find that it is another process. */
        for (slot = session->used; slot != NULL; slot = slot->next) {
            ipcc__disconnect(slot);
            ipcc__close_aside(slot);
        }
        if (session->used == NULL)
            free(session);
    }
    g.home = getpid();
    (void)pthread_mutex_init(&g.lock, NULL);
    (void)pthread_cond_init(&g.given, NULL);
    (void)pthread_mutex_init(&g.xid_lock, NULL);
}

static void
close_copies(const struct slot *slot)
{
    for (; slot != NULL; slot = slot->next) {
        if (slot->fd >= 0 && ipcc__is(slot->fd, &slot->file))
            (void)close(slot->fd);
        if (slot->aside >= 0 && ipcc__is(slot->aside, &slot->aside_file))
            (void)close(slot->aside);
    }
}

/*
 * A child that no handler of fork has seen (made by vfork, or by a system call of the program's own) closes its copies
 * too, but leaves the memory alone, which may be its parent's.
 */
static void
close_of_others(void)
{
    struct session *session;

    for (session = g.sessions; session != NULL; session = session->next) {
        close_copies(session->free);
        close_copies(session->used);
        close_copies(session->keeper);
    }
}

/* ---- exec ----------------------------------------------------------------------- */

static struct slot *
connected(struct slot *slot)
{
    while (slot != NULL && (slot->fd < 0 || !slot->joined || !ipcc__is(slot->fd, &slot->file)))
        slot = slot->next;
    return slot;
}

int
ipcc__hand_on(char *text, size_t room, int *fd)
{
    struct session *session;
    struct slot *slot;
    char *at = text;
    u_int number;

    *fd = -1;
    (void)pthread_mutex_lock(&g.lock);
    session = ipcc__own();
    if (session == NULL || !session->open || !session->undo || room < IPCC_TOKEN + strlen(g.address)) {
        (void)pthread_mutex_unlock(&g.lock);
        return 0;
    }
    slot = session->keeper == NULL ? NULL : connected(session->keeper);
    if (slot == NULL)
        slot = connected(session->free);
    if (slot == NULL)
        slot = connected(session->used);
    if (slot != NULL) {
        *fd = slot->fd;
        (void)fcntl(*fd, F_SETFD, 0);
    }
    at += sprintf(at, IPCC_SESSION "=%ld %d %lu %lu %d %lu %lu %ld", (long)getpid(), *fd,
                  slot == NULL ? 0UL : (unsigned long)slot->file.device,
                  slot == NULL ? 0UL : (unsigned long)slot->file.inode, session->id.hi, (unsigned long)session->id.lo,
                  (unsigned long)session->limit, session->lease_ms);
    for (number = 0; number < session->made && number < RIPC_SLOTMAX; number++) {
        for (slot = session->free; slot != NULL && slot->number != number; slot = slot->next)
            ;
        if (slot != NULL) {
            at += sprintf(at, " %lu", (unsigned long)slot->seq);
            continue;
        }
        for (slot = session->used; slot != NULL && slot->number != number; slot = slot->next)
            ;
        /* Its thread ends with exec, and with it its call. */
        at += sprintf(at, " -%lu", slot == NULL ? 0UL : (unsigned long)slot->seq);
    }
    (void)sprintf(at, " @%s", g.address);
    return 1;
}

void
ipcc__keep(int fd)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)pthread_mutex_unlock(&g.lock);
}

/* Reads a number and the blank behind it; tells whether there was one. */
static int
word(const char **text, unsigned long *value)
{
    char *end;

    *value = strtoul(*text, &end, 10);
    if (end == *text || *end != ' ')
        return 0;
    *text = end + 1;
    return 1;
}

static struct session *
adopted(const char *text)
{
    unsigned long words[8];     /* pid, fd, device, inode, session, session, limit, lease */
    struct session *session;
    struct ipcc__file file;
    struct slot *slot;
    struct slot **last;
    const char *address = strchr(text, '@');
    unsigned long seq;
    int busy;
    int fd;
    size_t i;

    for (i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!word(&text, &words[i]))
            return NULL;
    fd = (int)words[1];
    memset(&file, 0, sizeof file);
    file.device = (dev_t)words[2];
    file.inode = (ino_t)words[3];
    if (fd >= 0 && !ipcc__is(fd, &file))
        fd = -1;
    if (fd >= 0 && words[0] != (unsigned long)getpid()) {
        (void)close(fd);        /* a parent's, which was not preloaded when it had its child */
        return NULL;
    }
    if (words[0] != (unsigned long)getpid())
        return NULL;
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (address == NULL || strcmp(address + 1, g.address) != 0)
        return NULL;            /* another server's; what is open keeps it alive */
    session = new_session();
    if (session == NULL)
        return NULL;
    session->open = 1;
    session->undo = 1;
    session->id.hi = (int)words[4];
    session->id.lo = (u_int)words[5];
    session->limit = (u_int)words[6];
    session->lease_ms = (long)words[7];
    session->keeper = ipcc__new_slot(session, 0);
    if (session->keeper != NULL) {
        session->keeper->fd = fd;
        session->keeper->joined = 1;
        session->keeper->file = file;
    }
    last = &session->free;
    while (*text != '@' && session->made < RIPC_SLOTMAX) {
        busy = *text == '-';
        text += busy;
        if (!word(&text, &seq) || (slot = ipcc__new_slot(session, session->made)) == NULL)
            break;
        session->made++;
        slot->seq = (u_int)seq;
        if (!busy) {
            slot->next = session->free;
            session->free = slot;
            if (last == &session->free)
                last = &slot->next;
            continue;
        }
        /* A call of a thread that exec ended.  Such slots are used last. */
        slot->doubtful = 1;
        *last = slot;
        last = &slot->next;
        if (session->keeper != NULL) {
            session->keeper->number = slot->number;
            session->keeper->seq = slot->seq;
            ipcc__tell_cancel(session->keeper);
        }
    }
    ipcc__renew(session);
    return session;
}

/* Under the lock. */
static void
prepare(void)
{
    const char *text;

    if (g.prepared)
        return;
    g.prepared = 1;
    g.home = getpid();
    (void)pthread_atfork(before_fork, in_parent, in_child);
    text = getenv(IPCC_SESSION);
    if (text != NULL)
        (void)adopted(text);
}

void
ipcc__begin(void)
{
    (void)pthread_mutex_lock(&g.lock);
    if (settings() == 0)
        prepare();
    (void)pthread_mutex_unlock(&g.lock);
}

/* ---- slots ------------------------------------------------------------------------ */

/* Takes a slot out of the list of those in use.  Under the lock. */
static void
unlist(struct slot *slot)
{
    struct slot **link;

    for (link = &slot->session->used; *link != NULL; link = &(*link)->next)
        if (*link == slot) {
            *link = slot->next;
            return;
        }
}

/*
 * A signal handler that jumped out of a call left its slot behind; one that makes a call itself is deeper in the stack.
 */
static void
give_back_left(struct session *session, const char *frame)
{
    struct slot *each;
    struct slot *next;
    struct slot *left = NULL;

    for (each = session->used; each != NULL; each = next) {
        next = each->next;
        if (pthread_equal(each->owner, pthread_self()) && each->frame <= frame) {
            unlist(each);
            each->next = left;
            left = each;
        }
    }
    if (left == NULL)
        return;
    (void)pthread_mutex_unlock(&g.lock);
    while ((each = left) != NULL) {
        left = each->next;
        ipcc__leave(each);
    }
    (void)pthread_mutex_lock(&g.lock);
}

void
ipcc__leave(struct slot *slot)
{
    ipcc__tell_cancel(slot);
    slot->doubtful++;
    ipcc__give(slot);
}

struct slot *
ipcc__take(char *frame)
{
    struct session *session;
    struct slot *slot = NULL;
    int error = ENOMEM;

    (void)pthread_mutex_lock(&g.lock);
    if (settings() < 0) {
        g.trouble = errno;
        (void)pthread_mutex_unlock(&g.lock);
        errno = g.trouble;
        return NULL;
    }
    prepare();
    session = ipcc__own();
    if (session != NULL)
        give_back_left(session, frame);
    for (;;) {
        session = ipcc__own();
        if (session == NULL) {
            if (g.home != getpid())
                close_of_others();
            session = new_session();
            if (session == NULL)
                break;
        }
        slot = session->free;
        if (slot != NULL) {
            session->free = slot->next;
            break;
        }
        if (session->made < session->limit) {
            slot = ipcc__new_slot(session, session->made);
            session->made += slot != NULL;
            break;
        }
        (void)pthread_cond_wait(&g.given, &g.lock);
    }
    if (slot != NULL) {
        session->uses++;
        slot->owner = pthread_self();
        slot->frame = frame;
        slot->next = session->used;
        session->used = slot;
    }
    (void)pthread_mutex_unlock(&g.lock);
    if (slot == NULL)
        errno = error;
    return slot;
}

void
ipcc__give(struct slot *slot)
{
    struct session *session = slot->session;

    (void)pthread_mutex_lock(&g.lock);
    unlist(slot);
    if (!session->gone && slot->number < session->limit) {
        slot->next = session->free;
        session->free = slot;
    } else {
        ipcc__discard(slot);
    }
    ipcc__release(session);
    (void)pthread_cond_signal(&g.given);
    (void)pthread_mutex_unlock(&g.lock);
}
