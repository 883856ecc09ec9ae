//! systemd-networkd (systemd.network(5), systemd.netdev(5)).

use std::path::PathBuf;

use super::{Changes, Nic, PersistError, change, head, read, sections, value, write_sections};

/// Three files: the bridge, the NIC as its port, and the NIC's configuration with the bridge's name.
pub(super) fn plan(nic: &Nic<'_>) -> Result<Option<Changes>, PersistError> {
    let Some(notes) = notes(nic) else { return Ok(None) };
    let unclear =
        |what: String| PersistError::Unclear { manager: "systemd-networkd", nic: nic.name.clone(), what };
    if nic.switch() {
        return Err(unclear("it makes no bridges of Open vSwitch".into()));
    }
    let file = value(&notes, "NETWORK_FILE").ok_or_else(|| unclear("does not say from which file".into()))?;
    let file = nic.root.join(file.trim_start_matches('/'));
    let theirs = read(&file).ok_or_else(|| unclear(format!("{} cannot be read", file.display())))?;

    let directory = nic.root.join("etc/systemd/network");
    let path = |name: String| -> PathBuf { directory.join(name) };
    let (head, name, bridge) = (head(nic), nic.name, nic.bridge);
    let mac = nic.mac.map(|mac| format!("MACAddress={mac}\n")).unwrap_or_default();
    let netdev =
        format!("{head}[NetDev]\nName={bridge}\nKind=bridge\n{mac}\n[Bridge]\nSTP=no\nForwardDelaySec=0\n");
    let port = format!("{head}[Match]\nName={name}\n\n[Network]\nBridge={bridge}\nLinkLocalAddressing=no\n");
    let mut own = sections(&theirs);
    for (section, lines) in &mut own {
        if section == "Match" {
            *lines = vec![format!("Name={bridge}")];
        }
    }
    if let Some(iaid) = iaid(nic) {
        // Made of the interface's name unless it is said: the server would take the bridge for another client.
        match own.iter_mut().find(|(section, _)| section == "DHCPv4") {
            Some((_, lines)) if lines.iter().any(|line| line.trim_start().starts_with("IAID")) => {}
            Some((_, lines)) => lines.push(format!("IAID={iaid}")),
            None => own.push(("DHCPv4".to_owned(), vec![format!("IAID={iaid}")])),
        }
    }
    let files = vec![
        change(path(format!("05-landline-{bridge}.netdev")), netdev, 0o644)?,
        change(path(format!("05-landline-{name}.network")), port, 0o644)?,
        change(
            path(format!("05-landline-{bridge}.network")),
            format!("{head}{}", write_sections(&own)),
            0o644,
        )?,
    ];
    let hint = "networkd takes notice at the next boot, or after: networkctl reload".to_owned();
    Ok(Some(Changes { manager: "systemd-networkd".into(), hint, files, switch: false }))
}

/// What it has noted of a NIC that it configures.
pub(in crate::bridge) fn notes(nic: &Nic<'_>) -> Option<String> {
    let notes = read(&nic.root.join(format!("run/systemd/netif/links/{}", nic.index)))?;
    let managed = !matches!(value(&notes, "ADMIN_STATE"), None | Some("unmanaged"));
    managed.then_some(notes)
}

/// The identity association of the NIC's lease: the second to fifth octet of an RFC 4361 client identifier.
fn iaid(nic: &Nic<'_>) -> Option<u32> {
    let lease = read(&nic.root.join(format!("run/systemd/netif/leases/{}", nic.index)))?;
    let id = value(&lease, "CLIENTID")?.strip_prefix("ff")?;
    u32::from_str_radix(id.get(..8)?, 16).ok()
}
