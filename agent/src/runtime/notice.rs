//! What `status` reads, written while the agent runs.

use std::time::{Duration, Instant};

use crate::{
    VERSION, configuration,
    folder::Folder,
    identity::upkeep::Standing,
    spool::{Handle, SpoolError},
    status::RunStatus,
    uplink::Link,
};

/// The status file is written at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Writes the status file: at once when contact changed, which the pauses between attempts keep rare; else soon
/// after something changed, at most every [`STATUS_EVERY`].
pub(super) struct Notice<'a> {
    state: &'a Folder,
    spool: Handle,
    due: Option<Instant>,
    written: Option<Instant>,
    failed: bool,
}

impl<'a> Notice<'a> {
    pub(super) fn new(state: &'a Folder, spool: Handle) -> Notice<'a> {
        Notice { state, spool, due: None, written: None, failed: false }
    }

    pub(super) fn at_once(&mut self) {
        self.due = Some(Instant::now());
    }

    pub(super) fn changed(&mut self) {
        let earliest = self.written.map(|written| written + STATUS_EVERY);
        self.due.get_or_insert_with(|| earliest.unwrap_or_else(Instant::now).max(Instant::now()));
    }

    pub(super) fn wait(&self) -> Duration {
        self.due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()))
    }

    pub(super) async fn write(
        &mut self,
        wall_micros: i64,
        link: &Link,
        standing: &Standing,
        told: configuration::Told,
    ) -> Result<(), SpoolError> {
        let (spool, contact) = (self.spool.summary().await?, self.spool.contact().await?);
        let status = RunStatus::new(VERSION, wall_micros, link, standing, &spool, &contact, told);
        let written = status.write(self.state);
        if let Err(error) = &written
            && !self.failed
        {
            tracing::warn!("cannot write the status file: {error}; `bbt-agent status` will show old news");
        }
        self.failed = written.is_err();
        self.due = None;
        self.written = Some(Instant::now());
        Ok(())
    }
}
