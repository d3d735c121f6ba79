//! What time it is, on a machine whose clock may say 2010.
//!
//! The guarded time is the last time the controller signed plus the monotonic time since, which counts through
//! sleep; where the system's clock jumps meanwhile does not matter. Before the first signature of a run it is the
//! latest of: the system's clock, the last time ever signed, the start of our own certificate, and [`BUILD_MICROS`].
//! It never decides the order of reports; it decides certificates and age.
//!
//! Within a run a signed time that came unasked only moves it on. One that lies behind is a [dispute](Clock::is_disputed),
//! settled by asking with a nonce ([`super::hello`]); that answer is taken in either direction.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bbt_proto::enrollment::v1::SignedTime;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::platform::{Now, Platform};

use super::trust::{Fingerprint, fingerprint};

/// What a signature of time begins with, so that it can never be taken for another kind of signature.
const SIGNED_TIME_CONTEXT: &[u8] = b"bbt signed time v1";
/// The age of this source: 2026-11-01. Moved on with each release.
const SOURCE_SECS: i64 = 1_793_491_200;
/// It is never earlier than this: the `SOURCE_DATE_EPOCH` of the build, as reproducible builds have it, or the age
/// of the source. The time of compilation would make each build another program.
pub const BUILD_MICROS: i64 = build_secs() * 1_000_000;
/// Signed times come late by as much as the line is slow, and clocks drift; more than this is another time.
const DISPUTE_MICROS: i64 = 2 * 60 * 1_000_000;

const fn build_secs() -> i64 {
    match option_env!("SOURCE_DATE_EPOCH") {
        Some(text) => match i64::from_str_radix(text, 10) {
            Ok(secs) if secs > SOURCE_SECS => secs,
            Ok(_) => SOURCE_SECS,
            Err(_) => panic!("SOURCE_DATE_EPOCH must be whole seconds since 1970"),
        },
        None => SOURCE_SECS,
    }
}

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
    disputed: bool,
}

impl Guard {
    fn guarded_micros(&self, now: Now) -> i64 {
        match self.anchor {
            Some(anchor) => {
                anchor.signed_micros.saturating_add(now.mono_micros.saturating_sub(anchor.mono_micros))
            }
            None => now.wall_micros.max(self.floor_micros),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    signed_micros: i64,
    mono_micros: i64,
}

impl Clock {
    /// A clock that knows nothing yet but the system's.
    pub fn new(platform: Arc<dyn Platform>) -> Clock {
        let guard = Guard { floor_micros: BUILD_MICROS, anchor: None, disputed: false };
        Clock { platform, guard: Mutex::new(guard) }
    }

    /// It cannot be earlier than this.
    pub fn raise_floor(&self, micros: i64) {
        let mut guard = self.guard();
        guard.floor_micros = guard.floor_micros.max(micros);
    }

    /// The controller has signed this time, unasked. The first of a run is taken as it is.
    pub fn accept(&self, signed_micros: i64) {
        let now = self.platform.now();
        let mut guard = self.guard();
        let ahead_micros = match guard.anchor {
            Some(_) => guard.guarded_micros(now).saturating_sub(signed_micros),
            None => 0,
        };
        guard.disputed = ahead_micros > DISPUTE_MICROS;
        if ahead_micros <= 0 {
            guard.anchor = Some(Anchor { signed_micros, mono_micros: now.mono_micros });
        }
    }

    /// The controller has signed this time for a nonce of ours, just now.
    pub fn accept_answer(&self, signed_micros: i64) {
        let mono_micros = self.platform.now().mono_micros;
        let mut guard = self.guard();
        guard.anchor = Some(Anchor { signed_micros, mono_micros });
        guard.disputed = false;
    }

    /// Whether the controller's last signed time lies behind what was believed, so that it should be asked.
    pub fn is_disputed(&self) -> bool {
        self.guard().disputed
    }

    /// All clocks, read together.
    pub fn stamp(&self) -> Stamp {
        let now = self.platform.now();
        let guard = self.guard();
        Stamp {
            wall_micros: now.wall_micros,
            mono_micros: now.mono_micros,
            guarded_micros: guard.guarded_micros(now),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::platform::{Roots, fake::FakePlatform};

    const HOUR: i64 = 3_600 * 1_000_000;
    const DECADE: i64 = 10 * 365 * 24 * HOUR;
    const SIGNED: i64 = BUILD_MICROS + DECADE;

    fn clock() -> (Arc<FakePlatform>, Clock) {
        let platform = Arc::new(FakePlatform::new(Roots::under(Path::new("/nowhere")), 1));
        (platform.clone(), Clock::new(platform))
    }

    fn jump(platform: &FakePlatform, micros: i64) {
        let now = platform.now();
        platform.set_now(Now { wall_micros: now.wall_micros + micros, ..now });
    }

    #[test]
    fn before_the_first_signed_time_it_is_the_latest_of_all_that_is_known() {
        let (platform, clock) = clock();
        platform.set_now(Now { wall_micros: 0, mono_micros: 0 });
        assert_eq!(clock.stamp().guarded_micros, BUILD_MICROS, "1970 is before this program");
        clock.raise_floor(BUILD_MICROS + HOUR);
        clock.raise_floor(BUILD_MICROS);
        assert_eq!(clock.stamp().guarded_micros, BUILD_MICROS + HOUR);
        jump(&platform, BUILD_MICROS + DECADE);
        assert_eq!(clock.stamp().guarded_micros, BUILD_MICROS + DECADE);
        assert!(!clock.stamp().signed);
    }

    #[test]
    fn after_a_signed_time_jumps_of_the_systems_clock_do_not_matter_and_sleep_counts() {
        let (platform, clock) = clock();
        clock.accept(SIGNED);
        for micros in [-DECADE, 2 * DECADE, -HOUR] {
            jump(&platform, micros);
            assert_eq!(clock.stamp().guarded_micros, SIGNED);
        }
        platform.advance(Duration::from_secs(3_600));
        assert_eq!(clock.stamp().guarded_micros, SIGNED + HOUR);
    }

    #[test]
    fn a_signed_time_that_came_unasked_moves_it_on_and_never_back() {
        let (_, clock) = clock();
        for (signed, guarded, disputed) in [
            (SIGNED, SIGNED, false),
            (SIGNED + HOUR, SIGNED + HOUR, false),
            (SIGNED + HOUR - DISPUTE_MICROS, SIGNED + HOUR, false),
            (SIGNED, SIGNED + HOUR, true),
        ] {
            clock.accept(signed);
            assert_eq!((clock.stamp().guarded_micros, clock.is_disputed()), (guarded, disputed));
        }
    }

    #[test]
    fn an_answer_to_our_nonce_is_taken_in_either_direction_and_settles_a_dispute() {
        let (_, clock) = clock();
        clock.accept(SIGNED);
        clock.accept(SIGNED - DECADE);
        for signed in [SIGNED - DECADE, SIGNED + DECADE] {
            clock.accept_answer(signed);
            assert_eq!((clock.stamp().guarded_micros, clock.is_disputed()), (signed, false));
        }
    }
}
