#!/bin/bash
# Runs after the disks are mounted: mounts what a system has mounted, runs the tests, and powers off. The output goes to the console of
# User-Mode Linux, or to the virtual serial port of an emulated machine, whose console has the messages of the kernel.
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
mount -t securityfs security /sys/kernel/security
mount -t tmpfs -o mode=755 run /run
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
ldconfig
hostname userns
busybox ip link set lo up
[ ! -d /userns/build/helpers ] || install -m 755 /userns/scripts/kernels/cc.sh /usr/local/bin/cc
mkdir -p /lib/modules
cp -r "/userns/build/modules/$(uname -r)" /lib/modules/
[ -e "/lib/modules/$(uname -r)/modules.dep" ] || depmod
# By name, because without udev no program loads them at their first use.
for module in virtio_console loop fuse; do modprobe --quiet "$module"; done
if [ -b /dev/ubda ]; then
	output=/dev/tty0
else
	port() { compgen -G "/dev/vport*p1"; }
	until port > /dev/null; do sleep 0.1; done
	output=$(port)
fi

{
	echo "Linux $(uname -r) $(uname -m), Node $(node --version), $(nproc) processors"
	cd /userns
	# In a process group below a shell, because the kernel does not stop processes of an orphaned process group.
	run=$(sed -n 's/.*userns\.run=\([a-z]*\).*/\1/p' /proc/cmdline)
	setsid --wait bash -c 'set -m; bash "$1"; exit $?' bash "build/runs/$run.sh"
} 2>&1 < /dev/null | cat > "$output"
