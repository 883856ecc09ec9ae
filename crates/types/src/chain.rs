//! An error with its causes, as it is printed at the edge.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its sources on one line, joined by ": ". A source that is in the text already is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    fn chained(texts: &[&'static str]) -> String {
        let linked = texts.iter().rev().fold(None, |source, text| Some(Box::new(Link { text, source })));
        linked.map_or_else(String::new, |first| chain(&*first))
    }

    #[test]
    fn nothing_is_said_twice() {
        assert_eq!(chained(&["cannot do it", "it is not there"]), "cannot do it: it is not there");
        assert_eq!(chained(&["no: it is not there", "it is not there", "gone"]), "no: it is not there: gone");
        assert_eq!(chained(&["the disk is full", "full"]), "the disk is full");
    }
}
