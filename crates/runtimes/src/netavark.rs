//! Netavark's plugins, which Podman's networks of other drivers are served by (API 1.0.0).
//!
//! The plugin is called as `PLUGIN create`, `PLUGIN setup NETNS`, `PLUGIN teardown NETNS` or `PLUGIN info`, with one JSON
//! document on standard input. What is absent is `null` in netavark 1 and left out in netavark 2.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use landline_model::{RuntimeApi, RuntimeInterface, RuntimeOwner};
use landline_options::{AttachSpec, EndpointOptions, Target};
use landline_types::{IfName, Shown, chain};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The version of the interface.
const API: &str = "1.0.0";

/// The longest name or id, in bytes.
const MAX_NAME: usize = 253;

/// Why a request is not served. Podman prints it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Refused {
    /// As the plugin prints it.
    pub fn json(&self) -> Value {
        json!({ "error": self.0 })
    }
}

/// An interface that is to be made.
#[derive(Debug)]
pub struct Setup {
    /// Whose it is.
    pub owner: RuntimeOwner,
    /// The path of the container's namespace.
    pub netns: PathBuf,
    /// What it is.
    pub spec: AttachSpec,
}

#[derive(Deserialize)]
struct Exec {
    container_id: String,
    container_name: Option<String>,
    network: Network,
    network_options: PerNetwork,
}

#[derive(Deserialize)]
struct Network {
    name: String,
    options: Option<BTreeMap<String, String>>,
    ipam_options: Option<BTreeMap<String, String>>,
    subnets: Option<Vec<Subnet>>,
    internal: Option<bool>,
    ipv6_enabled: Option<bool>,
}

#[derive(Deserialize)]
struct Subnet {
    subnet: IpNet,
    gateway: Option<IpAddr>,
}

#[derive(Deserialize)]
struct PerNetwork {
    interface_name: String,
    static_ips: Option<Vec<IpAddr>>,
    static_mac: Option<String>,
    options: Option<BTreeMap<String, String>>,
}

/// The answer to `info`.
pub fn info(version: &str) -> Value {
    json!({ "version": version, "api_version": API })
}

/// The answer to `create`: the network with the IPAM driver that goes with its options.
///
/// # Errors
/// What is wrong with its options.
pub fn create(input: &[u8]) -> Result<Value, Refused> {
    let mut all: Map<String, Value> = decode(input)?;
    let network: Network = decode(input)?;
    let options = network.options()?;
    let addressing = options.get("addressing").map(String::as_str);
    // An address stands for those that containers will be given.
    let sample = match (addressing, network.subnets().first()) {
        (Some("static"), Some(subnet)) => {
            let address = subnet.subnet.hosts().next();
            address.map(|address| format!("{address}/{}", subnet.subnet.prefix_len())).into_iter().collect()
        }
        _ => Vec::new(),
    };
    AttachSpec::on_network(&options, &sample, None).map_err(|error| Refused(chain(&error)))?;
    let driver = match addressing {
        Some("static") => "host-local",
        Some("none") => "none",
        _ => "dhcp",
    };
    all.insert("options".into(), json!(options));
    // Netavark starts no name server for networks of plugins, and Podman would warn that it is missing.
    all.insert("dns_enabled".into(), false.into());
    let ipam = all.entry("ipam_options").or_insert_with(|| json!({}));
    if !ipam.is_object() {
        *ipam = json!({});
    }
    ipam["driver"] = driver.into();
    Ok(Value::Object(all))
}

/// Reads `setup`.
///
/// # Errors
/// What is wrong.
pub fn setup(netns: &str, input: &[u8]) -> Result<Setup, Refused> {
    let exec: Exec = decode(input)?;
    let mut owner = exec.owner()?;
    let options = exec.network.options()?;
    let own = exec.network_options.options.clone().unwrap_or_default();
    let own = EndpointOptions::parse(&own).map_err(|error| Refused(chain(&error)))?;
    let ips = exec.network_options.static_ips.iter().flatten();
    let addresses: Vec<String> = ips.map(|ip| exec.network.address(*ip)).collect();
    let mac = exec.network_options.static_mac.as_deref().filter(|mac| !mac.is_empty());
    let spec = AttachSpec::on_network(&options, &addresses, mac);
    let mut spec = spec.map_err(|error| Refused(chain(&error)))?;
    spec.ifname = Some(owner.interface.clone());
    let off = options.get("hostname").is_some_and(|hostname| hostname == "off");
    let name = exec.container_name.as_deref().filter(|_| !off && spec.dhcp);
    spec.endpoint = EndpointOptions {
        client_id: own.client_id,
        hostname: own.hostname.or_else(|| name.and_then(|name| name.parse().ok())),
        ip: spec.endpoint.ip.or(own.ip.filter(|_| spec.dhcp)),
        ..EndpointOptions::default()
    };
    owner.name = own.id.or(owner.name);
    let Ok(Target::Netns(netns)) = format!("netns:{netns}").parse() else {
        return Err(Refused(format!("{:.64} is not the path of a network namespace", Shown(netns))));
    };
    Ok(Setup { owner, netns, spec })
}

