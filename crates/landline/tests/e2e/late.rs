//! `when_unsure=late`: Docker starts several of one image at once, and each has its own addresses again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use landline_testbed::{Dnsmasq, Ra, Signal, wait_for};

use crate::derived;
use crate::kinds::Kind;
use crate::ovs;
use crate::tools::{at_once, names};
use crate::vde;
use crate::world::{Result, SOON, World, bare, binary};

const SERVICES: usize = 6;

/// What the process of each does first.
const COMMAND: &str = "ip -o addr show scope global >/first; exec sleep infinity";

/// Hardware address and addresses.
type Seen = (String, BTreeSet<IpAddr>);

/// Services of one image on the network `lan`.
struct Services<'a> {
    world: &'a World,
    /// What their interfaces are called.
    interface: &'a str,
    /// How many addresses each has.
    addresses: usize,
    /// A container that they can be reached from; otherwise another machine of the LAN.
    from: Option<&'a str>,
    file: PathBuf,
}

impl Services<'_> {
    fn compose(&self, args: &[&str]) -> Result {
        Ok(self.world.host.compose("late", &self.file.to_string_lossy(), args).map(drop)?)
    }

    /// What each has, once it has all and is known by name.
    fn seen(&self) -> Result<Vec<Seen>> {
        let one = |name: &String| -> Result<Seen> {
            let addresses = wait_for(format!("the addresses of {name}"), SOON, || {
                let shown = self.world.host.container_addresses(name, self.interface).ok()?;
                Some(shown.into_iter().collect::<BTreeSet<_>>()).filter(|all| all.len() == self.addresses)
            })
            .map_err(|error| format!("{error}: {}", self.world.daemon.log()))?;
            self.world.row(name)?;
            Ok((self.world.mac(name, self.interface)?, addresses))
        };
        names("s", SERVICES).iter().map(one).collect()
    }

    /// All are as they were, and can be reached.
    fn are_as(&self, before: &[Seen], how: &str) -> Result {
        let log = || self.world.daemon.log();
        assert_eq!(self.seen()?, before, "{how}: {}", log());
        let v4 = |(_, all): &Seen| all.iter().find(|address| address.is_ipv4()).map(IpAddr::to_string);
        let addresses: Vec<String> = before.iter().filter_map(v4).collect();
        assert_eq!(addresses.len(), SERVICES);
        at_once(&addresses, |address| {
            let ping = ["ping", "-c1", "-W5", address];
            match self.from {
                Some(container) => drop(self.world.inside(container, &ping)?),
                None => drop(self.world.lan.peer().check(&ping)?),
            }
            Ok(())
        })?;
        let mut first = [0; 2];
        for (name, (_, addresses)) in names("s", SERVICES).iter().zip(before) {
            let found = self.world.inside(name, &["cat", "/first"])?;
            let has = |v4: bool| {
                addresses
                    .iter()
                    .any(|address| address.is_ipv4() == v4 && found.contains(&format!(" {address}/")))
            };
            for (count, v4) in first.iter_mut().zip([true, false]) {
                *count += usize::from(has(v4));
            }
        }
        println!(
            "{how}: {} of {SERVICES} processes found their address, {} an IPv6 address",
            first[0], first[1]
        );
        if engine_waits(self.world)? {
            // For IPv6 it waits for a moment only.
            assert_eq!(first[0], SERVICES, "{how}: {}", log());
        }
        Ok(())
    }
}

/// The file of a project whose services are all the same.
fn compose_file(directory: &Path) -> Result<PathBuf> {
    let mut text = "version: '3.5'\nservices:\n".to_owned();
    for name in names("s", SERVICES) {
        write!(
            text,
            "  {name}:\n    image: box\n    command: ['sh', '-c', '{COMMAND}']\n    container_name: {name}\n    \
             restart: always\n    stop_signal: KILL\n    networks: [lan]\n"
        )?;
    }
    text.push_str("networks:\n  lan:\n    external: true\n");
    let file = directory.join("compose.yaml");
    std::fs::write(&file, text)?;
    Ok(file)
}

/// Whether Docker waits for the addresses before it starts the processes.
fn engine_waits(world: &World) -> Result<bool> {
    let version = world.host.docker_ok(&["version", "--format", "{{.Server.Version}}"])?;
    Ok(version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 28))
}

#[test]
fn compose_brings_six_back_on_a_bridge() -> Result {
    compose_brings_six_back(Kind::Bridge, &[])
}

#[test]
fn compose_brings_six_back_on_a_nic() -> Result {
    compose_brings_six_back(Kind::Macvlan, &[])
}

#[test]
fn compose_brings_six_back_with_both_families() -> Result {
    compose_brings_six_back(Kind::Bridge, &["ipv6=true"])
}

fn compose_brings_six_back(kind: Kind, further: &[&str]) -> Result {
    let mut world = kind.world(&Dnsmasq { ra: Ra::Both, ..Dnsmasq::default() })?;
    world.network_of(kind, "lan", &[&["when_unsure=late"], further].concat())?;
    let directory = tempfile::tempdir()?;
    let addresses = if further.is_empty() { 1 } else { 3 };
    let file = compose_file(directory.path())?;
    let interface = kind.interface();
    let services = Services { world: &world, interface, addresses, from: None, file };
    let before = lives_through_compose(&services)?;

    services.compose(&["down", "-t", "0"])?;
    services.compose(&["up", "-d"])?;
    services.are_as(&before, "down and up")?;
    let file = services.file;
    assert!(world.daemon.log().contains("recognised after its start began"), "{}", world.daemon.log());

    // While Docker restores its containers, nobody is refused either.
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    let services = Services { world: &world, interface, addresses, from: None, file };
    services.are_as(&before, "a restart of Docker")?;
    assert!(!world.daemon.log().contains("cannot be told yet"), "{}", world.daemon.log());
    let leases = world.dhcp.leases().into_iter().filter(|lease| lease.ip.is_ipv4());
    assert_eq!(leases.count(), SERVICES, "{:#?}", world.dhcp.leases());
    Ok(())
}

