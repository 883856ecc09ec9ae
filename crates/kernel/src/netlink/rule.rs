//! Policy routing rules, read only.

use ipnet::IpNet;

use super::address::family_number;
use super::attr::{Attrs, Message, Received, Value};
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::{
    FR_ACT_TO_TBL, FRA_DST, FRA_FWMARK, FRA_FWMASK, FRA_IIFNAME, FRA_OIFNAME, FRA_PRIORITY, FRA_SRC,
    FRA_TABLE,
};

/// Length of `struct fib_rule_hdr`.
const FIB_RULE_HDR: usize = 12;

/// A rule that says which routing table a packet is looked up in (`ip-rule(8)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is about IPv6.
    pub v6: bool,
    /// Rules are tried from low to high.
    pub priority: u32,
    /// What it does (`FR_ACT_*`): 1 looks into `table`, 7 and 8 refuse.
    pub action: u8,
    /// The table.
    pub table: u32,
    /// Only packets from here.
    pub from: Option<IpNet>,
    /// Only packets to here.
    pub to: Option<IpNet>,
    /// Only packets that came in through the link of this name.
    pub iif: Option<String>,
    /// Only packets of sockets bound to the link of this name.
    pub oif: Option<String>,
    /// Only packets with this mark under this mask.
    pub fwmark: Option<(u32, u32)>,
}

impl Rule {
    pub(super) fn read(got: &Received<'_>) -> Option<Self> {
        let &[family, to_len, from_len, _, table, _, _, action, _, _, _, _] =
            got.body.first_chunk::<FIB_RULE_HDR>()?;
        let mut rule = Self {
            v6: i32::from(family) == libc::AF_INET6,
            priority: 0,
            action,
            table: u32::from(table),
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
        };
        let (mut mark, mut mask) = (None, u32::MAX);
        for (kind, value) in Attrs(&got.body[FIB_RULE_HDR..]) {
            match kind {
                FRA_PRIORITY => rule.priority = value.u32().unwrap_or(0),
                FRA_TABLE => rule.table = value.u32().unwrap_or(rule.table),
                FRA_SRC => rule.from = net(value, from_len),
                FRA_DST => rule.to = net(value, to_len),
                FRA_IIFNAME => rule.iif = Some(value.text()),
                FRA_OIFNAME => rule.oif = Some(value.text()),
                FRA_FWMARK => mark = value.u32(),
                FRA_FWMASK => mask = value.u32().unwrap_or(u32::MAX),
                _ => {}
            }
        }
        rule.fwmark = mark.map(|mark| (mark, mask));
        Some(rule)
    }
}

impl Rule {
    /// A rule that looks into a table for everything.
    pub const fn lookup(v6: bool, table: u32) -> Self {
        Self {
            v6,
            priority: 0,
            action: FR_ACT_TO_TBL,
            table,
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
        }
    }

    /// `priority` 0: the kernel chooses one before all others when it adds, any when it deletes.
    fn encode(&self, kind: u16, flags: i32) -> Message {
        let mut body = [0; FIB_RULE_HDR];
        body[0] = family_number(if self.v6 { libc::AF_INET6 } else { libc::AF_INET });
        body[1] = self.to.map_or(0, |net| net.prefix_len());
        body[2] = self.from.map_or(0, |net| net.prefix_len());
        body[4] = u8::try_from(self.table).unwrap_or(0);
        body[7] = self.action;
        let mut message = Message::new(kind, flags | libc::NLM_F_ACK, &body);
        message.u32(FRA_TABLE, self.table);
        if self.priority != 0 {
            message.u32(FRA_PRIORITY, self.priority);
        }
        for (attribute, net) in [(FRA_DST, self.to), (FRA_SRC, self.from)] {
            if let Some(net) = net {
                message.ip(attribute, net.network());
            }
        }
        for (attribute, name) in [(FRA_IIFNAME, &self.iif), (FRA_OIFNAME, &self.oif)] {
            if let Some(name) = name {
                message.text(attribute, name);
            }
        }
        if let Some((mark, mask)) = self.fwmark {
            message.u32(FRA_FWMARK, mark);
            message.u32(FRA_FWMASK, mask);
        }
        message
    }
}

fn net(value: Value<'_>, length: u8) -> Option<IpNet> {
    IpNet::new(value.ip()?, length).ok()
}

impl Netlink {
    /// Adds a rule; [`NetlinkError::exists`] when there is the same.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.request(rule.encode(libc::RTM_NEWRULE, flags), || "add a routing rule".to_owned(), |_| {})
    }

    /// Removes a rule; false if there is none like it.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<bool, NetlinkError> {
        let asked = || "delete a routing rule".to_owned();
        match self.request(rule.encode(libc::RTM_DELRULE, 0), asked, |_| {}) {
            Err(error) if error.is(libc::ENOENT) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// All policy routing rules of the namespace; none for a family without policy routing.
    pub fn rules(&mut self) -> Result<Vec<Rule>, NetlinkError> {
        let mut all = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut body = [0; FIB_RULE_HDR];
            body[0] = family_number(family);
            let message = Message::new(libc::RTM_GETRULE, libc::NLM_F_DUMP, &body);
            let rules = self.dump(message, "list routing rules", |got| {
                let same = got.kind == libc::RTM_NEWRULE && got.body.first() == Some(&body[0]);
                same.then(|| Rule::read(&got))?
            });
            match rules {
                Err(error) if error.unsupported() => {}
                rules => all.extend(rules?),
            }
        }
        Ok(all)
    }
}
