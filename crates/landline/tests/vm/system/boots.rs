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
        network --ipam-driver null -o mode=macvlan -o parent=eth4 -o host_access=true direct
        network -o mode=vde --subnet 10.12.1.0/24 vde
        # A second NIC on the LAN that the host reaches through br0.
        network -o mode=nat -o parent=eth1 --subnet 10.12.2.0/24 -o lan_ip=192.0.2.117 -o ports=all -o firewall=open nat
        said=$(landline doctor --fix || true)
        for words in 'fixed: .*br1' 'route to 192.0.2.117 leads through br0, not eth1'; do
            grep -q \"$words\" <<<\"$said\" || { echo \"$said\"; exit 1; }
        done",
    )?;
    // With a key, a container has its address also while several start at once and Docker's API does not answer yet.
    host.sh(
        "start() {
            docker run -d --restart=always --stop-timeout 1 --name $1 --network name=$2,driver-opt=landline.id=$1 \\
                ${@:3} box httpd -f -p 80 -h / >/dev/null &
            jobs+=($!)
        }
        start open open
        start fixed fixed
        start direct direct
        # Docker's own pools know no identities: the first that starts has the first address.
        start vde1 vde --ip 10.12.1.11
        start vde2 vde --ip 10.12.1.12
        start nat nat
        for job in ${jobs[@]}; do wait $job; done",
    )?;
    host.all_is_reached()
}

/// `docker.socket` is there, which starts Docker for whoever connects to it.
pub(crate) fn docker_stays_away(host: &mut Host) -> Result {
    // Staying down is something that takes its time.
    let down = "sleep 10; for unit in docker.service docker.socket landline.service; do systemctl is-active $unit || true; done";
    host.sh("systemctl disable --quiet docker.service; systemctl stop docker.service")?;
    assert_eq!(host.sh(down)?.lines().collect::<Vec<_>>(), ["inactive", "active", "active"], "after a stop");
    host.lose_power()?;
    assert_eq!(host.sh(down)?.lines().collect::<Vec<_>>(), ["inactive", "active", "active"], "after a boot");
    host.sh("fine; systemctl enable --quiet --now docker.service")?;
    host.all_is_reached()
}
