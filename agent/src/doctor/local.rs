//! What can be looked at without the county.

use std::{fs, io, path::Path, sync::Arc};

use bbt_proto::report::v1::Problem;

use super::Check;
use crate::{
    config::{Config, ConfigError},
    folder::{self, Folder},
    identity::{
        IdentityError,
        clock::{Clock, Stamp},
        keystore::Identity,
        renew, trust,
    },
    platform::Platform,
    spool::{Contact, InspectError, Inspector},
    status::{Status, rfc3339},
};

const DAY_SECS: i64 = 24 * 3600;
/// Certificates are made for 180 days and renewed from the 60th on; with a month left, months of trying failed.
const CERTIFICATE_WARN_DAYS: i64 = 30;
/// A device that runs reports at least every five minutes; a weekend is no reason to worry, a week is.
const REPORT_WARN_SECS: i64 = 7 * DAY_SECS;
/// With less than this the next batch of reports may not find room.
const ROOM_BAD_BYTES: u64 = 8 << 20;
/// Facts that are named in one line; the rest is counted.
const NAMED: usize = 6;

const ENROL: &str = "run `bbt-agent enroll` with the line that `bbt-controller token create` prints";
const ENROL_ANEW: &str = "stop the agent, remove the identity folder and enrol this device again";
const AS_OWNER: &str = "run this and the agent as the same user, as root or as the folder's owner";

pub(super) fn configuration(config: &Result<Config, ConfigError>) -> Check {
    match config {
        Ok(_) => Check::ok("configuration", "readable"),
        Err(error) => {
            Check::bad("configuration", error.to_string(), "correct it; until then the agent does not start")
        }
    }
}

pub(super) fn folder(state: &Folder) -> Check {
    const WHAT: &str = "state folder";
    let root = state.root();
    let shown = root.display();
    match fs::metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Check::warn(WHAT, format!("{shown} is not there yet"), "enrolment makes it");
        }
        Err(error) => return Check::bad(WHAT, format!("{shown}: {error}"), AS_OWNER),
        Ok(found) if !found.is_dir() => {
            return Check::bad(WHAT, format!("{shown} is no folder"), "name another one with --state");
        }
        Ok(_) => {}
    }
    if let Err(error) = try_writing(root) {
        return Check::bad(WHAT, format!("{shown} cannot be written: {error}"), AS_OWNER);
    }
    match folder::open_to_others(&[
        root,
        &state.identity(),
        &state.configuration(),
        &state.spool(),
        &state.run(),
    ]) {
        Ok(None) => Check::ok(WHAT, format!("{shown}, can be written, closed to others")),
        Ok(Some(path)) => Check::bad(
            WHAT,
            format!("{} is open to other users", path.display()),
            format!("close it, as by `chmod -R go= {shown}`; if others may have read the key, {ENROL_ANEW}"),
        ),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            Check::ok(WHAT, format!("{shown}, can be written; {error}"))
        }
        Err(error) => Check::bad(WHAT, format!("{shown}: {error}"), AS_OWNER),
    }
}

/// A file is made and taken away; nobody else uses its name.
fn try_writing(root: &Path) -> io::Result<()> {
    let trial = root.join("doctor.trial");
    folder::make_private_file(&trial)?;
    fs::remove_file(trial)
}

