//! A small virtual machine whose one network card is plugged into a VDE switch of a Docker host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{CPU, MACHINE, QEMU, Vm};
use crate::apt::run_in;
use crate::error::{Error, Result};
use crate::host::DockerHost;
use crate::process::Process;

/// What the card needs and the kernel has as modules.
const MODULES: &str = "virtio_net";

/// What udhcpc does with a lease.
const UDHCPC: &str = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\n\
    ip addr add $ip/$mask dev $interface\necho \"guest: lease $ip\"\n";

impl DockerHost {
    /// Boots a machine that runs busybox, with an `eth0` plugged into the switch in `dir` (a directory of this host), and
    /// runs `task`, a piece of shell, on it. `udhcpc -i eth0 -q` sets the address it gets and prints `guest: lease ADDRESS`. What it
    /// writes is the returned process' standard output; `guest: done` is written after the task, and the machine goes on.
    ///
    /// # Errors
    /// If its files cannot be made or the emulator cannot be started.
    pub fn vde_guest(&self, vm: &Vm, dir: &str, task: &str) -> Result<Process> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let tree = self.node().dir().join(format!("guest{number}"));
        let write = |name: &str, text: &[u8]| {
            let file = tree.join(name);
            fs::write(&file, text).map_err(Error::file("cannot write", &file))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                .map_err(Error::file("cannot mark as a program", &file))
        };
        for sub in ["bin", "proc", "sys", "dev", "modules", "tmp", "etc/udhcpc"] {
            fs::create_dir_all(tree.join(sub)).map_err(Error::file("cannot make", tree.join(sub)))?;
        }
        fs::copy("/bin/busybox", tree.join("bin/busybox"))
            .map_err(Error::file("cannot copy", "/bin/busybox"))?;
        write("init", include_bytes!("vde-init.sh"))?;
        write("task", task.as_bytes())?;
        write("etc/udhcpc/default.script", UDHCPC.as_bytes())?;
        let kernel = vm.kernel.dir.display().to_string();
        let pack = format!(
            "modprobe -d {kernel} -S {version} --show-depends {MODULES} | \
             while read -r how file rest; do [ \"$how\" = insmod ] || continue; \
             name=$(basename \"$file\"); \
             case $file in *.xz) name=${{name%.xz}}; xz -dc \"$file\" >\"modules/$name\";; *) cp \"$file\" modules/;; esac; \
             echo \"$name\" >>modules/order; done; \
             find . | /bin/busybox cpio -o -H newc >../guest{number}.initramfs",
            version = vm.kernel_version()?,
        );
        run_in(&tree, &["sh", "-ec", &pack])?;

        let initramfs = self.node().dir().join(format!("guest{number}.initramfs"));
        let mut argv: Vec<String> = vec![QEMU.to_owned()];
        let mut add = |option: &str, value: String| argv.extend([option.to_owned(), value]);
        add("-machine", MACHINE.to_owned());
        add("-accel", "tcg".to_owned());
        add("-cpu", CPU.to_owned());
        add("-m", "192".to_owned());
        add("-netdev", format!("vde,id=vde0,sock={dir}"));
        // Without a ROM, which is in a package of its own.
        add("-device", "virtio-net-pci,netdev=vde0,romfile=".to_owned());
        add("-serial", "stdio".to_owned());
        add("-kernel", format!("{kernel}/vmlinuz"));
        add("-initrd", initramfs.display().to_string());
        add("-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check".to_owned());
        argv.extend(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"].map(str::to_owned));
        self.spawn(&argv.iter().map(String::as_str).collect::<Vec<_>>())
    }
}
