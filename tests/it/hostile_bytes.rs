//! Everything that reads bytes from outside, on good bytes with random damage: it may refuse them, and may not panic.
//!
//! Each test gives its readers a time's worth of damaged bytes, [`SECS_OF_A_CHECK`] by itself and `BBT_TEST_FUZZ_SECS`
//! in the long run, and prints the seed that brings the same ones again. Whoever panics names the bytes.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bbt_agent::{
    decode::{cpuinfo, diskstats, icmp, logind, meminfo, mountinfo, os_release, route, smbios, text, udev},
    identity::{clock::TimeSigner, trust::fingerprint},
};
use bbt_controller::{
    grpc::convert,
    pki::{authority::Authority, issue::DeviceKey},
    samples,
};
use bbt_domain::{
    identity::{TrustDomain, device_of_uri},
    org::SchoolCode,
    seen::Seen,
    set_code::SetCode,
    time::UtcMicros,
    usage::slots::UsageDay,
};
use bbt_proto::{enrollment::v1 as enrollment, report::v1 as wire};
use bbt_tests::{
    chance::{Chance, first_seed, number},
    repository,
};
use prost::{Message, bytes::Bytes};

/// How long each test goes on, in seconds.
const SECS: &str = "BBT_TEST_FUZZ_SECS";
const SECS_OF_A_CHECK: u64 = 10;
/// Damages of one input. One is enough to be wrong; several get past a check that finds the first.
const DAMAGES: u64 = 6;
/// What readers hold to be special: signs, ends, lengths that are too long.
const TELLING: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b' ', b'='];
/// Longest input: more than any of the readers is given.
const LONGEST: usize = 128 << 10;

#[test]
fn what_firmware_and_kernel_say_is_read_or_refused() -> Result<()> {
    let kernel = ["cpuinfo", "meminfo", "diskstats", "self/mountinfo", "net/route", "net/ipv6_route"];
    let mut seeds: Vec<Vec<u8>> =
        kernel.iter().filter_map(|file| fs::read(format!("/proc/{file}")).ok()).collect();
    seeds.extend(["/etc/os-release", "/usr/lib/os-release"].iter().filter_map(|file| fs::read(file).ok()));
    seeds.push(b"IDLE=1\nACTIVE=1\nSEAT=seat0\nS:disk/by-id/x\nE:ID_SERIAL=WD-1\\x20A\n".to_vec());
    damage(&seeds, |bytes| {
        let file = String::from_utf8_lossy(bytes);
        whatever(cpuinfo::parse(&file));
        whatever(diskstats::parse(&file));
        whatever(mountinfo::file_systems(mountinfo::parse(&file)));
        whatever(meminfo::bytes(&file, "MemTotal"));
        whatever(os_release::value(&file, "NAME"));
        whatever(udev::value(&file, "ID_SERIAL"));
        whatever(route::default_gateway(&file, &file));
        whatever(logind::is_at_seat(&file));
        whatever(logind::idle_hint(&file));
        whatever(text::clean(&file));
        whatever(text::clean_bytes(bytes));
    })
}

#[test]
fn a_table_of_the_firmware_is_read_as_far_as_it_is_whole() -> Result<()> {
    let structure = |kind: u8, formatted: &[u8], strings: &[&str]| {
        let mut bytes = vec![kind, formatted.len() as u8 + 4, kind, 0];
        bytes.extend_from_slice(formatted);
        strings.iter().for_each(|string| bytes.extend([string.as_bytes(), &[0]].concat()));
        bytes.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
        bytes
    };
    let table = [
        structure(0, &[1, 2, 0, 0xe0, 3, 0xff], &["Maker", "1.02", "05/06/2021"]),
        structure(1, &[&[1, 2, 3, 4][..], &[7; 16], &[6, 0, 0]].concat(), &["Maker", "Box", "A", "S1"]),
        structure(2, &[1, 2, 3, 4], &["Maker", "Board", "B", "S2"]),
        structure(3, &[1, 3, 0, 0], &["Maker"]),
        structure(17, &[0x40; 36], &["DIMM0", "BANK 0"]),
        structure(127, &[], &[]),
    ];
    let seeds = [table.concat(), table[1..].concat(), table[4].clone()];
    ensure!(!smbios::parse(&seeds[0], (3, 2)).broken, "the undamaged table is whole");
    damage(&seeds, |bytes| {
        whatever(smbios::version(bytes));
        for version in [(2, 1), (2, 6), (3, 2)] {
            whatever(smbios::parse(bytes, version));
        }
        whatever(icmp::is_reply(false, bytes, 1, &[7; icmp::PAYLOAD_BYTES]));
        whatever(icmp::is_reply(true, bytes, 1, &[7; icmp::PAYLOAD_BYTES]));
    })
}

#[test]
fn a_report_is_taken_or_set_aside() -> Result<()> {
    let kinds = [wire::Kind::State, wire::Kind::Samples, wire::Kind::Gap, wire::Kind::Usage];
    let frames = ["state", "samples", "gap", "usage"].map(|kind| fixture(&format!("frame_{kind}")));
    let frames = frames.into_iter().collect::<Result<Vec<_>>>()?;
    let mut seeds = frames.clone();
    for bytes in &frames {
        // The body alone, so that damage reaches far into it.
        seeds.push(wire::Frame::decode(bytes.as_slice()).context("a fixture")?.body.to_vec());
    }
    damage(&seeds, |bytes| {
        let of_kind = |kind: wire::Kind| wire::Frame {
            kind: kind.into(),
            run_id: vec![1; 16].into(),
            device_id: vec![2; 16].into(),
            seq: 1,
            body: Bytes::copy_from_slice(bytes),
            ..wire::Frame::default()
        };
        let whole = wire::Frame::decode(bytes).ok();
        for frame in kinds.map(of_kind).into_iter().chain(whole) {
            whatever(convert::report(0, frame.clone()));
            whatever(convert::report_apart(0, frame.clone()));
            convert::most_urgent(&wire::Batch { frames: vec![frame], ..wire::Batch::default() });
        }
        whatever(samples::decode(bytes));
    })
}

