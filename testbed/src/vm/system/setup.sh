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
ExecStart=ip netns exec router dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=lan --no-ping \
	--dhcp-range=192.0.2.100,192.0.2.199,10m --dhcp-leasefile=/var/lib/misc/lan.leases --dhcp-authoritative --log-facility=/var/log/lan-dhcp
[Install]
WantedBy=sysinit.target
END

network() { cat >"etc/systemd/network/$1"; }
network br0.netdev <<'END'
[NetDev]
Name=br0
Kind=bridge
END
network br0.network <<'END'
[Match]
Name=br0
[Network]
Address=192.0.2.10/24
Gateway=192.0.2.1
END
network eth0.network <<'END'
[Match]
Name=eth0
[Network]
Bridge=br0
END
network br1.netdev <<'END'
[NetDev]
Name=br1
Kind=bridge
END
network br1.network <<'END'
[Match]
Name=br1
[Link]
RequiredForOnline=no
[Network]
LinkLocalAddressing=no
END
network eth2.network <<'END'
[Match]
Name=eth2
[Network]
Bridge=br1
END
network eth1.network <<'END'
[Match]
Name=eth1
[Link]
RequiredForOnline=no
[Network]
LinkLocalAddressing=no
END
network eth3.network <<'END'
[Match]
Name=eth3
[Network]
Address=198.51.100.13/24
END

chroot . systemctl enable --quiet agent lan lan-dhcp systemd-networkd
chroot . systemctl disable --quiet NetworkManager NetworkManager-wait-online
# What wants the Internet, or time for its own sake.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
	systemd-timesyncd.service e2scrub_reap.service getty@tty1.service serial-getty@ttyS0.service; do
	ln -sf /dev/null "etc/systemd/system/$unit"
done
