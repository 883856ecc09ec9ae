//! The parts of the Engine API's answers that matter here, read tolerantly.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::IpNet;
use landline_options::NetworkId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::requested::RequestedEndpoint;
use super::view::{Attachment, DockerNetwork, DockerPool};
use crate::fields::nullable;
use crate::protocol::PublishedPort;

/// The engine's version, and which versions of the API it speaks (`GET /version`).
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    #[serde(rename = "Version", default)]
    pub(super) engine: String,
    #[serde(rename = "ApiVersion", default)]
    pub(super) newest: String,
    #[serde(rename = "MinAPIVersion", default)]
    pub(super) oldest: String,
}

/// A network, as listed and as inspected.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Network {
    pub(super) id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    driver: String,
    #[serde(rename = "IPAM", default, deserialize_with = "nullable")]
    ipam: Ipam,
    #[serde(default, deserialize_with = "nullable")]
    options: BTreeMap<String, String>,
    /// Only when inspected.
    #[serde(default, deserialize_with = "nullable")]
    containers: BTreeMap<String, Option<NetworkContainer>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    #[serde(default)]
    driver: String,
    #[serde(default, deserialize_with = "nullable")]
    options: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    config: Vec<Pool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    #[serde(default)]
    subnet: String,
    #[serde(rename = "IPRange", default)]
    range: String,
    #[serde(default)]
    gateway: String,
    #[serde(default, deserialize_with = "nullable")]
    auxiliary_addresses: BTreeMap<String, String>,
}

impl Pool {
    /// What of it is shown; nothing without a subnet.
    fn view(&self) -> Option<DockerPool> {
        // With or without the length of a prefix.
        let address = |text: &String| text.split('/').next()?.parse::<IpAddr>().ok();
        Some(DockerPool {
            subnet: self.subnet.parse().ok()?,
            range: self.range.parse().ok(),
            // What our own IPAM driver says in the place of none.
            gateway: address(&self.gateway).filter(|gateway| !gateway.is_unspecified()),
            set_aside: self.auxiliary_addresses.values().filter_map(address).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
struct NetworkContainer {
    #[serde(rename = "EndpointID", default)]
    endpoint: String,
    #[serde(rename = "MacAddress", default)]
    mac: String,
    /// With the length of its prefix, as the next.
    #[serde(rename = "IPv4Address", default)]
    v4: String,
    #[serde(rename = "IPv6Address", default)]
    v6: String,
}

impl Network {
    /// What of it is shown.
    pub(super) fn view(&self) -> DockerNetwork {
        let option = |name: &str| self.options.get(name).and_then(|value| value.parse().ok());
        // What Docker calls a bridge whose name nobody gave; the default network's name is always given.
        let made_up = || format!("br-{}", self.id.get(..12)?).parse().ok();
        DockerNetwork {
            name: self.name.clone(),
            driver: self.driver.clone(),
            bridge: match self.driver.as_str() {
                "bridge" => option("com.docker.network.bridge.name").or_else(made_up),
                _ => None,
            },
            parent: match self.driver.as_str() {
                "macvlan" | "ipvlan" => option("parent"),
                _ => None,
            },
            subnets: self.ipam.config.iter().filter_map(|pool| pool.subnet.parse().ok()).collect(),
            ipam: self.ipam.driver.clone(),
            ipam_options: self.ipam.options.clone(),
            pools: self.ipam.config.iter().filter_map(Pool::view).collect(),
            in_use: None,
            options: self.options.clone(),
        }
    }

    /// The same, of a network that was inspected and not just listed.
    pub(super) fn whole_view(&self) -> DockerNetwork {
        let address = |text: &String| Some(text.parse::<IpNet>().ok()?.addr());
        let all = self.containers.values().flatten().flat_map(|attached| [&attached.v4, &attached.v6]);
        DockerNetwork { in_use: Some(all.filter_map(address).collect()), ..self.view() }
    }

    /// Which endpoint each container has here, as far as Docker says.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&str, Attachment)> {
        self.containers.iter().filter_map(|(container, attached)| {
            // An endpoint that is not in a sandbox yet is listed under a made-up key.
            let container = Some(container.as_str()).filter(|key| !key.starts_with("ep-"))?;
            let attached = attached.as_ref()?;
            let address = |text: &String| Some(text.parse::<IpNet>().ok()?.addr());
            let attachment = Attachment {
                endpoint: attached.endpoint.parse().ok()?,
                mac: attached.mac.parse().ok(),
                addresses: [&attached.v4, &attached.v6].into_iter().filter_map(address).collect(),
            };
            Some((container, attachment))
        })
    }
}

/// `80/tcp` as IP protocol number and port.
fn port(text: &str) -> Option<(u8, u16)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        _ => return None,
    };
    Some((protocol, port.parse().ok()?))
}

/// A container, as listed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedContainer {
    pub(super) id: String,
}

