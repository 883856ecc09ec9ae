//! Addresses and routes with everything the kernel told of them, for setting them on another link.
//!
//! [`Address`](super::Address) and [`Route`](super::Route) know what Landline's own have. Those of others may have
//! lifetimes, metrics, encapsulations and attributes younger than this program, and lose nothing here: the
//! kernel's own message is kept and sent back, as `ip address save` and `ip route save` do.

use ipnet::IpNet;
use landline_types::IfName;

use super::address::{Address, family_number};
use super::attr::{Attrs, Message, Received, Value};
use super::error::NetlinkError;
use super::route::Route;
use super::socket::Netlink;
use super::uapi::{RTA_EXPIRES, RTA_NH_ID, RTNH_F_ONLINK};

/// Length of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;
/// Length of `struct rtmsg`.
const RTMSG: usize = 12;
/// Where the flags are in `struct rtmsg`.
const RTM_FLAGS: usize = 8;
/// Clock ticks a second in what the kernel tells programs (`USER_HZ`, time(7)).
const USER_HZ: i32 = 100;

/// An address of a link, with all its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeAddress {
    /// What is understood of it.
    pub address: Address,
    body: Vec<u8>,
}

/// A route through a link, with all its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeRoute {
    /// What is understood of it.
    pub route: Route,
    body: Vec<u8>,
}

impl WholeAddress {
    fn read(got: &Received<'_>) -> Option<Self> {
        Some(Self { address: Address::read(got)?, body: got.body.to_vec() })
    }

    /// Whether the kernel made it up for privacy (RFC 8981) and will make another one where it should be.
    pub const fn is_temporary(&self) -> bool {
        self.address.is_temporary()
    }

    /// The message that sets it on `onto`, labels that were made of `from` becoming those of `onto`.
    fn encode(&self, from: &IfName, onto: (u32, &IfName), skip_detection: bool) -> Message {
        let (fixed, attrs) = self.body.split_at(IFADDRMSG.min(self.body.len()));
        let mut fixed = fixed.to_vec();
        fixed.resize(IFADDRMSG, 0);
        fixed[4..].copy_from_slice(&onto.0.to_ne_bytes());
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE | libc::NLM_F_ACK;
        let mut message = Message::new(libc::RTM_NEWADDR, flags, &fixed);
        for (kind, value) in Attrs(attrs) {
            match kind {
                libc::IFA_FLAGS => {}
                libc::IFA_LABEL => {
                    message.text(kind, &relabel(&value.text(), from, onto.1));
                }
                _ => {
                    message.bytes(kind, value.0);
                }
            }
        }
        let no_dad = if skip_detection { libc::IFA_F_NODAD } else { 0 };
        let state = libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED | libc::IFA_F_OPTIMISTIC;
        message.u32(libc::IFA_FLAGS, self.address.flags & !state | no_dad);
        message
    }
}

/// `eth0` becomes `br0`, `eth0:1` becomes `br0:1`, and what has nothing to do with the link stays.
fn relabel(label: &str, from: &IfName, onto: &IfName) -> String {
    const LONGEST: usize = 15;
    match label.strip_prefix(from.as_str()) {
        Some(rest) if rest.is_empty() || rest.starts_with(':') => {
            let whole = format!("{onto}{rest}");
            if whole.len() <= LONGEST { whole } else { onto.to_string() }
        }
        _ => label.to_owned(),
    }
}

impl WholeRoute {
    fn read(got: &Received<'_>) -> Option<Self> {
        Some(Self { route: Route::read(got)?, body: got.body.to_vec() })
    }

    /// Whether it refers to a next hop that is an object of its own (`ip nexthop`), and so has no link that could be
    /// changed.
    pub fn is_by_object(&self) -> bool {
        Attrs(self.body.get(RTMSG..).unwrap_or_default()).any(|(kind, _)| kind == RTA_NH_ID)
    }

