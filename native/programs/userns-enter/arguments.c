/* userns-enter: reads the arguments, and reports failures. */
#include "programs/userns-enter/enter.h"

#define FIRST_PROGRAM 14 /* the index of the first PROGRAM */

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

static const char *name_of(long error)
{
	static const struct {
		int number;
		const char *name;
	} names[] = {
		{1, "EPERM (operation not permitted)"},   {2, "ENOENT (no such file or directory)"},
		{3, "ESRCH (the process has ended)"},
		{7, "E2BIG (the arguments are too long)"}, {8, "ENOEXEC (not a program: is the #! line missing?)"},
		{11, "EAGAIN (too many processes)"},       {12, "ENOMEM (not enough memory)"},
		{13, "EACCES (permission denied, for the IDs in the namespace)"},
		{20, "ENOTDIR (not a directory)"},         {22, "EINVAL (invalid argument)"},
		{26, "ETXTBSY (the program is being written)"},
		{28, "ENOSPC (a limit in /proc/sys/user is reached)"}, {40, "ELOOP (too many symbolic links)"},
		{116, "ESTALE (the process has changed its user namespace)"},
	};

	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (names[i].number == error) return names[i].name;
	}
	return (const char *)0;
}

void print_usage(void)
{
	static const char usage[] = "userns-enter is started by the package userns, not by hand.\n";

	raw_syscall3(SYS_write, 2, (long)usage, length_of(usage));
}

__attribute__((noreturn)) void fail(const struct plan *plan, const char *step, long error)
{
	char text[4096 + 512];
	char *end = text + sizeof text;
	char *to = text;
	const char *name = name_of(-error);

	if (error == -2 && same(step, "execve")) name = "ENOENT (no such file or directory, or the interpreter is missing)";

	if (plan->control >= 0) {
		to = append(to, end, step);
		to = append(to, end, " ");
		to = append_number(to, end, -error);
	} else {
		to = append(to, end, "userns: cannot run ");
		to = append(to, end, plan->shown);
		to = append(to, end, " in the user namespace: ");
		to = append(to, end, step);
		to = append(to, end, ": ");
		if (name != (const char *)0) to = append(to, end, name);
		else to = append_number(append(to, end, "errno "), end, -error);
		to = append(to, end, "\n");
	}
	raw_syscall3(SYS_write, plan->control >= 0 ? plan->control : 2, (long)text, to - text);
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

static const char *last_name(const char *path)
{
	const char *name = path;

	for (; *path != '\0'; path++) {
		if (*path == '/') name = path + 1;
	}
	return name;
}

int read_plan(struct plan *plan, long argc, char *const *argv)
{
	if (argc <= FIRST_PROGRAM || !read_number(argv[13], &plan->count)) return 0;
	if (plan->count < 1 || plan->count >= argc - FIRST_PROGRAM) return 0;
	plan->own_name = argv[0];
	plan->ns = -1;
	plan->control = -1;
	plan->process = -1;
	plan->groups = argv[11];
	plan->directory = argv[12];
	plan->programs = argv + FIRST_PROGRAM;
	plan->argv = plan->programs + plan->count;
	plan->shown = plan->count == 1 ? plan->programs[0] : last_name(plan->programs[0]);
	return read_number(argv[1], &plan->first) &&
	       ((asks(plan) && same(argv[2], "-")) || read_number(argv[2], &plan->ns)) &&
	       (same(argv[3], "-") || read_number(argv[3], &plan->control)) &&
	       (same(argv[4], "-") || read_number(argv[4], &plan->process)) && read_number(argv[5], &plan->join) &&
	       read_number(argv[6], &plan->unshare) && read_number(argv[7], &plan->keep) &&
	       read_number(argv[8], &plan->no_new_privs) && read_number(argv[9], &plan->uid) &&
	       read_number(argv[10], &plan->gid);
}
