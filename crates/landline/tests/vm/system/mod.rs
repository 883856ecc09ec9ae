//! A host as administrators have it: its init is systemd, its Docker is Debian's with the firewall on, and Landline is installed
//! from its package. It boots, reboots, and is treated as hosts are. All of it is in one emulated VM, because boots take long.
//!
//! By hand such a host is at `testbed system-vm`, whose standard input is a shell on it.

mod adopted;
mod boots;
mod faults;
mod host;
mod journal;
mod managers;
mod package;

use landline_testbed::SystemImage;

use crate::world::Result;
use host::Host;

type Part = fn(&mut Host) -> Result;

/// What is done to it, in this order. Each part leaves it as it found it.
const PARTS: [(&str, Part); 12] = [
    ("a stock host: the firewall is found and opened, containers start", boots::set_up),
    ("a NIC is adopted, the service restarted, the bridge confirmed and released", adopted::confirmed),
    ("a reboot while an adopted NIC waits for its confirmation", adopted::reboots),
    ("a loss of power while it does", adopted::loses_power),
    ("the daemon crashes ten times", faults::crashes),
    ("the daemon hangs", faults::hangs),
    ("a configuration file with a mistake", faults::broken_configuration),
    ("the package is upgraded", package::upgraded),
    ("systemd-networkd is restarted", managers::networkd),
    ("NetworkManager takes its place, and is restarted", managers::network_manager),
    ("Docker is stopped, disabled over a loss of power, and started", boots::docker_stays_away),
    ("everything is removed, the package too", package::purged),
];

#[test]
fn a_host_with_systemd() -> Result {
    let Some(image) = SystemImage::prepare_or_skip()? else { return Ok(()) };
    let mut host = Host::start(&image)?;
    for (what, part) in PARTS {
        host.begin(what);
        if let Err(error) = part(&mut host) {
            return Err(format!("{what}: {error}\n{}", host.last_words()).into());
        }
    }
    host.begin("its journal");
    let troubles = journal::read(&mut host)?;
    host.begin("done");
    assert!(troubles.is_empty(), "{}", troubles.join("\n"));
    Ok(())
}
