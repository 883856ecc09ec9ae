//! Text from outside, fit to be shown.

use std::fmt::{self, Write as _};

/// Text that somebody else has chosen (a machine on the LAN, a container, a user of a switch), as it goes into a line of a
/// log, onto a terminal or into a file: what would move the cursor, change colours, end the line, or show the text in another order
/// than it is in, is escaped. Escapes are those of JSON (`\n`, `\u001b`), so that text in a JSON document stays what it is.
///
/// What is shown by `Display` is escaped; with a precision (`{:.64}`) it is cut to as many bytes, at a character's end.
#[derive(Debug, Clone, Copy)]
pub struct Shown<T>(pub T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = f.precision().unwrap_or(usize::MAX);
        let mut escape = Escape { to: f, room };
        // An error of the escape's own: there is no more room.
        match write!(escape, "{}", self.0) {
            Err(_) if escape.room == 0 => Ok(()),
            done => done,
        }
    }
}

struct Escape<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    room: usize,
}

impl fmt::Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let length = if is_plain(character) { character.len_utf8() } else { escaped(character).len() };
            if length > self.room {
                self.room = 0;
                return Err(fmt::Error);
            }
            self.room -= length;
            if is_plain(character) {
                self.to.write_char(character)?;
            } else {
                self.to.write_str(&escaped(character))?;
            }
        }
        Ok(())
    }
}

/// Whether a character stands for itself only, wherever it is shown.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn escaped(character: char) -> String {
    match character {
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        _ => character.encode_utf16(&mut [0; 2]).iter().fold(String::new(), |mut text, unit| {
            let _ = write!(text, "\\u{unit:04x}");
            text
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_plays_with_a_terminal_is_escaped() {
        let shown = |text: &str| Shown(text).to_string();
        assert_eq!(shown("caf\u{e9} \\n \u{1f980}"), "caf\u{e9} \\n \u{1f980}");
        assert_eq!(shown("a\nb\r\tc"), "a\\nb\\r\\tc");
        assert_eq!(shown("\x1b[31mred\x7f\u{9b}0m\0"), "\\u001b[31mred\\u007f\\u009b0m\\u0000");
        assert_eq!(shown("\u{202e}gnp.exe\u{2028}\u{feff}"), "\\u202egnp.exe\\u2028\\ufeff");
        assert_eq!(shown("\u{e0041}"), "\\udb40\\udc41");
        assert_eq!(
            format!("{:.5}|{:.6}|{:.0}", Shown("ab\x1bc"), Shown("\u{e9}\u{e9}\u{e9}\u{e9}"), Shown("a")),
            "ab|\u{e9}\u{e9}\u{e9}|"
        );
    }

    proptest! {
        #[test]
        fn it_is_one_line_and_the_same_again_once_shown(text: String, room in 0usize..40) {
            let shown = Shown(&text).to_string();
            prop_assert!(shown.chars().all(is_plain));
            prop_assert_eq!(Shown(&shown).to_string(), shown.clone());
            let cut = format!("{:.*}", room, Shown(&text));
            prop_assert!(cut.len() <= room && shown.starts_with(&cut));
        }

        /// In a document of JSON it means what it meant.
        #[test]
        fn a_document_stays_what_it_is(text: String) {
            let document = serde_json::to_string(&text).unwrap();
            let read: String = serde_json::from_str(&Shown(&document).to_string()).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
