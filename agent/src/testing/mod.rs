//! A county for tests: its certificates, and a controller on loopback that answers as it is told.

mod county;
mod enrolment;
mod listener;

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use bbt_proto::{
    REASON_METADATA,
    enrollment::v1::{
        self as enrollment, enrollment_service_server::EnrollmentServiceServer,
        renewal_service_server::RenewalServiceServer,
    },
    report::v1::{
        self as wire, report_service_server::ReportService, report_service_server::ReportServiceServer,
        stream_request, stream_response,
    },
};
use rcgen::{KeyPair, SanType, SigningKey};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};
use uuid::Uuid;

pub(crate) use self::county::County;
use self::listener::ServerStream;
use crate::{
    VERSION,
    folder::Folder,
    identity::{
        clock::{BUILD_MICROS, signed_bytes},
        enroll::{EnrolOrder, enrol},
        trust::Fingerprint,
    },
    platform::{Roots, fake::FakePlatform},
    spool::FrameKey,
};

/// Of every test county; the certificates tell them apart.
pub(crate) const TRUST_DOMAIN: &str = "00112233445566778899aabbccddeeff.bbt";
/// What every controller signs: 2026-03-02, noon.
pub(crate) const SIGNED_MICROS: i64 = 1_772_452_800_000_000;
/// What controllers of a county of our days sign: a month after this program was built.
pub(crate) const TODAY_MICROS: i64 = BUILD_MICROS + 30 * 86_400 * 1_000_000;
/// The only token that is good.
pub(crate) const TOKEN: &str = "good-token";

/// What the controller does with the next batch or stream; when the list is empty it stores.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Gives every frame of the batch this verdict.
    Verdict(wire::Code),
    /// Gives no verdict and asks for a pause.
    Pause { millis: u32 },
    /// Breaks the stream without a verdict.
    Cut,
    /// Stores the batch, then breaks the stream without a verdict.
    StoreAndCut,
    /// Refuses the stream.
    Refuse(&'static str),
}

/// What the controller saw and was told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) acts: VecDeque<Act>,
    pub(crate) opens: Vec<wire::Open>,
    /// Every frame as it came, repeats included.
    pub(crate) frames: Vec<wire::Frame>,
    pub(crate) stored: BTreeSet<FrameKey>,
    /// Public key of the device that used the token.
    pub(crate) enrolled_key: Option<Vec<u8>>,
    /// Enrolment questions that are still answered with `pending`.
    pub(crate) pending: u32,
    /// Where enrolled devices are told to report.
    pub(crate) agents: Option<SocketAddr>,
    /// Answers to enrolment, renewal, its confirmation and re-attachment that get lost on the way.
    pub(crate) lost_answers: u32,
    /// The controller's clock, which stands.
    pub(crate) now_micros: i64,
    /// How the next greetings lie.
    pub(crate) lie: Option<Lie>,
    /// Public keys that certificates were asked for by renewal and re-attachment, in their order.
    pub(crate) asked_keys: Vec<Vec<u8>>,
    /// Proofs of an old key that came in.
    pub(crate) reattachments: u32,
    /// Whether the device is turned away wherever it asks.
    pub(crate) revoked: bool,
    /// Public key of the certificate that was confirmed last; all before it are superseded.
    pub(crate) in_force: Option<Vec<u8>>,
    /// The identity of its own that the device is given; under another one it is told to ask for it.
    pub(crate) sibling: Option<Uuid>,
    /// The state canary told at each greeting.
    pub(crate) canary: u64,
    /// Those that the device said to have kept.
    pub(crate) canaries_kept: Vec<u64>,
}

/// A greeting that must not be believed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// Signed by another key than that of the chain.
    OtherKey,
    /// For another nonce: heard earlier and repeated.
    OldNonce,
    /// Of another county.
    OtherDomain,
    /// Nothing is signed.
    NoTime,
}

/// A controller on loopback.
#[derive(Clone)]
pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    county: Arc<County>,
    signer: Arc<(Vec<Vec<u8>>, KeyPair)>,
    seen: Arc<Mutex<Seen>>,
}

