/*
 * ipcclient.h: System V message queues and semaphores of an ipcserver.
 *
 * The calls have the names and shapes of System V's with ipcc_ before them,
 * return what those return, and set errno as those do.  See ipcclient(3).
 */

#ifndef IPCCLIENT_H
#define IPCCLIENT_H

#include <sys/types.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What semctl's fourth argument is; programs must declare union semun themselves. */
union ipcc_semun {
    int val;                    /* SETVAL */
    struct semid_ds *buf;       /* IPC_STAT, IPC_SET */
    unsigned short *array;      /* GETALL, SETALL */
    void *info;                 /* IPC_INFO, SEM_INFO: struct seminfo */
};

/* The end of a session at the server. */
#define IPCC_BOUND 0            /* with the last connection, as a process does */
#define IPCC_LEASE 1            /* when no call came for the time of the lease */

/* Before the first call; each returns 0, or -1 and errno. */
int ipcc_server(const char *address);
int ipcc_patience(long seconds);
int ipcc_ending(int how);

/* Ends the session: adjustments of SEM_UNDO are made, connections are closed. */
void ipcc_close(void);

/* execve that keeps the session, and with it the adjustments of SEM_UNDO, for a program that uses this library too. */
int ipcc_execve(const char *path, char *const argv[], char *const envp[]);

int ipcc_msgget(key_t key, int msgflg);
int ipcc_msgsnd(int msqid, const void *msgp, size_t msgsz, int msgflg);
ssize_t ipcc_msgrcv(int msqid, void *msgp, size_t msgsz, long msgtyp, int msgflg);
int ipcc_msgctl(int msqid, int cmd, struct msqid_ds *buf);

int ipcc_semget(key_t key, int nsems, int semflg);
int ipcc_semop(int semid, struct sembuf *sops, size_t nsops);
int ipcc_semtimedop(int semid, struct sembuf *sops, size_t nsops, const struct timespec *timeout);
int ipcc_semctl(int semid, int semnum, int cmd, union ipcc_semun arg);

#ifdef __cplusplus
}
#endif

#endif
