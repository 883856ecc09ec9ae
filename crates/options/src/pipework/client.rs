//! The DHCP clients that pipework starts. Here their names all mean Landline's own; of their options those that say
//! something to the server are kept, and those that say how the program runs have no meaning.

use crate::attach::{AttachError, AttachSpec, split_words};
use crate::client_id::ClientIdTemplate;

/// A client's options: those with a value that the server is told, those with a value that only the program minds, and
/// those without one.
struct Client {
    name: &'static str,
    told: &'static [(&'static str, Told)],
    own: &'static [&'static str],
    flags: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Told {
    Hostname,
    Vendor,
    Requested,
    ClientId,
    /// udhcpc's `-x OPTION:VALUE`.
    Any,
}

const UDHCPC: Client = Client {
    name: "udhcpc",
    told: &[
        ("-x", Told::Any),
        ("-H", Told::Hostname),
        ("-h", Told::Hostname),
        ("-F", Told::Hostname),
        ("-V", Told::Vendor),
        ("-r", Told::Requested),
        ("-c", Told::ClientId),
    ],
    own: &["-t", "-T", "-A", "-p", "-P", "-O", "-s"],
    flags: &["-f", "-q", "-n", "-b", "-R", "-S", "-a", "-B", "-o", "-C", "-v"],
};

const DHCLIENT: Client = Client {
    name: "dhclient",
    told: &[("-H", Told::Hostname), ("-C", Told::ClientId), ("-V", Told::Vendor)],
    own: &["-lf", "-pf", "-cf", "-sf", "-p", "-e", "-g"],
    flags: &["-1", "-4", "-d", "-q", "-v", "-nw", "-w", "-r", "-x", "-B", "--no-pid"],
};

const DHCPCD: Client = Client {
    name: "dhcpcd",
    told: &[("-h", Told::Hostname), ("-i", Told::Vendor), ("-r", Told::Requested), ("-I", Told::ClientId)],
    own: &["-t", "-y", "-f", "-c", "-m"],
    flags: &["-1", "-4", "-A", "-b", "-B", "-d", "-G", "-K", "-L", "-q", "-w", "-p"],
};

/// The names, longest first among those that begin alike, and whose options they take.
const NAMES: [(&str, &Client); 6] = [
    ("udhcpc-f", &UDHCPC),
    ("udhcpc", &UDHCPC),
    ("dhclient-f", &DHCLIENT),
    ("dhclient", &DHCLIENT),
    ("dhcpcd", &DHCPCD),
    // pipework runs udhcpc for it in a container of its own.
    ("dhcp", &UDHCPC),
];

fn named(text: &str) -> Option<(&'static Client, Option<&str>)> {
    let (name, options) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let client = NAMES.iter().find(|(known, _)| *known == name)?.1;
    Some((client, options))
}

/// Whether the word where an address may be names a client.
pub(super) fn is_one(text: &str) -> bool {
    named(text).is_some()
}

/// Takes over what such a word asks for.
pub(super) fn read(text: &str, spec: &mut AttachSpec) -> Result<(), AttachError> {
    let Some((client, options)) = named(text) else { return Ok(()) };
    spec.dhcp = true;
    let words = split_words(options.unwrap_or_default())?;
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || {
            let hint = "something must follow it";
            words.next().ok_or_else(|| AttachError::word(word, "a whole option", hint))
        };
        if let Some((_, told)) = client.told.iter().find(|(option, _)| *option == word) {
            tell(*told, value()?, spec)?;
        } else if client.own.contains(&word) {
            value()?;
        } else if !client.flags.contains(&word) {
            let hint = match client.name {
                "udhcpc" => "udhcpc's -x hostname:NAME, -F, -V, -r and -c are understood",
                "dhclient" => "dhclient's -H, -C and -V are understood",
                _ => "dhcpcd's -h, -i, -r and -I are understood",
            };
            return Err(AttachError::word(word, "an option of the DHCP client", hint));
        }
    }
    Ok(())
}

fn tell(what: Told, value: &str, spec: &mut AttachSpec) -> Result<(), AttachError> {
    match what {
        Told::Hostname => {
            let hint = "write a host name of letters, digits and hyphens";
            let name = value.parse().map_err(|_| AttachError::word(value, "a host name", hint))?;
            spec.endpoint.hostname = Some(name);
        }
        Told::Vendor => {
            spec.options.insert("vendor_class".into(), value.to_owned());
        }
        Told::Requested => {
            let address = crate::network::host_address(value);
            let hint = "write the IPv4 address to ask for";
            spec.endpoint.ip = Some(address.ok_or_else(|| AttachError::word(value, "an address", hint))?);
        }
        Told::ClientId => {
            let hint = "write the client identifier as text, or as hex:01:02:…";
            let template: Result<ClientIdTemplate, _> = value.parse();
            spec.endpoint.client_id =
                Some(template.map_err(|_| AttachError::word(value, "a client identifier", hint))?);
        }
        Told::Any => {
            let hint = "of udhcpc's -x there are hostname:NAME, fqdn:NAME, vendor:TEXT and 0x3d:HEX";
            let bad = || AttachError::word(value, "an option to send", hint);
            let (option, value) = value.split_once(':').ok_or_else(bad)?;
            return match option {
                "hostname" | "fqdn" | "0x0c" | "12" => tell(Told::Hostname, value.trim_matches('"'), spec),
                "vendor" | "0x3c" | "60" => tell(Told::Vendor, value, spec),
                "0x3d" | "61" => tell(Told::ClientId, &format!("hex:{value}"), spec),
                _ => Err(bad()),
            };
        }
    }
    Ok(())
}
