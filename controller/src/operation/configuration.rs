//! Operations on what devices are told to do.

use std::{collections::BTreeMap, time::Duration};

use bbt_domain::{
    access::Actor,
    configuration::{Key, Level, Values},
    ids::DeviceId,
    org::SchoolCode,
};
use bbt_store::{
    Tx,
    configuration::{configuration_of_device, configuration_show, live_show, outcome_show, secret_list},
    devices::device_show,
    schools::school_by_code,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{OperationError, Operations, Secret, device_id, invalid};
use crate::configuration::{self, SecretError};

/// Whose values, as people name it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelName {
    /// All devices.
    County,
    /// Those of the school with this code.
    School(String),
    /// The one with this id.
    Device(String),
}

impl Operations {
    /// Everything known of a device, what it is told to do included.
    pub(super) async fn device_show(&self, actor: Actor, id: DeviceId) -> Result<Json, OperationError> {
        let now = self.context.now();
        let show = move |tx: &mut Tx<'_>| {
            let told = configuration_of_device(tx, &actor, id)?;
            let answered = outcome_show(tx, &actor, id)?;
            let (live, secrets) = (live_show(tx, &actor, id, now)?, secret_list(tx, &actor, id)?);
            let applied = answered.applied.map(|(revision, at)| json!({"revision": revision, "at": at}));
            let configuration = json!({
                "revision": told.revision,
                "values": told.values(),
                "applied": applied,
                "rejected": answered.rejected,
                "live": live,
                "secrets": secrets,
            });
            Ok((device_show(tx, &actor, id)?, configuration))
        };
        let (file, configuration) = self.context.store.read(show).await?;
        let mut device = json!(file);
        device["configuration"] = configuration;
        Ok(device)
    }

    pub(super) async fn configuration_show(
        &self,
        actor: Actor,
        of: LevelName,
    ) -> Result<Json, OperationError> {
        let level = self.level(&actor, of).await?;
        let show = move |tx: &mut Tx<'_>| configuration_show(tx, &actor, level);
        let file = self.context.store.read(show).await?;
        Ok(json!({
            "level": level.as_str(),
            "values": file.as_ref().map(|file| file.values).unwrap_or_default(),
            "revision": file.as_ref().map(|file| file.revision),
            "changed_at": file.as_ref().map(|file| file.changed_at),
            "changed_by": file.map(|file| file.changed_by),
        }))
    }

    /// Values that are not named stay as they are.
    pub(super) async fn configuration_set(
        &self,
        actor: Actor,
        of: LevelName,
        changed: BTreeMap<String, Option<u64>>,
    ) -> Result<Json, OperationError> {
        let level = self.level(&actor, of).await?;
        let asker = actor.clone();
        let show = move |tx: &mut Tx<'_>| configuration_show(tx, &asker, level);
        let before = self.context.store.read(show).await?.map(|file| file.values).unwrap_or_default();
        let values = changed.into_iter().try_fold(before, |values: Values, (name, value)| {
            Ok::<_, OperationError>(values.with(key(&name)?, value))
        })?;
        let revision = configuration::set(&self.context, actor, level, values).await?;
        Ok(
            json!({"level": level.as_str(), "values": values, "changed": revision.is_some(), "revision": revision}),
        )
    }

    pub(super) async fn device_live(
        &self,
        actor: Actor,
        id: DeviceId,
        span_secs: Option<u64>,
    ) -> Result<Json, OperationError> {
        let Some(secs) = span_secs else {
            let stopped = configuration::stop_live(&self.context, actor, id).await?;
            return Ok(json!({"id": id, "live": null, "changed": stopped}));
        };
        let live = configuration::look_live(&self.context, actor, id, Duration::from_secs(secs)).await?;
        Ok(json!({"id": id, "live": live, "changed": true}))
    }

    pub(super) async fn device_secret(
        &self,
        actor: Actor,
        id: DeviceId,
        name: &str,
        secret: Option<Secret>,
    ) -> Result<Json, OperationError> {
        match secret {
            Some(secret) => {
                let value = secret.as_str().as_bytes();
                configuration::enter_secret(&self.context, &self.sealing, actor, id, name, value).await?;
                Ok(json!({"id": id, "name": name, "is_set": true}))
            }
            None => {
                configuration::withdraw_secret(&self.context, actor, id, name).await?;
                Ok(json!({"id": id, "name": name, "is_set": false}))
            }
        }
    }

    async fn level(&self, actor: &Actor, of: LevelName) -> Result<Level, OperationError> {
        match of {
            LevelName::County => Ok(Level::County),
            LevelName::Device(id) => Ok(Level::Device(device_id(&id)?)),
            LevelName::School(code) => {
                let (code, actor) = (SchoolCode::parse(&code).map_err(invalid)?, actor.clone());
                let find = move |tx: &mut Tx<'_>| school_by_code(tx, &actor, &code);
                Ok(Level::School(self.context.store.read(find).await?.id))
            }
        }
    }
}

fn key(name: &str) -> Result<Key, OperationError> {
    Key::ALL.into_iter().find(|key| key.as_str() == name).ok_or_else(|| {
        let known = Key::ALL.map(Key::as_str).join(", ");
        OperationError::Invalid(format!("{name:?} is not a value that can be set: take one of {known}"))
    })
}

impl From<SecretError> for OperationError {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Form(error) => invalid(error),
            SecretError::Sealing(error) => Self::Failed(error.to_string()),
            SecretError::Store(error) => Self::Store(error),
        }
    }
}
