//! Slow-down for wrong passwords. Never a lock-out: who knows the password gets in after a wait, and a stranger
//! elsewhere cannot keep them out, because the wait is per account *and* address.
//!
//! Each try counts as wrong until it turns out right, so a burst of parallel tries gains nothing. Kept in memory
//! only: a restart forgives.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bbt_domain::time::UtcMicros;
use ring::digest::{SHA256, digest};

/// Wrong tries of one account from one address before the first wait: a few slips of the finger.
const FREE_TRIES: u32 = 3;
/// Wrong tries from one address, whatever the account: a school behind one address has many fingers.
const FREE_TRIES_OF_ADDRESS: u32 = 30;
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Wrong tries are forgotten this long after the last.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 60);
/// Accounts and addresses remembered, about 1 MiB. When it is full the one untouched longest is forgotten.
const REMEMBERED: usize = 10_000;

/// What was tried lately.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    tries: Mutex<HashMap<[u8; 32], Tries>>,
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    wrong: u32,
    last: UtcMicros,
}

impl Throttle {
    /// Counts a try of `login` from `address`, or says how long to wait before the next.
    pub(super) fn admit(&self, login: &str, address: &str, now: UtcMicros) -> Result<(), Duration> {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(login, address);
        let wait = keys
            .iter()
            .filter_map(|(key, free)| tries.get(key).map(|tries| tries.wait(*free, now)))
            .max()
            .unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        for (key, _) in keys {
            make_room(&mut tries, &key, now);
            let entry = tries.entry(key).or_insert(Tries { wrong: 0, last: now });
            if entry.is_forgotten(now) {
                entry.wrong = 0;
            }
            *entry = Tries { wrong: entry.wrong.saturating_add(1), last: now };
        }
        Ok(())
    }

    /// The try that was counted last turned out right.
    pub(super) fn forgive(&self, login: &str, address: &str) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let [(pair, _), (address, _)] = keys(login, address);
        tries.remove(&pair);
        if let Some(entry) = tries.get_mut(&address) {
            entry.wrong = entry.wrong.saturating_sub(1);
        }
    }
}

impl Tries {
    fn is_forgotten(&self, now: UtcMicros) -> bool {
        now.since(self.last) >= FORGOTTEN_AFTER
    }

    fn wait(&self, free: u32, now: UtcMicros) -> Duration {
        if self.wrong < free || self.is_forgotten(now) {
            return Duration::ZERO;
        }
        let doublings = (self.wrong - free).min(16);
        let whole = Duration::from_secs(1 << doublings).min(LONGEST_WAIT);
        whole.saturating_sub(now.since(self.last))
    }
}

/// Of account and address together, and of the address alone, each with its free tries.
fn keys(login: &str, address: &str) -> [([u8; 32], u32); 2] {
    let key = |text: String| {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        bytes
    };
    [
        (key(format!("account\0{login}\0{address}")), FREE_TRIES),
        (key(format!("address\0{address}")), FREE_TRIES_OF_ADDRESS),
    ]
}

fn make_room(tries: &mut HashMap<[u8; 32], Tries>, key: &[u8; 32], now: UtcMicros) {
    if tries.len() < REMEMBERED || tries.contains_key(key) {
        return;
    }
    tries.retain(|_, tries| !tries.is_forgotten(now));
    if tries.len() >= REMEMBERED {
        let oldest = tries.iter().min_by_key(|(_, tries)| tries.last).map(|(key, _)| *key);
        oldest.map(|key| tries.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> UtcMicros {
        UtcMicros::from_secs(1_790_000_000 + secs)
    }

    #[test]
    fn the_wait_grows_to_a_cap_and_never_locks_out() {
        let throttle = Throttle::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            if let Err(wait) = throttle.admit("admin", "192.0.2.7", now) {
                waits.push(wait.as_secs());
                now = now.plus(wait);
                assert_eq!(throttle.admit("admin", "192.0.2.7", now), Ok(()), "after the wait");
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn the_owner_elsewhere_is_not_slowed_down() {
        let throttle = Throttle::default();
        while throttle.admit("admin", "192.0.2.7", at(0)).is_ok() {}
        assert_eq!(throttle.admit("admin", "192.0.2.8", at(0)), Ok(()));
    }

    #[test]
    fn many_accounts_from_one_address_are_slowed_down_too() {
        let throttle = Throttle::default();
        let admitted =
            (0..100).filter(|n| throttle.admit(&format!("user{n}"), "192.0.2.7", at(0)).is_ok()).count();
        assert_eq!(admitted, FREE_TRIES_OF_ADDRESS as usize);
    }

    #[test]
    fn the_right_password_forgives() {
        let throttle = Throttle::default();
        for second in 0..100 {
            assert_eq!(throttle.admit("admin", "192.0.2.7", at(second)), Ok(()));
            throttle.forgive("admin", "192.0.2.7");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..REMEMBERED + 10 {
            let _ = throttle.admit("admin", &format!("{n}"), at(n as i64 / 100));
        }
        assert!(throttle.tries.lock().unwrap().len() <= REMEMBERED);
    }
}
