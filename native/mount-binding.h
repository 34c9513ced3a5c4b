/* The part of the surface that is about mounts. */
#ifndef USERNS_MOUNT_BINDING_H
#define USERNS_MOUNT_BINDING_H

#include "owned.h"
#include <node_api.h>

int mount_export(napi_env env, napi_value exports, struct owned *owned);

#endif
