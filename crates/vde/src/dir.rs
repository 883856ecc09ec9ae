//! The directory that is a switch, and others with sockets in them, as somebody has to use them who has more rights than
//! those who may write there.
//!
//! A path may lead elsewhere from one call to the next when others may rename what is on it. So a directory is opened once,
//! component by component; whatever is done in it afterwards starts from its descriptor and follows no link, and what
//! becomes of a socket's file is done to the file that the kernel made for that socket.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

/// The longest path of a switch's directory, in bytes: names of sockets in it must fit into a socket address, and
/// clients append to it too.
pub const PATH_MAX: usize = 96;

/// How many symbolic links a path may lead over, as with the kernel's own walk.
const LINKS_MAX: usize = 40;

/// Why a switch's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Sockets in it could not be named.
    #[error("the path {0} is too long for sockets in it; at most {PATH_MAX} bytes will do")]
    TooLong(PathBuf),
    /// Clients are elsewhere.
    #[error("{0} is not an absolute path")]
    Relative(PathBuf),
    /// Somebody answers on it.
    #[error("another switch is running in {0}; stop it, or join it")]
    InUse(PathBuf),
    /// A file that is something else is in the way.
    #[error("{0} is there already and is not a socket")]
    InTheWay(PathBuf),
    /// Others could put a directory of their own in its place.
    #[error(
        "{path} cannot be used because other users can write to {parent} and could replace what is in it; \
         take that right away: chmod go-w {parent}"
    )]
    Exposed {
        /// What was to be used.
        path: PathBuf,
        /// The directory above it.
        parent: PathBuf,
    },
    /// Somebody else made it where everybody may make one.
    #[error(
        "{path} cannot be used because another user made it, in a directory where everybody can; remove it, or choose \
         another directory"
    )]
    Foreign {
        /// What was to be used.
        path: PathBuf,
    },
    /// The system's answer.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Who may use a socket: its owner, or the members of a group too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) group: Option<u32>,
}

impl Access {
    pub(crate) const fn socket_mode(self) -> Mode {
        Mode::from_raw_mode(if self.group.is_some() { 0o660 } else { 0o600 })
    }

    /// Clients make their sockets in the directory, so they must be able to write to it.
    const fn dir_mode(self) -> Mode {
        Mode::from_raw_mode(if self.group.is_some() { 0o2770 } else { 0o2700 })
    }

    pub(crate) fn group(self) -> Option<Gid> {
        self.group.map(Gid::from_raw)
    }

    /// Whether the one who switches what is in this directory is another than these, its owner and root.
    fn is_exposed(self, dir: &Stat) -> bool {
        let mode = Mode::from_raw_mode(dir.st_mode);
        // A group of the user's own, as Debian makes one for each, is no other.
        let known = [0, dir.st_uid].contains(&dir.st_gid) || self.group == Some(dir.st_gid);
        let others = mode.contains(Mode::WOTH) || (mode.contains(Mode::WGRP) && !known);
        others && !mode.contains(Mode::SVTX)
    }
}

/// Whether somebody else has made a directory where everybody may make one (`/tmp`): who is there first would be the one who says
/// what is switched there. `user`: who is to use it.
fn is_foreign(dir: &Stat, parent: &Stat, user: u32) -> bool {
    let anybody = Mode::from_raw_mode(parent.st_mode).contains(Mode::WOTH);
    anybody && ![0, user].contains(&dir.st_uid)
}

/// Whether sockets can be made in this directory at all.
pub(crate) fn check(dir: &Path) -> Result<(), DirError> {
    if !dir.is_absolute() {
        return Err(DirError::Relative(dir.to_owned()));
    }
    if dir.as_os_str().len() > PATH_MAX { Err(DirError::TooLong(dir.to_owned())) } else { Ok(()) }
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    /// Where it was found, for those who connect, and for messages.
    path: PathBuf,
}

