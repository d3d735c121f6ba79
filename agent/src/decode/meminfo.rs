//! `/proc/meminfo`.

/// Bytes behind `key`, which the kernel writes as KiB though it says kB.
#[must_use]
pub fn bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_whole() {
        let text = "MemTotal:        8017960 kB\nSwapCached: 1 kB\nSwapTotal:       0 kB\n";
        assert_eq!(bytes(text, "MemTotal"), Some(8_017_960 * 1024));
        assert_eq!(bytes(text, "SwapTotal"), Some(0));
        assert_eq!(bytes(text, "Swap"), None);
        assert_eq!(bytes("MemTotal: many kB", "MemTotal"), None);
    }
}
