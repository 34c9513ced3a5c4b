/*
 * Attacks from inside a sandbox or a container. "sandbox-attacks ATTACK=OPERAND …" tries each and prints a line
 * "ATTACK=OPERAND RESULT": "ok" if the kernel allowed it, otherwise the kernel's errno. With "nested-" before its name
 * an attack runs in its own user and mount namespace, in which the caller has every capability.
 *
 * "sandbox-attacks pty PROGRAM …" runs a program with a new terminal as its controlling terminal, copies its output,
 * and prints "typed N": how many characters are in the terminal's input at the end. Only TIOCSTI can put any there.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

static int remount_writable(const char *path)
{
	return mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL);
}

static int unmount_it(const char *path)
{
	return umount2(path, MNT_DETACH);
}

/* Copies the root directory's mount without its submounts, and looks for a file that one of them covers. */
static int uncover(const char *path)
{
	int root = (int)syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */);

	return root < 0 ? -1 : openat(root, path + 1, O_PATH);
}

static int make_device(const char *path)
{
	return mknod(path, S_IFBLK | 0666, makedev(7, 0));
}

static int open_to_write(const char *path)
{
	return open(path, O_WRONLY | O_APPEND);
}

static int create_file(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
}

static pid_t process(const char *operand)
{
	return strcmp(operand, "parent") == 0 ? getppid() : atoi(operand);
}

static int trace(const char *operand)
{
	return (int)ptrace(PTRACE_SEIZE, process(operand), 0, 0);
}

static int send_signal(const char *operand)
{
	return kill(process(operand), 0);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	return connect(fd, (struct sockaddr *)&address, sizeof address);
}

static int type_into(const char *operand)
{
	int fd = strcmp(operand, "tty") == 0 ? open("/dev/tty", O_RDWR) : atoi(operand);
	int result = fd < 0 ? -1 : ioctl(fd, TIOCSTI, "x");

	return result < 0 ? -1 : ioctl(fd, TIOCSTI, "\n");
}

/* The well-known way out of chroot(2): "/" is another directory afterwards. */
static int leave_root(const char *folder)
{
	struct stat before;
	struct stat after;

	if (stat("/", &before) < 0 || chroot(folder) < 0) return -1;
	for (int i = 0; i < 64; i++) {
		if (chdir("..") < 0) return -1;
	}
	if (chroot(".") < 0 || stat("/", &after) < 0) return -1;
	errno = EXDEV;
	return before.st_dev == after.st_dev && before.st_ino == after.st_ino ? -1 : 0;
}

static int join(const char *operand)
{
	return setns(atoi(operand), 0);
}

/* Succeeds if the program has a descriptor other than the standard streams. */
static int inherited(const char *unused)
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = -1;

	(void)unused;
	if (folder == NULL) return 0;
	while ((entry = readdir(folder)) != NULL) {
		int fd = atoi(entry->d_name);

		if (fd > 2 && fd != dirfd(folder)) found = 0;
	}
	closedir(folder);
	errno = EBADF;
	return found;
}

static const struct {
	const char *name;
	int (*run)(const char *operand);
} attacks[] = {
	{"remount", remount_writable}, {"umount", unmount_it}, {"uncover", uncover},   {"mknod", make_device},
	{"write", open_to_write},      {"create", create_file}, {"trace", trace},	 {"kill", send_signal},
	{"connect", connect_to},       {"type", type_into},	{"chroot", leave_root}, {"setns", join},
	{"inherited", inherited},
};

static int run(const char *name, const char *operand)
{
	for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
		if (strcmp(attacks[i].name, name) == 0) return attacks[i].run(operand) < 0 ? errno : 0;
	}
	fprintf(stderr, "no attack %s\n", name);
	exit(2);
}

/* Each attack runs in its own child, so that it does not change the next one, and in this pid namespace. */
static int try_attack(char *attack)
{
	char *operand = strchr(attack, '=');
	char name[32];
	pid_t pid;
	int status;
	int length;

	if (operand == NULL) return 2;
	length = snprintf(name, sizeof name, "%.*s", (int)(operand - attack), attack);
	if (length < 0 || length >= (int)sizeof name) return 2;
	if (strcmp(operand + 1, "parent") == 0) {
		int error = run(name, "parent");

		printf("%s %s\n", attack, error == 0 ? "ok" : strerrorname_np(error));
		return 0;
	}
	pid = fork();
	if (pid == 0) {
		int nested = strncmp(name, "nested-", 7) == 0;

		if (nested && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) _exit(errno);
		_exit(run(nested ? name + 7 : name, operand + 1));
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status)) return 2;
	printf("%s %s\n", attack, WEXITSTATUS(status) == 0 ? "ok" : strerrorname_np(WEXITSTATUS(status)));
	return 0;
}

static int in_terminal(char *const program[])
{
	char text[4096];
	int master;
	int slave;
	int waiting = 0;
	pid_t pid;
	int status = 0;
	struct termios mode;

	if (openpty(&master, &slave, NULL, NULL, NULL) < 0) return 2;
	if (tcgetattr(slave, &mode) < 0) return 2;
	mode.c_lflag &= ~(tcflag_t)ECHO;
	mode.c_oflag &= ~(tcflag_t)OPOST;
	if (tcsetattr(slave, TCSANOW, &mode) < 0) return 2;
	pid = fork();
	if (pid == 0) {
		close(master);
		if (login_tty(slave) < 0) _exit(2);
		execvp(program[0], program);
		_exit(127);
	}
	fcntl(master, F_SETFL, O_NONBLOCK);
	while (pid > 0) {
		ssize_t got = read(master, text, sizeof text);

		if (got > 0) fwrite(text, 1, (size_t)got, stdout);
		else if (waitpid(pid, &status, WNOHANG) == pid) break;
		else usleep(1000);
	}
	for (ssize_t got; (got = read(master, text, sizeof text)) > 0;) fwrite(text, 1, (size_t)got, stdout);
	if (ioctl(slave, FIONREAD, &waiting) < 0) return 2;
	printf("typed %d\n", waiting);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int count, char *arguments[])
{
	if (count > 2 && strcmp(arguments[1], "pty") == 0) return in_terminal(arguments + 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < count; i++) {
		int status = try_attack(arguments[i]);

		if (status != 0) return status;
	}
	return 0;
}
