//! Policy routing rules, read only.

use ipnet::IpNet;

use super::address::family_number;
use super::attr::{Attrs, Message, Received, Value};
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::{
    FRA_DST, FRA_FWMARK, FRA_FWMASK, FRA_IIFNAME, FRA_OIFNAME, FRA_PRIORITY, FRA_SRC, FRA_TABLE,
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

fn net(value: Value<'_>, length: u8) -> Option<IpNet> {
    IpNet::new(value.ip()?, length).ok()
}

impl Netlink {
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
