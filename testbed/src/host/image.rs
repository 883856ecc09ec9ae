//! The container image `box`: a static busybox with every applet, since no registry can be reached from the lab.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::error::{Error, Result};
use crate::process::run;
use crate::scratch::base_dir;

/// Part of the file's name; to be raised when the content changes.
const VERSION: u32 = 2;
/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";
/// The page that `httpd -h /www` serves.
const PAGE: &str = "<!doctype html>\n<title>box</title>\n<p>A container on the LAN.</p>\n";

/// The image as a tar file for `docker load`; made on first use and shared by all labs.
pub(crate) fn image() -> Result<PathBuf> {
    let tar = base_dir()?.join(format!("box-{VERSION}.tar"));
    if tar.exists() {
        return Ok(tar);
    }
    let work = tempfile::tempdir_in(base_dir()?).map_err(Error::system("cannot make the image"))?;
    let at = |name: &str| work.path().join(name);
    fill(&at("root"))?;
    archive(&at("root"), &["."], &at("layer.tar"))?;
    let mut digest = Command::new("sha256sum");
    digest.arg(at("layer.tar"));
    let digest = run(digest, "sha256sum", Duration::from_mins(1)).into_result("sha256sum", "the machine")?;
    let digest = digest.split_whitespace().next().unwrap_or_default();
    let config = json!({
        "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
        "os": "linux",
        "config": {
            "Cmd": ["sh"],
            "Env": ["PATH=/bin:/sbin"],
            // Most commands ignore SIGTERM as pid 1, and every stop would take Docker's ten seconds.
            "StopSignal": "SIGKILL",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": ["box:latest"], "Layers": ["layer.tar"]}]);
    for (name, value) in [("config.json", config), ("manifest.json", manifest)] {
        fs::write(at(name), value.to_string()).map_err(Error::file("cannot write", at(name)))?;
    }
    archive(work.path(), &["manifest.json", "config.json", "layer.tar"], &at("image.tar"))?;
    // Several processes may do this at once; each has its own file, and the last rename wins.
    fs::rename(at("image.tar"), &tar).map_err(Error::file("cannot make", &tar))?;
    Ok(tar)
}

fn archive(dir: &Path, what: &[&str], tar: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--numeric-owner", "--owner=0", "--group=0", "--sort=name", "--mtime=@0", "-C"]);
    command.arg(dir).arg("-cf").arg(tar).args(what);
    run(command, "tar", Duration::from_mins(1)).into_result("tar", "the machine").map(drop)
}

fn fill(root: &Path) -> Result<()> {
    let failed = |path: &Path| Error::file("cannot make", path.to_owned());
    for dir in ["bin", "sbin", "etc", "tmp", "root", "proc", "sys", "dev", "www", "usr/share/udhcpc"] {
        let path = root.join(dir);
        fs::create_dir_all(&path).map_err(failed(&path))?;
    }
    let busybox = root.join("bin/busybox");
    fs::copy(BUSYBOX, &busybox).map_err(failed(&busybox))?;
    let mut list = Command::new(BUSYBOX);
    list.arg("--list");
    let applets =
        run(list, "busybox --list", Duration::from_secs(10)).into_result("busybox --list", "the machine")?;
    for applet in applets.lines().filter(|name| *name != "busybox" && !name.contains('/')) {
        let link = root.join("bin").join(applet);
        symlink("busybox", &link).map_err(failed(&link))?;
    }
    let script = include_str!("../udhcpc.script");
    for (path, text, mode) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644),
        ("www/index.html", PAGE, 0o644),
        ("usr/share/udhcpc/default.script", script, 0o755),
    ] {
        let path = root.join(path);
        fs::write(&path, text).map_err(failed(&path))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&path, mode).map_err(failed(&path))?;
    }
    Ok(())
}
