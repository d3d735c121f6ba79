//! Somebody who writes bytes to a port: from an address of its own, with or without a stolen certificate, and with
//! none of a library's manners.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    county::{County, Listen},
    device::{Shown, root},
    pki::Credentials,
};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};
use uuid::Uuid;

/// How long a write or a read of an attacker waits before it looks whether its time is up.
const PATIENCE: Duration = Duration::from_millis(500);

/// A connection in TLS.
pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// What every attacker knows.
pub(super) struct Loot {
    pub(super) listen: Listen,
    pub(super) device: Uuid,
    root: CertificateDer<'static>,
    credentials: Credentials,
}

impl Loot {
    /// The county's addresses, and the certificate of one of its devices.
    pub(super) fn new(county: &County, device: Uuid, credentials: &Credentials) -> Result<Self> {
        Ok(Self { listen: county.listen()?, device, root: root(county)?, credentials: credentials.copy() })
    }
}

/// One attacker at one port.
pub(super) struct Attacker<'a> {
    pub(super) loot: &'a Loot,
    pub(super) port: Port,
    pub(super) until: Instant,
    pub(super) from: IpAddr,
    /// Shows the stolen certificate.
    pub(super) stolen: bool,
}

/// The ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Agents,
    Enrollment,
    Console,
    Admin,
}

impl Attacker<'_> {
    /// Whether there is time left.
    pub(super) fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Keeps what it holds open until the time is up.
    pub(super) fn rest(&self) {
        thread::sleep(self.until.saturating_duration_since(Instant::now()));
    }

    pub(super) fn address(&self) -> SocketAddr {
        let listen = &self.loot.listen;
        match self.port {
            Port::Agents => listen.agents,
            Port::Enrollment => listen.enrollment,
            Port::Console => listen.console,
            Port::Admin => listen.admin,
        }
    }

    /// A connection.
    pub(super) fn tcp(&self) -> Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).context("making a socket")?;
        bind(&socket, &SocketAddr::new(self.from, 0))
            .with_context(|| format!("coming from {}", self.from))?;
        connect(&socket, &self.address()).with_context(|| format!("connecting to {}", self.address()))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// A connection in TLS for HTTP/2, hands shaken.
    pub(super) fn http2(&self) -> Result<Tls> {
        self.tls(self.config(&[b"h2"])?)
    }

    /// A connection in TLS for HTTP/1.1, hands shaken; a plain one at a plain port.
    pub(super) fn http1(&self) -> Result<Box<dyn Stream>> {
        Ok(match self.port {
            Port::Admin => Box::new(self.tcp()?),
            _ => Box::new(self.tls(self.config(&[b"http/1.1"])?)?),
        })
    }

    /// Settings of a client with these protocols.
    pub(super) fn config(&self, protocols: &[&[u8]]) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.loot.root.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = if self.stolen {
            builder.with_client_cert_resolver(Arc::new(Shown::new(&self.loot.credentials)?))
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    /// A client of these settings that has said nothing yet.
    pub(super) fn client(&self, config: ClientConfig) -> Result<ClientConnection> {
        let name = ServerName::from(self.address().ip());
        ClientConnection::new(Arc::new(config), name).context("making a client")
    }

    /// A connection in TLS of these settings, hands shaken.
    pub(super) fn tls(&self, config: ClientConfig) -> Result<Tls> {
        let mut stream = StreamOwned::new(self.client(config)?, self.tcp()?);
        while stream.conn.is_handshaking() {
            ensure!(self.goes_on(), "the time is up");
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// Writes `bytes` again and again until the time is up or the other side has enough.
    pub(super) fn flood(&self, stream: &mut (impl Read + Write + ?Sized), bytes: &[u8]) -> Result<()> {
        while self.goes_on() {
            self.write(stream, bytes)?;
        }
        Ok(())
    }

    /// Writes all of `bytes`, at the speed of the other side.
    pub(super) fn write(&self, stream: &mut (impl Write + ?Sized), mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() && self.goes_on() {
            match stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        while self.goes_on() {
            match stream.flush() {
                Err(error) if is_timeout(&error) => {}
                flushed => return Ok(flushed?),
            }
        }
        Ok(())
    }

    /// Reads and throws away until the other side ends the connection or the time is up.
    pub(super) fn read_out(&self, stream: &mut (impl Read + ?Sized)) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        while self.goes_on() {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// What can be read and written.
pub(super) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
