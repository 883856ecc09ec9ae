//! dnsmasq (`dnsmasq(8)`): the server of most home routers. Its shortest lease is two minutes.

use std::net::IpAddr;
use std::path::Path;

use super::{Launch, LeaseRow, Reservation, Reservation6, ServerConfig};
use crate::error::Result;
use crate::lan::{ROUTER_V4, ROUTER_V6};

/// What the router announces for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ra {
    /// Nothing.
    #[default]
    Off,
    /// A prefix to make addresses from (SLAAC), and no `DHCPv6` at all.
    Only,
    /// A prefix to make addresses from (SLAAC), with stateless `DHCPv6`.
    Slaac,
    /// Addresses by `DHCPv6`.
    Stateful,
    /// A prefix to make addresses from, and addresses by `DHCPv6` as well.
    Both,
    /// Nothing, but it gives addresses by `DHCPv6` to who asks.
    Silent,
}

/// A dnsmasq. The default hands out 192.0.2.100-240 for ten minutes, as the only server of the LAN.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of dnsmasq's own")]
pub struct Dnsmasq {
    /// First and last address of the pool.
    pub range: (String, String),
    /// Netmask of the pool.
    pub netmask: String,
    /// Lease time as dnsmasq reads it (`10m`, `120`, `infinite`); two minutes at least.
    pub lease_time: String,
    /// Do not ping a fresh address before offering it; the ping costs three seconds per lease.
    pub no_ping: bool,
    /// NAK what it does not know.
    pub authoritative: bool,
    /// Option 3; `None` sends no router at all.
    pub router: Option<String>,
    /// Addresses are handed out one after the other and not by a hash of the MAC.
    pub sequential: bool,
    /// Values for `--dhcp-option`.
    pub options: Vec<String>,
    /// Addresses that belong to a MAC.
    pub hosts: Vec<Reservation>,
    /// What it announces for IPv6, always for the prefix of the LAN; the pool is `::1000` to `::1fff`.
    pub ra: Ra,
    /// Lifetime of prefixes and IPv6 leases as dnsmasq reads it; two minutes at least, and prefixes are announced for
    /// no less than the default route.
    pub lifetime6: String,
    /// Seconds between unasked announcements and lifetime of the default route; `None` leaves both to dnsmasq
    /// (ten minutes, half an hour). A lifetime of 0 is no default router.
    pub ra_times: Option<(u16, u16)>,
    /// Addresses that belong to a DUID.
    pub hosts6: Vec<Reservation6>,
    /// Answer DNS on port 53, with the names of the leases in `lab.test`.
    pub dns: bool,
    /// Further arguments.
    pub extra: Vec<String>,
}

impl Default for Dnsmasq {
    fn default() -> Self {
        Self {
            range: ("192.0.2.100".to_owned(), "192.0.2.240".to_owned()),
            netmask: "255.255.255.0".to_owned(),
            lease_time: "10m".to_owned(),
            no_ping: true,
            authoritative: true,
            router: Some(ROUTER_V4.to_owned()),
            sequential: false,
            options: vec![format!("option:dns-server,{ROUTER_V4}")],
            hosts: Vec::new(),
            ra: Ra::Off,
            lifetime6: "10m".to_owned(),
            ra_times: None,
            hosts6: Vec::new(),
            dns: false,
            extra: Vec::new(),
        }
    }
}

impl Dnsmasq {
    /// The arguments that follow from the fields, without those about files.
    fn arguments(&self) -> Vec<String> {
        let (first, last) = &self.range;
        let mut argv = vec![
            format!("--dhcp-range={first},{last},{},{}", self.netmask, self.lease_time),
            format!("--port={}", if self.dns { 53 } else { 0 }),
            "--domain=lab.test".to_owned(),
        ];
        let mut switch = |on: bool, name: &str| {
            if on {
                argv.push(name.to_owned());
            }
        };
        switch(self.no_ping, "--no-ping");
        switch(self.authoritative, "--dhcp-authoritative");
        switch(self.sequential, "--dhcp-sequential-ip");
        switch(self.dns, "--no-resolv");
        // Without a value dnsmasq sends no option 3; left out altogether it would send its own address.
        argv.push(match &self.router {
            Some(router) => format!("--dhcp-option=option:router,{router}"),
            None => "--dhcp-option=option:router".to_owned(),
        });
        argv.extend(self.options.iter().map(|option| format!("--dhcp-option={option}")));
        argv.extend(self.hosts.iter().map(|Reservation { mac, ip, hostname }| match hostname {
            Some(name) => format!("--dhcp-host={mac},{ip},{name}"),
            None => format!("--dhcp-host={mac},{ip}"),
        }));
        argv.extend(self.arguments6());
        argv.extend(self.extra.iter().cloned());
        argv
    }

