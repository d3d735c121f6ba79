//! Board, system, firmware, processors and memory.
//!
//! Names come from the kernel's copy of the SMBIOS strings (`/sys/class/dmi/id`), then from the SMBIOS table
//! itself, then from the device tree. Strings that firmware left at their default are told as they are: the
//! console shows them, and only as evidence of identity they count for nothing.

use std::time::Duration;

use bbt_proto::report::v1 as wire;

use super::{
    Collector, Section, processor,
    source::{self, Problems, Unknown},
};
use crate::{
    decode::{
        meminfo,
        smbios::{self, Smbios},
    },
    platform::{Platform, Roots},
};

pub(super) const NAME: &str = "hardware";
/// Small files; firmware behind some of them answers in tens of milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);
/// Of an entry point no kernel shows, the newest order of bytes is assumed.
const ASSUMED_SMBIOS: (u8, u8) = (3, 0);

pub(super) struct Hardware;

impl Collector for Hardware {
    fn name(&self) -> &'static str {
        NAME
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn collect(&self, platform: &dyn Platform) -> Section {
        let roots = platform.roots();
        let mut problems = Problems::default();
        let table = smbios_table(roots);
        let processors = table.as_ref().map(|table| table.processors.as_slice()).unwrap_or_default();
        let processors = processor::processors(roots, processors, &mut problems);
        let memory = memory(roots, &table, &mut problems);
        let mut names = Names { roots, table: table.ok().unwrap_or_default(), problems };
        Section::Hardware(wire::Hardware {
            system: Some(names.system()),
            board: Some(names.board()),
            firmware: Some(names.firmware()),
            processors,
            memory: Some(memory),
            system_uuid: names.system_uuid(),
            chassis_type: names.chassis_type(),
            problems: names.problems.into_list(),
        })
    }

    fn failed(&self, problem: wire::Problem) -> Section {
        Section::Hardware(wire::Hardware { problems: vec![problem], ..wire::Hardware::default() })
    }
}

fn smbios_table(roots: &Roots) -> Result<Smbios, Unknown> {
    let tables = roots.sys.join("firmware/dmi/tables");
    let table = source::binary(&tables.join("DMI"))?;
    let entry_point = source::binary(&tables.join("smbios_entry_point")).ok();
    let version = entry_point.and_then(|bytes| smbios::version(&bytes)).unwrap_or(ASSUMED_SMBIOS);
    Ok(smbios::parse(&table, version))
}

fn memory(roots: &Roots, table: &Result<Smbios, Unknown>, problems: &mut Problems) -> wire::Memory {
    let file = roots.proc.join("meminfo");
    let meminfo = source::table(&file);
    let mut value = |item: &str, key: &str| {
        let found = meminfo.clone().and_then(|text| {
            let bytes = meminfo::bytes(&text, key);
            bytes.ok_or_else(|| Unknown::unreadable(format!("{} has no line {key}.", file.display())))
        });
        problems.keep(item, found)
    };
    let (total_bytes, swap_bytes) = (value("memory.total", "MemTotal"), value("memory.swap", "SwapTotal"));
    let modules = match table {
        Ok(table) => {
            if table.broken {
                let message =
                    "The firmware's SMBIOS table is damaged; what stands behind the damage is not read.";
                problems.note("memory.modules", Unknown::unreadable(message));
            } else if table.modules.is_empty() {
                let message = "The firmware's SMBIOS table describes no memory module.";
                problems.note("memory.modules", Unknown::not_offered(message));
            }
            table.modules.iter().map(module).collect()
        }
        Err(unknown) => {
            problems.note("memory.modules", unknown.clone());
            Vec::new()
        }
    };
    wire::Memory { total_bytes, swap_bytes, modules }
}

fn module(module: &smbios::Module) -> wire::MemoryModule {
    let smbios::Module { slot, size_bytes, kind, speed_mts, vendor, part_number, serial } = module.clone();
    wire::MemoryModule {
        slot,
        size_bytes,
        kind: kind.map(str::to_owned),
        speed_mts,
        vendor,
        part_number,
        serial,
    }
}

/// The three sources of names, asked in order.
struct Names<'a> {
    roots: &'a Roots,
    table: Smbios,
    problems: Problems,
}

impl Names<'_> {
    fn system(&mut self) -> wire::Product {
        let from_table = std::mem::take(&mut self.table.system);
        wire::Product {
            vendor: self.name("system.vendor", "sys_vendor", from_table.vendor, None),
            name: self.name("system.name", "product_name", from_table.name, Some("model")),
            version: self.name("system.version", "product_version", from_table.version, None),
            serial: self.name("system.serial", "product_serial", from_table.serial, Some("serial-number")),
        }
    }

    /// A device tree describes the board, so its model and serial number are the board's too.
    fn board(&mut self) -> wire::Product {
        let from_table = std::mem::take(&mut self.table.board);
        wire::Product {
            vendor: self.name("board.vendor", "board_vendor", from_table.vendor, None),
            name: self.name("board.name", "board_name", from_table.name, Some("model")),
            version: self.name("board.version", "board_version", from_table.version, None),
            serial: self.name("board.serial", "board_serial", from_table.serial, Some("serial-number")),
        }
    }

    fn firmware(&mut self) -> wire::Firmware {
        let from_table = std::mem::take(&mut self.table.firmware);
        wire::Firmware {
            vendor: self.name("firmware.vendor", "bios_vendor", from_table.vendor, None),
            version: self.name("firmware.version", "bios_version", from_table.version, None),
            date: self.name("firmware.date", "bios_date", from_table.date, None),
        }
    }

    fn system_uuid(&mut self) -> Option<String> {
        let from_table = self.table.system_uuid.map(|uuid| uuid::Uuid::from_bytes(uuid).to_string());
        let uuid = self.name("system_uuid", "product_uuid", from_table, None)?;
        Some(uuid.to_ascii_lowercase())
    }

    fn chassis_type(&mut self) -> Option<u32> {
        let file = self.roots.sys.join("class/dmi/id/chassis_type");
        let from_table = self.table.chassis_type.map(u32::from);
        let found = source::number(&file).or_else(|why| from_table.ok_or(why));
        self.problems.keep("chassis_type", found)
    }

    fn name(
        &mut self,
        item: &str,
        dmi_file: &str,
        from_table: Option<String>,
        tree_file: Option<&str>,
    ) -> Option<String> {
        let tree = self.roots.sys.join("firmware/devicetree/base");
        let found = source::attribute(&self.roots.sys.join("class/dmi/id").join(dmi_file))
            .or_else(|why| from_table.ok_or(why))
            .or_else(|why| match tree_file {
                Some(file) => source::attribute(&tree.join(file)).map_err(|_| why),
                None => Err(why),
            });
        self.problems.keep(item, found)
    }
}
