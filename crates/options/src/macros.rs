//! docker-pipework's macros: words that stand for what is known of the container they are written on.

use crate::error::cut;

/// What the macros of one container stand for.
#[derive(Debug, Clone, Copy, Default)]
pub struct MacroContext<'a> {
    /// `@CONTAINER_NAME@`, without the slash.
    pub name: &'a str,
    /// `@CONTAINER_ID@`, of which there are twelve digits.
    pub id: &'a str,
    /// `@HOSTNAME@`.
    pub hostname: &'a str,
    /// `@COMPOSE_PROJECT_NAME@`: the label `com.docker.compose.project`.
    pub project: &'a str,
}

/// A macro that cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacroError {
    /// The container has nothing it could stand for.
    #[error("@{0}@ stands for nothing here: this container has none")]
    Empty(&'static str),
    /// There is no such macro.
    #[error(
        "@{0}@ is no macro; there are @CONTAINER_NAME@, @CONTAINER_ID@, @HOSTNAME@, @INSTANCE@ and \
         @COMPOSE_PROJECT_NAME@"
    )]
    Unknown(String),
}

impl MacroContext<'_> {
    /// The word with its macros replaced. What they stand for stays within the word, whatever is in it, and is not
    /// looked at again.
    ///
    /// # Errors
    /// A macro nobody knows, or one with nothing behind it.
    pub fn expand(&self, word: &str) -> Result<String, MacroError> {
        let (mut out, mut rest) = (String::new(), word);
        while let Some(start) = rest.find('@') {
            let (before, after) = (&rest[..start], &rest[start + 1..]);
            out.push_str(before);
            let name = after.find('@').map(|end| &after[..end]);
            // `192.0.2.5/24@192.0.2.1` and `MAC@VLAN` have one that begins no macro.
            let macro_like =
                |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            if let Some(name) = name.filter(macro_like) {
                out.push_str(&self.value(name)?);
                rest = &after[name.len() + 1..];
            } else {
                out.push('@');
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str) -> Result<String, MacroError> {
        let (name, value): (&'static str, String) = match name {
            "CONTAINER_NAME" => ("CONTAINER_NAME", self.name.to_owned()),
            "CONTAINER_ID" => ("CONTAINER_ID", self.id.chars().take(12).collect()),
            "HOSTNAME" => ("HOSTNAME", self.hostname.to_owned()),
            // A container that has no number has none of these instances, and its address a gap in that place.
            "INSTANCE" => return Ok(last_number(self.name).to_owned()),
            "COMPOSE_PROJECT_NAME" => ("COMPOSE_PROJECT_NAME", self.project.to_owned()),
            other => return Err(MacroError::Unknown(cut(other))),
        };
        if value.is_empty() { Err(MacroError::Empty(name)) } else { Ok(value) }
    }
}

/// The last run of digits in a name; empty if there is none.
fn last_number(name: &str) -> &str {
    let Some(last) = name.rfind(|c: char| c.is_ascii_digit()) else { return "" };
    let start = name[..last].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| {
        // The character before the digits may be of several bytes.
        at + name[at..].chars().next().map_or(0, char::len_utf8)
    });
    &name[start..=last]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEB: MacroContext<'_> =
        MacroContext { name: "prod2_app_12", id: "0123456789abcdef0123", hostname: "web", project: "prod2" };

    #[test]
    fn all_of_them() {
        for (word, meaning) in [
            ("@CONTAINER_NAME@", "prod2_app_12"),
            ("@CONTAINER_ID@", "0123456789ab"),
            ("@HOSTNAME@.@COMPOSE_PROJECT_NAME@", "web.prod2"),
            ("192.0.2.@INSTANCE@/24@192.0.2.1", "192.0.2.12/24@192.0.2.1"),
            ("U:@CONTAINER_NAME@@12", "U:prod2_app_12@12"),
            ("nothing", "nothing"),
            ("a@b@c", "a@b@c"),
            ("@", "@"),
        ] {
            assert_eq!(WEB.expand(word).unwrap(), meaning, "{word}");
        }
        assert_eq!(WEB.expand("@HOST_NAME@"), Err(MacroError::Unknown("HOST_NAME".into())));
        let bare = MacroContext { name: "web", ..MacroContext::default() };
        assert_eq!(bare.expand("@HOSTNAME@"), Err(MacroError::Empty("HOSTNAME")));
        assert_eq!(bare.expand("x@INSTANCE@y").unwrap(), "xy");
    }

    #[test]
    fn what_they_stand_for_is_not_read_again() {
        let hostile = MacroContext { hostname: "@CONTAINER_NAME@ $(id)\n", ..WEB };
        assert_eq!(hostile.expand("@HOSTNAME@").unwrap(), "@CONTAINER_NAME@ $(id)\n");
    }

    #[test]
    fn the_last_number_of_a_name() {
        for (name, number) in
            [("proj-web-1", "1"), ("prod2_app_12", "12"), ("none", ""), ("7", "7"), ("é5é", "5")]
        {
            assert_eq!(last_number(name), number, "{name}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(name: String, word: String) {
            let context = MacroContext { name: &name, id: &name, hostname: &name, project: &name };
            let _ = context.expand(&word);
            prop_assert!(last_number(&name).bytes().all(|b| b.is_ascii_digit()));
        }
    }
}
