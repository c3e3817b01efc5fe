/* What a launch with a hook needs beside the rest: the way out of the hook runner, and what follows where there is none. */
#ifndef VIRCOMMAND_HOOK_H
#define VIRCOMMAND_HOOK_H

#include <node_api.h>

/* Adds these functions to the addon. */
napi_status hook_functions(napi_env env, napi_value exports);

#endif
