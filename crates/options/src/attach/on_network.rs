//! The interface of one container on a network that is described by network options, as a container runtime has it.

use std::collections::BTreeMap;

use super::error::AttachError;
use super::{AttachSpec, LinkChoice, Parent, hardware_address, parse_static};
use crate::modes::Mode;
use crate::network::{NetworkOptions, host_address};
use crate::words::Addressing;

/// Options that an attachment has in fields of its own.
const OWN_FIELDS: [&str; 4] = ["parent", "bridge", "addressing", "socket_dir"];

impl AttachSpec {
    /// Reads network options as `docker network create -o` takes them, and `mode=nic`. `addresses` are what the runtime
    /// asks for: with `addressing=dhcp` one IPv4 address, which the server is asked for, and IPv6 addresses with the length
    /// of their prefix; with `addressing=static` addresses with the length of their prefix.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn on_network(
        options: &BTreeMap<String, String>,
        addresses: &[String],
        mac: Option<&str>,
    ) -> Result<Self, AttachError> {
        let mut options = options.clone();
        let is_nic = options.get("mode").is_some_and(|mode| mode.trim() == Mode::Nic.as_str());
        if is_nic {
            // As in `network`, which refuses what has no meaning for a card.
            options.insert("mode".into(), Mode::Macvlan.to_string());
        }
        let network = NetworkOptions::parse(&options)?;
        if network.mode.rules().translated {
            return Err(AttachError::Contradiction(
                "mode=nat is for networks of Docker; use mode=bridge, mode=macvlan or mode=ipvlan",
            ));
        }
        let of_a_switch = crate::vde::OF_A_SWITCH.iter().any(|option| options.contains_key(*option));
        let parent = match network.vde.socket_dir {
            Some(dir) if !of_a_switch => Parent::Switch(dir),
            None if network.mode != Mode::Vde => Parent::Name(network.parent),
            _ => {
                return Err(AttachError::Contradiction(
                    "mode=vde joins a VDE switch that is running: give its directory, like socket_dir=/run/vde.ctl, and \
                     leave out the options of a switch that Landline runs",
                ));
            }
        };
        let mut spec = Self::new(parent);
        spec.dhcp = network.addressing == Addressing::Dhcp;
        spec.options = options;
        spec.options
            .retain(|option, value| !OWN_FIELDS.contains(&option.as_str()) && !value.trim().is_empty());
        if is_nic {
            spec.link = LinkChoice::Nic;
            spec.options.remove("mode");
        } else {
            spec.options.insert("mode".into(), network.mode.to_string());
        }
        spec.mac = mac.map(hardware_address).transpose()?;
        for address in addresses {
            spec.add_address(address, network.addressing)?;
        }
        if network.addressing == Addressing::Static && spec.addresses.is_empty() {
            return Err(AttachError::Contradiction(
                "addressing=static needs an address with the length of its prefix, like 192.0.2.10/24; give one, or use \
                 addressing=dhcp",
            ));
        }
        spec.check()?;
        Ok(spec)
    }

    fn add_address(&mut self, text: &str, addressing: Addressing) -> Result<(), AttachError> {
        let text = text.trim();
        let bare = text.split('/').next().unwrap_or_default();
        match addressing {
            Addressing::None => Err(AttachError::Contradiction(
                "addressing=none stands beside an address; use addressing=static, or leave out the address",
            )),
            Addressing::Dhcp if !bare.contains(':') => {
                let hint = "write an IPv4 address that a host can have, like 192.0.2.10";
                let ip = host_address(bare).ok_or_else(|| AttachError::word(text, "an address", hint))?;
                match self.endpoint.ip.replace(ip) {
                    Some(_) => Err(AttachError::Twice("an IPv4 address that the DHCP server is asked for")),
                    None => Ok(()),
                }
            }
            Addressing::Dhcp | Addressing::Static => {
                let address = parse_static(text)?;
                if self.addresses.iter().any(|known| known.net.addr() == address.net.addr()) {
                    return Err(AttachError::Twice("an address"));
                }
                self.addresses.push(address);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &str, addresses: &[&str]) -> Result<AttachSpec, AttachError> {
        let options = options.split_whitespace().filter_map(|word| word.split_once('='));
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let addresses: Vec<String> = addresses.iter().map(|address| (*address).to_owned()).collect();
        AttachSpec::on_network(&options, &addresses, None)
    }

    fn network(spec: &AttachSpec) -> NetworkOptions {
        let Parent::Name(parent) = &spec.parent else { panic!("{spec:?}") };
        // The mode that a parent has by itself does not count: the options say one, as on a network of Docker.
        spec.network(parent, Mode::Ovs).unwrap()
    }

    #[test]
    fn a_network_of_docker_and_one_of_a_runtime_are_the_same() {
        for text in ["parent=br0", "bridge=br0", "parent=eth0 mode=macvlan ipv6=true identity=derived"] {
            let options: BTreeMap<String, String> = text
                .split_whitespace()
                .filter_map(|word| word.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            assert_eq!(
                network(&read(text, &[]).unwrap()),
                NetworkOptions::parse(&options).unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_are_asked_for_or_set() {
        let spec = read("parent=eth0 mode=macvlan", &["192.0.2.9/24", "2001:db8::9/64"]).unwrap();
        assert_eq!(spec.endpoint.ip, Some("192.0.2.9".parse().unwrap()));
        assert!(spec.dhcp && spec.first_v4().is_none() && spec.addresses.len() == 1);
        let spec = read("parent=br0 addressing=static gateway=192.0.2.1", &["192.0.2.9/24"]).unwrap();
        assert!(!spec.dhcp && spec.first_v4().is_some() && spec.endpoint.ip.is_none());
        assert_eq!(network(&spec).gateway, Some("192.0.2.1".parse().unwrap()));
        assert!(!read("parent=br0 addressing=none", &[]).unwrap().dhcp);
        assert_eq!(read("parent=eth1 mode=nic", &[]).unwrap().link, LinkChoice::Nic);
        let switch = read("mode=vde socket_dir=/run/vde.ctl addressing=dhcp", &[]).unwrap();
        assert_eq!(switch.parent, Parent::Switch("/run/vde.ctl".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, addresses, part) in [
            ("mode=macvlan", &[][..], "a parent is missing"),
            ("parnet=br0", &[], "did you mean parent"),
            ("parent=eth0 mode=nat", &[], "mode=nat is for networks of Docker"),
            ("mode=vde", &[], "socket_dir=/run/vde.ctl"),
            ("mode=vde socket_dir=/run/vde.ctl create_sockets=true", &[], "socket_dir=/run/vde.ctl"),
            ("parent=br0 addressing=static", &[], "192.0.2.10/24"),
            ("parent=br0 addressing=static", &["192.0.2.9"], "length of its network's prefix"),
            ("parent=br0 addressing=none", &["192.0.2.9/24"], "addressing=static"),
            ("parent=br0", &["192.0.2.9", "192.0.2.10"], "twice"),
            ("parent=br0", &["$(id)"], "an address"),
            ("parent=br0", &["2001:db8::9"], "length of its network's prefix"),
            ("parent=eth1 mode=nic vlan=7", &[], "vlan"),
            ("parent=br0 client_id=web", &[], "would give every container the same address"),
        ] {
            let message = read(text, addresses).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
