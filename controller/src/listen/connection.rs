//! One connection from its arrival to its end.

use std::{
    cell::Cell,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

use axum::body::Body;
use hyper::{Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tower::Service;

use super::{
    CONNECTION_AGE, DevicePeer, HANDSHAKE, HARD_CLOSE, PeerAddress, USER_TIMEOUT,
    accept::{Security, Shared},
    devices::DeviceConnection,
    pieces::{HTTP2_FRAMES, TLS_RECORDS},
    places::Place,
    refusals::Cause,
    requests::{Activity, Running, holding},
    socket::{Paced, Prompt},
    tls::{H2, REFUSED_DEVICE, about, cause_of},
};

/// What a refused peer may still send while it learns why: its first HTTP/2 frames.
const REFUSED_BYTES: u64 = 64 << 10;
/// What the kernel keeps of what a peer sent or has not read; left to itself it would keep megabytes for each. Two
/// hundred kilobytes are in flight on a line of 10 Mbit/s with 150 ms.
const SOCKET_BYTES: usize = 256 << 10;

type Socket = Prompt<TcpStream>;

/// Serves what arrived from `address`.
pub(super) async fn serve(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr, place: Arc<Place>) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(port = shared.name, %address, %error, "a connection was gone before it was served");
        return;
    }
    let stream = Prompt::new(stream);
    let config = match &shared.security {
        Security::Plain => return http1(shared, stream, address, &place).await,
        Security::Server(config) | Security::Device { config, .. } => config.load_full(),
    };
    let Some(stream) = secure(shared, config, stream, address, &place).await else { return };
    let session = stream.get_ref().1;
    let device = match &shared.security {
        Security::Device { verifier, .. } => {
            let certificate = session.peer_certificates().and_then(|chain| chain.first());
            let Some(peer) = certificate.and_then(|certificate| verifier.peer(certificate)) else {
                return shared.refusals.note(Cause::WrongName, address.ip(), None);
            };
            Some(peer)
        }
        Security::Plain | Security::Server(_) => None,
    };
    if session.alpn_protocol() == Some(H2) {
        http2(shared, stream, address, device, &place).await;
    } else if shared.http1.is_some() {
        http1(shared, stream, address, &place).await;
    } else {
        tracing::debug!(port = shared.name, %address, "a peer that did not ask for HTTP/2 was let go");
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_send_buffer_size(SOCKET_BYTES)?;
    socket.set_recv_buffer_size(SOCKET_BYTES)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// Shakes hands, all of it within [`HANDSHAKE`]. While a peer has not even said what it wants, it takes nobody's
/// turn.
async fn secure(
    shared: &Shared,
    config: Arc<ServerConfig>,
    stream: Socket,
    address: SocketAddr,
    place: &Place,
) -> Option<TlsStream<Paced<Socket>>> {
    let handshake = async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), Paced::new(stream, TLS_RECORDS));
        let hello = hello.await.map_err(|error| (error, None))?;
        // Neither is ever closed.
        let _turn = (place.handshakes.acquire().await, shared.handshakes.acquire().await);
        let accepted = hello.into_stream(config).into_fallible().await;
        accepted.map_err(|(error, stream)| (error, Some(stream)))
    };
    let handshake = REFUSED_DEVICE.scope(Cell::new(None), async {
        let result = timeout(HANDSHAKE, handshake).await;
        (result, REFUSED_DEVICE.with(Cell::take))
    });
    let (error, stream) = match handshake.await {
        (Ok(Ok(stream)), _) => return Some(stream),
        (Ok(Err((error, stream))), refused) => {
            match cause_of(&error) {
                Some(cause) => shared.refusals.note(cause, address.ip(), about(&error, refused)),
                None => tracing::debug!(port = shared.name, %address, %error, "a handshake failed"),
            }
            (Some(error), stream)
        }
        (Err(_), _) => (None, None),
    };
    shared.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    if error.is_none() {
        tracing::debug!(port = shared.name, %address, "a handshake took too long");
    }
    if let Some(stream) = stream {
        let_alert_arrive(stream).await;
    }
    None
}

