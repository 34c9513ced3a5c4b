/* The calls from JavaScript that look a path up in a bounded child, see mount/path-walk.h, and those that use the result. */
#ifndef USERNS_PATH_METHODS_H
#define USERNS_PATH_METHODS_H

#include <node_api.h>

napi_value walk_call(napi_env env, napi_callback_info info);
napi_value walk_open_namespace(napi_env env, napi_callback_info info);
napi_value walk_pin(napi_env env, napi_callback_info info);

#endif
