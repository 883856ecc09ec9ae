//! A host as administrators have it: its init is systemd, its Docker is Debian's with the firewall on, and Landline is installed
//! with its units. It boots, reboots, and is treated as hosts are. All of it is in one emulated VM, because boots take long.
//!
//! By hand such a host is at `testbed system-vm`, whose standard input is a shell on it.

mod boots;
mod faults;
mod host;
mod journal;
mod managers;

use landline_testbed::SystemImage;

use crate::world::Result;
use host::Host;

type Part = fn(&mut Host) -> Result;

/// What is done to it, in this order. Each part leaves it as it found it.
const PARTS: [(&str, Part); 8] = [
    ("a stock host: the firewall is found and opened", boots::set_up),
    ("a reboot with an adopted NIC that waits for its confirmation", boots::reboots),
    ("Docker is stopped", boots::docker_stays_down),
    ("a reboot with Docker disabled", boots::docker_stays_disabled),
    ("the daemon crashes", faults::crashes),
    ("a configuration file with a mistake", faults::broken_configuration),
    ("systemd-networkd is restarted", managers::networkd),
    ("NetworkManager takes its place", managers::network_manager),
];

#[test]
fn a_host_with_systemd() -> Result {
    let Some(image) = SystemImage::prepare_or_skip()? else { return Ok(()) };
    let mut host = Host::start(&image)?;
    let mut failures = Vec::new();
    for (what, part) in PARTS {
        host.step(what);
        // What comes after it is worth knowing, too.
        if let Err(error) = part(&mut host) {
            println!("FAILED: {error}");
            failures.push(format!("{what}: {error}"));
        }
    }
    host.step("its journal");
    failures.extend(journal::read(&mut host)?);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}
