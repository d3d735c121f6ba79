//! What time it is, on a machine whose clock may say 2010.
//!
//! The guarded time is the last time the controller signed plus the monotonic time since. Before the first
//! signature of a run it is the latest of: the system's clock, the last time ever signed, the start of our own
//! certificate. It never decides the order of reports; it decides certificates and age.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bbt_proto::enrollment::v1::SignedTime;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::platform::Platform;

use super::trust::{Fingerprint, fingerprint};

/// What a signature of time begins with, so that it can never be taken for another kind of signature.
const SIGNED_TIME_CONTEXT: &[u8] = b"bbt signed time v1";

/// One reading of all clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The device's own wall clock.
    pub wall_micros: i64,
    /// Since the system started.
    pub mono_micros: i64,
    /// The best guess at the true time.
    pub guarded_micros: i64,
    /// Whether the controller signed a time in this run, so that the guess may be trusted.
    pub signed: bool,
}

/// The device's clock behind its guard; also the time that certificates are judged by.
#[derive(Debug)]
pub struct Clock {
    platform: Arc<dyn Platform>,
    guard: Mutex<Guard>,
}

#[derive(Debug)]
struct Guard {
    floor_micros: i64,
    anchor: Option<Anchor>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    signed_micros: i64,
    mono_micros: i64,
}

impl Clock {
    /// A clock that knows nothing yet but the system's.
    pub fn new(platform: Arc<dyn Platform>) -> Clock {
        Clock { platform, guard: Mutex::new(Guard { floor_micros: i64::MIN, anchor: None }) }
    }

    /// It cannot be earlier than this.
    pub fn raise_floor(&self, micros: i64) {
        let mut guard = self.guard();
        guard.floor_micros = guard.floor_micros.max(micros);
    }

    /// The controller has just signed this time.
    pub fn accept(&self, signed_micros: i64) {
        let mono_micros = self.platform.now().mono_micros;
        self.guard().anchor = Some(Anchor { signed_micros, mono_micros });
    }

    /// All clocks, read together.
    pub fn stamp(&self) -> Stamp {
        let now = self.platform.now();
        let guard = self.guard();
        let guarded_micros = match guard.anchor {
            Some(anchor) => {
                anchor.signed_micros.saturating_add(now.mono_micros.saturating_sub(anchor.mono_micros))
            }
            None => now.wall_micros.max(guard.floor_micros),
        };
        Stamp {
            wall_micros: now.wall_micros,
            mono_micros: now.mono_micros,
            guarded_micros,
            signed: guard.anchor.is_some(),
        }
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.stamp().guarded_micros).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

/// Why a signed time was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// A certificate of the chain cannot be read.
    #[error("a certificate of the signer's chain is not readable")]
    Unreadable,
    /// The chain does not end at the county's root.
    #[error("the signer's chain does not lead to the county's root certificate")]
    WrongRoot,
    /// A device's certificate must not tell the time.
    #[error("the signer is a device")]
    Device,
    /// The signature or the nonce is wrong.
    #[error("the signature does not match")]
    WrongSignature,
    /// The time lies outside the certificates' own validity.
    #[error("the time lies outside the validity of its signer's certificates")]
    OutsideValidity,
}

/// A key that may tell the time, because its chain ends at the pinned root.
#[derive(Debug)]
pub struct TimeSigner {
    public_key: Vec<u8>,
    valid_secs: (i64, i64),
    trust_domain: String,
}

impl TimeSigner {
    /// Checks the chain, signer first, link by link up to the root with this fingerprint.
    ///
    /// Time cannot be an argument here, as it is what is asked for: the signed time itself must lie inside
    /// every certificate's validity.
    pub fn from_chain(
        chain: &[Vec<u8>],
        root: &Fingerprint,
        trust_domain: &str,
    ) -> Result<TimeSigner, TimeError> {
        let (Some(signer), Some(last)) = (chain.first(), chain.last()) else {
            return Err(TimeError::Unreadable);
        };
        if fingerprint(last) != *root {
            return Err(TimeError::WrongRoot);
        }
        let certificates =
            chain.iter().map(|der| parse(der)).collect::<Result<Vec<X509Certificate<'_>>, TimeError>>()?;
        let mut valid_secs = (i64::MIN, i64::MAX);
        for (position, certificate) in certificates.iter().enumerate() {
            let issuer = certificates.get(position + 1).unwrap_or(certificate);
            if position + 1 < certificates.len() && !issuer.is_ca() {
                return Err(TimeError::WrongRoot);
            }
            verify(
                issuer.public_key().subject_public_key.data.as_ref(),
                certificate.tbs_certificate.as_ref(),
                certificate.signature_value.data.as_ref(),
            )?;
            let validity = certificate.validity();
            valid_secs.0 = valid_secs.0.max(validity.not_before.timestamp());
            valid_secs.1 = valid_secs.1.min(validity.not_after.timestamp());
        }
        let signer_certificate = parse(signer)?;
        if super::keystore::device_uri(&signer_certificate).is_some() {
            return Err(TimeError::Device);
        }
        Ok(TimeSigner {
            public_key: signer_certificate.public_key().subject_public_key.data.to_vec(),
            valid_secs,
            trust_domain: trust_domain.to_owned(),
        })
    }

    /// The time in microseconds since 1970, if it is signed by this key for this nonce.
    pub fn verify(&self, time: &SignedTime, nonce: &[u8]) -> Result<i64, TimeError> {
        if time.nonce != nonce {
            return Err(TimeError::WrongSignature);
        }
        verify(
            &self.public_key,
            &signed_bytes(time.unix_micros, nonce, &self.trust_domain),
            &time.signature,
        )?;
        let secs = time.unix_micros.div_euclid(1_000_000);
        if secs < self.valid_secs.0 || secs > self.valid_secs.1 {
            return Err(TimeError::OutsideValidity);
        }
        Ok(time.unix_micros)
    }
}

/// What is signed, as the contract writes it down.
pub(crate) fn signed_bytes(unix_micros: i64, nonce: &[u8], trust_domain: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    bytes.extend_from_slice(SIGNED_TIME_CONTEXT);
    bytes.push(0);
    bytes.extend_from_slice(&unix_micros.to_be_bytes());
    bytes.push(nonce.len() as u8);
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(trust_domain.as_bytes());
    bytes
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, TimeError> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(_) => Err(TimeError::Unreadable),
    }
}

fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), TimeError> {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key)
        .verify(message, signature)
        .map_err(|_| TimeError::WrongSignature)
}
