/* The calls about mounts that take places: most can be made in the thread pool, arguments in, a job out. */
#ifndef USERNS_MOUNT_ASYNC_METHODS_H
#define USERNS_MOUNT_ASYNC_METHODS_H

#include <node_api.h>

napi_value long_open_location(napi_env env, napi_callback_info info);
napi_value long_tree(napi_env env, napi_callback_info info);
napi_value long_mount(napi_env env, napi_callback_info info);
napi_value long_close(napi_env env, napi_callback_info info);
napi_value long_join_peers(napi_env env, napi_callback_info info);
napi_value long_detach(napi_env env, napi_callback_info info);
napi_value long_attach(napi_env env, napi_callback_info info);
napi_value long_overlay(napi_env env, napi_callback_info info);

#endif
