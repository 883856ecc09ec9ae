//! The forms that put an interface into a container.

use super::client;
use crate::attach::{
    Attach, AttachError, AttachSpec, LinkChoice, Parent, hardware_address, interface, parse_static,
};
use crate::error::cut;

const USAGE: &str = "[--direct-phys] INTERFACE [-i IFNAME] [-l HOST_IFNAME] [-a 4|6] GUEST IP/LENGTH[@GATEWAY]|dhcp [MAC][@VLAN]";

/// What the interface is called in the container unless `-i` says otherwise.
const IFNAME: &str = "eth1";

pub(super) fn parse(words: &[&str]) -> Result<Attach, AttachError> {
    let missing = |what| AttachError::Missing { what, usage: USAGE };
    let mut words = words.iter().copied().peekable();
    let direct = words.next_if_eq(&"--direct-phys").is_some();
    let parent = words.next().ok_or(missing("an interface of this host"))?;
    let mut option = |letter| -> Result<Option<&str>, AttachError> {
        match words.next_if_eq(&letter) {
            Some(_) => words.next().map(Some).ok_or(missing("what follows an option")),
            None => Ok(None),
        }
    };
    let (ifname, host_end, family) = (option("-i")?, option("-l")?, option("-a")?);
    let guest = words.next().ok_or(missing("the container"))?;
    let address = words.next().ok_or(missing("the address"))?;
    let mac = words.next();
    if let Some(more) = words.next() {
        return Err(AttachError::TooMany(cut(more)));
    }

    let mut spec = AttachSpec::new(host_interface(parent)?);
    if direct {
        spec.link = LinkChoice::Nic;
    }
    spec.create = parent.starts_with("br") || parent.starts_with("ovs");
    spec.ifname = Some(interface(ifname.unwrap_or(IFNAME))?);
    spec.host_end = host_end.map(interface).transpose()?;
    match address {
        "0/0" => {}
        text if client::is_one(text) => client::read(text, &mut spec)?,
        text => spec.addresses.push(parse_static(text)?),
    }
    check_family(family, &spec)?;
    if let Some(text) = mac {
        let (mac, vlan) = text.split_once('@').map_or((text, None), |(mac, vlan)| (mac, Some(vlan)));
        if !mac.is_empty() {
            spec.mac = Some(hardware_address(mac)?);
        }
        if let Some(vlan) = vlan {
            spec.options.insert("vlan".into(), tag(vlan)?.to_string());
        }
    }
    spec.check()?;
    Ok(Attach { target: guest.parse()?, spec })
}

fn host_interface(text: &str) -> Result<Parent, AttachError> {
    if text.starts_with('-') {
        return Err(AttachError::word(text, "an interface of this host", USAGE));
    }
    // pipework makes one for every name that begins like this.
    if text.starts_with("dummy") { Ok(Parent::Dummy) } else { text.parse() }
}

/// `-a 4` and `-a 6` say which family the address is of.
fn check_family(family: Option<&str>, spec: &AttachSpec) -> Result<(), AttachError> {
    let v4 = match family {
        None => return Ok(()),
        Some("4") => true,
        Some("6") => false,
        Some(other) => return Err(AttachError::word(other, "an address family", "write -a 4 or -a 6")),
    };
    if spec.addresses.iter().all(|address| address.net.addr().is_ipv4() == v4) && (v4 || !spec.dhcp) {
        Ok(())
    } else {
        Err(AttachError::Contradiction("the address is not of the family that -a says; leave out -a"))
    }
}

/// 1 to 4094 (IEEE 802.1Q).
fn tag(text: &str) -> Result<u16, AttachError> {
    let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    number
        .filter(|tag| (1..=4094).contains(tag))
        .ok_or_else(|| AttachError::word(text, "a VLAN", "after the @ comes its number, 1 to 4094"))
}
