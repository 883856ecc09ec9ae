//! Holds what a DHCP client sent against what the RFCs allow: RFC 2131 tables 4 and 5 and section 4.4.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::dhcp::{DhcpKind, DhcpMessage, MAGIC};
use super::frame::{Frame, Udp};

pub(super) const BROADCAST_MAC: &str = "ff:ff:ff:ff:ff:ff";

/// What a client's message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// DISCOVER.
    Discover,
    /// REQUEST that takes an offer.
    Select,
    /// REQUEST for an address of before (INIT-REBOOT).
    Reboot,
    /// REQUEST for more time, to the server.
    Renew,
    /// REQUEST for more time, to any server.
    Rebind,
    /// DECLINE.
    Decline,
    /// RELEASE.
    Release,
}

impl Purpose {
    /// `None` for what no client sends.
    fn of(message: &DhcpMessage, destination: Ipv4Addr) -> Option<Self> {
        let (wish, server) = (message.options.contains_key(&50), message.options.contains_key(&54));
        Some(match message.kind()? {
            DhcpKind::Discover => Self::Discover,
            DhcpKind::Decline => Self::Decline,
            DhcpKind::Release => Self::Release,
            DhcpKind::Request if server => Self::Select,
            DhcpKind::Request if wish => Self::Reboot,
            DhcpKind::Request if destination.is_broadcast() => Self::Rebind,
            DhcpKind::Request => Self::Renew,
            _ => return None,
        })
    }
}

/// What a client sent as far as a capture shows it, and what was wrong with it. A capture need not show everything: what
/// follows from answers is judged only if there were any.
#[derive(Debug, Default)]
pub struct DhcpAudit {
    sent: BTreeMap<Purpose, usize>,
    wrong: Vec<String>,
    /// Of the first message; empty if it had none.
    client_id: Option<Vec<u8>>,
    /// The last DISCOVER: transaction and `secs`.
    discover: Option<(u32, u16)>,
    /// The transactions in which there was an offer or a lease.
    answered: Vec<u32>,
    /// What was offered: transaction, server, address.
    offers: Vec<(u32, Ipv4Addr, Ipv4Addr)>,
    /// The last lease: server, address.
    lease: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl DhcpAudit {
    /// Looks at what the client with this MAC sent and was answered.
    pub fn of(frames: &[Frame], mac: &str) -> Self {
        let mut audit = Self::default();
        for frame in frames {
            let Some(message) = frame.dhcp().filter(|message| message.client_mac() == mac) else { continue };
            let Some(udp) = frame.udp() else { continue };
            if message.op == 1 {
                audit.client(frame, &udp, &message, mac);
            } else {
                audit.server(&message);
            }
        }
        audit
    }

    /// How many messages of a purpose there were.
    pub fn sent(&self, purpose: Purpose) -> usize {
        self.sent.get(&purpose).copied().unwrap_or(0)
    }

    /// What the RFCs do not allow, a sentence each.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// # Panics
    /// If anything was wrong, or nothing was sent at all.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.wrong.is_empty(), "not as the RFCs say:\n{}", self.wrong.join("\n"));
        assert!(!self.sent.is_empty(), "nothing was sent");
    }

    fn server(&mut self, message: &DhcpMessage) {
        let Some(server) = message.address_option(54) else { return };
        match message.kind() {
            Some(DhcpKind::Offer) => {
                self.offers.push((message.xid, server, message.yiaddr));
                self.answered.push(message.xid);
            }
            Some(DhcpKind::Ack) => {
                self.lease = Some((server, message.yiaddr));
                self.answered.push(message.xid);
            }
            _ => {}
        }
    }

