/* Launching, and exec in place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/addon.h"
#include "process/exec.h"
#include "process/launch.h"
#include "process/watch.h"

napi_value addon_probe(napi_env env, napi_callback_info info) {
  (void)info;
  const char *call;
  napi_value result, name;
  const int why = launch_probe(environment_of(env)->stack, &call);
  if (why == 0) return NULL;
  CHECK(env, napi_create_array_with_length(env, 2, &result));
  CHECK(env, napi_create_string_utf8(env, call, NAPI_AUTO_LENGTH, &name));
  (void)napi_set_element(env, result, 0, name); /* A new array of that length takes it. */
  (void)napi_set_element(env, result, 1, number(env, why));
  return result;
}

napi_value addon_has_core_scheduling(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result;
  CHECK(env, napi_get_boolean(env, launch_has_core_scheduling(), &result));
  return result;
}

/* To ask process.env costs a call into the engine for each variable, and its strings lose bytes that are not UTF-8. */
napi_value addon_environment(napi_env env, napi_callback_info info) {
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

/* ---------------------------------------------------------------- descriptors */

napi_value addon_pipe(napi_env env, napi_callback_info info) {
  napi_value ends;
  int32_t *fds;
  size_t count;
  CHECK(env, arguments(env, info, 1, &ends));
  CHECK(env, int32_array(env, ends, 0, &fds, &count));
  return number(env, owned_pipes(&environment_of(env)->owned, fds, count / 2));
}

napi_value addon_memory_file(napi_env env, napi_callback_info info) {
  napi_value value;
  void *bytes;
  size_t size;
  CHECK(env, arguments(env, info, 1, &value));
  CHECK(env, napi_get_buffer_info(env, value, &bytes, &size));
  return number(env, owned_memory_file(&environment_of(env)->owned, bytes, size));
}

napi_value addon_send_buffer(napi_env env, napi_callback_info info) {
  napi_value value;
  void *bytes;
  size_t size;
  CHECK(env, arguments(env, info, 1, &value));
  CHECK(env, napi_get_buffer_info(env, value, &bytes, &size));
  return number(env, owned_send_buffer(&environment_of(env)->owned, bytes, size));
}

napi_value addon_null_device(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, owned_null_device(&environment_of(env)->owned));
}

napi_value addon_try_room(napi_env env, napi_callback_info info) {
  int32_t count;
  CHECK(env, integers(env, info, 1, &count));
  CHECK(env, count > 0 ? napi_ok : napi_invalid_arg);
  return number(env, owned_try_room(&environment_of(env)->owned, (size_t)count));
}

/* Does something with each descriptor of an array. */
static napi_value for_each(napi_env env, napi_callback_info info, void (*act)(struct owned *owned, int fd)) {
  napi_value value;
  int32_t *fds;
  size_t count;
  CHECK(env, arguments(env, info, 1, &value));
  CHECK(env, int32_array(env, value, 0, &fds, &count));
  for (size_t i = 0; i < count; i++) act(&environment_of(env)->owned, fds[i]);
  return NULL;
}

napi_value addon_give_away(napi_env env, napi_callback_info info) {
  return for_each(env, info, owned_release);
}

napi_value addon_close_all(napi_env env, napi_callback_info info) {
  return for_each(env, info, owned_close);
}

/* ---------------------------------------------------------------- launching */

static void fill_result(const struct launched *launched, int32_t result[LAUNCH_PLACES]) {
  const bool has_child = launched->clone_errno == 0;
  result[LAUNCH_PID] = launched->pid;
  result[LAUNCH_PIDFD] = launched->pidfd;
  result[LAUNCH_FAILED] = launched->report.failed || !has_child;
  result[LAUNCH_STEP] = has_child ? launched->report.step : -1;
  result[LAUNCH_ERRNO] = has_child ? launched->report.errno_ : launched->clone_errno;
  result[LAUNCH_DETAIL] = launched->report.daemon_pid;
}

napi_value addon_launch(napi_env env, napi_callback_info info) {
  napi_value values[3];
  void *bytes;
  size_t size, count;
  uint32_t used;
  int32_t *result;
  CHECK(env, arguments(env, info, 3, values));
  CHECK(env, napi_get_buffer_info(env, values[0], &bytes, &size));
  CHECK(env, napi_get_value_uint32(env, values[1], &used));
  CHECK(env, int32_array(env, values[2], LAUNCH_PLACES, &result, &count));
  struct plan *plan;
  if (!read_plan(env, bytes, used < size ? used : size, &plan)) return NULL;
  struct environment *environment = environment_of(env);
  struct launched launched = {.pidfd = -1, .clone_errno = ENOMEM};
  if (plan != NULL && owned_reserve(&environment->owned) == 0) {
    launch(plan, environment->stack, &launched);
    owned_add(&environment->owned, launched.pidfd, OWNED_CHILD);
  }
  plan_free(plan);
  fill_result(&launched, result);
  return NULL;
}

/* ---------------------------------------------------------------- launching beside this thread */

/* The child is owned before anybody hears of it. Without memory for that, it is ended, and was never there. */
static void take_child(struct environment *environment, struct launched *launched) {
  if (launched->pidfd < 0 || owned_reserve(&environment->owned) == 0) {
    owned_add(&environment->owned, launched->pidfd, OWNED_CHILD);
    return;
  }
  if (launch_kill(launched->pidfd))
    launch_reap(launched->pidfd);
  else
    launch_adopt(launched->pidfd);
  *launched = (struct launched){.pidfd = -1, .clone_errno = ENOMEM};
}

