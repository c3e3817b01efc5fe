/* Pidfiles that this process holds. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "addon/addon.h"
#include "child/pidfile.h"
#include "process/pidlock.h"

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

/* A pidfile that is being acquired, in Node's thread pool. */
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
  taking->lock = pidlock_acquire(taking->path, taking->flags, taking->text, &taking->answer);
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
  /* An environment that ends while the file is being acquired, or that has no memory left, cannot be told: the file is let go. */
  if (answer == NULL) (void)napi_get_undefined(env, &answer);
  if (taking->lock != NULL) pidlock_release(taking->lock);
  (void)napi_resolve_deferred(env, taking->deferred, answer);
  (void)napi_delete_async_work(env, taking->work);
  free(taking->path);
  free(taking);
}

napi_value addon_take_pid_file(napi_env env, napi_callback_info info) {
  size_t length;
  napi_value values[3], name, promise;
  void *bytes = NULL;
  bool is_bytes;
  int32_t create;
  CHECK(env, arguments(env, info, 3, values));
  CHECK(env, napi_is_buffer(env, values[0], &is_bytes));
  if (is_bytes)
    CHECK(env, napi_get_buffer_info(env, values[0], &bytes, &length));
  else
    CHECK(env, napi_get_value_string_utf8(env, values[0], NULL, 0, &length));
  CHECK(env, napi_get_value_int32(env, values[2], &create));
  struct taking *taking = calloc(1, sizeof *taking);
  if (taking != NULL) taking->path = calloc(length + 1, 1);
  if (taking == NULL || taking->path == NULL) {
    free(taking);
    napi_throw_error(env, NULL, "vircommand: there is no memory for a pidfile");
    return NULL;
  }
  taking->flags = create ? O_CREAT : 0;
  if (is_bytes && length > 0) memcpy(taking->path, bytes, length);
  if ((!is_bytes && napi_get_value_string_utf8(env, values[0], taking->path, length + 1, NULL) != napi_ok) ||
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

napi_value addon_release_pid_file(napi_env env, napi_callback_info info) {
  int32_t id;
  CHECK(env, integers(env, info, 1, &id));
  for (struct held **place = &environment_of(env)->held; *place != NULL; place = &(*place)->next) {
    if ((*place)->id != (uint32_t)id) continue;
    release_first(place);
    break;
  }
  return NULL;
}

napi_value addon_pid_file_holder(napi_env env, napi_callback_info info) {
  int32_t fd;
  CHECK(env, integers(env, info, 1, &fd));
  return number(env, (double)pidfile_holder(fd));
}

void release_pid_files(struct environment *environment) {
  while (environment->held != NULL) release_first(&environment->held);
}