/// A container, as inspected.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) config: ContainerConfig,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) state: ContainerState,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) host_config: HostConfig,
    #[serde(default)]
    resolv_conf_path: String,
    #[serde(default, deserialize_with = "nullable")]
    network_settings: NetworkSettings,
    #[serde(default, deserialize_with = "nullable")]
    graph_driver: GraphDriver,
}

/// What keeps a container's files; engines with containerd's image store say nothing here.
#[derive(Debug, Default, Deserialize)]
struct GraphDriver {
    #[serde(rename = "Data", default, deserialize_with = "nullable")]
    data: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(default)]
    pub(super) auto_remove: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) restart_policy: RestartPolicy,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) dns: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) dns_search: Vec<String>,
    /// Published ports by `port/protocol`.
    #[serde(default, deserialize_with = "nullable")]
    port_bindings: BTreeMap<String, Value>,
}

/// Whether Docker starts a container again by itself (`--restart`).
#[derive(Debug, Default, Deserialize)]
pub(super) struct RestartPolicy {
    #[serde(rename = "Name", default)]
    name: String,
}

impl RestartPolicy {
    pub(super) fn restarts(&self) -> bool {
        !matches!(self.name.as_str(), "" | "no")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerConfig {
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) domainname: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) labels: BTreeMap<String, String>,
    /// `NAME=value` each.
    #[serde(default, deserialize_with = "nullable")]
    pub(super) env: Vec<String>,
    /// Exposed ports by `port/protocol`.
    #[serde(default, deserialize_with = "nullable")]
    exposed_ports: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerState {
    #[serde(default)]
    pub(super) running: bool,
    #[serde(default)]
    pub(super) pid: u32,
    /// Why its last start failed; empty if it did not.
    #[serde(default)]
    pub(super) error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    sandbox_key: String,
    #[serde(default, deserialize_with = "nullable")]
    networks: BTreeMap<String, Option<EndpointSettings>>,
}

#[derive(Debug, Deserialize)]
struct EndpointSettings {
    #[serde(rename = "NetworkID", default)]
    network: String,
    #[serde(rename = "EndpointID", default)]
    endpoint: String,
    #[serde(rename = "MacAddress", default)]
    mac: String,
    #[serde(rename = "IPAddress", default)]
    v4: String,
    #[serde(rename = "GlobalIPv6Address", default)]
    v6: String,
    /// What its user said about this endpoint.
    #[serde(rename = "DriverOpts", default, deserialize_with = "nullable")]
    driver_options: BTreeMap<String, String>,
    #[serde(rename = "IPAMConfig", default)]
    ipam: Value,
    #[serde(rename = "Links", default)]
    links: Value,
    #[serde(rename = "Aliases", default)]
    aliases: Value,
    #[serde(rename = "GwPriority", default)]
    gateway_priority: Value,
}

impl EndpointSettings {
    /// The address that its user named (`--ip`).
    fn address(&self) -> Option<Ipv4Addr> {
        self.ipam.get("IPv4Address")?.as_str()?.parse().ok()
    }

    /// The settings with which Docker connects the container again as it was, but for its hardware address.
    fn asked(&self) -> Value {
        let mut asked = json!({
            "IPAMConfig": self.ipam,
            "Links": self.links,
            "Aliases": self.aliases,
            "DriverOpts": self.driver_options,
            "GwPriority": self.gateway_priority,
        });
        if let Some(asked) = asked.as_object_mut() {
            // An engine that does not know one of them refuses it.
            asked.retain(|_, value| !value.is_null());
        }
        asked
    }
}

impl Container {
    /// Where its sandbox's namespace is bound.
    pub(super) fn sandbox(&self) -> Option<PathBuf> {
        let key = &self.network_settings.sandbox_key;
        key.starts_with('/').then(|| key.into())
    }

    /// Where its root file system is mounted: `MergedDir` of the overlay drivers, `Mountpoint` of zfs.
    pub(super) fn root(&self) -> Option<PathBuf> {
        let data = &self.graph_driver.data;
        let path = data.get("MergedDir").or_else(|| data.get("Mountpoint"))?.as_str()?;
        path.starts_with('/').then(|| path.into())
    }

    /// Its `resolv.conf` on the host.
    pub(super) fn resolv_conf(&self) -> Option<PathBuf> {
        let path = &self.resolv_conf_path;
        path.starts_with('/').then(|| path.into())
    }

