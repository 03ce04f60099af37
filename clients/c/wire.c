/*
 * wire.c: Sun RPC messages in records (RFC 5531), by the XDR of the system's
 * RPC library.  Its client handles are not used: they cannot wait for a signal
 * and an answer at once, and they keep the credentials of their first day.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "internal.h"

#define MARK 4                  /* bytes of a record mark */
#define LAST 0x80000000UL       /* this fragment is the record's last */
#define MOST (2UL * 1024 * 1024) /* bytes of the longest answer that is believed */
#define MOST_GROUPS 16          /* AUTH_SYS carries no more */
#define HEADER 1024             /* bytes that suffice for a call's header with AUTH_SYS */

int
ipcc__reserve(struct ipcc__buffer *buffer, size_t room)
{
    char *data;

    if (buffer->room >= room)
        return 0;
    data = realloc(buffer->data, room);
    if (data == NULL) {
        errno = ENOMEM;
        return -1;
    }
    buffer->data = data;
    buffer->room = room;
    return 0;
}

static void
put_word(char *at, unsigned long value)
{
    at[0] = (char)(value >> 24 & 0xff);
    at[1] = (char)(value >> 16 & 0xff);
    at[2] = (char)(value >> 8 & 0xff);
    at[3] = (char)(value & 0xff);
}

static unsigned long
get_word(const char *at)
{
    const unsigned char *from = (const unsigned char *)at;

    return (unsigned long)from[0] << 24 | (unsigned long)from[1] << 16 | (unsigned long)from[2] << 8 | from[3];
}

/* AUTH_SYS of this very moment: a program may change its user in mid-life. */
static int
credential(char *data, u_int room, u_int *used)
{
    struct authunix_parms parms;
    char name[256];
    gid_t groups[256];
    uid_t uid;
    gid_t gid;
    XDR xdrs;
    int count;
    bool_t done;
#ifdef IPCC_OLD_GROUPS
    int ids[MOST_GROUPS];       /* libraries whose authunix_parms holds int */
#else
    gid_t ids[MOST_GROUPS];
#endif
    int i;

    name[0] = '\0';
    (void)gethostname(name, sizeof name - 1);
    name[sizeof name - 1] = '\0';
    count = ipcc__user(&uid, &gid, groups, (int)(sizeof groups / sizeof groups[0]));
    if (count < 0)
        count = 0;
    if (count > MOST_GROUPS)
        count = MOST_GROUPS;
    for (i = 0; i < count; i++)
        ids[i] = groups[i];
    parms.aup_time = 0;         /* the same call sent again is the same bytes */
    parms.aup_machname = name;
    parms.aup_uid = uid;
    parms.aup_gid = gid;
    parms.aup_len = (u_int)count;
    parms.aup_gids = ids;
    xdrmem_create(&xdrs, data, room, XDR_ENCODE);
    done = xdr_authunix_parms(&xdrs, &parms);
    *used = xdr_getpos(&xdrs);
    xdr_destroy(&xdrs);
    return done ? 0 : -1;
}

int
ipcc__compose(struct ipcc__buffer *out, u_long procedure, xdrproc_t xdr_arg, void *arg, size_t room)
{
    struct rpc_msg message;
    char auth[MAX_AUTH_BYTES];
    u_int length;
    XDR xdrs;
    bool_t done;

    out->used = 0;
    if (ipcc__reserve(out, MARK + HEADER + room) < 0)
        return -1;
    memset(&message, 0, sizeof message);
    message.rm_direction = CALL;
    message.rm_call.cb_rpcvers = RPC_MSG_VERSION;
    message.rm_call.cb_prog = IPCPROG;
    message.rm_call.cb_vers = IPCVERS;
    message.rm_call.cb_proc = procedure;
    if (credential(auth, sizeof auth, &length) < 0) {
        errno = EINVAL;
        return -1;
    }
    message.rm_call.cb_cred.oa_flavor = AUTH_UNIX;
    message.rm_call.cb_cred.oa_base = auth;
    message.rm_call.cb_cred.oa_length = length;
    message.rm_call.cb_verf.oa_flavor = AUTH_NULL;
    message.rm_call.cb_verf.oa_base = NULL;
    message.rm_call.cb_verf.oa_length = 0;
    xdrmem_create(&xdrs, out->data + MARK, (u_int)(out->room - MARK), XDR_ENCODE);
    done = xdr_callmsg(&xdrs, &message) && (*xdr_arg)(&xdrs, arg);
    length = xdr_getpos(&xdrs);
    xdr_destroy(&xdrs);
    if (!done) {
        errno = EINVAL;
        return -1;
    }
    put_word(out->data, LAST | length);
    out->used = MARK + length;
    return 0;
}

void
ipcc__set_xid(struct ipcc__buffer *out, u_int xid)
{
    put_word(out->data + MARK, xid);
}

u_int
ipcc__xid_of(const struct ipcc__buffer *in)
{
    return (u_int)get_word(in->data + MARK);
}

long
ipcc__record(struct ipcc__buffer *in, size_t *taken)
{
    size_t at = 0;              /* the next fragment's mark */
    size_t length = 0;          /* bytes of the record's fragments so far */
    unsigned long mark;

    do {
        if (in->used < at + MARK)
            return 0;
        mark = get_word(in->data + at);
        if (length + (mark & ~LAST) > MOST)
            return -1;
        if (in->used < at + MARK + (mark & ~LAST))
            return 0;
        length += mark & ~LAST;
        at += MARK + (mark & ~LAST);
    } while (!(mark & LAST));
    if (length < 4)
        return -1;
    *taken = at;
    if (at != MARK + length) {  /* several fragments: put them together behind the first mark */
        size_t from = 0;
        size_t to = MARK;

        while (from < at) {
            mark = get_word(in->data + from) & ~LAST;
            memmove(in->data + to, in->data + from + MARK, mark);
            to += mark;
            from += MARK + mark;
        }
    }
    return (long)length;
}

int
ipcc__parse(struct ipcc__buffer *in, size_t length, xdrproc_t xdr_res, void *res)
{
    struct rpc_msg message;
    char verifier[MAX_AUTH_BYTES];
    XDR xdrs;
    bool_t done;

    memset(&message, 0, sizeof message);
    message.acpted_rply.ar_verf.oa_base = verifier;
    message.acpted_rply.ar_results.where = res;
    message.acpted_rply.ar_results.proc = xdr_res;
    xdrmem_create(&xdrs, in->data + MARK, (u_int)length, XDR_DECODE);
    done = xdr_replymsg(&xdrs, &message);
    xdr_destroy(&xdrs);
    if (!done || message.rm_direction != REPLY) {
        xdr_free(xdr_res, res);
        errno = EPROTO;
        return -1;
    }
    if (message.rm_reply.rp_stat == MSG_DENIED) {
        errno = message.rjcted_rply.rj_stat == AUTH_ERROR ? EACCES : EPROTO;
        return -1;
    }
    switch (message.acpted_rply.ar_stat) {
    case SUCCESS:
        return 0;
    case SYSTEM_ERR:
        return IPCC_AGAIN;
    case GARBAGE_ARGS:
        errno = EINVAL;
        return -1;
    default:
        errno = ENOSYS;
        return -1;
    }
}
