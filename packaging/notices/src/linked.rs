//! The packages that are linked into a program, from what `cargo metadata` says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::Result;

/// One of them.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) licence: String,
    /// Where its sources are.
    pub(crate) directory: PathBuf,
    /// Whether it comes from elsewhere.
    pub(crate) foreign: bool,
    /// The identifiers of what it needs.
    pub(crate) needs: BTreeSet<String>,
}

/// All of them, by cargo's identifiers.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) program: String,
    pub(crate) packages: BTreeMap<String, Package>,
}

impl Linked {
    /// Those of other projects, by name.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.foreign)
    }
}

/// Reads the answer of `cargo metadata` for a program of the workspace.
pub(crate) fn read(metadata: &Value, program: &str) -> Result<Linked> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (packages, nodes) = (list(&metadata["packages"]), list(&metadata["resolve"]["nodes"]));
    let root = packages.iter().find(|package| package["name"] == program && package["source"].is_null());
    let program = text(&root.ok_or("no such program in the workspace")?["id"]);
    // Macros and build scripts run when it is built, and are not in it; neither is what only they need.
    let macros: BTreeSet<String> = packages
        .iter()
        .filter(|package| list(&package["targets"]).iter().any(|target| target["kind"][0] == "proc-macro"))
        .map(|package| text(&package["id"]))
        .collect();
    let is_linked = |need: &Value| {
        let kinds = list(&need["dep_kinds"]);
        kinds.iter().any(|kind| kind["kind"].is_null())
            && !macros.contains(need["pkg"].as_str().unwrap_or_default())
    };
    let needs = |id: &str| -> BTreeSet<String> {
        let node = nodes.iter().find(|node| node["id"] == id);
        let needs = node.map(|node| list(&node["deps"])).unwrap_or_default();
        needs.iter().filter(|need| is_linked(need)).map(|need| text(&need["pkg"])).collect()
    };
    let (mut linked, mut waiting) = (BTreeMap::new(), vec![program.clone()]);
    while let Some(id) = waiting.pop() {
        if linked.contains_key(&id) {
            continue;
        }
        let package =
            packages.iter().find(|package| package["id"] == id.as_str()).ok_or("cargo contradicts itself")?;
        let needs = needs(&id);
        waiting.extend(needs.iter().cloned());
        let mut directory = PathBuf::from(text(&package["manifest_path"]));
        directory.pop();
        let package = Package {
            name: text(&package["name"]),
            version: text(&package["version"]),
            licence: text(&package["license"]),
            directory,
            foreign: !package["source"].is_null(),
            needs,
        };
        linked.insert(id, package);
    }
    Ok(Linked { program, packages: linked })
}
