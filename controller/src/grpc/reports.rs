//! `bbt.report.v1.ReportService`: one stream per device.
//!
//! A reader takes batches in order and queues them for the store; an answerer waits for each commit and sends
//! the verdicts. Between them at most [`UNDECIDED_BATCHES`] wait, so a device that sends faster than the disk
//! writes is read more slowly, and nothing is held in memory for it.

use std::{sync::Arc, time::Duration};

use bbt_domain::{
    ids::{AdmissionId, BootId, DeviceId, RunId},
    report::Contact,
    text::clean,
    time::UtcMicros,
};
use bbt_proto::{
    PROTOCOL_REVISION,
    report::v1::{
        Batch, Identity, Open, StreamRequest, StreamResponse, Welcome, report_service_server::ReportService,
        stream_request, stream_response,
    },
};
use bbt_store::{
    StoreError,
    reports::{Opening, Started, Whose},
};
use prost::Message;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{MESSAGE_BYTES, certificate_refusal, convert, device_of, peer_of, refusal, revoked, too_new};
use crate::{
    ingest::{
        Ingest, Submitted,
        in_flight::Held,
        sessions::{CloneSession, Session},
    },
    listen::{DevicePeer, refusals::Cause},
    pki::signed_time::TimeSigner,
};

/// Batches of one stream that wait for their verdicts.
pub const UNDECIDED_BATCHES: u32 = 4;
/// Bytes of them.
pub const UNDECIDED_BYTES: u32 = 256 << 10;
/// The first message must come by then.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// Frames in one batch; an agent packs some dozens.
const FRAMES: usize = 1_024;
/// What opening a stream counts for in a device's speed, for it costs a commit: one a second for long.
const OPENING_BYTES: u32 = 64 << 10;
/// A stream is ended by us a little before its connection is, so that the device hears why.
const STREAM_AGE: Duration = Duration::from_secs(6 * 3_600 - 60);
/// Answers waiting to be written to one stream.
const ANSWERS: usize = 8;
/// Longest agent version kept.
const VERSION_CHARS: usize = 64;

type Answers = mpsc::Sender<Result<StreamResponse, Status>>;

/// The service.
#[derive(Clone)]
pub struct Reports {
    ingest: Arc<Ingest>,
    drain: watch::Receiver<bool>,
}

impl Reports {
    /// Streams end when `drain` turns true.
    pub fn new(ingest: Arc<Ingest>, drain: watch::Receiver<bool>) -> Self {
        Self { ingest, drain }
    }
}

#[tonic::async_trait]
impl ReportService for Reports {
    type StreamStream = ReceiverStream<Result<StreamResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let address = peer_of(&request)?;
        let peer = device_of(&request)?;
        let mut messages = request.into_inner();
        let signer = self.ingest.signer.load_full();
        let stream = Stream { ingest: Arc::clone(&self.ingest), signer, peer, address };
        let (opened, place) = stream.open(&mut messages).await?;
        let (answers, out) = mpsc::channel(ANSWERS);
        let welcome = stream_response::Body::Welcome(stream.welcome(opened.started.whose));
        // The channel is new and has room.
        let _ = answers.try_send(Ok(StreamResponse { body: Some(welcome) }));
        let drain = self.drain.clone();
        tokio::spawn(async move {
            if let Err(status) = stream.run(&mut messages, opened, place, answers.clone(), drain).await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(out)))
    }
}

/// One device's stream.
struct Stream {
    ingest: Arc<Ingest>,
    /// Of all times of this stream.
    signer: Arc<TimeSigner>,
    peer: DevicePeer,
    address: std::net::IpAddr,
}

/// What the first message said, checked, and whose stream it is by that.
#[derive(Clone, Copy)]
struct Opened {
    run: RunId,
    boot: BootId,
    started: Started,
}

/// A stream's place among the open ones.
enum Place {
    Device(Session),
    Clone { _counted: CloneSession },
}

impl Place {
    /// Returns when a newer stream of the device was opened; never for a clone, which has no place to lose.
    async fn superseded(&mut self) {
        match self {
            Self::Device(session) => session.superseded().await,
            Self::Clone { .. } => std::future::pending().await,
        }
    }
}

impl Stream {
    fn refuse(&self, cause: Cause, message: String) -> Status {
        self.ingest.refusals.note(cause, self.address, Some(format!("device:{}", self.peer.device)));
        refusal(cause, message)
    }

    fn revoked(&self) -> Status {
        self.refuse(Cause::Revoked, revoked(self.peer.device))
    }

