//! The processes in a network namespace.

use std::fs;
use std::io;
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;

/// The control groups of the processes that are in the network namespace at this path, as the kernel shows them in
/// `/proc/PID/cgroup` (cgroups(7)): the paths without the hierarchies' names, each one once. A process that ends meanwhile is left out.
///
/// # Errors
/// There is no namespace at this path, or `/proc` cannot be listed.
pub fn cgroups_in(netns: &Path) -> io::Result<Vec<String>> {
    let wanted = fs::metadata(netns)?;
    let is_there = |pid: &str| {
        let own = fs::metadata(format!("/proc/{pid}/ns/net"));
        own.is_ok_and(|own| (own.st_dev(), own.st_ino()) == (wanted.st_dev(), wanted.st_ino()))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        if is_there(pid)
            && let Ok(groups) = fs::read_to_string(format!("/proc/{pid}/cgroup"))
        {
            // HIERARCHY:CONTROLLERS:PATH
            found.extend(groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_is_among_those_of_ones_namespace() {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.splitn(3, ':').nth(2)).unwrap();
        let found = cgroups_in(Path::new("/proc/self/ns/net")).unwrap();
        assert!(found.iter().any(|path| path == own), "{own} {found:?}");
        assert_eq!(found.iter().filter(|path| *path == own).count(), 1);
    }

    #[test]
    fn where_there_is_no_namespace_nobody_is() {
        let missing = cgroups_in(Path::new("/proc/self/ns/nothing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        // The path of a namespace that is gone.
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(cgroups_in(file.path()).unwrap(), [""; 0]);
    }
}
