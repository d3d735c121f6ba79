//! A line between a device and the controller that can be made worse: slow, narrow, stalled, cut at a chosen byte.
//!
//! It relays TCP, so what it loses it loses with the connection; packets are lost in [`crate::lossy_net`].

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::device::runtime;

/// What is passed on at once: less than a batch, so that cuts fall inside of one.
const CHUNK_BYTES: usize = 4 << 10;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the device.
    Up,
    /// To the device.
    Down,
}

/// How a connection will end.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The direction whose bytes are counted.
    pub direction: Direction,
    /// After so many of them not one more is passed on that way.
    pub after_bytes: u64,
    /// When fewer bytes came until then, it is cut all the same.
    pub at_latest: Duration,
    /// For so long the other way still works, and nobody is told. Then both ends are reset.
    pub unnoticed: Duration,
}

/// How the line is now, for all connections.
#[derive(Clone, Copy, Debug, Default)]
struct Quality {
    delay: Duration,
    bytes_per_sec: Option<u64>,
    stalled: bool,
}

/// A relay on an address of its own. Dropping it ends all that goes through it.
#[derive(Debug)]
pub struct FaultyLink {
    address: SocketAddr,
    quality: watch::Sender<Quality>,
    plan: Arc<Plan>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Plan {
    leads_to: Mutex<Option<SocketAddr>>,
    cuts: Mutex<VecDeque<Cut>>,
    made: AtomicU64,
    connections: AtomicU64,
}

impl FaultyLink {
    /// A line in good order that leads nowhere yet, at a free port of `address`.
    pub fn start(address: Ipv4Addr) -> Result<Self> {
        let listener = runtime().block_on(TcpListener::bind((address, 0))).context("binding a relay")?;
        let address = listener.local_addr().context("asking for a relay's address")?;
        let plan = Arc::new(Plan::default());
        let (quality, now) = watch::channel(Quality::default());
        let accepting = runtime().spawn(accept(listener, Arc::clone(&plan), now));
        Ok(Self { address, quality, plan, accepting })
    }

    /// Where devices find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who is at its other end.
    pub fn lead_to(&self, controller: SocketAddr) {
        *locked(&self.plan.leads_to) = Some(controller);
    }

    /// Each connection from now on takes the next of these ends; those after the last one are whole.
    pub fn cut(&self, cuts: impl IntoIterator<Item = Cut>) {
        *locked(&self.plan.cuts) = cuts.into_iter().collect();
    }

    /// How many cuts were made.
    pub fn cuts(&self) -> u64 {
        self.plan.made.load(Ordering::Relaxed)
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.plan.connections.load(Ordering::Relaxed)
    }

    /// Every chunk is late by this.
    pub fn delay(&self, delay: Duration) {
        self.quality.send_modify(|quality| quality.delay = delay);
    }

    /// So many bytes a second pass each way of each connection.
    pub fn narrow(&self, bytes_per_sec: u64) {
        self.quality.send_modify(|quality| quality.bytes_per_sec = Some(bytes_per_sec));
    }

    /// Whether nothing passes, though all stays open.
    pub fn stall(&self, stalled: bool) {
        self.quality.send_modify(|quality| quality.stalled = stalled);
    }
}

impl Drop for FaultyLink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, plan: Arc<Plan>, quality: watch::Receiver<Quality>) {
    // Connections end with the set, which ends with this task.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((device, _)) = listener.accept().await {
        let Some(controller) = *locked(&plan.leads_to) else { continue };
        let cut = locked(&plan.cuts).pop_front();
        plan.connections.fetch_add(1, Ordering::Relaxed);
        let (plan, quality) = (Arc::clone(&plan), quality.clone());
        connections.spawn(async move {
            // A controller that is not there is a connection that ends at once.
            let Ok(controller) = TcpStream::connect(controller).await else { return };
            if relay(device, controller, cut, quality).await {
                plan.made.fetch_add(1, Ordering::Relaxed);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes until one side closes, or the line is cut: then true.
async fn relay(
    device: TcpStream,
    controller: TcpStream,
    cut: Option<Cut>,
    quality: watch::Receiver<Quality>,
) -> bool {
    for end in [&device, &controller] {
        // What is cut is reset, as by a router that forgot the connection; the bytes under way are gone.
        drop(end.set_zero_linger());
        drop(end.set_nodelay(true));
    }
    let (from_device, to_device) = device.into_split();
    let (from_controller, to_controller) = controller.into_split();
    let used_up = Notify::new();
    let budget = |direction| cut.filter(|cut| cut.direction == direction).map(|cut| cut.after_bytes);
    let cut_off = async {
        let Some(cut) = cut else { return std::future::pending().await };
        drop(timeout(cut.at_latest, used_up.notified()).await);
        sleep(cut.unnoticed).await;
    };
    tokio::select! {
        () = pass(from_device, to_controller, budget(Direction::Up), quality.clone(), &used_up) => false,
        () = pass(from_controller, to_device, budget(Direction::Down), quality.clone(), &used_up) => false,
        () = cut_off => true,
    }
}

/// Passes bytes on until one side closes; when `budget` is used up it says so, and swallows the rest.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    budget: Option<u64>,
    mut quality: watch::Receiver<Quality>,
    used_up: &Notify,
) {
    let mut left = budget.unwrap_or(u64::MAX);
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let Ok(now) = quality.wait_for(|quality| !quality.stalled).await.map(|quality| *quality) else {
            return;
        };
        let length = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let passed = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        let narrow = now
            .bytes_per_sec
            .map_or(Duration::ZERO, |per_sec| Duration::from_secs_f64(passed as f64 / per_sec as f64));
        sleep(now.delay + narrow).await;
        if to.write_all(&chunk[..passed]).await.is_err() {
            return;
        }
        left -= passed as u64;
        if left == 0 {
            used_up.notify_one();
        }
    }
}
