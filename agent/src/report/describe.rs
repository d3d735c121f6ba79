//! What was collected, for people and for programs. The keys are the names of the contract's fields, so that
//! what `bbt-agent collect` prints is what would be sent.

use std::fmt::{Display, Write};

use bbt_proto::report::v1 as wire;
use serde_json::{Map, Value, json};

use crate::{
    collect::{Section, usage::Session},
    platform::Seat,
};

/// One object with a member per section, and `usage` with what goes on at the seat now; unknown is null beside
/// `problems`.
#[must_use]
pub fn to_json(sections: &[Section], session: &Session) -> Value {
    let mut members: Map<_, _> =
        sections.iter().map(|section| (section.name().to_owned(), section_json(section))).collect();
    members.insert("usage".to_owned(), session_json(session));
    members.into()
}

fn session_json(session: &Session) -> Value {
    let seat = session.seat.map(|seat| match seat {
        Seat::Active => "active",
        Seat::Idle => "idle",
        Seat::Nobody => "nobody",
    });
    json!({ "session": seat, "problems": problems_json(&session.problems) })
}

fn problems_json(problems: &[wire::Problem]) -> Value {
    let problem = |problem: &wire::Problem| json!({ "item": problem.item, "code": problem.code, "message": problem.message });
    problems.iter().map(problem).collect()
}

fn section_json(section: &Section) -> Value {
    let mut value = match section {
        Section::Hardware(section) => json!({
            "system": section.system.as_ref().map(product_json),
            "board": section.board.as_ref().map(product_json),
            "firmware": section.firmware.as_ref().map(|firmware| json!({
                "vendor": firmware.vendor,
                "version": firmware.version,
                "date": firmware.date,
            })),
            "processors": section.processors.iter().map(processor_json).collect::<Vec<_>>(),
            "memory": section.memory.as_ref().map(memory_json),
            "system_uuid": section.system_uuid,
            "chassis_type": section.chassis_type,
        }),
        Section::Storage(section) => json!({
            "disks": section.disks.iter().map(disk_json).collect::<Vec<_>>(),
        }),
        Section::FileSystems(section) => json!({
            "file_systems": section.file_systems.iter().map(file_system_json).collect::<Vec<_>>(),
        }),
        Section::Network(section) => json!({
            "interfaces": section.interfaces.iter().map(interface_json).collect::<Vec<_>>(),
        }),
        Section::Reachability(section) => json!({
            "gateway": section.gateway.as_ref().map(peer_json),
            "controller": section.controller.as_ref().map(peer_json),
        }),
        Section::Software(section) => json!({
            "os_name": section.os_name,
            "os_version": section.os_version,
            "kernel": section.kernel,
            "architecture": section.architecture,
            "host_name": section.host_name,
            "agent_version": section.agent_version,
        }),
    };
    value["problems"] = problems_json(section.problems());
    value
}

fn product_json(product: &wire::Product) -> Value {
    json!({
        "vendor": product.vendor,
        "name": product.name,
        "version": product.version,
        "serial": product.serial,
    })
}

fn processor_json(processor: &wire::Processor) -> Value {
    json!({
        "vendor": processor.vendor,
        "model": processor.model,
        "sockets": processor.sockets,
        "cores": processor.cores,
        "threads": processor.threads,
        "max_khz": processor.max_khz,
    })
}

fn memory_json(memory: &wire::Memory) -> Value {
    let module = |module: &wire::MemoryModule| {
        json!({
            "slot": module.slot,
            "size_bytes": module.size_bytes,
            "kind": module.kind,
            "speed_mts": module.speed_mts,
            "vendor": module.vendor,
            "part_number": module.part_number,
            "serial": module.serial,
        })
    };
    json!({
        "total_bytes": memory.total_bytes,
        "swap_bytes": memory.swap_bytes,
        "modules": memory.modules.iter().map(module).collect::<Vec<_>>(),
    })
}

fn disk_json(disk: &wire::Disk) -> Value {
    json!({
        "name": disk.name,
        "size_bytes": disk.size_bytes,
        "vendor": disk.vendor,
        "model": disk.model,
        "serial": disk.serial,
        "firmware": disk.firmware,
        "wwn": disk.wwn,
        "transport": disk.transport,
        "rotational": disk.rotational,
        "removable": disk.removable,
        "read_only": disk.read_only,
    })
}

