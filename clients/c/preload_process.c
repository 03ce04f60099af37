/*
 * preload_process.c: a program's beginning, its exec and its end.
 */

#define _GNU_SOURCE 1

#include <alloca.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "preload.h"

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

/* The environment of the next program. */
static char **
prepared(struct ipcc__handing *handing, char *const *envp)
{
    ipcc__write_back();
    return ipcc__handed(handing, envp);
}

SHOWN int
execve(const char *path, char *const argv[], char *const envp[])
{
    static int (*real)(const char *, char *const *, char *const *);
    struct ipcc__handing handing;

    ipcc__real("execve", &real);
    (void)real(path, argv, prepared(&handing, envp));
    return ipcc__stayed(&handing);
}

SHOWN int
execvpe(const char *file, char *const argv[], char *const envp[])
{
    static int (*real)(const char *, char *const *, char *const *);
    struct ipcc__handing handing;

    ipcc__real("execvpe", &real);
    (void)real(file, argv, prepared(&handing, envp));
    return ipcc__stayed(&handing);
}

SHOWN int
fexecve(int fd, char *const argv[], char *const envp[])
{
    static int (*real)(int, char *const *, char *const *);
    struct ipcc__handing handing;

    ipcc__real("fexecve", &real);
    (void)real(fd, argv, prepared(&handing, envp));
    return ipcc__stayed(&handing);
}

SHOWN int
execveat(int directory, const char *path, char *const argv[], char *const envp[], int flags)
{
    static int (*real)(int, const char *, char *const *, char *const *, int);
    struct ipcc__handing handing;

    if (ipcc__real("execveat", &real) == NULL) {    /* glibc has it since 2.34 */
        errno = ENOSYS;
        return -1;
    }
    (void)real(directory, path, argv, prepared(&handing, envp), flags);
    return ipcc__stayed(&handing);
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
