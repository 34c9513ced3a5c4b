#include "creations.h"
#include "answers.h"
#include "values.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* As many as libuv has threads, unless it was told otherwise: more would only keep others from the pool. */
#define MOST_WORKS 4
/* A work tells of what it made when it has made so many: the first of them waits for the last. */
#define MOST_IN_A_WORK (2 * CREATE_MOST)

struct creations {
	struct creations *next; /* of the same environment */
	struct owned *owned;
	char *program;
	napi_ref settle;
	pthread_mutex_t lock; /* for what waits, which the works' threads take from */
	struct creation *waiting;
	struct creation **end;
	int works;      /* that are under way and count */
	int references; /* the environment, and each work that is under way */
	int deaf;       /* JavaScript hears of nothing any more: the environment ends */
};

struct work {
	struct creations *creations;
	struct creation *first; /* in the order in which they were made */
	int counts;             /* 1: among the MOST_WORKS */
	napi_async_work work;
};

void creation_free(struct creation *creation)
{
	free(creation->maps[0]);
	free(creation->maps[1]);
	value_free_texts(creation->helpers);
	free(creation);
}

/* Nobody hears of it. */
static void forget(struct creation *creation)
{
	if (creation->out.fd >= 0) close(creation->out.fd);
	for (int i = 0; i < OUTCOME_TEXTS; i++) free(creation->out.texts[i]);
	creation_free(creation);
}

struct creations *creations_new(napi_env env, struct owned *owned, char *program, napi_value settle,
				struct creations *next)
{
	struct creations *creations = calloc(1, sizeof *creations);

	if (creations == NULL) return NULL;
	if (napi_create_reference(env, settle, 1, &creations->settle) != napi_ok) {
		free(creations);
		return NULL;
	}
	pthread_mutex_init(&creations->lock, NULL);
	creations->owned = owned;
	creations->program = program;
	creations->next = next;
	creations->end = &creations->waiting;
	creations->references = 1;
	owned_hold(owned);
	return creations;
}

static void let_go(struct creations *creations)
{
	if (--creations->references > 0) return;
	owned_release(creations->owned);
	pthread_mutex_destroy(&creations->lock);
	free(creations->program);
	free(creations);
}

static struct creation *take(struct creations *creations)
{
	struct creation *creation;

	pthread_mutex_lock(&creations->lock);
	creation = creations->waiting;
	if (creation != NULL) creations->waiting = creation->next;
	if (creations->waiting == NULL) creations->end = &creations->waiting;
	pthread_mutex_unlock(&creations->lock);
	if (creation != NULL) creation->next = NULL;
	return creation;
}

static void put(struct creations *creations, struct creation *creation)
{
	pthread_mutex_lock(&creations->lock);
	*creations->end = creation;
	creations->end = &creation->next;
	pthread_mutex_unlock(&creations->lock);
}

static void forget_waiting(struct creations *creations)
{
	struct creation *creation;

	while ((creation = take(creations)) != NULL) forget(creation);
}

void creations_end(struct creations *creations)
{
	while (creations != NULL) {
		struct creations *next = creations->next;

		creations->deaf = 1; /* and its reference to settle() is gone */
		forget_waiting(creations);
		let_go(creations);
		creations = next;
	}
}

const char *creations_program(const struct creations *creations)
{
	return creations->program;
}

struct owned *creations_owned(const struct creations *creations)
{
	return creations->owned;
}

/* What calls programs takes long: nobody is to wait for it, and it keeps nobody from starting. */
static int is_quick(const struct creation *creation)
{
	return creation->request.programs[0] == NULL && creation->request.programs[1] == NULL;
}

/* Makes that one and what waits, up to `most` and what goes at once. Answers the last of them, and their number. */
static struct creation *make_some(struct creations *creations, struct creation *creation, int most, int *count)
{
	const struct create_request *requests[CREATE_MOST];
	struct outcome *outs[CREATE_MOST];

