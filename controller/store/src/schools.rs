//! Schools.

use bbt_domain::{
    access::{Act, Actor},
    ids::SchoolId,
    org::{School, SchoolCode},
    time::UtcMicros,
};
use serde_json::json;

use crate::{Row, StoreError, Tx, audit, error::permit, params};

const SELECT: &str = "SELECT s.id, s.code, s.name, s.created_us,
    (SELECT count(*) FROM device d WHERE d.school_id = s.id) FROM school s";

/// Adds a school.
pub fn school_add(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: SchoolId,
    code: &SchoolCode,
    name: &str,
    now: UtcMicros,
) -> Result<School, StoreError> {
    permit(actor, Act::SchoolWrite)?;
    let added = tx.execute(
        "INSERT INTO school (id, code, name, created_us) VALUES ($1, $2, $3, $4) ON CONFLICT (code) DO NOTHING",
        params![id.as_bytes(), code.as_str(), name, now],
    )?;
    if added == 0 {
        return Err(StoreError::Exists { noun: "school", key: code.as_str().to_owned() });
    }
    let subject = format!("school:{}", code.as_str());
    audit::append(tx, actor, "school.add", &subject, &json!({"id": id, "name": name}), now)?;
    school_by_code(tx, actor, code)
}

/// The school with `code`.
pub fn school_by_code(tx: &mut Tx<'_>, actor: &Actor, code: &SchoolCode) -> Result<School, StoreError> {
    permit(actor, Act::FleetRead)?;
    tx.query_first(&format!("{SELECT} WHERE s.code = $1"), params![code.as_str()], school_of)?
        .ok_or_else(|| StoreError::NotFound { noun: "school", key: code.as_str().to_owned() })
}

/// Schools in order of their code, after `after`.
pub fn school_list(
    tx: &mut Tx<'_>,
    actor: &Actor,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<School>, StoreError> {
    permit(actor, Act::FleetRead)?;
    tx.query(
        &format!("{SELECT} WHERE s.code > $1 ORDER BY s.code LIMIT $2"),
        params![after.unwrap_or(""), limit as i64],
        school_of,
    )
}

fn school_of(row: &Row<'_>) -> Result<School, StoreError> {
    Ok(School {
        id: SchoolId::from_bytes(row.array(0, "a school's id")?),
        code: SchoolCode::parse(&row.text(1)?)
            .map_err(|_| StoreError::Damaged { what: "a school's code" })?,
        name: row.text(2)?,
        created_at: row.time(3)?,
        devices: row.int(4)?,
    })
}
