//! Delivers what is to be told to contractors.
//!
//! A run starts the attempts that are due and have a place, and is over; an attempt that ends notes what came of
//! it and wakes the task. So a receiver that hangs holds its own places and nobody else's. A controller that is
//! killed between an attempt and its note makes the attempt again, under the same message id, by which the
//! receiver knows it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bbt_domain::{
    access::Actor,
    ids::{ContractId, MessageId},
    outbox::{Outcome, Reason, next_attempt},
    time::UtcMicros,
};
use bbt_store::{
    StoreError,
    outbox::{Attempted, DueMessage, MessageState, message_attempted, messages_due, next_due},
};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::{Nudge, Task};
use crate::{
    context::Context,
    contractor::{DELIVERIES, DELIVERIES_PER_TARGET, Door, Message, Target, WebhookSecret, WebhookUrl},
    pki::sealing::{SealingKey, WEBHOOK_SECRET},
};

const DELIVERER: Actor = Actor::System("outbox_delivery");
/// A note that the store would not take is tried again after this long: without it the attempt would be made
/// anew.
const NOTE_AGAIN: Duration = Duration::from_secs(5);

/// See the head of the module.
pub struct OutboxDelivery {
    shared: Arc<Shared>,
    /// Dropped with the task: attempts under way end then.
    attempts: Mutex<JoinSet<()>>,
}

struct Shared {
    context: Arc<Context>,
    door: Arc<dyn Door>,
    sealing: Arc<SealingKey>,
    nudge: Nudge,
    under_way: Mutex<HashMap<MessageId, ContractId>>,
}

impl OutboxDelivery {
    /// Attempts that end poke `nudge`, which has to wake this task.
    pub fn new(context: Arc<Context>, door: Arc<dyn Door>, sealing: Arc<SealingKey>, nudge: Nudge) -> Self {
        let under_way = Mutex::default();
        Self {
            shared: Arc::new(Shared { context, door, sealing, nudge, under_way }),
            attempts: Mutex::default(),
        }
    }

    /// Starts an attempt if there is a place for it.
    fn start(&self, message: DueMessage) {
        let shared = &self.shared;
        {
            let mut under_way = shared.under_way();
            let of_contract = under_way.values().filter(|contract| **contract == message.contract).count();
            if under_way.len() >= DELIVERIES || of_contract >= DELIVERIES_PER_TARGET {
                return;
            }
            under_way.insert(message.id, message.contract);
        }
        let shared = Arc::clone(shared);
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        while attempts.try_join_next().is_some() {}
        attempts.spawn(async move { shared.attempt(message).await });
    }
}

impl Shared {
    fn under_way(&self) -> MutexGuard<'_, HashMap<MessageId, ContractId>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one attempt and notes it.
    async fn attempt(&self, due: DueMessage) {
        let _place = Place { shared: self, message: due.id };
        let at = self.context.now();
        let outcome = match self.target(&due) {
            Ok(target) => {
                let message =
                    Message { id: due.id.to_string(), kind: due.kind.clone(), body: due.body.clone() };
                self.door.deliver(&target, &message, at).await
            }
            Err(error) => {
                tracing::error!(message.id = %due.id, %error, "a contractor's webhook cannot be used");
                Outcome::GiveUp { reason: Reason::Unsendable }
            }
        };
        let attempted =
            attempted(&outcome, due.attempts + 1, due.first_attempt_at.unwrap_or(at), self.context.now());
        tracing::info!(message.id = %due.id, kind = due.kind, state = attempted.state.as_str(),
            reason = %attempted.reason, "an attempt to tell a contractor");
        loop {
            let (id, attempted) = (due.id, attempted.clone());
            let note =
                move |tx: &mut bbt_store::Tx<'_>| message_attempted(tx, &DELIVERER, id, &attempted, at);
            match self.context.store.write(note).await {
                Ok(()) | Err(StoreError::Closed) => break,
                Err(error) => {
                    tracing::error!(message.id = %due.id, %error, "an attempt could not be noted; it is noted later");
                    tokio::time::sleep(NOTE_AGAIN).await;
                }
            }
        }
    }