    /// The ports it exposes or publishes.
    pub(super) fn ports(&self) -> BTreeSet<(u8, u16)> {
        let keys = self.config.exposed_ports.keys().chain(self.host_config.port_bindings.keys());
        keys.filter_map(|key| port(key)).collect()
    }

    /// The ports it publishes, each with where.
    pub(super) fn published(&self) -> Vec<PublishedPort> {
        let bindings = self.host_config.port_bindings.iter();
        let ports = bindings.filter_map(|(key, places)| Some((port(key)?, places.as_array()?)));
        let all = ports.flat_map(|((protocol, port), places)| {
            places.iter().map(move |place| {
                let text = |name: &str| place.get(name).and_then(Value::as_str);
                // Of a range the first.
                let host_port = text("HostPort").and_then(|text| text.split('-').next()?.parse().ok());
                PublishedPort {
                    protocol,
                    port,
                    host_port: host_port.filter(|port| *port != 0),
                    host_address: text("HostIp").and_then(|text| text.parse().ok()),
                }
            })
        });
        all.collect()
    }

    /// What its user said about its endpoints on networks.
    pub(super) fn driver_options(&self) -> BTreeMap<NetworkId, BTreeMap<String, String>> {
        let settings = self.network_settings.networks.values().flatten();
        let options = settings.filter(|s| !s.driver_options.is_empty());
        options.filter_map(|s| Some((s.network.parse().ok()?, s.driver_options.clone()))).collect()
    }

    /// The networks it is attached to: ids, or what they were called when it was created.
    pub(super) fn networks(&self) -> BTreeSet<String> {
        self.settings().map(|(called, _)| called.clone()).collect()
    }

    /// What its user said about its endpoints there. While it runs its hardware addresses may be anybody's choice.
    pub(super) fn requested(&self) -> BTreeMap<String, RequestedEndpoint> {
        let requested = |settings: &EndpointSettings| RequestedEndpoint {
            mac: settings.mac.parse().ok().filter(|_| !self.state.running),
            address: settings.address(),
            options: settings.driver_options.clone(),
            asked: settings.asked(),
        };
        self.settings()
            .filter_map(|(called, settings)| Some((called.clone(), requested(settings?))))
            .collect()
    }

    fn settings(&self) -> impl Iterator<Item = (&String, Option<&EndpointSettings>)> {
        self.network_settings.networks.iter().map(|(name, settings)| match settings {
            Some(s) if !s.network.is_empty() => (&s.network, Some(s)),
            settings => (name, settings.as_ref()),
        })
    }

    /// Its endpoints; a container that does not run has none.
    pub(super) fn endpoints(&self) -> BTreeMap<NetworkId, Attachment> {
        let settings = self.network_settings.networks.values().flatten();
        let attachment = |s: &EndpointSettings| {
            let address = |text: &String| text.parse::<IpAddr>().ok();
            Some(Attachment {
                endpoint: s.endpoint.parse().ok()?,
                mac: s.mac.parse().ok(),
                addresses: [&s.v4, &s.v6].into_iter().filter_map(address).collect(),
            })
        };
        settings.filter_map(|s| Some((s.network.parse().ok()?, attachment(s)?))).collect()
    }
}

/// Something happened (`GET /events`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Event {
    #[serde(rename = "Type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) action: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Actor {
    #[serde(rename = "ID", default)]
    pub(super) id: String,
    #[serde(rename = "Attributes", default, deserialize_with = "nullable")]
    pub(super) attributes: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use landline_options::EndpointId;

    use super::*;

