#!/bin/busybox sh
# Pid 1 of the VM at first: finds the machine's root file system and goes on in it, with an overlay for what is written.
b=/bin/busybox
stop() {
	echo "vm: $*"
	$b poweroff -f
}
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
while read -r module; do
	$b insmod "/modules/$module" || echo "vm: $module cannot be loaded"
done </modules/order
for word in $($b cat /proc/cmdline); do
	case $word in
	testbed.run=*) run=${word#*=} ;;
	testbed.kernel=*) kernel=${word#*=} ;;
	esac
done
$b mount -t virtiofs -o ro root /ro || stop "no root file system"
$b mount -t tmpfs -o mode=755,size=75% tmpfs /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /root || stop "no overlay"
for tree in proc sys dev; do
	$b mount --move "/$tree" "/root/$tree"
done
exec $b switch_root /root /bin/sh "$run/guest.sh" "$run" "$kernel"
