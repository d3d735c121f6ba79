//! The devices: enrolled once, connected for each case, sending what the window of the contract lets them send.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bbt_controller::grpc::reports::UNDECIDED_BATCHES;
use bbt_proto::report::v1::{
    Ack, Batch, Code, Kind, StreamRequest, StreamResponse, stream_request, stream_response,
};
use bbt_tests::{
    county::County,
    device::{Device, Stream, try_enroll},
};
use prost::bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::samples;

/// Devices from one address of the loopback network: a computer room. Each asks twice, and 120 questions at once are
/// answered.
const DEVICES_PER_ADDRESS: usize = 50;

/// The devices of the county.
pub(crate) struct Fleet {
    devices: Vec<Device>,
}

/// When a device sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Whenever the window has room.
    AsFastAsDecided,
    /// At a steady pace.
    Every(Duration),
}

impl Fleet {
    /// Has the county take in `count` devices.
    pub(crate) fn enroll(county: &County, count: usize) -> Result<Self> {
        let token = county.token_with(&["--uses", &count.to_string()])?;
        let devices = (0..count).map(|no| {
            let room = u8::try_from(1 + no / DEVICES_PER_ADDRESS).context("the network has no more rooms")?;
            Ok(try_enroll(county, &token, IpAddr::V4(Ipv4Addr::new(127, 0, room, 1)))??)
        });
        Ok(Self { devices: devices.collect::<Result<_>>()? })
    }

    /// Opens a stream for each of the first `count` devices, to send reports of `samples` samples.
    pub(crate) fn connect(&self, count: usize, samples: usize) -> Result<Connected> {
        let bodies = samples::bodies(samples);
        let senders = self.devices.iter().take(count).map(|device| {
            Ok(Sender { stream: device.open()?, bodies: bodies.clone(), seq: 0, under_way: VecDeque::new() })
        });
        Ok(Connected { senders: senders.collect::<Result<_>>()? })
    }
}

/// Open streams.
pub(crate) struct Connected {
    senders: Vec<Sender>,
}

impl Connected {
    /// Sends for the time of `phase` and waits until all is decided. Gives, for each report, the time from when it
    /// was due to its ack; a report that was not committed is an error.
    pub(crate) async fn run(&mut self, load: Load, phase: Duration) -> Result<Vec<Duration>> {
        let began = Instant::now();
        let count = u32::try_from(self.senders.len()).context("more devices than a county has")?;
        let mut running = JoinSet::new();
        for (no, mut sender) in (0..).zip(self.senders.drain(..)) {
            running.spawn(async move {
                let acks = match load {
                    Load::AsFastAsDecided => sender.send_as_fast_as_decided(began + phase).await,
                    // Spread over one interval, as agents are.
                    Load::Every(every) => {
                        sender.send_every(every, began + every * no / count, began + phase).await
                    }
                };
                acks.map(|acks| (sender, acks))
            });
        }
        let mut times = Vec::new();
        while let Some(ended) = running.join_next().await {
            let (sender, acks) = ended.context("a device ended")??;
            self.senders.push(sender);
            times.extend(acks);
        }
        Ok(times)
    }
}

/// One device's stream and what it has under way.
struct Sender {
    stream: Stream,
    bodies: Vec<Bytes>,
    seq: u64,
    /// When each report without an ack was due, oldest first.
    under_way: VecDeque<Instant>,
}

impl Sender {
    async fn send_as_fast_as_decided(&mut self, until: Instant) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        loop {
            while self.has_room() && Instant::now() < until {
                self.send(Instant::now()).await?;
            }
            if self.under_way.is_empty() {
                return Ok(times);
            }
            times.push(self.ack().await?);
        }
    }

    async fn send_every(&mut self, every: Duration, first: Instant, until: Instant) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        let mut due = first;
        while due < until || !self.under_way.is_empty() {
            let may_send = due < until && self.has_room();
            tokio::select! {
                () = sleep_until(due), if may_send => {
                    self.send(due).await?;
                    due += every;
                }
                answer = self.stream.answer(), if !self.under_way.is_empty() => {
                    times.push(self.decided(answer.context("waiting for an ack")?)?);
                }
            }
        }
        Ok(times)
    }

    fn has_room(&self) -> bool {
        self.under_way.len() < UNDECIDED_BATCHES as usize
    }

    /// Sends one report in a batch of its own.
    async fn send(&mut self, due: Instant) -> Result<()> {
        self.seq += 1;
        let body = self.bodies[self.seq as usize % self.bodies.len()].clone();
        let batch =
            Batch { frames: vec![self.stream.frame(self.seq, Kind::Samples, body)], ..Batch::default() };
        let request = StreamRequest { body: Some(stream_request::Body::Batch(batch)) };
        self.stream.requests.send(request).await.context("sending a batch")?;
        self.under_way.push_back(due);
        Ok(())
    }

    async fn ack(&mut self) -> Result<Duration> {
        let answer = self.stream.answer().await.context("waiting for an ack")?;
        self.decided(answer)
    }

    /// How long the oldest report under way took, which the answer must call committed.
    fn decided(&mut self, answer: Option<StreamResponse>) -> Result<Duration> {
        let seq = self.seq + 1 - self.under_way.len() as u64;
        let verdicts = match answer.and_then(|answer| answer.body) {
            Some(stream_response::Body::Ack(Ack { verdicts, .. })) => verdicts,
            other => bail!("instead of an ack came {other:?}"),
        };
        let [verdict] = verdicts.as_slice() else { bail!("report {seq} was answered with {verdicts:?}") };
        ensure!(
            verdict.code() == Code::Committed && (verdict.first_seq, verdict.last_seq) == (seq, seq),
            "report {seq} was answered with {verdict:?}"
        );
        let due = self.under_way.pop_front().context("an ack came for nothing")?;
        Ok(due.elapsed())
    }
}
