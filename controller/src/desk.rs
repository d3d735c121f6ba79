//! What is needed to open a ticket or to move one on: fresh ids, and the address under which its page is found.

use bbt_domain::ids::{MessageId, TicketId};
use bbt_store::tickets::TicketMeans;

use crate::context::Context;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    console: String,
}

impl Desk {
    /// With HOST:PORT of the console as contractors see it.
    pub fn new(console: &str) -> Self {
        Self { console: format!("https://{console}") }
    }

    /// For one step.
    pub fn means(&self, context: &Context) -> TicketMeans {
        TicketMeans {
            ticket: TicketId::from_bytes(context.new_id()),
            message: MessageId::from_bytes(context.new_id()),
            console: self.console.clone(),
        }
    }
}
