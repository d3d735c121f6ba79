//! Operating system, kernel, and this agent.

use std::{io, time::Duration};

use bbt_proto::report::v1 as wire;

use super::{
    Collector, Section,
    source::{self, Problems, Unknown},
};
use crate::{
    decode::{os_release, text},
    platform::Platform,
};

pub(super) const NAME: &str = "software";
/// Three small files.
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) struct Software {
    pub(super) agent_version: &'static str,
}

impl Collector for Software {
    fn name(&self) -> &'static str {
        NAME
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn collect(&self, platform: &dyn Platform) -> Section {
        let roots = platform.roots();
        let mut problems = Problems::default();
        let file = roots.etc.join("os-release");
        let os_release = source::table(&file);
        let value = |keys: &[&str]| {
            let text = os_release.as_ref().map_err(Unknown::clone)?;
            let found = keys.iter().find_map(|key| os_release::value(text, key));
            found.ok_or_else(|| Unknown::not_offered(format!("{} has no {}.", file.display(), keys[0])))
        };
        Section::Software(wire::Software {
            os_name: problems.keep("os_name", value(&["NAME", "PRETTY_NAME", "ID"])),
            os_version: problems.keep("os_version", value(&["VERSION", "VERSION_ID", "BUILD_ID"])),
            kernel: problems.keep("kernel", source::attribute(&roots.proc.join("sys/kernel/osrelease"))),
            architecture: problems
                .keep("architecture", told("Asking for the architecture", platform.architecture())),
            host_name: problems.keep("host_name", told("Asking for the host name", platform.host_name())),
            agent_version: self.agent_version.to_owned(),
            problems: problems.into_list(),
        })
    }

    /// The agent's own version needs no source.
    fn failed(&self, problem: wire::Problem) -> Section {
        let agent_version = self.agent_version.to_owned();
        Section::Software(wire::Software {
            problems: vec![problem],
            agent_version,
            ..wire::Software::default()
        })
    }
}

fn told(tried: &str, answer: io::Result<String>) -> Result<String, Unknown> {
    let answer = answer.map_err(|error| Unknown::from_io(tried, &error))?;
    text::clean(&answer).ok_or_else(|| Unknown::not_offered(format!("{tried} gave nothing.")))
}
