/*
 * A hook runs in a Node process that has the descriptors, and at the end the pid, of the program. Two functions are for that
 * process: the one it begins with, and the one by which it becomes the helper, which takes the steps after the hook. One is
 * for the process that waits for it, where the hook never ends.
 *
 * The steps after the hook are not taken in the Node process itself. Ids would change for one of its threads only, and the
 * others would run on in the same memory with the old ones, until the exec ends them.
 */
#include "addon/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child/plan.h"
#include "child/sys.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

enum { STANDARD_STREAMS = 3, SIGNAL_SET_SIZE = 8 };

static napi_value wrong_values(napi_env env) {
  napi_throw_error(env, NULL, "vircommand: the addon was called with other values than it takes");
  return NULL;
}

static napi_value number(napi_env env, int32_t value) {
  napi_value result = NULL;
  (void)napi_create_int32(env, value, &result); /* Fails only without an environment. */
  return result;
}

static const int32_t *stream_flags(napi_env env, napi_value value) {
  void *data = NULL;
  size_t length = 0;
  if (napi_get_typedarray_info(env, value, NULL, &length, &data, NULL, NULL) != napi_ok || length != STANDARD_STREAMS)
    return NULL;
  return data;
}

/* ---------------------------------------------------------------- in the hook runner */

/* shelter(): nothing but 0, 1 and 2 reaches what the hook starts. */
static napi_value shelter(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  /* It is there: without it, the engine would not have been chosen. Node itself has marked the first few only. */
  (void)SYS3(SYS_close_range, STANDARD_STREAMS, ~0u, CLOSE_RANGE_CLOEXEC);
  return NULL;
}

/*
 * become(plan: Buffer, flags: Int32Array[3], report: descriptor): executes a plan in this very process. It returns only for
 * bytes that are no plan; a step that fails is reported, and is the end. The flags are those that 0, 1 and 2 had before Node:
 * it sets pipes not to block, and that is a property of the open file, which the program and others share.
 */
static napi_value become(napi_env env, napi_callback_info info) {
  size_t argc = 3, size;
  napi_value values[3];
  void *bytes;
  int32_t report_fd;
  if (napi_get_cb_info(env, info, &argc, values, NULL, NULL) != napi_ok) return wrong_values(env);
  if (napi_get_buffer_info(env, values[0], &bytes, &size) != napi_ok) return wrong_values(env);
  const int32_t *flags = stream_flags(env, values[1]);
  if (flags == NULL || napi_get_value_int32(env, values[2], &report_fd) != napi_ok) return wrong_values(env);

  const char *why;
  const struct plan *plan = plan_copy(bytes, size, &why);
  if (plan == NULL && why != NULL) {
    napi_throw_error(env, "ERR_VIRCOMMAND_PLAN", why);
    return NULL;
  }
  for (int fd = 0; fd < STANDARD_STREAMS; fd++) {
    if (flags[fd] >= 0) (void)fcntl(fd, F_SETFL, flags[fd]); /* The hook may have closed it, which is its affair. */
  }
  /* As in every child: a signal waits for the program. Node's handlers end with this process. */
  const uint64_t all = ~(uint64_t)0;
  (void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, SIGNAL_SET_SIZE);
  struct report report = {.failed = 1, .step = -1, .errno_ = ENOMEM};
  if (plan != NULL) {
    report = (struct report){0};
    child_run(plan, 0, &report);
  }
  (void)!write(report_fd, &report, sizeof report); /* Nobody is left to be told if nobody reads it. */
  (void)SYS1(SYS_exit_group, 127);
  __builtin_unreachable();
}

/* ---------------------------------------------------------------- in the process that waits */

/*
 * The daemon is nobody's child, and its number may be given out again. But it alone holds the writing end of the report: if
 * that is open when the pidfd has been made, the number was still its own.
 */
static int signal_daemon(int pid, int report_fd, int signal) {
  const long pidfd = SYS2(SYS_pidfd_open, pid, 0);
  if (pidfd < 0) return (int)pidfd;
  struct pollfd report = {.fd = report_fd, .events = POLLIN};
  const int is_over = poll(&report, 1, 0) > 0 && (report.revents & (POLLHUP | POLLNVAL)) != 0;
  const long result = is_over ? -ESRCH : SYS4(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
  (void)SYS1(SYS_close, pidfd); /* It was only looked through. */
  return (int)result;
}

/* signalDaemon(pid, report: descriptor, signal): 0, or a negative errno */
static napi_value signal_daemon_by_report(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value values[3];
  int32_t numbers[3];
  if (napi_get_cb_info(env, info, &argc, values, NULL, NULL) != napi_ok) return wrong_values(env);
  for (int i = 0; i < 3; i++) {
    if (napi_get_value_int32(env, values[i], &numbers[i]) != napi_ok) return wrong_values(env);
  }
  return number(env, signal_daemon(numbers[0], numbers[1], numbers[2]));
}

napi_status hook_functions(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      {"shelter", NULL, shelter, NULL, NULL, NULL, napi_enumerable, NULL},
      {"become", NULL, become, NULL, NULL, NULL, napi_enumerable, NULL},
      {"signalDaemon", NULL, signal_daemon_by_report, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  return napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
}
