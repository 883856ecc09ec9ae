use super::*;

/// A file is refused with these words at this line and column, in one line that is not too long.
pub(super) fn refused_at(text: &str, (line, column): (usize, usize), part: &str) {
    let error = ConfigFile::parse(text).unwrap_err();
    assert!(error.message.contains(part), "{text:?}: {error}");
    assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
    assert!(error.to_string().len() < 400 && !error.to_string().contains('\n'), "{error}");
}

fn kind(word: &str) -> AttachKind {
    word.to_owned().try_into().unwrap()
}

#[test]
fn a_whole_file() {
    let file = ConfigFile::parse(
        r#"
[containers]
key = "lan"
changes = true

[containers.allow.br0]

[containers.allow."eth0.12"]
kinds = ["macvlan", "nic"]
subnets = ["192.0.2.0/24", "2001:db8::/64"]
vlans = [7]

[[attach]]
container = "web"
interface = "br0 192.0.2.50/24@192.0.2.1 ifname=eth1"
"#,
    )
    .unwrap();
    assert_eq!(file.containers.key.as_deref(), Some("lan"));
    assert_eq!(file.containers.allow["eth0.12"].subnets.len(), 2);
    assert_eq!(file.attach[0].container.to_string(), "web");
    assert_eq!(ConfigFile::parse("").unwrap(), ConfigFile::default());
}

#[test]
fn what_is_wrong_has_a_place() {
    for (text, line, column, part) in [
        ("[containers]\nkay = \"x\"\n", 2, 1, "unknown field `kay`"),
        ("[container]\n", 1, 2, "unknown field `container`"),
        (
            "[containers.allow.br0]\nkinds = [\"bridge\", \"brigde\"]\n",
            2,
            9,
            "is no kind of link; use bridge",
        ),
        ("[containers.allow.br0]\nsubnets = [\"192.0.2.0\"]\n", 2, 12, "invalid"),
        ("\n\n[[attach]]\ncontainer = \"a b\"\ninterface = \"br0\"\n", 4, 13, "not a container"),
        (
            "[[attach]]\ncontainer = \"a\"\ninterface = \"br0 192.0.2.5\"\n",
            3,
            13,
            "length of its network's prefix",
        ),
        ("[containers\n", 1, 12, ""),
        ("a = 'é\n", 1, 7, ""),
    ] {
        refused_at(text, (line, column), part);
    }
}

#[test]
fn nothing_is_allowed_until_the_parent_is() {
    let spec = |text: &str| text.parse::<AttachSpec>().unwrap();
    let file = |text: &str| ConfigFile::parse(text).unwrap().containers;
    let judge = |file: &Containers, word: &str, followed, text: &str| {
        file.judge("br0", Some(kind(word)), followed, false, false, &spec(text))
            .map_err(|refusal| refusal.to_string())
    };
    let nothing = Containers::default();
    assert_eq!(judge(&nothing, "bridge", true, "br0 dhcp"), Err("landline allow br0".into()));
    assert_eq!(judge(&nothing, "nic", false, "br0 dhcp"), Err("landline allow br0 --kind nic".into()));

    let bare = file("[containers.allow.br0]");
    assert_eq!(judge(&bare, "bridge", true, "br0 192.0.2.7/24"), Ok(()));
    assert_eq!(judge(&bare, "macvlan", false, "br0 dhcp"), Err("landline allow br0 --kind macvlan".into()));
    assert_eq!(judge(&bare, "nic", true, "br0 dhcp"), Err("landline allow br0 --kind nic".into()));

    let some = file("[containers.allow.br0]\nkinds=['bridge']\nsubnets=['192.0.2.0/25']");
    assert_eq!(judge(&some, "bridge", true, "br0 192.0.2.7/24"), Ok(()));
    assert_eq!(
        judge(&some, "bridge", true, "br0 192.0.2.200/25"),
        Err("landline allow br0 --subnet 192.0.2.128/25".into())
    );
    let tagged = file("[containers.allow.br0]\nvlans=[10]");
    assert_eq!(judge(&tagged, "ovs", true, "br0 none mode=ovs vlan=10 trunks=10"), Ok(()));
    assert_eq!(
        judge(&tagged, "ovs", true, "br0 none mode=ovs trunks=10,20"),
        Err("landline allow br0 --vlan 20".into())
    );
    assert_eq!(judge(&bare, "ovs", true, "br0 none mode=ovs trunks=none"), Ok(()));
    // What reaches beyond the container needs a key of its own, and the line that gives it is named.
    let all = "br0 dhcp mac=02:00:00:00:00:07 hostname=a client_id=b host_ifname=c0 mtu=1400";
    let line = "landline allow br0 --macs --client-ids --hostnames --host-ifnames --mtus";
    assert_eq!(judge(&bare, "bridge", true, all), Err(line.into()));
    let keyed = file(
        "[containers.allow.br0]\nmacs=true\nclient_ids=true\nhostnames=true\nhost_ifnames=true\nmtus=true",
    );
    assert_eq!(judge(&keyed, "bridge", true, all), Ok(()));
    let reached = |file: &Containers, reached, text: &str| {
        file.judge("br0", Some(kind("macvlan")), true, reached, false, &spec(text))
            .map_err(|refusal| refusal.to_string())
    };
    let needed = Err("landline allow br0 --host-access".into());
    assert_eq!(reached(&bare, true, "br0 dhcp"), needed);
    assert_eq!(reached(&bare, false, "br0 dhcp mode=macvlan host_access=true"), needed);
    for given in
        ["[containers.allow.br0]\nhost_access=true", "[containers]\nhost_routes=true\n[containers.allow.br0]"]
    {
        assert_eq!(reached(&file(given), true, "br0 dhcp mode=macvlan host_access=true"), Ok(()), "{given}");
    }
    // A bridge on the host is more than an interface on one.
    let made = |file: &Containers| {
        file.judge("br0", Some(kind("bridge")), true, false, true, &spec("br0 dhcp create=true"))
            .map_err(|refusal| refusal.to_string())
    };
    assert_eq!(made(&bare), Err("landline allow br0 --bridges".into()));
    assert_eq!(made(&file("[containers.allow.br0]\nbridges=true")), Ok(()));
    // An address that a server is asked for is an address.
    assert_eq!(
        judge(&some, "bridge", true, "br0 dhcp ip=192.0.2.200"),
        Err("landline allow br0 --subnet 192.0.2.200/32".into())
    );
    assert!(some.judge("br1", Some(kind("bridge")), true, false, false, &spec("br1 dhcp")).is_err());
    assert_eq!(nothing.judge_change().unwrap_err().to_string(), "landline allow --changes");
}

