//! Runs collectors so that none takes another down.
//!
//! At most two passes run at a time, each on a thread of its own that ends with it: between passes the agent
//! has no collector threads, and their stacks cost nothing. A panic is caught and told. A pass over its
//! deadline is told as `hung` and gives its place to the next: its thread is left alone until the call
//! returns, and until then the collector is not started again. So there are never more threads than two and
//! one per hung collector, and even with every other one hung the last still gets its turn.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bbt_proto::report::v1::Problem;
use tokio::{sync::oneshot, time};

use super::{Collector, Section};
use crate::{decode::text, platform::Platform};

/// Reading small files and parsing them needs no more; the default of 2 MiB is for programs.
const STACK_BYTES: usize = 256 << 10;

/// See the head of the module.
pub struct Runner {
    platform: Arc<dyn Platform>,
    entries: Vec<Entry>,
    /// One run at a time: two at once would be four passes.
    turn: tokio::sync::Mutex<()>,
}

struct Entry {
    collector: Arc<dyn Collector>,
    running: Arc<AtomicBool>,
}

impl Runner {
    /// Runs `collectors` on `platform`.
    #[must_use]
    pub fn new(platform: Arc<dyn Platform>, collectors: Vec<Arc<dyn Collector>>) -> Self {
        let entry = |collector| Entry { collector, running: Arc::default() };
        Self {
            platform,
            entries: collectors.into_iter().map(entry).collect(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// One pass of each collector in `names`; the sections come in the order of the names. A name that no
    /// collector has gives none.
    pub async fn run(&self, names: &[&str]) -> Vec<Section> {
        let _turn = self.turn.lock().await;
        let entries = names.iter().filter_map(|name| self.entry(name)).enumerate();
        let queue = Mutex::new(entries);
        let found = Mutex::new(Vec::new());
        let worker = async || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((place, entry)) = next else { break };
                let section = self.pass(entry).await;
                found.lock().unwrap_or_else(PoisonError::into_inner).push((place, section));
            }
        };
        tokio::join!(worker(), worker());
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, section)| section).collect()
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.collector.name() == name)
    }

    async fn pass(&self, entry: &Entry) -> Section {
        let name = entry.collector.name();
        let failed = |code: &str, message: String| {
            entry.collector.failed(Problem { item: name.into(), code: code.into(), message })
        };
        if entry.running.swap(true, Ordering::AcqRel) {
            return failed("hung", format!("An earlier pass of the collector {name} has not returned yet."));
        }
        let (send, receive) = oneshot::channel();
        let (platform, collector) = (Arc::clone(&self.platform), Arc::clone(&entry.collector));
        let running = Arc::clone(&entry.running);
        let started = thread::Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| collector.collect(platform.as_ref())));
            running.store(false, Ordering::Release);
            // Nobody waits for a pass that came back after its deadline.
            let _ = send.send(outcome);
        });
        if let Err(error) = started {
            entry.running.store(false, Ordering::Release);
            return failed(
                "unreadable",
                format!("Starting a thread for the collector {name} failed: {error}."),
            );
        }
        let deadline = entry.collector.deadline();
        match time::timeout(deadline, receive).await {
            Ok(Ok(Ok(section))) => section,
            Ok(Ok(Err(panic))) => {
                failed("panicked", format!("The collector {name} panicked: {}.", panic_text(panic.as_ref())))
            }
            Ok(Err(_)) => failed("panicked", format!("The collector {name} ended without a result.")),
            Err(_) => {
                let seconds = deadline.as_secs_f32();
                failed("hung", format!("The collector {name} did not return within {seconds} s."))
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let raw =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    raw.and_then(text::clean).unwrap_or_else(|| "without a word".into())
}
