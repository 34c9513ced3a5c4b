/*
 * Numbers and structures of the kernel that the installed headers may lack, because a kernel is often newer than they are.
 * The values are those of include/uapi. System calls from 424 on have the same number on every architecture except alpha.
 */
#ifndef USERNS_KERNEL_ABI_H
#define USERNS_KERNEL_ABI_H

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* The C library lists the calls of a kernel release together, so one of them stands for all. */
#ifndef SYS_pidfd_send_signal /* Linux 5.1 */
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_open_tree /* Linux 5.2 */
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef SYS_pidfd_open /* Linux 5.3 */
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3 /* Linux 5.3, but some architectures received it later */
#define SYS_clone3 435
#endif
#ifndef SYS_openat2 /* Linux 5.6 */
#define SYS_openat2 437
#endif
#ifndef SYS_faccessat2 /* Linux 5.8 */
#define SYS_faccessat2 439
#endif
#ifndef SYS_close_range /* Linux 5.9 */
#define SYS_close_range 436
#endif
#define USERNS_CLOSE_RANGE_UNSHARE 2
#ifndef SYS_mount_setattr /* Linux 5.12 */
#define SYS_mount_setattr 442
#endif
#ifndef SYS_statmount /* Linux 6.8 */
#define SYS_statmount 457
#define SYS_listmount 458
#endif
#ifndef SYS_open_tree_attr /* Linux 6.15 */
#define SYS_open_tree_attr 467
#endif

#ifndef SYS_listns /* Linux 6.19 */
#define SYS_listns 470
#endif

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#define USERNS_CLONE_NEWTIME 0x00000080 /* Linux 5.6 */
#ifndef __WALL
#define __WALL 0x40000000
#endif
#define USERNS_P_PIDFD 3 /* an enumerator in newer headers, which #ifndef does not detect */

#define USERNS_PROC_SUPER_MAGIC 0x9fa0
#define USERNS_NSFS_MAGIC 0x6e736673
#define USERNS_SYSFS_MAGIC 0x62656572
#define USERNS_FUSE_MAGIC 0x65735546

/* <linux/nsfs.h> */
#define USERNS_NS_GET_USERNS _IO(0xb7, 0x1)
#define USERNS_NS_GET_PARENT _IO(0xb7, 0x2)
#define USERNS_NS_GET_NSTYPE _IO(0xb7, 0x3)
#define USERNS_NS_GET_OWNER_UID _IO(0xb7, 0x4)
#define USERNS_NS_GET_MNTNS_ID _IOR(0xb7, 5, uint64_t) /* Linux 6.11 */
#define USERNS_NS_GET_ID _IOR(0xb7, 13, uint64_t)      /* Linux 6.18 */


/* The file handle of a namespace (struct file_handle with struct nsfs_file_handle), Linux 6.18. */
struct userns_nsfs_handle {
	uint32_t bytes; /* of the last three members */
	int32_t type;
	uint64_t id;
	uint32_t kind;  /* CLONE_NEW…; 0 with an inode of 0 */
	uint32_t inode; /* 0: any, Linux 7.2 */
};
#define USERNS_NSFS_HANDLE_BYTES 16
#define USERNS_FILEID_NSFS 0xf1
#define USERNS_FD_NSFS_ROOT (-10003)

/* NS_ID_REQ_SIZE_VER0 */
struct userns_ns_id_req {
	uint32_t size;
	uint32_t reserved; /* 0 */
	uint64_t ns_id; /* the last one of the previous call */
	uint32_t ns_type;
	uint32_t reserved2; /* 0 */
	uint64_t user_ns_id;
};

/* <linux/pidfd.h>, Linux 6.11 */
#define USERNS_PIDFD_GET_ANY_NAMESPACE(number) _IO(0xff, number)

/* <linux/openat2.h> */
struct userns_open_how {
	uint64_t flags;
	uint64_t mode;
	uint64_t resolve;
};
#define USERNS_RESOLVE_NO_XDEV 0x01
#define USERNS_RESOLVE_NO_MAGICLINKS 0x02
#define USERNS_RESOLVE_NO_SYMLINKS 0x04
#define USERNS_RESOLVE_BENEATH 0x08
#define USERNS_RESOLVE_IN_ROOT 0x10
#define USERNS_RESOLVE_CACHED 0x20

/* <linux/sched.h>: CLONE_ARGS_SIZE_VER0, 64 bytes, Linux 5.3 */
struct userns_clone_args {
	uint64_t flags;
	uint64_t pidfd;
	uint64_t child_tid;
	uint64_t parent_tid;
	uint64_t exit_signal;
	uint64_t stack;
	uint64_t stack_size;
	uint64_t tls;
};

/* <linux/mount.h>, which cannot be included beside <sys/mount.h>: MOUNT_ATTR_SIZE_VER0, Linux 5.12 */
struct userns_mount_attr {
	uint64_t attr_set;
	uint64_t attr_clr;
	uint64_t propagation;
	uint64_t userns_fd;
};
#define USERNS_OPEN_TREE_CLONE 1
#define USERNS_OPEN_TREE_NAMESPACE 2 /* Linux 7.0 */
#define USERNS_OPEN_TREE_CLOEXEC O_CLOEXEC
#define USERNS_AT_RECURSIVE 0x8000
#define USERNS_MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#define USERNS_MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#define USERNS_MOVE_MOUNT_SET_GROUP 0x00000100 /* Linux 5.15 */
#define USERNS_MOVE_MOUNT_BENEATH 0x00000200 /* Linux 6.5 */
#define USERNS_MOUNT_ATTR_IDMAP 0x00100000
#define USERNS_FSCONFIG_SET_STRING 1
#define USERNS_FSCONFIG_SET_FD 5
#define USERNS_FSCONFIG_CMD_CREATE 6
#define USERNS_FSOPEN_CLOEXEC 1
#define USERNS_FSMOUNT_CLOEXEC 1

/* <linux/memfd.h> and <linux/fcntl.h> */
#define USERNS_MFD_CLOEXEC 0x01U
#define USERNS_MFD_ALLOW_SEALING 0x02U
#define USERNS_MFD_EXEC 0x10U /* Linux 6.3 */
#define USERNS_F_ADD_SEALS 1033
#define USERNS_ALL_SEALS 0x0f /* no other seal, no smaller or larger size, no write */

/* The request of statmount(2) and listmount(2): MNT_ID_REQ_SIZE_VER1, Linux 6.11; 24 bytes before that. */
struct userns_mnt_id_req {
	uint32_t size;
	uint32_t fd;   /* of the mount with USERNS_STATMOUNT_BY_FD, otherwise 0 */
	uint64_t mnt_id;
	uint64_t param;
	uint64_t mnt_ns_id;
};
#define USERNS_MNT_ID_REQ_SIZE_VER0 24
#define USERNS_STATMOUNT_BY_FD 1 /* Linux 7.0 */

/* <linux/stat.h> */
#define USERNS_STATX_ATTR_MOUNT_ROOT 0x00002000U /* Linux 5.8 */
#define USERNS_STATX_MNT_ID 0x00001000U          /* Linux 5.8 */
#define USERNS_STATX_MNT_ID_UNIQUE 0x00004000U   /* Linux 6.8 */

#endif
