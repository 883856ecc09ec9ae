//! One text that somebody wrote, as words. No shell: nothing is expanded, substituted or run.

use super::error::AttachError;

/// The longest text, in bytes.
const MAX_TEXT: usize = 4096;

/// The most words.
const MAX_WORDS: usize = 64;

/// Refuses what is longer than anybody writes by hand, or has characters that no word has.
pub(crate) fn refuse_long(words: &[String]) -> Result<(), AttachError> {
    if words.len() > MAX_WORDS || words.iter().map(String::len).sum::<usize>() > MAX_TEXT {
        return Err(AttachError::Text(
            "that is too long for an attachment: 4096 characters in 64 words at most",
        ));
    }
    if words.iter().any(|word| word.chars().any(char::is_control)) {
        return Err(AttachError::Text("it has a line break or another control character; write one line"));
    }
    Ok(())
}

/// The words of a text, split at blanks. `"…"` and `'…'` keep blanks together; nothing else has a meaning of its own.
///
/// # Errors
/// More than 4096 bytes or 64 words, control characters, or a quote that does not end.
pub fn split_words(text: &str) -> Result<Vec<String>, AttachError> {
    if text.len() > MAX_TEXT {
        return Err(AttachError::Text(
            "that is too long for an attachment: 4096 characters in 64 words at most",
        ));
    }
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.trim().chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(AttachError::Text("a quote is opened and never closed"));
    }
    words.extend(word);
    refuse_long(&words)?;
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_part_and_quotes_join() {
        for (text, words) in [
            ("  br0 dhcp\t ", vec!["br0", "dhcp"]),
            ("br0 'dhcp:-x hostname:web'", vec!["br0", "dhcp:-x hostname:web"]),
            ("a\"b c\"d ''", vec!["ab cd", ""]),
            ("$(id) `id` ;|&<>\\", vec!["$(id)", "`id`", ";|&<>\\"]),
            ("", vec![]),
        ] {
            assert_eq!(split_words(text).unwrap(), words, "{text:?}");
        }
    }

    #[test]
    fn what_nobody_writes_is_refused() {
        for text in ["br0\nrm -rf /", "a 'b", "a\0b", &"a".repeat(10_000), &"a ".repeat(100)] {
            assert!(split_words(text).is_err(), "{:?}", text.get(..20));
        }
    }
}
