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

use bbt_domain::{
    fault::policy::Rules,
    ids::{MessageId, TicketId},
};
use bbt_store::tickets::TicketMeans;

use crate::{context::Context, password::Passwords};

/// The console as a service. It has no listener of its own.
pub fn router(context: Arc<Context>) -> axum::Router {
    router::build(Arc::new(Site::of(context)))
}

/// What all requests share.
struct Site {
    context: Arc<Context>,
    passwords: Passwords,
    throttle: throttle::Throttle,
    /// What the county decided about faults and questions.
    rules: Arc<Rules>,
    /// `https://HOST:PORT` of the console as contractors see it.
    console: String,
}

impl Site {
    fn of(context: Arc<Context>) -> Self {
        Self {
            context,
            passwords: Passwords::default(),
            throttle: throttle::Throttle::default(),
            rules: Arc::default(),
            console: String::new(),
        }
    }

    /// Ids for what an act on a ticket may bring about.
    fn ticket_means(&self) -> TicketMeans {
        TicketMeans {
            ticket: TicketId::from_bytes(self.context.new_id()),
            message: MessageId::from_bytes(self.context.new_id()),
            console: self.console.clone(),
        }
    }
}