impl Dir {
    /// Opens a directory to join the switch in it. Symbolic links on the way count if they are root's or our own.
    pub(crate) fn find(path: &Path) -> io::Result<Self> {
        let fd = walk(path, &us(), &mut |_, _| Ok(()))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens the directory that has the file of this path, in order to run something there, and says what the file is called.
    pub(crate) fn above(path: &Path, access: Access) -> Result<(Self, OsString), DirError> {
        let failed = |what| move |source| DirError::Io { what, path: path.to_owned(), source };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed("use")(io::ErrorKind::InvalidInput.into()));
        };
        let mut exposed = None;
        let fd = walk(parent, &us(), &mut |at, stat| {
            if !access.is_exposed(stat) {
                return Ok(());
            }
            exposed = Some(at.to_owned());
            Err(io::ErrorKind::PermissionDenied.into())
        });
        match (fd, exposed) {
            (Ok(fd), _) => Ok((Self { fd, path: parent.to_owned() }, name.to_owned())),
            (Err(_), Some(parent)) => Err(DirError::Exposed { path: path.to_owned(), parent }),
            (Err(source), None) => Err(failed("open the directory of")(source)),
        }
    }

    /// Opens the directory of this name in this one, which is made if it is not there. `true`: it was made.
    pub(crate) fn make(&self, name: &OsStr, access: Access) -> Result<(Self, bool), DirError> {
        let path = self.path.join(name);
        let failed = |what| {
            let path = path.clone();
            move |error: Errno| DirError::Io { what, path, source: error.into() }
        };
        let made = match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(failed("make the directory")(error)),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(failed("open the directory"))?;
        let own = rustix::fs::fstat(&fd).map_err(failed("look at"))?;
        let parent = rustix::fs::fstat(&self.fd).map_err(failed("look at the directory of"))?;
        if is_foreign(&own, &parent, rustix::process::geteuid().as_raw()) {
            return Err(DirError::Foreign { path });
        }
        if made {
            if own.st_uid != rustix::process::geteuid().as_raw() {
                return Err(failed("keep the directory")(Errno::PERM));
            }
            if let Some(group) = access.group() {
                rustix::fs::fchown(&fd, None, Some(group)).map_err(failed("set the group of"))?;
            }
            rustix::fs::fchmod(&fd, access.dir_mode()).map_err(failed("set the permissions of"))?;
        }
        Ok((Self { fd, path }, made))
    }

    /// Where it was found.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The address of what is called so in it, and in no other directory.
    fn address(&self, name: &OsStr) -> rustix::io::Result<SocketAddrUnix> {
        SocketAddrUnix::new(in_proc(&self.fd).join(name))
    }

    /// The socket of this name, as a file that can be looked at and connected to. A symbolic link is none.
    pub(crate) fn socket(&self, name: &OsStr) -> io::Result<SocketFile> {
        SocketFile::open(&self.fd, name)
    }

    /// Whether this is the same directory.
    pub(crate) fn is(&self, other: &OwnedFd) -> bool {
        let (Ok(a), Ok(b)) = (rustix::fs::fstat(&self.fd), rustix::fs::fstat(other)) else { return false };
        (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
    }

    /// Names a socket, for its owner (this process's user if `None`) and its group.
    pub(crate) fn bind(
        &self,
        socket: &OwnedFd,
        name: &OsStr,
        mode: Mode,
        (owner, group): (Option<Uid>, Option<Gid>),
    ) -> io::Result<()> {
        // The kernel takes the file's mode from the socket, so nobody has more of it for a moment.
        rustix::fs::fchmod(socket, mode)?;
        rustix::net::bind(socket, &self.address(name)?)?;
        let own = || -> io::Result<()> {
            // Nothing to change needs no rights. Whatever has the name by now, ours was made as it is to be, or is out of reach.
            let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            let same_mode = Mode::from_raw_mode(stat.st_mode) == mode;
            if same_mode && owner.is_none_or(|owner| owner == uid) && group.is_none_or(|group| group == gid) {
                return Ok(());
            }
            let file = landline_kernel::socket_file(socket)?;
            if owner.is_some() || group.is_some() {
                rustix::fs::chownat(&file, c"", owner, group, AtFlags::EMPTY_PATH)?;
            }
            // What the umask has taken away.
            Ok(rustix::fs::chmod(in_proc(&file), mode)?)
        };
        own().inspect_err(|_| self.remove(name))
    }

    /// Takes a name away, if it is there.
    pub(crate) fn remove(&self, name: &OsStr) {
        let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
    }

    /// Takes a directory away, if it is empty.
    pub(crate) fn remove_dir(&self, name: &OsStr) {
        let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR);
    }

    /// What the sockets in it are called.
    pub(crate) fn sockets(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            if entry.file_type() == FileType::Socket {
                names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
            }
        }
        Ok(names)
    }
}

/// The file of a socket, whatever its path leads to by now.
#[derive(Debug)]
pub(crate) struct SocketFile {
    file: OwnedFd,
    pub(crate) owner: u32,
}

impl SocketFile {
    pub(crate) fn open(dir: &OwnedFd, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a socket"));
        }
        Ok(Self { file, owner: stat.st_uid })
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> rustix::io::Result<SocketAddrUnix> {
        SocketAddrUnix::new(in_proc(&self.file))
    }
}