#[test]
fn a_message_of_either_side_is_read_or_refused() -> Result<()> {
    let names = ["ack", "config", "config_applied", "open", "welcome", "hello_response", "enroll_request"];
    let seeds = names.iter().map(|name| fixture(name)).collect::<Result<Vec<_>>>()?;
    damage(&seeds, |bytes| {
        if let Ok(open) = wire::Open::decode(bytes) {
            convert::evidence(&open.evidence);
        }
        if let Ok(request) = enrollment::EnrollRequest::decode(bytes) {
            convert::evidence(&request.evidence);
            whatever(DeviceKey::from_request(&request.certificate_request));
        }
        whatever(wire::StreamRequest::decode(bytes));
        whatever(wire::StreamResponse::decode(bytes));
        whatever(enrollment::EnrollResponse::decode(bytes));
    })
}

#[test]
fn a_certificate_a_request_and_a_signed_time_are_read_or_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let now = UtcMicros::from_secs(1_790_000_000);
    let authority = Authority::create(folder.path(), &folder.path().join("root.key"), "测试县", now)?;
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::default().serialize_request(&key)?.der().to_vec();
    DeviceKey::from_request(&request).context("the undamaged request")?;
    let root = authority.root().to_vec();
    let print = fingerprint(&root);
    damage(&[request, root.clone()], |bytes| {
        whatever(DeviceKey::from_request(bytes));
        for chain in [vec![bytes.to_vec()], vec![bytes.to_vec(), root.clone()]] {
            let signer = TimeSigner::from_chain(&chain, &print, "00112233445566778899aabbccddeeff.bbt");
            if let Ok(signer) = signer {
                let time = enrollment::SignedTime { signature: bytes.to_vec(), ..Default::default() };
                assert!(signer.verify(&time, &[]).is_err(), "a time that nobody signed was believed");
            }
        }
    })
}

#[test]
fn what_people_type_and_what_the_store_kept_is_read_or_refused() -> Result<()> {
    let domain = TrustDomain::from_random([7; 16]);
    let mut seen = Seen::default();
    for seq in (1..200).step_by(3) {
        seen.mark(seq);
    }
    let seeds = [
        b"2153000123".to_vec(),
        b"7K3M9Q".to_vec(),
        format!("spiffe://{}/device/01a2100d-743d-756d-a6e1-3ae51be814ea", domain.as_str()).into_bytes(),
        "教室 ３０１\u{202e}".into(),
        seen.ranges_to_bytes(),
        UsageDay::default().to_bytes(),
    ];
    damage(&seeds, |bytes| {
        let typed = String::from_utf8_lossy(bytes);
        whatever(SchoolCode::parse(&typed));
        whatever(typed.parse::<SetCode>());
        device_of_uri(&domain, &typed);
        assert!(bbt_domain::text::clean(&typed, 64).chars().count() <= 64);
        bbt_domain::text::clean_name(&typed);
        bbt_domain::text::half_width(&typed);
        if let Some(mut kept) = Seen::from_parts(7, bytes) {
            kept.mark(u64::MAX);
            kept.mark(1);
        }
        UsageDay::from_bytes(bytes);
    })
}

/// Read or refused is the reader's to say.
fn whatever<T>(_said: T) {}

/// The bytes of a message as a released version wrote it.
fn fixture(name: &str) -> Result<Vec<u8>> {
    let path = repository().join(format!("proto/fixtures/0.1/{name}.bin"));
    fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

/// Gives `reader` damaged copies of `seeds` until the time is over.
fn damage(seeds: &[Vec<u8>], reader: impl Fn(&[u8])) -> Result<()> {
    ensure!(seeds.iter().any(|seed| !seed.is_empty()), "nothing to damage");
    let seed = first_seed()?;
    let until = Instant::now() + Duration::from_secs(number(SECS)?.unwrap_or(SECS_OF_A_CHECK));
    let mut chance = Chance::new(seed);
    let mut inputs = 0_u64;
    while Instant::now() < until {
        let bytes = damaged(seeds, &mut chance);
        if catch_unwind(AssertUnwindSafe(|| reader(&bytes))).is_err() {
            bail!("seed {seed}, input {inputs}: a reader panicked over {bytes:02x?}");
        }
        inputs += 1;
    }
    println!("seed {seed}: {inputs} inputs");
    Ok(())
}

fn damaged(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let any = |chance: &mut Chance| seeds[chance.within(0..seeds.len() as u64) as usize].clone();
    let mut bytes = any(chance);
    for _ in 0..=chance.within(0..DAMAGES) {
        let at = chance.within(0..bytes.len() as u64 + 1) as usize;
        let end = at + chance.within(0..(bytes.len() - at) as u64 + 1) as usize;
        match chance.within(0..7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => {
                let other = any(chance);
                let from = chance.within(0..other.len() as u64 + 1) as usize;
                bytes.splice(at..end, other[from..].iter().copied());
            }
            4 => bytes.insert(at, chance.draw() as u8),
            kind => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = match kind {
                        5 => *byte ^ (1 << chance.within(0..8)),
                        _ => TELLING[chance.within(0..TELLING.len() as u64) as usize],
                    };
                }
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}