/// Reads `teardown`.
///
/// # Errors
/// What cannot be read.
pub fn teardown(input: &[u8]) -> Result<RuntimeOwner, Refused> {
    decode::<Exec>(input)?.owner()
}

/// The answer to `setup`.
pub fn status(interface: &RuntimeInterface) -> Value {
    let subnet = |address: &IpNet| match interface.gateway(address) {
        Some(gateway) => json!({ "ipnet": address, "gateway": gateway }),
        None => json!({ "ipnet": address }),
    };
    let subnets: Vec<Value> = interface.addresses.iter().map(subnet).collect();
    // Without the interface a link-local one means nothing.
    let is_global = |server: &&IpAddr| !matches!(server, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let servers: Vec<&IpAddr> = interface.dns.iter().filter(is_global).collect();
    let mac = interface.mac.map(|mac| mac.to_string()).unwrap_or_default();
    json!({
        "dns_search_domains": interface.search,
        "dns_server_ips": servers,
        "interfaces": { interface.name.as_str(): { "mac_address": mac, "subnets": subnets } },
    })
}

fn decode<'a, T: Deserialize<'a>>(input: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(input).map_err(|error| Refused(format!("standard input cannot be read: {error}")))
}

impl Exec {
    fn owner(&self) -> Result<RuntimeOwner, Refused> {
        let plain = |text: &str| {
            (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let (container, network) = (self.container_id.clone(), self.network.name.clone());
        let bad = [&container, &network].into_iter().find(|text| !plain(text));
        if let Some(text) = bad {
            return Err(Refused(format!("{:?} is no name", format!("{:.64}", Shown(text)))));
        }
        let name = &self.network_options.interface_name;
        let interface: IfName = name.parse().map_err(|_| {
            Refused(format!(
                "{:?} cannot be the name of an interface; write at most 15 letters and digits",
                format!("{:.64}", Shown(name))
            ))
        })?;
        let name = self.container_name.clone().filter(|name| plain(name));
        Ok(RuntimeOwner { api: RuntimeApi::Netavark, network, container, interface, name })
    }
}

impl Network {
    fn subnets(&self) -> &[Subnet] {
        self.subnets.as_deref().unwrap_or_default()
    }

    /// The network options, with what Podman says in its own way.
    fn options(&self) -> Result<BTreeMap<String, String>, Refused> {
        let refused = |text: &str| Err(Refused(text.into()));
        let mut options = self.options.clone().unwrap_or_default();
        if self.internal == Some(true) {
            return refused("a network on the LAN cannot be internal; leave out --internal");
        }
        if self.ipv6_enabled == Some(true) && self.subnets().is_empty() {
            options.entry("ipv6".into()).or_insert_with(|| "true".into());
        }
        let driver = self.ipam_options.as_ref().and_then(|ipam| ipam.get("driver")).map(String::as_str);
        let said = options.get("addressing").map(String::as_str);
        let addressing = match (said, driver, self.subnets().is_empty()) {
            (None | Some("static"), None | Some("" | "host-local"), false) => "static",
            (Some("static"), _, true) | (_, Some("host-local"), true) => {
                return refused(
                    "addresses that Podman gives need a subnet: add --subnet, like --subnet 192.0.2.0/24",
                );
            }
            (None | Some("none"), Some("none"), true) => "none",
            (_, _, false) => {
                return refused(
                    "Podman gives the addresses of a --subnet: leave out --ipam-driver and addressing, or leave out --subnet, so \
                     that the DHCP server of the LAN gives them",
                );
            }
            (said, _, true) => said.unwrap_or("dhcp"),
        };
        let addressing = addressing.to_owned();
        options.insert("addressing".into(), addressing);
        Ok(options)
    }

    /// An address with the prefix and the router of its subnet.
    fn address(&self, ip: IpAddr) -> String {
        match self.subnets().iter().find(|subnet| subnet.subnet.contains(&ip)) {
            Some(Subnet { subnet, gateway: Some(gateway) }) => {
                format!("{ip}/{}@{gateway}", subnet.prefix_len())
            }
            Some(Subnet { subnet, gateway: None }) => format!("{ip}/{}", subnet.prefix_len()),
            None => ip.to_string(),
        }
    }
}
