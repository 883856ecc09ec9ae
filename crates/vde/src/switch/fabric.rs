//! Where a frame goes: ports, VLANs and learned addresses, without descriptors.
//!
//! VLANs are those of `vde_switch`: a port is in one VLAN without tags (0 unless told otherwise) and in any number with
//! tags. A tag of a VLAN that nobody has made here is none of the switch's business, and passes within the untagged
//! VLAN of the port it came from, as through any switch that knows no VLANs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Instant;

use super::table::Table;
use crate::frame::Header;

/// The port of the network interface the switch was given. Clients have 1 and up.
pub(crate) const UPLINK: u16 = 0;

/// The largest VLAN there is (IEEE 802.1Q keeps 4095).
pub(crate) const VLAN_MAX: u16 = 4094;

/// How many times ports may be in VLANs with tags, in all VLANs together.
const TAGGED_MAX: usize = 1 << 16;

/// A frame's way, seen from the port it came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    from: u16,
    vlan: u16,
    /// Whether the frame has the tag of that VLAN.
    tagged: bool,
    /// Where its destination was heard; `None`: it goes to all.
    pub(crate) to: Option<u16>,
}

/// What a port does to a frame on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tagging {
    AsItIs,
    Untagged,
    Tagged(u16),
}

/// The rules of one switch.
#[derive(Debug)]
pub(crate) struct Fabric {
    /// The untagged VLAN of each port that has been told one.
    untagged: BTreeMap<u16, u16>,
    /// The same by VLAN, without those in VLAN 0.
    members: BTreeSet<(u16, u16)>,
    /// The VLANs that were made, with the ports that are in them with tags.
    pub(crate) vlans: BTreeMap<u16, BTreeSet<u16>>,
    pub(crate) table: Table,
    /// Every frame to every port.
    pub(crate) hub: bool,
}

impl Default for Fabric {
    fn default() -> Self {
        Self {
            untagged: BTreeMap::new(),
            members: BTreeSet::new(),
            vlans: BTreeMap::from([(0, BTreeSet::new())]),
            table: Table::default(),
            hub: false,
        }
    }
}

impl Fabric {
    /// The VLAN of frames without a tag.
    pub(crate) fn untagged(&self, port: u16) -> u16 {
        self.untagged.get(&port).copied().unwrap_or(0)
    }

    /// Puts a port into this VLAN, untagged. `false`: there is no such VLAN.
    pub(crate) fn set_untagged(&mut self, port: u16, vlan: u16) -> bool {
        let known = self.vlans.contains_key(&vlan);
        if known {
            self.members.remove(&(self.untagged(port), port));
            if vlan == 0 {
                self.untagged.remove(&port);
            } else {
                self.untagged.insert(port, vlan);
                self.members.insert((vlan, port));
            }
            self.table.forget(port);
        }
        known
    }

    /// The ports with these numbers whose frames without a tag are in this VLAN, if it is not 0.
    pub(crate) fn untagged_in(&self, vlan: u16, ports: RangeInclusive<u16>) -> impl Iterator<Item = u16> {
        self.members.range((vlan, *ports.start())..=(vlan, *ports.end())).map(|(_, port)| *port)
    }

    /// Puts a port into a VLAN, tagged. `false`: there is no room.
    pub(crate) fn add_tagged(&mut self, vlan: u16, port: u16) -> bool {
        let room = self.vlans.values().map(BTreeSet::len).sum::<usize>() < TAGGED_MAX;
        match self.vlans.get_mut(&vlan) {
            Some(ports) if room || ports.contains(&port) => {
                ports.insert(port);
                true
            }
            _ => false,
        }
    }

    /// Whether any port is in the VLAN.
    pub(crate) fn in_use(&self, vlan: u16) -> bool {
        self.untagged_in(vlan, 0..=u16::MAX).next().is_some()
            || self.vlans.get(&vlan).is_some_and(|ports| !ports.is_empty())
    }

    /// Learns from a frame and says where it goes; `None`: nowhere.
    pub(crate) fn lookup(&mut self, from: u16, header: Header, now: Instant) -> Option<Way> {
        let (vlan, tagged) = match header.tag {
            Some(tag) if tag != 0 && self.vlans.contains_key(&tag) => (tag, true),
            _ => (self.untagged(from), false),
        };
        if tagged && !self.vlans.get(&vlan).is_some_and(|ports| ports.contains(&from)) {
            return None;
        }
        if self.hub {
            return Some(Way { from, vlan, tagged, to: None });
        }
        self.table.learn(vlan, header.source, from, now);
        let to = self.table.find(vlan, header.destination, now);
        (to != Some(from)).then_some(Way { from, vlan, tagged, to })
    }

