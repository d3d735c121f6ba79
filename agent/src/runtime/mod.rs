//! The composition root: everything `run` is made of, and the loop that keeps it going.
//!
//! One thread. Four things go on side by side: the schedule (collect, sample, append), the uplink (send, decide),
//! the upkeep of the identity, and the signals. Schedule and uplink meet in the spool and nowhere else, except that
//! a new stream asks for the full state; uplink and upkeep meet in what they watch of each other. An orderly stop tells
//! the usage that was not told yet, commits what waits and is over within two seconds.

mod conduct;
mod notice;
mod reporter;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use bbt_proto::report::v1 as wire;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use uuid::Uuid;

use crate::{
    VERSION,
    boot_record::BootRecord,
    canary::Canary,
    config::Config,
    configuration::{self, Configuration},
    folder::{Folder, FolderError},
    identity::{
        IdentityError,
        clock::Clock,
        keystore, next,
        upkeep::{Credentials, Upkeep},
    },
    platform::Platform,
    report,
    schedule::Task,
    spool::{Handle, Origin, SpoolError},
    uplink::{
        self, Link,
        session::{FullStateRequest, Setting},
    },
};

use conduct::Conduct;
use notice::Notice;
pub use reporter::ALL_SECTIONS;
use reporter::Reporter;

/// The spool has this long for its last commit; a disk that hangs must not hold up a shutdown.
const STOP_WITHIN: Duration = Duration::from_millis(1_500);

/// Why the agent did not start or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state folder refused.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The key and the certificate do not make a secure connection.
    #[error(
        "the key and certificate in {folder} are not usable: {source}; remove that folder and enrol this device again"
    )]
    Tls {
        /// The identity's folder.
        folder: String,
        /// Why.
        source: rustls::Error,
    },
    /// The system gave no thread or signal.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// The spool's thread ended by itself, which it never should.
    #[error("cannot go on: {0}; restart the agent")]
    Spool(#[from] SpoolError),
}

/// Runs until the system asks to stop.
pub async fn run(state: &Folder, config: &Config, platform: Arc<dyn Platform>) -> Result<(), RunError> {
    let stop = stop_asked()?;
    run_until(stop, state, config, platform).await
}

async fn run_until(
    stop: impl Future<Output = ()>,
    state: &Folder,
    config: &Config,
    platform: Arc<dyn Platform>,
) -> Result<(), RunError> {
    let mut stop = pin!(stop);
    state.prepare()?;
    let _lock = state.lock()?;
    next::repair(state)?;
    while let Left::AnotherDevice = run_as_device(stop.as_mut(), state, config, platform.clone()).await? {
        tracing::info!("the agent begins again as another device");
    }
    Ok(())
}

/// Why the work ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The system asks to stop.
    Asked,
    /// The county gave this PC another identity, under which everything begins again.
    AnotherDevice,
}

/// One run under one identity.
async fn run_as_device(
    mut stop: Pin<&mut impl Future<Output = ()>>,
    state: &Folder,
    config: &Config,
    platform: Arc<dyn Platform>,
) -> Result<Left, RunError> {
    let identity = keystore::load(state)?;
    let clock = Arc::new(Clock::new(platform.clone()));
    clock.raise_floor(identity.valid_secs.0.saturating_mul(1_000_000));
    let credentials = Credentials::new(identity, &clock)
        .map_err(|source| RunError::Tls { folder: state.identity().display().to_string(), source })?;
    let identity = &credentials.identity;

    let boot = platform.boot();
    let record = BootRecord::begin(state, boot);
    let mut run_id = [0; 16];
    platform.random(&mut run_id);
    let origin = Origin {
        run_id,
        device_id: identity.device_id.into_bytes(),
        os_boot: wire::OsBoot {
            id: boot.id.to_vec(),
            started_mono_micros: boot.started_mono_micros,
            clean_stop: record.clean_stop_before(),
        },
    };
    tracing::info!(
        device.id = %identity.device_id,
        run.id = %Uuid::from_bytes(run_id).simple(),
        version = VERSION,
        "agent started"
    );
    let configuration = Configuration::open(state, identity.device_id, config);
    let limits = configuration.in_force().limits();
    let (spool, thread) = Handle::start(state.spool(), origin.clone(), limits, clock.clone())?;
    let controller = identity.agent_addresses.first().map(ToString::to_string);
    let mut reporter = Reporter::new(platform.clone(), clock.clone(), spool.clone(), record, controller);
    let worked = {
        let parts =
            Parts { state, configuration, platform, clock, credentials, origin, spool: spool.clone() };
        tokio::select! {
            left = work(parts, &mut reporter) => left,
            () = &mut stop => Ok(Left::Asked),
        }
    };
    let ended = Instant::now() + STOP_WITHIN;
    match tokio::time::timeout(STOP_WITHIN, reporter.tell_usage()).await {
        Ok(Ok(())) => (),
        Ok(Err(error)) => tracing::warn!("the last minutes of usage are not told: {error}"),
        Err(_) => tracing::warn!("the last minutes of usage are not told: the spool's disk hangs"),
    }
    spool.stop().await;
    while !thread.is_finished() && Instant::now() < ended {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reporter.record.stopped();
    tracing::info!("agent stopped");
    worked
}

struct Parts<'a> {
    state: &'a Folder,
    configuration: Configuration,
    platform: Arc<dyn Platform>,
    clock: Arc<Clock>,
    credentials: Credentials,
    origin: Origin,
    spool: Handle,
}

