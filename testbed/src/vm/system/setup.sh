#!/bin/sh
# ROOT KERNEL VERSION: makes a machine of the packages in ROOT, which has `agent` and `lan` in /usr/local/sbin already.
set -eu
root=$1
kernel=$2
version=$3
mkdir -p "$root/usr/lib/modules"
cp -a "$kernel/lib/modules/$version" "$root/usr/lib/modules/"
cd "$root"

echo vm >etc/hostname
echo '127.0.0.1 localhost vm' >etc/hosts
: >etc/resolv.conf
printf '/dev/vda / ext4 defaults 0 0\nhost /host virtiofs ro,nofail 0 0\n' >etc/fstab
# As on the first boot of a machine that was installed: the journal is kept, and nothing is asked.
echo 11111111111111111111111111111111 >etc/machine-id
mkdir -p host var/log/journal

unit() { cat >"etc/systemd/system/$1"; }
unit agent.service <<'END'
[Unit]
Description=Runs what the outer machine says
After=host.mount
[Service]
ExecStart=/usr/local/sbin/agent
KillMode=process
[Install]
WantedBy=multi-user.target
END
unit lan.service <<'END'
[Unit]
Description=The LAN beside this machine
DefaultDependencies=no
After=local-fs.target
Wants=network-pre.target
Before=network-pre.target systemd-networkd.service NetworkManager.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lan
[Install]
WantedBy=sysinit.target
END
unit lan-dhcp.service <<'END'
[Unit]
Description=The DHCP server of that LAN
DefaultDependencies=no
Requires=lan.service
After=lan.service
Before=network.target
[Service]
ExecStart=ip netns exec router dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --no-ping \
	--dhcp-range=192.0.2.100,192.0.2.199,10m --dhcp-range=203.0.113.100,203.0.113.199,10m --dhcp-leasefile=/var/lib/misc/lan.leases --dhcp-authoritative --log-facility=/var/log/lan-dhcp
[Install]
WantedBy=sysinit.target
END

# What one manager of networks is told, and what the other is told in its place: bridge br0 on eth0, br1 on eth2, eth1 without an
# address, eth3 and eth4 with one each.
configured() { # NAME NETWORKD NETWORK_MANAGER
	printf "[Match]\nName=$1\n$2" >"etc/systemd/network/$1.network"
	file=etc/NetworkManager/system-connections/$1.nmconnection
	printf "[connection]\nid=$1\ninterface-name=$1\n$3\n" >"$file"
	chmod 600 "$file"
}
for bridge in br0 br1; do
	printf "[NetDev]\nName=$bridge\nKind=bridge\n" >"etc/systemd/network/$bridge.netdev"
done
quiet='[Link]\nRequiredForOnline=no\n[Network]\nLinkLocalAddressing=no\n'
none='[ipv4]\nmethod=disabled\n[ipv6]\nmethod=disabled'
fixed='[ipv6]\nmethod=link-local\n[ipv4]\nmethod=manual\naddress1'
bridge='type=bridge\n[bridge]\nstp=false'
configured br0 '[Network]\nAddress=192.0.2.10/24\nGateway=192.0.2.1\n' "$bridge\n$fixed=192.0.2.10/24,192.0.2.1"
configured br1 "$quiet" "$bridge\n$none"
configured eth0 '[Network]\nBridge=br0\n' 'type=ethernet\nmaster=br0\nslave-type=bridge'
configured eth2 '[Network]\nBridge=br1\n' 'type=ethernet\nmaster=br1\nslave-type=bridge'
configured eth1 "$quiet" "type=ethernet\n$none"
configured eth3 '[Network]\nAddress=198.51.100.13/24\n' "type=ethernet\n$fixed=198.51.100.13/24"
configured eth4 '[Network]\nAddress=203.0.113.13/24\n' "type=ethernet\n$fixed=203.0.113.13/24"

chroot . systemctl enable --quiet agent lan lan-dhcp systemd-networkd
chroot . systemctl disable --quiet NetworkManager NetworkManager-wait-online
# What wants the Internet, or time for its own sake.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
	systemd-timesyncd.service e2scrub_reap.service getty@tty1.service serial-getty@ttyS0.service \
	systemd-pstore.service modprobe@drm.service modprobe@efi_pstore.service modprobe@loop.service modprobe@dm_mod.service \
	dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount; do
	ln -sf /dev/null "etc/systemd/system/$unit"
done
# Profiles of programs that are not here, which take seconds to compile. Docker loads its own.
rm -f etc/apparmor.d/lsb_release etc/apparmor.d/nvidia_modprobe
