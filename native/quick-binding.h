/* The surface of the ordinary mount (quick-mount.h) and its end: one call each, with a number as the answer. */
#ifndef USERNS_QUICK_BINDING_H
#define USERNS_QUICK_BINDING_H

#include <node_api.h>

napi_value quick_mount(napi_env env, napi_callback_info info);
napi_value quick_told(napi_env env, napi_callback_info info);
napi_value quick_unmount(napi_env env, napi_callback_info info);

#endif
