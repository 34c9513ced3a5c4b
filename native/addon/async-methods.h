/* The calls that can be made on the calling thread or in the thread pool: arguments in, a job out. */
#ifndef USERNS_ASYNC_METHODS_H
#define USERNS_ASYNC_METHODS_H

#include <node_api.h>

napi_value long_read_maps(napi_env env, napi_callback_info info);

#endif
