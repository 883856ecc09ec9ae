//! Captures see what passes, and the scripted server does what it is told.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use landline_testbed::{DhcpKind, DhcpMessage, Dnsmasq, FakeServer, Lan, PEER_V4, Reply, Result};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);

#[test]
fn a_capture_sees_arp_and_the_four_messages_of_a_lease() -> Result<()> {
    let lan = Lan::new()?;
    let _server = lan.dnsmasq(Dnsmasq::default())?;
    let client = lan.add_node_without_address("client")?;
    let mac = client.mac("eth0")?;
    let everything = lan.capture(lan.switch(), "sw", "")?;
    let capture = lan.capture(&client, "eth0", "arp or port 67 or port 68")?;
    let address = client.dhcp("eth0")?;
    client.check(&["ping", "-c1", "-W2", PEER_V4])?;
    let arp = capture.wait_for("an ARP reply of the peer", Duration::from_secs(5), |frame| {
        frame.arp().filter(|arp| arp.operation == 2 && arp.sender_ip.to_string() == PEER_V4)
    })?;
    assert_eq!(arp.target_mac, mac);
    assert_eq!(arp.sender_mac, lan.peer().mac("eth0")?);
    let lines = capture.lines().join("\n");
    let kinds: Vec<_> = capture.dhcp().into_iter().filter_map(|(_, message)| message.kind()).collect();
    assert_eq!(kinds, [DhcpKind::Discover, DhcpKind::Offer, DhcpKind::Request, DhcpKind::Ack], "{lines}");
    let (frame, ack) = capture.dhcp().pop().expect("an ACK");
    assert_eq!((ack.yiaddr, ack.client_mac(), frame.destination()), (address, mac.clone(), mac));
    let frames = everything.stop()?;
    assert!(frames.iter().any(|frame| {
        frame.ip().is_some_and(|(_, to, protocol, _)| protocol == 1 && to.to_string() == PEER_V4)
    }));
    Ok(())
}

#[test]
fn the_scripted_server_is_late_and_refuses() -> Result<()> {
    let lan = Lan::new()?;
    let client = lan.add_node_without_address("client")?;
    let capture = lan.capture(&client, "eth0", "port 68")?;
    let mut naks = 1;
    let late = Duration::from_millis(200);
    let server = FakeServer::start(lan.peer(), SERVER, move |message| match message.kind() {
        Some(DhcpKind::Discover) => {
            vec![Reply::late(late, &DhcpMessage::grant(message, DhcpKind::Offer, SERVER, ADDRESS, 120))]
        }
        Some(DhcpKind::Request) if naks > 0 => {
            naks -= 1;
            vec![Reply::now(&DhcpMessage::answer(message, DhcpKind::Nak, SERVER))]
        }
        Some(DhcpKind::Request) => {
            let ack = DhcpMessage::grant(message, DhcpKind::Ack, SERVER, ADDRESS, 120);
            vec![Reply::now(&ack), Reply::now(&ack)]
        }
        _ => Vec::new(),
    })?;
    let start = Instant::now();
    assert_eq!(client.dhcp("eth0")?, ADDRESS);
    assert!(start.elapsed() >= late);
    let kinds: Vec<_> = server.seen().iter().filter_map(|(_, message)| message.kind()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == DhcpKind::Request).count(), 2, "{kinds:?}");
    capture.wait_for("two ACKs", Duration::from_secs(5), |_| {
        let acks = capture.dhcp().iter().filter(|(_, message)| message.kind() == Some(DhcpKind::Ack)).count();
        (acks == 2).then_some(())
    })
}

#[test]
fn a_capture_with_a_bad_filter_says_so() -> Result<()> {
    let lan = Lan::new()?;
    let error = lan.capture(lan.peer(), "eth0", "no such filter").expect_err("a refusal");
    assert!(error.to_string().contains("syntax error"), "{error}");
    Ok(())
}
