//! Messages to others: what an attempt to deliver one came to, and when it is tried again.
//!
//! A message waits in the outbox, stored together with the change that it tells of, until it was taken, was
//! refused for good, or [`WINDOW`] is over. All of it is data here; what speaks to a receiver lies elsewhere.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::UtcMicros;

/// Pauses after the first attempts: a restart, a short outage, an update, a cut line.
pub const PAUSES: [Duration; 4] = [mins(1), mins(5), mins(30), mins(2 * 60)];
/// The pause after each later attempt: somebody has to act, and looks in a few times a day.
pub const LATER: Duration = mins(6 * 60);
/// This long after the first attempt there is no other: a weekend is bridged, and the ticket is in the console.
pub const WINDOW: Duration = mins(3 * 24 * 60);
/// As many attempts as [`WINDOW`] has room for, so that a clock that was set back does not add more.
pub const ATTEMPTS: u32 = 16;

const fn mins(mins: u64) -> Duration {
    Duration::from_secs(mins * 60)
}

/// When to try again after attempt number `attempt` (the first is 1) failed at `now`; never, once the message
/// had its time. No chance is mixed in: how many go out at once is bounded where they go out.
pub fn next_attempt(attempt: u32, first_at: UtcMicros, now: UtcMicros) -> Option<UtcMicros> {
    let made = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let next = now.plus(PAUSES.get(made).copied().unwrap_or(LATER));
    (attempt < ATTEMPTS && next.since(first_at) <= WINDOW).then_some(next)
}

/// What one attempt to deliver a message came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Delivered {
        /// What it answered, of HTTP's 2xx.
        status: u16,
    },
    /// Not this time; [`next_attempt`] says when again.
    Retry {
        /// Why not.
        reason: Reason,
    },
    /// Trying again would change nothing.
    GiveUp {
        /// Why not.
        reason: Reason,
    },
}

impl Outcome {
    /// What a status of HTTP means, after Standard Webhooks: 2xx is delivered and nothing else is. Only 410 says
    /// that the receiver is gone for good; whatever else is wrong there, people mend it within [`WINDOW`].
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered { status },
            300..=399 => Self::Retry { reason: Reason::Redirect { status } },
            410 => Self::GiveUp { reason: Reason::Gone },
            _ => Self::Retry { reason: Reason::Status { status } },
        }
    }

    /// What a failure before any status means.
    pub fn of_failure(reason: Reason) -> Self {
        match reason {
            Reason::Unsendable => Self::GiveUp { reason },
            _ => Self::Retry { reason },
        }
    }
}

/// Why a message was not delivered: a code and its arguments, as it is stored. The text is for logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// The receiver's name leads nowhere.
    #[error("the receiver's name has no address")]
    NoAddress,
    /// Nothing of ours goes to that address.
    #[error("the receiver's address {address} may not be called: {refusal}")]
    Refused {
        /// What the name led to.
        address: IpAddr,
        /// Why not there.
        refusal: Refusal,
    },
    /// No connection came about.
    #[error("the receiver cannot be reached: {fault}")]
    Unreachable {
        /// What the system says.
        fault: LineFault,
    },
    /// There is nothing to hold the receiver's certificate against.
    #[error("the trusted roots cannot be read from {path}: install them there or set [webhooks] ca_file")]
    NoRoots {
        /// The file that should hold them.
        path: String,
    },
    /// No secure connection came about.
    #[error("no secure connection to the receiver: {fault}")]
    Tls {
        /// What was wrong.
        fault: TlsFault,
    },
    /// The receiver did not do its part in time.
    #[error("the receiver took too long {stage}")]
    Late {
        /// Where it was waited for.
        stage: Stage,
    },
    /// The connection ended before there was an answer.
    #[error("the receiver cut the connection before it answered")]
    CutOff,
    /// What came back is no HTTP.
    #[error("the receiver's answer is not HTTP")]
    NotHttp,
    /// The receiver pointed elsewhere, and nobody went there.
    #[error("the receiver redirects (status {status}), which is not followed: enter its final address")]
    Redirect {
        /// 3xx.
        status: u16,
    },
    /// The receiver asks never to be called again.
    #[error("the receiver is gone for good (status 410)")]
    Gone,
    /// The receiver answered with a failure.
    #[error("the receiver answered with status {status}")]
    Status {
        /// Anything but 2xx, 3xx and 410.
        status: u16,
    },
    /// The message cannot be put into a request. A mistake of ours, not of the receiver.
    #[error("the message cannot be written as a request")]
    Unsendable,
}

