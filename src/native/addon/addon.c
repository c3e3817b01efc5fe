/*
 * The boundary to JavaScript: numbers and buffers in, numbers and buffers out. No policy, and no state but what belongs to one
 * environment, so that the addon can be loaded in several threads, and twice in one.
 */
#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "process/accounts.h"
#include "addon/hook.h"
#include "process/launch.h"
#include "addon/pidfd.h"
#include "child/pidfile.h"
#include "process/pidlock.h"
#include "process/replace.h"
#include "child/steps.h"
#include "process/watch.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

struct environment {
  napi_env env;
  napi_async_cleanup_hook_handle cleanup;
  napi_async_context async;  /* in which the event loop calls back into JavaScript */
  napi_callback_scope scope; /* of this turn, from its first event on; else NULL */
  napi_handle_scope handles; /* the same */
  struct watcher *watcher;   /* turned by the event loop */
  struct watcher *waiter;    /* turned by runSync(), which holds the loop */
  char *stack;
  struct held *held; /* the pidfiles that it holds */
  uint32_t last_held;
};

/* The two kinds of watchers number their processes from here on, so that a number tells whose it is. */
enum { FIRST_WATCHED = 0, FIRST_AWAITED = 0x40000000 };

/* A process's way back into JavaScript. */
struct context {
  struct environment *environment;
  napi_ref callback;
  napi_ref input;
  int waits; /* JavaScript waits for the event on this very stack */
};

#define CHECK(env, call)                                                                                 \
  do {                                                                                                   \
    if ((call) != napi_ok) {                                                                             \
      napi_throw_error((env), NULL, "vircommand: the addon was called with other values than it takes"); \
      return NULL;                                                                                       \
    }                                                                                                    \
  } while (0)

/* ---------------------------------------------------------------- values */

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  (void)napi_create_double(env, value, &result); /* Fails only without an environment. */
  return result;
}

static void free_bytes(napi_env env, void *bytes, void *hint) {
  (void)env;
  (void)hint;
  free(bytes);
}

/* Makes a Buffer of a piece of output and takes the piece over; `undefined` of none. Large ones are not copied. */
static napi_value buffer_of(napi_env env, struct piece piece) {
  enum { WORTH_SHARING = 64 * 1024 };
  napi_value result = NULL;
  if (piece.size == 0) {
    free(piece.bytes);
    (void)napi_get_undefined(env, &result);
    return result;
  }
  if (piece.size >= WORTH_SHARING) {
    char *exact = realloc(piece.bytes, piece.size);
    if (exact != NULL) piece.bytes = exact;
    if (napi_create_external_buffer(env, piece.size, piece.bytes, free_bytes, NULL, &result) == napi_ok) return result;
  }
  (void)napi_create_buffer_copy(env, piece.size, piece.bytes, NULL, &result);
  free(piece.bytes);
  return result;
}

/* ---------------------------------------------------------------- events */

enum event { EVENT_REPORT, EVENT_OUTPUT, EVENT_END };

/*
 * All events of a turn are told in one callback scope: what waits for promises runs when they are all told, once. A scope
 * for each event, with an asynchronous context for each child, took 6 us of a launch.
 */
static int enter_scope(struct environment *environment) {
  napi_env env = environment->env;
  if (environment->scope != NULL) return 1;
  if (napi_open_handle_scope(env, &environment->handles) != napi_ok) return 0;
  if (napi_open_callback_scope(env, NULL, environment->async, &environment->scope) == napi_ok) return 1;
  environment->scope = NULL;
  (void)napi_close_handle_scope(env, environment->handles);
  return 0;
}

static void on_turn_end(void *owner) {
  struct environment *environment = owner;
  napi_callback_scope scope = environment->scope;
  if (scope == NULL) return;
  environment->scope = NULL; /* First: what runs now may come back to this watcher. */
  const napi_handle_scope handles = environment->handles;
  (void)napi_close_callback_scope(environment->env, scope);
  (void)napi_close_handle_scope(environment->env, handles);
}

