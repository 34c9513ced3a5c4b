/*
 * An add-on for the trials: `children()` returns the CPU time of all child processes that have been waited for, in
 * microseconds. Node has getrusage(RUSAGE_SELF) only, and /proc/self/stat counts in hundredths of a second.
 */
#include <node_api.h>
#include <sys/resource.h>

static double microseconds(struct timeval time)
{
	return (double)time.tv_sec * 1e6 + (double)time.tv_usec;
}

static napi_value children(napi_env env, napi_callback_info info)
{
	struct rusage usage;
	napi_value result;

	(void)info;
	if (getrusage(RUSAGE_CHILDREN, &usage) < 0) return NULL;
	if (napi_create_double(env, microseconds(usage.ru_utime) + microseconds(usage.ru_stime), &result) != napi_ok) return NULL;
	return result;
}

NAPI_MODULE_INIT()
{
	napi_value function;

	if (napi_create_function(env, "children", NAPI_AUTO_LENGTH, children, NULL, &function) != napi_ok) return NULL;
	if (napi_set_named_property(env, exports, "children", function) != napi_ok) return NULL;
	return exports;
}