impl Controller {
    /// The agents' listener: devices prove themselves.
    pub(crate) async fn start(county: Arc<County>) -> Controller {
        Controller::listen(county.clone(), fresh(&county), true).await
    }

    /// The enrolment listener.
    pub(crate) async fn start_enrolment(county: Arc<County>) -> Controller {
        Controller::listen(county.clone(), fresh(&county), false).await
    }

    /// Both listeners of one controller, the agents' first.
    pub(crate) async fn start_both(county: Arc<County>) -> (Controller, Controller) {
        let agents = Controller::start(county.clone()).await;
        agents.seen().agents = Some(agents.address);
        let enrolment = Controller::listen(county, agents.seen.clone(), false).await;
        (agents, enrolment)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn will(&self, acts: impl IntoIterator<Item = Act>) {
        self.seen().acts.extend(acts);
    }

    async fn listen(county: Arc<County>, seen: Arc<Mutex<Seen>>, mutual: bool) -> Controller {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = KeyPair::generate().unwrap();
        let chain = county.issue(vec![SanType::IpAddress(address.ip())], county.listener_life, &key);
        let signer = Arc::new((chain, key));
        let controller = Controller { address, county, signer, seen };
        let (chain, key) = &*controller.signer;
        let tls = listener::tls(&controller.county, chain, key, controller.clone(), mutual);
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (accepted, incoming) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // A handshake that fails is the other side's news.
                if let Ok(stream) = acceptor.accept(tcp).await {
                    accepted.send(Ok::<_, io::Error>(ServerStream(stream))).await.ok();
                }
            }
        });
        let router = tonic::transport::Server::builder()
            .add_service(ReportServiceServer::new(controller.clone()))
            .add_service(EnrollmentServiceServer::new(controller.clone()))
            .add_service(RenewalServiceServer::new(controller.clone()));
        tokio::spawn(router.serve_with_incoming(ReceiverStream::new(incoming)));
        controller
    }

    fn sign(&self, key: &KeyPair, now_micros: i64, nonce: &[u8]) -> enrollment::SignedTime {
        let signature = key.sign(&signed_bytes(now_micros, nonce, TRUST_DOMAIN)).unwrap();
        enrollment::SignedTime { unix_micros: now_micros, nonce: nonce.to_vec(), signature }
    }

    /// As every answer carries it, asked or not.
    fn signed_time(&self) -> enrollment::SignedTime {
        let now_micros = self.seen().now_micros;
        self.sign(&self.signer.1, now_micros, &[])
    }

    /// None breaks the stream.
    fn answer(&self, batch: wire::Batch) -> Option<wire::Ack> {
        let time = Some(self.signed_time());
        let mut seen = self.seen();
        let act = seen.acts.pop_front().unwrap_or(Act::Verdict(wire::Code::Committed));
        seen.frames.extend(batch.frames.iter().cloned());
        let keys = batch
            .frames
            .iter()
            .map(|frame| FrameKey { run_id: frame.run_id.as_ref().try_into().unwrap(), seq: frame.seq });
        let mut ack = wire::Ack { time, ..wire::Ack::default() };
        match act {
            Act::Verdict(code) => {
                for key in keys {
                    let code = match code {
                        wire::Code::Committed if !seen.stored.insert(key) => wire::Code::Duplicate,
                        code => code,
                    };
                    ack.verdicts.push(wire::Verdict {
                        run_id: key.run_id.to_vec(),
                        first_seq: key.seq,
                        last_seq: key.seq,
                        code: code as i32,
                        reason: String::new(),
                    });
                }
            }
            Act::Pause { millis } => ack.retry_after_ms = millis,
            Act::StoreAndCut => {
                seen.stored.extend(keys);
                return None;
            }
            Act::Cut | Act::Refuse(_) => return None,
        }
        Some(ack)
    }
}

