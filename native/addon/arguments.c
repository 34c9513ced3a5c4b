#include "addon/arguments.h"
#include "mount/detached-tree.h"
#include "mount/path-walk.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The analyzer of GCC 12 loses track of a pointer that is stored at an index unknown to it, and reports a leak. */
#if defined(__GNUC__) && __GNUC__ >= 10 && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* Number.MAX_SAFE_INTEGER */
#define MOST_WHOLE 9007199254740991.0
#define MAP_BYTES 4095 /* map_write() refuses a page or more */
/* 340 extents of three numbers with ten digits, and the separators; a path is shorter */
#define NEWIDMAP_BYTES 16384
#define NEWIDMAP_TEXTS 4
/* MAX_ARG_STRLEN: 32 pages, of 4096 bytes or more; execve(2) itself says E2BIG for the rest. */
#define WORD_BYTES (32 * 65536)

enum form { INTEGER, BOOLEAN, BIGINT, TEXT, TEXT_OR_NULL, TEXTS, FDS, PARTS, FUNCTION };

/* The bounds are those of the type to which a function narrows the number, or the most bytes of a text. */
static const struct {
	const char *name;
	enum form form;
	double least;
	double most;
} kinds_table[] = {
	[ARGUMENT_FD] = {"fd", INTEGER, 0, INT_MAX},
	[ARGUMENT_FD_OR_NONE] = {"fdOrNone", INTEGER, -1, INT_MAX},
	[ARGUMENT_PID] = {"pid", INTEGER, 1, INT_MAX},
	[ARGUMENT_TOKEN] = {"token", INTEGER, -1, INT_MAX},
	[ARGUMENT_U32] = {"u32", INTEGER, 0, UINT32_MAX},
	[ARGUMENT_WHOLE] = {"whole", INTEGER, 0, MOST_WHOLE},
	[ARGUMENT_NS_KIND] = {"nsKind", INTEGER, 0, INT_MAX},
	[ARGUMENT_WALK_END] = {"walkEnd", INTEGER, 0, WALK_ENDS - 1},
	[ARGUMENT_WALK_LINKS] = {"walkLinks", INTEGER, 0, WALK_LINKS - 1},
	[ARGUMENT_BUFFER_SIZE] = {"bufferSize", INTEGER, 0, 1 << 24},
	[ARGUMENT_READ_SIZE] = {"readSize", INTEGER, 1, 1 << 24},
	[ARGUMENT_ID_COUNT] = {"idCount", INTEGER, 1, 1 << 16},
	[ARGUMENT_BOOLEAN] = {"boolean", BOOLEAN, 0, 0},
	[ARGUMENT_BIGINT] = {"bigint", BIGINT, 0, 0},
	[ARGUMENT_MAP] = {"map", TEXT, 0, MAP_BYTES},
	[ARGUMENT_MAP_OR_NULL] = {"mapOrNull", TEXT_OR_NULL, 0, MAP_BYTES},
	[ARGUMENT_PATH] = {"path", TEXT, 0, PATH_MAX},
	[ARGUMENT_PATH_OR_NULL] = {"pathOrNull", TEXT_OR_NULL, 0, PATH_MAX},
	[ARGUMENT_PATHS] = {"paths", TEXTS, 0, PATH_MAX},
	[ARGUMENT_WORDS] = {"words", TEXTS, 0, WORD_BYTES},
	[ARGUMENT_NEWIDMAPS] = {"newidmaps", TEXTS, 0, NEWIDMAP_BYTES},
	[ARGUMENT_FDS] = {"fds", FDS, 0, 0},
	[ARGUMENT_PARTS] = {"parts", PARTS, 0, 0},
	[ARGUMENT_FUNCTION] = {"function", FUNCTION, 0, 0},
};

const char *argument_kind_name(enum argument_kind kind)
{
	return kinds_table[kind].name;
}

/* Each of these throws an exception and returns 0. */
static int refuse_type(napi_env env, const char *message)
{
	napi_throw_type_error(env, NULL, message);
	return 0;
}

static int refuse_range(napi_env env, const char *message)
{
	napi_throw_range_error(env, NULL, message);
	return 0;
}

napi_value throw_out_of_memory(napi_env env)
{
	napi_throw_error(env, NULL, "userns native: out of memory");
	return NULL;
}

