use super::*;

/// A file system with these files.
fn files(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn planned(root: &Path) -> Result<Changes, PersistError> {
    planned_as(root, BridgeKind::Linux)
}

fn planned_as(root: &Path, kind: BridgeKind) -> Result<Changes, PersistError> {
    let (nic, bridge) = ("em1".parse().unwrap(), "br-em1".parse().unwrap());
    plan(&Nic { root, name: &nic, index: 2, mac: "02:00:00:00:00:01".parse().ok(), bridge: &bridge, kind })
}

fn text<'a>(changes: &'a Changes, name: &str) -> &'a str {
    &changes.files.iter().find(|file| file.path.ends_with(name)).unwrap_or_else(|| panic!("no {name}")).text
}

#[test]
fn networkd_keeps_what_its_user_wrote_and_the_clients_identity() {
    let root = files(&[
        (
            "run/systemd/netif/links/2",
            "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/lan.network\n",
        ),
        ("run/systemd/netif/leases/2", "ADDRESS=192.0.2.9\nCLIENTID=ffc0ffee0100020000ab11\n"),
        (
            "etc/systemd/network/lan.network",
            "# ours\n[Match]\nName=em*\nMACAddress=02:00:00:00:00:01\n\n[Network]\nDHCP=yes\nDNS=192.0.2.53\n\n[Route]\nGateway=192.0.2.1\n",
        ),
    ]);
    let changes = planned(root.path()).unwrap();
    assert_eq!(changes.manager, "systemd-networkd");
    assert_eq!(
        text(&changes, "etc/systemd/network/05-landline-br-em1.network").split_once('\n').unwrap().1,
        "[Match]\nName=br-em1\n\n[Network]\nDHCP=yes\nDNS=192.0.2.53\n\n[Route]\nGateway=192.0.2.1\n\n[DHCPv4]\nIAID=3237998081\n"
    );
    let netdev = text(&changes, "05-landline-br-em1.netdev");
    assert!(netdev.contains("Kind=bridge\nMACAddress=02:00:00:00:00:01"), "{netdev}");
    assert!(text(&changes, "05-landline-em1.network").contains("Bridge=br-em1"));
}

#[test]
fn networkmanager_moves_ip_to_the_bridge_and_leaves_the_link_its_settings() {
    let keyfile = "[connection]\nid=Wired\nuuid=u-1\ntype=ethernet\nautoconnect=true\n\n[ethernet]\nmtu=9000\n\n\
                   [ipv4]\nmethod=manual\naddress1=192.0.2.10/24,192.0.2.1\nroute-metric=50\n\n[ipv6]\nmethod=auto\n";
    let root = files(&[
        ("run/NetworkManager/devices/2", "[device]\nmanaged=true\nconnection-uuid=u-1\n"),
        ("etc/NetworkManager/system-connections/other.nmconnection", "[connection]\nuuid=u-2\n"),
        ("etc/NetworkManager/system-connections/Wired.nmconnection", keyfile),
    ]);
    let changes = planned(root.path()).unwrap();
    let bridge = text(&changes, "landline-br-em1.nmconnection");
    assert!(
        bridge.contains("[ipv4]\nmethod=manual\naddress1=192.0.2.10/24,192.0.2.1\nroute-metric=50\n"),
        "{bridge}"
    );
    assert!(bridge.contains("[bridge]\nmac-address=02:00:00:00:00:01\nstp=false"), "{bridge}");
    let port = text(&changes, "landline-br-em1-em1.nmconnection");
    assert!(port.contains("master=br-em1") && port.contains("mtu=9000") && !port.contains("ipv4"), "{port}");
    let idle = text(&changes, "Wired.nmconnection");
    assert!(idle.contains("autoconnect=false") && !idle.contains("autoconnect=true"), "{idle}");
    assert!(changes.files.iter().all(|file| file.mode == 0o600 || file.before.is_some()));
}

#[test]
fn ifupdown_gives_the_stanzas_to_the_bridge() {
    let interfaces = "source /etc/network/interfaces.d/*\nauto lo em1 em2\niface lo inet loopback\n\
                      iface em1 inet static\n\taddress 192.0.2.10/24\n\tgateway 192.0.2.1\niface em1 inet6 auto\niface em2 inet dhcp\n";
    let with = |program: Option<&'static str>| {
        let mut all = vec![("etc/network/interfaces", interfaces)];
        all.extend(program.map(|path| (path, "")));
        files(&all)
    };
    let root = with(None);
    assert!(planned(root.path()).unwrap_err().to_string().contains("bridge-utils"));
    let root = with(Some("usr/sbin/brctl"));
    assert_eq!(
        text(&planned(root.path()).unwrap(), "etc/network/interfaces"),
        "source /etc/network/interfaces.d/*\nauto lo em2\nauto br-em1\niface lo inet loopback\niface em1 inet manual\n\n\
         iface br-em1 inet static\n\tbridge_ports em1\n\tbridge_stp off\n\tbridge_fd 0\n\tbridge_hw 02:00:00:00:00:01\n\
         \taddress 192.0.2.10/24\n\tgateway 192.0.2.1\niface br-em1 inet6 auto\niface em2 inet dhcp\n"
    );
}

