/*
 * ipcdemo: message queues of an ipcserver, from C, as any machine with Sun RPC
 * could use them since 1988.
 *
 * The stubs (ipc_clnt.c, ipc_xdr.c, ipc.h) are made from ipc.x by rpcgen.  All
 * that is left to do is here: find the server, say who calls, give a call that
 * may wait the time to do so, and read the status in each answer.
 */

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rpc/rpc.h>

#include "ipc.h"

/* rpcgen's stubs give up after 25 seconds.  A receive may wait for hours. */
#define LONG_WAIT (24L * 60L * 60L)

/* Exit statuses. */
#define REFUSED     1           /* the server's answer is not RIPC_OK */
#define USAGE       2
#define UNREACHABLE 3           /* there is no answer */

struct client {
    CLIENT *rpc;
    const char *host;
    const char *transport;      /* "tcp" or "udp" */
    int port;                   /* 0: ask the portmapper */
    int in_session;
    ripc_hyper session;
    u_int seq;                  /* of slot 0's last call */
};

/* ---- small things ------------------------------------------------------- */

static const char *
status_name(ripc_status status)
{
    static const char *const names[] = {
        "RIPC_OK", "RIPC_EPERM", "RIPC_ENOENT", "RIPC_EINTR", "RIPC_E2BIG",
        "RIPC_EAGAIN", "RIPC_ENOMEM", "RIPC_EACCES", "RIPC_EEXIST",
        "RIPC_EINVAL", "RIPC_EFBIG", "RIPC_ENOSPC", "RIPC_ERANGE",
        "RIPC_ENOMSG", "RIPC_EIDRM", "RIPC_ETIMEDOUT", "RIPC_ENOSESSION",
        "RIPC_EMISORDERED", "RIPC_EFALSERETRY", "RIPC_EBUSY", "RIPC_EIO",
        "RIPC_ETOOBIG", "RIPC_EQUOTA", "RIPC_ENOSYS"
    };

    if ((int)status < 0 || (size_t)status >= sizeof names / sizeof names[0])
        return "a status that this client does not know";
    return names[status];
}

/* A hyper is two words, high word first: C89 has no 64-bit type to put it in. */
static ripc_hyper
hyper(long value)
{
    ripc_hyper h;

    h.hi = value < 0 ? -1 : 0;
    h.lo = (u_int)(value & 0xffffffffL);
    return h;
}

static const char *
hyper_text(ripc_hyper h)
{
    static char text[32];

    if (h.hi == 0)
        sprintf(text, "%lu", (unsigned long)h.lo);
    else
        sprintf(text, "0x%08lx%08lx", (unsigned long)h.hi & 0xffffffffUL, (unsigned long)h.lo);
    return text;
}

/* A key as C writes numbers: 4660, 0x1234 or 011064. */
static int
key_of(const char *text)
{
    char *end;
    unsigned long key;

    errno = 0;
    key = strtoul(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || key > 0xffffffffUL) {
        fprintf(stderr, "ipcdemo: %s is not a key\n", text);
        exit(USAGE);
    }
    return (int)(u_int)key;
}

static long
type_of(const char *text)
{
    char *end;
    long type;

    errno = 0;
    type = strtol(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0') {
        fprintf(stderr, "ipcdemo: %s is not a message type\n", text);
        exit(USAGE);
    }
    return type;
}

static void
unreachable(struct client *c, const char *what)
{
    clnt_perror(c->rpc, (char *)what);
    exit(UNREACHABLE);
}

/* ---- the connection ----------------------------------------------------- */

/* A client at a port that is known: nobody is asked. */
static CLIENT *
at_port(struct client *c)
{
    struct sockaddr_in address;
    struct hostent *entry;
    struct timeval again;
    int sock = RPC_ANYSOCK;

    entry = gethostbyname(c->host);
    if (entry == NULL || entry->h_addrtype != AF_INET) {
        fprintf(stderr, "ipcdemo: no address is known for %s\n", c->host);
        exit(UNREACHABLE);
    }
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((u_short)c->port);
    memcpy(&address.sin_addr, entry->h_addr_list[0], sizeof address.sin_addr);
    if (strcmp(c->transport, "tcp") == 0)
        return clnttcp_create(&address, IPCPROG, IPCVERS, &sock, 0, 0);
    again.tv_sec = 2;           /* send a datagram again after so long */
    again.tv_usec = 0;
    return clntudp_create(&address, IPCPROG, IPCVERS, again, &sock);
}

