use bbt_domain::identity::device_uri;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use x509_parser::extensions::GeneralName;

use super::stage::{Stage, reason, request_of};

/// Requests that are refused, each for one reason.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let good = request_of(&KeyPair::generate().unwrap());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    let other_key = |algorithm| request_of(&KeyPair::generate_for(algorithm).unwrap());
    let mut unknown_extension = CertificateParams::default();
    unknown_extension.custom_extensions =
        vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0])];
    let unknown_extension =
        unknown_extension.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    vec![
        ("nothing", vec![]),
        ("no DER", b"-----BEGIN CERTIFICATE REQUEST-----".to_vec()),
        ("cut off", with(&|bytes| bytes.truncate(bytes.len() - 1))),
        ("a byte too many", with(&|bytes| bytes.push(0))),
        ("a changed key", with(&|bytes| flip(bytes, &[0x03, 0x42, 0x00, 0x04]))),
        ("a changed signature", with(&|bytes| *bytes.last_mut().unwrap() ^= 1)),
        ("a key of P-384", other_key(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("a key of Ed25519", other_key(&rcgen::PKCS_ED25519)),
        ("an extension nobody knows", unknown_extension),
        ("more than a request can be", vec![0x30; 5_000]),
    ]
}

/// Changes the byte after `mark`.
fn flip(bytes: &mut [u8], mark: &[u8]) {
    let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap();
    bytes[at + mark.len()] ^= 1;
}

#[tokio::test]
async fn a_request_that_is_not_of_a_p256_key_and_signed_by_it_is_refused() {
    for (what, request) in refused() {
        // A county of its own for each: a device may not ask so often.
        let stage = Stage::new().await;
        let pc = stage.pc().await;
        let status = stage.renew_by(&pc, request.clone()).await.unwrap_err();
        assert_eq!(
            (reason(&status), status.code()),
            ("request_invalid", tonic::Code::InvalidArgument),
            "{what}"
        );
        let (way_back, _) = stage.way_back(&pc).await;
        let way_back =
            bbt_proto::enrollment::v1::ReattachRequest { certificate_request: request, ..way_back };
        let status = stage.reattach_by(pc.signed(way_back)).await.unwrap_err();
        assert_eq!(reason(&status), "request_invalid", "{what}");
    }
}

#[tokio::test]
async fn of_a_request_only_the_key_is_taken() {
    let stage = Stage::new().await;
    let pc = stage.pc().await;
    let other =
        device_uri(&stage.context.county.trust_domain, bbt_domain::ids::DeviceId::from_bytes([9; 16]));
    let mut wish = CertificateParams::new(vec!["controller.example".into()]).unwrap();
    wish.subject_alt_names.push(SanType::URI(other.as_str().try_into().unwrap()));
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let chain = stage.renew_by(&pc, wish.serialize_request(&key).unwrap().der().to_vec()).await.unwrap();

    let (_, made) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    let names = made.subject_alternative_name().unwrap().unwrap();
    let own = device_uri(&stage.context.county.trust_domain, pc.id);
    assert_eq!(names.value.general_names, [GeneralName::URI(&own)]);
    assert_eq!(made.subject().to_string(), format!("CN={}", pc.id));
    assert!(!made.is_ca());
    let usage = made.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    assert_eq!(made.extensions().len(), 4);
}
