//! Landline in the place of the docker-pipework container: its environment variables, each with or without `pipework_` in
//! front of its name.
//!
//! What it never had is a limit to what containers may ask for: `allow` names the parents, and without it there are none.
//! Its delays (`route_add_delay`, `cleanup_wait`, `retry_delay`, `inter_delay`, `sleep`) were there because it did one
//! thing after the other and could not see when something was done; here they have nothing to wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use landline_docker::{DockerView, Sketch};
use landline_options::{Allowed, AttachError, ConfigFile, Parent, Permission, Pipework, split_words};
use landline_types::Shown;

use super::jobs::{Job, Jobs, Key};

/// What it is to do.
#[derive(Debug, Clone)]
pub(crate) struct DropIn {
    /// What containers may ask for.
    pub(super) config: ConfigFile,
    /// What it is told to do itself, in order.
    pub(super) commands: Vec<Pipework>,
    batch: bool,
    daemon: bool,
    /// Whether much is logged.
    pub(crate) debug: bool,
}

/// Why the variables cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DropInError {
    #[error("{variable} has no run mode {word:?}; there are manual, batch, daemon, both and all")]
    Mode { variable: String, word: String },
    #[error("{variable}: {word:?} is not an interface of this host; write its names with commas between")]
    Parent { variable: String, word: String },
    #[error("{variable}")]
    Command {
        variable: String,
        #[source]
        source: AttachError,
    },
}

impl DropIn {
    /// Reads the environment. `arguments` are a command of their own, as docker-pipework's.
    pub(crate) fn read(
        environment: impl Iterator<Item = (String, String)>,
        arguments: &[String],
    ) -> Result<Self, DropInError> {
        let environment: BTreeMap<String, String> =
            environment.filter(|(_, value)| !value.trim().is_empty()).collect();
        let get = |name: &str| {
            let long = format!("pipework_{name}");
            let found = environment.get_key_value(&long).or_else(|| environment.get_key_value(name));
            found.map(|(variable, value)| (variable.clone(), value.trim().to_owned()))
        };
        let mut config = ConfigFile::default();
        config.containers.key = get("key").map(|(_, key)| key);
        let is_on = |name: &str| {
            get(name).is_some_and(|(_, value)| !matches!(value.as_str(), "false" | "no" | "off" | "0"))
        };
        config.containers.host_routes = is_on("host_routes");
        let debug = is_on("debug");
        if let Some((variable, list)) = get("allow") {
            for word in words(&list) {
                let failed = || DropInError::Parent { variable: variable.clone(), word: cut(word) };
                let mut parts = word.split(':');
                let parent: Parent = parts.next().unwrap_or_default().parse().map_err(|_| failed())?;
                let mut allowed = Allowed::default();
                for key in parts {
                    let permission = Permission::ALL.into_iter().find(|known| known.key() == key);
                    allowed.give(permission.ok_or_else(failed)?);
                }
                config.containers.allow.insert(parent.to_string(), allowed);
            }
            // Its containers could always do that.
            config.containers.changes = true;
        }
        let (mut manual, mut batch, mut daemon) = (false, false, false);
        let (variable, modes) = get("run_mode").unwrap_or_else(|| ("run_mode".into(), "manual".into()));
        for word in words(&modes) {
            match word {
                "manual" => manual = true,
                "batch" => batch = true,
                "daemon" => daemon = true,
                "both" => (batch, daemon) = (true, true),
                "all" => (manual, batch, daemon) = (true, true, true),
                _ => return Err(DropInError::Mode { variable, word: cut(word) }),
            }
        }
        let mut commands = Vec::new();
        if manual {
            let own = environment
                .iter()
                .filter(|(name, _)| name.as_str() == "cmd" || name.contains("pipework_cmd"));
            for (variable, text) in own {
                let failed = |source| DropInError::Command { variable: cut(variable), source };
                commands.push(Pipework::parse(&split_words(text).map_err(failed)?).map_err(failed)?);
            }
            if !arguments.is_empty() {
                let failed = |source| DropInError::Command { variable: "the command line".into(), source };
                commands.push(Pipework::parse(arguments).map_err(failed)?);
            }
        }
        Ok(Self { config, commands, batch, daemon, debug })
    }

