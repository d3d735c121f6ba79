//! Standard Webhooks over HTTP/1.1: one connection per attempt, made here from name to answer.
//!
//! Nothing is taken from the environment (no proxy), nothing is followed (no redirect), and an address is looked
//! at after the name was resolved, so that no answer of a name server opens what is closed. What comes back is
//! read in small measure and thrown away: a receiver says all it has to say with its status.

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bbt_domain::{
    outbox::{LineFault, Outcome, Reason, Stage, TlsFault},
    time::UtcMicros,
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{CONNECTION, CONTENT_TYPE, HOST, InvalidHeaderValue, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Delivery, Door, Message, Target, address::AddressRules, url::Scheme};
use crate::{clock::SharedClock, config::Webhooks, listen::tls::ClockTime, pki::provider};

/// Name, connection and TLS together: ten times what a slow line takes.
pub const CONNECT: Duration = Duration::from_secs(5);
/// Everything up to the answer's headers. Receivers are asked to answer first and work later.
pub const ATTEMPT: Duration = Duration::from_secs(15);
/// Reading what follows the headers, out of politeness: the message is delivered by then.
const LEFTOVER: Duration = Duration::from_secs(2);
/// Most that is read of it.
const LEFTOVER_BYTES: usize = 64 << 10;
/// Most of an answer that is held at once; its headers must fit in.
const ANSWER_BYTES: usize = 32 << 10;
/// Addresses of one name that are tried; large services have some, a hostile name server any number.
const ADDRESSES: usize = 4;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("bbt-controller/", env!("CARGO_PKG_VERSION")));

/// The door to the network.
pub struct Webhook {
    rules: AddressRules,
    roots: Roots,
    resolver: Box<dyn Resolver>,
    deadlines: Deadlines,
}

/// How long an attempt may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until the connection is secured.
    pub connect: Duration,
    /// Until the answer's headers are there.
    pub attempt: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: CONNECT, attempt: ATTEMPT }
    }
}

impl Webhook {
    /// A door under the county's configuration. Without roots it says so in the log; targets over https then
    /// wait until there are some.
    pub fn new(config: &Webhooks, clock: SharedClock) -> Self {
        let roots = Roots { file: config.ca_file.clone(), clock, tls: OnceLock::new() };
        if let Err(reason) = roots.tls() {
            tracing::warn!(%reason, "messages to contractors over https wait");
        }
        let rules = AddressRules::new(config.allow.clone());
        Self { rules, roots, resolver: Box::new(SystemResolver), deadlines: Deadlines::default() }
    }

    /// The same with names looked up elsewhere.
    pub fn with_resolver(self, resolver: impl Resolver + 'static) -> Self {
        Self { resolver: Box::new(resolver), ..self }
    }

    /// The same with less patience.
    pub fn with_deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }

    async fn attempt(&self, target: &Target, message: &Message, now: UtcMicros) -> Result<u16, Reason> {
        let request = request(target, message, now).map_err(|_| Reason::Unsendable)?;
        let start = Instant::now();
        let (connected_by, answered_by) = (start + self.deadlines.connect, start + self.deadlines.attempt);
        let stream = self.connect(target, connected_by).await?;
        match target.url.scheme() {
            Scheme::Http => exchange(stream, request, answered_by).await,
            Scheme::Https => {
                let stream = self.secure(stream, target, connected_by).await?;
                exchange(stream, request, answered_by).await
            }
        }
    }

    /// To the first of the host's addresses that may be called and takes the connection.
    async fn connect(&self, target: &Target, by: Instant) -> Result<TcpStream, Reason> {
        let addresses = within(by, Stage::Resolve, self.addresses(target)).await??;
        let mut failure = Reason::NoAddress;
        for (address, to_try) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
            if let Err(refusal) = self.rules.permit(*address, target.url.scheme(), target.granted_by_local) {
                failure = Reason::Refused { address: address.ip(), refusal };
                continue;
            }
            // The others keep their share of the time.
            let share = Instant::now() + by.saturating_duration_since(Instant::now()) / to_try;
            failure = match within(share, Stage::Connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => Reason::Unreachable { fault: line_fault(&error) },
                Err(late) => late,
            };
        }
        Err(failure)
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Reason> {
        let port = target.url.port();
        match target.url.host() {
            ServerName::IpAddress(ip) => Ok(vec![SocketAddr::new((*ip).into(), port)]),
            name => {
                let found = self.resolver.resolve(&name.to_str(), port).await;
                let mut addresses = found.map_err(|_| Reason::NoAddress)?;
                addresses.truncate(ADDRESSES);
                Ok(addresses)
            }
        }
    }

    async fn secure(
        &self,
        stream: TcpStream,
        target: &Target,
        by: Instant,
    ) -> Result<TlsStream<TcpStream>, Reason> {
        let connector = TlsConnector::from(self.roots.tls()?);
        let handshake = connector.connect(target.url.host().clone(), stream);
        within(by, Stage::Secure, handshake).await?.map_err(|error| Reason::Tls { fault: tls_fault(&error) })
    }
}

