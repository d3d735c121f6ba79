//! TLS of each port, and who is let in on the devices' one.

use std::{cell::Cell, fmt, sync::Arc, time::Duration};

use bbt_domain::{
    identity::{TrustDomain, device_of_uri},
    ids::DeviceId,
    time::UtcMicros,
};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, RootCertStore,
    ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use super::{
    DevicePeer,
    refusals::Cause,
    unfit::{self, Unfit},
};
use crate::{
    clock::SharedClock,
    pki::{issue::Listener, provider, revoke::Denylist},
};

/// HTTP/2, RFC 9113 3.2.
pub(super) const H2: &[u8] = b"h2";
/// HTTP/1.1, RFC 7301 6.
const HTTP_1_1: &[u8] = b"http/1.1";

tokio::task_local! {
    /// The device that the handshake under way was refused for: the verifier knows it, the accept loop
    /// writes it down.
    pub(super) static REFUSED_DEVICE: Cell<Option<DeviceId>>;
}

/// A configuration that could not be made.
pub type TlsError = rustls::Error;

/// The devices' port: TLS 1.3, a client certificate of this county, no resumption (a resumed session would
/// not be looked at again).
pub fn agents(
    listener: &Listener,
    verifier: Arc<DeviceVerifier>,
    clock: SharedClock,
) -> Result<ServerConfig, TlsError> {
    let config = builder(clock, &[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(listener.chain.clone(), listener.key.clone_key())?;
    Ok(without_resumption(config, &[H2]))
}

/// The enrolment port: TLS 1.3, nobody has a certificate yet.
pub fn enrollment(listener: &Listener, clock: SharedClock) -> Result<ServerConfig, TlsError> {
    let config = builder(clock, &[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(listener.chain.clone(), listener.key.clone_key())?;
    Ok(without_resumption(config, &[H2]))
}

/// The console: TLS 1.2 too, for the browsers of Windows 7.
pub fn console(listener: &Listener, clock: SharedClock) -> Result<ServerConfig, TlsError> {
    let mut config = builder(clock, &[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(listener.chain.clone(), listener.key.clone_key())?;
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    Ok(config)
}

fn builder(
    clock: SharedClock,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, TlsError> {
    ServerConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(versions)
}

fn without_resumption(mut config: ServerConfig, alpn: &[&[u8]]) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// The controller's clock as rustls wants it.
#[derive(Debug)]
pub(crate) struct ClockTime(pub(crate) SharedClock);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let secs = u64::try_from(self.0.now().as_secs()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(secs)))
    }
}

/// Lets in the certificates of this county's devices that are not revoked.
pub struct DeviceVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    domain: TrustDomain,
    denylist: Arc<Denylist>,
}

impl fmt::Debug for DeviceVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceVerifier").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl DeviceVerifier {
    /// Trusts the county's root and nothing else.
    pub fn new(
        root: &CertificateDer<'static>,
        domain: TrustDomain,
        denylist: Arc<Denylist>,
    ) -> Result<Arc<Self>, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone())?;
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Arc::new(Self { chain, domain, denylist }))
    }

    /// The device of a certificate that was let in.
    pub fn peer(&self, certificate: &CertificateDer<'_>) -> Option<DevicePeer> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        self.named(&parsed)
    }

    /// The device that a certificate names: by one URI, and nothing beside it.
    fn named(&self, parsed: &X509Certificate<'_>) -> Option<DevicePeer> {
        let names = parsed.subject_alternative_name().ok()??;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
        let until = UtcMicros::from_secs(parsed.validity().not_after.timestamp());
        let serial = parsed.raw_serial().try_into().ok();
        Some(DevicePeer { device: device_of_uri(&self.domain, uri)?, until, serial })
    }

    /// The device of a certificate that may have ended: that one of `intermediates` signed it is asked at its own
    /// beginning, when all of its chain was good. Whether its device may still come is not asked here.
    pub fn past_peer(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Option<DevicePeer> {
        unfit::check_sizes(certificate, &[]).ok()?;
        let parsed = unfit::parse(certificate).ok()?;
        let begin = u64::try_from(parsed.validity().not_before.timestamp()).ok()?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(begin));
        self.chain.verify_client_cert(certificate, intermediates, at).ok()?;
        unfit::check_form(&parsed).ok()?;
        self.named(&parsed)
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        unfit::check_sizes(end_entity, intermediates)?;
        let refused = |device| {
            // Outside an accept loop (a test of the verifier alone) nobody asks.
            let _ = REFUSED_DEVICE.try_with(|cell| cell.set(device));
        };
        let verified =
            self.chain.verify_client_cert(end_entity, intermediates, now).inspect_err(|error| {
                // What nobody of ours has signed is not read any further.
                if cause_of_error(error) == Some(Cause::ExpiredCertificate) {
                    refused(self.peer(end_entity).map(|peer| peer.device));
                }
            })?;
        let parsed = unfit::parse(end_entity)?;
        let Some(DevicePeer { device, .. }) = self.named(&parsed) else {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        };
        refused(Some(device));
        unfit::check_form(&parsed)?;
        if self.denylist.denies(device) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// What a failed handshake was about, where it was about the peer's certificate. Noise (scanners, cut lines)
/// is nobody's business.
pub(super) fn cause_of(error: &std::io::Error) -> Option<Cause> {
    cause_of_error(error.get_ref()?.downcast_ref::<Error>()?)
}

fn cause_of_error(error: &Error) -> Option<Cause> {
    Some(match error {
        Error::NoCertificatesPresented => Cause::NoCertificate,
        Error::InvalidCertificate(CertificateError::Revoked) => Cause::Revoked,
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Cause::ExpiredCertificate,
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => Cause::WrongName,
        Error::InvalidCertificate(error) if Unfit::of(error).is_some() => Cause::UnfitCertificate,
        // A signature of the handshake that does not fit the certificate is a stolen certificate without its key.
        Error::InvalidCertificate(_)
        | Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
            Cause::ForeignCertificate
        }
        _ => return None,
    })
}

/// What more is known of a handshake that was refused: what is wrong with the form of its certificate, or else
/// whose it was, or else what the verifier says.
pub(super) fn about(error: &std::io::Error, device: Option<DeviceId>) -> Option<String> {
    let certificate = match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    };
    let unfit = certificate.and_then(Unfit::of).map(|unfit| unfit.to_string());
    let device = || device.map(|device| format!("device:{device}"));
    unfit.or_else(device).or_else(|| certificate.map(ToString::to_string))
}
