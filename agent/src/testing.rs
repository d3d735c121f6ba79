//! A county for tests: its certificates, and a controller on loopback that answers as it is told.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use bbt_proto::{
    REASON_METADATA,
    enrollment::v1::{
        self as enrollment, enrollment_service_server::EnrollmentService,
        enrollment_service_server::EnrollmentServiceServer,
    },
    report::v1::{
        self as wire, report_service_server::ReportService, report_service_server::ReportServiceServer,
        stream_request, stream_response,
    },
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SigningKey,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::server::Connected};
use uuid::Uuid;

use crate::{
    VERSION,
    folder::Folder,
    identity::{
        Identity,
        clock::signed_bytes,
        enroll::{EnrolOrder, enrol},
        trust::{Fingerprint, fingerprint, provider},
    },
    platform::{Roots, fake::FakePlatform},
    spool::FrameKey,
    uplink::address::Address,
};

/// Of every test county; the certificates tell them apart.
pub(crate) const TRUST_DOMAIN: &str = "00112233445566778899aabbccddeeff.bbt";
/// What every controller signs: 2026-03-02, noon.
pub(crate) const SIGNED_MICROS: i64 = 1_772_452_800_000_000;
/// The only token that is good.
pub(crate) const TOKEN: &str = "good-token";

/// A county's certificate authority.
pub(crate) struct County {
    root_der: Vec<u8>,
    intermediate_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl County {
    pub(crate) fn new() -> County {
        let root_key = KeyPair::generate().unwrap();
        let root_params = authority("county root");
        let root_der = root_params.self_signed(&root_key).unwrap().der().to_vec();
        let root = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().unwrap();
        let params = authority("county issuing");
        let intermediate_der = params.signed_by(&key, &root).unwrap().der().to_vec();
        County { root_der, intermediate_der, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn root(&self) -> Fingerprint {
        fingerprint(&self.root_der)
    }

    fn issue(&self, names: Vec<SanType>, key: &impl rcgen::PublicKeyData) -> Vec<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        let own = params.signed_by(key, &self.issuer).unwrap().der().to_vec();
        vec![own, self.intermediate_der.clone(), self.root_der.clone()]
    }

    fn issue_device(&self, id: Uuid, key: &impl rcgen::PublicKeyData) -> Vec<Vec<u8>> {
        let uri = format!("spiffe://{TRUST_DOMAIN}/device/{id}");
        self.issue(vec![SanType::URI(uri.try_into().unwrap())], key)
    }

    /// A device of this county that reports to `controller`.
    pub(crate) fn device(&self, controller: SocketAddr, trusted: Fingerprint) -> Identity {
        let key = KeyPair::generate().unwrap();
        let device_id = Uuid::from_bytes([5; 16]);
        let address: Address = controller.to_string().parse().unwrap();
        Identity {
            device_id,
            trust_domain: TRUST_DOMAIN.to_owned(),
            school_name: "第一小学".to_owned(),
            enrolment_address: address.clone(),
            agent_addresses: vec![address],
            root: trusted,
            chain: self.issue_device(device_id, &key).into_iter().map(CertificateDer::from).collect(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
            valid_secs: (0, i64::MAX / 1_000_000),
        }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

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
    /// Sent on the next stream, right after the welcome.
    pub(crate) config: Option<wire::Config>,
    pub(crate) outcomes: Vec<wire::ConfigOutcome>,
    /// Answers to enrolment that get lost on the way.
    pub(crate) lost_answers: u32,
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
        Controller::listen(county, true).await
    }

    /// The enrolment listener.
    pub(crate) async fn start_enrolment(county: Arc<County>) -> Controller {
        Controller::listen(county, false).await
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn will(&self, acts: impl IntoIterator<Item = Act>) {
        self.seen().acts.extend(acts);
    }

    async fn listen(county: Arc<County>, mutual: bool) -> Controller {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = KeyPair::generate().unwrap();
        let chain = county.issue(vec![SanType::IpAddress(address.ip())], &key);
        let acceptor = TlsAcceptor::from(Arc::new(tls(&county, &chain, &key, mutual)));
        let signer = Arc::new((chain, key));
        let controller = Controller { address, county, signer, seen: Arc::default() };
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
            .add_service(EnrollmentServiceServer::new(controller.clone()));
        tokio::spawn(router.serve_with_incoming(ReceiverStream::new(incoming)));
        controller
    }

    fn signed_time(&self, nonce: &[u8]) -> enrollment::SignedTime {
        let unix_micros = SIGNED_MICROS;
        let signature = self.signer.1.sign(&signed_bytes(unix_micros, nonce, TRUST_DOMAIN)).unwrap();
        enrollment::SignedTime { unix_micros, nonce: nonce.to_vec(), signature }
    }

    /// None breaks the stream.
    fn answer(&self, batch: wire::Batch) -> Option<wire::Ack> {
        let mut seen = self.seen();
        let act = seen.acts.pop_front().unwrap_or(Act::Verdict(wire::Code::Committed));
        seen.frames.extend(batch.frames.iter().cloned());
        let keys = batch
            .frames
            .iter()
            .map(|frame| FrameKey { run_id: frame.run_id.as_ref().try_into().unwrap(), seq: frame.seq });
        let mut ack = wire::Ack { time: Some(self.signed_time(&[])), ..wire::Ack::default() };
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
        let county = Arc::new(County::new());
        let agents = Controller::start(county.clone()).await;
        let (state, temp) = enrolled_at(county, agents.address).await;
        Enrolled { agents, state, _temp: temp }
    }
}

/// The state folder of a device of `county` that is told to report to `agents`, whoever listens there.
pub(crate) async fn enrolled_at(county: Arc<County>, agents: SocketAddr) -> (Folder, TempDir) {
    let enrolment = Controller::start_enrolment(county.clone()).await;
    enrolment.seen().agents = Some(agents);
    let temp = tempfile::tempdir().unwrap();
    let state = Folder::at(&temp.path().join("state"));
    let order = EnrolOrder {
        controller: enrolment.address.to_string().parse().unwrap(),
        token: TOKEN.to_owned(),
        root: county.root(),
        evidence: Vec::new(),
        agent_version: VERSION,
        host_name: "classroom".to_owned(),
    };
    let platform = Arc::new(FakePlatform::new(Roots::under(Path::new("/nowhere")), 1));
    enrol(&state, platform, order, |_| ()).await.unwrap();
    (state, temp)
}

fn tls(county: &County, chain: &[Vec<u8>], key: &KeyPair, mutual: bool) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(county.root_der.clone())).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let builder = match mutual {
        true => builder.with_client_cert_verifier(verifier),
        false => builder.with_no_client_auth(),
    };
    let chain = chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
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
                let mut config = None;
                let body = match request.body {
                    Some(stream_request::Body::Open(open)) => {
                        controller.seen().opens.push(open);
                        config = controller.seen().config.take();
                        stream_response::Body::Welcome(wire::Welcome {
                            incarnation: vec![1; 16],
                            time: Some(controller.signed_time(&[])),
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
                    Some(stream_request::Body::ConfigOutcome(outcome)) => {
                        controller.seen().outcomes.push(outcome);
                        continue;
                    }
                    None => continue,
                };
                for body in [Some(body), config.map(stream_response::Body::Config)].into_iter().flatten() {
                    down.send(Ok(wire::StreamResponse { body: Some(body) })).await.ok();
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

#[tonic::async_trait]
impl EnrollmentService for Controller {
    async fn hello(
        &self,
        request: Request<enrollment::HelloRequest>,
    ) -> Result<Response<enrollment::HelloResponse>, Status> {
        Ok(Response::new(enrollment::HelloResponse {
            protocol_revision: bbt_proto::PROTOCOL_REVISION,
            nonce: vec![7; 16],
            time: Some(self.signed_time(&request.into_inner().nonce)),
            signer_chain: self.signer.0.clone(),
            trust_domain: TRUST_DOMAIN.to_owned(),
        }))
    }

    async fn enroll(
        &self,
        request: Request<enrollment::EnrollRequest>,
    ) -> Result<Response<enrollment::EnrollResponse>, Status> {
        let request = request.into_inner();
        if request.token != TOKEN {
            return Err(refused(Code::PermissionDenied, "token_unknown"));
        }
        let mut seen = self.seen();
        if seen.pending > 0 {
            seen.pending -= 1;
            let pending = enrollment::Pending { retry_after_secs: 1 };
            let outcome = Some(enrollment::enroll_response::Outcome::Pending(pending));
            return Ok(Response::new(enrollment::EnrollResponse { outcome }));
        }
        let key = RequestedKey::of(&request.certificate_request);
        if *seen.enrolled_key.get_or_insert_with(|| key.0.clone()) != key.0 {
            return Err(refused(Code::PermissionDenied, "token_used"));
        }
        if seen.lost_answers > 0 {
            seen.lost_answers -= 1;
            return Err(Status::unavailable("the answer got lost"));
        }
        let id = Uuid::from_bytes([5; 16]);
        let approved = enrollment::Approved {
            device_id: id.into_bytes().to_vec(),
            certificate_chain: self.county.issue_device(id, &key),
            agent_addresses: vec![
                seen.agents.map_or_else(|| "county.example:7443".to_owned(), |agents| agents.to_string()),
            ],
            trust_domain: TRUST_DOMAIN.to_owned(),
            school_name: "第一小学".to_owned(),
        };
        let outcome = Some(enrollment::enroll_response::Outcome::Approved(approved));
        Ok(Response::new(enrollment::EnrollResponse { outcome }))
    }

    async fn reattach(
        &self,
        _: Request<enrollment::ReattachRequest>,
    ) -> Result<Response<enrollment::EnrollResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

/// The public key of a certificate request, the only thing taken from it.
struct RequestedKey(Vec<u8>);

impl RequestedKey {
    fn of(request: &[u8]) -> RequestedKey {
        use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};
        let (_, request) = X509CertificationRequest::from_der(request).unwrap();
        RequestedKey(request.certification_request_info.subject_pki.subject_public_key.data.to_vec())
    }
}

impl rcgen::PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

struct ServerStream(TlsStream<TcpStream>);

impl Connected for ServerStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
