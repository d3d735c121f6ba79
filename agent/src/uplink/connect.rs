//! One connection to a controller: TCP and TLS by our own hand, gRPC on top.
//!
//! gRPC hides why a connection ended. The socket under it is therefore watched: a TLS alert that comes after the
//! handshake (with TLS 1.3 that is when the controller refuses a client certificate) is kept and can be asked for.

use std::{
    error::Error as StdError,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use super::address::Address;

/// For the name, each TCP connection and the TLS handshake, each: a school's line may be slow, not this slow.
const STEP_WITHIN: Duration = Duration::from_secs(10);
/// Unanswered data for this long means that the line is cut. Elsewhere the ping finds out.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Reports are the keepalive; one ping bridges the minutes between them.
const PING_AFTER: Duration = Duration::from_secs(240);
/// A ping is answered within this time or the line is cut.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// Bounds what a controller's headers may cost us.
const HEADERS_MAX_BYTES: u32 = 8 * 1024;

/// An open connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// For the generated clients.
    pub channel: Channel,
    /// The peer that answered.
    pub peer: SocketAddr,
    /// The certificates that it proved itself by, its own first.
    pub peer_chain: Vec<CertificateDer<'static>>,
    witness: Witness,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot find the address of {address}: {source}")]
    Resolve {
        /// The controller.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// Nobody answered.
    #[error("cannot reach {peer} for {address}: {source}")]
    Reach {
        /// The controller.
        address: Address,
        /// The last address tried.
        peer: String,
        /// The cause.
        source: io::Error,
    },
    /// The other side was refused, or refused us.
    #[error("no secure connection to {address}: {source}")]
    Tls {
        /// The controller.
        address: Address,
        /// The cause.
        source: rustls::Error,
    },
    /// The secure connection did not come about for another reason.
    #[error("no secure connection to {address}: {source}")]
    Handshake {
        /// The controller.
        address: Address,
        /// The cause.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Connection {
    /// Tries the addresses of the name in their order, then speaks TLS with the first that answers.
    pub async fn open(address: &Address, tls: Arc<ClientConfig>) -> Result<Connection, ConnectError> {
        let tcp = reach(address).await?;
        let peer = tcp.peer_addr().map_err(|source| ConnectError::Reach {
            address: address.clone(),
            peer: address.to_string(),
            source,
        })?;
        let stream = secure(address, tls, tcp).await?;
        let peer_chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let witness = Witness::default();
        let watched = Watched { stream, witness: witness.clone() };
        let channel = speak(address, watched).await.map_err(|error| match witness.seen() {
            Some(source) => ConnectError::Tls { address: address.clone(), source },
            None => ConnectError::Handshake { address: address.clone(), source: Box::new(error) },
        })?;
        Ok(Connection { channel, peer, peer_chain, witness })
    }

    /// The TLS error that ended the connection, if one did.
    pub fn tls_error(&self) -> Option<rustls::Error> {
        self.witness.seen()
    }
}

async fn reach(address: &Address) -> Result<TcpStream, ConnectError> {
    let lookup = tokio::net::lookup_host((address.host(), address.port()));
    let peers: Vec<SocketAddr> = match timeout(STEP_WITHIN, lookup).await {
        Ok(Ok(peers)) => peers.collect(),
        Ok(Err(source)) => return Err(ConnectError::Resolve { address: address.clone(), source }),
        Err(_) => {
            return Err(ConnectError::Resolve { address: address.clone(), source: late() });
        }
    };
    let mut failure =
        (address.to_string(), io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for peer in peers {
        match timeout(STEP_WITHIN, TcpStream::connect(peer)).await {
            Ok(Ok(tcp)) => {
                prepare(&tcp).map_err(|source| ConnectError::Reach {
                    address: address.clone(),
                    peer: peer.to_string(),
                    source,
                })?;
                return Ok(tcp);
            }
            Ok(Err(error)) => failure = (peer.to_string(), error),
            Err(_) => failure = (peer.to_string(), late()),
        }
    }
    Err(ConnectError::Reach { address: address.clone(), peer: failure.0, source: failure.1 })
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", STEP_WITHIN.as_secs()))
}

fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(tcp, TCP_USER_TIMEOUT.as_millis() as u32)?;
    Ok(())
}

async fn secure(
    address: &Address,
    tls: Arc<ClientConfig>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let handshake = |source: Box<dyn StdError + Send + Sync>| ConnectError::Handshake {
        address: address.clone(),
        source,
    };
    let name = address.server_name().map_err(|error| handshake(Box::new(error)))?;
    match timeout(STEP_WITHIN, TlsConnector::from(tls).connect(name, tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match tls_error(&error) {
            Some(source) => ConnectError::Tls { address: address.clone(), source },
            None => handshake(Box::new(error)),
        }),
        Err(_) => Err(handshake(Box::new(late()))),
    }
}

/// Hands the open stream to gRPC. It is given once: a lost connection is made anew from the start, with new
/// decisions, never silently.
async fn speak(address: &Address, stream: Watched) -> Result<Channel, tonic::transport::Error> {
    let mut stream = Some(stream);
    Endpoint::from_shared(format!("https://{address}"))?
        .http2_keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADERS_MAX_BYTES)
        .connect_with_connector(tower::service_fn(move |_| {
            let stream = stream.take();
            async move { stream.map(TokioIo::new).ok_or_else(|| io::Error::other("the connection has ended")) }
        }))
        .await
}

fn tls_error(error: &io::Error) -> Option<rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>().cloned()
}

/// Keeps the first TLS error that passed.
#[derive(Clone, Debug, Default)]
struct Witness(Arc<OnceLock<rustls::Error>>);

impl Witness {
    fn see<T>(&self, poll: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = poll
            && let Some(error) = tls_error(error)
        {
            self.0.get_or_init(|| error);
        }
    }

    fn seen(&self) -> Option<rustls::Error> {
        self.0.get().cloned()
    }
}

#[derive(Debug)]
struct Watched {
    stream: TlsStream<TcpStream>,
    witness: Witness,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.witness.see(&poll);
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.witness.see(&poll);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.witness.see(&poll);
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