    fn client(&mut self, frame: &Frame, udp: &Udp<'_>, message: &DhcpMessage, mac: &str) {
        let mut judge = Judge { wrong: &mut self.wrong, frame };
        let (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) =
            (udp.source.ip(), udp.destination.ip())
        else {
            return;
        };
        let Some(purpose) = Purpose::of(message, destination) else {
            return judge.that(false, "a message no client sends");
        };
        *self.sent.entry(purpose).or_default() += 1;
        judge.form(udp, message);
        judge.that(frame.source() == mac, "another hardware address in the frame than in chaddr");
        let id = message.options.get(&61).cloned().unwrap_or_default();
        let first = self.client_id.get_or_insert_with(|| id.clone());
        judge.that(*first == id, "another client identifier than before");

        let (wish, server) = (message.address_option(50), message.address_option(54));
        let to_all = destination.is_broadcast() && frame.destination() == BROADCAST_MAC;
        let has_address = matches!(purpose, Purpose::Renew | Purpose::Rebind | Purpose::Release);
        judge.that(message.ciaddr.is_unspecified() != has_address, "ciaddr");
        judge.that(source == message.ciaddr, "a source address that is not the one in ciaddr");
        let to_one = matches!(purpose, Purpose::Renew | Purpose::Release);
        judge.that(
            if to_one { !destination.is_broadcast() && frame.destination() != BROADCAST_MAC } else { to_all },
            "unicast or broadcast",
        );
        let (needs_wish, may_wish) = match purpose {
            Purpose::Select | Purpose::Reboot | Purpose::Decline => (true, true),
            Purpose::Discover => (false, true),
            Purpose::Renew | Purpose::Rebind | Purpose::Release => (false, false),
        };
        judge.that(wish.is_some() || !needs_wish, "no requested address (option 50)");
        judge.that(wish.is_none() || may_wish, "a requested address (option 50)");
        let names_server = matches!(purpose, Purpose::Select | Purpose::Decline | Purpose::Release);
        judge.that(server.is_some() == names_server, "server identifier (option 54)");
        if matches!(purpose, Purpose::Decline | Purpose::Release) {
            let few = message.options.keys().all(|code| [53, 50, 54, 61, 56].contains(code));
            judge.that(few, "options that belong into questions");
            judge.that(message.secs == 0 && !message.broadcast, "secs or flags that belong into questions");
        } else {
            judge.that(!message.options.contains_key(&56), "a text for people (option 56)");
        }
        match purpose {
            Purpose::Discover => {
                let again = self.discover.filter(|(xid, _)| *xid == message.xid);
                judge.that(again.is_none_or(|(_, secs)| secs <= message.secs), "secs goes back");
                self.discover = Some((message.xid, message.secs));
            }
            Purpose::Select => {
                let offered =
                    self.offers.iter().any(|offer| Some(*offer) == named(message.xid, server, wish));
                judge.that(offered || self.offers.is_empty(), "takes what was not offered");
                let same = self.discover.filter(|(xid, _)| *xid == message.xid);
                judge.that(same.is_none_or(|(_, secs)| secs == message.secs), "secs is not the DISCOVER's");
            }
            Purpose::Renew | Purpose::Rebind | Purpose::Release => {
                let lease = self.lease;
                judge.that(
                    lease.is_none_or(|(_, address)| address == message.ciaddr),
                    "not the leased address",
                );
                let to_server = lease.is_none_or(|(server, _)| server == destination);
                judge.that(to_server || purpose == Purpose::Rebind, "not to the server of the lease");
                judge.that(
                    server.is_none_or(|server| server == destination),
                    "another server than it is sent to",
                );
                let known = self.offers.iter().any(|(xid, ..)| *xid == message.xid);
                judge.that(!known, "the transaction of another exchange");
            }
            Purpose::Decline => {
                let offers = self.offers.iter().map(|(_, server, address)| (*server, *address));
                let granted = offers.chain(self.lease).any(|pair| Some(pair) == server.zip(wish));
                let any = self.lease.is_some() || !self.offers.is_empty();
                judge.that(granted || !any, "declines what it was not given");
            }
            Purpose::Reboot => {}
        }
    }
}

fn named(xid: u32, server: Option<Ipv4Addr>, address: Option<Ipv4Addr>) -> Option<(u32, Ipv4Addr, Ipv4Addr)> {
    Some((xid, server?, address?))
}

/// Takes note of what is wrong with a frame.
pub(super) struct Judge<'a> {
    pub(super) wrong: &'a mut Vec<String>,
    pub(super) frame: &'a Frame,
}

