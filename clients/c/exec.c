/*
 * exec.c: a session that goes on in the next program.
 *
 * The kernel keeps the adjustments of SEM_UNDO over exec: they belong to the
 * process.  So a connection is left open over exec, and a variable tells the
 * next program its number and the session.  If that program does not use this
 * library, the connection ends with it, and the session with that.
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "internal.h"

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

/*
 * Memory is mapped, not allocated: exec may be called where malloc may not.
 */
char **
ipcc__handed(struct ipcc__handing *handing, char *const *envp)
{
    size_t count = 0;
    size_t kept = 0;
    size_t i;

    handing->bytes = 0;
    if (!ipcc__hand_on(handing->token, sizeof handing->token, &handing->fd)) {
        ipcc__say_received();
        return (char **)envp;
    }
    while (envp != NULL && envp[count] != NULL)
        count++;
    handing->bytes = (count + 2) * sizeof *envp;
    handing->envp = (char **)mmap(NULL, handing->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((void *)handing->envp == MAP_FAILED) {
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

int
ipcc__stayed(struct ipcc__handing *handing)
{
    int error = errno;

    if (handing->bytes != 0) {
        (void)munmap((void *)handing->envp, handing->bytes);
        ipcc__keep(handing->fd);
    }
    errno = error;
    return -1;
}

int
ipcc_execve(const char *path, char *const argv[], char *const envp[])
{
    struct ipcc__handing handing;

    (void)execve(path, argv, ipcc__handed(&handing, envp));
    return ipcc__stayed(&handing);
}
