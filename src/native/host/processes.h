/*
 * Processes that this library need not have started, by descriptor: a pid may mean another process tomorrow, a pidfd never does.
 * Nothing here decides anything, keeps anything, or waits: every function asks the kernel one question and returns its answer.
 */
#ifndef VIRCOMMAND_PROCESSES_H
#define VIRCOMMAND_PROCESSES_H

#include <stddef.h>
#include <sys/resource.h>

/* A pidfd, closed on exec, or a negative errno. */
int process_open(int pid);

/* 0, or a negative errno. `to_group`: to the process group that the process leads; kernels before 6.9 answer EINVAL. */
int process_signal(int pidfd, int signal, int to_group);

/*
 * Signals a daemon, which is nobody's child, so its number may be given out again. But it alone holds the writing end of its
 * report: as long as that is open when the pidfd has been made, the number is still its own. 0, or a negative errno.
 */
int process_signal_by_report(int pid, int report_fd, int signal);

/* Whether all threads of a process have ended, reaped or not. */
int process_has_ended(int pidfd);

/* The process group that a process is in, a zombie's too, or a negative errno. 0: this process. */
int process_group(int pid);

/* How a child ended, as waitid() tells it. */
struct reaped {
  int code, status;
  struct rusage usage;
};

/* Reaps a child of this thread; with `peek`, only looks at it. 1: it has ended; 0: it runs; or a negative errno. */
int process_reap(int pidfd, int peek, struct reaped *ret_reaped);

/* Whether orphans below this process become its children. It is the whole process's. Returns what it was, or a negative errno. */
int process_set_subreaper(int is_on);

/* A row of the process table: see `processRow` of src/native/binding.ts. */
enum { ROW_PID, ROW_PARENT, ROW_GROUP, ROW_SESSION, ROW_STATE, ROW_START, ROW_COLUMNS };

/*
 * All processes that /proc shows, ROW_COLUMNS numbers each, in memory that the caller frees. 0, or a negative errno: half of a
 * tree would be worse than none.
 */
int process_table(double **ret_rows, size_t *ret_count);

#endif
