/*
 * os.c: connections, the clock and signals, as POSIX has them.
 */

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define DEFAULT_PORT "600"
#define PORTMAP_MS 2000L        /* a host without a portmapper may not even refuse */

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0          /* SIGPIPE is held while we send, and another send tells */
#endif

void
ipcc__hold_signals(struct ipcc__mask *mask)
{
    sigset_t all;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &mask->before);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mask->cancel);
}

void
ipcc__let_signals(const struct ipcc__mask *mask)
{
    (void)pthread_setcancelstate(mask->cancel, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &mask->before, NULL);
}

long
ipcc__now(void)
{
#ifdef CLOCK_MONOTONIC
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) == 0)
        return (long)((unsigned long)now.tv_sec * 1000UL + (unsigned long)now.tv_nsec / 1000000UL);
#endif
    {
        struct timeval today;

        (void)gettimeofday(&today, NULL);
        return (long)((unsigned long)today.tv_sec * 1000UL + (unsigned long)today.tv_usec / 1000UL);
    }
}

void
ipcc__random(void *bytes, size_t count)
{
    struct timeval now;
    unsigned char *to = bytes;
    unsigned long word;
    size_t i;
    ssize_t got = 0;
    int fd = open("/dev/urandom", O_RDONLY);

    if (fd >= 0) {
        got = read(fd, bytes, count);
        (void)close(fd);
    }
    if (got == (ssize_t)count)
        return;
    (void)gettimeofday(&now, NULL);
    word = (unsigned long)now.tv_sec ^ (unsigned long)now.tv_usec << 12 ^ (unsigned long)getpid() << 7;
    for (i = 0; i < count; i++) {
        word = word * 1103515245UL + 12345UL;
        to[i] = (unsigned char)(word >> 16 & 0xff);
    }
}

void
ipcc__know(int fd, struct ipcc__file *file)
{
    memset(file, 0, sizeof *file);
    (void)ipcc__which(fd, file);
}

int
ipcc__is(int fd, const struct ipcc__file *file)
{
    struct ipcc__file found;

    return ipcc__which(fd, &found) == 0 && found.device == file->device && found.inode == file->inode;
}

int
ipcc__send(int fd, const char *data, size_t count)
{
    struct pollfd room;
    ssize_t sent;

    while (count > 0) {
        sent = send(fd, data, count, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                return -1;
            room.fd = fd;
            room.events = POLLOUT;
            if (poll(&room, 1, 10000) <= 0) {
                errno = ETIMEDOUT;
                return -1;
            }
            continue;
        }
        data += sent;
        count -= (size_t)sent;
    }
    return 0;
}

int
ipcc__reach(int family, const struct sockaddr *to, socklen_t length, long timeout_ms)
{
    struct pollfd wait;
    socklen_t size = sizeof(int);
    int error = 0;
    int fd = socket(family, SOCK_STREAM, 0);
    int high;

    if (fd < 0)
        return -1;
    /* Out of the way of programs that count on the numbers of their own descriptors. */
    high = fcntl(fd, F_DUPFD, 200);
    if (high >= 0) {
        (void)close(fd);
        fd = high;
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | O_NONBLOCK);
    if (connect(fd, to, length) < 0) {
        if (errno != EINPROGRESS && errno != EAGAIN)
            goto failed;
        wait.fd = fd;
        wait.events = POLLOUT;
        if (poll(&wait, 1, (int)timeout_ms) <= 0) {
            errno = ETIMEDOUT;
            goto failed;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
            goto failed;
        if (error != 0) {
            errno = error;
            goto failed;
        }
    }
    if (family != AF_UNIX) {
        int one = 1;

        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    }
    return fd;
failed:
    error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

/* The path of a local socket's address, or NULL. */
static const char *
path_of(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return address + 5;
    return address[0] == '/' ? address : NULL;
}

/* Splits [tcp:]HOST[:PORT], where an IPv6 address is in brackets. */
static int
host_of(const char *address, char *host, size_t room, const char **port)
{
    const char *end;

    if (strncmp(address, "tcp:", 4) == 0)
        address += 4;
    *port = NULL;
    if (address[0] == '[') {
        end = strchr(++address, ']');
        if (end == NULL)
            return -1;
        if (end[1] == ':')
            *port = end + 2;
    } else {
        end = strchr(address, ':');
        if (end != NULL)
            *port = end + 1;
        else
            end = address + strlen(address);
    }
    if (end == address || (size_t)(end - address) >= room || (*port != NULL && **port == '\0'))
        return -1;
    memcpy(host, address, (size_t)(end - address));
    host[end - address] = '\0';
    return 0;
}

int
ipcc__address_ok(const char *address)
{
    struct sockaddr_un local;
    char host[256];
    const char *port;

    if (path_of(address) != NULL)
        return strlen(path_of(address)) < sizeof local.sun_path;
    return host_of(address, host, sizeof host, &port) == 0;
}

/* A connection to where the host's portmapper says; -1 if it does not say, or nobody is there. */
static int
by_portmapper(const struct addrinfo *host, long timeout_ms)
{
    struct sockaddr_in to;
    unsigned port = ipcc__portmap(host->ai_addr, host->ai_addrlen, timeout_ms > PORTMAP_MS ? PORTMAP_MS : timeout_ms);

    if (port == 0)
        return -1;
    memcpy(&to, host->ai_addr, sizeof to);
    to.sin_port = htons((unsigned short)port);
    return ipcc__reach(AF_INET, (struct sockaddr *)&to, sizeof to, timeout_ms);
}

int
ipcc__connect(const char *address, long timeout_ms)
{
    struct addrinfo hints;
    struct addrinfo *found;
    struct addrinfo *each;
    char host[256];
    const char *port;
    int fd = -1;

    if (!ipcc__address_ok(address)) {
        errno = EINVAL;
        return -1;
    }
    if (path_of(address) != NULL) {
        struct sockaddr_un local;

        memset(&local, 0, sizeof local);
        local.sun_family = AF_UNIX;
        strcpy(local.sun_path, path_of(address));
        return ipcc__reach(AF_UNIX, (struct sockaddr *)&local, sizeof local, timeout_ms);
    }
    (void)host_of(address, host, sizeof host, &port);
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port == NULL ? DEFAULT_PORT : port, &hints, &found) != 0) {
        errno = EHOSTUNREACH;
        return -1;
    }
    for (each = found; each != NULL && fd < 0; each = each->ai_next) {
        if (port == NULL)
            fd = by_portmapper(each, timeout_ms);
        if (fd < 0)
            fd = ipcc__reach(each->ai_family, each->ai_addr, each->ai_addrlen, timeout_ms);
    }
    freeaddrinfo(found);
    return fd;
}
