//! Whether the start of the operating system before this one ended in an orderly stop.
//!
//! `STATE/run/boot.json` names the start the agent last ran in and whether the agent was stopped there. Power
//! cut at the mains leaves it unstopped. Without the file, or with an unreadable one, nothing is known.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::folder::{self, Folder};

/// The record of the running start.
#[derive(Debug)]
pub struct BootRecord {
    path: PathBuf,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    boot_id: Uuid,
    /// Of the start before `boot_id`.
    clean_stop_before: Option<bool>,
    /// Whether the agent ended in an orderly way and has not run since.
    stopped: bool,
}

impl BootRecord {
    /// Compares the record with the running start and begins this one's.
    pub fn begin(state: &Folder, boot_id: [u8; 16]) -> BootRecord {
        let path = state.run().join("boot.json");
        let boot_id = Uuid::from_bytes(boot_id);
        let known: Option<Content> =
            std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let clean_stop_before = match known {
            Some(known) if known.boot_id == boot_id => known.clean_stop_before,
            Some(known) => Some(known.stopped),
            None => None,
        };
        let record = BootRecord { path, content: Content { boot_id, clean_stop_before, stopped: false } };
        record.write();
        record
    }

    /// How the start before this one ended; none if that is not known.
    pub fn clean_stop_before(&self) -> Option<bool> {
        self.content.clean_stop_before
    }

    /// The agent ends in an orderly way.
    pub fn stopped(mut self) {
        self.content.stopped = true;
        self.write();
    }

    fn write(&self) {
        let written = serde_json::to_vec(&self.content)
            .map_err(std::io::Error::from)
            .and_then(|json| folder::write_swiftly(&self.path, &json));
        if let Err(error) = written {
            tracing::warn!(
                "cannot write {}: {error}; how this start ends will not be known",
                self.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_judged_by_how_the_agent_ended_in_the_one_before() {
        let temp = tempfile::tempdir().unwrap();
        let state = Folder::at(temp.path());
        state.prepare().unwrap();
        let first = BootRecord::begin(&state, [1; 16]);
        assert_eq!(first.clean_stop_before(), None, "nothing is known of the time before the agent");
        first.stopped();
        assert_eq!(BootRecord::begin(&state, [2; 16]).clean_stop_before(), Some(true));
        // Killed, started again in the same start, then a power cut.
        assert_eq!(BootRecord::begin(&state, [2; 16]).clean_stop_before(), Some(true));
        assert_eq!(BootRecord::begin(&state, [3; 16]).clean_stop_before(), Some(false));
    }
}
