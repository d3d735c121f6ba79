//! The name in a device's certificate.

use serde::{Deserialize, Serialize};

use crate::ids::DeviceId;

/// The SPIFFE trust domain of one county: `<32 hex digits>.bbt`, random, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustDomain(String);

/// What the trust domain ends in.
const TRUST_DOMAIN_SUFFIX: &str = ".bbt";

impl TrustDomain {
    /// From 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(hex + TRUST_DOMAIN_SUFFIX)
    }

    /// Parses strictly: 32 lower-case hex digits and `.bbt`.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_suffix(TRUST_DOMAIN_SUFFIX)?;
        let fits = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The one URI SAN of a device certificate: `spiffe://<trust domain>/device/<uuid>`.
pub fn device_uri(domain: &TrustDomain, device: DeviceId) -> String {
    format!("spiffe://{}/device/{device}", domain.as_str())
}

/// The device that `uri` names in `domain`; compared bytewise, so an upper-case or shortened form is none.
pub fn device_of_uri(domain: &TrustDomain, uri: &str) -> Option<DeviceId> {
    let id = uri.rsplit('/').next()?.parse().ok()?;
    (device_uri(domain, id) == uri).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> TrustDomain {
        TrustDomain::from_random([0xab; 16])
    }

    #[test]
    fn a_device_uri_names_its_device() {
        let id = DeviceId::from_bytes([7; 16]);
        let uri = device_uri(&domain(), id);
        assert_eq!(
            uri,
            format!("spiffe://{}.bbt/device/07070707-0707-0707-0707-070707070707", "ab".repeat(16))
        );
        assert_eq!(device_of_uri(&domain(), &uri), Some(id));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let good = device_uri(&domain(), DeviceId::from_bytes([0xaa; 16]));
        let hex = "aa".repeat(16);
        let other = TrustDomain::from_random([1; 16]);
        for bad in [
            good.to_uppercase(),
            good.replace("spiffe", "SPIFFE"),
            good.replace("/device/", "/Device/"),
            good.replace("/device/", "//device/"),
            format!("{good}/"),
            format!(" {good}"),
            format!("spiffe://{}/device/{hex}", domain().as_str()),
            device_uri(&other, DeviceId::from_bytes([0xaa; 16])),
            good.replace("AA", "Aa").replacen("aa", "AA", 20),
        ] {
            assert_eq!(device_of_uri(&domain(), &bad), None, "{bad}");
        }
    }

    #[test]
    fn a_trust_domain_is_read_strictly() {
        assert!(TrustDomain::parse(domain().as_str()).is_some());
        for bad in ["", ".bbt", "ab.bbt", &format!("{}.bbt", "AB".repeat(16)), &"ab".repeat(16)] {
            assert!(TrustDomain::parse(bad).is_none(), "{bad}");
        }
    }
}
