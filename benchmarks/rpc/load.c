/*
 * load.c: calls an ONC RPC server as fast as it answers, and checks each reply.
 *
 *   load PORT tcp|udp CONNECTIONS DEPTH SECONDS null|add|SIZE
 *
 * Keeps DEPTH calls in flight on each of CONNECTIONS, for SECONDS after a
 * tenth of that as a warm-up.  SIZE echoes an opaque of so many bytes.  Prints
 * "CALLS ERRORS SECONDS P50 P99", times in microseconds.  One thread, one
 * epoll set, no RPC library: calls are built by hand.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM 0x20000600u
#define LAST 0x80000000u
#define BUCKETS 4096

struct connection {
    int fd;
    uint32_t next;          /* the xid after the newest; the low bits find its time */
    uint32_t in_flight;
    char *in;               /* replies that are not complete */
    size_t have;
    char *out;              /* calls that are not sent */
    size_t out_at, out_end;
    int waiting;            /* for room in the socket */
    double *since;          /* by xid modulo depth: when it was sent */
};

static char *call_bytes;    /* one call, with its mark for TCP */
static size_t call_size, reply_size, xid_at;
static int udp;
static uint32_t depth;
static int adding;
static long calls, errors;
static long buckets[BUCKETS];
static int counting;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put(char *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, 4);
}

static uint32_t get(const char *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return ntohl(value);
}

static void build(const char *what)
{
    size_t size = 0, arguments = 0;
    uint32_t procedure = 0;
    if (!strcmp(what, "add")) {
        procedure = 2, arguments = 8, adding = 1;
    } else if (strcmp(what, "null")) {
        procedure = 1, size = (size_t)atol(what), arguments = 4 + (size + 3) / 4 * 4;
    }
    size_t body = 40 + arguments, mark = udp ? 0 : 4;
    call_size = mark + body;
    xid_at = mark;
    call_bytes = calloc(1, call_size);
    if (mark)
        put(call_bytes, LAST | (uint32_t)body);
    char *at = call_bytes + mark;
    put(at + 8, 2);
    put(at + 12, PROGRAM);
    put(at + 16, 1);
    put(at + 20, procedure);
    if (adding) {
        put(at + 40, 40);
        put(at + 44, 2);
    } else if (procedure) {
        put(at + 40, (uint32_t)size);
        memset(at + 44, 'x', size);
    }
    reply_size = mark + 24 + (procedure == 1 ? arguments : procedure == 2 ? 4 : 0);
}

static void queue(struct connection *c)
{
    double time = now();
    while (c->in_flight < depth) {
        if (udp) {
            put(call_bytes + xid_at, c->next);
            if (send(c->fd, call_bytes, call_size, 0) < 0)
                return;
        } else {
            memcpy(c->out + c->out_end, call_bytes, call_size);
            put(c->out + c->out_end + xid_at, c->next);
            c->out_end += call_size;
        }
        c->since[c->next++ % depth] = time;
        c->in_flight++;
    }
}

static void flush(struct connection *c, int set)
{
    while (c->out_at < c->out_end) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_end - c->out_at, MSG_NOSIGNAL);
        if (n < 0)
            break;
        c->out_at += (size_t)n;
    }
    int waiting = c->out_at < c->out_end;
    if (waiting && errno != EAGAIN) {
        perror("load: send");
        exit(1);
    }
    if (!waiting)
        c->out_at = c->out_end = 0;
    else if (c->out_at) {
        memmove(c->out, c->out + c->out_at, c->out_end - c->out_at);
        c->out_end -= c->out_at;
        c->out_at = 0;
    }
    if (waiting != c->waiting) {
        struct epoll_event event = {.events = EPOLLIN | (waiting ? EPOLLOUT : 0u), .data.ptr = c};
        epoll_ctl(set, EPOLL_CTL_MOD, c->fd, &event);
        c->waiting = waiting;
    }
}

