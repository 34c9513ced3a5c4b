#!/bin/busybox sh
# The first process of the emulated machine: loads the modules that it needs to read its disk, and continues from the disk.
# The names of the files in /modules begin with a number, which gives the load order.
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
exec <>/dev/console >&0 2>&1
echo "userns: the initramfs runs"
for module in /modules/*.ko; do insmod "$module" || echo "userns: no module $module"; done
tries=0
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 600 ] || { echo "userns: there is no disk"; poweroff -f; }
	sleep 0.1
done
mkdir -p /disk
mount -t ext4 -o noatime /dev/vda /disk && mount -t ext4 -o noatime /dev/vdb /disk/userns ||
	{ echo "userns: the disks cannot be mounted"; poweroff -f; }
echo "userns: the disks are mounted"
exec switch_root /disk /bin/bash /userns/scripts/kernels/guest.sh
