//! Wire to domain: doubtful input becomes a type that cannot be wrong, once.

use bbt_domain::{
    facts::{
        Disk, FileSystem, FileSystems, Firmware, Hardware, Interface, Memory, MemoryModule, Network, Peer,
        Problem, Processor, Product, Reachability, Software, StateReport, Storage, Told,
    },
    identity::{Evidence, EvidenceKind},
    ids::{BootId, DeviceId, RunId},
    report::{Body, Class, Gap, Report},
    text::{SENTENCE_CHARS, clean, clean_name},
    time::UtcMicros,
    usage::slots::{Seconds, Slot},
};
use bbt_proto::{enrollment::v1 as enrollment, report::v1 as wire};
use bbt_store::reports::CLONE_REASON;
use bytes::Bytes;
use prost::Message;

use crate::samples;

/// Largest body of one report: the inventory of a server with a hundred disks has a tenth of it. An agent makes
/// no frame that is larger.
pub const BODY_BYTES: usize = 64 << 10;
/// Items of one kind kept per device (disks, file systems, interfaces, modules); a classroom PC has a handful.
const ITEMS: usize = 128;
/// Slots of usage in one report: a start tells of a day before it, an agent that could not tell of some days.
const SLOTS: usize = 4_096;
/// Problems kept per section.
const PROBLEMS: usize = 64;
/// Evidence kept per device.
const EVIDENCE: usize = 32;

/// The header of a frame is broken, so no verdict can name it: the sender is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame {index} of the batch has {field} = {found}: {remedy}")]
pub struct BrokenFrame {
    index: usize,
    field: &'static str,
    found: String,
    remedy: &'static str,
}

/// A frame, or why it is refused though its header can be read.
pub fn report(index: usize, frame: wire::Frame) -> Result<Report, BrokenFrame> {
    let broken = |field, found: String, remedy| BrokenFrame { index, field, found, remedy };
    let id = |field, bytes: &[u8]| {
        <[u8; 16]>::try_from(bytes)
            .map_err(|_| broken(field, format!("{} bytes", bytes.len()), "it has 16 bytes"))
    };
    if frame.seq == 0 || frame.seq > i64::MAX as u64 {
        return Err(broken("seq", frame.seq.to_string(), "it counts from 1"));
    }
    let boot = frame.os_boot.unwrap_or_default();
    let kind = wire::Kind::try_from(frame.kind).unwrap_or(wire::Kind::Unspecified);
    Ok(Report {
        run: RunId::from_bytes(id("run_id", &frame.run_id)?),
        seq: frame.seq,
        class: class(frame.class),
        device: DeviceId::from_bytes(id("device_id", &frame.device_id)?),
        boot: BootId::from_bytes(id("os_boot.id", &boot.id)?),
        clean_stop: boot.clean_stop,
        wall: UtcMicros::from_micros(frame.wall_micros),
        mono_micros: frame.mono_micros,
        body: body(kind, &frame.body),
    })
}

/// The same of a clone: its bytes are kept as they came.
pub fn report_apart(index: usize, frame: wire::Frame) -> Result<Report, BrokenFrame> {
    let bytes = frame.body.to_vec();
    let body = Body::Unreadable { reason: CLONE_REASON.to_owned(), bytes };
    Ok(Report { body, ..report(index, frame)? })
}

/// The class by which a batch gets room.
pub fn most_urgent(batch: &wire::Batch) -> Class {
    batch.frames.iter().map(|frame| class(frame.class)).min().unwrap_or(Class::History)
}

fn class(code: i32) -> Class {
    match wire::Class::try_from(code) {
        Ok(wire::Class::Urgent) => Class::Urgent,
        Ok(wire::Class::State) => Class::State,
        // An unknown class of a later revision is the least that it can be.
        _ => Class::History,
    }
}

fn body(kind: wire::Kind, bytes: &Bytes) -> Body {
    let unreadable = |reason: String| Body::Unreadable { reason, bytes: bytes.to_vec() };
    match kind {
        wire::Kind::State => match wire::State::decode(bytes.as_ref()) {
            Ok(state) => Body::State(Box::new(state_report(state))),
            Err(error) => unreadable(format!("the state cannot be read: {error}")),
        },
        wire::Kind::Samples => match samples::check(bytes) {
            Ok(()) => Body::Samples(bytes.to_vec()),
            Err(error) => unreadable(format!("the samples cannot be read: {error}")),
        },
        wire::Kind::Gap => match wire::Gap::decode(bytes.as_ref()) {
            Ok(gap) => match gap_of(&gap) {
                Some(gap) => Body::Gap(gap),
                None => unreadable("the gap names no run or no span".to_owned()),
            },
            Err(error) => unreadable(format!("the gap cannot be read: {error}")),
        },
        wire::Kind::Usage => match wire::Usage::decode(bytes.as_ref()) {
            Ok(usage) => usage_of(&usage).unwrap_or_else(unreadable),
            Err(error) => unreadable(format!("the usage cannot be read: {error}")),
        },
        wire::Kind::Unspecified => unreadable("its kind is not known to this controller".to_owned()),
    }
}

