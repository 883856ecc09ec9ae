//! `PARENT [CONTAINER] ADDRESS… [key=value…]`.

use std::str::FromStr;

use landline_types::{IfName, Mac};

use super::error::AttachError;
use super::words::refuse_long;
use super::{Attach, AttachSpec, LinkChoice, Parent, parse_static, split_words};
use crate::given::boolean;
use crate::keys;
use crate::mac::made_of_text;

/// The keys an attachment has beside the network options.
const KEYS: [&str; 9] =
    ["mac", "ifname", "host_ifname", "mode", "vlan", "client_id", "hostname", "force", "create"];

/// Network options that an attachment says in its own way.
const NOT_FREE: [&str; 8] = [
    "parent",
    "bridge",
    "addressing",
    "ignore_conflicts",
    "identity",
    "on_duplicate",
    "when_unsure",
    "socket_dir",
];

impl Attach {
    /// Reads `PARENT CONTAINER ADDRESS… [key=value…]`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(words: &[String]) -> Result<Self, AttachError> {
        refuse_long(words)?;
        let (parent, rest) = words.split_first().ok_or(AttachError::NoParent)?;
        let parent = parent.parse()?;
        let (target, rest) = rest.split_first().ok_or(AttachError::NoTarget)?;
        Ok(Self { target: target.parse()?, spec: AttachSpec::of(parent, rest)? })
    }
}

impl FromStr for AttachSpec {
    type Err = AttachError;

    /// Reads `PARENT ADDRESS… [key=value…]`, as a label has it.
    fn from_str(text: &str) -> Result<Self, AttachError> {
        let words = split_words(text)?;
        let (parent, rest) = words.split_first().ok_or(AttachError::NoParent)?;
        Self::of(parent.parse()?, rest)
    }
}

impl FromStr for Parent {
    type Err = AttachError;

    /// An interface's name, `mac:ADDRESS`, `dummy`, or the directory of a VDE switch.
    fn from_str(text: &str) -> Result<Self, AttachError> {
        const WHAT: &str = "a parent";
        if text == "dummy" {
            return Ok(Self::Dummy);
        }
        if let Some(mac) = text.strip_prefix("mac:") {
            let hint = "after mac: comes the hardware address of a network card of this host";
            return mac.parse().map(Self::Mac).map_err(|_| AttachError::word(text, WHAT, hint));
        }
        if text.starts_with('/') {
            let hint = "write the path of a VDE switch's directory, like /run/vde.ctl, at most 96 bytes long";
            return crate::vde::directory(text)
                .map(Self::Switch)
                .ok_or_else(|| AttachError::word(text, WHAT, hint));
        }
        let hint = "write an interface of this host, at most 15 characters long, like br0 or eth0";
        plain_name(text).map(Self::Name).ok_or_else(|| AttachError::word(text, WHAT, hint))
    }
}

impl AttachSpec {
    pub(crate) fn of(parent: Parent, words: &[String]) -> Result<Self, AttachError> {
        let mut spec = Self::new(parent);
        let mut none = false;
        for word in words {
            match (word.split_once('='), word.as_str()) {
                (Some((key, value)), _) => spec.option(key, value.trim())?,
                (None, "none" | "0/0") => none = true,
                (None, "dhcp") => spec.dhcp = true,
                (None, text) => spec.address(text)?,
            }
        }
        match (none, spec.dhcp || !spec.addresses.is_empty()) {
            (true, true) => {
                return Err(AttachError::Contradiction(
                    "none stands beside an address; write one or the other",
                ));
            }
            // As on a network: what says nothing gets an address from the LAN.
            (false, false) => spec.dhcp = spec.parent != Parent::Dummy,
            _ => {}
        }
        spec.check()?;
        Ok(spec)
    }

    fn address(&mut self, text: &str) -> Result<(), AttachError> {
        let address = parse_static(text)?;
        if self.addresses.iter().any(|known| known.net.addr() == address.net.addr()) {
            return Err(AttachError::Twice("an address"));
        }
        self.addresses.push(address);
        Ok(())
    }

