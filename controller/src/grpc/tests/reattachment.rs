use bbt_domain::{
    access::Actor,
    identity::{Standing, StandingKind, device_uri},
    ids::DeviceId,
};
use bbt_proto::enrollment::v1::{Evidence, EvidenceKind, ReattachRequest};
use bbt_store::{
    Tx,
    certificates::CertificateRefusal,
    devices::{device_list, device_show, device_stand},
};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use tonic::Code;

use super::stage::{Pc, Stage, reason};

#[tokio::test]
async fn an_ended_certificate_brings_its_device_back_after_1_30_and_400_days() {
    for days_after_its_end in [1, 30, 400] {
        let stage = Stage::new().await;
        let pc = stage.pc().await;
        stage.later(180 + days_after_its_end);
        let back = stage.reattach(&pc).await.unwrap();
        assert_eq!(back.id, pc.id, "the same device, after {days_after_its_end} days");
        assert_eq!(stage.use_of(&back).await, Ok(()));
        assert_eq!(stage.use_of(&pc).await, Err(CertificateRefusal::Superseded));
        assert_eq!(stage.audit("device.reattach").await, 1);
        let devices = |tx: &mut Tx<'_>| device_list(tx, &Actor::Local, None, 10);
        assert_eq!(stage.context.store.read(devices).await.unwrap().len(), 1, "no new device");
    }
}

#[tokio::test]
async fn a_certificate_that_is_good_or_superseded_does_too() {
    let stage = Stage::new().await;
    let pc = stage.pc().await;
    let renewed = stage.renew(&pc).await.unwrap();
    stage.confirm(&renewed).await.unwrap();
    let morning = stage.reattach(&pc).await.unwrap();
    assert_eq!(stage.use_of(&morning).await, Ok(()), "a disk that fell back to the first certificate");
    assert!(stage.reattach(&morning).await.is_ok());
}

#[tokio::test]
async fn a_revoked_device_never_comes_back_this_way() {
    let stage = Stage::new().await;
    let pc = stage.pc().await;
    stage.later(200);
    let (id, now) = (pc.id, stage.context.now());
    stage.denylist.stand(id, Standing::Revoked, now).unwrap();
    let status = stage.reattach(&pc).await.map(drop).unwrap_err();
    assert_eq!((reason(&status), status.code()), ("revoked", Code::PermissionDenied), "by the list alone");
    stage.denylist.stand(id, Standing::Active, now).unwrap();
    let revoke = move |tx: &mut Tx<'_>| {
        device_stand(tx, &Actor::Local, id, Standing::Revoked, StandingKind::Plain, "", now)
    };
    stage.context.store.write(revoke).await.unwrap();
    assert_eq!(reason(&stage.reattach(&pc).await.map(drop).unwrap_err()), "revoked", "by the store alone");
}

#[tokio::test]
async fn evidence_is_kept_as_it_was_given() {
    let stage = Stage::new().await;
    let pc = stage.pc().await;
    let (request, _) = stage.way_back(&pc).await;
    let kind = EvidenceKind::BoardSerial.into();
    let evidence = vec![Evidence { kind, value: "B-1".into(), junk: false }];
    stage.reattach_by(ReattachRequest { evidence, ..request }).await.unwrap();
    let show = move |tx: &mut Tx<'_>| device_show(tx, &Actor::Local, pc.id);
    assert_eq!(stage.context.store.read(show).await.unwrap().evidence[0].value, "B-1");
}

/// A certificate that our own intermediate signs, of a fresh key, with one thing made wrong.
fn forged(stage: &Stage, change: impl FnOnce(&mut CertificateParams)) -> Pc {
    let read = |name: &str| std::fs::read_to_string(stage.folder.path().join(name)).unwrap();
    let issuing = KeyPair::from_pem(&read("issuing.key")).unwrap();
    signed_by(&Issuer::from_ca_cert_pem(&read("issuing.crt"), issuing).unwrap(), stage, change)
}

fn signed_by(issuer: &Issuer<'_, KeyPair>, stage: &Stage, change: impl FnOnce(&mut CertificateParams)) -> Pc {
    let (id, key) = (DeviceId::from_bytes([9; 16]), KeyPair::generate().unwrap());
    let now = stage.context.now();
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
    params.subject_alt_names = vec![uri(stage, id)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1)
        + std::time::Duration::from_secs(u64::try_from(now.as_secs()).unwrap());
    params.not_after = params.not_before + std::time::Duration::from_secs(86_400);
    change(&mut params);
    let der = params.signed_by(&key, issuer).unwrap().der().to_vec();
    Pc { id, key, chain: vec![der] }
}

fn uri(stage: &Stage, id: DeviceId) -> SanType {
    SanType::URI(device_uri(&stage.context.county.trust_domain, id).as_str().try_into().unwrap())
}

