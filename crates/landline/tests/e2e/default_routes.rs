//! Whose the default routes of a container are, in both families: a VPN's, a kill switch's that has removed them, those of the
//! network that Docker chose, an attachment's. What has Landline look at them again leaves them as they are.

use ipnet::IpNet;
use landline_testbed::{DhcpServer, Dnsmasq, RaPrefix, Radvd, Signal, wait_for};

use crate::bad_routes::renewed;
use crate::connect::Elsewhere;
use crate::kinds::Kind;
use crate::sockets::advertise_mtu;
use crate::tools::start_daemon;
use crate::world::{Result, SOON, World};

/// What takes the default routes of `web`, which has them by its network `lan`.
trait Taker {
    /// Takes them.
    fn take(&mut self, world: &World, kind: Kind) -> Result;
    /// Who is to have each family's afterwards: a piece of the line of the one that packets take, or that there is none.
    fn wants(&self, world: &World) -> Result<[Option<String>; 2]>;
    /// Gives them back to `lan`.
    fn end(&mut self, world: &World) -> Result;
}

/// Each row is a test: nothing of what happens moves the default routes, neither while they are taken nor once they are
/// given back.
macro_rules! rows {
    ($($row:ident: $kind:ident, $taker:expr;)+) => { $(
        #[test]
        fn $row() -> Result {
            stays(Kind::$kind, $taker)
        }
    )+ };
}

rows! {
    // Who takes them                                 on      how
    a_vpn_replaces_them_on_a_bridge:                  Bridge, Vpn;
    a_vpn_replaces_them_on_a_nic:                     Macvlan, Vpn;
    a_kill_switch_deletes_them:                       Bridge, KillSwitch;
    docker_gives_them_to_a_network_of_its_own:        Bridge, DockersOwn;
    docker_gives_them_to_another_network_of_landline: Bridge, Another::preferred();
    docker_chooses_another_at_the_next_start:         Bridge, Another::preferred().at_a_start();
    docker_leaves_them_where_they_are_on_a_bridge:    Bridge, Another::second();
    docker_leaves_them_where_they_are_on_a_nic:       Macvlan, Another::second().at_a_start();
    an_attachment_takes_them:                         Bridge, Attachment;
}

