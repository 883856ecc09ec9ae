//! What the watcher knows of a container that Docker names before it tells anything else about its endpoint.

use std::sync::Arc;
use std::time::Duration;

use landline_docker::{ContainerInfo, DockerView, RequestedEndpoint, Sketch};
use landline_options::NetworkId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How long word of a container may be late.
const LATE: Duration = Duration::from_millis(250);

/// How long that may be which says more than its name. While a container starts, Docker does not answer about it.
const MORE: Duration = Duration::from_millis(30);

/// The container of this name, and what its user said about its endpoint on a network. Waits a little for word of it.
pub(crate) async fn container(
    mut view: watch::Receiver<Arc<DockerView>>,
    name: &str,
    network: &NetworkId,
) -> Option<(ContainerInfo, RequestedEndpoint)> {
    let begun = Instant::now();
    loop {
        let seen = view.borrow_and_update().clone();
        let until = match seen.named(name) {
            Some(Sketch::Info(info)) => {
                let requested = seen.requested_on(info, network).cloned().unwrap_or_default();
                return Some((ContainerInfo::clone(info), requested));
            }
            Some(Sketch::Name(_)) => begun + MORE,
            None if !seen.connected => return None,
            None => begun + LATE,
        };
        if !matches!(timeout_at(until, view.changed()).await, Ok(Ok(()))) {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> (String, Sketch) {
        let mut web =
            ContainerInfo { container_id: "c1".into(), name: "web".into(), ..ContainerInfo::default() };
        let options = [("landline.id".to_owned(), "shop".to_owned())].into();
        web.requested.insert("n1".into(), RequestedEndpoint { options, ..RequestedEndpoint::default() });
        ("c1".into(), Sketch::Info(Box::new(web)))
    }

    fn seen(container: Option<(String, Sketch)>, connected: bool) -> Arc<DockerView> {
        let containers = container.into_iter().collect();
        Arc::new(DockerView { connected, containers, ..DockerView::default() })
    }

    #[tokio::test]
    async fn word_that_is_late_is_waited_for() {
        let (news, view) = watch::channel(seen(None, true));
        let network = "n1".parse().unwrap();
        let late = async {
            tokio::task::yield_now().await;
            news.send_replace(seen(Some(web()), true));
        };
        let (found, ()) = tokio::join!(container(view, "web", &network), late);
        let (info, requested) = found.unwrap();
        assert_eq!((info.container_id.as_str(), requested.options["landline.id"].as_str()), ("c1", "shop"));
    }

    #[tokio::test]
    async fn who_is_not_known_is_not_waited_for_long() {
        let network = "n1".parse().unwrap();
        let (_news, view) = watch::channel(seen(Some(("c1".into(), Sketch::Name("web".into()))), true));
        assert_eq!(container(view, "web", &network).await, None);
        let (_news, away) = watch::channel(seen(None, false));
        assert_eq!(container(away, "web", &network).await, None);
    }
}
