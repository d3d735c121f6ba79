//! What the county tells this device to do, and what of it is in force.
//!
//! A configuration is taken or rejected as a whole ([`check`]); the last one taken is on disk ([`kept`]) and in force
//! before the next contact. It takes the place of what was told before, secrets included: one that is not told any
//! more is gone with the file. `agent.toml` goes before it only where it sets a lower limit ([`in_force`]). A live
//! look is of this run alone and is not kept. Nothing of a configuration is ever sent up but its revision.

mod check;
mod in_force;
mod kept;

#[cfg(test)]
mod tests;

use bbt_proto::report::v1::{self as wire, config_outcome::Outcome};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub use in_force::{InForce, Source, Told};

use crate::{config::Config, folder::Folder, identity::clock::Stamp};

/// Configurations on their way from a stream to whoever applies them; a controller sends one at a time.
const WAITING: usize = 4;

/// A configuration, and where to say what came of it.
pub type Order = (wire::Config, oneshot::Sender<wire::ConfigOutcome>);

/// The way from the uplink to the configuration.
#[derive(Clone, Debug)]
pub struct Inlet {
    orders: mpsc::Sender<Order>,
    revision: watch::Receiver<u64>,
}

/// The other end of an [`Inlet`].
#[derive(Debug)]
pub struct Outlet {
    orders: mpsc::Receiver<Order>,
    revision: watch::Sender<u64>,
}

/// Both ends, for a device that has `revision` in force.
pub fn channel(revision: u64) -> (Inlet, Outlet) {
    let (orders, received) = mpsc::channel(WAITING);
    let (tell, revision) = watch::channel(revision);
    (Inlet { orders, revision }, Outlet { orders: received, revision: tell })
}

impl Inlet {
    /// Of what is in force.
    pub fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Hands over a configuration. The answer stays away when the agent is about to stop.
    pub async fn hand_over(&self, config: wire::Config) -> oneshot::Receiver<wire::ConfigOutcome> {
        let (answer, outcome) = oneshot::channel();
        self.orders.send((config, answer)).await.ok();
        outcome
    }
}

impl Outlet {
    /// The next one handed over; never when nobody can hand over any more.
    pub async fn next(&mut self) -> Order {
        match self.orders.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }

    /// Says what is in force from now on.
    pub fn tell(&self, revision: u64) {
        self.revision.send_replace(revision);
    }
}

/// See the head of the module.
#[derive(Debug)]
pub struct Configuration {
    state: Folder,
    device: Uuid,
    own: Config,
    /// The last that was taken; without its live look.
    told: wire::Config,
    live: Option<Live>,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    sample_interval_secs: u32,
    frame_interval_secs: u32,
    ends_mono_micros: i64,
}

impl Configuration {
    /// The last good one of this device, beside its own settings; one that is damaged is set aside.
    pub fn open(state: &Folder, device: Uuid, own: &Config) -> Configuration {
        let told = kept::load(state, device).unwrap_or_default();
        Configuration { state: state.clone(), device, own: own.clone(), told, live: None }
    }

    /// Takes a configuration as a whole, or rejects it with the first value that cannot be. `disk_bytes` is the size
    /// of the disk that the spool is on.
    pub fn apply(
        &mut self,
        config: wire::Config,
        now: &Stamp,
        disk_bytes: Option<u64>,
    ) -> wire::ConfigOutcome {
        let revision = config.revision;
        if let Err(rejected) = check::check(&config, now, disk_bytes) {
            tracing::warn!(revision, key = rejected.key, "configuration rejected: {}", rejected.reason);
            return wire::ConfigOutcome { revision, outcome: Some(Outcome::Rejected(rejected)) };
        }
        self.live = config.live.as_ref().and_then(|live| Live::until(live, now));
        self.told = wire::Config { live: None, ..config };
        // Better in force until the next start than not at all: a full disk may be what it is to mend.
        if let Err(error) = kept::store(&self.state, self.device, &self.told) {
            tracing::warn!(revision, "the configuration is in force and not kept: {error}; see to the disk");
        }
        tracing::info!(revision, live = self.live.is_some(), "configuration applied");
        wire::ConfigOutcome { revision, outcome: Some(Outcome::Applied(true)) }
    }

    /// Of what is in force; 0 is the built-in one.
    pub fn revision(&self) -> u64 {
        self.told.revision
    }

    /// Every value in force, with where it is from.
    pub fn in_force(&self) -> InForce {
        InForce::of(&self.own, &self.told, self.live.as_ref())
    }

    /// Until when it is quiet, on the monotonic clock, if a lesson is on now.
    pub fn quiet_until(&self, now: &Stamp) -> Option<i64> {
        let secs = now.guarded_micros.div_euclid(1_000_000);
        let lesson =
            self.told.lessons.iter().find(|span| (span.from_unix_secs..span.to_unix_secs).contains(&secs))?;
        let left_micros = lesson.to_unix_secs.saturating_mul(1_000_000).saturating_sub(now.guarded_micros);
        Some(now.mono_micros.saturating_add(left_micros))
    }

    /// When the live look ends, on the monotonic clock.
    pub fn live_ends(&self) -> Option<i64> {
        self.live.map(|live| live.ends_mono_micros)
    }

    /// Ends a live look whose time is over; true if there was one.
    pub fn end_live(&mut self, mono_micros: i64) -> bool {
        self.live.take_if(|live| live.ends_mono_micros <= mono_micros).is_some()
    }

    /// How it stands, for people.
    pub fn told(&self, now: &Stamp) -> Told {
        Told::of(&self.in_force(), &self.told, self.live.as_ref(), now)
    }
}

impl Live {
    /// None if it is over already. It ends by the county's time as it is known now, whatever the clocks do later.
    fn until(live: &wire::Live, now: &Stamp) -> Option<Live> {
        let left_micros = live.until_unix_secs.saturating_mul(1_000_000).saturating_sub(now.guarded_micros);
        (left_micros > 0).then(|| Live {
            sample_interval_secs: live.sample_interval_secs,
            frame_interval_secs: live.frame_interval_secs,
            ends_mono_micros: now.mono_micros.saturating_add(left_micros),
        })
    }
}
