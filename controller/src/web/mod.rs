//! The console: pages rendered here, whole and without scripts.
//!
//! A request passes [`headers`] (nothing leaves without them), finds its row in the site map of [`mod@router`], and
//! goes through the row's [`gate`]: who asks, in which language, may they, and for a form whether it is really
//! theirs. Only then a handler in [`pages`] runs; it extracts, calls one store operation, fills a template with
//! what [`words`] says of decisions. What it cannot do becomes a [`failure::Failure`], which the gate turns into a
//! page that helps.

mod assets;
mod csrf;
mod csv;
mod failure;
mod field;
mod format;
mod gate;
mod headers;
mod language;
mod pages;
mod router;
mod session;
mod shell;
mod throttle;
mod visit;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bbt_store::tickets::TicketMeans;

use crate::{context::Context, desk::Desk, password::Passwords, pki::revoke::Denylist};

/// The console as a service. It has no listener of its own; `denylist` is that of the devices' port.
pub fn router(context: Arc<Context>, desk: Desk, denylist: Arc<Denylist>) -> axum::Router {
    router::build(Arc::new(Site::of(context, desk, denylist)))
}

/// What all requests share.
struct Site {
    context: Arc<Context>,
    desk: Desk,
    denylist: Arc<Denylist>,
    passwords: Passwords,
    throttle: throttle::Throttle,
}

impl Site {
    fn of(context: Arc<Context>, desk: Desk, denylist: Arc<Denylist>) -> Self {
        let (passwords, throttle) = (Passwords::default(), throttle::Throttle::default());
        Self { context, desk, denylist, passwords, throttle }
    }

    /// Ids for what an act on a ticket may bring about.
    fn ticket_means(&self) -> TicketMeans {
        self.desk.means(&self.context)
    }
}
