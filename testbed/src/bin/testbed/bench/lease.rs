//! How long a lease takes on the wire, and how much of that is the client's.

use std::path::Path;
use std::time::Duration;

use landline_testbed::{Capture, DhcpKind, Error, Frame, Node, Result};

use super::Extent;
use super::lab::{Lab, Network};
use super::rounds::in_turn;
use super::sample::Sample;
use super::table::{Table, ms, times};

/// Who asks for the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Landline,
    Udhcpc,
}

/// One exchange as it was seen on the switch.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    /// From the first DISCOVER to the first ACK.
    whole: Duration,
    /// From the first OFFER to the first REQUEST.
    client: Duration,
}

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    let lab = Lab::new(landline)?;
    let machine = lab.lan.add_node_without_address("machine")?;
    let capture = lab.lan.capture(lab.lan.switch(), "sw", "udp port 67")?;
    let clients = [Client::Landline, Client::Udhcpc];
    let mut number = 0;
    let results = in_turn(extent.warm_ups, extent.runs, &clients, |client| {
        number += 1;
        // New to the server every time, so that it has the same to do for both.
        let mac = format!("02:00:00:00:{:02x}:{:02x}", number >> 8, number & 0xff);
        match client {
            Client::Landline => lab.run_once(Network::Bridge, &["--mac-address", &mac]).map(drop)?,
            Client::Udhcpc => lease_of_udhcpc(&machine, &mac)?,
        }
        exchange_of(&capture, &mac)
    })?;

    let [landline, udhcpc] = [0, 1].map(|at| {
        let whole: Sample = results[at].iter().map(|exchange| exchange.whole).collect();
        (whole, results[at].iter().map(|exchange| exchange.client).collect::<Sample>())
    });
    let mut table =
        Table::new(&["client", "median ms", "min ms", "max ms", "/ udhcpc", "of it the client ms"]);
    for (name, (whole, client)) in [("Landline", &landline), ("udhcpc", &udhcpc)] {
        let ratio = times(whole.median(), udhcpc.0.median());
        table.row(name, [ms(whole.median()), ms(whole.min()), ms(whole.max()), ratio, ms(client.median())]);
    }
    print!(
        "\n## From the first DISCOVER to the ACK\n\n\
         As captured on the LAN's switch. Leases of each: {}, in turn (and before them {} that are not counted), every one\n\
         for a hardware address that is new to the server, dnsmasq --no-ping. The client's part is from OFFER to REQUEST.\n\n{table}",
        extent.runs, extent.warm_ups,
    );
    Ok(())
}

/// Makes a machine of the LAN a new one and has it ask.
fn lease_of_udhcpc(machine: &Node, mac: &str) -> Result<()> {
    machine.sh(&format!("ip addr flush dev eth0; ip link set eth0 address {mac}"))?;
    machine.dhcp("eth0").map(drop)
}

/// The exchange of a client, once its ACK has been captured.
fn exchange_of(capture: &Capture, mac: &str) -> Result<Exchange> {
    let is = |frame: &Frame, kind: DhcpKind| {
        frame.dhcp().is_some_and(|message| message.client_mac() == mac && message.kind() == Some(kind))
    };
    let limit = Duration::from_secs(10);
    let acked = capture
        .wait_for(&format!("ACK for {mac}"), limit, |frame| is(frame, DhcpKind::Ack).then_some(frame.time))?;
    let frames = capture.frames();
    let first = |kind| frames.iter().find(|frame| is(frame, kind)).map(|frame| frame.time);
    let exchange = || {
        let (discover, offer, request) =
            (first(DhcpKind::Discover)?, first(DhcpKind::Offer)?, first(DhcpKind::Request)?);
        let whole = acked.duration_since(discover).ok()?;
        Some(Exchange { whole, client: request.duration_since(offer).ok()? })
    };
    exchange().ok_or_else(|| {
        Error::Unexpected(format!("{mac} has a lease without DISCOVER, OFFER and REQUEST in this order"))
    })
}
