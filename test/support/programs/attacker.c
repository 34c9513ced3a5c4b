/*
 * Runs in a user namespace as its root and tries to seize every process that joins: it seizes the newest pids with
 * ptrace in a loop. Prints a line "caught PID UID NAME" for each one; UID is the ID in the namespace.
 */
#include <errno.h>
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

static void report(int pid)
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
	printf("caught %d %d %s\n", pid, uid, name);
	fflush(stdout);
}

int main(void)
{
	int caught = 0;

	printf("ready\n");
	fflush(stdout);
	for (;;) {
		int last = newest();

		for (int pid = last; pid > last - 4 && pid > 1; pid--) {
			if (pid == getpid() || pid == caught) continue;
			if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0) continue;
			caught = pid;
			report(pid);
			kill(pid, 9);
			waitpid(pid, NULL, __WALL);
		}
	}
}