    /// Those for IPv6.
    fn arguments6(&self) -> Vec<String> {
        let (pool, mode) = match self.ra {
            Ra::Off => return Vec::new(),
            Ra::Only => ("2001:db8:1::", ",ra-only"),
            Ra::Slaac => ("2001:db8:1::", ",ra-stateless"),
            Ra::Stateful | Ra::Silent => ("2001:db8:1::1000,2001:db8:1::1fff", ""),
            Ra::Both => ("2001:db8:1::1000,2001:db8:1::1fff", ",slaac"),
        };
        let mut argv = vec![
            format!("--dhcp-range={pool}{mode},64,{}", self.lifetime6),
            format!("--dhcp-option=option6:dns-server,[{ROUTER_V6}]"),
        ];
        if self.ra != Ra::Silent {
            argv.push("--enable-ra".to_owned());
        }
        if let Some((interval, lifetime)) = self.ra_times {
            argv.push(format!("--ra-param=eth0,{interval},{lifetime}"));
        }
        argv.extend(
            self.hosts6.iter().map(|Reservation6 { duid, ip }| format!("--dhcp-host=id:{duid},[{ip}]")),
        );
        argv
    }
}

impl ServerConfig for Dnsmasq {
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &Path) -> Result<Launch> {
        let leases = dir.join("leases");
        let mut argv: Vec<String> = [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--interface=eth0",
            "--bind-interfaces",
            "--log-dhcp",
            "--log-facility=-",
        ]
        .map(str::to_owned)
        .to_vec();
        argv.push(format!("--pid-file={}", dir.join("pid").display()));
        argv.push(format!("--dhcp-leasefile={}", leases.display()));
        argv.extend(self.arguments());
        Ok(Launch {
            argv,
            env: Vec::new(),
            ready: "sockets bound exclusively",
            lease_files: vec![leases],
            parse,
        })
    }
}

/// `EXPIRY MAC ADDRESS NAME CLIENT-ID` for IPv4; after a line `duid …`, `EXPIRY IAID ADDRESS NAME DUID` for IPv6.
/// A `T` before the IAID means a temporary address.
fn parse(bytes: &[u8]) -> Vec<LeaseRow> {
    let text = String::from_utf8_lossy(bytes);
    let some = |word: &str| (word != "*").then(|| word.to_owned());
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [expiry, mac, ip, hostname, client_id] = words.as_slice() else { return None };
            let ip: IpAddr = ip.parse().ok()?;
            let iaid = ip.is_ipv6().then(|| mac.trim_start_matches('T').parse().ok()).flatten();
            let mac = if mac.contains(':') { mac.to_ascii_lowercase() } else { String::new() };
            Some(LeaseRow {
                mac,
                ip,
                hostname: some(hostname),
                client_id: some(client_id),
                iaid,
                expiry: expiry.parse().ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_lease_file_with_both_families() {
        let rows = parse(
            b"1795235800 02:00:00:00:00:0A 192.0.2.107 web ff:01:02\n\
             1795235801 02:00:00:00:00:0b 192.0.2.108 * *\n\
             duid 00:01:00:01\n\
             1795235802 123456 2001:db8:1::1234 * 00:03\n",
        );
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].mac, "02:00:00:00:00:0a");
        assert_eq!(rows[0].hostname.as_deref(), Some("web"));
        assert_eq!(rows[0].client_id.as_deref(), Some("ff:01:02"));
        assert_eq!((rows[1].hostname.as_ref(), rows[1].client_id.as_ref()), (None, None));
        assert!(rows[2].ip.is_ipv6() && rows[2].mac.is_empty());
        assert_eq!((rows[0].iaid, rows[2].iaid), (None, Some(123_456)));
    }
}
