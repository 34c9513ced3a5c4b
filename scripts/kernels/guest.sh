#!/bin/bash
# Runs after the disk is mounted: mounts what a system has mounted, builds, runs the tests, and powers off. The output goes to
# the virtual serial port, which the host reads; the messages of the kernel stay on the console.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root USER=root LC_ALL=C.UTF-8 TMPDIR=/tmp
cd /

end() {
	sync
	busybox poweroff -f
	sleep 60 # the power goes off a moment later
}
trap end EXIT

mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 run /run
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
ldconfig
install -m 755 /userns/scripts/kernels/cc.sh /usr/local/bin/cc
depmod
# By name, because without udev no program loads them at their first use.
modprobe virtio_console
modprobe loop
modprobe fuse
port() { compgen -G "/dev/vport*p1"; }
until port > /dev/null; do sleep 0.1; done

{
	echo "Linux $(uname -r) $(uname -m), Node $(node --version), $(nproc) processors"
	cd /userns
	# In a process group below a shell, because the kernel does not stop processes of an orphaned process group.
	setsid --wait bash -c 'set -m; bash ./run.sh; exit $?'
	echo "userns-kernels: status $?"
} 2>&1 < /dev/null | cat > "$(port)"