/// Enrolled, the files whole, and the key that of the certificate.
pub(super) fn enrolment(identity: &Result<Identity, IdentityError>, clock: &Arc<Clock>) -> Check {
    const WHAT: &str = "identity";
    match identity {
        Err(IdentityError::NotEnrolled(path)) => {
            Check::bad(WHAT, format!("not enrolled: {} is missing", path.display()), ENROL)
        }
        Err(error @ IdentityError::File { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Check::bad(WHAT, error.to_string(), AS_OWNER)
        }
        Err(error) => Check::bad(WHAT, error.to_string(), ENROL_ANEW),
        Ok(identity) => match trust::device_config(identity, clock.clone()) {
            Ok(_) => Check::ok(
                WHAT,
                format!(
                    "device {} for {}; key and certificate fit",
                    identity.device_id, identity.school_name
                ),
            ),
            Err(error) => {
                Check::bad(WHAT, format!("key and certificate do not make a pair: {error}"), ENROL_ANEW)
            }
        },
    }
}

/// Its end, and whether the agent sees to it in time.
pub(super) fn certificate(identity: &Identity, now: &Stamp) -> Check {
    const WHAT: &str = "certificate";
    let (from_secs, until_secs) = identity.valid_secs;
    let now_secs = now.guarded_micros.div_euclid(1_000_000);
    let until = rfc3339(until_secs.saturating_mul(1_000_000));
    if now_secs < from_secs {
        let from = rfc3339(from_secs.saturating_mul(1_000_000));
        return Check::bad(WHAT, format!("good only from {from}"), "set the clock of this device");
    }
    let days = until_secs.saturating_sub(now_secs).div_euclid(DAY_SECS);
    let due = rfc3339(renew::due_micros(identity));
    let found = format!("good until {until}, {days} days left, renewed by the agent from {due} on");
    match days {
        ..0 => Check::bad(
            WHAT,
            format!("ended at {until}"),
            format!(
                "let the agent run and reach {}: it gets a new one there by itself",
                identity.enrolment_address
            ),
        ),
        0..CERTIFICATE_WARN_DAYS => Check::warn(WHAT, found, "let the agent run and reach its controller"),
        _ => Check::ok(WHAT, found),
    }
}

/// What only the agent knows: why renewal, or what the certificate needs otherwise, failed last.
pub(super) fn renewal(state: &Folder) -> Option<Check> {
    let failure = Status::gather(state).certificate()?.last_failure.clone()?;
    Some(Check::bad("renewal", failure.problem, failure.remedy))
}

/// The spool itself, and what it knows of the controller.
pub(super) fn spool(state: &Folder) -> (Check, Contact) {
    const WHAT: &str = "spool";
    let looked = Inspector::open(&state.spool()).and_then(|spool| Ok((spool.check()?, spool.contact()?)));
    let (report, contact) = match looked {
        Ok(found) => found,
        Err(error) => return (spool_error(&error), Contact::default()),
    };
    let found = format!("{} reports wait ({} bytes)", report.backlog_frames, report.backlog_bytes);
    let check = match (report.findings.as_slice(), report.set_aside.as_slice()) {
        ([], []) => Check::ok(WHAT, format!("whole; {found}")),
        ([], [file, ..]) => Check::warn(
            WHAT,
            format!("whole; {found}; an earlier one was set aside as {}", file.display()),
            "check the disk; remove that file when nobody needs it",
        ),
        ([finding, ..], _) => Check::bad(
            WHAT,
            format!("not whole ({} findings, the first: {finding})", report.findings.len()),
            "check the disk and restart the agent, which sets the spool aside and begins a new one",
        ),
    };
    (check, contact)
}

fn spool_error(error: &InspectError) -> Check {
    const WHAT: &str = "spool";
    match error {
        InspectError::Missing(path) => Check::ok(WHAT, format!("none yet; `run` makes {}", path.display())),
        InspectError::Newer { .. } => Check::bad(WHAT, error.to_string(), "update this program"),
        InspectError::Database { .. } => {
            Check::bad(WHAT, error.to_string(), format!("check the disk and the folder's rights; {AS_OWNER}"))
        }
    }
}

/// Room for reports on the disk of the state folder.
pub(super) fn room(state: &Folder, config: &Config, platform: &dyn Platform) -> Check {
    const WHAT: &str = "room";
    const MAKE_ROOM: &str = "make room on this disk; what does not fit is dropped and counted";
    // Before enrolment the folder itself is not there.
    let folder = state.root().ancestors().find(|folder| folder.is_dir()).unwrap_or(state.root());
    let free = match platform.space(folder) {
        Ok(space) => space.free_bytes,
        Err(error) => {
            let found = format!("unknown, because: {error}");
            return Check::warn(WHAT, found, "look at the disk of the state folder");
        }
    };
    let found = format!("{} MiB free, {} MiB may be needed", free >> 20, config.spool.max_bytes >> 20);
    match free {
        0..ROOM_BAD_BYTES => Check::bad(WHAT, found, MAKE_ROOM),
        _ if free < config.spool.max_bytes => Check::warn(WHAT, found, MAKE_ROOM),
        _ => Check::ok(WHAT, found),
    }
}

pub(super) fn agent(state: &Folder, enrolled: bool) -> Check {
    const WHAT: &str = "agent";
    match (state.in_use(), enrolled) {
        (true, _) => Check::ok(WHAT, "running"),
        (false, true) => Check::bad(WHAT, "not running: nothing is collected", "start `bbt-agent run`"),
        (false, false) => Check::warn(WHAT, "not running", "enrol this device first"),
    }
}

pub(super) fn last_report(committed_micros: Option<i64>, now: &Stamp) -> Check {
    const WHAT: &str = "last report";
    const SEE: &str = "the lines about the agent and the controllers say why";
    let Some(committed) = committed_micros else {
        return Check::warn(WHAT, "the county has stored none yet", SEE);
    };
    let found = format!("stored by the county at {}", rfc3339(committed));
    let age_secs = now.guarded_micros.saturating_sub(committed) / 1_000_000;
    if age_secs > REPORT_WARN_SECS {
        Check::warn(WHAT, format!("{found}, {} days ago", age_secs / DAY_SECS), SEE)
    } else {
        Check::ok(WHAT, found)
    }
}

/// What one collector could not find out, summed up.
pub(super) fn facts(subject: &str, problems: &[Problem]) -> Check {
    let what = format!("facts: {subject}");
    let of = |codes: &[&str]| -> Vec<&str> {
        let problems = problems.iter().filter(|problem| codes.contains(&problem.code.as_str()));
        problems.map(|problem| problem.item.as_str()).collect()
    };
    let denied = of(&["permission_denied"]);
    if !denied.is_empty() {
        let found = format!("unknown for want of rights: {}", named(&denied));
        return Check::warn(&what, found, "run the agent as root");
    }
    let failed = of(&["hung", "panicked", "timed_out", "unreadable", "too_many"]);
    if !failed.is_empty() {
        let found = format!("could not be read: {}", named(&failed));
        return Check::warn(&what, found, "`bbt-agent collect` says why for each");
    }
    match problems.len() {
        0 => Check::ok(&what, "all known"),
        count => Check::ok(&what, format!("not offered by this machine: {count}")),
    }
}

fn named(items: &[&str]) -> String {
    let rest = items.len().saturating_sub(NAMED);
    let listed = items[..items.len() - rest].join(", ");
    if rest == 0 { listed } else { format!("{listed} and {rest} more") }
}
