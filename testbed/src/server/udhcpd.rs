//! busybox udhcpd: the server of many small routers.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::{Launch, LeaseRow, Reservation, ServerConfig};
use crate::error::{Error, Result};
use crate::lan::ROUTER_V4;

/// A udhcpd. The default hands out 192.0.2.100-200 for ten minutes and is else as it comes: a fresh address is asked
/// for by ARP first, which takes two seconds. It goes by MAC, whatever the client identifier says.
#[derive(Debug, Clone)]
pub struct Udhcpd {
    /// First and last address of the pool.
    pub range: (String, String),
    /// Lease time in seconds.
    pub lease_time: u32,
    /// How long it keeps an address for whom it was offered to, in seconds.
    pub offer_time: u32,
    /// Addresses that belong to a MAC.
    pub hosts: Vec<Reservation>,
    /// Milliseconds it waits for an answer of whoever has a fresh address already.
    pub arp_wait: u32,
}

impl Default for Udhcpd {
    fn default() -> Self {
        let range = ("192.0.2.100".to_owned(), "192.0.2.200".to_owned());
        Self { range, lease_time: 600, offer_time: 60, hosts: Vec::new(), arp_wait: 2000 }
    }
}

impl ServerConfig for Udhcpd {
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &Path) -> Result<Launch> {
        let (file, leases) = (dir.join("udhcpd.conf"), dir.join("udhcpd.leases"));
        let Self { range: (first, last), lease_time, offer_time, hosts, arp_wait } = self;
        // The file is written with every ACK, and once a second.
        let mut text = format!(
            "interface eth0\nstart {first}\nend {last}\nmin_lease 1\nauto_time 1\noffer_time {offer_time}\n\
             lease_file {}\npidfile {}\noption lease {lease_time}\noption subnet 255.255.255.0\n\
             option router {ROUTER_V4}\n",
            leases.display(),
            dir.join("pid").display(),
        );
        for Reservation { mac, ip, hostname } in hosts {
            let _ = writeln!(text, "static_lease {mac} {ip} {}", hostname.as_deref().unwrap_or_default());
        }
        fs::write(&file, text).map_err(Error::file("cannot write", &file))?;
        if !leases.exists() {
            fs::write(&leases, "").map_err(Error::file("cannot write", &leases))?;
        }
        let argv = ["busybox", "udhcpd", "-f", "-a", &arp_wait.to_string(), &file.display().to_string()];
        Ok(Launch {
            argv: argv.map(str::to_owned).to_vec(),
            env: Vec::new(),
            ready: "started",
            lease_files: vec![leases],
            parse,
        })
    }
}

/// When it was written in seconds since 1970; then for each lease the seconds left, the address, the MAC, a name in
/// twenty octets, and two octets of nothing. A declined address has no MAC.
fn parse(bytes: &[u8]) -> Vec<LeaseRow> {
    let Some((written, rest)) = bytes.split_first_chunk::<8>() else { return Vec::new() };
    let written = u64::from_be_bytes(*written);
    let (records, _) = rest.as_chunks::<36>();
    let row = |record: &[u8; 36]| {
        let left = u32::from_be_bytes(record[..4].try_into().ok()?);
        let ip: [u8; 4] = record[4..8].try_into().ok()?;
        let mac = super::hex(&record[8..14]);
        let name = record[14..34].split(|octet| *octet == 0).next().unwrap_or_default();
        (left > 0 && record[8..14] != [0; 6]).then(|| LeaseRow {
            mac,
            ip: Ipv4Addr::from(ip).into(),
            hostname: (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned()),
            client_id: None,
            iaid: None,
            expiry: written + u64::from(left),
        })
    };
    records.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_and_declined_addresses_are_no_leases() {
        let record = |left: u8, last: u8, mac: u8| {
            let mut record = vec![0, 0, 0, left, 192, 0, 2, last, mac, 0, 0, 0, 0, mac];
            record.extend(b"web");
            record.resize(36, 0);
            record
        };
        let mut file = vec![0, 0, 0, 0, 0, 0, 1, 0];
        file.extend([record(60, 100, 2), record(0, 101, 2), record(60, 102, 0)].concat());
        let rows = parse(&file);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].ip.to_string().as_str(), rows[0].expiry), ("192.0.2.100", 256 + 60));
        assert_eq!((rows[0].mac.as_str(), rows[0].hostname.as_deref()), ("02:00:00:00:00:02", Some("web")));
        assert_eq!(parse(&file[..file.len() - 80]).len(), 0);
    }
}
