//! The ports under abuse: some forty attacks, from nowhere and with a stolen certificate, several at once, while two
//! honest devices and a visitor of the console go on with their day.
//!
//! Each attack is a function in a room by its layer. They come in waves, so that all take a minute; with
//! `BBT_TEST_ABUSE_SECS=180` each wave takes three.

mod attacker;
mod descriptors;
mod grpc;
mod half_open;
mod honest;
mod http1;
mod http2;
mod mutations;
mod odd_tls;
mod process;
mod tls;
mod wire;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    audit_lines::refusals,
    chance,
    county::County,
    device::Device,
    wait::{SOON, eventually, since_1970},
};

use attacker::{
    Attacker, Loot,
    Port::{self, Admin, Agents, Console, Enrollment},
};
use honest::Honest;

/// How long a wave takes, in seconds.
const SECS: &str = "BBT_TEST_ABUSE_SECS";
/// And by itself: many times what any of the attacks needs to be decided.
const SECS_OF_A_CHECK: u64 = 5;
/// Attacks at once. More would take the processors of a small machine from the honest, whatever the controller does.
const AT_ONCE: usize = 6;
/// Of those with the one certificate: as many as it has connections, so that they do not end each other.
const OF_ONE_CERTIFICATE: usize = 3;
/// Between two attempts of one attack that was cut off.
const BREATH: Duration = Duration::from_millis(10);
/// Three times the second that is promised.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// What may stay behind in memory.
const MEMORY: u64 = 64 << 20;
/// Descriptors that honest peers may open meanwhile.
const DESCRIPTORS: usize = 8;
/// Everything of an attacker is gone after a handshake's time and a hard close, on a busy machine.
const GONE_WITHIN: Duration = Duration::from_secs(60);

struct Attack {
    what: &'static str,
    port: Port,
    stolen: bool,
    run: fn(&Attacker) -> Result<()>,
}

const fn by_nobody(what: &'static str, port: Port, run: fn(&Attacker) -> Result<()>) -> Attack {
    Attack { what, port, stolen: false, run }
}

const fn by_thief(what: &'static str, run: fn(&Attacker) -> Result<()>) -> Attack {
    Attack { what, port: Agents, stolen: true, run }
}

const ATTACKS: &[Attack] = &[
    by_nobody("silence", Agents, tls::silence),
    by_nobody("silence", Enrollment, tls::silence),
    by_nobody("silence", Console, tls::silence),
    by_nobody("silence", Admin, tls::silence),
    by_nobody("coming and going", Agents, tls::coming_and_going),
    by_nobody("coming and going", Console, tls::coming_and_going),
    by_nobody("a greeting byte by byte", Agents, tls::slow_hello),
    by_nobody("a greeting byte by byte", Console, tls::slow_hello),
    by_nobody("half a handshake", Agents, tls::half_a_handshake),
    by_nobody("half a handshake", Enrollment, tls::half_a_handshake),
    by_nobody("handshakes without a certificate", Agents, tls::handshakes),
    by_nobody("handshakes", Console, tls::handshakes),
    by_nobody("noise", Agents, tls::noise),
    by_nobody("plain HTTP", Enrollment, tls::plain_http),
    by_nobody("a giant greeting", Agents, tls::giant_hello),
    by_nobody("empty records", Enrollment, tls::empty_records),
    by_nobody("new keys", Enrollment, tls::new_keys),
    by_nobody("small records", Console, tls::small_records),
    by_nobody("rapid reset", Enrollment, http2::rapid_reset),
    by_nobody("rapid reset", Console, http2::rapid_reset),
    by_nobody("made to reset", Enrollment, http2::made_to_reset),
    by_nobody("headers that never end", Enrollment, http2::continuation),
    by_nobody("headers that never end", Console, http2::continuation),
    by_nobody("headers of nothing that never end", Enrollment, http2::empty_continuation),
    by_nobody("settings", Enrollment, http2::settings),
    by_nobody("pings", Console, http2::pings),
    by_nobody("priorities", Enrollment, http2::priorities),
    by_nobody("frames of no kind", Enrollment, http2::unknown_frames),
    by_nobody("window updates", Console, http2::window_updates),
    by_nobody("empty data", Enrollment, http2::empty_data),
    by_nobody("small data", Enrollment, http2::small_data),
    by_nobody("padding", Console, http2::padding),
    by_nobody("a compression bomb", Enrollment, http2::compression_bomb),
    by_nobody("large headers", Console, http2::large_headers),
    by_nobody("a giant frame", Enrollment, http2::giant_frame),
    by_nobody("bodies that never come", Enrollment, http2::bodies_that_never_come),
    by_nobody("bodies that never come", Console, http2::bodies_that_never_come),
    by_nobody("answers never taken", Console, http2::answers_never_taken),
    by_nobody("requests", Console, http2::requests),
    by_nobody("slow headers", Console, http1::slow_headers),
    by_nobody("slow headers", Admin, http1::slow_headers),
    by_nobody("a slow form", Console, http1::slow_body),
    by_nobody("header lines that never end", Console, http1::endless_headers),
    by_nobody("a line that never ends", Admin, http1::endless_line),
    by_nobody("chunks that never end", Console, http1::endless_chunks),
    by_nobody("answers never read", Console, http1::unread_pipeline),
    by_nobody("answers never read", Admin, http1::unread_pipeline),
    by_nobody("requests", Console, http1::requests),
    by_nobody("nonces", Enrollment, grpc::nonces),
    by_nobody("tokens", Enrollment, grpc::tokens),
    by_nobody("a giant token", Enrollment, grpc::giant_token),
    by_nobody("a giant message", Enrollment, grpc::giant_message),
    by_nobody("messages of noise", Enrollment, grpc::noise),
    // First, while the certificate still has the burst that opening a stream is taken from.
    by_thief("streams in another's name", grpc::anothers_name),
    by_thief("handshakes", tls::handshakes),
    by_thief("small records", tls::small_records),
    by_thief("new keys", tls::new_keys),
    by_thief("rapid reset", http2::rapid_reset),
    by_thief("made to reset", http2::made_to_reset),
    by_thief("headers that never end", http2::continuation),
    by_thief("settings", http2::settings),
    by_thief("pings", http2::pings),
    by_thief("small data", http2::small_data),
    by_thief("empty data", http2::empty_data),
    by_thief("bodies that never come", http2::bodies_that_never_come),
    by_thief("a giant message", grpc::giant_message),
    by_thief("messages of noise", grpc::noise),
    by_thief("streams without end", grpc::streams_without_end),
    by_thief("large reports", grpc::large_reports),
    by_thief("small reports", grpc::small_reports),
    by_thief("acks never taken", grpc::acks_never_taken),
    by_thief("many connections", grpc::many_connections),
];

