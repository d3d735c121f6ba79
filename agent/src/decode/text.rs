//! Text from hardware: padded, sometimes with control characters, of any length.

/// The longest text of one fact. SMBIOS strings are at most 64 characters by its specification and udev's
/// about 100; four times that keeps every honest one whole and a broken one harmless.
pub const MAX_TEXT_BYTES: usize = 256;

/// Trimmed, without control characters, at most [`MAX_TEXT_BYTES`] long; `None` if nothing is left.
#[must_use]
pub fn clean(raw: &str) -> Option<String> {
    let mut text = String::new();
    for character in raw.trim_matches(is_padding).chars().filter(|character| !character.is_control()) {
        if text.len() + character.len_utf8() > MAX_TEXT_BYTES {
            break;
        }
        text.push(character);
    }
    let kept = text.trim_end().len();
    text.truncate(kept);
    (!text.is_empty()).then_some(text)
}

/// The same from bytes; what is not UTF-8 becomes U+FFFD.
#[must_use]
pub fn clean_bytes(raw: &[u8]) -> Option<String> {
    clean(&String::from_utf8_lossy(raw))
}

fn is_padding(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_and_control_characters_go() {
        assert_eq!(clean("  Shanghai \u{1b}Zhaoxin \0").as_deref(), Some("Shanghai Zhaoxin"));
        assert_eq!(clean(" \t\0"), None);
    }

    proptest! {
        #[test]
        fn any_text_comes_out_short_and_printable(raw in "\\PC{0,400}|.{0,400}") {
            if let Some(text) = clean(&raw) {
                prop_assert!(text.len() <= MAX_TEXT_BYTES);
                prop_assert!(!text.chars().any(char::is_control));
                prop_assert_eq!(clean(&text), Some(text.clone()));
            }
        }
    }
}
