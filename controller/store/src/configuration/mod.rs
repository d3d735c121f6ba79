//! What devices are told to do: values of three levels, the lessons ahead, a live look, secrets; and what they made of
//! it.
//!
//! Every change takes the next revision of the county ([`next_revision`]) and leaves it at the level that it concerns.
//! What a device is told is stamped with the greatest of its levels and of the lessons, so the number stands for the
//! whole content: equal numbers are equal contents, whatever a restore card or a restored database did in between. A
//! device that changed its school would need a revision of its own; none can.

mod live;
mod outcome;
mod secrets;

use bbt_domain::{
    access::{Act, Actor},
    configuration::{Key, Level, Live, Values, next_revision},
    ids::{DeviceId, SchoolId},
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::json;

pub use live::{live_begin, live_show, live_stop};
pub use outcome::{Answered, Rejection, outcome_note, outcome_show, rejected_count};
pub use secrets::{SealedSecret, SecretLine, secret_list, secret_set, secret_withdraw};

use crate::{
    Row, StoreError, Tx, Value, audit,
    error::permit,
    params,
    reports::school_of_device,
    scope::{device_scope, school_scope},
};

/// What is set at one level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LevelFile {
    /// What devices are told of it.
    pub values: Values,
    /// Of its last change.
    pub revision: i64,
    /// When that was.
    pub changed_at: UtcMicros,
    /// Whose it was, as the audit names people.
    pub changed_by: String,
}

/// Everything that one device is told.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceConfiguration {
    /// Of the whole.
    pub revision: i64,
    /// Merged.
    pub values: Values,
    /// From when on lessons are told; `None` until the controller looked into its calendar.
    pub lessons_from: Option<UtcMicros>,
    /// Somebody looks on, or did.
    pub live: Option<Live>,
    /// Still sealed.
    pub secrets: Vec<SealedSecret>,
}

const COLUMNS: &str = "sample_interval_secs, frame_interval_secs, inventory_interval_secs, spool_max_bytes,
    spool_max_age_secs";

/// What is set at a level; `None` when nothing ever was.
pub fn configuration_show(
    tx: &mut Tx<'_>,
    actor: &Actor,
    level: Level,
) -> Result<Option<LevelFile>, StoreError> {
    permit(actor, Act::FleetRead)?;
    level_in_sight(tx, actor, level)?;
    level_file(tx, level)
}

/// Sets the values of a level as a whole. `Ok(None)`: they were so already, and nothing changed.
pub fn configuration_set(
    tx: &mut Tx<'_>,
    actor: &Actor,
    level: Level,
    values: &Values,
    now: UtcMicros,
) -> Result<Option<i64>, StoreError> {
    permit(actor, Act::ConfigurationWrite)?;
    values.check().map_err(|error| StoreError::Invalid(error.to_string()))?;
    level_in_sight(tx, actor, level)?;
    let before = level_file(tx, level)?.map(|file| file.values).unwrap_or_default();
    if before == *values {
        return Ok(None);
    }
    let revision = change(tx, actor, level, values, now)?;
    let detail = json!({"values": values, "before": before, "revision": revision});
    audit::append(tx, actor, "configuration.set", &level.to_string(), &detail, now)?;
    Ok(Some(revision))
}

/// Tells devices of the lessons from `from` on, if they know of fewer. `Ok(false)`: they know as much.
pub fn lessons_extend(
    tx: &mut Tx<'_>,
    actor: &Actor,
    from: UtcMicros,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    permit(actor, Act::LessonsExtend)?;
    if lessons_from(tx)?.is_some_and(|known| known >= from) {
        return Ok(false);
    }
    let revision = fresh_revision(tx, now)?;
    tx.execute(
        "INSERT INTO lesson_horizon (id, from_us, revision) VALUES (1, $1, $2)
         ON CONFLICT (id) DO UPDATE SET from_us = excluded.from_us, revision = excluded.revision",
        params![from, revision],
    )?;
    audit::append(tx, actor, "lessons.extend", "county", &json!({"from": from, "revision": revision}), now)?;
    Ok(true)
}

