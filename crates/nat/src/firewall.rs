//! Openings in the host's firewall, where a user said so.
//!
//! An accept in a table of our own does not override a drop in another; only a rule in the chain that drops does. So
//! this is the one place where `iptables(8)` is used, in whichever of its flavours the host's rules are: Docker's
//! `DOCKER-USER`, which it leaves to others, and where there is none `FORWARD`.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use ipnet::Ipv4Net;
use landline_links::mark::HOST_ENDS;
use landline_options::NatPort;
use landline_types::IfName;

use super::table::{Mapping, NatBridge};

/// What our rules' comments begin with.
const COMMENT: &str = "landline: ";

/// The rules of one version of IP, and whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    /// The program that the host has chosen, and those of each flavour.
    program: &'static str,
    nft: &'static str,
    legacy: &'static str,
    /// Where the kernel lists the tables of the old flavour.
    tables: &'static str,
}

pub(super) const IPV4: Family = Family {
    program: "iptables",
    nft: "iptables-nft",
    legacy: "iptables-legacy",
    tables: "/proc/net/ip_tables_names",
};

pub(super) const IPV6: Family = Family {
    program: "ip6tables",
    nft: "ip6tables-nft",
    legacy: "ip6tables-legacy",
    tables: "/proc/net/ip6_tables_names",
};

/// Where a host has rules: a program for one of the flavours, and a chain.
type Place = (&'static str, &'static str);

/// The chains, the better one first.
const CHAINS: [&str; 2] = ["DOCKER-USER", "FORWARD"];

/// One rule, as `iptables` takes it behind the chain's name.
pub(super) type Rule = Vec<String>;

/// The rules that let these through.
pub(super) fn exceptions<'a>(mappings: impl Iterator<Item = &'a Mapping>) -> BTreeSet<Rule> {
    mappings.flat_map(exception).collect()
}

/// The rule that lets through what goes over a bridge.
pub(super) fn bridge(name: &IfName) -> Rule {
    let (name, comment) = (name.as_str(), format!("{COMMENT}{name}"));
    ["-i", name, "-o", name, "-m", "comment", "--comment", &comment, "-j", "ACCEPT"].map(str::to_owned).into()
}

/// The rules that let through what the host routes between containers and the LAN on this interface, and from container to container. The
/// names of links do not say which LAN a container is of, but its address does: it is in a subnet that the host has there, and the
/// container sends from no other.
pub(super) fn routed((parent, subnet): &(IfName, Ipv4Net)) -> Vec<Rule> {
    let (parent, comment, subnet) =
        (parent.as_str(), format!("{COMMENT}{parent}"), subnet.trunc().to_string());
    let ways: [&[&str]; 3] = [
        &["-s", &subnet, "-i", HOST_ENDS, "-o", parent],
        &["-d", &subnet, "-i", parent, "-o", HOST_ENDS],
        &["-s", &subnet, "-d", &subnet, "-i", HOST_ENDS, "-o", HOST_ENDS],
    ];
    let end = ["-m", "comment", "--comment", &comment, "-j", "ACCEPT"];
    ways.iter().map(|way| way.iter().chain(&end).map(|word| (*word).to_owned()).collect()).collect()
}

