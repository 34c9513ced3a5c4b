#include "addon/create-queue.h"
#include "addon/results.h"
#include <errno.h>
#include <stdlib.h>

struct workshop {
	struct worker_pool *pool;            /* NULL: not made yet, or it cannot be */
	struct create_list waiting; /* for the crew */
	int underway;                 /* with the crew, or waiting for it */
};

struct creations {
	struct creations *next; /* of the same environment */
	struct workshop *workshop;
	struct fd_registry *registry;
	char *program;
	napi_ref on_result;
	int references; /* the environment, and each work that is under way in the thread pool */
	int closing;       /* JavaScript hears of nothing any more: the environment ends */
};

/* In libuv's pool: what calls programs, and what no thread of ours could be started for. */
struct work {
	struct creations *creations;
	struct creation *creation;
	napi_async_work work;
};

struct workshop *workshop_new(void)
{
	struct workshop *workshop = calloc(1, sizeof *workshop);

	if (workshop != NULL) creation_list_init(&workshop->waiting);
	return workshop;
}

void workshop_end(struct workshop *workshop)
{
	creation_list_forget(&workshop->waiting);
	worker_pool_free(workshop->pool);
	creation_list_destroy(&workshop->waiting);
	free(workshop);
}

struct creations *creations_new(napi_env env, struct workshop *workshop, struct fd_registry *registry, char *program,
				napi_value on_result, struct creations *next)
{
	struct creations *creations = calloc(1, sizeof *creations);

	if (creations == NULL) return NULL;
	if (napi_create_reference(env, on_result, 1, &creations->on_result) != napi_ok) {
		free(creations);
		return NULL;
	}
	creations->workshop = workshop;
	creations->registry = registry;
	creations->program = program;
	creations->next = next;
	creations->references = 1;
	fd_registry_hold(registry);
	return creations;
}

static void let_go(struct creations *creations)
{
	if (--creations->references > 0) return;
	fd_registry_release(creations->registry);
	free(creations->program);
	free(creations);
}

void creations_end(struct creations *creations)
{
	while (creations != NULL) {
		struct creations *next = creations->next;

		creations->closing = 1; /* and its reference to settle() is gone */
		let_go(creations);
		creations = next;
	}
}

const char *creations_program(const struct creations *creations)
{
	return creations->program;
}

struct fd_registry *creations_owned(const struct creations *creations)
{
	return creations->registry;
}

/* On a thread of the crew. */
static struct worker_pool_task *make_waiting(void *context)
{
	struct workshop *workshop = context;
	struct creation *first = creation_list_make(&workshop->waiting);

	return first == NULL ? NULL : &first->load;
}

static void drop_made(struct worker_pool_task *made)
{
	struct creation *creation = (struct creation *)made;

	while (creation != NULL) {
		struct creation *next = creation->next;

		creation_forget(creation);
		creation = next;
	}
}

/* Nothing could be called with an exception pending: it is kept until the others have heard of theirs. */
static int keep_thrown(napi_env env, napi_value *thrown)
{
	bool pending = false;

	if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) return 0;
	napi_get_and_clear_last_exception(env, thrown);
	return 1;
}

/* An answer that could not be made is undefined. */
static int call_settle(struct creations *creations, napi_env env, double token, napi_value answer)
{
	napi_value on_result = NULL;
	napi_value undefined = NULL;
	napi_value arguments[2] = {answer_number(env, token), answer};

	if (napi_get_reference_value(env, creations->on_result, &on_result) != napi_ok || on_result == NULL) return 0;
	if (napi_get_undefined(env, &undefined) != napi_ok || arguments[0] == NULL) return 0;
	if (answer == NULL) arguments[1] = undefined;
	return napi_call_function(env, undefined, on_result, 2, arguments, NULL) == napi_ok;
}

/*
 * JavaScript hears of one. While a worker is being terminated it hears of nothing: thousands may be waiting then, and are
 * neither made nor held open until the environment ends.
 */
static void tell(struct creations *creations, napi_env env, struct creation *creation, napi_value *thrown)
{
	double token = creation->token;
	napi_value answer;
	int fd;

	if (creations->closing) {
		creation_forget(creation);
		return;
	}
	answer = answer_brief(env, creations->registry, &creation->out);
	fd = creation->out.fd;
	creation_free(creation);
	keep_thrown(env, thrown); /* by a setter that somebody gave to all objects */
	if (call_settle(creations, env, token, answer) || keep_thrown(env, thrown)) return;
	creations->closing = 1;
	fd_registry_close(creations->registry, fd);
}

/* Back on the environment's thread. */
static void tell_made(napi_env env, void *context, struct worker_pool_task *made)
{
	struct workshop *workshop = context;
	struct creation *creation = (struct creation *)made;
	napi_value thrown = NULL;

	while (creation != NULL) {
		struct creation *next = creation->next;

		workshop->underway--;
		tell(creation->creations, env, creation, &thrown);
		creation = next;
	}
	if (workshop->underway == 0) worker_pool_release(workshop->pool, env);
	if (thrown != NULL) napi_fatal_exception(env, thrown); /* an uncaught one: napi_throw() would only warn of it here */
}

/* False: there is no thread that makes it, and it was not taken over. */
static int start_with_crew(struct creations *creations, napi_env env, struct creation *creation)
{
	static const struct worker_pool_work work = {.work = make_waiting, .tell = tell_made, .drop = drop_made};
	struct workshop *workshop = creations->workshop;

	if (workshop->pool == NULL) workshop->pool = worker_pool_new(env, &work, workshop);
	if (workshop->pool == NULL) return 0;
	creation->creations = creations;
	creation_list_put(&workshop->waiting, creation);
	if (!worker_pool_call(workshop->pool)) {
		creation_list_take(&workshop->waiting); /* that one: nobody has left another */
		return 0;
	}
	if (workshop->underway++ == 0) worker_pool_hold(workshop->pool, env);
	return 1;
}

/* On a thread of the pool: no JavaScript in it. */
static void execute(napi_env env, void *data)
{
	struct work *work = data;
	const struct create_request *request = &work->creation->request;
	struct outcome *out = &work->creation->out;

	(void)env;
	create_namespaces(&request, &out, 1);
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct work *work = data;
	struct creations *creations = work->creations;
	napi_value thrown = NULL;

	if (status == napi_cancelled) outcome_fail(&work->creation->out, -ECANCELED, "cancelled");
	tell(creations, env, work->creation, &thrown);
	napi_delete_async_work(env, work->work);
	free(work);
	let_go(creations);
	if (thrown != NULL) napi_throw(env, thrown); /* an uncaught exception */
}

static int start_in_pool(struct creations *creations, napi_env env, struct creation *creation)
{
	struct work *work = calloc(1, sizeof *work);
	napi_value name;

	if (work == NULL) return 0;
	*work = (struct work){.creations = creations, .creation = creation};
	if (napi_create_string_utf8(env, "userns", NAPI_AUTO_LENGTH, &name) == napi_ok &&
	    napi_create_async_work(env, NULL, name, execute, complete, work, &work->work) == napi_ok) {
		if (napi_queue_async_work(env, work->work) == napi_ok) {
			creations->references++;
			return 1;
		}
		napi_delete_async_work(env, work->work);
	}
	free(work);
	return 0;
}

int creations_start(struct creations *creations, napi_env env, struct creation *creation)
{
	/* What calls programs is to keep nobody else waiting. */
	if (!create_calls_programs(&creation->request) && start_with_crew(creations, env, creation)) return 1;
	return start_in_pool(creations, env, creation);
}
