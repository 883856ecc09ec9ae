//! The client against Open vSwitch itself, in namespaces of the test's own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use landline_ovsdb::{Client, Error, NewBridge, NewPort, Vlans};
use landline_testbed::{DockerHost, Lan, OpenVswitch};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Lab {
    // Dropped in this order.
    ovs: OpenVswitch,
    host: DockerHost,
    _lan: Lan,
}

fn lab() -> Result<Lab> {
    let lan = Lan::new()?;
    let host = lan.docker_host("host1")?;
    let ovs = host.open_vswitch()?;
    Ok(Lab { ovs, host, _lan: lan })
}

impl Lab {
    fn socket(&self) -> PathBuf {
        self.host.path("/run/openvswitch/db.sock")
    }

    fn veth(&self, name: &str) -> Result {
        self.host.check(&[
            "ip",
            "link",
            "add",
            "name",
            name,
            "up",
            "type",
            "veth",
            "peer",
            &format!("{name}-in"),
        ])?;
        Ok(())
    }
}

fn ours(id: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("owner".to_owned(), id.to_owned())])
}

fn port(name: &str, vlans: Vlans) -> NewPort {
    NewPort { name: name.into(), bridge: "br0".into(), vlans, external_ids: ours(name), transient: true }
}

#[tokio::test]
async fn bridges_and_ports_come_and_go() -> Result {
    let lab = lab()?;
    let mut client = Client::connect(&lab.socket()).await?;
    let bridge = NewBridge {
        name: "br0".into(),
        datapath_type: "netdev".into(),
        mac: Some("02:00:00:00:00:99".into()),
        mtu: None,
        external_ids: ours("bridge"),
    };
    client.add_bridge(&bridge).await?;
    assert_eq!(lab.host.node().mac("br0")?, "02:00:00:00:00:99");
    assert!(matches!(client.add_bridge(&bridge).await, Err(Error::BridgeExists(_))));

    for (name, vlans) in [
        ("plain", Vlans::All),
        ("access", Vlans::Access(10)),
        ("trunk", Vlans::Trunk(vec![10, 20])),
        ("native", Vlans::Native(10, vec![10, 20])),
    ] {
        lab.veth(name)?;
        let on = client.add_port(&port(name, vlans)).await?;
        assert!(on.in_user_space() && on.name == "br0", "{on:?}");
    }
    let list = "--columns=name,tag,trunks,vlan_mode,external_ids,other_config";
    let listed = lab.ovs.vsctl(&["--format=csv", "--no-headings", list, "list", "port", "native"])?;
    assert_eq!(listed, r#"native,10,"[10, 20]",native-untagged,{owner=native},"{transient=""true""}""#);
    let switch = client.switch().await?;
    let trunk = switch.port("trunk").ok_or("no port")?;
    assert_eq!((trunk.tag, trunk.trunks.as_slice(), trunk.bridge.as_str()), (None, &[10, 20][..], "br0"));
    assert_eq!((trunk.trouble(), &trunk.external_ids), (None, &ours("trunk")));

    // One whose owner changes meanwhile is not ours to remove.
    let access = switch.port("access").ok_or("no port")?;
    lab.ovs.vsctl(&["set", "port", "access", "external_ids:owner=another"])?;
    client.remove_port(access).await?;
    assert!(client.switch().await?.port("access").is_some());
    client.remove_port(trunk).await?;
    assert!(!lab.ovs.vsctl(&["list-ports", "br0"])?.contains("trunk"));
    // Once more does no harm.
    client.remove_port(trunk).await?;

    let bridge = client.switch().await?.bridge("br0").cloned().ok_or("no bridge")?;
    client.remove_bridge(&bridge).await?;
    assert_eq!(lab.ovs.vsctl(&["list-br"])?, "");
    Ok(())
}

#[tokio::test]
async fn what_cannot_work_says_why_and_leaves_nothing() -> Result {
    let lab = lab()?;
    let mut client = Client::connect(&lab.socket()).await?;
    lab.ovs.vsctl(&["add-br", "br1", "--", "set", "bridge", "br1", "datapath_type=netdev"])?;
    let before = lab.ovs.vsctl(&["show"])?;

    let number = || lab.ovs.vsctl(&["get", "Open_vSwitch", ".", "next_cfg"]);
    let first = number()?;
    let error = client.add_port(&port("x", Vlans::All)).await.unwrap_err().to_string();
    assert_eq!(error, "Open vSwitch has no bridge br0; it has br1");
    assert_eq!(number()?, first, "all of it was refused");

    let error = client
        .add_port(&NewPort { bridge: "br1".into(), ..port("absent", Vlans::All) })
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("No such device"), "{error}");

    lab.veth("taken")?;
    lab.ovs.vsctl(&["add-port", "br1", "taken"])?;
    let taken = NewPort { bridge: "br1".into(), ..port("taken", Vlans::All) };
    assert!(matches!(client.add_port(&taken).await, Err(Error::PortExists(_))));
    lab.ovs.vsctl(&["del-port", "taken"])?;

    // A device that went shows as trouble.
    client.add_port(&taken).await?;
    lab.host.check(&["ip", "link", "del", "taken"])?;
    let mut watcher = Client::connect(&lab.socket()).await?;
    watcher.watch().await?;
    let trouble = loop {
        let switch = client.switch().await?;
        match switch.port("taken").and_then(landline_ovsdb::Port::trouble) {
            Some(trouble) => break trouble,
            None => tokio::time::timeout(Duration::from_secs(20), watcher.changed()).await??,
        }
    };
    assert!(!trouble.is_empty());
    let gone = client.switch().await?;
    client.remove_port(gone.port("taken").ok_or("no port")?).await?;
    assert_eq!(lab.ovs.vsctl(&["show"])?, before);

    if !std::path::Path::new("/sys/module/openvswitch").exists() {
        let kernel = NewBridge {
            name: "br2".into(),
            datapath_type: String::new(),
            mac: None,
            mtu: None,
            external_ids: BTreeMap::new(),
        };
        let error = client.add_bridge(&kernel).await.unwrap_err();
        assert!(matches!(error, Error::NoDatapath(_)), "{error}");
        assert_eq!(lab.ovs.vsctl(&["show"])?, before);
    }
    Ok(())
}