static int read_integer(napi_env env, napi_value value, double least, double most, int64_t *number)
{
	double read;

	if (napi_get_value_double(env, value, &read) != napi_ok) return refuse_type(env, "userns native: a number was expected");
	/* Written so that NaN fails; the bounds are those of the type that follows, so a cast afterwards is defined. */
	if (!(read >= least && read <= most) || read != (double)(int64_t)read) {
		return refuse_range(env, "userns native: a whole number within bounds was expected");
	}
	*number = (int64_t)read;
	return 1;
}

/* Most texts are short: one call instead of one for the length and one for the text. */
#define SHORT_BYTES 128

/* A malloc'ed copy of a string without NUL in it, of at most `most` bytes. NULL with an exception pending. */
static char *read_text(napi_env env, napi_value value, size_t most)
{
	char buffer[SHORT_BYTES];
	size_t length = 0;
	char *text;
	int is_short;

	if (napi_get_value_string_utf8(env, value, buffer, sizeof buffer, &length) != napi_ok) {
		refuse_type(env, "userns native: a string was expected");
		return NULL;
	}
	/* A string is cut between two characters, each of at most four bytes: a shorter one was not cut. */
	is_short = length < sizeof buffer - 4;
	if (!is_short && napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) return NULL;
	if (length > most) {
		refuse_range(env, "userns native: the string is too long");
		return NULL;
	}
	text = malloc(length + 1);
	if (text == NULL) {
		throw_out_of_memory(env);
		return NULL;
	}
	if (is_short) memcpy(text, buffer, length + 1);
	else napi_get_value_string_utf8(env, value, text, length + 1, &length);
	if (strlen(text) == length) return text;
	free(text);
	refuse_type(env, "userns native: a string without NUL was expected");
	return NULL;
}

/* More than the arguments that execve(2) accepts, and more than the mounts of a mount namespace. */
#define MOST_ELEMENTS (1 << 24)

/* A zeroed list with room for one more element. The length can be 2^32 − 1 after a single assignment in JavaScript. */
static void *new_list(napi_env env, napi_value value, size_t size, uint32_t *length)
{
	void *list;

	if (napi_get_array_length(env, value, length) != napi_ok) {
		refuse_type(env, "userns native: an array was expected");
		return NULL;
	}
	if (*length > MOST_ELEMENTS) {
		refuse_range(env, "userns native: the array is too long");
		return NULL;
	}
	list = calloc((size_t)*length + 1, size);
	if (list == NULL) throw_out_of_memory(env);
	return list;
}

static void free_texts(char **texts)
{
	for (char **text = texts; *text != NULL; text++) free(*text);
	free(texts);
}

static int read_texts(napi_env env, napi_value value, size_t most, struct argument *argument)
{
	char **texts = new_list(env, value, sizeof *texts, &argument->count);

	if (texts == NULL) return 0;
	for (uint32_t i = 0; i < argument->count; i++) {
		napi_value element;

		if (napi_get_element(env, value, i, &element) == napi_ok) texts[i] = read_text(env, element, most);
		if (texts[i] != NULL) continue;
		free_texts(texts);
		return 0;
	}
	argument->texts = texts;
	return 1;
}

static int read_fds(napi_env env, napi_value value, struct argument *argument)
{
	int *fds = new_list(env, value, sizeof *fds, &argument->count);

	if (fds == NULL) return 0;
	for (uint32_t i = 0; i < argument->count; i++) {
		napi_value element;
		int64_t number;

		if (napi_get_element(env, value, i, &element) != napi_ok || !read_integer(env, element, 0, INT_MAX, &number)) {
			free(fds);
			return 0;
		}
		fds[i] = (int)number;
	}
	argument->fds = fds;
	return 1;
}

#define PART_NUMBERS 3

static int read_part(napi_env env, napi_value value, uint32_t index, struct part *part)
{
	static const double least[PART_NUMBERS] = {0, PART_KEEP, -1};
	static const double most[PART_NUMBERS] = {MOST_WHOLE, PART_ITSELF, INT_MAX};
	int64_t numbers[PART_NUMBERS] = {0};

	for (uint32_t i = 0; i < PART_NUMBERS; i++) {
		napi_value element;

		if (napi_get_element(env, value, index * PART_NUMBERS + i, &element) != napi_ok ||
		    !read_integer(env, element, least[i], most[i], &numbers[i])) {
			return 0;
		}
	}
	part->mount_id = (uint64_t)numbers[0];
	part->mode = (enum part_mode)numbers[1];
	part->ns = (int)numbers[2];
	return 1;
}

