/* Launching beside the thread that runs JavaScript: a thread for each launch makes the child, and the event loop is told. */
#ifndef VIRCOMMAND_LAUNCHER_H
#define VIRCOMMAND_LAUNCHER_H

#include "child/plan.h"
#include "process/launch.h"

/* Told of each launch once, on the thread that began it. It takes the pidfd over. */
typedef void (*launcher_told)(void *context, const struct launched *launched);

/* NULL: no memory, no descriptor, or the kernel refuses what it takes; errno tells. */
struct launcher *launcher_new(launcher_told on_launched);

/* Readable when there is something for launcher_take(). */
int launcher_fd(const struct launcher *launcher);

/*
 * Begins a launch, and takes over the plan. Its sources stay open until it is told of. False: there is no room for it just now, or it is
 * refused here; nothing has begun, and the plan is still the caller's.
 */
int launcher_start(struct launcher *launcher, struct plan *plan, void *context);

/* Tells of what has come; with `waits`, of all that has begun. The stack is for a child that no thread could make. */
void launcher_take(struct launcher *launcher, char *stack, int waits);

/* Waits for all, tells of them, and ends. */
void launcher_close(struct launcher *launcher, char *stack);

#endif