static void call_back(struct context *context, size_t argc, const napi_value *argv) {
  napi_env env = context->environment->env;
  napi_value callback, receiver, result, exception;
  if (napi_get_reference_value(env, context->callback, &callback) != napi_ok || callback == NULL) return;
  if (napi_get_global(env, &receiver) != napi_ok) return;
  if (napi_call_function(env, receiver, callback, argc, argv, &result) != napi_pending_exception) return;
  if (context->waits) return; /* What it throws, turn() leaves to its caller. */
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) (void)napi_fatal_exception(env, exception);
}

/* Where handles can be made for an event, and JavaScript be called; the counterpart is leave(). */
static int enter(struct context *context, napi_handle_scope *ret_scope) {
  if (!context->waits && !enter_scope(context->environment)) return 0;
  return napi_open_handle_scope(context->environment->env, ret_scope) == napi_ok;
}

static void forget(struct context *context) {
  napi_env env = context->environment->env;
  (void)napi_delete_reference(env, context->callback);
  if (context->input != NULL) (void)napi_delete_reference(env, context->input);
  free(context);
}

static void on_report(void *data, const struct report *report) {
  struct context *context = data;
  napi_env env = context->environment->env;
  napi_handle_scope scope;
  if (!enter(context, &scope)) return;
  const napi_value values[] = {number(env, EVENT_REPORT), number(env, report->failed), number(env, report->step),
                               number(env, report->errno_), number(env, report->daemon_pid)};
  call_back(context, sizeof values / sizeof *values, values);
  (void)napi_close_handle_scope(env, scope);
}

static void on_output(void *data, int stream, struct piece piece) {
  struct context *context = data;
  napi_env env = context->environment->env;
  napi_handle_scope scope;
  if (!enter(context, &scope)) {
    free(piece.bytes);
    return;
  }
  const napi_value values[] = {number(env, EVENT_OUTPUT), number(env, stream), buffer_of(env, piece)};
  call_back(context, sizeof values / sizeof *values, values);
  (void)napi_close_handle_scope(env, scope);
}

static double milliseconds(struct timeval time) {
  return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3;
}

static void on_end(void *data, const struct process_end *end, struct piece output[OUTPUTS]) {
  struct context *context = data;
  napi_env env = context->environment->env;
  napi_handle_scope scope;
  if (!enter(context, &scope)) return;
  const napi_value values[] = {
      number(env, EVENT_END),
      number(env, end->code),
      number(env, end->status),
      number(env, end->held_open),
      number(env, end->lost),
      number(env, (double)end->input_written),
      number(env, milliseconds(end->usage.ru_utime)),
      number(env, milliseconds(end->usage.ru_stime)),
      number(env, (double)end->usage.ru_maxrss),
      buffer_of(env, output[STDOUT]),
      buffer_of(env, output[STDERR]),
  };
  call_back(context, sizeof values / sizeof *values, values);
  forget(context);
  (void)napi_close_handle_scope(env, scope);
}

static void on_discard(void *context) {
  forget(context);
}

static const struct watch_events events = {on_report, on_output, on_discard, on_end, on_turn_end};

/* ---------------------------------------------------------------- functions */

static struct environment *environment_of(napi_env env) {
  void *data = NULL;
  (void)napi_get_instance_data(env, &data);
  return data;
}

/* isPossible(): boolean */
static napi_value is_possible(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result;
  CHECK(env, napi_get_boolean(env, launch_is_possible(environment_of(env)->stack), &result));
  return result;
}

/* hasCoreScheduling(): boolean. To ask for one's own cookie changes nothing. */
static napi_value has_core_scheduling(napi_env env, napi_callback_info info) {
  enum { SCHED_CORE = 62, GET = 0, THREAD = 0 };
  (void)info;
  unsigned long cookie = 0;
  napi_value result;
  CHECK(env, napi_get_boolean(env, prctl(SCHED_CORE, GET, 0, THREAD, &cookie) == 0, &result));
  return result;
}

