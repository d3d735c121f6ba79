use std::slice::from_ref;

use super::*;
use crate::{
    civil::Day,
    facts::{MemoryModule, Processor, StateReport, Told},
    ids::AssetId,
    ledger::fields::Specification,
    money::Money,
    time::UtcMicros,
};

const GIB: u64 = 1 << 30;

fn card(specification: Specification, serial: Option<&str>) -> Card {
    let day: Day = "2024-10-31".parse().unwrap();
    Card {
        id: AssetId::from_bytes([1; 16]),
        asset_no: "ZC-1".parse().unwrap(),
        name: "台式电脑".into(),
        class: "A02010105@2022".parse().unwrap(),
        cost_fen: Money::from_fen(350_000),
        acquired_on: day,
        put_to_use_on: day,
        booked_on: day,
        serial: serial.map(|serial| serial.parse().unwrap()),
        specification,
        set: None,
        school: None,
    }
}

fn machine(hardware: Hardware, storage: Storage) -> Observed {
    let mut snapshot = Snapshot::default();
    let report = StateReport {
        hardware: Some(Told { facts: hardware, problems: vec![] }),
        storage: Some(Told { facts: storage, problems: vec![] }),
        ..StateReport::default()
    };
    snapshot.apply(report, UtcMicros::default());
    Observed { device: DeviceId::from_bytes([1; 16]), snapshot }
}

fn outcome(item: Item, card: &Card, machine: &Observed) -> Outcome {
    let found = compare(card, Some(machine)).into_iter().find(|comparison| comparison.item == item);
    found.unwrap().outcome
}

fn processor(booked: &str, seen: &str) -> Outcome {
    let specification = Specification { processor: Some(booked.into()), ..Specification::default() };
    let processors = vec![Processor { model: Some(seen.into()), ..Processor::default() }];
    let machine = machine(Hardware { processors, ..Hardware::default() }, Storage::default());
    outcome(Item::Processor, &card(specification, None), &machine)
}

fn memory(booked: u64, usable: Option<u64>, modules: &[Option<u64>]) -> Outcome {
    let specification = Specification { memory_bytes: Some(booked), ..Specification::default() };
    let module = |size: &Option<u64>| MemoryModule { size_bytes: *size, ..MemoryModule::default() };
    let memory =
        Memory { total_bytes: usable, modules: modules.iter().map(module).collect(), ..Memory::default() };
    let machine = machine(Hardware { memory, ..Hardware::default() }, Storage::default());
    outcome(Item::Memory, &card(specification, None), &machine)
}

fn disks(booked: u64, disks: &[(&str, u64, Option<&str>, bool)]) -> Outcome {
    let specification = Specification { disk_bytes: Some(booked), ..Specification::default() };
    let disk = |(name, size, transport, removable): &(&str, u64, Option<&str>, bool)| Disk {
        name: (*name).into(),
        size_bytes: Some(*size),
        transport: transport.map(str::to_owned),
        removable: Some(*removable),
        ..Disk::default()
    };
    let storage = Storage { disks: disks.iter().map(disk).collect() };
    outcome(Item::Disk, &card(specification, None), &machine(Hardware::default(), storage))
}

fn serial(booked: &str, system: Option<&str>, board: Option<&str>) -> Outcome {
    let mut hardware = Hardware::default();
    hardware.system.serial = system.map(str::to_owned);
    hardware.board.serial = board.map(str::to_owned);
    outcome(
        Item::Serial,
        &card(Specification::default(), Some(booked)),
        &machine(hardware, Storage::default()),
    )
}

#[test]
fn a_processor_is_the_same_when_every_booked_word_is_seen() {
    let seen = "Intel(R) Core(TM) i5-10400 CPU @ 2.90GHz";
    for same in ["i5-10400", "Intel Core i5-10400", "INTEL CORE I5 10400 2.9GHz", "英特尔酷睿i5-10400处理器"]
    {
        assert_eq!(processor(same, seen), Outcome::Same, "{same}");
    }
    for different in ["i7-10700", "i5-10400F", "i5-1040", "AMD Ryzen 5 5600G"] {
        assert_eq!(processor(different, seen), Outcome::Different, "{different}");
    }
    assert_eq!(processor("CPU", seen), Outcome::Unknown(Why::Vague));
}

