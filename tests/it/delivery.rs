//! The contract of delivery over the wire: what is acknowledged is stored, what is stored is acknowledged once,
//! and what breaks a rule is told by name.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_proto::{
    enrollment::v1::SignedTime,
    report::v1::{Ack, Code, Column, Frame, Gap, Kind, Metric, Open, Samples},
};
use bbt_tests::{
    audit_lines::rows_of,
    county::County,
    device::{Applicant, Device, Stream, reason, root},
};
use prost::Message;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use uuid::Uuid;

/// No message is larger, in either direction.
const MESSAGE_BYTES: usize = 256 << 10;
/// No body of a report is larger.
const BODY_BYTES: usize = 64 << 10;
/// No batch has more frames.
const BATCH_FRAMES: u64 = 1_024;
/// Sudden ends of the controller that a commit has to survive.
const KILLS: u64 = 20;

// ------------------------------------------------------------------------------ verdicts

/// Makes one thing wrong.
type Change<T> = fn(T) -> T;

#[test]
fn a_report_is_committed_once_and_a_duplicate_ever_after() -> Result<()> {
    let mut county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let frames: Vec<_> = (1..=5).map(|seq| samples(&stream, seq, 1)).collect();

    assert_eq!(delivered(&mut stream, frames.clone())?, [(1, 5, Code::Committed)]);
    assert_eq!(delivered(&mut stream, frames.clone())?, [(1, 5, Code::Duplicate)]);
    let mut later = device.open()?;
    assert_eq!(delivered(&mut later, frames.clone())?, [(1, 5, Code::Duplicate)], "on another stream");
    county.restart()?;
    let mut later = device.open()?;
    assert_eq!(delivered(&mut later, frames)?, [(1, 5, Code::Duplicate)], "after a restart");

    assert_eq!(rows_of(&county, "history_frame")?, 5);
    Ok(())
}

#[test]
fn a_verdict_never_covers_a_report_that_was_not_sent() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let of = |stream: &Stream, all: &[u64]| all.iter().map(|seq| samples(stream, *seq, 1)).collect();

    let frames = of(&stream, &[1, 2, 5, 6, 9]);
    let committed = Code::Committed;
    assert_eq!(delivered(&mut stream, frames)?, [(1, 2, committed), (5, 6, committed), (9, 9, committed)]);
    // What was overtaken comes late and is new.
    let frames = of(&stream, &[3, 4, 5, 7, 8]);
    let wanted = [(3, 4, committed), (5, 5, Code::Duplicate), (7, 8, committed)];
    assert_eq!(delivered(&mut stream, frames)?, wanted);
    // Two runs in one batch have each their own verdict, though their numbers go on.
    let other_run = Frame { run_id: vec![3; 16].into(), ..samples(&stream, 11, 1) };
    let frames = vec![samples(&stream, 10, 1), other_run];
    assert_eq!(delivered(&mut stream, frames)?, [(10, 10, committed), (11, 11, committed)]);

    assert_eq!(rows_of(&county, "history_frame")?, 11);
    Ok(())
}

#[test]
fn what_cannot_be_read_is_set_aside_and_its_neighbours_are_stored() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let noise = |seq, kind| stream.frame(seq, kind, vec![0xff; 40]);
    let nothing_lost = Gap { first_seq: 5, last_seq: 4, ..Gap::default() };
    let frames = vec![
        samples(&stream, 1, 1),
        noise(2, Kind::State),
        samples(&stream, 3, 1),
        noise(4, Kind::Samples),
        noise(5, Kind::Gap),
        stream.frame(6, Kind::Gap, nothing_lost.encode_to_vec()),
        stream.frame(7, Kind::Samples, Samples::default().encode_to_vec()),
        Frame { kind: 77, ..noise(8, Kind::Unspecified) },
        stream.frame(9, Kind::State, Vec::new()),
    ];

    stream.send(frames)?;
    let ack = stream.ack()?;

    let codes: Vec<_> =
        ack.verdicts.iter().flat_map(|v| (v.first_seq..=v.last_seq).map(|seq| (seq, v.code()))).collect();
    let bad = 4..=8;
    let wanted: Vec<_> = (1..=9)
        .map(|seq| (seq, if seq == 2 || bad.contains(&seq) { Code::Quarantined } else { Code::Committed }))
        .collect();
    assert_eq!(codes, wanted);
    for verdict in ack.verdicts.iter().filter(|verdict| verdict.code() == Code::Quarantined) {
        assert!(!verdict.reason.is_empty(), "{verdict:?}");
    }
    assert_eq!(rows_of(&county, "quarantine")?, 6);
    assert_eq!(rows_of(&county, "history_frame")?, 2);
    let again = vec![stream.frame(2, Kind::State, vec![0xff; 40])];
    assert_eq!(delivered(&mut stream, again)?, [(2, 2, Code::Duplicate)]);
    Ok(())
}

