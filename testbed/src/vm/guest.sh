# Pid 1 of the VM once it has its root file system: GUEST RUN KERNEL. Makes a small machine, runs RUN/command, and
# turns itself off. Both directories are the outer machine's, which this one can only read.
run=$1
kernel=$2
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C

port() {
	for port in /sys/class/virtio-ports/*; do
		[ "$(cat "$port/name")" != "$1" ] || echo "/dev/${port##*/}"
	done
}

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns /dev/pts /dev/shm /lib/modules
mount -t devpts devpts /dev/pts
# As systemd makes it at boot: opening it loads the module.
mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$kernel/lib/modules" /lib/modules
# Labs keep Docker's layers here: an overlay on an overlay would be refused.
mount -t tmpfs -o mode=755,size=75% tmpfs /mnt
export LANDLINE_TESTBED_DIR=/mnt/testbed
hostname vm
ip link set lo up
: >/etc/resolv.conf

out=$(port output)
control=$(port control)
read -r up _ </proc/uptime
echo "up $up" >"$control"
sh "$run/command" >"$out" 2>&1 </dev/null
echo "status $?" >"$control"
echo o >/proc/sysrq-trigger
# The kernel turns the machine off behind this script; it must not end before.
exec sleep 60
