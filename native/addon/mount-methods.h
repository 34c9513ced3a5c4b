/* The part of the surface that is about mounts. */
#ifndef USERNS_MOUNT_METHODS_H
#define USERNS_MOUNT_METHODS_H

#include "addon/fd-registry.h"
#include <node_api.h>

int mount_export(napi_env env, napi_value exports, struct fd_registry *registry);

#endif
