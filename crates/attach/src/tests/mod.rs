//! What becomes of attachments, on a machine that is lists: nothing here touches the machine's own.

mod cards;
mod failures;
mod follow;
mod kills;
mod lives;
mod routes;
mod runtime;
mod world;

/// A test for each way in which an attachment can be connected.
macro_rules! for_each_way {
    ($name:ident) => {
        mod $name {
            use crate::tests::world::Way;

            #[tokio::test(start_paused = true)]
            async fn fixed() {
                super::$name(Way::Fixed).await;
            }

            #[tokio::test(start_paused = true)]
            async fn leased() {
                super::$name(Way::Leased).await;
            }

            #[tokio::test(start_paused = true)]
            async fn macvlan() {
                super::$name(Way::Macvlan).await;
            }

            #[tokio::test(start_paused = true)]
            async fn vlan() {
                super::$name(Way::Vlan).await;
            }

            #[tokio::test(start_paused = true)]
            async fn card() {
                super::$name(Way::Card).await;
            }

            #[tokio::test(start_paused = true)]
            async fn dummy() {
                super::$name(Way::Dummy).await;
            }

            #[tokio::test(start_paused = true)]
            async fn made_bridge() {
                super::$name(Way::MadeBridge).await;
            }
        }
    };
}
pub(crate) use for_each_way;
