//! Who may do what: the one table.

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, UserId};

/// What a person's account is for. More roles join as the pages that they need are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Users, roles, contracts, keys, backup; and everything of county IT.
    CountyAdmin,
}

impl Role {
    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CountyAdmin => "county_admin",
        }
    }

    /// The role that [`Role::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "county_admin" => Some(Self::CountyAdmin),
            _ => None,
        }
    }
}

/// Who asks. Every store operation takes one; nothing reaches a row without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody with the rights of the controller's own system account, at its command line.
    Local,
    /// The controller itself; the word names the part.
    System(&'static str),
    /// A device, by its certificate.
    Device(DeviceId),
    /// A person who signed in.
    User {
        /// The account.
        id: UserId,
        /// The name it signed in with.
        login: String,
        /// What it is for.
        role: Role,
    },
    /// Nobody known: the enrolment port and the sign-in page.
    Anonymous,
}

impl Actor {
    /// How the audit names it.
    pub fn label(&self) -> String {
        match self {
            Self::Local => "local".to_owned(),
            Self::System(part) => format!("system:{part}"),
            Self::Device(id) => format!("device:{id}"),
            Self::User { login, .. } => format!("user:{login}"),
            Self::Anonymous => "anonymous".to_owned(),
        }
    }
}

/// What can be done, as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Read schools, devices and what they reported.
    FleetRead,
    /// Add and change schools.
    SchoolWrite,
    /// Create enrolment tokens.
    TokenCreate,
    /// Revoke devices and take that back.
    DeviceRevoke,
    /// Say which device a PC is, mark devices as stolen, retired, frozen.
    DeviceApprove,
    /// Present a token and be recorded as a device.
    DeviceEnroll,
    /// Get a certificate signed: by a token, or by an earlier certificate of one's own.
    CertificateTake,
    /// Deliver a device's own reports.
    ReportDeliver,
    /// Read the audit.
    AuditRead,
    /// Write an audit line about what was refused or what the controller did.
    AuditWrite,
    /// Exchange the county's keys, accept the clock.
    KeysWrite,
    /// Create accounts.
    UserWrite,
    /// Sign in and out: sessions of the asker.
    SessionUse,
    /// Add rooms, place sets, mark them as sealed or in use.
    SetWrite,
    /// Add contracts.
    ContractWrite,
    /// Read faults, tickets and questions to schools.
    FaultRead,
    /// Decide faults, open and close what follows of them, deliver what is to be told.
    FaultDecide,
    /// Move a ticket on.
    TicketWork,
    /// Answer a question to a school.
    InquiryAnswer,
    /// Read the ledger, verify its chain.
    LedgerRead,
    /// Append to the ledger.
    LedgerWrite,
    /// Find differences between booked and observed, and see them gone.
    CaseDecide,
    /// Settle a difference between booked and observed.
    CaseSettle,
    /// Read what was in use when.
    UsageRead,
    /// See what is wrong with the controller itself.
    TroubleRead,
    /// Copy the whole county, keys too, into a file.
    BackupMake,
    /// Put the county back from a backup.
    CountyRestore,
}

/// Whether `actor` may do `act`.
pub fn may(actor: &Actor, act: Act) -> bool {
    match actor {
        // Decisions are the controller's own: nobody makes a fault or a difference by hand.
        Actor::Local => !matches!(
            act,
            Act::ReportDeliver
                | Act::DeviceEnroll
                | Act::CertificateTake
                | Act::FaultDecide
                | Act::CaseDecide
        ),
        Actor::System(_) => matches!(
            act,
            Act::FleetRead
                | Act::AuditRead
                | Act::AuditWrite
                | Act::DeviceRevoke
                | Act::FaultRead
                | Act::FaultDecide
                | Act::LedgerRead
                | Act::CaseDecide
                | Act::UsageRead
                | Act::SetWrite
                | Act::BackupMake
        ),
        Actor::Device(_) => matches!(act, Act::ReportDeliver | Act::CertificateTake),
        Actor::User { role: Role::CountyAdmin, .. } => matches!(
            act,
            Act::FleetRead
                | Act::SchoolWrite
                | Act::TokenCreate
                | Act::DeviceRevoke
                | Act::DeviceApprove
                | Act::AuditRead
                | Act::UserWrite
                | Act::SessionUse
                | Act::SetWrite
                | Act::ContractWrite
                | Act::FaultRead
                | Act::TicketWork
                | Act::InquiryAnswer
                | Act::LedgerRead
                | Act::LedgerWrite
                | Act::CaseSettle
                | Act::UsageRead
                | Act::TroubleRead
        ),
        Actor::Anonymous => {
            matches!(act, Act::DeviceEnroll | Act::CertificateTake | Act::SessionUse)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_delivers_its_reports_renews_its_certificate_and_does_nothing_else() {
        let device = Actor::Device(DeviceId::from_bytes([1; 16]));
        assert!(may(&device, Act::ReportDeliver));
        assert!(may(&device, Act::CertificateTake));
        for act in [Act::FleetRead, Act::TokenCreate, Act::DeviceRevoke, Act::AuditRead, Act::UserWrite] {
            assert!(!may(&device, act), "{act:?}");
        }
    }

    #[test]
    fn strangers_may_only_knock() {
        for act in [Act::FleetRead, Act::SchoolWrite, Act::AuditRead, Act::ReportDeliver, Act::AuditWrite] {
            assert!(!may(&Actor::Anonymous, act), "{act:?}");
        }
    }
}
