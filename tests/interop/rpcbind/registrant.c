/*
 * A program that registers itself in each of the ways that libtirpc offers: "registrant WAY PROGRAM".
 *
 * Prints "granted" or "refused"; the ways that serve then do so until they are killed, and answer procedure 0 and
 * procedure 1 (an int, doubled).
 */
#include <netinet/in.h>
#include <rpc/pmap_clnt.h>
#include <rpc/rpc.h>
#include <rpc/rpcb_clnt.h>
#include <rpc/svc_soc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void dispatch(struct svc_req *request, SVCXPRT *transport)
{
    int number = 0;

    switch (request->rq_proc) {
    case 0:
        svc_sendreply(transport, (xdrproc_t)xdr_void, NULL);
        return;
    case 1:
        if (!svc_getargs(transport, (xdrproc_t)xdr_int, (char *)&number)) {
            svcerr_decode(transport);
            return;
        }
        number *= 2;
        svc_sendreply(transport, (xdrproc_t)xdr_int, (char *)&number);
        return;
    default:
        svcerr_noproc(transport);
    }
}

static char *doubled(char *argument)
{
    static int result;

    result = 2 * *(int *)argument;
    return (char *)&result;
}

static int say(int granted)
{
    puts(granted ? "granted" : "refused");
    fflush(stdout);
    return granted;
}

static struct netbuf *address_of(struct netconfig *transport, const char *text)
{
    return uaddr2taddr(transport, text);
}

int main(int argc, char **argv)
{
    const char *way = argv[1];
    unsigned long program = strtoul(argv[2], NULL, 0);
    const char *address = argc > 3 ? argv[3] : "0.0.0.0.19.136";
    int serves = 1;
    int granted = 0;

    if (strcmp(way, "svc_create") == 0) {
        granted = svc_create(dispatch, program, 1, "visible") > 0;
    } else if (strcmp(way, "svc_reg") == 0) {
        struct netconfig *transport = getnetconfigent("tcp");
        SVCXPRT *server = svc_tli_create(RPC_ANYFD, transport, NULL, 0, 0);
        rpcb_unset(program, 1, transport);
        granted = server != NULL && svc_reg(server, program, 1, dispatch, transport);
    } else if (strcmp(way, "svc_register") == 0) {
        SVCXPRT *server = svcudp_create(RPC_ANYSOCK);
        pmap_unset(program, 1);
        granted = server != NULL && svc_register(server, program, 1, dispatch, IPPROTO_UDP);
    } else if (strcmp(way, "registerrpc") == 0) {
        granted = registerrpc(program, 1, 1, doubled, (xdrproc_t)xdr_int, (xdrproc_t)xdr_int) == 0;
    } else {
        struct netconfig *tcp = getnetconfigent("tcp");
        serves = 0;
        if (strcmp(way, "pmap_set") == 0)
            granted = pmap_set(program, 1, IPPROTO_TCP, 5000);
        else if (strcmp(way, "pmap_unset") == 0)
            granted = pmap_unset(program, 1);
        else if (strcmp(way, "rpcb_set") == 0)
            granted = rpcb_set(program, 1, tcp, address_of(tcp, address));
        else if (strcmp(way, "rpcb_unset") == 0)
            granted = rpcb_unset(program, 1, tcp);
        else if (strcmp(way, "pmap_getport") == 0) {
            struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
            printf("port %u\n", pmap_getport(&here, program, 1, IPPROTO_TCP));
            return 0;
        } else if (strcmp(way, "callrpc") == 0) {
            int number = 21, result = 0;
            enum clnt_stat status = rpc_call("localhost", program, 1, 1, (xdrproc_t)xdr_int, (char *)&number,
                                             (xdrproc_t)xdr_int, (char *)&result, argc > 3 ? argv[3] : "udp");
            printf("%s %d\n", status == RPC_SUCCESS ? "answered" : clnt_sperrno(status), result);
            return 0;
        } else {
            fprintf(stderr, "no such way: %s\n", way);
            return 2;
        }
    }
    if (!say(granted) || !serves)
        return !granted;
    svc_run();
    return 1;
}
