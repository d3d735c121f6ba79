//! The accept loop.

use std::{
    cell::Cell,
    collections::HashMap,
    convert::Infallible,
    fs::File,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::{
    CONNECTION_AGE, DevicePeer, FIRST_REQUEST, HANDSHAKE, HANDSHAKES, HARD_CLOSE, PING_AFTER, PING_ANSWER,
    PeerAddress, USER_TIMEOUT,
    refusals::{Cause, Refusals},
    tls::{DeviceVerifier, REFUSED_DEVICE, cause_of},
};
use crate::pki::revoke::Denylist;

/// After the process ran out of descriptors nothing is accepted for this long, so that some are given back.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(200);
/// Streams at once in one HTTP/2 connection: a device uses one or two, a browser a few.
const STREAMS: u32 = 16;
/// Largest list of headers; ours have some hundred bytes.
const HEADER_BYTES: u32 = 8 << 10;
/// Largest HTTP/2 frame.
const FRAME_BYTES: u32 = 16 << 10;
/// What one HTTP/2 connection may send ahead of what was read: one full message and its frame headers.
const WINDOW_BYTES: u32 = 320 << 10;
/// What is kept for one stream's answer: a page or an ack.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// What a refused peer may still send while it learns why: its first HTTP/2 frames.
const REFUSED_BYTES: u64 = 64 << 10;
/// HTTP/1.1 requests must have all their headers by then.
const HEADERS: Duration = Duration::from_secs(10);
/// Streams opened and reset at once by a peer before it is cut off (CVE-2023-44487).
const RESET_STREAMS: usize = 20;

/// How a port is secured.
pub enum Security {
    /// Plain HTTP, for the loopback interface only.
    Plain,
    /// TLS; whoever connects is nobody yet.
    Server(Arc<ArcSwap<ServerConfig>>),
    /// TLS with a device's certificate.
    Device {
        /// Keys and settings; swapped when certificates are renewed.
        config: Arc<ArcSwap<ServerConfig>>,
        /// Reads the device from its certificate.
        verifier: Arc<DeviceVerifier>,
        /// Ends connections of revoked devices.
        denylist: Arc<Denylist>,
    },
}

/// One port to be served.
pub struct Port {
    /// agents, enrollment, console, admin.
    pub name: &'static str,
    /// Bound.
    pub listener: TcpListener,
    /// Plain or TLS.
    pub security: Security,
    /// HTTP/1.1 as well.
    pub http1: bool,
    /// Connections at once, in all.
    pub connections: usize,
    /// Connections at once from one address.
    pub per_address: u32,
    /// What answers.
    pub router: Router,
}

/// What a port counted.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Open connections.
    pub open: AtomicU64,
    /// Accepted since the start.
    pub accepted: AtomicU64,
    /// Turned away because of a cap.
    pub over_cap: AtomicU64,
    /// Handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
}

struct Shared {
    name: &'static str,
    security: Security,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    handshakes: Semaphore,
    per_address: Mutex<HashMap<IpAddr, u32>>,
    refusals: Arc<Refusals>,
    counters: Arc<PortCounters>,
    drain: watch::Receiver<bool>,
}

/// Serves `port` until `drain` turns true and every connection has ended.
pub async fn serve(
    port: Port,
    refusals: Arc<Refusals>,
    counters: Arc<PortCounters>,
    mut drain: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(port.connections));
    let shared = Arc::new(Shared {
        name: port.name,
        security: port.security,
        builder: http(port.http1),
        router: port.router,
        handshakes: Semaphore::new(HANDSHAKES),
        per_address: Mutex::new(HashMap::new()),
        refusals,
        counters,
        drain: drain.clone(),
    });
    let mut reserve = File::open("/dev/null").ok();
    loop {
        let accepted = tokio::select! {
            accepted = port.listener.accept() => accepted,
            _ = drain.wait_for(|drain| *drain) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error, &port.listener, &mut reserve, port.name).await;
                continue;
            }
        };
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let place = Arc::clone(&places).try_acquire_owned().ok();
        let guard = place.and_then(|place| Place::take(&shared, address.ip(), port.per_address, place));
        let Some(guard) = guard else {
            // Closed at once: a device backs off and comes again.
            shared.counters.over_cap.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            connection(&shared, stream, address).await;
            drop(guard);
        });
    }
    drop(port.listener);
    // Every place given back: every connection has ended.
    let all = u32::try_from(port.connections).unwrap_or(u32::MAX);
    let _ = places.acquire_many(all).await;
}