/// Why nothing is sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It is inside some network, or nobody's.
    #[error("it is not a public address: list it under [webhooks] allow")]
    Range,
    /// Whoever listens on the way would read it.
    #[error("plain http needs an address listed under [webhooks] allow: use https")]
    Plain,
    /// Something else than a receiver of webhooks listens there.
    #[error(
        "its port is none of those for webhooks: use 443 or 8443, or list the address under [webhooks] allow"
    )]
    Port,
}

/// Why no connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum LineFault {
    /// Nothing listens on the port.
    #[error("nothing listens there")]
    Refused,
    /// No way leads there.
    #[error("no way leads there")]
    NoRoute,
    /// Anything else.
    #[error("the connection failed")]
    Other,
}

/// What was wrong with a secure connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum TlsFault {
    /// The certificate's issuer is none of the trusted roots.
    #[error("nobody trusted issued its certificate")]
    UnknownIssuer,
    /// The certificate is over, or not good yet.
    #[error("its certificate is not good at this date")]
    NotValidNow,
    /// The certificate is another host's.
    #[error("its certificate names another host")]
    WrongName,
    /// Anything else: no TLS at all, no version in common, cut off.
    #[error("it does not speak TLS as we do")]
    Handshake,
}

/// The steps of an attempt that the receiver can draw out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its name becomes addresses.
    #[error("to be found by its name")]
    Resolve,
    /// It takes the connection.
    #[error("to take the connection")]
    Connect,
    /// The connection is secured.
    #[error("to secure the connection")]
    Secure,
    /// It answers.
    #[error("to answer")]
    Answer,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);

    /// Minutes after the first attempt at which a receiver that never answers is called.
    fn calls(duration_of_attempt: Duration) -> Vec<u64> {
        let mut calls = vec![0];
        let mut started = FIRST;
        while let Some(next) = next_attempt(calls.len() as u32, FIRST, started.plus(duration_of_attempt)) {
            calls.push(next.since(FIRST).as_secs() / 60);
            started = next;
        }
        calls
    }

    #[test]
    fn a_silent_receiver_is_called_ever_less_often_for_three_days() {
        let wanted = [0, 1, 6, 36, 156, 516, 876, 1236, 1596, 1956, 2316, 2676, 3036, 3396, 3756, 4116];
        assert_eq!(calls(Duration::ZERO), wanted);
        assert_eq!(wanted.len(), ATTEMPTS as usize, "the bound is what the window holds");
    }

    #[test]
    fn a_long_attempt_moves_the_next_ones_and_not_the_end() {
        let last = *calls(mins(30)).last().unwrap();
        assert!(mins(last) <= WINDOW && mins(last) + LATER + mins(30) > WINDOW, "{last}");
    }

    #[test]
    fn a_county_that_was_off_for_a_week_does_not_try_again() {
        assert_eq!(next_attempt(1, FIRST, FIRST.plus(7 * WINDOW)), None);
    }

    #[test]
    fn a_clock_that_was_set_back_adds_no_attempts() {
        let years_ago = FIRST.minus(1_000 * WINDOW);
        assert_eq!(next_attempt(1, FIRST, years_ago), Some(years_ago.plus(mins(1))));
        assert_eq!(next_attempt(ATTEMPTS, FIRST, years_ago), None);
    }

    #[test]
    fn only_2xx_is_delivered_and_only_410_is_final() {
        for status in 100..600 {
            let outcome = Outcome::of_status(status);
            match status {
                200..=299 => assert_eq!(outcome, Outcome::Delivered { status }),
                410 => assert_eq!(outcome, Outcome::GiveUp { reason: Reason::Gone }),
                300..=399 => assert_eq!(outcome, Outcome::Retry { reason: Reason::Redirect { status } }),
                _ => assert_eq!(outcome, Outcome::Retry { reason: Reason::Status { status } }),
            }
        }
    }

    #[test]
    fn a_reason_is_stored_as_a_code_and_its_arguments() {
        let reasons = [
            (Reason::Status { status: 503 }, r#"{"code":"status","status":503}"#),
            (Reason::Late { stage: Stage::Answer }, r#"{"code":"late","stage":"answer"}"#),
            (Reason::Tls { fault: TlsFault::UnknownIssuer }, r#"{"code":"tls","fault":"unknown_issuer"}"#),
            (
                Reason::Refused { address: [10, 0, 0, 1].into(), refusal: Refusal::Range },
                r#"{"code":"refused","address":"10.0.0.1","refusal":"range"}"#,
            ),
        ];
        for (reason, stored) in reasons {
            assert_eq!(serde_json::to_string(&reason).unwrap(), stored);
            assert_eq!(serde_json::from_str::<Reason>(stored).unwrap(), reason);
        }
    }
}
