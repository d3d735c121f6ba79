//! A device that is nothing but load: it sends small reports as fast as it is let, goes on after every cut, and
//! keeps its own book of what it was told. The book is what the county's record is held against.
//!
//! It has the identity that the real `bbt-agent enroll` got and the agent's own connection; frames, window and
//! book are its own. At each new contact it also sends reports again that were decided before, as an agent does
//! that was killed before it noted the answer: the county must know every one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bbt_agent::{
    folder::Folder,
    identity::{Identity, clock::Clock, keystore, trust},
    platform::{self, Platform, Roots},
    uplink::connect::Connection,
};
use bbt_proto::{
    PROTOCOL_REVISION,
    report::v1::{self as wire, report_service_client::ReportServiceClient, stream_request, stream_response},
};
use prost::Message;
use rustls::ClientConfig;
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    agent::Agent,
    backlog,
    chance::Chance,
    record::{Id, Key, shown},
};

/// Batches under way; the contract's bound.
const BATCHES_UNDER_WAY: usize = 4;
/// Reports in one batch.
const BATCH_REPORTS: std::ops::Range<u64> = 1..9;
/// Bytes of a frame of samples: small, because reports are counted here and not bytes.
const BODY_BYTES: usize = 60;
/// Between two batches while there is room: some dozen devices then leave the controller a little air.
const PAUSE_MILLIS: std::ops::Range<u64> = 1..40;
/// Between two attempts: short, so that a controller that comes back finds load at once.
const RETRY_MILLIS: std::ops::Range<u64> = 5..100;
/// One report of state among so many.
const STATE_ONCE_IN: u64 = 10;
/// One contact in so many is made by a new run, as after a restart of the agent.
const NEW_RUN_ONCE_IN: u64 = 4;
/// So many decided reports are sent again at each contact, the newest ones.
const SENT_AGAIN: usize = 20;

/// A report as it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// What it is.
    pub kind: wire::Kind,
    /// Its content.
    pub body: Vec<u8>,
}

/// What a device knows.
#[derive(Debug)]
pub struct Book {
    /// The device.
    pub device: Id,
    /// The run of the newest session.
    pub run: Id,
    /// Reports that the county said it has, in the order of their keys.
    pub decided: BTreeMap<Key, Made>,
    /// Reports without an answer.
    pub undecided: BTreeMap<Key, Made>,
    /// How often a decided report was sent again and known.
    pub known_again: u64,
    /// How many streams were opened.
    pub contacts: u64,
}

/// What all devices of a load are told and tell together.
#[derive(Debug, Default)]
pub struct Control {
    /// Make no more reports; deliver what there is and end.
    pub finish: AtomicBool,
    /// Reports decided so far.
    pub decided: AtomicU64,
}

/// A device under load.
pub struct LoadDevice {
    identity: Identity,
    tls: Arc<ClientConfig>,
    platform: Arc<dyn Platform>,
    boot: wire::OsBoot,
    chance: Chance,
    next_seq: u64,
    book: Book,
    /// Decided in this contact or the one before, newest last.
    recent: Vec<Key>,
    control: Arc<Control>,
}

/// Why a stream ended.
enum End {
    /// It broke, as it does when the controller is killed, or was given up: another one follows.
    Again,
    /// There is nothing more to do.
    Finished,
}

impl LoadDevice {
    /// A device with the identity of an enrolled agent, which itself is not run.
    pub fn new(agent: &Agent, mut chance: Chance, control: Arc<Control>) -> Result<Self> {
        let identity = keystore::load(&Folder::at(&agent.state()))?;
        let platform = platform::native(Roots::system());
        let tls = trust::device_config(&identity, Arc::new(Clock::new(platform.clone())))?;
        let boot = wire::OsBoot { id: chance.id().to_vec(), started_mono_micros: 0, clean_stop: None };
        let book = Book {
            device: identity.device_id.into_bytes(),
            run: chance.id(),
            decided: BTreeMap::new(),
            undecided: BTreeMap::new(),
            known_again: 0,
            contacts: 0,
        };
        Ok(Self { identity, tls, platform, boot, chance, next_seq: 1, book, recent: Vec::new(), control })
    }

    /// Goes on until it is told to finish and all that it made is decided. An answer that breaks a promise is an
    /// error at once.
    pub async fn run(mut self) -> Result<Book> {
        loop {
            match self.contact().await.with_context(|| format!("device {}", self.identity.device_id))? {
                End::Finished => return Ok(self.book),
                End::Again => sleep(self.chance.millis(RETRY_MILLIS)).await,
            }
        }
    }

