#!/bin/busybox sh
# Pid 1 of the machine at first: finds its disk and hands over to systemd on it.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
while read -r module; do
	$b insmod "/modules/$module" || echo "vm: $module cannot be loaded"
done </modules/order
$b mount -t ext4 /dev/vda /root || {
	echo "vm: no root file system"
	$b poweroff -f
}
for tree in proc sys dev; do
	$b mount --move "/$tree" "/root/$tree"
done
exec $b switch_root /root /sbin/init
