//! The doors by which the county speaks to a maintenance contractor.
//!
//! A ticket's message is made once and stored in the outbox; a [`Door`] carries it out, once per call, and says
//! what came of it. When to call again is decided by `bbt_domain::outbox`. [`webhook`] is Standard Webhooks over
//! HTTPS; [`memory`] is its twin for tests, which keeps what would have been sent.
//!
//! An address that people enter makes the controller speak to machines it can reach and they cannot. So
//! [`address`] says where it may speak, and is asked with the resolved address each time a connection is made:
//! what a name meant earlier counts for nothing.

pub mod address;
pub mod memory;
pub mod secret;
pub mod url;
pub mod webhook;

use std::pin::Pin;

use bbt_domain::time::UtcMicros;

pub use self::{memory::Memory, secret::WebhookSecret, url::WebhookUrl, webhook::Webhook};
pub use bbt_domain::outbox::{Outcome, Reason};

/// Deliveries under way at once. Each holds a socket and a few buffers for at most [`webhook::ATTEMPT`] and the
/// reading of an answer, so even a minute in which every receiver hangs lets some 50 attempts through.
pub const DELIVERIES: usize = 16;
/// Deliveries under way at once to one target: a receiver that hangs leaves the other places to the others.
pub const DELIVERIES_PER_TARGET: usize = 2;

/// One message, the same at every attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Names the message to the receiver, who takes it once however often it comes.
    pub id: String,
    /// What happened, such as `ticket.opened`; it stands in the body too.
    pub kind: String,
    /// JSON `{type, version, data}`, made once and stored.
    pub body: String,
}

/// Where a message goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The receiver.
    pub url: WebhookUrl,
    /// What its messages are signed with.
    pub secret: WebhookSecret,
    /// Entered on the command line by whoever runs this machine: private and loopback addresses, plain http and
    /// any port are meant for this target.
    pub granted_by_local: bool,
}

/// An attempt under way.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Carries messages out.
pub trait Door: Send + Sync {
    /// Makes one attempt, signed at `now`. It ends by itself, in bounded time, and ends at once when dropped.
    fn deliver<'a>(&'a self, target: &'a Target, message: &'a Message, now: UtcMicros) -> Delivery<'a>;
}
