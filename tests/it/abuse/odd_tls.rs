//! What is refused in a handshake, and what is not spoken: each decided at once.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_tests::{county::County, device::Device, wait::SOON};
use rustls::{ClientConfig, ProtocolVersion};

use super::{
    attacker::{Attacker, Loot, Port, Tls},
    wire::hello,
};

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 5, 0, 1));

struct Scene {
    _county: County,
    loot: Loot,
}

impl Scene {
    fn new() -> Result<Self> {
        let county = County::start()?;
        let device = Device::enroll(&county)?;
        let credentials = device.credentials().context("an enrolled device has a certificate")?;
        let loot = Loot::new(&county, device.id, credentials)?;
        Ok(Self { _county: county, loot })
    }

    fn at(&self, port: Port) -> Attacker<'_> {
        let until = Instant::now() + SOON;
        Attacker { loot: &self.loot, port, until, from: FROM, stolen: port == Port::Agents }
    }
}

/// Whether the other side speaks HTTP/2 on this connection.
fn is_answered(attacker: &Attacker, mut stream: Tls) -> Result<bool> {
    // A side that has closed takes nothing more.
    let _ = stream.write_all(&hello(&[]));
    let mut first = [0; 9];
    while attacker.goes_on() {
        match stream.read(&mut first) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Ok(false),
        }
    }
    anyhow::bail!("neither an answer nor an end")
}

fn speaks(scene: &Scene, port: Port, config: impl Fn(&Attacker) -> Result<ClientConfig>) -> Result<bool> {
    let attacker = scene.at(port);
    match attacker.tls(config(&attacker)?) {
        Ok(stream) => is_answered(&attacker, stream),
        Err(_) => Ok(false),
    }
}

#[test]
fn only_http2_is_spoken_with_devices() -> Result<()> {
    let scene = Scene::new()?;
    for port in [Port::Agents, Port::Enrollment] {
        assert!(speaks(&scene, port, |attacker| attacker.config(&[b"h2"]))?, "{port:?}");
        assert!(speaks(&scene, port, |attacker| attacker.config(&[b"spdy/1", b"h2"]))?, "{port:?}");
        let odd: [&[&[u8]]; 4] = [&[], &[b"http/1.1"], &[b"h3", b"spdy/1"], &[b"H2"]];
        for odd in odd {
            assert!(!speaks(&scene, port, |attacker| attacker.config(odd))?, "{odd:?} at {port:?}");
        }
    }
    Ok(())
}

#[test]
fn devices_get_no_tickets_and_no_early_data() -> Result<()> {
    let scene = Scene::new()?;
    for port in [Port::Agents, Port::Enrollment] {
        let attacker = scene.at(port);
        let config = Arc::new(attacker.config(&[b"h2"])?);
        for round in 0..3 {
            let mut stream = attacker.tls(ClientConfig::clone(&config))?;
            assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            assert_eq!(stream.conn.handshake_kind(), Some(rustls::HandshakeKind::Full), "round {round}");
            // The settings come behind where tickets would be.
            stream.write_all(&hello(&[]))?;
            let mut first = [0; 9];
            stream.read_exact(&mut first)?;
            assert_eq!(stream.conn.tls13_tickets_received(), 0);
            assert!(stream.conn.early_data().is_none());
        }
    }
    Ok(())
}

#[test]
fn a_name_that_nobody_has_changes_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let attacker = scene.at(Port::Enrollment);
    for name in ["nobody.example", "localhost", "a.b.c.d.e.f.g.h.example"] {
        let config = Arc::new(attacker.config(&[b"h2"])?);
        let mut client = rustls::ClientConnection::new(config, name.to_owned().try_into()?)?;
        let mut socket = attacker.tcp()?;
        let ended = loop {
            if let Err(error) = client.complete_io(&mut socket) {
                break Some(error);
            }
            if !client.is_handshaking() {
                break None;
            }
        };
        // The listener shows its own certificate; whether that is the right one is the client's to judge.
        let is_own = name == "localhost";
        ensure!(ended.is_none() == is_own, "{name}: {ended:?}");
    }
    Ok(())
}

#[test]
fn a_handshake_that_takes_too_long_is_cut_off() -> Result<()> {
    let scene = Scene::new()?;
    let attacker = scene.at(Port::Agents);
    let mut hello = Vec::new();
    attacker.client(attacker.config(&[b"h2"])?)?.write_tls(&mut hello)?;
    let began = Instant::now();
    let mut streams = [attacker.tcp()?, attacker.tcp()?, attacker.tcp()?];
    streams[1].write_all(&hello[..hello.len() / 2])?;
    streams[2].write_all(&hello)?;
    for mut stream in streams {
        // Whatever it said before, it ends.
        let _ = attacker.read_out(&mut stream);
    }
    // Three times the ten seconds that are promised.
    ensure!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    Ok(())
}
