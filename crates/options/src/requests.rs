//! What containers ask for in their labels and environment. All of it is text from outside; none of it is ever run.

use std::collections::BTreeMap;

use landline_types::Shown;

use crate::attach::{Attach, AttachError, AttachSpec, ContainerName, Target, refuse_long, split_words};
use crate::demands;
use crate::given::boolean;
use crate::macros::MacroContext;
use crate::pipework::{Change, Pipework};

/// The label of an attachment, alone or with a dot and a name of its own behind it.
const LABEL: &str = "landline.attach";

/// What the names of variables have in them.
const COMMAND: &str = "pipework_cmd";
const HOST_ROUTE: &str = "pipework_host_route";
const HOST_ROUTES: &str = "pipework_host_routes";
const KEY: &str = "pipework_key";

/// The most interfaces and changes one container may ask for.
const MOST: usize = 32;

/// The longest name of a label or variable, in bytes.
const MAX_SOURCE: usize = 128;

const BAD_SOURCE: &str = "the name of the label or variable is longer than 128 characters or has a line break or another control \
                          character in it; give it another";

/// A container, as far as it matters to what it asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name, without the slash.
    pub name: &'a str,
    /// Its host name.
    pub hostname: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its environment, `NAME=value` each.
    pub environment: &'a [String],
}

/// One thing a container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The label or variable that says so.
    pub source: String,
    /// What it is, or what is wrong with it.
    pub request: Result<Request, AttachError>,
    /// Whether the host is to reach the container over it (`pipework_host_route…`).
    pub host_route: bool,
}

/// What a container may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// An interface.
    Attach(Box<AttachSpec>),
    /// A change of its own routes, rules or queues.
    Change(Change),
}

/// Everything a container asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests {
    /// In the order in which it is done: labels by name, then variables by name.
    pub all: Vec<Ask>,
    /// `pipework_key`.
    pub key: Option<String>,
}

impl Asker<'_> {
    /// Reads it all.
    pub fn requests(&self) -> Requests {
        let mut requests = Requests::default();
        for (label, text) in self.labels {
            let rest = label.strip_prefix(LABEL);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                requests.add(label, self.label(text));
            }
        }
        let mut variables: Vec<(&str, &str)> =
            self.environment.iter().filter_map(|entry| entry.split_once('=')).collect();
        variables.sort_unstable();
        // Any value means yes, as in docker-pipework, but for what says no.
        let routes: Vec<&str> = variables
            .iter()
            .filter(|(name, text)| name.contains(HOST_ROUTE) && boolean(text.trim()) != Some(false))
            .map(|(name, _)| *name)
            .collect();
        for (name, text) in variables {
            if name.contains(COMMAND) {
                requests.add(name, self.command(text));
            } else if name == KEY {
                requests.key = Some(text.to_owned());
            }
        }
        for ask in &mut requests.all {
            let own = ask.source.replace(COMMAND, HOST_ROUTE);
            ask.host_route = routes.iter().any(|name| *name == own || name.contains(HOST_ROUTES));
        }
        requests
    }

    fn label(&self, text: &str) -> Result<Request, AttachError> {
        let words = self.words(text)?;
        let (parent, rest) = words.split_first().ok_or(AttachError::NoParent)?;
        let spec = AttachSpec::of(parent.parse()?, rest)?;
        own(spec).map(|spec| Request::Attach(Box::new(spec)))
    }

    fn command(&self, text: &str) -> Result<Request, AttachError> {
        match Pipework::parse(&self.words(text)?)? {
            Pipework::Attach(Attach { target, spec }) => {
                self.is_self(&target)?;
                own(spec).map(|spec| Request::Attach(Box::new(spec)))
            }
            Pipework::Change(target, change) => {
                self.is_self(&target)?;
                Ok(Request::Change(change))
            }
            Pipework::Wait(_) => {
                Err(AttachError::NotHere("--wait is for inside a container; nothing here would wait"))
            }
        }
    }

    fn words(&self, text: &str) -> Result<Vec<String>, AttachError> {
        let project = self.labels.get("com.docker.compose.project").map_or("", String::as_str);
        let macros = MacroContext { name: self.name, id: self.id, hostname: self.hostname, project };
        let words = split_words(text)?;
        let words = words.iter().map(|word| macros.expand(word)).collect::<Result<Vec<String>, _>>()?;
        // A host name may have anything in it.
        refuse_long(&words)?;
        Ok(words)
    }

    /// Others' interfaces are none of its business.
    fn is_self(&self, target: &Target) -> Result<(), AttachError> {
        let own = |name: &ContainerName| {
            name.means(self.id, self.name) || (!self.hostname.is_empty() && name.as_str() == self.hostname)
        };
        match target {
            Target::Container(name) if own(name) => Ok(()),
            other => Err(AttachError::OtherContainer { word: crate::error::cut(&other.to_string()) }),
        }
    }
}

