//! One stream to the controller, from the connection to its end. Decisions are made in [`super::batch`] and
//! [`super::refusal`]; here is only the order of things.

use std::{sync::Arc, time::Duration};

use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{Evidence, SignedTime},
    report::v1::{self as wire, report_service_client::ReportServiceClient, stream_request, stream_response},
};
use prost::Message;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    address::Address,
    batch::{Room, Window},
    connect::Connection,
    refusal::{Patience, Refusal},
};
use crate::{
    canary::Canary,
    identity::{
        clock::{Clock, TimeSigner},
        upkeep::Credentials,
    },
    spool::{FrameKey, Handle, Origin, SpoolError},
};

/// The controller greets within this time, or the connection is given up.
const WELCOME_WITHIN: Duration = Duration::from_secs(30);
/// With frames under way something comes back within this time; a group commit takes milliseconds, a stalled
/// disk may take minutes.
const ANSWER_WITHIN: Duration = Duration::from_secs(5 * 60);
/// The contract's bound for one message, either way.
const MESSAGE_MAX_BYTES: usize = 256 * 1024;
/// The window allows four batches by default; one more place each for the greeting and a configuration's answer.
const REQUESTS_WAITING: usize = 8;

/// Asks for a frame with the full state; the answer is its number. Every stream opens with one.
pub type FullStateRequest = oneshot::Sender<u64>;

/// What a stream needs to know; the same for all streams of a run.
#[derive(Debug)]
pub struct Setting {
    /// The time.
    pub clock: Arc<Clock>,
    /// What waits.
    pub spool: Handle,
    /// Run, device and start of the system.
    pub origin: Origin,
    /// By which the county recognises this machine.
    pub evidence: Vec<Evidence>,
    /// Of this program.
    pub agent_version: &'static str,
    /// Tells the county whether this disk falls back.
    pub canary: Canary,
    /// Where the full state is had.
    pub full_state: mpsc::Sender<FullStateRequest>,
}

/// How a stream ended.
#[derive(Debug)]
pub struct End {
    /// Why.
    pub refusal: Refusal,
    /// Whether the controller decided about anything.
    pub progress: bool,
    /// Whether a connection came about at all; else another address may.
    pub connected: bool,
}

/// What happened on a stream that others may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The controller has welcomed us.
    Greeted,
    /// The controller has decided about frames.
    Decided,
}

/// Runs one stream until it ends, telling the news.
pub async fn run(
    setting: &Setting,
    credentials: &Credentials,
    address: &Address,
    tell: &(dyn Fn(News) + Sync),
) -> End {
    let connection = match Connection::open(address, credentials.tls.clone()).await {
        Ok(connection) => connection,
        Err(error) => {
            return End { refusal: Refusal::of_connect(&error), progress: false, connected: false };
        }
    };
    let mut progress = false;
    let ended = stream(setting, credentials, &connection, &mut progress, tell).await;
    let refusal = match (ended, connection.tls_error()) {
        (_, Some(error)) => Refusal::of_tls(address, &error),
        (Ended::Status(status), None) => Refusal::of_status(address, &status),
        (Ended::Closed, None) => {
            Refusal::passing("closed", format!("the controller {address} closed the stream"), WAIT)
        }
        (Ended::Silent(what), None) => {
            Refusal::passing("silent", format!("the controller {address} {what}"), WAIT)
        }
        (Ended::Broken(what), None) => Refusal::broken(address, what),
        // An own identity comes by another way, and then the next attempt is made at once.
        (Ended::OfAnother, None) => Refusal {
            patience: Patience::Person,
            ..Refusal::passing(
                OF_ANOTHER,
                "this PC has the identity of another one, whose disk was copied to it",
                "the agent asks for an identity of its own, which somebody of the county has to approve; reports are kept here",
            )
        },
        (Ended::Spool(error), None) => {
            Refusal::passing("spool_stopped", error.to_string(), "restart the agent")
        }
    };
    // Nothing more is under way; if the spool has stopped, so does the agent.
    setting.spool.release().await.ok();
    End { refusal, progress, connected: true }
}

/// The refusal after which a key of its own is asked for.
pub const OF_ANOTHER: &str = "identity_of_another";

const WAIT: &str = "the agent tries again by itself";

