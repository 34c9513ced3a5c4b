/* Mounts at their place: attached, exchanged, taken off, in this or another mount namespace. */
#ifndef USERNS_ATTACH_H
#define USERNS_ATTACH_H

#include "outcome.h"
#include "place.h"

struct attach_request {
	int tree; /* a detached mount */
	struct place target;
	int replace; /* take the place of what is mounted at the target */
	int recursive;
	uint64_t propagation;
	int mount_ns; /* the mount namespace to attach it in, or −1 for one's own */
};

/*
 * Nothing is attached when it fails, but when a mount that it takes the place of cannot be taken off: then it lies
 * beneath that one; or when the propagation cannot be set again afterwards: then it is in that one's place. The target is a place in the other namespace when there is one.
 */
void mount_attach(const struct attach_request *request, struct outcome *out);

/*
 * Takes the mount off whose root the descriptor is, with all that is mounted below it. umount2(2) goes down to what is
 * mounted on top of it, so the caller looks first that nothing is. 0 or a negative errno.
 */
int mount_detach(int fd);

/*
 * The same with that look, of listmount(2), Linux 6.8. 0, also when the mount is not in this mount namespace any more; EBUSY
 * when something is mounted on it or below it, or another negative errno, with nothing changed; 1 when something was
 * mounted on it at that very moment, which then is what was taken off.
 */
int mount_detach_alone(int fd);

/* The same as mount_detach() in the mount namespace that it is in, by a child that asks no /proc; −1: one's own. */
int mount_detach_in(int mount_ns, int fd);

/* Opens the mountinfo of a mount namespace, as seen from its root. A descriptor or a negative errno. */
int mount_table_of(int mount_ns);

/*
 * Opens a path in a mount namespace, below a directory in it (−1: its root) that nothing leads out of. An O_PATH
 * descriptor or a negative errno; ETIMEDOUT when a file system on the way does not answer.
 */
int mount_open_in(int mount_ns, int root, const char *path);

#endif
