//! A platform that tests fill: its clock stands until moved, its random numbers repeat, its answers are set.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Boot, Load, Method, Now, Platform, Roots, Seat, Space};

/// The wall clock of a new fake: a school day, 2026-03-02T00:00:00Z.
const FIRST_WALL_MICROS: i64 = 1_772_409_600_000_000;
/// The monotonic clock of a new fake: a minute after the start of the system.
const FIRST_MONO_MICROS: i64 = 60_000_000;

/// See the head of the module. All setters take `&self`, so that a test can change what shared code sees.
#[derive(Debug)]
pub struct FakePlatform {
    roots: Roots,
    answers: Mutex<Answers>,
}

#[derive(Debug)]
struct Answers {
    now: Now,
    random_state: u64,
    boot: Boot,
    load: Load,
    spaces: HashMap<PathBuf, Result<Space, io::ErrorKind>>,
    echo: Result<(Method, Duration), io::ErrorKind>,
    connect: Result<Duration, io::ErrorKind>,
    permanent_macs: HashMap<String, [u8; 6]>,
    host_name: Result<String, io::ErrorKind>,
    architecture: Result<String, io::ErrorKind>,
    session: Result<Seat, io::ErrorKind>,
}

impl FakePlatform {
    /// Facts come from `roots`; equal seeds give equal random bytes. The network does not answer and no file
    /// system tells its size until set.
    #[must_use]
    pub fn new(roots: Roots, seed: u64) -> Self {
        let answers = Answers {
            now: Now { wall_micros: FIRST_WALL_MICROS, mono_micros: FIRST_MONO_MICROS },
            random_state: seed,
            boot: Boot { id: [1; 16], started_mono_micros: 0 },
            load: Load::default(),
            spaces: HashMap::new(),
            echo: Err(io::ErrorKind::TimedOut),
            connect: Err(io::ErrorKind::TimedOut),
            permanent_macs: HashMap::new(),
            host_name: Ok("classroom".into()),
            architecture: Ok("x86_64".into()),
            session: Err(io::ErrorKind::Unsupported),
        };
        Self { roots, answers: Mutex::new(answers) }
    }

    /// Both clocks go on by `time`.
    pub fn advance(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let mut answers = self.answers();
        answers.now.wall_micros = answers.now.wall_micros.saturating_add(micros);
        answers.now.mono_micros = answers.now.mono_micros.saturating_add(micros);
    }

    /// Sets both clocks; a wall clock may step either way.
    pub fn set_now(&self, now: Now) {
        self.answers().now = now;
    }

    /// Another start of the operating system.
    pub fn set_boot(&self, boot: Boot) {
        self.answers().boot = boot;
    }

    /// What the next readings of the live load say.
    pub fn set_load(&self, load: Load) {
        self.answers().load = load;
    }

    /// What the file system at `mount_point` answers.
    pub fn set_space(&self, mount_point: impl Into<PathBuf>, space: Result<Space, io::ErrorKind>) {
        self.answers().spaces.insert(mount_point.into(), space);
    }

    /// What every echo answers.
    pub fn set_echo(&self, echo: Result<(Method, Duration), io::ErrorKind>) {
        self.answers().echo = echo;
    }

    /// What every connection attempt answers.
    pub fn set_connect(&self, connect: Result<Duration, io::ErrorKind>) {
        self.answers().connect = connect;
    }

    /// The burnt-in address of `interface`.
    pub fn set_permanent_mac(&self, interface: &str, mac: [u8; 6]) {
        self.answers().permanent_macs.insert(interface.into(), mac);
    }

    /// The machine's own name.
    pub fn set_host_name(&self, host_name: Result<String, io::ErrorKind>) {
        self.answers().host_name = host_name;
    }

    /// The processor architecture.
    pub fn set_architecture(&self, architecture: Result<String, io::ErrorKind>) {
        self.answers().architecture = architecture;
    }

    /// What goes on at the seat.
    pub fn set_session(&self, session: Result<Seat, io::ErrorKind>) {
        self.answers().session = session;
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform for FakePlatform {
    fn now(&self) -> Now {
        self.answers().now
    }

    fn random(&self, bytes: &mut [u8]) {
        let mut answers = self.answers();
        for chunk in bytes.chunks_mut(8) {
            let word = split_mix(&mut answers.random_state).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn boot(&self) -> Boot {
        self.answers().boot
    }

    fn roots(&self) -> &Roots {
        &self.roots
    }

    fn load(&self) -> Load {
        self.answers().load.clone()
    }

    fn space(&self, mount_point: &Path) -> io::Result<Space> {
        let unset = Err(io::ErrorKind::NotFound);
        Ok(self.answers().spaces.get(mount_point).copied().unwrap_or(unset)?)
    }

    fn echo(&self, _peer: IpAddr, _deadline: Duration) -> io::Result<(Method, Duration)> {
        Ok(self.answers().echo?)
    }

    fn connect(&self, _peer: SocketAddr, _deadline: Duration) -> io::Result<Duration> {
        Ok(self.answers().connect?)
    }

    fn permanent_mac(&self, interface: &str) -> io::Result<Option<[u8; 6]>> {
        Ok(self.answers().permanent_macs.get(interface).copied())
    }

    fn host_name(&self) -> io::Result<String> {
        Ok(self.answers().host_name.clone()?)
    }

    fn session(&self) -> io::Result<Seat> {
        Ok(self.answers().session?)
    }

    fn architecture(&self) -> io::Result<String> {
        Ok(self.answers().architecture.clone()?)
    }
}

/// Steele, Lea and Flood's SplitMix64: one word of state, good enough for tests.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
