//! A host that has addresses nobody gave it, and is as slow, as late and as stubborn as a test wants it.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::error::Result;
use crate::node::Node;
use crate::process::Process;

/// What a [`Squatter`] does. The default answers at once, to everything, and gives in to who says that the address is
/// its own.
#[derive(Debug, Clone)]
pub struct Squatting {
    /// The first and the last address it has.
    pub addresses: (Ipv4Addr, Ipv4Addr),
    /// How long it takes to answer, at least and at most; at random between them, drawn each time.
    pub delay: (Duration, Duration),
    /// It has an address from when somebody else announces it: probes before that are not answered.
    pub late: bool,
    /// Who announces one of its addresses hears at once that it is taken; from one that is late, the second time.
    pub insists: bool,
}

impl Squatting {
    /// On one address.
    pub fn on(address: Ipv4Addr) -> Self {
        Self { addresses: (address, address), delay: Default::default(), late: false, insists: false }
    }
}

/// A running squatter. It is gone when this value is dropped.
#[derive(Debug)]
pub struct Squatter {
    _process: Process,
}

impl Squatter {
    /// Starts it on the `eth0` of a machine, beside the machine's own IP stack. Returns when it listens.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(node: &Node, squatting: &Squatting) -> Result<Self> {
        let Squatting { addresses: (first, last), delay: (least, most), late, insists } = squatting;
        let words = [
            first.to_string(),
            last.to_string(),
            least.as_millis().to_string(),
            most.as_millis().to_string(),
            u8::from(*late).to_string(),
            u8::from(*insists).to_string(),
        ];
        let mut argv = vec!["python3", "-c", include_str!("squatter.py"), "eth0"];
        argv.extend(words.iter().map(String::as_str));
        let mut process = node.spawn_command(node.command(&argv), "squatter".to_owned())?;
        process.wait_for_text("squatting", Duration::from_secs(10))?;
        Ok(Self { _process: process })
    }
}
