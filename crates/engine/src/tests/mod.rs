//! The engine's decisions, on a host that is a list of links: nothing here touches the machine's own.

mod cancellation;
mod endpoints;
mod failures;
mod fixed;
mod kills;
mod late;
mod lease_ahead;
mod leases;
mod leases6;
mod networks;
mod removals;
mod restarts;
mod world;

/// A test for each kind of link.
macro_rules! for_each_kind {
    ($name:ident) => {
        mod $name {
            use crate::tests::world::Kind;

            #[tokio::test]
            async fn bridge() {
                super::$name(Kind::Bridge).await;
            }

            #[tokio::test]
            async fn bridge_in_a_vlan() {
                super::$name(Kind::BridgeVlan).await;
            }

            #[tokio::test]
            async fn macvlan() {
                super::$name(Kind::Macvlan).await;
            }

            #[tokio::test]
            async fn macvlan_in_a_vlan() {
                super::$name(Kind::MacvlanVlan).await;
            }

            #[tokio::test]
            async fn ipvlan() {
                super::$name(Kind::Ipvlan).await;
            }

            #[tokio::test]
            async fn ovs() {
                super::$name(Kind::Ovs).await;
            }

            #[tokio::test]
            async fn nic() {
                super::$name(Kind::Nic).await;
            }

            #[tokio::test]
            async fn vde() {
                super::$name(Kind::Vde).await;
            }

            #[tokio::test]
            async fn nat() {
                super::$name(Kind::Nat).await;
            }

            #[tokio::test]
            async fn routed() {
                super::$name(Kind::Routed).await;
            }

            #[tokio::test(start_paused = true)]
            async fn leased() {
                super::$name(Kind::Leased).await;
            }
        }
    };
}
use for_each_kind;
