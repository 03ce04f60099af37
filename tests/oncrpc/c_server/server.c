/*
 * A libtirpc server, made the ordinary way from sample.x; only main() is ours, so that no rpcbind is needed.
 *
 * Serves TCP and UDP on loopback ports of the system's choice, and a Unix-domain socket if a path is given.
 * Prints "tcp PORT udp PORT" when it is ready. A second argument above 0 is CONNMAXREC: non-blocking mode.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "sample.h"

extern void sample_prog_1(struct svc_req *, SVCXPRT *);

void *sample_null_1_svc(void *argp, struct svc_req *rq)
{
    static char nothing;
    (void)argp, (void)rq;
    return &nothing;
}

blob *sample_echo_1_svc(blob *argp, struct svc_req *rq)
{
    (void)rq;
    return argp;
}

int *sample_add_1_svc(pair *argp, struct svc_req *rq)
{
    static int sum;
    (void)rq;
    sum = argp->a + argp->b;
    return &sum;
}

int *sample_fail_1_svc(int *argp, struct svc_req *rq)
{
    if (*argp == 0)
        svcerr_systemerr(rq->rq_xprt);
    else
        svcerr_auth(rq->rq_xprt, (enum auth_stat)*argp);
    return NULL;
}

caller *sample_who_1_svc(void *argp, struct svc_req *rq)
{
    static caller who;
    static char nobody[] = "";
    (void)argp;
    memset(&who, 0, sizeof who);
    who.machine = nobody;
    who.flavor = (u_int)rq->rq_cred.oa_flavor;
    if (rq->rq_cred.oa_flavor == AUTH_SYS) {
        struct authunix_parms *p = (struct authunix_parms *)rq->rq_clntcred;
        who.uid = (u_int)p->aup_uid;
        who.gid = (u_int)p->aup_gid;
        who.gids.gids_len = p->aup_len;
        who.gids.gids_val = (u_int *)p->aup_gids;
        who.machine = p->aup_machname;
    }
    return &who;
}

int *sample_count_1_svc(void *argp, struct svc_req *rq)
{
    static int count;
    (void)argp, (void)rq;
    count++;
    return &count;
}

static int inet_sock(int type)
{
    struct sockaddr_in a;
    int s = socket(AF_INET, type, 0);
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof a) < 0 || (type == SOCK_STREAM && listen(s, 128) < 0)) {
        perror("server");
        exit(1);
    }
    return s;
}

static int port_of(int s)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    getsockname(s, (struct sockaddr *)&a, &size);
    return ntohs(a.sin_port);
}

static int unix_sock(const char *path)
{
    struct sockaddr_un a;
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 128) < 0) {
        perror(path);
        exit(1);
    }
    return s;
}

static void serve(SVCXPRT *transport)
{
    if (!transport || !svc_reg(transport, SAMPLE_PROG, SAMPLE_VERS, sample_prog_1, NULL)) {
        fprintf(stderr, "server: cannot register\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    int tcp = inet_sock(SOCK_STREAM), udp = inet_sock(SOCK_DGRAM);
    int maxrec = argc > 2 ? atoi(argv[2]) : 0;
    if (maxrec > 0)
        rpc_control(RPC_SVC_CONNMAXREC_SET, &maxrec);
    serve(svc_vc_create(tcp, 0, 0));
    serve(svc_dg_create(udp, 0, 0));
    if (argc > 1 && argv[1][0])
        serve(svc_vc_create(unix_sock(argv[1]), 0, 0));
    printf("tcp %d udp %d\n", port_of(tcp), port_of(udp));
    fflush(stdout);
    svc_run();
    return 1;
}