#[tokio::test]
async fn the_server_and_the_switch_come_and_go() -> Result {
    let mut lab = lab()?;
    let mut client = Client::connect(&lab.socket()).await?;
    lab.ovs.vsctl(&["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"])?;
    lab.veth("a")?;
    client.watch().await?;

    lab.ovs.kill_switch();
    let adding = {
        let socket = lab.socket();
        tokio::spawn(async move { Client::connect(&socket).await?.add_port(&port("a", Vlans::All)).await })
    };
    // It is in the database, and nobody carries it out until the switch is back.
    tokio::time::timeout(Duration::from_secs(20), client.changed()).await??;
    assert!(!adding.is_finished());
    lab.ovs.start_switch()?;
    adding.await??;

    // One that nobody carries out is taken back.
    lab.veth("b")?;
    lab.ovs.kill_switch();
    let error = client.add_port(&port("b", Vlans::All)).await.unwrap_err();
    assert!(matches!(error, Error::NotApplied(_)), "{error}");
    assert_eq!(lab.ovs.vsctl(&["list-ports", "br0"])?, "a");
    lab.ovs.start_switch()?;

    lab.ovs.kill_database();
    let ended = async {
        loop {
            if let Err(error) = client.changed().await {
                break error;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await?;
    assert!(matches!(ended, Error::Closed | Error::Io(_)), "{ended}");
    let error = Client::connect(&lab.socket()).await.unwrap_err().to_string();
    assert!(error.contains("is it running"), "{error}");

    lab.ovs.start_database()?;
    let switch = Client::connect(&lab.socket()).await?.switch().await?;
    assert!(switch.port("a").is_some());
    Ok(())
}
