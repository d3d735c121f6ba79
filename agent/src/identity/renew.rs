//! A fresh certificate while the one in force is still good: asked for, and proved by use.
//!
//! A certificate is due for this when a third of its life is over, plus a share of ten days that is this device's
//! own, so that a county which comes back from the summer does not ask in one minute. Of 180 days at least 110
//! remain then: longer than any holidays.

use std::{sync::Arc, time::Duration};

use bbt_proto::enrollment::v1::{ConfirmRequest, RenewRequest, renewal_service_client::RenewalServiceClient};
use ring::digest;
use rustls::ClientConfig;
use tonic::{Status, transport::Channel};

use super::{Identity, certificate::Expected, hello::timed};
use crate::uplink::{address::Address, backoff, connect::Connection, refusal::Refusal};

/// The part of its life after which a certificate is due: day 60 of 180.
const DUE_AFTER_PART: i64 = 3;
/// Devices are spread over this long: it is an 18th of 180 days.
const SPREAD: Duration = Duration::from_secs(10 * 24 * 3600);
/// Certificates of another life are spread over the same part of it.
const SPREAD_PART: i64 = 18;
/// An answer holds a chain of three certificates.
const MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// When this device's certificate is to be renewed, in microseconds since 1970.
pub fn due_micros(identity: &Identity) -> i64 {
    let (from_secs, until_secs) = identity.valid_secs;
    let life_secs = until_secs.saturating_sub(from_secs);
    let spread_secs = (life_secs / SPREAD_PART).min(SPREAD.as_secs() as i64);
    let own_secs = (spread_secs as f64 * share(identity)) as i64;
    from_secs.saturating_add(life_secs / DUE_AFTER_PART).saturating_add(own_secs).saturating_mul(1_000_000)
}

/// A fraction in 0..1 that is the device's own for ever.
fn share(identity: &Identity) -> f64 {
    let digest = digest::digest(&digest::SHA256, identity.device_id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    backoff::unit(first)
}

/// First phase, over a connection of the certificate in force: a chain for a new key.
pub(super) async fn renew(
    identity: &Identity,
    tls: &Arc<ClientConfig>,
    certificate_request: Vec<u8>,
    public_key: &[u8],
) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut line = Line::open(identity, tls).await?;
    let answer = line.client.renew(timed(RenewRequest { certificate_request })).await;
    let chain = line.heard(answer)?.into_inner().certificate_chain;
    let expected = Expected {
        root: identity.root,
        trust_domain: &identity.trust_domain,
        device_id: identity.device_id,
        public_key,
    };
    expected.check(&chain).map_err(|what| Refusal::broken(&line.address, what))?;
    Ok(chain)
}

/// Second phase, over a connection of the new certificate: from here on it is the one that counts.
pub(super) async fn prove(next: &Identity, tls: &Arc<ClientConfig>) -> Result<(), Refusal> {
    let mut line = Line::open(next, tls).await?;
    let answer = line.client.confirm(timed(ConfirmRequest {})).await;
    line.heard(answer).map(drop)
}

/// A connection of its own to the agents' listener.
struct Line {
    address: Address,
    connection: Connection,
    client: RenewalServiceClient<Channel>,
}

impl Line {
    /// To the first address that answers.
    async fn open(identity: &Identity, tls: &Arc<ClientConfig>) -> Result<Line, Refusal> {
        let mut refusal = None;
        for address in &identity.agent_addresses {
            match Connection::open(address, tls.clone()).await {
                Ok(connection) => {
                    let client = RenewalServiceClient::new(connection.channel.clone())
                        .max_decoding_message_size(MESSAGE_MAX_BYTES);
                    return Ok(Line { address: address.clone(), connection, client });
                }
                Err(error) => refusal = Some(Refusal::of_connect(&error)),
            }
        }
        Err(refusal.unwrap_or_else(|| {
            Refusal::passing(
                "no_address",
                "the identity names no address to report to",
                "enrol this device again",
            )
        }))
    }

    /// With TLS 1.3 a certificate is refused only after the handshake; that says more than what gRPC makes of it.
    fn heard<T>(&self, answer: Result<T, Status>) -> Result<T, Refusal> {
        answer.map_err(|status| match self.connection.tls_error() {
            Some(error) => Refusal::of_tls(&self.address, &error),
            None => Refusal::of_status(&self.address, &status),
        })
    }
}
