//! The one thread that owns the database, and the handle by which the rest of the agent speaks to it.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use bbt_proto::report::v1 as wire;
use tokio::sync::{Notify, oneshot};

use super::{Contact, Draft, Fate, FrameKey, Limits, Origin, Spool, SpoolError, Summary};
use crate::identity::clock::Clock;

/// Commands that may wait while the disk hangs. Callers wait for their answers, so a handful is under way;
/// beyond it they wait too.
const COMMANDS_WAITING: usize = 64;
/// How long a caller waits before it offers its command to a full channel again.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// SQLite needs little; the default of 2 MiB would only be reserved.
const STACK_BYTES: usize = 256 * 1024;

enum Command {
    Append(Draft, oneshot::Sender<Result<u64, SpoolError>>),
    NextBatch(Option<FrameKey>, usize, oneshot::Sender<Vec<(FrameKey, wire::Frame)>>),
    Decide(Vec<(FrameKey, Fate)>, Option<i64>, oneshot::Sender<()>),
    Welcomed { incarnation: Vec<u8>, window_secs: u32, signed_micros: Option<i64>, done: oneshot::Sender<()> },
    Release,
    Limit(Limits),
    Summary(oneshot::Sender<Summary>),
    Contact(oneshot::Sender<Contact>),
    Stop,
}

/// The way to the spool; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: SyncSender<Command>,
    appended: Arc<Notify>,
}

impl Handle {
    /// Starts the thread, which opens the spool in `folder`.
    pub fn start(
        folder: PathBuf,
        origin: Origin,
        limits: Limits,
        clock: Arc<Clock>,
    ) -> io::Result<(Handle, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(COMMANDS_WAITING);
        let appended = Arc::new(Notify::new());
        let news = appended.clone();
        let thread = Builder::new().name("spool".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let spool = Spool::open(&folder, origin, limits, &clock.stamp());
            serve(spool, &receiver, &clock, &news);
        })?;
        Ok((Handle { commands: sender, appended }, thread))
    }

    /// Takes a frame; the answer is its number. It may be sent once [`Handle::appended`] says so.
    pub async fn append(&self, draft: Draft) -> Result<u64, SpoolError> {
        self.ask(|answer| Command::Append(draft, answer)).await?
    }

    /// See [`Spool::next_batch`].
    pub async fn next_batch(
        &self,
        first: Option<FrameKey>,
        max_bytes: usize,
    ) -> Result<Vec<(FrameKey, wire::Frame)>, SpoolError> {
        self.ask(|answer| Command::NextBatch(first, max_bytes, answer)).await
    }

    /// See [`Spool::decide`].
    pub async fn decide(
        &self,
        decided: Vec<(FrameKey, Fate)>,
        signed_micros: Option<i64>,
    ) -> Result<(), SpoolError> {
        self.ask(|answer| Command::Decide(decided, signed_micros, answer)).await
    }

    /// See [`Spool::welcomed`].
    pub async fn welcomed(
        &self,
        incarnation: Vec<u8>,
        window_secs: u32,
        signed_micros: Option<i64>,
    ) -> Result<(), SpoolError> {
        self.ask(|done| Command::Welcomed { incarnation, window_secs, signed_micros, done }).await
    }

    /// See [`Spool::release`].
    pub async fn release(&self) -> Result<(), SpoolError> {
        self.offer(Command::Release).await
    }

    /// See [`Spool::limit`].
    pub async fn limit(&self, limits: Limits) -> Result<(), SpoolError> {
        self.offer(Command::Limit(limits)).await
    }

    /// See [`Spool::summary`].
    pub async fn summary(&self) -> Result<Summary, SpoolError> {
        self.ask(Command::Summary).await
    }

    /// See [`Spool::contact`].
    pub async fn contact(&self) -> Result<Contact, SpoolError> {
        self.ask(Command::Contact).await
    }

    /// Returns when something new may be sent. One waiter at a time.
    pub async fn appended(&self) {
        self.appended.notified().await;
    }

    /// Commits what waits and ends the thread.
    pub async fn stop(&self) {
        // An error says that it has ended already.
        self.offer(Command::Stop).await.ok();
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, SpoolError> {
        let (sender, answer) = oneshot::channel();
        self.offer(command(sender)).await?;
        answer.await.map_err(|_| SpoolError::Stopped)
    }

    async fn offer(&self, mut command: Command) -> Result<(), SpoolError> {
        loop {
            match self.commands.try_send(command) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(SpoolError::Stopped),
                Err(TrySendError::Full(back)) => command = back,
            }
            tokio::time::sleep(FULL_PAUSE).await;
        }
    }
}

fn serve(mut spool: Spool, commands: &Receiver<Command>, clock: &Clock, appended: &Notify) {
    loop {
        let command = match spool.commit_within(&clock.stamp()) {
            None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => commands.recv_timeout(wait),
        };
        match command {
            Ok(command) => {
                let mut next = Some(command);
                // What came together is committed together.
                while let Some(command) = next {
                    if !obey(&mut spool, command, clock) {
                        spool.commit(&clock.stamp());
                        return;
                    }
                    next = commands.try_recv().ok();
                }
                if spool.commit_within(&clock.stamp()).is_some_and(|wait| wait.is_zero()) {
                    spool.commit(&clock.stamp());
                    appended.notify_one();
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                spool.commit(&clock.stamp());
                appended.notify_one();
            }
            Err(RecvTimeoutError::Disconnected) => {
                spool.commit(&clock.stamp());
                return;
            }
        }
    }
}

/// False when the thread shall end.
fn obey(spool: &mut Spool, command: Command, clock: &Clock) -> bool {
    let now = clock.stamp();
    match command {
        Command::Append(draft, asker) => answer(asker, spool.append(draft, &now)),
        Command::NextBatch(first, max_bytes, asker) => {
            if spool.commit_within(&now).is_some_and(|wait| wait.is_zero()) {
                spool.commit(&now);
            }
            answer(asker, spool.next_batch(first, max_bytes, &now));
        }
        Command::Decide(decided, signed_micros, asker) => {
            spool.decide(&decided, signed_micros, &now);
            answer(asker, ());
        }
        Command::Welcomed { incarnation, window_secs, signed_micros, done } => {
            spool.welcomed(incarnation, window_secs, signed_micros, &now);
            answer(done, ());
        }
        Command::Release => spool.release(),
        Command::Limit(limits) => spool.limit(limits),
        Command::Summary(asker) => answer(asker, spool.summary()),
        Command::Contact(asker) => answer(asker, spool.contact().clone()),
        Command::Stop => return false,
    }
    true
}

/// An asker who has gone does not need the answer.
fn answer<T>(asker: oneshot::Sender<T>, value: T) {
    asker.send(value).ok();
}
