/* The module: its environment from the beginning to the end, the table of its functions, and the values that all of them use. */
#include "addon/addon.h"

#include <stdlib.h>

#include "process/launch.h"

/* ---------------------------------------------------------------- values */

struct environment *environment_of(napi_env env) {
  void *data = NULL;
  (void)napi_get_instance_data(env, &data); /* Fails only without an environment. */
  return data;
}

napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  (void)napi_create_double(env, value, &result); /* Fails only without an environment. */
  return result;
}

double milliseconds(struct timeval time) {
  return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3;
}

napi_status arguments(napi_env env, napi_callback_info info, size_t count, napi_value *ret_values) {
  size_t found = count;
  const napi_status status = napi_get_cb_info(env, info, &found, ret_values, NULL, NULL);
  return status == napi_ok && found < count ? napi_invalid_arg : status;
}

napi_status integers(napi_env env, napi_callback_info info, size_t count, int32_t *ret_numbers) {
  enum { MOST_INTEGERS = 3 };
  napi_value values[MOST_INTEGERS];
  if (count > MOST_INTEGERS) return napi_invalid_arg;
  napi_status status = arguments(env, info, count, values);
  for (size_t i = 0; i < count && status == napi_ok; i++)
    status = napi_get_value_int32(env, values[i], &ret_numbers[i]);
  return status;
}

static napi_status typed_array(napi_env env, napi_value value, napi_typedarray_type wanted, size_t least,
                               void **ret_data, size_t *ret_count) {
  napi_typedarray_type type;
  const napi_status status = napi_get_typedarray_info(env, value, &type, ret_count, ret_data, NULL, NULL);
  if (status != napi_ok) return status;
  return type == wanted && *ret_count >= least ? napi_ok : napi_invalid_arg;
}

napi_status int32_array(napi_env env, napi_value value, size_t least, int32_t **ret_numbers, size_t *ret_count) {
  void *data = NULL;
  const napi_status status = typed_array(env, value, napi_int32_array, least, &data, ret_count);
  *ret_numbers = data;
  return status;
}

napi_status float64_array(napi_env env, napi_value value, size_t least, double **ret_numbers) {
  void *data = NULL;
  size_t count;
  const napi_status status = typed_array(env, value, napi_float64_array, least, &data, &count);
  *ret_numbers = data;
  return status;
}

bool read_plan(napi_env env, const void *bytes, size_t size, struct plan **ret_plan) {
  const char *why;
  *ret_plan = plan_copy(bytes, size, &why);
  if (*ret_plan == NULL && why != NULL) napi_throw_error(env, "ERR_VIRCOMMAND_PLAN", why);
  return *ret_plan != NULL || why == NULL;
}

/* ---------------------------------------------------------------- the module */

void leave_environment(struct environment *environment) {
  if (environment->has_watchers || environment->open_polls > 0) return;
  (void)napi_remove_async_cleanup_hook(environment->cleanup); /* Fails only without a handle. */
  free(environment->stack);
  free(environment);
}

static void on_closed(void *data) {
  struct environment *environment = data;
  environment->has_watchers = false;
  leave_environment(environment);
}

static void on_environment_end(napi_async_cleanup_hook_handle handle, void *data) {
  struct environment *environment = data;
  environment->cleanup = handle;
  release_pid_files(environment);
  close_polls(environment);
  end_launcher(environment);
  owned_end(&environment->owned);
  close_watchers(environment, on_closed);
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
  environment->has_watchers = true;
  CHECK(env, napi_set_instance_data(env, environment, NULL, NULL));
  CHECK(env, napi_add_async_cleanup_hook(env, on_environment_end, environment, &environment->cleanup));
#define DESCRIBE_FUNCTION(name, function) {name, NULL, function, NULL, NULL, NULL, napi_enumerable, NULL},
  const napi_property_descriptor functions[] = {FOR_EACH_FUNCTION(DESCRIBE_FUNCTION)};
#undef DESCRIBE_FUNCTION
  CHECK(env, napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions));
  return exports;
}
