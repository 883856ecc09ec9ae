//! Every state with every event: no surprises, and what is promised of all of them.

use proptest::prelude::*;

use super::*;

/// A client in this state and the last DHCPv6 message it sent.
fn in_state(state: StateName) -> (Script, Option<Sent>) {
    let config = no_check(Mode::Dhcp);
    let mut script = match state {
        StateName::Off | StateName::Informing | StateName::Informed => Script::start(no_check(Mode::Slaac)),
        StateName::Init | StateName::Soliciting | StateName::Requesting => Script::start(config),
        _ => Script::bound(config, 3600, 7200),
    };
    let prefer = |mut message: dhcpv6::Message| {
        message.options.push(code::PREFERENCE, &[255]);
        message
    };
    let mut last = script.sent.pop();
    match state {
        StateName::Off | StateName::Soliciting | StateName::Bound => {}
        StateName::Stopped => {
            script.client.release(script.now);
            script.run_to(100_000);
        }
        StateName::Releasing => script.client.release(script.now),
        StateName::Renewing => script.client.renew(script.now),
        StateName::Rebinding => script.run_to(2_900_000),
        StateName::Confirming => script.client.restart(script.now),
        StateName::Informing | StateName::Informed => {
            script.advertise(ROUTER, &RouterAdvertisement { other: true, ..advertisement() });
            if state == StateName::Informed {
                last = script.sent.pop();
                script.receive(&bare(MessageType::Reply, last.as_ref().expect("a question"), 1));
            }
        }
        StateName::Requesting => {
            let solicit = last.as_ref().expect("a Solicit");
            script.receive(&prefer(answer(MessageType::Advertise, solicit, 1, &[(LEASED, 3600, 7200)])));
        }
        StateName::Init => {
            for _ in 0..2 {
                let solicit = last.take().expect("a Solicit");
                script.receive(&prefer(answer(MessageType::Advertise, &solicit, 1, &[(LEASED, 3600, 7200)])));
                let request = script.message(MessageType::Request);
                script.receive(&refused(&request, 1, status::NO_ADDRESSES));
                last = script.sent.pop();
            }
        }
        StateName::Declining => {
            let mut again = Script::start(fast(Mode::Dhcp));
            again.run_to(30);
            let solicit = again.message(MessageType::Solicit);
            again.reply(&solicit, &[(LEASED, 3600, 7200)]);
            again.claim(LEASED, OTHER);
            script = again;
        }
    }
    script.drain();
    let last = script.sent.pop().or(last);
    script.sent.clear();
    script.nd.clear();
    script.events();
    assert_eq!(script.client.state(), state);
    (script, last)
}

const STATES: [StateName; 13] = [
    StateName::Stopped,
    StateName::Off,
    StateName::Init,
    StateName::Soliciting,
    StateName::Requesting,
    StateName::Confirming,
    StateName::Bound,
    StateName::Renewing,
    StateName::Rebinding,
    StateName::Declining,
    StateName::Releasing,
    StateName::Informing,
    StateName::Informed,
];

/// State, and the states after a matching Advertise, Reply, refusal (no binding) and "not on this link" of the right
/// server.
#[test]
fn answers_in_every_state() {
    use StateName::{
        Bound, Confirming, Declining, Informed, Informing, Init, Off, Rebinding, Releasing, Renewing,
        Requesting, Soliciting, Stopped,
    };
    for (state, after) in [
        (Stopped, [Stopped, Stopped, Stopped, Stopped]),
        (Off, [Off, Off, Off, Off]),
        (Init, [Init, Init, Init, Init]),
        (Soliciting, [Soliciting, Bound, Soliciting, Soliciting]),
        (Requesting, [Requesting, Bound, Soliciting, Soliciting]),
        (Confirming, [Confirming, Bound, Bound, Soliciting]),
        (Bound, [Bound, Bound, Bound, Bound]),
        (Renewing, [Renewing, Bound, Requesting, Soliciting]),
        (Rebinding, [Rebinding, Bound, Requesting, Soliciting]),
        (Declining, [Declining, Soliciting, Soliciting, Soliciting]),
        (Releasing, [Releasing, Stopped, Stopped, Stopped]),
        (Informing, [Informing, Informed, Informed, Informing]),
        (Informed, [Informed, Informed, Informed, Informed]),
    ] {
        for (nth, expected) in after.into_iter().enumerate() {
            let (mut script, last) = in_state(state);
            let to =
                last.unwrap_or(Sent { ms: 0, message: dhcpv6::Message::new(MessageType::Renew, [1, 2, 3]) });
            if to.message.options.get(code::CLIENT_ID).is_none() {
                continue;
            }
            let granted = [(LEASED, 3600, 7200)];
            script.receive(&match nth {
                0 => answer(MessageType::Advertise, &to, 1, &granted),
                1 => answer(MessageType::Reply, &to, 1, &granted),
                2 => refused(&to, 1, status::NO_BINDING),
                _ => with_status(MessageType::Reply, &to, 1, status::NOT_ON_LINK),
            });
            assert_eq!(script.client.state(), expected, "{state} and answer {nth}");
        }
    }
}

