//! Opens a ticket for each raised fault, closes those that lost their fault before anybody had accepted them,
//! reopens those whose fault is back.

use std::{sync::Arc, time::Duration};

use bbt_domain::access::Actor;
use bbt_store::{
    StoreError,
    tickets::{ticket_step, ticket_steps},
};

use super::{Nudge, Task};
use crate::{context::Context, desk::Desk};

const DECIDER: Actor = Actor::System("ticket_opening");
/// Steps looked up at once; more follow in the same run.
const STEPS_AT_ONCE: usize = 100;

/// See the head of the module.
pub struct TicketOpening {
    context: Arc<Context>,
    desk: Desk,
    outbox: Nudge,
}

impl TicketOpening {
    /// Wakes `outbox` when there is something to tell.
    pub fn new(context: Arc<Context>, desk: Desk, outbox: Nudge) -> Self {
        Self { context, desk, outbox }
    }
}

impl Task for TicketOpening {
    const NAME: &'static str = "ticket_opening";
    const EVERY: Duration = Duration::from_secs(30);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        loop {
            let steps = self.context.store.read(|tx| ticket_steps(tx, &DECIDER, STEPS_AT_ONCE)).await?;
            let mut done = 0;
            for step in &steps {
                let (step, means, now) = (*step, self.desk.means(&self.context), self.context.now());
                let take = move |tx: &mut bbt_store::Tx<'_>| ticket_step(tx, &DECIDER, step, &means, now);
                done += usize::from(self.context.store.write(take).await?);
            }
            if done > 0 {
                self.outbox.poke();
            }
            if steps.len() < STEPS_AT_ONCE || done == 0 {
                return Ok(None);
            }
        }
    }
}
