//! Which namespace a target is in.

use std::path::Path;

use landline_kernel::Netns;
use landline_options::Target;

use super::AttachFailure;

/// Opens it, and says which one it is: of all namespaces of this boot, as far as the kernel tells them apart. The host's
/// own is refused.
pub(super) async fn open(target: &Target, sandbox: &Path) -> Result<(Netns, String), AttachFailure> {
    let (target, path) = (target.clone(), sandbox.to_owned());
    landline_links::blocking(move || {
        let gone = |source| AttachFailure::Gone { target: target.clone(), source };
        let netns = Netns::open(&path).map_err(gone)?;
        let id = netns.id().map_err(gone)?;
        let own = Netns::current().and_then(|own| own.id()).map_err(gone)?;
        if id == own {
            return Err(AttachFailure::Host(target));
        }
        let name = name_of(&netns).map_err(gone)?;
        Ok((netns, name))
    })
    .await
}

/// Which namespace the path names now, as no other of this boot is called; `None`: none. Blocks.
pub fn namespace_at(path: &Path) -> Option<String> {
    Netns::open(path).and_then(|netns| name_of(&netns)).ok()
}

/// Which process has this number now, as no other is called; `None`: none. Blocks.
pub fn process_called(pid: u32) -> Option<String> {
    let start = landline_kernel::process_start(pid).ok()?;
    Some(format!("{start} {}", landline_kernel::boottime::boot_id().ok()?))
}

/// Its number may be given again; the kernel's cookie is not, where it has them.
fn name_of(netns: &Netns) -> std::io::Result<String> {
    let id = netns.id()?;
    Ok(netns.cookie().map_or_else(|_| id.to_string(), |cookie| format!("{id} {cookie}")))
}