type Happening = (&'static str, fn(&mut World) -> Result);

/// What has Landline look at a container's routes again, or at its name.
const HAPPENINGS: [Happening; 3] =
    [("renewals", renewals), ("a restart of the daemon", restart), ("other names", other_names)];

fn stays(kind: Kind, mut taker: impl Taker) -> Result {
    let (mut world, _radvd) = both_families(kind)?;
    docker_is_done(&world)?;
    all_of_it(&mut world, "at first")?;
    let at_first = first_of_each(&world)?.map(router);
    taker.take(&world, kind)?;
    let wanted = taker.wants(&world)?;
    let is_so = |world: &World| {
        first_of_each(world).is_ok_and(|first| {
            first.iter().zip(&wanted).all(|(is, wanted)| match (is, wanted) {
                (Some(is), Some(wanted)) => is.contains(wanted.as_str()),
                (is, wanted) => is.is_none() && wanted.is_none(),
            })
        })
    };
    wait_for(format!("the default routes to be {wanted:?}"), SOON, || is_so(&world))
        .map_err(|error| format!("{error}: {:?}\n{}", defaults(&world), world.daemon.log()))?;
    all_of_it(&mut world, "taken")?;
    taker.end(&world)?;
    wait_for("the default routes to be as they were", SOON, || {
        first_of_each(&world).is_ok_and(|now| now.map(router) == at_first)
    })
    .map_err(|error| format!("{error}, {at_first:?}: {:?}\n{}", defaults(&world), world.daemon.log()))?;
    all_of_it(&mut world, "given back")
}

/// Everything happens, and the default routes are the same after each of it.
fn all_of_it(world: &mut World, when: &str) -> Result {
    let chosen = defaults(world)?;
    println!("{when}: {chosen:?}");
    for (what, happens) in HAPPENINGS {
        happens(world)?;
        let now = defaults(world)?;
        assert_eq!(now, chosen, "{when}, after {what}\n{}", world.daemon.log());
        println!("  the same after {what}");
    }
    Ok(())
}

fn renewals(world: &mut World) -> Result {
    all_is_said_again(world, "web")
}

fn restart(world: &mut World) -> Result {
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    world.row("web")?;
    all_is_said_again(world, "web")
}

fn other_names(world: &mut World) -> Result {
    for (from, to) in [("web", "renamed"), ("renamed", "web")] {
        world.host.docker_ok(&["rename", from, to])?;
        world.row(to)?;
        all_is_said_again(world, to)?;
    }
    Ok(())
}

/// Renewals of the lease, and words of the LAN's router that it has not said before. What they have Landline do is over: it
/// does one after the other, and the second one's effect is seen.
fn all_is_said_again(world: &World, container: &str) -> Result {
    let interface = landlines_first(world, container)?;
    let setting = format!("/proc/sys/net/ipv6/conf/{interface}/mtu");
    for _ in 0..2 {
        renewed(world, container)?;
        let mtu = world.inside(container, &["cat", &setting])?.trim().to_owned();
        let other = if mtu == "1400" { 1401 } else { 1400 };
        advertise_mtu(&world.lan.router().netns_path(), "eth0", other)?;
        wait_for("the router's words to count", SOON, || {
            world.inside(container, &["cat", &setting]).is_ok_and(|now| now.trim() == other.to_string())
        })?;
    }
    Ok(())
}

/// The interface on the LAN of the test.
fn landlines_first(world: &World, container: &str) -> Result<String> {
    let listed = world.inside(container, &["ip", "-4", "-o", "addr"])?;
    let line = listed.lines().find(|line| line.contains(" 192.0.2.") && !line.contains(" eth7 "));
    let name =
        line.and_then(|line| line.split_whitespace().nth(1)).ok_or_else(|| format!("not in {listed}"))?;
    Ok(name.to_owned())
}

/// The IPv4 and IPv6 default routes of `web`, as `ip` has them.
fn defaults(world: &World) -> Result<Vec<String>> {
    Ok([by_rank(world.routes("web")?), by_rank(world.routes6("web")?)].concat())
}

/// The default routes among these, the one that packets take first, without what counts down.
fn by_rank(routes: Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = routes.into_iter().filter(|line| line.starts_with("default")).collect();
    found.sort_by_key(|line| {
        line.split("metric ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<u32>().ok())
    });
    found
}

/// The default route that packets of each family take.
fn first_of_each(world: &World) -> Result<[Option<String>; 2]> {
    let first = |routes| by_rank(routes).into_iter().next();
    Ok([first(world.routes("web")?), first(world.routes6("web")?)])
}

/// Which router it is. What the interface is called, and how the route ranks among others, may change with a start.
fn router(route: Option<String>) -> Option<String> {
    Some(route?.split_once("via ")?.1.split_whitespace().next()?.to_owned())
}

/// `ip WORDS` in the network of `web`, with the rights of the host.
fn ip(world: &World, words: &str) -> Result {
    within(world, &format!("ip {words}"))
}

fn within(world: &World, script: &str) -> Result {
    let pid = world.host.container_pid("web")?.to_string();
    world.host.check(&["nsenter", "--net", "-t", &pid, "sh", "-c", script])?;
    Ok(())
}

/// A LAN with routers of both families, and `web` on it.
fn both_families(kind: Kind) -> Result<(World, DhcpServer)> {
    let world = kind.world(&Dnsmasq::default())?;
    let radvd = world.lan.server_on(world.lan.router(), &Radvd::default())?;
    world.network_of(kind, "lan", &["ipv6=true"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    has_them_again(&world)?;
    Ok((world, radvd))
}

fn has_them_again(world: &World) -> Result {
    wait_for("both default routes", SOON, || {
        world.gateways("web").is_ok_and(|all| all == ["192.0.2.1"])
            && world.gateways6("web").is_ok_and(|all| all.len() == 1)
    })?;
    Ok(())
}

/// Until Docker and Landline are done with the start, and Landline has seen that the default route is its own.
fn docker_is_done(world: &World) -> Result {
    for _ in 0..2 {
        renewed(world, "web")?;
    }
    wait_for("landline inspect to say so", SOON, || {
        world.landline("inspect web").is_ok_and(|said| said.contains("through this interface"))
    })?;
    Ok(())
}

/// A start of the container is a new beginning.
fn starts_again(world: &World) -> Result {
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    world.row("web")?;
    has_them_again(world)?;
    docker_is_done(world)
}

/// `ip route replace default dev tun0`, in both families.
struct Vpn;

impl Taker for Vpn {
    fn take(&mut self, world: &World, _kind: Kind) -> Result {
        ip(world, "link add tun0 type veth peer name tun1")?;
        // Docker switches IPv6 off on new links of containers without it.
        within(world, "echo 0 >/proc/sys/net/ipv6/conf/tun0/disable_ipv6")?;
        for words in ["tun0 up", "tun1 up"] {
            ip(world, &format!("link set {words}"))?;
        }
        let [_, six] = first_of_each(world)?;
        let metric = six.as_deref().and_then(|line| line.split("metric ").nth(1)?.split_whitespace().next());
        let metric = metric.ok_or("no IPv6 metric")?;
        ip(world, "route replace default dev tun0")?;
        ip(world, &format!("-6 route replace default dev tun0 metric {metric}"))
    }

    fn wants(&self, _world: &World) -> Result<[Option<String>; 2]> {
        Ok([Some("dev tun0".to_owned()), Some("dev tun0".to_owned())])
    }

    fn end(&mut self, world: &World) -> Result {
        starts_again(world)
    }
}

/// No way out at all.
struct KillSwitch;

impl Taker for KillSwitch {
    fn take(&mut self, world: &World, _kind: Kind) -> Result {
        ip(world, "route delete default")?;
        ip(world, "-6 route delete default")
    }

    fn wants(&self, _world: &World) -> Result<[Option<String>; 2]> {
        Ok([None, None])
    }

    fn end(&mut self, world: &World) -> Result {
        starts_again(world)
    }
}

/// What has Docker choose another network than `lan`. Of networks with one priority it takes the first by name; from 28 on
/// there are priorities.
fn preferred(world: &World) -> Result<(&'static str, &'static [&'static str])> {
    let version = world.host.docker_ok(&["version", "--format", "{{.Server.Version}}"])?;
    let major: u32 = version.split('.').next().unwrap_or_default().parse()?;
    Ok(if major < 28 { ("aaa", &[]) } else { ("zzz", &["--gw-priority", "10"]) })
}

fn connect(world: &World, name: &str, priority: &[&str]) -> Result {
    world.host.docker_ok(&[&["network", "connect"], priority, &[name, "web"]].concat())?;
    Ok(())
}

/// A bridge network of Docker's own driver.
struct DockersOwn;

impl Taker for DockersOwn {
    fn take(&mut self, world: &World, _kind: Kind) -> Result {
        let (name, priority) = preferred(world)?;
        let subnets = ["--subnet", "198.51.100.0/24", "--subnet", "2001:db8:77::/64"];
        world.host.docker_ok(&[&["network", "create", "--ipv6"], &subnets[..], &[name]].concat())?;
        connect(world, name, priority)
    }

    fn wants(&self, _world: &World) -> Result<[Option<String>; 2]> {
        Ok([Some("via 198.51.100.1 ".to_owned()), Some("via 2001:db8:77::1 ".to_owned())])
    }

    fn end(&mut self, world: &World) -> Result {
        world.host.docker_ok(&["network", "disconnect", preferred(world)?.0, "web"])?;
        Ok(())
    }
}

/// A network of Landline's on another LAN, with routers of both families as well.
struct Another {
    /// Whether Docker prefers it.
    preferred: bool,
    /// Whether the container starts with both networks, instead of being connected while it runs.
    at_a_start: bool,
    elsewhere: Option<(DhcpServer, Elsewhere)>,
}

impl Another {
    const fn preferred() -> Self {
        Self { preferred: true, at_a_start: false, elsewhere: None }
    }

    fn second() -> Self {
        Self { preferred: false, ..Self::preferred() }
    }

    fn at_a_start(self) -> Self {
        Self { at_a_start: true, ..self }
    }

    fn name_and_priority(&self, world: &World) -> Result<(&'static str, &'static [&'static str])> {
        if self.preferred { preferred(world) } else { Ok(("other", &[])) }
    }
}

impl Taker for Another {
    fn take(&mut self, world: &World, _kind: Kind) -> Result {
        let elsewhere = Elsewhere::new(&world.host)?;
        let prefixes = vec![RaPrefix::new("2001:db8:2::/64", 600, 300)];
        let radvd = elsewhere.router_is(&Radvd { prefixes, rdnss: None, ..Radvd::default() })?;
        self.elsewhere = Some((radvd, elsewhere));
        let (name, priority) = self.name_and_priority(world)?;
        world.network(name, &["mode=macvlan", "parent=eth1", "ipv6=true"])?;
        connect(world, name, priority)?;
        if self.at_a_start {
            world.host.docker_ok(&["restart", "-t0", "web"])?;
            world.row("web")?;
        }
        wait_for("addresses of both LANs", SOON, || {
            let listed = world.inside("web", &["ip", "-o", "addr"]).ok()?;
            let parts = [" 192.0.2.", " 203.0.113.", " 2001:db8:1:", " 2001:db8:2:"];
            parts.iter().all(|part| listed.contains(part)).then_some(())
        })?;
        Ok(())
    }

    fn wants(&self, world: &World) -> Result<[Option<String>; 2]> {
        let chosen = self.elsewhere.as_ref().filter(|_| self.preferred);
        let (four, router) = match chosen {
            Some((_, elsewhere)) => ("203.0.113.1", elsewhere.router()),
            None => ("192.0.2.1", world.lan.router()),
        };
        // Routers announce the address of their link.
        let addresses = router.addresses("eth0")?;
        let six =
            addresses.iter().find(|net| matches!(net, IpNet::V6(v6) if v6.addr().is_unicast_link_local()));
        let six = six.ok_or("no link-local address")?.addr();
        Ok([Some(format!("via {four} ")), Some(format!("via {six} "))])
    }

    fn end(&mut self, world: &World) -> Result {
        world.host.docker_ok(&["network", "disconnect", self.name_and_priority(world)?.0, "web"])?;
        Ok(())
    }
}

/// `landline attach … ADDRESS@GATEWAY`.
struct Attachment;

const ATTACH: &str = "attach br0 web 192.0.2.77/24@192.0.2.2 2001:db8:1::77/64@2001:db8:1::2 ifname=eth7";

impl Taker for Attachment {
    fn take(&mut self, world: &World, _kind: Kind) -> Result {
        world.landline(ATTACH)?;
        Ok(())
    }

    fn wants(&self, _world: &World) -> Result<[Option<String>; 2]> {
        Ok([Some("via 192.0.2.2 dev eth7".to_owned()), Some("via 2001:db8:1::2 dev eth7".to_owned())])
    }

    fn end(&mut self, world: &World) -> Result {
        world.landline("detach web eth7")?;
        Ok(())
    }
}

/// A route that replaces the attachment's stays as well, even if the attachment is asked for again. (An attachment belongs to
/// a name: without it, it would be removed and made again.)
#[test]
fn what_replaces_an_attachments_stays() -> Result {
    let (mut world, _radvd) = both_families(Kind::Bridge)?;
    docker_is_done(&world)?;
    world.landline(ATTACH)?;
    ip(&world, "route replace default via 192.0.2.9 dev eth7")?;
    let chosen = defaults(&world)?;
    world.landline(ATTACH)?;
    renewals(&mut world)?;
    restart(&mut world)?;
    assert_eq!(defaults(&world)?, chosen, "{}", world.daemon.log());

    // A kill switch stays as well when the attachment goes; the other family's is as it was before.
    let before = world.gateways6("web")?;
    ip(&world, "route del default")?;
    assert_eq!(world.gateways("web")?, [""; 0]);
    world.landline("detach web eth7")?;
    let now = world.gateways6("web")?;
    assert!(!now.is_empty() && now != before, "{now:?}");
    assert_eq!(world.gateways("web")?, [""; 0], "{}", world.daemon.log());
    Ok(())
}