/* pipe(ends: Int32Array): errno. Makes as many pipes as there is room for their ends, or none. All ends are closed on exec. */
static napi_value make_pipe(napi_env env, napi_callback_info info) {
  size_t argc = 1, length;
  napi_value ends;
  void *data;
  CHECK(env, napi_get_cb_info(env, info, &argc, &ends, NULL, NULL));
  CHECK(env, napi_get_typedarray_info(env, ends, NULL, &length, &data, NULL, NULL));
  int32_t *fds = data;
  for (size_t i = 0; i + 1 < length; i += 2) {
    if (pipe2(fds + i, O_CLOEXEC) == 0) continue;
    const int why = errno;
    while (i > 0) close(fds[--i]);
    return number(env, why);
  }
  return number(env, 0);
}

/* memoryFile(bytes: Buffer): descriptor, or a negative errno */
static napi_value memory_file(napi_env env, napi_callback_info info) {
  size_t argc = 1, size;
  napi_value value;
  void *bytes;
  CHECK(env, napi_get_cb_info(env, info, &argc, &value, NULL, NULL));
  CHECK(env, napi_get_buffer_info(env, value, &bytes, &size));
  /* Linux 6.3 can be told to refuse files that could be executed; older ones do not know the flag. */
  int fd = memfd_create("vircommand-plan", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create("vircommand-plan", MFD_CLOEXEC);
  if (fd < 0) return number(env, -errno);
  for (size_t written = 0; written < size;) {
    const ssize_t result = write(fd, (char *)bytes + written, size - written);
    if (result < 0 && errno != EINTR) {
      const int why = errno;
      close(fd);
      return number(env, -why);
    }
    if (result > 0) written += (size_t)result;
  }
  return number(env, fd);
}

/*
 * environment(): Buffer. Every variable as it is, each with its NUL. Only for the main thread, whose process.env this is:
 * to ask process.env costs a call into the engine for each variable, and its strings lose bytes that are not UTF-8.
 */
static napi_value environment_bytes(napi_env env, napi_callback_info info) {
  (void)info;
  size_t size = 0;
  for (char **entry = environ; entry != NULL && *entry != NULL; entry++) size += strlen(*entry) + 1;
  napi_value result;
  void *data;
  CHECK(env, napi_create_buffer(env, size, &data, &result));
  char *end = data;
  for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
    const size_t length = strlen(*entry) + 1;
    if (length > size) break;
    memcpy(end, *entry, length);
    end += length;
    size -= length;
  }
  return result;
}

/* closeAll(fds: Int32Array): closes what is 0 or above. */
static napi_value close_all(napi_env env, napi_callback_info info) {
  size_t argc = 1, length;
  napi_value fds;
  void *data;
  CHECK(env, napi_get_cb_info(env, info, &argc, &fds, NULL, NULL));
  CHECK(env, napi_get_typedarray_info(env, fds, NULL, &length, &data, NULL, NULL));
  for (size_t i = 0; i < length; i++) {
    if (((int32_t *)data)[i] >= 0) close(((int32_t *)data)[i]);
  }
  return NULL;
}

/* account(nameOrUid): [name, uid, gid, ...groups], undefined where there is none, or a negative errno */
static napi_value find_account(napi_env env, napi_callback_info info) {
  size_t argc = 1, length;
  napi_value key, result, value;
  napi_valuetype type;
  uint32_t uid = 0;
  char *name = NULL;
  CHECK(env, napi_get_cb_info(env, info, &argc, &key, NULL, NULL));
  CHECK(env, napi_typeof(env, key, &type));
  if (type == napi_string) {
    CHECK(env, napi_get_value_string_utf8(env, key, NULL, 0, &length));
    name = malloc(length + 1);
    if (name == NULL) return number(env, -ENOMEM);
    (void)napi_get_value_string_utf8(env, key, name, length + 1, NULL); /* It gave its length just now. */
  } else {
    CHECK(env, napi_get_value_uint32(env, key, &uid));
  }
  struct account account;
  const int found = account_find(name, uid, &account);
  free(name);
  if (found == 0) return NULL;
  if (found < 0) return number(env, found);
  CHECK(env, napi_create_array_with_length(env, (size_t)account.group_count + 3, &result));
  CHECK(env, napi_create_string_utf8(env, account.name, NAPI_AUTO_LENGTH, &value));
  (void)napi_set_element(env, result, 0, value); /* A new array of that length takes it. */
  (void)napi_set_element(env, result, 1, number(env, account.uid));
  (void)napi_set_element(env, result, 2, number(env, account.gid));
  for (int i = 0; i < account.group_count; i++)
    (void)napi_set_element(env, result, (uint32_t)i + 3, number(env, account.groups[i]));
  account_free(&account);
  return result;
}