// ------------------------------------------------------------------------------ limits

#[test]
fn a_body_over_the_limit_is_rejected_by_name_and_its_neighbours_are_stored() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let frames = vec![
        samples(&stream, 1, 1),
        stream.frame(2, Kind::Samples, body_of(BODY_BYTES + 1)),
        stream.frame(3, Kind::Samples, body_of(BODY_BYTES)),
    ];

    stream.send(frames)?;
    let ack = stream.ack()?;

    let codes: Vec<_> = ack.verdicts.iter().map(|v| (v.first_seq, v.last_seq, v.code())).collect();
    assert_eq!(codes, [(1, 1, Code::Committed), (2, 2, Code::Rejected), (3, 3, Code::Committed)]);
    assert!(ack.verdicts[1].reason.contains("65536"), "{:?}", ack.verdicts[1]);
    assert_eq!(rows_of(&county, "history_frame")?, 2);
    Ok(())
}

#[test]
fn a_batch_has_so_many_frames_and_no_more() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let small = |stream: &Stream, from, to| (from..=to).map(|seq| samples(stream, seq, 1)).collect();

    let frames = small(&stream, 1, BATCH_FRAMES);
    assert_eq!(delivered(&mut stream, frames)?, [(1, BATCH_FRAMES, Code::Committed)]);
    let frames = small(&stream, 2_001, 2_001 + BATCH_FRAMES);
    stream.send(frames)?;

    let status = stream.ended()?;
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("1025") && status.message().contains("1024"), "{status}");
    assert_eq!(rows_of(&county, "history_frame")?, i64::try_from(BATCH_FRAMES)?, "nothing of it is stored");
    Ok(())
}

#[test]
fn a_message_over_the_limit_is_refused_and_nothing_of_it_stored() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let frames: Vec<_> = (1..=5).map(|seq| stream.frame(seq, Kind::Samples, body_of(60 << 10))).collect();
    assert!(frames.iter().map(Message::encoded_len).sum::<usize>() > MESSAGE_BYTES);

    stream.send(frames)?;

    let status = stream.ended()?;
    assert_eq!(status.code(), tonic::Code::OutOfRange, "{status}");
    assert!(status.message().contains("262144"), "{status}");
    assert_eq!(rows_of(&county, "history_frame")?, 0);
    Ok(())
}

#[test]
fn a_device_that_sends_much_is_slowed_down_and_loses_nothing() -> Result<()> {
    const BYTES_PER_SEC: u32 = 256 << 10;
    const BATCHES: u32 = 6;
    let mut county = County::init()?;
    // The least that a burst may be: one message.
    county.set_environment("BBT_CONTROLLER__LIMITS__DEVICE_BURST_BYTES", &MESSAGE_BYTES.to_string());
    county.set_environment("BBT_CONTROLLER__LIMITS__DEVICE_BYTES_PER_SEC", &BYTES_PER_SEC.to_string());
    county.serve()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let began = Instant::now();

    let mut bytes = 0;
    for batch in 0..BATCHES {
        let frames: Vec<_> = (1..=3)
            .map(|n| stream.frame(u64::from(3 * batch + n), Kind::Samples, body_of(BODY_BYTES)))
            .collect();
        bytes += frames.iter().map(Message::encoded_len).sum::<usize>();
        stream.send(frames)?;
    }
    for _ in 0..BATCHES {
        assert!(stream.ack()?.verdicts.iter().all(|verdict| verdict.code() == Code::Committed));
    }

    let beyond_burst = bytes - MESSAGE_BYTES;
    let least = Duration::from_secs_f64(beyond_burst as f64 / f64::from(BYTES_PER_SEC));
    assert!(began.elapsed() >= least, "{:?} for what takes {least:?}", began.elapsed());
    assert_eq!(rows_of(&county, "history_frame")?, i64::from(3 * BATCHES));
    Ok(())
}

