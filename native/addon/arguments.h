/* The arguments of a method: each value is checked before it is narrowed. */
#ifndef USERNS_ARGUMENTS_H
#define USERNS_ARGUMENTS_H

#include <node_api.h>
#include <stdint.h>

struct part;

/* The kinds, whose bounds are in arguments.c. docs/security-review.md lists them under the same names. */
enum argument_kind {
	ARGUMENT_END, /* ends a list of kinds */
	ARGUMENT_FD,
	ARGUMENT_FD_OR_NONE,
	ARGUMENT_PID,
	ARGUMENT_TOKEN,
	ARGUMENT_U32,
	ARGUMENT_WHOLE,
	ARGUMENT_NS_KIND,
	ARGUMENT_WALK_END,
	ARGUMENT_WALK_LINKS,
	ARGUMENT_BUFFER_SIZE,
	ARGUMENT_READ_SIZE,
	ARGUMENT_ID_COUNT,
	ARGUMENT_BOOLEAN,
	ARGUMENT_BIGINT,
	ARGUMENT_MAP,
	ARGUMENT_MAP_OR_NULL,
	ARGUMENT_PATH,
	ARGUMENT_PATH_OR_NULL, /* null only after a descriptor */
	ARGUMENT_PATHS,
	ARGUMENT_WORDS,
	ARGUMENT_NEWIDMAPS,
	ARGUMENT_FDS,
	ARGUMENT_PARTS, /* after the paths of the parts: three numbers for each */
	ARGUMENT_FUNCTION,
};

#define MOST_ARGUMENTS 12

struct argument {
	union {
		int64_t number; /* also a boolean, as 0 or 1 */
		uint64_t big;
		char *text; /* NULL for null */
		char **texts; /* ends with NULL */
		int *fds;
		struct part *parts;
		napi_value function;
	};
	uint32_t count; /* the length of a list */
};

/*
 * Reads the arguments, up to ARGUMENT_END. Returns their number; −1, with a JavaScript exception pending and nothing left to
 * free, if one is missing or wrong. TypeScript has checked every value before, so a wrong one is a mistake in this package,
 * and must not reach the kernel.
 */
int arguments_read(napi_env env, const enum argument_kind *kinds, const napi_value *values, size_t given,
		   struct argument *arguments);

/* Frees the first `count` arguments. */
void arguments_free(const enum argument_kind *kinds, struct argument *arguments, int count);

const char *argument_kind_name(enum argument_kind kind);

/* Throws a JavaScript exception, and returns NULL. */
napi_value throw_out_of_memory(napi_env env);

#endif
