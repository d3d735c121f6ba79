//! Asks a school about each silent set, and takes the question back when the set is heard of again.

use std::{sync::Arc, time::Duration};

use bbt_domain::{access::Actor, ids::InquiryId};
use bbt_store::{
    StoreError,
    inquiries::{inquiry_step, inquiry_steps},
};

use super::Task;
use crate::context::Context;

const DECIDER: Actor = Actor::System("inquiry_opening");
/// Steps looked up at once; after the summer there may be many, and more follow in the same run.
const STEPS_AT_ONCE: usize = 100;

/// See the head of the module.
pub struct InquiryOpening {
    context: Arc<Context>,
}

impl InquiryOpening {
    /// On the county's store.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

impl Task for InquiryOpening {
    const NAME: &'static str = "inquiry_opening";
    const EVERY: Duration = Duration::from_secs(60);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        loop {
            let (rules, now) = (self.context.rules(), self.context.now());
            let look = {
                let rules = Arc::clone(&rules);
                move |tx: &mut bbt_store::Tx<'_>| inquiry_steps(tx, &DECIDER, &rules, STEPS_AT_ONCE, now)
            };
            let steps = self.context.store.read(look).await?;
            let mut done = 0;
            for step in &steps {
                let (step, rules) = (*step, Arc::clone(&rules));
                let id = InquiryId::from_bytes(self.context.new_id());
                let take =
                    move |tx: &mut bbt_store::Tx<'_>| inquiry_step(tx, &DECIDER, step, id, &rules, now);
                done += usize::from(self.context.store.write(take).await?);
            }
            if steps.len() < STEPS_AT_ONCE || done == 0 {
                return Ok(None);
            }
        }
    }
}
