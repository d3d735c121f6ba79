//! Tells open streams that something was changed, and for whom.

use bbt_domain::{
    configuration::Level,
    ids::{DeviceId, SchoolId},
};
use tokio::sync::broadcast::{self, error::RecvError};

/// Changes that a stream may be behind by. One that missed some looks into the store as if all concerned it.
const WAITING: usize = 64;

/// See the head of the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Changes(broadcast::Sender<Level>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Changes {
    /// What is told at `level` has changed.
    pub fn tell(&self, level: Level) {
        // An error says that no stream is open.
        let _ = self.0.send(level);
    }

    /// The changes from now on that concern one device.
    pub fn of(&self, device: DeviceId, school: SchoolId) -> Concerning {
        Concerning { changes: self.0.subscribe(), device, school }
    }
}

/// See [`Changes::of`].
#[derive(Debug)]
pub struct Concerning {
    changes: broadcast::Receiver<Level>,
    device: DeviceId,
    school: SchoolId,
}

impl Concerning {
    /// Returns at a change that concerns the device; may be dropped at any time without missing one.
    pub async fn next(&mut self) {
        loop {
            match self.changes.recv().await {
                Ok(level) if !self.is_concerned(level) => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                // The county is being closed.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn is_concerned(&self, level: Level) -> bool {
        match level {
            Level::County => true,
            Level::School(id) => id == self.school,
            Level::Device(id) => id == self.device,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 16]);
    const SCHOOL: SchoolId = SchoolId::from_bytes([2; 16]);

    #[tokio::test(start_paused = true)]
    async fn a_stream_wakes_for_what_concerns_its_device_and_when_it_missed_something() {
        let changes = Changes::default();
        let mut stream = changes.of(DEVICE, SCHOOL);
        let foreign =
            [Level::Device(DeviceId::from_bytes([9; 16])), Level::School(SchoolId::from_bytes([9; 16]))];
        for level in foreign {
            changes.tell(level);
        }
        assert!(tokio::time::timeout(Duration::from_secs(1), stream.next()).await.is_err());
        for level in [Level::County, Level::School(SCHOOL), Level::Device(DEVICE)] {
            changes.tell(level);
            stream.next().await;
        }
        for _ in 0..=WAITING {
            changes.tell(foreign[0]);
        }
        stream.next().await;
    }
}
