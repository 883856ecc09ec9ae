//! Reservations for DHCP servers, each in its server's own words.

use std::net::Ipv4Addr;

use clap::ValueEnum;
use landline_engine::Reservation;
use landline_options::IdentitySource;
use landline_types::Mac;

/// Whose words a reservation is in.
#[expect(clippy::doc_markdown, reason = "the help shows these lines as they are")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// A line of dnsmasq.conf (Pi-hole).
    Dnsmasq,
    /// An element of Kea's `reservations`.
    Kea,
    /// A declaration of ISC's dhcpd.conf.
    Isc,
    /// A section of OpenWrt's /etc/config/dhcp.
    Openwrt,
    /// A command of MikroTik's RouterOS.
    Mikrotik,
    /// Name, hardware address and address, separated by semicolons.
    FritzboxCsv,
}

/// Why there is no such line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("{0} has had no address yet; say which one to reserve with --ip ADDRESS")]
    NoAddress(String),
    #[error(
        "containers of the ipvlan network {0} share the hardware address of their parent, by which this server reserves; use a \
         server that reserves by client identifier (dnsmasq, Kea, ISC dhcpd, MikroTik), or mode=macvlan"
    )]
    SharedMac(String),
    #[error(
        "the network {0} shares its parent's hardware address and has an option client_id that counts only when a container \
         starts; start it once, then ask again"
    )]
    NoClientId(String),
}

/// What a server tells the container by.
enum Known {
    Mac(Mac),
    ClientId(String),
}

/// The reservation in a server's own words; of `ip`, else of the address of the last lease.
pub(crate) fn write(
    reservation: &Reservation,
    format: Format,
    ip: Option<Ipv4Addr>,
) -> Result<String, FormatError> {
    if matches!(format, Format::Text | Format::Json) {
        return Ok(text(reservation, ip));
    }
    let address =
        ip.or(reservation.address).ok_or_else(|| FormatError::NoAddress(reservation.name.clone()))?;
    let network = || reservation.network.clone();
    let known = match (reservation.mac, &reservation.client_id) {
        (Some(mac), _) => Known::Mac(mac),
        (None, Some(id)) => Known::ClientId(octets(id)),
        (None, None) => return Err(FormatError::NoClientId(network())),
    };
    let host = reservation.hostname.as_deref();
    Ok(match (format, known) {
        (Format::Text | Format::Json, _) => unreachable!("written above"),
        (Format::Dnsmasq, known) => {
            let who = match known {
                Known::Mac(mac) => mac.to_string(),
                Known::ClientId(id) => format!("id:{id}"),
            };
            let host = host.map_or_else(String::new, |host| format!(",{host}"));
            format!("dhcp-host={who},{address}{host}")
        }
        (Format::Kea, known) => {
            let (key, who) = match known {
                Known::Mac(mac) => ("hw-address", mac.to_string()),
                Known::ClientId(id) => ("client-id", id),
            };
            let host = host.map_or_else(String::new, |host| format!(", \"hostname\": \"{host}\""));
            format!("{{ \"{key}\": \"{who}\", \"ip-address\": \"{address}\"{host} }}")
        }
        (Format::Isc, known) => {
            let (name, who) = match known {
                Known::Mac(mac) => (mac.to_string().replace(':', ""), format!("hardware ethernet {mac};")),
                Known::ClientId(id) => (id.replace(':', ""), format!("option dhcp-client-identifier {id};")),
            };
            // dhcpd refuses a second declaration of one name, and the container may be on other networks as well.
            let name = format!("{}-{name}", host.unwrap_or("landline"));
            format!("host {name} {{ {who} fixed-address {address}; }}")
        }
        (Format::Mikrotik, known) => {
            let who = match known {
                Known::Mac(mac) => format!("mac-address={mac}"),
                Known::ClientId(id) => format!("client-id={id}"),
            };
            let host = host.map_or_else(String::new, |host| format!(" comment={host}"));
            format!("/ip dhcp-server lease add address={address} {who}{host}")
        }
        (Format::Openwrt | Format::FritzboxCsv, Known::ClientId(_)) => {
            return Err(FormatError::SharedMac(network()));
        }
        (Format::Openwrt, Known::Mac(mac)) => {
            let host = host.map_or_else(String::new, |host| format!("\n    option name '{host}'"));
            format!("config host{host}\n    option mac '{mac}'\n    option ip '{address}'")
        }
        (Format::FritzboxCsv, Known::Mac(mac)) => {
            format!("{};{mac};{address}", host.unwrap_or_default())
        }
    })
}