#[test]
fn calls_in_every_state() {
    use StateName::{Confirming, Informing, Off, Releasing, Renewing, Soliciting, Stopped};
    for state in STATES {
        let (mut script, _) = in_state(state);
        script.client.renew(script.now);
        script.drain();
        let expected = match state {
            StateName::Bound => Renewing,
            StateName::Informed => Informing,
            other => other,
        };
        assert_eq!(script.client.state(), expected, "{state} and renew");

        let (mut script, _) = in_state(state);
        script.client.restart(script.now);
        script.drain();
        let expected = match state {
            StateName::Bound | Renewing | StateName::Rebinding | Confirming => Confirming,
            StateName::Requesting | Stopped | Releasing => Soliciting,
            StateName::Informed => Informing,
            other => other,
        };
        assert_eq!(script.client.state(), expected, "{state} and restart");

        let (mut script, _) = in_state(state);
        script.client.release(script.now);
        script.drain();
        let expected = match state {
            StateName::Bound | Renewing | StateName::Rebinding | Confirming | StateName::Requesting => {
                Releasing
            }
            // What is being given back goes on being so.
            Releasing => Releasing,
            _ => Stopped,
        };
        assert_eq!(script.client.state(), expected, "{state} and release");
        assert!(script.client.current() == &State6::default(), "{state}: nothing is used any more");
        assert_ne!(script.client.state(), Off);
    }
}

#[test]
fn every_state_has_its_name() {
    let names: Vec<_> = STATES.iter().map(ToString::to_string).collect();
    assert_eq!(
        names.join(" "),
        "STOPPED OFF INIT SOLICITING REQUESTING CONFIRMING BOUND RENEWING REBINDING DECLINING RELEASING INFORMING \
         INFORMED"
    );
}

#[derive(Debug, Clone)]
enum Input {
    /// A router says something.
    Router {
        second: bool,
        managed: bool,
        other: bool,
        lifetime: u16,
        valid: u32,
        preferred: u32,
        net: u8,
    },
    /// A server answers the last message.
    Answer {
        kind: u8,
        server: bool,
        address: u8,
        preferred: u32,
        valid: u32,
        status: u16,
        wrong: u8,
    },
    /// A neighbour claims or probes an address of the client.
    Neighbour {
        which: u8,
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
    /// The program is restarted.
    Resume,
    /// The container is restarted.
    Begin,
}

fn any_input() -> impl Strategy<Value = Input> {
    let seconds = || prop_oneof![Just(0), 1..100_u32, 1..100_000_u32, Just(u32::MAX), any::<u32>()];
    prop_oneof![
        3 => (any::<[bool; 3]>(), any::<u16>(), seconds(), seconds(), 0..12_u8).prop_map(
            |([second, managed, other], lifetime, valid, preferred, net)| Input::Router {
                second, managed, other, lifetime, valid, preferred, net,
            }
        ),
        6 => (0..4_u8, any::<bool>(), 0..4_u8, seconds(), seconds(), 0..6_u16, 0..12_u8).prop_map(
            |(kind, server, address, preferred, valid, status, wrong)| Input::Answer {
                kind, server, address, preferred, valid, status, wrong,
            }
        ),
        1 => (any::<u8>(), any::<bool>(), any::<bool>())
            .prop_map(|(which, mine, probe)| Input::Neighbour { which, mine, probe }),
        4 => (0..100_000_u32).prop_map(|ms| Input::Pass { ms }),
        2 => (0..20_000_000_u32).prop_map(|ms| Input::Sleep { ms }),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Input::Noise),
        1 => Just(Input::Renew),
        1 => Just(Input::Restart),
        1 => Just(Input::Release),
        1 => Just(Input::Resume),
        1 => Just(Input::Begin),
    ]
}

/// What a caller knows from events alone.
#[derive(Default)]
struct Caller {
    state: State6,
}

impl Caller {
    fn listen(&mut self, script: &mut Script) {
        for event in script.events() {
            match event {
                Event::Changed(state) | Event::Renewed(state) => self.state = state,
                Event::Lost { address, .. } => {
                    assert!(
                        self.state.addresses.iter().any(|own| own.net.addr() == address),
                        "never told of"
                    );
                }
                Event::Conflict { .. } => {}
                Event::Refused { .. } => panic!("no address is taken"),
            }
        }
        let current = script.client.current();
        assert!(self.state.is_same_setup(current), "events and state agree");
        let live = |until: Option<Instant>| until.is_none_or(|end| script.now < end);
        for own in &current.addresses {
            assert!(live(own.valid_until), "used beyond its end: {own:?}");
            assert!(own.preferred_until.is_none() || own.deprecated != live(own.preferred_until));
        }
        assert!(current.routers.iter().all(|router| live(router.until)));
        assert!(current.on_link.iter().all(|on_link| live(on_link.until)));
        assert!(current.routes.iter().all(|route| live(route.until)));
        assert!(current.dns.iter().all(|dns| live(dns.until)));
        assert!(current.addresses.len() <= 12 && current.routers.len() <= 8);
        assert!(script.sent.len() < 4000, "too many messages: {}", script.sent.len());
    }
}

