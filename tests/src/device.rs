//! A device that says exactly what a test tells it: the contract's own messages over a connection like the
//! agent's, with none of the agent's care.

mod certificates;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

use anyhow::{Context, Result, bail, ensure};
use bbt_proto::{
    PROTOCOL_REVISION, REASON_METADATA,
    enrollment::v1::{
        Approved, EnrollRequest, HelloRequest, HelloResponse, enroll_response::Outcome,
        enrollment_service_client::EnrollmentServiceClient,
    },
    report::v1::{
        Ack, Batch, Class, Code, Config, ConfigOutcome, Frame, Kind, Open, OsBoot, StreamRequest,
        StreamResponse, Welcome, config_outcome, report_service_client::ReportServiceClient, stream_request,
        stream_response,
    },
};
use hyper_util::rt::TokioIo;
use prost::{Message, bytes::Bytes};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    AlertDescription, ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::ResolvesClientCert, sign::CertifiedKey, version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject};
use tokio::{io::AsyncReadExt, net::TcpSocket, runtime::Runtime, sync::mpsc, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{
    county::{County, Token},
    pki::{Authority, Credentials},
    wait::SOON,
};

/// Requests of a stream that wait to be written.
const REQUESTS_WAITING: usize = 64;
/// Where devices come from unless a test says otherwise.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// As every device of ours speaks.
const ONLY_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];

/// Drives the connections of all devices, so that tests may wait in plain words.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("this machine has room for two threads")
});

/// Where the devices' connections go on. Whoever has many streams at once lets their tasks run here.
pub fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// Waits for `work` as long as for anything that happens at once.
pub fn wait<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    RUNTIME
        .block_on(async { timeout(SOON, work).await })
        .with_context(|| format!("waited {SOON:?} in vain for {what}"))
}

/// Somebody at the agents' port.
#[derive(Debug)]
pub struct Device {
    /// Whom it says to be in its messages.
    pub id: Uuid,
    credentials: Option<Credentials>,
    agents: SocketAddr,
    root: CertificateDer<'static>,
    from: IpAddr,
    versions: &'static [&'static SupportedProtocolVersion],
}

/// What came of the TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// The controller speaks HTTP/2 with us.
    LetIn,
    /// The controller ended it with this alert.
    Refused(AlertDescription),
}

impl Device {
    /// A device that the county knows, with a key of its own.
    pub fn enroll(county: &County) -> Result<Self> {
        Ok(try_enroll(county, &county.token()?, HERE)??)
    }

    /// The holder of `credentials`, who says to be `id`.
    pub fn holding(county: &County, id: Uuid, credentials: Option<Credentials>) -> Result<Self> {
        Ok(Self {
            id,
            credentials,
            agents: county.listen()?.agents,
            root: root(county)?,
            from: HERE,
            versions: ONLY_TLS13,
        })
    }

    /// What it shows at the agents' port.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The same, coming from another address of the loopback network.
    pub fn from_address(self, from: IpAddr) -> Self {
        Self { from, ..self }
    }

    /// The same, offering only these versions of TLS.
    pub fn speaking(self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        Self { versions, ..self }
    }

    /// Shakes hands and waits for what the controller makes of it. With TLS 1.3 a client learns only after its
    /// own handshake whether it was let in.
    pub fn knock(&self) -> Result<Knock> {
        wait("an answer to a handshake", async {
            let mut stream = match self.connect().await {
                Ok(stream) => stream,
                Err(error) => return alert(error),
            };
            match stream.read_u8().await {
                Ok(_) => Ok(Knock::LetIn),
                Err(error) => alert(error.into()),
            }
        })?
    }

    /// A connection for any service of the agents' port.
    pub fn channel(&self) -> Result<Channel> {
        wait("a connection", async { speak(self.agents, self.connect().await?).await })?
    }

    /// Opens a stream as the contract has it, for a run of its own.
    pub fn open(&self) -> Result<Stream> {
        Ok(self.try_open(self.greeting(Uuid::new_v4()))??)
    }

    /// Opens a stream with this first message; the controller's word when it refuses.
    pub fn try_open(&self, open: Open) -> Result<Result<Stream, Status>> {
        let channel = self.channel()?;
        let run = Uuid::from_slice(&open.run_id).unwrap_or_default();
        wait("a welcome", async {
            let (requests, body) = mpsc::channel(REQUESTS_WAITING);
            requests.send(request(stream_request::Body::Open(open))).await.context("sending Open")?;
            let mut client = ReportServiceClient::new(channel);
            let mut answers = match client.stream(ReceiverStream::new(body)).await {
                Ok(answers) => answers.into_inner(),
                Err(status) => return Ok(Err(status)),
            };
            let welcome = match answers.message().await {
                Ok(Some(StreamResponse { body: Some(stream_response::Body::Welcome(welcome)) })) => welcome,
                Ok(other) => bail!("instead of a welcome came {other:?}"),
                Err(status) => return Ok(Err(status)),
            };
            Ok(Ok(Stream { device: self.id, run, welcome, requests, answers }))
        })?
    }

