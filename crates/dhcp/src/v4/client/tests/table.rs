//! Every state with every event: no surprises, and what is promised of all of them.

use proptest::prelude::*;

use super::*;

#[test]
fn every_state_has_its_name() {
    for (state, name) in [
        (StateName::Stopped, "STOPPED"),
        (StateName::Init, "INIT"),
        (StateName::Selecting, "SELECTING"),
        (StateName::Requesting, "REQUESTING"),
        (StateName::Rebooting, "REBOOTING"),
        (StateName::Checking, "CHECKING"),
        (StateName::Bound, "BOUND"),
        (StateName::Renewing, "RENEWING"),
        (StateName::Rebinding, "REBINDING"),
    ] {
        assert_eq!(state.to_string(), name);
    }
}

/// A client in this state, its last message, and whether it has a lease.
fn in_state(state: StateName) -> (Script, Option<Sent>) {
    let config = Config::new(MAC);
    let mut script = match state {
        StateName::Bound | StateName::Renewing | StateName::Rebinding | StateName::Stopped => {
            Script::bound(config, 3600)
        }
        StateName::Rebooting => Script::remember(config, ADDRESS),
        StateName::Init | StateName::Selecting | StateName::Requesting | StateName::Checking => {
            Script::start(config)
        }
    };
    let mut last = script.sent.pop();
    match state {
        StateName::Bound | StateName::Selecting | StateName::Rebooting => {}
        StateName::Stopped => {
            script.client.release(script.now);
            script.drain();
        }
        StateName::Renewing => script.run_to(1_800_000),
        StateName::Rebinding => script.run_to(3_150_000),
        StateName::Requesting => script.offer(last.as_ref().expect("a discover"), SERVER, ADDRESS, 3600),
        StateName::Checking => {
            script.offer(last.as_ref().expect("a discover"), SERVER, ADDRESS, 3600);
            let request = script.message(MessageType::Request);
            script.ack(&request, SERVER, ADDRESS, 3600);
            last = Some(request);
        }
        StateName::Init => {
            for _ in 0..2 {
                let discover = last.take().expect("a discover");
                script.offer(&discover, SERVER, ADDRESS, 3600);
                let request = script.message(MessageType::Request);
                script.nak(&request, SERVER);
                last = script.sent.pop();
            }
        }
    }
    let last = script.sent.pop().or(last);
    script.sent.clear();
    script.arps.clear();
    script.events();
    assert_eq!(script.client.state(), state);
    (script, last)
}

/// (state, message, the state after it) for a matching answer of the right server.
#[test]
fn answers_in_every_state() {
    use MessageType::{Ack, Nak, Offer};
    use StateName::{Bound, Checking, Init, Rebinding, Rebooting, Renewing, Requesting, Selecting, Stopped};
    for (state, after) in [
        (Stopped, [Stopped, Stopped, Stopped]),
        (Init, [Init, Init, Init]),
        (Selecting, [Requesting, Selecting, Selecting]),
        (Requesting, [Requesting, Checking, Selecting]),
        (Rebooting, [Rebooting, Checking, Rebooting]),
        (Checking, [Checking, Checking, Checking]),
        (Bound, [Bound, Bound, Bound]),
        (Renewing, [Renewing, Bound, Selecting]),
        (Rebinding, [Rebinding, Bound, Selecting]),
    ] {
        for (kind, after) in [Offer, Ack, Nak].into_iter().zip(after) {
            let (mut script, last) = in_state(state);
            let Some(last) = last else { continue };
            script.receive(&reply(kind, &last, SERVER, ADDRESS, 3600));
            assert_eq!(script.client.state(), after, "{kind:?} in {state}");
        }
    }
}

/// (state, the state after `renew`, `restart`, `release`).
#[test]
fn calls_in_every_state() {
    use StateName::{Bound, Checking, Init, Rebinding, Rebooting, Renewing, Requesting, Selecting, Stopped};
    for (state, renew, restart, releases) in [
        (Stopped, Stopped, Selecting, false),
        (Init, Init, Init, false),
        (Selecting, Selecting, Selecting, false),
        (Requesting, Requesting, Selecting, true),
        (Rebooting, Rebooting, Rebooting, false),
        (Checking, Checking, Rebooting, true),
        (Bound, Renewing, Rebooting, true),
        (Renewing, Renewing, Rebooting, true),
        (Rebinding, Rebinding, Rebooting, true),
    ] {
        let (mut script, _) = in_state(state);
        script.client.renew(script.now);
        script.drain();
        assert_eq!(script.client.state(), renew, "renew in {state}");
        let (mut script, _) = in_state(state);
        script.client.restart(script.now);
        script.drain();
        assert_eq!(script.client.state(), restart, "restart in {state}");
        let (mut script, _) = in_state(state);
        script.client.release(script.now);
        script.drain();
        assert_eq!(script.client.state(), Stopped, "release in {state}");
        assert_eq!(script.kinds(), vec![MessageType::Release; usize::from(releases)], "release in {state}");
        assert_eq!((script.client.lease(), script.client.poll_timeout()), (None, None), "release in {state}");
    }
}

