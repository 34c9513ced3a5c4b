/*
 * The floor: a user namespace with maps by the least system calls, without a check.
 * `creation plain|bound|handed|fork|steps ROUNDS MEBIBYTES`, `creation many COUNT THREADS`.
 */
#include "measure.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#define PIDFD_WAIT 3 /* P_PIDFD */
#define PIDFD_GET_USER_NAMESPACE _IO(0xff, 9)
#define MAP "0 100000 65536"

enum { BIND, CLONE, RESTORE, UID_MAP, SETGROUPS, GID_MAP, NAMESPACE, KILL, WAIT, CLOSE, STEPS };
static const char *const step_names[STEPS] = {"bind", "clone", "restore", "uid_map", "setgroups", "gid_map", "namespace", "kill", "wait", "close"};
static double spent[STEPS];
static int timed;

static double mark(int step, double since)
{
	double time;

	if (!timed) return 0;
	time = now();
	spent[step] += time - since;
	return time;
}

__attribute__((noreturn)) static int pause_for_ever(void *argument)
{
	(void)argument;
	for (;;) pause();
}

static void write_file(int pid, const char *name, const char *text)
{
	char path[40];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
	close(fd);
}

static int open_namespace(int pid, int pidfd)
{
	char path[40];
	int fd = ioctl(pidfd, PIDFD_GET_USER_NAMESPACE, 0);

	if (fd >= 0) return fd;
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid); /* before Linux 6.11 */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) die(path);
	return fd;
}

static void create(int flags, int bound, char *stack)
{
	cpu_set_t before;
	cpu_set_t here;
	siginfo_t info;
	int pidfd;
	int pid;
	int ns;
	double time = timed ? now() : 0;

	if (bound) {
		sched_getaffinity(0, sizeof before, &before);
		CPU_ZERO(&here);
		CPU_SET(sched_getcpu(), &here);
		sched_setaffinity(0, sizeof here, &here);
		time = mark(BIND, time);
	}
	pid = stack == NULL ? (int)syscall(SYS_clone, flags, 0, &pidfd, 0, 0)
			    : clone(pause_for_ever, stack, flags, NULL, &pidfd);
	if (pid < 0) die("clone");
	if (pid == 0) pause_for_ever(NULL);
	time = mark(CLONE, time);
	if (bound) {
		sched_setaffinity(0, sizeof before, &before);
		time = mark(RESTORE, time);
	}
	write_file(pid, "uid_map", MAP);
	time = mark(UID_MAP, time);
	write_file(pid, "setgroups", "deny");
	time = mark(SETGROUPS, time);
	write_file(pid, "gid_map", MAP);
	time = mark(GID_MAP, time);
	ns = open_namespace(pid, pidfd);
	time = mark(NAMESPACE, time);
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	time = mark(KILL, time);
	if (waitid((idtype_t)PIDFD_WAIT, (id_t)pidfd, &info, WEXITED | __WALL) < 0) die("waitid");
	time = mark(WAIT, time);
	close(pidfd);
	close(ns);
	mark(CLOSE, time);
}

#define SHARED (CLONE_VM | CLONE_FILES | CLONE_PIDFD | CLONE_NEWUSER)
static _Alignas(16) char own_stack[16384];

static void create_plain(void)
{
	create(SHARED, 0, own_stack + sizeof own_stack);
}

static void create_bound(void)
{
	create(SHARED, 1, own_stack + sizeof own_stack);
}

static void create_by_fork(void)
{
	create(CLONE_PIDFD | CLONE_NEWUSER, 0, NULL);
}

/*
 * Created on another thread, with the result through epoll_wait(2), as an event loop does it that must not block. The other
 * thread sleeps before, as the threads of a pool do.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int wanted;
	int done; /* an eventfd */
	int loop; /* an epoll with that eventfd */
} other = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

__attribute__((noreturn)) static void *create_for_others(void *argument)
{
	const uint64_t one = 1;

	(void)argument;
	for (;;) {
		pthread_mutex_lock(&other.lock);
		while (!other.wanted) pthread_cond_wait(&other.wake, &other.lock);
		other.wanted = 0;
		pthread_mutex_unlock(&other.lock);
		create_bound();
		if (write(other.done, &one, sizeof one) < 0) die("eventfd");
	}
}

static void create_handed(void)
{
	struct epoll_event event;
	uint64_t count;

	pthread_mutex_lock(&other.lock);
	other.wanted = 1;
	pthread_cond_signal(&other.wake);
	pthread_mutex_unlock(&other.lock);
	if (epoll_wait(other.loop, &event, 1, -1) != 1 || read(other.done, &count, sizeof count) < 0) die("epoll");
}

static void start_other(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	pthread_t thread;

	other.done = eventfd(0, EFD_CLOEXEC);
	other.loop = epoll_create1(EPOLL_CLOEXEC);
	if (other.done < 0 || other.loop < 0) die("epoll");
	if (epoll_ctl(other.loop, EPOLL_CTL_ADD, other.done, &event) < 0) die("epoll_ctl");
	if (pthread_create(&thread, NULL, create_for_others, NULL) != 0) die("pthread_create");
}

static int share;

static void *create_share(void *argument)
{
	char *stack = malloc(16384);

	if (stack == NULL) die("malloc");
	for (int i = 0; i < share; i++) create(SHARED, 0, stack + 16384);
	free(stack);
	return argument;
}

static double create_burst(int count, int threads)
{
	pthread_t workers[64];
	double start = now();

	share = count / threads;
	for (int i = 0; i < threads; i++) pthread_create(&workers[i], NULL, create_share, NULL);
	for (int i = 0; i < threads; i++) pthread_join(workers[i], NULL);
	return share * threads / (now() - start) * 1e6;
}

/* The median of five bursts after a first one. */
static void create_many(int count, int threads)
{
	double rates[5];

	create_burst(count, threads);
	for (int i = 0; i < 5; i++) rates[i] = create_burst(count, threads);
	qsort(rates, 5, sizeof rates[0], compare);
	printf("{\"perSecond\":%.0f}\n", rates[2]);
}

static void print_steps(int rounds)
{
	timed = 1;
	for (int i = 0; i < rounds; i++) create_bound();
	printf("{");
	for (int i = 0; i < STEPS; i++) printf("%s\"%s\":%.2f", i == 0 ? "" : ",", step_names[i], spent[i] / rounds);
	printf("}\n");
}

int main(int count, char **words)
{
	int rounds;
	size_t bytes;

	if (count != 4) return 2;
	rounds = atoi(words[2]);
	bytes = (size_t)atol(words[3]) << 20;
	if (strcmp(words[1], "many") == 0) {
		create_many(rounds, atoi(words[3]));
		return 0;
	}
	if (bytes > 0) {
		char *memory = malloc(bytes);

		if (memory == NULL) die("malloc");
		memset(memory, 1, bytes);
		__asm__ volatile("" : : "r"(memory) : "memory");
	}
	if (strcmp(words[1], "plain") == 0) measure(create_plain, rounds, 1);
	else if (strcmp(words[1], "bound") == 0) measure(create_bound, rounds, 1);
	else if (strcmp(words[1], "handed") == 0) {
		start_other();
		measure(create_handed, rounds, 1);
	} else if (strcmp(words[1], "fork") == 0) measure(create_by_fork, rounds, 1);
	else if (strcmp(words[1], "steps") == 0) print_steps(rounds);
	else return 2;
	return 0;
}