/// The rules that let through what goes between a private bridge and the LAN on this interface, as far as our own table does. Answers go
/// where the host's routes lead, which may be another interface on the same LAN.
pub(super) fn nat_bridge(NatBridge { bridge, .. }: &NatBridge, nic: &IfName) -> Vec<Rule> {
    let comment = format!("{COMMENT}{bridge}");
    let (bridge, nic) = (bridge.as_str(), nic.as_str());
    let ways: [&[&str]; 4] = [
        &["-i", bridge, "-o", nic],
        &["-i", bridge, "-o", bridge],
        &["-i", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"],
        &["-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT"],
    ];
    let end = ["-m", "comment", "--comment", &comment, "-j", "ACCEPT"];
    ways.iter().map(|way| way.iter().chain(&end).map(|word| (*word).to_owned()).collect()).collect()
}

fn exception(mapping: &Mapping) -> Vec<Rule> {
    let inside = format!("{}/32", mapping.inside);
    let rule = |further: &[String]| -> Rule {
        let words = ["-d".to_owned(), inside.clone()].into_iter().chain(further.iter().cloned());
        let comment = format!("{COMMENT}{}", mapping.address);
        let end =
            ["-m".to_owned(), "comment".into(), "--comment".into(), comment, "-j".into(), "ACCEPT".into()];
        words.chain(end).collect()
    };
    match &mapping.ports {
        None => vec![rule(&[])],
        Some(ports) => ports
            .iter()
            .map(|NatPort { transport, inside, .. }| {
                let transport = transport.to_string();
                rule(&[
                    "-p".into(),
                    transport.clone(),
                    "-m".into(),
                    transport,
                    "--dport".into(),
                    inside.to_string(),
                ])
            })
            .collect(),
    }
}

/// All rules for IPv4 of each flavour that the host may have rules of, as `iptables -S` lists them. Blocks.
pub fn rules() -> Vec<(&'static str, String)> {
    let listed =
        programs(IPV4).into_iter().filter_map(|program| Some((program, run(program, &["-S"]).ok()?)));
    listed.collect()
}

/// The program of the flavour in which exceptions for IPv4 are made. Blocks.
pub fn exception_program() -> Option<&'static str> {
    choose(&list(&programs(IPV4))).map(|(program, _)| program)
}