static void
open_client(struct client *c)
{
    struct timeval patience;

    if (c->port != 0)
        c->rpc = at_port(c);
    else
        c->rpc = clnt_create(c->host, IPCPROG, IPCVERS, c->transport);
    if (c->rpc == NULL) {
        clnt_pcreateerror((char *)c->host);
        exit(UNREACHABLE);
    }
    /* AUTH_SYS: uid, gid and groups of this process; queues have owners. */
    auth_destroy(c->rpc->cl_auth);
    c->rpc->cl_auth = authunix_create_default();
    patience.tv_sec = LONG_WAIT;
    patience.tv_usec = 0;
    clnt_control(c->rpc, CLSET_TIMEOUT, (char *)&patience);
}

static void
close_client(struct client *c)
{
    auth_destroy(c->rpc->cl_auth);
    clnt_destroy(c->rpc);
}

/* ---- sessions ----------------------------------------------------------- */

/*
 * With a session each call has a number, and a call that is sent again gets the
 * answer that it got before, even from a server that crashed in between.
 */
static void
hello(struct client *c)
{
    ripc_hello_args args;
    ripc_hello_res *res;
    struct timeval now;

    gettimeofday(&now, NULL);
    args.nonce.hi = (int)now.tv_sec;
    args.nonce.lo = (u_int)now.tv_usec << 12 ^ (u_int)getpid();
    args.host = "ipcdemo";
    args.pid = (int)getpid();
    args.flags = RIPC_BOUND;
    args.slots = 1;
    args.lease_ms = 0;
    res = ripc_hello_1(&args, c->rpc);
    if (res == NULL)
        unreachable(c, "RIPC_HELLO");
    if (res->status != RIPC_OK) {
        fprintf(stderr, "ipcdemo: hello: %s\n", status_name(res->status));
        exit(REFUSED);
    }
    c->session = res->ripc_hello_res_u.ok.session;
    c->seq = 0;
    c->in_session = 1;
    printf("session: open, lease %lu ms\n", (unsigned long)res->ripc_hello_res_u.ok.lease_ms);
}

static void
goodbye(struct client *c)
{
    ripc_status *res;

    res = ripc_goodbye_1(&c->session, c->rpc);
    if (res == NULL)
        unreachable(c, "RIPC_GOODBYE");
    printf("session: closed, %s\n", status_name(*res));
    c->in_session = 0;
}

/* What every call that changes something begins with. */
static ripc_ctx
context(struct client *c)
{
    ripc_ctx ctx;

    memset(&ctx, 0, sizeof ctx);
    ctx.pid = (int)getpid();
    if (c->in_session) {
        ctx.session = c->session;
        ctx.seq = ++c->seq;
    }
    return ctx;
}

/* ---- queues ------------------------------------------------------------- */

static ripc_status
msgget(struct client *c, int key, u_int flags, int *id)
{
    ripc_msgget_args args;
    ripc_id_res *res;

    args.ctx = context(c);
    args.key = key;
    args.flags = flags;
    args.mode = 0600;
    res = ripc_msgget_1(&args, c->rpc);
    if (res == NULL)
        unreachable(c, "RIPC_MSGGET");
    if (res->status == RIPC_OK)
        *id = res->ripc_id_res_u.id;
    return res->status;
}

/* Send; with more than one time, make the very same call again, as after a lost answer. */
static ripc_status
msgsnd(struct client *c, int id, long type, const char *text, int times)
{
    ripc_msgsnd_args args;
    ripc_status *res = NULL;
    int i;

    args.ctx = context(c);
    args.id = id;
    args.flags = 0;
    args.wait_ms = 0;
    args.mtype = hyper(type);
    args.mtext.mtext_len = (u_int)strlen(text);
    args.mtext.mtext_val = (char *)text;
    for (i = 0; i < times; i++) {
        res = ripc_msgsnd_1(&args, c->rpc);
        if (res == NULL)
            unreachable(c, "RIPC_MSGSND");
        if (times > 1)
            printf("send: call %u of the session: %s\n", (unsigned)args.ctx.seq, status_name(*res));
    }
    return *res;
}

