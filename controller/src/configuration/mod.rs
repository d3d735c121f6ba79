//! What devices are told to do: set here, pushed from here.
//!
//! A change is stored first ([`bbt_store::configuration`]) and then told to the streams that are open ([`Changes`]); each
//! that is concerned looks into the store whether its device holds what is there ([`push`]). A stream that hears of
//! nothing, because the change came while it was opened or from another controller, asks when it is opened.

mod changes;
pub mod push;

use std::{sync::Arc, time::Duration};

use bbt_domain::{
    access::Actor,
    configuration::{Level, Live, SecretName, Values, secret_length},
    ids::DeviceId,
};
use bbt_store::{
    StoreError, Tx,
    configuration::{SealedSecret, configuration_set, live_begin, live_stop, secret_set, secret_withdraw},
};

pub use changes::Changes;

use crate::{
    context::Context,
    pki::sealing::{DEVICE_SECRET, SealingError, SealingKey},
};

/// Between samples of a live look.
pub const LIVE_SAMPLE_SECS: u32 = 5;
/// How long a live look goes on when nobody says.
pub const LIVE_SPAN: Duration = Duration::from_secs(10 * 60);
/// Lessons are told so many days ahead, as the contract has it.
pub const LESSON_DAYS: usize = 14;

/// A secret that was not entered.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be one.
    #[error(transparent)]
    Form(#[from] bbt_domain::configuration::ConfigurationError),
    /// It cannot be sealed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sets the values of a level. `Ok(None)`: they were so already.
pub async fn set(
    context: &Context,
    actor: Actor,
    level: Level,
    values: Values,
) -> Result<Option<i64>, StoreError> {
    let now = context.now();
    let set = move |tx: &mut Tx<'_>| configuration_set(tx, &actor, level, &values, now);
    let revision = context.store.write(set).await?;
    if revision.is_some() {
        context.changes.tell(level);
    }
    Ok(revision)
}

/// Looks at a device live.
pub async fn look_live(
    context: &Context,
    actor: Actor,
    device: DeviceId,
    span: Duration,
) -> Result<Live, StoreError> {
    let now = context.now();
    let live = Live::begin(LIVE_SAMPLE_SECS, span, now);
    let live = live.map_err(|error| StoreError::Invalid(error.to_string()))?;
    context.store.write(move |tx: &mut Tx<'_>| live_begin(tx, &actor, device, &live, now)).await?;
    context.changes.tell(Level::Device(device));
    Ok(live)
}

/// Ends a live look. `Ok(false)`: it was over already.
pub async fn stop_live(context: &Context, actor: Actor, device: DeviceId) -> Result<bool, StoreError> {
    let now = context.now();
    let stopped = context.store.write(move |tx: &mut Tx<'_>| live_stop(tx, &actor, device, now)).await?;
    if stopped {
        context.changes.tell(Level::Device(device));
    }
    Ok(stopped)
}

/// Enters a secret of a device, sealed before the store sees it.
pub async fn enter_secret(
    context: &Context,
    sealing: &SealingKey,
    actor: Actor,
    device: DeviceId,
    name: &str,
    secret: &[u8],
) -> Result<(), SecretError> {
    let name = SecretName::parse(name)?;
    secret_length(secret.len())?;
    let sealed = sealing.seal(DEVICE_SECRET, &secret_owner(device, &name), secret)?;
    let (now, sealed) = (context.now(), SealedSecret { name, sealed });
    context.store.write(move |tx: &mut Tx<'_>| secret_set(tx, &actor, device, &sealed, now)).await?;
    context.changes.tell(Level::Device(device));
    Ok(())
}

/// Withdraws a secret of a device.
pub async fn withdraw_secret(
    context: &Context,
    actor: Actor,
    device: DeviceId,
    name: &str,
) -> Result<(), SecretError> {
    let (name, now) = (SecretName::parse(name)?, context.now());
    context.store.write(move |tx: &mut Tx<'_>| secret_withdraw(tx, &actor, device, &name, now)).await?;
    context.changes.tell(Level::Device(device));
    Ok(())
}

/// Whose a sealed secret is: it opens for no other device and under no other name.
fn secret_owner(device: DeviceId, name: &SecretName) -> Vec<u8> {
    [device.as_bytes().as_slice(), name.as_str().as_bytes()].concat()
}

/// What pushes to the streams of all devices share.
pub struct Configurations {
    context: Arc<Context>,
    sealing: Arc<SealingKey>,
    looks: tokio::sync::Semaphore,
}
