//! What the kernel outside may not be able to do (ipvlan, VLANs, Open vSwitch), on a distribution's kernel in a VM. The whole lab runs in it.
//!
//! The VM boots once and runs this same program again, with the tests that are ignored outside. One that is being worked
//! on runs alone with `cargo build --all-targets && testbed vm -- target/debug/deps/vm-… --ignored NAME`.

#[allow(dead_code, reason = "the other end-to-end tests use the rest")]
#[path = "../e2e/world.rs"]
mod world;

#[allow(dead_code, reason = "the other end-to-end tests use the rest")]
#[path = "../e2e/adopted.rs"]
mod adopted;
#[allow(dead_code, reason = "the other end-to-end tests use the rest")]
#[path = "../e2e/tools.rs"]
mod tools;
#[allow(dead_code, reason = "the other end-to-end tests use the rest")]
#[path = "../e2e/tree.rs"]
mod tree;

mod adopt;
mod attach;
mod card;
mod dual;
mod guide;
mod host_access;
mod identities;
mod ipvlan;
mod ovs;
mod system;
mod vlan;

use std::time::Duration;

use landline_testbed::Vm;

use world::Result;

/// Emulated, everything takes about ten times as long as outside.
const LIMIT: Duration = Duration::from_mins(45);

#[test]
fn all_of_them_in_one_vm() -> Result {
    let Some(vm) = Vm::prepare_or_skip()? else { return Ok(()) };
    let itself = std::env::current_exe()?;
    let argv =
        [itself.as_os_str(), "--ignored".as_ref(), "--nocapture".as_ref(), "--test-threads=1".as_ref()];
    let output = vm.limit(LIMIT).run_to(&argv, &mut std::io::stdout())?;
    assert!(output.success(), "{}\n{}", output.status, output.stderr);
    // A program without any such test succeeds too.
    assert!(!output.stdout.contains("running 0 tests"), "nothing was tested");
    Ok(())
}