/* Reads a plan from a copy of its bytes: another thread could write to them meanwhile. False: it has thrown. NULL: no memory. */
static bool read_plan(napi_env env, const void *bytes, size_t size, struct plan **ret_plan) {
  const char *why;
  *ret_plan = plan_copy(bytes, size, &why);
  if (*ret_plan == NULL && why != NULL) napi_throw_error(env, "ERR_VIRCOMMAND_PLAN", why);
  return *ret_plan != NULL || why == NULL;
}

/* launch(plan: Buffer, result: Int32Array[6], size?): sets pid, pidfd, failed, step, errno, detail of a pidfile. */
static napi_value launch_plan(napi_env env, napi_callback_info info) {
  size_t argc = 3, size, length;
  uint32_t used;
  napi_value values[3];
  void *bytes, *data;
  CHECK(env, napi_get_cb_info(env, info, &argc, values, NULL, NULL));
  CHECK(env, napi_get_buffer_info(env, values[0], &bytes, &size));
  if (argc == 3) {
    CHECK(env, napi_get_value_uint32(env, values[2], &used));
    if (used < size) size = used;
  }
  CHECK(env, napi_get_typedarray_info(env, values[1], NULL, &length, &data, NULL, NULL));
  int32_t *result = data;
  CHECK(env, length >= 6 ? napi_ok : napi_invalid_arg);
  struct plan *plan;
  if (!read_plan(env, bytes, size, &plan)) return NULL;
  struct launched launched = {.pidfd = -1, .clone_errno = ENOMEM};
  if (plan != NULL) launch(plan, environment_of(env)->stack, &launched);
  plan_free(plan);
  result[0] = launched.pid;
  result[1] = launched.pidfd;
  result[2] = launched.report.failed || launched.clone_errno != 0;
  result[3] = launched.clone_errno != 0 ? -1 : launched.report.step;
  result[4] = launched.clone_errno != 0 ? launched.clone_errno : launched.report.errno_;
  result[5] = launched.report.daemon_pid;
  return NULL;
}

static bool int32_array(napi_env env, napi_value value, struct descriptors *ret_descriptors) {
  void *data;
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env, value, &type, &ret_descriptors->count, &data, NULL, NULL) != napi_ok ||
      type != napi_int32_array)
    return false;
  ret_descriptors->numbers = data;
  return true;
}

/* replace(plan: Buffer, open: Int32Array, blocking: Int32Array, result: Int32Array[2]): returns only if that failed; sets step and errno. */
static napi_value replace(napi_env env, napi_callback_info info) {
  size_t argc = 4, size, length;
  napi_value values[4];
  void *bytes, *data;
  struct descriptors open, blocking;
  CHECK(env, napi_get_cb_info(env, info, &argc, values, NULL, NULL));
  CHECK(env, napi_get_buffer_info(env, values[0], &bytes, &size));
  CHECK(env, int32_array(env, values[1], &open) && int32_array(env, values[2], &blocking) ? napi_ok : napi_invalid_arg);
  CHECK(env, napi_get_typedarray_info(env, values[3], NULL, &length, &data, NULL, NULL));
  CHECK(env, length >= 2 ? napi_ok : napi_invalid_arg);
  struct plan *plan;
  if (!read_plan(env, bytes, size, &plan)) return NULL;
  struct report report = {.step = -1, .errno_ = ENOMEM};
  if (plan != NULL) replace_process(plan, open, blocking, &report);
  plan_free(plan);
  ((int32_t *)data)[0] = report.step;
  ((int32_t *)data)[1] = report.errno_;
  return NULL;
}

