//! Where a request comes from.

/// The peer's socket address, set on every request by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub std::net::SocketAddr);
