//! Sends what the spool holds and tells it what the controller decided.
//!
//! [`batch`], [`backoff`] and [`refusal`] decide without network or clock; [`connect`] and [`session`] carry it
//! out. [`run`] goes on for ever: connect, stream, pause, again.

pub mod address;
pub mod backoff;
pub mod batch;
pub mod connect;
pub mod knock;
pub mod refusal;
pub mod session;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use self::{
    address::Address,
    backoff::Backoff,
    refusal::Refusal,
    session::{End, News, Setting},
};
use crate::{identity::upkeep::Credentials, platform::Platform};

/// How contact with the controller stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What goes on now.
    pub phase: Phase,
    /// The last thing that went wrong and was not followed by a greeting.
    pub refusal: Option<Refusal>,
}

/// What goes on now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing until the next attempt.
    Waiting {
        /// How long from the moment this was said.
        pause: Duration,
        /// When this was said, by the device's clock.
        since_wall_micros: i64,
    },
    /// An attempt is made.
    Connecting {
        /// Where.
        address: Address,
    },
    /// A stream is open.
    Connected {
        /// Where.
        address: Address,
        /// Since when, by the device's clock.
        since_wall_micros: i64,
    },
}

impl Default for Link {
    fn default() -> Link {
        Link { phase: Phase::Waiting { pause: Duration::ZERO, since_wall_micros: 0 }, refusal: None }
    }
}

/// Keeps contact until it is dropped, with the credentials in force at each attempt; when they are announced anew,
/// an attempt is made at once. How contact stands is told to `link`.
pub async fn run(
    setting: Setting,
    mut credentials: watch::Receiver<Arc<Credentials>>,
    platform: Arc<dyn Platform>,
    link: watch::Sender<Link>,
) {
    let chance = || {
        let mut random = [0; 8];
        platform.random(&mut random);
        backoff::unit(random)
    };
    let mut backoff = Backoff::default();
    let contact = setting.spool.contact().await.unwrap_or_default();
    let mut pause = backoff::first_contact(contact.committed_micros.is_some(), contact.window_secs, chance());
    loop {
        let since_wall_micros = platform.now().wall_micros;
        link.send_modify(|link| link.phase = Phase::Waiting { pause, since_wall_micros });
        tokio::select! {
            () = tokio::time::sleep(pause) => (),
            Ok(()) = credentials.changed() => (),
        }
        let in_force = credentials.borrow_and_update().clone();
        let Some(end) = try_addresses(&setting, &in_force, &platform, &link).await else {
            tracing::error!("the identity names no address to report to; enrol this device again");
            return;
        };
        let window_secs = setting.spool.contact().await.unwrap_or_default().window_secs;
        if credentials.has_changed().unwrap_or(false) {
            // What was said to the credentials of before says nothing about these.
            pause = Duration::ZERO;
            continue;
        }
        let said = link.borrow().refusal.as_ref().map(|refusal| refusal.code);
        if said == Some(end.refusal.code) {
            tracing::debug!(code = end.refusal.code, "{}", end.refusal);
        } else {
            tracing::warn!(code = end.refusal.code, "{}", end.refusal);
        }
        pause = match end.refusal.patience.pause(chance()) {
            Some(pause) => pause,
            None if end.progress => {
                backoff.succeeded();
                backoff::after_stream(window_secs, chance())
            }
            None => backoff.failed(chance()),
        };
        link.send_modify(|link| link.refusal = Some(end.refusal));
    }
}

/// Tries the addresses in their order until one is connected. None if there are none.
async fn try_addresses(
    setting: &Setting,
    credentials: &Credentials,
    platform: &Arc<dyn Platform>,
    link: &watch::Sender<Link>,
) -> Option<End> {
    let mut last = None;
    for address in &credentials.identity.agent_addresses {
        link.send_modify(|link| link.phase = Phase::Connecting { address: address.clone() });
        let tell = |news| match news {
            News::Greeted => {
                tracing::info!(%address, "connected to the controller");
                let since_wall_micros = platform.now().wall_micros;
                link.send_replace(Link {
                    phase: Phase::Connected { address: address.clone(), since_wall_micros },
                    refusal: None,
                });
            }
            // Whoever shows the backlog looks again.
            News::Decided => link.send_modify(|_| ()),
        };
        let end = session::run(setting, credentials, address, &tell).await;
        if end.connected {
            return Some(end);
        }
        last = Some(end);
    }
    last
}
