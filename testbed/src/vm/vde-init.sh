#!/bin/busybox sh
# Pid 1 of a machine on a VDE switch: its NIC up, then what the test wants of it, on the console.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do
	insmod "/modules/$module"
done </modules/order
ip link set lo up
ip link set eth0 up
. /task
echo "guest: done"
exec sleep 100000
