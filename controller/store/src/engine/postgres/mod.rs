//! PostgreSQL: a pool of threads, each with a connection of its own, some to write and some to read.
//!
//! An operation is one transaction. Operations are written as if they were alone, which they are on SQLite;
//! SERIALIZABLE keeps that true here, among the threads and among several controllers: when two operations
//! could have seen something that no order of the two explains, the server refuses one, and it is run again
//! (`deploy/docs/decisions/0013-postgresql-serializable.md`). One that others get ahead of a few times has the
//! county to itself for its next run, so that it is done in the end however many others there are. A unique key
//! tells of the same race in other words; it is believed when nobody else was there.
//!
//! Order: the operations that were submitted about one subject take their turns in the order in which they
//! were queued, and a turn lasts until the commit, however often the operation had to be run (`desk.rs`). So
//! the batches of a stream, which are all about one device, are committed in the order in which they came,
//! and two operations about one device never race each other within a process. All else is done by whichever
//! thread is free. Connections share the server's syncs as SQLite's writes share a commit.
//!
//! A result is released after the server said that its commit is kept. When the connection ends in the middle
//! of the COMMIT, or the server warns there, nobody knows: that is an error, [`StoreError::Unknown`]. One that
//! ends before it costs a new connection and another run.

mod desk;
mod place;
mod session;

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use bbt_domain::time::UtcMicros;
use ring::rand::{SecureRandom, SystemRandom};

use super::{
    OpenError, Tx,
    dialect::Remedy,
    job::Job,
    migrate,
    store::{Health, Subject},
};
use crate::error::StoreError;
use desk::Desk;
use place::Place;
pub(super) use session::Session;
use session::{Company, Purpose};

