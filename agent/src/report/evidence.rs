//! By which hardware facts a device is recognised after its disk was replaced or cloned.
//!
//! Facts that move from PC to PC do not count: removable and USB disks, USB network cards, virtual
//! interfaces. Values that many boards share because a maker left them unset are sent and marked as junk.

use bbt_proto::{
    enrollment::v1::{Evidence, EvidenceKind},
    report::v1 as wire,
};

use crate::collect::Section;

/// The evidence in what was collected, without repetition.
#[must_use]
pub fn evidence(sections: &[Section]) -> Vec<Evidence> {
    let mut found = Vec::new();
    for section in sections {
        match section {
            Section::Hardware(hardware) => {
                let board_serial = hardware.board.as_ref().and_then(|board| board.serial.as_deref());
                add(&mut found, EvidenceKind::BoardUuid, hardware.system_uuid.as_deref());
                add(&mut found, EvidenceKind::BoardSerial, board_serial);
            }
            Section::Storage(storage) => {
                for disk in storage.disks.iter().filter(|disk| is_built_in(disk)) {
                    add(&mut found, EvidenceKind::DiskSerial, disk.serial.as_deref());
                }
            }
            Section::Network(network) => {
                let cards = network.interfaces.iter();
                for card in cards.filter(|card| card.physical && card.bus.as_deref() != Some("usb")) {
                    add(&mut found, EvidenceKind::PermanentMac, card.permanent_mac.as_deref());
                }
            }
            Section::FileSystems(_) | Section::Reachability(_) | Section::Software(_) => {}
        }
    }
    found
}

fn is_built_in(disk: &wire::Disk) -> bool {
    disk.removable != Some(true) && disk.transport.as_deref() != Some("usb")
}

fn add(found: &mut Vec<Evidence>, kind: EvidenceKind, value: Option<&str>) {
    let Some(value) = value.map(normalised).filter(|value| !value.is_empty()) else { return };
    let junk = is_junk(&value);
    let evidence = Evidence { kind: kind.into(), value, junk };
    if !found.contains(&evidence) {
        found.push(evidence);
    }
}

/// Trimmed, upper case, inner blanks folded to one.
fn normalised(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase()
}

/// Values that makers leave in place of a real one, normalised and without dots. Seen on desktops, all-in-one
/// panels and plug-in PCs of many makers.
const JUNK: &[&str] = &[
    "DEFAULT STRING",
    "TO BE FILLED BY OEM",
    "TO BE FILLED BY O E M",
    "TO BE FILLED",
    "NOT SPECIFIED",
    "NOT APPLICABLE",
    "NOT AVAILABLE",
    "NOT PRESENT",
    "NONE",
    "NULL",
    "NA",
    "N/A",
    "OEM",
    "INVALID",
    "UNKNOWN",
    "EMPTY",
    "SERIAL",
    "SERIAL NUMBER",
    "SYSTEM SERIAL NUMBER",
    "SYSTEM UUID",
    "BASE BOARD SERIAL NUMBER",
    "BOARD SERIAL NUMBER",
    "CHASSIS SERIAL NUMBER",
    "TYPE2 - BOARD SERIAL NUMBER",
    "123456",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "0123456789",
    "0123456789ABCDEF",
    "123456789ABCDEF",
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90AB-CDDEEFAABBCC",
    "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE",
    "00:11:22:33:44:55",
    "00:01:02:03:04:05",
    "12:34:56:78:9A:BC",
];

fn is_junk(normalised: &str) -> bool {
    let without_dots = normalised.replace('.', "");
    JUNK.contains(&without_dots.trim()) || is_one_character(normalised)
}

/// All zeros, all F, `xxxxxxx`, `---`: one character again and again, between separators.
fn is_one_character(value: &str) -> bool {
    let mut significant = value.chars().filter(|character| character.is_alphanumeric());
    let first = significant.next();
    significant.all(|character| Some(character) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware(uuid: &str, board_serial: &str) -> Section {
        Section::Hardware(wire::Hardware {
            system_uuid: Some(uuid.into()),
            board: Some(wire::Product { serial: Some(board_serial.into()), ..wire::Product::default() }),
            ..wire::Hardware::default()
        })
    }

    fn disk(serial: &str, transport: &str, removable: bool) -> wire::Disk {
        wire::Disk {
            serial: Some(serial.into()),
            transport: Some(transport.into()),
            removable: Some(removable),
            ..wire::Disk::default()
        }
    }

    fn card(mac: &str, bus: Option<&str>, physical: bool) -> wire::Interface {
        wire::Interface {
            permanent_mac: Some(mac.into()),
            bus: bus.map(str::to_owned),
            physical,
            ..wire::Interface::default()
        }
    }

    #[test]
    fn values_are_normalised() {
        let found = evidence(&[hardware("4c4c4544-0042-3510-8052-b4c04f4e3232", "  cn7016\t 3b ")]);
        let values: Vec<_> = found.iter().map(|one| (one.kind(), one.value.as_str(), one.junk)).collect();
        assert_eq!(
            values,
            [
                (EvidenceKind::BoardUuid, "4C4C4544-0042-3510-8052-B4C04F4E3232", false),
                (EvidenceKind::BoardSerial, "CN7016 3B", false),
            ]
        );
    }

    #[test]
    fn what_makers_leave_unset_is_junk() {
        for junk in [
            "Default string",
            "To Be Filled By O.E.M",
            "TO be filled by O.E.M.",
            "Not Specified",
            "None",
            "System Serial Number",
            "123456789",
            "0",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "03000200-0400-0500-0006-000700080009",
            "............",
            "XXXXXXXXXXXX",
        ] {
            let found = evidence(&[hardware(junk, junk)]);
            assert!(found.iter().all(|one| one.junk) && found.len() == 2, "{junk}: {found:?}");
        }
        assert!(!evidence(&[hardware("x", "PF0A1B2C")])[1].junk);
    }

    #[test]
    fn a_blank_is_no_evidence() {
        assert_eq!(evidence(&[hardware(" ", "")]), []);
    }

    #[test]
    fn what_moves_from_pc_to_pc_does_not_count() {
        let disks = vec![disk("A1", "sata", false), disk("B2", "usb", false), disk("C3", "mmc", true)];
        let interfaces = vec![
            card("aa:bb:cc:00:00:01", Some("pci"), true),
            card("aa:bb:cc:00:00:02", Some("usb"), true),
            card("aa:bb:cc:00:00:03", None, false),
        ];
        let found = evidence(&[
            Section::Storage(wire::Storage { disks, problems: vec![] }),
            Section::Network(wire::Network { interfaces, problems: vec![] }),
        ]);
        let values: Vec<_> = found.iter().map(|one| one.value.as_str()).collect();
        assert_eq!(values, ["A1", "AA:BB:CC:00:00:01"]);
    }
}