static void on_launched(void *data, const struct launched *told) {
  struct context *context = data;
  struct environment *environment = context->environment;
  napi_env env = environment->env;
  napi_handle_scope scope;
  struct launched launched = *told;
  take_child(environment, &launched);
  watcher_expect(environment->watcher, -1);
  context->waits = environment->settles;
  /* Where the environment ends, or this thread is being terminated, no JavaScript runs any more, and the end takes the child along. */
  if (environment->launcher != NULL && enter(context, &scope)) {
    int32_t result[LAUNCH_PLACES];
    napi_value values[LAUNCH_PLACES];
    fill_result(&launched, result);
    for (size_t i = 0; i < LAUNCH_PLACES; i++) values[i] = number(env, result[i]);
    call_back(context, LAUNCH_PLACES, values);
    (void)napi_close_handle_scope(env, scope);
  }
  forget(context);
}

static void on_told(void *owner) {
  struct environment *environment = owner;
  launcher_take(environment->launcher, environment->stack, 0);
}

/* The launcher of an environment, made when the first launch asks for it. NULL: there is none, or none just now. */
static struct launcher *launcher_of(struct environment *environment) {
  if (environment->launcher != NULL || environment->has_no_launcher) return environment->launcher;
  struct launcher *launcher = launcher_new(on_launched);
  if (launcher == NULL) {
    environment->has_no_launcher = errno != EMFILE && errno != ENFILE && errno != ENOMEM;
    return NULL;
  }
  if (watcher_look(environment->watcher, launcher_fd(launcher), on_told) != 0) {
    launcher_close(launcher, environment->stack);
    return NULL;
  }
  return environment->launcher = launcher;
}

napi_value addon_launch_beside(napi_env env, napi_callback_info info) {
  napi_value values[3];
  void *bytes;
  size_t size;
  uint32_t used;
  CHECK(env, arguments(env, info, 3, values));
  CHECK(env, napi_get_buffer_info(env, values[0], &bytes, &size));
  CHECK(env, napi_get_value_uint32(env, values[1], &used));
  struct environment *environment = environment_of(env);
  CHECK(env, environment->watcher != NULL ? napi_ok : napi_invalid_arg);
  struct launcher *launcher = launcher_of(environment);
  if (launcher == NULL) return number(env, 0);
  struct plan *plan;
  if (!read_plan(env, bytes, used < size ? used : size, &plan)) return NULL;
  struct context *context = calloc(1, sizeof *context);
  if (plan == NULL || context == NULL) goto refuse;
  *context = (struct context){.environment = environment};
  if (napi_create_reference(env, values[2], 1, &context->callback) != napi_ok) goto refuse;
  if (launcher_start(launcher, plan, context)) {
    watcher_expect(environment->watcher, 1);
    return number(env, 1);
  }
  (void)napi_delete_reference(env, context->callback);

refuse:
  plan_free(plan);
  free(context);
  return number(env, 0);
}

napi_value addon_settle(napi_env env, napi_callback_info info) {
  (void)info;
  struct environment *environment = environment_of(env);
  if (environment->launcher == NULL) return NULL;
  environment->settles = true;
  launcher_take(environment->launcher, environment->stack, 1);
  environment->settles = false;
  return NULL;
}

void end_launcher(struct environment *environment) {
  struct launcher *launcher = environment->launcher;
  environment->launcher = NULL;
  if (launcher != NULL) launcher_close(launcher, environment->stack);
}

/* ---------------------------------------------------------------- and the rest of a launch */

napi_value addon_undo(napi_env env, napi_callback_info info) {
  int32_t pidfd;
  CHECK(env, integers(env, info, 1, &pidfd));
  owned_release(&environment_of(env)->owned, pidfd);
  if (launch_kill(pidfd))
    launch_reap(pidfd);
  else
    launch_adopt(pidfd);
  return NULL;
}

napi_value addon_exec(napi_env env, napi_callback_info info) {
  napi_value values[3];
  void *bytes;
  size_t size, blocking_count, count;
  int32_t *blocking, *result;
  CHECK(env, arguments(env, info, 3, values));
  CHECK(env, napi_get_buffer_info(env, values[0], &bytes, &size));
  CHECK(env, int32_array(env, values[1], 0, &blocking, &blocking_count));
  CHECK(env, int32_array(env, values[2], EXEC_PLACES, &result, &count));
  struct plan *plan;
  if (!read_plan(env, bytes, size, &plan)) return NULL;
  struct report report = {.step = -1, .errno_ = ENOMEM};
  if (plan != NULL) exec_in_place(plan, blocking, blocking_count, &report);
  plan_free(plan);
  result[EXEC_STEP] = report.step;
  result[EXEC_ERRNO] = report.errno_;
  return NULL;
}

/* ---------------------------------------------------------------- in the hook runner */

napi_value addon_shelter(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  exec_shelter();
  return NULL;
}

napi_value addon_become_helper(napi_env env, napi_callback_info info) {
  napi_value values[2];
  void *bytes;
  size_t size;
  int32_t report_fd;
  CHECK(env, arguments(env, info, 2, values));
  CHECK(env, napi_get_buffer_info(env, values[0], &bytes, &size));
  CHECK(env, napi_get_value_int32(env, values[1], &report_fd));
  struct plan *plan;
  if (!read_plan(env, bytes, size, &plan)) return NULL;
  exec_helper(plan, report_fd);
}