#[test]
fn eight_gib_of_which_graphics_and_kernel_took_some_are_eight_gib() {
    let tenths = |tenths: u64| Some(GIB / 10 * tenths);
    assert_eq!(memory(8 * GIB, tenths(77), &[]), Outcome::Same);
    assert_eq!(memory(8 * GIB, tenths(40), &[]), Outcome::Different);
    assert_eq!(memory(8 * GIB, tenths(60), &[]), Outcome::Different, "a module of 2 GiB is gone");
    assert_eq!(memory(4 * GIB, Some(3_328 << 20), &[]), Outcome::Same, "a system of 32 bits");
    assert_eq!(memory(4 * GIB, tenths(77), &[]), Outcome::Different, "there is more than booked");
    assert_eq!(memory(8 * GIB, None, &[]), Outcome::Unknown(Why::NotTold));
}

#[test]
fn modules_say_what_is_installed_when_all_are_known() {
    let (four, none) = (Some(4 * GIB), None);
    assert_eq!(memory(8 * GIB, Some(5 * GIB), &[four, none, four]), Outcome::Same, "large graphics share");
    assert_eq!(memory(8 * GIB, Some(GIB / 10 * 77), &[four, none]), Outcome::Same, "one is not told");
    assert_eq!(memory(16 * GIB, Some(GIB / 10 * 77), &[four, four]), Outcome::Different);
}

#[test]
fn only_built_in_disks_count_and_either_way_of_counting() {
    let ssd = ("sda", 256_060_514_304, Some("sata"), false);
    assert_eq!(disks(256_000_000_000, &[ssd]), Outcome::Same);
    assert_eq!(disks(256 * GIB, &[ssd]), Outcome::Same, "booked in the wrong unit");
    assert_eq!(disks(238_000_000_000, &[ssd]), Outcome::Same, "booked as Windows shows it");
    assert_eq!(disks(512_000_000_000, &[ssd]), Outcome::Different);
    assert_eq!(disks(128_000_000_000, &[ssd]), Outcome::Different);
    let others = [
        ssd,
        ("sdb", 31_000_000_000, Some("usb"), false),
        ("sdc", 31_000_000_000, None, true),
        ("loop0", 64_000_000_000, None, false),
        ("zram0", 4_000_000_000, None, false),
        ("sr0", 4_000_000_000, Some("sata"), false),
    ];
    assert_eq!(disks(256_000_000_000, &others), Outcome::Same);
    let two = [ssd, ("nvme0n1", 1_000_204_886_016, Some("nvme"), false)];
    assert_eq!(disks(1_256_000_000_000, &two), Outcome::Same);
    assert_eq!(disks(256_000_000_000, &[]), Outcome::Unknown(Why::NotTold));
}

#[test]
fn a_serial_number_is_the_systems_or_its_boards() {
    assert_eq!(serial("pf0a1b2c", Some(" PF0A1B2C "), None), Outcome::Same);
    assert_eq!(serial("PF0A1B2C", Some("Default string"), Some("PF0A1B2C")), Outcome::Same);
    assert_eq!(serial("PF0A1B2C", Some("OTHER"), Some("PF0A1B2C")), Outcome::Same);
    assert_eq!(serial("PF0A1B2C", Some("PF999999"), None), Outcome::Different);
}

#[test]
fn a_serial_number_that_the_maker_left_unset_is_unknown() {
    for junk in ["Default string", "To Be Filled By O.E.M.", "123456789", "0", "FFFFFFFF", " ", "None"] {
        assert_eq!(serial("PF0A1B2C", Some(junk), Some(junk)), Outcome::Unknown(Why::Unset), "{junk}");
    }
    assert_eq!(serial("PF0A1B2C", None, None), Outcome::Unknown(Why::NotTold));
    assert_eq!(serial("Default string", Some("PF0A1B2C"), None), Outcome::Unknown(Why::Vague));
}

#[test]
fn what_a_device_cannot_tell_has_its_problems_code() {
    let mut device = machine(Hardware::default(), Storage::default());
    let problem =
        |item: &str| Problem { item: item.into(), code: "permission_denied".into(), message: String::new() };
    if let Some(section) = &mut device.snapshot.hardware {
        section.told.problems = vec![problem("chassis_type"), problem("board.serial")];
    }
    let why = outcome(Item::Serial, &card(Specification::default(), Some("PF0A1B2C")), &device);
    assert_eq!(why, Outcome::Unknown(Why::Problem("permission_denied".into())));
    let nobody = compare(&card(Specification::default(), Some("PF0A1B2C")), None);
    assert_eq!(nobody[3].outcome, Outcome::Unknown(Why::NoDevice));
    assert_eq!(nobody[1].outcome, Outcome::Unknown(Why::NotBooked));
}

