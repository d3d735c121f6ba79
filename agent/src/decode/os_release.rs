//! `/etc/os-release`: shell assignments, values bare or quoted.

use super::text;

/// The value of `key`, unquoted.
#[must_use]
pub fn value(file: &str, key: &str) -> Option<String> {
    let raw = file.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    text::clean(&unquote(raw.trim()))
}

fn unquote(raw: &str) -> String {
    let Some(quote) = raw.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return raw.to_owned();
    };
    let mut value = String::new();
    let mut characters = raw.chars().skip(1);
    while let Some(character) = characters.next() {
        match character {
            '\\' if quote == '"' => value.extend(characters.next()),
            end if end == quote => break,
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_are_taken_off() {
        let file = "# comment\nNAME=\"UnionTech OS \\\"Desktop\\\"\"\nVERSION_ID='20'\nID=uos\nEMPTY=\"\"\n";
        assert_eq!(value(file, "NAME").as_deref(), Some("UnionTech OS \"Desktop\""));
        assert_eq!(value(file, "VERSION_ID").as_deref(), Some("20"));
        assert_eq!(value(file, "ID").as_deref(), Some("uos"));
        assert_eq!(value(file, "VERSION"), None);
        assert_eq!(value(file, "EMPTY"), None);
    }
}
