//! ISC dhcpd (`dhcpd(8)`): the server of many older networks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Launch, LeaseRow, ServerConfig, hex};
use crate::error::{Error, Result};
use crate::lan::ROUTER_V4;

/// An ISC dhcpd. The default hands out 192.0.2.100-200 for ten minutes and is else as it comes: a fresh address is
/// pinged first, which takes a second.
#[derive(Debug, Clone)]
pub struct Dhcpd {
    /// First and last address of the pool.
    pub range: (String, String),
    /// Lease time in seconds.
    pub lease_time: u32,
    /// Further statements of the subnet (`dhcpd.conf(5)`).
    pub extra: String,
}

impl Default for Dhcpd {
    fn default() -> Self {
        let range = ("192.0.2.100".to_owned(), "192.0.2.200".to_owned());
        Self { range, lease_time: 600, extra: String::new() }
    }
}

impl ServerConfig for Dhcpd {
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &Path) -> Result<Launch> {
        let (file, leases) = (dir.join("dhcpd.conf"), dir.join("dhcpd.leases"));
        let Self { range: (first, last), lease_time, extra } = self;
        let text = format!(
            "db-time-format local;\nauthoritative;\ndefault-lease-time {lease_time};\nmax-lease-time {lease_time};\n\
             subnet 192.0.2.0 netmask 255.255.255.0 {{\n\
             range {first} {last};\noption routers {ROUTER_V4};\n{extra}\n}}\n"
        );
        fs::write(&file, text).map_err(Error::file("cannot write", &file))?;
        let path = |path: &Path| path.display().to_string();
        // It does not start without a lease file.
        let start = r#": >>"$0" && exec dhcpd -4 -f -d -lf "$0" "$@" eth0"#;
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

/// `dhcpd.leases(5)`: blocks are only ever appended, the last one of an address holds.
fn parse(bytes: &[u8]) -> Vec<LeaseRow> {
    let text = String::from_utf8_lossy(bytes);
    let mut rows = BTreeMap::new();
    for block in text.split("\nlease ").skip(1) {
        let Some((ip, rest)) = block.split_once(" {") else { continue };
        let Ok(ip) = ip.parse() else { continue };
        rows.remove(&ip);
        let body = rest.split("\n}").next().unwrap_or_default();
        let statements = || body.lines().map(|line| line.trim().split(';').next().unwrap_or_default());
        let after = |prefix: &str| statements().find_map(|statement| statement.strip_prefix(prefix));
        let expiry = after("ends epoch ").and_then(|seconds| seconds.parse().ok());
        let (Some("active"), Some(expiry)) = (after("binding state "), expiry) else { continue };
        let row = LeaseRow {
            mac: after("hardware ethernet ").unwrap_or_default().to_ascii_lowercase(),
            ip,
            hostname: after("client-hostname ").map(|name| name.trim_matches('"').to_owned()),
            // A text may contain anything, a semicolon too.
            client_id: body
                .lines()
                .find_map(|line| line.trim().strip_prefix("uid \""))
                .map(|text| hex(&unescaped(text))),
            iaid: None,
            expiry,
        };
        rows.insert(ip, row);
    }
    rows.into_values().collect()
}

/// The octets of a quoted text, up to its closing quote: `\377` is octal, `\"` itself.
pub(super) fn unescaped(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        let value = match byte {
            b'"' => break,
            b'\\' => {
                // Always three digits.
                let digits: Vec<u8> =
                    std::iter::from_fn(|| rest.next_if(u8::is_ascii_digit)).take(3).collect();
                let octal =
                    std::str::from_utf8(&digits).ok().and_then(|text| u8::from_str_radix(text, 8).ok());
                octal.or_else(|| rest.next()).unwrap_or(b'\\')
            }
            other => other,
        };
        octets.push(value);
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_of_an_address_holds() {
        let rows = parse(
            b"# comment\nauthoring-byte-order little-endian;\n\n\
             lease 192.0.2.100 {\n  starts epoch 10; # x\n  ends epoch 600; # x\n  binding state active;\n  \
             hardware ethernet 02:00:00:00:00:0A;\n  uid \"\\377\\000\\001;\\\"a\";\n  client-hostname \"web\";\n}\n\
             lease 192.0.2.101 {\n  ends epoch 600;\n  binding state active;\n  hardware ethernet 02:00:00:00:00:0b;\n}\n\
             lease 192.0.2.101 {\n  ends epoch 300;\n  binding state free;\n  hardware ethernet 02:00:00:00:00:0b;\n}\n",
        );
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].mac.as_str(), rows[0].expiry), ("02:00:00:00:00:0a", 600));
        assert_eq!(rows[0].hostname.as_deref(), Some("web"));
        assert_eq!(rows[0].client_id.as_deref(), Some("ff:00:01:3b:22:61"));
    }
}
