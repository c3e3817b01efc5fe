/* Looking after processes: their events on the way to JavaScript. */
#include <errno.h>
#include <stdlib.h>

#include "addon/addon.h"
#include "process/watch.h"

/* The two kinds of watchers number their processes from here on, so that a number tells whose it is. */
enum { FIRST_WATCHED = 0, FIRST_AWAITED = 0x40000000 };

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

/*
 * All events of a turn are told in one callback scope: what waits for promises runs when they are all told, once. A scope
 * for each event, with an asynchronous context for each child, took 6 us of a launch.
 */
int enter_scope(struct environment *environment) {
  napi_env env = environment->env;
  if (environment->scope != NULL) return 1;
  if (napi_open_handle_scope(env, &environment->handles) != napi_ok) return 0;
  if (napi_open_callback_scope(env, NULL, environment->async, &environment->scope) == napi_ok) return 1;
  environment->scope = NULL;
  (void)napi_close_handle_scope(env, environment->handles);
  return 0;
}

void leave_scope(struct environment *environment) {
  napi_callback_scope scope = environment->scope;
  if (scope == NULL) return;
  environment->scope = NULL; /* First: what runs now may come back to this watcher. */
  const napi_handle_scope handles = environment->handles;
  (void)napi_close_callback_scope(environment->env, scope);
  (void)napi_close_handle_scope(environment->env, handles);
}

static void on_turn_end(void *owner) {
  leave_scope(owner);
}

void call_back(struct context *context, size_t argc, const napi_value *argv) {
  napi_env env = context->environment->env;
  napi_value callback, receiver, result, exception;
  if (napi_get_reference_value(env, context->callback, &callback) != napi_ok || callback == NULL) return;
  if (napi_get_global(env, &receiver) != napi_ok) return;
  if (napi_call_function(env, receiver, callback, argc, argv, &result) != napi_pending_exception) return;
  if (context->waits) return; /* What it throws, turn() leaves to its caller. */
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) (void)napi_fatal_exception(env, exception);
}

int enter(struct context *context, napi_handle_scope *ret_scope) {
  if (!context->waits && !enter_scope(context->environment)) return 0;
  return napi_open_handle_scope(context->environment->env, ret_scope) == napi_ok;
}

void forget(struct context *context) {
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
  const napi_value values[REPORT_PLACES] = {
      [REPORT_EVENT] = number(env, EVENT_REPORT),        [REPORT_FAILED] = number(env, report->failed),
      [REPORT_STEP] = number(env, report->step),         [REPORT_ERRNO] = number(env, report->errno_),
      [REPORT_DETAIL] = number(env, report->daemon_pid),
  };
  call_back(context, REPORT_PLACES, values);
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
  const napi_value values[OUTPUT_PLACES] = {
      [OUTPUT_EVENT] = number(env, EVENT_OUTPUT),
      [OUTPUT_STREAM] = number(env, stream),
      [OUTPUT_PIECE] = buffer_of(env, piece),
  };
  call_back(context, OUTPUT_PLACES, values);
  (void)napi_close_handle_scope(env, scope);
}

static void on_end(void *data, const struct process_end *end, struct piece output[OUTPUTS]) {
  struct context *context = data;
  napi_env env = context->environment->env;
  napi_handle_scope scope;
  if (!enter(context, &scope)) return;
  const napi_value values[END_PLACES] = {
      [END_EVENT] = number(env, EVENT_END),
      [END_CODE] = number(env, end->code),
      [END_STATUS] = number(env, end->status),
      [END_HELD_OPEN] = number(env, end->held_open),
      [END_LOST] = number(env, end->lost),
      [END_INPUT_WRITTEN] = number(env, (double)end->input_written),
      [END_USER_MS] = number(env, milliseconds(end->usage.ru_utime)),
      [END_SYSTEM_MS] = number(env, milliseconds(end->usage.ru_stime)),
      [END_MAX_RSS_KIB] = number(env, (double)end->usage.ru_maxrss),
      [END_STDOUT] = buffer_of(env, output[STDOUT]),
      [END_STDERR] = buffer_of(env, output[STDERR]),
      [END_LEFT_STDERR] = number(env, end->left_stderr),
  };
  call_back(context, END_PLACES, values);
  forget(context);
  (void)napi_close_handle_scope(env, scope);
}

static void on_discard(void *context) {
  forget(context);
}

static const struct watch_events events = {on_report, on_output, on_discard, on_end, on_turn_end};

/* ---------------------------------------------------------------- watchers */

int has_async(struct environment *environment) {
  napi_value name;
  return environment->async != NULL ||
         (napi_create_string_utf8(environment->env, "vircommand", NAPI_AUTO_LENGTH, &name) == napi_ok &&
          napi_async_init(environment->env, NULL, name, &environment->async) == napi_ok);
}

static struct watcher *open_watcher(struct environment *environment, int waits) {
  uv_loop_t *loop = NULL;
  if (waits) {
    if (environment->waiter == NULL) environment->waiter = watcher_new(NULL, &events, environment, FIRST_AWAITED);
    return environment->waiter;
  }
  if (environment->watcher != NULL) return environment->watcher;
  if (napi_get_uv_event_loop(environment->env, &loop) != napi_ok) return NULL;
  if (!has_async(environment)) return NULL;
  return environment->watcher = watcher_new(loop, &events, environment, FIRST_WATCHED);
}

