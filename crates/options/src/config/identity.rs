//! Where the identities of containers come from.

use serde::Deserialize;

/// `[identity]`: whether containers are the same ones to the LAN on every host of a site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Whether the identities of networks without the option `identity` are derived from the site key.
    pub derive: bool,
    /// The name of the site: hosts with one key and different sites derive different identities.
    #[serde(deserialize_with = "site")]
    pub site: String,
    /// Whether containers that cannot be told apart while Docker restores them are started again one at a time.
    pub restart_unsure: bool,
}

impl Default for Identity {
    fn default() -> Self {
        Self { derive: false, site: String::new(), restart_unsure: true }
    }
}

/// The longest name of a site, in octets.
const MAX_SITE: usize = 64;

fn site<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() <= MAX_SITE && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("the name of a site has at most 64 octets and no control characters"))
    }
}

#[cfg(test)]
mod tests {
    use crate::ConfigFile;

    #[test]
    fn a_site_has_a_short_name() {
        let read = |text: &str| ConfigFile::parse(text).map(|file| file.identity);
        let identity = read("[identity]\nderive = true\nsite = \"home\"\n").unwrap();
        assert_eq!((identity.derive, identity.site.as_str()), (true, "home"));
        assert!(!read("").unwrap().derive);
        for wrong in
            [format!("site = \"{}\"", "x".repeat(65)), "site = \"a\\nb\"".into(), "key = \"x\"".into()]
        {
            assert_eq!(read(&format!("[identity]\n{wrong}\n")).unwrap_err().line, 2, "{wrong}");
        }
    }
}
