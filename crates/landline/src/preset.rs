//! Driver names with options that go without saying: `--driver vde:mode=vde`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::cli::PluginName;

/// A name under which Docker finds the driver, and what its networks have unless they say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Preset {
    /// The driver's name: the file name of its socket.
    pub(crate) name: String,
    /// Network options by name.
    options: BTreeMap<String, String>,
}

/// Why a text is no preset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PresetError {
    #[error("{name:?} is not a driver's name; {hint}")]
    Name { name: String, hint: &'static str },
    #[error("{0:?} is not OPTION=VALUE; write for example vde:mode=vde")]
    Option(String),
}

impl Preset {
    /// A name without options.
    pub(crate) fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), options: BTreeMap::new() }
    }

    /// What a network's own options and these are together; its own count for more.
    pub(crate) fn with(&self, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all = self.options.clone();
        all.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }
}

impl FromStr for Preset {
    type Err = PresetError;

    /// `NAME` or `NAME:OPTION=VALUE,OPTION=VALUE`.
    fn from_str(text: &str) -> Result<Self, PresetError> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let name: PluginName =
            name.parse().map_err(|hint| PresetError::Name { name: name.to_owned(), hint })?;
        let pairs = options.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
            let (option, value) = pair.split_once('=').ok_or_else(|| PresetError::Option(pair.to_owned()))?;
            Ok((option.trim().to_owned(), value.trim().to_owned()))
        });
        Ok(Self { name: name.as_str().to_owned(), options: pairs.collect::<Result<_, PresetError>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_come_with_options_that_a_network_can_override() {
        let vde: Preset = "vde:mode=vde,num_switchports=64".parse().unwrap();
        assert_eq!(vde.name, "vde");
        let own = map(&[("num_switchports", "8"), ("mtu", "9000")]);
        assert_eq!(vde.with(&own), map(&[("mode", "vde"), ("mtu", "9000"), ("num_switchports", "8")]));
        assert_eq!("lan2".parse::<Preset>().unwrap(), Preset::plain("lan2"));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", ":mode=vde", "../x", "a b", &"x".repeat(65)] {
            assert!(matches!(text.parse::<Preset>(), Err(PresetError::Name { .. })), "{text}");
        }
        assert_eq!("vde:mode".parse::<Preset>(), Err(PresetError::Option("mode".into())));
    }
}
