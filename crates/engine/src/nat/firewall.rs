//! Openings in the host's firewall, where a user said so.
//!
//! An accept in a table of our own does not override a drop in another; only a rule in the chain that drops does. So
//! this is the one place where `iptables(8)` is used, in whichever of its flavours the host's rules are: Docker's
//! `DOCKER-USER`, which it leaves to others, and where there is none `FORWARD`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use landline_spec::NatPort;
use landline_types::IfName;

use super::table::{Mapping, Private};

/// What our rules' comments begin with.
const COMMENT: &str = "landline: ";

/// The flavours, the host's own choice first.
const FLAVOURS: [&str; 3] = ["iptables", "iptables-nft", "iptables-legacy"];

/// One rule, as `iptables` takes it behind the chain's name.
type Rule = Vec<String>;

/// The rules that let these through.
pub(super) fn openings<'a>(mappings: impl Iterator<Item = &'a Mapping>) -> BTreeSet<Rule> {
    mappings.flat_map(opening).collect()
}

/// The rule that lets through what goes over a bridge.
pub(super) fn bridge(name: &IfName) -> Rule {
    let (name, comment) = (name.as_str(), format!("{COMMENT}{name}"));
    ["-i", name, "-o", name, "-m", "comment", "--comment", &comment, "-j", "ACCEPT"].map(str::to_owned).into()
}

/// The rules that let through what goes between a private bridge and the LAN, as far as our own table does.
pub(super) fn private(Private { bridge, nic, .. }: &Private) -> Vec<Rule> {
    let comment = format!("{COMMENT}{bridge}");
    let (bridge, nic) = (bridge.as_str(), nic.as_str());
    let ways: [&[&str]; 3] = [
        &["-i", bridge, "-o", nic],
        &["-i", bridge, "-o", bridge],
        &["-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT"],
    ];
    let end = ["-m", "comment", "--comment", &comment, "-j", "ACCEPT"];
    ways.iter().map(|way| way.iter().chain(&end).map(|word| (*word).to_owned()).collect()).collect()
}

fn opening(mapping: &Mapping) -> Vec<Rule> {
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

/// Makes the openings there are these. Blocks.
pub(super) fn open(wanted: &BTreeSet<Rule>) -> Result<(), String> {
    let Some((program, chain)) = place(!wanted.is_empty())? else { return Ok(()) };
    let listed = run(program, &["-S", chain])?;
    let there: BTreeSet<Rule> = listed.lines().filter_map(|line| ours(line, chain)).collect();
    for rule in wanted.difference(&there) {
        change(program, "-I", chain, rule)?;
    }
    for rule in there.difference(wanted) {
        change(program, "-D", chain, rule)?;
    }
    Ok(())
}

/// The program and the chain; `None`: there is none, and none is needed.
fn place(needed: bool) -> Result<Option<(&'static str, &'static str)>, String> {
    for chain in ["DOCKER-USER", "FORWARD"] {
        // Each flavour has a FORWARD chain of its own; only one that holds something is the host's.
        let holds =
            |listed: &str| chain == "DOCKER-USER" || listed.lines().any(|line| line != "-P FORWARD ACCEPT");
        if let Some(program) =
            FLAVOURS.into_iter().find(|program| run(program, &["-S", chain]).is_ok_and(|l| holds(&l)))
        {
            return Ok(Some((program, chain)));
        }
    }
    match run(FLAVOURS[0], &["-S", "FORWARD"]) {
        Err(error) if needed => Err(error),
        // It lets everything through, or there is nothing to close.
        _ => Ok(None),
    }
}

/// A line of `iptables -S` as the rule it stands for, if it is one of ours.
fn ours(line: &str, chain: &str) -> Option<Rule> {
    let rest = line.strip_prefix("-A ")?.strip_prefix(chain)?.trim();
    let mut words = Vec::new();
    let mut quoted = rest.split('"');
    while let Some(plain) = quoted.next() {
        words.extend(plain.split_whitespace().map(str::to_owned));
        words.extend(quoted.next().map(str::to_owned));
    }
    words.iter().any(|word| word.starts_with(COMMENT)).then_some(words)
}

fn change(program: &str, how: &str, chain: &str, rule: &Rule) -> Result<(), String> {
    let mut words = vec![how, chain];
    words.extend(rule.iter().map(String::as_str));
    run(program, &words).map(drop)
}

fn run(program: &str, words: &[&str]) -> Result<String, String> {
    // Others hold its lock for a moment.
    let output = Command::new(program).args(["-w", "5"]).args(words).stdin(Stdio::null()).output();
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
        let rules = openings([&mapping].into_iter());
        let line = "-A DOCKER-USER -d 203.0.113.4/32 -p tcp -m tcp --dport 80 -m comment \
                    --comment \"landline: 192.0.2.117\" -j ACCEPT";
        assert_eq!(rules, BTreeSet::from([ours(line, "DOCKER-USER").unwrap()]));
        for foreign in ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j ACCEPT"] {
            assert_eq!(ours(foreign, "DOCKER-USER"), None, "{foreign}");
        }
    }
}
