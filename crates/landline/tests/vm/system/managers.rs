//! Who configures the host's own network is restarted, or is another.

use super::host::Host;
use crate::world::Result;

/// The interface for the host's access to containers is not made again: whoever remembers its index still has it.
pub(crate) fn networkd(host: &mut Host) -> Result {
    host.sh("index() { cat /sys/class/net/lls*/ifindex; }
        before=$(index)
        systemctl restart systemd-networkd.service
        configured() { networkctl list --no-legend br0 eth4 | grep -cw configured | grep -qx 2; }
        eventually configured
        eventually reached
        [ \"$(index)\" = \"$before\" ] || { echo \"its index was $before and is $(index)\"; exit 1; }
        fine")?;
    Ok(())
}

/// It finds the bridges as they are, and leaves alone what is not its own.
pub(crate) fn network_manager(host: &mut Host) -> Result {
    host.sh("systemctl stop systemd-networkd.socket systemd-networkd.service
        connected() {
            local name
            for name in br0 eth3 eth4; do
                nmcli -g GENERAL.STATE device show $name | grep -q '^100 ' || { echo $name is not; return 1; }
            done
        }
        systemctl start NetworkManager.service
        eventually connected
        eventually reached
        systemctl restart NetworkManager.service
        eventually connected
        eventually reached
        ours=$(nmcli -g DEVICE,STATE device | grep '^ll[hs]' | grep -v unmanaged || true)
        [ -z \"$ours\" ] || { echo \"it manages $ours\"; exit 1; }
        fine
        systemctl stop NetworkManager.service
        systemctl start systemd-networkd.service
        back() { ip -4 -o address show br0 | grep -q 192.0.2.10; }
        eventually back")?;
    host.all_is_reached()
}
