//! Waiting for a condition. Sleeping and hoping is guessing; this looks until it sees or the time is up.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Between two looks: short beside anything a person would notice, long beside the cost of a look.
const PAUSE: Duration = Duration::from_millis(25);

/// Time for what happens at once on an idle machine: generous, because the machine may be busy with the
/// other tests.
pub const SOON: Duration = Duration::from_secs(30);

/// Looks until `look` succeeds and gives what it found. When the time is up, the error says `what` was waited
/// for and why the last look was not content.
///
/// ```
/// use bbt_tests::wait::{SOON, eventually};
///
/// let mut looks = 0;
/// let found = eventually(SOON, "the third look", || {
///     looks += 1;
///     anyhow::ensure!(looks == 3, "only {looks} so far");
///     Ok(looks)
/// });
/// assert_eq!(found.unwrap(), 3);
/// ```
pub fn eventually<T>(within: Duration, what: &str, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if Instant::now() >= deadline => {
                return Err(last).with_context(|| format!("waited {within:?} in vain for {what}; last seen"));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// This machine's date, as the programs under test have it, since 1970.
#[expect(clippy::disallowed_methods, reason = "tests of the real programs compare with the real date")]
pub fn since_1970() -> Result<Duration> {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).context("the clock is before 1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_tells_what_was_waited_for_and_what_was_seen_last() {
        let never = eventually(Duration::ZERO, "rain", || anyhow::bail!("blue sky") as Result<()>);
        let text = format!("{:#}", never.unwrap_err());
        assert_eq!(text, "waited 0ns in vain for rain; last seen: blue sky");
    }
}
