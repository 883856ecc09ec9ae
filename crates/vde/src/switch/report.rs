//! Answers to the questions of the management socket, laid out as `vde_switch` does: scripts read them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Instant;

use landline_types::Mac;

use super::Counters;
use super::clients::Endpoint;
use super::console::{Command, HELP, Refusal};
use super::core::{Core, Port};
use super::fabric::UPLINK;
use super::session::BANNER;
use super::table::AGE;

/// How long a part of an answer is, in bytes. The last of what is listed may make it a little longer.
const PART: usize = 32 * 1024;

/// How many ports are looked at for one part, whatever comes of it: frames wait meanwhile.
const LOOKS: usize = 16 * 1024;

/// Where a long answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// At this port.
    Port(u16),
    /// In this VLAN at this port; behind all of them it is another VLAN's turn.
    Vlan(u16, u32),
    /// Behind this VLAN's address.
    Address(u16, Mac),
}

/// A part of an answer.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) text: String,
    /// Where the next one begins; `None`: this is the last.
    pub(crate) rest: Option<Cursor>,
}

impl Core {
    /// Answers a question, from the beginning or from where the last part ended.
    pub(crate) fn report(
        &self,
        question: Command,
        from: Option<Cursor>,
        now: Instant,
    ) -> Result<Part, Refusal> {
        let mut text = String::new();
        match question {
            Command::Help => {
                for (name, arguments, meaning) in HELP {
                    let _ = writeln!(text, "{name:<18} {arguments:<15} {meaning}");
                }
            }
            Command::ShowInfo => {
                let uptime = now.saturating_duration_since(self.started).as_secs();
                let _ = writeln!(text, "{BANNER}pid {} uptime {uptime}", std::process::id());
                if let Some(path) = &self.management {
                    let _ = writeln!(text, "mgmt {}", path.display());
                }
            }
            Command::DataInfo => {
                let _ = writeln!(text, "ctl dir {}", self.dir.display());
            }
            Command::PortInfo => {
                let _ = writeln!(text, "Numports={}\nHUB={}\ncounters=true", self.limit, self.fabric.hub);
            }
            Command::PortPrint(which) => return self.print_ports(which, false, from),
            Command::PortAllPrint(which) => return self.print_ports(which, true, from),
            Command::HashInfo => {
                let (known, age) = (self.fabric.table.list(now).len(), AGE.as_secs());
                let _ = writeln!(text, "Hash size {known}\nGC expire {age} secs\nMin persistence 0 secs");
            }
            Command::HashPrint => return Ok(self.print_addresses(from, now)),
            Command::HashFind(mac, vlan) => {
                let port = self.fabric.table.find(vlan, mac, now).ok_or(Refusal::NotFound)?;
                let _ = writeln!(text, "Addr: {mac} VLAN {vlan:04} to port: {port:03}");
            }
            Command::VlanPrint(which) => return self.print_vlans(which, false, from),
            Command::VlanAllPrint(which) => return self.print_vlans(which, true, from),
            _ => return Err(Refusal::Unknown),
        }
        Ok(Part { text, rest: None })
    }

    fn print_addresses(&self, from: Option<Cursor>, now: Instant) -> Part {
        let mut part = Part::default();
        for (vlan, mac, port, age) in self.fabric.table.list(now) {
            if matches!(from, Some(Cursor::Address(before, last)) if (vlan, mac) <= (before, last)) {
                continue;
            }
            let age = age.as_secs();
            let _ = writeln!(part.text, "Addr: {mac} VLAN {vlan:04} to port: {port:03}  age {age} secs");
            if part.text.len() >= PART {
                part.rest = Some(Cursor::Address(vlan, mac));
                break;
            }
        }
        part
    }

    fn print_ports(&self, which: Option<u16>, all: bool, from: Option<Cursor>) -> Result<Part, Refusal> {
        let first = match (from, which) {
            (Some(Cursor::Port(port)), _) => port,
            (_, Some(which)) if !self.has_port(which) => return Err(Refusal::NotFound),
            (_, Some(which)) => which,
            _ => UPLINK,
        };
        let (mut part, nobody) = (Part::default(), Port::default());
        let last = which.unwrap_or(self.limit);
        for (looks, number) in (first..=last).enumerate() {
            if looks >= LOOKS || part.text.len() >= PART {
                part.rest = Some(Cursor::Port(number));
                break;
            }
            if !self.has_port(number) {
                continue;
            }
            let port = self.ports.get(&number).unwrap_or(&nobody);
            let active = number == UPLINK || !port.endpoints.is_empty();
            let counters = if number == UPLINK { &self.uplink.counters } else { &port.counters };
            if active || all {
                self.print_port(&mut part.text, number, active, counters, &port.endpoints);
            }
        }
        Ok(part)
    }

