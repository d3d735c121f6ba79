//! What the standard library and the crates give alike on every system.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use ring::rand::{SecureRandom, SystemRandom};

use super::Now;

/// Between two attempts to get random bytes from a system that refuses them.
const RANDOM_RETRY: Duration = Duration::from_millis(100);

/// Nothing may go on with predictable keys and ids, so a system that refuses is asked again.
pub(super) fn fill(random: &SystemRandom, bytes: &mut [u8]) {
    while random.fill(bytes).is_err() {
        thread::sleep(RANDOM_RETRY);
    }
}

pub(super) fn connect(peer: SocketAddr, deadline: Duration) -> io::Result<Duration> {
    let started = Instant::now();
    TcpStream::connect_timeout(&peer, deadline)?;
    Ok(started.elapsed())
}

/// For a system that has no id of its start: when that was, by the clock as it is now. To be computed once, so
/// that a clock that is set later does not change it within one run of the agent.
pub(super) fn id_from_start(now: Now) -> [u8; 16] {
    let started_micros = now.wall_micros.saturating_sub(now.mono_micros);
    let mut id = *b"bbt-boot........";
    id[8..].copy_from_slice(&(started_micros / 1_000_000).to_be_bytes());
    id
}
