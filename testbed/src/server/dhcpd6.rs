//! ISC dhcpd for IPv6 (`dhcpd -6`). It announces nothing; a [`Radvd`](super::Radvd) does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use super::dhcpd::unescaped;
use super::{Launch, LeaseRow, Reservation6, ServerConfig, hex};
use crate::error::{Error, Result};
use crate::lan::{LAN_V6, ROUTER_V6};

/// An ISC dhcpd. The default hands out `2001:db8:1::1000` to `::1fff` for ten minutes.
#[derive(Debug, Clone)]
pub struct Dhcpd6 {
    /// First and last address of the pool.
    pub range: (String, String),
    /// Valid lifetime in seconds; preferred are five eighths of it.
    pub lease_time: u32,
    /// Addresses that belong to a DUID.
    pub hosts: Vec<Reservation6>,
    /// Further statements of the subnet (`dhcpd.conf(5)`).
    pub extra: String,
}

impl Default for Dhcpd6 {
    fn default() -> Self {
        let range = ("2001:db8:1::1000".to_owned(), "2001:db8:1::1fff".to_owned());
        Self { range, lease_time: 600, hosts: Vec::new(), extra: String::new() }
    }
}

impl ServerConfig for Dhcpd6 {
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &Path) -> Result<Launch> {
        let (file, leases) = (dir.join("dhcpd6.conf"), dir.join("dhcpd6.leases"));
        let Self { range: (first, last), lease_time, hosts, extra } = self;
        let preferred = lease_time * 5 / 8;
        let mut text = format!(
            "db-time-format local;\nauthoritative;\ndefault-lease-time {lease_time};\n\
             preferred-lifetime {preferred};\nsubnet6 {LAN_V6} {{\nrange6 {first} {last};\n\
             option dhcp6.name-servers {ROUTER_V6};\n{extra}\n}}\n"
        );
        for (index, Reservation6 { duid, ip }) in hosts.iter().enumerate() {
            let _ = writeln!(
                text,
                "host h{index} {{ host-identifier option dhcp6.client-id {duid}; fixed-address6 {ip}; }}"
            );
        }
        fs::write(&file, text).map_err(Error::file("cannot write", &file))?;
        let path = |path: &Path| path.display().to_string();
        let start = r#": >>"$0" && exec dhcpd -6 -f -d -lf "$0" "$@" eth0"#;
        let (leases_path, pid) = (path(&leases), path(&dir.join("pid")));
        let argv = ["sh", "-c", start, &leases_path, "-cf", &path(&file), "-pf", &pid];
        Ok(Launch {
            argv: argv.map(str::to_owned).to_vec(),
            env: Vec::new(),
            ready: "Server starting service.",
            lease_files: vec![leases],
            parse,
        })
    }
}

/// `dhcpd.leases(5)`: `ia-na "IAID DUID" { … iaaddr ADDRESS { … } }`, blocks are only ever appended.
fn parse(bytes: &[u8]) -> Vec<LeaseRow> {
    let text = String::from_utf8_lossy(bytes);
    let mut rows: BTreeMap<IpAddr, LeaseRow> = BTreeMap::new();
    let little_endian = text.contains("authoring-byte-order little-endian");
    for block in text.split("\nia-na \"").skip(1) {
        let identity = unescaped(block);
        let Some((iaid, duid)) = identity.split_first_chunk::<4>() else { continue };
        let iaid = if little_endian { u32::from_le_bytes(*iaid) } else { u32::from_be_bytes(*iaid) };
        let body = block.split("\n}").next().unwrap_or_default();
        for address in body.split("iaaddr ").skip(1) {
            let Some((ip, rest)) = address.split_once(" {") else { continue };
            let Ok(ip) = ip.parse() else { continue };
            rows.remove(&ip);
            let after = |prefix: &str| {
                let statements = rest.lines().map(|line| line.trim().split(';').next().unwrap_or_default());
                statements.into_iter().find_map(|statement| statement.strip_prefix(prefix))
            };
            let expiry = after("ends epoch ").and_then(|seconds| seconds.parse().ok());
            let (Some("active"), Some(expiry)) = (after("binding state "), expiry) else { continue };
            let row = LeaseRow {
                mac: String::new(),
                ip,
                hostname: None,
                client_id: Some(hex(duid)),
                iaid: Some(iaid),
                expiry,
            };
            rows.insert(ip, row);
        }
    }
    rows.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_of_an_address_holds() {
        let block = |ip: &str, ends: u32, state: &str| {
            format!(
                "ia-na \"\\007\\000\\000\\000\\000\\004\\253\" {{\n  cltt epoch 10; # x\n  iaaddr {ip} {{\n    \
                 binding state {state};\n    preferred-life 375;\n    max-life 600;\n    ends epoch {ends}; # x\n  \
                 }}\n}}\n\n"
            )
        };
        let rows = parse(
            format!(
                "authoring-byte-order little-endian;\n\n{}{}{}",
                block("2001:db8:1::1000", 500, "active"),
                block("2001:db8:1::1001", 600, "active"),
                block("2001:db8:1::1000", 550, "released"),
            )
            .as_bytes(),
        );
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].ip.to_string().as_str(), rows[0].expiry), ("2001:db8:1::1001", 600));
        assert_eq!((rows[0].client_id.as_deref(), rows[0].iaid), (Some("00:04:ab"), Some(7)));
    }
}
