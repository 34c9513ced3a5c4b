#include "addon/sync-methods.h"
#include "addon/results.h"
#include "addon/arguments.h"
#include <limits.h>
#include <stdlib.h>

char *short_path(napi_env env, napi_callback_info info, struct fd_registry **registry)
{
	napi_value arguments[1];

	if (!value_arguments(env, info, 1, arguments, registry)) return NULL;
	return value_text(env, arguments[0], PATH_MAX);
}

napi_value short_derive(napi_env env, napi_callback_info info, int (*make)(int fd), const char *step)
{
	napi_value arguments[1];
	struct outcome out = {.fd = -1};
	struct fd_registry *registry;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	fd = make(fd);
	if (fd < 0) outcome_fail(&out, fd, step);
	else out.fd = fd;
	return answer_outcome(env, registry, &out);
}

napi_value short_number(napi_env env, napi_callback_info info, double (*work)(struct fd_registry *registry, int fd))
{
	napi_value arguments[1];
	struct fd_registry *registry;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	return answer_number(env, work(registry, fd));
}

int short_export(napi_env env, napi_value exports, const struct function *functions, size_t count, void *data)
{
	for (size_t i = 0; i < count; i++) {
		napi_value function;

		if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, data, &function) !=
			    napi_ok ||
		    napi_set_named_property(env, exports, functions[i].name, function) != napi_ok) {
			return 0;
		}
	}
	return 1;
}
