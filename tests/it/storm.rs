//! A whole county comes back at once: the controller was killed, and every device is at its port again.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_proto::report::v1::{Code, Kind, State};
use bbt_tests::{
    chance::number,
    county::County,
    device::{Device, Stream, try_enroll},
    wait::{SOON, eventually},
};
use prost::Message;

/// How many devices; a variable of this name chooses otherwise.
const DEVICES: &str = "BBT_TEST_STORM_DEVICES";
const DEVICES_IN_A_CHECK: u64 = 1_000;
/// Three times the 20 s in which a thousand are to be back.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Devices of one computer room have one address.
const DEVICES_PER_ADDRESS: u64 = 50;
/// Devices that enrol at the same moment; half of what the controller takes.
const ENROLLING: usize = 16;
/// Devices that shake hands at the same moment. More of them would only wait for this machine's two cores.
const COMING_BACK: usize = 64;
/// Descriptors that the controller opens and closes by itself meanwhile.
const DESCRIPTORS_OF_ITS_OWN: usize = 16;

#[test]
fn a_thousand_devices_come_back_at_once_and_each_report_is_stored() -> Result<()> {
    let count = number(DEVICES)?.unwrap_or(DEVICES_IN_A_CHECK);
    let mut county = County::start()?;
    let token = county.token_with(&["--uses", &count.to_string()])?;
    let devices: Vec<Device> = at_once(ENROLLING, &(0..count).collect::<Vec<_>>(), |no| {
        let room = u8::try_from(1 + no / DEVICES_PER_ADDRESS).context("the network has no more rooms")?;
        Ok(try_enroll(&county, &token, IpAddr::V4(Ipv4Addr::new(127, 0, room, 1)))??)
    })?;

    county.kill()?;
    county.serve()?;
    let descriptors = || -> Result<usize> {
        let id = county.id().context("the controller runs")?;
        Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count())
    };
    let before = descriptors()?;
    let began = Instant::now();
    let open: Vec<Stream> = at_once(COMING_BACK, &devices, |device| {
        eventually(BACK_WITHIN, "a stream and its first verdict", || come_back(device))
    })?;
    let took = began.elapsed();
    println!("{count} devices were back in {took:?}");
    ensure!(took < BACK_WITHIN, "it took {took:?}");
    ensure!(streams(&county)? == count, "not every stream is open at once");
    let status = county.json(["status"])?;
    ensure!(status["devices"] == count && status["devices_reporting"] == count, "{status}");

    drop(open);
    eventually(SOON, "the end of all streams", || {
        let left = streams(&county)?;
        ensure!(left == 0, "{left} are open");
        Ok(())
    })?;
    eventually(SOON, "the descriptors of before", || {
        let now = descriptors()?;
        ensure!(now <= before + DESCRIPTORS_OF_ITS_OWN, "{now} instead of {before}");
        Ok(())
    })
}

/// A stream whose first report was stored.
fn come_back(device: &Device) -> Result<Stream> {
    let mut stream = device.open()?;
    let frame = stream.frame(1, Kind::State, State { full: true, ..State::default() }.encode_to_vec());
    stream.send(vec![frame])?;
    let ack = stream.ack()?;
    ensure!(
        !ack.verdicts.is_empty() && ack.verdicts.iter().all(|verdict| verdict.code() == Code::Committed),
        "{ack:?}"
    );
    Ok(stream)
}

fn streams(county: &County) -> Result<u64> {
    county.json(["status"])?["live"]["streams"].as_u64().context("how many streams are open")
}

/// Does `work` with all of `items`, `width` of them at a time; the results come in any order.
fn at_once<I: Sync, T: Send>(
    width: usize,
    items: &[I],
    work: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..width)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = work(item)?;
                        done.lock().expect("a worker panicked").push(result);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker panicked"))
    })?;
    Ok(done.into_inner().expect("a worker panicked"))
}