    /// How a frame leaves by this port; `None`: not at all.
    pub(crate) fn form(&self, way: Way, port: u16) -> Option<Tagging> {
        if port == way.from || way.to.is_some_and(|to| to != port) {
            return None;
        }
        let with_tag = self.vlans.get(&way.vlan).is_some_and(|ports| ports.contains(&port));
        match (way.tagged, with_tag, self.untagged(port) == way.vlan) {
            (true, true, _) | (false, _, true) => Some(Tagging::AsItIs),
            (true, false, true) => Some(Tagging::Untagged),
            (false, true, false) => Some(Tagging::Tagged(way.vlan)),
            (_, false, false) => None,
        }
    }

    /// A port has nobody on it any more.
    pub(crate) fn empty(&mut self, port: u16) {
        self.table.forget(port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use landline_types::Mac;

    fn header(source: u8, destination: u8, tag: Option<u16>) -> Header {
        let mac = |last| if last == 0xff { Mac::BROADCAST } else { Mac::new([2, 0, 0, 0, 0, last]) };
        Header { source: mac(source), destination: mac(destination), tag }
    }

    /// Which of the ports 0 to 4 a frame leaves by, and how.
    fn sent(fabric: &mut Fabric, from: u16, header: Header) -> Vec<(u16, Tagging)> {
        let Some(way) = fabric.lookup(from, header, Instant::now()) else { return Vec::new() };
        (0..=4).filter_map(|port| Some((port, fabric.form(way, port)?))).collect()
    }

    fn ports(fabric: &mut Fabric, from: u16, header: Header) -> Vec<u16> {
        sent(fabric, from, header).into_iter().map(|(port, _)| port).collect()
    }

    #[test]
    fn frames_go_to_all_until_somebody_was_heard() {
        let mut fabric = Fabric::default();
        assert_eq!(ports(&mut fabric, 1, header(1, 2, None)), [0, 2, 3, 4]);
        assert_eq!(ports(&mut fabric, 2, header(2, 1, None)), [1]);
        assert_eq!(ports(&mut fabric, 1, header(1, 2, None)), [2]);
        assert_eq!(ports(&mut fabric, 1, header(3, 1, None)), [], "both on one port");
        assert_eq!(ports(&mut fabric, 2, header(2, 0xff, None)), [0, 1, 3, 4]);
        fabric.empty(1);
        assert_eq!(ports(&mut fabric, 2, header(2, 1, None)), [0, 1, 3, 4]);
        fabric.hub = true;
        assert_eq!(ports(&mut fabric, 1, header(1, 2, None)), [0, 2, 3, 4]);
    }

    #[test]
    fn tags_nobody_made_a_vlan_for_pass_as_they_are() {
        let mut fabric = Fabric::default();
        let all = [0, 2, 3, 4].map(|port| (port, Tagging::AsItIs));
        assert_eq!(sent(&mut fabric, 1, header(1, 0xff, Some(7))), all);
    }

    #[test]
    fn vlans_keep_frames_apart_and_tag_them() {
        let mut fabric = Fabric::default();
        fabric.vlans.insert(5, BTreeSet::from([3]));
        assert!(fabric.set_untagged(1, 5) && fabric.set_untagged(2, 5) && !fabric.set_untagged(4, 6));
        assert_eq!(
            sent(&mut fabric, 1, header(1, 0xff, None)),
            [(2, Tagging::AsItIs), (3, Tagging::Tagged(5))],
            "from an untagged port"
        );
        assert_eq!(
            sent(&mut fabric, 3, header(3, 0xff, Some(5))),
            [(1, Tagging::Untagged), (2, Tagging::Untagged)],
            "from a tagged one"
        );
        assert_eq!(sent(&mut fabric, 4, header(4, 0xff, Some(5))), [], "from one that is not in it");
        assert_eq!(ports(&mut fabric, 4, header(4, 0xff, None)), [0, 3], "VLAN 0");
        assert!(fabric.in_use(5) && !fabric.in_use(9));
    }
}