impl Door for Webhook {
    fn deliver<'a>(&'a self, target: &'a Target, message: &'a Message, now: UtcMicros) -> Delivery<'a> {
        Box::pin(async move {
            match self.attempt(target, message, now).await {
                Ok(status) => Outcome::of_status(status),
                Err(reason) => Outcome::of_failure(reason),
            }
        })
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What makes addresses of a name.
pub trait Resolver: Send + Sync {
    /// All addresses of `host`, each with `port`.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolution<'a>;
}

/// A look-up under way.
pub type Resolution<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// The operating system's.
struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolution<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// The roots of the file, once it could be read.
struct Roots {
    file: PathBuf,
    clock: SharedClock,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Roots {
    fn tls(&self) -> Result<Arc<ClientConfig>, Reason> {
        if let Some(tls) = self.tls.get() {
            return Ok(Arc::clone(tls));
        }
        let tls = self.read().ok_or_else(|| Reason::NoRoots { path: self.file.display().to_string() })?;
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(tls))))
    }

    fn read(&self) -> Option<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(&self.file).ok()?.filter_map(Result::ok);
        let (taken, _) = roots.add_parsable_certificates(certificates);
        let time = Arc::new(ClockTime(Arc::clone(&self.clock)));
        let builder = ClientConfig::builder_with_details(provider(), time);
        let mut tls = builder
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Attempts are minutes apart, and each stands alone.
        tls.resumption = Resumption::disabled();
        (taken > 0).then_some(tls)
    }
}

fn request(
    target: &Target,
    message: &Message,
    now: UtcMicros,
) -> Result<Request<Full<Bytes>>, InvalidHeaderValue> {
    let secs = now.as_secs();
    let signature = target.secret.sign(&message.id, secs, &message.body);
    let mut request = Request::new(Full::from(message.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from(target.url.path().clone());
    request.headers_mut().extend([
        (HOST, target.url.host_header().clone()),
        (USER_AGENT, AGENT),
        (CONNECTION, HeaderValue::from_static("close")),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (WEBHOOK_ID, HeaderValue::from_str(&message.id)?),
        (WEBHOOK_TIMESTAMP, HeaderValue::from(secs)),
        (WEBHOOK_SIGNATURE, HeaderValue::from_str(&signature)?),
    ]);
    Ok(request)
}

/// Sends the request and gives the answer's status.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>, by: Instant) -> Result<u16, Reason>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Whatever the receiver does, the connection ends when this set is dropped.
    let mut driver = JoinSet::new();
    let answer = within(by, Stage::Answer, ask(stream, request, &mut driver)).await?;
    let answer = answer.map_err(|error| if error.is_parse() { Reason::NotHttp } else { Reason::CutOff })?;
    let status = answer.status().as_u16();
    // However this ends, the answer stands.
    let _ = timeout(LEFTOVER, Limited::new(answer.into_body(), LEFTOVER_BYTES).collect()).await;
    Ok(status)
}

async fn ask<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    driver: &mut JoinSet<hyper::Result<()>>,
) -> hyper::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    driver.spawn(connection);
    sender.send_request(request).await
}

async fn within<T>(by: Instant, stage: Stage, step: impl Future<Output = T>) -> Result<T, Reason> {
    timeout_at(by, step).await.map_err(|_| Reason::Late { stage })
}

fn line_fault(error: &io::Error) -> LineFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => LineFault::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => LineFault::NoRoute,
        _ => LineFault::Other,
    }
}

fn tls_fault(error: &io::Error) -> TlsFault {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(error)) = error else { return TlsFault::Handshake };
    match error {
        // A bad signature: another's root has the name of a trusted one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::UnknownIssuer,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::NotValidNow,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongName
        }
        _ => TlsFault::Handshake,
    }
}
