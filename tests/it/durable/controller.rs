//! The controller, from its start over the commits of some devices' reports to an orderly end.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    agent::Agent,
    chance::{Chance, first_seed},
    county::County,
    device::runtime,
    failing_calls::{Call, Failure, Trace},
    load_device::{Book, Control, LoadDevice},
    record::CountyRecord,
    wait::eventually,
};

use super::{choose, walk_all};
use crate::kills::compare_book;

/// Walks for kill, failing disk, full disk and short write.
const WALKS: [usize; 4] = [10, 8, 6, 4];
const DEVICES: usize = 2;
/// The devices have at least so many reports decided before they end.
const REPORTS: u64 = 150;
/// For all that waits to be delivered: after a failed commit devices are told to wait, at most some seconds.
const DELIVERED_WITHIN: Duration = Duration::from_secs(90);

#[test]
fn a_controller_that_fails_at_its_durable_calls_keeps_all_it_committed_and_counts_nothing_twice() -> Result<()>
{
    let seed = first_seed()?;
    let trace = Trace::new()?;
    let (undisturbed, _) = walk(trace.wrapper(), &mut Chance::new(seed))?;
    compare(&undisturbed)?;
    let calls = trace.calls()?;
    let chosen: Vec<(Call, Failure)> = choose(&calls, WALKS, "a_controller_that_fails")?;
    let walked = walk_all(&chosen, |no, call, failure| {
        let (walked, started_again) = walk(call.failing(failure), &mut Chance::part(seed, no))?;
        compare(&walked)?;
        Ok((walked.1.iter().map(|book| book.decided.len()).sum::<usize>(), started_again))
    })?;
    let killed = walked.iter().filter(|(failure, _, (_, again))| *failure == Failure::Kill && *again).count();
    ensure!(killed > 0, "no walk was ended by a kill");
    let reports: usize = walked.iter().map(|(_, _, (reports, _))| reports).sum();
    println!("{} walks, {killed} with a kill; {reports} reports compared", walked.len());
    Ok(())
}

type Walked = (County, Vec<Book>);

/// Devices under load while the controller, started by `wrapper`, fails once; whether it had to be started again.
fn walk(wrapper: Vec<String>, chance: &mut Chance) -> Result<(Walked, bool)> {
    let mut county = County::start()?;
    let agents = (0..DEVICES).map(|no| Agent::enroll_on_board(&county, no)).collect::<Result<Vec<_>>>()?;
    county.stop()?;

    county.set_wrapper(wrapper);
    let started = county.serve();
    county.set_wrapper(Vec::new());
    let mut again = false;
    if started.is_err() {
        // It failed while it started, and said so or was killed; the next start finds all in order.
        county.kill()?;
        county.serve().context("the start after one that failed")?;
        again = true;
    }
    let control = Arc::new(Control::default());
    let loads: Vec<_> = agents
        .iter()
        .map(|agent| {
            Ok(runtime()
                .spawn(LoadDevice::new(agent, Chance::new(chance.draw()), Arc::clone(&control))?.run()))
        })
        .collect::<Result<_>>()?;
    eventually(DELIVERED_WITHIN, "reports that are decided", || {
        if county.ensure_running().is_err() {
            county.kill()?;
            county.serve()?;
            again = true;
        }
        let decided = control.decided.load(Ordering::Relaxed);
        ensure!(decided >= REPORTS, "{decided} are; the controller said:\n{}", county.log());
        Ok(())
    })?;
    control.finish.store(true, Ordering::Relaxed);
    let mut books = Vec::new();
    for load in loads {
        while !load.is_finished() {
            if county.ensure_running().is_err() {
                county.kill()?;
                county.serve()?;
                again = true;
            }
            thread::sleep(Duration::from_millis(25));
        }
        books.push(runtime().block_on(load).context("a device panicked")??);
    }
    // A failure may come with the last call of all.
    if county.stop().is_err() {
        county.kill()?;
        county.serve().context("a start after an end that failed")?;
        county.stop()?;
        again = true;
    }
    Ok(((county, books), again))
}

fn compare((county, books): &Walked) -> Result<()> {
    let record = CountyRecord::read(county)?;
    ensure!(record.devices.len() == DEVICES, "{} devices instead of {DEVICES}", record.devices.len());
    ensure!(record.quarantined == 0, "{} reports could not be read", record.quarantined);
    books.iter().try_for_each(|book| compare_book(&record, book))
}