    /// Tells `report` on a stream of its own, until the controller says that it has it.
    pub fn tell(&self, kind: Kind, report: &impl Message) -> Result<()> {
        let mut stream = self.open()?;
        let frame = stream.frame(1, kind, report.encode_to_vec());
        stream.send(vec![frame])?;
        let ack = stream.ack()?;
        ensure!(ack.verdicts.iter().all(|verdict| verdict.code() == Code::Committed), "{ack:?}");
        Ok(())
    }

    /// The first message of a stream.
    pub fn greeting(&self, run: Uuid) -> Open {
        Open {
            protocol_revision: PROTOCOL_REVISION,
            run_id: run.as_bytes().to_vec(),
            device_id: self.id.as_bytes().to_vec(),
            os_boot: Some(os_boot()),
            agent_version: "0.0.0".to_owned(),
            ..Open::default()
        }
    }

    async fn connect(&self) -> Result<TlsStream<tokio::net::TcpStream>> {
        let builder = config(&self.root, self.versions)?;
        let config = match &self.credentials {
            None => builder.with_no_client_auth(),
            Some(credentials) => builder.with_client_cert_resolver(Arc::new(Shown::new(credentials)?)),
        };
        shake_hands(self.agents, self.from, config).await
    }
}

/// Shows a certificate whatever the other side asks for, and whether it fits its key or not.
#[derive(Debug)]
pub struct Shown(Arc<CertifiedKey>);

impl Shown {
    /// These, whatever they are.
    pub fn new(Credentials { chain, key }: &Credentials) -> Result<Self> {
        let key = rustls::crypto::ring::sign::any_ecdsa_type(key).context("taking a key to a handshake")?;
        Ok(Self(Arc::new(CertifiedKey::new(chain.clone(), key))))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Asks to be enrolled with `token`, from the loopback address `from`; the controller's word when it refuses.
pub fn try_enroll(county: &County, token: &Token, from: IpAddr) -> Result<Result<Device, Status>> {
    let mut applicant = Applicant::new(county, from)?;
    let request = EnrollRequest { token: token.token.clone(), ..applicant.request()? };
    let approved = match applicant.enroll(request)? {
        Ok(approved) => approved,
        Err(status) => return Ok(Err(status)),
    };
    let id = Uuid::from_slice(&approved.device_id).context("reading the device's id")?;
    let chain = approved.certificate_chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(applicant.key.serialize_der()).into();
    Ok(Ok(Device::holding(county, id, Some(Credentials { chain, key }))?.from_address(from)))
}

/// Somebody at the enrolment port.
#[derive(Debug)]
pub struct Applicant {
    client: EnrollmentServiceClient<Channel>,
    key: KeyPair,
}

impl Applicant {
    /// Connects from the loopback address `from`.
    pub fn new(county: &County, from: IpAddr) -> Result<Self> {
        let address = county.listen()?.enrollment;
        let config = config(&root(county)?, ONLY_TLS13)?.with_no_client_auth();
        let connected = async { speak(address, shake_hands(address, from, config).await?).await };
        let channel = wait("the enrolment port", connected)??;
        Ok(Self {
            client: EnrollmentServiceClient::new(channel),
            key: KeyPair::generate().context("making a key")?,
        })
    }

    /// The first call, with this nonce.
    pub fn hello(&mut self, nonce: &[u8]) -> Result<HelloResponse> {
        let request = HelloRequest { protocol_revision: PROTOCOL_REVISION, nonce: nonce.to_vec() };
        Ok(wait("an answer to Hello", self.client.hello(request))??.into_inner())
    }

    /// A second call that lacks nothing but a token.
    pub fn request(&mut self) -> Result<EnrollRequest> {
        let nonce = self.hello(Uuid::new_v4().as_bytes())?.nonce;
        let certificate_request =
            CertificateParams::default().serialize_request(&self.key).context("asking for a certificate")?;
        Ok(EnrollRequest {
            protocol_revision: PROTOCOL_REVISION,
            nonce,
            certificate_request: certificate_request.der().to_vec(),
            ..EnrollRequest::default()
        })
    }

    /// The second call.
    pub fn enroll(&mut self, request: EnrollRequest) -> Result<Result<Approved, Status>> {
        match wait("an answer to Enroll", self.client.enroll(request))? {
            Ok(answer) => match answer.into_inner().outcome {
                Some(Outcome::Approved(approved)) => Ok(Ok(approved)),
                other => bail!("instead of an approval came {other:?}"),
            },
            Err(status) => Ok(Err(status)),
        }
    }
}

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    /// What the controller greeted with.
    pub welcome: Welcome,
    /// The run whose frames [`Stream::frame`] makes.
    pub run: Uuid,
    device: Uuid,
    /// What the device says.
    pub requests: mpsc::Sender<StreamRequest>,
    answers: Streaming<StreamResponse>,
}

impl Stream {
    /// A frame of this stream's device and run.
    pub fn frame(&self, seq: u64, kind: Kind, body: impl Into<Bytes>) -> Frame {
        Frame {
            run_id: self.run.as_bytes().to_vec().into(),
            seq,
            class: Class::History.into(),
            device_id: self.device.as_bytes().to_vec().into(),
            os_boot: Some(os_boot()),
            kind: kind.into(),
            body: body.into(),
            ..Frame::default()
        }
    }

