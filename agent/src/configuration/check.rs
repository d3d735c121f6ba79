//! Whether a configuration can be taken: the first value that cannot be is named, with the reason.

use bbt_proto::report::v1 as wire;

use crate::{
    config::{FRAME_MIN_SECS, INTERVAL_MAX_SECS, SAMPLE_MIN_SECS, SPOOL_MAX_AGE_DAYS, SPOOL_MIN_BYTES},
    identity::clock::Stamp,
};

const DAY_SECS: u64 = 24 * 3_600;
/// Each inventory runs all collectors.
const INVENTORY_MIN_SECS: u64 = 3_600;
/// A part that was replaced is noticed within a week.
const INVENTORY_MAX_SECS: u64 = 7 * DAY_SECS;
/// The spool may take one part in so many of the disk it is on: a set that is full for our sake cannot teach.
const SPOOL_PART_OF_DISK: u64 = 2;
/// A look that somebody forgot ends by then; the minute is for clocks.
const LIVE_MAX_SECS: i64 = 30 * 60 + 60;
/// Beyond it there is nothing to look at live.
const LIVE_INTERVAL_MAX_SECS: u64 = 300;
/// A controller tells of two weeks; the third is for a day's difference and its own changes.
const LESSONS_AHEAD_SECS: i64 = 21 * DAY_SECS as i64;
/// Twelve lessons on each of those days.
const LESSONS: usize = 21 * 12;
/// A room has a handful of devices that ask for a password.
const SECRETS: usize = 64;
/// Passwords and keys have some dozens of bytes.
const SECRET_BYTES: usize = 4_096;
/// Longest name of a secret.
const SECRET_NAME_BYTES: usize = 256;

/// The first value that cannot be taken.
pub(super) fn check(
    config: &wire::Config,
    now: &Stamp,
    disk_bytes: Option<u64>,
) -> Result<(), wire::Rejected> {
    check_values(&config.values.unwrap_or_default(), disk_bytes)?;
    check_lessons(&config.lessons, now)?;
    if let Some(live) = &config.live {
        check_live(live, now)?;
    }
    check_secrets(&config.secrets)
}

fn check_values(values: &wire::Values, disk_bytes: Option<u64>) -> Result<(), wire::Rejected> {
    let secs = |value: Option<u32>| value.map(u64::from);
    bounded("sample_interval_secs", secs(values.sample_interval_secs), SAMPLE_MIN_SECS, INTERVAL_MAX_SECS)?;
    bounded("frame_interval_secs", secs(values.frame_interval_secs), FRAME_MIN_SECS, INTERVAL_MAX_SECS)?;
    let inventory = secs(values.inventory_interval_secs);
    bounded("inventory_interval_secs", inventory, INVENTORY_MIN_SECS, INVENTORY_MAX_SECS)?;
    bounded("spool_max_bytes", values.spool_max_bytes, SPOOL_MIN_BYTES, i64::MAX as u64)?;
    if let (Some(bytes), Some(disk)) = (values.spool_max_bytes, disk_bytes)
        && bytes > disk / SPOOL_PART_OF_DISK
    {
        return rejected(
            "spool_max_bytes",
            format!("{bytes} bytes are more than half of the disk that the spool is on, which has {disk}"),
        );
    }
    let age = secs(values.spool_max_age_secs);
    bounded("spool_max_age_secs", age, DAY_SECS, SPOOL_MAX_AGE_DAYS * DAY_SECS)
}

fn check_lessons(lessons: &[wire::Span], now: &Stamp) -> Result<(), wire::Rejected> {
    if lessons.len() > LESSONS {
        return rejected("lessons", format!("{} spans are more than {LESSONS}", lessons.len()));
    }
    let ahead = now.guarded_micros.div_euclid(1_000_000).saturating_add(LESSONS_AHEAD_SECS);
    for span in lessons {
        let length = span.to_unix_secs.saturating_sub(span.from_unix_secs);
        if !(1..=DAY_SECS as i64).contains(&length) {
            return rejected("lessons", format!("a span of {length} s is no lesson"));
        }
        // A device whose clock no controller set yet cannot tell what is far ahead.
        if now.signed && span.to_unix_secs > ahead {
            return rejected("lessons", format!("{} is more than three weeks ahead", span.to_unix_secs));
        }
    }
    Ok(())
}

fn check_live(live: &wire::Live, now: &Stamp) -> Result<(), wire::Rejected> {
    let sample = u64::from(live.sample_interval_secs);
    bounded("live.sample_interval_secs", Some(sample), SAMPLE_MIN_SECS, LIVE_INTERVAL_MAX_SECS)?;
    let frame = u64::from(live.frame_interval_secs);
    bounded("live.frame_interval_secs", Some(frame), sample, LIVE_INTERVAL_MAX_SECS)?;
    let left = live.until_unix_secs.saturating_sub(now.guarded_micros.div_euclid(1_000_000));
    if left > LIVE_MAX_SECS {
        return rejected(
            "live.until_unix_secs",
            format!("a live look of {left} s is longer than 30 minutes"),
        );
    }
    Ok(())
}

/// Reasons name a secret and say nothing of its value.
fn check_secrets(secrets: &[wire::Secret]) -> Result<(), wire::Rejected> {
    if secrets.len() > SECRETS {
        return rejected("secrets", format!("{} secrets are more than {SECRETS}", secrets.len()));
    }
    for secret in secrets {
        if secret.name.is_empty() || secret.name.len() > SECRET_NAME_BYTES {
            return rejected("secrets", format!("a name of {} bytes is none", secret.name.len()));
        }
        if !(1..=SECRET_BYTES).contains(&secret.value.len()) {
            let length = secret.value.len();
            return rejected(
                "secrets",
                format!("{} has {length} bytes, not 1 to {SECRET_BYTES}", secret.name),
            );
        }
    }
    Ok(())
}

fn bounded(key: &str, value: Option<u64>, min: u64, max: u64) -> Result<(), wire::Rejected> {
    match value {
        Some(value) if !(min..=max).contains(&value) => {
            rejected(key, format!("{value} is not from {min} to {max}"))
        }
        _ => Ok(()),
    }
}

fn rejected(key: &str, reason: String) -> Result<(), wire::Rejected> {
    Err(wire::Rejected { key: key.to_owned(), reason })
}