/* Receive and print; the message's memory is given back. */
static ripc_status
msgrcv(struct client *c, int id, long type, u_int flags)
{
    ripc_msgrcv_args args;
    ripc_msgrcv_res *res;
    ripc_status status;

    args.ctx = context(c);
    args.id = id;
    args.flags = flags;
    args.wait_ms = 0;
    args.msgtyp = hyper(type);
    args.msgsz = hyper((long)RIPC_MSGMAX);
    res = ripc_msgrcv_1(&args, c->rpc);
    if (res == NULL)
        unreachable(c, "RIPC_MSGRCV");
    status = res->status;
    if (status == RIPC_OK) {
        ripc_msg *msg = &res->ripc_msgrcv_res_u.msg;

        printf("received: type %s, \"%.*s\"\n", hyper_text(msg->mtype), (int)msg->mtext.mtext_len,
               msg->mtext.mtext_len != 0 ? msg->mtext.mtext_val : "");
    }
    clnt_freeres(c->rpc, (xdrproc_t)xdr_ripc_msgrcv_res, (char *)res);
    return status;
}

static ripc_status
msgrmid(struct client *c, int id)
{
    ripc_rmid_args args;
    ripc_status *res;

    args.ctx = context(c);
    args.id = id;
    res = ripc_msgrmid_1(&args, c->rpc);
    if (res == NULL)
        unreachable(c, "RIPC_MSGRMID");
    return *res;
}

/* All queues, a page at a time. */
static void
list(struct client *c)
{
    ripc_list_args args;
    ripc_msglist_res *res;
    u_int i;

    printf("%-12s %-8s %-8s %-6s %-8s %s\n", "key", "id", "owner", "mode", "bytes", "messages");
    args.start = 0;
    args.max = RIPC_LISTMAX;    /* over UDP the server sends as many as fit a datagram */
    do {
        res = ripc_msglist_1(&args, c->rpc);
        if (res == NULL)
            unreachable(c, "RIPC_MSGLIST");
        for (i = 0; i < res->items.items_len; i++) {
            ripc_msqid_ds *ds = &res->items.items_val[i];

            printf("0x%08lx   %-8d %-8lu %-6lo %-8s %lu\n", (unsigned long)(u_int)ds->perm.key, ds->id,
                   (unsigned long)ds->perm.uid, (unsigned long)ds->perm.mode, hyper_text(ds->cbytes),
                   (unsigned long)ds->qnum);
        }
        args.start = res->next;
        clnt_freeres(c->rpc, (xdrproc_t)xdr_ripc_msglist_res, (char *)res);
    } while (args.start != 0);
}

/* ---- the whole story ---------------------------------------------------- */

/* Print a step's status, and stop if it is not the one that the story needs. */
static void
step(const char *what, ripc_status got, ripc_status wanted)
{
    printf("%s: %s\n", what, status_name(got));
    fflush(stdout);
    if (got != wanted) {
        fprintf(stderr, "ipcdemo: %s was expected\n", status_name(wanted));
        exit(REFUSED);
    }
}

/* Another client, on a connection of its own, that sends once a second is over. */
static pid_t
send_later(const struct client *c, int key)
{
    struct client other;
    pid_t child;
    int id = 0;

    fflush(stdout);
    child = fork();
    if (child != 0)
        return child;
    sleep(1);
    other = *c;
    other.in_session = 0;
    open_client(&other);
    if (msgget(&other, key, 0, &id) != RIPC_OK)
        _exit(REFUSED);
    _exit(msgsnd(&other, id, 7L, "from another client", 1) == RIPC_OK ? 0 : REFUSED);
}