/// Collects and sends; comes back only when it cannot go on as it is.
async fn work(parts: Parts<'_>, reporter: &mut Reporter) -> Result<Left, RunError> {
    let Parts { state, configuration, platform, clock, credentials, origin, spool } = parts;
    match spool.contact().await {
        Ok(contact) => clock.raise_floor(contact.signed_micros.unwrap_or(i64::MIN)),
        Err(error) => return Err(error.into()),
    }
    let (inlet, mut orders) = configuration::channel(configuration.revision());
    let mut conduct = Conduct::new(configuration, platform.clone(), clock.clone());
    // The first inventory comes before the first contact, which shows the evidence found by it.
    let first = conduct.due();
    if let Err(error) = reporter.perform(&first).await {
        return Err(error.into());
    }
    let (full_state, mut full_state_asked) = mpsc::channel::<FullStateRequest>(1);
    let (link, mut link_seen) = watch::channel(Link::default());
    let evidence = report::evidence(&reporter.latest);
    let (device_id, canary) = (credentials.identity.device_id, Canary::load(state));
    let shown = (evidence.clone(), origin.run_id);
    let upkeep = Upkeep::new(state, platform.clone(), clock.clone(), shown, credentials);
    let (credentials, mut standing) = (upkeep.credentials(), upkeep.standing());
    let mut named = credentials.clone();
    let setting = Setting {
        evidence,
        clock,
        spool: spool.clone(),
        origin,
        agent_version: VERSION,
        canary,
        configuration: inlet,
        full_state,
    };
    // On their own, so that a collector that takes its time holds up no report; dropped, they end.
    let mut beside = JoinSet::new();
    beside.spawn(upkeep.run(link.subscribe()));
    beside.spawn(uplink::run(setting, credentials, platform.clone(), link));
    let mut notice = Notice::new(state, spool.clone());
    loop {
        let performed = tokio::select! {
            () = tokio::time::sleep(conduct.wait()) => {
                let live_ended = conduct.end_live();
                let tasks = conduct.due();
                let shows = live_ended || tasks.iter().any(|task| *task > Task::Sample);
                reporter.perform(&tasks).await.map(|()| shows)
            }
            (config, answer) = orders.next() => {
                let outcome = conduct.take(config, state).await;
                orders.tell(conduct.configuration.revision());
                // A stream that broke meanwhile is told by the revision it opens the next with.
                answer.send(outcome).ok();
                spool.limit(conduct.configuration.in_force().limits()).await.map(|()| true)
            }
            Some(asked) = full_state_asked.recv() => reporter.answer_full_state(asked).await.map(|()| true),
            Ok(()) = link_seen.changed() => {
                notice.at_once();
                Ok(false)
            }
            Ok(()) = named.changed() => {
                if named.borrow_and_update().identity.device_id != device_id {
                    return Ok(Left::AnotherDevice);
                }
                Ok(false)
            }
            Ok(()) = standing.changed() => {
                notice.at_once();
                Ok(false)
            }
            () = tokio::time::sleep(notice.wait()) => {
                let link = link_seen.borrow_and_update().clone();
                let (standing, told) = (standing.borrow_and_update().clone(), conduct.told());
                notice.write(platform.now().wall_micros, &link, &standing, told).await.map(|()| false)
            }
        };
        match performed {
            Ok(true) => notice.changed(),
            Ok(false) => (),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Resolves when the system asks the agent to stop.
#[cfg(unix)]
fn stop_asked() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

/// Resolves when the system asks the agent to stop.
#[cfg(not(unix))]
fn stop_asked() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a way to listen there is only the hard way to stop.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prost::Message;

    use super::*;
    use crate::{
        platform::{Roots, Seat, fake::FakePlatform},
        spool::Inspector,
        status::Status,
        testing::Enrolled,
    };

    /// Far beyond what any step takes on a loaded machine.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn platform() -> Arc<FakePlatform> {
        Arc::new(FakePlatform::new(Roots::under(Path::new("/nowhere")), 1))
    }

    #[tokio::test]
    async fn without_an_identity_the_next_step_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let error = run(&Folder::at(temp.path()), &Config::default(), platform()).await.unwrap_err();
        assert!(error.to_string().contains("run `bbt-agent enroll`"), "{error}");
    }

    /// Resolves when everything that was appended is decided.
    async fn reported(device: &Enrolled) -> Status {
        let done = |status: &Status| {
            let run = status.last_run.as_ref();
            run.is_some_and(|run| run.last_committed_at.is_some() && run.backlog.state.frames == 0)
        };
        let reported = async {
            while !done(&Status::gather(&device.state)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Status::gather(&device.state)
        };
        tokio::time::timeout(DEADLINE, reported).await.unwrap()
    }

    /// What waits in the spool, as the next run would send it.
    async fn waiting(device: &Enrolled) -> Vec<wire::Frame> {
        let origin = Origin { run_id: [9; 16], device_id: [5; 16], os_boot: wire::OsBoot::default() };
        let clock = Arc::new(Clock::new(platform()));
        let (spool, thread) =
            Handle::start(device.state.spool(), origin, Config::default().spool, clock).unwrap();
        let batch = spool.next_batch(None, crate::spool::BATCH_MAX_BYTES).await.unwrap();
        spool.stop().await;
        thread.join().unwrap();
        batch.into_iter().map(|(_, frame)| frame).collect()
    }

    #[tokio::test]
    async fn an_enrolled_agent_reports_once_and_its_status_shows_it() {
        let device = Enrolled::new().await;
        let config = Config::default();
        let status = tokio::select! {
            ended = run(&device.state, &config, platform()) => panic!("it ended: {ended:?}"),
            status = reported(&device) => status,
        };
        assert!(status.running);
        let run = status.last_run.unwrap();
        assert_eq!((run.connection.state.as_str(), run.problems.len()), ("connected", 0));
        // The first inventory opened the stream; nothing was said twice.
        assert_eq!(device.agents.seen().frames.len(), 1);
        let listed = Inspector::open(&device.state.spool()).unwrap().list().unwrap();
        assert!(listed.len() == 1 && listed[0].decided_micros.is_some(), "{listed:?}");
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    fn pushed(revision: u64, sample_secs: u32) -> wire::Config {
        let values = wire::Values { sample_interval_secs: Some(sample_secs), ..wire::Values::default() };
        wire::Config { revision, values: Some(values), ..wire::Config::default() }
    }

    #[tokio::test]
    async fn what_the_county_tells_is_answered_in_force_after_a_restart_and_told_at_the_next_contact() {
        let device = Enrolled::new().await;
        device.agents.seen().config = Some(pushed(7, 20));
        let stop = until("an answer", || !device.agents.seen().outcomes.is_empty());
        run_until(stop, &device.state, &Config::default(), platform()).await.unwrap();
        // The next run is told something it does not take.
        device.agents.seen().config = Some(pushed(8, 1));
        let stop = until("a refusal", || {
            let shown = Status::gather(&device.state).last_run.map(|run| run.configuration.revision);
            device.agents.seen().outcomes.len() == 2 && shown == Some(7)
        });
        run_until(stop, &device.state, &Config::default(), platform()).await.unwrap();
        let seen = device.agents.seen();
        let revisions: Vec<_> = seen.opens.iter().map(|open| open.config_revision).collect();
        assert_eq!(revisions, [0, 7]);
        let outcomes: Vec<_> = seen.outcomes.iter().map(|outcome| outcome.outcome.clone().unwrap()).collect();
        assert_eq!(outcomes[0], wire::config_outcome::Outcome::Applied(true));
        let wire::config_outcome::Outcome::Rejected(rejected) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert_eq!(rejected.key, "sample_interval_secs");
        drop(seen);
        let shown = Status::gather(&device.state).last_run.unwrap().configuration;
        let sample = &shown.values[0];
        assert_eq!((sample.value, sample.source), (20, configuration::Source::County));
    }

    #[tokio::test]
    async fn an_orderly_stop_leaves_the_usage_of_the_run_for_the_next_and_nothing_is_told_twice() {
        let device = Enrolled::new().await;
        let platform = platform();
        platform.set_session(Ok(Seat::Idle));
        for (before_secs, watched_secs) in [(60, 20), (40, 7)] {
            // It starts `before_secs` after the system or the run before, and is stopped `watched_secs` later.
            let stop = async {
                reported(&device).await;
                platform.advance(Duration::from_secs(watched_secs));
            };
            run_until(stop, &device.state, &Config::default(), platform.clone()).await.unwrap();
            let frames = waiting(&device).await;
            let [frame] = frames.as_slice() else { panic!("{frames:?}") };
            assert_eq!((frame.kind(), frame.class()), (wire::Kind::Usage, wire::Class::State));
            let usage = wire::Usage::decode(frame.body.as_ref()).unwrap();
            assert!(usage.corrected, "the controller had signed a time");
            let sum = |count: fn(&wire::UsageSlot) -> u32| usage.slots.iter().map(count).sum::<u32>();
            assert_eq!(u64::from(sum(|slot| slot.unwatched_secs)), before_secs);
            assert_eq!(u64::from(sum(|slot| slot.watched_secs)), watched_secs);
            assert_eq!(u64::from(sum(|slot| slot.idle_secs)), watched_secs);
            // The next run starts later, with an empty spool and no status of an earlier one.
            platform.advance(Duration::from_secs(40));
            for folder in [device.state.spool().join("spool.db"), device.state.run().join("status.json")] {
                std::fs::remove_file(folder).unwrap();
            }
        }
    }
}
