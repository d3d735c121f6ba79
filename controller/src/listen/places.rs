//! Who may be here: places at one port, in all and for each address.
//!
//! What one address can take is a part of what there is, so that whoever sends from one address leaves room for
//! everybody else. A school behind one address is one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::bucket::Bucket;

/// Handshakes under way at once for one address: an eighth of all.
const HANDSHAKES_PER_ADDRESS: usize = super::HANDSHAKES / 8;
/// Addresses remembered before those are looked for that nothing is known of any more.
const ADDRESSES: usize = 4_096;

/// How much a port takes at once.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Connections, in all.
    pub connections: usize,
    /// Connections from one address; as many may also arrive at once.
    pub per_address: u32,
    /// Connections a second that may arrive from one address for long.
    pub arrivals_per_sec: u32,
    /// Where requests are short: how many of them.
    pub requests: Option<Requests>,
}

/// How many requests a port takes at once.
#[derive(Clone, Copy, Debug)]
pub struct Requests {
    /// In all.
    pub at_once: usize,
    /// From one address.
    pub per_address: u32,
    /// A second from one address for long; ten seconds' worth at once.
    pub per_sec: u32,
}

/// The places of one port.
#[derive(Debug)]
pub(super) struct Places {
    caps: Caps,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    addresses: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    shares: HashMap<IpAddr, Share>,
    look_at: usize,
}

/// What one address has.
#[derive(Debug)]
struct Share {
    connections: u32,
    requests: u32,
    arrivals: Bucket,
    asked: Bucket,
    handshakes: Arc<Semaphore>,
}

impl Share {
    fn new(caps: &Caps, now: std::time::Instant) -> Self {
        let per_sec = caps.requests.map_or(1, |requests| requests.per_sec);
        Self {
            connections: 0,
            requests: 0,
            arrivals: Bucket::new(caps.arrivals_per_sec, caps.per_address, now),
            asked: Bucket::new(per_sec, per_sec.saturating_mul(10), now),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_PER_ADDRESS)),
        }
    }

    fn is_forgettable(&self, now: std::time::Instant) -> bool {
        self.connections == 0 && self.arrivals.is_full(now) && self.asked.is_full(now)
    }
}

impl Places {
    /// All free.
    pub(super) fn new(caps: Caps) -> Self {
        let requests = caps.requests.map_or(Semaphore::MAX_PERMITS, |requests| requests.at_once);
        Self {
            caps,
            connections: Arc::new(Semaphore::new(caps.connections)),
            requests: Arc::new(Semaphore::new(requests)),
            addresses: Mutex::new(Addresses { shares: HashMap::new(), look_at: ADDRESSES }),
        }
    }

    /// A place for a connection from `peer`, if there is one.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        let (address, now) = (network(peer), Instant::now().into_std());
        let mut addresses = self.lock();
        addresses.forget(now);
        let share = addresses.shares.entry(address).or_insert_with(|| Share::new(&self.caps, now));
        if share.connections >= self.caps.per_address || !share.arrivals.try_take(1, now) {
            return None;
        }
        share.connections += 1;
        let handshakes = Arc::clone(&share.handshakes);
        drop(addresses);
        Some(Place { places: Arc::clone(self), address, handshakes, _permit: permit })
    }

    /// Waits until every place is free.
    pub(super) async fn all_free(&self) {
        let all = u32::try_from(self.caps.connections).unwrap_or(u32::MAX);
        let _ = self.connections.acquire_many(all).await;
    }

    fn lock(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Addresses {
    fn forget(&mut self, now: std::time::Instant) {
        if self.shares.len() < self.look_at {
            return;
        }
        self.shares.retain(|_, share| !share.is_forgettable(now));
        // Not at every arrival, where all are still known.
        self.look_at = (2 * self.shares.len()).max(ADDRESSES);
    }
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    /// Handshakes of this address.
    pub(super) handshakes: Arc<Semaphore>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// A place for a request, if there is one, and how long it has to wait for its turn.
    pub(super) fn request(self: &Arc<Self>) -> Option<(RequestPlace, Duration)> {
        let permit = Arc::clone(&self.places.requests).try_acquire_owned().ok()?;
        let pause = match self.places.caps.requests {
            None => Duration::ZERO,
            Some(caps) => {
                let mut addresses = self.places.lock();
                let share = addresses.shares.get_mut(&self.address)?;
                if share.requests >= caps.per_address {
                    return None;
                }
                share.requests += 1;
                share.asked.take(1, Instant::now().into_std())
            }
        };
        Some((RequestPlace { place: Arc::clone(self), _permit: permit }, pause))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(share) = self.places.lock().shares.get_mut(&self.address) {
            share.connections -= 1;
        }
    }
}

/// A request's place, given back when dropped.
#[derive(Debug)]
pub(super) struct RequestPlace {
    place: Arc<Place>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for RequestPlace {
    fn drop(&mut self) {
        let places = &self.place.places;
        if places.caps.requests.is_some()
            && let Some(share) = places.lock().shares.get_mut(&self.place.address)
        {
            share.requests -= 1;
        }
    }
}

/// What counts as one address: of IPv6 the network of 64 bits that a provider gives to one customer.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = Caps {
        connections: 6,
        per_address: 4,
        arrivals_per_sec: 1,
        requests: Some(Requests { at_once: 5, per_address: 3, per_sec: 1 }),
    };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_leaves_room_for_others() {
        let places = Arc::new(Places::new(CAPS));
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let mut of_one: Vec<_> = (0..10).filter_map(|_| places.take(one)).collect();
        assert_eq!(of_one.len(), 4);
        let of_other: Vec<_> = (0..10).filter_map(|_| places.take(other)).collect();
        assert_eq!(of_other.len(), 2, "the rest of all");

        of_one.pop();
        assert!(places.take(one).is_none(), "four arrived at once: the next a second later");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(places.take(one).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_address() {
        let places = Arc::new(Places::new(CAPS));
        let taken = (0..10).filter_map(|n| places.take(address(&format!("2001:db8:1:2:{n}::1"))));
        assert_eq!(taken.collect::<Vec<_>>().len(), 4);
        assert!(places.take(address("2001:db8:1:3::1")).is_some());
        assert_eq!(network(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_one_address_leave_room_and_take_their_time() {
        let places = Arc::new(Places::new(CAPS));
        let place = Arc::new(places.take(address("192.0.2.1")).unwrap());
        let mut held: Vec<_> = (0..10).filter_map(|_| place.request()).collect();
        assert_eq!(held.len(), 3);
        let other = Arc::new(places.take(address("192.0.2.2")).unwrap());
        assert_eq!((0..10).filter_map(|_| other.request()).collect::<Vec<_>>().len(), 2);

        held.clear();
        let pauses: Vec<_> = (0..10).map(|_| place.request().unwrap().1).collect();
        assert_eq!(pauses.iter().filter(|pause| pause.is_zero()).count(), 7, "three were taken before");
        assert!(pauses.is_sorted(), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_went_away_are_forgotten() {
        let places = Arc::new(Places::new(CAPS));
        for n in 0..3 * ADDRESSES as u32 {
            drop(places.take(IpAddr::V4(n.into())));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(places.lock().shares.len() <= ADDRESSES);
    }
}
