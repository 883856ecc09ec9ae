//! The bill of materials, as `CycloneDX` 1.5 has it (<https://cyclonedx.org/docs/1.5/json/>). It has no time in it: the same
//! build has the same bill.

use serde_json::{Value, json};

use crate::Result;
use crate::linked::{Linked, Package};

/// What a package is called there (<https://github.com/package-url/purl-spec>).
fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn component(package: &Package, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version,
        "licenses": [{ "expression": package.licence.replace('/', " OR ") }],
    });
    if package.foreign {
        component["purl"] = reference(package).into();
    }
    component
}

pub(crate) fn text(linked: &Linked) -> Result<String> {
    let program = linked.packages.get(&linked.program).ok_or("the program is not among them")?;
    let others = linked.packages.iter().filter(|(id, _)| **id != linked.program);
    let needs = |package: &Package| -> Vec<String> {
        package.needs.iter().filter_map(|id| linked.packages.get(id)).map(reference).collect()
    };
    let dependencies = linked
        .packages
        .values()
        .map(|package| json!({ "ref": reference(package), "dependsOn": needs(package) }));
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(program, "application") },
        "components": others.map(|(_, package)| component(package, "library")).collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}
