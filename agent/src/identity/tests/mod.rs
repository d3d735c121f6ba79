//! The identity against a controller on loopback.

mod clocks;
mod clones;
mod enrolment;
mod exchange;
mod reattachment;

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    clock::Clock,
    keystore, next, renew,
    upkeep::{Credentials, Upkeep},
};
use crate::{
    config::Config,
    platform::{Now, Roots, fake::FakePlatform},
    runtime,
    status::Status,
    testing::{County, Enrolled, TODAY_MICROS},
    uplink::{Link, Phase, refusal::Refusal},
};

/// Far beyond what any step takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An enrolled device whose upkeep is made to look by hand.
struct Pc {
    device: Enrolled,
    platform: Arc<FakePlatform>,
    clock: Arc<Clock>,
    upkeep: Upkeep,
}

impl Pc {
    /// Right after enrolment, its clock right and not yet signed.
    async fn new() -> Pc {
        let device = Enrolled::of(County::of_our_days().with_lasting_listeners()).await;
        let platform = Arc::new(FakePlatform::new(Roots::under(Path::new("/nowhere")), 1));
        platform.set_now(Now { wall_micros: TODAY_MICROS, mono_micros: 60_000_000 });
        let (clock, upkeep) = start(&device, &platform);
        Pc { device, platform, clock, upkeep }
    }

    /// As after the end of the program at any point.
    fn restart(&mut self) {
        (self.clock, self.upkeep) = start(&self.device, &self.platform);
        self.clock.accept(self.device.agents.seen().now_micros);
    }

    /// Time goes on for device and controller.
    fn later(&self, days: u32) {
        self.platform.advance(DAY * days);
        self.device.agents.seen().now_micros += (DAY * days).as_micros() as i64;
    }

    /// The public key in force by what is on disk.
    fn key_on_disk(&self) -> Vec<u8> {
        public_key(&keystore::load(&self.device.state).unwrap().key)
    }

    fn next_key_on_disk(&self) -> Option<Vec<u8>> {
        Some(public_key(&keystore::read_key(&next::folder(&self.device.state)).ok()?))
    }

    /// The code of what the upkeep says is in the way.
    fn trouble(&self) -> Option<&'static str> {
        self.upkeep.standing().borrow().refusal.as_ref().map(|refusal| refusal.code)
    }

    /// Looks until nothing is needed any more.
    async fn settle(&mut self) {
        let settled = async {
            while self.upkeep.need(&connected()).is_some() {
                let pause = self.upkeep.look(&connected()).await;
                tokio::time::sleep(pause).await;
            }
        };
        tokio::time::timeout(DEADLINE, settled).await.unwrap();
    }
}

/// What `run` begins with.
fn start(device: &Enrolled, platform: &Arc<FakePlatform>) -> (Arc<Clock>, Upkeep) {
    next::repair(&device.state).unwrap();
    let clock = Arc::new(Clock::new(platform.clone()));
    let credentials = Credentials::new(keystore::load(&device.state).unwrap(), &clock).unwrap();
    let upkeep =
        Upkeep::new(&device.state, platform.clone(), clock.clone(), (Vec::new(), [1; 16]), credentials);
    (clock, upkeep)
}

fn public_key(key: &rustls::pki_types::PrivatePkcs8KeyDer<'_>) -> Vec<u8> {
    rcgen::KeyPair::try_from(key).unwrap().public_key_raw().to_vec()
}

fn connected() -> Link {
    let address = "county.example:7443".parse().unwrap();
    Link { phase: Phase::Connected { address, since_wall_micros: 0 }, refusal: None }
}

/// The uplink was refused for this, and waits.
fn refused(code: &'static str) -> Link {
    Link { refusal: Some(Refusal::passing(code, "no", "wait")), ..Link::default() }
}

/// Runs the whole agent until everything that it had to say is stored.
async fn reports(device: &Enrolled, platform: &Arc<FakePlatform>) -> Status {
    let stored = |status: &Status| {
        let run = status.last_run.as_ref();
        run.is_some_and(|run| run.last_committed_at.is_some() && run.backlog.state.frames == 0)
    };
    let reported = async {
        while !stored(&Status::gather(&device.state)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Status::gather(&device.state)
    };
    let config = Config::default();
    tokio::select! {
        ended = runtime::run(&device.state, &config, platform.clone()) => panic!("it ended: {ended:?}"),
        status = tokio::time::timeout(DEADLINE, reported) => {
            status.unwrap_or_else(|_| panic!("not in time: {}", Status::gather(&device.state).to_text()))
        }
    }
}
