/* The add-on: the state of each JavaScript environment, and its functions for src/native/. */
#include "addon/create-method.h"
#include "addon/environment.h"
#include "addon/method.h"
#include <node_api.h>
#include <stdlib.h>

/* Closes what the environment owns. A worker may be terminated at any moment; the threads of the pool have ended by now. */
static void end_environment(napi_env env, void *data, void *hint)
{
	struct environment *environment = data;

	(void)env;
	(void)hint;
	worker_pool_free(environment->pool);
	fd_registry_free(environment->registry);
	create_methods_free(environment->create_methods);
	free(environment->methods);
	free(environment);
}

NAPI_MODULE_INIT()
{
	struct environment *environment = calloc(1, sizeof *environment);

	if (environment == NULL) return NULL;
	environment->registry = fd_registry_new();
	if (environment->registry == NULL || napi_set_instance_data(env, environment, end_environment, NULL) != napi_ok) {
		end_environment(env, environment, NULL);
		return NULL;
	}
	environment->pool = worker_pool_new(env, environment->registry);
	if (environment->pool == NULL) return NULL;
	return methods_export(env, exports, environment) ? exports : NULL;
}
