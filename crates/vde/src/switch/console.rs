//! What people and scripts may ask of the management socket, in the words of `vde_switch`.

use landline_types::Mac;

use super::fabric::VLAN_MAX;

/// The longest command line, in bytes.
pub(crate) const LINE_MAX: usize = 128;

/// A command of the management socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `help`
    Help,
    /// `logout`
    Logout,
    /// `shutdown`
    Shutdown,
    /// `showinfo`
    ShowInfo,
    /// `ds/showinfo`
    DataInfo,
    /// `port/showinfo`
    PortInfo,
    /// `port/setnumports N`
    SetPorts(u16),
    /// `port/sethub 0|1`
    SetHub(bool),
    /// `port/setvlan PORT VLAN`
    SetVlan(u16, u16),
    /// `port/epclose PORT ID`
    Close(u16, u32),
    /// `port/resetcounter [PORT]`
    ResetCounter(Option<u16>),
    /// `port/print [PORT]`
    PortPrint(Option<u16>),
    /// `port/allprint [PORT]`: those nobody is on too.
    PortAllPrint(Option<u16>),
    /// `hash/showinfo`
    HashInfo,
    /// `hash/print`
    HashPrint,
    /// `hash/find MAC [VLAN]`
    HashFind(Mac, u16),
    /// `vlan/create VLAN`
    VlanCreate(u16),
    /// `vlan/remove VLAN`
    VlanRemove(u16),
    /// `vlan/addport VLAN PORT`
    VlanAddPort(u16, u16),
    /// `vlan/delport VLAN PORT`
    VlanDelPort(u16, u16),
    /// `vlan/print [VLAN]`
    VlanPrint(Option<u16>),
    /// `vlan/allprint [VLAN]`
    VlanAllPrint(Option<u16>),
}

/// Why a line is no command, or a command was not carried out; the numbers are Linux's error numbers, which is how the
/// protocol tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such port, VLAN or endpoint.
    NotFound,
    /// An argument is not what it should be.
    Invalid,
    /// There is one already.
    Exists,
    /// It is in use.
    InUse,
    /// There is no room for more.
    Full,
    /// No such command.
    Unknown,
}

impl Refusal {
    /// The number on the wire, and what it is called.
    pub(crate) const fn code(self) -> (u16, &'static str) {
        match self {
            Self::NotFound => (1006, "No such device or address"),
            Self::Full => (1012, "Cannot allocate memory"),
            Self::Exists => (1017, "File exists"),
            Self::Invalid => (1022, "Invalid argument"),
            Self::Unknown => (1038, "Function not implemented"),
            Self::InUse => (1098, "Address already in use"),
        }
    }
}

/// The commands with their arguments, as `help` lists them.
pub(crate) const HELP: [(&str, &str, &str); 22] = [
    ("help", "", "this list"),
    ("logout", "", "end this session"),
    ("shutdown", "", "end the switch"),
    ("showinfo", "", "what this switch is"),
    ("ds/showinfo", "", "where its clients connect"),
    ("port/showinfo", "", "settings of all ports"),
    ("port/setnumports", "N", "set the number of ports"),
    ("port/sethub", "0/1", "1: every frame to every port"),
    ("port/setvlan", "N VLAN", "set the untagged VLAN of a port"),
    ("port/epclose", "N ID", "disconnect an endpoint of a port"),
    ("port/resetcounter", "[N]", "set the counters of a port to 0"),
    ("port/print", "[N]", "list ports and who is on them"),
    ("port/allprint", "[N]", "as print, ports nobody is on too"),
    ("hash/showinfo", "", "how addresses are remembered"),
    ("hash/print", "", "list the addresses that were heard"),
    ("hash/find", "MAC [VLAN]", "find an address"),
    ("vlan/create", "N", "make a VLAN"),
    ("vlan/remove", "N", "remove a VLAN"),
    ("vlan/addport", "N PORT", "put a port into a VLAN, tagged"),
    ("vlan/delport", "N PORT", "take a port out of a VLAN"),
    ("vlan/print", "[N]", "list VLANs and their ports"),
    ("vlan/allprint", "[N]", "as print, ports nobody is on too"),
];

