//! Kea for IPv6 (`kea-dhcp6(8)`): leases of seconds. It announces nothing; a [`Radvd`](super::Radvd) does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Launch, Reservation6, ServerConfig, kea};
use crate::error::{Error, Result};
use crate::lan::{LAN_V6, ROUTER_V6};

/// A kea-dhcp6. The default hands out `2001:db8:1::1000` to `::1fff` for twenty seconds.
#[derive(Debug, Clone)]
pub struct Kea6 {
    /// Preferred lifetime in seconds.
    pub preferred_lifetime: u32,
    /// Valid lifetime in seconds.
    pub valid_lifetime: u32,
    /// T1 and T2 in seconds.
    pub renew: (u32, u32),
    /// `first-last` or a prefix; `None` for reservations only.
    pub pool: Option<String>,
    /// Addresses that belong to a DUID.
    pub reservations: Vec<Reservation6>,
    /// Whether a Solicit that asks for it is answered with the lease at once.
    pub rapid_commit: bool,
    /// Entries of `option-data`.
    pub options: Vec<Value>,
    /// Members added to `Dhcp6`, or put in the place of what is there.
    pub extra: BTreeMap<String, Value>,
}

impl Default for Kea6 {
    fn default() -> Self {
        Self {
            preferred_lifetime: 15,
            valid_lifetime: 20,
            renew: (8, 12),
            pool: Some("2001:db8:1::1000-2001:db8:1::1fff".to_owned()),
            reservations: Vec::new(),
            rapid_commit: false,
            options: vec![json!({"name": "dns-servers", "data": ROUTER_V6})],
            extra: BTreeMap::new(),
        }
    }
}

impl Kea6 {
    fn config(&self, dir: &Path, leases: &Path) -> Value {
        let pools: Vec<Value> = self.pool.iter().map(|pool| json!({"pool": pool})).collect();
        let reservation =
            |Reservation6 { duid, ip }: &Reservation6| json!({"duid": duid, "ip-addresses": [ip]});
        let reservations: Vec<Value> = self.reservations.iter().map(reservation).collect();
        let mut dhcp6 = json!({
            "interfaces-config": {"interfaces": ["eth0"]},
            "lease-database": {"type": "memfile", "persist": true, "name": leases, "lfc-interval": 0},
            // Where it keeps its own DUID.
            "data-directory": dir,
            "preferred-lifetime": self.preferred_lifetime,
            "valid-lifetime": self.valid_lifetime,
            "renew-timer": self.renew.0,
            "rebind-timer": self.renew.1,
            "expired-leases-processing": {"reclaim-timer-wait-time": 1, "hold-reclaimed-time": 0},
            "option-data": self.options,
            "subnet6": [{
                "id": 1, "subnet": LAN_V6, "interface": "eth0", "pools": pools,
                "rapid-commit": self.rapid_commit, "reservations": reservations,
            }],
            "loggers": [{
                "name": "kea-dhcp6", "severity": "DEBUG", "debuglevel": 40,
                "output_options": [{"output": "stdout", "flush": true}],
            }],
        });
        for (key, value) in &self.extra {
            dhcp6[key] = value.clone();
        }
        json!({ "Dhcp6": dhcp6 })
    }
}

impl ServerConfig for Kea6 {
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &Path) -> Result<Launch> {
        let (file, leases) = (dir.join("kea6.json"), dir.join("leases6.csv"));
        fs::write(&file, format!("{:#}\n", self.config(dir, &leases)))
            .map_err(Error::file("cannot write", &file))?;
        let own = dir.display().to_string();
        Ok(Launch {
            argv: vec!["kea-dhcp6".to_owned(), "-c".to_owned(), file.display().to_string()],
            env: vec![("KEA_PIDFILE_DIR", own.clone()), ("KEA_LOCKFILE_DIR", own)],
            ready: "DHCP6_STARTED",
            lease_files: vec![leases],
            parse: kea::parse,
        })
    }
}
