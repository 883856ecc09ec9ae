//! From variables and a configuration to what the daemon is asked.

use std::path::PathBuf;

use landline_model::{RuntimeApi, RuntimeOwner};
use landline_options::AttachSpec;
use landline_types::{IfName, Shown};
use serde_json::{Map, Value};

use super::config::Config;
use super::{CniError, Environment, Failure, Version};

/// A request, and the version its answer is written in.
#[derive(Debug)]
pub struct Call {
    /// The caller's version.
    pub version: Version,
    /// What it asks for.
    pub request: Request,
}

/// What a runtime asks for.
#[derive(Debug)]
pub enum Request {
    /// VERSION
    Version,
    /// STATUS
    Status,
    /// ADD
    Add(Box<Add>),
    /// DEL
    Delete(RuntimeOwner),
    /// CHECK
    Check(Box<Check>),
    /// GC: the interfaces that are kept of a network.
    Collect {
        /// The network.
        network: String,
        /// The container and the name of each.
        kept: Vec<(String, IfName)>,
    },
}

/// An interface that is to be made.
#[derive(Debug)]
pub struct Add {
    /// Whose it is.
    pub owner: RuntimeOwner,
    /// The path of the container's namespace.
    pub netns: PathBuf,
    /// What it is.
    pub spec: AttachSpec,
    /// What earlier plugins of the list made.
    pub previous: Option<Map<String, Value>>,
    /// DNS settings that take the place of those of the LAN.
    pub dns: Option<Value>,
}

/// An interface that was made.
#[derive(Debug)]
pub struct Check {
    /// Whose it is.
    pub owner: RuntimeOwner,
    /// What ADD said.
    pub previous: Map<String, Value>,
}

/// Reads a request.
///
/// # Errors
/// The first thing that is wrong, in the caller's version.
pub fn read(environment: &Environment, input: &[u8]) -> Result<Call, Failure> {
    if environment.command == "VERSION" {
        // Some runtimes send nothing with it, and nothing else counts.
        let version = Config::read(input).map_or(Version::NEWEST, |config| config.version);
        return Ok(Call { version, request: Request::Version });
    }
    let config = Config::read(input)?;
    let request = request(environment, &config).map_err(|error| config.fail(error))?;
    Ok(Call { version: config.version, request })
}

fn request(environment: &Environment, config: &Config) -> Result<Request, CniError> {
    let since = |version: Version| {
        if config.version >= version {
            return Ok(());
        }
        Err(CniError::version(format!(
            "{} needs cniVersion {version}, and the configuration has {}",
            environment.command, config.version
        )))
    };
    match environment.command.as_str() {
        "ADD" => add(environment, config).map(|add| Request::Add(Box::new(add))),
        "DEL" => owner(environment, config).map(Request::Delete),
        "CHECK" => {
            since(Version::V0_4_0)?;
            let owner = owner(environment, config)?;
            environment.netns()?;
            let previous = config
                .previous()?
                .ok_or_else(|| CniError::config("CHECK needs prevResult, the result of ADD"))?;
            Ok(Request::Check(Box::new(Check { owner, previous })))
        }
        "GC" => {
            since(Version::V1_1_0)?;
            let network = config.name()?;
            // A name that no interface can have is of none.
            let kept = config.valid()?.into_iter();
            let kept = kept.filter_map(|valid| Some((valid.container, valid.ifname.parse().ok()?)));
            Ok(Request::Collect { network, kept: kept.collect() })
        }
        "STATUS" => {
            since(Version::V1_1_0)?;
            config.name()?;
            config.options()?;
            Ok(Request::Status)
        }
        other => Err(CniError::environment(format!(
            "CNI_COMMAND={:.64} is none of ADD, DEL, CHECK, GC, STATUS and VERSION",
            Shown(other)
        ))),
    }
}

fn owner(environment: &Environment, config: &Config) -> Result<RuntimeOwner, CniError> {
    let arguments = environment.arguments().unwrap_or_default();
    let argument = |name: &str| arguments.get(name).copied().filter(|value| !value.is_empty());
    let name = argument("K8S_POD_NAME").map(|pod| match argument("K8S_POD_NAMESPACE") {
        Some(namespace) => format!("{namespace}/{pod}"),
        None => pod.to_owned(),
    });
    let plain = |name: &String| name.len() <= 512 && name.bytes().all(|byte| byte.is_ascii_graphic());
    Ok(RuntimeOwner {
        api: RuntimeApi::Cni,
        network: config.name()?,
        container: environment.container()?,
        interface: environment.interface()?,
        name: name.filter(plain),
    })
}

fn add(environment: &Environment, config: &Config) -> Result<Add, CniError> {
    let owner = owner(environment, config)?;
    let netns = environment.netns()?;
    let arguments = environment.arguments()?;
    let argument = |name: &str| arguments.get(name).copied().filter(|value| !value.is_empty());
    config.refuse_not_served()?;
    let mut options = config.options()?;
    let hostname = named_host(&mut options);
    let addresses = match config.capability("ips") {
        Some(ips) => strings(ips).ok_or_else(|| CniError::config("ips is no list of addresses"))?,
        None => argument("IP").into_iter().flat_map(|ips| ips.split(',')).map(str::to_owned).collect(),
    };
    let mac = match config.capability("mac") {
        Some(mac) => Some(mac.as_str().ok_or_else(|| CniError::config("mac is no text"))?),
        None => argument("MAC"),
    };
    let spec = AttachSpec::on_network(&options, &addresses, mac);
    let mut spec = spec.map_err(|error| CniError::config(landline_types::chain(&error)))?;
    spec.ifname = Some(owner.interface.clone());
    if options.get("hostname").is_none_or(|hostname| hostname != "off") && spec.dhcp {
        let pod = argument("NERDCTL_CNI_DHCP_HOSTNAME").or_else(|| argument("K8S_POD_NAME"));
        // A name that is none of a host's is not told.
        spec.endpoint.hostname = hostname.as_deref().or(pod).and_then(|name| name.parse().ok());
    }
    Ok(Add { owner, netns, spec, previous: config.previous()?, dns: config.dns() })
}

/// A host name in the place of the option's words: networks of Docker have none, since all containers would share it.
fn named_host(options: &mut std::collections::BTreeMap<String, String>) -> Option<String> {
    let is_name =
        options.get("hostname").is_some_and(|name| !matches!(name.as_str(), "off" | "container" | ""));
    if is_name { options.remove("hostname") } else { None }
}

fn strings(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}
