//! Text from devices, imports and forms is hostile: capped, normalised, stripped before it is kept.

use unicode_normalization::UnicodeNormalization;

/// Longest hardware or software name kept, in characters. SMBIOS strings are at most 64 bytes by practice,
/// SMART and EDID names shorter; a longer one is an attack or damage.
pub const NAME_CHARS: usize = 128;
/// Longest sentence kept, such as a problem's message.
pub const SENTENCE_CHARS: usize = 512;

/// `text` in Unicode normal form C, without control, bidirectional and invisible format characters, blanks
/// folded to single spaces, at most `max_chars` characters.
pub fn clean(text: &str, max_chars: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max_chars * 4));
    let mut count = 0;
    let mut blank = false;
    // Normal form C never needs more than a few characters of look-ahead, so the cap bounds the work too.
    for c in text.chars().take(max_chars.saturating_mul(8)).nfc() {
        if c.is_whitespace() || c.is_control() {
            blank = !kept.is_empty();
            continue;
        }
        if is_invisible(c) {
            continue;
        }
        if blank {
            if count + 1 >= max_chars {
                break;
            }
            kept.push(' ');
            count += 1;
            blank = false;
        }
        if count == max_chars {
            break;
        }
        kept.push(c);
        count += 1;
    }
    kept
}

/// [`clean`] to [`NAME_CHARS`]; `None` when nothing is left.
pub fn clean_name(text: &str) -> Option<String> {
    let kept = clean(text, NAME_CHARS);
    (!kept.is_empty()).then_some(kept)
}

/// `text` with full-width letters, digits and signs, as Chinese input methods make them, in their plain form.
pub fn half_width(text: &str) -> String {
    let plain = |c| match c {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    };
    text.chars().map(plain).collect()
}

/// Format characters that change how other text looks: bidirectional controls, zero-width ones, tags,
/// variation selectors, private use (Unicode general categories Cf, Co and neighbours).
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_direction_marks_are_gone() {
        assert_eq!(clean("a\u{202e}b\x1b[31m\0c\u{200b}d", 64), "ab [31m cd");
        assert_eq!(clean("  one \t\n two  ", 64), "one two");
        assert_eq!(clean_name("\u{202e}\n"), None);
    }

    #[test]
    fn the_cap_counts_characters() {
        assert_eq!(clean("梁河县第一中学", 4), "梁河县第");
        assert_eq!(clean("ab cd", 3), "ab");
    }

    proptest::proptest! {
        #[test]
        fn cleaned_text_is_short_and_stays_as_it_is(text in ".*", cap in 1_usize..40) {
            let once = clean(&text, cap);
            proptest::prop_assert!(once.chars().count() <= cap);
            proptest::prop_assert!(!once.chars().any(|c| c.is_control() || is_invisible(c)));
        }
    }
}
