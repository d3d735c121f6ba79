//! 账实核对: what a card says is in a machine against what the agent in it sees, and what becomes of a difference.
//!
//! [`compare`] holds one card against one snapshot and judges each item: same, different, or unknown with the
//! reason. [`decide`] makes cases of that: one is opened for a difference, goes by itself when the difference
//! does, and stays as it is while nothing is known, because "not seen" is no evidence of anything. What a person
//! settled does not come back while both sides stay what they were.

use serde::{Deserialize, Serialize};

use crate::{
    facts::{Disk, Hardware, Memory, Problem, Storage},
    ids::{CaseId, DeviceId},
    ledger::card::Card,
    snapshot::{Section, Snapshot},
};

/// Graphics in the processor take a share of the memory that the system then does not count, seldom more than an
/// eighth of it.
const GRAPHICS_SHARE: u64 = 8;
/// And kernel and firmware keep some for themselves.
const KERNEL_BYTES: u64 = 256 << 20;
/// A disk's size may have been booked as makers count or as systems show it, and 1 TiB is 1.0995 TB; so sizes
/// whose ratio is at most 11 to 10 are one. A disk of the next size made is more than that away.
const DISK_RATIO: (u64, u64) = (11, 10);

/// What of a machine is held against its card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// The processor's model.
    Processor,
    /// Installed memory.
    Memory,
    /// Built-in disks together.
    Disk,
    /// The machine's serial number.
    Serial,
}

impl Item {
    /// All items.
    pub const ALL: [Self; 4] = [Self::Processor, Self::Memory, Self::Disk, Self::Serial];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Serial => "serial",
        }
    }

    /// The item that [`Item::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|item| item.as_str() == text)
    }

    /// Whether two values are one for this item, of which the second was measured.
    fn agree(self, booked: &Measure, observed: &Measure) -> bool {
        match (self, booked, observed) {
            (Self::Processor, Measure::Text(booked), Measure::Text(observed)) => {
                let seen = tokens(observed);
                tokens(booked).iter().all(|token| seen.contains(token))
            }
            (Self::Serial, Measure::Text(booked), Measure::Text(observed)) => {
                normalised(booked) == normalised(observed)
            }
            (Self::Memory, Measure::SizeBytes(booked), Measure::SizeBytes(observed)) => {
                observed <= booked && observed.saturating_add(memory_unseen(*booked)) >= *booked
            }
            (Self::Disk, Measure::SizeBytes(booked), Measure::SizeBytes(observed)) => {
                let (less, more) = (*booked.min(observed), *booked.max(observed));
                u128::from(more) * u128::from(DISK_RATIO.1) <= u128::from(less) * u128::from(DISK_RATIO.0)
            }
            _ => false,
        }
    }

    /// Whether two measurements are of one thing: usable memory differs a little from start to start.
    fn unchanged(self, before: &Measure, now: &Measure) -> bool {
        match (self, before, now) {
            (Self::Memory, Measure::SizeBytes(before), Measure::SizeBytes(now)) => {
                before.abs_diff(*now) <= KERNEL_BYTES
            }
            _ => before == now,
        }
    }
}

/// A value of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// A name or number.
    Text(String),
    /// A size.
    SizeBytes(u64),
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The card says nothing about it.
    NotBooked,
    /// What the card says names no model or number.
    Vague,
    /// No device of the set is this machine.
    NoDevice,
    /// The device has not told it yet.
    NotTold,
    /// The device cannot tell: the code of the collector's problem.
    Problem(String),
    /// The maker left the serial number unset.
    Unset,
}

/// How a card and a machine stand to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As booked.
    Same,
    /// Not as booked.
    Different,
    /// Cannot be said.
    Unknown(Why),
}

/// One item of a card beside the same of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What.
    pub item: Item,
    /// What the card says.
    pub booked: Option<Measure>,
    /// What was seen.
    pub observed: Option<Measure>,
    /// The judgement.
    pub outcome: Outcome,
}

/// A device of the set, with its latest state.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The device.
    pub device: DeviceId,
    /// What it told.
    pub snapshot: Snapshot,
}

