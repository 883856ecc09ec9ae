//! Whether a container's default route is still Landline's, and what becomes of it.
//!
//! A VPN in the container replaces the default route, a kill switch removes it, Docker moves it to another network
//! (`--gw-priority`), an attachment takes it. None of that is undone: the route is changed only while the one that is there
//! is Landline's (by its link and its mark, or the one that Docker was told to set), and only because what servers or the
//! administrator say of it has changed. The next start of the container is a new beginning.

use landline_model::{DefaultRecord, Holding};

use super::NextHop;

/// A default route of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenDefault {
    /// Whether it goes out through the endpoint's link.
    pub(crate) own_link: bool,
    /// Its next hop.
    pub(crate) hop: NextHop,
    /// Who set it.
    pub(crate) by: SetBy,
}

/// Who set a route, as far as that can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetBy {
    /// It has Landline's mark.
    Landline,
    /// It has the protocol and the metric of routes that Docker sets, as do those of `ip route add`.
    Docker,
    /// Anybody else.
    Other,
}

/// When it is looked at, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Docker may not be done with the start.
    pub(crate) setting_up: bool,
    /// The link's address was not there, so what there was went with it.
    pub(crate) fresh: bool,
    /// Others than the lease set marked routes on this link (attachments).
    pub(crate) shared: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Keep,
    /// Look again once Docker is done.
    Wait,
    /// Put a marked one with this next hop in the place of the one with this number.
    Replace(usize, NextHop),
    /// Remove the one with this number.
    Remove(usize),
    /// Set one with this next hop.
    Add(NextHop),
}

/// What is to be done about the default route, and whose it is once that is done. `wanted`: the next hop that it should
/// have by what servers and the administrator say.
pub(crate) fn decide(
    record: &DefaultRecord,
    seen: &[SeenDefault],
    wanted: Option<NextHop>,
    moment: Moment,
) -> (Step, Holding) {
    if let Some((at, mine)) = own(record, seen, moment.shared) {
        return match wanted {
            None => (Step::Remove(at), Holding::Parked),
            Some(hop) if mine.hop == hop && mine.by == SetBy::Landline => (Step::Keep, Holding::Ours),
            Some(hop) => (Step::Replace(at, hop), Holding::Ours),
        };
    }
    let went_along = moment.fresh && matches!(record.holding, Holding::Ours | Holding::Told);
    match (record.holding, wanted) {
        (Holding::Told, _) if moment.setting_up => (Step::Wait, Holding::Told),
        (Holding::Open | Holding::Parked, None) => (Step::Keep, record.holding),
        (Holding::Open | Holding::Parked, Some(hop)) if seen.is_empty() => (Step::Add(hop), Holding::Ours),
        (_, Some(hop)) if went_along && seen.is_empty() => (Step::Add(hop), Holding::Ours),
        _ => (Step::Keep, Holding::Foreign),
    }
}

