//! Those who go on with their day meanwhile: two devices that report and somebody who reads the console.

use std::{
    io::{Read, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_proto::report::v1::{Code, Kind};
use bbt_tests::device::{Device, Stream};

use super::attacker::{Attacker, Loot, Port};

/// Between two reports, and two pages: often enough that a second without an answer shows.
const PAUSE: Duration = Duration::from_millis(100);

const DEVICE: &str = "a device";

/// What honest peers saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Answers.
    pub(super) answers: usize,
    /// The longest that one took.
    pub(super) longest: Duration,
}

/// Honest peers at work. They end when dropped.
pub(super) struct Honest {
    ends: Arc<AtomicBool>,
    peers: Vec<Peer>,
}

struct Peer {
    what: &'static str,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Honest {
    /// Two devices with an open stream each, and a visitor of the console.
    pub(super) fn begin(devices: &[Device; 2], loot: &Arc<Loot>) -> Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let mut peers = Vec::new();
        for device in devices {
            let mut reporter = Reporter { stream: device.open()?, seq: 0 };
            peers.push(Peer::begin(DEVICE, &ends, move || reporter.report()));
        }
        let loot = Arc::clone(loot);
        peers.push(Peer::begin("the console", &ends, move || read_a_page(&loot)));
        Ok(Self { ends, peers })
    }

    /// What each has seen since this was asked before.
    pub(super) fn seen(&mut self) -> Result<Vec<(&'static str, Seen)>> {
        self.peers.iter_mut().map(|peer| Ok((peer.what, peer.seen()?))).collect()
    }

    /// The same of the devices alone.
    pub(super) fn devices_seen(&mut self) -> Result<Vec<Seen>> {
        self.peers.iter_mut().filter(|peer| peer.what == DEVICE).map(Peer::seen).collect()
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for peer in &mut self.peers {
            if let Some(thread) = peer.thread.take() {
                // What it had to say was asked for.
                drop(thread.join());
            }
        }
    }
}

impl Peer {
    fn begin(
        what: &'static str,
        ends: &Arc<AtomicBool>,
        mut act: impl FnMut() -> Result<()> + Send + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (ends, noted) = (Arc::clone(ends), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let began = Instant::now();
                act()?;
                let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
                seen.answers += 1;
                seen.longest = seen.longest.max(began.elapsed());
                drop(seen);
                thread::sleep(PAUSE);
            }
            Ok(())
        });
        Self { what, seen, thread: Some(thread) }
    }

    fn seen(&mut self) -> Result<Seen> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(Ok(ended)) = self.thread.take().map(JoinHandle::join)
        {
            ended.with_context(|| format!("{} was not served", self.what))?;
        }
        ensure!(self.thread.is_some(), "{} has ended", self.what);
        Ok(std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

struct Reporter {
    stream: Stream,
    seq: u64,
}

impl Reporter {
    fn report(&mut self) -> Result<()> {
        self.seq += 1;
        let frame = self.stream.frame(self.seq, Kind::State, Vec::new());
        self.stream.send(vec![frame])?;
        loop {
            let ack = self.stream.ack()?;
            // Whoever is told to come again does.
            if let [verdict] = ack.verdicts.as_slice() {
                ensure!(verdict.code() == Code::Committed, "{verdict:?}");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(u64::from(ack.retry_after_ms)));
            let frame = self.stream.frame(self.seq, Kind::State, Vec::new());
            self.stream.send(vec![frame])?;
        }
    }
}

fn read_a_page(loot: &Loot) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(30);
    let from = std::net::Ipv4Addr::LOCALHOST.into();
    let visitor = Attacker { loot, port: Port::Console, until, from, stolen: false };
    let mut stream = visitor.http1()?;
    stream.write_all(b"GET /login HTTP/1.1\r\nHost: county.example\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let (mut page, mut bytes) = (Vec::new(), [0; 16 << 10]);
    while !page.ends_with(b"</html>\n") && !page.ends_with(b"</html>") && visitor.goes_on() {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => page.extend(&bytes[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("reading a page"),
        }
    }
    ensure!(page.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&page));
    Ok(())
}