fn file_system_json(file_system: &wire::FileSystem) -> Value {
    json!({
        "mount_point": file_system.mount_point,
        "source": file_system.source,
        "kind": file_system.kind,
        "size_bytes": file_system.size_bytes,
        "free_bytes": file_system.free_bytes,
        "read_only": file_system.read_only,
    })
}

fn interface_json(interface: &wire::Interface) -> Value {
    json!({
        "name": interface.name,
        "mac": interface.mac,
        "permanent_mac": interface.permanent_mac,
        "physical": interface.physical,
        "bus": interface.bus,
        "driver": interface.driver,
        "state": interface.state,
        "speed_mbps": interface.speed_mbps,
        "mtu": interface.mtu,
    })
}

fn peer_json(peer: &wire::Peer) -> Value {
    json!({
        "address": peer.address,
        "reachable": peer.reachable,
        "round_trip_micros": peer.round_trip_micros,
        "method": peer.method,
    })
}

/// The same for reading, a paragraph per section.
#[must_use]
pub fn to_text(sections: &[Section], session: &Session) -> String {
    let mut page = Page(String::new());
    for section in sections {
        match section {
            Section::Hardware(section) => page.hardware(section),
            Section::Storage(section) => page.storage(section),
            Section::FileSystems(section) => page.file_systems(section),
            Section::Network(section) => page.network(section),
            Section::Reachability(section) => page.reachability(section),
            Section::Software(section) => page.software(section),
        }
        page.problems(section.problems());
    }
    page.usage(session);
    page.problems(&session.problems);
    page.0
}

const UNKNOWN: &str = "unknown";

struct Page(String);

impl Page {
    fn hardware(&mut self, section: &wire::Hardware) {
        self.heading("Hardware");
        for (label, product) in [("system", &section.system), ("board", &section.board)] {
            if let Some(product) = product {
                let parts = [&product.vendor, &product.name, &product.version];
                self.line(label, format_args!("{}, serial {}", joined(parts), or_unknown(&product.serial)));
            }
        }
        self.line("system UUID", or_unknown(&section.system_uuid));
        self.line("chassis type", or_unknown(&section.chassis_type));
        if let Some(firmware) = &section.firmware {
            self.line("firmware", joined([&firmware.vendor, &firmware.version, &firmware.date]));
        }
        for processor in &section.processors {
            let counts = [
                ("sockets", &processor.sockets),
                ("cores", &processor.cores),
                ("threads", &processor.threads),
            ];
            let counts = counts.map(|(unit, count)| format!("{unit} {}", or_unknown(count))).join(", ");
            let speed = processor.max_khz.map(|khz| format!("{} MHz", khz / 1_000));
            let model = or_unknown(&processor.model);
            self.line("processor", format_args!("{model}; {counts}; at most {}", or_unknown(&speed)));
        }
        if let Some(memory) = &section.memory {
            self.line(
                "memory",
                format_args!("{}, swap {}", size(memory.total_bytes), size(memory.swap_bytes)),
            );
            for module in &memory.modules {
                let kind = module.kind.clone();
                let parts = [&kind, &module.vendor, &module.part_number];
                let slot = or_unknown(&module.slot);
                self.line("module", format_args!("{slot}: {} {}", size(module.size_bytes), joined(parts)));
            }
        }
    }

    fn storage(&mut self, section: &wire::Storage) {
        self.heading("Disks");
        for disk in &section.disks {
            let turning = disk.rotational.map(|turns| if turns { "rotational" } else { "solid state" });
            self.line(
                &disk.name,
                format_args!(
                    "{}, {}, serial {}, {}, {}",
                    size(disk.size_bytes),
                    joined([&disk.vendor, &disk.model, &disk.firmware]),
                    or_unknown(&disk.serial),
                    or_unknown(&disk.transport),
                    or_unknown(&turning),
                ),
            );
        }
    }

    fn file_systems(&mut self, section: &wire::FileSystems) {
        self.heading("File systems");
        for file_system in &section.file_systems {
            let mode = if file_system.read_only { ", read-only" } else { "" };
            self.line(
                &file_system.mount_point,
                format_args!(
                    "{} free of {}, {} on {}{mode}",
                    size(file_system.free_bytes),
                    size(file_system.size_bytes),
                    file_system.kind,
                    file_system.source,
                ),
            );
        }
    }

