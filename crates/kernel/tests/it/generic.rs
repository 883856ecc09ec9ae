//! Generic netlink: families, and the features of a link.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use landline_kernel::{Generic, LinkChange, NetlinkError, SockDiag};
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

/// Opens a packet socket on a link, with `PACKET_VNET_HDR` as it is told, and waits.
const READER: &str = "
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.setsockopt(263, 15, int(sys.argv[2]))
s.bind((sys.argv[1], 3))
print('bound', flush=True)
sys.stdin.read()
";

#[test]
fn who_takes_offloads_is_seen() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    for (header, taken) in [("0", false), ("1", true)] {
        let mut reader = ns
            .run(|| {
                let mut command = Command::new("python3");
                command.args(["-c", READER, a.name.as_str(), header]);
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
            })
            .unwrap();
        let mut line = String::new();
        BufReader::new(reader.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "bound\n");
        let seen = ns.run(|| {
            let mut sockets = SockDiag::open().unwrap();
            [a.index, b.index].map(|index| sockets.takes_offloads(index).unwrap())
        });
        assert_eq!(seen.unwrap(), [taken, false]);
        drop(reader.stdin.take());
        reader.wait().unwrap();
    }
}