/// Whether a card is about a machine that an agent can see: a computer by its class, or whatever is booked with
/// a computer's specification. A projector's serial number is not to be found in the computer beside it.
pub fn is_about_computer(card: &Card) -> bool {
    let specified = &card.specification;
    card.class.known().is_some_and(|known| known.computer)
        || specified.processor.is_some()
        || specified.memory_bytes.is_some()
        || specified.disk_bytes.is_some()
}

/// Which device each of a set's cards is about: the one with its serial number, else, of those left over, the
/// next in the order given (newest first).
pub fn pair<'a>(cards: &[Card], devices: &'a [Observed]) -> Vec<Option<&'a Observed>> {
    let has_serial = |card: &Card, device: &Observed| {
        serials(&device.snapshot).iter().any(|serial| is_booked(card, serial))
    };
    let mut left: Vec<&Observed> = devices.iter().collect();
    let mut take = |wanted: &dyn Fn(&Observed) -> bool| {
        let at = left.iter().position(|device| wanted(device))?;
        Some(left.remove(at))
    };
    let mut pairs: Vec<Option<&Observed>> = cards
        .iter()
        .map(|card| if is_about_computer(card) { take(&|device| has_serial(card, device)) } else { None })
        .collect();
    for (card, pair) in cards.iter().zip(&mut pairs) {
        if pair.is_none() && is_about_computer(card) {
            *pair = take(&|_| true);
        }
    }
    pairs
}

/// Holds a card against the machine that it is about. A card that is about no computer has nothing to compare.
pub fn compare(card: &Card, device: Option<&Observed>) -> Vec<Comparison> {
    if !is_about_computer(card) {
        return Vec::new();
    }
    let snapshot = device.map(|device| &device.snapshot);
    let both = |item| judge(item, booked(item, card), observed(item, card, snapshot));
    Item::ALL.into_iter().map(both).collect()
}

fn judge(item: Item, booked: Result<Measure, Why>, observed: Result<Measure, Why>) -> Comparison {
    let outcome = match (&booked, &observed) {
        (Err(why), _) | (_, Err(why)) => Outcome::Unknown(why.clone()),
        (Ok(booked), Ok(observed)) if item.agree(booked, observed) => Outcome::Same,
        _ => Outcome::Different,
    };
    Comparison { item, booked: booked.ok(), observed: observed.ok(), outcome }
}

fn booked(item: Item, card: &Card) -> Result<Measure, Why> {
    let specified = &card.specification;
    match item {
        Item::Processor => match &specified.processor {
            Some(name) if tokens(name).is_empty() => Err(Why::Vague),
            Some(name) => Ok(Measure::Text(name.clone())),
            None => Err(Why::NotBooked),
        },
        Item::Memory => specified.memory_bytes.map(Measure::SizeBytes).ok_or(Why::NotBooked),
        Item::Disk => specified.disk_bytes.map(Measure::SizeBytes).ok_or(Why::NotBooked),
        Item::Serial => match &card.serial {
            Some(serial) if is_unset(serial.as_str()) => Err(Why::Vague),
            Some(serial) => Ok(Measure::Text(serial.as_str().to_owned())),
            None => Err(Why::NotBooked),
        },
    }
}

fn observed(item: Item, card: &Card, snapshot: Option<&Snapshot>) -> Result<Measure, Why> {
    let snapshot = snapshot.ok_or(Why::NoDevice)?;
    match item {
        Item::Processor => seen_processor(told(&snapshot.hardware)?).map(Measure::Text),
        Item::Memory => seen_memory(told(&snapshot.hardware)?).map(Measure::SizeBytes),
        Item::Disk => seen_disks(told(&snapshot.storage)?).map(Measure::SizeBytes),
        Item::Serial => seen_serial(snapshot, card).map(Measure::Text),
    }
}

/// Facts and problems of a section.
type Known<'a, T> = (&'a T, &'a [Problem]);

fn told<T>(section: &Option<Section<T>>) -> Result<Known<'_, T>, Why> {
    let section = section.as_ref().ok_or(Why::NotTold)?;
    Ok((&section.told.facts, &section.told.problems))
}

/// Why an item is unknown, by the first problem whose item begins with one of `items`.
fn unknown(problems: &[Problem], items: &[&str]) -> Why {
    let found = problems.iter().find(|problem| items.iter().any(|item| problem.item.starts_with(item)));
    found.map_or(Why::NotTold, |problem| Why::Problem(problem.code.clone()))
}