	for (*count = 0;;) {
		requests[*count] = &creation->request;
		outs[*count] = &creation->out;
		if (++*count == CREATE_MOST || *count == most || !is_quick(creation)) break;
		creation->next = take(creations);
		if (creation->next == NULL) break;
		creation = creation->next;
	}
	create_namespaces(requests, outs, *count);
	return creation;
}

/* On a thread of the pool: no JavaScript in it. */
static void execute(napi_env env, void *data)
{
	struct work *work = data;
	struct creation *creation = work->first;
	int made = 0;

	(void)env;
	while (creation != NULL) {
		int count;

		creation = make_some(work->creations, creation, MOST_IN_A_WORK - made, &count);
		made += count;
		if (made >= MOST_IN_A_WORK || !work->counts) break;
		creation->next = take(work->creations);
		creation = creation->next;
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
	napi_value settle = NULL;
	napi_value undefined = NULL;
	napi_value arguments[2] = {answer_number(env, token), answer};

	if (napi_get_reference_value(env, creations->settle, &settle) != napi_ok || settle == NULL) return 0;
	if (napi_get_undefined(env, &undefined) != napi_ok || arguments[0] == NULL) return 0;
	if (answer == NULL) arguments[1] = undefined;
	return napi_call_function(env, undefined, settle, 2, arguments, NULL) == napi_ok;
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

	if (creations->deaf) {
		forget(creation);
		return;
	}
	answer = answer_brief(env, creations->owned, &creation->out);
	fd = creation->out.fd;
	creation_free(creation);
	keep_thrown(env, thrown); /* by a setter that somebody gave to all objects */
	if (call_settle(creations, env, token, answer) || keep_thrown(env, thrown)) return;
	creations->deaf = 1;
	owned_close(creations->owned, fd);
}

static int start_work(struct creations *creations, napi_env env, struct creation *creation);

/* For what was put while every work was busy, and which none of them took any more. */
static void start_waiting(struct creations *creations, napi_env env, napi_value *thrown)
{
	struct creation *creation;

	if (creations->deaf) forget_waiting(creations);
	while (creations->works < MOST_WORKS && (creation = take(creations)) != NULL) {
		if (start_work(creations, env, creation)) continue;
		outcome_fail(&creation->out, -ECANCELED, "cancelled");
		tell(creations, env, creation, thrown);
	}
}

/* Back on the environment's thread. */
static void complete(napi_env env, napi_status status, void *data)
{
	struct work *work = data;
	struct creations *creations = work->creations;
	struct creation *creation = work->first;
	napi_value thrown = NULL;

	if (status == napi_cancelled) outcome_fail(&creation->out, -ECANCELED, "cancelled");
	while (creation != NULL) {
		struct creation *next = creation->next;

		tell(creations, env, creation, &thrown);
		creation = next;
	}
	creations->works -= work->counts;
	start_waiting(creations, env, &thrown);
	napi_delete_async_work(env, work->work);
	free(work);
	let_go(creations);
	if (thrown != NULL) napi_throw(env, thrown); /* an uncaught exception */
}

static int start_work(struct creations *creations, napi_env env, struct creation *creation)
{
	struct work *work = calloc(1, sizeof *work);
	napi_value name;

	if (work == NULL) return 0;
	*work = (struct work){.creations = creations, .first = creation, .counts = is_quick(creation)};
	if (napi_create_string_utf8(env, "userns", NAPI_AUTO_LENGTH, &name) == napi_ok &&
	    napi_create_async_work(env, NULL, name, execute, complete, work, &work->work) == napi_ok) {
		if (napi_queue_async_work(env, work->work) == napi_ok) {
			creations->works += work->counts;
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
	if (creations->works >= MOST_WORKS && is_quick(creation)) {
		put(creations, creation);
		return 1;
	}
	return start_work(creations, env, creation);
}
