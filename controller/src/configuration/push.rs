//! One stream's side: what its device holds, and what is to be sent.

use std::{sync::Arc, time::Duration};

use bbt_domain::{
    access::Actor,
    calendar::expected_on::ExpectedOn,
    configuration::{Key, Live, Outcome, Values},
    ids::{DeviceId, SchoolId},
    text::{NAME_CHARS, SENTENCE_CHARS, clean},
    time::UtcMicros,
};
use bbt_proto::report::v1 as wire;
use bbt_store::{
    StoreError,
    configuration::{
        ConfigurationStanding, DeviceConfiguration, SealedSecret, configuration_standing, configuration_take,
        outcome_note,
    },
};
use tokio::{sync::Semaphore, time::sleep};

use super::{Configurations, LESSON_DAYS, changes::Concerning, secret_owner};
use crate::{
    context::Context,
    pki::sealing::{DEVICE_SECRET, SealingKey},
};

/// Streams that look into the store at once: a change for the county concerns thousands, and pages want to be read
/// meanwhile.
const LOOKS: usize = 4;
/// A store that could not be read is asked again after this long.
const AGAIN: Duration = Duration::from_secs(10);

impl Configurations {
    /// Of the county.
    pub fn new(context: Arc<Context>, sealing: Arc<SealingKey>) -> Self {
        Self { context, sealing, looks: Semaphore::new(LOOKS) }
    }

    /// For a stream that a device opened while it held the revision `held`.
    pub fn stream(self: &Arc<Self>, device: DeviceId, school: SchoolId, held: u64) -> Telling {
        Telling {
            shared: Arc::clone(self),
            device,
            changes: self.context.changes.of(device, school),
            held: i64::try_from(held).unwrap_or(i64::MAX),
            unanswered: None,
            is_stale: true,
        }
    }
}

/// See the head of the module.
pub struct Telling {
    shared: Arc<Configurations>,
    device: DeviceId,
    changes: Concerning,
    /// What the device has, or was sent. What it rejected is not sent again on this stream.
    held: i64,
    /// Sent, and not answered yet.
    unanswered: Option<i64>,
    /// Whether the store may have another.
    is_stale: bool,
}

impl Telling {
    /// The next configuration to send. May be dropped at any time: what it was to send comes next time.
    pub async fn next(&mut self) -> wire::Config {
        loop {
            if !self.is_stale {
                self.changes.next().await;
                self.is_stale = true;
            }
            match self.look().await {
                Ok(found) => {
                    self.is_stale = false;
                    if let Some(config) = found {
                        self.held = i64::try_from(config.revision).unwrap_or(i64::MAX);
                        self.unanswered = Some(self.held);
                        return config;
                    }
                }
                Err(error) => {
                    tracing::warn!(device.id = %self.device, %error, "a configuration could not be looked up");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// What the device holds not, if there is such.
    async fn look(&self) -> Result<Option<wire::Config>, StoreError> {
        let _place = self.shared.looks.acquire().await;
        let (store, actor) = (&self.shared.context.store, Actor::Device(self.device));
        let asking = actor.clone();
        let ConfigurationStanding { revision, applied } =
            store.read(move |tx| configuration_standing(tx, &asking)).await?;
        if revision == self.held {
            // The answer was lost with an earlier stream; that the device has it is answer enough.
            if applied != Some(revision) && revision > 0 && self.unanswered.is_none() {
                self.note(revision, Outcome::Applied).await?;
            }
            return Ok(None);
        }
        let told = store.read(move |tx| configuration_take(tx, &actor)).await?;
        Ok(Some(self.on_the_wire(told)))
    }

    /// Takes the device's answer; one that nobody asked for changes nothing.
    pub async fn answered(&mut self, outcome: wire::ConfigOutcome) -> Result<(), StoreError> {
        let revision = i64::try_from(outcome.revision).unwrap_or(i64::MAX);
        if self.unanswered != Some(revision) {
            return Ok(());
        }
        let outcome = match outcome.outcome {
            Some(wire::config_outcome::Outcome::Applied(true)) => Outcome::Applied,
            Some(wire::config_outcome::Outcome::Rejected(rejected)) => Outcome::Rejected {
                key: clean(&rejected.key, NAME_CHARS),
                reason: clean(&rejected.reason, SENTENCE_CHARS),
            },
            Some(wire::config_outcome::Outcome::Applied(false)) | None => return Ok(()),
        };
        self.unanswered = None;
        if let Outcome::Rejected { key, reason } = &outcome {
            tracing::warn!(device.id = %self.device, revision, key, reason, "a device rejected its configuration");
        }
        self.note(revision, outcome).await
    }

    async fn note(&self, revision: i64, outcome: Outcome) -> Result<(), StoreError> {
        let (context, actor) = (&self.shared.context, Actor::Device(self.device));
        let now = context.now();
        context.store.write(move |tx| outcome_note(tx, &actor, revision, &outcome, now)).await
    }

    fn on_the_wire(&self, told: DeviceConfiguration) -> wire::Config {
        let now = self.shared.context.now();
        wire::Config {
            revision: told.revision.unsigned_abs(),
            values: Some(values(&told.values)),
            lessons: told.lessons_from.map(lessons).unwrap_or_default(),
            live: told.live.filter(|live| live.is_on(now)).map(live),
            secrets: told.secrets.into_iter().filter_map(|secret| self.opened(secret)).collect(),
        }
    }

    /// One that cannot be opened is said, and the others are told.
    fn opened(&self, secret: SealedSecret) -> Option<wire::Secret> {
        let owner = secret_owner(self.device, &secret.name);
        match self.shared.sealing.open(DEVICE_SECRET, &owner, &secret.sealed) {
            Ok(value) => Some(wire::Secret { name: secret.name.as_str().to_owned(), value }),
            Err(error) => {
                tracing::error!(device.id = %self.device, name = secret.name.as_str(), %error, "a secret is not told");
                None
            }
        }
    }
}

fn values(values: &Values) -> wire::Values {
    let secs = |key| values.get(key).and_then(|value| u32::try_from(value).ok());
    wire::Values {
        sample_interval_secs: secs(Key::SampleInterval),
        frame_interval_secs: secs(Key::FrameInterval),
        inventory_interval_secs: secs(Key::InventoryInterval),
        spool_max_bytes: values.get(Key::SpoolBytes),
        spool_max_age_secs: secs(Key::SpoolAge),
    }
}

fn lessons(from: UtcMicros) -> Vec<wire::Span> {
    let spans = ExpectedOn::default().spans(from, LESSON_DAYS);
    let span = |(from, to): (UtcMicros, UtcMicros)| wire::Span {
        from_unix_secs: from.as_secs(),
        to_unix_secs: to.as_secs(),
    };
    spans.into_iter().map(span).collect()
}

fn live(live: Live) -> wire::Live {
    wire::Live {
        sample_interval_secs: live.sample_interval_secs,
        frame_interval_secs: live.frame_interval_secs,
        until_unix_secs: live.until.as_secs(),
    }
}
