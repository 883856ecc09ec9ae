//! An attachment as the commands that would make it, for people to read and, in a namespace of its own, to run.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use landline_engine::{ParentLinks, WantedLink, random_mac};
use landline_kernel::Link;
use landline_leases::OsRandom;
use landline_links::mark::{End, Mark, PROTOCOL};
use landline_links::{Plan, Step, blocking, facts_of};
use landline_model::NetworkRecord;
use landline_types::IfName;

use super::record::AttachmentId;
use super::{AttachFailure, AttachRequest, Attachments, ResolvedParent, dummy, inside, parent, place};

impl Attachments {
    /// What [`Attachments::attach`] would do, as a script of `ip`, `sysctl`, `ovs-vsctl` and the like. Nothing is changed, and nobody is asked for an
    /// address.
    ///
    /// # Errors
    /// What would keep it from being done, as far as that can be seen beforehand.
    pub async fn script(&self, request: &AttachRequest) -> Result<String, AttachFailure> {
        let (netns, _) = place::open(self.namespaces(), &request.target, &request.place.sandbox).await?;
        let resolved = self.resolve(&request.spec).await?;
        let taken = blocking(move || inside::names(&*netns))
            .await
            .map_err(|error| super::apply::inside_error(request, error))?;
        let name = request.spec.ifname.clone().unwrap_or_else(|| inside::free_name(&taken));
        if taken.contains(&name) {
            return Err(AttachFailure::NameTaken { target: request.target.clone(), name });
        }
        let host = self.shared.host.clone();
        let links = blocking(move || host.links()).await?;
        let id = AttachmentId::draw(&mut OsRandom);
        let (wanted, choice, engine) = (request.clone(), resolved.clone(), self.engine.clone());
        let (plan, link) = blocking(move || plan(&wanted, &choice, &id, links, engine.parents())).await?;
        Ok(render(request, &resolved, &plan, &link, &name))
    }
}

fn plan(
    request: &AttachRequest,
    resolved: &ResolvedParent,
    id: &AttachmentId,
    mut links: Vec<Link>,
    parents: &ParentLinks,
) -> Result<(Plan, IfName), AttachFailure> {
    let Some(options) = &resolved.network else {
        let (step, name) = dummy::step(&Mark::new(id.endpoint(), End::Container), request.spec.mac);
        return Ok((Plan { steps: vec![step] }, name));
    };
    let mut steps = Vec::new();
    if resolved.make {
        steps = parent::bridge_plan(resolved)?.steps;
        links.extend(parent::made_bridge(resolved, &links));
    }
    let moved = facts_of(options.mode).moves_parent();
    let own = links.iter().find(|link| moved && link.name == options.parent).and_then(|link| link.mac);
    let wanted = WantedLink {
        endpoint: id.endpoint(),
        mac: request.spec.mac.or(own).unwrap_or_else(random_mac),
        host_name: request.spec.host_end.clone(),
    };
    let mut network = NetworkRecord::new(id.network(), options.clone());
    let link = parents.preview(&mut network, wanted, links)?;
    steps.extend(link.plan.steps);
    Ok((Plan { steps }, link.name))
}

fn render(
    request: &AttachRequest,
    resolved: &ResolvedParent,
    plan: &Plan,
    link: &IfName,
    name: &IfName,
) -> String {
    let path = shell_word(&request.place.sandbox.to_string_lossy());
    let (target, parent) = (&request.target, resolved.named());
    let inside = |command: String| format!("nsenter --net={path} {command}");
    let later = |step: &Step| match step {
        Step::Driver(step) => step.in_sandbox(name),
        _ => None,
    };
    let (there, here): (Vec<Step>, Vec<Step>) =
        plan.steps.iter().cloned().partition(|step| later(step).is_some());
    let plan = Plan { steps: here };
    let mut script = format!("# {name} in {target}, over {parent} ({})\nset -e\n{plan}", resolved.kind());
    let mut line = |text: String| {
        // Writing into a text cannot fail.
        let _ = writeln!(script, "{text}");
    };
    line(format!("ip link set dev {link} netns {path}"));
    let mac = request.spec.mac.filter(|_| resolved.network.is_none()).map(|mac| format!(" address {mac}"));
    line(inside(format!("ip link set dev {link} name {name}{}", mac.unwrap_or_default())));
    let mut keys = vec!["accept_ra=0"];
    if resolved.network.is_some() {
        keys.push("autoconf=0");
    }
    if request.spec.addresses.iter().any(|address| address.net.addr().is_ipv6()) && resolved.network.is_some()
    {
        keys.push("disable_ipv6=0");
    }
    for key in keys {
        line(inside(format!("sysctl -q -w net/ipv6/conf/{name}/{key}")));
    }
    line(inside(format!("sysctl -q -w net/ipv4/conf/{name}/arp_ignore=1")));
    line(inside(format!("ip link set dev {name} up")));
    for command in there.iter().filter_map(later) {
        line(inside(command));
    }
    if request.spec.dhcp {
        line(format!("# {name} gets an address by DHCP, and with it a default route"));
    }
    for address in &request.spec.addresses {
        let tail = match address.net {
            IpNet::V4(v4) if v4.prefix_len() < 31 => " broadcast +",
            IpNet::V6(_) if request.spec.force => " nodad",
            _ => "",
        };
        line(inside(format!("ip address replace {}{tail} dev {name}", address.net)));
        let Some(gateway) = address.gateway else { continue };
        let local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let family = if gateway.is_ipv4() { "-4" } else { "-6" };
        if !address.net.contains(&gateway) && !local {
            line(inside(format!("ip {family} route replace {gateway} dev {name} proto {PROTOCOL}")));
        }
        line(inside(format!("ip {family} route replace default via {gateway} dev {name} proto {PROTOCOL}")));
    }
    script
}

/// A word as a shell reads it, in quotes if need be.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,@".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
