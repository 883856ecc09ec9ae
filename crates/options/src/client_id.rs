//! Client identifiers (DHCP option 61) as people write them.

use std::fmt;
use std::str::FromStr;

use landline_types::Mac;
use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;

/// The type octet of an identifier that is not a hardware address (RFC 2132 section 9.14).
const OPAQUE: u8 = 0;

/// A client identifier, or the way to make one for each endpoint.
///
/// - `hex:01:02:42:c0:00:02:0a` (or without the inner colons): these octets as they are, the type octet first.
/// - any other text: type 0 and the text, in which `{mac}`, `{hostname}` and `{endpoint}` stand for the endpoint's.
///
/// Text is printable ASCII. RFC 2132 section 9.14 wants at least two octets; an option holds 255.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientIdTemplate {
    text: String,
    parts: Parts,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Parts {
    Octets(Vec<u8>),
    Text(Vec<Part>),
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Part {
    Literal(String),
    Mac,
    Hostname,
    Endpoint,
}

/// What the placeholders of a template stand for.
#[derive(Debug, Clone, Copy)]
pub struct ClientIdContext<'a> {
    /// `{mac}`: the endpoint's hardware address, printed like `02:42:c0:00:02:0a`.
    pub mac: Mac,
    /// `{hostname}`: the container's host name, once it is known.
    pub hostname: Option<&'a Hostname>,
    /// `{endpoint}`: what the endpoint is called: its `landline.id` if it has one, else its id.
    pub endpoint: &'a str,
}

/// Why a text is not a client identifier or a template of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdTemplateError {
    /// After `hex:` comes something else than pairs of hex digits.
    #[error("after hex: come pairs of hex digits, like hex:01:02:42:c0:00:02:0a")]
    Hex,
    /// A `{` without its `}`, a lone `}`, or an unknown word between them.
    #[error("{0:?} is not a placeholder: there are {{mac}}, {{hostname}} and {{endpoint}}")]
    Placeholder(String),
    /// A character outside printable ASCII.
    #[error("write it in printable ASCII, or as octets like hex:01:02:42:c0:00:02:0a")]
    Characters,
    /// Fewer than two octets or more than 255, whatever the placeholders stand for.
    #[error("a client identifier has 2 to 255 octets, its type included")]
    Length,
}

/// Why a template makes no client identifier for this endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdError {
    /// It has `{hostname}`, and the name is not known (yet).
    #[error(
        "it has {{hostname}}, which Docker does not tell in time: give the container the driver option \
         hostname=NAME, or put {{mac}} into the network's client_id instead"
    )]
    HostnameUnknown,
    /// It came out with fewer than 2 or more than 255 octets.
    #[error("the client identifier has {0} octets; it may have 2 to 255")]
    Length(usize),
}

impl ClientIdTemplate {
    /// The fewest octets of an identifier, type included (RFC 2132 section 9.14).
    const MIN: usize = 2;
    /// The most octets of an identifier, type included.
    const MAX: usize = 255;

    /// The octets of option 61 for one endpoint: 2 to 255, the type octet first.
    pub fn expand(&self, context: &ClientIdContext<'_>) -> Result<Vec<u8>, ClientIdError> {
        let octets = match &self.parts {
            Parts::Octets(octets) => octets.clone(),
            Parts::Text(parts) => {
                let mut octets = vec![OPAQUE];
                for part in parts {
                    match part {
                        Part::Literal(text) => octets.extend_from_slice(text.as_bytes()),
                        Part::Mac => octets.extend_from_slice(context.mac.to_string().as_bytes()),
                        Part::Hostname => {
                            let name = context.hostname.ok_or(ClientIdError::HostnameUnknown)?;
                            octets.extend_from_slice(name.as_str().as_bytes());
                        }
                        Part::Endpoint => octets.extend_from_slice(context.endpoint.as_bytes()),
                    }
                }
                octets
            }
        };
        if (Self::MIN..=Self::MAX).contains(&octets.len()) {
            Ok(octets)
        } else {
            Err(ClientIdError::Length(octets.len()))
        }
    }

    /// Whether every endpoint gets the same identifier: there is no placeholder.
    pub(crate) fn is_literal(&self) -> bool {
        match &self.parts {
            Parts::Octets(_) => true,
            Parts::Text(parts) => parts.iter().all(|part| matches!(part, Part::Literal(_))),
        }
    }

