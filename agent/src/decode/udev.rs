//! `/run/udev/data/b8:0`: what udev found out about a device. Only lines `E:KEY=VALUE` matter here.

use super::text;

/// The value of `key`. Keys that end in `_ENC` hold blanks and more as `\x20`.
#[must_use]
pub fn value(file: &str, key: &str) -> Option<String> {
    let raw = file.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='))?;
    if key.ends_with("_ENC") { text::clean_bytes(&unescape(raw)) } else { text::clean(raw) }
}

fn unescape(raw: &str) -> Vec<u8> {
    let mut rest = raw.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        match hex_escape(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

fn hex_escape(bytes: &[u8]) -> Option<u8> {
    let digits = bytes.strip_prefix(b"\\x")?.get(..2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_encoded_model_keeps_its_blanks() {
        let file =
            "S:disk/by-id/x\nE:ID_MODEL=WDC_WD10EZEX\nE:ID_MODEL_ENC=WDC\\x20WD10EZEX-08WN4A0\\x20\\x20\n";
        assert_eq!(value(file, "ID_MODEL_ENC").as_deref(), Some("WDC WD10EZEX-08WN4A0"));
        assert_eq!(value(file, "ID_MODEL").as_deref(), Some("WDC_WD10EZEX"));
        assert_eq!(value(file, "ID_SERIAL"), None);
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(raw in ".{0,60}") {
            let _ = value(&format!("E:A_ENC={raw}"), "A_ENC");
        }
    }
}
