//! Operations on PCs of which a person has to say which device they are, and on what a device's disk is like.

use bbt_domain::{
    access::Actor,
    identity::Ruling,
    ids::{AdmissionId, DeviceId},
};
use bbt_store::{
    admissions::{
        Decision, admission_decide, admission_decide_siblings, admission_list, admission_siblings,
        admission_undo,
    },
    recognition::device_freeze,
};
use serde_json::{Value as Json, json};

use super::{OperationError, Operations, PAGE, device_id, invalid, page};

impl Operations {
    pub(super) async fn admission_list(
        &self,
        actor: Actor,
        after: Option<String>,
    ) -> Result<Json, OperationError> {
        let after = after.map(|after| admission_id(&after)).transpose()?;
        let lines = self.context.store.read(move |tx| admission_list(tx, &actor, after, PAGE + 1)).await?;
        Ok(page(lines, |line| line.id.to_string()))
    }

    pub(super) async fn admission_decide(
        &self,
        actor: Actor,
        id: &str,
        ruling: Ruling,
        device: Option<&str>,
    ) -> Result<Json, OperationError> {
        let id = admission_id(id)?;
        let decision = match (ruling, device) {
            (Ruling::Same, Some(device)) => Decision::Same(device_id(device)?),
            (Ruling::New, None) => Decision::New,
            (Ruling::Refused, None) => Decision::Refused,
            (Ruling::Same, None) => {
                return Err(OperationError::Invalid("which device is it? Name it with --same DEVICE".into()));
            }
            (_, Some(device)) => {
                return Err(OperationError::Invalid(format!(
                    "device {device} is named, and the request is not to be the same as any: leave one out"
                )));
            }
        };
        let now = self.context.now();
        let decide = move |tx: &mut bbt_store::Tx<'_>| admission_decide(tx, &actor, id, decision, now);
        Ok(json!(self.context.store.write(decide).await?))
    }

    pub(super) async fn admission_undo(&self, actor: Actor, id: &str) -> Result<Json, OperationError> {
        let (id, now) = (admission_id(id)?, self.context.now());
        let line = self.context.store.write(move |tx| admission_undo(tx, &actor, id, now)).await?;
        Ok(json!(line))
    }

    pub(super) async fn siblings_list(&self, actor: Actor, device: DeviceId) -> Result<Json, OperationError> {
        let lines = self.context.store.read(move |tx| admission_siblings(tx, &actor, device)).await?;
        Ok(json!({"items": lines, "next": null}))
    }

    pub(super) async fn siblings_approve(
        &self,
        actor: Actor,
        device: DeviceId,
    ) -> Result<Json, OperationError> {
        let now = self.context.now();
        let approve = move |tx: &mut bbt_store::Tx<'_>| admission_decide_siblings(tx, &actor, device, now);
        let approved = self.context.store.write(approve).await?;
        Ok(json!({"device": device, "approved": approved}))
    }

    pub(super) async fn device_freeze(
        &self,
        actor: Actor,
        id: DeviceId,
        frozen: bool,
    ) -> Result<Json, OperationError> {
        let now = self.context.now();
        let changed = self.context.store.write(move |tx| device_freeze(tx, &actor, id, frozen, now)).await?;
        Ok(json!({"id": id, "frozen": frozen, "changed": changed}))
    }
}

fn admission_id(text: &str) -> Result<AdmissionId, OperationError> {
    text.parse().map_err(invalid)
}
