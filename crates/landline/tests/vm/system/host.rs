//! The host, with Landline installed, and what is asked of it again and again.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use landline_testbed::{SystemImage, SystemVm};
use tempfile::TempDir;

use crate::tree::{static_binary, tree};
use crate::world::Result;

/// Emulated, and beside other tests, everything may take long.
const LIMIT: Duration = Duration::from_mins(8);

/// Functions for scripts on the host.
const TOOLS: &str = r#"
peer() { ip netns exec peer "$@"; }
# The address that Landline says a container has.
address() { landline ls --json | jq -r --arg c "$1" '.endpoints[] | select(.container == $c) | .address' | cut -d/ -f1; }
inside() { local pid; pid=$(docker inspect -f '{{.State.Pid}}' "$1"); shift; nsenter -t "$pid" -n "$@"; }
answers() { "${@:2}" ping -q -c1 -W5 "$1" >/dev/null || { echo "no answer: ${*:2} $1"; return 1; }; }
# Says what cannot be reached of what is there; fails if that is anything.
reached() {
	local bad=0 name at
	for name in open1 open2 fixed direct; do
		at=$(address $name)
		[ -n "$at" ] || { echo "$name has no address"; bad=1; continue; }
		answers "$at" peer || bad=1
	done
	answers "$at" || bad=1
	inside vde1 ping -q -c1 -W5 "$(address vde2)" >/dev/null || { echo "vde1 does not reach vde2"; bad=1; }
	[ "$(peer wget -q -T 10 -O - http://192.0.2.117/hello)" = hello ] || { echo "nat cannot be reached"; bad=1; }
	return $bad
}
# Waits for something that fails at first.
within() {
	local end=$((SECONDS + $1)) said
	shift
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
	cycle=$(journalctl -b --no-pager -o cat | grep -iE 'ordering cycle|deleted to break' || true)
	[ -z "$cycle" ] || { echo "$cycle"; return 1; }
}
"#;

pub(crate) struct Host {
    vm: SystemVm,
    began: Instant,
    _share: TempDir,
}

impl Host {
    /// Boots it and installs Landline as `make install` does, and an image for containers.
    pub(crate) fn start(image: &SystemImage) -> Result<Self> {
        let share = tempfile::tempdir()?;
        fs::copy(static_binary()?, share.path().join("landline"))?;
        let units = tree("packaging/systemd");
        let copied = Command::new("cp").args(["-r"]).arg(units).arg(share.path().join("units")).status()?;
        assert!(copied.success(), "{copied}");
        let vm = image.start(share.path())?;
        let mut host = Self { vm, began: Instant::now(), _share: share };
        host.step("booted; Landline is installed");
        host.vm.check(&format!("cat > /root/tools <<'END'\n{TOOLS}\nEND"), LIMIT)?;
        host.sh("within 300 systemctl is-active docker
            install -D /host/landline /usr/local/bin/landline
            cp -r /host/units/. /etc/systemd/system/
            # For systemd 254 and later, as `make install` has it.
            rm -r /etc/systemd/system/landline.service.d
            systemctl daemon-reload
            systemctl enable --quiet --now landline.socket landline.service
            mkdir -p /root/box/bin
            cp /bin/busybox /root/box/bin/
            chroot /root/box /bin/busybox --install -s /bin
            echo hello >/root/box/hello
            tar -C /root/box -c . | docker import - box")?;
        Ok(host)
    }

    /// Shows in the output how far it is.
    pub(crate) fn step(&self, what: &str) {
        println!("{:>5} s: {what}", self.began.elapsed().as_secs());
    }

    /// Runs a script that must succeed, with the functions above.
    pub(crate) fn sh(&mut self, script: &str) -> Result<String> {
        let before = Instant::now();
        let output = self.vm.run(&format!(". /root/tools 2>/dev/null || true\n{script}"), LIMIT)?;
        println!("      {:>4} s: {}", before.elapsed().as_secs(), script.lines().next().unwrap_or_default());
        if output.success() {
            return Ok(output.stdout);
        }
        Err(format!("{script}\n{}:\n{}", output.status, output.stdout).into())
    }

    /// Everything can be reached, in time.
    pub(crate) fn all_is_reached(&mut self) -> Result {
        self.sh("within 120 reached || { landline ls; docker ps -a; journalctl -u landline -b --no-pager -o cat | tail -20; exit 1; }")?;
        Ok(())
    }

    /// Reboots, and waits until everything that starts has started.
    pub(crate) fn reboot(&mut self) -> Result {
        self.vm.reboot()?;
        self.sh("systemctl is-system-running --wait || systemctl --failed --no-pager")?;
        Ok(())
    }
}
