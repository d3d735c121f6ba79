//! Good greetings with random bytes changed: nothing panics, and the controller goes on.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    chance::{Chance, first_seed},
    county::County,
    device::{Device, Knock},
};
use uuid::Uuid;

use super::{
    attacker::{Attacker, Loot, Port},
    grpc::open,
    http2::path,
    wire::{data, get, hello, post},
};

/// Mutations of each of the three.
const TIMES: usize = 667;
/// Attempts from one address: fewer than arrive at once.
const OF_ONE_ADDRESS: usize = 50;

#[test]
fn nothing_breaks_of_greetings_that_are_a_little_wrong() -> Result<()> {
    let seed = first_seed()?;
    println!("seed {seed}");
    let mut county = County::start()?;
    let device = Device::enroll(&county)?;
    let credentials = device.credentials().context("an enrolled device has a certificate")?;
    let loot = Loot::new(&county, device.id, credentials)?;

    let mut chance = Chance::new(seed);
    for no in 0..TIMES {
        let attacker = at(&loot, Port::Enrollment, no);
        let mut greeting = Vec::new();
        attacker.client(attacker.config(&[b"h2"])?)?.write_tls(&mut greeting)?;
        let mut stream = attacker.tcp()?;
        // What becomes of it is the controller's to say.
        let _ = attacker.write(&mut stream, &changed(greeting, &mut chance));
    }
    for no in 0..TIMES {
        let attacker = at(&loot, Port::Console, no);
        let good =
            [hello(&[(4, 65_535)]), get(1, path(Port::Console)), post(3, path(Port::Console))].concat();
        let mut stream = attacker.http2()?;
        let _ = attacker.write(&mut stream, &changed(good, &mut chance));
    }
    for no in 0..TIMES {
        let attacker = at(&loot, Port::Agents, no);
        let opening = changed(open(device.id, Uuid::from_bytes(chance.id())), &mut chance);
        let good = [hello(&[]), post(1, path(Port::Agents)), data(1, &opening)].concat();
        let mut stream = attacker.http2()?;
        let _ = attacker.write(&mut stream, &good);
    }

    county.ensure_running()?;
    assert_eq!(device.knock()?, Knock::LetIn);
    drop(device.open()?);
    let log = county.log();
    ensure!(!log.contains("panicked"), "seed {seed}: {log}");
    Ok(())
}

fn at(loot: &Loot, port: Port, no: usize) -> Attacker<'_> {
    let room = u8::try_from(no / OF_ONE_ADDRESS + 1).expect("there are few rooms");
    let from = IpAddr::V4(Ipv4Addr::new(127, 6, 0, room));
    let until = Instant::now() + Duration::from_secs(5);
    Attacker { loot, port, until, from, stolen: port == Port::Agents }
}

/// A few bytes changed, left out, or doubled.
fn changed(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    for _ in 0..=chance.within(0..4) {
        if bytes.len() < 2 {
            break;
        }
        let at = chance.within(0..bytes.len() as u64) as usize;
        match chance.within(0..5) {
            0 => bytes[at] = chance.draw() as u8,
            1 => bytes[at] ^= 1 << chance.within(0..8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, bytes[at]),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}
