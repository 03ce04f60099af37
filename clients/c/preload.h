/*
 * preload.h: what the files of librpcipc.so share.  Linux with glibc only.
 *
 *   preload.c           queues and semaphores
 *   preload_shm.c       segments: the kernel's, or the experimental mode
 *   preload_process.c   beginning, exec and end
 *   preload_lookup.c    other ways to libc's calls: syscall, dlsym, dlopen
 */

#ifndef IPCC_PRELOAD_H
#define IPCC_PRELOAD_H

#include "internal.h"

#define SHOWN __attribute__((visibility("default")))
#define IPC_64 0x100            /* what some pass to ask for the long structures, which are all there is */

/* libc's function of a name that we replace; remembers it in *kept, a pointer to a function. */
void *ipcc__real(const char *name, void *kept);

/* Copies from and to the program's memory; -1 and EFAULT where the kernel would say so. */
int ipcc__fetch(void *to, const void *from, size_t count);
int ipcc__store(void *to, const void *from, size_t count);

/* A result, with an errno that the manual page has; instead is for failures that the kernel does not know. */
int ipcc__told(int result, int instead);

/* For ipcc__notice: says that the server is not there. */
void ipcc__waiting(const char *address, int error, long patience_ms);

/* Tells whether segments are the server's. */
int ipcc__shm(void);

/* Writes back what was changed in attached segments, before the process ends or becomes another. */
void ipcc__write_back(void);

#endif
