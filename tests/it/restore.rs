//! A county goes on from a backup: what devices delivered since comes back from them, each report once; who was
//! revoked stays out; and a restore that is cut off anywhere leaves the old county or the new one.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    agent::Agent,
    backlog::{self, Standing},
    chance::Chance,
    county::{County, SCHOOL},
    device::{Device, Knock},
    program,
    record::{self, CountyRecord, Key},
    wait::{SOON, eventually},
};
use rusqlite::Connection;

use crate::kills::{compare, drain};

/// Reports before the backup, and after it.
const REPORTS: u64 = 40;
/// As a frame of samples has.
const BODY_BYTES: usize = 500;
/// By which a restore changes the county's folder.
const RENAMES: &str = "?rename,?renameat,?renameat2,?unlink,?unlinkat";

/// A county with a backup that is older than much of what it acknowledged.
struct Scene {
    county: County,
    agent: Agent,
    added: BTreeMap<Key, Option<Vec<u8>>>,
    /// Revoked after the backup.
    stolen: Device,
    /// Revoked before the backup, given back after it.
    found_again: Device,
    backup: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let mut chance = Chance::new(1);
        let county = County::start()?;
        let mut agent = Agent::enroll(&county)?;
        let (stolen, found_again) = (Device::enroll(&county)?, Device::enroll(&county)?);
        county.cli(["device", "revoke", &found_again.id.to_string()])?;
        let mut added = backlog::add(&agent, REPORTS, BODY_BYTES, Standing::Waiting, &mut chance)?;
        drain(&mut agent)?;

        let backup = county.data().with_file_name("yesterday.backup");
        county.cli(["backup".as_ref(), backup.as_os_str()])?;
        added.extend(backlog::add(&agent, REPORTS, BODY_BYTES, Standing::Waiting, &mut chance)?);
        drain(&mut agent)?;
        county.cli(["device", "revoke", &stolen.id.to_string()])?;
        county.cli(["device", "unrevoke", &found_again.id.to_string()])?;
        Ok(Self { county, agent, added, stolen, found_again, backup })
    }

    /// Everything that the agent was told is committed is in the restored county, once; who was revoked is out.
    fn goes_on(mut self) -> Result<()> {
        self.county.serve()?;
        ensure!(self.stolen.knock()? != Knock::LetIn, "a device revoked after the backup was let in");
        ensure!(self.found_again.knock()? == Knock::LetIn, "what the log gave back is given back");
        let standings = self.county.devices()?;
        let stands = |device: &Device| {
            let found = standings.iter().find(|line| line["id"] == device.id.to_string());
            found.map(|line| line["standing"].clone()).unwrap_or_default()
        };
        ensure!(stands(&self.stolen) == "revoked" && stands(&self.found_again) == "active", "{standings:?}");

        drain(&mut self.agent)?;
        self.county.stop()?;
        let record = CountyRecord::read(&self.county)?;
        compare(&record, self.agent.device_id()?, &record::spool(&self.agent)?, &self.added)
    }
}

#[test]
fn a_county_that_goes_on_from_a_day_old_backup_gets_every_report_again_once_and_lets_nobody_in_who_was_revoked()
-> Result<()> {
    let mut scene = Scene::new()?;
    let token = scene.county.token()?;
    let refused = scene.county.output(["restore".as_ref(), scene.backup.as_os_str()])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && said.contains("stop the controller first"), "{said}");
    scene.county.stop()?;

    let done = scene.county.json(["restore".as_ref(), scene.backup.as_os_str()])?;
    ensure!(done["revocations"] == "own", "{done}");
    let aside = PathBuf::from(done["old_database"].as_str().context("where the old database is")?);
    let lines = |path: PathBuf| -> Result<i64> {
        Ok(Connection::open(path)?.query_row("SELECT count(*) FROM audit", [], |row| row.get(0))?)
    };
    ensure!(lines(aside)? > lines(scene.county.data().join("county.db"))?, "the old database is kept whole");

    scene.county.serve()?;
    let refused = Agent::new()?.try_enroll(&token)?;
    ensure!(!refused.status.success(), "a token of the time after the backup opens nothing");
    scene.county.stop()?;
    scene.goes_on()
}

#[test]
fn a_county_restored_into_an_empty_folder_needs_to_be_told_whom_it_revoked() -> Result<()> {
    let mut scene = Scene::new()?;
    let open = scene.county.token_with(&["--uses", "2"])?;
    let newest = scene.county.data().with_file_name("newest.backup");
    scene.county.cli(["backup".as_ref(), newest.as_os_str()])?;
    scene.county.stop()?;
    let (data, lost) = (scene.county.data(), scene.county.data().with_file_name("lost"));
    fs::rename(&data, &lost)?;

    let refused = scene.county.output(["restore".as_ref(), scene.backup.as_os_str()])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(2) && said.contains("--revocations LOG"), "{said}");

    // Without the log: said, audited, and no token of the backup opens anything.
    let none = ["restore".as_ref(), newest.as_os_str(), "--revocations".as_ref(), "none".as_ref()];
    let done = scene.county.json(none)?;
    ensure!(done["revocations_missing_from"] == done["made_at"] && done["tokens_closed"] == 1, "{done}");
    scene.county.serve()?;
    ensure!(!Agent::new()?.try_enroll(&open)?.status.success(), "a token that was open is closed");
    scene.county.token()?;
    scene.county.stop()?;
    let audited = audit_of(&scene.county, "county.restore")?;
    ensure!(audited.contains("revocations_missing_to"), "{audited}");

    fs::remove_dir_all(&data)?;
    let log = lost.join("revocations.log");
    let with_log = ["restore".as_ref(), scene.backup.as_os_str(), "--revocations".as_ref(), log.as_os_str()];
    ensure!(scene.county.json(with_log)?["revocations"] == "given");
    ensure!(!data.join("pki/root.key").exists(), "the root's key is in no backup");
    scene.goes_on()
}