/// A path to what a descriptor of this process is open on.
fn in_proc(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Opens a directory component by component. `passes` is asked about each directory on the way, that itself included.
/// A symbolic link counts if it belongs to one of these users: others could make it lead elsewhere at any time.
fn walk(
    path: &Path,
    users: &[u32],
    passes: &mut dyn FnMut(&Path, &Stat) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = || rustix::fs::open("/", flags | OFlags::DIRECTORY, Mode::empty());
    let mut left = components(path);
    let (mut at, mut name, mut links) = (root()?, PathBuf::from("/"), 0);
    while let Some(next) = left.pop() {
        if next == "/" {
            (at, name) = (root()?, PathBuf::from("/"));
            continue;
        }
        let file = rustix::fs::openat(&at, &next, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                name.push(&next);
                passes(&name, &stat)?;
                at = file;
            }
            FileType::Symlink if users.contains(&stat.st_uid) && links < LINKS_MAX => {
                links += 1;
                let target = rustix::fs::readlinkat(&file, c"", Vec::new())?;
                left.extend(components(Path::new(OsStr::from_bytes(target.as_bytes()))));
            }
            FileType::Symlink => return Err(Errno::LOOP.into()),
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Ok(at)
}

/// The users whose symbolic links count: root and our own.
fn us() -> [u32; 2] {
    [0, rustix::process::geteuid().as_raw()]
}

/// The components of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn paths_must_be_usable_by_clients() {
        assert!(check(Path::new("/run/switch")).is_ok());
        assert!(matches!(check(Path::new("switch")), Err(DirError::Relative(_))));
        assert!(matches!(check(Path::new(&format!("/{}", "x".repeat(96)))), Err(DirError::TooLong(_))));
    }

    #[test]
    fn a_walk_ends_where_the_kernels_does() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("a/b")).unwrap();
        symlink("a/../a/b", place.path().join("link")).unwrap();
        symlink(place.path().join("link"), place.path().join("absolute")).unwrap();
        symlink("loop", place.path().join("loop")).unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        let walked = |name: &str| Dir::find(&place.path().join(name));
        for name in ["a/b", "link", "absolute", "a/./b", "link/../b", "link/"] {
            let there = rustix::fs::open(place.path().join("a/b"), OFlags::PATH, Mode::empty()).unwrap();
            assert!(walked(name).unwrap().is(&there), "{name}");
        }
        for name in ["loop", "file", "nothing", "file/x"] {
            assert!(walked(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_directory_of_somebody_else_where_everybody_may_make_one_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let stat = |mode: u32, user: u32| {
            let mut stat = rustix::fs::stat(place.path()).unwrap();
            (stat.st_mode, stat.st_uid) = (0o40_000 | mode, user);
            stat
        };
        let tmp = stat(0o1777, 0);
        assert!(is_foreign(&stat(0o700, 1000), &tmp, 0) && is_foreign(&stat(0o700, 1001), &tmp, 1000));
        assert!(!is_foreign(&stat(0o700, 0), &tmp, 0) && !is_foreign(&stat(0o700, 1000), &tmp, 1000));
        // In a user's own directory he says what is there.
        assert!(!is_foreign(&stat(0o700, 1000), &stat(0o755, 1000), 0));
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(place.path(), Permissions::from_mode(0o1777)).unwrap();
            let theirs = place.path().join("sw");
            fs::create_dir(&theirs).unwrap();
            std::os::unix::fs::chown(&theirs, Some(65534), None).unwrap();
            let access = Access { group: None };
            let (above, name) = Dir::above(&theirs, access).unwrap();
            assert!(matches!(above.make(&name, access), Err(DirError::Foreign { path }) if path == theirs));
        }
    }

    /// Which parents are refused, by mode, owner and group, for a switch of group 7.
    #[test]
    fn a_parent_that_others_may_write_to_exposes_what_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        let file = fs::File::open(place.path()).unwrap();
        let looks = |mode: u32, user: u32, group: u32| {
            let mut stat = rustix::fs::fstat(&file).unwrap();
            (stat.st_mode, stat.st_uid, stat.st_gid) = (0o40_000 | mode, user, group);
            Access { group: Some(7) }.is_exposed(&stat)
        };
        assert!(looks(0o777, 0, 0) && looks(0o775, 0, 8) && looks(0o2775, 1000, 8));
        assert!(!looks(0o1777, 0, 0), "/tmp");
        assert!(!looks(0o775, 1000, 1000), "a user's own group");
        assert!(!looks(0o775, 0, 7) && !looks(0o775, 0, 0) && !looks(0o755, 1000, 8));
        fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
        let error = Dir::above(&place.path().join("sw"), Access { group: None }).unwrap_err();
        assert!(matches!(&error, DirError::Exposed { parent, .. } if parent == place.path()), "{error}");
    }

    #[test]
    fn a_link_of_somebody_else_leads_nowhere() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("dir")).unwrap();
        let link = place.path().join("link");
        symlink("dir", &link).unwrap();
        assert!(Dir::find(&link).is_ok());
        let own = rustix::process::geteuid().as_raw();
        let walked = |user: u32| walk(&link, &[user], &mut |_, _| Ok(()));
        assert!(walked(own).is_ok() && walked(own + 1).is_err());
    }
}