/// Puts another client in the place of this one.
fn replace(script: &mut Script, client: Client<Seeded>) {
    script.client = client;
    script.drain();
}

proptest! {
    #[test]
    fn whatever_comes(
        mode in 0..3_u8,
        check in 0..3_u8,
        secret: bool,
        inputs in prop::collection::vec(any_input(), 0..40),
    ) {
        let mode = [Mode::Auto, Mode::Dhcp, Mode::Slaac][usize::from(mode)];
        let conflict_check = [ConflictCheck::Off, ConflictCheck::Fast, ConflictCheck::Wait][usize::from(check)];
        let config = if secret { stable(mode) } else { fast(mode) };
        let config = Config { conflict_check, ..config };
        let mut script = Script::start(config.clone());
        let mut caller = Caller::default();
        caller.listen(&mut script);
        for input in inputs {
            let last = script.sent.last().cloned();
            script.sent.clear();
            script.nd.clear();
            match input {
                Input::Router { second, managed, other, lifetime, valid, preferred, net } => {
                    let mut said = RouterAdvertisement { managed, other, lifetime, ..advertisement() };
                    said.prefixes[0] = prefix(&format!("2001:db8:0:{net:x}::/64"), valid, preferred);
                    said.dns[0].lifetime = preferred;
                    script.advertise(if second { ROUTER2 } else { ROUTER }, &said);
                }
                Input::Answer { kind, server, address, preferred, valid, status, wrong } => {
                    let Some(last) = last else { continue };
                    let n = if server { 1 } else { 2 };
                    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0x10 + u16::from(address));
                    let mut message = match kind {
                        0 => answer(MessageType::Advertise, &last, n, &[(address, preferred, valid)]),
                        1 => answer(MessageType::Reply, &last, n, &[(address, preferred, valid)]),
                        2 => refused(&last, n, status),
                        _ => with_status(MessageType::Reply, &last, n, status),
                    };
                    match wrong {
                        0 => message.xid[0] ^= 1,
                        1 => message.options = Options::new(),
                        _ => {}
                    }
                    script.receive(&message);
                }
                Input::Neighbour { which, mine, probe } => {
                    let state = script.client.current();
                    let own = state.addresses.iter().map(|own| own.net.addr()).chain(state.link_local);
                    let all: Vec<_> = own.chain([OWN_LINK, OWN, LEASED]).collect();
                    let address = all[usize::from(which) % all.len()];
                    if probe {
                        let nonce = mine.then_some([1; 6]);
                        let probe = Message::NeighbourSolicitation { target: address, source_mac: None, nonce };
                        script.hear(ANY, ipv6::solicited_node(address), &probe);
                    } else {
                        script.claim(address, if mine { MAC } else { OTHER });
                    }
                }
                Input::Pass { ms } => script.run_to(script.ms() + u64::from(ms)),
                Input::Sleep { ms } => script.sleep_to(script.ms() + u64::from(ms)),
                Input::Noise(bytes) => {
                    script.client.handle_packet(script.now, OTHER, &bytes, Check::Verify);
                    script.client.handle_packet(script.now, OTHER, &bytes, Check::Skip);
                    let [hop_limit, next_header] = [255, ipv6::ICMP];
                    let dst = ipv6::ALL_NODES;
                    let packet = Packet { src: ROUTER, dst, hop_limit, next_header, payload: &bytes };
                    script.client.handle_packet(script.now, OTHER, &packet.emit(), Check::Skip);
                    script.client.handle_dhcp(script.now, ROUTER, &bytes);
                }
                Input::Renew => script.client.renew(script.now),
                Input::Restart => script.client.restart(script.now),
                Input::Release => {
                    caller.listen(&mut script);
                    script.client.release(script.now);
                    caller = Caller::default();
                }
                Input::Resume => {
                    caller.listen(&mut script);
                    let state = caller.state.clone();
                    let resumed = Client::resume(config.clone(), state, script.now, Seeded(11));
                    replace(&mut script, resumed);
                }
                Input::Begin => {
                    caller.listen(&mut script);
                    let known = Some(std::mem::take(&mut caller.state).into());
                    let begun = Client::start(config.clone(), known, script.now, Seeded(13));
                    replace(&mut script, begun);
                }
            }
            script.drain();
            caller.listen(&mut script);
        }
    }
}
