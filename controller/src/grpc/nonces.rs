//! Nonces given out by Hello: each is good for one call, so that what was heard on the line cannot be said again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bbt_domain::time::UtcMicros;
use tonic::Status;

use super::issuing::internal;
use crate::pki;

/// How long a nonce is good.
const LIFE: Duration = Duration::from_secs(300);
/// Nonces remembered. A school's PCs enrolled in one lesson are a few hundred.
const REMEMBERED: usize = 4_096;

/// Those given out and not yet used.
#[derive(Default)]
pub(super) struct Nonces(Mutex<HashMap<[u8; 16], UtcMicros>>);

impl Nonces {
    /// A new one.
    pub(super) fn give(&self, now: UtcMicros) -> Result<[u8; 16], Status> {
        let nonce = pki::random().map_err(internal)?;
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() >= REMEMBERED {
            given.retain(|_, made| now.since(*made) < LIFE);
        }
        if given.len() >= REMEMBERED {
            return Err(Status::resource_exhausted("too many devices are enrolling: try again in a minute"));
        }
        given.insert(nonce, now);
        Ok(nonce)
    }

    /// Whether the nonce was given out within its life; it is used up.
    pub(super) fn take(&self, nonce: &[u8], now: UtcMicros) -> bool {
        let Ok(nonce) = <[u8; 16]>::try_from(nonce) else { return false };
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&nonce);
        made.is_some_and(|made| now.since(made) < LIFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_and_for_five_minutes() {
        let nonces = Nonces::default();
        let now = UtcMicros::from_secs(1_790_000_000);
        let nonce = nonces.give(now).unwrap();
        assert!(nonces.take(&nonce, now.plus(LIFE - Duration::from_secs(1))));
        assert!(!nonces.take(&nonce, now), "used");
        let nonce = nonces.give(now).unwrap();
        assert!(!nonces.take(&nonce, now.plus(LIFE)), "old");
        assert!(!nonces.take(b"short", now));
    }
}
