/* Reads the arguments of userns-enter, one for each line, because its caller may pass any; and checks what a failure writes. */
#include "fuzz.h"
#include <setjmp.h>
#include <signal.h>

/* Replaces native/kernel/raw-syscall.h: write(2) stores the report, and the exit returns to the harness. */
#define USERNS_RAW_SYSCALL_H
#include "kernel/kernel-abi.h"

static jmp_buf ended;
static int status;
/* What was written to the descriptors 1, 2 and 77. */
static char reported[3][1 << 16];
static size_t length[3];

static size_t stream(long fd)
{
	MUST(fd == 1 || fd == 2 || fd == 77);
	return fd == 77 ? 2 : (size_t)fd - 1;
}

/* Without a reader, a signal would end the program before its exit. */
static int ignores_pipes;

void set_handler(int signal, long handler)
{
	MUST(signal == SIGPIPE && handler == (long)SIG_IGN);
	ignores_pipes = 1;
}

/* write(2), which writes a part of a longer text only. */
static long raw_syscall3(long number, long a, long b, long c)
{
	size_t to = stream(a);

	MUST(number == SYS_write && c > 0 && (to == 2 || ignores_pipes));
	if (c > 5 && to < 2) c = 5;
	if (length[to] + (size_t)c > sizeof reported[to]) return -28; /* ENOSPC: the rest is lost */
	memcpy(reported[to] + length[to], (const void *)b, (size_t)c);
	length[to] += (size_t)c;
	return c;
}

__attribute__((noreturn)) static void raw_exit(int code)
{
	status = code;
	longjmp(ended, 1);
}

#include "programs/userns-enter/arguments.c"

/* As in ask.c. */
int asks(const struct plan *plan)
{
	return plan->count == 1 && *plan->programs[0] == '\0';
}

#define MOST 64

/* Parses with the C library, in another way than the code. */
static long reference_number(const char *text)
{
	char *end;
	unsigned long long value;

	if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text)) return -1;
	errno = 0;
	value = strtoull(text, &end, 10);
	return errno != 0 || value > 0xffffffffULL ? -1 : (long)value;
}

static long reference_groups(const char *text)
{
	char *copy = strdup(text);
	char *rest = copy;
	long count = 0;

	while (text[0] != '\0' && rest != NULL && count >= 0) {
		const char *word = strsep(&rest, ",");

		count = reference_number(word) < 0 || count == MOST_GROUPS ? -1 : count + 1;
	}
	free(copy);
	return count;
}

/* Appends a field with the number in each place for it. */
static void expand(const char *field, size_t size, long number, char *to)
{
	size_t at = 0;

	for (size_t i = 0; i < size; i++) {
		at += (size_t)(field[i] == '\x1d' ? sprintf(to + at, "%ld", number) : sprintf(to + at, "%c", field[i]));
	}
	to[at] = '\0';
}

/* Finds the record by splitting the text, and its two texts. Returns 0 if there is none. */
static int reference_texts(const char *texts, const char *key, long number, char *out, char *err)
{
	for (const char *record = texts; record != NULL; record = strchr(record, '\x1e')) {
		if (*record == '\x1e') record++;
		size_t size = strcspn(record, "\x1e");
		size_t key_size = strlen(key);

		if (size <= key_size || strncmp(record, key, key_size) != 0 || record[key_size] != '\x1f') continue;
		const char *first = record + key_size + 1;
		size_t first_size = strcspn(first, "\x1e\x1f");

		expand(first, first_size, number, out);
		err[0] = '\0';
		if (first[first_size] == '\x1f') expand(first + first_size + 1, strcspn(first + first_size + 1, "\x1e\x1f"), number, err);
		return 1;
	}
	return 0;
}

static void check_failure(struct plan *plan, const char *step, long error)
{
	char key[64];
	size_t most = 16 * strlen(plan->texts) + 1;
	char *out = calloc(2, most);
	char *err = out + most;

	memset(length, 0, sizeof length);
	ignores_pipes = 0;
	if (setjmp(ended) == 0) fail(plan, step, error);
	MUST(status == 125 || status == 126 || status == 127);
	snprintf(key, sizeof key, "%s %ld", step, -error);
	if (plan->control >= 0) {
		MUST(length[0] == 0 && length[1] == 0);
		MUST(length[2] == strlen(key) && memcmp(reported[2], key, length[2]) == 0);
	} else {
		if (!reference_texts(plan->texts, key, -error, out, err)) reference_texts(plan->texts, step, -error, out, err);
		MUST(length[2] == 0);
		if (most < sizeof reported[0]) {
			MUST(length[0] == strlen(out) && memcmp(reported[0], out, length[0]) == 0);
			MUST(length[1] == strlen(err) && memcmp(reported[1], err, length[1]) == 0);
		}
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	char *rest = text;
	char *argv[MOST + 1] = {NULL};
	static unsigned groups[MOST_GROUPS];
	struct plan plan = {.control = -2};
	long argc = 0;

	while (rest != NULL && argc < MOST) {
		const char *word = strsep(&rest, "\n");

		argv[argc++] = strdup(word); /* allocated separately, so that the sanitizer detects a read beyond the end */
	}
	if (read_plan(&plan, argc, argv)) {
		MUST(argc > FIRST_PROGRAM + plan.count && plan.count > 0 && plan.count == reference_number(argv[14]));
		MUST(plan.programs == argv + FIRST_PROGRAM && plan.argv == plan.programs + plan.count);
		MUST(plan.groups == argv[11] && plan.directory == argv[12] && plan.own_name == argv[0]);
		MUST(plan.texts == argv[13]);
		MUST(plan.first == reference_number(argv[1]) && plan.ns == reference_number(argv[2]));
		MUST(plan.control == (strcmp(argv[3], "-") == 0 ? -1 : reference_number(argv[3])));
		MUST(plan.process == (strcmp(argv[4], "-") == 0 ? -1 : reference_number(argv[4])));
		MUST(plan.join == reference_number(argv[5]) && plan.unshare == reference_number(argv[6]));
		MUST(plan.keep == reference_number(argv[7]) && plan.no_new_privs == reference_number(argv[8]));
		MUST(plan.uid == reference_number(argv[9]) && plan.gid == reference_number(argv[10]));
		MUST(plan.first >= 0 && plan.ns >= 0 && plan.uid >= 0 && plan.gid >= 0);
		MUST(read_groups(plan.groups, groups) == reference_groups(plan.groups));
		plan.control = size % 2 == 0 ? -1 : 77;
		check_failure(&plan, "setns", -1);
		check_failure(&plan, "execve", -(long)(size % 4096) - 1);
	} else if (argc > FIRST_PROGRAM) {
		long count = reference_number(argv[14]);
		int good = count > 0 && count < argc - FIRST_PROGRAM;

		for (int i = 1; i < 11; i++) {
			good = good && (reference_number(argv[i]) >= 0 || ((i == 3 || i == 4) && strcmp(argv[i], "-") == 0));
		}
		MUST(!good);
	}
	for (long i = 0; i < argc; i++) free(argv[i]);
	free(text);
	return 0;
}