impl Judge<'_> {
    pub(super) fn that(&mut self, right: bool, what: &str) {
        if !right {
            self.wrong.push(format!("{what}: {}", self.frame));
        }
    }

    /// What holds for every message of a client.
    fn form(&mut self, udp: &Udp<'_>, message: &DhcpMessage) {
        let bytes = udp.payload;
        self.that((udp.source.port(), udp.destination.port()) == (68, 67), "ports");
        self.that(bytes.get(1..4) == Some(&[1, 6, 0]), "not Ethernet, or not fresh from the client");
        self.that(bytes.get(10..12).is_some_and(|flags| matches!(flags, [0 | 0x80, 0])), "reserved flags");
        let of_servers = [message.yiaddr, message.siaddr, message.giaddr];
        self.that(of_servers.iter().all(Ipv4Addr::is_unspecified), "yiaddr, siaddr or giaddr");
        self.that(
            bytes.get(34..236).is_some_and(|rest| rest.iter().all(|octet| *octet == 0)),
            "chaddr, sname or file",
        );
        self.that(bytes.get(236..240) == Some(&MAGIC), "cookie");
        self.that(bytes.len() >= 300, "shorter than a BOOTP message");
        self.that(ends(bytes.get(240..).unwrap_or_default()), "options without an end");
        self.that(message.xid != 0, "a transaction id that was not drawn");
        let size = message.options.get(&57);
        let enough = |size: &Vec<u8>| size.len() == 2 && size[..] >= [0x02, 0x40][..];
        self.that(size.is_none_or(enough), "maximum message size below 576");
        self.that(message.options.get(&61).is_none_or(|id| id.len() >= 2), "client identifier");
    }
}

