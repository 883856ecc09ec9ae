//! What is wrong with an attachment that somebody wrote.

use crate::error::OptionError;
use crate::macros::MacroError;

/// Why a text is not an attachment. Each message says what to write instead; text from outside appears in it quoted
/// and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// Nothing was written.
    #[error("a parent is missing: write an interface of this host, like br0 or eth0")]
    NoParent,
    /// No container was named.
    #[error("a container is missing: write its name or id, pid:NUMBER, or netns:/PATH")]
    NoTarget,
    /// A form of pipework that ends too early.
    #[error("{what} is missing; write {usage}")]
    Missing {
        /// What should come next.
        what: &'static str,
        /// The whole form.
        usage: &'static str,
    },
    /// A word that has no meaning where it stands.
    #[error("{word:?} is not {what}; {hint}")]
    Word {
        /// As it was written, cut.
        word: String,
        /// What it should have been.
        what: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
    /// More than there is a meaning for.
    #[error("{0:?} is one word too many")]
    TooMany(String),
    /// Two things that exclude each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// One setting twice.
    #[error("{0} is given twice; give it once")]
    Twice(&'static str),
    /// A network or endpoint option.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The whole text.
    #[error("{0}")]
    Text(&'static str),
    /// A macro without a meaning.
    #[error(transparent)]
    Macro(#[from] MacroError),
    /// It names another container than the one it is written on.
    #[error("{word:?} is not the container this is written on; write @CONTAINER_NAME@ there")]
    OtherContainer {
        /// As it was written, cut.
        word: String,
    },
    /// An option that no permission gives to containers.
    #[error("{option} is the administrator's to set; remove it")]
    Reserved {
        /// The option, cut.
        option: String,
    },
    /// Something containers may not ask for.
    #[error("{0}")]
    NotHere(&'static str),
}

impl AttachError {
    pub(crate) fn word(word: &str, what: &'static str, hint: &'static str) -> Self {
        Self::Word { word: crate::error::cut(word), what, hint }
    }
}
