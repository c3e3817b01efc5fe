/* Functions of JavaScript for processes that this library need not have started. Each is one system call, or one look at /proc. */
#ifndef VIRCOMMAND_PIDFD_H
#define VIRCOMMAND_PIDFD_H

#include <node_api.h>

napi_status pidfd_define(napi_env env, napi_value exports);

#endif