/// From when on devices know of lessons.
pub fn lessons_known_from(tx: &mut Tx<'_>, actor: &Actor) -> Result<Option<UtcMicros>, StoreError> {
    permit(actor, Act::FleetRead)?;
    lessons_from(tx)
}

/// What the asking device is told, and what it has put into force, by revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigurationStanding {
    /// Of what it is told; 0 while nothing is.
    pub revision: i64,
    /// The newest that it said it had applied.
    pub applied: Option<i64>,
}

/// How the asking device stands.
pub fn configuration_standing(tx: &mut Tx<'_>, actor: &Actor) -> Result<ConfigurationStanding, StoreError> {
    let device = asking_device(actor)?;
    let school = school_of_device(tx, device)?;
    let applied = outcome::find(tx, device)?.applied.map(|(revision, _)| revision);
    Ok(ConfigurationStanding { revision: revision_of(tx, device, school)?, applied })
}

/// What the asking device is told, secrets included.
pub fn configuration_take(tx: &mut Tx<'_>, actor: &Actor) -> Result<DeviceConfiguration, StoreError> {
    let device = asking_device(actor)?;
    let told = told(tx, device)?;
    Ok(DeviceConfiguration {
        revision: told.revision,
        values: told.values(),
        lessons_from: lessons_from(tx)?,
        live: live::find(tx, device)?,
        secrets: secrets::sealed(tx, device)?,
    })
}

/// What a device is told, as people may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTold {
    /// Of the whole; 0 while nothing is told.
    pub revision: i64,
    /// What is set at each level, the nearest first.
    pub levels: [(Level, Values); 3],
}

impl DeviceTold {
    /// What holds for the device.
    pub fn values(&self) -> Values {
        self.levels.iter().fold(Values::default(), |merged, (_, values)| merged.over(*values))
    }

    /// A value with the level that it is from; `None`: as it is built in.
    pub fn value(&self, key: Key) -> Option<(Level, u64)> {
        self.levels.iter().find_map(|(level, values)| Some((*level, values.get(key)?)))
    }
}

/// What a device is told, level by level.
pub fn configuration_of_device(
    tx: &mut Tx<'_>,
    actor: &Actor,
    device: DeviceId,
) -> Result<DeviceTold, StoreError> {
    permit(actor, Act::FleetRead)?;
    level_in_sight(tx, actor, Level::Device(device))?;
    told(tx, device)
}

fn told(tx: &mut Tx<'_>, device: DeviceId) -> Result<DeviceTold, StoreError> {
    let school = school_of_device(tx, device)?;
    Ok(DeviceTold { revision: revision_of(tx, device, school)?, levels: levels(tx, device, school)? })
}

fn asking_device(actor: &Actor) -> Result<DeviceId, StoreError> {
    permit(actor, Act::ConfigurationTake)?;
    match actor {
        Actor::Device(id) => Ok(*id),
        other => Err(StoreError::Forbidden { actor: other.label(), act: Act::ConfigurationTake }),
    }
}

fn levels(tx: &mut Tx<'_>, device: DeviceId, school: SchoolId) -> Result<[(Level, Values); 3], StoreError> {
    let mut levels =
        [Level::Device(device), Level::School(school), Level::County].map(|level| (level, Values::default()));
    for (level, values) in &mut levels {
        *values = level_file(tx, *level)?.map(|file| file.values).unwrap_or_default();
    }
    Ok(levels)
}

fn revision_of(tx: &mut Tx<'_>, device: DeviceId, school: SchoolId) -> Result<i64, StoreError> {
    let greatest = tx.query_first(
        "SELECT max(r.revision) FROM (SELECT revision FROM configuration WHERE level = 'county'
             OR (level = 'school' AND subject_id = $1) OR (level = 'device' AND subject_id = $2)
             UNION ALL SELECT revision FROM lesson_horizon) AS r",
        params![school.as_bytes(), device.as_bytes()],
        |row| row.int_opt(0),
    )?;
    Ok(greatest.flatten().unwrap_or(0))
}

fn lessons_from(tx: &mut Tx<'_>) -> Result<Option<UtcMicros>, StoreError> {
    tx.query_first("SELECT from_us FROM lesson_horizon", params![], |row| row.time(0))
}