    /// Whether all endpoints with one hardware address get the same identifier, as all of an ipvlan network would.
    pub(crate) fn is_same_for_one_mac(&self) -> bool {
        match &self.parts {
            Parts::Octets(_) => true,
            Parts::Text(parts) => parts.iter().all(|part| matches!(part, Part::Literal(_) | Part::Mac)),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn octets(text: &str) -> Result<Vec<u8>, ClientIdTemplateError> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    let octets: Option<Vec<u8>> = if text.contains(':') {
        text.split(':').map(|p| pair(p.as_bytes())).collect()
    } else {
        text.as_bytes().chunks(2).map(pair).collect()
    };
    let octets = octets.ok_or(ClientIdTemplateError::Hex)?;
    if (ClientIdTemplate::MIN..=ClientIdTemplate::MAX).contains(&octets.len()) {
        Ok(octets)
    } else {
        Err(ClientIdTemplateError::Length)
    }
}

fn parts(text: &str) -> Result<Vec<Part>, ClientIdTemplateError> {
    if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(ClientIdTemplateError::Characters);
    }
    let bad = |word: &str| ClientIdTemplateError::Placeholder(word.chars().take(32).collect());
    let mut parts = Vec::new();
    let mut literal_len = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['{', '}']).unwrap_or(rest.len());
        let (literal, from_brace) = rest.split_at(end);
        if !literal.is_empty() {
            literal_len += literal.len();
            parts.push(Part::Literal(literal.to_owned()));
        }
        if from_brace.is_empty() {
            break;
        }
        let close = from_brace.find('}').ok_or_else(|| bad(from_brace))?;
        let (word, after) = from_brace.split_at(close + 1);
        parts.push(match word {
            "{mac}" => Part::Mac,
            "{hostname}" => Part::Hostname,
            "{endpoint}" => Part::Endpoint,
            _ => return Err(bad(word)),
        });
        rest = after;
    }
    // The type octet counts too; placeholders never stand for nothing.
    if parts.is_empty() || literal_len >= ClientIdTemplate::MAX {
        return Err(ClientIdTemplateError::Length);
    }
    Ok(parts)
}

impl FromStr for ClientIdTemplate {
    type Err = ClientIdTemplateError;

    fn from_str(text: &str) -> Result<Self, ClientIdTemplateError> {
        let parts = match text.strip_prefix("hex:") {
            Some(hex) => Parts::Octets(octets(hex)?),
            None => Parts::Text(parts(text)?),
        };
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl TryFrom<String> for ClientIdTemplate {
    type Error = ClientIdTemplateError;

    fn try_from(text: String) -> Result<Self, ClientIdTemplateError> {
        text.parse()
    }
}

impl From<ClientIdTemplate> for String {
    fn from(template: ClientIdTemplate) -> Self {
        template.text
    }
}

impl fmt::Display for ClientIdTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ClientIdTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expand(template: &str) -> Result<Vec<u8>, ClientIdError> {
        let hostname = Hostname::parse("web").unwrap();
        let context = ClientIdContext {
            mac: Mac::new([2, 0x42, 0xc0, 0, 2, 0x0a]),
            hostname: Some(&hostname),
            endpoint: "e1",
        };
        template.parse::<ClientIdTemplate>().unwrap().expand(&context)
    }

    #[test]
    fn octets_are_taken_as_they_are() {
        assert_eq!(expand("hex:01:02:ff"), Ok(vec![1, 2, 0xff]));
        assert_eq!(expand("hex:0102fF"), Ok(vec![1, 2, 0xff]));
    }

    #[test]
    fn text_has_type_zero_and_placeholders() {
        assert_eq!(expand("web-1"), Ok(b"\0web-1".to_vec()));
        assert_eq!(expand("a{mac}b"), Ok(b"\0a02:42:c0:00:02:0ab".to_vec()));
        assert_eq!(expand("{hostname}/{endpoint}"), Ok(b"\0web/e1".to_vec()));
    }

    #[test]
    fn says_when_the_hostname_is_missing() {
        let template: ClientIdTemplate = "{hostname}".parse().unwrap();
        let context = ClientIdContext { mac: Mac::new([2; 6]), hostname: None, endpoint: "e" };
        assert_eq!(template.expand(&context), Err(ClientIdError::HostnameUnknown));
        assert!(!template.is_literal());
    }

    #[test]
    fn refuses_what_is_neither() {
        for text in [
            "",
            "hex:",
            "hex:1",
            "hex:01",
            "hex:01:2",
            "hex:0g02",
            "hex:+102",
            "hex:01:02:",
            "{",
            "}",
            "{}",
            "{name}",
            "a{mac",
            "mac}",
            "{{mac}}",
            "é",
            "a\nb",
            "a\0",
        ] {
            assert!(text.parse::<ClientIdTemplate>().is_err(), "{text:?}");
        }
        assert!("x".repeat(255).parse::<ClientIdTemplate>().is_err());
        assert!("x".repeat(254).parse::<ClientIdTemplate>().is_ok());
        assert!(format!("hex:{}", "00".repeat(256)).parse::<ClientIdTemplate>().is_err());
    }

    #[test]
    fn the_whole_must_fit_too() {
        let text = format!("{}{{mac}}", "x".repeat(240));
        assert_eq!(expand(&text), Err(ClientIdError::Length(258)));
    }

    proptest! {
        #[test]
        fn never_panics_and_fits(text in "(hex:)?[0-9a-f:{}]{0,20}\\PC{0,20}(\\{mac\\}|\\{hostname\\}|\\{endpoint\\})?") {
            if let Ok(template) = text.parse::<ClientIdTemplate>() {
                let context = ClientIdContext { mac: Mac::new([2; 6]), hostname: None, endpoint: "e" };
                if let Ok(octets) = template.expand(&context) {
                    prop_assert!((2..=255).contains(&octets.len()));
                }
                let json = serde_json::to_string(&template).unwrap();
                prop_assert_eq!(serde_json::from_str::<ClientIdTemplate>(&json).unwrap(), template);
            }
        }
    }
}
