//! The Debian package: what it installs, what an upgrade keeps, and what a purge leaves.

use std::path::Path;
use std::process::Command;

use super::host::Host;
use crate::tree::{static_binary, tree};
use crate::world::Result;

/// The exposure that `systemd-analyze security` may find at most, in tenths.
const EXPOSURE: &str = "46";

/// The Debian package as `make packages` builds it, but around [`static_binary`], and with this version.
pub(crate) fn debian_package(version: &str, to: &Path) -> Result<()> {
    let (binary, target) = (static_binary()?, tempfile::tempdir()?);
    // Where the package's list of files has what the program makes.
    let generated = tree("target/packages");
    let release = target.path().join("release");
    std::fs::create_dir(&release)?;
    std::fs::copy(&binary, release.join("landline"))?;
    run(Command::new(tree("packaging/generated")).args([&binary, &generated]))?;
    let mut deb = Command::new("cargo");
    deb.args([
        "deb",
        "--locked",
        "--no-build",
        "--no-strip",
        "--fast",
        "-p",
        "landline",
        "--deb-version",
        version,
    ]);
    run(deb.arg("--output").arg(to).env("CARGO_TARGET_DIR", target.path()))
}

fn run(command: &mut Command) -> Result<()> {
    let ran = command.current_dir(tree("")).output()?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr)).into())
}

/// A newer build, under running containers.
pub(crate) fn upgraded(host: &mut Host) -> Result {
    host.sh(&format!(
        "exposure=$(systemd-analyze security --no-pager landline.service | sed -n 's/.*exposure level for landline.service: \\([0-9]*\\)[.]\\([0-9]\\).*/\\1\\2/p')
        echo \"exposure: $exposure\"
        [ \"$exposure\" -le {EXPOSURE} ]
        pid() {{ systemctl show -P MainPID $1; }}
        daemon=$(pid landline.service) switches=$(pid landline-switches.service)
        [ \"$switches\" != 0 ]
        echo '# by hand' >>/etc/landline/landline.toml
        apt-get install -q -y --no-install-recommends /host/newer.deb
        [ \"$(dpkg-query -W -f '${{Version}}' landline)\" = 0.1.0-2 ]
        systemctl is-active landline.socket landline.service
        dpkg -L landline | grep -x /usr/share/doc/landline/THIRD-PARTY-NOTICES.txt
        [ \"$(pid landline.service)\" != \"$daemon\" ]
        # The switches and their cables go on; what the administrator wrote stays.
        [ \"$(pid landline-switches.service)\" = \"$switches\" ]
        grep -q '# by hand' /etc/landline/landline.toml
        fine"
    ))?;
    host.all_is_reached()
}

/// What is left of it once containers, networks and the package are gone: nothing.
pub(crate) fn purged(host: &mut Host) -> Result {
    host.sh("docker rm -f open fixed direct vde1 vde2 nat >/dev/null
        docker network rm open fixed direct vde nat >/dev/null
        landline doctor --undo
        apt-get purge -q -y landline
        ! command -v landline
        left=$(ls -d /etc/landline /var/lib/landline /run/landline* /run/docker/plugins/landline* /etc/systemd/system/*landline* \
            /etc/systemd/system/*/landline* /usr/lib/systemd/*/*landline* 2>/dev/null || true)
        left+=$(ip -o link | grep -E ': ll[a-z0-9]+' || true)
        left+=$(iptables-save | grep -i landline || true)
        left+=$(nft list ruleset | grep -i landline || true)
        left+=$(systemctl list-units --all --no-legend 'landline*' || true)
        left+=$(pgrep -a landline || true)
        [ -z \"$left\" ] || { echo \"left: $left\"; exit 1; }
        fine")
        .map(drop)
}
