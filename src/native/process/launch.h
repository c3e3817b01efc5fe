/* Starting a child for a plan, in the parent. */
#ifndef VIRCOMMAND_LAUNCH_H
#define VIRCOMMAND_LAUNCH_H

#include "child/plan.h"

/* A child that runs its program, or the report of why there is none. */
struct launched {
  int pid;
  int pidfd; /* owned by the caller; -1 where the launch failed, and for a daemon, whose first process has ended */
  struct report report;
  int clone_errno; /* not 0: there was never a child */
};

/* Bytes of stack that a child is given. It calls a few functions deep, and has no large variables. */
enum { CHILD_STACK_SIZE = 64 * 1024 };

/* Launches on a stack of CHILD_STACK_SIZE bytes, which can be used again afterwards. */
void launch(const struct plan *plan, char *stack, struct launched *ret_launched);

/* What has become of a child that was made: its report tells whether it runs its program. */
void launch_conclude(int pid, int pidfd, const struct report *report, struct launched *ret_launched);

/* Ends a child that nothing looks after. False: it has taken other ids, and is out of reach. */
int launch_kill(int pidfd);

/* Reaps a child that has ended or is about to, and closes its pidfd. */
void launch_reap(int pidfd);

/* Takes over the pidfd of a child that outlives the thread which looked after it; it is reaped by a later launch of any thread. */
void launch_adopt(int pidfd);

/* Reaps those of them that have ended. */
void launch_reap_adopted(void);

/* Whether the kernel and the processor know core scheduling. */
int launch_has_core_scheduling(void);

/*
 * Asks once for each call that a launch takes, and launches a child that ends at once. 0: all is possible. Else the errno of
 * the call that is refused, or -1 where a child does not share this process's memory, as in user-mode emulators.
 */
int launch_probe(char *stack, const char **ret_call);

#endif
