//! What is known of the host's rules, so that nobody looks at them where a look would find what the last one left.
//!
//! A look takes some runs of `iptables`, while a container waits for its first packet to be let through.

use crate::exception_rules::Wanted;
use crate::forwarding::{Forwarding, RuleChanges};

/// What a look was made with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) wanted: Wanted,
    /// Whether bridged packets met the firewall, which is changed without a word.
    pub(super) bridged: bool,
}

/// The host's rules since the last look.
pub(super) struct Ruleset {
    /// Hears of changes, as long as something is to be let through.
    monitor: Option<Box<dyn RuleChanges>>,
    /// The last look, if it left everything as it is to be and nothing was heard since.
    last: Option<Look>,
}

impl Ruleset {
    /// Nobody listens, and nobody has looked.
    pub(super) const fn unknown() -> Self {
        Self { monitor: None, last: None }
    }

    /// Listens from now on if something is to be let through, else no more. Whether it has just begun: what was done until
    /// then was not heard.
    pub(super) fn listen(&mut self, open: bool, forwarding: &dyn Forwarding) -> bool {
        let begins = open && self.monitor.is_none();
        if begins {
            self.monitor = Some(forwarding.follow());
        }
        if begins || !open {
            self.last = None;
        }
        self.monitor.take_if(|_| !open);
        begins
    }

    /// Returns when something is changed. Cancel safe.
    pub(super) async fn changed(&mut self) {
        match &mut self.monitor {
            Some(monitor) => monitor.changed().await,
            None => std::future::pending().await,
        }
        self.last = None;
    }
}

impl Ruleset {
    /// Whether this look would find what the last one left. `all_heard`: the host has no rules that are changed without a word.
    pub(super) fn is_as_after(&mut self, look: &Look, all_heard: bool) -> bool {
        // What was heard until now is seen by the look that follows.
        let changed = self.monitor.as_mut().is_none_or(|monitor| monitor.has_changed());
        if changed || !all_heard || self.last.as_ref() != Some(look) {
            self.last = None;
        }
        self.last.is_some()
    }

    /// It left everything as it is to be.
    pub(super) fn looked(&mut self, look: Look) {
        self.last = self.monitor.is_some().then_some(look);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;
    use crate::OpenBridges;

    /// Hears this many changes at once.
    struct Changes(usize);

    impl RuleChanges for Changes {
        fn has_changed(&mut self) -> bool {
            std::mem::take(&mut self.0) > 0
        }

        fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

    fn look(bridge: &str, bridged: bool) -> Look {
        let asked = [bridge.parse().unwrap()].into();
        Look {
            wanted: Wanted::new([], [], &OpenBridges { asked, ..OpenBridges::default() }, &[].into()),
            bridged,
        }
    }

    #[test]
    fn the_same_look_is_made_again_only_after_something_may_have_changed() {
        let mut rules = Ruleset { monitor: Some(Box::new(Changes(0))), last: None };
        assert!(!rules.is_as_after(&look("br0", false), true), "nobody has looked yet");
        rules.looked(look("br0", false));
        assert!((0..3).all(|_| rules.is_as_after(&look("br0", false), true)));

        rules.monitor = Some(Box::new(Changes(2)));
        assert!(!rules.is_as_after(&look("br0", false), true));
        assert!(!rules.is_as_after(&look("br0", false), true), "the look for it may have failed");
        rules.looked(look("br0", false));
        assert!(rules.is_as_after(&look("br0", false), true));

        for (other, all_heard) in
            [(look("br0", true), true), (look("br1", false), true), (look("br0", false), false)]
        {
            assert!(!rules.is_as_after(&other, all_heard), "{other:?} {all_heard}");
            rules.looked(look("br0", false));
        }
        rules.monitor = None;
        assert!(!rules.is_as_after(&look("br0", false), true), "nobody listens");
        rules.looked(look("br0", false));
        rules.monitor = Some(Box::new(Changes(0)));
        assert!(!rules.is_as_after(&look("br0", false), true), "nobody listened");
    }
}
