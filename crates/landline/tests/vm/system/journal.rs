//! The journal as an administrator reads it: each line once, with its priority, no time beside the journal's own, and nothing alarming
//! that is not a fault.

use serde::Deserialize;

use super::host::Host;
use crate::world::Result;

/// What alarms and is meant to: what was done to the host is a fault. Words of the message, and who says it.
const EXPECTED: [(&str, &str); 9] = [
    // A network on a bridge whose packets the firewall drops.
    ("landline", "verb=CreateNetwork"),
    // `kill -KILL` of the daemon.
    ("systemd", "Main process exited, code=killed"),
    ("systemd", "Failed with result 'signal'"),
    // `kill -STOP` of the daemon.
    ("systemd", "Watchdog timeout"),
    ("systemd", "Failed with result 'watchdog'"),
    // A configuration file with a mistake.
    ("systemd", "Failed with result 'exit-code'"),
    ("systemd", "Failed to start landline.service"),
    ("systemd", "Reload failed for landline.service"),
    ("landline", "landline.toml"),
];

/// What a daemon that was killed leaves behind, and no other: programs that it had started go on.
const AFTER_A_KILL: [&str; 2] =
    ["Found left-over process", "This usually indicates unclean termination of a previous run"];

/// One entry, of the fields that are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Entry {
    #[serde(rename = "PRIORITY")]
    priority: String,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    from: String,
    #[serde(rename = "MESSAGE")]
    message: String,
}

const UNITS: &str =
    "-u landline.service -u landline.socket -u landline-switches.service -u landline-switches.socket";

/// Prints what is in it about Landline, of all boots, and what others warn of; says what is wrong with the former.
pub(crate) fn read(host: &mut Host) -> Result<Vec<String>> {
    println!("{}", host.sh(&format!("journalctl {UNITS} --no-pager -o short-precise"))?);
    let others = "journalctl -p warning --no-pager -o short-precise | grep -v landline || true
        journalctl -u docker --no-pager -o short-precise | grep -E 'level=(warn|err|fatal)' || true";
    println!("{}", host.sh(others)?);
    let fields = "PRIORITY,SYSLOG_IDENTIFIER,MESSAGE";
    let lines = host.sh(&format!("journalctl {UNITS} --no-pager -o json --output-fields={fields}"))?;
    let entries = lines.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Entry>>>()?;
    assert!(entries.iter().any(|entry| entry.from == "landline"), "Landline has written nothing");
    Ok(troubles(&entries))
}

/// What is wrong with entries.
fn troubles(entries: &[Entry]) -> Vec<String> {
    let mut troubles = Vec::new();
    let mut killed = false;
    for Entry { priority, from, message } in entries {
        let alarming = priority.as_str() <= "4";
        if from == "systemd" && message.contains("Main process exited, code=killed") {
            killed = true;
        } else if from == "landline" && message.contains("ready version=") {
            killed = false;
        }
        let meant = |(who, words): &(&str, &str)| who == from && message.contains(words);
        let left = killed && from == "systemd" && AFTER_A_KILL.iter().any(|words| message.contains(words));
        if alarming && !left && !EXPECTED.iter().any(meant) {
            troubles.push(format!("alarming (priority {priority}): {from}: {message}"));
        }
        if from != "landline" {
            continue;
        }
        if begins_with_a_time(message) {
            troubles.push(format!("the time twice: {message}"));
        }
        if ["ERROR ", "WARN ", "INFO "].iter().any(|level| message.trim_start().starts_with(level)) {
            troubles.push(format!("the priority twice: {message}"));
        }
        if message.contains("=Some(") || message.contains("=None") {
            troubles.push(format!("as the program has it, not its reader: {message}"));
        }
        let parts: Vec<&str> = message.split(": ").collect();
        if parts.windows(2).any(|pair| pair[0].len() > 20 && pair[0] == pair[1]) {
            troubles.push(format!("says it twice: {message}"));
        }
    }
    for pair in entries.windows(2) {
        // A daemon that crashes says that it is ready each time.
        if pair[0] == pair[1] && pair[0].from == "landline" && !pair[0].message.contains("ready") {
            troubles.push(format!("one after the other: {}", pair[0].message));
        }
    }
    troubles
}

fn begins_with_a_time(message: &str) -> bool {
    let mut bytes = message.bytes();
    let digits = bytes.by_ref().take(4).all(|byte| byte.is_ascii_digit());
    digits && bytes.next() == Some(b'-') && message.len() > 10
}

#[test]
fn what_is_wrong_with_a_journal_is_found() {
    let said = |entries: &[(&str, &str, &str)]| {
        let entry = |(priority, from, message): &(&str, &str, &str)| Entry {
            priority: (*priority).to_owned(),
            from: (*from).to_owned(),
            message: (*message).to_owned(),
        };
        troubles(&entries.iter().map(entry).collect::<Vec<_>>())
    };
    let fine = [
        ("6", "landline", "ready version=1"),
        ("6", "landline", "ready version=1"),
        ("5", "systemd", "landline.service: Main process exited, code=killed, status=9/KILL"),
        ("4", "systemd", "landline.service: Failed with result 'signal'."),
        (
            "4",
            "systemd",
            "landline.service: Found left-over process 7 (nft) in control group while starting unit.",
        ),
        ("6", "landline", "ready version=1"),
        ("6", "landline", "lease renewed endpoint=1"),
        ("6", "systemd", "Started landline.service."),
    ];
    assert_eq!(said(&fine), [""; 0]);
    for (entries, found) in [
        (vec![("6", "landline", "2026-11-30T05:48:36Z ready")], "the time twice"),
        (vec![("6", "landline", "WARN no server answers")], "the priority twice"),
        (vec![("6", "landline", "leased address=Some(192.0.2.117)")], "not its reader"),
        (vec![("4", "landline", "no server answers")], "alarming (priority 4)"),
        (vec![("4", "systemd", "Found left-over process 7 (iptables)")], "alarming (priority 4)"),
        (vec![("3", "systemd", "Failed to listen on landline.socket")], "alarming (priority 3)"),
        (vec![("6", "landline", "lease renewed"), ("6", "landline", "lease renewed")], "one after the other"),
        (vec![("6", "landline", "the disk is full or gone: the disk is full or gone")], "says it twice"),
    ] {
        let said = said(&entries);
        assert!(said.len() == 1 && said[0].contains(found), "{said:?}");
    }
}
