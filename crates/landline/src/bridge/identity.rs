//! Who the host is to its DHCP server, as its manager has noted it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use landline_types::IfName;
use landline_uplink::HostLease;

use super::persist::{read, value};

/// The host's lease on a NIC, to be renewed on `bridge`: the client identifier is the one the server knows, because under
/// another one it would give another address. Without any note of one the host is known by its hardware address.
pub(super) fn lease(root: &Path, nic: &IfName, index: u32, bridge: &IfName, address: Ipv4Addr) -> HostLease {
    let notes = [networkd(root, index), networkmanager(root, nic, address), dhclient(root, nic, address)];
    let client_id = notes.into_iter().flatten().next();
    HostLease { interface: bridge.clone(), address, client_id, hostname: hostname(root), router: None }
}

/// systemd-networkd writes down its leases, with the identifier in hexadecimal digits.
fn networkd(root: &Path, index: u32) -> Option<Vec<u8>> {
    let lease = read(&root.join(format!("run/systemd/netif/leases/{index}")))?;
    hex(value(&lease, "CLIENTID")?)
}

/// `NetworkManager`'s own client does it in the same form; the file's name ends in the NIC's.
fn networkmanager(root: &Path, nic: &IfName, address: Ipv4Addr) -> Option<Vec<u8>> {
    let files = fs::read_dir(root.join("var/lib/NetworkManager")).ok()?;
    let suffix = format!("-{nic}.lease");
    let leases =
        files.filter_map(Result::ok).filter(|file| file.file_name().to_string_lossy().ends_with(&suffix));
    leases.filter_map(|file| read(&file.path())).find_map(|lease| {
        let same = value(&lease, "ADDRESS")?.parse() == Ok(address);
        same.then(|| hex(value(&lease, "CLIENTID")?)).flatten()
    })
}

/// dhclient (dhclient.leases(5)): the identifier is in the lease if one was sent.
fn dhclient(root: &Path, nic: &IfName, address: Ipv4Addr) -> Option<Vec<u8>> {
    let names = [format!("dhclient.{nic}.leases"), "dhclient.leases".to_owned()];
    let files = names.iter().filter_map(|name| read(&root.join("var/lib/dhcp").join(name)));
    let wanted = format!("fixed-address {address};");
    files.collect::<Vec<_>>().iter().find_map(|text| {
        let lease = text.split("lease {").filter(|lease| lease.contains(&wanted)).last()?;
        let line = lease.lines().find_map(|l| l.trim().strip_prefix("option dhcp-client-identifier "))?;
        let octets = line.trim_end_matches(';').split(':');
        octets.map(|octet| u8::from_str_radix(octet, 16).ok()).collect()
    })
}

fn hostname(root: &Path) -> Option<String> {
    let name = read(&root.join("proc/sys/kernel/hostname"))?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty() && name != "(none)" && name != "localhost")
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let octets = digits.as_bytes().chunks(2);
    octets
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_id(path: &str, text: &str) -> Option<Vec<u8>> {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        let (nic, bridge) = ("em1".parse().unwrap(), "br-em1".parse().unwrap());
        lease(root.path(), &nic, 2, &bridge, "192.0.2.9".parse().unwrap()).client_id
    }

    #[test]
    fn each_managers_notes_are_understood() {
        let id = |path: &str, text: &str| client_id(path, text);
        assert_eq!(id("run/systemd/netif/leases/2", "CLIENTID=ff0102\n"), Some(vec![255, 1, 2]));
        assert_eq!(id("run/systemd/netif/leases/3", "CLIENTID=ff0102\n"), None);
        let nm = "ADDRESS=192.0.2.9\nCLIENTID=01aabb\n";
        assert_eq!(id("var/lib/NetworkManager/internal-u-1-em1.lease", nm), Some(vec![1, 0xaa, 0xbb]));
        assert_eq!(id("var/lib/NetworkManager/internal-u-1-em2.lease", nm), None);
        let dhclient = "lease {\n  fixed-address 192.0.2.8;\n  option dhcp-client-identifier 1:1;\n}\n\
                        lease {\n  fixed-address 192.0.2.9;\n  option dhcp-client-identifier ff:0:2a;\n}\n";
        assert_eq!(id("var/lib/dhcp/dhclient.em1.leases", dhclient), Some(vec![255, 0, 42]));
        assert_eq!(id("var/lib/dhcp/dhclient.leases", "lease {\n  fixed-address 192.0.2.9;\n}\n"), None);
    }

    #[test]
    fn odd_digits_are_no_identifier() {
        for text in ["f", "zz", "ff1", "é0"] {
            assert_eq!(hex(text), None, "{text}");
        }
    }
}
