//! The SMBIOS table (DSP0134) as firmware leaves it in memory: structures one after the other, each a header,
//! a formatted part of its own length, and a set of strings closed by two zero bytes.
//!
//! Firmware lies: lengths run past the end, strings are missing, fields are cut. Each field is read only if it
//! lies within its structure; the first structure that does not fit ends the walk and is said in `broken`.

use super::text;

/// No honest table comes near; a table that does is cut here.
const MAX_STRUCTURES: usize = 4_096;
const HEADER_BYTES: usize = 4;
const END_OF_TABLE: u8 = 127;

/// What the table tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smbios {
    /// Type 0.
    pub firmware: Firmware,
    /// Type 1.
    pub system: Product,
    /// Type 1, in the order people write it.
    pub system_uuid: Option<[u8; 16]>,
    /// Type 2, the first.
    pub board: Product,
    /// Type 3, without the lock bit.
    pub chassis_type: Option<u8>,
    /// Type 4: names of the processors in their sockets.
    pub processors: Vec<String>,
    /// Type 17 with something in the slot.
    pub modules: Vec<Module>,
    /// The walk ended at a structure that does not fit.
    pub broken: bool,
}

/// Firmware, as it names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firmware {
    /// Who wrote it.
    pub vendor: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its date, as written.
    pub date: Option<String>,
}

/// System or board.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Product {
    /// Who made it.
    pub vendor: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
}

/// One memory module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// The slot's name on the board.
    pub slot: Option<String>,
    /// Its size; absent where the firmware does not know.
    pub size_bytes: Option<u64>,
    /// `DDR4`, …
    pub kind: Option<&'static str>,
    /// Megatransfers per second that it is made for.
    pub speed_mts: Option<u32>,
    /// Who made it.
    pub vendor: Option<String>,
    /// Its order number.
    pub part_number: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
}

/// The version in an entry point (`_SM_` or `_SM3_`); decides the byte order of the UUID.
#[must_use]
pub fn version(entry_point: &[u8]) -> Option<(u8, u8)> {
    let at = if entry_point.starts_with(b"_SM3_") {
        7
    } else if entry_point.starts_with(b"_SM_") {
        6
    } else {
        return None;
    };
    Some((*entry_point.get(at)?, *entry_point.get(at + 1)?))
}

/// Reads the whole table.
#[must_use]
pub fn parse(table: &[u8], version: (u8, u8)) -> Smbios {
    let mut found = Smbios::default();
    let mut rest = table;
    for _ in 0..MAX_STRUCTURES {
        if rest.is_empty() {
            break;
        }
        let Some((structure, after)) = Structure::split(rest) else {
            found.broken = true;
            break;
        };
        rest = after;
        match structure.kind {
            0 => found.firmware = structure.firmware(),
            1 => {
                found.system = structure.product();
                found.system_uuid = structure.uuid(version);
            }
            2 if found.board == Product::default() => found.board = structure.product(),
            3 if found.chassis_type.is_none() => {
                found.chassis_type = structure.byte(5).map(|kind| kind & 0x7f).filter(|kind| *kind != 0);
            }
            4 => found.processors.extend(structure.text(0x10)),
            17 => found.modules.extend(structure.module()),
            END_OF_TABLE => break,
            _ => {}
        }
    }
    found
}

struct Structure<'a> {
    kind: u8,
    /// With the header, so that offsets are those of the specification.
    formatted: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Structure<'a> {
    fn split(table: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let kind = *table.first()?;
        let length = usize::from(*table.get(1)?);
        if length < HEADER_BYTES || length > table.len() {
            return None;
        }
        let (formatted, tail) = table.split_at(length);
        let end = tail.windows(2).position(|pair| pair == [0, 0])?;
        Some((Self { kind, formatted, strings: &tail[..end] }, &tail[end + 2..]))
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.formatted.get(at).copied()
    }

    fn word(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.formatted.get(at..at + 2)?.try_into().ok()?))
    }

    fn double_word(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.formatted.get(at..at + 4)?.try_into().ok()?))
    }

    /// The string whose number, from 1, stands at `at`.
    fn text(&self, at: usize) -> Option<String> {
        let number = usize::from(self.byte(at)?).checked_sub(1)?;
        text::clean_bytes(self.strings.split(|byte| *byte == 0).nth(number)?)
    }

    fn firmware(&self) -> Firmware {
        Firmware { vendor: self.text(4), version: self.text(5), date: self.text(8) }
    }

    /// Types 1 and 2 begin alike.
    fn product(&self) -> Product {
        Product { vendor: self.text(4), name: self.text(5), version: self.text(6), serial: self.text(7) }
    }

    /// From 2.6 on the first three fields are little-endian. All zeros or all ones stand for "none" and "not
    /// set".
    fn uuid(&self, version: (u8, u8)) -> Option<[u8; 16]> {
        let mut uuid: [u8; 16] = self.formatted.get(8..24)?.try_into().ok()?;
        if uuid == [0; 16] || uuid == [0xff; 16] {
            return None;
        }
        if version >= (2, 6) {
            uuid[0..4].reverse();
            uuid[4..6].reverse();
            uuid[6..8].reverse();
        }
        Some(uuid)
    }

    fn module(&self) -> Option<Module> {
        let size_bytes = match self.word(0x0c)? {
            0 => return None,
            0xffff => None,
            0x7fff => self.double_word(0x1c).map(|mib| u64::from(mib & 0x7fff_ffff) << 20),
            kib if kib & 0x8000 != 0 => Some(u64::from(kib & 0x7fff) << 10),
            mib => Some(u64::from(mib) << 20),
        };
        let speed_mts = match self.word(0x15) {
            Some(0xffff) => self.double_word(0x54).map(|speed| speed & 0x7fff_ffff),
            Some(speed) => Some(u32::from(speed)),
            None => None,
        };
        Some(Module {
            slot: self.text(0x10),
            size_bytes,
            kind: self.byte(0x12).and_then(memory_kind),
            speed_mts: speed_mts.filter(|speed| *speed != 0),
            vendor: self.text(0x17),
            part_number: self.text(0x1a),
            serial: self.text(0x18),
        })
    }
}

