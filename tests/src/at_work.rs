//! A county at work: sets in rooms, one of them with a fault whose ticket is in the contractor's hands, and a
//! morning of one set's use. All of it is told over the wire or by the command line.

use anyhow::{Context, Result, ensure};
use bbt_proto::report::v1::Kind;
use serde_json::{Value, json};

use crate::{
    contractor_stub::Contractor,
    county::{County, SCHOOL},
    device::Device,
    pc::{self, GIB},
    wait::{SOON, eventually, since_1970},
};

/// Below this a disk is full here: far less than the disk of a machine that runs tests has, so that its own set is
/// without a fault.
const FULL_BELOW: u64 = 256 << 20;
/// A room without a set.
const FREE_ROOM: &str = "3号楼303";

/// Who and what is there. Dropping it ends the contractor.
pub struct AtWork {
    contractor: Contractor,
    /// The set with the full disk, …
    faulty: String,
    /// … its ticket, …
    ticket: String,
    /// … the one whose use is told …
    used: String,
    /// … and one in no room yet.
    unplaced: String,
}

impl AtWork {
    /// Rules under which a fault waits for nothing; to be set before the county serves.
    pub fn set_rules(county: &mut County) {
        let rule = |name: &str| format!("BBT_CONTROLLER__RULES__{name}");
        county.set_environment(&rule("DISK_BELOW_BYTES"), &FULL_BELOW.to_string());
        county.set_environment(&rule("DISK_RAISE_AFTER_SECS"), "0");
        county.set_environment(&rule("DISK_CLEAR_AFTER_SECS"), "0");
    }

    /// Sets the county to work; done when the contractor has the ticket.
    pub fn start(county: &County) -> Result<Self> {
        let contractor = Contractor::start()?;
        county.contract(&contractor)?;
        let (full, faulty) = enroll(county, Some("3号楼301"))?;
        let (used, used_set) = enroll(county, Some("3号楼302"))?;
        let (small, unplaced) = enroll(county, None)?;
        county.cli(["room", "add", "--school", SCHOOL, "--name", FREE_ROOM])?;
        used.tell(Kind::State, &pc::state("js-302", 8 * GIB, 60 * GIB))?;
        used.tell(Kind::Usage, &pc::usage(since_1970()?))?;
        small.tell(Kind::State, &pc::state("js-303", 2 * GIB, 70 * GIB))?;
        full.tell(Kind::State, &pc::state("js-301", 8 * GIB, FULL_BELOW / 2))?;
        let ticket =
            eventually(SOON, "a ticket in the contractor's hands", || ticket_of(county, &contractor))?;
        Ok(Self { contractor, faulty, ticket, used: used_set, unplaced })
    }

    /// For a test in another language.
    pub fn description(&self) -> Value {
        json!({
            "contractor": self.contractor.url(),
            "faulty_set": self.faulty,
            "ticket": self.ticket,
            "used_set": self.used,
            "unplaced_set": self.unplaced,
            "free_room": FREE_ROOM,
        })
    }
}

/// A device, and the code of its set, which is put into a new room of that name.
fn enroll(county: &County, room: Option<&str>) -> Result<(Device, String)> {
    let device = Device::enroll(county)?;
    let id = device.id.to_string();
    let sets = county.items(["set", "list"])?;
    let set = sets.iter().find(|set| set["devices"][0]["id"] == *id).context("no set has the new device")?;
    let code = set["code"].as_str().context("a code")?.to_owned();
    if let Some(room) = room {
        county.cli(["room", "add", "--school", SCHOOL, "--name", room])?;
        county.cli(["set", "bind", &code, "--room", &format!("{SCHOOL}/{room}")])?;
    }
    Ok((device, code))
}

/// The number of the one ticket, when its message was delivered.
fn ticket_of(county: &County, contractor: &Contractor) -> Result<String> {
    let tickets = county.items(["ticket", "list"])?;
    let no = tickets.first().and_then(|ticket| ticket["no"].as_str()).context("no ticket")?;
    ensure!(contractor.refused().is_empty(), "{:?}", contractor.refused());
    let messages = &county.json(["ticket", "show", no])?["messages"];
    ensure!(messages[0]["state"] == "delivered", "{messages}");
    Ok(no.to_owned())
}
