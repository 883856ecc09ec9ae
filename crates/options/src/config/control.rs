//! Who may use the control socket.

use serde::Deserialize;

/// `[control]`: the control socket, which is root's unless it says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// A group, by its name or number, whose members may use the commands that only look.
    #[serde(deserialize_with = "group")]
    pub group: Option<String>,
}

/// The longest name of a group, in bytes.
const MAX_GROUP: usize = 64;

fn group<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if (1..=MAX_GROUP).contains(&text.len()) && text.bytes().all(fits) {
        Ok(Some(text))
    } else {
        Err(serde::de::Error::custom("group is the name or the number of a group of this host"))
    }
}

#[cfg(test)]
mod tests {
    use crate::ConfigFile;

    #[test]
    fn a_group_is_a_name_or_a_number() {
        let group = |text: &str| ConfigFile::parse(text).map(|file| file.control.group);
        assert_eq!(group(""), Ok(None));
        assert_eq!(group("[control]\ngroup = \"netadmin\""), Ok(Some("netadmin".into())));
        for text in ["group = \"\"", "group = \"a:b\"", "groups = \"x\"", "group = 7"] {
            assert!(group(&format!("[control]\n{text}")).is_err(), "{text}");
        }
    }
}
