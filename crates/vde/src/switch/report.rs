//! Answers to the questions of the management socket, laid out as `vde_switch` does: scripts read them.

use std::fmt::Write as _;
use std::time::Instant;

use super::Counters;
use super::clients::Endpoint;
use super::console::{Command, HELP, Refusal};
use super::core::{Core, Port};
use super::fabric::UPLINK;
use super::session::BANNER;
use super::table::AGE;

impl Core {
    pub(crate) fn report(&self, question: Command, now: Instant) -> Result<String, Refusal> {
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
            Command::PortPrint(which) => self.print_ports(&mut text, which, false)?,
            Command::PortAllPrint(which) => self.print_ports(&mut text, which, true)?,
            Command::HashInfo => {
                let (known, age) = (self.fabric.table.list(now).len(), AGE.as_secs());
                let _ = writeln!(text, "Hash size {known}\nGC expire {age} secs\nMin persistence 0 secs");
            }
            Command::HashPrint => {
                for (vlan, mac, port, age) in self.fabric.table.list(now) {
                    let age = age.as_secs();
                    let _ = writeln!(text, "Addr: {mac} VLAN {vlan:04} to port: {port:03}  age {age} secs");
                }
            }
            Command::HashFind(mac, vlan) => {
                let port = self.fabric.table.find(vlan, mac, now).ok_or(Refusal::NotFound)?;
                let _ = writeln!(text, "Addr: {mac} VLAN {vlan:04} to port: {port:03}");
            }
            Command::VlanPrint(which) => self.print_vlans(&mut text, which, false)?,
            Command::VlanAllPrint(which) => self.print_vlans(&mut text, which, true)?,
            _ => return Err(Refusal::Unknown),
        }
        Ok(text)
    }

    /// The numbers of all ports there are.
    fn numbers(&self) -> impl Iterator<Item = u16> {
        (0..=self.limit).filter(|number| self.has_port(*number))
    }

    fn print_ports(&self, text: &mut String, which: Option<u16>, all: bool) -> Result<(), Refusal> {
        if which.is_some_and(|which| !self.has_port(which)) {
            return Err(Refusal::NotFound);
        }
        let nobody = Port::default();
        for number in self.numbers().filter(|number| which.is_none_or(|which| which == *number)) {
            let port = self.ports.get(&number).unwrap_or(&nobody);
            let active = number == UPLINK || !port.endpoints.is_empty();
            let counters = if number == UPLINK { &self.uplink.counters } else { &port.counters };
            if active || all {
                self.print_port(text, number, active, counters, &port.endpoints);
            }
        }
        Ok(())
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

    fn print_vlans(&self, text: &mut String, which: Option<u16>, all: bool) -> Result<(), Refusal> {
        if which.is_some_and(|which| !self.fabric.vlans.contains_key(&which)) {
            return Err(Refusal::NotFound);
        }
        let wanted = self.fabric.vlans.iter().filter(|(vlan, _)| which.is_none_or(|which| which == **vlan));
        for (vlan, with_tag) in wanted {
            let _ = writeln!(text, "VLAN {vlan:04}");
            for number in self.numbers() {
                let tagged = with_tag.contains(&number);
                if !tagged && self.fabric.untagged(number) != *vlan {
                    continue;
                }
                let active = number == UPLINK
                    || self.ports.get(&number).is_some_and(|port| !port.endpoints.is_empty());
                if active || all {
                    let (tagged, active) = (u8::from(tagged), u8::from(active));
                    let _ = writeln!(
                        text,
                        " -- Port {number:04} tagged={tagged} active={active} status=Forwarding"
                    );
                }
            }
        }
        Ok(())
    }
}
