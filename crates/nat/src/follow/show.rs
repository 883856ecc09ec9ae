//! What users see of addresses.

use std::collections::BTreeMap;

use landline_model::NatOwner;
use landline_options::NatPorts;

use super::Follower;
use crate::record::{NatRecord, NatState, NatView};
use crate::table::Mapping;

impl Follower {
    pub(super) fn show(&self, problems: &BTreeMap<NatOwner, String>) {
        let forwards = self.forwarding.is_on();
        let views = self.records.values().map(|record| {
            let mapping = self.mapping(record);
            let problem = self.troubles.get(&record.owner).or_else(|| problems.get(&record.owner));
            let view = view(record, mapping.as_ref(), problem, forwards);
            (record.owner.clone(), NatView { interface: self.places.of(&record.interface), ..view })
        });
        self.views.send_replace(views.collect());
    }
}

fn view(record: &NatRecord, mapping: Option<&Mapping>, problem: Option<&String>, forwards: bool) -> NatView {
    let ports = match (mapping, &record.ports) {
        (Some(Mapping { ports: None, .. }), _) | (None, NatPorts::All) => vec!["all".to_owned()],
        (Some(Mapping { ports: Some(ports), .. }), _) => ports.iter().map(ToString::to_string).collect(),
        (None, NatPorts::Only(ports)) => ports.iter().map(ToString::to_string).collect(),
        (None, NatPorts::Exposed) => Vec::new(),
    };
    let ours = record.owner.network().is_some();
    let state = match (problem, record.address, mapping) {
        (Some(problem), _, _) => NatState::Trouble(problem.clone()),
        (None, None, _) => NatState::Asking,
        (None, Some(_), None) => NatState::Waiting,
        (None, Some(_), Some(_)) if ports.is_empty() => {
            let how = if ours { "-o ports=80 or -p" } else { "--port" };
            NatState::Trouble(format!("its container exposes no port; give {how}"))
        }
        (None, Some(_), Some(_)) if !forwards => {
            NatState::Trouble("net.ipv4.ip_forward is 0; landline doctor --fix sets it".into())
        }
        (None, Some(_), Some(_)) => NatState::Ready,
    };
    NatView {
        container: match &record.owner {
            NatOwner::Container(name) => Some(name.clone()),
            NatOwner::Network(_) | NatOwner::Identity { .. } => None,
        },
        network: None,
        address: record.address,
        dhcp: record.dhcp.is_some(),
        interface: record.interface.clone(),
        server: record.dhcp.as_ref().and_then(|dhcp| dhcp.lease.as_ref()).map(|lease| lease.server),
        inside: mapping.map(|mapping| mapping.inside),
        ports,
        state,
    }
}
