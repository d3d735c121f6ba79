//! Disks that fail: full, read-only, or with an error where data should have become durable. Nothing that was
//! acknowledged is lost, whoever looks is told why, and both programs go on unaided once the disk is there again.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use bbt_proto::report::v1::{Code, Frame, Kind};
use bbt_tests::{
    backlog,
    chance::Chance,
    county::County,
    device::{Device, Stream},
    loop_disk::LoopDisk,
    program,
    record::CountyRecord,
    wait::{SOON, eventually},
};
use prost::Message;

/// Some reports fill what a full disk has left in its files.
const BODY_BYTES: usize = 4_000;

/// Without root there is no disk to fail, and no other program to trace.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("not run: mounting a disk of the test's own needs root");
    }
    is_root
}

/// A device that sends one report after the other on one stream, and remembers which were acknowledged.
struct Sender {
    device: Device,
    stream: Stream,
    seq: u64,
    committed: Vec<u64>,
}

impl Sender {
    fn new(county: &County) -> Result<Self> {
        let device = Device::enroll(county)?;
        let stream = device.open()?;
        Ok(Self { device, stream, seq: 0, committed: Vec::new() })
    }

    fn frame(&self, seq: u64) -> Frame {
        self.stream.frame(seq, Kind::Samples, body(seq))
    }

    /// Sends the next report, or the last one again; whether it was committed.
    fn send(&mut self) -> Result<bool> {
        let next = self.committed.last().map_or(1, |last| last + 1);
        self.seq = next;
        let frame = self.frame(next);
        self.stream.send(vec![frame])?;
        let ack = self.stream.ack()?;
        match ack.verdicts.as_slice() {
            [] => {
                ensure!(ack.retry_after_ms > 0, "neither a verdict nor when to come again");
                Ok(false)
            }
            [verdict] if matches!(verdict.code(), Code::Committed | Code::Duplicate) => {
                self.committed.push(next);
                Ok(true)
            }
            other => bail!("{other:?}"),
        }
    }

    /// Sends until the county takes nothing more.
    fn until_refused(&mut self) -> Result<()> {
        eventually(SOON, "a county that takes nothing more", || {
            ensure!(!self.send()?, "report {} was committed", self.seq);
            Ok(())
        })
    }

    /// Sends until the county takes reports again, on the same stream.
    fn until_taken(&mut self) -> Result<()> {
        eventually(SOON, "a county that takes reports again", || {
            ensure!(self.send()?, "report {} was not committed", self.seq);
            Ok(())
        })
    }

    /// Everything that was acknowledged is there, once.
    fn compare(&self, county: &County) -> Result<()> {
        let record = CountyRecord::read(county)?;
        let (device, run) = (self.device.id.into_bytes(), self.stream.run.into_bytes());
        let history = record.history(device);
        for seq in &self.committed {
            let stored = history.get(&(run, *seq)).with_context(|| format!("report {seq} is lost"))?;
            ensure!(*stored == body(*seq), "report {seq} is another");
        }
        Ok(())
    }
}

/// Samples that can be told from those of every other report.
fn body(seq: u64) -> Vec<u8> {
    backlog::samples(BODY_BYTES, &mut Chance::new(seq)).encode_to_vec()
}

/// What `/readyz` answers: its status and its words.
fn readyz(county: &County) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(county.listen()?.admin)?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
    Ok((status, answer))
}

/// Waits until everybody who looks is told that nothing can be stored, and why.
fn told(county: &County, why: &str) -> Result<()> {
    eventually(SOON, "the word that nothing can be stored", || {
        let (status, answer) = readyz(county)?;
        ensure!(status == 503, "{answer}");
        let said = county.json(["status"])?;
        let trouble =
            said["troubles"].as_array().and_then(|all| all.first().cloned()).context("no trouble")?;
        ensure!(trouble["kind"] == "store_cannot_commit" && trouble["why"] == why, "{trouble}");
        Ok(())
    })
}

fn told_over(county: &County) -> Result<()> {
    eventually(SOON, "the word that it is over", || {
        let (status, answer) = readyz(county)?;
        ensure!(status == 200, "{answer}");
        let said = county.json(["status"])?;
        ensure!(said["troubles"].as_array().is_some_and(Vec::is_empty), "{said}");
        Ok(())
    })
}

