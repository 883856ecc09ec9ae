//! The containers attachments are made to.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::AttachError;

/// The longest path of a namespace, in bytes.
const MAX_PATH: usize = 255;

/// Who an interface is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// A Docker container.
    Container(ContainerName),
    /// A process, and whoever shares its network namespace.
    Pid(u32),
    /// A network namespace that has a path, as `ip netns` and container runtimes make them: absolute, without `..`.
    Netns(PathBuf),
}

/// A Docker container's name or id, or the beginning of the id: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

impl ContainerName {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a container of this id and name is meant. Twelve digits of an id are as good as all.
    pub fn means(&self, id: &str, name: &str) -> bool {
        self.0 == name || self.is_id_of(id)
    }

    /// Whether it is this id, or the beginning of it.
    pub fn is_id_of(&self, id: &str) -> bool {
        self.0.len() >= 12 && id.starts_with(&self.0)
    }
}

impl FromStr for ContainerName {
    type Err = AttachError;

    fn from_str(text: &str) -> Result<Self, AttachError> {
        let clean = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(clean);
        if fits && text.as_bytes()[0].is_ascii_alphanumeric() {
            Ok(Self(text.to_owned()))
        } else {
            Err(AttachError::word(text, "a container", "write its name or id, pid:NUMBER, or netns:/PATH"))
        }
    }
}

impl FromStr for Target {
    type Err = AttachError;

    fn from_str(text: &str) -> Result<Self, AttachError> {
        if let Some(pid) = text.strip_prefix("pid:") {
            let digits = !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
            let number = digits.then(|| pid.parse().ok()).flatten().filter(|pid| *pid > 0);
            return number.map(Self::Pid).ok_or_else(|| {
                AttachError::word(text, "a process", "write its number after pid:, like pid:4711")
            });
        }
        if let Some(path) = text.strip_prefix("netns:") {
            return namespace(path).map(Self::Netns).ok_or_else(|| {
                AttachError::word(text, "a namespace", "write its whole path, like netns:/run/netns/blue")
            });
        }
        text.parse().map(Self::Container)
    }
}

fn namespace(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    let clean = text.len() <= MAX_PATH && !text.chars().any(char::is_control);
    (text.starts_with('/') && plain && clean && path != Path::new("/")).then(|| path.to_owned())
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => name.fmt(f),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Netns(path) => write!(f, "netns:{}", path.display()),
        }
    }
}

impl TryFrom<String> for ContainerName {
    type Error = AttachError;

    fn try_from(text: String) -> Result<Self, AttachError> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

impl TryFrom<String> for Target {
    type Error = AttachError;

    fn try_from(text: String) -> Result<Self, AttachError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_processes_and_namespaces() {
        for text in ["web", "shop_web.1-a", "0123456789ab", "pid:4711", "netns:/run/netns/blue"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("pid:4711".parse(), Ok(Target::Pid(4711)));
    }

    #[test]
    fn nothing_else() {
        for text in [
            "",
            "-web",
            "/web",
            "../web",
            "a/b",
            "$(id)",
            "`id`",
            "a b",
            "a\n",
            "é",
            "pid:",
            "pid:0",
            "pid:-1",
            "pid:+1",
            "pid:99999999999",
            "netns:",
            "netns:run",
            "netns:/",
            "netns:/run/../etc",
            "netns:/a\nb",
            "netns:/./a/..",
            &"a".repeat(129),
            &format!("netns:/{}", "a".repeat(300)),
        ] {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_and_the_beginnings_of_ids() {
        let id = "0123456789abcdef".repeat(4);
        let name = |text: &str| text.parse::<ContainerName>().unwrap();
        assert!(name("web").means(&id, "web"));
        assert!(name("0123456789ab").means(&id, "web"));
        assert!(!name("0123456789").means(&id, "web"), "too short to be sure");
        assert!(!name("we").means(&id, "web"));
    }
}
