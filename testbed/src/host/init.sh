#!/bin/sh
# Pid 1 of a Docker host in the lab: INIT DIR NAME. Runs in new mount, pid, uts and ipc namespaces and in the
# host's network namespace; makes the file system look like a machine of its own, then waits for orphans.
set -e
dir=$1
name=$2

# Slave, not private: an unmount outside reaches us, so that we do not keep anybody's namespace or overlay busy.
mount --make-rslave /
awk '$0 ~ / - nsfs / {print $5}' /proc/self/mountinfo | while read -r point; do
	umount -l "$point" 2>/dev/null || true
done
umount -l /run/netns 2>/dev/null || true

mount -t proc proc /proc
# A sysfs of this network namespace that still has the control groups: Docker 20.10 does not start without.
mkdir -p "$dir/cgroup"
mount --rbind /sys/fs/cgroup "$dir/cgroup"
umount -l /sys
mount -t sysfs sysfs /sys
mount --move "$dir/cgroup" /sys/fs/cgroup
rmdir "$dir/cgroup"

# What is written to /etc and /var/lib stays here; what must survive a reboot of the host is bound in below.
mkdir -p "$dir/over" "$dir/state"
mount -t tmpfs -o mode=755 tmpfs "$dir/over"
for tree in /etc /var/lib; do
	upper=$dir/over$tree
	mkdir -p "$upper/upper" "$upper/work"
	mount -t overlay -o "lowerdir=$tree,upperdir=$upper/upper,workdir=$upper/work" overlay "$tree"
done
for state in docker containerd landline openvswitch; do
	mkdir -p "$dir/state/$state" "/var/lib/$state"
	mount --bind "$dir/state/$state" "/var/lib/$state"
done
rm -rf /etc/docker /etc/resolv.conf /etc/landline
mkdir -p /etc/docker/plugins
: >/etc/resolv.conf

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/docker/plugins /run/netns /run/lock

# A boot id of its own: a reboot of this host is one for whoever looks.
cat /proc/sys/kernel/random/uuid >"$dir/boot_id"
mount --bind "$dir/boot_id" /proc/sys/kernel/random/boot_id
hostname "$name"
echo "127.0.0.1 localhost $name" >/etc/hosts

# The file system of the machine outside is not ours to stay in.
cd /
: >"$dir/ready"
exec tini -s -- sleep infinity
