//! The accept loop.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::Router;
use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    HANDSHAKES, connection,
    devices::DeviceConnections,
    http,
    places::{Caps, Places},
    refusals::Refusals,
    tls::DeviceVerifier,
};
use crate::pki::revoke::Denylist;

/// After the process ran out of descriptors nothing is accepted for this long, so that some are given back.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(200);
/// And it is said once in this time.
const SAID_EVERY: Duration = Duration::from_secs(60);

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
    /// What it takes at once.
    pub caps: Caps,
    /// What one HTTP/2 connection may send ahead of what was read.
    pub window_bytes: u32,
    /// How long a request and its answer may take.
    pub request_life: Duration,
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
    /// Requests turned away because of a cap.
    pub requests_over_cap: AtomicU64,
}

/// What the connections of one port share.
pub(super) struct Shared {
    pub(super) name: &'static str,
    pub(super) security: Security,
    pub(super) http1: Option<Builder<TokioExecutor>>,
    pub(super) http2: Builder<TokioExecutor>,
    pub(super) request_life: Duration,
    pub(super) router: Router,
    pub(super) handshakes: Semaphore,
    pub(super) devices: Arc<DeviceConnections>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) counters: Arc<PortCounters>,
    pub(super) drain: watch::Receiver<bool>,
}

/// Serves `port` until `drain` turns true and every connection has ended.
pub async fn serve(
    port: Port,
    refusals: Arc<Refusals>,
    counters: Arc<PortCounters>,
    mut drain: watch::Receiver<bool>,
) {
    let places = Arc::new(Places::new(port.caps));
    let shared = Arc::new(Shared {
        name: port.name,
        security: port.security,
        http1: port.http1.then(http::http1),
        http2: http::http2(port.window_bytes),
        request_life: port.request_life,
        router: port.router,
        handshakes: Semaphore::new(HANDSHAKES),
        devices: Arc::default(),
        refusals,
        counters,
        drain: drain.clone(),
    });
    let mut reserve = Reserve::new(port.name);
    loop {
        let accepted = tokio::select! {
            accepted = port.listener.accept() => accepted,
            _ = drain.wait_for(|drain| *drain) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                reserve.pause(&error, &port.listener).await;
                continue;
            }
        };
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let Some(place) = places.take(address.ip()) else {
            // Closed at once: a device backs off and comes again.
            shared.counters.over_cap.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            shared.counters.open.fetch_add(1, Ordering::Relaxed);
            connection::serve(&shared, stream, address, Arc::new(place)).await;
            shared.counters.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    drop(port.listener);
    places.all_free().await;
}

/// A descriptor kept for the moment when there are no more.
struct Reserve {
    port: &'static str,
    file: Option<File>,
    said: Option<Instant>,
}

impl Reserve {
    fn new(port: &'static str) -> Self {
        Self { port, file: File::open("/dev/null").ok(), said: None }
    }

    /// Out of descriptors the reserve is spent on accepting and closing one, so that the queue of the kernel does
    /// not fill with peers that wait for nothing.
    async fn pause(&mut self, error: &io::Error, listener: &TcpListener) {
        let out = matches!(
            rustix::io::Errno::from_io_error(error),
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
        );
        if !out {
            // The peer went away between its arrival and here.
            tracing::debug!(port = self.port, %error, "a connection could not be accepted");
            return;
        }
        if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            self.said = Some(Instant::now());
            tracing::error!(port = self.port, %error, "out of file descriptors; raise LimitNOFILE of the service");
        }
        drop(self.file.take());
        if let Ok(Ok((stream, _))) = timeout(Duration::from_millis(1), listener.accept()).await {
            drop(stream);
        }
        self.file = File::open("/dev/null").ok();
        sleep(OUT_OF_DESCRIPTORS).await;
    }
}