#[test]
fn the_day_goes_on_while_the_ports_are_abused() -> Result<()> {
    let secs = Duration::from_secs(chance::number(SECS)?.unwrap_or(SECS_OF_A_CHECK));
    let mut county = County::start()?;
    let stolen = Device::enroll(&county)?;
    let credentials = stolen.credentials().context("an enrolled device has a certificate")?;
    let loot = Arc::new(Loot::new(&county, stolen.id, credentials)?);
    let devices = [Device::enroll(&county)?, Device::enroll(&county)?];
    let mut honest = Honest::begin(&devices, &loot)?;
    eventually(SOON, "a day without an attack", || {
        let seen = honest.seen()?;
        ensure!(seen.iter().all(|(_, seen)| seen.answers > 0), "{seen:?}");
        Ok(())
    })?;
    let began = since_1970()?;
    let (memory, descriptors) = (process::memory(&county)?, process::descriptors(&county)?);

    let (by_thief, by_nobody): (Vec<_>, Vec<_>) = ATTACKS.iter().partition(|attack| attack.stolen);
    let waves = by_nobody.chunks(AT_ONCE).chain(by_thief.chunks(OF_ONE_CERTIFICATE));
    for (no, wave) in waves.enumerate() {
        let names: Vec<_> = wave.iter().map(|attack| (attack.port, attack.what)).collect();
        let what = format!("wave {no} of {names:?}");
        under_attack(wave, no, &loot, secs);
        county.ensure_running().with_context(|| what.clone())?;
        for (who, seen) in honest.seen().with_context(|| what.clone())? {
            ensure!(seen.longest < ANSWERED_WITHIN, "{who} waited for {:?} in {what}", seen.longest);
            ensure!(seen.answers > 0, "{who} had no answer in {what}");
        }
        eventually(GONE_WITHIN, &format!("memory and descriptors after {what}"), || {
            let (held, open) = (process::memory(&county)?, process::descriptors(&county)?);
            ensure!(held <= memory + MEMORY, "{held} bytes, {memory} before");
            ensure!(open <= descriptors + DESCRIPTORS, "{open} descriptors, {descriptors} before");
            Ok(())
        })?;
    }

    drop(honest);
    little_is_written(&mut county, since_1970()? - began)
}

/// Runs all of `wave` at once, again and again where they are cut off.
fn under_attack(wave: &[&Attack], wave_no: usize, loot: &Loot, secs: Duration) {
    let until = Instant::now() + secs;
    thread::scope(|scope| {
        for (no, attack) in wave.iter().enumerate() {
            let from = address(wave_no, no);
            let attacker = Attacker { loot, port: attack.port, until, from, stolen: attack.stolen };
            scope.spawn(move || {
                while attacker.goes_on() {
                    // Being cut off is what an attacker has to expect.
                    let _ = (attack.run)(&attacker);
                    thread::sleep(BREATH);
                }
            });
        }
    });
}

/// Each attacker's own, so that what one takes of its address's share does not spare the next.
fn address(wave: usize, no: usize) -> IpAddr {
    let byte = |number: usize| u8::try_from(number + 1).expect("there are few attacks");
    Ipv4Addr::new(127, 3, byte(wave), byte(no)).into()
}

/// Once for each cause, peer and minute, in the audit and in the log.
fn little_is_written(county: &mut County, took: Duration) -> Result<()> {
    county.stop()?;
    let minutes = usize::try_from(took.as_secs() / 60)? + 2;
    let mut lines: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in refusals(county)? {
        *lines.entry((line.subject.clone(), line.cause().to_owned())).or_default() += 1;
    }
    // Of each kind somebody came so far that it was decided.
    for cause in ["no_certificate", "nonce_unknown", "other_identity"] {
        ensure!(lines.keys().any(|(_, of)| of == cause), "nobody was refused for {cause}: {lines:?}");
    }
    for (about, count) in &lines {
        ensure!(*count <= minutes, "{count} lines of {about:?} in {minutes} minutes");
    }
    let log = county.log();
    ensure!(!log.contains("panicked"), "{log}");
    let most = minutes * (lines.len() + ATTACKS.len()) + 50;
    let written = log.lines().count();
    ensure!(written <= most, "{written} lines of the log, {most} are enough:\n{log}");
    Ok(())
}