    fn print_port(
        &self,
        text: &mut String,
        number: u16,
        active: bool,
        counters: &Counters,
        there: &[Endpoint],
    ) {
        let active = if active { "ACTIVE" } else { "INACTIVE" };
        let vlan = self.fabric.untagged(number);
        let _ = writeln!(text, "Port {number:04} untagged_vlan={vlan:04} {active} - Unnamed Allocatable");
        let user = there.first().map_or_else(|| "NONE".to_owned(), |endpoint| endpoint.peer.user.to_string());
        let _ = writeln!(text, " Current User: {user} Access Control: (User: NONE - Group: NONE)");
        let Counters { frames_in, bytes_in, frames_out, bytes_out, .. } = counters;
        let _ = writeln!(text, " IN:  pkts {frames_in:>10}          bytes {bytes_in:>20}");
        let _ = writeln!(text, " OUT: pkts {frames_out:>10}          bytes {bytes_out:>20}");
        if number == UPLINK {
            let _ = writeln!(text, "  -- endpoint ID 0000 module tap       : network interface");
        }
        for endpoint in there {
            let (id, who) = (endpoint.id, &endpoint.description);
            let _ = writeln!(text, "  -- endpoint ID {id:04} module unix prog   : {who}");
        }
    }

    fn print_vlans(&self, which: Option<u16>, all: bool, from: Option<Cursor>) -> Result<Part, Refusal> {
        let (mut vlan, mut next) = match (from, which) {
            (Some(Cursor::Vlan(vlan, port)), _) => (vlan, port),
            (_, Some(which)) if !self.fabric.vlans.contains_key(&which) => return Err(Refusal::NotFound),
            (_, first) => (first.unwrap_or(0), 0),
        };
        let (mut part, mut looks) = (Part::default(), 0);
        loop {
            if looks >= LOOKS || part.text.len() >= PART {
                part.rest = Some(Cursor::Vlan(vlan, next));
                return Ok(part);
            }
            looks += 1;
            // One that was removed between two parts is passed over.
            let with_tag = self.fabric.vlans.get(&vlan);
            let number = with_tag.and_then(|with_tag| {
                if next == 0 {
                    let _ = writeln!(part.text, "VLAN {vlan:04}");
                }
                self.next_port(vlan, with_tag, next)
            });
            if let (Some(number), Some(with_tag)) = (number, with_tag) {
                let (tagged, active) = (with_tag.contains(&number), self.is_active(number));
                if active || all {
                    let (tagged, active) = (u8::from(tagged), u8::from(active));
                    let port =
                        format!(" -- Port {number:04} tagged={tagged} active={active} status=Forwarding");
                    let _ = writeln!(part.text, "{port}");
                }
                next = u32::from(number) + 1;
                continue;
            }
            let following =
                self.fabric.vlans.range(vlan..).map(|(vlan, _)| *vlan).find(|other| *other > vlan);
            match following.filter(|_| which.is_none()) {
                Some(following) => (vlan, next) = (following, 0),
                None => return Ok(part),
            }
        }
    }

    /// The first port from this number on that is in a VLAN.
    fn next_port(&self, vlan: u16, with_tag: &BTreeSet<u16>, from: u32) -> Option<u16> {
        // Those that were there before the number of ports was lowered are not looked at one by one.
        let from = u16::try_from(from).ok().filter(|from| *from <= self.limit)?;
        if vlan == 0 {
            // Where all are that nobody has put elsewhere.
            let mut numbers = (from..=self.limit).filter(|number| self.has_port(*number));
            return numbers.find(|number| self.fabric.untagged(*number) == 0 || with_tag.contains(number));
        }
        let tagged = with_tag.range(from..=self.limit).copied().find(|number| self.has_port(*number));
        let untagged = self.fabric.untagged_in(vlan, from..=self.limit).find(|number| self.has_port(*number));
        tagged.into_iter().chain(untagged).min()
    }

    fn is_active(&self, number: u16) -> bool {
        number == UPLINK || self.ports.get(&number).is_some_and(|port| !port.endpoints.is_empty())
    }
}
