//! `mode=ipvlan`: an ipvlan child of a network card (L2), with the card's own hardware address.

use super::ModeRules;

pub(super) const RULES: ModeRules = ModeRules {
    word: "ipvlan",
    missing_parent: Some(
        "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)",
    ),
    shares_mac: true,
    ..ModeRules::ON_LAN
};
