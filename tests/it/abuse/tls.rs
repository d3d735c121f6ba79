//! Before anybody has shaken hands, and records after it.

use std::{io::Write, net::Shutdown, thread, time::Duration};

use anyhow::Result;
use rustls::StreamOwned;

use super::attacker::Attacker;

/// Connections that one attacker holds.
const MANY: usize = 150;

/// Connects and says nothing.
pub(super) fn silence(attacker: &Attacker) -> Result<()> {
    let held: Vec<_> = (0..MANY).map_while(|_| attacker.tcp().ok()).collect();
    attacker.rest();
    drop(held);
    Ok(())
}

/// Connects and goes, as often as it can.
pub(super) fn coming_and_going(attacker: &Attacker) -> Result<()> {
    while attacker.goes_on() {
        attacker.tcp()?.shutdown(Shutdown::Both)?;
    }
    Ok(())
}

fn client_hello(attacker: &Attacker) -> Result<Vec<u8>> {
    let mut hello = Vec::new();
    attacker.client(attacker.config(&[b"h2"])?)?.write_tls(&mut hello)?;
    Ok(hello)
}

/// A good greeting, byte by byte.
pub(super) fn slow_hello(attacker: &Attacker) -> Result<()> {
    let hello = client_hello(attacker)?;
    let mut held: Vec<_> = (0..MANY).map_while(|_| attacker.tcp().ok()).collect();
    for byte in hello {
        if !attacker.goes_on() {
            break;
        }
        for stream in &mut held {
            // Those that were closed meanwhile are no loss.
            let _ = stream.write_all(&[byte]);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A good greeting, and then nothing.
pub(super) fn half_a_handshake(attacker: &Attacker) -> Result<()> {
    let hello = client_hello(attacker)?;
    let mut held = Vec::new();
    for _ in 0..MANY {
        let Ok(mut stream) = attacker.tcp() else { break };
        stream.write_all(&hello)?;
        held.push(stream);
    }
    attacker.rest();
    Ok(())
}

/// Whole handshakes, as many as it can.
pub(super) fn handshakes(attacker: &Attacker) -> Result<()> {
    while attacker.goes_on() {
        // A refusal comes after them.
        let _ = attacker.http2();
    }
    Ok(())
}

/// What is no TLS.
pub(super) fn noise(attacker: &Attacker) -> Result<()> {
    attacker.flood(&mut attacker.tcp()?, &[0xa5; 16 << 10])
}

/// Plain HTTP.
pub(super) fn plain_http(attacker: &Attacker) -> Result<()> {
    let mut stream = attacker.tcp()?;
    attacker.write(&mut stream, b"GET / HTTP/1.1\r\nHost: county.example\r\n\r\n")?;
    attacker.read_out(&mut stream)
}

/// A greeting of 16 MiB, as it says itself.
pub(super) fn giant_hello(attacker: &Attacker) -> Result<()> {
    let mut stream = attacker.tcp()?;
    let record = |payload: &[u8]| [&[22, 3, 1][..], &(payload.len() as u16).to_be_bytes(), payload].concat();
    attacker.write(&mut stream, &record(&[1, 0xff, 0xff, 0xff]))?;
    attacker.flood(&mut stream, &record(&[0; 16 << 10]))
}

/// A greeting in records of one byte each, then records of nothing.
pub(super) fn empty_records(attacker: &Attacker) -> Result<()> {
    let mut stream = attacker.tcp()?;
    let hello = client_hello(attacker)?;
    for byte in hello.iter().skip(5).take(40) {
        attacker.write(&mut stream, &[22, 3, 1, 0, 1, *byte])?;
    }
    attacker.flood(&mut stream, &[22, 3, 1, 0, 0].repeat(1_000))
}

/// New keys again and again.
pub(super) fn new_keys(attacker: &Attacker) -> Result<()> {
    let mut stream = attacker.http2()?;
    while attacker.goes_on() {
        stream.conn.refresh_traffic_keys()?;
        attacker.write(&mut stream, b"P")?;
    }
    Ok(())
}

/// Records of one byte each, after a good handshake.
pub(super) fn small_records(attacker: &Attacker) -> Result<()> {
    let StreamOwned { mut conn, mut sock } = attacker.http2()?;
    let mut bytes = super::wire::hello(&[]);
    bytes.extend(super::wire::frame(0x77, 0, 0, &[0; 8_000]));
    for byte in bytes.iter().cycle() {
        if !attacker.goes_on() {
            break;
        }
        conn.writer().write_all(&[*byte])?;
        let mut record = Vec::new();
        conn.write_tls(&mut record)?;
        attacker.write(&mut sock, &record)?;
    }
    Ok(())
}
