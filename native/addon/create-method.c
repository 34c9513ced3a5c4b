#include "addon/create-method.h"
#include "addon/arguments.h"
#include "kernel/kernel-abi.h"
#include "userns/create.h"
#include <stdlib.h>
#include <string.h>

struct create_method {
	struct create_method *next; /* of the same environment */
	struct environment *environment;
	napi_ref on_result; /* called with a token and a result */
	int closing;        /* JavaScript cannot be called any more: the environment ends */
};

struct create_call {
	struct task task; /* the first member */
	struct create_method *method;
	struct create_request request;
	int count; /* the arguments that were read */
	struct argument arguments[MOST_ARGUMENTS];
};

static const enum argument_kind method_kinds[] = {CREATE_METHOD_ARGUMENTS, ARGUMENT_END};
static const enum argument_kind create_kinds[] = {CREATE_ARGUMENTS, ARGUMENT_END};

static double token_of(const struct create_call *call)
{
	return (double)call->arguments[5].number;
}

static void run_creates(struct task *tasks, int count, struct waiter *waiter)
{
	const struct create_request *requests[CREATE_MOST];
	struct outcome *outs[CREATE_MOST];

	(void)waiter;
	for (int i = 0; i < count; i++, tasks = tasks->next) {
		requests[i] = &((struct create_call *)tasks)->request;
		outs[i] = &tasks->result.out;
	}
	create_namespaces(requests, outs, count);
}

static void free_create(struct task *task)
{
	struct create_call *call = (struct create_call *)task;

	arguments_free(create_kinds, call->arguments, call->count);
	free(call);
}

/* A value that could not be made is undefined. */
static int call_on_result(napi_env env, const struct create_method *method, double token, napi_value value)
{
	napi_value on_result = NULL;
	napi_value undefined = NULL;
	napi_value arguments[2] = {NULL, value};

	if (napi_get_reference_value(env, method->on_result, &on_result) != napi_ok || on_result == NULL) return 0;
	if (napi_get_undefined(env, &undefined) != napi_ok) return 0;
	if (napi_create_double(env, token, &arguments[0]) != napi_ok) return 0;
	if (value == NULL) arguments[1] = undefined;
	return napi_call_function(env, undefined, on_result, 2, arguments, NULL) == napi_ok;
}

/*
 * Calls onResult(). This fails while a worker is being terminated. The first failure ends all calls of this method, because
 * thousands of results may be waiting, and their descriptors must not stay open until the environment ends.
 */
static void deliver_create(napi_env env, struct task *task, napi_value *thrown)
{
	struct create_call *call = (struct create_call *)task;
	struct create_method *method = call->method;
	struct fd_registry *registry = method->environment->registry;
	const double token = token_of(call);
	napi_value value;
	int fd;

	if (method->closing) {
		tasks_drop(task);
		return;
	}
	value = result_make(env, registry, RESULT_BRIEF, &task->result);
	fd = task->result.out.fd;
	free_create(task);
	keep_thrown(env, thrown);
	if (call_on_result(env, method, token, value) || keep_thrown(env, thrown)) return;
	method->closing = 1;
	fd_registry_close(registry, fd);
}

/* A call of newuidmap may take seconds. */
static void submit(napi_env env, struct create_call *call)
{
	static const struct task_kind slow = {
		.is_slow = 1,
		.most_together = 1,
		.most_delivered = 1,
		.run = run_creates,
		.deliver = deliver_create,
		.free = free_create,
	};
	static const struct task_kind quick = {
		.is_short = 1,
		.most_together = CREATE_MOST,
		.most_delivered = 2 * CREATE_MOST,
		.run = run_creates,
		.deliver = deliver_create,
		.free = free_create,
	};

	call->task.kind = create_calls_programs(&call->request) ? &slow : &quick;
	worker_pool_submit(call->method->environment->pool, env, &call->task);
}

static const char *unless_empty(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

static void fill_request(struct create_call *call)
{
	static char nothing[] = "";
	const struct argument *arguments = call->arguments;
	struct create_request *request = &call->request;
	char **newidmaps = arguments[4].texts;

	request->uid_map = arguments[0].text;
	request->gid_map = arguments[1].text == NULL ? arguments[0].text : arguments[1].text;
	request->setgroups = arguments[2].number ? "allow" : "deny";
	request->direct = (int)arguments[3].number;
	request->arguments[0] = request->arguments[1] = nothing;
	if (arguments[4].count == 0) return;
	request->programs[0] = unless_empty(newidmaps[0]);
	request->programs[1] = unless_empty(newidmaps[1]);
	request->arguments[0] = newidmaps[2];
	request->arguments[1] = newidmaps[3];
}

/*
 * create(uidMap, gidMap or null for the same, allow, direct, [newuidmap, newgidmap, uidArguments, gidArguments] or [], token):
 * returns the result for the token −1. For any other, onResult() receives it later.
 */
static napi_value create(napi_env env, napi_callback_info info)
{
	napi_value values[MOST_ARGUMENTS];
	size_t given = MOST_ARGUMENTS;
	struct create_method *method;
	struct create_call *call;
	napi_value value;

	if (napi_get_cb_info(env, info, &given, values, NULL, (void **)&method) != napi_ok) return NULL;
	call = calloc(1, sizeof *call);
	if (call == NULL) return throw_out_of_memory(env);
	result_init(&call->task.result);
	call->method = method;
	call->count = arguments_read(env, create_kinds, values, given, call->arguments);
	if (call->count < 0) {
		free(call);
		return NULL;
	}
	fill_request(call);
	if (token_of(call) >= 0) {
		submit(env, call);
		return NULL;
	}
	run_creates(&call->task, 1, NULL);
	value = result_make(env, method->environment->registry, RESULT_BRIEF, &call->task.result);
	free_create(&call->task);
	return value;
}

napi_value create_method_new(napi_env env, napi_callback_info info)
{
	struct argument arguments[MOST_ARGUMENTS];
	napi_value values[MOST_ARGUMENTS];
	size_t given = MOST_ARGUMENTS;
	struct bound_method *bound;
	struct create_method *method;
	napi_value function = NULL;

	if (napi_get_cb_info(env, info, &given, values, NULL, (void **)&bound) != napi_ok) return NULL;
	if (arguments_read(env, method_kinds, values, given, arguments) < 0) return NULL;
	method = calloc(1, sizeof *method);
	if (method == NULL || napi_create_reference(env, arguments[0].function, 1, &method->on_result) != napi_ok) {
		free(method);
		return throw_out_of_memory(env);
	}
	method->environment = bound->environment;
	method->next = bound->environment->create_methods;
	bound->environment->create_methods = method; /* which frees it */
	return napi_create_function(env, "create", NAPI_AUTO_LENGTH, create, method, &function) == napi_ok ? function : NULL;
}

void create_methods_free(struct create_method *methods)
{
	while (methods != NULL) {
		struct create_method *next = methods->next;

		free(methods);
		methods = next;
	}
}
