//! What the pages say of themselves and of the program: links lead somewhere, and the messages that the troubleshooting page
//! explains are still what the program says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Messages of others that the page explains as well.
const OF_OTHERS: [&str; 2] = ["Unknown device type", "error looking up network plugin landline"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The pages, with their text outside of fences.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let here = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain(here).filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), without_fences(&fs::read_to_string(path).unwrap()))).collect()
}

fn without_fences(text: &str) -> String {
    let (mut fenced, mut left) = (false, String::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            left.push_str(line);
            left.push('\n');
        }
    }
    left
}

/// The names that headings can be linked to by: lower case, a hyphen for a space, no punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let slug = |heading: &str| -> String {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut seen, mut broken) = (0, Vec::new());
    for (page, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let there = || {
                fs::read_to_string(&path).is_ok_and(|text| anchors(&without_fences(&text)).contains(anchor))
            };
            if !path.exists() || (!anchor.is_empty() && !there()) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(seen > 50, "{seen} links");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The product's sources, each text over several lines as one.
fn sources() -> String {
    let (mut files, mut text) = (vec![root().join("crates")], String::new());
    while let Some(path) = files.pop() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            let source = fs::read_to_string(path).unwrap();
            let mut lines = source.lines().map(str::trim);
            text.extend(
                lines
                    .by_ref()
                    .map(|line| line.strip_suffix('\\').map_or_else(|| format!("{line}\n"), str::to_owned)),
            );
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a message that stand in the program as they are, in runs: what it fills in is between them.
fn fixed_words(message: &str) -> Vec<Vec<&str>> {
    let filled_in = |word: &str| {
        let plain = word.trim_matches(|c: char| !c.is_alphanumeric());
        let name =
            plain.chars().any(|c| c.is_ascii_uppercase()) && !plain.chars().any(|c| c.is_ascii_lowercase());
        name || plain.is_empty()
            || plain.chars().all(|c| c.is_ascii_digit())
            || word.contains(['/', '=', '…', '('])
            || ["macvlan", "ipvlan"].contains(&plain)
    };
    let mut runs = vec![Vec::new()];
    for word in message.split_whitespace() {
        if filled_in(word) {
            runs.push(Vec::new());
            continue;
        }
        let ends = word.ends_with([',', ';', ':']);
        runs.last_mut().unwrap().push(word.trim_matches([',', ';', ':']));
        if ends {
            runs.push(Vec::new());
        }
    }
    runs
}

#[test]
fn the_messages_of_the_troubleshooting_page_are_the_programs() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let sources = sources();
    let messages: Vec<&str> = page
        .split("**`")
        .skip(1)
        .filter_map(|rest| rest.split("`**").next())
        .filter(|m| !OF_OTHERS.contains(m))
        .collect();
    assert!(messages.len() > 100, "{} messages", messages.len());
    let mut gone = Vec::new();
    for message in messages {
        for run in fixed_words(message) {
            // Three words in a row are found, however the sentence is put together.
            let lost =
                run.windows(3).map(|words| words.join(" ")).find(|words| !sources.contains(words.as_str()));
            gone.extend(lost.map(|words| format!("{words:?} of {message:?}")));
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
}
