//! The Windows platform, as far as it is built: clocks, randomness, processor and memory, room on a disk, the
//! machine's name, the network. Hardware, disks, network cards and the session are not read yet: the collectors
//! find none of their sources below the roots and say so.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ring::rand::SystemRandom;

use super::{Boot, Load, Method, Now, Platform, Roots, Seat, Space, echo, shared};

mod system;

pub(crate) use system::make_private_folder;

/// The platform of this system, reading facts below `roots`.
#[must_use]
pub fn native(roots: Roots) -> Arc<dyn Platform> {
    Arc::new(Windows {
        roots,
        random: SystemRandom::new(),
        boot: OnceLock::new(),
        processor_before: Mutex::default(),
    })
}

#[derive(Debug)]
struct Windows {
    roots: Roots,
    random: SystemRandom,
    boot: OnceLock<Boot>,
    processor_before: Mutex<Option<system::ProcessorTimes>>,
}

impl Windows {
    /// The busy share is a difference, so the first reading has none.
    fn processor_busy_permille(&self) -> Option<u64> {
        let now = system::processor_times().ok()?;
        let mut before = self.processor_before.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = before.replace(now)?;
        let all = now.all.checked_sub(earlier.all)?;
        let idle = now.idle.checked_sub(earlier.idle)?;
        all.saturating_sub(idle).saturating_mul(1_000).checked_div(all)
    }
}

impl Platform for Windows {
    #[expect(clippy::disallowed_methods, reason = "here the clock comes in")]
    fn now(&self) -> Now {
        // Before 1970 there was no Windows.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_micros: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
            mono_micros: i64::try_from(system::uptime().as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn random(&self, bytes: &mut [u8]) {
        shared::fill(&self.random, bytes);
    }

    fn boot(&self) -> Boot {
        *self.boot.get_or_init(|| {
            let mut fresh = [0; 16];
            self.random(&mut fresh);
            let id = system::boot_id(fresh).unwrap_or_else(|_| shared::id_from_start(self.now()));
            Boot { id, started_mono_micros: 0 }
        })
    }

    fn roots(&self) -> &Roots {
        &self.roots
    }

    fn load(&self) -> Load {
        Load {
            processor_busy_permille: self.processor_busy_permille(),
            memory_used_bytes: system::memory_used_bytes().ok(),
            ..Load::default()
        }
    }

    fn space(&self, mount_point: &Path) -> io::Result<Space> {
        system::space(mount_point)
    }

    fn echo(&self, peer: IpAddr, deadline: Duration) -> io::Result<(Method, Duration)> {
        let mut payload = [0; echo::PAYLOAD_BYTES];
        self.random(&mut payload);
        echo::echo(peer, payload, deadline)
    }

    fn connect(&self, peer: SocketAddr, deadline: Duration) -> io::Result<Duration> {
        shared::connect(peer, deadline)
    }

    fn permanent_mac(&self, _interface: &str) -> io::Result<Option<[u8; 6]>> {
        Err(not_built("network cards"))
    }

    fn host_name(&self) -> io::Result<String> {
        system::host_name()
    }

    fn session(&self) -> io::Result<Seat> {
        Err(not_built("whether somebody is signed in"))
    }
}

fn not_built(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("this version does not ask Windows about {what}"))
}
