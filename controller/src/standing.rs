//! Takes a device's access away and gives it back: for the command line, and for the console.

use std::sync::Arc;

use bbt_domain::{
    access::Actor,
    identity::{Standing, StandingKind},
    ids::DeviceId,
    text::{SENTENCE_CHARS, clean},
};
use bbt_store::{
    StoreError,
    devices::{device_show, device_stand},
};

use crate::{context::Context, pki::revoke::Denylist};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum StandError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The revocation log could not be written.
    #[error("{0}")]
    Log(String),
}

/// The log first, then the store: whatever is cut off in between, a revoked device stays out. `Ok(false)`: it stood
/// so already.
pub async fn stand(
    context: &Context,
    denylist: &Arc<Denylist>,
    actor: Actor,
    id: DeviceId,
    (standing, kind): (Standing, StandingKind),
    reason: &str,
) -> Result<bool, StandError> {
    let now = context.now();
    let asked = actor.clone();
    let before = context.store.read(move |tx| device_show(tx, &asked, id)).await?;
    if before.line.standing != standing || denylist.denies(id) != (standing == Standing::Revoked) {
        let denylist = Arc::clone(denylist);
        tokio::task::spawn_blocking(move || denylist.stand(id, standing, now))
            .await
            .map_err(|error| StandError::Log(error.to_string()))?
            .map_err(|error| StandError::Log(error.to_string()))?;
    }
    let reason = clean(reason, SENTENCE_CHARS);
    let write = move |tx: &mut bbt_store::Tx<'_>| device_stand(tx, &actor, id, standing, kind, &reason, now);
    Ok(context.store.write(write).await?)
}
