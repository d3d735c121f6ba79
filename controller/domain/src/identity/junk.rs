//! Values that tell no device from another, whatever the agent thinks of them.
//!
//! Beside the agent's own list, because a county meets boards before its agents are updated. Sources: the DMI dumps
//! of linuxhw/DMI (17 of 26 desktops looked at have at least one such value, every plug-in PC of a panel among them),
//! what QEMU, Proxmox, VMware and VirtualBox give to disks by default, and IEEE 802-2014 8.2 (locally administered
//! and group addresses).

use super::EvidenceKind;

/// Normalised and without dots.
const PLACEHOLDERS: &[&str] = &[
    "DEFAULT STRING",
    "TO BE FILLED BY OEM",
    "TO BE FILLED BY O E M",
    "TO BE FILLED",
    "NOT SPECIFIED",
    "NOT APPLICABLE",
    "NOT AVAILABLE",
    "NOT PRESENT",
    "NOT SETTABLE",
    "NONE",
    "NULL",
    "NIL",
    "NA",
    "N/A",
    "OEM",
    "INVALID",
    "UNKNOWN",
    "UNDEFINED",
    "EMPTY",
    "SERIAL",
    "SERIAL NUMBER",
    "SYSTEM SERIAL NUMBER",
    "BASE BOARD SERIAL NUMBER",
    "BOARD SERIAL NUMBER",
    "CHASSIS SERIAL NUMBER",
    "TYPE2 - BOARD SERIAL NUMBER",
    "OVERLAYBLK",
    "QEMU HARDDISK",
    "VBOX HARDDISK",
    "VMWARE VIRTUAL DISK",
    "00000000000000000001",
];

/// Whole UUIDs that makers and tools left in place of a real one.
const UUIDS: &[&str] = &[
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90AB-CDDEEFAABBCC",
    "4C4C4544-0000-2010-8020-80C04F202020",
    "A3000000-0000-0000-0000-000000000000",
];

/// Numbers that programs give to their virtual disks in order: QEMU's `QM00001`, Proxmox' `drive-scsi0`.
const COUNTED_DISKS: &[&str] = &["QM0000", "DRIVE-SCSI", "DRIVE-SATA", "DRIVE-VIRTIO", "DRIVE-IDE"];

/// Addresses used as examples, as a whole.
const MACS: &[&str] = &["00:01:02:03:04:05", "00:11:22:33:44:55", "00:E0:4C:68:00:01"];

/// The bits of an address's first byte that say: for a group, given by a program.
const GROUP_OR_LOCAL: u8 = 0b11;

/// Whether a normalised value tells nothing.
pub(super) fn is_junk(kind: EvidenceKind, value: &str) -> bool {
    is_repetition(value)
        || is_counting_up(value)
        || PLACEHOLDERS.contains(&value.replace('.', "").trim())
        || match kind {
            EvidenceKind::BoardUuid => UUIDS.contains(&value),
            EvidenceKind::DiskSerial => COUNTED_DISKS.iter().any(|start| value.starts_with(start)),
            EvidenceKind::PermanentMac => MACS.contains(&value) || !is_burnt_in(value),
            EvidenceKind::TpmEk | EvidenceKind::BoardSerial => false,
        }
}

/// All zeros, all F, `FEFEFEFE-…`, `XXXXXXX`, `---`: one or two characters again and again, between separators.
fn is_repetition(value: &str) -> bool {
    let significant: Vec<char> = value.chars().filter(|c| c.is_alphanumeric()).collect();
    let repeats =
        |length: usize| significant.iter().zip(significant.iter().skip(length)).all(|(a, b)| a == b);
    // Two characters twice is as little as chance gives.
    repeats(1) || significant.len() > 4 && repeats(2)
}

/// `123456789`, `0123456789ABCDEF`.
fn is_counting_up(value: &str) -> bool {
    const SHORTEST: usize = 6;
    let value = value.trim_start_matches('0');
    value.len() >= SHORTEST
        && ["123456789012345678901234567890", "123456789ABCDEF0"].iter().any(|all| all.starts_with(value))
}

/// Whether an address was given by the maker of the card.
fn is_burnt_in(mac: &str) -> bool {
    let first = mac.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    first.is_some_and(|first| first & GROUP_OR_LOCAL == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_no_device_from_another_is_junk() {
        use EvidenceKind::{BoardSerial, BoardUuid, DiskSerial, PermanentMac};
        for (kind, value) in [
            (BoardSerial, "TO BE FILLED BY O.E.M."),
            (BoardSerial, "DEFAULT STRING"),
            (BoardSerial, "123456789"),
            (BoardSerial, "0123456789"),
            (BoardSerial, "0123456789ABCDEF"),
            (BoardSerial, "0"),
            (BoardUuid, "00000000-0000-0000-0000-000000000000"),
            (BoardUuid, "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
            (BoardUuid, "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE"),
            (BoardUuid, "03000200-0400-0500-0006-000700080009"),
            (DiskSerial, "OVERLAYBLK"),
            (DiskSerial, "QM00001"),
            (PermanentMac, "00:00:00:00:00:00"),
            (PermanentMac, "FF:FF:FF:FF:FF:FF"),
            (PermanentMac, "52:54:00:12:34:56"),
            (PermanentMac, "01:00:5E:00:00:01"),
            (PermanentMac, "NO ADDRESS"),
        ] {
            assert!(is_junk(kind, value), "{kind} {value}");
        }
    }

    #[test]
    fn real_values_are_not() {
        use EvidenceKind::{BoardSerial, BoardUuid, DiskSerial, PermanentMac, TpmEk};
        for (kind, value) in [
            (TpmEk, "3C1B9A6F0E"),
            (BoardUuid, "4C4C4544-0042-3510-8052-B4C04F4E3232"),
            (BoardSerial, "CN7016 3B"),
            (BoardSerial, "PF0A1B2C"),
            (BoardSerial, "1212"),
            (DiskSerial, "S3Z8NB0K123456"),
            (PermanentMac, "08:00:27:4E:66:A1"),
            (PermanentMac, "00:E0:4C:36:12:9F"),
        ] {
            assert!(!is_junk(kind, value), "{kind} {value}");
        }
    }
}
