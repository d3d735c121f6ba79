//! What decides the one word for a set, gathered from its rows.

use bbt_domain::{
    fault::{Consequence, FaultKind},
    identity::Standing,
    org::SetStanding,
    presence::presence,
    set_state::{SetSigns, SetState, set_state},
    ticket::state::TicketState,
    time::UtcMicros,
};

/// Orders devices of a set: the highest speaks for it.
pub(super) fn rank(standing: Standing, last_report_at: Option<UtcMicros>) -> (bool, Option<UtcMicros>) {
    (standing == Standing::Active, last_report_at)
}

/// What decides a set's word, gathered row by row.
pub(super) struct Signs {
    standing: SetStanding,
    newest: Option<(Standing, Option<UtcMicros>)>,
    is_faulty: bool,
    is_asked_about: bool,
    is_in_repair: bool,
}

impl Signs {
    pub(super) fn new(standing: SetStanding) -> Self {
        Self { standing, newest: None, is_faulty: false, is_asked_about: false, is_in_repair: false }
    }

    pub(super) fn device(&mut self, standing: Standing, last_report_at: Option<UtcMicros>) {
        let speaks = |(of, at)| rank(of, at) <= rank(standing, last_report_at);
        if self.newest.is_none_or(speaks) {
            self.newest = Some((standing, last_report_at));
        }
    }

    pub(super) fn raised(&mut self, kind: FaultKind) {
        match kind.consequence() {
            Consequence::Ticket => self.is_faulty = true,
            Consequence::Question => self.is_asked_about = true,
        }
    }

    pub(super) fn ticket(&mut self, state: TicketState) {
        match state.is_dispatched() {
            true => self.is_in_repair = true,
            false => self.is_faulty = true,
        }
    }

    pub(super) fn state(&self, now: UtcMicros) -> SetState {
        set_state(SetSigns {
            standing: self.standing,
            presence: self.newest.map(|(standing, last)| presence(standing, last, now)),
            is_faulty: self.is_faulty,
            is_asked_about: self.is_asked_about,
            is_in_repair: self.is_in_repair,
        })
    }
}
