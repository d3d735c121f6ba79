//! Whom the device trusts: servers whose chain ends at one root certificate, known by its SHA-256.
//!
//! The only place that names the cryptography provider. TLS 1.3 alone, no resumption, no system roots.
//!
//! The agents' listener is judged at the guarded time. The enrolment listener is where a device learns the time, so
//! its certificates are judged without a clock, and in nothing else more kindly: root, chain and name must hold at a
//! moment inside all validities, and whoever takes the time from it then holds [`valid_at`] against that time.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use ring::digest;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Identity, clock::Clock};

/// The cryptography used everywhere in the agent.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Text that is not 64 hex digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hex digits, as `token create` prints it")]
pub struct FingerprintError;

/// The fingerprint of a certificate.
pub fn fingerprint(der: &[u8]) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    Fingerprint(bytes)
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Colons between the digits, as other tools print them, are skipped.
    fn from_str(text: &str) -> Result<Fingerprint, FingerprintError> {
        let digits = text
            .chars()
            .filter(|character| *character != ':')
            .map(|character| character.to_digit(16).map(|digit| digit as u8).ok_or(FingerprintError))
            .collect::<Result<Vec<u8>, _>>()?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | digit)).collect();
        if digits.len() != 64 {
            return Err(FingerprintError);
        }
        bytes.try_into().map(Fingerprint).map_err(|_| FingerprintError)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// TLS to the enrolment listener: the server proves itself, at whatever time; the device does not yet.
pub fn enrolment_config(root: Fingerprint, clock: Arc<Clock>) -> Result<Arc<ClientConfig>, Error> {
    let config = builder(root, Judge::Clockless, clock)?.with_no_client_auth();
    Ok(finish(config))
}

/// TLS to the agents' listener: both sides prove themselves.
pub fn device_config(identity: &Identity, clock: Arc<Clock>) -> Result<Arc<ClientConfig>, Error> {
    // The root is known to the controller; sending it would only cost bytes.
    let mut chain = identity.chain.clone();
    chain.truncate(chain.len().saturating_sub(1).max(1));
    let key = PrivateKeyDer::Pkcs8(identity.key.clone_key());
    let config = builder(identity.root, Judge::ByClock, clock)?.with_client_auth_cert(chain, key)?;
    Ok(finish(config))
}

fn builder(
    root: Fingerprint,
    judge: Judge,
    clock: Arc<Clock>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Error> {
    let provider = provider();
    Ok(ClientConfig::builder_with_details(provider.clone(), clock)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedRoot { root, judge, provider })))
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Whether every certificate of the chain is good at this moment, in seconds since 1970.
pub(super) fn valid_at(chain: &[CertificateDer<'_>], secs: i64) -> bool {
    chain.iter().all(|der| validity(der).is_some_and(|(from, until)| (from..=until).contains(&secs)))
}

/// First and last second.
fn validity(der: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// When validity is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judge {
    /// At the guarded time.
    ByClock,
    /// When the last of the certificates began; where there is a moment at which all are good, this is one.
    Clockless,
}

/// Accepts a server whose certificate carries the exact name asked for and chains to the one root with this
/// fingerprint, which the server sends along.
#[derive(Debug)]
struct PinnedRoot {
    root: Fingerprint,
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

impl PinnedRoot {
    fn algorithms(&self) -> &rustls::crypto::WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

fn latest_start(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Option<UnixTime> {
    let starts = std::iter::once(end_entity).chain(intermediates).map(|der| Some(validity(der)?.0));
    let latest = starts.collect::<Option<Vec<i64>>>()?.into_iter().max()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(latest).ok()?)))
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates
            .iter()
            .find(|certificate| fingerprint(certificate) == self.root)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let at = match self.judge {
            Judge::ByClock => now,
            Judge::Clockless => latest_start(end_entity, intermediates)
                .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?,
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_printed_with_or_without_colons() {
        let printed = fingerprint(b"root").to_string();
        assert_eq!(printed.parse(), Ok(fingerprint(b"root")));
        let pairs: Vec<&str> = (0..32).map(|i| &printed[2 * i..2 * i + 2]).collect();
        assert_eq!(pairs.join(":").to_uppercase().parse(), Ok(fingerprint(b"root")));
        assert_eq!("abc".parse::<Fingerprint>(), Err(FingerprintError));
        assert_eq!(printed.replace(&printed[..1], "g").parse::<Fingerprint>(), Err(FingerprintError));
    }
}
