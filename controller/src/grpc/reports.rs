//! `bbt.report.v1.ReportService`: one stream per device.
//!
//! A reader takes batches in order and queues them for the store; an answerer waits for each commit and sends
//! the verdicts. Between them at most [`UNDECIDED_BATCHES`] wait, so a device that sends faster than the disk
//! writes is read more slowly, and nothing is held in memory for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bbt_domain::{
    ids::{BootId, DeviceId, RunId, SchoolId},
    report::Contact,
    text::clean,
    time::UtcMicros,
};
use bbt_proto::{
    PROTOCOL_REVISION,
    report::v1::{
        Batch, Config, Open, StreamRequest, StreamResponse, Welcome, report_service_server::ReportService,
        stream_request, stream_response,
    },
};
use bbt_store::{StoreError, reports::Opening};
use prost::Message;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{MESSAGE_BYTES, convert, enrollment::peer_of, refusal};
use crate::{
    configuration::{Configurations, push::Telling},
    ingest::{Ingest, Submitted, sessions::Session},
    listen::{DevicePeer, bucket::Bucket, refusals::Cause},
};

/// Batches of one stream that wait for their verdicts.
pub const UNDECIDED_BATCHES: u32 = 4;
/// Bytes of them.
pub const UNDECIDED_BYTES: u32 = 256 << 10;
/// The first message must come by then.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// Frames in one batch; an agent packs some dozens.
const FRAMES: usize = 1_024;
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
    configurations: Arc<Configurations>,
    drain: watch::Receiver<bool>,
}

impl Reports {
    /// Streams end when `drain` turns true.
    pub fn new(
        ingest: Arc<Ingest>,
        configurations: Arc<Configurations>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        Self { ingest, configurations, drain }
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
        let peer = request.extensions().get::<DevicePeer>().copied();
        let peer = peer.ok_or_else(|| Status::unauthenticated("this port needs a device's certificate"))?;
        let mut messages = request.into_inner();
        let stream = Stream { ingest: Arc::clone(&self.ingest), peer, address };
        let (opened, session) = stream.open(&mut messages).await?;
        let telling = self.configurations.stream(peer.device, opened.school, opened.config_revision);
        let (answers, out) = mpsc::channel(ANSWERS);
        let welcome = stream_response::Body::Welcome(stream.welcome());
        // The channel is new and has room.
        let _ = answers.try_send(Ok(StreamResponse { body: Some(welcome) }));
        let drain = self.drain.clone();
        tokio::spawn(async move {
            let run = stream.run(&mut messages, opened, session, telling, answers.clone(), drain);
            if let Err(status) = run.await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(out)))
    }
}

/// One device's stream.
struct Stream {
    ingest: Arc<Ingest>,
    peer: DevicePeer,
    address: std::net::IpAddr,
}

/// What the first message said, checked.
#[derive(Clone, Copy)]
struct Opened {
    run: RunId,
    boot: BootId,
    school: SchoolId,
    config_revision: u64,
}

/// Whose turn it is on a stream.
enum Turn {
    /// Ours: there is something to tell.
    Tell(Config),
    /// The device's; `None` when it has no more to say.
    Hear(Option<StreamRequest>),
}

impl Stream {
    fn refuse(&self, code: Code, cause: Cause, message: String) -> Status {
        self.ingest.refusals.note(cause, self.address, Some(format!("device:{}", self.peer.device)));
        refusal(code, cause, message)
    }

    fn revoked(&self) -> Status {
        let message = format!(
            "device {} was revoked by the county: it may report again when the county gives back its access",
            self.peer.device
        );
        self.refuse(Code::PermissionDenied, Cause::Revoked, message)
    }

