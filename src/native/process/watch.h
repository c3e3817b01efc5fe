/* Looking after running children: their output, their input, their end. One watcher for each thread that runs JavaScript. */
#ifndef VIRCOMMAND_WATCH_H
#define VIRCOMMAND_WATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <uv.h>

#include "child/plan.h"

struct watcher;

enum { STDOUT = 0, STDERR = 1, OUTPUTS = 2 };

/* What a process is watched for. -1: there is no such descriptor. */
struct watch_options {
  int pidfd;
  int report_fd;     /* a helper's report */
  int input_fd;      /* takes input, and is closed after it */
  const char *input; /* lives until the process is done */
  size_t input_size;
  int output_fd[OUTPUTS];
  int streamed[OUTPUTS]; /* hand each piece over as it comes, instead of all at the end */
  int read_to_end;       /* wait for the end of the output, not only of the process */
  int only_looks; /* somebody else's process: it is neither reaped nor ever ended from here, and the pidfd is copied */
  int announces_exec; /* a report without a failure comes before the exec */
  int leaves_stderr; /* where another process still holds standard error at the end, it stays open for the last event */
  int keeps_pipe_size; /* a busy pipe is not made larger */
  void *context;
};

/* How a process ended. */
struct process_end {
  int code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
  int status; /* exit code or signal */
  struct rusage usage;
  int held_open;
  int lost; /* streams whose output there was no memory for, a bit for each: 1 << STDOUT, 1 << STDERR */
  size_t input_written;
  int left_stderr; /* a descriptor that is closed after the event, or -1 */
};

/* A piece of output that is handed over: the receiver frees it. */
struct piece {
  char *bytes;
  size_t size;
};

/* Called on the loop's thread. */
struct watch_events {
  void (*on_report)(void *context, const struct report *report);
  void (*on_output)(void *context, int stream, struct piece piece);
  /* Instead of on_end, where the watcher is closed before the process has ended: to let go of the context, and no more. */
  void (*on_discard)(void *context);
  /* The last event of a process. */
  void (*on_end)(void *context, const struct process_end *end, struct piece output[OUTPUTS]);
  /* After all events of a turn that the loop made. */
  void (*on_turn_end)(void *owner);
};

/*
 * A watcher whose turns the loop makes, or, without a loop, whoever calls watcher_turn(). NULL: no memory, or no descriptor;
 * errno tells. Its processes are numbered from `first_id` on.
 */
struct watcher *watcher_new(uv_loop_t *loop, const struct watch_events *events, void *owner, uint32_t first_id);

/*
 * Has the turns look at one descriptor more, and call back with the owner where it can be read, after all that there is to tell of
 * processes. 0, or an errno.
 */
int watcher_look(struct watcher *watcher, int fd, void (*on_readable)(void *owner));

/* Has the loop wait for so many things more, or fewer, that are not processes yet. */
void watcher_expect(struct watcher *watcher, int more);

/* Waits for events, for at most so many milliseconds (-1: as long as it takes), and handles them. */
void watcher_turn(struct watcher *watcher, int timeout);

/* Ends the children that this thread still keeps, and closes everything; calls back when that is done. */
void watcher_close(struct watcher *watcher, void (*on_closed)(void *context), void *context);

/*
 * Gives the process a number, above 0, by which the functions below know it until its last event. From then on, the descriptors
 * are the watcher's. 0: no memory, or no room in the kernel; errno tells, and the descriptors are still the caller's.
 */
uint32_t watch_start(struct watcher *watcher, const struct watch_options *options);

/* 0, or a negative errno; -ESRCH once the process has been reaped. */
int watch_signal(struct watcher *watcher, uint32_t id, int signal);

/* The signal that has stopped the process, once for each stop; 0: it has not been stopped since, or it has ended. */
int watch_take_stop(struct watcher *watcher, uint32_t id);

/* Lets go of a process that is only looked at. There will be no event of it; its context is discarded. */
void watch_leave(struct watcher *watcher, uint32_t id);

/* Does not wait for the end of the output any more. */
void watch_stop_reading(struct watcher *watcher, uint32_t id);

/* Whether the loop waits for the process. One that it does not wait for is not ended with this thread either. */
void watch_keep(struct watcher *watcher, uint32_t id, int is_kept);

#endif
