//! `mode=macvlan`: a macvlan child of a network card.

use super::ModeRules;

pub(super) const RULES: ModeRules = ModeRules {
    word: "macvlan",
    missing_parent: Some(
        "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)",
    ),
    ..ModeRules::ON_LAN
};
