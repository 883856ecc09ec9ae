//! Who configures the host's own network is restarted, or is another.

use super::host::Host;
use crate::world::Result;

pub(crate) fn networkd(host: &mut Host) -> Result {
    host.sh("systemctl restart systemd-networkd.service
        within 60 ip -4 -o address show br0 scope global
        fine")?;
    host.all_is_reached()
}

/// It finds the bridges as they are, and leaves alone what is not its own.
pub(crate) fn network_manager(host: &mut Host) -> Result {
    host.sh("systemctl stop systemd-networkd.socket systemd-networkd.service
        systemctl start NetworkManager.service
        within 60 nmcli -t general status
        nmcli device status")?;
    let reached = host.all_is_reached();
    let fine = host.sh("fine");
    host.sh("systemctl stop NetworkManager.service; systemctl start systemd-networkd.service")?;
    reached?;
    fine?;
    host.all_is_reached()
}