#[test]
fn a_restore_cut_off_at_any_rename_leaves_the_old_county_or_the_new_one() -> Result<()> {
    let county = County::init()?;
    county.cli(["school", "add", "--code", SCHOOL, "--name", "备份之前"])?;
    let backup = county.data().with_file_name("backup");
    county.cli(["backup".as_ref(), backup.as_os_str()])?;
    county.cli(["school", "add", "--code", "T002", "--name", "备份之后"])?;
    let (old, trace) = (county.data().with_file_name("old"), county.data().with_file_name("trace"));
    copy(&county.data(), &old)?;
    let restore = |inject: &[&str]| {
        let mut command = Command::new("strace");
        command.arg("-f").arg("-o").arg(&trace).arg("-e").arg(format!("trace={RENAMES}")).args(inject);
        command.arg(program::binary("bbt-controller")?).arg("--data").arg(county.data());
        command.arg("restore").arg(&backup);
        program::output(&mut command, b"")
    };
    ensure!(restore(&[])?.status.success(), "an undisturbed restore");
    let calls = fs::read_to_string(&trace)?;
    // strace counts by thread; the folder is changed by the one that ends last.
    let thread = calls.lines().last().and_then(|line| line.split(' ').next()).context("a trace")?.to_owned();
    let (mut old_ones, mut new_ones) = (0, 0);
    for call in ["rename", "unlink", "unlinkat"] {
        // The settling is the last thing that a restore does; what is before it is the database's own.
        let of_thread = calls.lines().filter(|line| line.starts_with(&thread));
        let count = of_thread.filter(|line| line.contains(&format!(" {call}("))).count();
        for nth in count.saturating_sub(9)..count {
            let (data, nth) = (county.data(), nth + 1);
            fs::remove_dir_all(&data)?;
            copy(&old, &data)?;
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            ensure!(!restore(&["-e", &inject])?.status.success(), "{call} no. {nth} was not reached");
            let schools =
                county.items(["school", "list"]).with_context(|| format!("{call} no. {nth}"))?.len();
            match schools {
                1 => new_ones += 1,
                2 => old_ones += 1,
                other => anyhow::bail!("{other} schools after {call} no. {nth}"),
            }
            county.cli(["check"]).with_context(|| format!("{call} no. {nth}"))?;
            ensure!(!data.join("restore").exists(), "{call} no. {nth}: what was laid ready is gone");
        }
    }
    println!("{old_ones} times the old county, {new_ones} times the new one");
    ensure!(old_ones > 0 && new_ones > 0, "{old_ones} times the old county, {new_ones} times the new one");
    Ok(())
}

#[test]
fn a_backup_that_is_damaged_or_of_another_county_changes_nothing() -> Result<()> {
    let (county, other) = (County::init()?, County::init()?);
    let backup = county.data().with_file_name("backup");
    county.cli(["backup".as_ref(), backup.as_os_str()])?;
    let before = fs::read(county.data().join("county.db"))?;
    let refusal = |county: &County| -> Result<String> {
        let output = county.output(["restore".as_ref(), backup.as_os_str()])?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = refusal(&other)?;
    ensure!(said.contains("holds another county"), "{said}");

    let mut bytes = fs::read(&backup)?;
    let key = b"BEGIN PRIVATE KEY";
    let at = bytes.windows(key.len()).position(|part| part == key).context("the issuing key is in it")?;
    bytes[at + 30] ^= 1;
    fs::write(&backup, &bytes)?;
    let said = refusal(&county)?;
    ensure!(said.contains("is damaged"), "{said}");
    fs::write(&backup, b"not a backup")?;
    let said = refusal(&county)?;
    ensure!(said.contains("is no backup"), "{said}");
    ensure!(fs::read(county.data().join("county.db"))? == before, "nothing was changed");
    Ok(())
}

#[test]
fn reports_are_committed_while_a_backup_is_made() -> Result<()> {
    let mut county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    let mut chance = Chance::new(3);
    let added = backlog::add(&agent, 400, 4_000, Standing::Waiting, &mut chance)?;
    agent.run()?;
    let mut backups = 0;
    eventually(SOON * 3, "the delivery of all that waits", || {
        let file = county.data().with_file_name(format!("backup-{backups}"));
        county.cli(["backup".as_ref(), file.as_os_str()])?;
        backups += 1;
        let waiting = record::backlog(&agent)?;
        ensure!(waiting == 0, "{waiting} reports wait");
        Ok(())
    })?;
    agent.stop()?;
    county.stop()?;
    compare(&CountyRecord::read(&county)?, agent.device_id()?, &record::spool(&agent)?, &added)
}

/// The details of the audit's lines with this action.
fn audit_of(county: &County, action: &str) -> Result<String> {
    let db = Connection::open(county.data().join("county.db"))?;
    let mut lines = db.prepare("SELECT detail FROM audit WHERE action = ?1")?;
    let lines = lines.query_map([action], |row| row.get(0))?;
    Ok(lines.collect::<rusqlite::Result<Vec<String>>>()?.join("\n"))
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    program::succeed(Command::new("cp").arg("-a").arg(from).arg(to), b"").map(drop)
}
