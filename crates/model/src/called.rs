//! What a container is called across its lives.

use std::fmt;

use crate::ContainerRecord;

/// What tells a container from others, whatever its id is this time: its name, or the place that an orchestrator keeps for it.
/// A name and a place never mean the same container, though they may read the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Called<'a> {
    /// How it reads: from it identities are derived.
    pub text: &'a str,
    /// Whether it is a place.
    is_slot: bool,
}

impl<'a> Called<'a> {
    /// What a container of this name and place is called.
    pub fn of(name: &'a str, slot: Option<&'a str>) -> Self {
        Self { text: slot.unwrap_or(name), is_slot: slot.is_some() }
    }
}

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl ContainerRecord {
    /// What it is called.
    pub fn called(&self) -> Called<'_> {
        Called::of(&self.name, self.slot.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_no_name() {
        let task =
            |name: &str| ContainerRecord { slot: Some("web.1".into()), ..ContainerRecord::named(name) };
        assert_eq!(task("web.1.abc").called(), task("web.1.def").called());
        assert_ne!(task("web.1.abc").called(), ContainerRecord::named("web.1").called());
        assert_eq!(ContainerRecord::named("web").called().text, "web");
    }
}