/// 7.18.2, without the museum pieces.
fn memory_kind(code: u8) -> Option<&'static str> {
    Some(match code {
        0x03 => "DRAM",
        0x07 => "RAM",
        0x0f => "SDRAM",
        0x12 => "DDR",
        0x13 => "DDR2",
        0x18 => "DDR3",
        0x1a => "DDR4",
        0x1b => "LPDDR",
        0x1c => "LPDDR2",
        0x1d => "LPDDR3",
        0x1e => "LPDDR4",
        0x20 => "HBM",
        0x21 => "HBM2",
        0x22 => "DDR5",
        0x23 => "LPDDR5",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn structure(kind: u8, body: &[u8], strings: &[&str]) -> Vec<u8> {
        let length = u8::try_from(HEADER_BYTES + body.len()).unwrap();
        let mut bytes = vec![kind, length, 0, 0];
        bytes.extend(body);
        for string in strings {
            bytes.extend(string.as_bytes());
            bytes.push(0);
        }
        bytes.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
        bytes
    }

    const UUID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    fn table() -> Vec<u8> {
        let mut system = vec![1, 2, 0, 3];
        system.extend(UUID);
        let mut module = vec![0; 0x28 - HEADER_BYTES];
        module[0x0c - 4..0x0e - 4].copy_from_slice(&8192u16.to_le_bytes());
        module[0x10 - 4] = 1;
        module[0x12 - 4] = 0x1a;
        module[0x15 - 4..0x17 - 4].copy_from_slice(&2666u16.to_le_bytes());
        module[0x17 - 4] = 2;
        module[0x18 - 4] = 3;
        let empty = vec![0; 0x28 - HEADER_BYTES];
        [
            structure(0, &[1, 2, 0, 0, 3], &["American Megatrends Inc.", "5.12", "04/30/2015"]),
            structure(1, &system, &["Default string", "H110", "To be filled by O.E.M."]),
            structure(2, &[1, 2, 0, 3], &["Maker", "Board", "B-1"]),
            structure(2, &[1, 2, 0, 0], &["Second", "Riser"]),
            structure(3, &[0, 0x83], &[]),
            structure(17, &module, &["ChannelA-DIMM0", "Kingston", "AB12"]),
            structure(17, &empty, &[]),
            structure(END_OF_TABLE, &[], &[]),
        ]
        .concat()
    }

    #[test]
    fn a_whole_table_is_told() {
        let found = parse(&table(), (3, 0));
        assert_eq!(found.firmware.date.as_deref(), Some("04/30/2015"));
        assert_eq!(found.system.vendor.as_deref(), Some("Default string"));
        assert_eq!(found.board.serial.as_deref(), Some("B-1"));
        assert_eq!(found.chassis_type, Some(3), "the lock bit is no part of the type");
        assert_eq!(found.modules.len(), 1, "an empty slot is no module");
        assert_eq!(found.modules[0].size_bytes, Some(8 << 30));
        assert_eq!((found.modules[0].kind, found.modules[0].speed_mts), (Some("DDR4"), Some(2666)));
        assert!(!found.broken);
    }

    #[test]
    fn the_uuid_is_turned_from_version_2_6_on() {
        assert_eq!(parse(&table(), (2, 5)).system_uuid, Some(UUID));
        let turned = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(parse(&table(), (2, 6)).system_uuid, Some(turned));
    }

    #[test]
    fn large_and_small_modules_have_their_own_units() {
        let sized = |size: u16, extended: u32| {
            let mut body = vec![0; 0x20 - HEADER_BYTES];
            body[0x0c - 4..0x0e - 4].copy_from_slice(&size.to_le_bytes());
            body[0x1c - 4..].copy_from_slice(&extended.to_le_bytes());
            parse(&structure(17, &body, &[]), (3, 0)).modules[0].size_bytes
        };
        assert_eq!(sized(0x7fff, 32_768), Some(32 << 30));
        assert_eq!(sized(0x8000 | 512, 0), Some(512 << 10));
        assert_eq!(sized(0xffff, 0), None);
    }

    #[test]
    fn entry_points_tell_their_version() {
        assert_eq!(version(b"_SM_\0\x1f\x02\x08"), Some((2, 8)));
        assert_eq!(version(b"_SM3_\0\x18\x03\x02"), Some((3, 2)));
        assert_eq!(version(b"_SM3_"), None);
        assert_eq!(version(b"RSD PTR "), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            version: (u8, u8),
        ) {
            let _ = parse(&bytes, version);
            let _ = super::version(&bytes);
        }

        #[test]
        fn a_damaged_table_is_read_without_a_panic(at in 0usize..200, byte: u8) {
            let mut bytes = table();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse(&bytes, (3, 0));
        }

        #[test]
        fn a_table_cut_anywhere_tells_nothing_that_the_whole_does_not(cut in 0usize..260) {
            let whole = table();
            let found = parse(&whole[..cut.min(whole.len())], (3, 0));
            let all = parse(&whole, (3, 0));
            prop_assert!(found.firmware == all.firmware || found.firmware == Firmware::default());
            prop_assert!(found.modules.len() <= all.modules.len());
        }
    }
}
