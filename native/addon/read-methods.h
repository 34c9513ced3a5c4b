/*
 * Reads the kernel's data on mounts, on any thread, because the programs in a mount namespace control how much there is, and
 * each of these calls waits for the lock of all mount namespaces.
 */
#ifndef USERNS_READ_METHODS_H
#define USERNS_READ_METHODS_H

#include <node_api.h>

napi_value read_piece(napi_env env, napi_callback_info info);
napi_value read_statmount(napi_env env, napi_callback_info info);
napi_value read_listmount(napi_env env, napi_callback_info info);

#endif
