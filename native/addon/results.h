/* The results of methods: a number, or an object if there is more to report. */
#ifndef USERNS_RESULTS_H
#define USERNS_RESULTS_H

#include "addon/fd-registry.h"
#include "kernel/outcome.h"
#include <node_api.h>

enum result_kind {
	RESULT_OUTCOME,     /* an object with every member of the outcome */
	RESULT_BRIEF,       /* the descriptor as a number if there is nothing else to report; otherwise an object */
	RESULT_FD,          /* the descriptor, or a negative errno */
	RESULT_NUMBER,      /* numbers[0], or a negative errno */
	RESULT_BIGINT,      /* numbers[0] as a bigint, or a negative errno */
	RESULT_BIGINTS,     /* an array of all `numbers` as bigints, or a negative errno */
	RESULT_MAPS,        /* the text OUTCOME_MAPS; an object after an error */
	RESULT_FD_AND_MAPS, /* an array of the descriptor and this text; an object after an error */
};

#define RESULT_NUMBERS 3

struct result {
	struct outcome out;
	uint64_t numbers[RESULT_NUMBERS];
	struct undo undo; /* after a success: what to undo if JavaScript cannot receive the result */
};

/* Initialises zeroed memory. */
void result_init(struct result *result);

/*
 * Makes the JavaScript value, and frees the texts and bytes. In this order:
 *   1. The registry gets the descriptor, with a number above 2.
 *   2. The registry gets the effect to undo, because the environment may end at any moment from here on.
 *   3. The value is made. If that fails (a worker is being terminated, or there is no memory), the effect is undone, the
 *      descriptor is closed, and NULL is returned.
 */
napi_value result_make(napi_env env, struct fd_registry *registry, enum result_kind kind, struct result *result);

/* JavaScript cannot receive the result: undoes the effect, or reports that a mount stays. A second call does nothing. */
void result_undo(struct result *result);

/* Like result_undo(), and closes and frees everything in the result. */
void result_drop(struct result *result);

/* Writes to standard error that a mount stays, because no JavaScript code can receive this error. */
void result_report_left(int error);

#endif