/// Closing a socket with unread data resets it, and the reset overtakes the alert that says why. So our side is
/// ended first, and what the peer still sends is read and thrown away for a moment.
async fn let_alert_arrive(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drained = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(REFUSED_BYTES), &mut tokio::io::sink()).await
    };
    // Too late or gone: nothing more can be done for it.
    let _ = timeout(HARD_CLOSE, drained).await;
}

async fn http1<S>(shared: &Arc<Shared>, stream: S, address: SocketAddr, place: &Arc<Place>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(builder) = &shared.http1 else { return };
    converse(shared, builder, stream, Peer { address, device: None, place: Arc::clone(place) }).await;
}

async fn http2<S>(
    shared: &Arc<Shared>,
    stream: S,
    address: SocketAddr,
    device: Option<DevicePeer>,
    place: &Arc<Place>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Paced::new(stream, HTTP2_FRAMES);
    converse(shared, &shared.http2, stream, Peer { address, device, place: Arc::clone(place) }).await;
}

/// Who is at the other end.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    device: Option<DevicePeer>,
    place: Arc<Place>,
}

/// Answers requests until one side has enough of it.
async fn converse<S>(shared: &Arc<Shared>, builder: &Builder<TokioExecutor>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = peer.address;
    let device = peer.device;
    let activity = Activity::new();
    let service = {
        let (shared, activity) = (Arc::clone(shared), Arc::clone(&activity));
        service_fn(move |request| answer(Arc::clone(&shared), peer.clone(), activity.begin(), request))
    };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut drain = shared.drain.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = drain.wait_for(|drain| *drain) => None,
        () = activity.overstayed(shared.request_life) => None,
        () = sleep(CONNECTION_AGE) => None,
        () = revoked(&shared.security, device) => None,
        () = displaced(device.map(|peer| shared.devices.open(peer.device))) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match timeout(HARD_CLOSE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(port = shared.name, %address, %error, "a connection ended");
    }
}