/// Refuses what no permission gives to a container.
fn own(spec: AttachSpec) -> Result<AttachSpec, AttachError> {
    demands::permissions(&spec).map(|_| spec)
}

impl Requests {
    fn add(&mut self, source: &str, request: Result<Request, AttachError>) {
        if self.all.len() < MOST {
            // It is shown to administrators, and tells what a container asks for apart.
            let clean = source.len() <= MAX_SOURCE && !source.chars().any(char::is_control);
            let request = if clean { request } else { Err(AttachError::Text(BAD_SOURCE)) };
            let source = format!("{:.MAX_SOURCE$}", Shown(source));
            self.all.push(Ask { source, request, host_route: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn requests(labels: &[(&str, &str)], environment: &[&str]) -> Requests {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let environment: Vec<String> = environment.iter().map(|e| (*e).to_owned()).collect();
        Asker { id: ID, name: "test1", hostname: "0123456789ab", labels: &labels, environment: &environment }
            .requests()
    }

    fn parents(requests: &Requests) -> Vec<String> {
        requests
            .all
            .iter()
            .map(|ask| match &ask.request {
                Ok(Request::Attach(spec)) => format!("{:?}", spec.parent),
                Ok(Request::Change(change)) => format!("{change:?}").chars().take(5).collect(),
                Err(error) => error.to_string(),
            })
            .collect()
    }

    #[test]
    fn the_examples_of_the_article() {
        let requests = requests(
            &[],
            &[
                "PATH=/bin",
                "pipework_cmd_ip=br0 -i eth0 @CONTAINER_NAME@ 192.168.1.70/24 ",
                "pipework_cmd=br1 -i eth0 @CONTAINER_NAME@ udhcpc ",
            ],
        );
        assert_eq!(parents(&requests), ["Name(br1)", "Name(br0)"]);
        assert_eq!(requests.all[1].source, "pipework_cmd_ip");
    }

    #[test]
    fn labels_and_everything_else() {
        let requests = requests(
            &[
                ("landline.attach.lan", "br0 dhcp ifname=eth1"),
                ("landline.attach", "eth0 192.0.2.7/24"),
                ("landline.attached", "br9 dhcp"),
            ],
            &[
                "web_pipework_cmd_2=route @CONTAINER_ID@ replace default via 192.0.2.1",
                "pipework_key=a b",
                "pipework_host_routes=false",
                "web_pipework_host_route_2=1",
            ],
        );
        assert_eq!(parents(&requests), ["Name(eth0)", "Name(br0)", "Route"]);
        assert_eq!(requests.key.as_deref(), Some("a b"));
        let routed: Vec<bool> = requests.all.iter().map(|ask| ask.host_route).collect();
        assert_eq!(routed, [false, false, true]);
    }

    #[test]
    fn nothing_from_a_container_is_more_than_text() {
        for text in [
            "br0 other 192.0.2.7/24",
            "br0 pid:1 192.0.2.7/24",
            "br0 netns:/proc/1/ns/net 192.0.2.7/24",
            "$(touch /tmp/x) @CONTAINER_NAME@ dhcp",
            "br0 `id` dhcp",
            "br0 @CONTAINER_NAME@ dhcp; rm -rf /",
            "br0 @CONTAINER_NAME@ dhcp\nbr0 other dhcp",
            "tc @CONTAINER_NAME@ exec bpf import /x run id",
            "route other add default via 192.0.2.1",
            "../../etc/passwd @CONTAINER_NAME@ dhcp",
            "br0 @CONTAINER_NAME@ 'dhcp:-s /tmp/evil'  02:00:00:00:00:01 x",
            "--wait",
            "@NOTHING@ x dhcp",
            "br0 test1 dhcp && reboot",
            "br0 test1 dhcp | tee /etc/passwd",
            "br0 test1 dhcp\0",
            "br0\0eth0 test1 dhcp",
            "br0 test1 ${IFS}",
            "br0 -i ../../eth0 test1 dhcp",
            "br0 -i $(id) test1 dhcp",
            "br0 -l `id` test1 dhcp",
            "br0 --help test1 dhcp",
            "-i eth0 test1 dhcp",
            "--direct-phys --direct-phys test1 dhcp",
            "br0 -i -l test1 dhcp",
            "br0 --net=host dhcp",
            "mac:$(id) test1 dhcp",
            "br0 test1 dhcp:-s/tmp/evil",
            "br0 test1 'udhcpc:-x hostname:$(id)'",
            "br0 test1 192.0.2.7/24@$(id)",
            "br0 test1 192.0.2.7/24 U:x@12;id",
            "tc test1 -batch /etc/passwd",
            "tc test1 -force exec bpf",
            "tc test1 qdisc add dev eth0 root netem delay $(id)",
            "route test1 add default via 192.0.2.1; id",
            "route test1 -batch /etc/passwd",
            "rule test1 save",
            &"a".repeat(10_000),
            &format!("br0 test1 dhcp {}", "a ".repeat(100)),
        ] {
            for requests in [
                requests(&[], &[&format!("pipework_cmd={text}")]),
                // In a label there is no container to name, so these are wrong there as well.
                requests(&[("landline.attach", text)], &[]),
            ] {
                assert_eq!(requests.all.len(), 1);
                assert!(requests.all[0].request.is_err(), "{text:?}: {:?}", requests.all[0]);
                let said = requests.all[0].request.as_ref().unwrap_err().to_string();
                assert!(said.len() < 600 && !said.chars().any(char::is_control), "{said:?}");
            }
        }
        // What macros stand for is the container's too.
        let environment = ["pipework_cmd=br0 @HOSTNAME@ dhcp".to_owned()];
        let project = "com.docker.compose.project".to_owned();
        for hostile in ["$(id)", "`id`", "a b", "test1; id", "test1\nother", "other", "../x", "-i", ""] {
            let labels = [
                (project.clone(), hostile.to_owned()),
                ("landline.attach".to_owned(), "br0 dhcp ifname=@COMPOSE_PROJECT_NAME@".to_owned()),
            ];
            let asker = Asker {
                id: ID,
                name: "test1",
                hostname: hostile,
                labels: &labels.into_iter().collect(),
                environment: &environment,
            };
            let requests = asker.requests();
            assert_eq!(requests.all.len(), 2);
            for ask in &requests.all {
                let name = matches!(hostile, "other" | "-i" | "$(id)" | "`id`");
                let is_its_own = hostile == "other" || ask.source == "landline.attach" && name;
                assert!(is_its_own || ask.request.is_err(), "{hostile:?}: {ask:?}");
            }
        }
        let forced = requests(&[("landline.attach", "br0 192.0.2.7/24 force=true")], &[]);
        assert!(forced.all[0].request.is_err());
    }

    #[test]
    fn names_of_labels_and_variables_are_the_containers_too() {
        let fake = "landline.attach.x\u{1b}[2J\nroot, x: allowed";
        let long = format!("landline.attach.{}", "x".repeat(200));
        let requests =
            requests(&[(fake, "br0 dhcp"), (&long, "br0 dhcp")], &["pipework_cmd\r=br0 test1 dhcp"]);
        assert_eq!(requests.all.len(), 3);
        for ask in &requests.all {
            assert!(ask.request.is_err(), "{ask:?}");
            assert!(ask.source.len() <= 128 && !ask.source.chars().any(char::is_control), "{ask:?}");
        }
    }
}
