//! The options of `mode=vde`: which switch, and who may use it.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::OptionError;
use crate::given::Given;
use crate::modes::Mode;
use crate::network::NetworkOptions;

/// How many ports a switch has for clients unless `num_switchports` says otherwise.
pub const DEFAULT_SWITCH_PORTS: u16 = 32;

/// The longest `socket_dir`, in bytes: names of sockets in it must fit into a socket address (unix(7)).
const DIR_MAX: usize = 96;

/// The longest path of a socket, in bytes.
const SOCKET_MAX: usize = 107;

/// The longest name of a group, in bytes.
const GROUP_MAX: usize = 32;

/// The options that have a meaning with `mode=vde` only.
const ONLY_VDE: [&str; 7] = [
    "socket_dir",
    "create_sockets",
    "management_socket",
    "socket_group",
    "socket_group_",
    "num_switchports",
    "vde_ports",
];

/// Those of them that are about a switch Landline runs, or one that a network joins as a whole.
pub(crate) const OF_A_SWITCH: [&str; 6] =
    ["create_sockets", "management_socket", "socket_group", "socket_group_", "num_switchports", "vde_ports"];

/// What containers have of a switch that somebody else runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VdePorts {
    /// A port each: the switch sees every frame.
    #[default]
    Own,
    /// One together: what they say to each other stays on the host, at the kernel's speed.
    Shared,
}

/// The switch of a `mode=vde` network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VdeOptions {
    /// The switch's directory, an absolute path of at most 96 bytes; `None`: one that Landline chooses.
    #[serde(default)]
    pub socket_dir: Option<PathBuf>,
    /// Whether a switch is started in `socket_dir` if none runs there.
    #[serde(default)]
    pub create_sockets: bool,
    /// The management socket of a switch that is started: an absolute path.
    #[serde(default)]
    pub management_socket: Option<PathBuf>,
    /// The group whose members may use a switch that is started: a name or a number.
    #[serde(default)]
    pub socket_group: Option<String>,
    /// How many ports such a switch has for others than containers; at least 1.
    #[serde(default = "default_ports")]
    pub num_switchports: u16,
    /// What containers have of a switch that is there already.
    #[serde(default)]
    pub vde_ports: VdePorts,
}

impl Default for VdeOptions {
    fn default() -> Self {
        Self {
            socket_dir: None,
            create_sockets: false,
            management_socket: None,
            socket_group: None,
            num_switchports: DEFAULT_SWITCH_PORTS,
            vde_ports: VdePorts::default(),
        }
    }
}

const fn default_ports() -> u16 {
    DEFAULT_SWITCH_PORTS
}

impl VdeOptions {
    /// Reads the options of this mode; with another one they must not be given.
    pub(crate) fn parse(given: Given<'_>, mode: Mode) -> Result<Self, OptionError> {
        if mode != Mode::Vde {
            return match ONLY_VDE.into_iter().find(|option| given.get(option).is_some()) {
                Some(option) => Err(OptionError::WrongMode { option, needs: Mode::Vde }),
                None => Ok(Self::default()),
            };
        }
        let path = |option, most: usize| {
            let read = |text: &str| clean_path(text, most);
            let hint = || format!("write an absolute path of at most {most} bytes");
            given.get(option).map(|value| value.read(read, hint)).transpose()
        };
        let ports = given.get("num_switchports").map(|value| {
            let read = |text: &str| text.parse().ok().filter(|ports| *ports > 0);
            value.read(read, || "write a number from 1 to 65535".into())
        });
        // The second spelling is that of a document people copy from.
        let group = given.either("socket_group", "socket_group_")?;
        let words = [("own", VdePorts::Own), ("shared", VdePorts::Shared)];
        Ok(Self {
            socket_dir: path("socket_dir", DIR_MAX)?,
            create_sockets: given.switch("create_sockets")?,
            management_socket: path("management_socket", SOCKET_MAX)?,
            socket_group: group
                .map(|value| value.read(group_name, || "write the name or number of a group".into()))
                .transpose()?,
            num_switchports: ports.transpose()?.unwrap_or(DEFAULT_SWITCH_PORTS),
            vde_ports: given.word("vde_ports", &words)?.unwrap_or_default(),
        })
    }
}