/// A device that is enrolled, and the listener that it reports to.
pub(crate) struct Enrolled {
    pub(crate) agents: Controller,
    pub(crate) state: Folder,
    _temp: TempDir,
}

impl Enrolled {
    pub(crate) async fn new() -> Enrolled {
        Enrolled::of(County::new()).await
    }

    pub(crate) async fn of(county: County) -> Enrolled {
        let county = Arc::new(county);
        let (agents, enrolment) = Controller::start_both(county.clone()).await;
        let (state, temp) = enrolled_by(&enrolment, county.root()).await;
        Enrolled { agents, state, _temp: temp }
    }
}

fn fresh(county: &County) -> Arc<Mutex<Seen>> {
    Arc::new(Mutex::new(Seen { now_micros: county.now_micros, ..Seen::default() }))
}

/// The state folder of a device of `county` that is told to report to `agents`, whoever listens there.
pub(crate) async fn enrolled_at(county: Arc<County>, agents: SocketAddr) -> (Folder, TempDir) {
    let enrolment = Controller::start_enrolment(county.clone()).await;
    enrolment.seen().agents = Some(agents);
    enrolled_by(&enrolment, county.root()).await
}

async fn enrolled_by(enrolment: &Controller, root: Fingerprint) -> (Folder, TempDir) {
    let temp = tempfile::tempdir().unwrap();
    let state = Folder::at(&temp.path().join("state"));
    let order = EnrolOrder {
        controller: enrolment.address.to_string().parse().unwrap(),
        token: TOKEN.to_owned(),
        root,
        evidence: Vec::new(),
        agent_version: VERSION,
        host_name: "classroom".to_owned(),
    };
    let platform = Arc::new(FakePlatform::new(Roots::under(Path::new("/nowhere")), 1));
    enrol(&state, platform, order, |_, _| ()).await.unwrap();
    (state, temp)
}

fn refused(code: Code, reason: &'static str) -> Status {
    let mut status = Status::new(code, "refused by the test");
    status.metadata_mut().insert(REASON_METADATA, reason.parse().unwrap());
    status
}

#[tonic::async_trait]
impl ReportService for Controller {
    type StreamStream = ReceiverStream<Result<wire::StreamResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        self.admit(&request)?;
        let refusal = match self.seen().acts.front() {
            Some(Act::Refuse(reason)) => Some(*reason),
            _ => None,
        };
        if let Some(reason) = refusal {
            self.seen().acts.pop_front();
            return Err(refused(Code::PermissionDenied, reason));
        }
        let (down, responses) = mpsc::channel(16);
        let controller = self.clone();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            while let Some(Ok(request)) = requests.next().await {
                let body = match request.body {
                    Some(stream_request::Body::Open(open)) => {
                        let (canary, identity) = {
                            let mut seen = controller.seen();
                            let sibling = seen.sibling.map(Uuid::into_bytes);
                            let is_clone =
                                sibling.is_some_and(|sibling| sibling.as_slice() != open.device_id);
                            seen.opens.push(open);
                            (
                                seen.canary,
                                if is_clone { wire::Identity::Rekey } else { wire::Identity::Unspecified },
                            )
                        };
                        stream_response::Body::Welcome(wire::Welcome {
                            canary,
                            identity: identity.into(),
                            incarnation: vec![1; 16],
                            time: Some(controller.signed_time()),
                            signer_chain: controller.signer.0.clone(),
                            ..wire::Welcome::default()
                        })
                    }
                    Some(stream_request::Body::Batch(batch)) => match controller.answer(batch) {
                        Some(ack) => stream_response::Body::Ack(ack),
                        None => {
                            down.send(Err(Status::unavailable("cut by the test"))).await.ok();
                            return;
                        }
                    },
                    Some(stream_request::Body::CanaryKept(kept)) => {
                        controller.seen().canaries_kept.push(kept.number);
                        continue;
                    }
                    Some(stream_request::Body::ConfigOutcome(_)) | None => continue,
                };
                down.send(Ok(wire::StreamResponse { body: Some(body) })).await.ok();
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}
