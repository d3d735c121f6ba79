//! What is due becomes frames in the spool.

use std::{sync::Arc, time::Duration};

use bbt_proto::report::v1 as wire;
use prost::Message;

use crate::{
    VERSION,
    boot_record::BootRecord,
    collect::{self, Runner, Section, load::Sampler, usage::Usage},
    identity::clock::Clock,
    platform::Platform,
    report::StateTracker,
    schedule::Task,
    spool::{Class, Draft, Handle, SpoolError},
    uplink::session::FullStateRequest,
};

/// Every section, as an inventory collects them.
pub const ALL_SECTIONS: &[&str] =
    &["hardware", "storage", "file_systems", "network", "reachability", "software"];
/// Collected at every look for changed state: cheap, and what changes while nobody works on the machine.
const CHANGING_SECTIONS: &[&str] = &["storage", "file_systems", "network", "reachability"];

/// Turns what is due into frames in the spool.
pub(super) struct Reporter {
    platform: Arc<dyn Platform>,
    clock: Arc<Clock>,
    spool: Handle,
    pub(super) record: BootRecord,
    runner: Runner,
    tracker: StateTracker,
    sampler: Sampler,
    usage: Usage,
    /// The newest of each section.
    pub(super) latest: Vec<Section>,
    /// A full state that is the newest of all and was not handed to a stream.
    unsent_full: Option<u64>,
}

impl Reporter {
    pub(super) fn new(
        platform: Arc<dyn Platform>,
        clock: Arc<Clock>,
        spool: Handle,
        record: BootRecord,
        controller: Option<String>,
    ) -> Reporter {
        let mut usage = Usage::new();
        if let Some(told_until_micros) = record.told_until_micros() {
            usage.unwatched(told_until_micros, platform.now().mono_micros);
        }
        Reporter {
            runner: Runner::new(platform.clone(), collect::all(controller, VERSION)),
            platform,
            clock,
            spool,
            record,
            tracker: StateTracker::new(),
            sampler: Sampler::new(),
            usage,
            latest: Vec::new(),
            unsent_full: None,
        }
    }

    pub(super) async fn perform(&mut self, tasks: &[Task]) -> Result<(), SpoolError> {
        for task in tasks {
            match task {
                Task::Reading => {
                    self.sampler.tick(self.platform.as_ref());
                    self.look_at_seat().await;
                }
                Task::Sample => self.sampler.close_sample(self.platform.now()),
                Task::Frame => {
                    if let Some(samples) = self.sampler.take_frame() {
                        let body = samples.encode_to_vec();
                        self.append(Class::History, wire::Kind::Samples, body).await?;
                    }
                    self.tell_usage().await?;
                }
                Task::StateCheck => {
                    let sections = self.collect(CHANGING_SECTIONS).await;
                    if let Some(changed) = self.tracker.changed(sections) {
                        self.unsent_full = None;
                        self.append(Class::State, wire::Kind::State, changed.encode_to_vec()).await?;
                    }
                }
                Task::Inventory => {
                    self.collect(ALL_SECTIONS).await;
                    self.unsent_full = self.append_full_state().await?;
                }
            }
        }
        Ok(())
    }

    /// On another thread: once a minute it asks another program. A panic there is as unknown as an error.
    async fn look_at_seat(&mut self) {
        let platform = self.platform.clone();
        let session = tokio::task::spawn_blocking(move || platform.session()).await;
        let seat = session.ok().and_then(Result::ok);
        self.usage.tick(self.platform.now().mono_micros, seat);
    }

    pub(super) async fn tell_usage(&mut self) -> Result<(), SpoolError> {
        let now = self.clock.stamp();
        if let Some(usage) = self.usage.take(&now) {
            self.record.telling_until(now.mono_micros);
            self.append(Class::State, wire::Kind::Usage, usage.encode_to_vec()).await?;
        }
        Ok(())
    }

    /// The full state that opens a stream: the last one if it is still the newest, else a new one.
    pub(super) async fn answer_full_state(&mut self, asked: FullStateRequest) -> Result<(), SpoolError> {
        let seq = match self.unsent_full.take() {
            Some(seq) => Some(seq),
            None => self.append_full_state().await?,
        };
        if let Some(seq) = seq {
            // A stream that broke meanwhile does not need it; the frame stays backlog.
            asked.send(seq).ok();
        }
        Ok(())
    }

    async fn append_full_state(&mut self) -> Result<Option<u64>, SpoolError> {
        let state = self.tracker.full(self.latest.clone());
        self.append(Class::State, wire::Kind::State, state.encode_to_vec()).await
    }

    /// None if the frame was too large, which is counted and said.
    async fn append(&self, class: Class, kind: wire::Kind, body: Vec<u8>) -> Result<Option<u64>, SpoolError> {
        match self.spool.append(Draft { class, kind, body: body.into() }).await {
            Ok(seq) => Ok(Some(seq)),
            Err(error @ SpoolError::TooLarge { .. }) => {
                tracing::error!("{error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn collect(&mut self, names: &[&str]) -> Vec<Section> {
        let sections = self.runner.run(names).await;
        for section in &sections {
            if let Section::Reachability(reachability) = section {
                let time = |peer: &Option<wire::Peer>| {
                    peer.as_ref().and_then(|peer| peer.round_trip_micros).map(Duration::from_micros)
                };
                self.sampler.round_trip(time(&reachability.gateway), time(&reachability.controller));
            }
            match self.latest.iter_mut().find(|known| known.name() == section.name()) {
                Some(known) => known.clone_from(section),
                None => self.latest.push(section.clone()),
            }
        }
        sections
    }
}