/// A connection's place, given back when dropped.
struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn take(shared: &Arc<Shared>, address: IpAddr, most: u32, permit: OwnedSemaphorePermit) -> Option<Self> {
        let mut held = shared.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        shared.counters.open.fetch_add(1, Ordering::Relaxed);
        Some(Self { shared: Arc::clone(shared), address, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.shared.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
        self.shared.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Out of descriptors the reserve is spent on accepting and closing one, so that the queue of the kernel does
/// not fill with peers that wait for nothing.
async fn pause(error: &io::Error, listener: &TcpListener, reserve: &mut Option<File>, name: &str) {
    let out = matches!(
        rustix::io::Errno::from_io_error(error),
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    );
    if !out {
        // The peer went away between its arrival and here.
        tracing::debug!(port = name, %error, "a connection could not be accepted");
        return;
    }
    tracing::error!(port = name, %error, "out of file descriptors; raise LimitNOFILE of the service");
    drop(reserve.take());
    if let Ok(Ok((stream, _))) = timeout(Duration::from_millis(1), listener.accept()).await {
        drop(stream);
    }
    *reserve = File::open("/dev/null").ok();
    sleep(OUT_OF_DESCRIPTORS).await;
}

async fn connection(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(port = shared.name, %address, %error, "a connection was gone before it was served");
        return;
    }
    let config = match &shared.security {
        Security::Plain => return serve_stream(shared, stream, address, None).await,
        Security::Server(config) | Security::Device { config, .. } => config.load_full(),
    };
    let Ok(_turn) = shared.handshakes.acquire().await else { return };
    let handshake = REFUSED_DEVICE.scope(Cell::new(None), async {
        let result = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream).into_fallible()).await;
        (result, REFUSED_DEVICE.with(Cell::take))
    });
    let (result, refused) = handshake.await;
    drop(_turn);
    let stream = match result {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, stream))) => {
            shared.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            match cause_of(&error) {
                Some(cause) => {
                    let about = refused.map(|device| format!("device:{device}"));
                    shared.refusals.note(cause, address.ip(), about);
                }
                None => tracing::debug!(port = shared.name, %address, %error, "a handshake failed"),
            }
            let_alert_arrive(stream).await;
            return;
        }
        Err(_) => {
            shared.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(port = shared.name, %address, "a handshake took too long");
            return;
        }
    };
    let Security::Device { verifier, .. } = &shared.security else {
        return serve_stream(shared, stream, address, None).await;
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    match certificate.and_then(|certificate| verifier.peer(certificate)) {
        Some(peer) => serve_stream(shared, stream, address, Some(peer)).await,
        None => shared.refusals.note(Cause::WrongName, address.ip(), None),
    }
}

/// Closing a socket with unread data resets it, and the reset overtakes the alert that says why. So our side is
/// ended first, and what the peer still sends is read and thrown away for a moment.
async fn let_alert_arrive(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(REFUSED_BYTES), &mut tokio::io::sink()).await
    };
    // Too late or gone: nothing more can be done for it.
    let _ = timeout(HARD_CLOSE, drained).await;
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(USER_TIMEOUT))
}

async fn serve_stream<S>(shared: &Arc<Shared>, stream: S, address: SocketAddr, device: Option<DevicePeer>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let (router, asked) = (shared.router.clone(), Arc::clone(&asked));
        service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(PeerAddress(address));
            if let Some(device) = device {
                request.extensions_mut().insert(device);
            }
            let mut router = router.clone();
            async move {
                let answer: Result<_, Infallible> = router.call(request).await;
                answer
            }
        })
    };
    let mut connection = pin!(shared.builder.serve_connection(TokioIo::new(stream), service));
    let mut drain = shared.drain.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = drain.wait_for(|drain| *drain) => None,
        () = idle(&asked) => None,
        () = sleep(CONNECTION_AGE) => None,
        () = revoked(&shared.security, device) => None,
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

/// Returns when nothing was asked for in time; never, once something was.
async fn idle(asked: &AtomicBool) {
    sleep(FIRST_REQUEST).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
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

fn http(http1: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_ANSWER)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    if http1 { builder } else { builder.http2_only() }
}