#[derive(Debug, Clone)]
enum Input {
    /// An answer to the last message, a bit wrong perhaps.
    Reply {
        kind: u8,
        server: bool,
        address: u8,
        seconds: u32,
        wrong: u8,
    },
    Arp {
        mine: bool,
        probe: bool,
    },
    Pass {
        ms: u32,
    },
    Sleep {
        ms: u32,
    },
    Noise(Vec<u8>),
    Renew,
    Restart,
    Release,
    Name(bool),
}

fn any_input() -> impl Strategy<Value = Input> {
    let seconds = prop_oneof![Just(0), 1..30_u32, 30..100_000_u32, Just(u32::MAX), any::<u32>()];
    prop_oneof![
        8 => (0..4_u8, any::<bool>(), 8..12_u8, seconds, 0..12_u8).prop_map(|(kind, server, address, seconds, wrong)| {
            Input::Reply { kind, server, address, seconds, wrong }
        }),
        2 => any::<(bool, bool)>().prop_map(|(mine, probe)| Input::Arp { mine, probe }),
        3 => (0..60_u32).prop_map(|ms| Input::Pass { ms }),
        3 => (0..4_000_000_u32).prop_map(|ms| Input::Pass { ms }),
        1 => (0..90_000_000_u32).prop_map(|ms| Input::Sleep { ms }),
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Input::Noise),
        1 => prop_oneof![Just(Input::Renew), Just(Input::Restart), Just(Input::Release), any::<bool>().prop_map(Input::Name)],
    ]
}

/// What the caller would have on its link, going by the events alone.
#[derive(Default)]
struct Caller {
    address: Option<Ipv4Addr>,
}

impl Caller {
    fn listen(&mut self, script: &mut Script) {
        for event in script.events() {
            match event {
                Event::Bound(lease) => self.address = Some(lease.address),
                Event::Renewed(lease) => assert_eq!(self.address, Some(lease.address)),
                Event::Lost { address, .. } => {
                    assert_eq!(self.address.take(), Some(address), "lost what was not there");
                }
                Event::Conflict { by, .. } => assert_ne!(by, MAC),
                Event::Refused { .. } => panic!("no address is taken"),
            }
        }
        assert_eq!(script.client.lease().map(|l| l.address), self.address, "events and lease agree");
        let overdue = script.client.state() == StateName::Rebooting;
        assert!(
            script.client.lease().is_none_or(|l| l.is_live(script.now)) || overdue,
            "used beyond its end"
        );
    }
}

proptest! {
    #[test]
    fn whatever_comes(check in 0..3_u8, inputs in prop::collection::vec(any_input(), 0..40)) {
        let conflict_check = [ConflictCheck::Off, ConflictCheck::Fast, ConflictCheck::Wait][usize::from(check)];
        let mut script = Script::start(Config { conflict_check, ..Config::new(MAC) });
        let mut caller = Caller::default();
        for input in inputs {
            let last = script.sent.last().cloned();
            match input {
                Input::Reply { kind, server, address, seconds, wrong } => {
                    let Some(last) = last else { continue };
                    let kind = [MessageType::Offer, MessageType::Ack, MessageType::Ack, MessageType::Nak][usize::from(kind)];
                    let server = if server { SERVER } else { SECOND };
                    let mut reply = reply(kind, &last, server, Ipv4Addr::new(192, 0, 2, address), seconds);
                    match wrong {
                        0 => reply.xid ^= 1,
                        1 => reply.mac = OTHER,
                        2 => reply.options = crate::wire::dhcpv4::Options::new(),
                        _ => {}
                    }
                    script.receive(&reply);
                }
                Input::Arp { mine, probe } => {
                    let mac = if mine { MAC } else { OTHER };
                    let address = script.client.lease().map_or(ADDRESS, |l| l.address);
                    script.arp(&if probe { arp::Packet::probe(mac, address) } else { arp::Packet::announcement(mac, address) });
                }
                Input::Pass { ms } => script.run_to(script.ms() + u64::from(ms)),
                Input::Sleep { ms } => script.sleep_to(script.ms() + u64::from(ms)),
                Input::Noise(bytes) => {
                    script.client.handle_datagram(script.now, SocketAddrV4::new(SERVER, 67), &bytes);
                    script.drain();
                }
                Input::Renew => script.client.renew(script.now),
                Input::Restart => script.client.restart(script.now),
                Input::Release => {
                    caller.listen(&mut script);
                    script.client.release(script.now);
                    caller.address = None;
                }
                Input::Name(one) => script.client.set_hostname(script.now, Some(format!("web{}", u8::from(one)))),
            }
            script.drain();
            caller.listen(&mut script);
            if let Some(sent) = script.sent.last() {
                prop_assert_eq!(sent.message.options.get(code::CLIENT_ID), Some(&[1, 2, 0x42, 0xc0, 0, 2, 10][..]));
            }
        }
    }
}
