//! Replacing files that others read: whole or not at all, with the permissions they had.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Replaces a file, or makes it: all of the new text is there or all of the old one, whatever happens. One that is there
/// keeps its permissions; `mode` is for a new one.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mode = fs::metadata(path).map_or(mode, |there| there.permissions().mode() & 0o7777);
    let mut beside = path.as_os_str().to_owned();
    beside.push(".landline-new");
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    // Not as narrow as the umask would have it.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
