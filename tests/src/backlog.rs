//! Reports that wait for an agent before it starts, written by the agent's own spool in the name of a run that
//! has ended. So a start of some tenths of a second has as much to deliver as a morning after a cut line.

use std::collections::BTreeMap;

use anyhow::Result;
use bbt_agent::{
    identity::clock::Stamp,
    platform::{self, Roots},
    spool::{Class, Draft, Fate, FrameKey, Limits, Origin, Spool},
};
use bbt_proto::report::v1 as wire;
use prost::Message;

use crate::{agent::Agent, chance::Chance, record::Key};

/// Far beyond what a test writes: nothing is dropped here.
const LIMITS: Limits = Limits { max_bytes: 1 << 30, max_age_micros: i64::MAX };
/// Every so many reports one of state, the others are of history.
const STATE_EVERY: u64 = 8;

/// Whether the county has them already, as far as the spool knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They wait.
    Waiting,
    /// They were delivered, and are kept for a while.
    Delivered,
}

/// How long ago what was delivered was decided.
const DELIVERED_BEFORE_MICROS: i64 = 3_600_000_000;

/// Adds `count` reports with bodies of some `size_bytes` to the spool of an agent that does not run, on disk when
/// this returns. Gives the samples among them with their bytes, and the states without.
pub fn add(
    agent: &Agent,
    count: u64,
    size_bytes: usize,
    standing: Standing,
    chance: &mut Chance,
) -> Result<BTreeMap<Key, Option<Vec<u8>>>> {
    let run_id = chance.id();
    let boot = wire::OsBoot { id: chance.id().to_vec(), started_mono_micros: 0, clean_stop: None };
    let origin = Origin { run_id, device_id: agent.device_id()?, os_boot: boot };
    let now = platform::native(Roots::system()).now();
    let mut stamp = Stamp {
        wall_micros: now.wall_micros,
        mono_micros: now.mono_micros,
        guarded_micros: now.wall_micros,
        signed: false,
    };
    let mut spool = Spool::open(&agent.state().join("spool"), origin, LIMITS, &stamp);
    let mut added = BTreeMap::new();
    for no in 1..=count {
        stamp.mono_micros += 1;
        let (class, kind, body) = if no % STATE_EVERY == 0 {
            (Class::State, wire::Kind::State, state("an earlier run", no).encode_to_vec())
        } else {
            (Class::History, wire::Kind::Samples, samples(size_bytes, chance).encode_to_vec())
        };
        let seq = spool.append(Draft { class, kind, body: body.clone().into() }, &stamp)?;
        added.insert((run_id, seq), (kind == wire::Kind::Samples).then_some(body));
    }
    spool.commit(&stamp);
    if standing == Standing::Delivered {
        // Well before what the agent decides next: its signed time may be a little behind this machine's clock, and
        // of what is kept the oldest goes first.
        stamp.guarded_micros -= DELIVERED_BEFORE_MICROS;
        loop {
            let batch = spool.next_batch(None, usize::MAX, &stamp);
            if batch.is_empty() {
                break;
            }
            let decided: Vec<(FrameKey, Fate)> =
                batch.into_iter().map(|(key, _)| (key, Fate::Keep)).collect();
            spool.decide(&decided, None, &stamp);
        }
    }
    let trouble = spool.summary().trouble;
    anyhow::ensure!(trouble.is_none(), "the spool could not be written: {trouble:?}");
    Ok(added)
}

/// Samples with values of chance, some `size_bytes` of them.
pub fn samples(size_bytes: usize, chance: &mut Chance) -> wire::Samples {
    // Three values of up to five bytes each.
    let values: Vec<i64> =
        (0..size_bytes.div_ceil(12).max(1)).map(|_| chance.within(0..1 << 27) as i64).collect();
    let column = wire::Column {
        metric: wire::Metric::MemoryUsedKib.into(),
        min: values.clone(),
        mean: values.clone(),
        max: values.clone(),
        ..wire::Column::default()
    };
    wire::Samples { mono_micros: vec![1_000_000; values.len()], columns: vec![column] }
}

/// A full state that can be told from every other by its host name.
pub fn state(who: &str, no: u64) -> wire::State {
    let software = wire::Software { host_name: Some(format!("{who} {no}")), ..wire::Software::default() };
    wire::State { full: true, software: Some(software), ..wire::State::default() }
}
