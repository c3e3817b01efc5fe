/* Processes that this library need not have started, and the users that programs run as. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addon/addon.h"
#include "host/accounts.h"
#include "host/processes.h"

napi_value addon_open_pid(napi_env env, napi_callback_info info) {
  int32_t pid;
  CHECK(env, integers(env, info, 1, &pid));
  struct owned *owned = &environment_of(env)->owned;
  if (owned_reserve(owned) < 0) return number(env, -ENOMEM);
  const int fd = process_open(pid);
  owned_add(owned, fd, OWNED_DESCRIPTOR);
  return number(env, fd);
}

napi_value addon_signal_pid(napi_env env, napi_callback_info info) {
  int32_t values[3];
  CHECK(env, integers(env, info, 3, values));
  return number(env, process_signal(values[0], values[1], values[2]));
}

napi_value addon_signal_daemon(napi_env env, napi_callback_info info) {
  int32_t values[3];
  CHECK(env, integers(env, info, 3, values));
  return number(env, process_signal_by_report(values[0], values[1], values[2]));
}

napi_value addon_has_ended(napi_env env, napi_callback_info info) {
  int32_t pidfd;
  CHECK(env, integers(env, info, 1, &pidfd));
  return number(env, process_has_ended(pidfd));
}

napi_value addon_group_of(napi_env env, napi_callback_info info) {
  int32_t pid;
  CHECK(env, integers(env, info, 1, &pid));
  return number(env, process_group(pid));
}

napi_value addon_reap(napi_env env, napi_callback_info info) {
  napi_value values[3];
  int32_t pidfd, peek;
  double *end;
  CHECK(env, arguments(env, info, 3, values));
  CHECK(env, napi_get_value_int32(env, values[0], &pidfd));
  CHECK(env, napi_get_value_int32(env, values[1], &peek));
  CHECK(env, float64_array(env, values[2], REAP_PLACES, &end));
  struct reaped reaped = {0};
  const int result = process_reap(pidfd, peek, &reaped);
  if (result != 1) return number(env, result);
  end[REAP_CODE] = reaped.code;
  end[REAP_STATUS] = reaped.status;
  end[REAP_USER_MS] = milliseconds(reaped.usage.ru_utime);
  end[REAP_SYSTEM_MS] = milliseconds(reaped.usage.ru_stime);
  end[REAP_MAX_RSS_KIB] = (double)reaped.usage.ru_maxrss;
  return number(env, 1);
}

napi_value addon_set_subreaper(napi_env env, napi_callback_info info) {
  int32_t is_on;
  CHECK(env, integers(env, info, 1, &is_on));
  return number(env, process_set_subreaper(is_on));
}

napi_value addon_processes(napi_env env, napi_callback_info info) {
  (void)info;
  double *rows = NULL;
  size_t count = 0;
  const int error = process_table(&rows, &count);
  if (error < 0) return number(env, error);
  napi_value buffer, result = NULL;
  void *data;
  const size_t size = count * ROW_COLUMNS * sizeof *rows;
  if (napi_create_arraybuffer(env, size, &data, &buffer) == napi_ok) {
    if (size > 0) memcpy(data, rows, size);
    /* The buffer has that very size. */
    (void)napi_create_typedarray(env, napi_float64_array, count * ROW_COLUMNS, buffer, 0, &result);
  }
  free(rows);
  return result;
}

napi_value addon_account(napi_env env, napi_callback_info info) {
  size_t length;
  napi_value key, result, value;
  napi_valuetype type;
  uint32_t uid = 0;
  char *name = NULL;
  CHECK(env, arguments(env, info, 1, &key));
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