fn text(reservation: &Reservation, ip: Option<Ipv4Addr>) -> String {
    let source = match reservation.source {
        IdentitySource::Drawn => "drawn at its first start",
        IdentitySource::Derived => "derived from the site key",
    };
    let rows = [
        ("container", Some(reservation.name.clone())),
        ("network", Some(reservation.network.clone())),
        ("identity", Some(source.to_owned())),
        ("MAC", Some(reservation.mac.map_or_else(|| "the parent's".to_owned(), |mac| mac.to_string()))),
        ("client identifier", reservation.client_id.as_deref().map(octets)),
        ("DUID", reservation.duid.as_ref().map(|duid| octets(duid.as_bytes()))),
        ("IAID", reservation.iaid.map(|iaid| u32::from_be_bytes(iaid).to_string())),
        ("hostname", reservation.hostname.clone()),
        ("address", ip.or(reservation.address).map(|address| address.to_string())),
    ];
    let rows = rows.into_iter().filter_map(|(name, value)| Some((name, value?)));
    rows.map(|(name, value)| format!("{name:<18}{value}")).collect::<Vec<_>>().join("\n")
}

fn octets(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Reservation {
        Reservation {
            name: "shop_web_1".into(),
            network: "lan".into(),
            mac: Some(Mac::new([2, 0, 0, 0, 0, 1])),
            client_id: Some(vec![255, 1, 2]),
            duid: None,
            iaid: Some([0, 0, 0, 7]),
            hostname: Some("shop-web-1".into()),
            address: Some(Ipv4Addr::new(192, 0, 2, 7)),
            source: IdentitySource::Derived,
        }
    }

    #[test]
    fn every_server_has_its_own_words() {
        let ip = Some(Ipv4Addr::new(192, 0, 2, 50));
        let shared = Reservation { mac: None, hostname: None, ..web() };
        let table = [
            (
                Format::Dnsmasq,
                "dhcp-host=02:00:00:00:00:01,192.0.2.50,shop-web-1",
                Some("dhcp-host=id:ff:01:02,192.0.2.50"),
            ),
            (
                Format::Kea,
                r#"{ "hw-address": "02:00:00:00:00:01", "ip-address": "192.0.2.50", "hostname": "shop-web-1" }"#,
                Some(r#"{ "client-id": "ff:01:02", "ip-address": "192.0.2.50" }"#),
            ),
            (
                Format::Isc,
                "host shop-web-1-020000000001 { hardware ethernet 02:00:00:00:00:01; fixed-address 192.0.2.50; }",
                Some(
                    "host landline-ff0102 { option dhcp-client-identifier ff:01:02; fixed-address 192.0.2.50; }",
                ),
            ),
            (
                Format::Mikrotik,
                "/ip dhcp-server lease add address=192.0.2.50 mac-address=02:00:00:00:00:01 comment=shop-web-1",
                Some("/ip dhcp-server lease add address=192.0.2.50 client-id=ff:01:02"),
            ),
            (
                Format::Openwrt,
                "config host\n    option name 'shop-web-1'\n    option mac '02:00:00:00:00:01'\n    option ip '192.0.2.50'",
                None,
            ),
            (Format::FritzboxCsv, "shop-web-1;02:00:00:00:00:01;192.0.2.50", None),
        ];
        for (format, own, of_shared) in table {
            assert_eq!(write(&web(), format, ip).as_deref(), Ok(own), "{format:?}");
            match of_shared {
                Some(line) => assert_eq!(write(&shared, format, ip).as_deref(), Ok(line), "{format:?}"),
                None => {
                    assert_eq!(write(&shared, format, ip), Err(FormatError::SharedMac("lan".into())));
                }
            }
        }
    }

    #[test]
    fn without_an_address_there_is_nothing_to_reserve() {
        let line = |reservation: &Reservation, ip| write(reservation, Format::FritzboxCsv, ip);
        assert!(line(&web(), None).unwrap().ends_with(";192.0.2.7"), "that of the last lease");
        let never = Reservation { address: None, ..web() };
        assert_eq!(line(&never, None), Err(FormatError::NoAddress("shop_web_1".into())));
        assert!(write(&never, Format::Text, None).unwrap().contains("ff:01:02"));
    }

    #[test]
    fn what_only_a_start_decides_is_not_guessed() {
        let unknown = Reservation { mac: None, client_id: None, ..web() };
        assert_eq!(write(&unknown, Format::Kea, None), Err(FormatError::NoClientId("lan".into())));
    }
}