static void
story(struct client *c, int key)
{
    pid_t child;
    int id = 0;
    int ended = 0;

    step("create", msgget(c, key, RIPC_CREAT | RIPC_EXCL, &id), RIPC_OK);
    step("create the same again", msgget(c, key, RIPC_CREAT | RIPC_EXCL, &id), RIPC_EEXIST);
    step("send type 1", msgsnd(c, id, 1L, "first", 1), RIPC_OK);
    step("send type 2", msgsnd(c, id, 2L, "second", 1), RIPC_OK);
    step("send type 1", msgsnd(c, id, 1L, "third", 1), RIPC_OK);
    step("receive type 2", msgrcv(c, id, 2L, 0), RIPC_OK);
    step("receive any", msgrcv(c, id, 0L, 0), RIPC_OK);
    list(c);
    step("receive up to type 5", msgrcv(c, id, -5L, 0), RIPC_OK);
    step("receive type 7, without waiting", msgrcv(c, id, 7L, RIPC_NOWAIT), RIPC_ENOMSG);
    child = send_later(c, key);
    printf("receive type 7: waiting for another client ...\n");
    step("receive type 7", msgrcv(c, id, 7L, 0), RIPC_OK);
    if (child > 0)
        waitpid(child, &ended, 0);
    if (c->in_session) {
        step("send type 9, and the same call again", msgsnd(c, id, 9L, "once only", 2), RIPC_OK);
        step("receive type 9", msgrcv(c, id, 9L, RIPC_NOWAIT), RIPC_OK);
        step("receive type 9", msgrcv(c, id, 9L, RIPC_NOWAIT), RIPC_ENOMSG);
    }
    step("remove", msgrmid(c, id), RIPC_OK);
    step("send to what was removed", msgsnd(c, id, 1L, "late", 1), RIPC_EINVAL);
}

/* ---- the command line --------------------------------------------------- */

static void
usage(void)
{
    fputs("usage: ipcdemo [-us] [-p port] host command\n"
          "  -u       over UDP (default: TCP)\n"
          "  -s       in a session: no call is ever done twice\n"
          "  -p port  the server's port (default: the portmapper knows)\n"
          "commands:\n", stderr);
    fputs("  ping              call procedure 0, which does nothing\n"
          "  demo [key]        show it all, with a queue of its own\n"
          "  create key        make a queue\n"
          "  send key type text\n"
          "  recv key [type]   take a message; wait for one if there is none\n"
          "  nowait key [type] take a message if there is one\n"
          "  list              show all queues\n"
          "  remove key        remove a queue and what is in it\n", stderr);
    exit(USAGE);
}

static int
ended(const char *what, ripc_status status)
{
    printf("%s: %s\n", what, status_name(status));
    return status == RIPC_OK ? 0 : REFUSED;
}

/* Do one command with the queue that a key names. */
static int
command(struct client *c, int argc, char **argv)
{
    const char *name = argv[0];
    ripc_status status;
    u_int flags = 0;
    int id = 0;

    if (strcmp(name, "ping") == 0 && argc == 1) {
        if (ripc_null_1(NULL, c->rpc) == NULL)
            unreachable(c, "RIPC_NULL");
        return ended("ping", RIPC_OK);
    }
    if (strcmp(name, "list") == 0 && argc == 1) {
        list(c);
        return 0;
    }
    if (strcmp(name, "demo") == 0 && argc <= 2) {
        story(c, argc == 2 ? key_of(argv[1]) : 0x53554e00 | ((int)getpid() & 0xff));
        return 0;
    }
    if (argc < 2)
        usage();
    if (strcmp(name, "create") == 0)
        flags = RIPC_CREAT;
    status = msgget(c, key_of(argv[1]), flags, &id);
    if (status != RIPC_OK || flags != 0)
        return ended(name, status);
    if (strcmp(name, "send") == 0 && argc == 4)
        return ended(name, msgsnd(c, id, type_of(argv[2]), argv[3], 1));
    if (strcmp(name, "recv") == 0 && argc <= 3)
        return ended(name, msgrcv(c, id, argc == 3 ? type_of(argv[2]) : 0L, 0));
    if (strcmp(name, "nowait") == 0 && argc <= 3)
        return ended(name, msgrcv(c, id, argc == 3 ? type_of(argv[2]) : 0L, RIPC_NOWAIT));
    if (strcmp(name, "remove") == 0 && argc == 2)
        return ended(name, msgrmid(c, id));
    usage();
    return USAGE;
}

int
main(int argc, char **argv)
{
    struct client c;
    int with_session = 0;
    int option;
    int result;

    memset(&c, 0, sizeof c);
    c.transport = "tcp";
    while ((option = getopt(argc, argv, "+usp:")) != -1) {
        switch (option) {
        case 'u':
            c.transport = "udp";
            break;
        case 's':
            with_session = 1;
            break;
        case 'p':
            c.port = atoi(optarg);
            break;
        default:
            usage();
        }
    }
    if (argc - optind < 2)
        usage();
    c.host = argv[optind];
    open_client(&c);
    if (with_session)
        hello(&c);
    result = command(&c, argc - optind - 1, argv + optind + 1);
    if (with_session)
        goodbye(&c);
    close_client(&c);
    return result;
}
