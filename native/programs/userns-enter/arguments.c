/* userns-enter: reads the arguments, and reports failures. */
#include "programs/userns-enter/enter.h"

#define SIGPIPE_NUMBER 13
#define FIRST_PROGRAM 15 /* the index of the first PROGRAM */

/* The ends of a field and of a record of TEXTS, and the place of the number of an error. No text contains them otherwise. */
#define FIELD '\x1f'
#define RECORD '\x1e'
#define NUMBER '\x1d'

static long length_of(const char *text)
{
	long length = 0;

	while (text[length] != '\0') length++;
	return length;
}

int same(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

char *append(char *to, char *end, const char *text)
{
	while (*text != '\0' && to < end) *to++ = *text++;
	return to;
}

char *append_number(char *to, char *end, long number)
{
	char digits[24];
	int at = sizeof digits - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	return append(to, end, digits + at);
}

void print_usage(void)
{
	static const char usage[] = "userns-enter is started by the package userns, not by hand.\n";

	raw_syscall3(SYS_write, 2, (long)usage, length_of(usage));
}

static void write_all(int fd, const char *text, long length)
{
	long written = 1;

	for (; length > 0 && written > 0; length -= written) {
		written = raw_syscall3(SYS_write, fd, (long)text, length);
		text += written;
	}
}

/* Writes a field, with the number in each place for it. Returns the address after the field. */
static const char *write_field(int fd, const char *text, const char *number)
{
	for (;;) {
		long length = 0;

		while (text[length] != '\0' && text[length] != FIELD && text[length] != RECORD && text[length] != NUMBER) length++;
		write_all(fd, text, length);
		text += length;
		if (*text != NUMBER) return text;
		write_all(fd, number, length_of(number));
		text++;
	}
}

/* The second field of the record whose first field is the key, or 0. */
static const char *find_record(const char *texts, const char *key)
{
	for (;;) {
		long i = 0;

		while (key[i] != '\0' && key[i] == texts[i]) i++;
		if (key[i] == '\0' && texts[i] == FIELD) return texts + i + 1;
		for (; *texts != RECORD; texts++) {
			if (*texts == '\0') return (const char *)0;
		}
		texts++;
	}
}

__attribute__((noreturn)) void fail(const struct plan *plan, const char *step, long error)
{
	char words[64];
	char *end = words + sizeof words - 1;
	char *number = append(append(words, end, step), end, " ");
	const char *text;

	*append_number(number, end, -error) = '\0';
	if (plan->control >= 0) {
		raw_syscall3(SYS_write, plan->control, (long)words, length_of(words));
	} else {
		set_handler(SIGPIPE_NUMBER, 1); /* the exit status reports the failure also if the texts have no reader */
		text = find_record(plan->texts, words);
		if (text == (const char *)0) text = find_record(plan->texts, step);
		if (text != (const char *)0) text = write_field(1, text, number);
		if (text != (const char *)0 && *text == FIELD) write_field(2, text + 1, number);
	}
	raw_exit(!same(step, "execve") ? 125 : error == -2 ? 127 : 126);
}

int read_number(const char *text, long *number)
{
	*number = 0;
	if (*text == '\0') return 0;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9') return 0;
		*number = *number * 10 + (*text - '0');
		if (*number > 0xffffffffL) return 0;
	}
	return 1;
}

long read_groups(const char *list, unsigned groups[MOST_GROUPS])
{
	long count = 0;

	if (*list == '\0') return 0;
	for (;;) {
		long number = 0;
		int digits = 0;

		for (; *list >= '0' && *list <= '9'; list++, digits++) {
			number = number * 10 + (*list - '0');
			if (number > 0xffffffffL) return -1;
		}
		if (digits == 0 || count == MOST_GROUPS) return -1;
		groups[count++] = (unsigned)number;
		if (*list == '\0') return count;
		if (*list++ != ',') return -1;
	}
}

int read_plan(struct plan *plan, long argc, char *const *argv)
{
	if (argc <= FIRST_PROGRAM || !read_number(argv[14], &plan->count)) return 0;
	if (plan->count < 1 || plan->count >= argc - FIRST_PROGRAM) return 0;
	plan->own_name = argv[0];
	plan->ns = -1;
	plan->control = -1;
	plan->process = -1;
	plan->groups = argv[11];
	plan->directory = argv[12];
	plan->texts = argv[13];
	plan->programs = argv + FIRST_PROGRAM;
	plan->argv = plan->programs + plan->count;
	return read_number(argv[1], &plan->first) &&
	       ((asks(plan) && same(argv[2], "-")) || read_number(argv[2], &plan->ns)) &&
	       (same(argv[3], "-") || read_number(argv[3], &plan->control)) &&
	       (same(argv[4], "-") || read_number(argv[4], &plan->process)) && read_number(argv[5], &plan->join) &&
	       read_number(argv[6], &plan->unshare) && read_number(argv[7], &plan->keep) &&
	       read_number(argv[8], &plan->no_new_privs) && read_number(argv[9], &plan->uid) &&
	       read_number(argv[10], &plan->gid);
}
