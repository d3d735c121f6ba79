//! What only the county can answer.

use std::sync::Arc;

use super::Check;
use crate::{
    identity::{
        clock::{Clock, Stamp},
        hello,
        keystore::Identity,
        trust,
    },
    platform::Platform,
    status::rfc3339,
    uplink::knock::knock,
};

/// A clock that is off by less does no harm to people who read it.
const CLOCK_SLACK_MICROS: u64 = 2 * 60 * 1_000_000;

const SET_CLOCK: &str = "set the clock; if it is wrong after each start, the board's battery is empty. Reports are \
    put in order all the same";

/// The device's clock beside the county's; where that does not answer, beside the last time it ever signed.
pub(super) async fn time(
    identity: &Identity,
    platform: &Arc<dyn Platform>,
    clock: &Arc<Clock>,
    last_signed_micros: Option<i64>,
) -> Check {
    let address = &identity.enrolment_address;
    let asked = hello::ask_time(address, identity.root, platform.as_ref(), clock).await;
    let now = clock.stamp();
    if asked.is_err() || !now.signed {
        return time_without_county(last_signed_micros, &now);
    }
    let found = format!("{} here, {} at the county", rfc3339(now.wall_micros), rfc3339(now.guarded_micros));
    if now.wall_micros.abs_diff(now.guarded_micros) < CLOCK_SLACK_MICROS {
        Check::ok("clock", found)
    } else {
        Check::warn("clock", found, SET_CLOCK)
    }
}

/// All that can be said alone: it is not earlier than what was heard before.
pub(super) fn time_without_county(last_signed_micros: Option<i64>, now: &Stamp) -> Check {
    let here = rfc3339(now.wall_micros);
    match last_signed_micros {
        Some(signed) if now.wall_micros < signed => {
            let found = format!("{here} here, though the county once signed {}", rfc3339(signed));
            Check::warn("clock", found, SET_CLOCK)
        }
        Some(signed) => {
            Check::ok("clock", format!("{here} here, not before the last signed time {}", rfc3339(signed)))
        }
        None => Check::ok("clock", format!("{here} here; no county has told the time yet")),
    }
}

/// Each address by a real connection with the device's certificate.
pub(super) async fn controllers(identity: &Identity, clock: &Arc<Clock>) -> Vec<Check> {
    // Without a usable key there is nothing to knock with; the line about the identity says so.
    let Ok(tls) = trust::device_config(identity, clock.clone()) else { return Vec::new() };
    let mut checks = Vec::new();
    for address in &identity.agent_addresses {
        checks.push(match knock(address, tls.clone()).await {
            Ok(peer) => Check::ok(
                "controller",
                format!("{address} answers from {} and lets this device in", peer.ip()),
            ),
            Err(refusal) => Check::bad("controller", refusal.problem, refusal.remedy),
        });
    }
    checks
}
