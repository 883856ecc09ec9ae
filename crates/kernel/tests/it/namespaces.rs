//! Namespaces, and settings inside them.

use std::io;

use landline_kernel::sysctl::{self, Family};
use landline_kernel::{Netlink, Netns};

use crate::lab::{lab, name, pair};

#[test]
fn running_inside_leaves_the_caller_where_it_was() {
    let before = Netns::current().unwrap().id().unwrap();
    let ns = Netns::create().unwrap();
    let inside = ns.run(|| Netns::current().unwrap().id().unwrap()).unwrap();
    assert_eq!(inside, ns.id().unwrap());
    assert_ne!(inside, before);
    assert_eq!(Netns::current().unwrap().id().unwrap(), before);
    assert_eq!(Netns::of_pid(std::process::id()).unwrap().id().unwrap(), before);
    assert_eq!(ns.try_clone().unwrap().id().unwrap(), inside);
}

#[test]
fn only_a_network_namespace_is_one() {
    // What Docker leaves at a sandbox's path before it mounts the namespace there: an empty file.
    let error = Netns::open("/proc/self/status".as_ref()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(Netns::open("/proc/self/ns/none".as_ref()).unwrap_err().kind(), io::ErrorKind::NotFound);
    // A namespace of another kind opens, but nobody gets in.
    let uts = Netns::open("/proc/self/ns/uts".as_ref()).unwrap();
    assert!(uts.run(|| ()).is_err());
}

#[test]
fn a_panic_inside_goes_on_outside() {
    let ns = Netns::create().unwrap();
    let result = std::panic::catch_unwind(|| ns.run(|| panic!("as planned")));
    assert_eq!(result.unwrap_err().downcast_ref(), Some(&"as planned"));
}

#[test]
fn a_new_namespace_has_only_lo() {
    let (_ns, mut netlink) = lab();
    let links = netlink.links().unwrap();
    assert_eq!(links.len(), 1);
    assert!(links[0].loopback && !links[0].up && !links[0].ethernet);
    assert_eq!((links[0].index, &links[0].name), (1, &name("lo")));
}

#[test]
fn settings_are_those_of_the_namespace() {
    let (ns, mut netlink) = lab();
    pair(&mut netlink);
    ns.run(|| {
        for (family, key) in [(Family::V4, "arp_ignore"), (Family::V6, "accept_ra")] {
            sysctl::set(family, &name("a"), key, "2").unwrap();
            assert_eq!(sysctl::get(family, &name("a"), key).unwrap(), "2");
            assert_ne!(sysctl::get(family, &name("b"), key).unwrap(), "2");
            let missing = sysctl::get(family, &name("nobody"), key).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        }
        let bad = sysctl::set(Family::V4, &name("a"), "arp_ignore", "many").unwrap_err();
        assert_eq!(bad.raw_os_error(), Some(libc::EINVAL));
    })
    .unwrap();
    // Not here, where this test runs.
    assert_eq!(
        sysctl::get(Family::V4, &name("a"), "arp_ignore").unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
}

#[test]
fn a_connection_stays_where_it_was_opened() {
    let (ns, mut here) = lab();
    pair(&mut here);
    let mut elsewhere = Netlink::open_in(&Netns::create().unwrap()).unwrap();
    assert_eq!(elsewhere.links().unwrap().len(), 1);
    let mut again = ns.run(Netlink::open).unwrap().unwrap();
    assert_eq!(again.links().unwrap().len(), 3);
}
