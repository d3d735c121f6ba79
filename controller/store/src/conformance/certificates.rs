use std::time::Duration;

use bbt_domain::{
    access::Actor,
    identity::{Evidence, EvidenceKind, Issuance, Standing, StandingKind},
    ids::{AdmissionId, DeviceId},
    time::UtcMicros,
};

use super::{Exam, START, new_set};
use crate::{
    StoreError,
    audit::audit_list,
    certificates::{
        CertificateLine, CertificateRefusal, NewCertificate, Reattaching, Renewing, certificate_reattach,
        certificate_renew, certificate_signed, certificate_use,
    },
    devices::{device_show, device_stand},
    enrollment::Admitted,
};

exams![
    the_old_certificate_is_good_until_the_new_one_was_used,
    a_renewal_that_is_repeated_leaves_a_good_certificate_whichever_answer_arrived,
    a_certificate_that_the_record_lost_is_taken_of_a_known_device,
    a_serial_of_another_device_is_refused,
    a_revoked_or_unknown_device_neither_renews_nor_reattaches,
    an_ended_or_superseded_certificate_reattaches_by_its_own_key_only,
    only_a_device_renews,
    the_file_of_a_device_shows_its_newest_signed_certificate,
];

const PEER: &str = "192.0.2.1";

fn at(secs: u64) -> UtcMicros {
    START.plus(Duration::from_secs(secs))
}

fn new(serial: u8, now: UtcMicros) -> NewCertificate {
    let until = now.plus(Duration::from_secs(180 * 86_400));
    NewCertificate { serial: [serial; 16], not_before: now, not_after: until }
}

impl Exam {
    /// Renews by the certificate `shown`, and gets the one of `serial`, with a key of the same number.
    async fn renew(
        &self,
        device: DeviceId,
        shown: u8,
        serial: u8,
        now: UtcMicros,
    ) -> Result<(), CertificateRefusal> {
        let renewing = Renewing {
            shown: Some([shown; 16]),
            key_sha256: [serial; 32],
            certificate: new(serial, now),
            peer: PEER.into(),
        };
        let actor = Actor::Device(device);
        self.store.write(move |tx| certificate_renew(tx, &actor, &renewing, now)).await.expect("stored")
    }

    async fn reattach(
        &self,
        device: DeviceId,
        (shown, key): (u8, u8),
        serial: u8,
        now: UtcMicros,
    ) -> Result<String, CertificateRefusal> {
        let evidence = Evidence { kind: EvidenceKind::BoardSerial, value: "B-1".into(), junk: false };
        let reattaching = Reattaching {
            shown: Some([shown; 16]),
            shown_key_sha256: [key; 32],
            key_sha256: [serial; 32],
            certificate: new(serial, now),
            evidence: vec![evidence],
            run: None,
            device: DeviceId::from_bytes([serial; 16]),
            set: new_set(serial),
            admission: AdmissionId::from_bytes([serial; 16]),
            agent_version: "0.1.0".into(),
            peer: PEER.into(),
        };
        let actor = Actor::Device(device);
        let write =
            move |tx: &mut crate::Tx<'_>| certificate_reattach(tx, &actor, &reattaching, &|_| false, now);
        match self.store.write(write).await.expect("stored")? {
            Admitted::Device(enrolled) => {
                assert_eq!(enrolled.device, device, "it is the device itself");
                Ok(enrolled.school_name)
            }
            Admitted::Waiting(waiting) => panic!("it waits: {waiting:?}"),
        }
    }

    async fn shows(&self, device: DeviceId, serial: u8, now: UtcMicros) -> Result<(), CertificateRefusal> {
        let shows = move |tx: &mut crate::Tx<'_>| {
            certificate_use(tx, &Actor::Device(device), Some([serial; 16]), now)
        };
        self.store.write(shows).await.expect("stored")
    }
}

async fn the_old_certificate_is_good_until_the_new_one_was_used(exam: Exam) {
    let device = exam.device(7).await;
    assert_eq!(exam.renew(device, 99, 1, at(1)).await, Ok(()));
    assert_eq!(exam.shows(device, 1, at(2)).await, Ok(()));
    assert_eq!(exam.renew(device, 1, 2, at(3)).await, Ok(()));
    assert_eq!(exam.shows(device, 1, at(4)).await, Ok(()), "the new one was not used yet");
    assert_eq!(exam.shows(device, 2, at(5)).await, Ok(()));
    let exam = exam.reopen();
    assert_eq!(exam.shows(device, 2, at(6)).await, Ok(()), "used twice is used once");
    assert_eq!(exam.shows(device, 1, at(7)).await, Err(CertificateRefusal::Superseded));
    assert_eq!(exam.renew(device, 1, 3, at(8)).await, Err(CertificateRefusal::Superseded));
}

async fn a_renewal_that_is_repeated_leaves_a_good_certificate_whichever_answer_arrived(exam: Exam) {
    let device = exam.device(7).await;
    exam.renew(device, 99, 1, at(1)).await.unwrap();
    for serial in 2..5 {
        assert_eq!(exam.renew(device, 1, serial, at(serial.into())).await, Ok(()));
    }
    assert_eq!(exam.shows(device, 3, at(6)).await, Ok(()), "the second answer was the one that was kept");
    assert_eq!(exam.shows(device, 4, at(7)).await, Ok(()), "a newer one is as good");
    assert_eq!(exam.shows(device, 3, at(8)).await, Err(CertificateRefusal::Superseded));
}