#[test]
fn a_projectors_card_is_not_held_against_the_computer_beside_it() {
    let mut projector = card(Specification::default(), Some("X9PJ00001"));
    projector.class = "A02020200@2022".parse().unwrap();
    let machine = machine(Hardware::default(), Storage::default());
    assert!(compare(&projector, Some(&machine)).is_empty());
    projector.specification.memory_bytes = Some(8 * GIB);
    assert!(!compare(&projector, Some(&machine)).is_empty(), "a whole set booked as one card");
}

#[test]
fn each_card_finds_the_device_of_its_serial_number() {
    let device = |n: u8, serial: &str| {
        let mut hardware = Hardware::default();
        hardware.system.serial = Some(serial.into());
        Observed { device: DeviceId::from_bytes([n; 16]), ..machine(hardware, Storage::default()) }
    };
    let devices = [device(1, "AAA1"), device(2, "BBB2")];
    let cards = |serials: &[&str]| -> Vec<Card> {
        serials.iter().map(|serial| card(Specification::default(), Some(serial))).collect()
    };
    let numbers = |serials: &[&str]| -> Vec<Option<u8>> {
        let pairs = pair(&cards(serials), &devices);
        pairs.iter().map(|pair| pair.map(|device| device.device.as_bytes()[0])).collect()
    };
    assert_eq!(numbers(&["BBB2", "AAA1"]), [Some(2), Some(1)]);
    assert_eq!(numbers(&["XXX9", "AAA1"]), [Some(2), Some(1)]);
    assert_eq!(numbers(&["XXX9", "YYY9", "ZZZ9"]), [Some(1), Some(2), None]);
}

fn different(booked: u64, observed: u64) -> Comparison {
    Comparison {
        item: Item::Memory,
        booked: Some(Measure::SizeBytes(booked)),
        observed: Some(Measure::SizeBytes(observed)),
        outcome: Outcome::Different,
    }
}

fn standing(booked: u64, observed: u64, settled: bool) -> Standing {
    Standing {
        id: CaseId::from_bytes([7; 16]),
        item: Item::Memory,
        booked: Measure::SizeBytes(booked),
        observed: Measure::SizeBytes(observed),
        settled,
    }
}

#[test]
fn a_difference_opens_one_case_and_goes_with_it() {
    let found = different(8 * GIB, 4 * GIB);
    let Comparison { item, booked, observed, .. } = found.clone();
    let open = Step::Open { item, booked: booked.unwrap(), observed: observed.unwrap() };
    assert_eq!(decide(from_ref(&found), &[]), [open]);
    let case = standing(8 * GIB, 4 * GIB, false);
    assert_eq!(decide(from_ref(&found), from_ref(&case)), [], "safe to repeat");
    let same = Comparison { outcome: Outcome::Same, ..found };
    assert_eq!(decide(&[same], from_ref(&case)), [Step::Gone { id: case.id }]);
    assert_eq!(decide(&[], from_ref(&case)), [Step::Gone { id: case.id }], "the card left the set");
}

#[test]
fn what_is_not_known_leaves_a_case_alone() {
    for why in [Why::NoDevice, Why::NotTold, Why::Unset, Why::Problem("hung".into())] {
        let unknown = Comparison { outcome: Outcome::Unknown(why), ..different(8 * GIB, 4 * GIB) };
        assert_eq!(decide(&[unknown], &[standing(8 * GIB, 4 * GIB, false)]), []);
    }
}

#[test]
fn a_settled_difference_comes_back_only_with_other_values() {
    let settled = [standing(8 * GIB, 4 * GIB, true)];
    assert_eq!(decide(&[different(8 * GIB, 4 * GIB)], &settled), []);
    assert_eq!(decide(&[different(8 * GIB, 4 * GIB - (64 << 20))], &settled), [], "as usable memory does");
    let steps = decide(&[different(8 * GIB, 2 * GIB)], &settled);
    assert!(matches!(steps[..], [Step::Gone { .. }, Step::Open { .. }]), "{steps:?}");
    let steps = decide(&[different(8 * GIB, 2 * GIB)], &[standing(8 * GIB, 4 * GIB, false)]);
    assert!(matches!(steps[..], [Step::Update { .. }]), "{steps:?}");
}
