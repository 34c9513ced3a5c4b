#include "addon/create-method.h"
#include "addon/results.h"
#include "kernel/kernel-abi.h"
#include "addon/create-queue.h"
#include "addon/environment.h"
#include "addon/arguments.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAP_BYTES 4095 /* map_write() refuses a page or more */
#define HELPER_BYTES 16384 /* 340 extents of three numbers with ten digits, and what divides them; a path is shorter */
#define HELPER_TEXTS 4

static int count_texts(char *const *texts)
{
	int count = 0;

	while (texts[count] != NULL) count++;
	return count;
}

static const char *unless_empty(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

static int read_arguments(napi_env env, const napi_value *arguments, struct creation *creation)
{
	static char nothing[] = "";
	struct create_request *request = &creation->request;
	char **helpers;
	int allow;

	creation->maps[0] = value_text(env, arguments[0], MAP_BYTES);
	if (creation->maps[0] == NULL || !value_optional_text(env, arguments[1], MAP_BYTES, &creation->maps[1])) return 0;
	if (!value_flag(env, arguments[2], &allow) || !value_flag(env, arguments[3], &request->direct)) return 0;
	helpers = creation->helpers = value_texts(env, arguments[4], HELPER_BYTES);
	if (helpers == NULL) return 0;
	request->uid_map = creation->maps[0];
	request->gid_map = creation->maps[creation->maps[1] == NULL ? 0 : 1];
	request->setgroups = allow ? "allow" : "deny";
	request->arguments[0] = request->arguments[1] = nothing;
	switch (count_texts(helpers)) {
	case HELPER_TEXTS:
		request->programs[0] = unless_empty(helpers[0]);
		request->programs[1] = unless_empty(helpers[1]);
		request->arguments[0] = helpers[2];
		request->arguments[1] = helpers[3];
		return 1;
	case 0: return 1;
	default: napi_throw_range_error(env, NULL, "userns native: four texts or none were expected"); return 0;
	}
}

static napi_value create_now(struct creations *creations, napi_env env, struct creation *creation)
{
	const struct create_request *request = &creation->request;
	struct outcome *out = &creation->out;
	napi_value answer;

	create_namespaces(&request, &out, 1);
	answer = answer_brief(env, creations_owned(creations), out);
	creation_free(creation);
	return answer;
}

/*
 * create(uidMap, gidMap or null for the same, allow, direct, [newuidmap, newgidmap, uidArguments, gidArguments] or [],
 * token): the answer for the token −1; later, to settle(), for any other.
 */
static napi_value create(napi_env env, napi_callback_info info)
{
	napi_value arguments[6];
	struct creations *creations = value_arguments_for(env, info, 6, arguments);
	struct creation *creation;
	double token;

	if (creations == NULL || !value_integer(env, arguments[5], -1, INT_MAX, &token)) return NULL;
	creation = calloc(1, sizeof *creation);
	if (creation == NULL) {
		napi_throw_error(env, NULL, "userns native: out of memory");
		return NULL;
	}
	creation->out.fd = -1;
	creation->token = token;
	creation->request.join_program = creations_program(creations);
	if (!read_arguments(env, arguments, creation)) {
		creation_free(creation);
		return NULL;
	}
	if (token < 0) return create_now(creations, env, creation);
	if (creations_start(creations, env, creation)) return NULL;
	creation_free(creation);
	napi_throw_error(env, NULL, "userns native: no asynchronous work can be started");
	return NULL;
}

/* creator(userns-join, settle): create() for one copy of this package; settle(token, answer) hears of what it made later. */
napi_value create_creator(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct environment *environment = value_arguments_for(env, info, 2, arguments);
	struct creations *creations;
	napi_value function = NULL;
	napi_valuetype type;
	char *program;

	if (environment == NULL) return NULL;
	if (napi_typeof(env, arguments[1], &type) != napi_ok || type != napi_function) {
		napi_throw_type_error(env, NULL, "userns native: a function was expected");
		return NULL;
	}
	program = value_text(env, arguments[0], PATH_MAX);
	if (program == NULL) return NULL;
	creations = creations_new(env, environment->workshop, environment->registry, program, arguments[1],
				  environment->creations);
	if (creations == NULL) {
		free(program);
		napi_throw_error(env, NULL, "userns native: out of memory");
		return NULL;
	}
	environment->creations = creations; /* which ends it */
	return napi_create_function(env, "create", NAPI_AUTO_LENGTH, create, creations, &function) == napi_ok ? function : NULL;
}