fn seen_processor((hardware, problems): Known<'_, Hardware>) -> Result<String, Why> {
    let model = hardware.processors.iter().find_map(|processor| processor.model.clone());
    model.ok_or_else(|| unknown(problems, &["processor"]))
}

fn seen_memory((hardware, problems): Known<'_, Hardware>) -> Result<u64, Why> {
    let modules_told = !problems.iter().any(|problem| problem.item == "memory.modules");
    let installed = if modules_told { installed_memory(&hardware.memory) } else { None };
    installed.or(hardware.memory.total_bytes).ok_or_else(|| unknown(problems, &["memory"]))
}

/// The sum of the modules; `None` when they are less than what the system uses, so not all of them are known.
fn installed_memory(memory: &Memory) -> Option<u64> {
    let sum: u64 = memory.modules.iter().filter_map(|module| module.size_bytes).sum();
    (sum > 0 && sum >= memory.total_bytes.unwrap_or(0)).then_some(sum)
}

/// How much of `installed` bytes may not be counted by the system.
const fn memory_unseen(installed: u64) -> u64 {
    installed / GRAPHICS_SHARE + KERNEL_BYTES
}

fn seen_disks((storage, problems): Known<'_, Storage>) -> Result<u64, Why> {
    let mut sum: Option<u64> = None;
    for disk in storage.disks.iter().filter(|disk| is_built_in(disk)) {
        let size = disk.size_bytes.ok_or_else(|| unknown(problems, &[disk.name.as_str()]))?;
        sum = Some(sum.unwrap_or(0).saturating_add(size));
    }
    sum.ok_or_else(|| unknown(problems, &["disks"]))
}

/// Names of what is no disk of its own: loop devices, memory, optical and virtual drives, and what is made of
/// other disks.
const NO_DISK: [&str; 8] = ["loop", "zram", "ram", "sr", "fd", "dm-", "md", "nbd"];

fn is_built_in(disk: &Disk) -> bool {
    disk.removable != Some(true)
        && disk.transport.as_deref() != Some("usb")
        && !NO_DISK.iter().any(|prefix| disk.name.starts_with(prefix))
}

/// The serial number that is booked, if it is the system's or its board's; else the first of them.
fn seen_serial(snapshot: &Snapshot, card: &Card) -> Result<String, Why> {
    let (hardware, problems) = told(&snapshot.hardware)?;
    let known = serials(snapshot);
    let booked = known.iter().find(|serial| is_booked(card, serial));
    if let Some(serial) = booked.or(known.first()) {
        return Ok((*serial).to_owned());
    }
    let unset = hardware.system.serial.is_some() || hardware.board.serial.is_some();
    Err(if unset { Why::Unset } else { unknown(problems, &["system.serial", "board.serial"]) })
}

/// Whether the card names this serial number.
fn is_booked(card: &Card, serial: &str) -> bool {
    card.serial.as_ref().is_some_and(|booked| normalised(booked.as_str()) == normalised(serial))
}

/// The serial numbers by which a machine may be booked, the system's before its board's.
fn serials(snapshot: &Snapshot) -> Vec<&str> {
    let hardware = snapshot.hardware.as_ref().map(|section| &section.told.facts);
    let both = hardware.map(|hardware| [&hardware.system.serial, &hardware.board.serial]);
    let known = both.into_iter().flatten().flatten().map(String::as_str);
    known.filter(|serial| !is_unset(serial)).collect()
}

/// What makers leave in place of a serial number (domain.md 5.7), normalised and without dots.
const UNSET: &[&str] = &[
    "",
    "DEFAULT STRING",
    "TO BE FILLED BY OEM",
    "NOT SPECIFIED",
    "NOT APPLICABLE",
    "NOT AVAILABLE",
    "NONE",
    "NULL",
    "N/A",
    "OEM",
    "INVALID",
    "UNKNOWN",
    "SERIAL NUMBER",
    "SYSTEM SERIAL NUMBER",
    "BASE BOARD SERIAL NUMBER",
    "123456789",
    "1234567890",
    "0123456789",
];

fn is_unset(serial: &str) -> bool {
    let value = normalised(serial).replace('.', "");
    let mut characters = value.chars().filter(|c| c.is_alphanumeric());
    let first = characters.next();
    UNSET.contains(&value.trim()) || characters.all(|c| Some(c) == first)
}