/* undo(pidfd): ends a child that the watcher could not take, and reaps it. Closes the pidfd. */
static napi_value undo(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value value;
  int32_t pidfd;
  CHECK(env, napi_get_cb_info(env, info, &argc, &value, NULL, NULL));
  CHECK(env, napi_get_value_int32(env, value, &pidfd));
  launch_undo(pidfd);
  return NULL;
}

static struct watcher *open_watcher(struct environment *environment, int waits) {
  uv_loop_t *loop = NULL;
  napi_value name;
  if (waits) {
    if (environment->waiter == NULL) environment->waiter = watcher_new(NULL, &events, environment, FIRST_AWAITED);
    return environment->waiter;
  }
  if (environment->watcher != NULL) return environment->watcher;
  if (napi_get_uv_event_loop(environment->env, &loop) != napi_ok) return NULL;
  if (environment->async == NULL) {
    if (napi_create_string_utf8(environment->env, "vircommand", NAPI_AUTO_LENGTH, &name) != napi_ok) return NULL;
    if (napi_async_init(environment->env, NULL, name, &environment->async) != napi_ok) return NULL;
  }
  return environment->watcher = watcher_new(loop, &events, environment, FIRST_WATCHED);
}

/* ready(waits: 0 or 1): makes the watcher if there is none, before there is a child that would need it; 0 or an errno */
static napi_value ready(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value value;
  int32_t waits;
  CHECK(env, napi_get_cb_info(env, info, &argc, &value, NULL, NULL));
  CHECK(env, napi_get_value_int32(env, value, &waits));
  return number(env, open_watcher(environment_of(env), waits) == NULL ? errno : 0);
}

/*
 * watch(fds: Int32Array[10], input: Buffer | undefined, callback): id, or a negative errno.
 * fds: pidfd, report, input, stdout, stderr, stdout is streamed, stderr is streamed, read to the end,
 * wait by turn(), announces its exec.
 */
static napi_value watch(napi_env env, napi_callback_info info) {
  struct environment *environment = environment_of(env);
  size_t argc = 3, length;
  napi_value values[3];
  void *data, *input = NULL;
  size_t input_size = 0;
  bool has_input;
  CHECK(env, napi_get_cb_info(env, info, &argc, values, NULL, NULL));
  CHECK(env, napi_get_typedarray_info(env, values[0], NULL, &length, &data, NULL, NULL));
  CHECK(env, napi_is_buffer(env, values[1], &has_input));
  if (has_input) CHECK(env, napi_get_buffer_info(env, values[1], &input, &input_size));
  CHECK(env, length == 10 ? napi_ok : napi_invalid_arg);
  const int32_t *fds = data;
  const int waits = fds[8];
  struct watcher *watcher = open_watcher(environment, waits);
  if (watcher == NULL) return number(env, -errno);
  struct context *context = calloc(1, sizeof *context);
  if (context == NULL) return number(env, -ENOMEM);
  context->environment = environment;
  context->waits = waits;
  CHECK(env, napi_create_reference(env, values[2], 1, &context->callback));
  if (has_input) CHECK(env, napi_create_reference(env, values[1], 1, &context->input));
  const struct watch_options options = {
      .pidfd = fds[0],
      .report_fd = fds[1],
      .input_fd = fds[2],
      .output_fd = {fds[3], fds[4]},
      .streamed = {fds[5], fds[6]},
      .read_to_end = fds[7],
      .announces_exec = fds[9],
      .input = input,
      .input_size = input_size,
      .context = context,
  };
  const uint32_t id = watch_start(watcher, &options);
  if (id != 0) return number(env, id);
  const int why = errno;
  forget(context);
  return number(env, -why);
}