/// Connections that write. A write waits for the server's disk most of its time, and those that wait together
/// share a sync. A server allows 100 connections in all by default: room for eight controllers.
const WRITERS: usize = 8;
/// Connections that read.
const READERS: usize = 4;
/// Writes waiting or being done; beyond it callers wait for room, and so read no more from their devices.
const WRITE_QUEUE: usize = 1_024;
/// Reads waiting or being done.
const READ_QUEUE: usize = 256;
/// From this run on, an operation that others got ahead of has the county to itself. Sooner, and two that met by
/// chance would stop all others; later, and a crowd at one row would be run in vain more often.
const ALONE_FROM_RUN: u32 = 4;
/// Runs of an operation at all. What undoes one that is alone is the server, a few times.
const RUNS: u32 = 8;
/// The longest pause after the first run; doubled after each further one, so half a second in all.
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// The engine on a server.
pub(super) struct Postgres {
    writes: Arc<Desk<Box<dyn Job>>>,
    reads: Arc<Desk<Box<dyn Job>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Postgres {
    pub(super) fn open(url: &str, health: &Arc<Health>, now: UtcMicros) -> Result<Self, OpenError> {
        let place = Arc::new(Place::parse(url)?);
        prepare_county(&place, now)?;
        let mut pool = Self {
            writes: Arc::new(Desk::new(WRITE_QUEUE)),
            reads: Arc::new(Desk::new(READ_QUEUE)),
            threads: Vec::new(),
        };
        for (purpose, name, threads) in
            [(Purpose::Write, "store-writer", WRITERS), (Purpose::Read, "store-reader", READERS)]
        {
            for _ in 0..threads {
                let desk = if purpose == Purpose::Write { &pool.writes } else { &pool.reads };
                let desk = Arc::clone(desk);
                let (place, health) = (Arc::clone(&place), Arc::clone(health));
                let worker = Worker { place, purpose, health, session: None };
                let thread = thread::Builder::new()
                    .name(name.into())
                    .spawn(move || worker.work(&desk))
                    .map_err(OpenError::Threads)?;
                pool.threads.push(thread);
            }
        }
        Ok(pool)
    }

    /// Queues a write as soon as there is room.
    pub(super) async fn write(&self, subject: Option<Subject>, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.writes.put(subject, job).await
    }

    /// Queues a read as soon as there is room.
    pub(super) async fn read(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.reads.put(None, job).await
    }
}

impl Drop for Postgres {
    /// Lets the threads finish what is queued, so that dropping the store is an orderly stop.
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Sees whether the server keeps its promises, and brings the county's schema up to date. On a thread of its
/// own: the driver waits in a runtime of its own, which may not be started inside of the caller's.
fn prepare_county(place: &Place, now: UtcMicros) -> Result<(), OpenError> {
    let prepare = || {
        let mut session = Session::open(place, Purpose::Write)?;
        session.warn_of_silent_damage(place)?;
        migrate::postgres(&mut session, &place.schema, &place.name, now)
    };
    match thread::scope(|scope| scope.spawn(prepare).join()) {
        Ok(prepared) => prepared,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A thread of the pool.
struct Worker {
    place: Arc<Place>,
    purpose: Purpose,
    health: Arc<Health>,
    /// `None` before the first job and after the connection was lost.
    session: Option<Session>,
}

/// How a run of an operation ended.
enum Run {
    /// With its commit, or with an error that another run would not mend.
    Ended(Result<(), StoreError>),
    /// Undone by the server or with the connection, before the commit.
    Undone(StoreError),
}

impl Worker {
    fn work(mut self, desk: &Desk<Box<dyn Job>>) {
        while let Some((mut job, turn)) = desk.take() {
            let end = match self.purpose {
                Purpose::Write => self.write(job.as_mut()),
                Purpose::Read => self.read(job.as_mut()),
            };
            job.finish(end);
            drop(turn);
        }
    }

    /// Runs a job until it is kept or it is clear that it cannot be.
    fn write(&mut self, job: &mut dyn Job) -> Result<(), StoreError> {
        let mut runs = 1;
        loop {
            let company = if runs < ALONE_FROM_RUN { Company::Others } else { Company::Nobody };
            let error = match self.run(job, company) {
                Run::Ended(end) => return end,
                Run::Undone(error) => error,
            };
            let is_no_race = company == Company::Nobody && Remedy::of(&error) == Remedy::AgainIfNew;
            if is_no_race || runs == RUNS {
                return Err(error);
            }
            pause_after(runs);
            runs += 1;
        }
    }

    fn run(&mut self, job: &mut dyn Job, company: Company) -> Run {
        let session = match self.begin(company) {
            Ok(session) => session,
            Err(error) => {
                self.health.failed(&error);
                return Run::Ended(Err(error));
            }
        };
        let mut tx = Tx::on_postgres(session);
        let keep = job.run(&mut tx);
        if let Some(error) = tx.failure().cloned() {
            return self.undo(error);
        }
        if !keep {
            return Run::Ended(self.roll_back());
        }
        match session.commit() {
            Ok(()) => {
                self.health.committed(1);
                Run::Ended(Ok(()))
            }
            Err(error) if Remedy::of(&error) == Remedy::Tell => {
                tracing::error!(%error, "a commit failed; what was written in it was not acknowledged");
                self.health.failed(&error);
                self.session = None;
                Run::Ended(Err(error))
            }
            Err(error) => self.undo(error),
        }
    }

    /// Ends a transaction in which a statement failed.
    fn undo(&mut self, error: StoreError) -> Run {
        let is_lost = self.session.as_ref().is_none_or(|session| session.is_lost_by(&error));
        if is_lost || self.roll_back().is_err() {
            self.session = None;
            return Run::Undone(error);
        }
        match Remedy::of(&error) {
            Remedy::Tell => Run::Ended(Err(error)),
            _ => Run::Undone(error),
        }
    }

    fn read(&mut self, job: &mut dyn Job) -> Result<(), StoreError> {
        let session = self.begin(Company::Others)?;
        job.run(&mut Tx::on_postgres(session));
        self.roll_back()
    }

    /// The connection, in a new transaction. One that ended while nobody used it is replaced.
    fn begin(&mut self, company: Company) -> Result<&mut Session, StoreError> {
        if let Some(mut session) = self.session.take()
            && session.begin(self.purpose, company).is_ok()
        {
            return Ok(self.session.insert(session));
        }
        let opened = Session::open(&self.place, self.purpose);
        let mut session = opened.map_err(|error| StoreError::Engine(Arc::new(error)))?;
        session.begin(self.purpose, company)?;
        Ok(self.session.insert(session))
    }

    /// Undoes the transaction; a connection that cannot do even this is not used again.
    fn roll_back(&mut self) -> Result<(), StoreError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        session.roll_back().inspect_err(|_| self.session = None)
    }
}

/// Waits a random part of the longest pause, so that those who met do not meet again.
fn pause_after(runs: u32) {
    let longest = FIRST_PAUSE * (1 << (runs - 1));
    let mut random = [0; 2];
    // Without a random source the whole pause serves too.
    let part = SystemRandom::new().fill(&mut random).map_or(u16::MAX, |()| u16::from_le_bytes(random));
    thread::sleep(longest * u32::from(part) / u32::from(u16::MAX));
}
