//! Who may ask the daemon what: root everything, and the group of `[control]` what changes nothing.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landline_kernel::{group_number, peer_groups};
use landline_options::ConfigFile;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Request;
use crate::alone;

/// The process at the other end of a connection, as it was when it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    user: u32,
    groups: Vec<u32>,
}

impl Peer {
    /// One of this user and these groups.
    #[cfg(test)]
    pub(crate) fn new(user: u32, groups: &[u32]) -> Self {
        Self { user, groups: groups.to_vec() }
    }

    /// The one at the other end of this connection.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let mut groups = peer_groups(stream)?;
        groups.push(credentials.gid());
        Ok(Self { user: credentials.uid(), groups })
    }

    /// Whether it may ask everything.
    pub(super) fn is_root(&self) -> bool {
        self.user == 0
    }

    /// Whether it may ask this; if not, why.
    pub(crate) fn may(&self, request: &Request, config: &ConfigFile) -> Result<(), String> {
        if self.is_root() {
            return Ok(());
        }
        let group = config.control.group.as_deref();
        if !group.and_then(group_number).is_some_and(|group| self.groups.contains(&group)) {
            return Err(
                "only root may use the control socket; to give a group read-only access, set group in [control]".into()
            );
        }
        if request.only_looks() {
            return Ok(());
        }
        let group = group.unwrap_or_default();
        Err(format!(
            "only root may do this; members of the group {group} may use the commands that change nothing"
        ))
    }
}

impl Request {
    /// Whether it changes nothing, and its answer has no secrets in it.
    fn only_looks(&self) -> bool {
        match self {
            Self::Ls
            | Self::Ping
            | Self::Status
            | Self::Metrics
            | Self::Graph
            | Self::Events { .. }
            | Self::Wait { .. }
            | Self::Trace { .. }
            | Self::Inspect { .. }
            | Self::Networks
            | Self::InspectNetwork { .. }
            | Self::Identities
            | Self::Nat
            | Self::HostAccess
            | Self::Attachments
            | Self::Where { .. }
            | Self::Doctor { fix: false } => true,
            Self::IdentityOf { .. }
            | Self::SiteKey
            | Self::SetSiteKey { .. }
            | Self::ExportIdentities
            | Self::ImportIdentities { .. }
            | Self::Renew { .. }
            | Self::Release { .. }
            | Self::Forget { .. }
            | Self::KeepHostLease(_)
            | Self::DropHostLease { .. }
            | Self::ForgetNetwork { .. }
            | Self::NatAdd { .. }
            | Self::NatRemove { .. }
            | Self::Attach { .. }
            | Self::Runtime(_)
            | Self::Detach { .. }
            | Self::Change { .. }
            | Self::Doctor { fix: true }
            | Self::DoctorUndo
            | Self::Reload
            | Self::HostAccessEnable { .. }
            | Self::HostAccessDisable { .. } => false,
        }
    }
}

/// Lets the group of the configuration connect to the socket, whenever the configuration is read, until `cancel`.
pub(crate) async fn follow_group(
    socket: PathBuf,
    mut config: watch::Receiver<Arc<ConfigFile>>,
    cancel: CancellationToken,
) {
    loop {
        let group = config.borrow_and_update().control.group.clone();
        let number = group.as_deref().and_then(group_number);
        if let (Some(group), None) = (&group, number) {
            tracing::warn!(group, "this host has no such group; only root may use the control socket");
        }
        if let Err(error) = admit(&socket, number) {
            tracing::warn!(%error, "the group of the control socket could not be set");
        }
        match cancel.run_until_cancelled(config.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Gives the socket to this group, or to root alone; with it the directory, if that is Landline's own.
fn admit(socket: &Path, group: Option<u32>) -> io::Result<()> {
    let directory = socket.parent().filter(|directory| *directory == Path::new(alone::DIRECTORY));
    let modes = if group.is_some() { (0o710, 0o660) } else { (0o700, 0o600) };
    for (path, mode) in directory.map(|path| (path, modes.0)).into_iter().chain([(socket, modes.1)]) {
        // Nobody has more for a moment: the old group loses its way in before the new one has it.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o700))?;
        std::os::unix::fs::chown(path, None, Some(group.unwrap_or(0)))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(group: &str) -> ConfigFile {
        ConfigFile::parse(&format!("[control]\ngroup = \"{group}\"")).unwrap()
    }

    fn peer(user: u32, groups: &[u32]) -> Peer {
        Peer::new(user, groups)
    }

    #[test]
    fn root_may_do_everything_and_others_nothing() {
        for config in [ConfigFile::default(), config("4242")] {
            assert_eq!(peer(0, &[0]).may(&Request::Reload, &config), Ok(()));
            assert!(peer(1000, &[1000, 0]).may(&Request::Ls, &config).is_err(), "root's group is no root");
        }
    }

    #[test]
    fn members_of_the_group_may_look() {
        let (config, member) = (config("4242"), peer(1000, &[1000, 4242]));
        for request in [Request::Ls, Request::Status, Request::Doctor { fix: false }, Request::Networks] {
            assert_eq!(member.may(&request, &config), Ok(()), "{request:?}");
        }
        let web = || "web".to_owned();
        for request in [
            Request::Doctor { fix: true },
            Request::SiteKey,
            Request::Reload,
            Request::Renew { container: web(), network: None },
            Request::NatRemove { container: web() },
        ] {
            let refused = member.may(&request, &config).unwrap_err();
            assert!(refused.starts_with("only root may do this; members of the group 4242 may"), "{refused}");
        }
        assert!(member.may(&Request::Ls, &ConfigFile::default()).is_err(), "no longer");
    }

    #[test]
    fn the_other_end_is_this_process() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (one, _other) = UnixStream::pair().unwrap();
            assert_eq!(Peer::of(&one).unwrap().user, rustix::process::geteuid().as_raw());
        });
    }
}