static void check(struct connection *c, const char *reply, double time)
{
    const char *at = reply + xid_at;
    uint32_t xid = get(at);
    /* Accepted, AUTH_NONE, SUCCESS; the sum or the last byte of the echo. */
    static const char success[20] = {0, 0, 0, 1};
    int good = xid < c->next && c->next - xid <= depth && !memcmp(at + 4, success, 20);
    if (adding)
        good = good && get(at + 24) == 42;
    else if (reply_size > xid_at + 28)
        good = good && get(at + 24) == get(call_bytes + xid_at + 40) &&
               !memcmp(reply + reply_size - 4, call_bytes + call_size - 4, 4);
    c->in_flight--;
    if (!counting)
        return;
    calls++;
    errors += !good;
    long bucket = (long)((time - c->since[xid % depth]) * 1e6);
    /* Ten per decade would do; a microsecond each up to 2 ms, 100 after. */
    bucket = bucket < 2048 ? bucket : 2048 + bucket / 100;
    buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

/* Replies, and the marks of small fragments in them. */
static size_t in_room(void)
{
    return reply_size * depth * 9 / 8 + 65536;
}

static void receive(struct connection *c)
{
    if (udp) {
        static char datagram[65536];
        for (;;) {
            ssize_t n = recv(c->fd, datagram, sizeof datagram, 0);
            if (n < 0)
                return;
            if ((size_t)n == reply_size)
                check(c, datagram, now());
            else
                errors++, c->in_flight--;
        }
    }
    ssize_t n = recv(c->fd, c->in + c->have, in_room() - c->have, 0);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return;
        fprintf(stderr, "load: the server closed a connection\n");
        exit(1);
    }
    c->have += (size_t)n;
    double time = now();
    size_t at = 0;
    for (;;) {
        /* A whole record from here on?  Then without the marks of its later fragments. */
        size_t end = at, size = 4;
        uint32_t mark = 0;
        while (c->have - end >= 4 && !(mark & LAST)) {
            mark = get(c->in + end);
            end += 4 + (mark & ~LAST);
            size += mark & ~LAST;
            if (end > c->have)
                break;
        }
        if (!(mark & LAST) || end > c->have)
            break;
        if (size != reply_size) {
            fprintf(stderr, "load: a reply of %zu bytes, not %zu\n", size, reply_size);
            exit(1);
        }
        if (end - at == size) {
            check(c, c->in + at, time);
        } else {
            static char *whole;
            if (!whole)
                whole = malloc(reply_size);
            size_t put_at = 4, from = at;
            while (put_at < size) {
                size_t part = get(c->in + from) & ~LAST;
                memcpy(whole + put_at, c->in + from + 4, part);
                put_at += part;
                from += 4 + part;
            }
            check(c, whole, time);
        }
        at = end;
    }
    memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
}

static double quantile(double share)
{
    long seen = 0;
    for (long i = 0; i < BUCKETS; i++)
        if ((seen += buckets[i]) >= (long)((double)calls * share))
            return i < 2048 ? (double)i : (double)(i - 2048) * 100;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "load PORT tcp|udp CONNECTIONS DEPTH SECONDS null|add|SIZE\n");
        return 2;
    }
    udp = !strcmp(argv[2], "udp");
    int count = atoi(argv[3]);
    depth = (uint32_t)atoi(argv[4]);
    double seconds = atof(argv[5]);
    build(argv[6]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int set = epoll_create1(0), one = 1;
    struct connection *all = calloc((size_t)count, sizeof *all);
    for (int i = 0; i < count; i++) {
        struct connection *c = &all[i];
        c->fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0);
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
            perror("load: connect");
            return 1;
        }
        if (!udp)
            setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->since = calloc(depth, sizeof *c->since);
        c->in = malloc(in_room());
        c->out = malloc(call_size * depth * 2);
        if (setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int)))
            perror("load: SO_SNDBUF");
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(set, EPOLL_CTL_ADD, c->fd, &event);
    }
    double begin = now(), start = begin + seconds / 10, end = start + seconds;
    for (int i = 0; i < count; i++) {
        queue(&all[i]);
        flush(&all[i], set);
    }
    struct epoll_event events[256];
    double time;
    while ((time = now()) < end) {
        if (!counting && time >= start)
            counting = 1;
        int n = epoll_wait(set, events, 256, 100);
        if (!n && udp)
            /* Datagrams were lost: give them up. */
            for (int i = 0; i < count; i++) {
                errors += counting ? all[i].in_flight : 0;
                all[i].in_flight = 0;
                queue(&all[i]);
            }
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLIN)
                receive(c);
            queue(c);
            flush(c, set);
        }
    }
    printf("%ld %ld %.3f %.0f %.0f\n", calls, errors, time - start, quantile(0.5), quantile(0.99));
    return errors != 0;
}