enum Ended {
    Status(Status),
    Closed,
    Silent(&'static str),
    Broken(&'static str),
    OfAnother,
    Spool(SpoolError),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Ended {
        Ended::Status(status)
    }
}

impl From<SpoolError> for Ended {
    fn from(error: SpoolError) -> Ended {
        Ended::Spool(error)
    }
}

async fn stream(
    setting: &Setting,
    credentials: &Credentials,
    connection: &Connection,
    progress: &mut bool,
    tell: &(dyn Fn(News) + Sync),
) -> Ended {
    match open(setting, credentials, connection).await {
        Ok(mut open) => {
            tell(News::Greeted);
            match open.serve(setting, progress, tell).await {
                Ok(()) => Ended::Closed,
                Err(ended) => ended,
            }
        }
        Err(ended) => ended,
    }
}

/// A stream after the greeting.
struct OpenStream {
    up: mpsc::Sender<wire::StreamRequest>,
    down: Streaming<wire::StreamResponse>,
    window: Window,
    signer: Option<TimeSigner>,
    /// The full state, which goes first.
    first: Option<FrameKey>,
}

/// Greeting and welcome.
async fn open(
    setting: &Setting,
    credentials: &Credentials,
    connection: &Connection,
) -> Result<OpenStream, Ended> {
    let (up, requests) = mpsc::channel(REQUESTS_WAITING);
    let backlog = setting.spool.summary().await?.backlog_total();
    let stamp = setting.clock.stamp();
    let greeting = wire::Open {
        protocol_revision: PROTOCOL_REVISION,
        run_id: setting.origin.run_id.to_vec(),
        device_id: setting.origin.device_id.to_vec(),
        os_boot: Some(setting.origin.os_boot.clone()),
        agent_version: setting.agent_version.to_owned(),
        sent_wall_micros: stamp.wall_micros,
        sent_mono_micros: stamp.mono_micros,
        evidence: setting.evidence.clone(),
        config_revision: 0,
        backlog_frames: backlog.frames,
        backlog_bytes: backlog.bytes,
        canary: setting.canary.number(),
    };
    send(&up, stream_request::Body::Open(greeting)).await?;
    let mut client = ReportServiceClient::new(connection.channel.clone())
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES);
    let greeting = async {
        let mut down = client.stream(ReceiverStream::new(requests)).await?.into_inner();
        let welcome = down.message().await?;
        Ok::<_, Status>((down, welcome))
    };
    let (down, welcome) =
        timeout(WELCOME_WITHIN, greeting).await.map_err(|_| Ended::Silent("did not greet in time"))??;
    let Some(stream_response::Body::Welcome(welcome)) = welcome.and_then(|response| response.body) else {
        return Err(Ended::Broken("did not begin with a welcome"));
    };
    if welcome.identity() == wire::Identity::Rekey {
        return Err(Ended::OfAnother);
    }
    keep_canary(setting, &up, welcome.canary).await?;
    let identity = &credentials.identity;
    let signer = TimeSigner::from_chain(&welcome.signer_chain, &identity.root, &identity.trust_domain)
        .inspect_err(|error| tracing::warn!("the controller's signed time is not used: {error}"))
        .ok();
    let window = Window::new(&welcome);
    let mut open = OpenStream { up, down, window, signer, first: None };
    let signed_micros = open.accept_time(setting, welcome.time.as_ref());
    setting.spool.welcomed(welcome.incarnation, welcome.contact_window_secs, signed_micros).await?;
    open.first = full_state(setting).await;
    Ok(open)
}

/// Keeps the number and says so. If the disk does not take it, the county hears nothing and thinks nothing.
async fn keep_canary(
    setting: &Setting,
    up: &mpsc::Sender<wire::StreamRequest>,
    number: u64,
) -> Result<(), Ended> {
    if number == 0 {
        return Ok(());
    }
    match setting.canary.keep(number) {
        Ok(()) => send(up, stream_request::Body::CanaryKept(wire::CanaryKept { number })).await,
        Err(error) => {
            tracing::warn!("the state canary was not kept: {error}");
            Ok(())
        }
    }
}

/// The number of the frame that opens the stream; none if the agent is about to stop.
async fn full_state(setting: &Setting) -> Option<FrameKey> {
    let (answer, seq) = oneshot::channel();
    setting.full_state.send(answer).await.ok()?;
    Some(FrameKey { run_id: setting.origin.run_id, seq: seq.await.ok()? })
}

/// What the stream waits for when nothing can be sent.
enum Wait {
    News,
    Pause(Duration),
    Answer,
}

impl OpenStream {
    async fn serve(
        &mut self,
        setting: &Setting,
        progress: &mut bool,
        tell: &(dyn Fn(News) + Sync),
    ) -> Result<(), Ended> {
        loop {
            let wait = self.send_what_fits(setting).await?;
            let pause = match wait {
                Wait::Pause(pause) => pause,
                Wait::News if self.window.is_idle() => Duration::MAX,
                Wait::News | Wait::Answer => ANSWER_WITHIN,
            };
            tokio::select! {
                message = self.down.message() => match message? {
                    Some(response) => if self.obey(setting, response).await? {
                        *progress = true;
                        tell(News::Decided);
                    },
                    None => return Ok(()),
                },
                () = setting.spool.appended(), if matches!(wait, Wait::News) => (),
                () = tokio::time::sleep(pause), if pause < Duration::MAX => {
                    if !matches!(wait, Wait::Pause(_)) {
                        return Err(Ended::Silent("did not answer in time"));
                    }
                }
            }
        }
    }