async fn a_certificate_that_the_record_lost_is_taken_of_a_known_device(exam: Exam) {
    let device = exam.device(7).await;
    assert_eq!(exam.shows(device, 42, at(1)).await, Ok(()));
    assert_eq!(exam.renew(device, 42, 1, at(2)).await, Ok(()));
    assert!(exam.reattach(device, (43, 43), 2, at(3)).await.is_ok());
    let stranger = DeviceId::from_bytes([0xee; 16]);
    assert_eq!(exam.shows(stranger, 42, at(4)).await, Err(CertificateRefusal::UnknownDevice));
}

async fn a_serial_of_another_device_is_refused(exam: Exam) {
    let (one, other) = (exam.device(7).await, exam.device(8).await);
    exam.renew(one, 99, 1, at(1)).await.unwrap();
    assert_eq!(exam.shows(other, 1, at(2)).await, Err(CertificateRefusal::OtherRecord));
    assert_eq!(exam.renew(other, 1, 2, at(2)).await, Err(CertificateRefusal::OtherRecord));
    assert_eq!(exam.reattach(other, (1, 1), 3, at(2)).await, Err(CertificateRefusal::OtherRecord));
}

async fn a_revoked_or_unknown_device_neither_renews_nor_reattaches(exam: Exam) {
    let device = exam.device(7).await;
    exam.renew(device, 99, 1, at(1)).await.unwrap();
    let revoke = move |tx: &mut crate::Tx<'_>| {
        device_stand(tx, &Actor::Local, device, Standing::Revoked, StandingKind::Plain, "", at(2))
    };
    exam.store.write(revoke).await.unwrap();
    assert_eq!(exam.shows(device, 1, at(3)).await, Err(CertificateRefusal::Revoked));
    assert_eq!(exam.renew(device, 1, 2, at(3)).await, Err(CertificateRefusal::Revoked));
    assert_eq!(exam.reattach(device, (1, 1), 2, at(3)).await, Err(CertificateRefusal::Revoked));
    let stranger = DeviceId::from_bytes([0xee; 16]);
    assert_eq!(exam.renew(stranger, 50, 2, at(3)).await, Err(CertificateRefusal::UnknownDevice));
    assert_eq!(exam.reattach(stranger, (50, 50), 2, at(3)).await, Err(CertificateRefusal::UnknownDevice));
}

async fn an_ended_or_superseded_certificate_reattaches_by_its_own_key_only(exam: Exam) {
    let device = exam.device(7).await;
    exam.renew(device, 99, 1, at(1)).await.unwrap();
    exam.renew(device, 1, 2, at(2)).await.unwrap();
    exam.shows(device, 2, at(3)).await.unwrap();
    let days = |days: u64| at(days * 86_400);
    assert_eq!(
        exam.reattach(device, (1, 2), 3, days(400)).await,
        Err(CertificateRefusal::OtherRecord),
        "that key is not the one on record"
    );
    assert_eq!(exam.reattach(device, (1, 1), 3, days(400)).await.as_deref(), Ok("测试小学"));
    assert_eq!(exam.shows(device, 3, days(401)).await, Ok(()));
    assert_eq!(exam.shows(device, 2, days(402)).await, Err(CertificateRefusal::Superseded));
    let look = move |tx: &mut crate::Tx<'_>| {
        let lines = audit_list(tx, &Actor::Local, "device.reattach", None, 10)?;
        Ok((device_show(tx, &Actor::Local, device)?, lines))
    };
    let (file, lines) = exam.store.read(look).await.unwrap();
    assert_eq!(file.evidence.len(), 1, "evidence is kept");
    let named = format!("device:{device}");
    let lines: Vec<_> = lines.iter().map(|line| (&line.actor, &line.subject)).collect();
    assert_eq!(lines, [(&named, &named)]);
}

async fn only_a_device_renews(exam: Exam) {
    for actor in [Actor::Anonymous, Actor::Local, Actor::System("exam")] {
        let used = exam.store.write(move |tx| certificate_use(tx, &actor, None, START)).await;
        assert!(matches!(used, Err(StoreError::Forbidden { .. })), "{used:?}");
    }
}

async fn the_file_of_a_device_shows_its_newest_signed_certificate(exam: Exam) {
    let device = exam.device(7).await;
    exam.renew(device, 99, 1, at(1)).await.unwrap();
    exam.renew(device, 1, 2, at(2)).await.unwrap();
    let signed = |tx: &mut crate::Tx<'_>| certificate_signed(tx, &Actor::Anonymous, &[1; 16], b"der");
    exam.store.write(signed).await.unwrap();
    let show = move |tx: &mut crate::Tx<'_>| device_show(tx, &Actor::Local, device);
    let file = exam.store.read(show).await.unwrap();
    let expected = CertificateLine {
        until: new(1, at(1)).not_after,
        issued_at: at(1),
        issuance: Issuance::Renewal,
        used_at: Some(at(2)),
    };
    assert_eq!(file.certificate, Some(expected), "the second was never signed");
}
