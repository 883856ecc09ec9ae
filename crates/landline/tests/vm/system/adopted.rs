//! A NIC that is put under a bridge while the service and the host restart.

use super::host::Host;
use crate::world::Result;

/// The NIC has its address, the peer reaches it, and systemd-networkd has it back. (`configuring` is what networkd 252 then says of it for
/// good, also by itself: it waits for a link-local address that is there.)
const AS_BEFORE: &str = "as_before() {
        ip -4 -o address show eth3 | grep -q 198.51.100.13 && answers 198.51.100.13 peer &&
            networkctl list --no-legend eth3 | grep -qE 'configur(ed|ing)'
    }";

/// What the bridge waits for is not lost with the process that made it.
pub(crate) fn confirmed(host: &mut Host) -> Result {
    host.sh(&format!(
        "{AS_BEFORE}
        landline bridge adopt eth3 --as br-eth3 --confirm-within 10m
        answers 198.51.100.13 peer
        systemctl restart landline.service
        landline bridge confirm br-eth3
        ip -4 -o address show br-eth3 | grep -q 198.51.100.13
        answers 198.51.100.13 peer
        landline bridge release br-eth3
        eventually as_before"
    ))?;
    Ok(())
}

/// A reboot is the way back of a bridge that nobody has confirmed.
pub(crate) fn reboots(host: &mut Host) -> Result {
    reverted_by(host, Host::reboot)
}

/// So is a loss of power, after which nothing is left to take back, and much that nobody has put away.
pub(crate) fn loses_power(host: &mut Host) -> Result {
    reverted_by(host, Host::lose_power)
}

fn reverted_by(host: &mut Host, boot_again: fn(&mut Host) -> Result) -> Result {
    host.sh("landline bridge adopt eth3 --as br-eth3 --confirm-within 50m
        answers 198.51.100.13 peer")?;
    boot_again(host)?;
    host.sh(&format!(
        "{AS_BEFORE}
        fine
        eventually as_before
        ! ip link show br-eth3 2>/dev/null"
    ))?;
    host.all_is_reached()
}