/*
 * awaitEnd(pidfd, callback): id, or a negative errno. Calls back when the process has ended, whosever child it is, and reaps
 * nobody. The pidfd stays the caller's: a copy is watched.
 */
static napi_value await_end(napi_env env, napi_callback_info info) {
  struct environment *environment = environment_of(env);
  size_t argc = 2;
  napi_value values[2];
  int32_t pidfd;
  CHECK(env, napi_get_cb_info(env, info, &argc, values, NULL, NULL));
  CHECK(env, napi_get_value_int32(env, values[0], &pidfd));
  struct watcher *watcher = open_watcher(environment, 0);
  if (watcher == NULL) return number(env, -errno);
  struct context *context = calloc(1, sizeof *context);
  if (context == NULL) return number(env, -ENOMEM);
  context->environment = environment;
  CHECK(env, napi_create_reference(env, values[1], 1, &context->callback));
  const int copy = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
  const struct watch_options options = {
      .pidfd = copy, .report_fd = -1, .input_fd = -1, .output_fd = {-1, -1}, .only_looks = 1, .context = context};
  const uint32_t id = copy < 0 ? 0 : watch_start(watcher, &options);
  if (id != 0) return number(env, id);
  const int why = errno;
  if (copy >= 0) close(copy);
  forget(context);
  return number(env, -why);
}

/* turn(timeout): waits for events of the processes that are waited for, for so many milliseconds; -1: as long as it takes. */
static napi_value turn(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value value;
  int32_t timeout;
  CHECK(env, napi_get_cb_info(env, info, &argc, &value, NULL, NULL));
  CHECK(env, napi_get_value_int32(env, value, &timeout));
  watcher_turn(environment_of(env)->waiter, timeout);
  return NULL;
}

static struct watcher *watcher_of(napi_env env, uint32_t id) {
  const struct environment *environment = environment_of(env);
  return id >= FIRST_AWAITED ? environment->waiter : environment->watcher;
}

static uint32_t id_argument(napi_env env, napi_callback_info info, int32_t *ret_second) {
  size_t argc = 2;
  napi_value values[2];
  uint32_t id = 0;
  if (napi_get_cb_info(env, info, &argc, values, NULL, NULL) != napi_ok) return 0;
  if (napi_get_value_uint32(env, values[0], &id) != napi_ok) return 0;
  if (ret_second != NULL && napi_get_value_int32(env, values[1], ret_second) != napi_ok) return 0;
  return id;
}

/* signal(id, signal): 0, or a negative errno */
static napi_value send_signal(napi_env env, napi_callback_info info) {
  int32_t signal = 0;
  const uint32_t id = id_argument(env, info, &signal);
  return number(env, watch_signal(watcher_of(env, id), id, signal));
}

static napi_value stop_reading(napi_env env, napi_callback_info info) {
  const uint32_t id = id_argument(env, info, NULL);
  watch_stop_reading(watcher_of(env, id), id);
  return NULL;
}

/* keep(id, 0 or 1) */
static napi_value keep(napi_env env, napi_callback_info info) {
  int32_t is_kept = 1;
  const uint32_t id = id_argument(env, info, &is_kept);
  watch_keep(watcher_of(env, id), id, is_kept);
  return NULL;
}

/* ---------------------------------------------------------------- pidfiles */

/* A pidfile that is held, and the number by which JavaScript knows it. */
struct held {
  struct held *next;
  struct pidlock *lock;
  uint32_t id;
};

static void release_first(struct held **place) {
  struct held *held = *place;
  *place = held->next;
  pidlock_release(held->lock);
  free(held);
}

/* A pidfile that is being taken, in Node's thread pool. */
struct taking {
  napi_async_work work;
  napi_deferred deferred;
  struct pidlock *lock;
  struct pidlock_answer answer;
  int32_t flags;
  char *path;
  char text[24];
};

static void take_in_pool(napi_env env, void *data) {
  (void)env;
  struct taking *taking = data;
  taking->lock = pidlock_take(taking->path, taking->flags, taking->text, &taking->answer);
}

