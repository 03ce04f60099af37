/*
 * preload_lookup.c: the other ways by which programs come to libc's calls.
 *
 *   dlopen with RTLD_DEEPBIND     its library would find libc's before ours
 *   dlsym in libc's own handle    as ctypes.CDLL("libc.so.6") does
 *   syscall(SYS_msgsnd, ...)
 *
 * All that is not ours is jumped to, not called: dlopen and dlsym look at who
 * called them, and a child that syscall(SYS_vfork) made returns on its parent's
 * stack.  The jumps are those of x86-64 with glibc; elsewhere dlsym and syscall
 * are left alone.
 */

#define _GNU_SOURCE 1

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload.h"

#if defined __x86_64__ && defined __LP64__ && defined __GLIBC__
#define JUMPS 1
#endif

#ifdef JUMPS

/* dlsym is ours too; libc's is had by its version, which is that of libdl before glibc 2.34. */
__attribute__((used)) static void *
real_dlsym(void)
{
    static void *real;

    if (real == NULL)
        real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (real == NULL)
        real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    return real;
}

void *
ipcc__real(const char *name, void *kept)
{
    void *(*look)(void *, const char *);
    void **found = kept;

    if (*found == NULL) {
        *(void **)&look = real_dlsym();
        *found = look(RTLD_NEXT, name);
    }
    return *found;
}

#else

void *
ipcc__real(const char *name, void *kept)
{
    void **found = kept;

    if (*found == NULL)
        *found = dlsym(RTLD_NEXT, name);
    return *found;
}

#endif

/* A tail call, so that the real dlopen sees its true caller. */
SHOWN void *
dlopen(const char *file, int mode)
{
    static void *(*real)(const char *, int);

    ipcc__real("dlopen", &real);
    return real(file, mode & ~RTLD_DEEPBIND);
}

/*
 * ipcs and others read /proc/sysvipc, where the kernel's objects are, and ask by msgctl and semctl if it is not there.
 */
static int
hidden(const char *path)
{
    static const char folder[] = "/proc/sysvipc/";

    if (path == NULL || path[0] != '/' || strncmp(path, folder, sizeof folder - 1) != 0)
        return 0;
    path += sizeof folder - 1;
    return strcmp(path, "msg") == 0 || strcmp(path, "sem") == 0 || (strcmp(path, "shm") == 0 && ipcc__shm());
}

SHOWN FILE *
fopen(const char *path, const char *mode)
{
    static FILE *(*real)(const char *, const char *);

    if (hidden(path)) {
        errno = ENOENT;
        return NULL;
    }
    ipcc__real("fopen", &real);
    return real(path, mode);
}

SHOWN FILE *
fopen64(const char *path, const char *mode)
{
    static FILE *(*real)(const char *, const char *);

    if (hidden(path)) {
        errno = ENOENT;
        return NULL;
    }
    ipcc__real("fopen64", &real);
    return real(path, mode);
}

#ifdef JUMPS

/* ---- dlsym ---------------------------------------------------------------------- */

#define OURS(name) {#name, (void *)(name)}

/* What dlsym gives, if it is a call that we replace; else NULL.  Called by the code below. */
__attribute__((used)) static void *
ours_for(void *handle, const char *name)
{
    static const struct { const char *name; void *call; } ours[] = {
        OURS(msgget), OURS(msgsnd), OURS(msgrcv), OURS(msgctl),
        OURS(semget), OURS(semop), OURS(semtimedop), OURS(semctl),
        OURS(shmget), OURS(shmat), OURS(shmdt), OURS(shmctl), OURS(syscall)
    };
    size_t i;

    (void)handle;
    if (name == NULL || (name[0] != 'm' && name[0] != 's'))
        return NULL;
    for (i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcmp(name, ours[i].name) == 0)
            return ours[i].call;
    return NULL;
}

