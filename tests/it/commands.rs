//! What the two programs say when they are called wrongly or find what they cannot use: one sentence that says
//! what to do, the right exit code, and nothing changed.

use std::{collections::BTreeMap, fs, net::TcpListener, path::Path, process::Output};

use anyhow::{Context, Result, ensure};
use bbt_tests::{agent::Agent, county::County};
use rusqlite::Connection;

/// Failed, but called rightly.
const FAILED: i32 = 1;
/// Called wrongly.
const WRONG_CALL: i32 = 2;

/// The one sentence of an output that must have failed with `code`, and that must hold every one of `words`.
fn sentence(output: &Output, code: i32, words: &[&str]) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.code() == Some(code), "it ended with {}: {text}", output.status);
    ensure!(output.stdout.is_empty(), "a failure prints nothing to standard output");
    for word in words {
        ensure!(text.contains(word), "{word:?} is not in: {text}");
    }
    Ok(text)
}

/// As [`sentence`], for failures of the programs' own: they are one line. (A wrong call shows its usage too.)
fn one_line(output: &Output, words: &[&str]) -> Result<()> {
    let text = sentence(output, FAILED, words)?;
    ensure!(text.lines().count() == 1, "it is more than one line:\n{text}");
    Ok(())
}

/// Every file below `folder` with its bytes, but for `run/`, which belongs to running processes.
fn content(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
            let path = entry?.path();
            let name = path.strip_prefix(top)?.to_string_lossy().into_owned();
            if path.is_dir() && name != "run" {
                walk(top, &path, found)?;
            } else if path.is_file() {
                found.insert(name, fs::read(&path)?);
            }
        }
        Ok(())
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found)?;
    Ok(found)
}

/// Runs `work`, after which the county's folder must be what it was.
fn unchanged(county: &County, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = content(&county.data())?;
    work()?;
    ensure!(content(&county.data())? == before, "something was changed in the data folder");
    Ok(())
}

#[test]
fn a_county_is_made_once() -> Result<()> {
    let county = County::init()?;
    unchanged(&county, || {
        one_line(&county.output(["init", "--county", "another"])?, &["holds a county already", "--data"])
    })
}

#[test]
fn without_a_county_the_first_step_is_named() -> Result<()> {
    let county = County::init()?;
    let nowhere = county.data().join("nowhere").display().to_string();
    for command in [&["serve"][..], &["status"], &["check"], &["school", "list"]] {
        let output = county.output(command.iter().chain(&["--data", &nowhere]))?;
        one_line(&output, &["holds no county", "bbt-controller init"])?;
    }
    assert!(!Path::new(&nowhere).exists(), "asking makes no folder");
    Ok(())
}

