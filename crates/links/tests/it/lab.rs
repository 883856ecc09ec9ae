//! What the tests share.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use landline_kernel::{Link, Netlink, Netns, NewLink, NewLinkKind, PeerLink};
use landline_links::Sandbox;
use landline_links::mark::Mark;

/// A pair of links that are up; the end with this name and alias.
pub(crate) fn pair(netlink: &mut Netlink, name: &str, alias: Option<String>) -> Link {
    let name = |suffix: &str| format!("{name}{suffix}").parse().unwrap();
    let peer = PeerLink { up: true, addr_gen_none: true, ..PeerLink::new(name("p")) };
    let mut new = NewLink::new(name(""), NewLinkKind::Veth { peer });
    (new.up, new.addr_gen_none, new.alias) = (true, true, alias);
    netlink.add_link(&new).unwrap();
    netlink.link_by_name(&name("")).unwrap().unwrap()
}

/// The marked link in a namespace.
pub(crate) fn enter(netns: &Netns, mark: &Mark) -> Sandbox {
    let path = PathBuf::from(format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd()));
    Sandbox::enter(&path, mark).unwrap().unwrap()
}
