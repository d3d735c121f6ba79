//! Messages that are none, too large, too many, or another's.

use std::time::Duration;

use anyhow::Result;
use bbt_proto::{
    PROTOCOL_REVISION,
    enrollment::v1::{EnrollRequest, HelloRequest},
    report::v1::{Batch, Class, Frame, Kind, Open, OsBoot, StreamRequest, stream_request},
};
use prost::Message;
use uuid::Uuid;

use super::{
    attacker::{Attacker, Tls},
    http2::path,
    wire::{data, frame, hello, message, post, streams},
};

const HELLO: &str = "/bbt.enrollment.v1.EnrollmentService/Hello";
const ENROLL: &str = "/bbt.enrollment.v1.EnrollmentService/Enroll";
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW_SIZE: u16 = 4;

fn greeted(attacker: &Attacker, settings: &[(u16, u32)]) -> Result<Tls> {
    let mut stream = attacker.http2()?;
    attacker.write(&mut stream, &hello(settings))?;
    Ok(stream)
}

/// The whole of a unary call.
fn call(no: u32, path: &str, request: &[u8]) -> Vec<u8> {
    [post(no, path), data(no, &message(request)), frame(0, 1, no, &[])].concat()
}

fn calls(attacker: &Attacker, path: &str, request: &[u8]) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    for no in streams().take_while(|_| attacker.goes_on()) {
        attacker.write(&mut stream, &call(no, path, request))?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Asks for nonces without end.
pub(super) fn nonces(attacker: &Attacker) -> Result<()> {
    let hello = HelloRequest { protocol_revision: PROTOCOL_REVISION, nonce: vec![7; 16] };
    calls(attacker, HELLO, &hello.encode_to_vec())
}

/// Tries tokens.
pub(super) fn tokens(attacker: &Attacker) -> Result<()> {
    let enroll = EnrollRequest { token: "a".repeat(100), nonce: vec![7; 16], ..EnrollRequest::default() };
    calls(attacker, ENROLL, &enroll.encode_to_vec())
}

/// A token of a megabyte.
pub(super) fn giant_token(attacker: &Attacker) -> Result<()> {
    let enroll = EnrollRequest { token: "a".repeat(1 << 20), ..EnrollRequest::default() };
    calls(attacker, ENROLL, &enroll.encode_to_vec())
}

/// A message of 4 GiB, as it says itself.
pub(super) fn giant_message(attacker: &Attacker) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    attacker.write(&mut stream, &post(1, path(attacker.port)))?;
    attacker.write(&mut stream, &data(1, &[0, 0xff, 0xff, 0xff, 0xff]))?;
    attacker.flood(&mut stream, &data(1, &[0; 16 << 10]))
}

/// Messages that say they are compressed, and are noise.
pub(super) fn noise(attacker: &Attacker) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    for no in streams().take_while(|_| attacker.goes_on()) {
        let noise = [&[1, 0, 0, 4, 0][..], &[0xa5; 1_024]].concat();
        attacker.write(&mut stream, &[post(no, path(attacker.port)), data(no, &noise)].concat())?;
    }
    Ok(())
}

/// The first message of a stream.
pub(super) fn open(device: Uuid, run: Uuid) -> Vec<u8> {
    let open = Open {
        protocol_revision: PROTOCOL_REVISION,
        run_id: run.as_bytes().to_vec(),
        device_id: device.as_bytes().to_vec(),
        os_boot: Some(OsBoot { id: vec![7; 16], ..OsBoot::default() }),
        ..Open::default()
    };
    message(&StreamRequest { body: Some(stream_request::Body::Open(open)) }.encode_to_vec())
}

fn batch(device: Uuid, run: Uuid, first: u64, frames: u64, bytes: usize) -> Vec<u8> {
    let frames = (first..first + frames).map(|seq| Frame {
        run_id: run.as_bytes().to_vec().into(),
        seq,
        class: Class::Urgent.into(),
        device_id: device.as_bytes().to_vec().into(),
        os_boot: Some(OsBoot { id: vec![7; 16], ..OsBoot::default() }),
        kind: Kind::Samples.into(),
        body: vec![0xa5; bytes].into(),
        ..Frame::default()
    });
    let batch = Batch { frames: frames.collect(), ..Batch::default() };
    message(&StreamRequest { body: Some(stream_request::Body::Batch(batch)) }.encode_to_vec())
}

/// A stream with the stolen certificate.
fn opened(attacker: &Attacker, settings: &[(u16, u32)], run: Uuid) -> Result<Tls> {
    let mut stream = greeted(attacker, settings)?;
    attacker.write(&mut stream, &post(1, path(attacker.port)))?;
    attacker.write(&mut stream, &data(1, &open(attacker.loot.device, run)))?;
    Ok(stream)
}

/// Opens streams, one after the other.
pub(super) fn streams_without_end(attacker: &Attacker) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    for no in streams().take_while(|_| attacker.goes_on()) {
        let opening = data(no, &open(attacker.loot.device, Uuid::new_v4()));
        attacker
            .write(&mut stream, &[post(no, path(attacker.port)), opening, frame(0, 1, no, &[])].concat())?;
    }
    Ok(())
}

/// Opens streams in another's name.
pub(super) fn anothers_name(attacker: &Attacker) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    for no in streams().take_while(|_| attacker.goes_on()) {
        let opening = data(no, &open(Uuid::new_v4(), Uuid::new_v4()));
        attacker.write(&mut stream, &[post(no, path(attacker.port)), opening].concat())?;
    }
    Ok(())
}

/// Sends what it can, all of it urgent.
fn reports(attacker: &Attacker, settings: &[(u16, u32)], frames: u64, bytes: usize) -> Result<()> {
    let run = Uuid::new_v4();
    let mut stream = opened(attacker, settings, run)?;
    for no in (0..).take_while(|_| attacker.goes_on()) {
        let batch = batch(attacker.loot.device, run, 1 + no * frames, frames, bytes);
        attacker.write(&mut stream, &data(1, &batch))?;
        // Windows are opened and acks read, where it wants them read.
        if settings.is_empty() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 16 << 10]);
        }
    }
    Ok(())
}

/// Reports of 60 KiB.
pub(super) fn large_reports(attacker: &Attacker) -> Result<()> {
    reports(attacker, &[], 3, 60 << 10)
}

/// As many reports as a batch may have, each of a byte.
pub(super) fn small_reports(attacker: &Attacker) -> Result<()> {
    reports(attacker, &[], 1_000, 1)
}

/// Reports whose acks there is no room for.
pub(super) fn acks_never_taken(attacker: &Attacker) -> Result<()> {
    reports(attacker, &[(INITIAL_WINDOW_SIZE, 0)], 10, 1_000)
}

/// Many connections of one certificate.
pub(super) fn many_connections(attacker: &Attacker) -> Result<()> {
    let mut held = Vec::new();
    while attacker.goes_on() {
        held.push(opened(attacker, &[], Uuid::new_v4())?);
        if held.len() > 60 {
            held.remove(0);
        }
    }
    Ok(())
}
