//! ifupdown (interfaces(5), bridge-utils-interfaces(5)).

use std::fs;
use std::path::PathBuf;

use landline_uplink::BridgeKind;

use super::{Changes, Nic, PersistError, change, read};

/// The NIC's stanzas become the bridge's, in the file they are in; the NIC gets one without addresses.
pub(super) fn plan(nic: &Nic<'_>) -> Result<Option<Changes>, PersistError> {
    let Some((path, text)) = files(nic).into_iter().find(|(_, text)| names(text, nic.name.as_str())) else {
        return Ok(None);
    };
    let unclear = |what: &str| PersistError::Unclear {
        manager: "ifupdown",
        nic: nic.name.clone(),
        what: what.to_owned(),
    };
    let (programs, package): (&[&str], &str) = if nic.switch() {
        (&["etc/network/if-pre-up.d/openvswitch"], "openvswitch-switch")
    } else {
        (&["sbin/brctl", "usr/sbin/brctl"], "bridge-utils")
    };
    if !programs.iter().any(|program| nic.root.join(program).exists()) {
        return Err(unclear(&format!(
            "it needs the package {package} for such bridges, which is not installed"
        )));
    }
    let text = rewrite(&text, nic);
    let hint = "ifupdown takes notice at the next boot.".to_owned();
    let files = vec![change(path, text, 0o644)?];
    Ok(Some(Changes { manager: "ifupdown".into(), hint, files, switch: nic.switch() }))
}

/// The main file and those in the directory that it includes.
fn files(nic: &Nic<'_>) -> Vec<(PathBuf, String)> {
    let directory = nic.root.join("etc/network/interfaces.d");
    let mut paths = vec![nic.root.join("etc/network/interfaces")];
    if let Ok(entries) = fs::read_dir(directory) {
        let mut more: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.sort();
        paths.extend(more);
    }
    paths.into_iter().filter_map(|path| read(&path).map(|text| (path, text))).collect()
}

/// Whether there is a stanza for this interface.
fn names(text: &str, nic: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.next() == Some(nic)
    })
}

fn rewrite(text: &str, nic: &Nic<'_>) -> String {
    let (name, bridge) = (nic.name.as_str(), nic.bridge.as_str());
    let mut lines = Vec::new();
    let mut port_said = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["auto" | "allow-hotplug" | "allow-auto", interfaces @ ..] if interfaces.contains(&name) => {
                let others: Vec<&str> = interfaces.iter().copied().filter(|other| *other != name).collect();
                if !others.is_empty() {
                    lines.push(format!("{} {}", words[0], others.join(" ")));
                }
                lines.push(format!("auto {bridge}"));
            }
            ["iface", interface, rest @ ..] if *interface == name => {
                if !port_said {
                    if nic.switch() {
                        lines.push(format!("allow-{bridge} {name}"));
                    }
                    lines.push(format!("iface {name} inet manual"));
                    if nic.switch() {
                        lines.push("\tovs_type OVSPort".to_owned());
                        lines.push(format!("\tovs_bridge {bridge}"));
                    }
                    lines.push(String::new());
                }
                lines.push(format!("iface {bridge} {}", rest.join(" ")));
                if !port_said && nic.switch() {
                    lines.extend(of_switch(nic));
                } else if !port_said {
                    lines.push(format!("\tbridge_ports {name}"));
                    lines.push("\tbridge_stp off".to_owned());
                    lines.push("\tbridge_fd 0".to_owned());
                    if let Some(mac) = nic.mac {
                        lines.push(format!("\tbridge_hw {mac}"));
                    }
                }
                port_said = true;
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// What Open vSwitch's scripts for ifupdown want to know of a bridge.
fn of_switch(nic: &Nic<'_>) -> Vec<String> {
    let (name, bridge) = (nic.name, nic.bridge);
    let datapath = match nic.kind {
        BridgeKind::OvsUserSpace => " datapath_type=netdev",
        BridgeKind::Linux | BridgeKind::Ovs => "",
    };
    let hwaddr = nic.mac.map(|mac| format!(" other_config:hwaddr=\\\"{mac}\\\"")).unwrap_or_default();
    vec![
        "\tovs_type OVSBridge".to_owned(),
        format!("\tovs_ports {name}"),
        format!("\tovs_extra set bridge {bridge}{datapath}{hwaddr}"),
    ]
}
