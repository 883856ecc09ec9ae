//! A network whose containers' answers would be dropped on the way to the host is refused.

use std::sync::Arc;

use landline_engine::{Admission, NetworkRequest, Refusal, Verdict};
use landline_links::mark::is_implicit;
use landline_links::{Namespaces, Shim, blocking, facts_of};

use super::executor::is_strict;
use super::plan::strict_filter;

/// What the containers answer would be dropped on the way to the host.
#[derive(Debug, thiserror::Error)]
#[error("leave out host_access and decide with landline host-access enable: {0}")]
pub struct StrictFilter(String);

/// Looks at the reverse path filter of a NIC, which only the user may change, before there is a network with `host_access`.
pub struct FilterCheck(Arc<dyn Namespaces>);

impl FilterCheck {
    /// Looks at the settings of this host.
    pub fn new(namespaces: Arc<dyn Namespaces>) -> Self {
        Self(namespaces)
    }
}

impl Admission for FilterCheck {
    fn network<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let options = &network.record.options;
            let concerned = options.host_access && facts_of(options.mode).shim == Some(Shim::Ipvlan);
            let Some(parent) = network.parent.filter(|_| concerned && !is_implicit(&network.record.id))
            else {
                return Ok(());
            };
            let (namespaces, name) = (self.0.clone(), parent.name.clone());
            let strict = blocking(move || is_strict(&*namespaces, &name)).await;
            if strict { Err(Refusal::new(StrictFilter(strict_filter(&parent.name)))) } else { Ok(()) }
        })
    }
}