    /// One connection with one stream.
    async fn contact(&mut self) -> Result<End> {
        let address = self.identity.agent_addresses.first().context("the identity has no address")?;
        let Ok(connection) = Connection::open(address, self.tls.clone()).await else { return Ok(End::Again) };
        if self.chance.once_in(NEW_RUN_ONCE_IN) {
            self.book.run = self.chance.id();
            self.next_seq = 1;
        }
        let (up, requests) = mpsc::channel(BATCHES_UNDER_WAY + 1);
        if up.send(request(stream_request::Body::Open(self.open()))).await.is_err() {
            return Ok(End::Again);
        }
        let mut client = ReportServiceClient::new(connection.channel.clone());
        let Ok(stream) = client.stream(ReceiverStream::new(requests)).await else { return Ok(End::Again) };
        let mut down = stream.into_inner();
        match down.message().await {
            Ok(Some(wire::StreamResponse { body: Some(stream_response::Body::Welcome(_)) })) => (),
            Ok(other) => bail!("the stream did not begin with a welcome: {other:?}"),
            Err(_) => return Ok(End::Again),
        }
        self.book.contacts += 1;

        let mut again: BTreeSet<Key> = self.recent.iter().rev().take(SENT_AGAIN).copied().collect();
        self.recent.clear();
        self.recent.extend(&again);
        // First what is known, then what is perhaps known, then what is new.
        let mut unsent: Vec<Key> = again.iter().chain(self.book.undecided.keys()).copied().collect();
        unsent.reverse();
        let mut under_way: Vec<BTreeSet<Key>> = Vec::new();
        let mut first_state = true;
        loop {
            let finish = self.control.finish.load(Ordering::Relaxed);
            if under_way.len() < BATCHES_UNDER_WAY {
                let count = self.chance.within(BATCH_REPORTS) as usize;
                if unsent.is_empty() && !finish {
                    unsent = self.make(count, std::mem::take(&mut first_state));
                }
                let batch = unsent.split_off(unsent.len().saturating_sub(count));
                if !batch.is_empty() {
                    let frames = batch.iter().rev().filter_map(|key| self.frame(*key)).collect();
                    let now = self.platform.now();
                    let batch_message = wire::Batch {
                        sent_wall_micros: now.wall_micros,
                        sent_mono_micros: now.mono_micros,
                        frames,
                    };
                    under_way.push(batch.into_iter().collect());
                    if up.send(request(stream_request::Body::Batch(batch_message))).await.is_err() {
                        return Ok(End::Again);
                    }
                }
            }
            if finish && under_way.is_empty() && unsent.is_empty() {
                ensure!(self.book.undecided.is_empty(), "reports are neither decided nor under way");
                return Ok(End::Finished);
            }
            let wait = if under_way.len() < BATCHES_UNDER_WAY {
                self.chance.millis(PAUSE_MILLIS)
            } else {
                // Nothing to send before the next answer; a stream that dies says so.
                Duration::MAX
            };
            tokio::select! {
                answer = down.message() => match answer {
                    Ok(Some(wire::StreamResponse { body: Some(stream_response::Body::Ack(ack)) })) => {
                        if ack.verdicts.is_empty() {
                            // Not stored: all of it comes again on another stream.
                            return Ok(End::Again);
                        }
                        for verdict in &ack.verdicts {
                            self.note(verdict, &mut again, &mut under_way)?;
                        }
                        under_way.retain(|batch| !batch.is_empty());
                    }
                    Ok(Some(_)) => (),
                    Ok(None) | Err(_) => return Ok(End::Again),
                },
                () = sleep(wait) => (),
            }
        }
    }

    /// Writes an answer into the book.
    fn note(
        &mut self,
        verdict: &wire::Verdict,
        again: &mut BTreeSet<Key>,
        under_way: &mut [BTreeSet<Key>],
    ) -> Result<()> {
        let run = Id::try_from(verdict.run_id.as_slice()).context("a verdict without a run")?;
        for seq in verdict.first_seq..=verdict.last_seq {
            let key = (run, seq);
            let code = verdict.code();
            ensure!(
                under_way.iter_mut().any(|batch| batch.remove(&key)),
                "{code:?} for {}, which was not under way",
                shown(key)
            );
            if again.remove(&key) {
                ensure!(
                    code == wire::Code::Duplicate,
                    "{} was decided before and is now {code:?}",
                    shown(key)
                );
                self.book.known_again += 1;
                continue;
            }
            ensure!(
                matches!(code, wire::Code::Committed | wire::Code::Duplicate),
                "{} is {code:?}: {}",
                shown(key),
                verdict.reason
            );
            let made = self.book.undecided.remove(&key).with_context(|| format!("{} anew", shown(key)))?;
            self.book.decided.insert(key, made);
            self.recent.push(key);
            self.control.decided.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// New reports of this run, the last one first.
    fn make(&mut self, count: usize, first_state: bool) -> Vec<Key> {
        let mut keys: Vec<Key> = (0..count)
            .map(|no| {
                let key = (self.book.run, self.next_seq);
                self.next_seq += 1;
                let made = if (first_state && no == 0) || self.chance.once_in(STATE_ONCE_IN) {
                    let body = backlog::state(&shown(key), 0).encode_to_vec();
                    Made { kind: wire::Kind::State, body }
                } else {
                    let body = backlog::samples(BODY_BYTES, &mut self.chance).encode_to_vec();
                    Made { kind: wire::Kind::Samples, body }
                };
                self.book.undecided.insert(key, made);
                key
            })
            .collect();
        keys.reverse();
        keys
    }

    fn frame(&self, key: Key) -> Option<wire::Frame> {
        let made = self.book.undecided.get(&key).or_else(|| self.book.decided.get(&key))?;
        let now = self.platform.now();
        let class = if made.kind == wire::Kind::State { wire::Class::State } else { wire::Class::History };
        Some(wire::Frame {
            run_id: key.0.to_vec().into(),
            seq: key.1,
            class: class.into(),
            device_id: self.book.device.to_vec().into(),
            os_boot: Some(self.boot.clone()),
            wall_micros: now.wall_micros,
            mono_micros: now.mono_micros,
            kind: made.kind.into(),
            body: made.body.clone().into(),
        })
    }

    fn open(&self) -> wire::Open {
        let now = self.platform.now();
        wire::Open {
            protocol_revision: PROTOCOL_REVISION,
            run_id: self.book.run.to_vec(),
            device_id: self.book.device.to_vec(),
            os_boot: Some(self.boot.clone()),
            agent_version: "load".to_owned(),
            sent_wall_micros: now.wall_micros,
            sent_mono_micros: now.mono_micros,
            ..wire::Open::default()
        }
    }
}

fn request(body: stream_request::Body) -> wire::StreamRequest {
    wire::StreamRequest { body: Some(body) }
}
