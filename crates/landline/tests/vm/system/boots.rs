//! What is there after a boot, and what Docker's units do when they are told.

use super::host::Host;
use crate::world::Result;

/// Every kind of network, with containers that start with Docker. Docker's firewall drops what is bridged.
pub(crate) fn set_up(host: &mut Host) -> Result {
    let refused = host.sh(
        "docker network create -d landline --ipam-driver null -o bridge=br0 lan 2>&1 && exit 1 || true",
    )?;
    for words in
        ["drops what goes over br0 (chain FORWARD of iptables)", "-o firewall=open", "landline doctor --fix"]
    {
        assert!(refused.contains(words), "{refused}");
    }
    host.sh(
        "network() { docker network create -d landline \"$@\" >/dev/null; }
        network --ipam-driver null -o bridge=br0 -o firewall=open open
        network --ipam-driver null -o bridge=br1 -o firewall=keep fixed
        network --ipam-driver null -o mode=macvlan -o parent=eth1 -o host_access=true direct
        network -o mode=vde --subnet 10.12.1.0/24 vde
        network -o mode=nat -o parent=eth1 --subnet 10.12.2.0/24 -o lan_ip=192.0.2.117 -o ports=all -o firewall=open nat
        landline doctor --fix",
    )?;
    host.sh(
        "for container in open1:open open2:open fixed:fixed direct:direct vde1:vde vde2:vde nat:nat; do
            docker create --restart=always --name ${container%:*} --network ${container#*:} box httpd -f -p 80 -h / >/dev/null
        done
        docker start open1 open2 fixed direct vde1 vde2 nat",
    )?;
    host.all_is_reached()
}

pub(crate) fn reboots(host: &mut Host) -> Result {
    host.sh("landline bridge adopt eth3 --as br-eth3 --confirm-within 50m
        peer ping -q -c1 -W5 198.51.100.13")?;
    host.reboot()?;
    host.sh("fine
        ip -4 -o address show eth3 | grep -q 198.51.100.13
        peer ping -q -c1 -W5 198.51.100.13")?;
    host.all_is_reached()
}

/// `docker.socket` is there, which starts Docker for whoever connects to it.
pub(crate) fn docker_stays_down(host: &mut Host) -> Result {
    host.sh("systemctl is-active docker.socket; systemctl stop docker.service")?;
    // Staying down is something that takes its time.
    let state = host
        .sh("sleep 15; systemctl is-active docker.service || true; systemctl is-active landline.service")?;
    let started = host.sh("systemctl start docker.service");
    assert_eq!(state.split_whitespace().collect::<Vec<_>>(), ["inactive", "active"], "{started:?}");
    host.all_is_reached()
}

pub(crate) fn docker_stays_disabled(host: &mut Host) -> Result {
    host.sh("systemctl disable --quiet docker.service")?;
    host.reboot()?;
    let state = host.sh("sleep 15; systemctl is-active docker.service || true; systemctl is-active landline.service docker.socket")?;
    let fine = host.sh("fine");
    host.sh("systemctl enable --quiet --now docker.service")?;
    assert_eq!(state.split_whitespace().collect::<Vec<_>>(), ["inactive", "active", "active"]);
    fine?;
    host.all_is_reached()
}