#[tokio::test]
async fn a_known_device_whose_row_was_lost_by_a_restore_comes_back() {
    let stage = Stage::new().await;
    let known = stage.pc().await;
    let lost = forged(&stage, |params| params.subject_alt_names = vec![uri(&stage, known.id)]);
    assert_eq!(stage.reattach(&lost).await.unwrap().id, known.id);
}

#[tokio::test]
async fn each_wrong_certificate_is_refused_by_its_code() {
    let stage = Stage::new().await;
    let pc = stage.pc().await;
    let other = stage.pc().await;
    let elsewhere = Stage::new().await;
    let own_serial = stage.shown(&pc).serial.unwrap();
    let ca = CertificateParams::new(vec![]).map(|mut params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    });
    let self_made = Issuer::new(ca.unwrap(), KeyPair::generate().unwrap());
    let mut longer = forged(&stage, |_| {});
    longer.chain[0].push(0);
    let cases = [
        ("another county's", elsewhere.pc().await, "certificate_unknown"),
        ("one that its holder signed", signed_by(&self_made, &stage, |_| {}), "certificate_unknown"),
        (
            "the intermediate itself",
            Pc { chain: vec![pc.chain[1].clone()], ..forged(&stage, |_| {}) },
            "certificate_unknown",
        ),
        (
            "one for a server",
            forged(&stage, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            "certificate_unknown",
        ),
        (
            "one without a name",
            forged(&stage, |params| params.subject_alt_names.clear()),
            "certificate_unknown",
        ),
        (
            "one with two names",
            forged(&stage, |params| params.subject_alt_names.push(uri(&stage, pc.id))),
            "certificate_unknown",
        ),
        (
            "one of before its issuer",
            forged(&stage, |params| params.not_before = rcgen::date_time_ymd(2001, 1, 1)),
            "certificate_unknown",
        ),
        ("a byte behind it", longer, "certificate_unknown"),
        ("no certificate", Pc { chain: vec![vec![]], ..forged(&stage, |_| {}) }, "certificate_unknown"),
        (
            "more than a certificate can be",
            Pc { chain: vec![vec![0x30; 5_000]], ..forged(&stage, |_| {}) },
            "request_invalid",
        ),
        ("a device nobody knows", forged(&stage, |_| {}), "unknown_device"),
        (
            "a serial that is on record with another key",
            forged(&stage, |params| {
                params.serial_number = Some(SerialNumber::from_slice(&own_serial));
                params.subject_alt_names = vec![uri(&stage, pc.id)];
            }),
            "certificate_unknown",
        ),
        (
            "a serial that is on record for another device",
            forged(&stage, |params| {
                params.serial_number = Some(SerialNumber::from_slice(&own_serial));
                params.subject_alt_names = vec![uri(&stage, other.id)];
            }),
            "certificate_unknown",
        ),
    ];
    for (what, pc, code) in cases {
        let status = stage.reattach(&pc).await.map(drop).unwrap_err();
        assert_eq!(reason(&status), code, "{what}: {status:?}");
    }
    assert_eq!(stage.audit("device.reattach").await, 0);
}

#[tokio::test]
async fn each_wrong_proof_is_refused_by_its_code() {
    let stage = Stage::new().await;
    let (pc, other) = (stage.pc().await, stage.pc().await);
    let asked = |request: ReattachRequest| async {
        reason(&stage.reattach_by(request).await.unwrap_err()).to_owned()
    };

    let (good, _) = stage.way_back(&pc).await;
    let (theirs, _) = stage.way_back(&other).await;
    let swapped = ReattachRequest { certificate_request: theirs.certificate_request.clone(), ..good };
    assert_eq!(asked(swapped).await, "proof_wrong", "the signature is over another request");

    let (good, _) = stage.way_back(&pc).await;
    assert_eq!(asked(other.signed(good)).await, "proof_wrong", "another key signed");

    let (good, _) = stage.way_back(&pc).await;
    let nonce = stage.hello().await.unwrap().nonce;
    assert_eq!(asked(ReattachRequest { nonce, ..good }).await, "proof_wrong", "over another nonce");

    let (good, _) = stage.way_back(&pc).await;
    assert_eq!(asked(ReattachRequest { signature: vec![], ..good }).await, "proof_wrong", "no signature");

    let (good, _) = stage.way_back(&pc).await;
    assert!(stage.reattach_by(good.clone()).await.is_ok());
    assert_eq!(asked(good).await, "nonce_unknown", "said again");

    let (good, _) = stage.way_back(&pc).await;
    stage.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(asked(good).await, "nonce_unknown", "too late");

    let (good, _) = stage.way_back(&pc).await;
    let newer = ReattachRequest { protocol_revision: bbt_proto::PROTOCOL_REVISION + 1, ..good };
    assert_eq!(asked(newer).await, "controller_too_old");
}
