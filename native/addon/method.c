#include "addon/method.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void end_call(struct call *call)
{
	arguments_free(call->method->arguments, call->arguments, call->count);
	if (call->fd >= 0) close(call->fd);
}

static void run_call(struct task *task, int count, struct waiter *waiter)
{
	struct call *call = (struct call *)task;

	(void)count;
	call->waiter = waiter;
	if (call->task.result.out.error == 0) call->method->run(call);
}

static void free_call(struct task *task)
{
	end_call((struct call *)task);
	free(task);
}

static void deliver_call(napi_env env, struct task *task, napi_value *thrown)
{
	struct call *call = (struct call *)task;
	napi_value value = result_make(env, call->environment->registry, call->method->result, &task->result);

	(void)thrown;
	if (value == NULL) napi_get_undefined(env, &value);
	if (value != NULL) napi_resolve_deferred(env, call->deferred, value);
	free_call(task);
}

/* A copy of the call is submitted, because this one is on the stack. */
static napi_value submit(napi_env env, const struct call *call)
{
	static const struct task_kind kind = {
		.most_together = 1,
		.most_delivered = 1,
		.run = run_call,
		.deliver = deliver_call,
		.free = free_call,
	};
	struct call *copy = malloc(sizeof *copy);
	napi_value promise;

	if (copy == NULL) return throw_out_of_memory(env);
	memcpy(copy, call, offsetof(struct call, arguments) + (size_t)call->count * sizeof call->arguments[0]);
	copy->task.kind = &kind;
	if (napi_create_promise(env, &copy->deferred, &promise) != napi_ok) {
		free(copy);
		napi_throw_error(env, NULL, "userns native: no promise can be made");
		return NULL;
	}
	worker_pool_submit(call->environment->pool, env, &copy->task);
	return promise;
}

napi_value method_call(napi_env env, napi_callback_info info)
{
	napi_value values[MOST_ARGUMENTS];
	size_t given = MOST_ARGUMENTS;
	struct bound_method *bound;
	const struct method *method;
	struct call call;
	napi_value value;

	if (napi_get_cb_info(env, info, &given, values, NULL, (void **)&bound) != napi_ok) return NULL;
	method = bound->method;
	memset(&call, 0, offsetof(struct call, arguments));
	result_init(&call.task.result);
	call.method = method;
	call.environment = bound->environment;
	call.fd = -1;
	call.count = arguments_read(env, method->arguments, values, given, call.arguments);
	if (call.count < 0) return NULL;
	if (method->begin != NULL) method->begin(&call);
	if (method->thread == ON_WORKER || (method->thread == ON_EITHER && call.arguments[call.count - 1].number)) {
		value = submit(env, &call);
		if (value != NULL) return value;
	} else {
		run_call(&call.task, 1, NULL);
		value = result_make(env, call.environment->registry, method->result, &call.task.result);
	}
	end_call(&call);
	return value;
}

/* methods(): an object with the argument kinds of each method, for the tests: { close: "fd", … } */
static napi_value describe(napi_env env, napi_callback_info info)
{
	napi_value object;

	(void)info;
	if (napi_create_object(env, &object) != napi_ok) return NULL;
	for (size_t i = 0; i < method_count; i++) {
		const enum argument_kind *kind = methods[i].arguments;
		char text[256] = "";
		napi_value kinds;

		for (; *kind != ARGUMENT_END; kind++) {
			if (text[0] != '\0') strcat(text, " ");
			strcat(text, argument_kind_name(*kind));
		}
		if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &kinds) != napi_ok ||
		    napi_set_named_property(env, object, methods[i].name, kinds) != napi_ok) {
			return NULL;
		}
	}
	return object;
}

static int export_one(napi_env env, napi_value exports, const char *name, napi_callback callback, void *data)
{
	napi_value function;

	return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &function) == napi_ok &&
	       napi_set_named_property(env, exports, name, function) == napi_ok;
}

int methods_export(napi_env env, napi_value exports, struct environment *environment)
{
	environment->methods = calloc(method_count, sizeof *environment->methods);
	if (environment->methods == NULL) return 0;
	for (size_t i = 0; i < method_count; i++) {
		struct bound_method *bound = &environment->methods[i];

		*bound = (struct bound_method){.method = &methods[i], .environment = environment};
		if (methods[i].is_hidden) continue;
		if (!export_one(env, exports, methods[i].name, methods[i].callback, bound)) return 0;
	}
	return export_one(env, exports, "methods", describe, NULL);
}
