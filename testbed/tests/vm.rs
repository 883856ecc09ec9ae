//! The VM: its kernel runs a command over this machine's files, and what it says comes out.

use std::time::Duration;

use landline_testbed::{Result, Vm};

#[test]
fn a_command_runs_on_the_other_kernel() -> Result<()> {
    let Some(vm) = Vm::prepare_or_skip()? else { return Ok(()) };
    let script = r#"uname -r; echo "$WORD"; echo >&2 error; modprobe -a ipvlan 8021q; touch /written-by-a-vm; pwd; exit 7"#;
    let output = vm.env("WORD", "it's so").memory_mib(512).run(&["sh", "-c", script])?;
    assert_eq!(output.status.code(), Some(7));
    let here = std::env::current_dir().unwrap();
    let expected = format!("{}\nit's so\nerror\n{}\n", Vm::prepare()?.kernel_version()?, here.display());
    assert_eq!(output.stdout, expected);
    assert!(!std::path::Path::new("/written-by-a-vm").exists());
    Ok(())
}

#[test]
fn a_command_that_takes_too_long_ends_with_its_vm() -> Result<()> {
    let Some(vm) = Vm::prepare_or_skip()? else { return Ok(()) };
    let error = vm.limit(Duration::from_secs(2)).run(&["sleep", "600"]).unwrap_err();
    assert!(error.to_string().starts_with("end of `sleep 600` in a VM: not within 2000 ms"), "{error}");
    Ok(())
}