    fn option(&mut self, key: &str, value: &str) -> Result<(), AttachError> {
        let switch = |text: &str| {
            boolean(text).ok_or_else(|| AttachError::word(text, "yes or no", "write true or false"))
        };
        match key {
            "mac" => once(&mut self.mac, hardware_address(value)?, "mac"),
            "ifname" => once(&mut self.ifname, interface(value)?, "ifname"),
            "host_ifname" => once(&mut self.host_end, interface(value)?, "host_ifname"),
            "mode" if value == "nic" => {
                self.link = LinkChoice::Nic;
                Ok(())
            }
            "force" => {
                self.force = switch(value)?;
                Ok(())
            }
            "create" => {
                self.create = switch(value)?;
                Ok(())
            }
            "client_id" | "ip" => self.endpoint_option(key, value),
            "hostname" if !matches!(value, "off" | "container") => self.endpoint_option(key, value),
            key if NOT_FREE.contains(&key) => Err(AttachError::word(
                key,
                "an option of an attachment",
                "the parent comes first and the addresses after it, without a key",
            )),
            key if crate::vde::OF_A_SWITCH.contains(&key) => Err(AttachError::word(
                key,
                "an option of an attachment",
                "a switch that is there is joined as it is; make one with docker network create -o mode=vde",
            )),
            key => {
                let known = keys::NETWORK.contains(&key) || keys::NETWORK_NOT_YET.contains(&key);
                if !known && let Some(nearest) = keys::nearest(key, &KEYS) {
                    let name = crate::error::cut(key);
                    return Err(crate::error::OptionError::Misspelt { name, nearest }.into());
                }
                match self.options.insert(key.to_owned(), value.to_owned()) {
                    None => Ok(()),
                    Some(_) => Err(AttachError::Twice("an option")),
                }
            }
        }
    }

    fn endpoint_option(&mut self, key: &str, value: &str) -> Result<(), AttachError> {
        let given = [(key.to_owned(), value.to_owned())].into();
        let read = crate::endpoint::EndpointOptions::parse(&given)?;
        let endpoint = &mut self.endpoint;
        endpoint.client_id = read.client_id.or(endpoint.client_id.take());
        endpoint.hostname = read.hostname.or(endpoint.hostname.take());
        endpoint.ip = read.ip.or(endpoint.ip);
        Ok(())
    }
}

/// An interface's name of letters, digits and `_ . - + @`: the kernel takes more, but nobody types that, and a script
/// that has it would have to be read twice.
fn plain_name(text: &str) -> Option<IfName> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'+' | b'@');
    let clean = !text.starts_with('-') && text.bytes().all(plain);
    clean.then(|| text.parse().ok()).flatten()
}

/// The name of an interface that there is or will be.
pub(crate) fn interface(text: &str) -> Result<IfName, AttachError> {
    let hint = "write at most 15 letters, digits, '_', '.' or '-'";
    plain_name(text).ok_or_else(|| AttachError::word(text, "the name of an interface", hint))
}

fn once<T>(place: &mut Option<T>, value: T, what: &'static str) -> Result<(), AttachError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(AttachError::Twice(what)),
    }
}

