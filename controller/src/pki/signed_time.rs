//! The controller's time, signed, so that a device with a dead clock battery has one that it can believe.
//!
//! Format and bytes under the signature: `proto/bbt/enrollment/v1/enrollment.proto`, `SignedTime`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use bbt_domain::{identity::TrustDomain, time::UtcMicros};
use bbt_proto::enrollment::v1::SignedTime;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use super::{PkiError, issue::Listener};
use crate::clock::SharedClock;

/// Times nobody asked for are signed once per this span and given to everybody: a device takes them as "at
/// least this late", and a signature per answer would be the dearest part of an answer.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// What signed bytes begin with.
const CONTEXT: &[u8] = b"bbt signed time v1\0";

/// The signer in force; exchanged with the listeners' certificate. A stream keeps the one that it was opened with,
/// whose chain it was told.
pub type SharedSigner = Arc<ArcSwap<TimeSigner>>;

/// Signs times with the key of the listeners' certificate.
pub struct TimeSigner {
    key: EcdsaKeyPair,
    chain: Vec<Vec<u8>>,
    domain: TrustDomain,
    clock: SharedClock,
    shared: Mutex<Option<(UtcMicros, SignedTime)>>,
}

impl TimeSigner {
    /// With the listeners' key; what is signed is the time of `clock`.
    pub fn new(listener: &Listener, domain: TrustDomain, clock: SharedClock) -> Result<Self, PkiError> {
        let random = ring::rand::SystemRandom::new();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, listener.key.secret_der(), &random)
                .map_err(|_| PkiError::Issue(rcgen::Error::CouldNotParseKeyPair))?;
        let chain = listener.chain.iter().map(|certificate| certificate.to_vec()).collect();
        Ok(Self { key, chain, domain, clock, shared: Mutex::new(None) })
    }

    /// The signer's certificate and its issuers, DER.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        self.chain.clone()
    }

    /// Now, bound to the asker's nonce. Whoever asks has asked the clock before whether it is to be believed.
    pub fn sign(&self, now: UtcMicros, nonce: &[u8]) -> Result<SignedTime, PkiError> {
        let random = ring::rand::SystemRandom::new();
        let bytes = signed_bytes(now, nonce, &self.domain);
        let signature = self.key.sign(&random, &bytes).map_err(|_| PkiError::Random)?;
        Ok(SignedTime {
            unix_micros: now.as_micros(),
            nonce: nonce.to_vec(),
            signature: signature.as_ref().to_vec(),
        })
    }

    /// A time of the last second, without a nonce; none while the clock is in doubt.
    pub fn shared(&self) -> Option<SignedTime> {
        if self.clock.doubt().is_some() {
            return None;
        }
        let now = self.clock.now();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, time)) = shared.as_ref()
            && *at <= now
            && now.since(*at) < SHARED_FOR
        {
            return Some(time.clone());
        }
        let time = self.sign(now, &[]).ok()?;
        *shared = Some((now, time.clone()));
        Some(time)
    }
}

fn signed_bytes(now: UtcMicros, nonce: &[u8], domain: &TrustDomain) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    bytes.extend_from_slice(CONTEXT);
    bytes.extend_from_slice(&now.as_micros().to_be_bytes());
    bytes.push(u8::try_from(nonce.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(domain.as_str().as_bytes());
    bytes
}