#[test]
fn what_is_refused_can_be_allowed_by_the_line_it_names() {
    let mut text = String::from("# mine\n[containers]\nkey = \"lan\"\n");
    text = ConfigFile::allow(
        &text,
        "br0",
        &Allowed { subnets: vec!["192.0.2.0/24".parse().unwrap()], ..Allowed::default() },
    )
    .unwrap();
    text = ConfigFile::allow(&text, "eth0.12", &Allowed { kinds: vec![kind("nic")], ..Allowed::default() })
        .unwrap();
    text = ConfigFile::allow(
        &text,
        "br0",
        &Allowed { subnets: vec!["198.51.100.0/24".parse().unwrap()], vlans: vec![12], ..Allowed::default() },
    )
    .unwrap();
    let mut more = Allowed::default();
    more.give(crate::Permission::Macs);
    more.give(crate::Permission::HostAccess);
    text = ConfigFile::allow(&text, "br0", &more).unwrap();
    text = ConfigFile::allow_changes(&text).unwrap();
    assert_eq!(
        text,
        "# mine\n[containers]\nchanges = true\nkey = \"lan\"\n\n[containers.allow.br0]\n\
         subnets = [\"192.0.2.0/24\", \"198.51.100.0/24\"]\nvlans = [12]\nmacs = true\nhost_access = true\n\n\
         [containers.allow.\"eth0.12\"]\nkinds = [\"nic\"]\n"
    );
    assert_eq!(ConfigFile::allow_changes(&text).unwrap(), text);
    assert_eq!(ConfigFile::allow("", "br0", &Allowed::default()).unwrap(), "[containers.allow.br0]\n");
    assert_eq!(ConfigFile::allow_changes("").unwrap(), "[containers]\nchanges = true\n");
    assert_eq!(
        ConfigFile::allow_changes("[containers]\nchanges = false\n").unwrap(),
        "[containers]\nchanges = true\n"
    );
    // Written in another way than under a heading: it is left to the administrator.
    let inline = "[containers]\nallow = { br0 = {} }\n";
    assert!(ConfigFile::allow(inline, "br1", &Allowed::default()).is_err());
    // What was open is not narrowed by allowing more.
    let open = ConfigFile::allow(
        "[containers.allow.br0]\n",
        "br0",
        &Allowed { subnets: vec!["192.0.2.0/24".parse().unwrap()], ..Allowed::default() },
    );
    assert_eq!(open.unwrap(), "[containers.allow.br0]\n");
}

#[test]
fn the_example_is_right_with_and_without_its_comments() {
    let example = include_str!("../../../../packaging/landline.toml");
    assert_eq!(ConfigFile::parse(example).unwrap(), ConfigFile::default());
    // A comment that is a line of the file has a name and an equals sign, or a heading, right behind its mark.
    let line = |line: &str| {
        let text = line.strip_prefix("# ")?;
        let name = text.split(" = ").next().filter(|name| *name != text && !name.contains(' '));
        (text.starts_with('[') || name.is_some()).then(|| text.to_owned())
    };
    let all: Vec<String> = example.lines().map(|l| line(l).unwrap_or_else(|| l.to_owned())).collect();
    let file = ConfigFile::parse(&all.join("\n")).unwrap();
    assert_eq!((file.host_access.len(), file.attach.len(), file.containers.allow.len()), (2, 1, 2));
    assert!(file.defaults != Defaults::default() && file.containers.key.is_some());
}
