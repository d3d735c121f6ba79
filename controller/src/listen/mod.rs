//! Our own accept loops: caps, timeouts and TLS before a request reaches any service.
//!
//! One loop serves every port. tonic and axum would accept without a cap and shake hands without a deadline;
//! here a connection first takes a place (`places`: in all and per address), has [`HANDSHAKE`] for TLS, and ends
//! when it asks for nothing for [`IDLE`]. Its bytes come through `socket`, which reads no faster than honest peers
//! send and gives up who does not read; `http` sets the limits of the protocols; a device has a few connections
//! (`devices`); a request has its time (`requests`). Whoever is turned away is written down by `refusals`.

pub mod accept;
pub mod bucket;
mod connection;
mod devices;
mod http;
mod pieces;
pub mod places;
pub mod refusals;
mod requests;
mod socket;
pub mod tls;
mod unfit;

use std::{net::SocketAddr, time::Duration};

use bbt_domain::{ids::DeviceId, time::UtcMicros};

/// TCP and TLS must be done in this time: ten times what a slow ADSL line takes.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way at once per port; each costs up to a millisecond of a core, so more would only wait.
pub const HANDSHAKES: usize = 256;
/// A connection on which nothing is asked for this long is closed.
pub const IDLE: Duration = Duration::from_secs(30);
/// After this long a connection is asked to come back, so that certificates and limits are looked at anew.
pub const CONNECTION_AGE: Duration = Duration::from_secs(6 * 3_600);
/// A connection that was asked to end is cut off after this long.
pub const HARD_CLOSE: Duration = Duration::from_secs(2);
/// TCP_USER_TIMEOUT: unacknowledged data this old means that the peer is gone (mains cut, line down).
pub const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Without data for this long HTTP/2 asks whether the peer is there; bridges the five minutes between frames.
pub const PING_AFTER: Duration = Duration::from_secs(240);
/// And has this long to answer.
pub const PING_ANSWER: Duration = Duration::from_secs(20);

/// The address a request came from.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// The device whose certificate a connection has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevicePeer {
    /// From the certificate's URI.
    pub device: DeviceId,
    /// The certificate's end.
    pub until: UtcMicros,
    /// The certificate's serial; `None` when it is of another length than those that this controller gives.
    pub serial: Option<[u8; 16]>,
}
