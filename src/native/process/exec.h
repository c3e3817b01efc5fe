/* A plan's steps in this very process: for exec(), and at the end of a hook. */
#ifndef VIRCOMMAND_EXEC_H
#define VIRCOMMAND_EXEC_H

#include <stddef.h>
#include <stdint.h>

#include "child/plan.h"

/*
 * Performs the plan's steps and becomes the program. Returns only if that failed, with the step and errno in *ret_report; then
 * this process is again as it was, but for what no process can take back: the steps whose row in src/plan/step-table.ts says that they
 * stay, such as ids, and a hard limit without the privilege to raise it.
 *
 * `blocking` are the descriptors that the program shall find in blocking mode, whatever mode the event loop has put them into.
 */
void exec_in_place(const struct plan *plan, const int32_t *blocking, size_t blocking_count, struct report *ret_report);

/*
 * Performs the steps of a plan that executes the helper, in the hook runner. A step that fails is written to the report, and is
 * the end of the process; without a plan, that there was no memory for it. Node sets pipes not to block, and that is a property of
 * the open file, which the program gets: 0, 1 and 2 are set back first.
 */
__attribute__((noreturn)) void exec_helper(const struct plan *plan, int report_fd);

/* Marks all descriptors above the standard streams as closed on exec: nothing else reaches what a hook starts. */
void exec_shelter(void);

#endif
