//! A contractor's receiver on the loopback network: checks every message as Standard Webhooks tells receivers to,
//! remembers what came, and behaves as badly as it is told.
//!
//! It is made of threads and bytes, because what is wanted of it is mostly what no server's library does. It
//! shares no code with the controller: what it accepts, another's receiver accepts too.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use uuid::Uuid;

use crate::{pki::Credentials, wait::SOON};

/// Most of a request that is read; a ticket's message has about one kilobyte.
const REQUEST_BYTES: u64 = 1 << 20;
/// What an endless body is written in.
const CHUNK: [u8; 16 << 10] = [b'z'; 16 << 10];

/// What the receiver does with a message that is signed as it should be. It is remembered in any case.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers with this status.
    Status(u16),
    /// Points there.
    Redirect(String),
    /// Sends these bytes, and then nothing more as long as the sender stays.
    Bytes(Vec<u8>),
    /// Answers 200 with a body that never ends.
    Endless,
    /// Breaks the connection with a reset.
    Reset,
}

impl Answer {
    /// Never says a word.
    pub fn silence() -> Self {
        Self::Bytes(Vec::new())
    }
}

/// A message whose signature was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`. It is not held against a clock: the county's may be set by hand.
    pub secs: i64,
    /// As it was signed.
    pub body: String,
    /// Path and query that were asked for.
    pub path: String,
    /// All headers, in small letters.
    pub headers: BTreeMap<String, String>,
}

/// A running receiver; it ends when it is dropped.
pub struct Contractor {
    address: SocketAddr,
    scheme: &'static str,
    secret: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    key: hmac::Key,
    tls: Option<Arc<ServerConfig>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    received: Vec<Received>,
    refused: Vec<String>,
    connections: Vec<Weak<TcpStream>>,
    /// How much of an endless body was taken, when the sender had enough.
    endless_bytes: Option<usize>,
    ended: bool,
}

impl Contractor {
    /// Over plain HTTP.
    pub fn start() -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), None)
    }

    /// At this address of the loopback network; over TLS, with `credentials`.
    pub fn start_at(ip: IpAddr, credentials: Option<Credentials>) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).context("opening the contractor's port")?;
        let address = listener.local_addr()?;
        let scheme = if credentials.is_some() { "https" } else { "http" };
        let secret = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        let shared = Arc::new(Shared {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            tls: credentials.map(tls).transpose()?,
            state: Mutex::default(),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.accept(&listener))
        };
        let secret = format!("whsec_{}", BASE64_STANDARD.encode(secret));
        Ok(Self { address, scheme, secret, shared, acceptor: Some(acceptor) })
    }

    /// Where it takes messages.
    pub fn url(&self) -> String {
        format!("{}://{}/tickets", self.scheme, self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What messages to it are signed with, as a secret file holds it.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// What it does with the next messages, one after the other. After them it answers 200.
    pub fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.state().answers.extend(answers);
    }

    /// Every message whose signature was good, in order, whatever it was answered.
    pub fn received(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// Why others were not taken; they were answered with 401.
    pub fn refused(&self) -> Vec<String> {
        self.shared.state().refused.clone()
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.shared.state().connections.len()
    }

    /// How much of an endless body was taken, once the sender had enough.
    pub fn endless_bytes(&self) -> Option<usize> {
        self.shared.state().endless_bytes
    }
}

impl Drop for Contractor {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ended = true;
        for connection in state.connections.iter().filter_map(Weak::upgrade) {
            // It may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        // One more connection lets the acceptor see it.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().map_while(io::Result::ok) {
            let mut state = self.state();
            if state.ended {
                return;
            }
            let stream = Arc::new(stream);
            state.connections.push(Arc::downgrade(&stream));
            drop(state);
            let shared = Arc::clone(self);
            // What fails here fails for the sender too, and its outcome tells.
            thread::spawn(move || shared.serve(&stream));
        }
    }

    fn serve(&self, socket: &TcpStream) -> Result<()> {
        socket.set_read_timeout(Some(SOON))?;
        socket.set_write_timeout(Some(SOON))?;
        match &self.tls {
            None => self.speak(socket, socket),
            Some(tls) => {
                let stream = StreamOwned::new(ServerConnection::new(Arc::clone(tls))?, socket);
                self.speak(stream, socket)
            }
        }
    }

    fn speak(&self, mut stream: impl Read + Write, socket: &TcpStream) -> Result<()> {
        let request = Request::read(&mut BufReader::new((&mut stream).take(REQUEST_BYTES)))?;
        let answer = match request.verified(&self.key) {
            Ok(message) => {
                let mut state = self.state();
                state.received.push(message);
                state.answers.pop_front().unwrap_or(Answer::Status(200))
            }
            Err(error) => {
                self.state().refused.push(format!("{error:#}"));
                Answer::Status(401)
            }
        };
        self.answer(stream, socket, answer)
    }

    fn answer(&self, mut stream: impl Read + Write, socket: &TcpStream, answer: Answer) -> Result<()> {
        match answer {
            Answer::Status(status) => {
                write!(stream, "HTTP/1.1 {status} Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
            }
            Answer::Redirect(to) => {
                write!(stream, "HTTP/1.1 307 Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")?;
            }
            Answer::Bytes(bytes) => {
                stream.write_all(&bytes)?;
                stream.flush()?;
                // Until the sender goes.
                io::copy(&mut stream, &mut io::sink())?;
            }
            Answer::Endless => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")?;
                let mut taken = 0;
                while stream.write_all(&CHUNK).is_ok() {
                    taken += CHUNK.len();
                }
                self.state().endless_bytes = Some(taken);
            }
            // Closed with nothing to linger for, a socket sends a reset.
            Answer::Reset => rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO))?,
        }
        Ok(stream.flush()?)
    }
}