    fn target(&self, due: &DueMessage) -> Result<Target, String> {
        let webhook = &due.webhook;
        let secret = self.sealing.open(WEBHOOK_SECRET, due.contract.as_bytes(), &webhook.sealed_secret);
        let secret = secret.map_err(|error| error.to_string())?;
        let secret = String::from_utf8(secret).map_err(|error| error.to_string())?;
        Ok(Target {
            url: WebhookUrl::parse(&webhook.url).map_err(|error| error.to_string())?,
            secret: WebhookSecret::parse(&secret).map_err(|error| error.to_string())?,
            granted_by_local: webhook.granted_by_local,
        })
    }
}

/// The place of an attempt under way; given back however it ends.
struct Place<'a> {
    shared: &'a Shared,
    message: MessageId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.under_way().remove(&self.message);
        self.shared.nudge.poke();
    }
}

/// What an attempt's outcome means for its message.
fn attempted(outcome: &Outcome, attempt: u32, first_at: UtcMicros, now: UtcMicros) -> Attempted {
    match outcome {
        Outcome::Delivered { status } => {
            let reason = json!({"code": "delivered", "status": status});
            Attempted { state: MessageState::Delivered, reason, due: None }
        }
        Outcome::Retry { reason } => {
            let due = next_attempt(attempt, first_at, now);
            let state = if due.is_some() { MessageState::Waiting } else { MessageState::GivenUp };
            Attempted { state, reason: json_of(reason), due }
        }
        Outcome::GiveUp { reason } => {
            Attempted { state: MessageState::GivenUp, reason: json_of(reason), due: None }
        }
    }
}

fn json_of(reason: &Reason) -> Json {
    // Made of words and numbers, all of which JSON can hold.
    serde_json::to_value(reason).unwrap_or_default()
}

impl Task for OutboxDelivery {
    const NAME: &'static str = "outbox_delivery";
    const EVERY: Duration = Duration::from_secs(60);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        let context = &self.shared.context;
        let now = context.now();
        // One that was under way before the look may have ended since, and would be due only by that look's memory.
        let before: HashSet<MessageId> = self.shared.under_way().keys().copied().collect();
        // Those under way are still due in the store, so some beyond the places have to be looked at.
        let look = move |tx: &mut bbt_store::Tx<'_>| {
            Ok((
                messages_due(tx, &DELIVERER, now, 2 * DELIVERIES_PER_TARGET)?,
                next_due(tx, &DELIVERER, now)?,
            ))
        };
        let (due, next) = context.store.read(look).await?;
        due.into_iter()
            .filter(|message| !before.contains(&message.id))
            .for_each(|message| self.start(message));
        Ok(next.map(|next| next.since(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_attempt_is_made_again_until_its_time_is_over() {
        let first = UtcMicros::from_secs(1_790_000_000);
        let failed = Outcome::Retry { reason: Reason::Status { status: 500 } };
        let again = attempted(&failed, 1, first, first);
        assert_eq!(
            (again.state, again.due),
            (MessageState::Waiting, Some(first.plus(Duration::from_secs(60))))
        );
        assert_eq!(again.reason, json!({"code": "status", "status": 500}));
        let over = attempted(&failed, 9, first, first.plus(Duration::from_secs(3 * 86_400)));
        assert_eq!((over.state, over.due), (MessageState::GivenUp, None));
        let gone = attempted(&Outcome::GiveUp { reason: Reason::Gone }, 1, first, first);
        assert_eq!((gone.state, gone.due), (MessageState::GivenUp, None));
        let done = attempted(&Outcome::Delivered { status: 204 }, 3, first, first);
        assert_eq!((done.state, done.due), (MessageState::Delivered, None));
    }
}
