/* JavaScript values that come in: every argument checked before it is narrowed. */
#ifndef USERNS_ARGUMENTS_H
#define USERNS_ARGUMENTS_H

#include "addon/fd-registry.h"
#include <node_api.h>

/*
 * Reads a whole number within bounds. False, with a JavaScript exception pending, when it is anything else: what
 * comes here was checked in TypeScript already, so that is a mistake of ours, and must not reach the kernel.
 */
int value_integer(napi_env env, napi_value value, double least, double most, double *number);

int value_fd(napi_env env, napi_value value, int *fd);
int value_flag(napi_env env, napi_value value, int *flag);

/* A malloc'ed copy of a string without NUL in it, of at most `most` bytes. NULL with an exception pending. */
char *value_text(napi_env env, napi_value value, size_t most);

/* The same, or NULL for null. False with an exception pending. */
int value_optional_text(napi_env env, napi_value value, size_t most, char **text);

/* A malloc'ed vector of such strings that ends with NULL, from an array. NULL with an exception pending. */
char **value_texts(napi_env env, napi_value value, size_t most);

void value_free_texts(char **texts);

/* A malloc'ed list of descriptors. False with an exception pending. */
int value_fds(napi_env env, napi_value value, int **fds, uint32_t *count);

int value_big(napi_env env, napi_value value, uint64_t *number);

/* Gets the arguments, and what the function was exported with. NULL with an exception pending for fewer than `count`. */
void *value_arguments_for(napi_env env, napi_callback_info info, size_t count, napi_value *arguments);

/* The same for a function that was exported with the descriptors of its environment. */
int value_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments, struct fd_registry **registry);

#endif
