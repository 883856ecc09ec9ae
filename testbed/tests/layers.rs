//! Imports go down only.
//!
//! The crates stand in layers (`docs/internals.md`); what they must not know of each other is held here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates from the ground up. A crate may depend on those of lower layers, and not on its neighbours.
const CRATES: &[&[&str]] = &[
    &["types"],
    &["dhcp", "kernel", "ovsdb", "options"],
    &["docker", "model", "vde"],
    &["runtimes", "store"],
    &["links"],
    &["leases"],
    &["engine", "uplink"],
    &["attach", "conflicts", "host-access", "ipam", "nat", "ovs-ports", "resolver", "routed"],
    &["doctor"],
    &["landline"],
];

/// The files that name a link mode outside the options and the links: everything else asks `LinkFacts`. Six are the most
/// there may be.
const NAME_MODES: &[&str] = &[];

#[test]
fn crates_depend_on_lower_layers_only() {
    let layer = |name: &str| CRATES.iter().position(|layer| layer.contains(&name));
    let mut seen = BTreeSet::new();
    for manifest in directories(&root().join("crates")) {
        let name = manifest.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(own) = layer(&name) else { panic!("crates/{name} has no layer in {}", file!()) };
        let text = fs::read_to_string(manifest.join("Cargo.toml")).unwrap();
        // Those for tests too, which may take the test bed besides.
        for dependency in text.lines().filter_map(|line| line.strip_prefix("landline-")) {
            let other = dependency.split(['.', ' ', '=']).next().unwrap();
            let lower = other == "testbed" || layer(other).is_some_and(|other| other < own);
            assert!(lower, "crates/{name} depends on crates/{other}");
        }
        seen.insert(name);
    }
    let listed: BTreeSet<String> =
        CRATES.iter().flat_map(|layer| layer.iter().map(ToString::to_string)).collect();
    assert_eq!(seen, listed);
}

/// Fakes for tests are not in the program.
#[test]
fn only_tests_switch_on_what_is_for_tests() {
    for manifest in directories(&root().join("crates")) {
        let text = fs::read_to_string(manifest.join("Cargo.toml")).unwrap();
        let product = text.split("[dev-dependencies]").next().unwrap();
        assert!(!product.contains("\"testing\""), "{}", manifest.display());
    }
}

#[test]
fn few_files_outside_drivers_name_modes() {
    let mut files = Vec::new();
    for directory in directories(&root().join("crates")) {
        let knows_options =
            fs::read_to_string(directory.join("Cargo.toml")).unwrap().contains("landline-options.workspace");
        if knows_options {
            files.extend(sources(&directory.join("src")));
        }
    }
    let drivers = root().join("crates/links/src/drivers");
    files.retain(|path| !path.starts_with(&drivers));
    files.retain(|path| names_a_mode(&code(path)));
    let root = root();
    let files: Vec<&str> =
        files.iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap()).collect();
    assert_eq!(files, NAME_MODES);
    assert!(files.len() <= 6);
}

/// The words of link kinds that the engine's code must not contain. `bridge` and `nic` are not among them: a parent of any kind may be
/// one.
const KINDS: [&str; 7] = ["macvlan", "ipvlan", "ovs", "vde", "vswitch", "nat", "routed"];

/// What only one kind of link needs belongs to its driver.
#[test]
fn the_engine_names_no_link_kind() {
    let mut named = Vec::new();
    for path in sources(&root().join("crates/engine/src")) {
        let code = without_texts(&code(&path));
        let kinds = words(&code).into_iter().filter(|word| KINDS.contains(&word.as_str()));
        named.extend(kinds.map(|kind| format!("{}: {kind}", path.display())));
    }
    assert_eq!(named, Vec::<String>::new());
}

/// The engine is a handle: what a feature keeps is the feature's.
#[test]
fn the_engine_has_few_fields_and_all_are_its_own() {
    let text = fs::read_to_string(root().join("crates/engine/src/engine.rs")).unwrap();
    let (_, fields) = text.split_once("pub struct Engine {\n").unwrap();
    let (fields, _) = fields.split_once("\n}").unwrap();
    let fields: Vec<&str> = fields.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
    assert!((1..=10).contains(&fields.len()), "{fields:#?}");
    assert!(!fields.iter().any(|field| field.starts_with("pub ")), "{fields:#?}");
}

/// Code without the contents of its string literals: they are for people, who type modes.
fn without_texts(code: &str) -> String {
    let mut rest = String::with_capacity(code.len());
    let (mut inside, mut escaped) = (false, false);
    for c in code.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ if inside => {}
            c => rest.push(c),
        }
    }
    rest
}

/// The words of all identifiers, in lower case: those of `MacIsParents` are `mac`, `is` and `parents`.
fn words(code: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in code.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() && !before.is_uppercase() {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn kinds_are_found_however_they_are_written() {
    let kinds = |code: &str| {
        let words = words(&without_texts(code));
        words.into_iter().filter(|word| KINDS.contains(&word.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(kinds("links::vde::VdeError, Role::Nat, HostEnd::OvsPort"), ["vde", "vde", "nat", "ovs"]);
    assert_eq!(kinds("LinkKind::OpenVSwitch MacOnIpvlan { lan_ip }"), ["vswitch", "ipvlan"]);
    assert_eq!(kinds(r#"switched, removes, "use \"mode=vde\"", SwitchPort"#), Vec::<String>::new());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// All files of Rust below a directory that are not tests: neither called so nor declared as such.
fn sources(path: &Path) -> Vec<PathBuf> {
    let mut files = all_sources(path);
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let declared = |name: &str| {
        let only = |how: &str| format!("#[cfg(test)]\n{how}mod {name};");
        texts.iter().any(|text| ["", "pub(crate) "].iter().any(|how| text.contains(&only(how))))
    };
    files.retain(|file| !declared(file.file_stem().unwrap().to_str().unwrap()));
    files
}

fn all_sources(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            files.append(&mut all_sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The code of a file: no comments, no unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Whether code names a link mode, however it is qualified. `DHCPv6` and files have modes of their own.
fn names_a_mode(code: &str) -> bool {
    code.match_indices("Mode::").any(|(at, _)| {
        let before = &code[..at];
        let whole = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        // What begins with a small letter asks all of them something.
        let variant = code[at + "Mode::".len()..].starts_with(char::is_uppercase);
        whole && variant && !["v6::", "fs::"].iter().any(|other| before.ends_with(other))
    })
}

#[test]
fn modes_are_found_however_they_are_qualified() {
    for code in ["match mode { Mode::Nat => 1 }", "landline_options::Mode::Nat", "(Mode::Bridge)"] {
        assert!(names_a_mode(code), "{code}");
    }
    for code in
        ["v6::Mode::Auto", "rustix::fs::Mode::RWXU", "HostnameMode::Off", "mode: Mode", "Mode::words()"]
    {
        assert!(!names_a_mode(code), "{code}");
    }
}
