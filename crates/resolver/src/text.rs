//! A `resolv.conf(5)` as text: what a LAN says goes into a block of its own, with the lines it takes the place of kept
//! in it as comments. So the file tells by itself what Docker wrote, however often it changes, and whoever writes it.

use std::collections::BTreeSet;

const BEGIN: &str = "# Landline: what the LAN says. In its place Docker had:";
const KEPT: &str = "#-";
const END: &str = "# Landline: end";

/// What a container's resolver is to know from its LANs. Names come checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Servers, best first, as resolv.conf writes them; empty: those that are there.
    pub(crate) servers: Vec<String>,
    /// Search domains; empty: those that are there.
    pub(crate) domains: Vec<String>,
    /// Whether the search domains that are there stay, before these.
    pub(crate) keep_domains: bool,
}

impl Names {
    fn is_nothing(&self) -> bool {
        self.servers.is_empty() && self.domains.is_empty()
    }

    /// Whether a line says what this says better.
    fn replaces(&self, line: &str) -> bool {
        match line.split_whitespace().next() {
            Some("nameserver") => !self.servers.is_empty(),
            Some("search" | "domain") => !self.domains.is_empty(),
            _ => false,
        }
    }
}

/// The text without a block of ours, with the lines that were replaced.
fn restore(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            BEGIN => inside = true,
            END => inside = false,
            _ if inside => lines.extend(line.strip_prefix(KEPT)),
            _ => lines.push(line),
        }
    }
    lines
}

/// The text with these names in the place of those of before; the same text if they are the same.
pub(crate) fn with_names(text: &str, names: &Names) -> String {
    let original = restore(text);
    if names.is_nothing() && !text.lines().any(|line| line == BEGIN) {
        return text.to_owned();
    }
    let (replaced, kept): (Vec<&str>, Vec<&str>) = original.iter().partition(|line| names.replaces(line));
    let mut lines: Vec<String> = Vec::new();
    if !names.is_nothing() {
        lines.push(BEGIN.to_owned());
        lines.extend(replaced.iter().map(|line| format!("{KEPT}{line}")));
        lines.extend(search(&replaced, names));
        lines.extend(names.servers.iter().map(|server| format!("nameserver {server}")));
        lines.push(END.to_owned());
    }
    // Where the first of the replaced lines was.
    let at = original.iter().position(|line| names.replaces(line)).unwrap_or(kept.len());
    let at = at.min(kept.len());
    let (before, after) = kept.split_at(at);
    let all = before.iter().copied().chain(lines.iter().map(String::as_str)).chain(after.iter().copied());
    all.flat_map(|line| [line, "\n"]).collect()
}

/// The line of search domains. Of several that are there the last one counts (resolv.conf(5)).
fn search(replaced: &[&str], names: &Names) -> Option<String> {
    let there = replaced.iter().rev().find(|line| line.starts_with("search") || line.starts_with("domain"));
    let there = there.filter(|_| names.keep_domains).map_or("", |line| *line);
    let mut seen = BTreeSet::new();
    let words = there.split_whitespace().skip(1).chain(names.domains.iter().map(String::as_str));
    // A dot alone is no domain: it says that there is none to search.
    let words: Vec<&str> = words.filter(|word| *word != "." && seen.insert(*word)).collect();
    (!names.domains.is_empty()).then(|| format!("search {}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOCKERS: &str = "search example.org\nnameserver 127.0.0.11\noptions edns0 ndots:0\n";

    fn names(servers: &[&str], domains: &[&str], keep_domains: bool) -> Names {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Names { servers: owned(servers), domains: owned(domains), keep_domains }
    }

    /// What a resolver reads.
    fn effective(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn search_adds_domains_and_keeps_dockers_resolver() {
        let text = with_names(DOCKERS, &names(&[], &["lan.example", "example.org"], true));
        assert_eq!(
            effective(&text),
            ["search example.org lan.example", "nameserver 127.0.0.11", "options edns0 ndots:0"]
        );
        let bare = with_names("nameserver 127.0.0.11\n", &names(&[], &["lan.example"], true));
        assert_eq!(effective(&bare), ["nameserver 127.0.0.11", "search lan.example"]);
    }

    #[test]
    fn replace_gives_up_dockers_servers_and_domains() {
        let text = with_names(DOCKERS, &names(&["192.0.2.1", "192.0.2.2"], &["lan.example"], false));
        let said =
            ["search lan.example", "nameserver 192.0.2.1", "nameserver 192.0.2.2", "options edns0 ndots:0"];
        assert_eq!(effective(&text), said);
        let domainless = with_names(DOCKERS, &names(&["192.0.2.1"], &[], false));
        assert!(effective(&domainless).contains(&"search example.org"), "{domainless}");
        let none = with_names("search .\nnameserver 127.0.0.11\n", &names(&[], &["lan.example"], true));
        assert_eq!(effective(&none)[0], "search lan.example");
    }

    #[test]
    fn what_was_there_comes_back_and_changes_by_others_stay() {
        let first = with_names(DOCKERS, &names(&["192.0.2.1"], &["lan.example"], false));
        let second = with_names(&first, &names(&["192.0.2.9"], &[], true));
        assert!(second.contains("192.0.2.9") && !second.contains("192.0.2.1\n"), "{second}");
        assert_eq!(with_names(&second, &Names::default()), DOCKERS);
        let edited = format!("{second}options timeout:1\n");
        assert_eq!(with_names(&edited, &Names::default()), format!("{DOCKERS}options timeout:1\n"));
        assert_eq!(with_names(&first, &names(&["192.0.2.1"], &["lan.example"], false)), first);
        assert_eq!(with_names("no newline", &Names::default()), "no newline", "not ours to change");
    }

    proptest! {
        #[test]
        fn any_file_comes_back(
            lines in prop::collection::vec("(nameserver|search|domain|options|# .)( [a-z0-9.]{0,9}){0,3}", 0..8),
            servers in 0..3_usize, domains in 0..3_usize, keep: bool,
        ) {
            let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let all = names(&["192.0.2.1", "2001:db8::1"], &["a.example", "b.example"], keep);
            let some = Names {
                servers: all.servers.into_iter().take(servers).collect(),
                domains: all.domains.into_iter().take(domains).collect(),
                keep_domains: keep,
            };
            let changed = with_names(&text, &some);
            prop_assert_eq!(&with_names(&changed, &some), &changed, "twice is once");
            let back = with_names(&changed, &Names::default());
            let sorted = |text: &str| { let mut l: Vec<String> = text.lines().map(str::to_owned).collect(); l.sort(); l };
            prop_assert_eq!(sorted(&back), sorted(&text), "no line is lost");
        }

        #[test]
        fn hostile_files_do_no_harm(text in "(# Landline: (end|what the LAN says. In its place Docker had:)\n|#-x\n|.{0,20}\n?){0,9}") {
            let changed = with_names(&text, &names(&["192.0.2.1"], &["lan.example"], true));
            prop_assert!(changed.lines().any(|line| line == "nameserver 192.0.2.1"));
        }
    }
}