impl Command {
    /// Reads a line; an empty one is `None`.
    ///
    /// # Errors
    /// `Refusal::Unknown` for a word that is no command, `Refusal::Invalid` for bad arguments.
    pub fn parse(line: &str) -> Result<Option<Self>, Refusal> {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { return Ok(None) };
        let arguments: Vec<&str> = words.take(3).collect();
        let at = |index: usize| arguments.get(index).copied();
        let command = match name {
            "help" => Self::Help,
            "logout" => Self::Logout,
            "shutdown" => Self::Shutdown,
            "showinfo" => Self::ShowInfo,
            "ds/showinfo" => Self::DataInfo,
            "port/showinfo" => Self::PortInfo,
            "port/setnumports" => Self::SetPorts(number(at(0))?),
            "port/sethub" => Self::SetHub(number(at(0))? != 0),
            "port/setvlan" => Self::SetVlan(number(at(0))?, number(at(1))?),
            "port/epclose" => {
                let id = at(1).and_then(|text| text.parse().ok()).ok_or(Refusal::Invalid)?;
                Self::Close(number(at(0))?, id)
            }
            "port/resetcounter" => Self::ResetCounter(optional(at(0))?),
            "port/print" => Self::PortPrint(optional(at(0))?),
            "port/allprint" => Self::PortAllPrint(optional(at(0))?),
            "hash/showinfo" => Self::HashInfo,
            "hash/print" => Self::HashPrint,
            "hash/find" => {
                let mac = at(0).and_then(|text| text.parse().ok()).ok_or(Refusal::Invalid)?;
                Self::HashFind(mac, optional(at(1))?.unwrap_or(0))
            }
            "vlan/create" => Self::VlanCreate(vlan(at(0))?),
            "vlan/remove" => Self::VlanRemove(vlan(at(0))?),
            "vlan/addport" => Self::VlanAddPort(vlan(at(0))?, number(at(1))?),
            "vlan/delport" => Self::VlanDelPort(vlan(at(0))?, number(at(1))?),
            "vlan/print" => Self::VlanPrint(optional(at(0))?),
            "vlan/allprint" => Self::VlanAllPrint(optional(at(0))?),
            _ => return Err(Refusal::Unknown),
        };
        Ok(Some(command))
    }
}

fn number(text: Option<&str>) -> Result<u16, Refusal> {
    text.and_then(|text| text.parse().ok()).ok_or(Refusal::Invalid)
}

fn optional(text: Option<&str>) -> Result<Option<u16>, Refusal> {
    text.map(|text| number(Some(text))).transpose()
}

/// A VLAN that can be made and removed; 0 is always there.
fn vlan(text: Option<&str>) -> Result<u16, Refusal> {
    number(text)
        .and_then(|vlan| if (1..=VLAN_MAX).contains(&vlan) { Ok(vlan) } else { Err(Refusal::Invalid) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read() {
        assert_eq!(Command::parse("  port/setvlan 2  5 \r"), Ok(Some(Command::SetVlan(2, 5))));
        assert_eq!(Command::parse("vlan/print"), Ok(Some(Command::VlanPrint(None))));
        assert_eq!(Command::parse(" "), Ok(None));
        assert_eq!(Command::parse("vlan/create 4095"), Err(Refusal::Invalid));
        assert_eq!(Command::parse("vlan/create"), Err(Refusal::Invalid));
        assert_eq!(Command::parse("port/print x"), Err(Refusal::Invalid));
        assert_eq!(Command::parse("plugin/add /tmp/x.so"), Err(Refusal::Unknown));
    }

    #[test]
    fn help_lists_what_there_is() {
        for (name, arguments, _) in HELP {
            let arguments = if arguments.starts_with("MAC") { "02:00:00:00:00:01" } else { "1 1" };
            assert!(matches!(Command::parse(&format!("{name} {arguments}")), Ok(Some(_))), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_line_gives_an_answer(line in "\\PC{0,140}") {
            let _ = Command::parse(&line);
        }
    }
}
