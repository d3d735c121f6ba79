//! Operations on what stands where and what is wrong with it: rooms, sets, contracts, faults, tickets.

use bbt_domain::{
    access::Actor,
    ids::{ContractId, FaultId, RoomId, SetId, TicketId},
    org::{RoomKind, SchoolCode, contractor_name, room_name},
};
use bbt_store::{
    contracts::{NewContract, Webhook, contract_add, contract_list},
    faults::{FaultFilter, fault_list},
    reconciliation::set_booked,
    rooms::{NewRoom, RoomRef, room_add, room_list},
    sets::{SetFilter, SetRef, set_bind, set_find, set_list},
    tickets::{TicketFilter, TicketRef, ticket_list, ticket_show},
};
use serde_json::{Value as Json, json};

use super::{OperationError, Operations, PAGE, Secret, invalid, page};
use crate::{
    contractor::{WebhookSecret, WebhookUrl, address::AddressRules},
    pki::sealing::WEBHOOK_SECRET,
};

pub(super) type Answer = Result<Json, OperationError>;

impl Operations {
    pub(super) async fn room_add(&self, actor: Actor, school: &str, name: &str, kind: &str) -> Answer {
        let room = NewRoom {
            id: RoomId::from_bytes(self.context.new_id()),
            school: SchoolCode::parse(school).map_err(invalid)?,
            name: room_name(name).map_err(invalid)?,
            kind: RoomKind::parse(kind).map_err(invalid)?,
        };
        let now = self.context.now();
        Ok(json!(self.context.store.write(move |tx| room_add(tx, &actor, &room, now)).await?))
    }

    pub(super) async fn room_list(
        &self,
        actor: Actor,
        school: Option<String>,
        after: Option<String>,
    ) -> Answer {
        let school = school_code(school)?;
        let after: Option<RoomId> = after.map(|id| id.parse().map_err(invalid)).transpose()?;
        let list = move |tx: &mut bbt_store::Tx<'_>| room_list(tx, &actor, school.as_ref(), after, PAGE + 1);
        Ok(page(self.context.store.read(list).await?, |room| room.id.to_string()))
    }

    pub(super) async fn set_list(
        &self,
        actor: Actor,
        school: Option<String>,
        after: Option<String>,
    ) -> Answer {
        let filter = SetFilter { school: school_code(school)?, ..SetFilter::default() };
        let after: Option<SetId> = after.map(|id| id.parse().map_err(invalid)).transpose()?;
        let now = self.context.now();
        let list = move |tx: &mut bbt_store::Tx<'_>| set_list(tx, &actor, &filter, after, PAGE + 1, now);
        Ok(page(self.context.store.read(list).await?, |set| set.id.to_string()))
    }