    /// Takes the first message and records the session.
    async fn open(&self, messages: &mut Streaming<StreamRequest>) -> Result<(Opened, Place), Status> {
        let first = timeout(OPEN_WITHIN, messages.message()).await.map_err(|_| {
            Status::deadline_exceeded("the stream was opened, but no Open came within 30 s")
        })??;
        self.slow_down(OPENING_BYTES).await;
        let Some(stream_request::Body::Open(open)) = first.and_then(|message| message.body) else {
            return Err(Status::invalid_argument("the first message of a stream is Open"));
        };
        if open.protocol_revision > PROTOCOL_REVISION {
            return Err(self.refuse(Cause::ControllerTooOld, too_new(open.protocol_revision)));
        }
        let device = DeviceId::from_slice(&open.device_id).map_err(|error| invalid("device_id", error))?;
        if device != self.peer.device {
            let message = format!("the certificate is of device {}, Open names {device}", self.peer.device);
            return Err(self.refuse(Cause::OtherIdentity, message));
        }
        let run = RunId::from_slice(&open.run_id).map_err(|error| invalid("run_id", error))?;
        let boot = open.os_boot.as_ref().map(|boot| boot.id.as_slice()).unwrap_or_default();
        let boot = BootId::from_slice(boot).map_err(|error| invalid("os_boot.id", error))?;
        if self.ingest.denylist.denies(device) {
            return Err(self.revoked());
        }
        let opening = self.opening(&open, run, boot);
        let started = self.ingest.session_start(self.peer, opening).await;
        let started = started.map_err(|error| unavailable(&error))?.map_err(|why| {
            let (cause, message) = certificate_refusal(device, why);
            self.refuse(cause, message)
        })?;
        let place = match started.whose {
            Whose::Device(_) => Place::Device(self.ingest.sessions.open(device)),
            Whose::Clone => self.clone_place(device)?,
        };
        Ok((Opened { run, boot, started }, place))
    }

    fn clone_place(&self, device: DeviceId) -> Result<Place, Status> {
        tracing::warn!(device.id = %device, peer = %self.address, "another PC has the identity of this device");
        let counted = self.ingest.sessions.open_clone(device);
        let full = || Status::resource_exhausted("too many PCs have this identity: come again later");
        Ok(Place::Clone { _counted: counted.ok_or_else(full)? })
    }

    fn opening(&self, open: &Open, run: RunId, boot: BootId) -> Opening {
        let now = self.ingest.context.now();
        Opening {
            run,
            boot,
            clean_stop: open.os_boot.as_ref().and_then(|boot| boot.clean_stop),
            agent_version: clean(&open.agent_version, VERSION_CHARS),
            address: self.address.to_string(),
            backlog_frames: open.backlog_frames,
            backlog_bytes: open.backlog_bytes,
            clock_off_micros: open.sent_wall_micros.saturating_sub(now.as_micros()),
            evidence: convert::evidence(&open.evidence),
            canary: open.canary,
            admission: AdmissionId::from_bytes(self.ingest.context.new_id()),
        }
    }

    fn welcome(&self, whose: Whose) -> Welcome {
        let (canary, identity) = match whose {
            Whose::Device(canary) => (canary, Identity::Unspecified),
            Whose::Clone => (0, Identity::Rekey),
        };
        Welcome {
            canary,
            identity: identity.into(),
            incarnation: self.ingest.context.county.incarnation.as_bytes().to_vec(),
            time: self.signer.shared(),
            signer_chain: self.signer.chain(),
            contact_window_secs: self.ingest.sessions.contact_window_secs(),
            max_undecided_batches: UNDECIDED_BATCHES,
            max_undecided_bytes: UNDECIDED_BYTES,
        }
    }

    /// Goes on until one side ends the stream.
    async fn run(
        &self,
        messages: &mut Streaming<StreamRequest>,
        opened: Opened,
        place: Place,
        answers: Answers,
        drain: watch::Receiver<bool>,
    ) -> Result<(), Status> {
        tokio::select! {
            biased;
            why = self.told_to_end(place, drain) => Err(why),
            done = self.take_batches(messages, opened, answers) => done,
        }
    }

    /// Waits until the stream may not go on, whatever its reader waits for meanwhile.
    async fn told_to_end(&self, mut place: Place, mut drain: watch::Receiver<bool>) -> Status {
        let mut changes = self.ingest.denylist.changes();
        let age = sleep(STREAM_AGE);
        tokio::pin!(age);
        let until_expiry = sleep(self.peer.until.since(self.ingest.context.now()));
        tokio::pin!(until_expiry);
        loop {
            tokio::select! {
                biased;
                _ = changes.changed() => {
                    if self.ingest.denylist.denies(self.peer.device) {
                        return self.revoked();
                    }
                }
                () = place.superseded() => {
                    return Status::aborted("a newer stream of this device took over");
                }
                _ = drain.wait_for(|drain| *drain) => {
                    return Status::unavailable("the controller is restarting: come again");
                }
                () = &mut age => return Status::unavailable("the stream is six hours old: come again"),
                () = &mut until_expiry => {
                    return Status::unauthenticated("the device's certificate has ended");
                }
            }
        }
    }

