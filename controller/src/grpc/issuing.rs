//! From a checked key to a certificate: record, lint, sign, store. The three ways to a certificate (a token, an
//! earlier certificate, the key of an ended one) differ in what they ask before, and in nothing after.

use std::sync::Arc;

use bbt_domain::{access::Actor, ids::DeviceId, time::UtcMicros};
use bbt_store::{
    StoreError,
    certificates::{NewCertificate, certificate_signed},
};
use tonic::Status;

use super::refusal;
use crate::{
    context::Context,
    listen::refusals::Cause,
    pki::{
        authority::{Authority, SharedAuthority},
        issue::{self, DeviceKey},
    },
};

/// Makes certificates of devices.
#[derive(Clone)]
pub struct Issuing {
    context: Arc<Context>,
    authority: SharedAuthority,
}

impl Issuing {
    /// With the authority in force at each call.
    pub fn new(context: Arc<Context>, authority: SharedAuthority) -> Self {
        Self { context, authority }
    }

    /// The date, unless it cannot be believed: then nothing is issued.
    pub(super) fn date(&self) -> Result<UtcMicros, Status> {
        match self.context.clock.doubt() {
            None => Ok(self.context.now()),
            Some(doubt) => Err(refusal(Cause::ClockGuard, doubt.to_string())),
        }
    }

    /// What signs now.
    pub(super) fn authority(&self) -> Arc<Authority> {
        self.authority.load_full()
    }

    /// A certificate yet to be recorded.
    pub(super) fn draft(&self, now: UtcMicros) -> Result<Draft, Status> {
        let authority = self.authority();
        let (not_before, not_after) = issue::device_validity(&authority, now);
        let serial = issue::serial().map_err(internal)?;
        Ok(Draft { authority, certificate: NewCertificate { serial, not_before, not_after } })
    }

    /// Signs what was recorded and keeps it beside its record; gives leaf, intermediate, root.
    pub(super) async fn sign(
        &self,
        actor: Actor,
        device: DeviceId,
        key: &DeviceKey,
        draft: &Draft,
    ) -> Result<Vec<Vec<u8>>, Status> {
        let NewCertificate { serial, not_before, not_after } = draft.certificate;
        let domain = &self.context.county.trust_domain;
        let made = issue::device_certificate(
            &draft.authority,
            domain,
            device,
            key,
            &serial,
            (not_before, not_after),
        );
        let made = made.map_err(internal)?;
        let der = made.to_vec();
        let keep = move |tx: &mut bbt_store::Tx<'_>| certificate_signed(tx, &actor, &serial, &der);
        self.context.store.write(keep).await.map_err(unavailable)?;
        Ok(draft.authority.chain(made).iter().map(|der| der.to_vec()).collect())
    }
}

/// A certificate about to be recorded and signed, and by whom.
pub(super) struct Draft {
    authority: Arc<Authority>,
    /// For its record.
    pub(super) certificate: NewCertificate,
}

pub(super) fn internal(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "a certificate could not be made");
    Status::internal("the controller could not make a certificate; its log says why")
}

pub(super) fn unavailable(error: StoreError) -> Status {
    tracing::error!(%error, "a certificate could not be stored");
    Status::unavailable("the controller cannot store anything now: try again in a minute; its log says why")
}