#[test]
fn data_of_a_newer_controller_are_left_alone() -> Result<()> {
    let county = County::init()?;
    let database = Connection::open(county.data().join("county.db"))?;
    database
        .execute("INSERT INTO schema_migration (version, checksum, applied_us) VALUES (99, x'00', 0)", [])?;
    database.close().map_err(|(_, error)| error)?;
    unchanged(&county, || {
        for command in [&["serve"][..], &["status"]] {
            one_line(
                &county.output(command)?,
                &["schema 99", "newer bbt-controller", "nothing was changed"],
            )?;
        }
        Ok(())
    })
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_right_one() -> Result<()> {
    let mut county = County::init()?;
    let file = county.data().join("controller.toml");
    fs::write(&file, "[listen]\nagent = \"127.0.0.1:0\"\n")?;
    for command in ["serve", "status"] {
        one_line(&county.output([command])?, &["listen.agent", "listen.agents", "controller.toml"])?;
    }
    fs::write(&file, "")?;
    county.set_environment("BBT_CONTROLLER__LOG__LEVEL", "loud");
    one_line(&county.output(["serve"])?, &["log.level", "loud", "info"])?;
    county.set_environment("BBT_CONTROLLER__LOG__LEVEL", "info");
    county.set_environment("BBT_CONTROLLER__LOG__LEVL", "info");
    one_line(&county.output(["serve"])?, &["BBT_CONTROLLER__LOG__LEVL", "BBT_CONTROLLER__LOG__LEVEL"])
}

#[test]
fn a_wrong_call_shows_the_usage_and_ends_with_2() -> Result<()> {
    let county = County::init()?;
    unchanged(&county, || {
        for (command, word) in [
            (&["sreve"][..], "serve"),
            (&["serve", "--prot", "1"], "--prot"),
            (&["school", "add", "--code", "1"], "--name"),
            (&["token", "create", "--school", "T001", "--expires", "soon"], "72h"),
            (&["device", "show"], "ID"),
        ] {
            sentence(&county.output(command)?, WRONG_CALL, &[word, "Usage"]).or_else(|error| {
                // A value of the wrong form shows no usage, only what is right.
                sentence(&county.output(command)?, WRONG_CALL, &[word]).map_err(|_| error)
            })?;
        }
        Ok(())
    })
}

#[test]
fn a_bad_value_names_its_field_and_the_remedy() -> Result<()> {
    let county = County::init()?;
    for (command, words) in [
        (&["school", "add", "--code", "a b", "--name", "x"][..], &["school code", "a b", "学校标识码"][..]),
        (&["school", "add", "--code", "1", "--name", "\u{202e}"], &["school name", "visible"]),
        (&["token", "create", "--school", "T009"], &["school", "T009"]),
        (&["token", "create", "--school", "T009", "--uses", "0"], &["uses", "1 to 10000"]),
        (&["device", "show", "7"], &["device id", "UUID"]),
        (&["asset", "show", "ZC-9"], &["asset", "ZC-9"]),
        (&["device", "revoke", "00000000-0000-7000-8000-000000000000"], &["no device"]),
    ] {
        one_line(&county.output(command)?, words)?;
    }
    Ok(())
}

#[test]
fn a_field_that_no_card_can_have_is_refused_with_the_remedy() -> Result<()> {
    let county = County::init()?;
    let good = [
        ("--no", "1"),
        ("--name", "x"),
        ("--class", "A02010105@2022"),
        ("--cost-fen", "1"),
        ("--date", "2024-09-30"),
    ];
    let add = |field: &str, value: &str| {
        let others = good.iter().filter(|(name, _)| *name != field).flat_map(|(name, value)| [*name, *value]);
        county.output(["asset", "add", field, value].into_iter().chain(others).collect::<Vec<_>>())
    };
    for (field, value, words) in [
        ("--no", "1E+15", &["asset number", "1E+15", "column as text"][..]),
        ("--name", "\u{202e}", &["asset name", "visible"]),
        ("--class", "A02010105", &["class", "CODE@EDITION"]),
        ("--class", "2020200@2022", &["class", "2020200@2022", "eight digits"]),
        ("--date", "2024-9-31", &["date", "2024-9-31", "YYYY-MM-DD"]),
        ("--serial", "1.23E+15", &["serial number", "1.23E+15", "column as text"]),
        ("--set", "7", &["set", "7", "code"]),
        ("--memory", "8", &["memory", "8GiB"]),
        ("--disk", "big", &["disk", "256GB"]),
    ] {
        one_line(&add(field, value)?, words)?;
    }
    sentence(&add("--cost-fen", "4,800.00")?, WRONG_CALL, &["--cost-fen", "4,800.00", "fen"])?;
    ensure!(county.json(["ledger", "verify"])?["entries"] == 0, "something was appended");
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_named_with_the_remedy() -> Result<()> {
    let mut county = County::init()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    county.set_environment("BBT_CONTROLLER__LISTEN__CONSOLE", &address.to_string());
    let error = county.serve().err().context("it starts on a taken port")?;
    let text = format!("{error:#}");
    for word in [&address.port().to_string(), "console", "BBT_CONTROLLER__LISTEN__CONSOLE"] {
        ensure!(text.contains(word), "{word:?} is not in: {text}");
    }
    Ok(())
}

#[test]
fn two_controllers_never_serve_one_county() -> Result<()> {
    let mut county = County::start()?;
    let output = county.output(["serve"])?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(FAILED) && text.contains("in use by another bbt-controller"),
        "{text}"
    );
    county.ensure_running()?;
    county.cli(["school", "list"])?;
    county.stop()
}

#[test]
fn a_file_where_a_folder_should_be_is_named() -> Result<()> {
    let county = County::init()?;
    let file = county.data().join("controller.toml").display().to_string();
    let output = county.output(["init", "--county", "x", "--data", &file])?;
    one_line(&output, &[&file, "cannot be"])?;
    let agent = Agent::new()?;
    fs::write(agent.state(), "in the way")?;
    for command in ["run", "spool list"] {
        let output = agent.output(command, [] as [&str; 0])?;
        one_line(&output, &[&agent.state().display().to_string()])?;
    }
    assert_eq!(fs::read_to_string(agent.state())?, "in the way");
    Ok(())
}

#[test]
fn an_agent_that_nobody_knows_is_told_to_enrol() -> Result<()> {
    let agent = Agent::new()?;
    one_line(&agent.output("run", [] as [&str; 0])?, &["bbt-agent enroll"])
}

#[test]
fn an_agents_unknown_key_or_flag_is_refused_with_the_nearest_right_one() -> Result<()> {
    let mut agent = Agent::new()?;
    sentence(&agent.output("collect", ["--jsno"])?, WRONG_CALL, &["--jsno", "--json"])?;
    sentence(&agent.output("colect", [] as [&str; 0])?, WRONG_CALL, &["colect", "collect"])?;
    agent.set_environment("BBT_AGENT__SPOOL__MAX_BYTE", "1");
    let output = agent.output("collect", [] as [&str; 0])?;
    one_line(&output, &["BBT_AGENT__SPOOL__MAX_BYTE", "BBT_AGENT__SPOOL__MAX_BYTES"])
}

#[test]
fn one_device_runs_one_agent() -> Result<()> {
    let county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.run()?;
    county.first_report()?;
    one_line(&agent.output("run", [] as [&str; 0])?, &[&agent.state().display().to_string()])?;
    agent.ensure_running()
}

#[test]
fn json_is_one_document_of_the_same_shape_with_and_without_a_running_controller() -> Result<()> {
    let mut county = County::init()?;
    let shape = |county: &County| -> Result<_> {
        let list = county.json(["school", "list"])?;
        ensure!(list["items"].is_array() && list["next"].is_null(), "{list}");
        let status = county.json(["status"])?;
        let keys: Vec<String> = status.as_object().context("an object")?.keys().cloned().collect();
        ensure!(
            keys.iter().all(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b)))
        );
        Ok(keys)
    };
    let resting = shape(&county)?;
    county.serve()?;
    assert_eq!(shape(&county)?, resting);
    Ok(())
}