    fn network(json: &str) -> Network {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn bridges_have_names() {
        let id = "0123456789abcdef".repeat(4);
        let given = network(&format!(
            r#"{{"Id":"{id}","Name":"bridge","Driver":"bridge","IPAM":{{"Driver":"default","Config":[{{"Subnet":"198.51.100.0/24"}},
            {{"Subnet":"x"}},{{}}]}},"Options":{{"com.docker.network.bridge.name":"docker0"}},"Containers":null}}"#
        ));
        assert_eq!(given.view().bridge.unwrap().as_str(), "docker0");
        assert_eq!(given.view().subnets.len(), 1);
        let made_up =
            network(&format!(r#"{{"Id":"{id}","Driver":"bridge","IPAM":{{"Config":null}},"Options":null}}"#));
        assert_eq!(made_up.view().bridge.unwrap().as_str(), "br-0123456789ab");
        let plugin = network(&format!(
            r#"{{"Id":"{id}","Driver":"landline","IPAM":null,"Options":{{"bridge":"br0"}}}}"#
        ));
        assert_eq!((plugin.view().bridge, plugin.view().parent), (None, None));
        let child =
            network(&format!(r#"{{"Id":"{id}","Driver":"macvlan","Options":{{"parent":"eth0.12"}}}}"#));
        assert_eq!(child.view().parent.unwrap().as_str(), "eth0.12");
        // No id Docker ever had, and no panic.
        assert_eq!(network(r#"{"Id":"é","Driver":"bridge"}"#).view().bridge, None);
    }

    #[test]
    fn endpoints_without_a_container_are_left_out() {
        let inspected = network(
            r#"{"Id":"n","Containers":{"c1":{"EndpointID":"e1"},"ep-e2":{"EndpointID":"e2"},"c3":{},"c4":null}}"#,
        );
        let endpoints: Vec<(&str, EndpointId)> =
            inspected.endpoints().map(|(container, attachment)| (container, attachment.endpoint)).collect();
        assert_eq!(endpoints, [("c1", "e1".parse().unwrap())]);
    }

    #[test]
    fn containers_that_do_not_run_have_no_endpoints() {
        let container: Container = serde_json::from_str(
            r#"{"Name":"/web","Config":{"Hostname":"web","Labels":null},"State":null,"NetworkSettings":{"Networks":
            {"lan":{"NetworkID":"n1","EndpointID":"e1"},"stopped":{"NetworkID":"n2","EndpointID":""},"odd":null}}}"#,
        )
        .unwrap();
        assert_eq!(container.endpoints().len(), 1);
        assert_eq!(container.config.hostname, "web");
    }

    #[test]
    fn what_a_container_was_connected_with_is_kept() {
        let container: Container = serde_json::from_str(
            r#"{"HostConfig":{"RestartPolicy":{"Name":"unless-stopped","MaximumRetryCount":0}},"NetworkSettings":{"Networks":{
            "lan":{"NetworkID":"n1","IPAMConfig":{"IPv4Address":"192.0.2.7"},"Links":null,"Aliases":["web"],"DriverOpts":{"landline.id":"w"},
            "MacAddress":"02:00:00:00:00:07","Gateway":"192.0.2.1"},"bare":{"NetworkID":"n2"}}}}"#,
        )
        .unwrap();
        assert!(container.host_config.restart_policy.restarts());
        let requested = container.requested();
        let kept = json!({"IPAMConfig": {"IPv4Address": "192.0.2.7"}, "Aliases": ["web"], "DriverOpts": {"landline.id": "w"}});
        assert_eq!((requested["n1"].address, &requested["n1"].asked), ("192.0.2.7".parse().ok(), &kept));
        assert_eq!((requested["n2"].address, &requested["n2"].asked), (None, &json!({"DriverOpts": {}})));
        let without: Container =
            serde_json::from_str(r#"{"HostConfig":{"RestartPolicy":{"Name":"no"}}}"#).unwrap();
        assert!(!without.host_config.restart_policy.restarts());
    }

    #[test]
    fn an_unspecified_gateway_is_none() {
        let shown = network(
            r#"{"Id":"n","IPAM":{"Config":[{"Subnet":"192.0.2.0/24","Gateway":"0.0.0.0"},{"Subnet":"2001:db8::/64","Gateway":"::"},
            {"Subnet":"198.51.100.0/24","Gateway":"198.51.100.1"}]}}"#,
        );
        let gateways: Vec<_> = shown.view().pools.iter().map(|pool| pool.gateway).collect();
        assert_eq!(gateways, [None, None, "198.51.100.1".parse().ok()]);
    }

    #[test]
    fn what_was_asked_for_is_shown_again() {
        let id = "0123456789abcdef".repeat(4);
        let container: Container = serde_json::from_str(&format!(
            r#"{{"Name":"/web","HostConfig":{{"PortBindings":{{"80/tcp":[{{"HostIp":"192.0.2.117","HostPort":"8080"}},{{"HostPort":""}}],
            "53/udp":[{{"HostIp":"","HostPort":"5353-5360"}}],"1/tcp":null,"x":[7]}}}},"NetworkSettings":{{"Networks":{{
            "lan":{{"NetworkID":"{id}","DriverOpts":{{"lan_ip":"dhcp"}}}},"other":{{"NetworkID":"x","DriverOpts":null}}}}}}}}"#
        ))
        .unwrap();
        let port = |protocol, port, host_port, address: Option<&str>| PublishedPort {
            protocol,
            port,
            host_port,
            host_address: address.map(|text| text.parse().unwrap()),
        };
        assert_eq!(
            container.published(),
            [
                port(17, 53, Some(5353), None),
                port(6, 80, Some(8080), Some("192.0.2.117")),
                port(6, 80, None, None)
            ]
        );
        let options = container.driver_options();
        assert_eq!(options[&id.parse::<NetworkId>().unwrap()]["lan_ip"], "dhcp");
        assert_eq!(options.len(), 1);
    }
}
