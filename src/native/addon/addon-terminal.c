/* Terminals: what is asked of them, and the news that one can be read or written, on its way to JavaScript. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "addon/addon.h"
#include "host/terminal.h"
#include "process/watch.h"

/* ---------------------------------------------------------------- what is asked of them */

/* 0, or [call, errno]. */
napi_value addon_open_terminal(napi_env env, napi_callback_info info) {
  napi_value values[4], result, name;
  int32_t columns, rows, *ends;
  int64_t uid;
  size_t count;
  CHECK(env, arguments(env, info, 4, values));
  CHECK(env, napi_get_value_int32(env, values[0], &columns));
  CHECK(env, napi_get_value_int32(env, values[1], &rows));
  CHECK(env, napi_get_value_int64(env, values[2], &uid));
  CHECK(env, int32_array(env, values[3], 2, &ends, &count));
  struct owned *owned = &environment_of(env)->owned;
  const char *call = "malloc";
  int why = owned_reserve(owned);
  if (why == 0) why = terminal_open(columns, rows, uid, ends, &call);
  if (why == 0) {
    owned_add(owned, ends[0], OWNED_DESCRIPTOR);
    if (owned_reserve(owned) == 0) {
      owned_add(owned, ends[1], OWNED_DESCRIPTOR);
      return number(env, 0);
    }
    owned_close(owned, ends[0]);
    close(ends[1]);
    why = -ENOMEM;
    call = "malloc";
  }
  CHECK(env, napi_create_array_with_length(env, 2, &result));
  CHECK(env, napi_create_string_utf8(env, call, NAPI_AUTO_LENGTH, &name));
  (void)napi_set_element(env, result, 0, name); /* A new array of that length takes it. */
  (void)napi_set_element(env, result, 1, number(env, why));
  return result;
}

napi_value addon_own_terminal(napi_env env, napi_callback_info info) {
  (void)info;
  struct owned *owned = &environment_of(env)->owned;
  if (owned_reserve(owned) != 0) return number(env, -ENOMEM);
  const int fd = terminal_own();
  owned_add(owned, fd, OWNED_DESCRIPTOR);
  return number(env, fd);
}

napi_value addon_resize_terminal(napi_env env, napi_callback_info info) {
  int32_t values[3];
  CHECK(env, integers(env, info, 3, values));
  return number(env, terminal_resize(values[0], values[1], values[2]));
}

/* Reads a descriptor, and a buffer with room for modes. */
static napi_status modes_argument(napi_env env, napi_callback_info info, int32_t *ret_fd, void **ret_bytes) {
  napi_value values[2];
  size_t size;
  napi_status status = arguments(env, info, 2, values);
  if (status == napi_ok) status = napi_get_value_int32(env, values[0], ret_fd);
  if (status == napi_ok) status = napi_get_buffer_info(env, values[1], ret_bytes, &size);
  return status == napi_ok && size < sizeof(struct termios) ? napi_invalid_arg : status;
}

napi_value addon_terminal_modes(napi_env env, napi_callback_info info) {
  int32_t fd;
  void *bytes;
  struct termios modes;
  CHECK(env, modes_argument(env, info, &fd, &bytes));
  const int result = terminal_modes(fd, &modes);
  if (result == 0) memcpy(bytes, &modes, sizeof modes);
  return number(env, result);
}

napi_value addon_set_terminal_modes(napi_env env, napi_callback_info info) {
  int32_t fd;
  void *bytes;
  struct termios modes;
  CHECK(env, modes_argument(env, info, &fd, &bytes));
  memcpy(&modes, bytes, sizeof modes);
  return number(env, terminal_set_modes(fd, &modes));
}

napi_value addon_make_raw(napi_env env, napi_callback_info info) {
  napi_value value;
  void *bytes;
  size_t size;
  struct termios modes;
  CHECK(env, arguments(env, info, 1, &value));
  CHECK(env, napi_get_buffer_info(env, value, &bytes, &size));
  CHECK(env, size < sizeof modes ? napi_invalid_arg : napi_ok);
  memcpy(&modes, bytes, sizeof modes);
  cfmakeraw(&modes);
  memcpy(bytes, &modes, sizeof modes);
  return NULL;
}

napi_value addon_foreground(napi_env env, napi_callback_info info) {
  int32_t fd;
  CHECK(env, integers(env, info, 1, &fd));
  return number(env, terminal_foreground(fd));
}

napi_value addon_set_foreground(napi_env env, napi_callback_info info) {
  int32_t values[2];
  CHECK(env, integers(env, info, 2, values));
  return number(env, terminal_set_foreground(values[0], values[1]));
}

napi_value addon_session_of(napi_env env, napi_callback_info info) {
  int32_t fd;
  CHECK(env, integers(env, info, 1, &fd));
  return number(env, terminal_session(fd));
}

/* Reads a descriptor and a buffer. */
static napi_status bytes_argument(napi_env env, napi_callback_info info, int32_t *ret_fd, void **ret_bytes,
                                  size_t *ret_size) {
  napi_value values[2];
  napi_status status = arguments(env, info, 2, values);
  if (status == napi_ok) status = napi_get_value_int32(env, values[0], ret_fd);
  return status == napi_ok ? napi_get_buffer_info(env, values[1], ret_bytes, ret_size) : status;
}

