//! The options of one endpoint.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use landline_types::IfName;
use serde::{Deserialize, Serialize};

use crate::client_id::ClientIdTemplate;
use crate::error::{OptionError, cut};
use crate::given::Given;
use crate::hostname::Hostname;
use crate::keys;
use crate::nat::{LanIp, NatPorts, lan_ip, ports};
use crate::network::host_address;

/// What was asked for one container on one network (`--network name=N,driver-opt=K=V`, Compose `driver_opts`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointOptions {
    /// `client_id`: the client identifier, instead of the network's.
    pub client_id: Option<ClientIdTemplate>,
    /// `landline.id`: what the container is called across restarts and recreation: 1 to 128 printable ASCII
    /// characters without spaces.
    pub id: Option<String>,
    /// `ip`: the address to ask the server for.
    pub ip: Option<Ipv4Addr>,
    /// `hostname`: the name to tell the server, instead of the container's.
    pub hostname: Option<Hostname>,
    /// `lan_ip`: its address on the LAN (`mode=nat`), instead of the network's.
    pub lan_ip: Option<LanIp>,
    /// `ports`: what is passed on from there, instead of what the network says.
    pub ports: Option<NatPorts>,
    /// `com.docker.network.endpoint.ifname` (Compose `interface_name`): what the interface is called inside.
    pub ifname: Option<IfName>,
}

impl EndpointOptions {
    /// Reads the options that are text; Docker's own, which may be lists, are none of ours.
    ///
    /// All but `landline.id` may also be written with that prefix, `landline.client_id` and so on; an empty value is
    /// the same as none. Other names are ignored, since Docker puts its own here, unless they start with
    /// `landline.`.
    ///
    /// # Errors
    /// An unknown `landline.` name, or a value the option cannot have.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        options.keys().try_for_each(|name| check_name(name))?;
        let given = Given(options);
        Ok(Self {
            client_id: given
                .either("client_id", "landline.client_id")?
                .map(|value| value.parse())
                .transpose()?,
            id: given
                .get("landline.id")
                .map(|value| {
                    value.read(stable_id, || {
                        "write 1 to 128 printable ASCII characters without spaces, like web-1".into()
                    })
                })
                .transpose()?,
            ip: given
                .either("ip", "landline.ip")?
                .map(|value| value.read(host_address, || "write an IPv4 address, like 192.0.2.10".into()))
                .transpose()?,
            hostname: given
                .either("hostname", "landline.hostname")?
                .map(|value| value.parse())
                .transpose()?,
            lan_ip: given.either("lan_ip", "landline.lan_ip")?.map(lan_ip).transpose()?,
            ports: given.either("ports", "landline.ports")?.map(ports).transpose()?,
            ifname: given.get("com.docker.network.endpoint.ifname").map(|value| value.parse()).transpose()?,
        })
    }
}

fn stable_id(text: &str) -> Option<String> {
    let fits = text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

fn check_name(name: &str) -> Result<(), OptionError> {
    let Some(word) = name.strip_prefix(keys::PREFIX) else { return Ok(()) };
    if keys::ENDPOINT.contains(&name) || keys::ENDPOINT.contains(&word) {
        return Ok(());
    }
    let nearest = match keys::nearest(word, &["id", "client_id", "ip", "hostname", "lan_ip", "ports"]) {
        // The one that has no short form.
        Some("id") => Some("landline.id"),
        other => other,
    };
    Err(match nearest {
        Some(nearest) => OptionError::Misspelt { name: cut(name), nearest },
        None => OptionError::Unknown { name: cut(name), known: &keys::ENDPOINT },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(options: &[(&str, &str)]) -> Result<EndpointOptions, OptionError> {
        EndpointOptions::parse(&options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn reads_all_of_them() {
        let options = parse(&[
            ("client_id", "web"),
            ("landline.id", "shop/web-1"),
            ("landline.ip", "192.0.2.10"),
            ("hostname", "web"),
            ("lan_ip", "192.0.2.117"),
            ("landline.ports", "80:8080"),
            ("com.docker.network.endpoint.ifname", "lan0"),
            ("com.docker.network.endpoint.sysctls", "net.ipv4.conf.IFNAME.log_martians=1"),
            ("something.else", "x"),
        ])
        .unwrap();
        assert_eq!(options.client_id.unwrap().as_str(), "web");
        assert_eq!(options.id.as_deref(), Some("shop/web-1"));
        assert_eq!(options.ip, Some(Ipv4Addr::new(192, 0, 2, 10)));
        assert_eq!(options.hostname, Some(Hostname::parse("web").unwrap()));
        assert_eq!(options.lan_ip, Some(LanIp::Static(Ipv4Addr::new(192, 0, 2, 117))));
        assert!(matches!(options.ports, Some(NatPorts::Only(ports)) if ports[0].inside == 8080));
        assert_eq!(options.ifname.unwrap().as_str(), "lan0");
    }

    #[test]
    fn nothing_and_empty_values_are_the_same() {
        assert_eq!(parse(&[]).unwrap(), EndpointOptions::default());
        assert_eq!(parse(&[("ip", ""), ("landline.id", " ")]).unwrap(), EndpointOptions::default());
    }

    #[test]
    fn our_own_typos_are_errors() {
        assert_eq!(
            parse(&[("landline.hostnam", "x")]).unwrap_err().to_string(),
            "there is no option \"landline.hostnam\"; did you mean hostname?"
        );
        assert_eq!(
            parse(&[("landline.idd", "x")]).unwrap_err().to_string(),
            "there is no option \"landline.idd\"; did you mean landline.id?"
        );
        assert_eq!(
            parse(&[("landline.colour", "x")]).unwrap_err().to_string(),
            "there is no option \"landline.colour\"; there are landline.id, client_id, ip, hostname, lan_ip, ports"
        );
    }

    #[test]
    fn values_are_checked() {
        for (name, value) in [
            ("ip", "192.0.2.0/24"),
            ("ip", "0.0.0.0"),
            ("ip", "224.0.0.1"),
            ("hostname", "a_b"),
            ("landline.id", "a b"),
            ("client_id", "{name}"),
            ("lan_ip", "dhcp6"),
            ("ports", "all,80"),
            ("com.docker.network.endpoint.ifname", "a/b"),
        ] {
            assert!(matches!(parse(&[(name, value)]), Err(OptionError::Value { .. })), "{name}={value}");
        }
        assert!(matches!(
            parse(&[("ip", "192.0.2.1"), ("landline.ip", "192.0.2.2")]),
            Err(OptionError::Twice { .. })
        ));
    }

    proptest! {
        #[test]
        fn never_panics(options in prop::collection::btree_map("(landline\\.)?\\PC{0,12}", ".{0,40}", 0..6)) {
            let _ = EndpointOptions::parse(&options);
        }

        #[test]
        fn round_trips(id in "[!-~]{1,20}", host in "[a-z]{1,9}", last in 1..=254_u8) {
            let ip = format!("192.0.2.{last}");
            let options = parse(&[("landline.id", &id), ("hostname", &host), ("ip", &ip), ("client_id", "x{mac}")]);
            let options = options.unwrap();
            let json = serde_json::to_string(&options).unwrap();
            prop_assert_eq!(serde_json::from_str::<EndpointOptions>(&json).unwrap(), options);
        }
    }
}
