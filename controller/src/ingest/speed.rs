//! How fast one device may go: its certificate is the measure, not its connection or stream. Whoever stole one
//! certificate gets the share of one device.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bbt_domain::ids::DeviceId;
use tokio::time::Instant;

use crate::{config::Limits, listen::bucket::Bucket};

/// Devices remembered before those are forgotten that owe nothing.
const DEVICES: usize = 16_384;

/// The speeds of all devices.
#[derive(Debug)]
pub struct Speeds {
    per_sec: u32,
    burst: u32,
    by_device: Mutex<HashMap<DeviceId, Bucket>>,
}

impl Speeds {
    /// As the county configured it.
    pub fn new(limits: &Limits) -> Self {
        Self {
            per_sec: limits.device_bytes_per_sec,
            burst: limits.device_burst_bytes,
            by_device: Mutex::default(),
        }
    }

    /// Counts `bytes` of `device` and returns how long it has to wait before they are looked at.
    pub fn take(&self, device: DeviceId, bytes: u32) -> Duration {
        let now = Instant::now().into_std();
        let mut by_device = self.by_device.lock().unwrap_or_else(PoisonError::into_inner);
        if by_device.len() >= DEVICES && !by_device.contains_key(&device) {
            by_device.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = by_device.entry(device).or_insert_with(|| Bucket::new(self.per_sec, self.burst, now));
        bucket.take(bytes, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn streams_of_one_device_share_its_speed_and_leave_others_theirs() {
        let limits = Limits { device_bytes_per_sec: 10, device_burst_bytes: 100, ..Limits::default() };
        let speeds = Speeds::new(&limits);
        let (one, other) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
        assert_eq!(speeds.take(one, 100), Duration::ZERO, "by its first stream");
        assert_eq!(speeds.take(one, 100), Duration::from_secs(10), "by its second");
        assert_eq!(speeds.take(other, 100), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(speeds.take(one, 100), Duration::ZERO);
    }
}
