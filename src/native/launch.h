/* Starting a child for a plan, in the parent. */
#ifndef VIRCOMMAND_LAUNCH_H
#define VIRCOMMAND_LAUNCH_H

#include "plan.h"

/* Bytes of stack that a child is given. It calls a few functions deep, and has no large variables. */
enum { CHILD_STACK_SIZE = 64 * 1024 };

/*
 * What a child has of our memory until it executes its program or ends. A child that is not waited for has it for some time
 * yet: it may be given back when the child has ended.
 */
struct loan {
  struct loan *next; /* of whoever keeps it */
  struct plan *plan;
  char *stack; /* CHILD_STACK_SIZE bytes */
  struct report report;
  int pidfd;
};

/* A child that runs its program or is about to, or the report of why there is none. */
struct launched {
  int pid;
  int pidfd; /* owned by the caller; -1 where the launch failed, and for a daemon, whose first process has ended */
  int clone_errno; /* not 0: there was never a child */
  struct report report;
};

/*
 * Launches. With `waits`, this thread sleeps until the child has executed its program or failed, and the loan can be used again
 * afterwards. Without, it goes on at once: a step that fails is told by the loan's report, once the child has ended.
 */
void launch(struct loan *loan, int waits, struct launched *ret_launched);

/* Ends a child that nobody can look after, and reaps it. Closes its pidfd. */
void launch_undo(int pidfd);

/* Takes over the pidfd of a child that outlives the thread which looked after it; it is reaped by a later launch of any thread. */
void launch_adopt(int pidfd);

/* Whether a child really shares memory here, waited for or not, and clone() gives pidfds. User-mode emulators and sandboxes may not. */
int launch_is_possible(char *stack);

#endif