/// Answers one request, when its peer's turn has come.
async fn answer(
    shared: Arc<Shared>,
    peer: Peer,
    running: Running,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let Some((turn, pause)) = peer.place.request() else {
        shared.counters.requests_over_cap.fetch_add(1, Ordering::Relaxed);
        return Ok(too_many_requests());
    };
    if !pause.is_zero() {
        sleep(pause).await;
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(PeerAddress(peer.address));
    if let Some(device) = peer.device {
        request.extensions_mut().insert(device);
    }
    let mut router = shared.router.clone();
    let response = router.call(request).await?;
    Ok(response.map(|body| holding(body, (running, turn))))
}

/// To a browser a page that it may ask for again, to a gRPC client the status UNAVAILABLE.
fn too_many_requests() -> Response<Body> {
    let mut response = Response::new(Body::from("too many requests at once: try again in a moment\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    response
}

/// Returns when the connection's device may not connect any more.
async fn revoked(security: &Security, device: Option<DevicePeer>) {
    if let (Security::Device { denylist, .. }, Some(peer)) = (security, device) {
        let mut changes = denylist.changes();
        loop {
            if denylist.denies(peer.device) {
                return;
            }
            if changes.changed().await.is_err() {
                break;
            }
        }
    }
    std::future::pending::<()>().await;
}

/// Returns when newer connections of the device took this one's place.
async fn displaced(connection: Option<DeviceConnection>) {
    match connection {
        Some(mut connection) => connection.displaced().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use bbt_domain::{identity::TrustDomain, ids::Incarnation, time::UtcMicros};
    use bbt_store::{Store, meta::County};
    use tokio::{
        io::{DuplexStream, duplex},
        sync::{Semaphore, watch},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        clock::ManualClock,
        configuration::Changes,
        context::Context,
        listen::{
            IDLE, PING_AFTER, PING_ANSWER, http,
            places::{Caps, Places},
            refusals::Refusals,
        },
    };

    /// Of HTTP/2: the preface and empty SETTINGS.
    const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    /// HEADERS of stream 1 with END_HEADERS, not ended: POST, https, /silent, of the host x.
    const POST: &[u8] = b"\0\0\x0e\x01\x04\0\0\0\x01\x83\x87\x04\x07/silent\x41\x01x";
    const LIFE: Duration = Duration::from_secs(6 * 3_600);

    struct Server {
        shared: Arc<Shared>,
        drain: watch::Sender<bool>,
        _folder: tempfile::TempDir,
    }

    impl Server {
        /// One that answers `/silent` never.
        fn new(request_life: Duration) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let now: UtcMicros = "2026-09-18T00:30:00Z".parse().unwrap();
            let county = County {
                name: "梁河县".into(),
                trust_domain: TrustDomain::from_random([1; 16]),
                incarnation: Incarnation::from_bytes([2; 16]),
                created_at: now,
            };
            let store = Store::open(&folder.path().join("county.db"), now).unwrap();
            let clock = Arc::new(ManualClock::at(now));
            let context = Arc::new(Context {
                store,
                clock,
                county,
                rules: Arc::default(),
                troubles: Arc::default(),
                changes: Changes::default(),
            });
            let (drain, drained) = watch::channel(false);
            let silent = || async { std::future::pending::<()>().await };
            let shared = Shared {
                name: "agents",
                security: Security::Plain,
                http1: Some(http::http1()),
                http2: http::http2(64 << 10),
                request_life,
                router: Router::new().route("/silent", get(silent).post(silent)),
                handshakes: Semaphore::new(1),
                devices: Arc::default(),
                refusals: Arc::new(Refusals::new(context)),
                counters: Arc::default(),
                drain: drained,
            };
            Self { shared: Arc::new(shared), drain, _folder: folder }
        }

        /// Converses over HTTP/2 with whoever holds the other end, and tells how long that took.
        async fn converse(&self, ours: DuplexStream) -> Duration {
            let caps = Caps { connections: 1, per_address: 1, arrivals_per_sec: 1, requests: None };
            let address = SocketAddr::from(([192, 0, 2, 1], 1));
            let place = Arc::new(Arc::new(Places::new(caps)).take(address.ip()).unwrap());
            let began = Instant::now();
            http2(&self.shared, ours, address, None, &place).await;
            began.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_went_without_a_word_is_given_up_within_five_minutes() {
        let server = Server::new(LIFE);
        let (ours, mut theirs) = duplex(64 << 10);
        theirs.write_all(HELLO).await.unwrap();
        theirs.write_all(POST).await.unwrap();

        let took = server.converse(ours).await;

        assert!(took >= PING_AFTER, "it was asked first: {took:?}");
        assert!(took <= PING_AFTER + PING_ANSWER + HARD_CLOSE, "{took:?}");
        assert!(took <= Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_pings_and_asks_for_nothing_is_given_up_too() {
        let server = Server::new(LIFE);
        let (ours, mut theirs) = duplex(64 << 10);
        theirs.write_all(HELLO).await.unwrap();
        assert!(server.converse(ours).await <= IDLE + HARD_CLOSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_has_its_time() {
        let life = Duration::from_secs(30);
        let server = Server::new(life);
        let (ours, mut theirs) = duplex(64 << 10);
        theirs.write_all(HELLO).await.unwrap();
        theirs.write_all(POST).await.unwrap();
        assert_eq!(server.converse(ours).await, life + HARD_CLOSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_nobody_longer_than_it_takes_to_say_so() {
        let server = Server::new(LIFE);
        let (ours, mut theirs) = duplex(64 << 10);
        theirs.write_all(HELLO).await.unwrap();
        theirs.write_all(POST).await.unwrap();
        let told = async {
            sleep(Duration::from_secs(10)).await;
            server.drain.send_replace(true);
        };
        let (took, ()) = tokio::join!(server.converse(ours), told);
        assert_eq!(took, Duration::from_secs(10) + HARD_CLOSE);
    }
}
