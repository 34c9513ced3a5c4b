/* The call that makes the function which creates. */
#ifndef USERNS_CREATE_METHOD_H
#define USERNS_CREATE_METHOD_H

#include <node_api.h>

/* Exported with a struct environment. */
napi_value create_creator(napi_env env, napi_callback_info info);

#endif
