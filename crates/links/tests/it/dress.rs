//! What an attachment gives its link.

use landline_kernel::sysctl::{self, Family};
use landline_kernel::{Netlink, Netns};
use landline_links::{Defaults, dress};
use landline_options::AttachSpec;
use landline_types::IfName;

use crate::lab::pair;

#[test]
fn ipv6_is_switched_on_with_the_first_address_and_not_when_it_was_switched_off_since() {
    let netns = Netns::create().unwrap();
    let mut netlink = Netlink::open_in(&netns).unwrap();
    let name: IfName = "eth0".parse().unwrap();
    let index = pair(&mut netlink, name.as_str(), None).index;
    let switch =
        |value| netns.run(|| sysctl::set(Family::V6, &name, "disable_ipv6", value)).unwrap().unwrap();
    let mut dressed = |spec: &AttachSpec, defaults: Defaults<'_>| {
        dress(&netns, &mut netlink, index, spec, defaults).unwrap();
        let all = netlink.addresses().unwrap().into_iter().filter(|a| a.index == index);
        let mut nets: Vec<String> = all.map(|address| address.net.to_string()).collect();
        nets.sort();
        let off = netns.run(|| sysctl::get(Family::V6, &name, "disable_ipv6")).unwrap().unwrap() == "1";
        (off, nets)
    };
    let spec = |text: &str| AttachSpec { force: true, ..text.parse().unwrap() };
    let (four, six) = ("192.0.2.77/24", "2001:db8:1::77/64");
    let only_v4 = spec("br0 192.0.2.77/24");
    let both = spec("br0 192.0.2.77/24 2001:db8:1::77/64@2001:db8:1::2");

    // As Docker leaves it.
    switch("1");
    assert_eq!(dressed(&only_v4, Defaults::Take), (true, vec![four.to_owned()]));
    let on = (false, vec![four.to_owned(), six.to_owned()]);
    assert_eq!(dressed(&both, Defaults::TakeNew(&only_v4)), on);
    switch("1");
    let more = spec("br0 192.0.2.77/24 192.0.2.78/24 2001:db8:1::77/64@2001:db8:1::2");
    let off = (true, vec![four.to_owned(), "192.0.2.78/24".to_owned()]);
    assert_eq!(dressed(&more, Defaults::TakeNew(&both)), off);
    switch("0");
    assert_eq!(dressed(&more, Defaults::TakeNew(&more)).1.len(), 3, "whoever switched it off wants it again");
}
