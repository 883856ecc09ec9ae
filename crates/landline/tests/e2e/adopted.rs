//! A host whose NIC goes under a bridge, and how it is seen that nothing was lost.

use landline_testbed::{DockerHost, HostState, Lan, Process};

use crate::world::{Result, SOON};

pub(crate) const HOST: &str = "192.0.2.10";

/// A host with more on its NIC than one address: second addresses, metrics, another table, a neighbour by hand, IPv6.
pub(crate) fn host() -> Result<(Lan, DockerHost)> {
    let lan = Lan::new()?;
    let host = lan.docker_host("host1")?;
    host.node().sh(&format!(
        "ip address add {HOST}/24 dev eth0
        ip address add 192.0.2.11/24 dev eth0
        ip address add 192.0.2.12/24 dev eth0 label eth0:2
        ip address add 2001:db8:1::10/64 dev eth0 nodad
        ip route add default via 192.0.2.1 dev eth0 metric 100
        ip route add 198.51.100.0/24 via 192.0.2.1 dev eth0 src 192.0.2.11 mtu 1400
        ip route add 203.0.113.0/24 dev eth0 table 70 metric 7
        ip -6 route add default via 2001:db8:1::1 dev eth0 metric 300
        ip neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev eth0 nud permanent
        sysctl -q -w net.ipv4.conf.eth0.rp_filter=1 net.ipv6.conf.eth0.accept_ra=0"
    ))?;
    Ok((lan, host))
}

/// What the host would look like if the bridge had been there all the time.
fn moved(before: &HostState) -> Vec<String> {
    let of_nic = |line: &&str| ["addr eth0 ", "route ", "neigh "].iter().any(|kind| line.starts_with(kind));
    let lines = before.lines_with("eth0").filter(of_nic);
    lines.map(|line| line.replace("eth0", "br-eth0")).collect()
}

pub(crate) fn is_moved(before: &HostState, now: &HostState, when: &str) {
    let there: Vec<&str> = now.lines_with("").collect();
    for line in moved(before) {
        assert!(there.contains(&line.as_str()), "{when}: {line} is missing:\n{now}");
    }
    let left: Vec<&str> = now.lines_with(" eth0").filter(|line| !line.starts_with("link eth0 ")).collect();
    // The kernel's own multicast route stays with every link that is up.
    let left: Vec<&&str> = left.iter().filter(|line| !line.contains("ff00::/8")).collect();
    assert!(left.is_empty(), "{when}: still on the NIC: {left:?}");
}

pub(crate) fn reachable(lan: &Lan) -> Result {
    lan.peer().check(&["ping", "-c1", "-W5", HOST])?;
    lan.peer().check(&["ping", "-c1", "-W5", "2001:db8:1::10"])?;
    Ok(())
}

/// Says a number every few milliseconds over one TCP connection and waits for it to come back; prints how long the
/// longest answer took when it is told to end.
pub(crate) fn conversation(lan: &Lan, host: &DockerHost) -> Result<(Process, Process)> {
    conversation_with(lan, host, &[], HOST)
}

/// With a server in the namespace that a command leads into.
pub(crate) fn conversation_with(
    lan: &Lan,
    host: &DockerHost,
    enter: &[&str],
    address: &str,
) -> Result<(Process, Process)> {
    let echo = "import socket\ns=socket.create_server(('',7777))\nprint('up',flush=True)\nc,_=s.accept()\n\
                while True:\n d=c.recv(64)\n if not d: break\n c.sendall(d)";
    let mut server = host.spawn(&[enter, &["python3", "-c", echo]].concat())?;
    server.wait_for_text("up", SOON)?;
    let ask = format!(
        "import socket,time,signal\ns=socket.create_connection(('{address}',7777),timeout=20)\ns.setsockopt(6,1,1)\n\
         worst=0\nn=0\nend=[]\nsignal.signal(signal.SIGTERM,lambda *a:end.append(1))\nprint('talking',flush=True)\n\
         while not end:\n t=time.time()\n m=b'%08d'%n\n s.sendall(m)\n g=b''\n while len(g)<8: g+=s.recv(8-len(g)) or exit('closed')\n \
         assert g==m\n worst=max(worst,time.time()-t)\n n+=1\n time.sleep(.005)\n\
         print('answers %d worst %.1f ms'%(n,worst*1000),flush=True)"
    );
    let mut client = lan.peer().spawn(&["python3", "-c", &ask])?;
    client.wait_for_text("talking", SOON)?;
    Ok((server, client))
}