    /// Reads batches, each at the device's speed and when there is room for it.
    async fn take_batches(
        &self,
        messages: &mut Streaming<StreamRequest>,
        opened: Opened,
        answers: Answers,
    ) -> Result<(), Status> {
        let (undecided, waiting) = mpsc::channel(UNDECIDED_BATCHES as usize - 1);
        let answering =
            tokio::spawn(answer(Arc::clone(&self.ingest), Arc::clone(&self.signer), waiting, answers));
        while let Some(body) = messages.message().await?.and_then(|message| message.body) {
            let batch = match body {
                stream_request::Body::Batch(batch) => batch,
                stream_request::Body::ConfigOutcome(_) => continue,
                stream_request::Body::CanaryKept(kept) => {
                    if let Whose::Device(_) = opened.started.whose {
                        self.ingest.canary_kept(self.peer.device, kept.number).await;
                    }
                    continue;
                }
                stream_request::Body::Open(_) => {
                    return Err(Status::invalid_argument("Open is only the first message of a stream"));
                }
            };
            if self.ingest.denylist.denies(self.peer.device) {
                return Err(self.revoked());
            }
            let bytes = u32::try_from(batch.encoded_len()).unwrap_or(u32::MAX).min(MESSAGE_BYTES as u32);
            self.slow_down(bytes).await;
            let held = self.ingest.in_flight.hold(convert::most_urgent(&batch), bytes).await;
            let next = match held {
                Some(held) => Undecided::Submitted(self.submit(batch, opened).await?, held),
                None => Undecided::Shed,
            };
            if undecided.send(next).await.is_err() {
                break;
            }
        }
        // The device has no more to say; what it said is still decided.
        drop(undecided);
        let _ = answering.await;
        Ok(())
    }

    /// Waits as long as the device's speed demands.
    async fn slow_down(&self, bytes: u32) {
        let pause = self.ingest.speeds.take(self.peer.device, bytes);
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }

    /// Converts a batch and queues it for the store.
    async fn submit(&self, batch: Batch, opened: Opened) -> Result<Submitted, Status> {
        if batch.frames.len() > FRAMES {
            return Err(Status::invalid_argument(format!(
                "the batch has {} frames: send at most {FRAMES}",
                batch.frames.len()
            )));
        }
        let contact = Contact {
            received: self.ingest.context.now(),
            sent_wall: UtcMicros::from_micros(batch.sent_wall_micros),
            sent_mono_micros: batch.sent_mono_micros,
            boot: opened.boot,
        };
        let frames = batch.frames.into_iter().enumerate();
        let convert = match opened.started.whose {
            Whose::Device(_) => convert::report,
            Whose::Clone => convert::report_apart,
        };
        let reports: Result<Vec<_>, _> = frames.map(|(index, frame)| convert(index, frame)).collect();
        let reports = reports.map_err(|error| Status::invalid_argument(error.to_string()))?;
        if reports.iter().any(|report| report.device != self.peer.device) {
            let about = Some(format!("device:{}", self.peer.device));
            self.ingest.refusals.note(Cause::OtherIdentity, self.address, about);
        }
        Ok(self.ingest.submit(self.peer.device, opened.started, opened.run, reports, contact).await)
    }
}

/// A batch that was read.
enum Undecided {
    /// It waits for its commit, and holds its bytes so long.
    Submitted(Submitted, Held),
    /// There was no room for it.
    Shed,
}

/// Sends the verdicts of each batch once its commit is on disk, in the order of the batches.
async fn answer(
    ingest: Arc<Ingest>,
    signer: Arc<TimeSigner>,
    mut waiting: mpsc::Receiver<Undecided>,
    answers: Answers,
) {
    while let Some(next) = waiting.recv().await {
        let ack = match next {
            Undecided::Submitted(submitted, _held) => ingest.decided(submitted, &signer).await,
            Undecided::Shed => ingest.later(&signer),
        };
        let body = Some(stream_response::Body::Ack(ack));
        if answers.send(Ok(StreamResponse { body })).await.is_err() {
            break;
        }
    }
}

fn invalid(field: &str, error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{field}: {error}"))
}

fn unavailable(error: &StoreError) -> Status {
    tracing::error!(%error, "a session could not be recorded");
    Status::unavailable("the controller cannot store anything now: keep what you have and come again")
}