static int read_parts(napi_env env, napi_value value, const struct argument *paths, struct argument *argument)
{
	struct part *parts;
	uint32_t length = 0;

	if (paths->count == 0 || napi_get_array_length(env, value, &length) != napi_ok ||
	    length != (uint64_t)paths->count * PART_NUMBERS) {
		return refuse_type(env, "userns native: the parts do not fit together");
	}
	parts = calloc(paths->count, sizeof *parts);
	if (parts == NULL) return throw_out_of_memory(env) != NULL;
	for (uint32_t i = 0; i < paths->count; i++) {
		parts[i].path = paths->texts[i];
		if (read_part(env, value, i, &parts[i])) continue;
		free(parts);
		return 0;
	}
	argument->parts = parts;
	argument->count = paths->count;
	return 1;
}

static int read_big(napi_env env, napi_value value, uint64_t *number)
{
	bool lossless = false;

	if (napi_get_value_bigint_uint64(env, value, number, &lossless) == napi_ok && lossless) return 1;
	return refuse_type(env, "userns native: a bigint of 64 bits was expected");
}

static int read_boolean(napi_env env, napi_value value, int64_t *number)
{
	bool is;

	if (napi_get_value_bool(env, value, &is) != napi_ok) return refuse_type(env, "userns native: a boolean was expected");
	*number = is;
	return 1;
}

static int is_type(napi_env env, napi_value value, napi_valuetype expected)
{
	napi_valuetype type;

	return napi_typeof(env, value, &type) == napi_ok && type == expected;
}

/* The checks that the table of bounds cannot express. */
static int check(napi_env env, enum argument_kind kind, const struct argument *argument)
{
	if (kind == ARGUMENT_PATH_OR_NULL && argument->text == NULL && argument[-1].number < 0) {
		return refuse_type(env, "userns native: neither a descriptor nor a path");
	}
	if (kind == ARGUMENT_NEWIDMAPS && argument->count != 0 && argument->count != NEWIDMAP_TEXTS) {
		return refuse_range(env, "userns native: four texts or none were expected");
	}
	return 1;
}

static int read_one(napi_env env, enum argument_kind kind, napi_value value, struct argument *argument)
{
	const double least = kinds_table[kind].least;
	const double most = kinds_table[kind].most;

	switch (kinds_table[kind].form) {
	case INTEGER: return read_integer(env, value, least, most, &argument->number);
	case BOOLEAN: return read_boolean(env, value, &argument->number);
	case BIGINT: return read_big(env, value, &argument->big);
	case TEXT_OR_NULL:
		argument->text = NULL;
		if (is_type(env, value, napi_null)) return 1;
		/* fall through */
	case TEXT:
		argument->text = read_text(env, value, (size_t)most);
		return argument->text != NULL;
	case TEXTS: return read_texts(env, value, (size_t)most, argument);
	case FDS: return read_fds(env, value, argument);
	case PARTS: return read_parts(env, value, argument - 1, argument);
	case FUNCTION:
		argument->function = value;
		return is_type(env, value, napi_function) || refuse_type(env, "userns native: a function was expected");
	}
	return 0;
}

int arguments_read(napi_env env, const enum argument_kind *kinds, const napi_value *values, size_t given,
		   struct argument *arguments)
{
	int count = 0;

	for (; kinds[count] != ARGUMENT_END; count++) {
		if ((size_t)count >= given) refuse_type(env, "userns native: too few arguments");
		else if (read_one(env, kinds[count], values[count], &arguments[count])) {
			if (check(env, kinds[count], &arguments[count])) continue;
			arguments_free(&kinds[count], &arguments[count], 1);
		}
		arguments_free(kinds, arguments, count);
		return -1;
	}
	return count;
}

void arguments_free(const enum argument_kind *kinds, struct argument *arguments, int count)
{
	for (int i = 0; i < count; i++) {
		switch (kinds_table[kinds[i]].form) {
		case TEXT:
		case TEXT_OR_NULL: free(arguments[i].text); break;
		case TEXTS: free_texts(arguments[i].texts); break;
		case FDS: free(arguments[i].fds); break;
		case PARTS: free(arguments[i].parts); break;
		default: break;
		}
	}
}