    fn network(&mut self, section: &wire::Network) {
        self.heading("Network");
        for interface in &section.interfaces {
            let kind = match (interface.physical, &interface.bus) {
                (true, Some(bus)) => format!("physical ({bus})"),
                (true, None) => "physical".to_owned(),
                (false, _) => "virtual".to_owned(),
            };
            let speed = interface.speed_mbps.map(|speed| format!(", {speed} Mbit/s")).unwrap_or_default();
            let (mac, state) = (or_unknown(&interface.mac), or_unknown(&interface.state));
            self.line(&interface.name, format_args!("{kind}, {mac}, {state}{speed}"));
        }
    }

    fn reachability(&mut self, section: &wire::Reachability) {
        self.heading("Reachability");
        for (label, peer) in [("gateway", &section.gateway), ("controller", &section.controller)] {
            let Some(peer) = peer else {
                self.line(label, UNKNOWN);
                continue;
            };
            let answer = match (peer.reachable, peer.round_trip_micros, &peer.method) {
                (Some(true), Some(micros), Some(method)) => format!("answers in {micros} µs by {method}"),
                (Some(true), ..) => "answers".to_owned(),
                (Some(false), ..) => "does not answer".to_owned(),
                (None, ..) => UNKNOWN.to_owned(),
            };
            self.line(label, format_args!("{}: {answer}", or_unknown(&peer.address)));
        }
    }

    fn software(&mut self, section: &wire::Software) {
        self.heading("Software");
        self.line("system", joined([&section.os_name, &section.os_version]));
        self.line("kernel", joined([&section.kernel, &section.architecture]));
        self.line("host name", or_unknown(&section.host_name));
        self.line("agent", &section.agent_version);
    }

    fn usage(&mut self, session: &Session) {
        self.heading("Usage");
        let now = session.seat.map(|seat| match seat {
            Seat::Active => "somebody is signed in and uses the set",
            Seat::Idle => "somebody is signed in and has left the set alone",
            Seat::Nobody => "nobody is signed in",
        });
        self.line("now", or_unknown(&now));
    }

    fn problems(&mut self, problems: &[wire::Problem]) {
        for problem in problems {
            let because = format!("{UNKNOWN}, because: {} ({})", problem.message, problem.code);
            self.line(&problem.item, because);
        }
    }

    fn heading(&mut self, text: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.write(format_args!("{gap}{text}\n"));
    }

    fn line(&mut self, label: &str, text: impl Display) {
        self.write(format_args!("  {label:<18} {text}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(text);
    }
}

fn or_unknown<T: Display>(fact: &Option<T>) -> String {
    fact.as_ref().map_or_else(|| UNKNOWN.to_owned(), ToString::to_string)
}

fn joined<const N: usize>(parts: [&Option<String>; N]) -> String {
    let known: Vec<&str> = parts.into_iter().filter_map(Option::as_deref).collect();
    if known.is_empty() { UNKNOWN.to_owned() } else { known.join(" ") }
}

/// In binary units, as memory and file systems are counted.
fn size(bytes: Option<u64>) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some(bytes) = bytes else { return UNKNOWN.to_owned() };
    match UNITS.iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_null_beside_its_problem_and_a_word_in_print() {
        let problem =
            wire::Problem { item: "sda.serial".into(), code: "not_offered".into(), message: "No.".into() };
        let disk = wire::Disk { name: "sda".into(), size_bytes: Some(1 << 40), ..wire::Disk::default() };
        let sections = [Section::Storage(wire::Storage { disks: vec![disk], problems: vec![problem] })];
        let session = Session { seat: Some(Seat::Idle), problems: Vec::new() };
        let value = to_json(&sections, &session);
        assert_eq!(value["storage"]["disks"][0]["size_bytes"], 1u64 << 40);
        assert_eq!(value["storage"]["disks"][0]["serial"], Value::Null);
        assert!(value["storage"]["disks"][0].as_object().unwrap().contains_key("serial"));
        assert_eq!(value["storage"]["problems"][0]["item"], "sda.serial");
        assert_eq!(value["usage"], json!({ "session": "idle", "problems": [] }));
        let text = to_text(&sections, &session);
        assert!(text.contains("somebody is signed in and has left the set alone"), "{text}");
        assert!(text.contains("1.0 TiB, unknown, serial unknown"), "{text}");
        assert!(text.contains("sda.serial         unknown, because: No. (not_offered)"), "{text}");
    }

    #[test]
    fn sizes_are_printed_in_binary_units() {
        assert_eq!(size(Some(1_536)), "1.5 KiB");
        assert_eq!(size(Some(512)), "512 B");
        assert_eq!(size(Some(u64::MAX)), "16777215.9 TiB");
        assert_eq!(size(None), "unknown");
    }
}
