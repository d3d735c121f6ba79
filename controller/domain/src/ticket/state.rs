//! Which transitions a ticket can make, and who may make them: the one table.
//!
//! A ticket is announced when it is opened; it is dispatched when a person accepted it. Until then it ends by
//! itself when the fault is gone; after that only people end it, and a recovery is a note on it. A fault that
//! comes back reopens the ticket that it had: 原单退回返修.

use serde::{Deserialize, Serialize};

/// How a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketState {
    /// 待接单.
    Opened,
    /// 已接单.
    Accepted,
    /// 已到场.
    OnSite,
    /// 已修复, waits for the school.
    Fixed,
    /// 已完成.
    Confirmed,
    /// The fault went away before anybody had accepted the ticket.
    Recovered,
    /// 撤销.
    Withdrawn,
    /// 误报.
    FalseAlarm,
}

impl TicketState {
    /// All states, in the order of a ticket's life.
    pub const ALL: [Self; 8] = [
        Self::Opened,
        Self::Accepted,
        Self::OnSite,
        Self::Fixed,
        Self::Confirmed,
        Self::Recovered,
        Self::Withdrawn,
        Self::FalseAlarm,
    ];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Accepted => "accepted",
            Self::OnSite => "on_site",
            Self::Fixed => "fixed",
            Self::Confirmed => "confirmed",
            Self::Recovered => "recovered",
            Self::Withdrawn => "withdrawn",
            Self::FalseAlarm => "false_alarm",
        }
    }

    /// The state that [`TicketState::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Nobody has anything to do any more; only the same fault coming back reopens it.
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Confirmed | Self::Recovered | Self::Withdrawn | Self::FalseAlarm)
    }

    /// A person has taken it on.
    pub const fn is_dispatched(self) -> bool {
        matches!(self, Self::Accepted | Self::OnSite | Self::Fixed)
    }
}

/// Who makes a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The contractor's people.
    Contractor,
    /// The school, or the county for it.
    School,
    /// The county.
    County,
    /// The controller itself.
    System,
}

/// What is done to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Take it on.
    Accept,
    /// Say that one is there.
    Arrive,
    /// Say that it is mended.
    Fix,
    /// Say that it works again.
    Confirm,
    /// Say that it does not.
    Reopen,
    /// Call it off.
    Withdraw,
    /// Say that nothing was wrong.
    CallFalse,
    /// The fault is gone.
    Recover,
    /// The same fault is back.
    Recur,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// From this state …
    pub from: TicketState,
    /// … by this action …
    pub action: Action,
    /// … of these …
    pub by: By,
    /// … to this state.
    pub to: TicketState,
    /// It needs a sentence that says why.
    pub needs_note: bool,
}

/// The table. What is not in it cannot be done.
pub const TRANSITIONS: [Transition; 15] = {
    use Action::{Accept, Arrive, CallFalse, Confirm, Fix, Recover, Recur, Reopen, Withdraw};
    use By::{Contractor, County, School, System};
    use TicketState::{Accepted, Confirmed, FalseAlarm, Fixed, OnSite, Opened, Recovered, Withdrawn};
    const fn row(from: TicketState, action: Action, by: By, to: TicketState, needs_note: bool) -> Transition {
        Transition { from, action, by, to, needs_note }
    }
    [
        row(Opened, Accept, Contractor, Accepted, false),
        row(Opened, Recover, System, Recovered, false),
        row(Opened, Withdraw, County, Withdrawn, true),
        row(Opened, CallFalse, County, FalseAlarm, true),
        row(Accepted, Arrive, Contractor, OnSite, false),
        row(Accepted, Fix, Contractor, Fixed, true),
        row(Accepted, Withdraw, County, Withdrawn, true),
        row(OnSite, Fix, Contractor, Fixed, true),
        row(OnSite, CallFalse, Contractor, FalseAlarm, true),
        row(OnSite, Withdraw, County, Withdrawn, true),
        row(Fixed, Confirm, School, Confirmed, false),
        row(Fixed, Reopen, School, Accepted, true),
        row(Fixed, Withdraw, County, Withdrawn, true),
        row(Recovered, Recur, System, Opened, false),
        row(Confirmed, Recur, System, Opened, false),
    ]
};

impl Action {
    /// All actions, in the order in which they are offered.
    pub const ALL: [Self; 9] = [
        Self::Accept,
        Self::Arrive,
        Self::Fix,
        Self::Confirm,
        Self::Reopen,
        Self::Withdraw,
        Self::CallFalse,
        Self::Recover,
        Self::Recur,
    ];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Arrive => "arrive",
            Self::Fix => "fix",
            Self::Confirm => "confirm",
            Self::Reopen => "reopen",
            Self::Withdraw => "withdraw",
            Self::CallFalse => "call_false",
            Self::Recover => "recover",
            Self::Recur => "recur",
        }
    }

    /// The action that [`Action::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// The transition that `action` makes from `from`, if there is one.
pub fn transition(from: TicketState, action: Action) -> Option<Transition> {
    TRANSITIONS.into_iter().find(|row| row.from == from && row.action == action)
}

/// What people can do to a ticket in `from`, in the order of the table.
pub fn offered(from: TicketState) -> impl Iterator<Item = Transition> {
    TRANSITIONS.into_iter().filter(move |row| row.from == from && row.by != By::System)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as people review it. A change of the table is a change here.
    #[test]
    fn the_table_is_the_one_that_was_reviewed() {
        let line = |row: &Transition| {
            format!(
                "{} --{} by {:?}{}--> {}",
                row.from.as_str(),
                row.action.as_str(),
                row.by,
                if row.needs_note { ", with a note" } else { "" },
                row.to.as_str()
            )
        };
        let table = TRANSITIONS.iter().map(line).collect::<Vec<_>>().join("\n");
        assert_eq!(
            table,
            "opened --accept by Contractor--> accepted
opened --recover by System--> recovered
opened --withdraw by County, with a note--> withdrawn
opened --call_false by County, with a note--> false_alarm
accepted --arrive by Contractor--> on_site
accepted --fix by Contractor, with a note--> fixed
accepted --withdraw by County, with a note--> withdrawn
on_site --fix by Contractor, with a note--> fixed
on_site --call_false by Contractor, with a note--> false_alarm
on_site --withdraw by County, with a note--> withdrawn
fixed --confirm by School--> confirmed
fixed --reopen by School, with a note--> accepted
fixed --withdraw by County, with a note--> withdrawn
recovered --recur by System--> opened
confirmed --recur by System--> opened"
        );
    }

    #[test]
    fn people_cannot_leave_a_closed_state_and_can_end_every_open_one() {
        for state in TicketState::ALL {
            assert_eq!(offered(state).next().is_none(), state.is_closed(), "{state:?}");
            assert_eq!(TicketState::parse(state.as_str()), Some(state));
        }
        let mut reached = vec![TicketState::Opened];
        let mut at = 0;
        while at < reached.len() {
            let from = reached[at];
            for row in TRANSITIONS.iter().filter(|row| row.from == from) {
                if !reached.contains(&row.to) {
                    reached.push(row.to);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), TicketState::ALL.len(), "every state can be reached");
    }

    #[test]
    fn a_dispatched_ticket_does_not_end_by_itself() {
        for state in TicketState::ALL.into_iter().filter(|state| state.is_dispatched()) {
            assert_eq!(transition(state, Action::Recover), None, "{state:?}");
        }
    }
}