fn gap_of(gap: &wire::Gap) -> Option<Gap> {
    let reason = wire::GapReason::try_from(gap.reason).unwrap_or(wire::GapReason::Unspecified);
    let reason = reason.as_str_name().trim_start_matches("GAP_REASON_").to_ascii_lowercase();
    (gap.first_seq >= 1 && gap.first_seq <= gap.last_seq && gap.count >= 1).then_some(Gap {
        class: class(gap.class),
        run: RunId::from_slice(&gap.run_id).ok()?,
        first_seq: gap.first_seq,
        last_seq: gap.last_seq,
        count: gap.count,
        from_wall: UtcMicros::from_micros(gap.from_wall_micros),
        to_wall: UtcMicros::from_micros(gap.to_wall_micros),
        reason,
    })
}

fn usage_of(usage: &wire::Usage) -> Result<Body, String> {
    if usage.slots.len() > SLOTS {
        return Err(format!("the usage tells of {} slots: {SLOTS} are the most", usage.slots.len()));
    }
    let slot = |slot: &wire::UsageSlot| {
        let number =
            i64::try_from(slot.number).map_err(|_| format!("slot {} of the usage is none", slot.number))?;
        let parts =
            [slot.watched_secs, slot.active_secs, slot.idle_secs, slot.unknown_secs, slot.unwatched_secs];
        Ok::<_, String>(Slot { number, seconds: Seconds::capped(parts) })
    };
    let slots = usage.slots.iter().map(slot).collect::<Result<_, _>>()?;
    Ok(Body::Usage { corrected: usage.corrected, slots })
}

/// Evidence with a value, cleaned.
pub fn evidence(items: &[enrollment::Evidence]) -> Vec<Evidence> {
    let kind = |code| {
        Some(match enrollment::EvidenceKind::try_from(code).ok()? {
            enrollment::EvidenceKind::TpmEk => EvidenceKind::TpmEk,
            enrollment::EvidenceKind::BoardUuid => EvidenceKind::BoardUuid,
            enrollment::EvidenceKind::BoardSerial => EvidenceKind::BoardSerial,
            enrollment::EvidenceKind::DiskSerial => EvidenceKind::DiskSerial,
            enrollment::EvidenceKind::PermanentMac => EvidenceKind::PermanentMac,
            enrollment::EvidenceKind::Unspecified => return None,
        })
    };
    let known = items.iter().filter_map(|item| {
        Some(Evidence { kind: kind(item.kind)?, value: clean_name(&item.value)?, junk: item.junk })
    });
    known.take(EVIDENCE).collect()
}

/// A text that is kept, or nothing.
fn name(text: Option<String>) -> Option<String> {
    text.as_deref().and_then(clean_name)
}

fn told<T>(facts: T, problems: Vec<wire::Problem>) -> Option<Told<T>> {
    let problems = problems
        .into_iter()
        .take(PROBLEMS)
        .map(|problem| Problem {
            item: clean(&problem.item, bbt_domain::text::NAME_CHARS),
            code: clean(&problem.code, bbt_domain::text::NAME_CHARS),
            message: clean(&problem.message, SENTENCE_CHARS),
        })
        .collect();
    Some(Told { facts, problems })
}

fn state_report(state: wire::State) -> StateReport {
    StateReport {
        full: state.full,
        hardware: state.hardware.and_then(hardware),
        storage: state.storage.and_then(|section| {
            let disks = section.disks.into_iter().take(ITEMS).map(disk).collect();
            told(Storage { disks }, section.problems)
        }),
        file_systems: state.file_systems.and_then(|section| {
            let file_systems = section.file_systems.into_iter().take(ITEMS).map(file_system).collect();
            told(FileSystems { file_systems }, section.problems)
        }),
        network: state.network.and_then(|section| {
            let interfaces = section.interfaces.into_iter().take(ITEMS).map(interface).collect();
            told(Network { interfaces }, section.problems)
        }),
        reachability: state.reachability.and_then(|section| {
            let facts = Reachability { gateway: peer(section.gateway), controller: peer(section.controller) };
            told(facts, section.problems)
        }),
        software: state.software.and_then(|section| {
            let facts = Software {
                os_name: name(section.os_name),
                os_version: name(section.os_version),
                kernel: name(section.kernel),
                architecture: name(section.architecture),
                host_name: name(section.host_name),
                agent_version: clean(&section.agent_version, bbt_domain::text::NAME_CHARS),
            };
            told(facts, section.problems)
        }),
    }
}

