//! Everything that differs between systems, behind one set of names.
//!
//! Time, randomness, the roots of sysfs and procfs, live load and the network come in through [`Platform`],
//! so that the whole agent also runs on fixture trees and in simulation. Nothing else in the crate asks the
//! operating system for any of these.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

mod echo;
pub mod fake;
#[cfg(target_os = "linux")]
mod linux;
mod shared;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::native;
#[cfg(windows)]
pub(crate) use windows::make_private_folder;
#[cfg(windows)]
pub use windows::native;

/// The wall clock and the monotonic clock, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since 1970 as the device has it; never trusted for order.
    pub wall_micros: i64,
    /// Microseconds since the operating system started, counting through sleep.
    pub mono_micros: i64,
}

/// One start of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's own id of this start where it has one, else derived from its start time.
    pub id: [u8; 16],
    /// Start on the monotonic clock of [`Now`].
    pub started_mono_micros: i64,
}

/// Where facts are read from. Settable, so that the tree of another machine tests the same code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// `/sys`
    pub sys: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
    /// `/etc`
    pub etc: PathBuf,
    /// `/run`
    pub run: PathBuf,
}

impl Roots {
    /// Those of the machine the program runs on.
    #[must_use]
    pub fn system() -> Self {
        Self::under(Path::new("/"))
    }

    /// Those of a tree that was copied from a machine to `top`.
    #[must_use]
    pub fn under(top: &Path) -> Self {
        Self { sys: top.join("sys"), proc: top.join("proc"), etc: top.join("etc"), run: top.join("run") }
    }
}

/// Counters and levels of the running system; an absent field is unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Busy share of all processors since the reading before, 0 to 1000.
    pub processor_busy_permille: Option<u64>,
    /// Memory in use, without caches.
    pub memory_used_bytes: Option<u64>,
    /// Swap in use.
    pub swap_used_bytes: Option<u64>,
    /// Per physical interface: name, bytes received and sent since the system started.
    pub network: Vec<(String, u64, u64)>,
    /// Per disk: name, bytes read and written since the system started.
    pub disks: Vec<(String, u64, u64)>,
}

/// Room on a mounted file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Whole size.
    pub size_bytes: u64,
    /// Free to an ordinary program.
    pub free_bytes: u64,
}

/// What goes on at the seat in front of the set. Who sits there is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Somebody is signed in and uses the set.
    Active,
    /// Somebody is signed in and has left it alone.
    Idle,
    /// Nobody is signed in.
    Nobody,
}

/// How a peer was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An ICMP echo.
    Icmp,
    /// A TCP connection made or refused.
    Tcp,
}

/// What the agent needs of its system. Calls may block; those that can hang are made on the blocking pool.
pub trait Platform: Send + Sync + fmt::Debug + 'static {
    /// Both clocks.
    fn now(&self) -> Now;
    /// Fills `bytes` from the system's random source.
    fn random(&self, bytes: &mut [u8]);
    /// This start of the operating system.
    fn boot(&self) -> Boot;
    /// Where facts are read from.
    fn roots(&self) -> &Roots;
    /// Reads the live load.
    fn load(&self) -> Load;
    /// Asks the file system mounted at `mount_point`.
    fn space(&self, mount_point: &Path) -> io::Result<Space>;
    /// The time an echo to `peer` and back took.
    fn echo(&self, peer: IpAddr, deadline: Duration) -> io::Result<(Method, Duration)>;
    /// The time a TCP connection to `peer` took.
    fn connect(&self, peer: SocketAddr, deadline: Duration) -> io::Result<Duration>;
    /// The burnt-in address of an interface.
    fn permanent_mac(&self, interface: &str) -> io::Result<Option<[u8; 6]>>;
    /// The machine's own name.
    fn host_name(&self) -> io::Result<String>;
    /// What goes on at the seat. May take seconds.
    fn session(&self) -> io::Result<Seat> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this system does not tell whether somebody is signed in",
        ))
    }
    /// The processor architecture as `uname -m` says it.
    fn architecture(&self) -> io::Result<String> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not tell its architecture"))
    }
}