fn lives_through_compose(services: &Services<'_>) -> Result<Vec<Seen>> {
    services.compose(&["up", "-d"])?;
    let before = services.seen()?;
    services.are_as(&before, "up")?;
    services.compose(&["restart", "-t", "0"])?;
    services.are_as(&before, "restart")?;
    services.compose(&["up", "-d", "--force-recreate", "-t", "0"])?;
    services.are_as(&before, "up --force-recreate")?;
    Ok(before)
}

#[test]
fn compose_brings_six_back_on_open_vswitch() -> Result {
    let (_ovs, world) = ovs::world()?;
    world.network("lan", &["mode=ovs", "bridge=ovs0", "when_unsure=late"])?;
    let directory = tempfile::tempdir()?;
    let file = compose_file(directory.path())?;
    lives_through_compose(&Services { world: &world, interface: "ovs00", addresses: 1, from: None, file })?;
    Ok(())
}

#[test]
fn compose_brings_six_back_on_a_vde_switch() -> Result {
    let world = World::nic()?;
    vde::serves_itself(&world)?;
    let options = ["addressing=dhcp", "when_unsure=late", "socket_dir=/run/mynetwork"];
    let options = options.iter().flat_map(|option| ["-o", option]);
    vde::create(&world, "lan", &["--ipam-driver", "null"].into_iter().chain(options).collect::<Vec<_>>())?;
    let directory = tempfile::tempdir()?;
    let file = compose_file(directory.path())?;
    lives_through_compose(&Services {
        world: &world,
        interface: "vde0",
        addresses: 1,
        from: Some("dhcp"),
        file,
    })?;
    Ok(())
}

/// Something is mounted where the root file system of a container is that does not run, as at its start: it may be the one that starts.
fn might_start(world: &World, name: &str) -> Result<String> {
    let of = |what: &str| world.host.docker_ok(&["inspect", "--format", what, name]);
    let merged = of("{{with .GraphDriver.Data}}{{.MergedDir}}{{end}}")?.trim().to_owned();
    let place = match &*merged {
        // With containerd's image store.
        "" => format!("/var/lib/docker/rootfs/overlayfs/{}", of("{{.Id}}")?.trim()),
        _ => merged,
    };
    world.host.check(&["mkdir", "-p", &place])?;
    world.host.check(&["mount", "-t", "tmpfs", "none", &place])?;
    Ok(place)
}

/// A container starts that nothing tells, and it runs on another host, which this one has never seen it do.
#[test]
fn one_that_runs_elsewhere_has_no_address_or_a_fresh_one() -> Result {
    let world = World::bridge()?;
    let (host2, _daemon2) = derived::second_host(&world)?;
    derived::create(&host2, &derived::DERIVED)?;
    host2.docker_ok(&derived::RUN)?;
    let elsewhere = host2.in_container("web", &["cat", "/sys/class/net/br00/address"])?.trim().to_owned();
    let address = host2.container_addresses("web", "br00")?[0].to_string();
    let reached = |address: &str| world.lan.peer().check(&["ping", "-c1", "-W5", address]);
    reached(&address)?;
    let late = ["bridge=br0", "identity=derived", "when_unsure=late"];
    let log = || world.daemon.log();
    for fresh in [false, true] {
        let on_duplicate = if fresh { "on_duplicate=fresh" } else { "on_duplicate=fail" };
        world.network("lan", &[&late[..], &[on_duplicate]].concat())?;
        for name in ["web", "other"] {
            world.host.docker_ok(&[
                "create",
                "--name",
                name,
                "--network",
                "lan",
                "box",
                "sleep",
                "infinity",
            ])?;
        }
        let place = might_start(&world, "other")?;
        world.host.docker_ok(&["start", "web"])?;
        let said =
            format!("the container has {}", if fresh { "a fresh identity for now" } else { "no address" });
        wait_for("what is said of the other host", SOON, || log().contains(&said).then_some(()))
            .map_err(|error| format!("{error}: {}", log()))?;
        world.host.check(&["umount", &place])?;
        if fresh {
            let own = wait_for("a fresh address", SOON, || world.address("web", "br00").ok())?;
            assert_ne!(bare(&own), address);
            reached(bare(&own))?;
        } else {
            let row = world.row("web")?;
            assert_eq!(row["held"], "another host uses its identity", "{row}");
            assert!(row["address"].is_null() && world.address("web", "br00").is_err(), "{row}");
            let listed = world.host.landline_ok(binary(), &["ls"])?;
            assert!(listed.contains("STOPPED (another host uses its identity)"), "{listed}");
            let said = world.host.landline(binary(), &["doctor"]).stdout;
            assert!(said.contains("web has no address: another host uses the identity"), "{said}");
        }
        assert_ne!(world.mac("web", "br00")?, elsewhere, "{on_duplicate}");
        reached(&address)?;
        assert!(world.dhcp.lease_of(&elsewhere).is_some(), "the lease was given back");
        world.host.docker_ok(&["rm", "-f", "web", "other"])?;
        world.host.docker_ok(&["network", "rm", "lan"])?;
    }
    Ok(())
}
