/*
 * portmap.c: asks a host's portmapper (RFC 1833, version 2) for the server's
 * port.  One call of fixed length, made by hand: the library's own functions
 * wait longer than we like, and know IPv4 and UDP alone.
 */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "internal.h"

#define PORTMAPPER 111
#define PROGRAM 100000UL
#define VERSION 2UL
#define GETPORT 3UL
#define TCP 6UL
#define LAST 0x80000000UL
#define CALL_WORDS 15           /* record mark and all */
#define REPLY_WORDS 8           /* record mark and all, with a verifier of no bytes */

/* Waits for a descriptor and takes what is there; the bytes taken, or -1. */
static ssize_t
receive(int fd, char *to, size_t room, long ms)
{
    struct pollfd wait;

    wait.fd = fd;
    wait.events = POLLIN;
    if (ms <= 0 || poll(&wait, 1, (int)ms) <= 0)
        return -1;
    return read(fd, to, room);
}

unsigned
ipcc__portmap(const struct sockaddr *host, socklen_t length, long timeout_ms)
{
    static const unsigned long call[CALL_WORDS] = {
        LAST | (CALL_WORDS - 1) * 4, 0, 0, 2, PROGRAM, VERSION, GETPORT, 0, 0, 0, 0, IPCPROG, IPCVERS, TCP, 0
    };
    struct sockaddr_in to;
    u_int words[CALL_WORDS];
    u_int reply[REPLY_WORDS];
    u_int xid;
    size_t used = 0;
    ssize_t got;
    long until = ipcc__now() + timeout_ms;
    int fd;
    int i;

    if (host->sa_family != AF_INET || length < (socklen_t)sizeof to)
        return 0;               /* version 2 knows IPv4 alone */
    memcpy(&to, host, sizeof to);
    to.sin_port = htons(PORTMAPPER);
    fd = ipcc__reach(AF_INET, (struct sockaddr *)&to, sizeof to, timeout_ms);
    if (fd < 0)
        return 0;
    ipcc__random(&xid, sizeof xid);
    for (i = 0; i < CALL_WORDS; i++)
        words[i] = htonl((u_int)call[i]);
    words[1] = xid;
    if (ipcc__send(fd, (char *)words, sizeof words) == 0)
        while (used < sizeof reply) {
            got = receive(fd, (char *)reply + used, sizeof reply - used, until - ipcc__now());
            if (got <= 0 && !(got < 0 && errno == EAGAIN))
                break;
            used += got < 0 ? 0 : (size_t)got;
        }
    (void)close(fd);
    /* The mark, our number, REPLY, accepted, AUTH_NONE of no bytes, SUCCESS. */
    if (used < sizeof reply || ntohl(reply[0]) != (LAST | (REPLY_WORDS - 1) * 4) || reply[1] != xid
        || ntohl(reply[2]) != 1 || reply[3] != 0 || reply[4] != 0 || reply[5] != 0 || reply[6] != 0
        || ntohl(reply[7]) > 65535)
        return 0;
    return (unsigned)ntohl(reply[7]);
}