    pub(super) async fn set_show(&self, actor: Actor, set: &str) -> Answer {
        let (set, now) = (set_ref(set)?, self.context.now());
        let show = move |tx: &mut bbt_store::Tx<'_>| {
            let line = set_find(tx, &actor, set, now)?;
            let id = Some(line.id);
            let faults =
                fault_list(tx, &actor, &FaultFilter { with_past: true, set: id, kind: None }, None, PAGE)?;
            let tickets = ticket_list(tx, &actor, &TicketFilter { with_closed: true, set: id }, None, PAGE)?;
            let booked = set_booked(tx, &actor, line.id)?;
            Ok((line, faults, tickets, booked))
        };
        let (line, faults, tickets, booked) = self.context.store.read(show).await?;
        let mut set = json!(line);
        // The list's short forms give way to the whole.
        set["faults"] = json!(faults);
        set["tickets"] = json!(tickets);
        set["booked"] = json!(booked);
        Ok(set)
    }

    pub(super) async fn set_bind(&self, actor: Actor, set: &str, room: &str) -> Answer {
        let set = set_ref(set)?;
        let room = RoomRef::parse(room).ok_or_else(|| {
            OperationError::Invalid(format!("room {room:?} is not valid: write its id, or SCHOOL/NAME"))
        })?;
        let now = self.context.now();
        Ok(json!(self.context.store.write(move |tx| set_bind(tx, &actor, set, &room, now)).await?))
    }

    pub(super) async fn contract_add(
        &self,
        actor: Actor,
        contractor: &str,
        schools: &[String],
        webhook: Option<(String, Secret)>,
    ) -> Answer {
        let id = ContractId::from_bytes(self.context.new_id());
        let codes: Result<Vec<_>, _> = schools.iter().map(|code| SchoolCode::parse(code)).collect();
        let contract = NewContract {
            id,
            contractor: contractor_name(contractor).map_err(invalid)?,
            schools: codes.map_err(invalid)?,
            webhook: webhook.map(|(url, secret)| self.webhook(&actor, id, &url, &secret)).transpose()?,
        };
        let now = self.context.now();
        Ok(json!(self.context.store.write(move |tx| contract_add(tx, &actor, &contract, now)).await?))
    }

    /// A webhook with its secret sealed. What is given on the command line may point into the county's network.
    fn webhook(
        &self,
        actor: &Actor,
        contract: ContractId,
        url: &str,
        secret: &Secret,
    ) -> Result<Webhook, OperationError> {
        let granted_by_local = *actor == Actor::Local;
        let parsed = WebhookUrl::parse(url).map_err(invalid)?;
        parsed.admit(&AddressRules::new(self.webhooks.allow.clone()), granted_by_local).map_err(invalid)?;
        WebhookSecret::parse(secret.as_str()).map_err(invalid)?;
        let sealed = self.sealing.seal(WEBHOOK_SECRET, contract.as_bytes(), secret.as_str().as_bytes());
        Ok(Webhook {
            url: parsed.as_str().to_owned(),
            sealed_secret: sealed.map_err(|error| OperationError::Failed(error.to_string()))?,
            granted_by_local,
        })
    }

    pub(super) async fn contract_list(&self, actor: Actor) -> Answer {
        let contracts = self.context.store.read(move |tx| contract_list(tx, &actor)).await?;
        Ok(json!({"items": contracts, "next": null}))
    }

    pub(super) async fn fault_list(&self, actor: Actor, with_past: bool, after: Option<String>) -> Answer {
        let filter = FaultFilter { with_past, ..FaultFilter::default() };
        let before: Option<FaultId> = after.map(|id| id.parse().map_err(invalid)).transpose()?;
        let list = move |tx: &mut bbt_store::Tx<'_>| fault_list(tx, &actor, &filter, before, PAGE + 1);
        Ok(page(self.context.store.read(list).await?, |fault| fault.id.to_string()))
    }

    pub(super) async fn ticket_list(&self, actor: Actor, with_closed: bool, after: Option<String>) -> Answer {
        let filter = TicketFilter { with_closed, ..TicketFilter::default() };
        let before: Option<TicketId> = after.map(|id| id.parse().map_err(invalid)).transpose()?;
        let list = move |tx: &mut bbt_store::Tx<'_>| ticket_list(tx, &actor, &filter, before, PAGE + 1);
        Ok(page(self.context.store.read(list).await?, |ticket| ticket.id.to_string()))
    }

    pub(super) async fn ticket_show(&self, actor: Actor, ticket: &str) -> Answer {
        let ticket = TicketRef::parse(ticket);
        Ok(json!(self.context.store.read(move |tx| ticket_show(tx, &actor, ticket.clone())).await?))
    }
}

fn school_code(code: Option<String>) -> Result<Option<SchoolCode>, OperationError> {
    code.map(|code| SchoolCode::parse(&code).map_err(invalid)).transpose()
}

pub(super) fn set_ref(text: &str) -> Result<SetRef, OperationError> {
    SetRef::parse(text).ok_or_else(|| {
        OperationError::Invalid(format!(
            "set {text:?} is not valid: write its id, or the six characters of its code"
        ))
    })
}
