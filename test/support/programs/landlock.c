/*
 * landlock PROGRAM [ARGUMENT…]: runs a program under a ruleset of Landlock that permits every access to files. Landlock then refuses
 * every change of the mounts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK};
	struct landlock_path_beneath_attr all = {.allowed_access = LANDLOCK_ACCESS_FS_MAKE_BLOCK};
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);

	if (argc < 2 || ruleset < 0) return 2;
	all.parent_fd = open("/", O_PATH | O_CLOEXEC);
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &all, 0) < 0) return 3;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return 4;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) return 5;
	close(ruleset);
	execvp(argv[1], argv + 1);
	return 6;
}