/// The one that is Landline's, with its number.
pub(crate) fn own<'a>(
    record: &DefaultRecord,
    seen: &'a [SeenDefault],
    shared: bool,
) -> Option<(usize, &'a SeenDefault)> {
    seen.iter().enumerate().find(|(_, route)| {
        route.own_link
            && match route.by {
                SetBy::Landline => !shared || route.hop.router() == record.set,
                SetBy::Docker => match record.holding {
                    Holding::Unknown => true,
                    _ => record.told.is_some() && route.hop.router() == record.told,
                },
                SetBy::Other => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const A: NextHop = NextHop::Router(Ipv4Addr::new(192, 0, 2, 1));
    const B: NextHop = NextHop::Router(Ipv4Addr::new(192, 0, 2, 2));
    const LINK: NextHop = NextHop::Link;
    const LATER: Moment = Moment { setting_up: false, fresh: false, shared: false };
    const STARTING: Moment = Moment { setting_up: true, ..LATER };
    const FRESH: Moment = Moment { fresh: true, ..LATER };
    const SHARED: Moment = Moment { shared: true, ..LATER };

    fn here(hop: NextHop, by: SetBy) -> SeenDefault {
        SeenDefault { own_link: true, hop, by }
    }

    const TUNNEL: SeenDefault = SeenDefault { own_link: false, hop: NextHop::Link, by: SetBy::Docker };

    fn record(holding: Holding) -> DefaultRecord {
        DefaultRecord { holding, told: A.router(), set: A.router() }
    }

    fn decided(
        holding: Holding,
        seen: &[SeenDefault],
        wanted: Option<NextHop>,
        moment: Moment,
    ) -> (Step, Holding) {
        decide(&record(holding), seen, wanted, moment)
    }

    #[test]
    fn dockers_is_taken_over_and_follows_what_is_said() {
        use Holding::{Ours, Parked, Told};
        let (docker, ours) = (here(A, SetBy::Docker), here(A, SetBy::Landline));
        assert_eq!(decided(Told, &[], Some(A), STARTING), (Step::Wait, Told));
        assert_eq!(decided(Told, &[TUNNEL, docker], Some(A), STARTING), (Step::Replace(1, A), Ours));
        assert_eq!(decided(Ours, &[ours], Some(A), LATER), (Step::Keep, Ours));
        assert_eq!(decided(Ours, &[ours], Some(B), LATER), (Step::Replace(0, B), Ours));
        assert_eq!(decided(Ours, &[ours], Some(LINK), LATER), (Step::Replace(0, LINK), Ours));
        // Nobody speaks of one any more, and then somebody does.
        assert_eq!(decided(Ours, &[ours], None, LATER), (Step::Remove(0), Parked));
        assert_eq!(decided(Parked, &[], None, LATER), (Step::Keep, Parked));
        assert_eq!(decided(Parked, &[], Some(B), LATER), (Step::Add(B), Ours));
    }

    #[test]
    fn one_that_another_replaced_or_removed_stays_so() {
        use Holding::{Foreign, Open, Ours, Parked, Told, Unknown};
        for holding in [Unknown, Told, Ours, Parked, Foreign, Open] {
            // A tunnel's; one through the link itself that Landline did not set; one of a router daemon.
            for there in [TUNNEL, here(B, SetBy::Docker), here(A, SetBy::Other)] {
                if holding == Unknown && there.by == SetBy::Docker && there.own_link {
                    continue;
                }
                for wanted in [Some(A), Some(B), Some(LINK), None] {
                    let (step, now) = decided(holding, &[there], wanted, LATER);
                    assert_eq!(step, Step::Keep, "{holding:?} {there:?} {wanted:?}");
                    assert!(wanted.is_none() || now == Foreign, "{holding:?} {now:?}");
                }
            }
        }
        // A kill switch.
        for holding in [Unknown, Told, Ours, Foreign] {
            assert_eq!(decided(holding, &[], Some(A), LATER), (Step::Keep, Foreign), "{holding:?}");
            assert_eq!(decided(holding, &[], Some(B), LATER), (Step::Keep, Foreign), "{holding:?}");
        }
        // Even if the address goes and comes back meanwhile.
        assert_eq!(decided(Foreign, &[], Some(A), FRESH), (Step::Keep, Foreign));
        assert_eq!(decided(Foreign, &[], None, FRESH), (Step::Keep, Foreign));
    }

    #[test]
    fn docker_may_choose_this_network_again() {
        use Holding::{Foreign, Ours};
        let docker = here(A, SetBy::Docker);
        assert_eq!(decided(Foreign, &[docker], Some(A), LATER), (Step::Replace(0, A), Ours));
        // With the gateway that it was told at the start, which is another by now.
        assert_eq!(decided(Foreign, &[docker], Some(B), LATER), (Step::Replace(0, B), Ours));
        // What an attachment had replaced is put back as it was.
        assert_eq!(decided(Foreign, &[here(A, SetBy::Landline)], Some(A), LATER), (Step::Keep, Ours));
    }

    #[test]
    fn what_went_with_the_address_or_the_link_comes_back_with_it() {
        use Holding::{Foreign, Open, Ours, Parked};
        for holding in [Ours, Parked] {
            assert_eq!(decided(holding, &[], Some(A), FRESH), (Step::Add(A), Ours));
            assert_eq!(decided(holding, &[TUNNEL], Some(A), FRESH), (Step::Keep, Foreign));
        }
        // A first address, late: the first network that has one.
        assert_eq!(decided(Open, &[], Some(A), FRESH), (Step::Add(A), Ours));
        assert_eq!(decided(Open, &[TUNNEL], Some(A), FRESH), (Step::Keep, Foreign));
    }

    #[test]
    fn a_record_of_before_knows_dockers_by_its_link() {
        let before = DefaultRecord::default();
        let decided = |seen: &[SeenDefault]| decide(&before, seen, Some(A), LATER);
        assert_eq!(decided(&[here(B, SetBy::Docker)]), (Step::Replace(0, A), Holding::Ours));
        assert_eq!(decided(&[TUNNEL]), (Step::Keep, Holding::Foreign));
    }

    #[test]
    fn on_an_attachments_link_others_are_marked_as_well() {
        use Holding::{Foreign, Ours};
        let (lease, by_hand) = (here(A, SetBy::Landline), here(B, SetBy::Landline));
        assert_eq!(decided(Ours, &[by_hand], Some(A), SHARED), (Step::Keep, Foreign));
        assert_eq!(decided(Ours, &[lease], Some(B), SHARED), (Step::Replace(0, B), Ours));
    }
}