    /// Takes the first message and records the session.
    async fn open(&self, messages: &mut Streaming<StreamRequest>) -> Result<(Opened, Session), Status> {
        let first = timeout(OPEN_WITHIN, messages.message()).await.map_err(|_| {
            Status::deadline_exceeded("the stream was opened, but no Open came within 30 s")
        })??;
        let Some(stream_request::Body::Open(open)) = first.and_then(|message| message.body) else {
            return Err(Status::invalid_argument("the first message of a stream is Open"));
        };
        if open.protocol_revision > PROTOCOL_REVISION {
            let message = format!(
                "protocol revision {} is newer than this controller's {PROTOCOL_REVISION}: update the controller first",
                open.protocol_revision
            );
            return Err(self.refuse(Code::FailedPrecondition, Cause::ControllerTooOld, message));
        }
        let device = DeviceId::from_slice(&open.device_id).map_err(|error| invalid("device_id", error))?;
        if device != self.peer.device {
            let message = format!("the certificate is of device {}, Open names {device}", self.peer.device);
            return Err(self.refuse(Code::PermissionDenied, Cause::OtherIdentity, message));
        }
        let run = RunId::from_slice(&open.run_id).map_err(|error| invalid("run_id", error))?;
        let boot = open.os_boot.as_ref().map(|boot| boot.id.as_slice()).unwrap_or_default();
        let boot = BootId::from_slice(boot).map_err(|error| invalid("os_boot.id", error))?;
        if self.ingest.denylist.denies(device) {
            return Err(self.revoked());
        }
        let opening = self.opening(&open, run, boot);
        let school = self.ingest.session_start(device, opening).await.map_err(|error| match error {
            StoreError::NotFound { .. } => {
                let message = format!("device {device} is not in this county's records: enrol it anew");
                self.refuse(Code::PermissionDenied, Cause::UnknownDevice, message)
            }
            error => unavailable(&error),
        })?;
        let opened = Opened { run, boot, school, config_revision: open.config_revision };
        Ok((opened, self.ingest.sessions.open(device)))
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
        }
    }

    fn welcome(&self) -> Welcome {
        Welcome {
            incarnation: self.ingest.context.county.incarnation.as_bytes().to_vec(),
            time: self.ingest.signer.shared(self.ingest.context.now()),
            signer_chain: self.ingest.signer.chain(),
            contact_window_secs: self.ingest.sessions.contact_window_secs(),
            max_undecided_batches: UNDECIDED_BATCHES,
            max_undecided_bytes: UNDECIDED_BYTES,
        }
    }

    /// Reads until one side ends the stream.
    async fn run(
        &self,
        messages: &mut Streaming<StreamRequest>,
        opened: Opened,
        mut session: Session,
        mut telling: Telling,
        answers: Answers,
        mut drain: watch::Receiver<bool>,
    ) -> Result<(), Status> {
        let (undecided, waiting) = mpsc::channel(UNDECIDED_BATCHES as usize - 1);
        let answering = tokio::spawn(answer(Arc::clone(&self.ingest), waiting, answers.clone()));
        let now = Instant::now();
        let limits = &self.ingest.limits;
        let mut bucket = Bucket::new(limits.device_bytes_per_sec, limits.device_burst_bytes, now);
        let mut changes = self.ingest.denylist.changes();
        let age = sleep(STREAM_AGE);
        tokio::pin!(age);
        let until_expiry = sleep(self.peer.until.since(self.ingest.context.now()));
        tokio::pin!(until_expiry);
        loop {
            let turn = tokio::select! {
                biased;
                _ = changes.changed() => {
                    if self.ingest.denylist.denies(self.peer.device) {
                        return Err(self.revoked());
                    }
                    continue;
                }
                () = session.superseded() => {
                    return Err(Status::aborted("a newer stream of this device took over"));
                }
                _ = drain.wait_for(|drain| *drain) => {
                    return Err(Status::unavailable("the controller is restarting: come again"));
                }
                () = &mut age => return Err(Status::unavailable("the stream is six hours old: come again")),
                () = &mut until_expiry => {
                    return Err(Status::unauthenticated("the device's certificate has ended"));
                }
                config = telling.next() => Turn::Tell(config),
                message = messages.message() => Turn::Hear(message?),
            };
            let message = match turn {
                Turn::Hear(message) => message,
                Turn::Tell(config) => {
                    let body = Some(stream_response::Body::Config(config));
                    if answers.send(Ok(StreamResponse { body })).await.is_err() {
                        break;
                    }
                    continue;
                }
            };
            let batch = match message.and_then(|message| message.body) {
                Some(stream_request::Body::Batch(batch)) => batch,
                Some(stream_request::Body::ConfigOutcome(outcome)) => {
                    telling.answered(outcome).await.map_err(|error| unavailable(&error))?;
                    continue;
                }
                Some(stream_request::Body::Open(_)) => {
                    return Err(Status::invalid_argument("Open is only the first message of a stream"));
                }
                None => break,
            };
            if self.ingest.denylist.denies(self.peer.device) {
                return Err(self.revoked());
            }
            let bytes = u32::try_from(batch.encoded_len()).unwrap_or(u32::MAX).min(MESSAGE_BYTES as u32);
            let pause = bucket.take(bytes, Instant::now());
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let held = self.ingest.hold_bytes(bytes).await;
            let submitted = self.submit(batch, opened).await?;
            if undecided.send((submitted, held)).await.is_err() {
                break;
            }
        }
        // The device has no more to say; what it said is still decided.
        drop(undecided);
        let _ = answering.await;
        Ok(())
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
        let reports: Result<Vec<_>, _> = frames.map(|(index, frame)| convert::report(index, frame)).collect();
        let reports = reports.map_err(|error| Status::invalid_argument(error.to_string()))?;
        if reports.iter().any(|report| report.device != self.peer.device) {
            let about = Some(format!("device:{}", self.peer.device));
            self.ingest.refusals.note(Cause::OtherIdentity, self.address, about);
        }
        Ok(self.ingest.submit(self.peer.device, opened.school, opened.run, reports, contact).await)
    }
}

/// Sends the verdicts of each batch once its commit is on disk, in the order of the batches.
async fn answer(
    ingest: Arc<Ingest>,
    mut waiting: mpsc::Receiver<(Submitted, OwnedSemaphorePermit)>,
    answers: Answers,
) {
    while let Some((submitted, held)) = waiting.recv().await {
        let ack = ingest.decided(submitted).await;
        drop(held);
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
    tracing::error!(%error, "what a stream said could not be recorded");
    Status::unavailable("the controller cannot store anything now: keep what you have and come again")
}
