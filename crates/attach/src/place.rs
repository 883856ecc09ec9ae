//! Which namespace a target is in.

use std::path::Path;
use std::sync::Arc;

use landline_links::{LinuxNamespaces, Namespaces, OpenNamespace, blocking};
use landline_options::Target;

use super::AttachFailure;

/// Opens it, and says which one it is ([`OpenNamespace::name`]). The host's own is refused.
pub(super) async fn open(
    namespaces: Arc<dyn Namespaces>,
    target: &Target,
    sandbox: &Path,
) -> Result<(Arc<dyn OpenNamespace>, String), AttachFailure> {
    let (target, path) = (target.clone(), sandbox.to_owned());
    blocking(move || {
        let gone = |source| AttachFailure::Gone { target: target.clone(), source };
        let netns = namespaces.open(&path).map_err(gone)?;
        if netns.is_hosts().map_err(gone)? {
            return Err(AttachFailure::Host(target));
        }
        let name = netns.name().map_err(gone)?;
        Ok((netns, name))
    })
    .await
}

/// Which namespace the path names now ([`OpenNamespace::name`]); `None`: none. Blocks.
pub fn namespace_at(path: &Path) -> Option<String> {
    LinuxNamespaces.name_at(path)
}

/// Which process has this number now, as no other is called; `None`: none. Blocks.
pub fn process_called(pid: u32) -> Option<String> {
    let start = landline_kernel::process_start(pid).ok()?;
    Some(format!("{start} {}", landline_kernel::boottime::boot_id().ok()?))
}
