/* What a launcher thread is given, and what it gives back: memory that it shares with the thread which made it. */
#ifndef VIRCOMMAND_THREAD_H
#define VIRCOMMAND_THREAD_H

#include "child/plan.h"

enum { MOST_SOURCES = 16 };

struct thread_launch {
  const struct plan *plan;
  int socket;                /* where it tells: the address of this struct, and the pidfd as a right */
  int count;                 /* of the descriptors at which the moves of the plan begin */
  int sources[MOST_SOURCES]; /* their numbers here and in the plan, each once, the lowest first */
  /* The answer, as clone() gives it. */
  int pid; /* or a negative errno: there was never a child */
  int pidfd;
  struct report report;
};

/* The whole life of a launcher thread. It makes system calls only, and its argument is a struct thread_launch. */
int thread_main(void *argument);

#endif
