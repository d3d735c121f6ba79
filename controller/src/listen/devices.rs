//! The connections of each device: a few, and the newest stay.
//!
//! One stolen certificate is one device. Whoever holds it can open connections until the port is full, unless the
//! older ones go; and after a mains cut the newest is the one behind which somebody is.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bbt_domain::ids::DeviceId;
use tokio::sync::oneshot;

/// A device's stream, the one that it replaces, and a question beside it (renewal, `bbt-agent doctor`).
const CONNECTIONS: usize = 3;

/// Open connections by device.
#[derive(Debug, Default)]
pub(super) struct DeviceConnections(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    opened: u64,
    by_device: HashMap<DeviceId, VecDeque<(u64, oneshot::Sender<()>)>>,
}

/// One open connection; forgotten when dropped.
#[derive(Debug)]
pub(super) struct DeviceConnection {
    all: Arc<DeviceConnections>,
    device: DeviceId,
    no: u64,
    displaced: oneshot::Receiver<()>,
}

impl DeviceConnections {
    /// A new connection of `device`; the oldest one beyond [`CONNECTIONS`] is told to end.
    pub(super) fn open(self: &Arc<Self>, device: DeviceId) -> DeviceConnection {
        let (end, displaced) = oneshot::channel();
        let mut state = self.lock();
        state.opened += 1;
        let no = state.opened;
        let open = state.by_device.entry(device).or_default();
        open.push_back((no, end));
        if open.len() > CONNECTIONS {
            // Dropping the sender is what tells it.
            open.pop_front();
        }
        DeviceConnection { all: Arc::clone(self), device, no, displaced }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceConnection {
    /// Returns when newer ones took its place.
    pub(super) async fn displaced(&mut self) {
        let _ = (&mut self.displaced).await;
    }
}

impl Drop for DeviceConnection {
    fn drop(&mut self) {
        let mut state = self.all.lock();
        if let Some(open) = state.by_device.get_mut(&self.device) {
            open.retain(|(no, _)| *no != self.no);
            if open.is_empty() {
                state.by_device.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_newest_connections_of_a_device_stay() {
        let all = Arc::new(DeviceConnections::default());
        let device = DeviceId::from_bytes([1; 16]);
        let mut other = all.open(DeviceId::from_bytes([2; 16]));
        let mut open: Vec<_> = (0..=CONNECTIONS).map(|_| all.open(device)).collect();

        open[0].displaced().await;
        for connection in open[1..].iter_mut().chain([&mut other]) {
            let displaced = timeout(Duration::from_secs(3_600), connection.displaced()).await;
            assert!(displaced.is_err(), "{connection:?}");
        }
        drop((open, other));
        assert!(all.lock().by_device.is_empty());
    }
}
