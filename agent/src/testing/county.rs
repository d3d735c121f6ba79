//! A county's certificate authority.

use std::{net::SocketAddr, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use uuid::Uuid;

use super::{SIGNED_MICROS, TODAY_MICROS, TRUST_DOMAIN};
use crate::{
    identity::{
        Identity,
        trust::{Fingerprint, fingerprint},
    },
    uplink::address::Address,
};

const DAY_SECS: i64 = 24 * 3600;

/// See the head of the module.
pub(crate) struct County {
    pub(super) root_der: Vec<u8>,
    intermediate_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    /// Of its listeners' certificates; none is for ever.
    pub(super) listener_life: Option<(i64, i64)>,
    /// The time that its controllers begin with.
    pub(super) now_micros: i64,
}

impl County {
    pub(crate) fn new() -> County {
        let root_key = KeyPair::generate().unwrap();
        let root_params = authority("county root");
        let root_der = root_params.self_signed(&root_key).unwrap().der().to_vec();
        let root = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().unwrap();
        let params = authority("county issuing");
        let intermediate_der = params.signed_by(&key, &root).unwrap().der().to_vec();
        County {
            root_der,
            intermediate_der,
            issuer: Issuer::new(params, key),
            listener_life: None,
            now_micros: SIGNED_MICROS,
        }
    }

    pub(crate) fn root(&self) -> Fingerprint {
        fingerprint(&self.root_der)
    }

    /// A county of a time at which this program was built already, whose listeners' certificates are good for half
    /// a year before and after, as a real county's are.
    pub(crate) fn of_our_days() -> County {
        const HALF_YEAR_SECS: i64 = 182 * DAY_SECS;
        let now_secs = TODAY_MICROS / 1_000_000;
        let listener_life = Some((now_secs - HALF_YEAR_SECS, now_secs + HALF_YEAR_SECS));
        County { listener_life, now_micros: TODAY_MICROS, ..County::new() }
    }

    /// The same with listeners for ever.
    pub(crate) fn with_lasting_listeners(self) -> County {
        County { listener_life: None, ..self }
    }

    pub(super) fn issue(
        &self,
        names: Vec<SanType>,
        life: Option<(i64, i64)>,
        key: &impl rcgen::PublicKeyData,
    ) -> Vec<Vec<u8>> {
        let mut params = CertificateParams::default();
        if let Some((from_secs, until_secs)) = life {
            let at = |secs: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(secs as u64);
            (params.not_before, params.not_after) = (at(from_secs), at(until_secs));
        }
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        let own = params.signed_by(key, &self.issuer).unwrap().der().to_vec();
        vec![own, self.intermediate_der.clone(), self.root_der.clone()]
    }

    /// A device's, good for 180 days from an hour ago on.
    pub(super) fn issue_device(
        &self,
        id: Uuid,
        key: &impl rcgen::PublicKeyData,
        now_micros: i64,
    ) -> Vec<Vec<u8>> {
        let now_secs = now_micros / 1_000_000;
        let life = Some((now_secs - 3_600, now_secs + 180 * DAY_SECS));
        self.issue(vec![device_name(id)], life, key)
    }

    /// A device of this county that reports to `controller`.
    pub(crate) fn device(&self, controller: SocketAddr, trusted: Fingerprint) -> Identity {
        let key = KeyPair::generate().unwrap();
        let device_id = Uuid::from_bytes([5; 16]);
        let address: Address = controller.to_string().parse().unwrap();
        Identity {
            device_id,
            trust_domain: TRUST_DOMAIN.to_owned(),
            school_name: "第一小学".to_owned(),
            enrolment_address: address.clone(),
            agent_addresses: vec![address],
            root: trusted,
            chain: self
                .issue(vec![device_name(device_id)], None, &key)
                .into_iter()
                .map(CertificateDer::from)
                .collect(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
            valid_secs: (0, i64::MAX / 1_000_000),
        }
    }
}

fn device_name(id: Uuid) -> SanType {
    SanType::URI(format!("spiffe://{TRUST_DOMAIN}/device/{id}").try_into().unwrap())
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}
