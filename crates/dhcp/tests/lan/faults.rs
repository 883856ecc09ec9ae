//! What goes wrong on a LAN, and when.

use super::rng::Rng;
use super::{HOUR, Micros, SECOND};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The network loses this many of a hundred packets from now on.
    Loss(u64),
    /// A server stops and comes back.
    Crash { server: usize, lasts: Micros },
    /// A server forgets its leases.
    Wipe { server: usize },
    /// A server gets another pool; what it granted before it will refuse.
    Renumber { server: usize },
    /// Somebody takes an address of a pool without asking.
    Squat { last: u8, lasts: Micros },
    /// Everybody sleeps.
    Suspend { host: usize, lasts: Micros },
    /// The program is killed and started again.
    Kill { host: usize, lasts: Micros },
    /// The container is stopped and started again.
    Recreate { host: usize, release: bool },
    /// The host reboots: its clock begins anew, and of its leases only the addresses mean something.
    Reboot { host: usize, lasts: Micros },
    /// The cable is pulled and put back.
    Unplug { host: usize, lasts: Micros },
    /// A user asks for a renewal.
    Renew { host: usize },
    /// The host gets another name.
    Rename { host: usize },
}

/// Faults over `time`.
pub(crate) fn schedule(rng: &mut Rng, time: Micros, servers: usize, hosts: usize) -> Vec<(Micros, Fault)> {
    let count = rng.range(4, 40);
    let mut faults: Vec<_> = (0..count)
        .map(|_| {
            let lasts = match rng.range(0, 3) {
                0 => rng.range(SECOND, 30 * SECOND),
                1 => rng.range(30 * SECOND, HOUR),
                _ => rng.range(time / 50, time / 8),
            };
            (rng.range(0, time), pick(rng, lasts, servers, hosts))
        })
        .collect();
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn pick(rng: &mut Rng, lasts: Micros, servers: usize, hosts: usize) -> Fault {
    let (server, host) = (rng.index(servers), rng.index(hosts));
    match rng.range(0, 23) {
        0..4 => Fault::Loss(rng.pick(&[0, 0, 0, 5, 5, 20, 40, 100])),
        4..7 => Fault::Crash { server, lasts },
        7 => Fault::Wipe { server },
        8 => Fault::Renumber { server },
        9..13 => Fault::Squat { last: u8::try_from(rng.range(20, 25)).expect("small"), lasts },
        13..15 => Fault::Suspend { host, lasts },
        15..17 => Fault::Kill { host, lasts },
        17 => Fault::Recreate { host, release: rng.percent(50) },
        18..20 => Fault::Unplug { host, lasts },
        20 => Fault::Renew { host },
        21 => Fault::Rename { host },
        _ => Fault::Reboot { host, lasts },
    }
}
