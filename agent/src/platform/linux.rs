//! The Linux platform. What is a file is read below the roots; what only the running kernel can answer (live
//! processor load, room on a file system, an interface's burnt-in address) is answered for the roots of this
//! machine alone, never mixed into the facts of another machine's tree.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ring::rand::SystemRandom;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::{Boot, Load, Method, Now, Platform, Roots, Seat, Space, echo, shared};
use crate::{collect::storage, decode};

mod child;
mod ethtool;
mod seat;

/// The platform of this system, reading facts below `roots`.
#[must_use]
pub fn native(roots: Roots) -> Arc<dyn Platform> {
    let own_machine = roots == Roots::system();
    Arc::new(Linux {
        roots,
        own_machine,
        random: SystemRandom::new(),
        boot: OnceLock::new(),
        meter: Mutex::new(None),
        seat: seat::Watcher::default(),
    })
}

#[derive(Debug)]
struct Linux {
    roots: Roots,
    own_machine: bool,
    random: SystemRandom,
    boot: OnceLock<Boot>,
    meter: Mutex<Option<sysinfo::System>>,
    seat: seat::Watcher,
}

impl Linux {
    /// Processor and memory. The busy share is a difference, so the first reading has none.
    fn meter(&self) -> Load {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let primed = meter.is_some();
        let system = match meter.as_mut() {
            Some(system) => system,
            None => match sysinfo::System::new() {
                Ok(system) => meter.insert(system),
                Err(_) => return Load::default(),
            },
        };
        system.refresh_cpu_usage();
        system.refresh_memory();
        let known = system.total_memory() > 0;
        Load {
            processor_busy_permille: primed.then(|| permille(system.global_cpu_usage())),
            memory_used_bytes: known.then(|| system.used_memory()),
            swap_used_bytes: known.then(|| system.used_swap()),
            ..Load::default()
        }
    }

    fn of_own_machine(&self) -> io::Result<()> {
        let told = "only the machine itself can answer, and the facts are read from another machine's tree";
        if self.own_machine { Ok(()) } else { Err(io::Error::new(io::ErrorKind::Unsupported, told)) }
    }
}

impl Platform for Linux {
    fn now(&self) -> Now {
        Now { wall_micros: wall_micros(), mono_micros: micros(clock_gettime(ClockId::Boottime)) }
    }

    fn random(&self, bytes: &mut [u8]) {
        shared::fill(&self.random, bytes);
    }

    fn boot(&self) -> Boot {
        *self.boot.get_or_init(|| {
            let kernel_id = fs::read_to_string(self.roots.proc.join("sys/kernel/random/boot_id"))
                .ok()
                .and_then(|text| uuid::Uuid::try_parse(text.trim()).ok());
            let id = kernel_id.map_or_else(|| shared::id_from_start(self.now()), uuid::Uuid::into_bytes);
            Boot { id, started_mono_micros: 0 }
        })
    }

    fn roots(&self) -> &Roots {
        &self.roots
    }

    fn load(&self) -> Load {
        let mut load = if self.own_machine { self.meter() } else { Load::default() };
        load.network = network_counters(&self.roots.sys);
        load.disks = disk_counters(&self.roots);
        load
    }

    fn space(&self, mount_point: &Path) -> io::Result<Space> {
        self.of_own_machine()?;
        let found = rustix::fs::statvfs(mount_point)?;
        Ok(Space {
            size_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    fn echo(&self, peer: IpAddr, deadline: Duration) -> io::Result<(Method, Duration)> {
        self.of_own_machine()?;
        let mut payload = [0; echo::PAYLOAD_BYTES];
        self.random(&mut payload);
        echo::echo(peer, payload, deadline)
    }

    fn connect(&self, peer: SocketAddr, deadline: Duration) -> io::Result<Duration> {
        shared::connect(peer, deadline)
    }

    fn permanent_mac(&self, interface: &str) -> io::Result<Option<[u8; 6]>> {
        if self.own_machine { ethtool::permanent_mac(interface) } else { Ok(None) }
    }

    fn host_name(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.roots.proc.join("sys/kernel/hostname"))?.trim().to_owned())
    }

    fn session(&self) -> io::Result<Seat> {
        self.seat.look(&self.roots.run, self.of_own_machine())
    }

    fn architecture(&self) -> io::Result<String> {
        self.of_own_machine()?;
        Ok(rustix::system::uname().machine().to_string_lossy().into_owned())
    }
}

/// By the C library, where a test can move it; rustix asks the kernel itself.
#[expect(clippy::disallowed_methods, reason = "the one place where this system's wall clock is read")]
fn wall_micros() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(span) => i64::try_from(span.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

fn micros(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

/// A share in percent as whole thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000 before")]
fn permille(percent: f32) -> u64 {
    (percent * 10.0).round().clamp(0.0, 1_000.0) as u64
}

/// Two small files per physical interface. sysinfo would read ten files of every interface, and their
/// addresses by another call, at each reading.
fn network_counters(sys: &Path) -> Vec<(String, u64, u64)> {
    let Ok(entries) = fs::read_dir(sys.join("class/net")) else { return Vec::new() };
    let mut counters: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| {
            let statistics = entry.path().join("statistics");
            let received = counter(&statistics.join("rx_bytes"))?;
            let sent = counter(&statistics.join("tx_bytes"))?;
            Some((entry.file_name().into_string().ok()?, received, sent))
        })
        .collect();
    counters.sort();
    counters
}

fn disk_counters(roots: &Roots) -> Vec<(String, u64, u64)> {
    let Ok(text) = fs::read_to_string(roots.proc.join("diskstats")) else { return Vec::new() };
    let Ok(disks) = storage::disk_names(&roots.sys) else { return Vec::new() };
    let mut counters = decode::diskstats::parse(&text);
    counters.retain(|(name, ..)| disks.contains(name));
    counters
}

fn counter(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