napi_value addon_read_terminal(napi_env env, napi_callback_info info) {
  int32_t fd;
  void *bytes;
  size_t size;
  CHECK(env, bytes_argument(env, info, &fd, &bytes, &size));
  return number(env, (double)terminal_read(fd, bytes, size));
}

napi_value addon_write_terminal(napi_env env, napi_callback_info info) {
  int32_t fd;
  void *bytes;
  size_t size;
  CHECK(env, bytes_argument(env, info, &fd, &bytes, &size));
  return number(env, (double)terminal_write(fd, bytes, size));
}

/* ---------------------------------------------------------------- news of them */

/* A descriptor that JavaScript waits for. libuv has a handle for each, which keeps its loop alive while there is something to wait for. */
struct poll {
  uv_poll_t handle;
  struct poll *next;
  struct environment *environment;
  napi_ref callback;
  uint32_t id;
};

static void on_poll(uv_poll_t *handle, int status, int events) {
  const struct poll *poll = handle->data;
  struct environment *environment = poll->environment;
  napi_value callback, receiver, result, exception;
  if (poll->callback == NULL || !enter_scope(environment)) return;
  napi_env env = environment->env;
  /* What is wrong, the next call tells, be it to read or to write. */
  const napi_value news = number(env, status < 0 ? UV_READABLE | UV_WRITABLE : events);
  if (napi_get_reference_value(env, poll->callback, &callback) == napi_ok && callback != NULL &&
      napi_get_global(env, &receiver) == napi_ok &&
      napi_call_function(env, receiver, callback, 1, &news, &result) == napi_pending_exception &&
      napi_get_and_clear_last_exception(env, &exception) == napi_ok)
    (void)napi_fatal_exception(env, exception);
  leave_scope(environment);
}

static void on_poll_closed(uv_handle_t *handle) {
  struct poll *poll = handle->data;
  struct environment *environment = poll->environment;
  free(poll);
  environment->open_polls--;
  leave_environment(environment);
}

/* The first of a list is over. Its handle is closed by the loop, later. */
static void close_first(struct poll **place) {
  struct poll *poll = *place;
  *place = poll->next;
  (void)napi_delete_reference(poll->environment->env, poll->callback);
  poll->callback = NULL;
  uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
}

void close_polls(struct environment *environment) {
  while (environment->polls != NULL) close_first(&environment->polls);
}

static struct poll **find_poll(struct environment *environment, uint32_t id) {
  struct poll **place = &environment->polls;
  while (*place != NULL && (*place)->id != id) place = &(*place)->next;
  return place;
}

napi_value addon_poll(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int32_t fd;
  uv_loop_t *loop;
  struct environment *environment = environment_of(env);
  CHECK(env, arguments(env, info, 2, values));
  CHECK(env, napi_get_value_int32(env, values[0], &fd));
  CHECK(env, napi_get_uv_event_loop(env, &loop));
  if (!has_async(environment)) return number(env, -ENOMEM);
  struct poll *poll = calloc(1, sizeof *poll);
  if (poll == NULL) return number(env, -ENOMEM);
  if (napi_create_reference(env, values[1], 1, &poll->callback) != napi_ok) {
    free(poll);
    CHECK(env, napi_generic_failure);
  }
  const int why = uv_poll_init(loop, &poll->handle, fd);
  if (why < 0) {
    (void)napi_delete_reference(env, poll->callback);
    free(poll);
    return number(env, why);
  }
  poll->handle.data = poll;
  poll->environment = environment;
  do environment->last_poll = (environment->last_poll + 1) & INT32_MAX;
  while (environment->last_poll == 0 || *find_poll(environment, environment->last_poll) != NULL);
  poll->id = environment->last_poll;
  poll->next = environment->polls;
  environment->polls = poll;
  environment->open_polls++;
  return number(env, poll->id);
}

napi_value addon_poll_for(napi_env env, napi_callback_info info) {
  int32_t values[3];
  CHECK(env, integers(env, info, 3, values));
  struct poll *poll = *find_poll(environment_of(env), (uint32_t)values[0]);
  if (poll == NULL) return NULL;
  const int events = (values[1] != 0 ? UV_READABLE : 0) | (values[2] != 0 ? UV_WRITABLE : 0);
  if (events == 0)
    (void)uv_poll_stop(&poll->handle); /* Never fails. */
  else
    (void)uv_poll_start(&poll->handle, events, on_poll); /* Fails only on a closed handle. */
  return NULL;
}

napi_value addon_end_poll(napi_env env, napi_callback_info info) {
  int32_t id;
  CHECK(env, integers(env, info, 1, &id));
  struct poll **place = find_poll(environment_of(env), (uint32_t)id);
  if (*place != NULL) close_first(place);
  return NULL;
}

napi_value addon_take_stop(napi_env env, napi_callback_info info) {
  int32_t id;
  CHECK(env, integers(env, info, 1, &id));
  return number(env, watch_take_stop(watcher_of(env, id), (uint32_t)id));
}