    pub(super) fn scope(&self) -> Scope {
        Scope { batch: self.batch, daemon: self.daemon, first: None, unread: BTreeSet::new() }
    }
}

/// Text from outside, short enough for a message.
fn cut(text: &str) -> String {
    format!("{:.64}", Shown(text))
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty())
}

/// Which containers are looked at: those that ran at the start (`batch`), those that start later (`daemon`).
pub(super) struct Scope {
    batch: bool,
    daemon: bool,
    /// The sandboxes that were there when Docker was first seen.
    first: Option<BTreeMap<Key, PathBuf>>,
    /// The containers there were then of which nothing but that was known yet.
    unread: BTreeSet<String>,
}

impl Scope {
    /// Notes what is there at the start; `true` that once.
    pub(super) fn begins(&mut self, view: &DockerView, all: &Jobs) -> bool {
        let begins = self.first.is_none();
        let sandbox = |(key, job): (&Key, &Job)| (key.clone(), job.place.sandbox.clone());
        let first = self.first.get_or_insert_with(|| all.wanted.iter().map(sandbox).collect());
        let is_read = |id: &String| matches!(view.containers.get(id), Some(Sketch::Info(_)));
        if begins {
            self.unread = view.containers.keys().filter(|id| !is_read(id)).cloned().collect();
        }
        for id in self.unread.extract_if(.., |id| is_read(id)) {
            let key = Key::Container(id);
            if let Some(job) = all.wanted.get(&key) {
                first.insert(key, job.place.sandbox.clone());
            }
        }
        begins
    }

    pub(super) fn covers(&self, key: &Key, job: &Job) -> bool {
        if !matches!(key, Key::Container(_)) {
            return true;
        }
        let first = self.first.as_ref().and_then(|first| first.get(key));
        if first == Some(&job.place.sandbox) { self.batch } else { self.daemon }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)], arguments: &[&str]) -> Result<DropIn, DropInError> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        DropIn::read(environment, &arguments)
    }

    #[test]
    fn the_variables_of_docker_pipework() {
        let drop_in = read(
            &[
                ("run_mode", "batch,daemon"),
                ("pipework_host_routes", "true"),
                ("key", "lan"),
                ("allow", "br0, eth0:macs:host_access"),
                ("cleanup_wait", "22"),
                ("pipework_debug", "1"),
                ("PATH", "/bin"),
            ],
            &[],
        )
        .unwrap();
        assert!(drop_in.batch && drop_in.daemon && drop_in.debug && drop_in.commands.is_empty());
        assert!(drop_in.config.containers.host_routes);
        assert_eq!(drop_in.config.containers.key.as_deref(), Some("lan"));
        assert_eq!(drop_in.config.containers.allow.keys().collect::<Vec<_>>(), ["br0", "eth0"]);
        let given = |parent: &str, permission| drop_in.config.containers.allow[parent].gives(permission);
        assert!(given("eth0", Permission::Macs) && given("eth0", Permission::HostAccess));
        assert!(!given("eth0", Permission::Hostnames) && !given("br0", Permission::Macs));
    }

    #[test]
    fn by_itself_it_does_what_it_is_told() {
        let drop_in = read(&[("cmd", "br0 web 192.0.2.5/24")], &["br1", "web", "dhcp"]).unwrap();
        assert_eq!(drop_in.commands.len(), 2);
        assert!(
            !drop_in.batch && !drop_in.daemon && !drop_in.debug && drop_in.config.containers.allow.is_empty()
        );
        assert!(read(&[("run_mode", "daemon"), ("cmd", "$(id)")], &[]).unwrap().commands.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (environment, part) in [
            (("run_mode", "sometimes"), "no run mode"),
            (("allow", "br0,a/b"), "not an interface"),
            (("allow", "br0:mac"), "not an interface"),
            (("pipework_cmd_1", "$(id)"), "pipework_cmd_1"),
        ] {
            let error = read(&[environment], &[]).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