struct watcher *watcher_of(napi_env env, int32_t id) {
  const struct environment *environment = environment_of(env);
  return id >= FIRST_AWAITED ? environment->waiter : environment->watcher;
}

static void on_waiter_closed(void *data) {
  (void)data;
}

void close_watchers(struct environment *environment, void (*on_closed)(void *environment)) {
  if (environment->waiter != NULL) watcher_close(environment->waiter, on_waiter_closed, NULL);
  if (environment->async != NULL) (void)napi_async_destroy(environment->env, environment->async);
  if (environment->watcher == NULL)
    on_closed(environment);
  else
    watcher_close(environment->watcher, on_closed, environment);
}

/* ---------------------------------------------------------------- functions */

napi_value addon_ready(napi_env env, napi_callback_info info) {
  int32_t waits;
  CHECK(env, integers(env, info, 1, &waits));
  return number(env, open_watcher(environment_of(env), waits) == NULL ? errno : 0);
}

static void give_to_watcher(struct owned *owned, const struct watch_options *options) {
  const int fds[] = {options->pidfd, options->report_fd, options->input_fd, options->output_fd[STDOUT],
                     options->output_fd[STDERR]};
  for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) owned_release(owned, fds[i]);
}

/* Makes a way back to JavaScript for a process, and gives the process to its watcher: a number above 0, or a negative errno. */
static napi_value start(struct environment *environment, int waits, napi_value callback, napi_value input,
                        struct watch_options *options) {
  napi_env env = environment->env;
  struct watcher *watcher = open_watcher(environment, waits);
  if (watcher == NULL) return number(env, -errno);
  struct context *context = calloc(1, sizeof *context);
  if (context == NULL) return number(env, -ENOMEM);
  *context = (struct context){.environment = environment, .waits = waits};
  CHECK(env, napi_create_reference(env, callback, 1, &context->callback));
  if (input != NULL) CHECK(env, napi_create_reference(env, input, 1, &context->input));
  options->context = context;
  const uint32_t id = watch_start(watcher, options);
  if (id != 0) {
    if (!options->only_looks) give_to_watcher(&environment->owned, options);
    return number(env, id);
  }
  const int why = errno;
  forget(context);
  return number(env, -why);
}

napi_value addon_watch(napi_env env, napi_callback_info info) {
  napi_value values[3];
  int32_t *told;
  void *input = NULL;
  size_t count, input_size = 0;
  bool has_input;
  CHECK(env, arguments(env, info, 3, values));
  CHECK(env, int32_array(env, values[0], WATCH_PLACES, &told, &count));
  CHECK(env, napi_is_buffer(env, values[1], &has_input));
  if (has_input) CHECK(env, napi_get_buffer_info(env, values[1], &input, &input_size));
  struct watch_options options = {
      .pidfd = told[WATCH_PIDFD],
      .report_fd = told[WATCH_REPORT],
      .input_fd = told[WATCH_INPUT],
      .output_fd = {told[WATCH_STDOUT], told[WATCH_STDERR]},
      .streamed = {told[WATCH_STDOUT_STREAMED], told[WATCH_STDERR_STREAMED]},
      .read_to_end = told[WATCH_READ_TO_END],
      .announces_exec = told[WATCH_ANNOUNCES_EXEC],
      .leaves_stderr = told[WATCH_LEAVES_STDERR],
      .keeps_pipe_size = told[WATCH_KEEPS_PIPE_SIZE],
      .input = input,
      .input_size = input_size,
  };
  return start(environment_of(env), told[WATCH_WAITS], values[2], has_input ? values[1] : NULL, &options);
}

napi_value addon_await_end(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int32_t pidfd;
  CHECK(env, arguments(env, info, 2, values));
  CHECK(env, napi_get_value_int32(env, values[0], &pidfd));
  struct watch_options options = {
      .pidfd = pidfd, .report_fd = -1, .input_fd = -1, .output_fd = {-1, -1}, .only_looks = 1};
  return start(environment_of(env), 0, values[1], NULL, &options);
}

napi_value addon_leave(napi_env env, napi_callback_info info) {
  int32_t id;
  CHECK(env, integers(env, info, 1, &id));
  watch_leave(watcher_of(env, id), (uint32_t)id);
  return NULL;
}

napi_value addon_turn(napi_env env, napi_callback_info info) {
  int32_t timeout;
  CHECK(env, integers(env, info, 1, &timeout));
  watcher_turn(environment_of(env)->waiter, timeout);
  return NULL;
}

napi_value addon_signal(napi_env env, napi_callback_info info) {
  int32_t values[2];
  CHECK(env, integers(env, info, 2, values));
  return number(env, watch_signal(watcher_of(env, values[0]), (uint32_t)values[0], values[1]));
}

napi_value addon_stop_reading(napi_env env, napi_callback_info info) {
  int32_t id;
  CHECK(env, integers(env, info, 1, &id));
  watch_stop_reading(watcher_of(env, id), (uint32_t)id);
  return NULL;
}

napi_value addon_keep(napi_env env, napi_callback_info info) {
  int32_t values[2];
  CHECK(env, integers(env, info, 2, values));
  watch_keep(watcher_of(env, values[0]), (uint32_t)values[0], values[1]);
  return NULL;
}