/// A county whose data lie on `disk`.
fn county_on(disk: &LoopDisk) -> Result<County> {
    let mut county = County::init()?;
    let data = county.data();
    program::succeed(Command::new("cp").arg("-a").arg(&data).arg(disk.mount_point().join("data")), b"")?;
    fs::remove_dir_all(&data)?;
    program::succeed(Command::new("sync").arg("-f").arg(disk.mount_point()), b"")?;
    std::os::unix::fs::symlink(disk.mount_point().join("data"), &data)?;
    county.serve()?;
    Ok(county)
}

#[test]
fn a_county_on_a_full_disk_says_so_keeps_its_streams_and_goes_on_when_there_is_room() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let disk = LoopDisk::mount()?;
    let mut county = county_on(&disk)?;
    let mut sender = Sender::new(&county)?;
    let other = Device::enroll(&county)?;
    sender.until_taken()?;
    disk.fill()?;
    sender.until_refused()?;
    told(&county, "no_space")?;

    let refused = county.output(["device", "revoke", &other.id.to_string()])?;
    ensure!(!refused.status.success(), "a revocation that is not on disk is told as one");
    let log = fs::read_to_string(county.data().join("revocations.log"))?;
    ensure!(log.is_empty() || log.ends_with('\n'), "no half line is left: {log:?}");

    disk.free()?;
    told_over(&county)?;
    sender.until_taken()?;
    county.cli(["device", "revoke", &other.id.to_string()])?;
    county.cli(["check"])?;
    county.stop()?;
    sender.compare(&county)
}

#[test]
fn a_county_on_a_disk_that_became_read_only_says_so_and_loses_nothing_by_its_repair() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let disk = LoopDisk::mount()?;
    let mut county = county_on(&disk)?;
    let mut sender = Sender::new(&county)?;
    sender.until_taken()?;
    disk.break_down()?;
    sender.until_refused()?;
    told(&county, "read_only")?;
    // Whoever repairs a disk mounts it anew, and so starts anew what uses it.
    county.stop()?;
    disk.mount_again()?;
    county.serve()?;
    told_over(&county)?;
    county.stop()?;
    sender.compare(&county)
}

#[test]
fn a_county_whose_disk_fails_to_sync_acknowledges_nothing_until_it_was_opened_anew() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut county = County::start()?;
    let mut sender = Sender::new(&county)?;
    sender.until_taken()?;
    {
        let _failing = Failing::start(&county, "fdatasync,fsync")?;
        sender.until_refused()?;
        told(&county, "io_error")?;
    }
    told_over(&county)?;
    sender.until_taken()?;
    ensure!(county.log().contains("opened anew"), "a handle that failed once is used no more");
    // What was acknowledged before and after is there even if the controller is killed now.
    county.kill()?;
    county.serve()?;
    told_over(&county)?;
    county.stop()?;
    sender.compare(&county)
}

/// Calls of a running controller that fail with EIO while this lives.
struct Failing(std::process::Child);

impl Failing {
    fn start(county: &County, calls: &str) -> Result<Self> {
        let id = county.id().context("the controller runs")?.to_string();
        let inject = format!("inject={calls}:error=EIO");
        let child = Command::new("strace")
            .args(["-f", "-q", "-o", "/dev/null", "-e", &inject, "-p", &id])
            .spawn()
            .context("starting strace")?;
        let failing = Self(child);
        let status = Path::new("/proc").join(&id).join("status");
        eventually(SOON, "strace at work", || {
            let status = fs::read_to_string(&status)?;
            ensure!(!status.contains("TracerPid:\t0"), "not traced yet");
            Ok(())
        })?;
        Ok(failing)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // On SIGTERM it lets go of whom it traces.
        if let Some(id) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

#[test]
fn a_damaged_database_is_told_at_the_start_with_its_remedy() -> Result<()> {
    let county = County::init()?;
    let backup = county.data().with_file_name("backup");
    county.cli(["backup".as_ref(), backup.as_os_str()])?;
    let path = county.data().join("county.db");
    let mut bytes = fs::read(&path)?;
    let half = bytes.len() / 2 / 4_096 * 4_096;
    bytes[half..].fill(0xa5);
    fs::write(&path, bytes)?;
    for command in ["serve", "check", "status"] {
        let output = county.output([command])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{command}: {said}");
        ensure!(said.contains("is damaged") && said.contains("bbt-controller restore"), "{command}: {said}");
    }
    county.cli(["restore".as_ref(), backup.as_os_str()])?;
    county.cli(["check"])?;
    Ok(())
}