    /// Sends one batch.
    pub fn send(&mut self, frames: Vec<Frame>) -> Result<()> {
        let batch = Batch { frames, ..Batch::default() };
        let sent = self.requests.send(request(stream_request::Body::Batch(batch)));
        wait("room for a batch", sent)?.context("sending a batch")
    }

    /// The next ack; an error when the stream ends first.
    pub fn ack(&mut self) -> Result<Ack> {
        match wait("an ack", self.answer())? {
            Ok(Some(StreamResponse { body: Some(stream_response::Body::Ack(ack)) })) => Ok(ack),
            Ok(other) => bail!("instead of an ack came {other:?}"),
            Err(status) => Err(status).context("waiting for an ack"),
        }
    }

    /// The next answer to reports. What the device is told to do may come at any time; it is passed over.
    pub async fn answer(&mut self) -> Result<Option<StreamResponse>, Status> {
        loop {
            match self.answers.message().await? {
                Some(StreamResponse { body: Some(stream_response::Body::Config(_)) }) => {}
                answer => return Ok(answer),
            }
        }
    }

    /// The next configuration; answers to reports are passed over.
    pub fn config(&mut self) -> Result<Config> {
        wait("a configuration", async {
            loop {
                match self.answers.message().await? {
                    Some(StreamResponse { body: Some(stream_response::Body::Config(config)) }) => {
                        return Ok(config);
                    }
                    Some(_) => {}
                    None => bail!("the stream ended"),
                }
            }
        })?
    }

    /// Says what came of a configuration.
    pub fn say(&self, revision: u64, outcome: config_outcome::Outcome) -> Result<()> {
        let outcome = ConfigOutcome { revision, outcome: Some(outcome) };
        let sent = self.requests.send(request(stream_request::Body::ConfigOutcome(outcome)));
        wait("room for an answer", sent)?.context("answering a configuration")
    }

    /// Waits until the controller ends the stream, and for its reason.
    pub fn ended(&mut self) -> Result<Status> {
        wait("the end of a stream", async {
            loop {
                match self.answers.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Status::ok(""),
                    Err(status) => return status,
                }
            }
        })
    }
}

/// The machine-readable word beside a status; empty where there is none.
pub fn reason(status: &Status) -> &str {
    status.metadata().get(REASON_METADATA).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The county's own issuing key, as a thief of its data folder has it.
pub fn stolen_authority(county: &County) -> Result<Authority> {
    let read = |name: &str| {
        let path = county.data().join("pki").join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    Authority::from_pem(&read("issuing.crt")?, &read("issuing.key")?)
}

fn os_boot() -> OsBoot {
    OsBoot { id: vec![7; 16], ..OsBoot::default() }
}

fn request(body: stream_request::Body) -> StreamRequest {
    StreamRequest { body: Some(body) }
}

/// The county's root certificate.
pub fn root(county: &County) -> Result<CertificateDer<'static>> {
    let path = county.data().join("pki/root.crt");
    CertificateDer::from_pem_file(&path).with_context(|| format!("reading {}", path.display()))
}

fn config(
    root: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).context("trusting the county's root")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    Ok(builder.context("choosing versions of TLS")?.with_root_certificates(roots))
}

async fn shake_hands(
    address: SocketAddr,
    from: IpAddr,
    mut config: ClientConfig,
) -> Result<TlsStream<tokio::net::TcpStream>> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpSocket::new_v4().context("making a socket")?;
    socket.bind(SocketAddr::new(from, 0)).with_context(|| format!("coming from {from}"))?;
    let stream = socket.connect(address).await.with_context(|| format!("connecting to {address}"))?;
    let name = ServerName::from(address.ip());
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

async fn speak(address: SocketAddr, stream: TlsStream<tokio::net::TcpStream>) -> Result<Channel> {
    let mut stream = Some(stream);
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().map(TokioIo::new);
        async move { stream.ok_or_else(|| std::io::Error::other("the connection has ended")) }
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}

fn alert(error: anyhow::Error) -> Result<Knock> {
    let found = error.chain().find_map(|error| error.downcast_ref::<rustls::Error>());
    let found = found.or_else(|| {
        let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
        inner.downcast_ref::<rustls::Error>()
    });
    match found {
        Some(rustls::Error::AlertReceived(alert)) => Ok(Knock::Refused(*alert)),
        _ => Err(error),
    }
}