    fn encode(&self, onto: u32) -> Message {
        let (fixed, attrs) = self.body.split_at(RTMSG.min(self.body.len()));
        let mut fixed = fixed.to_vec();
        fixed.resize(RTMSG, 0);
        // The others say how the route is doing and are refused in a request.
        let flags = Value(&fixed[RTM_FLAGS..]).u32().unwrap_or(0) & RTNH_F_ONLINK;
        fixed[RTM_FLAGS..].copy_from_slice(&flags.to_ne_bytes());
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE | libc::NLM_F_ACK;
        let mut message = Message::new(libc::RTM_NEWROUTE, flags, &fixed);
        for (kind, value) in Attrs(attrs) {
            match kind {
                libc::RTA_OIF => {
                    message.u32(kind, onto);
                }
                // `struct rta_cacheinfo`: what is left of its life is the third number.
                libc::RTA_CACHEINFO => {
                    let ticks = value.0.get(8..).and_then(|rest| Value(rest).i32()).unwrap_or(0);
                    if let Ok(seconds @ 1..) = u32::try_from(ticks / USER_HZ) {
                        message.u32(RTA_EXPIRES, seconds);
                    }
                }
                _ => {
                    message.bytes(kind, value.0);
                }
            }
        }
        message
    }
}

impl Netlink {
    /// All addresses of a link in the order the kernel has them, in which they can be set again.
    pub fn whole_addresses(&mut self, index: u32) -> Result<Vec<WholeAddress>, NetlinkError> {
        let mut all = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut body = [0; IFADDRMSG];
            body[0] = family_number(family);
            let message = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &body);
            let found = self.dump(message, "list addresses", |got| {
                (got.body.first() == Some(&body[0])).then(|| WholeAddress::read(&got))?
            })?;
            all.extend(found.into_iter().filter(|whole| whole.address.index == index));
        }
        Ok(all)
    }

    /// All routes through a link in all tables; those with several next hops if the first is.
    pub fn whole_routes(&mut self, index: u32) -> Result<Vec<WholeRoute>, NetlinkError> {
        let mut all = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut body = [0; RTMSG];
            body[0] = family_number(family);
            let message = Message::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP, &body);
            let found = self.dump(message, "list routes", |got| {
                (got.body.first() == Some(&body[0])).then(|| WholeRoute::read(&got))?
            })?;
            all.extend(found.into_iter().filter(|whole| whole.route.oif == Some(index)));
        }
        Ok(all)
    }

    /// Sets an address of the link `from` on the link `onto`, which may have it already, without duplicate address
    /// detection: it was in use a moment ago.
    pub fn carry_address(
        &mut self,
        whole: &WholeAddress,
        from: &IfName,
        onto: (u32, &IfName),
    ) -> Result<(), NetlinkError> {
        let asked = || format!("set address {} on {}", whole.address.net, onto.1);
        let detects =
            matches!(whole.address.net, IpNet::V6(_)) && whole.address.flags & libc::IFA_F_NODAD == 0;
        self.request(whole.encode(from, onto, detects), asked, |_| {})?;
        if detects {
            // That it was skipped is remembered as a flag, which the address did not have.
            self.request(whole.encode(from, onto, false), asked, |_| {})?;
        }
        Ok(())
    }

    /// Sets a route through another link, in place of the one to the same destination with the same metric.
    pub fn carry_route(&mut self, whole: &WholeRoute, onto: u32) -> Result<(), NetlinkError> {
        self.request(
            whole.encode(onto),
            || format!("set route {} on link number {onto}", whole.route),
            |_| {},
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_link() {
        let name = |text: &str| text.parse().unwrap();
        let new = |label, onto| relabel(label, &name("eth0"), &name(onto));
        assert_eq!(new("eth0", "br0"), "br0");
        assert_eq!(new("eth0:1", "br0"), "br0:1");
        assert_eq!(new("eth01", "br0"), "eth01");
        assert_eq!(new("other", "br0"), "other");
        assert_eq!(new("eth0:12345", "br-long-name0"), "br-long-name0");
    }
}
