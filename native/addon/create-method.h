/*
 * create(): a new user namespace, on the calling thread or on another one. It differs from the other methods in two ways: many
 * creations run together (userns/create.h), and a function receives their results, because thousands of promises take longer.
 */
#ifndef USERNS_CREATE_METHOD_H
#define USERNS_CREATE_METHOD_H

#include "addon/environment.h"
#include <node_api.h>

#define CREATE_METHOD_ARGUMENTS ARGUMENT_FUNCTION
#define CREATE_ARGUMENTS                                                                                                        \
	ARGUMENT_MAP, ARGUMENT_MAP_OR_NULL, ARGUMENT_BOOLEAN, ARGUMENT_BOOLEAN, ARGUMENT_NEWIDMAPS, ARGUMENT_TOKEN

/*
 * createMethod(onResult): create() for one copy of this package. A program that loads its modules anew for each
 * test has hundreds of copies in one environment, and all of them share its worker pool.
 */
napi_value create_method_new(napi_env env, napi_callback_info info);

/* Frees the create methods of an environment that has ended. */
void create_methods_free(struct create_method *methods);

#endif