/// Whether options end with option 255, and nothing but padding follows.
fn ends(mut options: &[u8]) -> bool {
    loop {
        match options {
            [0, rest @ ..] => options = rest,
            [255, rest @ ..] => return rest.iter().all(|octet| *octet == 0),
            [_, length, rest @ ..] if rest.len() >= usize::from(*length) => {
                options = &rest[usize::from(*length)..];
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::Purpose::{Decline, Discover, Rebind, Reboot, Release, Renew, Select};
    use super::*;

    const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 10];
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    fn message(kind: DhcpKind, xid: u32) -> DhcpMessage {
        DhcpMessage {
            op: 1,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: NONE,
            yiaddr: NONE,
            siaddr: NONE,
            giaddr: NONE,
            chaddr: CLIENT,
            options: BTreeMap::new(),
        }
        .with(53, [kind as u8])
        .with(61, [1, 2, 0, 0, 0, 0, 10])
    }

    /// In a frame to whoever `to` is.
    fn frame(message: &DhcpMessage, to: Ipv4Addr) -> Frame {
        let payload = message.encode();
        let (ports, source) = if message.op == 1 { ([68, 67], message.ciaddr) } else { ([67, 68], SERVER) };
        let length = |more: usize| u16::try_from(payload.len() + more).expect("short").to_be_bytes();
        let mut bytes = if to.is_broadcast() { vec![0xff; 6] } else { vec![2; 6] };
        bytes.extend(CLIENT);
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend(length(28));
        bytes.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        bytes.extend(source.octets());
        bytes.extend(to.octets());
        bytes.extend([0, ports[0], 0, ports[1]]);
        bytes.extend(length(8));
        bytes.extend([0, 0]);
        bytes.extend(payload);
        Frame { time: SystemTime::UNIX_EPOCH, bytes }
    }

    fn all(message: &DhcpMessage) -> Frame {
        frame(message, Ipv4Addr::BROADCAST)
    }

    /// A lease from DISCOVER to ACK.
    fn leased() -> Vec<Frame> {
        let discover = message(DhcpKind::Discover, 7);
        let take = message(DhcpKind::Request, 7).with(50, ADDRESS.octets()).with(54, SERVER.octets());
        let answer = |kind| all(&DhcpMessage::grant(&discover, kind, SERVER, ADDRESS, 60));
        vec![all(&discover), answer(DhcpKind::Offer), all(&take), answer(DhcpKind::Ack)]
    }

    fn renewal() -> DhcpMessage {
        DhcpMessage { ciaddr: ADDRESS, ..message(DhcpKind::Request, 8) }
    }

    /// What is wrong with one more message after [`leased`].
    fn wrong_with(message: &DhcpMessage, to: Ipv4Addr) -> Vec<String> {
        let frames = [leased(), vec![frame(message, to)]].concat();
        let audit = DhcpAudit::of(&frames, "02:00:00:00:00:0a");
        audit.wrong().iter().map(|text| text.split(':').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_life_by_the_book_is_clean() {
        let mut frames = leased();
        frames.push(frame(&renewal(), SERVER));
        frames.push(all(&DhcpMessage { xid: 9, ..renewal() }));
        let release =
            DhcpMessage { ciaddr: ADDRESS, ..message(DhcpKind::Release, 10) }.with(54, SERVER.octets());
        frames.push(frame(&release, SERVER));
        frames.push(all(&message(DhcpKind::Request, 11).with(50, ADDRESS.octets())));
        let decline = message(DhcpKind::Decline, 12).with(50, ADDRESS.octets()).with(54, SERVER.octets());
        frames.push(all(&decline));
        let audit = DhcpAudit::of(&frames, "02:00:00:00:00:0a");
        audit.assert_clean();
        let purposes: Vec<_> = audit.sent.into_iter().collect();
        let once = [Discover, Select, Reboot, Renew, Rebind, Decline, Release].map(|purpose| (purpose, 1));
        assert_eq!(purposes, once);
    }

    #[test]
    fn each_field_is_looked_at() {
        let stranger = Ipv4Addr::new(192, 0, 2, 9);
        let all = Ipv4Addr::BROADCAST;
        let discover = || message(DhcpKind::Discover, 20);
        let take = || message(DhcpKind::Request, 7).with(50, ADDRESS.octets()).with(54, SERVER.octets());
        let decline = || message(DhcpKind::Decline, 21).with(50, ADDRESS.octets()).with(54, SERVER.octets());
        let broken = [
            (renewal().with(54, SERVER.octets()), SERVER, "ciaddr"),
            (renewal(), stranger, "not to the server of the lease"),
            (renewal().with(50, ADDRESS.octets()), SERVER, "ciaddr"),
            (DhcpMessage { xid: 7, ..renewal() }, SERVER, "the transaction of another exchange"),
            (DhcpMessage { ciaddr: stranger, ..renewal() }, SERVER, "not the leased address"),
            (discover().with(54, SERVER.octets()), all, "server identifier (option 54)"),
            (discover().with(61, [1, 2]), all, "another client identifier than before"),
            (discover().without(61), all, "another client identifier than before"),
            (discover().with(57, [0, 100]), all, "maximum message size below 576"),
            (discover(), SERVER, "unicast or broadcast"),
            (DhcpMessage { giaddr: SERVER, ..discover() }, all, "yiaddr, siaddr or giaddr"),
            (DhcpMessage { ciaddr: ADDRESS, ..discover() }, all, "ciaddr"),
            (take().with(50, stranger.octets()), all, "takes what was not offered"),
            (DhcpMessage { secs: 3, ..take() }, all, "secs is not the DISCOVER's"),
            (decline().without(50), all, "no requested address (option 50)"),
            (decline().with(12, "web"), all, "options that belong into questions"),
            (decline().with(50, stranger.octets()), all, "declines what it was not given"),
            (DhcpMessage { secs: 1, ..decline() }, all, "secs or flags that belong into questions"),
            (decline(), SERVER, "unicast or broadcast"),
            (message(DhcpKind::Ack, 7), all, "a message no client sends"),
        ];
        for (message, to, expected) in broken {
            let wrong = wrong_with(&message, to);
            assert!(
                wrong.iter().any(|what| what == expected),
                "{message} to {to}: {wrong:?}, not {expected}"
            );
        }
    }

    #[test]
    fn options_must_end() {
        assert!(ends(&[53, 1, 1, 0, 255, 0, 0]));
        assert!(!ends(&[53, 1, 1]));
        assert!(!ends(&[53, 1, 1, 255, 1]));
        assert!(!ends(&[53, 9, 1, 255]));
    }
}
