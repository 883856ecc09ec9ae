//! Allowing more: one table of the file is written again, everything else in it stays as the administrator wrote it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Allowed, ConfigError, ConfigFile};
use crate::demands::Permission;

impl ConfigFile {
    /// The text of the file with this allowed as well. What is there of the parent's table, comments included, is
    /// replaced.
    ///
    /// # Errors
    /// The text is no configuration, or would be none afterwards because the table is written in another way than
    /// under a heading of its own.
    pub fn allow(text: &str, parent: &str, more: &Allowed) -> Result<String, ConfigError> {
        let before = Self::parse(text)?;
        let known = before.containers.allow.get(parent);
        let mut rules = known.cloned().unwrap_or_default();
        rules
            .kinds
            .extend(more.kinds.iter().filter(|k| !rules.kinds.contains(k)).copied().collect::<Vec<_>>());
        // Anything is more than something.
        if known.is_none() || !rules.subnets.is_empty() {
            rules.subnets.extend(&more.subnets);
        }
        rules.vlans.extend(&more.vlans);
        Permission::ALL.into_iter().filter(|p| more.gives(*p)).for_each(|p| rules.give(p));
        rules.subnets.sort_unstable();
        rules.subnets.dedup();
        rules.vlans.sort_unstable();
        rules.vlans.dedup();
        let table = render(parent, &rules);
        let heading = heading(parent);
        let start = position(text, |line| line.split('#').next().unwrap_or_default().trim() == heading);
        let after = match start {
            Some((start, from)) => {
                let end = position(&text[from..], |line| line.trim_start().starts_with('['));
                let rest = end.map_or("", |(end, _)| &text[from + end..]);
                format!("{}{table}{}{rest}", &text[..start], if rest.is_empty() { "" } else { "\n" })
            }
            None => append(text, &table),
        };
        changed_only(&before, after, |file| file.containers.allow.get(parent) == Some(&rules))
    }

    /// The text of the file with containers allowed to change their own routes, rules and queues.
    ///
    /// # Errors
    /// As with [`Self::allow`].
    pub fn allow_changes(text: &str) -> Result<String, ConfigError> {
        let before = Self::parse(text)?;
        if before.containers.changes {
            return Ok(text.to_owned());
        }
        let heading =
            position(text, |line| line.split('#').next().unwrap_or_default().trim() == "[containers]");
        let after = match heading {
            Some((_, from)) => {
                // One that says false is overruled by nothing: it has to go.
                let (before, rest) = text.split_at(from);
                let end = position(rest, |line| line.trim_start().starts_with('['))
                    .map_or(rest.len(), |(end, _)| end);
                let kept = rest[..end].lines().filter(|line| !line.trim_start().starts_with("changes"));
                let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
                let gap = if before.ends_with('\n') { "" } else { "\n" };
                format!("{before}{gap}changes = true\n{kept}{}", &rest[end..])
            }
            None => append(text, "[containers]\nchanges = true\n"),
        };
        changed_only(&before, after, |file| file.containers.changes)
    }
}

/// The text, if it says what it should and all else as before: a heading may have been in a text over several lines.
fn changed_only(
    before: &ConfigFile,
    after: String,
    done: impl Fn(&ConfigFile) -> bool,
) -> Result<String, ConfigError> {
    let read = ConfigFile::parse(&after)?;
    // All but what is allowed.
    let rest = |file: &ConfigFile| {
        let mut rest = file.clone();
        (rest.containers.allow, rest.containers.changes) = (BTreeMap::new(), false);
        rest
    };
    if done(&read) && rest(&read) == rest(before) {
        Ok(after)
    } else {
        let message = "this file is written in a way that cannot be added to; write the line by hand";
        Err(ConfigError { line: 1, column: 1, message: message.into() })
    }
}

fn append(text: &str, table: &str) -> String {
    match text.trim_end() {
        "" => table.to_owned(),
        text => format!("{text}\n\n{table}"),
    }
}

/// Where the first such line begins, and where the one after it does.
fn position(text: &str, is_it: impl Fn(&str) -> bool) -> Option<(usize, usize)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if is_it(line) {
            return Some((at, at + line.len()));
        }
        at += line.len();
    }
    None
}

fn heading(parent: &str) -> String {
    let bare = parent.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare {
        format!("[containers.allow.{parent}]")
    } else {
        format!("[containers.allow.{}]", quote(parent))
    }
}

/// A basic string: of an interface's name or an address only these two characters need care.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn render(parent: &str, rules: &Allowed) -> String {
    let mut table = format!("{}\n", heading(parent));
    let mut list = |key: &str, values: Vec<String>| {
        if !values.is_empty() {
            // Writing into a text cannot fail.
            let _ = writeln!(table, "{key} = [{}]", values.join(", "));
        }
    };
    list("kinds", rules.kinds.iter().map(|kind| quote(kind.as_str())).collect());
    list("subnets", rules.subnets.iter().map(|net| quote(&net.to_string())).collect());
    list("vlans", rules.vlans.iter().map(ToString::to_string).collect());
    for permission in Permission::ALL.into_iter().filter(|permission| rules.gives(*permission)) {
        let _ = writeln!(table, "{} = true", permission.key());
    }
    table
}
