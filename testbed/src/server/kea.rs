//! Kea (`kea-dhcp4(8)`): leases of seconds, so that renewing and rebinding can be seen to happen.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{Launch, LeaseRow, Reservation, ServerConfig};
use crate::error::{Error, Result};
use crate::lan::{LAN_V4, ROUTER_V4};

/// A kea-dhcp4. The default hands out 192.0.2.100-200 for twenty seconds.
#[derive(Debug, Clone)]
pub struct Kea {
    /// Lease time in seconds.
    pub valid_lifetime: u32,
    /// T1 in seconds (option 58); `None` leaves it out and the client takes half of the lease time.
    pub renew: Option<u32>,
    /// T2 in seconds (option 59); `None` leaves it out.
    pub rebind: Option<u32>,
    /// The network the pool lies in.
    pub subnet: String,
    /// `first-last` or a prefix; `None` for reservations only.
    pub pool: Option<String>,
    /// Addresses that belong to a MAC.
    pub reservations: Vec<Reservation>,
    /// Option 3, addresses with commas; `None` sends no router.
    pub routers: Option<String>,
    /// NAK what it does not know.
    pub authoritative: bool,
    /// Entries of `option-data`.
    pub options: Vec<Value>,
    /// Whether leases are told apart by client identifier, as RFC 2131 wants, or by MAC only.
    pub match_client_id: bool,
    /// Members added to `Dhcp4`, or put in the place of what is there.
    pub extra: BTreeMap<String, Value>,
}

impl Default for Kea {
    fn default() -> Self {
        Self {
            valid_lifetime: 20,
            renew: None,
            rebind: None,
            subnet: LAN_V4.to_owned(),
            pool: Some("192.0.2.100-192.0.2.200".to_owned()),
            reservations: Vec::new(),
            routers: Some(ROUTER_V4.to_owned()),
            authoritative: true,
            options: Vec::new(),
            match_client_id: true,
            extra: BTreeMap::new(),
        }
    }
}

impl Kea {
    fn config(&self, leases: &Path) -> Value {
        let mut options = self.options.clone();
        if let Some(routers) = &self.routers {
            options.push(json!({"name": "routers", "data": routers}));
        }
        let pools: Vec<Value> = self.pool.iter().map(|pool| json!({"pool": pool})).collect();
        let reservations: Vec<Value> = self
            .reservations
            .iter()
            .map(|Reservation { mac, ip, hostname }| {
                let mut entry = json!({"hw-address": mac, "ip-address": ip});
                if let Some(name) = hostname {
                    entry["hostname"] = json!(name);
                }
                entry
            })
            .collect();
        let mut dhcp4 = json!({
            "interfaces-config": {"interfaces": ["eth0"]},
            "lease-database": {"type": "memfile", "persist": true, "name": leases, "lfc-interval": 0},
            "valid-lifetime": self.valid_lifetime,
            "authoritative": self.authoritative,
            "match-client-id": self.match_client_id,
            // Freed addresses are handed out again at once: the pools of tests are small.
            "expired-leases-processing": {"reclaim-timer-wait-time": 1, "hold-reclaimed-time": 0},
            "subnet4": [{
                "id": 1, "subnet": self.subnet, "pools": pools,
                "reservations": reservations, "option-data": options,
            }],
            "loggers": [{
                "name": "kea-dhcp4", "severity": "DEBUG", "debuglevel": 40,
                "output_options": [{"output": "stdout", "flush": true}],
            }],
        });
        for (key, seconds) in [("renew-timer", self.renew), ("rebind-timer", self.rebind)] {
            if let Some(seconds) = seconds {
                dhcp4[key] = json!(seconds);
            }
        }
        for (key, value) in &self.extra {
            dhcp4[key] = value.clone();
        }
        json!({ "Dhcp4": dhcp4 })
    }
}

impl ServerConfig for Kea {
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &Path) -> Result<Launch> {
        let (file, leases) = (dir.join("kea.json"), dir.join("leases.csv"));
        fs::write(&file, format!("{:#}\n", self.config(&leases)))
            .map_err(Error::file("cannot write", &file))?;
        let own = dir.display().to_string();
        Ok(Launch {
            argv: vec!["kea-dhcp4".to_owned(), "-c".to_owned(), file.display().to_string()],
            env: vec![("KEA_PIDFILE_DIR", own.clone()), ("KEA_LOCKFILE_DIR", own)],
            ready: "DHCP4_STARTED",
            lease_files: vec![leases],
            parse,
        })
    }
}

/// The memfile's CSV, whose first line names the columns: rows are only ever appended, the last one of an address
/// holds. A lifetime of 0 is a released lease, a state other than 0 a declined or expired one.
pub(super) fn parse(bytes: &[u8]) -> Vec<LeaseRow> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut rows: BTreeMap<IpAddr, LeaseRow> = BTreeMap::new();
    for line in lines {
        let fields: BTreeMap<&str, &str> = columns.iter().copied().zip(line.split(',')).collect();
        let field = |name: &str| fields.get(name).copied().filter(|field| !field.is_empty());
        let Some(ip) = field("address").and_then(|field| field.parse().ok()) else { continue };
        rows.remove(&ip);
        let Some(expiry) = field("expire").and_then(|field| field.parse().ok()) else { continue };
        if field("valid_lifetime") == Some("0") || field("state") != Some("0") {
            continue;
        }
        let text = |name: &str| field(name).map(str::to_owned);
        let row = LeaseRow {
            // Kea notes the MAC of a DHCPv6 client too where it learns it; others do not.
            mac: if ip.is_ipv4() {
                text("hwaddr").unwrap_or_default().to_ascii_lowercase()
            } else {
                String::new()
            },
            ip,
            hostname: text("hostname"),
            client_id: text("client_id").or_else(|| text("duid")),
            iaid: field("iaid").and_then(|field| field.parse().ok()),
            expiry,
        };
        rows.insert(ip, row);
    }
    rows.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n";

    #[test]
    fn the_last_row_of_an_address_holds() {
        let rows = parse(
            format!(
                "{HEADER}192.0.2.100,02:00:00:00:00:0a,01:02,20,100,1,0,0,web,0,\n\
             192.0.2.101,02:00:00:00:00:0b,,20,100,1,0,0,,0,\n\
             192.0.2.100,02:00:00:00:00:0a,01:02,20,110,1,0,0,web,0,\n\
             192.0.2.101,02:00:00:00:00:0b,,0,100,1,0,0,,0,\n"
            )
            .as_bytes(),
        );
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].expiry, rows[0].hostname.as_deref()), (110, Some("web")));
    }

    #[test]
    fn a_declined_address_is_no_lease() {
        assert_eq!(parse(format!("{HEADER}192.0.2.100,,,86400,100,1,0,0,,1,\n").as_bytes()), []);
    }

    #[test]
    fn a_dhcpv6_lease_has_a_duid_and_an_iaid() {
        let header = "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,\
                      fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source";
        let rows = parse(
            format!(
                "{header}\n2001:db8:1::1000,00:04:01,20,100,1,15,0,7,128,0,0,,02:00:00:00:00:0a,0,,1,1\n"
            )
            .as_bytes(),
        );
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].client_id.as_deref(), rows[0].iaid, rows[0].expiry),
            (Some("00:04:01"), Some(7), 100)
        );
        assert!(rows[0].mac.is_empty());
    }
}
