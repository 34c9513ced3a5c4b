/* userns-join and userns-enter, the static programs of this package (native/programs). The add-on contains both of them. */
#ifndef USERNS_OWN_PROGRAM_H
#define USERNS_OWN_PROGRAM_H

enum own_program { USERNS_JOIN, USERNS_ENTER };

/*
 * Returns a close-on-exec descriptor with a number of at least `least`, which execveat(2) with AT_EMPTY_PATH executes, or a
 * negative errno. EACCES: the sysctl vm.memfd_noexec is 2. The file is sealed, because a process in the namespace can open
 * /proc/PID/exe of a process that joins it, and root in a namespace that maps root could write to the file (CVE-2019-5736 was of
 * this kind).
 */
int own_program_open(enum own_program program, int least);

#endif
