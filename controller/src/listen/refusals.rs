//! Who was turned away and why: one line of log and audit per cause, peer and minute, so that neither can be flooded.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::json;

use crate::context::Context;

/// Causes and peers remembered within a minute. An attacker with more addresses than that gets one common
/// line a minute for the rest, so the audit cannot be flooded.
const REMEMBERED: usize = 1_024;
/// Stands for the peers beyond [`REMEMBERED`].
const MANY: &str = "many addresses";

/// Why a peer was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No client certificate where one is needed.
    NoCertificate,
    /// A certificate of another authority.
    ForeignCertificate,
    /// A certificate past its end, or before its beginning.
    ExpiredCertificate,
    /// The certificate of a revoked device.
    Revoked,
    /// A certificate of this county that names no device.
    WrongName,
    /// A certificate in a form that this county never issues.
    UnfitCertificate,
    /// A device that is not in this county's records.
    UnknownDevice,
    /// Reports that name another device than the certificate.
    OtherIdentity,
    /// A newer protocol than this controller's.
    ControllerTooOld,
    /// A token that was never made.
    TokenUnknown,
    /// A token whose uses are taken.
    TokenUsed,
    /// A token past its end.
    TokenExpired,
    /// A request for a certificate that cannot be read.
    RequestInvalid,
    /// An unknown or old nonce.
    NonceUnknown,
    /// A PC that a person turned away.
    Refused,
    /// A PC that would wait for a person, where too many wait.
    TooManyWaiting,
    /// A certificate in whose place a newer one of the device was used.
    CertificateSuperseded,
    /// A certificate that the county's records do not have so.
    CertificateUnknown,
    /// A signature that does not prove the key of the certificate beside it.
    ProofWrong,
    /// The controller does not believe its own clock: nobody's fault but its own, and never in the audit.
    ClockGuard,
}

impl Cause {
    /// Short stable word, in the audit and as `bbt-reason`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::ForeignCertificate => "foreign_certificate",
            Self::ExpiredCertificate => "expired_certificate",
            Self::Revoked => "revoked",
            Self::WrongName => "wrong_name",
            Self::UnfitCertificate => "unfit_certificate",
            Self::UnknownDevice => "unknown_device",
            Self::OtherIdentity => "other_identity",
            Self::ControllerTooOld => "controller_too_old",
            Self::TokenUnknown => "token_unknown",
            Self::TokenUsed => "token_used",
            Self::TokenExpired => "token_expired",
            Self::RequestInvalid => "request_invalid",
            Self::NonceUnknown => "nonce_unknown",
            Self::Refused => "refused",
            Self::TooManyWaiting => "too_many_waiting",
            Self::CertificateSuperseded => "certificate_superseded",
            Self::CertificateUnknown => "certificate_unknown",
            Self::ProofWrong => "proof_wrong",
            Self::ClockGuard => "clock_guard",
        }
    }

    /// The audit's action.
    pub const fn action(self) -> &'static str {
        match self {
            Self::OtherIdentity | Self::ControllerTooOld => "reports.refused",
            Self::TokenUnknown
            | Self::TokenUsed
            | Self::TokenExpired
            | Self::RequestInvalid
            | Self::NonceUnknown
            | Self::ProofWrong => "enrollment.refused",
            _ => "connection.refused",
        }
    }
}

/// Writes refusals down.
pub struct Refusals {
    context: Arc<Context>,
    /// Minute in which each was last written.
    written: Mutex<HashMap<(Cause, Option<IpAddr>), i64>>,
}

impl Refusals {
    /// With the store that the lines go to.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, written: Mutex::new(HashMap::new()) }
    }

    /// Notes that `peer` was turned away; `about` is what more is known (a device's id).
    pub fn note(self: &Arc<Self>, cause: Cause, peer: IpAddr, about: Option<String>) {
        let minute = self.context.now().as_secs().div_euclid(60);
        let Some(subject) = self.first_this_minute(cause, peer, minute) else {
            tracing::debug!(cause = cause.code(), %peer, about = about.as_deref().unwrap_or(""), "refused again");
            return;
        };
        let subject = subject.map_or_else(|| MANY.to_owned(), |peer| peer.to_string());
        tracing::warn!(cause = cause.code(), peer = %subject, about = about.as_deref().unwrap_or(""), "refused");
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let detail = json!({"cause": cause.code(), "about": about});
            if let Err(error) = this.context.note("listen", cause.action(), subject, detail).await {
                tracing::error!(%error, "a refusal could not be written to the audit");
            }
        });
    }

    /// The peer to write about, unless it was written about within this minute.
    fn first_this_minute(&self, cause: Cause, peer: IpAddr, minute: i64) -> Option<Option<IpAddr>> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= REMEMBERED {
            written.retain(|_, at| *at == minute);
        }
        let known = written.contains_key(&(cause, Some(peer)));
        let subject = (known || written.len() < REMEMBERED).then_some(peer);
        (written.insert((cause, subject), minute) != Some(minute)).then_some(subject)
    }
}
