/* Descriptors for programs: listening sockets, pairs, tap devices; and what has to be known of a FIFO. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addon/addon.h"
#include "host/descriptors.h"

napi_value addon_has_writer(napi_env env, napi_callback_info info) {
  int32_t fd;
  CHECK(env, integers(env, info, 1, &fd));
  return number(env, fifo_has_writer(fd));
}

napi_value addon_let_block(napi_env env, napi_callback_info info) {
  int32_t fd;
  CHECK(env, integers(env, info, 1, &fd));
  return number(env, descriptor_let_block(fd));
}

napi_value addon_size_pipes(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int32_t *ends;
  size_t count;
  uint32_t size;
  CHECK(env, arguments(env, info, 2, values));
  CHECK(env, int32_array(env, values[0], 0, &ends, &count));
  CHECK(env, napi_get_value_uint32(env, values[1], &size));
  int why = 0;
  for (size_t i = 0; i < count && why == 0; i += 2) why = pipe_set_size(ends[i], size);
  return number(env, why);
}

/* The descriptor, which is the environment's; or [call, errno]. */
static napi_value made(napi_env env, int fd, const char *call) {
  napi_value result, name;
  if (fd >= 0) {
    owned_add(&environment_of(env)->owned, fd, OWNED_DESCRIPTOR);
    return number(env, fd);
  }
  CHECK(env, napi_create_array_with_length(env, 2, &result));
  CHECK(env, napi_create_string_utf8(env, call, NAPI_AUTO_LENGTH, &name));
  (void)napi_set_element(env, result, 0, name); /* A new array of that length takes it. */
  (void)napi_set_element(env, result, 1, number(env, fd));
  return result;
}

/* Room for a descriptor: what is made can then be kept account of. */
static bool has_room(napi_env env, int *ret_fd, const char **ret_call) {
  if (owned_reserve(&environment_of(env)->owned) == 0) return true;
  *ret_fd = -ENOMEM;
  *ret_call = "malloc";
  return false;
}

napi_value addon_listen_unix(napi_env env, napi_callback_info info) {
  napi_value values[3];
  void *bytes;
  size_t length;
  int32_t mode, backlog;
  CHECK(env, arguments(env, info, 3, values));
  CHECK(env, napi_get_buffer_info(env, values[0], &bytes, &length));
  CHECK(env, napi_get_value_int32(env, values[1], &mode));
  CHECK(env, napi_get_value_int32(env, values[2], &backlog));
  CHECK(env, length > 0 ? napi_ok : napi_invalid_arg);
  const char *call = "malloc";
  int fd = -ENOMEM;
  char *path = calloc(length + 1, 1);
  if (path != NULL) memcpy(path, bytes, length);
  if (path != NULL && has_room(env, &fd, &call)) fd = listen_unix(path, length, mode, backlog, &call);
  free(path);
  return made(env, fd, call);
}

napi_value addon_listen_tcp(napi_env env, napi_callback_info info) {
  enum { LONGEST_ADDRESS = 64 };
  napi_value values[3];
  char host[LONGEST_ADDRESS];
  uint32_t port;
  int32_t backlog;
  CHECK(env, arguments(env, info, 3, values));
  CHECK(env, napi_get_value_string_utf8(env, values[0], host, sizeof host, NULL));
  CHECK(env, napi_get_value_uint32(env, values[1], &port));
  CHECK(env, napi_get_value_int32(env, values[2], &backlog));
  CHECK(env, port <= UINT16_MAX ? napi_ok : napi_invalid_arg);
  const char *call;
  int fd;
  if (has_room(env, &fd, &call)) fd = listen_tcp(host, (uint16_t)port, backlog, &call);
  return made(env, fd, call);
}

napi_value addon_port_of(napi_env env, napi_callback_info info) {
  int32_t fd;
  CHECK(env, integers(env, info, 1, &fd));
  return number(env, listen_port(fd));
}

napi_value addon_socket_pair(napi_env env, napi_callback_info info) {
  napi_value value;
  int32_t *ends;
  size_t count;
  CHECK(env, arguments(env, info, 1, &value));
  CHECK(env, int32_array(env, value, 2, &ends, &count));
  return number(env, owned_socket_pair(&environment_of(env)->owned, ends));
}

napi_value addon_open_tap(napi_env env, napi_callback_info info) {
  napi_value values[2];
  char name[IFNAMSIZ] = {0}, given[IFNAMSIZ] = {0};
  void *bytes;
  size_t size;
  CHECK(env, arguments(env, info, 2, values));
  CHECK(env, napi_get_value_string_utf8(env, values[0], name, sizeof name, NULL));
  CHECK(env, napi_get_buffer_info(env, values[1], &bytes, &size));
  CHECK(env, size >= sizeof given ? napi_ok : napi_invalid_arg);
  const char *call;
  int fd;
  if (has_room(env, &fd, &call)) fd = tap_open(name, given, &call);
  memcpy(bytes, given, sizeof given);
  return made(env, fd, call);
}
