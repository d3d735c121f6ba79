//! In whatever order, how often and in whatever pieces reports come, they change the record once.
//!
//! Each interleaving is told to two devices: one gets the reports of a few runs in order and once, its twin gets them
//! cut into batches, repeated, reordered and interleaved. In the end the county has the same of both.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bbt_domain::{
    facts::{Software, StateReport, Told},
    ids::{DeviceId, RunId},
    report::{Body, Class, Decision, Gap, Report},
    time::UtcMicros,
    usage::slots::{Seconds, Slot},
};
use bbt_tests::{
    chance::{Chance, FIRST_SEED, first_seed, number},
    county_store::{self, CountyStore, report},
    crash_vfs,
    record::CountyRecord,
};
use rusqlite::{Connection, OpenFlags};

const INTERLEAVINGS: &str = "BBT_TEST_INTERLEAVINGS";
const INTERLEAVINGS_IN_A_CHECK: u64 = 10_000;
/// Pairs of twins, side by side.
const PAIRS: u8 = 40;
/// Interleavings in one county; then another one, with the next seed.
const ROUND: u64 = 10_000;
/// Runs in one interleaving, and reports of each.
const RUNS: usize = 2;
const RUN_REPORTS: std::ops::Range<u64> = 1..6;
/// How often a report comes.
const TIMES: std::ops::Range<u64> = 1..4;
const BATCH_REPORTS: std::ops::Range<u64> = 1..6;

#[test]
fn duplicated_reordered_and_interleaved_reports_change_the_record_once() -> Result<()> {
    let mut left = number(INTERLEAVINGS)?.unwrap_or(INTERLEAVINGS_IN_A_CHECK);
    let mut seed = first_seed()?;
    println!(
        "from seed {seed}; again: {FIRST_SEED}={seed} {INTERLEAVINGS}={left} cargo test -p bbt-tests --test it duplicated_reordered"
    );
    while left > 0 {
        let count = left.min(ROUND);
        round(seed, count).with_context(|| format!("in the round with seed {seed}"))?;
        left -= count;
        seed += 1;
    }
    Ok(())
}

fn round(seed: u64, count: u64) -> Result<()> {
    let folder = crash_vfs::folder()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let pairs = runtime.block_on(async {
        let county = Arc::new(CountyStore::create(folder.path()).await?);
        let mut work = tokio::task::JoinSet::new();
        for no in 0..PAIRS {
            let county = Arc::clone(&county);
            let share = count / u64::from(PAIRS) + u64::from(u64::from(no) < count % u64::from(PAIRS));
            work.spawn(async move {
                let pair = [county.enroll(2 * no + 1).await?, county.enroll(2 * no + 2).await?];
                let mut chance = Chance::part(seed, no.into());
                for _ in 0..share {
                    interleave(&county, pair, &mut chance).await?;
                }
                anyhow::Ok(pair)
            });
        }
        work.join_all().await.into_iter().collect::<Result<Vec<_>>>()
    })?;
    let path = folder.path().join(county_store::FILE_NAME);
    let record = CountyRecord::read_file(&path)?;
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    for pair in pairs {
        let [in_order, shuffled] = pair.map(|device| *device.as_bytes());
        ensure!(record.history(in_order) == record.history(shuffled), "the twins' histories differ");
        ensure!(record.seen(in_order)? == record.seen(shuffled)?, "different reports of the twins were seen");
        let state = |id| record.state(id).map(|state| (state.run, state.seq, state.snapshot.clone()));
        ensure!(state(in_order) == state(shuffled), "the twins' states differ");
        for table in ["SELECT day, slots FROM usage_day", "SELECT first_seq, sum(lost) FROM gap"] {
            let of = |id: [u8; 16]| -> Result<Vec<(i64, rusqlite::types::Value)>> {
                let sql = format!("{table} WHERE device_id = ?1 GROUP BY 1 ORDER BY 1");
                let mut rows = db.prepare(&sql)?;
                let rows = rows.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            };
            ensure!(!of(in_order)?.is_empty(), "nothing to compare by {table}");
            ensure!(of(in_order)? == of(shuffled)?, "the twins differ by {table}");
        }
    }
    Ok(())
}

async fn interleave(
    county: &CountyStore,
    [in_order, shuffled]: [DeviceId; 2],
    chance: &mut Chance,
) -> Result<()> {
    let runs: Vec<RunId> = (0..RUNS).map(|_| RunId::from_bytes(chance.id())).collect();
    let session = runs[RUNS - 1];
    let mut bodies = Vec::new();
    for run in &runs {
        for seq in 1..=chance.within(RUN_REPORTS) {
            bodies.push((*run, seq, body(*run, seq, chance)));
        }
    }
    let made = |device| -> Vec<Report> {
        bodies.iter().map(|(run, seq, body)| report(device, *run, *seq, body.clone())).collect()
    };
    county.open_session(in_order, session).await?;
    let decided = county.deliver(in_order, session, made(in_order)).await?;
    ensure!(decided.iter().all(|one| *one == Decision::Committed), "{decided:?}");

    let mut queue = Vec::new();
    for report in made(shuffled) {
        for _ in 0..chance.within(TIMES) {
            queue.push(report.clone());
        }
    }
    for at in (1..queue.len()).rev() {
        queue.swap(at, chance.within(0..at as u64 + 1) as usize);
    }
    county.open_session(shuffled, session).await?;
    let mut first = std::collections::HashSet::new();
    while !queue.is_empty() {
        let count = chance.within(BATCH_REPORTS) as usize;
        let batch = queue.split_off(queue.len().saturating_sub(count));
        let wanted: Vec<_> = batch
            .iter()
            .map(|report| {
                if first.insert((report.run, report.seq)) { Decision::Committed } else { Decision::Duplicate }
            })
            .collect();
        let decided = county.deliver(shuffled, session, batch).await?;
        ensure!(decided == wanted, "{decided:?} instead of {wanted:?}");
    }
    Ok(())
}

fn body(run: RunId, seq: u64, chance: &mut Chance) -> Body {
    match chance.within(0..4) {
        0 => {
            let facts = Software { host_name: Some(format!("{run} {seq}")), ..Software::default() };
            let software = Some(Told { facts, problems: vec![] });
            Body::State(Box::new(StateReport { full: true, software, ..StateReport::default() }))
        }
        1 => Body::Samples(chance.draw().to_le_bytes().to_vec()),
        2 => {
            let first = chance.within(1..100);
            let at = UtcMicros::from_secs(1_780_000_000);
            Body::Gap(Gap {
                class: Class::History,
                run,
                first_seq: first,
                last_seq: first + 9,
                count: chance.within(1..10),
                from_wall: at,
                to_wall: at,
                reason: "spool_full".into(),
            })
        }
        _ => {
            // Seconds that a slot may have room for a few hundred times.
            let slots = (0..chance.within(1..3))
                .map(|_| Slot {
                    number: 5_960_000 + chance.within(0..1_000) as i64,
                    seconds: Seconds::capped([1, chance.within(0..2) as u32, 0, 0, 0]),
                })
                .collect();
            Body::Usage { corrected: true, slots }
        }
    }
}
