//! A fresh certificate for a device whose own is no longer taken: it slept too long, or a restore card brought an
//! old one back. It proves the key of its last certificate on the enrolment listener, where everybody may ask.
//!
//! So does a PC that was told that its identity is another's, because the disk was copied: it gets one of its own.

use std::sync::Arc;

use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{Evidence, ReattachRequest},
};
use rcgen::{KeyPair, SigningKey};
use uuid::Uuid;

use super::{
    Identity,
    certificate::{self, Expected},
    clock::Clock,
    hello::{self, Answer},
};
use crate::{
    VERSION,
    platform::Platform,
    uplink::{
        address::Address,
        refusal::{Patience, Refusal},
    },
};

/// What a device is given that came back.
#[derive(Debug)]
pub(super) struct Reattached {
    /// Another one than before, if the old one was of another PC.
    pub(super) device_id: Uuid,
    pub(super) chain: Vec<Vec<u8>>,
    /// Much may have moved since it was last here.
    pub(super) agent_addresses: Vec<Address>,
    pub(super) school_name: String,
}

/// Asks with a request for a new key, whose public half is `public_key`. The answer's time, which comes first, is
/// taken over by `clock` whatever becomes of the question. A refusal too may be a wait.
pub(super) async fn reattach(
    identity: &Identity,
    certificate_request: Vec<u8>,
    public_key: &[u8],
    (evidence, run_id): (Vec<Evidence>, [u8; 16]),
    platform: &dyn Platform,
    clock: &Arc<Clock>,
) -> Result<Reattached, Refusal> {
    let controller = &identity.enrolment_address;
    let mut greeting = hello::greet(controller, identity.root, platform, clock).await?;
    let signed = [greeting.nonce.as_slice(), certificate_request.as_slice()].concat();
    let signature = KeyPair::try_from(&identity.key).and_then(|key| key.sign(&signed));
    let question = ReattachRequest {
        protocol_revision: PROTOCOL_REVISION,
        nonce: greeting.nonce,
        certificate_request,
        certificate: identity.chain.first().map(|own| own.to_vec()).unwrap_or_default(),
        signature: signature.map_err(|error| unusable_key(&error))?,
        evidence,
        agent_version: VERSION.to_owned(),
        run_id: run_id.to_vec(),
    };
    let answer = greeting.client.reattach(hello::timed(question)).await;
    let answer = answer.map_err(|status| Refusal::of_status(controller, &status))?;
    let broken = |what| Refusal::broken(controller, what);
    let approved = match Answer::of(answer.into_inner()) {
        Some(Answer::Approved(approved)) => approved,
        Some(Answer::Pending { wait, .. }) => return Err(pending(controller, wait)),
        None => return Err(broken("answered neither yes nor wait")),
    };
    let device_id =
        Uuid::from_slice(&approved.device_id).map_err(|_| broken("gave a device id that is not 16 bytes"))?;
    let expected =
        Expected { root: identity.root, trust_domain: &identity.trust_domain, device_id, public_key };
    expected.check(&approved.certificate_chain).map_err(broken)?;
    Ok(Reattached {
        device_id,
        agent_addresses: certificate::addresses(&approved.agent_addresses).map_err(broken)?,
        chain: approved.certificate_chain,
        school_name: approved.school_name,
    })
}

fn pending(controller: &Address, wait: std::time::Duration) -> Refusal {
    Refusal {
        patience: Patience::Told(wait),
        ..Refusal::passing(
            "approval_pending",
            format!(
                "the county at {controller} lets a person decide whether this device gets a new certificate"
            ),
            "whoever may can approve it in the console; reports are kept here",
        )
    }
}

fn unusable_key(error: &rcgen::Error) -> Refusal {
    Refusal {
        patience: Patience::Person,
        ..Refusal::passing(
            "key_unusable",
            format!("the device's key does not sign: {error}"),
            "remove the identity folder and enrol this device again",
        )
    }
}