fn hardware(section: wire::Hardware) -> Option<Told<Hardware>> {
    let firmware = section.firmware.unwrap_or_default();
    let memory = section.memory.unwrap_or_default();
    let facts = Hardware {
        system: product(section.system),
        board: product(section.board),
        firmware: Firmware {
            vendor: name(firmware.vendor),
            version: name(firmware.version),
            date: name(firmware.date),
        },
        processors: section.processors.into_iter().take(ITEMS).map(processor).collect(),
        memory: Memory {
            total_bytes: memory.total_bytes,
            swap_bytes: memory.swap_bytes,
            modules: memory.modules.into_iter().take(ITEMS).map(module).collect(),
        },
        system_uuid: name(section.system_uuid),
        chassis_type: section.chassis_type,
    };
    told(facts, section.problems)
}

fn product(product: Option<wire::Product>) -> Product {
    let product = product.unwrap_or_default();
    Product {
        vendor: name(product.vendor),
        name: name(product.name),
        version: name(product.version),
        serial: name(product.serial),
    }
}

fn processor(item: wire::Processor) -> Processor {
    Processor {
        vendor: name(item.vendor),
        model: name(item.model),
        sockets: item.sockets,
        cores: item.cores,
        threads: item.threads,
        max_khz: item.max_khz,
    }
}

fn module(item: wire::MemoryModule) -> MemoryModule {
    MemoryModule {
        slot: name(item.slot),
        size_bytes: item.size_bytes,
        kind: name(item.kind),
        speed_mts: item.speed_mts,
        vendor: name(item.vendor),
        part_number: name(item.part_number),
        serial: name(item.serial),
    }
}

fn disk(item: wire::Disk) -> Disk {
    Disk {
        name: clean(&item.name, bbt_domain::text::NAME_CHARS),
        size_bytes: item.size_bytes,
        vendor: name(item.vendor),
        model: name(item.model),
        serial: name(item.serial),
        firmware: name(item.firmware),
        wwn: name(item.wwn),
        transport: name(item.transport),
        rotational: item.rotational,
        removable: item.removable,
        read_only: item.read_only,
    }
}

fn file_system(item: wire::FileSystem) -> FileSystem {
    FileSystem {
        mount_point: clean(&item.mount_point, SENTENCE_CHARS),
        source: clean(&item.source, SENTENCE_CHARS),
        kind: clean(&item.kind, bbt_domain::text::NAME_CHARS),
        size_bytes: item.size_bytes,
        free_bytes: item.free_bytes,
        read_only: item.read_only,
    }
}

fn interface(item: wire::Interface) -> Interface {
    Interface {
        name: clean(&item.name, bbt_domain::text::NAME_CHARS),
        mac: name(item.mac),
        permanent_mac: name(item.permanent_mac),
        physical: item.physical,
        bus: name(item.bus),
        driver: name(item.driver),
        state: name(item.state),
        speed_mbps: item.speed_mbps,
        mtu: item.mtu,
    }
}

fn peer(peer: Option<wire::Peer>) -> Peer {
    let peer = peer.unwrap_or_default();
    Peer {
        address: name(peer.address),
        reachable: peer.reachable,
        round_trip_micros: peer.round_trip_micros,
        method: name(peer.method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: wire::Kind, body: Vec<u8>) -> wire::Frame {
        wire::Frame {
            run_id: vec![1; 16].into(),
            seq: 1,
            class: wire::Class::State.into(),
            device_id: vec![2; 16].into(),
            os_boot: Some(wire::OsBoot { id: vec![3; 16], ..Default::default() }),
            kind: kind.into(),
            body: body.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_broken_header_names_the_field_and_the_remedy() {
        let bad = wire::Frame { run_id: vec![1; 15].into(), ..frame(wire::Kind::State, vec![]) };
        let error = report(4, bad).unwrap_err().to_string();
        assert_eq!(error, "frame 4 of the batch has run_id = 15 bytes: it has 16 bytes");
        let bad = wire::Frame { seq: 0, ..frame(wire::Kind::State, vec![]) };
        assert!(report(0, bad).unwrap_err().to_string().contains("seq = 0"));
    }

    #[test]
    fn an_unreadable_body_is_kept_with_its_reason() {
        for kind in [wire::Kind::State, wire::Kind::Samples, wire::Kind::Gap, wire::Kind::Unspecified] {
            let report = report(0, frame(kind, vec![0xff; 9])).unwrap();
            assert!(
                matches!(report.body, Body::Unreadable { ref bytes, .. } if bytes.len() == 9),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn hostile_text_is_cleaned_and_an_empty_one_is_unknown() {
        let state = wire::State {
            software: Some(wire::Software {
                os_name: Some("Deb\u{202e}ian\n\x1b[0m".into()),
                kernel: Some(" \u{200b} ".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let report = report(0, frame(wire::Kind::State, state.encode_to_vec())).unwrap();
        let Body::State(state) = report.body else { panic!("a state") };
        let software = state.software.unwrap().facts;
        assert_eq!(software.os_name.as_deref(), Some("Debian [0m"));
        assert_eq!(software.kernel, None);
    }
}
