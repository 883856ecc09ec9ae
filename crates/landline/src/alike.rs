//! Which containers cannot be told apart when they start together, and what ends that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use landline_docker::{ContainerInfo, DockerView};
use landline_doctor::Finding;
use landline_model::NetworkRecord;
use landline_options::{NetworkId, WhenUnsure};
use serde::{Deserialize, Serialize};

use crate::parts::Parts;

/// How many of them are named in a sentence.
const NAMED: usize = 8;

/// Containers of one network that look the same to Landline until they run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alike {
    /// The network.
    pub(crate) network: String,
    /// The containers.
    pub(crate) containers: Vec<LooksAlike>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LooksAlike {
    /// Its name.
    pub(crate) name: String,
    /// What to write so that it is told from the others.
    pub(crate) remedy: String,
}

/// Those of all networks.
pub(crate) fn look(parts: &Parts, view: &DockerView) -> Vec<Alike> {
    let of = |id: &NetworkId| {
        // Docker says which container is starting, or its sandbox does.
        let told = view.names_endpoints && parts.ipam.serves(id);
        let late = parts.engine.networks().get(id).is_some_and(is_late);
        if told || late { Vec::new() } else { of_network(view, id, &parts.engine.network_name(id)) }
    };
    parts.engine.docker_networks().keys().flat_map(of).collect()
}

fn is_late(network: &NetworkRecord) -> bool {
    network.options.when_unsure == WhenUnsure::Late
}

/// Those of one network, by the ports and the addresses (`--ip`) that tell them from others.
fn of_network(view: &DockerView, id: &NetworkId, network: &str) -> Vec<Alike> {
    let mut same: BTreeMap<&BTreeSet<(u8, u16)>, Vec<&ContainerInfo>> = BTreeMap::new();
    for container in view.attached_to(id).filter(|container| !has_a_key(view, id, container)) {
        same.entry(&container.ports).or_default().push(container);
    }
    let several = same.into_values().flat_map(|containers| by_address(view, id, containers));
    several
        .filter(|containers| containers.len() > 1)
        .map(|mut containers| {
            containers.sort_by(|a, b| a.name.cmp(&b.name));
            // Several containers of one service share its words.
            let service = |container: &ContainerInfo| {
                let place = container.place();
                place.service.map(|service| (place.project, service))
            };
            let scaled = |container: &ContainerInfo| {
                let own = service(container);
                own.is_some() && containers.iter().filter(|other| service(other) == own).count() > 1
            };
            let remedy = |container: &&ContainerInfo| LooksAlike {
                name: container.name.clone(),
                remedy: remedy(network, container, scaled(container)),
            };
            Alike { network: network.to_owned(), containers: containers.iter().map(remedy).collect() }
        })
        .collect()
}

/// Those of them that may be asked for the same address. One that names none may get any address, even one that another names.
fn by_address<'v>(
    view: &DockerView,
    network: &NetworkId,
    containers: Vec<&'v ContainerInfo>,
) -> Vec<Vec<&'v ContainerInfo>> {
    let mut same: BTreeMap<Option<Ipv4Addr>, Vec<&ContainerInfo>> = BTreeMap::new();
    for container in &containers {
        let named = view.requested_on(container, network).and_then(|requested| requested.address);
        same.entry(named).or_default().push(container);
    }
    if same.contains_key(&None) { vec![containers] } else { same.into_values().collect() }
}

/// Whether its user has said who it is. A template is no help as long as it is not known whose.
fn has_a_key(view: &DockerView, network: &NetworkId, container: &ContainerInfo) -> bool {
    view.requested_on(container, network).is_some_and(|requested| {
        let key = requested.options.get("landline.id").is_some_and(|key| !key.is_empty());
        (key && !crate::placeholders::any(&requested.options)) || requested.mac.is_some()
    })
}

/// The line to write, in the words of whoever has made the container.
/// `scaled`: its service has other containers there.
fn remedy(network: &str, container: &ContainerInfo, scaled: bool) -> String {
    let place = container.place();
    // Compose calls its networks by their keys, and Docker by the project, too.
    let key = place.project.as_ref().and_then(|project| network.strip_prefix(project)?.strip_prefix('_'));
    let network = key.unwrap_or(network);
    match (&place.service, scaled) {
        (Some(service), true) => format!(
            "give this container of {service} a service of its own, or use Docker 29 and --ipam-driver landline"
        ),
        (Some(service), false) => {
            let key = place
                .project
                .as_ref()
                .map_or_else(|| service.clone(), |project| format!("{project}-{service}"));
            format!(
                "services: {{{service}: {{networks: {{{network}: {{driver_opts: {{landline.id: {key}}}}}}}}}}}"
            )
        }
        (None, _) => {
            format!("docker run --network name={network},driver-opt=landline.id={}", container.lasting_name())
        }
    }
}