// ------------------------------------------------------------------------------ broken messages

#[test]
fn a_broken_header_is_refused_with_the_name_of_its_field() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let broken: [(&str, Change<Frame>); 5] = [
        ("seq", |frame| Frame { seq: 0, ..frame }),
        ("seq", |frame| Frame { seq: u64::MAX, ..frame }),
        ("run_id", |frame| Frame { run_id: vec![1; 15].into(), ..frame }),
        ("device_id", |frame| Frame { device_id: Vec::new().into(), ..frame }),
        ("os_boot.id", |frame| Frame { os_boot: None, ..frame }),
    ];
    for (field, breaks) in broken {
        let mut stream = device.open()?;
        let frames = vec![samples(&stream, 1, 1), breaks(samples(&stream, 2, 1))];
        stream.send(frames)?;
        let status = stream.ended()?;
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{field}");
        assert!(status.message().contains(&format!("frame 1 of the batch has {field} = ")), "{status}");
    }
    assert_eq!(rows_of(&county, "history_frame")?, 0, "nothing of such a batch is stored");

    let broken: [(&str, Change<Open>); 3] = [
        ("run_id", |open| Open { run_id: vec![1; 17], ..open }),
        ("device_id", |open| Open { device_id: Vec::new(), ..open }),
        ("os_boot.id", |open| Open { os_boot: None, ..open }),
    ];
    for (field, breaks) in broken {
        let status = device.try_open(breaks(device.greeting(Uuid::new_v4())))?.err();
        let status = status.with_context(|| format!("a broken {field} was taken"))?;
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().starts_with(&format!("{field}: ")), "{status}");
    }
    Ok(())
}

#[test]
fn a_newer_device_is_told_to_wait_for_a_newer_controller() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let newer = Open { protocol_revision: 99, ..device.greeting(Uuid::new_v4()) };

    let status = device.try_open(newer)?.err().context("it was taken")?;

    assert_eq!((status.code(), reason(&status)), (tonic::Code::FailedPrecondition, "controller_too_old"));
    assert!(status.message().contains("update the controller first"), "{status}");

    let mut applicant = Applicant::new(&county, [127, 0, 0, 1].into())?;
    let mut newer = applicant.request()?;
    newer.protocol_revision = 99;
    let status = applicant.enroll(newer)?.err().context("it was taken")?;
    assert_eq!((status.code(), reason(&status)), (tonic::Code::FailedPrecondition, "controller_too_old"));
    Ok(())
}

// ------------------------------------------------------------------------------ streams

#[test]
fn the_newer_stream_of_a_device_ends_the_older() -> Result<()> {
    let county = County::start()?;
    let (device, bystander) = (Device::enroll(&county)?, Device::enroll(&county)?);
    let mut older = device.open()?;
    let mut of_another = bystander.open()?;

    let mut newer = device.open()?;

    let status = older.ended()?;
    assert_eq!(status.code(), tonic::Code::Aborted);
    assert!(status.message().contains("newer stream"), "{status}");
    let frames = vec![samples(&newer, 1, 1)];
    assert_eq!(delivered(&mut newer, frames)?, [(1, 1, Code::Committed)]);
    let frames = vec![samples(&of_another, 1, 1)];
    assert_eq!(delivered(&mut of_another, frames)?, [(1, 1, Code::Committed)]);
    Ok(())
}

#[test]
fn health_is_told_to_devices() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut client = HealthClient::new(device.channel()?);
    let answer = bbt_tests::device::wait(
        "an answer about health",
        client.check(HealthCheckRequest { service: String::new() }),
    )??;
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    Ok(())
}

#[test]
fn the_time_that_is_signed_verifies_up_to_the_pinned_root() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let nonce = *Uuid::new_v4().as_bytes();

    let hello = Applicant::new(&county, [127, 0, 0, 1].into())?.hello(&nonce)?;
    let time = hello.time.context("Hello has a time")?;
    assert_eq!(time.nonce, nonce);
    verify_time(&county, &time, &hello.signer_chain, &hello.trust_domain)?;
    let later = SignedTime { unix_micros: time.unix_micros + 1, ..time };
    assert!(verify_time(&county, &later, &hello.signer_chain, &hello.trust_domain).is_err());

    let mut stream = device.open()?;
    let chain = stream.welcome.signer_chain.clone();
    let time = stream.welcome.time.clone().context("Welcome has a time")?;
    verify_time(&county, &time, &chain, &hello.trust_domain)?;
    let frame = samples(&stream, 1, 1);
    stream.send(vec![frame])?;
    let time = stream.ack()?.time.context("an ack has a time")?;
    verify_time(&county, &time, &chain, &hello.trust_domain)
}

