//! The journal as an administrator reads it: each line once, with its priority, and no time beside the journal's own.

use serde_json::Value;

use super::host::Host;
use crate::world::Result;

/// Prints what Landline has written, of all boots, and says what is wrong with it.
pub(crate) fn read(host: &mut Host) -> Result<Vec<String>> {
    println!(
        "{}",
        host.sh(
            "journalctl -u landline -u landline.socket -u landline-switches --no-pager -o short-precise"
        )?
    );
    let lines = host.sh("journalctl _SYSTEMD_UNIT=landline.service SYSLOG_IDENTIFIER=landline --no-pager -o json --output-fields=PRIORITY,MESSAGE")?;
    let entries: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let entries: Vec<(&str, &str)> = entries
        .iter()
        .filter_map(|entry| Some((entry["PRIORITY"].as_str()?, entry["MESSAGE"].as_str()?)))
        .collect();
    assert!(!entries.is_empty(), "Landline has written nothing");
    Ok(troubles(&entries))
}

/// What is wrong with messages, each with its priority.
fn troubles(entries: &[(&str, &str)]) -> Vec<String> {
    let timed = entries.iter().filter(|(_, message)| begins_with_a_time(message));
    let mut troubles: Vec<String> = timed.map(|(_, message)| format!("the time twice: {message}")).collect();
    for (priority, message) in entries {
        let level = ["ERROR ", "WARN "].into_iter().find(|level| message.trim_start().starts_with(level));
        if let (Some(level), "6") = (level, *priority) {
            troubles.push(format!("{level}has priority 6: {message}"));
        }
        let parts: Vec<&str> = message.split(": ").collect();
        if parts.windows(2).any(|pair| pair[0].len() > 20 && pair[0] == pair[1]) {
            troubles.push(format!("says it twice: {message}"));
        }
    }
    for pair in entries.windows(2) {
        if pair[0] == pair[1] && !pair[0].1.contains("ready") {
            troubles.push(format!("one after the other: {}", pair[0].1));
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
    assert_eq!(
        troubles(&[("6", "ready version=1"), ("4", "no server answers"), ("6", "ready version=1")]),
        [""; 0]
    );
    for (entries, found) in [
        (vec![("6", "2026-11-30T05:48:36Z INFO ready")], "the time twice"),
        (vec![("6", "WARN no server answers")], "priority 6"),
        (vec![("6", "lease renewed endpoint=1"), ("6", "lease renewed endpoint=1")], "one after the other"),
        (vec![("3", "the disk is full or gone: the disk is full or gone")], "says it twice"),
    ] {
        let said = troubles(&entries);
        assert!(said.len() == 1 && said[0].contains(found), "{said:?}");
    }
}
