/*
 * twin.c: the program of load.x served by libtirpc in the ordinary way, with
 * rpcgen's stubs and svc_run(). Needs no rpcbind: the sockets are made here.
 *
 *   twin PORT
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "load.h"

extern void load_prog_1(struct svc_req *, SVCXPRT *);

void *load_null_1_svc(void *argument, struct svc_req *request)
{
    static char nothing;
    (void)argument;
    (void)request;
    return &nothing;
}

load_blob *load_echo_1_svc(load_blob *argument, struct svc_req *request)
{
    (void)request;
    return argument;
}

int *load_add_1_svc(load_pair *argument, struct svc_req *request)
{
    static int sum;
    (void)request;
    sum = argument->a + argument->b;
    return &sum;
}

static int bound(int type, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    int made = socket(AF_INET, type, 0), one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(made, (struct sockaddr *)&address, sizeof address) || (type == SOCK_STREAM && listen(made, 1024))) {
        perror("twin");
        exit(1);
    }
    return made;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    SVCXPRT *stream = svc_vc_create(bound(SOCK_STREAM, argv[1]), 0, 0);
    SVCXPRT *datagram = svc_dg_create(bound(SOCK_DGRAM, argv[1]), 0, 0);
    if (!stream || !datagram || !svc_reg(stream, LOAD_PROG, LOAD_VERS, load_prog_1, NULL) ||
        !svc_reg(datagram, LOAD_PROG, LOAD_VERS, load_prog_1, NULL))
        return 1;
    svc_run();
    return 1;
}