#[test]
fn what_was_written_is_taken_back_unless_somebody_changed_it() {
    let interfaces = "auto em1\niface em1 inet dhcp\n";
    let root = files(&[("etc/network/interfaces", interfaces), ("sbin/brctl", "")]);
    let bridge: IfName = "br-em1".parse().unwrap();
    let file = root.path().join("etc/network/interfaces");
    let changes = planned(root.path()).unwrap();
    changes.write(root.path(), &bridge).unwrap();
    assert_ne!(fs::read_to_string(&file).unwrap(), interfaces);
    assert!(Changes::undo(root.path(), &bridge).unwrap().is_empty());
    assert_eq!(fs::read_to_string(&file).unwrap(), interfaces);
    assert!(Changes::undo(root.path(), &bridge).unwrap().is_empty(), "there is nothing left to undo");

    changes.write(root.path(), &bridge).unwrap();
    fs::write(&file, "# by hand\n").unwrap();
    assert_eq!(Changes::undo(root.path(), &bridge).unwrap(), std::slice::from_ref(&file));
    assert_eq!(fs::read_to_string(&file).unwrap(), "# by hand\n");
}

#[test]
fn nobody_is_an_error_that_says_who_was_looked_for() {
    let root = files(&[("run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\n")]);
    let error = planned(root.path()).unwrap_err().to_string();
    assert!(error.contains("NetworkManager, ifupdown"), "{error}");
}

#[test]
fn what_cannot_all_be_written_is_not_written() {
    let root = files(&[("etc/network/interfaces", "before\n")]);
    let bridge: IfName = "br-em1".parse().unwrap();
    let file = root.path().join("etc/network/interfaces");
    let first = change(file.clone(), "after\n".into(), 0o644).unwrap();
    let second = change(root.path().join("no/such/directory"), "x".into(), 0o644).unwrap();
    let changes = Changes {
        manager: "ifupdown".into(),
        hint: String::new(),
        files: vec![first, second],
        switch: false,
    };
    changes.write(root.path(), &bridge).unwrap_err();
    assert_eq!(fs::read_to_string(&file).unwrap(), "before\n");
    assert!(Changes::undo(root.path(), &bridge).unwrap().is_empty(), "nothing is kept of it");
}

#[test]
fn open_vswitch_lasts_where_ifupdown_makes_it_and_nowhere_else() {
    let interfaces = "auto em1\niface em1 inet static\n\taddress 192.0.2.10/24\n";
    let root = files(&[("etc/network/interfaces", interfaces)]);
    let error = planned_as(root.path(), BridgeKind::Ovs).unwrap_err().to_string();
    assert!(error.contains("openvswitch-switch"), "{error}");
    let hook = ("etc/network/if-pre-up.d/openvswitch", "");
    let root = files(&[("etc/network/interfaces", interfaces), hook]);
    let changes = planned_as(root.path(), BridgeKind::OvsUserSpace).unwrap();
    assert!(changes.keeps_switch());
    assert_eq!(
        text(&changes, "etc/network/interfaces"),
        "auto br-em1\nallow-br-em1 em1\niface em1 inet manual\n\tovs_type OVSPort\n\tovs_bridge br-em1\n\n\
         iface br-em1 inet static\n\tovs_type OVSBridge\n\tovs_ports em1\n\tovs_extra set bridge br-em1 \
         datapath_type=netdev other_config:hwaddr=\\\"02:00:00:00:00:01\\\"\n\taddress 192.0.2.10/24\n"
    );
    let notes = ("run/systemd/netif/links/2", "ADMIN_STATE=configured\nNETWORK_FILE=/x\n");
    let error = planned_as(files(&[notes]).path(), BridgeKind::Ovs).unwrap_err().to_string();
    assert!(error.contains("systemd-networkd configures em1, but it makes no bridges of Open"), "{error}");
    let notes = ("run/NetworkManager/devices/2", "[device]\nmanaged=true\nconnection-uuid=u-1\n");
    let error = planned_as(files(&[notes]).path(), BridgeKind::Ovs).unwrap_err().to_string();
    assert!(error.contains("NetworkManager configures em1, but it makes its own"), "{error}");
}
