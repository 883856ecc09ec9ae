//! Open vSwitch on a host: its database server and its switch, as the packaged service would start them.

use std::time::Duration;

use super::DockerHost;
use crate::error::Result;
use crate::node::Node;
use crate::process::Process;
use crate::wait::wait_for;

const DATABASE: &str = "/var/lib/openvswitch/conf.db";
const SOCKET: &str = "/run/openvswitch/db.sock";
const LIMIT: Duration = Duration::from_secs(20);

/// A running Open vSwitch. Both programs end when it is dropped; the database stays, also over a reboot.
#[derive(Debug)]
pub struct OpenVswitch {
    node: Node,
    /// Dropped first: it wants the database to the end.
    switch: Option<Process>,
    database: Option<Process>,
}

impl DockerHost {
    /// Starts Open vSwitch with the database this host had before, or an empty one.
    ///
    /// # Errors
    /// If one of its programs does not come up.
    pub fn open_vswitch(&self) -> Result<OpenVswitch> {
        let mut running = self.open_vswitch_database()?;
        running.start_switch()?;
        Ok(running)
    }

    /// As [`open_vswitch`](Self::open_vswitch), without the switch itself.
    ///
    /// # Errors
    /// If the database server does not come up.
    pub fn open_vswitch_database(&self) -> Result<OpenVswitch> {
        let node = self.node().clone();
        node.sh(&format!(
            "mkdir -p /run/openvswitch
             [ -e {DATABASE} ] || ovsdb-tool create {DATABASE} /usr/share/openvswitch/vswitch.ovsschema"
        ))?;
        let mut running = OpenVswitch { node, switch: None, database: None };
        running.start_database()?;
        // Threads for two processors are one of each kind.
        running.vsctl(&["--no-wait", "init"])?;
        let threads = ["other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1"];
        running.vsctl(&["--no-wait", "set", "Open_vSwitch", ".", threads[0], threads[1]])?;
        Ok(running)
    }
}

impl OpenVswitch {
    /// `ovs-vsctl ARGS`; what it prints.
    ///
    /// # Errors
    /// What it says.
    pub fn vsctl(&self, args: &[&str]) -> Result<String> {
        let mut argv = vec!["ovs-vsctl", "--timeout=20"];
        argv.extend(args);
        self.node.check(&argv)
    }

    /// Starts `ovsdb-server`.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub fn start_database(&mut self) -> Result<()> {
        let remote = format!("--remote=punix:{SOCKET}");
        let argv = ["ovsdb-server", DATABASE, &remote, "--no-chdir", "-vconsole:warn", "-vsyslog:off"];
        self.database = Some(self.node.spawn(&argv)?);
        let up = ["ovs-vsctl", "--no-wait", "--timeout=1", "show"];
        wait_for("ovsdb-server", LIMIT, || self.node.run(&up).success())
    }

    /// Starts `ovs-vswitchd`.
    ///
    /// # Errors
    /// If it does not come up in time.
    pub fn start_switch(&mut self) -> Result<()> {
        let remote = format!("unix:{SOCKET}");
        let argv = ["ovs-vswitchd", &remote, "--no-chdir", "-vconsole:warn", "-vsyslog:off"];
        self.switch = Some(self.node.spawn(&argv)?);
        // Waits until it has made what the database says.
        self.vsctl(&["init"])?;
        Ok(())
    }

    /// Kills `ovsdb-server`.
    pub fn kill_database(&mut self) {
        self.database = None;
    }

    /// Kills `ovs-vswitchd`.
    pub fn kill_switch(&mut self) {
        self.switch = None;
    }

    /// A bridge whose packets `ovs-vswitchd` forwards itself, which needs nothing of the kernel; `eth0` and the host's
    /// address go to it. What comes from the wire has its checksums, as from a real one.
    ///
    /// # Errors
    /// What the programs say.
    pub fn make_bridge(&self, name: &str, address: &str) -> Result<()> {
        self.bridge(name, "netdev", address)?;
        self.node.check(&["ethtool", "-K", name, "tx", "off"])?;
        Ok(())
    }

    /// The same, whose packets the kernel forwards.
    ///
    /// # Errors
    /// What the programs say.
    pub fn make_kernel_bridge(&self, name: &str, address: &str) -> Result<()> {
        self.bridge(name, "system", address)
    }

    fn bridge(&self, name: &str, datapath: &str, address: &str) -> Result<()> {
        let kind = format!("datapath_type={datapath}");
        self.vsctl(&["add-br", name, "--", "set", "bridge", name, &kind, "--", "add-port", name, "eth0"])?;
        self.node.sh(&format!("ip link set {name} up\nip address add {address} dev {name}"))?;
        Ok(())
    }
}