__asm__(
    ".text\n"
    ".globl dlsym\n"
    ".type dlsym, @function\n"
    "dlsym:\n"
    "    pushq %rdi\n"
    "    pushq %rsi\n"
    "    subq $8, %rsp\n"
    "    call ours_for\n"
    "    testq %rax, %rax\n"
    "    jne 1f\n"
    "    call real_dlsym\n"
    "    addq $8, %rsp\n"
    "    popq %rsi\n"
    "    popq %rdi\n"
    "    jmpq *%rax\n"
    "1:  addq $24, %rsp\n"
    "    ret\n"
    ".size dlsym, .-dlsym\n"
);

/* ---- syscall -------------------------------------------------------------------- */

/* Does the calls that are ours, which all have six arguments at most. */
__attribute__((used)) static long
our_syscall(long number, long a, long b, long c, long d, long e)
{
    union ipcc_semun arg;

    switch (number) {
    case SYS_msgget: return msgget((key_t)a, (int)b);
    case SYS_msgsnd: return msgsnd((int)a, (void *)b, (size_t)c, (int)d);
    case SYS_msgrcv: return msgrcv((int)a, (void *)b, (size_t)c, d, (int)e);
    case SYS_msgctl: return msgctl((int)a, (int)b, (struct msqid_ds *)c);
    case SYS_semget: return semget((key_t)a, (int)b, (int)c);
    case SYS_semop: return semop((int)a, (struct sembuf *)b, (size_t)c);
    case SYS_semtimedop: return semtimedop((int)a, (struct sembuf *)b, (size_t)c, (struct timespec *)d);
    case SYS_semctl:
        arg.info = (void *)d;
        return semctl((int)a, (int)b, (int)c, arg);
    case SYS_shmget: return shmget((key_t)a, (size_t)b, (int)c);
    case SYS_shmat: return (long)shmat((int)a, (void *)b, (int)c);
    case SYS_shmdt: return shmdt((void *)a);
    case SYS_shmctl: return shmctl((int)a, (int)b, (struct shmid_ds *)c);
    case SYS_execve: return execve((const char *)a, (char *const *)b, (char *const *)c);
    default: _exit((int)a);     /* SYS_exit_group */
    }
}

static void *real_syscall __attribute__((used));

__attribute__((used)) static void
find_syscall(void)
{
    ipcc__real("syscall", &real_syscall);
}

/* 29 to 31: shmget, shmat, shmctl; 64 to 71: semget to msgctl with shmdt; 59: execve; 220: semtimedop; 231: exit_group. */
__asm__(
    ".text\n"
    ".globl syscall\n"
    ".type syscall, @function\n"
    "syscall:\n"
    "    leaq -29(%rdi), %rax\n"
    "    cmpq $2, %rax\n"
    "    jbe our_syscall\n"
    "    leaq -64(%rdi), %rax\n"
    "    cmpq $7, %rax\n"
    "    jbe our_syscall\n"
    "    cmpq $59, %rdi\n"
    "    je our_syscall\n"
    "    cmpq $220, %rdi\n"
    "    je our_syscall\n"
    "    cmpq $231, %rdi\n"
    "    je our_syscall\n"
    "1:  movq real_syscall(%rip), %rax\n"
    "    testq %rax, %rax\n"
    "    je 2f\n"
    "    jmpq *%rax\n"
    "2:  pushq %rdi\n"
    "    pushq %rsi\n"
    "    pushq %rdx\n"
    "    pushq %rcx\n"
    "    pushq %r8\n"
    "    pushq %r9\n"
    "    subq $8, %rsp\n"
    "    call find_syscall\n"
    "    addq $8, %rsp\n"
    "    popq %r9\n"
    "    popq %r8\n"
    "    popq %rcx\n"
    "    popq %rdx\n"
    "    popq %rsi\n"
    "    popq %rdi\n"
    "    jmp 1b\n"
    ".size syscall, .-syscall\n"
);

#endif
