//! `NetworkManager` (nm-settings-keyfile(5)).

use std::fs;

use super::{Change, Changes, Nic, PersistError, change, read, sections, value, write_sections};

/// Two connections: the bridge, with everything the NIC's connection says of IP, and the NIC as its port. The NIC's own
/// connection stays and is no longer started by itself.
pub(super) fn plan(nic: &Nic<'_>) -> Result<Option<Changes>, PersistError> {
    let Some(notes) = notes(nic) else { return Ok(None) };
    let unclear =
        |what: String| PersistError::Unclear { manager: "NetworkManager", nic: nic.name.clone(), what };
    if nic.switch() {
        return Err(unclear(
            "it makes its own bridges of Open vSwitch, and takes over none that is there".into(),
        ));
    }
    let uuid =
        value(&notes, "connection-uuid").ok_or_else(|| unclear("no connection of it is active".into()))?;
    let (path, theirs) = connection(nic, uuid)
        .ok_or_else(|| unclear(format!("connection {uuid} is in none of its keyfiles")))?;
    let own = sections(&theirs);

    let (name, bridge) = (nic.name, nic.bridge);
    let lines = |lines: &[String]| lines.to_vec();
    let mac = nic.mac.map(|mac| format!("mac-address={mac}")).into_iter();
    let mut wanted = vec![
        (
            "connection".to_owned(),
            lines(&[
                format!("id=landline-{bridge}"),
                "type=bridge".into(),
                format!("interface-name={bridge}"),
                "autoconnect-priority=100".into(),
                "autoconnect-slaves=1".into(),
            ]),
        ),
        ("bridge".to_owned(), mac.chain(["stp=false".to_owned(), "forward-delay=0".to_owned()]).collect()),
    ];
    let carried = ["ipv4", "ipv6", "proxy"];
    wanted.extend(own.iter().filter(|(section, _)| carried.contains(&section.as_str())).cloned());
    let mut port = vec![(
        "connection".to_owned(),
        lines(&[
            format!("id=landline-{bridge}-{name}"),
            "type=ethernet".into(),
            format!("interface-name={name}"),
            format!("master={bridge}"),
            "slave-type=bridge".into(),
            "autoconnect-priority=100".into(),
        ]),
    )];
    // Link settings (802.1X, speed, MTU) are the port's.
    let of_ip = ["connection", "ipv4", "ipv6", "proxy"];
    port.extend(own.iter().filter(|(section, _)| !of_ip.contains(&section.as_str())).cloned());
    let mut idle = own;
    for (section, lines) in &mut idle {
        if section == "connection" {
            lines.retain(|line| !line.trim_start().starts_with("autoconnect="));
            lines.push("autoconnect=false".to_owned());
        }
    }
    let directory = nic.root.join("etc/NetworkManager/system-connections");
    // Keyfiles may hold secrets, and NetworkManager reads none that others could.
    let secret = |name: String, text: String| -> Result<Change, PersistError> {
        change(directory.join(name), text, 0o600)
    };
    let files = vec![
        secret(format!("landline-{bridge}.nmconnection"), write_sections(&wanted))?,
        secret(format!("landline-{bridge}-{name}.nmconnection"), write_sections(&port))?,
        change(path, write_sections(&idle), 0o600)?,
    ];
    let hint = format!(
        "NetworkManager takes notice at the next boot, or after: nmcli connection reload && nmcli connection up landline-{bridge}"
    );
    Ok(Some(Changes { manager: "NetworkManager".into(), hint, files, switch: false }))
}

/// What it has noted of a NIC that it configures.
pub(in crate::bridge) fn notes(nic: &Nic<'_>) -> Option<String> {
    let notes = read(&nic.root.join(format!("run/NetworkManager/devices/{}", nic.index)))?;
    (value(&notes, "managed") == Some("true")).then_some(notes)
}

/// The keyfile of a connection.
fn connection(nic: &Nic<'_>, uuid: &str) -> Option<(std::path::PathBuf, String)> {
    let directories = ["etc/NetworkManager/system-connections", "run/NetworkManager/system-connections"];
    directories.iter().find_map(|directory| {
        let files = fs::read_dir(nic.root.join(directory)).ok()?;
        files.filter_map(Result::ok).find_map(|file| {
            let text = read(&file.path())?;
            (value(&text, "uuid") == Some(uuid)).then(|| (file.path(), text))
        })
    })
}
