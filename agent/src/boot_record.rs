//! What one run of the agent leaves for the next: whether the start of the operating system before this one ended
//! in an orderly stop, and how far the time of this one was told.
//!
//! `STATE/run/boot.json` names the start the agent last ran in and whether the agent was stopped there. Power
//! cut at the mains leaves it unstopped. Without the file, or with an unreadable one, nothing is known.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    folder::{self, Folder},
    platform::Boot,
};

/// The record of the running start.
#[derive(Debug)]
pub struct BootRecord {
    path: PathBuf,
    content: Content,
    /// Whether the last attempt to write failed, which is said once.
    failed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    boot_id: Uuid,
    /// Of the start before `boot_id`.
    clean_stop_before: Option<bool>,
    /// Whether the agent ended in an orderly way and has not run since.
    stopped: bool,
    /// Until when, on the monotonic clock of `boot_id`, usage was told; absent if the program was too old to say.
    #[serde(default)]
    told_until_micros: Option<i64>,
}

impl BootRecord {
    /// Compares the record with the running start and begins this one's.
    pub fn begin(state: &Folder, boot: Boot) -> BootRecord {
        let path = state.run().join("boot.json");
        let boot_id = Uuid::from_bytes(boot.id);
        let known: Option<Content> =
            std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (clean_stop_before, told_until_micros) = match known {
            Some(known) if known.boot_id == boot_id => (known.clean_stop_before, known.told_until_micros),
            Some(known) => (Some(known.stopped), Some(boot.started_mono_micros)),
            None => (None, Some(boot.started_mono_micros)),
        };
        let content = Content { boot_id, clean_stop_before, stopped: false, told_until_micros };
        let mut record = BootRecord { path, content, failed: false };
        record.write();
        record
    }

    /// How the start before this one ended; none if that is not known.
    pub fn clean_stop_before(&self) -> Option<bool> {
        self.content.clean_stop_before
    }

    /// Until when, on the monotonic clock, usage of this start was told; none if that is not known.
    pub fn told_until_micros(&self) -> Option<i64> {
        self.content.told_until_micros
    }

    /// Usage is about to be told until this moment. Noted before, so that after a crash time is rather missing
    /// than told twice.
    pub fn telling_until(&mut self, mono_micros: i64) {
        self.content.told_until_micros = Some(mono_micros);
        self.write();
    }

    /// The agent ends in an orderly way.
    pub fn stopped(mut self) {
        self.content.stopped = true;
        self.write();
    }

    fn write(&mut self) {
        let written = serde_json::to_vec(&self.content)
            .map_err(std::io::Error::from)
            .and_then(|json| folder::write_swiftly(&self.path, &json));
        if let Err(error) = &written
            && !self.failed
        {
            tracing::warn!(
                "cannot write {}: {error}; how this start ends will not be known, and usage may be told twice",
                self.path.display()
            );
        }
        self.failed = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(number: u8) -> Boot {
        Boot { id: [number; 16], started_mono_micros: 0 }
    }

    fn state() -> (tempfile::TempDir, Folder) {
        let temp = tempfile::tempdir().unwrap();
        let state = Folder::at(temp.path());
        state.prepare().unwrap();
        (temp, state)
    }

    #[test]
    fn a_start_is_judged_by_how_the_agent_ended_in_the_one_before() {
        let (_temp, state) = state();
        let first = BootRecord::begin(&state, boot(1));
        assert_eq!(first.clean_stop_before(), None, "nothing is known of the time before the agent");
        first.stopped();
        assert_eq!(BootRecord::begin(&state, boot(2)).clean_stop_before(), Some(true));
        // Killed, started again in the same start, then a power cut.
        assert_eq!(BootRecord::begin(&state, boot(2)).clean_stop_before(), Some(true));
        assert_eq!(BootRecord::begin(&state, boot(3)).clean_stop_before(), Some(false));
    }

    #[test]
    fn a_restarted_agent_goes_on_where_the_one_before_left_off() {
        let (_temp, state) = state();
        let mut first = BootRecord::begin(&state, boot(1));
        assert_eq!(first.told_until_micros(), Some(0), "nothing of this start was told yet");
        first.telling_until(700);
        assert_eq!(
            BootRecord::begin(&state, boot(1)).told_until_micros(),
            Some(700),
            "killed and started again"
        );
        assert_eq!(BootRecord::begin(&state, boot(2)).told_until_micros(), Some(0), "another start");
    }

    #[test]
    fn the_record_of_an_older_program_leaves_what_was_told_unknown() {
        let (_temp, state) = state();
        let id = Uuid::from_bytes(boot(1).id);
        let old = format!(r#"{{"boot_id":"{id}","clean_stop_before":true,"stopped":false}}"#);
        std::fs::write(state.run().join("boot.json"), old).unwrap();
        let record = BootRecord::begin(&state, boot(1));
        assert_eq!((record.clean_stop_before(), record.told_until_micros()), (Some(true), None));
    }
}
