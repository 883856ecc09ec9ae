//! The rules of iptables, as `iptables -S` lists them.

use landline_nat::words;

use super::filter::{Chains, Fate, Packet, Rule, Then, both, fate, is_named, is_within, protocol_number};

/// The chain that everything meets which is passed on.
const FORWARD: &str = "FORWARD";

/// Targets after which the next rule is looked at.
const MARKING: [&str; 12] = [
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "CONNSECMARK",
    "SECMARK",
    "TCPMSS",
    "CLASSIFY",
    "TRACE",
    "AUDIT",
    "SET",
];

/// What becomes of a packet that is passed on.
pub(super) fn forward(listing: &str, packet: &Packet) -> Fate {
    let mut chains = Chains::new();
    let mut drops = false;
    for line in listing.lines() {
        let words = words(line);
        let mut words = words.iter().map(String::as_str);
        match (words.next(), words.next()) {
            (Some("-P"), Some(FORWARD)) => drops = words.next() == Some("DROP"),
            (Some("-N"), Some(chain)) => drop(chains.entry(chain.to_owned()).or_default()),
            (Some("-A"), Some(chain)) => {
                chains.entry(chain.to_owned()).or_default().push(read(words, packet));
            }
            _ => {}
        }
    }
    fate(&chains, FORWARD, drops)
}

fn read<'a>(mut words: impl Iterator<Item = &'a str>, packet: &Packet) -> Rule {
    let (mut holds, mut then, mut not) = (Some(true), Then::Nothing, false);
    while let Some(word) = words.next() {
        let mut argument = || words.next().unwrap_or_default();
        let test = match word {
            "!" => {
                not = true;
                continue;
            }
            // What a module looks at follows.
            "-m" | "--comment" => {
                argument();
                continue;
            }
            "-i" => is_named(packet.input.as_deref(), argument(), '+'),
            "-o" => is_named(packet.output.as_deref(), argument(), '+'),
            "-s" => is_within(packet.source, argument()),
            "-d" => is_within(packet.destination, argument()),
            "-p" => is_protocol(packet.protocol, argument()),
            "--dport" => is_port(packet.port, argument()),
            "--ctstate" | "--state" => Some(packet.in_states(argument().split(','))),
            "--physdev-is-bridged" => Some(packet.bridged),
            "-j" => {
                then = target(argument());
                // The rest says how.
                break;
            }
            "-g" => {
                then = Then::Goto(argument().to_owned());
                break;
            }
            _ => None,
        };
        holds = both(holds, test.map(|holds| holds != not));
        not = false;
    }
    Rule { holds, then }
}

fn target(word: &str) -> Then {
    match word {
        "ACCEPT" => Then::Accept,
        "DROP" | "REJECT" => Then::Drop,
        "RETURN" => Then::Return,
        "QUEUE" | "NFQUEUE" => Then::Ask,
        marking if MARKING.contains(&marking) => Then::Nothing,
        chain => Then::Jump(chain.to_owned()),
    }
}

fn is_protocol(protocol: Option<u8>, word: &str) -> Option<bool> {
    if word == "all" {
        return Some(true);
    }
    let wanted = protocol_number(word).or_else(|| word.parse().ok())?;
    protocol.map(|protocol| protocol == wanted)
}

fn is_port(port: Option<u16>, word: &str) -> Option<bool> {
    let (from, to) = word.split_once(':').unwrap_or((word, word));
    let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
    port.map(|port| (from..=to).contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Docker's, with a container that publishes port 80.
    const DOCKER: &str = "-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-ISOLATION-STAGE-1
-N DOCKER-ISOLATION-STAGE-2
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 198.51.100.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN";

    fn bridged() -> Packet {
        let br0 = Some("br0".to_owned());
        Packet { input: br0.clone(), output: br0, bridged: true, ..Packet::default() }
    }

    fn to_container(port: u16) -> Packet {
        Packet {
            input: Some("eth0".into()),
            destination: "198.51.100.2".parse().ok(),
            protocol: Some(6),
            port: Some(port),
            translated: true,
            ..Packet::default()
        }
    }

    #[test]
    fn dockers_rules_let_through_what_is_published_and_nothing_that_is_bridged() {
        let dropped = Fate::Dropped(FORWARD.to_owned());
        assert_eq!(forward(DOCKER, &bridged()), dropped);
        assert_eq!(forward(DOCKER, &to_container(8080)), dropped);
        // Which bridge the container is on is not said.
        assert_eq!(forward(DOCKER, &to_container(80)), Fate::Unclear);
        let published = Packet { output: Some("docker0".into()), ..to_container(80) };
        assert_eq!(forward(DOCKER, &published), Fate::Passes);
        assert_eq!(forward(&DOCKER.replace("FORWARD DROP", "FORWARD ACCEPT"), &bridged()), Fate::Passes);
    }

    #[test]
    fn whoever_has_opened_it_is_believed() {
        let user = "-A DOCKER-USER -j RETURN";
        for opening in [
            "-A DOCKER-USER -i br0 -o br0 -m comment --comment \"landline: br0\" -j ACCEPT",
            "-A DOCKER-USER -m physdev --physdev-is-bridged -j ACCEPT",
            "-A DOCKER-USER -i br+ -j ACCEPT",
            "-A DOCKER-USER ! -i eth0 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
        ] {
            let rules = DOCKER.replace(user, &format!("{opening}\n{user}"));
            assert_eq!(forward(&rules, &bridged()), Fate::Passes, "{opening}");
        }
        let rules = DOCKER.replace(user, "-A DOCKER-USER -m set --match-set friends src -j ACCEPT");
        assert_eq!(forward(&rules, &bridged()), Fate::Unclear);
        let end = "-P FORWARD ACCEPT\n-A FORWARD -m limit --limit 1/s -j LOG --log-prefix \"-j ACCEPT\"
-A FORWARD -j REJECT --reject-with icmp-host-prohibited";
        assert_eq!(forward(end, &bridged()), Fate::Dropped(FORWARD.into()));
    }
}
