//! Files of the tree, and the program as it is built for machines that have nothing else of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::Result;

/// A file of the tree.
pub(crate) fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The program as `make static` builds it, but for the optimization. Cargo keeps it beside the others; `make test` has
/// built it before.
pub(crate) fn static_binary() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target directory")?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "-p", "landline", "--target", &triple, "--target-dir"])
        .arg(target)
        .envs([("RUSTFLAGS", "-C target-feature=+crt-static"), ("CARGO_INCREMENTAL", "0")])
        .envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_STRIP", "true")])
        .current_dir(tree(""))
        .output()?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into());
    }
    Ok(target.join(triple).join("debug/landline"))
}
