//! The enrolment listener as a device meets it: one connection, a greeting that tells the time, one question.
//!
//! A greeting without a signed time is worth nothing: a controller that doubts its own clock signs none, and grants
//! nothing either.

use std::{sync::Arc, time::Duration};

use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{
        Approved, EnrollResponse, HelloRequest, enroll_response::Outcome,
        enrollment_service_client::EnrollmentServiceClient,
    },
};
use tonic::{Request, transport::Channel};

use super::{
    clock::{Clock, TimeError, TimeSigner},
    trust::{self, Fingerprint},
};
use crate::{
    platform::Platform,
    uplink::{address::Address, connect::Connection, refusal::Refusal},
};

/// A call is answered within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Answers hold a chain of three certificates and a few names.
const MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// Whatever the controller says, a waiting device asks no sooner and no later than this.
const PENDING_WAIT_SECS: std::ops::RangeInclusive<u64> = 5..=3600;

/// A controller that has greeted and takes one question.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) client: EnrollmentServiceClient<Channel>,
    /// For the question.
    pub(super) nonce: Vec<u8>,
    pub(super) trust_domain: String,
}

/// What became of a question.
#[derive(Debug)]
pub(super) enum Answer {
    Approved(Approved),
    /// A person has to look at it; it is asked again after this.
    Pending {
        wait: Duration,
        /// The county's short word for why.
        reason: String,
    },
}

impl Answer {
    /// None for an answer that says neither.
    pub(super) fn of(response: EnrollResponse) -> Option<Answer> {
        Some(match response.outcome? {
            Outcome::Approved(approved) => Answer::Approved(approved),
            Outcome::Pending(pending) => {
                let secs = u64::from(pending.retry_after_secs)
                    .clamp(*PENDING_WAIT_SECS.start(), *PENDING_WAIT_SECS.end());
                Answer::Pending { wait: Duration::from_secs(secs), reason: pending.reason }
            }
        })
    }
}

/// Asks the enrolment listener what time it is; `clock` takes it over.
pub async fn ask_time(
    controller: &Address,
    root: Fingerprint,
    platform: &dyn Platform,
    clock: &Arc<Clock>,
) -> Result<(), Refusal> {
    greet(controller, root, platform, clock).await.map(drop)
}

/// Connects and greets. The county's time, which `clock` takes over, also judges the connection it came by.
pub(super) async fn greet(
    controller: &Address,
    root: Fingerprint,
    platform: &dyn Platform,
    clock: &Arc<Clock>,
) -> Result<Greeting, Refusal> {
    let tls =
        trust::enrolment_config(root, clock.clone()).map_err(|error| Refusal::of_tls(controller, &error))?;
    let connection = Connection::open(controller, tls).await.map_err(|error| Refusal::of_connect(&error))?;
    let mut client =
        EnrollmentServiceClient::new(connection.channel.clone()).max_decoding_message_size(MESSAGE_MAX_BYTES);
    let mut nonce = [0; 32];
    platform.random(&mut nonce);
    let question = HelloRequest { protocol_revision: PROTOCOL_REVISION, nonce: nonce.to_vec() };
    let answer = client.hello(timed(question)).await;
    let hello = answer.map_err(|status| Refusal::of_status(controller, &status))?.into_inner();
    let Some(time) = &hello.time else { return Err(no_time(controller)) };
    let signed_micros = TimeSigner::from_chain(&hello.signer_chain, &root, &hello.trust_domain)
        .and_then(|signer| signer.verify(time, &nonce))
        .map_err(|error| unproven(controller, error))?;
    if !trust::valid_at(&connection.peer_chain, signed_micros.div_euclid(1_000_000)) {
        return Err(unproven(controller, TimeError::OutsideValidity));
    }
    clock.accept_answer(signed_micros);
    Ok(Greeting { client, nonce: hello.nonce, trust_domain: hello.trust_domain })
}

/// The message with its deadline.
pub(super) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_WITHIN);
    request
}

fn no_time(controller: &Address) -> Refusal {
    Refusal::passing(
        "clock_guard",
        format!("the controller {controller} signs no time, because it doubts its own clock"),
        "set its clock, then run `bbt-controller clock accept` there",
    )
}

/// A controller may be about to exchange its certificate, so it is asked again soon.
fn unproven(controller: &Address, error: TimeError) -> Refusal {
    Refusal::passing(
        "time_unproven",
        format!("the time that the controller {controller} signs is not acceptable: {error}"),
        "check the controller with `bbt-controller check`",
    )
}