/// Six octets, or `U:` and a text they are made of.
pub(crate) fn hardware_address(text: &str) -> Result<Mac, AttachError> {
    let hint = "write six hex octets, like 02:42:c0:00:02:0a, or U: and a text to make one of";
    let bad = || AttachError::word(text, "a hardware address", hint);
    if let Some(seed) = text.strip_prefix("U:") {
        return if seed.is_empty() { Err(bad()) } else { Ok(made_of_text(seed)) };
    }
    let mac: Mac = text.parse().map_err(|_| bad())?;
    if mac.is_zero() {
        let hint = "it stands for none; leave it out, or write one whose second digit is 2, 6, a or e";
        return Err(AttachError::word(text, "a hardware address", hint));
    }
    if mac.is_multicast() {
        let hint =
            "that is a group address, which no interface can have; the second digit must be 2, 6, a or e";
        return Err(AttachError::word(text, "a hardware address", hint));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split_words(text).unwrap()
    }

    #[test]
    fn the_forms_of_the_manual() {
        let attach = Attach::parse(&words("br0 web 192.0.2.50/24@192.0.2.1")).unwrap();
        assert_eq!(attach.target.to_string(), "web");
        assert_eq!(attach.spec.addresses[0].to_string(), "192.0.2.50/24@192.0.2.1");
        assert!(!attach.spec.dhcp);

        let text = "eth0 pid:12 dhcp mac=02:00:00:00:00:07 ifname=eth1 hostname=web mtu=1400 2001:db8::7/64";
        let spec = Attach::parse(&words(text)).unwrap().spec;
        assert!(spec.dhcp && spec.addresses.len() == 1);
        assert_eq!(spec.endpoint.hostname.as_ref().unwrap().as_str(), "web");
        let network = spec.network(&"eth0".parse().unwrap(), Mode::Macvlan).unwrap();
        assert_eq!((network.mode, network.addressing), (Mode::Macvlan, Addressing::Dhcp));
        assert!(network.mtu.is_some());

        let label: AttachSpec = "br0 dhcp ifname=eth1".parse().unwrap();
        assert_eq!(label.ifname.unwrap().as_str(), "eth1");
        assert!(
            "br0".parse::<AttachSpec>().unwrap().dhcp,
            "an address from the LAN unless something else is said"
        );
        assert!(!"br0 none".parse::<AttachSpec>().unwrap().dhcp);
        assert_eq!("br0 mode=macvlan".parse::<AttachSpec>().unwrap().options["mode"], "macvlan");
        assert_eq!("eth1 none mode=nic".parse::<AttachSpec>().unwrap().link, LinkChoice::Nic);
    }

    #[test]
    fn a_link_that_the_host_routes_to_has_one_address() {
        let network = |text: &str| {
            let spec = text.parse::<AttachSpec>().map_err(|error| error.to_string())?;
            spec.network(&"eth0".parse().unwrap(), Mode::Macvlan).map_err(|error| error.to_string())
        };
        for text in ["eth0 mode=routed", "eth0 192.0.2.50/24 mode=routed", "eth0 none mode=routed"] {
            assert_eq!(network(text).unwrap().mode, Mode::Routed, "{text}");
        }
        for text in [
            "eth0 dhcp 192.0.2.50/24",
            "eth0 192.0.2.50/24 192.0.2.51/24",
            "eth0 192.0.2.50/24 2001:db8::5/64",
        ] {
            let refused = network(&format!("{text} mode=routed")).unwrap_err();
            assert!(refused.contains("mode=routed supports one IPv4 address"), "{refused}");
            assert!(network(&format!("{text} mode=macvlan")).is_ok(), "{text}");
        }
        let named = network("eth0 dhcp host_ifname=web0 mode=routed").unwrap_err();
        assert!(named.contains("host_ifname has no meaning with mode=routed"), "{named}");
    }

    #[test]
    fn the_directory_of_a_vde_switch_is_a_parent() {
        let spec = Attach::parse(&words("/run/vde.ctl/ web 192.0.2.50/24")).unwrap().spec;
        assert_eq!(spec.parent, Parent::Switch("/run/vde.ctl".into()));
        let json = serde_json::to_string(&spec).unwrap();
        assert!(json.contains(r#""parent":{"vde":"/run/vde.ctl"}"#), "as it is stored: {json}");
        assert_eq!(serde_json::from_str::<AttachSpec>(&json).unwrap(), spec);
        let network = spec.network_on_switch("/run/vde.ctl".as_ref()).unwrap();
        assert_eq!((network.mode, network.addressing), (Mode::Vde, Addressing::Static));
        assert_eq!(network.vde.socket_dir, Some("/run/vde.ctl".into()));
        assert!("/run/vde.ctl".parse::<AttachSpec>().unwrap().dhcp);
    }

    #[test]
    fn options_wait_for_the_parent_to_be_seen() {
        for text in
            ["ovs0 web dhcp vlan=10 trunks=10,20", "eth0 web dhcp host_access=true macvlan_mode=bridge"]
        {
            Attach::parse(&words(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        assert!(Attach::parse(&words("br0 web dhcp trunks=10,20 macvlan_mode=vepa")).is_err());
    }

    use crate::modes::Mode;
    use crate::words::Addressing;

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "a parent is missing"),
            ("br0", "a container is missing"),
            ("br0 web 192.0.2.50", "length of its network's prefix"),
            ("br0 web none dhcp", "one or the other"),
            ("br0 web ifnam=eth1", "did you mean ifname"),
            ("br0 web mtuu=1400", "did you mean mtu"),
            ("br0 web mtu=x", "write a number of bytes"),
            ("br0 web parent=br1", "the parent comes first"),
            ("br0 web mode=vde", "belong together"),
            ("/run/vde.ctl web socket_dir=/run/other", "the parent comes first"),
            ("/run/vde.ctl web create_sockets=true", "docker network create"),
            ("/run/vde.ctl web mode=bridge", "belong together"),
            ("/run/vde.ctl web vlan=12", "vlan"),
            ("/run/../etc web dhcp", "a VDE switch's directory"),
            ("/ web dhcp", "a VDE switch's directory"),
            ("/$(id) web dhcp", "a VDE switch's directory"),
            ("br0 web mac=01:00:00:00:00:01", "group address"),
            ("br0 web mac=00:00:00:00:00:00", "it stands for none"),
            ("br0 web mac=U:", "write six hex octets"),
            ("br0 web mac=02:00:00:00:00:01 mac=02:00:00:00:00:02", "given twice"),
            ("br0 web ifname=../../etc", "the name of an interface"),
            ("br0 web ifname=sixteen-letters!", "the name of an interface"),
            ("$(id) web dhcp", "a parent"),
            ("br0 $(id) dhcp", "a container"),
            ("br0 web `id`", "an address"),
            ("br0 web 192.0.2.5/24 192.0.2.5/25", "twice"),
            ("br0 web 192.0.2.5/24 lease_timeout=3s", "no effect"),
        ] {
            let message = Attach::parse(&words(text)).unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }

    #[test]
    fn it_reads_again_from_the_store() {
        let attach =
            Attach::parse(&words("mac:02:00:00:00:00:01 netns:/run/netns/a dhcp ip=192.0.2.9")).unwrap();
        let json = serde_json::to_string(&attach).unwrap();
        assert_eq!(serde_json::from_str::<Attach>(&json).unwrap(), attach);
    }
}
