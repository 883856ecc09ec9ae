//! What is stored of an endpoint's routes: whose the default route is, and what was left out and why.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// What is known of an endpoint's default route between two looks at it. A default value is from a record that was
/// written before this was kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRecord {
    /// Whose it is.
    #[serde(default)]
    pub holding: Holding,
    /// The gateway that Docker was told when the container joined. Docker sets it then or whenever it chooses this network.
    #[serde(default)]
    pub told: Option<Ipv4Addr>,
    /// The next hop that was set last; `None`: the link.
    #[serde(default)]
    pub set: Option<Ipv4Addr>,
}

/// Whose an endpoint's default route is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// Nobody wrote it down.
    #[default]
    Unknown,
    /// There was nothing to tell Docker: the first default route that there is to be is set, if there is none by then.
    Open,
    /// Docker was told of one and sets it, if it chooses this network.
    Told,
    /// Landline's.
    Ours,
    /// Landline took it away itself, with the address that it needs or because nobody spoke of one any more.
    Parked,
    /// Another's, or nobody's because another removed it.
    Foreign,
}

/// A route that was offered and is not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedRoute {
    /// Where to.
    pub destination: Ipv4Net,
    /// By way of which router; `None`: directly on the link.
    pub gateway: Option<Ipv4Addr>,
    /// Why it is left out.
    pub why: WhyDropped,
}

/// Why a route is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyDropped {
    /// Its next hop is the address of a network, of everybody in one, or of nobody.
    NotAHost,
    /// Its next hop is in no network that the link reaches.
    Unreachable,
    /// Its next hop is in its own destination and nowhere else.
    ThroughItself,
    /// It leads to the container's own address.
    OwnAddress,
    /// It leads to the network that the container's address is in, which is on the link.
    OwnNetwork,
    /// It leads to loopback addresses, or to an address that means a whole network.
    NotADestination,
    /// There is a route to the same destination before it.
    Duplicate,
    /// Another route of the container leads there already.
    Taken,
    /// The kernel refused it, and said this.
    Refused(String),
}

impl DroppedRoute {
    /// One that is left out because of this.
    pub const fn new(destination: Ipv4Net, gateway: Option<Ipv4Addr>, why: WhyDropped) -> Self {
        Self { destination, gateway, why }
    }
}

impl fmt::Display for DroppedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gateway {
            Some(gateway) => write!(f, "{} via {gateway}: {}", self.destination, self.why),
            None => write!(f, "{} on link: {}", self.destination, self.why),
        }
    }
}

impl fmt::Display for WhyDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAHost => "no host can have that address",
            Self::Unreachable => "the next hop is not on this network",
            Self::ThroughItself => "the next hop is reached by this very route",
            Self::OwnAddress => "it leads to the container's own address",
            Self::OwnNetwork => "the container is in that network itself",
            Self::NotADestination => "no packet can be sent there",
            Self::Duplicate => "another route to the same destination comes first",
            Self::Taken => "the container has another route to the same destination",
            Self::Refused(error) => return write!(f, "the kernel refused it: {error}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Applied;

    #[test]
    fn a_record_of_before_reads_and_a_new_one_reads_back() {
        let before =
            r#"{"address":"192.0.2.9/24","default_route":true,"routes":[["10.0.0.0/8","192.0.2.2"]]}"#;
        let mut applied: Applied = serde_json::from_str(before).unwrap();
        assert_eq!((applied.default, applied.dropped.len()), (DefaultRecord::default(), 0));
        applied.default.holding = Holding::Parked;
        let to = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8);
        for why in [WhyDropped::Unreachable, WhyDropped::Refused("no such device".into())] {
            applied.dropped.push(DroppedRoute::new(to, None, why));
        }
        let text = serde_json::to_string(&applied).unwrap();
        assert_eq!(serde_json::from_str::<Applied>(&text).unwrap(), applied);
        assert!(text.contains(r#""why":"unreachable""#), "{text}");
    }
}
