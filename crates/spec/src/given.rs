//! Options as they were given, and the ways to read one.

use std::collections::BTreeMap;

use crate::error::{OptionError, cut};
use crate::keys;
use crate::words::Addressing;

/// An option somebody gave a value.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) option: &'static str,
    pub(crate) text: &'a str,
}

impl Value<'_> {
    /// The error that this value cannot be used.
    pub(crate) fn error(&self, hint: String) -> OptionError {
        OptionError::Value { option: self.option.to_owned(), value: cut(self.text), hint }
    }

    /// What `read` makes of the text, or the error with this hint.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&str) -> Option<T>,
        hint: impl FnOnce() -> String,
    ) -> Result<T, OptionError> {
        read(self.text).ok_or_else(|| self.error(hint()))
    }

    /// What the type's own parser makes of the text; its message is the hint.
    pub(crate) fn parse<T>(&self) -> Result<T, OptionError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.text.parse().map_err(|e: T::Err| self.error(e.to_string()))
    }

    /// The text of a DHCP class.
    pub(crate) fn class(&self, max: usize) -> Result<String, OptionError> {
        let clean = self.text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if clean && self.text.len() <= max {
            Ok(self.text.to_owned())
        } else {
            Err(self.error(format!("write at most {max} printable ASCII characters")))
        }
    }
}

/// The options somebody gave.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(pub(crate) &'a BTreeMap<String, String>);

impl<'a> Given<'a> {
    pub(crate) fn get(self, option: &'static str) -> Option<Value<'a>> {
        let text = self.0.get(option)?.trim();
        (!text.is_empty()).then_some(Value { option, text })
    }

    /// One option that goes by two names.
    pub(crate) fn either(
        self,
        first: &'static str,
        second: &'static str,
    ) -> Result<Option<Value<'a>>, OptionError> {
        match (self.get(first), self.get(second)) {
            (Some(a), Some(b)) if a.text != b.text => {
                Err(OptionError::Twice { first, first_value: cut(a.text), second, second_value: cut(b.text) })
            }
            (a, b) => Ok(a.or(b)),
        }
    }

    /// One of a few words, in any case.
    pub(crate) fn word<T: Copy>(
        self,
        option: &'static str,
        words: &[(&'static str, T)],
        not_yet: &[&str],
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.get(option) else { return Ok(None) };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| value.text.eq_ignore_ascii_case(word)) {
            return Ok(Some(*meaning));
        }
        if let Some(word) = not_yet.iter().find(|word| value.text.eq_ignore_ascii_case(word)) {
            return Err(OptionError::NotYet {
                what: format!("{option}={word}"),
                hint: "use mode=bridge, mode=macvlan or mode=ipvlan",
            });
        }
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(value.error(format!("write {}", or_list(&list))))
    }

    /// Yes or no; no if it is not given.
    pub(crate) fn switch(self, option: &'static str) -> Result<bool, OptionError> {
        let Some(value) = self.get(option) else { return Ok(false) };
        value.read(boolean, || "write true or false".into())
    }

    pub(crate) fn refuse_not_yet(self) -> Result<(), OptionError> {
        match keys::NETWORK_NOT_YET.iter().find_map(|option| self.get(option)) {
            Some(value) => Err(OptionError::NotYet {
                what: value.option.to_owned(),
                hint: "create the network without it",
            }),
            None => Ok(()),
        }
    }

    pub(crate) fn refuse_dhcp_options(self, addressing: Addressing) -> Result<(), OptionError> {
        const DHCP_ONLY: [&str; 9] = [
            "lease_timeout",
            "on_timeout",
            "client_id",
            "vendor_class",
            "user_class",
            "hostname",
            "dhcp_servers",
            "release",
            "release_after",
        ];
        match DHCP_ONLY.into_iter().find(|option| self.get(option).is_some()) {
            Some(option) => Err(OptionError::NoDhcp { option, addressing }),
            None => Ok(()),
        }
    }

    pub(crate) fn check_ipv6(self) -> Result<(), OptionError> {
        let Some(value) = self.get("ipv6") else { return Ok(()) };
        let word = value.text.to_ascii_lowercase();
        match (word.as_str(), boolean(value.text)) {
            ("dhcp" | "slaac", _) | (_, Some(true)) => Err(OptionError::NotYet {
                what: format!("ipv6={word}"),
                hint: "leave it out, or write ipv6=false, for IPv4 alone",
            }),
            ("off", _) | (_, Some(false)) => Ok(()),
            _ => Err(value.error("write false, which is the default".into())),
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// `a, b or c`.
fn or_list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}
