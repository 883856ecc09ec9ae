//! The host, with Landline installed, and what is asked of it again and again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use landline_testbed::{Engine, SystemImage, SystemVm};
use tempfile::TempDir;

use super::package::debian_package;
use crate::world::Result;

/// How long one script may take. Emulated, and beside other tests, everything takes long; what hangs is to be known soon.
const LIMIT: Duration = Duration::from_mins(8);

/// Functions for scripts on the host.
const TOOLS: &str = r#"
peer() { ip netns exec peer "$@"; }
answers() { "${@:2}" ping -q -c1 -W10 "$1" >/dev/null || { echo "no answer: ${*:2} $1"; return 1; }; }
inside() { local pid; pid=$(docker inspect -f '{{.State.Pid}}' "$1"); nsenter -t "$pid" -n "${@:2}"; }
hello() { [ "$(peer timeout 20 wget -q -t 1 -O - "http://$1/hello")" = hello ] || { echo "no web page at $1"; return 1; }; }
# By the interface that Landline makes for it.
host_access() { ip route get "$1" | grep -q 'dev lls' && answers "$1"; }
# Says what cannot be reached of what is there, and fails if that is anything. The addresses stay what they were at first.
reached() {
	local bad=0 name address job jobs=()
	local -A at=()
	landline ls --json | jq -r '.endpoints[] | "\(.container) \(.address)"' | sort >/run/addresses
	while read -r name address; do at[$name]=${address%/*}; done </run/addresses
	for name in open fixed direct vde1 vde2 nat; do
		[ -n "${at[$name]-}" ] || { echo "$name has no address"; return 1; }
	done
	[ -e /root/addresses ] || cp /run/addresses /root/addresses
	diff /root/addresses /run/addresses || bad=1
	answers "${at[open]}" peer & jobs+=($!)
	answers "${at[fixed]}" peer & jobs+=($!)
	answers "${at[direct]}" peer & jobs+=($!)
	host_access "${at[direct]}" & jobs+=($!)
	inside vde1 ping -q -c1 -W10 "${at[vde2]}" >/dev/null & jobs+=($!)
	hello 192.0.2.117 & jobs+=($!)
	for job in "${jobs[@]}"; do wait "$job" || bad=1; done
	return $bad
}
# Waits for something that fails at first.
eventually() {
	local end=$((SECONDS + 180)) said
	until said=$("$@" 2>&1); do
		[ $SECONDS -lt $end ] || { echo "not in time: $*: $said"; return 1; }
		sleep 0.5
	done
}
# What a boot must not leave.
fine() {
	local failed cycle
	failed=$(systemctl --failed --no-legend --plain)
	[ -z "$failed" ] || { echo "failed units: $failed"; return 1; }
	cycle=$(journalctl -b _PID=1 --no-pager -o cat | grep -iE 'ordering cycle|deleted to break' || true)
	[ -z "$cycle" ] || { echo "$cycle"; return 1; }
}
"#;

/// What another engine brings with it, of what is unpacked of it.
const ENGINE: [&str; 7] = [
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/docker",
    "usr/sbin/docker-proxy",
    "usr/sbin/dockerd",
    "usr/lib/systemd/system/containerd.service",
    "usr/lib/systemd/system/docker.service",
];

pub(crate) struct Host {
    vm: SystemVm,
    began: Instant,
    _share: TempDir,
}

impl Host {
    /// Boots it and installs Landline's package, and an image for containers. Its Docker is Debian's, or the one that
    /// `LANDLINE_TEST_ENGINE` says, on which the administrator has loaded `br_netfilter`: from 28 on Docker itself does not.
    pub(crate) fn start(image: &SystemImage) -> Result<Self> {
        let share = tempfile::tempdir()?;
        for (version, file) in [("0.1.0-1", "landline.deb"), ("0.1.0-2", "newer.deb")] {
            debian_package(version, &share.path().join(file))?;
        }
        fs::write(share.path().join("tools"), TOOLS)?;
        if let Engine::Path(root) = Engine::default() {
            copy_engine(&root, &share.path().join("engine"))?;
        }
        let began = Instant::now();
        let vm = image.start(share.path())?;
        let mut host = Self { vm, began, _share: share };
        host.begin("it has booted; Landline is installed");
        host.sh("cp /host/tools /root/tools
            mkdir -p /root/box/bin
            cp /bin/busybox /root/box/bin/
            chroot /root/box /bin/busybox --install -s /bin
            echo hello >/root/box/hello
            systemctl is-system-running --wait || systemctl --failed --no-pager
            if [ -e /host/engine ]; then
                systemctl stop docker.socket docker.service containerd.service
                cp -r /host/engine/. /
                echo br_netfilter >/etc/modules-load.d/br_netfilter.conf
                modprobe br_netfilter
            fi
            systemctl daemon-reload
            systemctl start docker.socket docker.service
            apt-get install -q -y --no-install-recommends /host/landline.deb
            systemctl is-active landline.socket landline.service
            systemctl is-enabled landline.socket landline.service
            tar -C /root/box -c . | docker import - box")?;
        let docker = host.sh("docker version --format '{{.Server.Version}}'")?;
        println!("              Docker {}", docker.trim_end());
        Ok(host)
    }

    /// Shows in the output that a part begins, and what those before it took: of the clock, and of the processors.
    pub(crate) fn begin(&self, what: &str) {
        let (clock, used) = (self.began.elapsed().as_secs(), self.vm.processor_time().as_secs());
        println!("{clock:>5} s, {used:>4} s of the processors: {what}");
    }

    /// Runs a script that must succeed, with the functions above.
    pub(crate) fn sh(&mut self, script: &str) -> Result<String> {
        let before = Instant::now();
        let output = self.vm.run(&format!(". /host/tools\n{script}"), LIMIT)?;
        println!("      {:>4} s: {}", before.elapsed().as_secs(), script.lines().next().unwrap_or_default());
        if output.success() {
            return Ok(output.stdout);
        }
        Err(format!("{script}\n{}:\n{}", output.status, output.stdout).into())
    }

    /// Everything can be reached, in time.
    pub(crate) fn all_is_reached(&mut self) -> Result {
        self.sh("eventually reached").map(drop)
    }

    /// Reboots, and waits until everything that starts has started.
    pub(crate) fn reboot(&mut self) -> Result {
        self.vm.power_off()?;
        self.boot()
    }

    /// As [`Self::reboot`], but nothing ends in order before.
    pub(crate) fn lose_power(&mut self) -> Result {
        self.sh("sync")?;
        self.vm.cut_power();
        self.boot()
    }

    fn boot(&mut self) -> Result {
        let before = Instant::now();
        self.vm.boot()?;
        println!("      {:>4} s: a boot", before.elapsed().as_secs());
        self.sh("systemctl is-system-running --wait || systemctl --failed --no-pager").map(drop)
    }

    /// What there is to see of a host on which something has failed.
    pub(crate) fn last_words(&mut self) -> String {
        let look = "landline ls; landline host-access ls; landline doctor; docker ps -a; ip -br address; systemctl --failed --no-pager
            journalctl -b -u landline -u docker --no-pager -o short-monotonic | tail -60";
        let looked = self.vm.run(&look.replace("; ", " || true\n"), LIMIT);
        looked.map_or_else(|error| error.to_string(), |output| output.stdout)
    }
}

fn copy_engine(root: &Path, to: &Path) -> Result {
    for file in ENGINE {
        let copy = to.join(file);
        fs::create_dir_all(copy.parent().unwrap_or(to))?;
        fs::copy(root.join(file), copy).map_err(|error| format!("{}: {error}", root.join(file).display()))?;
    }
    Ok(())
}
