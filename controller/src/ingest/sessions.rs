//! Which streams are open: the newest of a device wins.
//!
//! A mains cut leaves the old connection half-open, so a device that comes back would otherwise wait for the
//! old one's timeout.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use bbt_domain::ids::DeviceId;
use tokio::sync::oneshot;

/// Below this many open streams nobody has to wait at the next contact.
const NO_WINDOW_BELOW: usize = 50;
/// Contacts a second that the window aims at when everybody comes back at once.
const CONTACTS_PER_SEC: usize = 200;
/// Longest window.
const WINDOW_SECS: u32 = 60;
/// Streams of clones of one device at once: a computer room whose PCs were made from one image in one lesson.
const CLONE_STREAMS: u32 = 64;

/// Open streams by device.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_device: HashMap<DeviceId, (u64, oneshot::Sender<()>)>,
    /// Streams of PCs that have a device's identity and are others.
    clones: HashMap<DeviceId, u32>,
    opened: u64,
}

/// One open stream; forgotten when dropped.
#[derive(Debug)]
pub struct Session {
    sessions: Arc<Sessions>,
    device: DeviceId,
    no: u64,
    superseded: oneshot::Receiver<()>,
}

/// One open stream of a clone; forgotten when dropped. It takes nobody's place.
#[derive(Debug)]
pub struct CloneSession {
    sessions: Arc<Sessions>,
    device: DeviceId,
}

impl Sessions {
    /// Makes the caller's stream the device's newest; an older one is told to end.
    pub fn open(self: &Arc<Self>, device: DeviceId) -> Session {
        let (end, superseded) = oneshot::channel();
        let mut open = self.lock();
        open.opened += 1;
        let no = open.opened;
        // Dropping the older sender is what tells the older stream.
        open.by_device.insert(device, (no, end));
        Session { sessions: Arc::clone(self), device, no, superseded }
    }

    /// Counts a stream of a clone of `device`; `None`: there are too many.
    pub fn open_clone(self: &Arc<Self>, device: DeviceId) -> Option<CloneSession> {
        let mut open = self.lock();
        let clones = open.clones.entry(device).or_default();
        if *clones >= CLONE_STREAMS {
            return None;
        }
        *clones += 1;
        Some(CloneSession { sessions: Arc::clone(self), device })
    }

    /// Whether the device has an open stream.
    pub fn is_open(&self, device: DeviceId) -> bool {
        self.lock().by_device.contains_key(&device)
    }

    /// Open streams.
    pub fn count(&self) -> usize {
        self.lock().by_device.len()
    }

    /// Over how many seconds devices shall spread their next contact: so that a county that comes back
    /// together makes [`CONTACTS_PER_SEC`].
    pub fn contact_window_secs(&self) -> u32 {
        match self.count() {
            count if count < NO_WINDOW_BELOW => 0,
            count => u32::try_from(count.div_ceil(CONTACTS_PER_SEC)).unwrap_or(WINDOW_SECS).min(WINDOW_SECS),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Returns when a newer stream of the device was opened.
    pub async fn superseded(&mut self) {
        let _ = (&mut self.superseded).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        if open.by_device.get(&self.device).is_some_and(|(no, _)| *no == self.no) {
            open.by_device.remove(&self.device);
        }
    }
}

impl Drop for CloneSession {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        if let Entry::Occupied(mut clones) = open.clones.entry(self.device) {
            *clones.get_mut() -= 1;
            if *clones.get() == 0 {
                clones.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 16]);

    #[tokio::test]
    async fn the_newest_stream_wins_and_the_older_one_hears_of_it() {
        let sessions = Arc::new(Sessions::default());
        let mut old = sessions.open(DEVICE);
        let new = sessions.open(DEVICE);
        old.superseded().await;
        drop(old);
        assert_eq!(sessions.count(), 1, "the end of the older stream is not the end of the newer");
        drop(new);
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn clones_take_nobodys_place_and_are_no_more_than_a_room_full() {
        let sessions = Arc::new(Sessions::default());
        let mut device = sessions.open(DEVICE);
        let mut clones: Vec<_> = (0..CLONE_STREAMS).map(|_| sessions.open_clone(DEVICE).unwrap()).collect();
        assert!(sessions.open_clone(DEVICE).is_none());
        clones.pop();
        assert!(sessions.open_clone(DEVICE).is_some());
        assert!(
            device.superseded.try_recv().is_err_and(|state| state == oneshot::error::TryRecvError::Empty)
        );
        assert!(sessions.is_open(DEVICE));
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn a_small_county_does_not_wait_and_a_large_one_is_spread() {
        let sessions = Arc::new(Sessions::default());
        let device = |n: u32| DeviceId::from_bytes(u128::from(n).to_be_bytes());
        let mut open: Vec<_> = (0..49).map(|n| sessions.open(device(n))).collect();
        assert_eq!(sessions.contact_window_secs(), 0);
        open.extend((49..1_000).map(|n| sessions.open(device(n))));
        assert_eq!(sessions.contact_window_secs(), 5);
        open.extend((1_000..20_000).map(|n| sessions.open(device(n))));
        assert_eq!(sessions.contact_window_secs(), 60);
    }
}