/// Leaves a fresh revision at the level, with these values.
fn change(
    tx: &mut Tx<'_>,
    actor: &Actor,
    level: Level,
    values: &Values,
    now: UtcMicros,
) -> Result<i64, StoreError> {
    let revision = fresh_revision(tx, now)?;
    let mut params = vec![Value::from(level.as_str()), Value::from(&subject_id(level))];
    params
        .extend(Key::ALL.map(|key| Value::from(values.get(key).and_then(|value| i64::try_from(value).ok()))));
    params.extend([Value::from(revision), Value::from(now), Value::from(actor.label())]);
    let sql = format!(
        "INSERT INTO configuration (level, subject_id, {COLUMNS}, revision, changed_us, changed_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (level, subject_id) DO UPDATE SET
             sample_interval_secs = excluded.sample_interval_secs,
             frame_interval_secs = excluded.frame_interval_secs,
             inventory_interval_secs = excluded.inventory_interval_secs,
             spool_max_bytes = excluded.spool_max_bytes, spool_max_age_secs = excluded.spool_max_age_secs,
             revision = excluded.revision, changed_us = excluded.changed_us, changed_by = excluded.changed_by"
    );
    tx.execute(&sql, &params)?;
    Ok(revision)
}

/// Something beside the values of a device changed: its revision does, too.
fn touch(tx: &mut Tx<'_>, actor: &Actor, device: DeviceId, now: UtcMicros) -> Result<i64, StoreError> {
    let level = Level::Device(device);
    let values = level_file(tx, level)?.map(|file| file.values).unwrap_or_default();
    change(tx, actor, level, &values, now)
}

fn fresh_revision(tx: &mut Tx<'_>, now: UtcMicros) -> Result<i64, StoreError> {
    let last = tx.query_first(
        "SELECT max(r.revision) FROM (SELECT revision FROM configuration
             UNION ALL SELECT revision FROM lesson_horizon) AS r",
        params![],
        |row| row.int_opt(0),
    )?;
    Ok(next_revision(last.flatten().unwrap_or(0), now))
}

fn level_file(tx: &mut Tx<'_>, level: Level) -> Result<Option<LevelFile>, StoreError> {
    tx.query_first(
        &format!(
            "SELECT {COLUMNS}, revision, changed_us, changed_by FROM configuration
             WHERE level = $1 AND subject_id = $2"
        ),
        params![level.as_str(), &subject_id(level)],
        |row| {
            Ok(LevelFile {
                values: values_of(row)?,
                revision: row.int(5)?,
                changed_at: row.time(6)?,
                changed_by: row.text(7)?,
            })
        },
    )
}

/// The first columns of a row, in the order of [`Key::ALL`].
fn values_of(row: &Row<'_>) -> Result<Values, StoreError> {
    Key::ALL.into_iter().enumerate().try_fold(Values::default(), |values, (column, key)| {
        let value = row.int_opt(column)?.map(u64::try_from).transpose();
        Ok(values.with(key, value.map_err(|_| StoreError::Damaged { what: "a configured value" })?))
    })
}

fn subject_id(level: Level) -> [u8; 16] {
    match level {
        Level::County => [0; 16],
        Level::School(id) => *id.as_bytes(),
        Level::Device(id) => *id.as_bytes(),
    }
}

/// Not there and not to be seen are the same answer.
fn level_in_sight(tx: &mut Tx<'_>, actor: &Actor, level: Level) -> Result<(), StoreError> {
    let (noun, key, found) = match level {
        Level::County => return Ok(()),
        Level::School(id) => {
            let sql = format!("SELECT 1 FROM school s WHERE s.id = $1 AND {}", school_scope(actor, "s.id"));
            ("school", id.to_string(), tx.query_first(&sql, params![id.as_bytes()], |row| row.int(0))?)
        }
        Level::Device(id) => {
            let scope = device_scope(actor, "d.id", 2);
            let mut params = vec![Value::from(id.as_bytes())];
            params.extend(scope.value);
            let sql = format!("SELECT 1 FROM device d WHERE d.id = $1 AND {}", scope.sql);
            ("device", id.to_string(), tx.query_first(&sql, &params, |row| row.int(0))?)
        }
    };
    found.map(drop).ok_or(StoreError::NotFound { noun, key })
}