impl Alike {
    /// For `landline doctor`, one for each container.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let one = |LooksAlike { name, remedy }: &LooksAlike| {
            let others = names(self.containers.iter().filter(|other| other.name != *name));
            let says = format!(
                "on {} nothing tells {name} from {others} when they start together, so it may get a new address then; \
                 to end that: {remedy}",
                self.network
            );
            Finding::new("alike", says)
        };
        self.containers.iter().map(one).collect()
    }

    /// For `landline ls`.
    pub(crate) fn short(&self) -> String {
        format!(
            "{}: nothing tells {} apart when they start together; landline doctor says what does",
            self.network,
            names(self.containers.iter())
        )
    }
}

/// The first few names, and how many there are beside them.
fn names<'a>(containers: impl Iterator<Item = &'a LooksAlike>) -> String {
    let all: Vec<&str> = containers.map(|one| one.name.as_str()).collect();
    let (first, rest) = all.split_at(all.len().min(NAMED));
    match rest.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use landline_docker::{RequestedEndpoint, Sketch};

    use super::*;

    fn container(
        name: &str,
        ports: &[(u8, u16)],
        labels: &[(&str, &str)],
        key: Option<&str>,
    ) -> ContainerInfo {
        let options = key.map(|key| ("landline.id".to_owned(), key.to_owned())).into_iter().collect();
        ContainerInfo {
            container_id: name.to_owned(),
            name: name.to_owned(),
            ports: ports.iter().copied().collect(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            networks: ["n1".to_owned()].into(),
            requested: [("n1".to_owned(), RequestedEndpoint { options, ..RequestedEndpoint::default() })]
                .into(),
            ..ContainerInfo::default()
        }
    }

    fn alike(containers: &[ContainerInfo]) -> Vec<Alike> {
        let mut view = DockerView::default();
        let sketches = containers.iter().map(|c| (c.name.clone(), Sketch::Info(Box::new(c.clone()))));
        view.containers.extend(sketches);
        of_network(&view, &"n1".parse().unwrap(), "lan")
    }

    #[test]
    fn ports_and_keys_tell_containers_apart() {
        let web = container("web", &[(6, 80)], &[], None);
        assert_eq!(alike(&[web.clone(), container("db", &[(6, 5432)], &[], None)]), []);
        let keyed = container("keyed", &[(6, 80)], &[], Some("keyed"));
        assert_eq!(alike(&[web.clone(), keyed]), []);
        let found = alike(&[web.clone(), container("api", &[(6, 80)], &[], None)]);
        let names: Vec<&str> = found[0].containers.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((found.len(), names), (1, vec!["api", "web"]));
        assert_eq!(found[0].containers[1].remedy, "docker run --network name=lan,driver-opt=landline.id=web");
        let template = container("t", &[(6, 80)], &[], Some("{slot}"));
        assert_eq!(alike(&[web, template]).len(), 1, "nobody knows whose it is");
    }

    #[test]
    fn addresses_that_their_users_name_tell_containers_apart() {
        let with_ip = |name: &str, last: u8| {
            let mut container = container(name, &[], &[], None);
            let named = Some(Ipv4Addr::new(192, 0, 2, last));
            container.requested.values_mut().for_each(|requested| requested.address = named);
            container
        };
        let (web, db) = (with_ip("web", 7), with_ip("db", 8));
        assert_eq!(alike(&[web.clone(), db.clone()]), []);
        let twin = with_ip("twin", 7);
        let found = alike(&[web.clone(), db.clone(), twin]);
        let names: Vec<&str> = found[0].containers.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((found.len(), names), (1, vec!["twin", "web"]));
        let any = container("any", &[], &[], None);
        assert_eq!(alike(&[web, db, any])[0].containers.len(), 3, "it may be given the address of either");
    }

    #[test]
    fn the_line_is_in_its_makers_words() {
        let compose = |service: &str, number: &str| {
            let labels = [
                ("com.docker.compose.project", "shop"),
                ("com.docker.compose.service", service),
                ("com.docker.compose.container-number", number),
            ];
            container(&format!("shop-{service}-{number}"), &[], &labels, None)
        };
        let found = alike(&[compose("web", "1"), compose("db", "1"), compose("db", "2")]);
        let remedies: Vec<&str> = found[0].containers.iter().map(|one| one.remedy.as_str()).collect();
        assert_eq!(remedies[2], "services: {web: {networks: {lan: {driver_opts: {landline.id: shop-web}}}}}");
        for of_two in &remedies[..2] {
            assert!(of_two.contains("a service of its own"), "{of_two}");
        }
        let by_docker = remedy("shop_lan", &compose("web", "1"), false);
        assert_eq!(by_docker, remedies[2], "Compose adds the project's name by itself");
        let says = &found[0].findings()[2].says;
        assert!(says.contains("nothing tells shop-web-1 from shop-db-1, shop-db-2 when"), "{says}");
        let many: Vec<ContainerInfo> =
            (0..12).map(|n| container(&format!("c{n:02}"), &[], &[], None)).collect();
        assert!(alike(&many)[0].short().contains("c07 and 4 more"), "{}", alike(&many)[0].short());
    }
}
