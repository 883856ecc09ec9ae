//! Numbers of the kernel's interface that the `libc` crate does not have, named as in the kernel's headers.

// include/uapi/linux/if_link.h
pub(super) const IFLA_INET_CONF: u16 = 1;
pub(super) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
pub(super) const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
pub(super) const IFLA_MACVLAN_MODE: u16 = 1;
pub(super) const IFLA_IPVLAN_MODE: u16 = 1;
pub(super) const IFLA_VLAN_ID: u16 = 1;
pub(super) const IFLA_BR_FORWARD_DELAY: u16 = 1;
pub(super) const IFLA_BR_STP_STATE: u16 = 5;
pub(super) const IFLA_BR_VLAN_FILTERING: u16 = 7;
pub(super) const IFLA_BR_MCAST_SNOOPING: u16 = 23;
pub(super) const IFLA_BRPORT_STATE: u16 = 1;
pub(super) const IFLA_BRPORT_GROUP_FWD_MASK: u16 = 31;

// include/uapi/linux/if_bridge.h
pub(super) const BR_STATE_DISABLED: u8 = 0;
pub(super) const BR_STATE_LISTENING: u8 = 1;
pub(super) const BR_STATE_LEARNING: u8 = 2;
pub(super) const BR_STATE_FORWARDING: u8 = 3;
pub(super) const BR_STATE_BLOCKING: u8 = 4;
pub(super) const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
pub(super) const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
pub(super) const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;
pub(super) const BRIDGE_VLAN_INFO_RANGE_BEGIN: u16 = 1 << 3;
pub(super) const BRIDGE_VLAN_INFO_RANGE_END: u16 = 1 << 4;

// include/uapi/linux/veth.h
pub(super) const VETH_INFO_PEER: u16 = 1;

// include/uapi/linux/ip.h
pub(super) const IPV4_DEVCONF_RP_FILTER: u16 = 8;
pub(super) const IPV4_DEVCONF_ARP_ANNOUNCE: u16 = 18;
pub(super) const IPV4_DEVCONF_ARP_IGNORE: u16 = 19;

// include/uapi/linux/if_addr.h
pub(super) const IFA_RT_PRIORITY: u16 = 9;
pub(super) const IFA_PROTO: u16 = 11;

// include/uapi/linux/rtnetlink.h
pub(super) const RTA_VIA: u16 = 18;
pub(super) const RTA_EXPIRES: u16 = 23;
pub(super) const RTA_NH_ID: u16 = 30;
pub(super) const RTAX_MTU: u16 = 2;
pub(super) const RTNH_F_ONLINK: u32 = 4;
pub(super) const RTM_F_CLONED: u32 = 0x200;

// include/uapi/linux/neighbour.h
pub(super) const NDA_PROTOCOL: u16 = 12;

// include/uapi/linux/fib_rules.h
pub(super) const FRA_DST: u16 = 1;
pub(super) const FRA_SRC: u16 = 2;
pub(super) const FRA_IIFNAME: u16 = 3;
pub(super) const FRA_PRIORITY: u16 = 6;
pub(super) const FRA_FWMARK: u16 = 10;
pub(super) const FRA_TABLE: u16 = 15;
pub(super) const FRA_FWMASK: u16 = 16;
pub(super) const FRA_OIFNAME: u16 = 17;

// include/uapi/linux/genetlink.h
pub(super) const GENL_ID_CTRL: u16 = 0x10;
pub(super) const CTRL_CMD_GETFAMILY: u8 = 3;
pub(super) const CTRL_ATTR_FAMILY_ID: u16 = 1;
pub(super) const CTRL_ATTR_FAMILY_NAME: u16 = 2;

// include/uapi/linux/ethtool_netlink.h
pub(super) const ETHTOOL_MSG_FEATURES_SET: u8 = 12;
pub(super) const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
pub(super) const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
pub(super) const ETHTOOL_A_FEATURES_WANTED: u16 = 3;
pub(super) const ETHTOOL_A_BITSET_BITS: u16 = 3;
pub(super) const ETHTOOL_A_BITSET_BIT: u16 = 1;
pub(super) const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
// include/uapi/linux/fib_rules.h: the action "look into a table"
pub(super) const FR_ACT_TO_TBL: u8 = 1;

// include/uapi/linux/rtnetlink.h, include/uapi/linux/pkt_sched.h
pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
pub(super) const TC_H_ROOT: u32 = 0xffff_ffff;
pub(super) const TC_LINKLAYER_ETHERNET: u8 = 1;
pub(super) const TCA_TBF_PARMS: u16 = 1;
pub(super) const TCA_TBF_RATE64: u16 = 4;
pub(super) const TCA_TBF_BURST: u16 = 6;
pub(super) const TCA_NETEM_LATENCY64: u16 = 10;
pub(super) const TCA_NETEM_JITTER64: u16 = 11;

// include/uapi/linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
pub(super) const NFNL_SUBSYS_CTNETLINK: u16 = 1;
pub(super) const IPCTNL_MSG_CT_NEW: u8 = 0;
pub(super) const IPCTNL_MSG_CT_GET: u8 = 1;
pub(super) const IPCTNL_MSG_CT_DELETE: u8 = 2;
pub(super) const CTA_TUPLE_ORIG: u16 = 1;
pub(super) const CTA_TUPLE_REPLY: u16 = 2;
pub(super) const CTA_ID: u16 = 12;
pub(super) const CTA_ZONE: u16 = 18;
pub(super) const CTA_TUPLE_IP: u16 = 1;
pub(super) const CTA_TUPLE_PROTO: u16 = 2;
pub(super) const CTA_IP_V4_SRC: u16 = 1;
pub(super) const CTA_IP_V4_DST: u16 = 2;
pub(super) const CTA_PROTO_NUM: u16 = 1;
pub(super) const CTA_PROTO_SRC_PORT: u16 = 2;
pub(super) const CTA_PROTO_DST_PORT: u16 = 3;

// linux/sock_diag.h, linux/packet_diag.h
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Length of `struct packet_diag_req`.
pub(super) const PACKET_DIAG_REQ: usize = 20;
/// Length of `struct packet_diag_msg`.
pub(super) const PACKET_DIAG_MSG: usize = 16;
pub(super) const PACKET_SHOW_INFO: u32 = 1;
pub(super) const PACKET_DIAG_INFO: u16 = 0;
pub(super) const PDI_VNETHDR: u32 = 8;
