//! `landline-notices DIRECTORY`: writes `THIRD-PARTY-NOTICES.txt`, the licences of everything that is linked into the program,
//! and `landline.cdx.json`, its bill of materials (`CycloneDX` 1.5).

mod bill;
mod linked;
mod notices;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fs};

use linked::Linked;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("landline-notices: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result {
    let directory: PathBuf = env::args_os().nth(1).ok_or("usage: landline-notices DIRECTORY")?.into();
    let linked = linked()?;
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("THIRD-PARTY-NOTICES.txt"), notices::text(&linked)?)?;
    fs::write(directory.join("landline.cdx.json"), bill::text(&linked)?)?;
    Ok(())
}

/// What the build of the program for this kind of machine has in it, as cargo says it.
fn linked() -> Result<Linked> {
    let machine = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &machine];
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    linked::read(&serde_json::from_slice(&output.stdout)?, "landline")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_linked_in_has_a_licence_and_its_text() {
        let linked = linked().unwrap();
        let names: Vec<&str> = linked.others().map(|package| package.name.as_str()).collect();
        assert!(names.contains(&"tokio") && names.contains(&"redb"), "{names:?}");
        // What only builds and tests use is not in it.
        assert!(!names.contains(&"tempfile") && !names.contains(&"proptest"), "{names:?}");
        for package in linked.others() {
            assert!(!package.licence.is_empty(), "{}", package.name);
        }
        let text = notices::text(&linked).unwrap();
        for package in linked.others() {
            assert!(text.contains(&format!("{} {}", package.name, package.version)), "{}", package.name);
        }
        assert!(text.contains("Permission is hereby granted, free of charge"));
    }

    #[test]
    fn the_bill_lists_each_crate_once_and_says_what_needs_what() {
        let linked = linked().unwrap();
        let bill: serde_json::Value = serde_json::from_str(&bill::text(&linked).unwrap()).unwrap();
        assert_eq!(
            (bill["bomFormat"].as_str(), bill["specVersion"].as_str()),
            (Some("CycloneDX"), Some("1.5"))
        );
        let components = bill["components"].as_array().unwrap();
        let references: std::collections::BTreeSet<&str> =
            components.iter().filter_map(|component| component["bom-ref"].as_str()).collect();
        assert_eq!(references.len(), components.len());
        let needs = bill["dependencies"].as_array().unwrap();
        for need in needs.iter().flat_map(|entry| entry["dependsOn"].as_array().unwrap()) {
            assert!(references.contains(need.as_str().unwrap()), "{need} is not listed");
        }
    }
}
