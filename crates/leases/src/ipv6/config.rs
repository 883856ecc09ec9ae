//! The machine's configuration: what the network's options and the container's identity say.

use landline_dhcp::v6::{self, Config, InterfaceId};
use landline_model::{Ipv6Identity, Ipv6Record};
use landline_options::{Ipv6Address, Ipv6Mode, NetworkOptions};
use landline_types::Mac;

use crate::addressing::dhcp::conflict_check;

/// The machine's configuration for an endpoint.
pub fn config(options: &NetworkOptions, mac: Mac, record: &Ipv6Record) -> Config {
    let mut config = own_config(mac, &record.identity);
    config.mode = match options.ipv6 {
        Ipv6Mode::Off | Ipv6Mode::Auto => v6::Mode::Auto,
        Ipv6Mode::Dhcp => v6::Mode::Dhcp,
        Ipv6Mode::Slaac => v6::Mode::Slaac,
    };
    if options.ipv6_address == Ipv6Address::Eui64 {
        config.interface_id = InterfaceId::Eui64;
    }
    config.hostname.clone_from(&record.hostname);
    config.user_class.clone_from(&options.user_class);
    config.conflict_check = conflict_check(options);
    config
}

/// As far as it is the identity's alone.
pub(super) fn own_config(mac: Mac, identity: &Ipv6Identity) -> Config {
    let mut config = Config::new(mac);
    config.duid = identity.duid.clone();
    config.iaid = identity.iaid;
    config.interface_id = InterfaceId::Stable {
        secret: identity.secret.clone(),
        interface: identity.duid.as_bytes().to_vec(),
        network: Vec::new(),
    };
    config
}
