//! What must hold for any input; the fuzz targets and a plain test call it.
#![allow(dead_code, reason = "each target uses one")]

use std::collections::BTreeMap;

use landline_options::{
    Allowed, Asker, Attach, AttachSpec, ConfigFile, Pipework, Request, Target, split_words,
};

/// The longest message about a bad input, in bytes: text from outside is cut.
const MESSAGE: usize = 700;

/// One line of pipework's.
pub(crate) fn pipework(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match split_words(&text).and_then(|words| Pipework::parse(&words)) {
        Ok(value) => {
            if let Pipework::Attach(attach) = &value {
                sane(&attach.spec);
            }
            let json = serde_json::to_string(&value).expect("it can be stored");
            assert_eq!(serde_json::from_str::<Pipework>(&json).expect("it can be read again"), value);
        }
        Err(error) => assert!(error.to_string().len() < MESSAGE),
    }
}

/// One line of `landline attach`.
pub(crate) fn attach(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match split_words(&text).and_then(|words| Attach::parse(&words)) {
        Ok(attach) => {
            sane(&attach.spec);
            assert_eq!(attach.target.to_string().parse::<Target>().expect("it reads again"), attach.target);
        }
        Err(error) => assert!(error.to_string().len() < MESSAGE),
    }
}

/// A container's labels and environment: a line each, `=` between name and value.
pub(crate) fn container(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let environment: Vec<String> = text.lines().map(str::to_owned).collect();
    let labels: BTreeMap<String, String> = environment
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let hostname = environment.first().map_or("", String::as_str);
    let asker = Asker {
        id: &"0123456789abcdef".repeat(4),
        name: "web-1",
        hostname,
        labels: &labels,
        environment: &environment,
    };
    for ask in asker.requests().all {
        match ask.request {
            Ok(Request::Attach(spec)) => {
                sane(&spec);
                assert!(!spec.force, "only the administrator may");
            }
            Ok(Request::Change(_)) => {}
            Err(error) => assert!(error.to_string().len() < MESSAGE),
        }
    }
}

/// A configuration file.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match ConfigFile::parse(&text) {
        Ok(before) => {
            if let Ok(after) = ConfigFile::allow(&text, "br0", &Allowed::default()) {
                let after = ConfigFile::parse(&after).expect("it stays one");
                assert!(after.containers.allow.contains_key("br0"));
                assert_eq!((before.containers.key, before.attach), (after.containers.key, after.attach));
            }
        }
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && error.line <= text.lines().count() + 1);
            assert!(!error.to_string().contains('\n'));
        }
    }
}

/// What becomes of it can be put into a script and into paths.
fn sane(spec: &AttachSpec) {
    let clean = |b: u8| b.is_ascii_alphanumeric() || b"_.-+@".contains(&b);
    for name in [&spec.ifname, &spec.host_end].into_iter().flatten() {
        assert!(name.as_str().bytes().all(clean));
    }
    if let landline_options::Parent::Name(name) = &spec.parent {
        assert!(name.as_str().bytes().all(clean));
    }
    if let landline_options::Parent::Switch(dir) = &spec.parent {
        let text = dir.to_str().expect("it was read from a text");
        assert!(text.starts_with('/') && text.len() <= 96 && !text.split('/').any(|part| part == ".."));
    }
    let json = serde_json::to_string(spec).expect("it can be stored");
    assert_eq!(serde_json::from_str::<AttachSpec>(&json).expect("it can be read again"), *spec);
}