/// Trimmed, upper case, inner blanks folded to one.
fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase()
}

/// Words of a processor's name that say nothing about which one it is.
const NOISE: [&str; 5] = ["r", "tm", "c", "cpu", "processor"];

/// Words as clerks write them, often without a blank, and as processors name themselves.
const WORDS: [(&str, &str); 10] = [
    ("处理器", ""),
    ("英特尔", "intel"),
    ("酷睿", "core"),
    ("奔腾", "pentium"),
    ("赛扬", "celeron"),
    ("锐龙", "ryzen"),
    ("龙芯", "loongson"),
    ("兆芯", "zhaoxin"),
    ("海光", "hygon"),
    ("飞腾", "phytium"),
];

/// What of a processor's name says which one it is: words in small letters, without trade marks and clocks.
fn tokens(name: &str) -> Vec<String> {
    let mut plain = name.split('@').next().unwrap_or_default().to_lowercase();
    for (chinese, english) in WORDS {
        plain = plain.replace(chinese, &format!(" {english} "));
    }
    let words = plain.split_whitespace().filter(|word| !word.ends_with("ghz") && !word.ends_with("mhz"));
    words
        .flat_map(|word| word.split(|c: char| !c.is_alphanumeric()))
        .filter(|token| !token.is_empty() && !NOISE.contains(token))
        .map(str::to_owned)
        .collect()
}

/// What a person found a difference to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// A part was replaced.
    Repair,
    /// The machine stands elsewhere, and another here.
    Move,
    /// Something is gone.
    Theft,
    /// The card is wrong.
    WrongEntry,
    /// Something else; the note says what.
    Other,
}

impl Settlement {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Repair, Self::Move, Self::Theft, Self::WrongEntry, Self::Other];

    /// The word stored, typed and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repair => "repair",
            Self::Move => "move",
            Self::Theft => "theft",
            Self::WrongEntry => "wrong_entry",
            Self::Other => "other",
        }
    }

    /// The settlement that [`Settlement::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|settlement| settlement.as_str() == text)
    }
}

/// A difference that was found before and is not gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its case.
    pub id: CaseId,
    /// What differs.
    pub item: Item,
    /// What the card said.
    pub booked: Measure,
    /// What was seen.
    pub observed: Measure,
    /// Whether a person said what it is.
    pub settled: bool,
}

/// What is to be done with cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A case is opened.
    Open {
        /// What differs.
        item: Item,
        /// What the card says.
        booked: Measure,
        /// What was seen.
        observed: Measure,
    },
    /// An open case is about other values now.
    Update {
        /// The case.
        id: CaseId,
        /// What the card says.
        booked: Measure,
        /// What was seen.
        observed: Measure,
    },
    /// The difference of a case is there no more.
    Gone {
        /// The case.
        id: CaseId,
    },
}

/// What follows from the comparisons of one card for its cases. At most one case stands per item.
pub fn decide(comparisons: &[Comparison], standing: &[Standing]) -> Vec<Step> {
    let mut steps = Vec::new();
    for case in standing {
        // What the card says nothing about any more cannot differ.
        let gone =
            comparisons.iter().find(|comparison| comparison.item == case.item).is_none_or(|comparison| {
                matches!(comparison.outcome, Outcome::Same | Outcome::Unknown(Why::NotBooked))
            });
        if gone {
            steps.push(Step::Gone { id: case.id });
        }
    }
    for comparison in comparisons {
        let (Outcome::Different, Some(booked), Some(observed)) =
            (&comparison.outcome, comparison.booked.clone(), comparison.observed.clone())
        else {
            continue;
        };
        let item = comparison.item;
        match standing.iter().find(|case| case.item == item) {
            None => steps.push(Step::Open { item, booked, observed }),
            Some(case) if case.booked == booked && item.unchanged(&case.observed, &observed) => {}
            Some(case) if case.settled => {
                steps.extend([Step::Gone { id: case.id }, Step::Open { item, booked, observed }]);
            }
            Some(case) => steps.push(Step::Update { id: case.id, booked, observed }),
        }
    }
    steps
}

#[cfg(test)]
mod tests;
