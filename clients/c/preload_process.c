/*
 * preload_process.c: a program's beginning, its exec and its end.
 *
 * The kernel keeps the adjustments of SEM_UNDO over exec: they belong to the
 * process.  So the session goes on in the next program.  A connection of it is
 * left open over exec, and a variable tells the next program its number.  If
 * that program is not preloaded, the connection ends with it, and the session
 * with that.
 */

#define _GNU_SOURCE 1

#include <alloca.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload.h"

#define LONGEST (IPCC_TOKEN + 600)  /* bytes of the variable, with the server's address */

static void __attribute__((constructor))
begin(void)
{
    ipcc__notice = ipcc__waiting;
    if (getenv(IPCC_SESSION) == NULL)
        return;
    ipcc__begin();
    (void)unsetenv(IPCC_SESSION);
}

static void __attribute__((destructor))
end(void)
{
    ipcc__write_back();
    ipcc_close();
}

/* Adjustments are made before the parent's wait returns; without this the server would only see us gone. */
SHOWN void
_exit(int status)
{
    static void (*real)(int);

    ipcc__write_back();
    ipcc_close();
    ipcc__real("_exit", &real);
    for (;;)
        real(status);
}

SHOWN void
_Exit(int status)
{
    _exit(status);
}

/* ---- exec ----------------------------------------------------------------------- */

struct handing {
    char token[LONGEST];
    char **envp;
    size_t bytes;
    int fd;
};

/*
 * The environment of the next program.  Memory is mapped, not allocated: exec may be called where malloc may not.
 */
static char **
handed(struct handing *handing, char *const *envp)
{
    size_t count = 0;
    size_t kept = 0;
    size_t i;

    handing->bytes = 0;
    if (!ipcc__hand_on(handing->token, sizeof handing->token, &handing->fd))
        return (char **)envp;
    while (envp != NULL && envp[count] != NULL)
        count++;
    handing->bytes = (count + 2) * sizeof *envp;
    handing->envp = mmap(NULL, handing->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (handing->envp == MAP_FAILED) {
        ipcc__keep(handing->fd);
        handing->bytes = 0;
        return (char **)envp;
    }
    for (i = 0; i < count; i++)
        if (strncmp(envp[i], IPCC_SESSION "=", sizeof IPCC_SESSION) != 0)
            handing->envp[kept++] = envp[i];
    handing->envp[kept++] = handing->token;
    handing->envp[kept] = NULL;
    return handing->envp;
}

static int
stayed(struct handing *handing)
{
    if (handing->bytes != 0) {
        (void)munmap(handing->envp, handing->bytes);
        ipcc__keep(handing->fd);
    }
    return -1;
}

SHOWN int
execve(const char *path, char *const argv[], char *const envp[])
{
    static int (*real)(const char *, char *const *, char *const *);
    struct handing handing;

    ipcc__real("execve", &real);
    (void)real(path, argv, handed(&handing, envp));
    return stayed(&handing);
}

SHOWN int
execvpe(const char *file, char *const argv[], char *const envp[])
{
    static int (*real)(const char *, char *const *, char *const *);
    struct handing handing;

    ipcc__real("execvpe", &real);
    (void)real(file, argv, handed(&handing, envp));
    return stayed(&handing);
}

SHOWN int
fexecve(int fd, char *const argv[], char *const envp[])
{
    static int (*real)(int, char *const *, char *const *);
    struct handing handing;

    ipcc__real("fexecve", &real);
    (void)real(fd, argv, handed(&handing, envp));
    return stayed(&handing);
}

SHOWN int
execveat(int directory, const char *path, char *const argv[], char *const envp[], int flags)
{
    static int (*real)(int, const char *, char *const *, char *const *, int);
    struct handing handing;

    if (ipcc__real("execveat", &real) == NULL) {    /* glibc has it since 2.34 */
        errno = ENOSYS;
        return -1;
    }
    (void)real(directory, path, argv, handed(&handing, envp), flags);
    return stayed(&handing);
}

SHOWN int
execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

SHOWN int
execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

/* The arguments up to NULL, in memory of the calling function, which is the macro's reason. */
#define COLLECT(argv, first, list)                                              \
    do {                                                                        \
        size_t collected = 1;                                                   \
        size_t place;                                                           \
                                                                                \
        va_start(list, first);                                                  \
        while (va_arg(list, char *) != NULL)                                    \
            collected++;                                                        \
        va_end(list);                                                           \
        argv = alloca((collected + 1) * sizeof *argv);                          \
        argv[0] = (char *)first;                                                \
        va_start(list, first);                                                  \
        for (place = 1; place <= collected; place++)                            \
            argv[place] = va_arg(list, char *);                                 \
    } while (0)

SHOWN int
execl(const char *path, const char *first, ...)
{
    char **argv;
    va_list list;

    COLLECT(argv, first, list);
    va_end(list);
    return execve(path, argv, environ);
}

SHOWN int
execlp(const char *file, const char *first, ...)
{
    char **argv;
    va_list list;

    COLLECT(argv, first, list);
    va_end(list);
    return execvpe(file, argv, environ);
}

SHOWN int
execle(const char *path, const char *first, ...)
{
    char **argv;
    char **envp;
    va_list list;

    COLLECT(argv, first, list);
    envp = va_arg(list, char **);
    va_end(list);
    return execve(path, argv, envp);
}
