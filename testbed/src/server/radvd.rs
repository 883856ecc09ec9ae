//! radvd (`radvd(8)`): a router that announces itself and its prefixes, each with the flags and lifetimes one likes, and
//! hands out nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{Launch, ServerConfig};
use crate::error::{Error, Result};
use crate::lan::{LAN_V6, ROUTER_V6};

/// A prefix that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaPrefix {
    /// `2001:db8:1::/64`
    pub prefix: String,
    /// Valid and preferred lifetime in seconds.
    pub lifetimes: (u32, u32),
    /// The A flag: addresses may be made from it.
    pub autonomous: bool,
    /// The L flag: its addresses are on the link.
    pub on_link: bool,
}

impl RaPrefix {
    /// A prefix to make addresses from.
    pub fn new(prefix: impl Into<String>, valid: u32, preferred: u32) -> Self {
        Self { prefix: prefix.into(), lifetimes: (valid, preferred), autonomous: true, on_link: true }
    }
}

/// A radvd. The default announces the LAN's prefix (ten minutes, five preferred), itself as default router for half an
/// hour, and itself as DNS server, every three to four seconds and to who asks.
#[derive(Debug, Clone)]
pub struct Radvd {
    /// The M flag: there are addresses by `DHCPv6`.
    pub managed: bool,
    /// The O flag: there is other configuration by `DHCPv6`.
    pub other: bool,
    /// Lifetime of the default route in seconds; 0 for no default router.
    pub router_lifetime: u16,
    /// The prefixes.
    pub prefixes: Vec<RaPrefix>,
    /// DNS servers and their lifetime in seconds.
    pub rdnss: Option<(Vec<String>, u32)>,
    /// Search domains and their lifetime in seconds.
    pub dnssl: Option<(Vec<String>, u32)>,
    /// The MTU to announce.
    pub mtu: Option<u32>,
    /// Least and greatest time between unasked announcements in seconds; 3 and 4 are the least there are.
    pub interval: (u16, u16),
    /// Further statements of the interface (`radvd.conf(5)`).
    pub extra: String,
}

impl Default for Radvd {
    fn default() -> Self {
        Self {
            managed: false,
            other: false,
            router_lifetime: 1800,
            prefixes: vec![RaPrefix::new(LAN_V6, 600, 300)],
            rdnss: Some((vec![ROUTER_V6.to_owned()], 600)),
            dnssl: None,
            mtu: None,
            interval: (3, 4),
            extra: String::new(),
        }
    }
}

impl Radvd {
    /// One that announces no prefix to make addresses from, only that there is `DHCPv6`.
    pub fn managed() -> Self {
        let prefix = RaPrefix { autonomous: false, ..RaPrefix::new(LAN_V6, 600, 300) };
        Self { managed: true, other: true, prefixes: vec![prefix], ..Self::default() }
    }

    fn config(&self) -> String {
        let switch = |on: bool| if on { "on" } else { "off" };
        let (least, greatest) = self.interval;
        let mut text = format!(
            "interface eth0 {{\nAdvSendAdvert on;\nMinRtrAdvInterval {least};\nMaxRtrAdvInterval {greatest};\n\
             MinDelayBetweenRAs 3;\nAdvManagedFlag {};\nAdvOtherConfigFlag {};\nAdvDefaultLifetime {};\n",
            switch(self.managed),
            switch(self.other),
            self.router_lifetime
        );
        if let Some(mtu) = self.mtu {
            let _ = writeln!(text, "AdvLinkMTU {mtu};");
        }
        for RaPrefix { prefix, lifetimes: (valid, preferred), autonomous, on_link } in &self.prefixes {
            let _ = writeln!(
                text,
                "prefix {prefix} {{ AdvOnLink {}; AdvAutonomous {}; AdvValidLifetime {valid}; \
                 AdvPreferredLifetime {preferred}; }};",
                switch(*on_link),
                switch(*autonomous)
            );
        }
        if let Some((servers, lifetime)) = &self.rdnss {
            let _ = writeln!(text, "RDNSS {} {{ AdvRDNSSLifetime {lifetime}; }};", servers.join(" "));
        }
        if let Some((domains, lifetime)) = &self.dnssl {
            let _ = writeln!(text, "DNSSL {} {{ AdvDNSSLLifetime {lifetime}; }};", domains.join(" "));
        }
        let _ = writeln!(text, "{}\n}};", self.extra);
        text
    }
}

impl ServerConfig for Radvd {
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &Path) -> Result<Launch> {
        let file = dir.join("radvd.conf");
        fs::write(&file, self.config()).map_err(Error::file("cannot write", &file))?;
        let path = |path: &Path| path.display().to_string();
        let (config, pid) = (path(&file), path(&dir.join("pid")));
        // Only a machine that forwards is a router.
        let start = r#"echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; exec radvd "$0" "$@""#;
        let switches = ["--nodaemon", "--logmethod=stderr", "--debug=2", "-C", &config, "-p", &pid];
        let argv = [&["sh", "-c", start], switches.as_slice()].concat();
        Ok(Launch {
            argv: argv.into_iter().map(str::to_owned).collect(),
            env: Vec::new(),
            ready: "polling for",
            lease_files: Vec::new(),
            parse: |_| Vec::new(),
        })
    }
}