// ------------------------------------------------------------------------------ sudden ends

#[test]
fn what_was_acknowledged_is_there_after_a_sudden_end() -> Result<()> {
    let mut county = County::start()?;
    let device = Device::enroll(&county)?;
    let run = Uuid::new_v4();
    let mut sent = 0;
    for kill in 1..=KILLS {
        let mut stream = device.try_open(device.greeting(run))??;
        let first = sent + 1;
        for seq in [first, first + 1] {
            stream.send(vec![samples(&stream, seq, 1)])?;
        }
        stream.ack()?;
        county.kill()?;
        county.serve()?;

        // The first of the two was acknowledged. The second may have made it: it is sent again, once.
        let mut stream = device.try_open(device.greeting(run))??;
        let frames = vec![samples(&stream, first, 1)];
        assert_eq!(delivered(&mut stream, frames)?, [(first, first, Code::Duplicate)], "kill {kill}");
        let frames = vec![samples(&stream, first + 1, 1)];
        delivered(&mut stream, frames)?;
        sent += 2;
    }
    let mut stream = device.try_open(device.greeting(run))??;
    let frames = (1..=sent).map(|seq| samples(&stream, seq, 1)).collect();
    assert_eq!(delivered(&mut stream, frames)?, [(1, sent, Code::Duplicate)]);
    assert_eq!(rows_of(&county, "history_frame")?, i64::try_from(sent)?, "none is lost, none counted twice");
    Ok(())
}

// ------------------------------------------------------------------------------ helpers

/// Sends one batch and gives its verdicts.
fn delivered(stream: &mut Stream, frames: Vec<Frame>) -> Result<Vec<(u64, u64, Code)>> {
    stream.send(frames)?;
    let Ack { verdicts, retry_after_ms, .. } = stream.ack()?;
    ensure!(retry_after_ms == 0, "the controller asks for {retry_after_ms} ms");
    Ok(verdicts.iter().map(|verdict| (verdict.first_seq, verdict.last_seq, verdict.code())).collect())
}

/// A frame of one sample with an item's name of so many letters.
fn samples(stream: &Stream, seq: u64, letters: usize) -> Frame {
    stream.frame(seq, Kind::Samples, sample(letters).encode_to_vec())
}

fn sample(letters: usize) -> Samples {
    let column = Column {
        metric: Metric::ProcessorBusyPermille.into(),
        item: "x".repeat(letters),
        min: vec![1],
        mean: vec![2],
        max: vec![3],
        missing: Vec::new(),
    };
    Samples { mono_micros: vec![1_000_000], columns: vec![column] }
}

/// A good body of exactly so many bytes, many enough that its lengths take three bytes.
fn body_of(bytes: usize) -> Vec<u8> {
    let rest = sample(1 << 14).encoded_len() - (1 << 14);
    sample(bytes - rest).encode_to_vec()
}

/// Checks a signed time as the contract describes it, by nothing but the contract's words.
fn verify_time(county: &County, time: &SignedTime, chain: &[Vec<u8>], trust_domain: &str) -> Result<()> {
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (signer, issuers) = chain.split_first().context("somebody signed")?;
    ensure!(issuers.last() == Some(&root(county)?), "the chain does not end at the county's root");
    let mut roots = RootCertStore::empty();
    roots.add(root(county)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let name = ServerName::from(county.listen()?.agents.ip());
    let now = UnixTime::since_unix_epoch(bbt_tests::wait::since_1970()?);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?.verify_server_cert(
        signer,
        issuers,
        &name,
        &[],
        now,
    )?;

    let mut bytes = b"bbt signed time v1\0".to_vec();
    bytes.extend(time.unix_micros.to_be_bytes());
    bytes.push(u8::try_from(time.nonce.len())?);
    bytes.extend(&time.nonce);
    bytes.extend(trust_domain.as_bytes());
    let (_, certificate) = x509_parser::parse_x509_certificate(signer)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &certificate.public_key().subject_public_key.data)
        .verify(&bytes, &time.signature)
        .ok()
        .context("the signature is not of this time")
}
