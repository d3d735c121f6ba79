//! When what is done: the schedule, by the configuration in force.

use std::{sync::Arc, time::Duration};

use bbt_proto::report::v1 as wire;

use crate::{
    configuration::{self, Configuration},
    folder::Folder,
    identity::clock::Clock,
    platform::Platform,
    schedule::{Schedule, Task},
};

/// The schedule, and the configuration that it goes by.
pub(super) struct Conduct {
    pub(super) configuration: Configuration,
    schedule: Schedule,
    platform: Arc<dyn Platform>,
    clock: Arc<Clock>,
}

impl Conduct {
    pub(super) fn new(
        configuration: Configuration,
        platform: Arc<dyn Platform>,
        clock: Arc<Clock>,
    ) -> Conduct {
        let mut jitter = [0; 8];
        platform.random(&mut jitter);
        let now_mono_micros = platform.now().mono_micros;
        let intervals = configuration.in_force().intervals();
        let schedule = Schedule::new(intervals, now_mono_micros, u64::from_le_bytes(jitter));
        Conduct { configuration, schedule, platform, clock }
    }

    /// How long nothing is to do.
    pub(super) fn wait(&self) -> Duration {
        let live_ends = self.configuration.live_ends().unwrap_or(i64::MAX);
        let due = self.schedule.next_due().min(live_ends);
        let micros = due.saturating_sub(self.platform.now().mono_micros).max(0);
        Duration::from_micros(micros as u64)
    }

    /// Goes back to the ordinary intervals when a live look is over; true if one was.
    pub(super) fn end_live(&mut self) -> bool {
        let now_mono_micros = self.platform.now().mono_micros;
        let ended = self.configuration.end_live(now_mono_micros);
        if ended {
            tracing::info!("the live look is over");
            self.schedule.change(self.configuration.in_force().intervals(), now_mono_micros);
        }
        ended
    }

    pub(super) fn due(&mut self) -> Vec<Task> {
        let now = self.clock.stamp();
        self.schedule.due(now.mono_micros, self.configuration.quiet_until(&now))
    }

    /// Applies what the county tells.
    pub(super) async fn take(&mut self, config: wire::Config, state: &Folder) -> wire::ConfigOutcome {
        let (platform, folder) = (self.platform.clone(), state.spool());
        // A disk that hangs is asked on another thread; one that does not tell sets no bound.
        let space = tokio::task::spawn_blocking(move || platform.space(&folder)).await;
        let disk_bytes = space.ok().and_then(Result::ok).map(|space| space.size_bytes);
        let now = self.clock.stamp();
        let before = self.configuration.in_force();
        let outcome = self.configuration.apply(config, &now, disk_bytes);
        let after = self.configuration.in_force();
        if after != before {
            self.schedule.change(after.intervals(), now.mono_micros);
        }
        outcome
    }

    pub(super) fn told(&self) -> configuration::Told {
        self.configuration.told(&self.clock.stamp())
    }
}
