//! Which namespace a target is in.

use std::path::Path;

use landline_kernel::Netns;
use landline_spec::Target;

use super::AttachFailure;

/// Opens it, and says which one it is: of all namespaces of this boot, as far as the kernel tells them apart. The host's
/// own is refused.
pub(super) async fn open(target: &Target, sandbox: &Path) -> Result<(Netns, String), AttachFailure> {
    let (target, path) = (target.clone(), sandbox.to_owned());
    crate::blocking(move || {
        let gone = |source| AttachFailure::Gone { target: target.clone(), source };
        let netns = Netns::open(&path).map_err(gone)?;
        let id = netns.id().map_err(gone)?;
        let own = Netns::current().and_then(|own| own.id()).map_err(gone)?;
        if id == own {
            return Err(AttachFailure::Host(target));
        }
        Ok((netns, name_of(id)))
    })
    .await
}

/// Which namespace the path names now; `None`: none.
pub(super) fn identify(path: &Path) -> Option<String> {
    Netns::open(path).and_then(|netns| netns.id()).ok().map(name_of)
}

fn name_of(id: landline_kernel::NetnsId) -> String {
    id.to_string()
}