fn list(programs: &[&'static str]) -> Vec<(Place, String)> {
    let places = programs.iter().flat_map(|program| CHAINS.map(|chain| (*program, chain)));
    places
        .filter_map(|(program, chain)| Some(((program, chain), run(program, &["-S", chain]).ok()?)))
        .collect()
}

/// Whether each of these programs could be asked: `FORWARD` is always there.
fn all_could_be_asked(programs: &[&'static str], listed: &[(Place, String)]) -> bool {
    programs.iter().all(|program| listed.iter().any(|(place, _)| *place == (*program, "FORWARD")))
}

/// Makes the exceptions there are these, and says whether everybody could be asked for rules. Where nobody can be it fails if that
/// is `needed`. Blocks.
pub(super) fn open(family: Family, wanted: &BTreeSet<Rule>, needed: bool) -> Result<bool, String> {
    let programs = programs(family);
    let listed = list(&programs);
    let chosen = choose(&listed);
    if chosen.is_none() && needed {
        // A firewall that lets everything through needs no exception; one that cannot be asked is reported.
        run(family.program, &["-S", "FORWARD"])?;
    }
    for ((program, chain), text) in &listed {
        let place = Some((*program, *chain));
        let there: BTreeSet<Rule> = text.lines().filter_map(|line| ours(line, chain)).collect();
        let none = BTreeSet::new();
        // One that was opened in the meantime elsewhere, before Docker came, is closed.
        let wanted = if place == chosen { wanted } else { &none };
        for rule in wanted.difference(&there) {
            change(program, "-I", chain, rule)?;
        }
        for rule in there.difference(wanted) {
            change(program, "-D", chain, rule)?;
        }
    }
    Ok(all_could_be_asked(&programs, &listed))
}

/// Where the host's own rules are: in the first `DOCKER-USER` there is, or the first `FORWARD` that holds something.
/// `None`: there is none, and everything is let through.
fn choose(listed: &[(Place, String)]) -> Option<Place> {
    let holds = |chain: &str, text: &str| {
        let empty = |line: &str| line == "-P FORWARD ACCEPT" || ours(line, chain).is_some();
        chain == "DOCKER-USER" || !text.lines().all(empty)
    };
    CHAINS.iter().find_map(|wanted| {
        let mut found = listed.iter().filter(|((_, chain), text)| chain == wanted && holds(chain, text));
        found.next().map(|(place, _)| *place)
    })
}

/// The program of each flavour whose rules this host may have, its own choice first. That of old tables is not run unless
/// there are any: listing them would make them.
fn programs(family: Family) -> Vec<&'static str> {
    let Family { program, nft, legacy, .. } = family;
    let old = family.has_old_tables();
    match run(program, &["-V"]) {
        Ok(version) if version.contains("legacy") => vec![program, nft],
        Ok(_) if !old => vec![program],
        Ok(_) => vec![program, legacy],
        Err(_) if !old => vec![nft],
        Err(_) => vec![nft, legacy],
    }
}

/// Whether the kernel tells of all changes of the rules that the host may have: not of those in tables of the old flavour.
pub(super) fn all_changes_are_heard() -> bool {
    [IPV4, IPV6].iter().all(|family| !family.has_old_tables())
}

impl Family {
    fn has_old_tables(self) -> bool {
        fs::read_to_string(self.tables).is_ok_and(|tables| !tables.is_empty())
    }
}

/// A line of `iptables -S` as the rule it stands for, if it is one of ours.
fn ours(line: &str, chain: &str) -> Option<Rule> {
    let words = words(line.strip_prefix("-A ")?.strip_prefix(chain)?);
    words.iter().any(|word| word.starts_with(COMMENT)).then_some(words)
}

/// The words of a line of `iptables -S`; what is between quotes is one.
pub fn words(line: &str) -> Rule {
    let mut words = Vec::new();
    let mut quoted = line.split('"');
    while let Some(plain) = quoted.next() {
        words.extend(plain.split_whitespace().map(str::to_owned));
        words.extend(quoted.next().map(str::to_owned));
    }
    words
}

fn change(program: &str, how: &str, chain: &str, rule: &Rule) -> Result<(), String> {
    let mut words = vec![how, chain];
    words.extend(rule.iter().map(String::as_str));
    run(program, &words).map(drop)
}

fn run(program: &str, words: &[&str]) -> Result<String, String> {
    // Others hold its lock for a moment.
    let mut command = Command::new(program);
    let output = landline_kernel::run_helper(command.args(["-w", "5"]).args(words).stdin(Stdio::null()));
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.lines().next().unwrap_or("it did not say why")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_rules_are_read_as_they_are_written() {
        let mapping = Mapping {
            address: "192.0.2.117".parse().unwrap(),
            interface: "em1".parse().unwrap(),
            inside: "203.0.113.4".parse().unwrap(),
            neighbours: Vec::new(),
            ports: Some(BTreeSet::from(["8080:80".parse().unwrap()])),
        };
        let rules = exceptions([&mapping].into_iter());
        let line = "-A DOCKER-USER -d 203.0.113.4/32 -p tcp -m tcp --dport 80 -m comment \
                    --comment \"landline: 192.0.2.117\" -j ACCEPT";
        assert_eq!(rules, BTreeSet::from([ours(line, "DOCKER-USER").unwrap()]));
        let listing = |nft: &str, legacy: &str| {
            let place = |program, text: &str| ((program, "FORWARD"), text.to_owned());
            let user = (("iptables-legacy", "DOCKER-USER"), "-N DOCKER-USER".to_owned());
            (vec![place("iptables", nft), place("iptables-legacy", legacy)], user)
        };
        // Each flavour has a FORWARD chain; one that holds something is the host's, and Docker's before that.
        let (mut listed, user) = listing("-P FORWARD ACCEPT", "-P FORWARD DROP");
        assert_eq!(choose(&listed), Some(("iptables-legacy", "FORWARD")));
        listed.push(user);
        assert_eq!(choose(&listed), Some(("iptables-legacy", "DOCKER-USER")));
        let own = line.replace("DOCKER-USER", "FORWARD");
        let (listed, _) = listing(&format!("-P FORWARD ACCEPT\n{own}"), "-P FORWARD ACCEPT");
        assert_eq!(choose(&listed), None, "ours alone closes nothing");
        let asked = |programs: &[&'static str]| all_could_be_asked(programs, &listed);
        assert!(asked(&["iptables", "iptables-legacy"]) && !asked(&["iptables", "iptables-nft"]));
        for foreign in ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j ACCEPT"] {
            assert_eq!(ours(foreign, "DOCKER-USER"), None, "{foreign}");
        }
    }
}