/* [errno, detail], or [0, 0, id, dev, ino]. */
static napi_value answer_of(napi_env env, struct taking *taking) {
  struct environment *environment = environment_of(env);
  napi_value result, dev, ino;
  if (napi_create_array(env, &result) != napi_ok) return NULL;
  (void)napi_set_element(env, result, 0, number(env, taking->answer.errno_)); /* A new array takes what it is given. */
  (void)napi_set_element(env, result, 1, number(env, taking->lock == NULL ? taking->answer.detail : 0));
  if (taking->lock == NULL) return result;
  struct held *held = malloc(sizeof *held);
  if (held == NULL) return NULL;
  *held = (struct held){environment->held, taking->lock, ++environment->last_held};
  environment->held = held;
  taking->lock = NULL; /* It belongs to the environment from here on. */
  (void)napi_create_bigint_uint64(env, taking->answer.dev, &dev);
  (void)napi_create_bigint_uint64(env, taking->answer.ino, &ino);
  (void)napi_set_element(env, result, 2, number(env, held->id));
  (void)napi_set_element(env, result, 3, dev);
  (void)napi_set_element(env, result, 4, ino);
  return result;
}

static void on_taken(napi_env env, napi_status status, void *data) {
  struct taking *taking = data;
  napi_value answer = status == napi_ok ? answer_of(env, taking) : NULL;
  /* An environment that ends while the file is being taken, or that has no memory left, cannot be told: the file is let go. */
  if (answer == NULL) (void)napi_get_undefined(env, &answer);
  if (taking->lock != NULL) pidlock_release(taking->lock);
  (void)napi_resolve_deferred(env, taking->deferred, answer);
  (void)napi_delete_async_work(env, taking->work);
  free(taking->path);
  free(taking);
}

