//! The door's twin: nothing leaves the process.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bbt_domain::{outbox::Outcome, time::UtcMicros};

use super::{Delivery, Door, Message, Target};

/// Keeps what would have been sent and answers as it was told, else that it was delivered.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sent: Vec<Sent>,
    outcomes: VecDeque<Outcome>,
}

/// What would have been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// To whom.
    pub url: String,
    /// What.
    pub message: Message,
    /// When it was signed.
    pub at: UtcMicros,
    /// The signature.
    pub signature: String,
}

impl Memory {
    /// The next delivery without an outcome of its own comes to `outcome`.
    pub fn then(&self, outcome: Outcome) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).outcomes.push_back(outcome);
    }

    /// Every attempt so far, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sent.clone()
    }
}

impl Door for Memory {
    fn deliver<'a>(&'a self, target: &'a Target, message: &'a Message, now: UtcMicros) -> Delivery<'a> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.sent.push(Sent {
                url: target.url.as_str().to_owned(),
                message: message.clone(),
                at: now,
                signature: target.secret.sign(&message.id, now.as_secs(), &message.body),
            });
            state.outcomes.pop_front().unwrap_or(Outcome::Delivered { status: 200 })
        })
    }
}

#[cfg(test)]
mod tests {
    use bbt_domain::outbox::Reason;

    use super::{super::*, *};

    #[tokio::test]
    async fn keeps_each_attempt_and_answers_as_it_was_told() {
        let door = Memory::default();
        let target = Target {
            url: WebhookUrl::parse("https://a.example/in").unwrap(),
            secret: WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
            granted_by_local: false,
        };
        let message = Message { id: "1".into(), kind: "ticket.opened".into(), body: "{}".into() };
        let failed = Outcome::Retry { reason: Reason::Status { status: 500 } };
        door.then(failed.clone());
        let times = [UtcMicros::from_secs(100), UtcMicros::from_secs(160)];

        assert_eq!(door.deliver(&target, &message, times[0]).await, failed);
        assert_eq!(door.deliver(&target, &message, times[1]).await, Outcome::Delivered { status: 200 });

        let sent = door.sent();
        assert_eq!(sent.iter().map(|sent| sent.at).collect::<Vec<_>>(), times);
        assert!(sent.iter().all(|sent| sent.message == message && sent.url == "https://a.example/in"));
        assert_ne!(sent[0].signature, sent[1].signature, "each attempt is signed at its own time");
    }
}
