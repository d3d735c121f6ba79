//! `/proc/diskstats`: per block device, counters since the system started.

/// The kernel counts in these whatever the device's own sector size is.
const SECTOR_BYTES: u64 = 512;

/// Name, bytes read, bytes written. Lines of another form are left out.
#[must_use]
pub fn parse(text: &str) -> Vec<(String, u64, u64)> {
    text.lines().filter_map(line).collect()
}

/// `major minor name reads merged sectors ms writes merged sectors …`
fn line(line: &str) -> Option<(String, u64, u64)> {
    let fields: Vec<&str> = line.split_whitespace().take(10).collect();
    let sectors = |index: usize| fields.get(index)?.parse::<u64>().ok()?.checked_mul(SECTOR_BYTES);
    Some(((*fields.get(2)?).to_owned(), sectors(5)?, sectors(9)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_become_bytes_and_torn_lines_go() {
        let text = " 8 0 sda 10 0 200 5 4 0 100 3 0 8 8 0 0 0 0\n 8 1 sda1 10 0 200\n\nx\n";
        assert_eq!(parse(text), [("sda".to_owned(), 102_400, 51_200)]);
    }
}