    async fn send_what_fits(&mut self, setting: &Setting) -> Result<Wait, Ended> {
        loop {
            let stamp = setting.clock.stamp();
            let bytes = match self.window.room(stamp.mono_micros) {
                Room::Bytes(bytes) => bytes,
                Room::Full => return Ok(Wait::Answer),
                Room::PausedUntil(moment) => {
                    let micros = moment.saturating_sub(stamp.mono_micros).max(0);
                    return Ok(Wait::Pause(Duration::from_micros(micros as u64)));
                }
            };
            let frames = setting.spool.next_batch(self.first.take(), bytes).await?;
            if frames.is_empty() {
                return Ok(Wait::News);
            }
            let (keys, frames): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
            let batch = wire::Batch {
                sent_wall_micros: stamp.wall_micros,
                sent_mono_micros: stamp.mono_micros,
                frames,
            };
            tracing::debug!(frames = keys.len(), "batch sent");
            self.window.sent(keys, batch.encoded_len());
            send(&self.up, stream_request::Body::Batch(batch)).await?;
        }
    }

    /// True if the controller decided about something.
    async fn obey(&mut self, setting: &Setting, response: wire::StreamResponse) -> Result<bool, Ended> {
        match response.body {
            Some(stream_response::Body::Ack(ack)) => {
                let signed_micros = self.accept_time(setting, ack.time.as_ref());
                let decided = self.window.answered(&ack, setting.clock.stamp().mono_micros);
                for verdict in ack.verdicts.iter().filter(|verdict| !verdict.reason.is_empty()) {
                    tracing::warn!(
                        first_seq = verdict.first_seq,
                        last_seq = verdict.last_seq,
                        "the controller did not take reports: {}",
                        verdict.reason
                    );
                }
                let any = !decided.is_empty();
                setting.spool.decide(decided, signed_micros).await?;
                if self.window.take_returned() {
                    setting.spool.release().await?;
                }
                Ok(any)
            }
            Some(stream_response::Body::Config(config)) => {
                let outcome = wire::ConfigOutcome {
                    revision: config.revision,
                    outcome: Some(wire::config_outcome::Outcome::Rejected(wire::Rejected {
                        key: "revision".to_owned(),
                        reason: "this version of the agent takes its configuration from agent.toml only"
                            .to_owned(),
                    })),
                };
                send(&self.up, stream_request::Body::ConfigOutcome(outcome)).await?;
                Ok(false)
            }
            Some(stream_response::Body::Welcome(_)) => Err(Ended::Broken("greeted twice")),
            // A newer controller may say more than this agent knows.
            None => Ok(false),
        }
    }

    /// Takes over the controller's time; returns it if its signature holds.
    fn accept_time(&self, setting: &Setting, time: Option<&SignedTime>) -> Option<i64> {
        match self.signer.as_ref()?.verify(time?, &[]) {
            Ok(micros) => {
                setting.clock.accept(micros);
                Some(micros)
            }
            Err(error) => {
                tracing::warn!("the controller's signed time is not used: {error}");
                None
            }
        }
    }
}

async fn send(up: &mpsc::Sender<wire::StreamRequest>, body: stream_request::Body) -> Result<(), Ended> {
    up.send(wire::StreamRequest { body: Some(body) }).await.map_err(|_| Ended::Closed)
}
