//! The ledger by its commands: cards are opened, shown and listed, and a hand in the file is found.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use bbt_tests::{
    agent::Agent,
    county::County,
    wait::{SOON, eventually},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

fn asset_add(county: &County, no: &str) -> Result<serde_json::Value> {
    let fields = ["--name", "台式电脑", "--class", "A02010105@2022", "--cost-fen", "350000"];
    let more = ["--date", "2024-10-31", "--serial", "PF0A1B2C", "--memory", "8GB"];
    county.json(["asset", "add", "--no", no].iter().chain(&fields).chain(&more))
}

#[test]
fn an_asset_is_added_shown_and_listed_with_and_without_a_running_controller() -> Result<()> {
    let mut county = County::start()?;
    let added = asset_add(&county, "ZC-2")?;
    ensure!(added["cost_fen"] == json!(350_000) && added["memory_bytes"] == json!(8_u64 << 30), "{added}");
    ensure!(added["class_name"] == json!("台式计算机") && added["set_id"].is_null(), "{added}");
    county.stop()?;
    asset_add(&county, "ZC-1")?;
    let list = county.json(["asset", "list"])?;
    let numbers: Vec<_> = list["items"].as_array().context("items")?.iter().map(|a| &a["asset_no"]).collect();
    ensure!(numbers == ["ZC-1", "ZC-2"] && list["next"].is_null(), "{list}");
    ensure!(list["items"][1] == added, "the same shape everywhere");
    let shown = county.json(["asset", "show", "ZC-2"])?;
    ensure!(shown["entries"][0]["kind"] == json!("card_opened"), "{shown}");
    ensure!(county.cli(["asset", "list"])?.contains("3,500.00"), "money is shown in yuan");
    let whole = county.json(["ledger", "verify"])?;
    ensure!(whole["entries"] == json!(2) && whole["broken"].is_null(), "{whole}");
    let twice = county.output([
        "asset",
        "add",
        "--no",
        "ZC-1",
        "--name",
        "x",
        "--class",
        "A02010105@2022",
        "--cost-fen",
        "1",
        "--date",
        "2024-10-31",
    ])?;
    ensure!(twice.status.code() == Some(1), "a number is given once");
    Ok(())
}

#[test]
fn a_hand_in_the_ledger_is_found_and_the_entry_named() -> Result<()> {
    let county = County::init()?;
    for no in ["ZC-1", "ZC-2", "ZC-3"] {
        asset_add(&county, no)?;
    }
    let database = Connection::open(county.data().join("county.db"))?;
    database.execute("UPDATE ledger_entry SET body = replace(body, '350000', '35000') WHERE no = 2", [])?;
    database.close().map_err(|(_, error)| error)?;
    for command in [&["ledger", "verify"][..], &["ledger", "verify", "--json"], &["check"]] {
        let output = county.output(command)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && said.contains("ledger entry 2"), "{command:?}: {said}");
    }
    Ok(())
}

/// The memory of a PC that is nothing but a text.
fn tell_memory(tree: &Path, gib: u64) -> Result<()> {
    let text = format!("MemTotal:       {} kB\nMemFree:  1000 kB\nSwapTotal: 0 kB\n", gib << 20);
    fs::write(tree.join("proc/meminfo"), text).context("writing meminfo")
}

#[test]
fn memory_taken_out_of_a_pc_shows_beside_what_is_booked_and_the_case_goes_when_it_is_back() -> Result<()> {
    let tree = tempfile::tempdir().context("making a folder")?;
    for folder in ["sys", "proc", "etc", "run"] {
        fs::create_dir(tree.path().join(folder))?;
    }
    tell_memory(tree.path(), 8)?;
    let mut county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    for root in ["sys", "proc", "etc", "run"] {
        let path = tree.path().join(root);
        agent.set_environment(
            &format!("BBT_AGENT__ROOTS__{}", root.to_uppercase()),
            path.to_str().context("words")?,
        );
    }
    agent.run()?;
    county.first_report()?;
    let code = county.json(["set", "list"])?["items"][0]["code"].as_str().context("a set")?.to_owned();
    let fields = ["--no", "ZC-1", "--name", "主机", "--class", "A02010105@2022", "--cost-fen", "350000"];
    let more = ["--date", "2024-10-31", "--set", &code, "--memory", "8GiB"];
    county.cli(["asset", "add"].iter().chain(&fields).chain(&more))?;
    let memory = |county: &mut County, gib: u64, outcome: &str, cases: usize| {
        eventually(SOON, "the memory to be told", || {
            let told = county.devices()?[0]["memory_bytes"].clone();
            ensure!(told == json!(gib << 30), "{told}");
            Ok(())
        })?;
        // At a start every task looks at what is stored; else this one looks each minute.
        county.restart()?;
        eventually(SOON, "what is booked beside what is measured", || {
            let booked = county.json(["set", "show", &code])?["booked"].clone();
            let compared = booked["assets"][0]["comparisons"].as_array().context("comparisons")?.clone();
            let memory = compared.into_iter().find(|one| one["item"] == "memory").context("memory")?;
            let open =
                booked["cases"].as_array().map_or(0, |all| all.iter().filter(|case| is_open(case)).count());
            ensure!(memory["outcome"] == outcome && open == cases, "{booked}");
            Ok(memory)
        })
    };
    memory(&mut county, 8, "same", 0)?;

    agent.stop()?;
    tell_memory(tree.path(), 4)?;
    agent.run()?;
    let told = memory(&mut county, 4, "different", 1)?;
    ensure!(told["booked"]["size_bytes"] == json!(8_u64 << 30), "{told}");
    ensure!(told["observed"]["size_bytes"] == json!(4_u64 << 30), "{told}");

    agent.stop()?;
    tell_memory(tree.path(), 8)?;
    agent.run()?;
    memory(&mut county, 8, "same", 0)?;
    agent.stop()
}

fn is_open(case: &serde_json::Value) -> bool {
    case["gone_at"].is_null() && case["settled"].is_null()
}

#[test]
fn memory_that_is_not_as_booked_becomes_a_case() -> Result<()> {
    let mut county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.run()?;
    let seen = county.first_report()?["memory_bytes"].as_u64().context("memory")?;
    let sets = county.json(["set", "list"])?;
    let code = sets["items"][0]["code"].as_str().context("a set")?.to_owned();
    let booked = format!("{}GiB", 4 * (seen >> 30).max(1));
    let fields = ["--no", "ZC-1", "--name", "主机", "--class", "A02010105@2022", "--cost-fen", "350000"];
    let more = ["--date", "2024-10-31", "--set", &code, "--memory", &booked];
    county.cli(["asset", "add"].iter().chain(&fields).chain(&more))?;
    // At a start every task looks at what is stored.
    county.restart()?;
    let path = county.data().join("county.db");
    let item: String = eventually(Duration::from_secs(30), "a case", || {
        let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let sql = "SELECT item FROM recon_case WHERE gone_us IS NULL";
        Ok(database.query_row(sql, [], |row| row.get(0))?)
    })?;
    ensure!(item == "memory", "{item}");
    county.ensure_running()
}