impl NetworkOptions {
    /// The directory of the switch that was named in the place of a parent.
    pub fn switch_dir(&self) -> Option<&Path> {
        self.vde.socket_dir.as_deref()
    }

    /// The same network on the switch in this directory.
    #[must_use]
    pub fn on_switch(mut self, dir: Option<PathBuf>) -> Self {
        self.vde.socket_dir = dir;
        self
    }
}

fn clean_path(text: &str, most: usize) -> Option<PathBuf> {
    let path = Path::new(text);
    let clean = text.len() <= most && !text.chars().any(char::is_control);
    (clean && path.is_absolute() && path.file_name().is_some()).then(|| path.components().collect())
}

/// The directory of a switch as something containers may write and people copy: letters, digits and `_ . - + @ :`
/// between the slashes, and one path that leads to it, not several.
pub(crate) fn directory(text: &str) -> Option<PathBuf> {
    let clean = |b: u8| b.is_ascii_alphanumeric() || b"/_.-+@:".contains(&b);
    let plain = |c: Component<'_>| matches!(c, Component::RootDir | Component::Normal(_));
    let path = clean_path(text, DIR_MAX).filter(|_| text.bytes().all(clean))?;
    path.components().all(plain).then_some(path)
}

fn group_name(text: &str) -> Option<String> {
    let clean = |b: u8| b.is_ascii_graphic() && !b":/,".contains(&b);
    (text.len() <= GROUP_MAX && text.bytes().all(clean)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Addressing;

    fn parse(options: &[(&str, &str)]) -> Result<NetworkOptions, OptionError> {
        let options: BTreeMap<String, String> =
            options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        NetworkOptions::parse(&options)
    }

    #[test]
    fn all_are_optional_and_addresses_are_static() {
        let network = parse(&[("mode", "vde")]).unwrap();
        assert_eq!((network.mode, network.addressing), (Mode::Vde, Addressing::Static));
        assert_eq!(network.vde, VdeOptions::default());
        assert_eq!(parse(&[("mode", "vde"), ("addressing", "dhcp")]).unwrap().addressing, Addressing::Dhcp);
    }

    #[test]
    fn they_are_read_as_the_plugin_of_old_wrote_them() {
        let network = parse(&[
            ("mode", "vde"),
            ("socket_dir", "/home/will/mynetwork/"),
            ("create_sockets", "true"),
            ("management_socket", "/home/will/mgmt"),
            ("socket_group_", "will"),
            ("num_switchports", "64"),
            ("vde_ports", "shared"),
        ]);
        let vde = network.unwrap().vde;
        assert_eq!(vde.socket_dir.as_deref(), Some(Path::new("/home/will/mynetwork")));
        assert_eq!(vde.management_socket.as_deref(), Some(Path::new("/home/will/mgmt")));
        assert_eq!((vde.create_sockets, vde.num_switchports), (true, 64));
        assert_eq!((vde.socket_group.as_deref(), vde.vde_ports), (Some("will"), VdePorts::Shared));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let long = format!("/{}", "x".repeat(96));
        for (option, value) in [
            ("socket_dir", "mynetwork"),
            ("socket_dir", long.as_str()),
            ("socket_dir", "/"),
            ("socket_dir", "/run/a\nb"),
            ("management_socket", "mgmt"),
            ("socket_group", "a:b"),
            ("num_switchports", "0"),
            ("num_switchports", "65536"),
            ("vde_ports", "two"),
        ] {
            let error = parse(&[("mode", "vde"), (option, value)]).unwrap_err();
            assert!(matches!(error, OptionError::Value { .. }), "{option}={value}: {error}");
        }
        let both = parse(&[("mode", "vde"), ("socket_group", "a"), ("socket_group_", "b")]).unwrap_err();
        assert!(matches!(both, OptionError::Twice { .. }), "{both}");
        for option in ONLY_VDE {
            let error = parse(&[("bridge", "br0"), (option, "1")]).unwrap_err();
            assert_eq!(error, OptionError::WrongMode { option, needs: Mode::Vde });
        }
        let error = parse(&[("mode", "vde"), ("parent", "eth0")]).unwrap_err();
        assert!(error.to_string().contains("mode=vde"), "{error}");
    }
}
