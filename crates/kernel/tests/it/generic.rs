//! Generic netlink: families, and the features of a link.

use std::process::Command;

use landline_kernel::{Generic, LinkChange, NetlinkError};
use landline_types::IfName;

use crate::lab::{lab, link, pair};

#[test]
fn families_are_there_or_not() {
    let mut generic = Generic::open().unwrap();
    assert!(generic.has_family("nlctrl").unwrap());
    assert!(!generic.has_family("no_such_family").unwrap());
}

#[test]
fn a_link_writes_its_checksums_itself_wherever_it_goes() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let (a, b) = (a.name, b.name);
    let off = ns.run(|| -> Result<(), NetlinkError> {
        let mut generic = Generic::open().unwrap();
        generic.plain_checksums(&a)?;
        generic.plain_checksums(&a)
    });
    off.unwrap().unwrap();
    let features = |ns: &landline_kernel::Netns, link: &IfName| {
        let shown = ns.run(|| Command::new("ethtool").args(["-k", link.as_str()]).output()).unwrap().unwrap();
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    let off = ["tx-checksumming: off", "tx-tcp-segmentation: off"];
    assert!(off.iter().all(|line| features(&ns, &a).contains(line)), "{}", features(&ns, &a));
    assert!(features(&ns, &b).contains("tx-checksumming: on"));

    let (other, _) = lab();
    let index = link(&mut netlink, a.as_str()).index;
    netlink.set_link(index, &LinkChange::new().netns(&other)).unwrap();
    assert!(off.iter().all(|line| features(&other, &a).contains(line)), "{}", features(&other, &a));
    let gone = ns.run(|| Generic::open().unwrap().plain_checksums(&a)).unwrap();
    assert!(gone.unwrap_err().gone());
}
