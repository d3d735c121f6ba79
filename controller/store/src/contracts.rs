//! Contracts with maintenance contractors: whose sets they mend, and where they are told.

use bbt_domain::{
    access::{Act, Actor},
    ids::{ContractId, SchoolId},
    org::SchoolCode,
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::json;

use crate::{StoreError, Tx, audit, error::permit, params, schools::school_by_code};

/// A contract to be recorded.
#[derive(Clone, Debug)]
pub struct NewContract {
    /// The record.
    pub id: ContractId,
    /// As people call the contractor, made safe by [`bbt_domain::org::contractor_name`].
    pub contractor: String,
    /// Schools whose sets it mends.
    pub schools: Vec<SchoolCode>,
    /// Where it is told.
    pub webhook: Option<Webhook>,
}

/// Where a contractor is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Checked.
    pub url: String,
    /// Sealed; the store never sees the secret itself.
    pub sealed_secret: Vec<u8>,
    /// Given at the controller's own command line.
    pub granted_by_local: bool,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A contract as the county's list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContractLine {
    /// The record.
    pub id: ContractId,
    /// As people call the contractor.
    pub contractor: String,
    /// Codes of its schools.
    pub schools: Vec<String>,
    /// Where it is told, if anywhere.
    pub webhook_url: Option<String>,
    /// Tickets that are not closed.
    pub tickets_open: i64,
    /// When it was recorded.
    pub created_at: UtcMicros,
}

/// Adds a contract. A school is under one contract at a time.
pub fn contract_add(
    tx: &mut Tx<'_>,
    actor: &Actor,
    contract: &NewContract,
    now: UtcMicros,
) -> Result<ContractLine, StoreError> {
    permit(actor, Act::ContractWrite)?;
    let webhook = contract.webhook.as_ref();
    tx.execute(
        "INSERT INTO contract (id, contractor, webhook_url, webhook_secret, webhook_local, created_us)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            contract.id.as_bytes(),
            &contract.contractor,
            webhook.map(|webhook| webhook.url.as_str()),
            webhook.map(|webhook| webhook.sealed_secret.as_slice()),
            webhook.is_some_and(|webhook| webhook.granted_by_local),
            now
        ],
    )?;
    for code in &contract.schools {
        let school = school_by_code(tx, actor, code)?;
        if let Some(other) = contractor_of_school(tx, school.id)? {
            return Err(StoreError::Invalid(format!(
                "school {} is under a contract with {other} already: a school has one maintenance contract at a time",
                code.as_str()
            )));
        }
        tx.execute(
            "INSERT INTO contract_school (school_id, contract_id) VALUES ($1, $2)",
            params![school.id.as_bytes(), contract.id.as_bytes()],
        )?;
    }
    let detail = json!({"contractor": contract.contractor, "schools": contract.schools,
        "webhook": webhook.map(|webhook| &webhook.url)});
    audit::append(tx, actor, "contract.add", &format!("contract:{}", contract.id), &detail, now)?;
    let found = contract_list(tx, actor)?.into_iter().find(|line| line.id == contract.id);
    found.ok_or_else(|| StoreError::NotFound { noun: "contract", key: contract.id.to_string() })
}

fn contractor_of_school(tx: &mut Tx<'_>, school: SchoolId) -> Result<Option<String>, StoreError> {
    tx.query_first(
        "SELECT c.contractor FROM contract_school x JOIN contract c ON c.id = x.contract_id WHERE x.school_id = $1",
        params![school.as_bytes()],
        |row| row.text(0),
    )
}

/// All contracts, in the order in which they were added. A county has a few.
pub fn contract_list(tx: &mut Tx<'_>, actor: &Actor) -> Result<Vec<ContractLine>, StoreError> {
    permit(actor, Act::FaultRead)?;
    let mut lines = tx.query(
        "SELECT c.id, c.contractor, c.webhook_url, c.created_us,
            (SELECT count(*) FROM ticket k WHERE k.contract_id = c.id AND k.closed_us IS NULL)
         FROM contract c ORDER BY c.id",
        params![],
        |row| {
            Ok(ContractLine {
                id: ContractId::from_bytes(row.array(0, "a contract's id")?),
                contractor: row.text(1)?,
                schools: Vec::new(),
                webhook_url: row.text_opt(2)?,
                tickets_open: row.int(4)?,
                created_at: row.time(3)?,
            })
        },
    )?;
    for line in &mut lines {
        line.schools = tx.query(
            "SELECT s.code FROM contract_school x JOIN school s ON s.id = x.school_id
             WHERE x.contract_id = $1 ORDER BY s.code",
            params![line.id.as_bytes()],
            |row| row.text(0),
        )?;
    }
    Ok(lines)
}
