//! What is done about keys and the clock.

use std::sync::Arc;

use bbt_domain::access::{Act, Actor, may};
use bbt_store::{StoreError, audit::audit_note};
use serde_json::{Value as Json, json};

use super::{OperationError, Operations, Secret};
use crate::pki::rotation::Successor;

impl Operations {
    /// The new intermediate signs from the return on; it was in the verifier's list before it signed anything.
    pub(super) async fn ca_adopt(
        &self,
        actor: Actor,
        certificate: String,
        key: Secret,
    ) -> Result<Json, OperationError> {
        permit(&actor)?;
        if let Some(doubt) = self.context.clock.doubt() {
            return Err(OperationError::Failed(doubt.to_string()));
        }
        let (now, pki) = (self.context.now(), self.pki.clone());
        let successor = Successor { certificate, key: key.as_str().to_owned() };
        let authority = blocking(move || successor.adopt(&pki, now)).await?;
        let made =
            json!({"issuing_until": authority.until(), "intermediates": authority.intermediates().len()});
        self.authority.store(Arc::new(authority));
        self.exchange.poke();
        self.note(actor, "ca.rotate", "ca", made.clone()).await?;
        Ok(made)
    }

    /// The guarded time becomes the system's, forward or back.
    pub(super) async fn clock_accept(&self, actor: Actor) -> Result<Json, OperationError> {
        permit(&actor)?;
        let guard = Arc::clone(&self.guard);
        let accepted = blocking(move || guard.accept()).await?;
        // The listeners' certificate may have ended meanwhile, and devices ask by it for this very time.
        self.exchange.poke();
        let times = json!({"before": accepted.before, "time": accepted.now});
        self.note(actor, "clock.accept", "clock", times.clone()).await?;
        Ok(times)
    }

    async fn note(
        &self,
        actor: Actor,
        action: &'static str,
        subject: &'static str,
        detail: Json,
    ) -> Result<(), StoreError> {
        let now = self.context.now();
        self.context.store.write(move |tx| audit_note(tx, &actor, action, subject, &detail, now)).await
    }
}

fn permit(actor: &Actor) -> Result<(), StoreError> {
    if may(actor, Act::KeysWrite) {
        return Ok(());
    }
    Err(StoreError::Forbidden { actor: actor.label(), act: Act::KeysWrite })
}

async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, OperationError> {
    let failed = |error: &dyn std::fmt::Display| OperationError::Failed(error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}