/// What a sender asks for.
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Request {
    fn read(from: &mut impl BufRead) -> Result<Self> {
        let first = line(from)?;
        let [method, path, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else {
            bail!("{first:?} begins no request");
        };
        let mut headers = BTreeMap::new();
        loop {
            let line = line(from)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').with_context(|| format!("{line:?} is no header"))?;
            let twice = headers.insert(name.to_lowercase(), value.trim().to_owned());
            ensure!(twice.is_none(), "{name} comes twice");
        }
        let length = headers.get("content-length").context("no content-length")?.parse()?;
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        Ok(Self { method: method.to_owned(), path: path.to_owned(), headers, body: String::from_utf8(body)? })
    }

    fn verified(self, key: &hmac::Key) -> Result<Received> {
        ensure!(self.method == "POST", "the method is {}", self.method);
        ensure!(self.header("content-type")? == "application/json", "the body is no JSON by its header");
        let (id, secs) =
            (self.header("webhook-id")?.to_owned(), self.header("webhook-timestamp")?.to_owned());
        let signed = format!("{id}.{secs}.{}", self.body);
        let good = self.header("webhook-signature")?.split(' ').any(|signature| {
            let tag = signature.strip_prefix("v1,").and_then(|text| BASE64_STANDARD.decode(text).ok());
            tag.is_some_and(|tag| hmac::verify(key, signed.as_bytes(), &tag).is_ok())
        });
        ensure!(good, "the signature of {id} is not good");
        let secs = secs.parse().with_context(|| format!("webhook-timestamp {secs:?}"))?;
        Ok(Received { id, secs, body: self.body, path: self.path, headers: self.headers })
    }

    fn header(&self, name: &str) -> Result<&str> {
        self.headers.get(name).map(String::as_str).with_context(|| format!("no {name}"))
    }
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let whole = line.strip_suffix("\r\n").with_context(|| format!("{line:?} does not end as lines do"))?;
    Ok(whole.to_owned())
}

fn tls(credentials: Credentials) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(credentials.chain, credentials.key)?;
    Ok(Arc::new(config))
}