/* takePidFile(path, text, create: 0 or 1): a promise of what answer_of() gives */
static napi_value take_pid_file(napi_env env, napi_callback_info info) {
  size_t argc = 3, length;
  napi_value values[3], name, promise;
  int32_t create;
  CHECK(env, napi_get_cb_info(env, info, &argc, values, NULL, NULL));
  CHECK(env, napi_get_value_string_utf8(env, values[0], NULL, 0, &length));
  CHECK(env, napi_get_value_int32(env, values[2], &create));
  struct taking *taking = calloc(1, sizeof *taking);
  if (taking != NULL) taking->path = malloc(length + 1);
  if (taking == NULL || taking->path == NULL) {
    free(taking);
    napi_throw_error(env, NULL, "vircommand: there is no memory for a pidfile");
    return NULL;
  }
  taking->flags = create ? O_CREAT : 0;
  if (napi_get_value_string_utf8(env, values[0], taking->path, length + 1, NULL) != napi_ok ||
      napi_get_value_string_utf8(env, values[1], taking->text, sizeof taking->text, NULL) != napi_ok ||
      napi_create_string_utf8(env, "vircommand", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_promise(env, &taking->deferred, &promise) != napi_ok ||
      napi_create_async_work(env, NULL, name, take_in_pool, on_taken, taking, &taking->work) != napi_ok) {
    free(taking->path);
    free(taking);
    CHECK(env, napi_generic_failure);
  }
  CHECK(env, napi_queue_async_work(env, taking->work));
  return promise;
}

/* releasePidFile(id): gives the lock up; the file stays. Once more does nothing. */
static napi_value release_pid_file(napi_env env, napi_callback_info info) {
  const uint32_t id = id_argument(env, info, NULL);
  for (struct held **place = &environment_of(env)->held; *place != NULL; place = &(*place)->next) {
    if ((*place)->id != id) continue;
    release_first(place);
    break;
  }
  return NULL;
}

/* pidFileHolder(fd): see pidfile_holder() */
static napi_value pid_file_holder(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value value;
  int32_t fd;
  CHECK(env, napi_get_cb_info(env, info, &argc, &value, NULL, NULL));
  CHECK(env, napi_get_value_int32(env, value, &fd));
  return number(env, (double)pidfile_holder(fd));
}

/* leave(id): ends a watch of awaitEnd() before there is anything to tell. */
static napi_value leave(napi_env env, napi_callback_info info) {
  const uint32_t id = id_argument(env, info, NULL);
  watch_leave(watcher_of(env, id), id);
  return NULL;
}

/* ---------------------------------------------------------------- the module */

static void on_watcher_closed(void *data) {
  struct environment *environment = data;
  (void)napi_remove_async_cleanup_hook(environment->cleanup);
  free(environment->stack);
  free(environment);
}

static void on_waiter_closed(void *data) {
  (void)data;
}

static void on_environment_end(napi_async_cleanup_hook_handle handle, void *data) {
  struct environment *environment = data;
  environment->cleanup = handle;
  while (environment->held != NULL) release_first(&environment->held);
  if (environment->waiter != NULL) watcher_close(environment->waiter, on_waiter_closed, NULL);
  if (environment->async != NULL) (void)napi_async_destroy(environment->env, environment->async);
  if (environment->watcher == NULL)
    on_watcher_closed(environment);
  else
    watcher_close(environment->watcher, on_watcher_closed, environment);
}

NAPI_MODULE_INIT() {
  struct environment *environment = calloc(1, sizeof *environment);
  if (environment != NULL) environment->stack = aligned_alloc(64, CHILD_STACK_SIZE);
  if (environment == NULL || environment->stack == NULL) {
    free(environment);
    napi_throw_error(env, NULL, "vircommand: there is no memory for the addon");
    return NULL;
  }
  environment->env = env;
  CHECK(env, napi_set_instance_data(env, environment, NULL, NULL));
  CHECK(env, napi_add_async_cleanup_hook(env, on_environment_end, environment, &environment->cleanup));
  const napi_property_descriptor functions[] = {
      {"isPossible", NULL, is_possible, NULL, NULL, NULL, napi_enumerable, NULL},
      {"hasCoreScheduling", NULL, has_core_scheduling, NULL, NULL, NULL, napi_enumerable, NULL},
      {"pipe", NULL, make_pipe, NULL, NULL, NULL, napi_enumerable, NULL},
      {"memoryFile", NULL, memory_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"environment", NULL, environment_bytes, NULL, NULL, NULL, napi_enumerable, NULL},
      {"closeAll", NULL, close_all, NULL, NULL, NULL, napi_enumerable, NULL},
      {"account", NULL, find_account, NULL, NULL, NULL, napi_enumerable, NULL},
      {"takePidFile", NULL, take_pid_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"releasePidFile", NULL, release_pid_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"pidFileHolder", NULL, pid_file_holder, NULL, NULL, NULL, napi_enumerable, NULL},
      {"launch", NULL, launch_plan, NULL, NULL, NULL, napi_enumerable, NULL},
      {"replace", NULL, replace, NULL, NULL, NULL, napi_enumerable, NULL},
      {"undo", NULL, undo, NULL, NULL, NULL, napi_enumerable, NULL},
      {"ready", NULL, ready, NULL, NULL, NULL, napi_enumerable, NULL},
      {"watch", NULL, watch, NULL, NULL, NULL, napi_enumerable, NULL},
      {"awaitEnd", NULL, await_end, NULL, NULL, NULL, napi_enumerable, NULL},
      {"leave", NULL, leave, NULL, NULL, NULL, napi_enumerable, NULL},
      {"turn", NULL, turn, NULL, NULL, NULL, napi_enumerable, NULL},
      {"signal", NULL, send_signal, NULL, NULL, NULL, napi_enumerable, NULL},
      {"stopReading", NULL, stop_reading, NULL, NULL, NULL, napi_enumerable, NULL},
      {"keep", NULL, keep, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  CHECK(env, napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions));
  CHECK(env, pidfd_define(env, exports));
  CHECK(env, hook_functions(env, exports));
  return exports;
}
