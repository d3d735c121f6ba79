//! What is wrong with this agent, and what to do about it: `bbt-agent doctor`.
//!
//! Each line was tried for real, now, by whoever runs the command; nothing is concluded from what the agent wrote
//! down, but what only it can know (its last report). Nothing is changed, an agent that runs is not disturbed, and
//! each check does without those before it as far as it can, so that one look shows everything.

mod contact;
mod local;

#[cfg(test)]
mod tests;

use std::{fmt::Write as _, sync::Arc};

use serde::Serialize;

use crate::{
    VERSION,
    collect::{self, Runner, Section, usage::Session},
    config::{Config, ConfigError},
    folder::Folder,
    identity::{
        clock::Clock,
        keystore::{self, Identity},
    },
    platform::Platform,
    runtime::ALL_SECTIONS,
};

/// What a check came to, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// Reports do not get through, or will not for long.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, in a word or two.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; none where nothing is to be done.
    pub remedy: Option<String>,
}

impl Check {
    fn ok(what: &str, found: impl Into<String>) -> Check {
        Check { what: what.to_owned(), verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    fn warn(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        let remedy = Some(remedy.into());
        Check { what: what.to_owned(), verdict: Verdict::Warn, found: found.into(), remedy }
    }

    fn bad(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { verdict: Verdict::Bad, ..Check::warn(what, found, remedy) }
    }
}

/// All that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The worst of all.
    pub verdict: Verdict,
    /// In the order in which a cause comes before its effects.
    pub checks: Vec<Check>,
}

/// Looks at everything.
pub async fn examine(
    state: &Folder,
    config: Result<Config, ConfigError>,
    platform: Arc<dyn Platform>,
) -> Diagnosis {
    let mut checks = vec![local::configuration(&config), local::folder(state)];
    let config = config.unwrap_or_default();
    let clock = Arc::new(Clock::new(platform.clone()));
    let identity = keystore::load(state);
    checks.push(local::enrolment(&identity, &clock));
    let identity = identity.ok();
    let (spool, contact) = local::spool(state);
    checks.push(spool);
    checks.push(local::room(state, &config, platform.as_ref()));
    if let Some(signed_micros) = contact.signed_micros {
        clock.raise_floor(signed_micros);
    }
    match &identity {
        Some(identity) => {
            clock.raise_floor(identity.valid_secs.0.saturating_mul(1_000_000));
            checks.push(contact::time(identity, &platform, &clock, contact.signed_micros).await);
            checks.push(local::certificate(identity, &clock.stamp()));
            checks.extend(local::renewal(state));
            checks.extend(contact::controllers(identity, &clock).await);
        }
        None => checks.push(contact::time_without_county(contact.signed_micros, &clock.stamp())),
    }
    checks.push(local::agent(state, identity.is_some()));
    if identity.is_some() {
        checks.push(local::last_report(contact.committed_micros, &clock.stamp()));
    }
    checks.extend(facts(identity.as_ref(), &platform).await);
    let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    Diagnosis { verdict, checks }
}

/// One pass of every collector; a line for each.
async fn facts(identity: Option<&Identity>, platform: &Arc<dyn Platform>) -> Vec<Check> {
    let controller = identity.and_then(|identity| identity.agent_addresses.first()).map(ToString::to_string);
    let runner = Runner::new(platform.clone(), collect::all(controller, VERSION));
    let sections = runner.run(ALL_SECTIONS).await;
    let session = Session::look(platform.as_ref());
    let told = sections.iter().map(|section: &Section| local::facts(section.name(), section.problems()));
    told.chain([local::facts("usage", &session.problems)]).collect()
}

impl Diagnosis {
    /// A line for each check, and one for each remedy.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for Check { what, verdict, found, remedy } in &self.checks {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Bad => "BAD",
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{verdict:<5} {what:<20} {found}");
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "{:<26} -> {remedy}", "");
            }
        }
        text
    }

    /// How many checks came to this.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }
}
