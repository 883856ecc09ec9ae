//! Tracked connections: their translation is seen, and they are forgotten one by one.

use std::net::UdpSocket;

use landline_kernel::{Connection, Conntrack, LinkChange, nft};

use crate::lab::{give, lab, link};

#[test]
fn a_translated_connection_is_listed_and_forgotten() {
    let (ns, mut netlink) = lab();
    let index = link(&mut netlink, "lo").index;
    netlink.set_link(index, &LinkChange::new().up()).unwrap();
    give(&mut netlink, index, "192.0.2.1/32");
    give(&mut netlink, index, "192.0.2.117/32");
    let output =
        "type nat hook output priority -100;\nip daddr 192.0.2.117 udp dport 9 dnat to 192.0.2.1:19\n";
    let rules = nft::table("ip", "t", &format!("chain o {{\n{output}}}\n"));
    ns.run(|| {
        nft::apply(&rules).unwrap();
        let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
        socket.send_to(b"x", "192.0.2.117:9").unwrap();
        socket.send_to(b"x", "192.0.2.117:10").unwrap();
        let mut conntrack = Conntrack::open().unwrap();
        let all = |conntrack: &mut Conntrack| {
            // What it says back, that nobody listens there, belongs to the same connection.
            let mut found = conntrack.connections(|c: &Connection| c.original.protocol == 17).unwrap();
            found.sort_by_key(|c| c.original.destination.port());
            found
        };
        let found = all(&mut conntrack);
        let told: Vec<_> = found.iter().map(|c| (c.original.destination, c.reply.source)).collect();
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(
            told,
            [(at("192.0.2.117:9"), at("192.0.2.1:19")), (at("192.0.2.117:10"), at("192.0.2.117:10"))]
        );
        assert!(conntrack.forget(&found[0]).unwrap());
        assert_eq!(all(&mut conntrack), found[1..]);
        assert!(!conntrack.forget(&found[0]).unwrap(), "it is gone already");
    })
    .unwrap();
}
