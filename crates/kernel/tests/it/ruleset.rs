//! Changes of the packet filter's rules.

use landline_kernel::{RulesetMonitor, nft};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::lab::{DEADLINE, lab};

/// Whoever makes a change and then asks somebody who listens need not wait until it has got about.
#[tokio::test]
async fn a_change_is_heard_of_as_soon_as_it_is_made() {
    let (ns, _) = lab();
    let runtime = Handle::current();
    let mut monitor = ns
        .run(|| {
            let _runtime = runtime.enter();
            RulesetMonitor::follow()
        })
        .unwrap();
    let change = || ns.run(|| nft::apply(&nft::table("ip", "t", "")).unwrap()).unwrap();
    assert!(!monitor.has_changed());
    change();
    assert!(monitor.has_changed());
    assert!(!monitor.has_changed(), "that was heard");
    change();
    timeout(DEADLINE, monitor.changed()).await.unwrap();
    assert!(!monitor.has_changed());
}
