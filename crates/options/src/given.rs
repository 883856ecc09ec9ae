//! Options as they were given, and the ways to read one.

use std::collections::BTreeMap;

use crate::error::{OptionError, cut};
use crate::keys;
use crate::modes::Mode;
use crate::words::{Addressing, Ipv6Address, Ipv6Mode};

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
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.get(option) else { return Ok(None) };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| value.text.eq_ignore_ascii_case(word)) {
            return Ok(Some(*meaning));
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

    pub(crate) fn refuse_dhcp_options(
        self,
        mode: Mode,
        addressing: Addressing,
        ipv6: Ipv6Mode,
    ) -> Result<(), OptionError> {
        const DHCPV4_ONLY: [&str; 7] = [
            "client_id",
            "vendor_class",
            "dhcp_servers",
            "dhcp_deny_servers",
            "fqdn",
            "rapid_commit",
            "when_unsure",
        ];
        const BOTH: [&str; 7] =
            ["lease_timeout", "on_timeout", "user_class", "hostname", "release", "release_after", "dns"];
        // An address of the LAN on the host may be leased as well.
        const LAN_IP: [&str; 3] = ["lease_timeout", "hostname", "release_after"];
        let on_host = |option: &&str| mode.rules().translated && LAN_IP.contains(option);
        let without_ipv6 = BOTH.into_iter().filter(|option| ipv6 == Ipv6Mode::Off && !on_host(option));
        match DHCPV4_ONLY.into_iter().chain(without_ipv6).find(|option| self.get(option).is_some()) {
            Some(option) => Err(OptionError::NoDhcp { option, addressing }),
            None => Ok(()),
        }
    }

    pub(crate) fn ipv6(self) -> Result<Ipv6Mode, OptionError> {
        let Some(value) = self.get("ipv6") else { return Ok(Ipv6Mode::Off) };
        let mode = match (value.text.to_ascii_lowercase().as_str(), boolean(value.text)) {
            ("dhcp", _) => Some(Ipv6Mode::Dhcp),
            ("slaac", _) => Some(Ipv6Mode::Slaac),
            (_, Some(true)) => Some(Ipv6Mode::Auto),
            (_, Some(false)) => Some(Ipv6Mode::Off),
            (_, None) => None,
        };
        mode.ok_or_else(|| value.error("write true, dhcp, slaac or false".into()))
    }

    pub(crate) fn ipv6_address(self, mode: Mode, ipv6: Ipv6Mode) -> Result<Ipv6Address, OptionError> {
        let words = [("stable", Ipv6Address::Stable), ("eui64", Ipv6Address::Eui64)];
        match self.word("ipv6_address", &words)? {
            None => Ok(Ipv6Address::default()),
            Some(_) if ipv6 == Ipv6Mode::Off => Err(OptionError::NoIpv6 { option: "ipv6_address" }),
            Some(Ipv6Address::Eui64) if mode.rules().shares_mac => Err(OptionError::Value {
                option: "ipv6_address".to_owned(),
                value: "eui64".to_owned(),
                hint: "with mode=ipvlan all containers have one hardware address; leave it out".to_owned(),
            }),
            Some(address) => Ok(address),
        }
    }
}

pub(crate) fn boolean(text: &str) -> Option<bool> {
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
