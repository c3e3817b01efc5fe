/* exec(): a plan's steps in this very process. */
#ifndef VIRCOMMAND_REPLACE_H
#define VIRCOMMAND_REPLACE_H

#include <stddef.h>
#include <stdint.h>

#include "child/plan.h"

/* Descriptors of this process, by number. */
struct descriptors {
  const int32_t *numbers;
  size_t count;
};

/*
 * Takes the plan's steps and becomes the program. Returns only if that failed, with the step and errno in *ret_report; then
 * this process is again as it was, but for what a process cannot take back: ids, capabilities, labels, core-scheduling group,
 * no_new_privs, session, control group, and a hard limit without the privilege to raise it.
 *
 * `open` are all descriptors that are open, whose close-on-exec flags are put back; `blocking` those that the program shall find
 * in blocking mode, whatever mode the event loop has put them into.
 */
void replace_process(const struct plan *plan, struct descriptors open, struct descriptors blocking,
                     struct report *ret_report);

#endif
