//! The sections of a device's page, one function each.

use std::time::Duration;

use bbt_domain::{
    facts::{
        Disk, FileSystem, FileSystems, Hardware, Interface, MemoryModule, Network, Peer, Product,
        Reachability, Software, Storage,
    },
    identity::Evidence,
    snapshot::Section as Told,
    time::UtcMicros,
};
use bbt_store::{
    certificates::CertificateLine,
    devices::{DeviceFile, GapLine},
};
use fluent_bundle::FluentValue;

use super::{
    parts::{Reader, Section, Table, Value, column, moment, number_column},
    shown,
};
use crate::web::{format, language::Language};

/// A clock that is off by less needs nobody's attention.
const CLOCK_TOLERANCE_SECS: i64 = 5;
/// A certificate that ends sooner was not renewed as it should have been: a healthy device has more than 100
/// days left at any time.
const CERTIFICATE_SHORT: Duration = Duration::from_secs(30 * 86_400);
/// Shares of a file system from which on it is called nearly full, and full.
const NEARLY_FULL_PERCENT: u32 = 85;
/// See [`NEARLY_FULL_PERCENT`].
const FULL_PERCENT: u32 = 95;

/// How the device stands with the county.
pub(super) fn access(language: Language, file: &DeviceFile, now: UtcMicros) -> Section {
    let mut made = Section::new(language, "access", "section-access");
    let text = |text: String| Value::Text(text);
    let line = &file.line;
    made.fact(language, "fact-school", text(shown(&line.school_name)));
    made.fact(language, "fact-school-code", Value::Code(shown(&line.school_code)));
    made.fact(
        language,
        "fact-standing",
        text(language.text(&format!("standing-{}", line.standing.as_str()))),
    );
    made.fact(language, "fact-standing-since", moment(language, file.standing_since));
    made.fact(language, "fact-enrolled", moment(language, line.enrolled_at));
    made.fact(language, "fact-last-report", moment_or(language, line.last_report_at, "never"));
    made.fact(language, "fact-certificate", certificate(language, file.certificate_until, now));
    if let Some(certificate) = &file.certificate {
        made.fact(language, "fact-certificate-issued", text(issued(language, certificate)));
    }
    if let Some(session) = &file.session {
        made.fact(language, "fact-session", moment(language, session.opened_at));
        made.fact(language, "fact-address", Value::Code(shown(&session.address)));
        made.fact(language, "fact-clock", clock(language, session.clock_off_secs));
        let stop = match session.clean_stop {
            Some(true) => text(language.text("clean-stop-yes")),
            Some(false) => text(language.text("clean-stop-no")),
            None => unknown(language, "reason-none"),
        };
        made.fact(language, "fact-clean-stop", stop);
        let backlog = [
            ("count", FluentValue::from(format::count(session.backlog_frames))),
            ("size", format::binary_bytes(u64::try_from(session.backlog_bytes).unwrap_or(0)).into()),
        ];
        made.fact(language, "fact-backlog", text(language.with("backlog", &backlog)));
    }
    made.fact(language, "fact-history", text(format::count(file.history_frames)));
    made.fact(language, "fact-quarantined", text(format::count(file.quarantined)));
    if let Some(version) = &line.agent_version {
        made.fact(language, "fact-agent", text(shown(version)));
    }
    made
}

/// System, board, firmware, processors.
pub(super) fn hardware(language: Language, section: Option<&Told<Hardware>>) -> Section {
    let (mut made, reader) = Section::told(language, "hardware", "section-hardware", section);
    let Some(read) = reader else { return made };
    let hardware = read.facts;
    for (number, processor) in hardware.processors.iter().enumerate() {
        if hardware.processors.len() > 1 {
            made.fact(language, "fact-processor-number", Value::Text(format!("{}", number + 1)));
        }
        let number = |fact: Option<u32>, item| read.fact(fact, item, |n| n.to_string());
        made.fact(language, "fact-processor", read.text(processor.model.as_deref(), "processor.model"));
        made.fact(
            language,
            "fact-processor-vendor",
            read.text(processor.vendor.as_deref(), "processor.vendor"),
        );
        made.fact(language, "fact-sockets", number(processor.sockets, "processor.sockets"));
        made.fact(language, "fact-cores", number(processor.cores, "processor.cores"));
        made.fact(language, "fact-threads", number(processor.threads, "processor.threads"));
        made.fact(language, "fact-max-clock", read.fact(processor.max_khz, "processor.max", gigahertz));
    }
    if hardware.processors.is_empty() {
        made.fact(language, "fact-processor", read.unknown("processors"));
    }
    product(&mut made, &read, "system", &hardware.system);
    product(&mut made, &read, "board", &hardware.board);
    let firmware = &hardware.firmware;
    made.fact(language, "fact-firmware-vendor", read.text(firmware.vendor.as_deref(), "firmware.vendor"));
    made.fact(language, "fact-firmware-version", read.text(firmware.version.as_deref(), "firmware.version"));
    made.fact(language, "fact-firmware-date", read.text(firmware.date.as_deref(), "firmware.date"));
    made.fact(language, "fact-system-uuid", read.code(hardware.system_uuid.as_deref(), "system_uuid"));
    made.fact(
        language,
        "fact-chassis",
        read.fact(hardware.chassis_type, "chassis_type", |n| chassis(language, n)),
    );
    made.problems = read.troubles(|item| !item.starts_with("memory"));
    made
}

fn product(made: &mut Section, read: &Reader<'_, Hardware>, of: &str, product: &Product) {
    let item = |part: &str| format!("{of}.{part}");
    let label = |part: &str| format!("fact-{of}-{part}");
    let language = read.language;
    made.fact(language, &label("vendor"), read.text(product.vendor.as_deref(), &item("vendor")));
    made.fact(language, &label("name"), read.text(product.name.as_deref(), &item("name")));
    made.fact(language, &label("version"), read.text(product.version.as_deref(), &item("version")));
    made.fact(language, &label("serial"), read.code(product.serial.as_deref(), &item("serial")));
}

/// Memory and its modules.
pub(super) fn memory(language: Language, section: Option<&Told<Hardware>>) -> Section {
    let (mut made, reader) = Section::told(language, "memory", "section-memory", section);
    let Some(read) = reader else { return made };
    let memory = &read.facts.memory;
    made.fact(
        language,
        "fact-memory-total",
        read.fact(memory.total_bytes, "memory.total", format::binary_bytes),
    );
    made.fact(
        language,
        "fact-memory-swap",
        read.fact(memory.swap_bytes, "memory.swap", format::binary_bytes),
    );
    if memory.modules.is_empty() {
        made.fact(language, "fact-modules", read.unknown("memory.modules"));
    } else {
        let row = |module: &MemoryModule| {
            let text = |fact: &Option<String>| read.text(fact.as_deref(), "memory.modules");
            // An empty slot has no size and nothing else.
            let size = match module.size_bytes {
                Some(bytes) => Value::Text(format::binary_bytes(bytes)),
                None => {
                    return vec![
                        text(&module.slot),
                        Value::Text(language.text("module-empty")),
                        Value::Nothing,
                        Value::Nothing,
                        Value::Nothing,
                        Value::Nothing,
                        Value::Nothing,
                    ];
                }
            };
            vec![
                text(&module.slot),
                size,
                text(&module.kind),
                read.fact(module.speed_mts, "memory.modules", |speed| format!("{speed} MT/s")),
                text(&module.vendor),
                read.code(module.part_number.as_deref(), "memory.modules"),
                read.code(module.serial.as_deref(), "memory.modules"),
            ]
        };
        made.tables.push(Table {
            caption: language.text("fact-modules"),
            columns: vec![
                column(language, "column-slot"),
                number_column(language, "column-size"),
                column(language, "column-kind"),
                number_column(language, "column-speed"),
                column(language, "column-vendor"),
                column(language, "column-part"),
                column(language, "column-serial"),
            ],
            rows: memory.modules.iter().map(row).collect(),
        });
    }
    made.problems = read.troubles(|item| item.starts_with("memory"));
    made
}

/// Disks.
pub(super) fn storage(language: Language, section: Option<&Told<Storage>>) -> Section {
    let (mut made, reader) = Section::told(language, "disks", "section-disks", section);
    let Some(read) = reader else { return made };
    if read.facts.disks.is_empty() {
        made.fact(language, "section-disks", read.unknown("disks"));
    }
    let row = |disk: &Disk| {
        let item = |fact: &str| format!("{}.{fact}", disk.name);
        vec![
            Value::Code(shown(&disk.name)),
            read.text(disk.model.as_deref(), &item("model")),
            read.fact(disk.size_bytes, &item("size"), format::decimal_bytes),
            read.fact(disk.rotational, &item("rotational"), |spins| {
                language.text(if spins { "disk-spinning" } else { "disk-solid" })
            }),
            read.text(disk.transport.as_deref(), &item("transport")),
            read.text(disk.vendor.as_deref(), &item("vendor")),
            read.code(disk.serial.as_deref(), &item("serial")),
            read.code(disk.firmware.as_deref(), &item("firmware")),
            read.code(disk.wwn.as_deref(), &item("wwn")),
            read.flag(disk.removable, &item("removable")),
            read.flag(disk.read_only, &item("read_only")),
        ]
    };
    let columns = [
        "name",
        "model",
        "size",
        "disk-kind",
        "transport",
        "vendor",
        "serial",
        "firmware",
        "wwn",
        "removable",
        "read-only",
    ];
    made.table(language, "section-disks", &columns, read.facts.disks.iter().map(row).collect());
    made.problems = read.troubles(|_| true);
    made
}

/// File systems, each with how full it is.
pub(super) fn file_systems(language: Language, section: Option<&Told<FileSystems>>) -> Section {
    let (mut made, reader) = Section::told(language, "file-systems", "section-file-systems", section);
    let Some(read) = reader else { return made };
    if read.facts.file_systems.is_empty() {
        made.fact(language, "section-file-systems", read.unknown("file_systems"));
    }
    let row = |file_system: &FileSystem| {
        let item = format!("{}.size", file_system.mount_point);
        vec![
            Value::Code(shown(&file_system.mount_point)),
            used(language, file_system).unwrap_or_else(|| read.unknown(&item)),
            read.fact(file_system.free_bytes, &item, format::binary_bytes),
            read.fact(file_system.size_bytes, &item, format::binary_bytes),
            Value::Text(shown(&file_system.kind)),
            Value::Code(shown(&file_system.source)),
            Value::Text(language.text(if file_system.read_only { "yes" } else { "no" })),
        ]
    };
    let columns = ["mount", "used", "free", "size", "kind", "source", "read-only"];
    let rows = read.facts.file_systems.iter().map(row).collect();
    made.table(language, "section-file-systems", &columns, rows);
    made.problems = read.troubles(|_| true);
    made
}

fn used(language: Language, file_system: &FileSystem) -> Option<Value> {
    let size = file_system.size_bytes.filter(|size| *size > 0)?;
    let used = size.saturating_sub(file_system.free_bytes?);
    let percent = u32::try_from(u128::from(used) * 100 / u128::from(size)).unwrap_or(100);
    let (tone, word) = match percent {
        // What cannot be written is full by nature.
        _ if file_system.read_only => ("ok", None),
        FULL_PERCENT.. => ("bad", Some("share-full")),
        NEARLY_FULL_PERCENT.. => ("warn", Some("share-nearly-full")),
        _ => ("ok", None),
    };
    let figures = format!("{} · {percent}%", format::binary_bytes(used));
    let text = word.map_or_else(|| figures.clone(), |word| format!("{figures} {}", language.text(word)));
    Some(Value::Share { percent, tone, text })
}

/// Network cards, the real ones first.
pub(super) fn network(language: Language, section: Option<&Told<Network>>) -> Section {
    let (mut made, reader) = Section::told(language, "network", "section-network", section);
    let Some(read) = reader else { return made };
    if read.facts.interfaces.is_empty() {
        made.fact(language, "section-network", read.unknown("interfaces"));
    }
    let row = |card: &Interface| {
        let item = |fact: &str| format!("{}.{fact}", card.name);
        let is_up = card.state.as_deref() == Some("up");
        let speed = match card.speed_mbps {
            // No cable, no speed; a virtual card has none either.
            None if !is_up || !card.physical => Value::Nothing,
            speed => {
                read.fact(speed, &item("speed"), |mbps| format!("{} Mbit/s", format::count(mbps.into())))
            }
        };
        let of_card = |fact: &Option<String>, item: String, physical_only: bool| match fact {
            None if physical_only && !card.physical => Value::Nothing,
            fact => read.code(fact.as_deref(), &item),
        };
        let state = card
            .state
            .as_deref()
            .map(|state| language.find(&format!("link-{state}"), &[]).unwrap_or_else(|| shown(state)));
        vec![
            Value::Code(shown(&card.name)),
            Value::Text(language.text(if card.physical { "card-physical" } else { "card-virtual" })),
            state.map_or_else(|| read.unknown(&item("state")), Value::Text),
            speed,
            of_card(&card.mac, item("mac"), false),
            of_card(&card.permanent_mac, item("permanent_mac"), true),
            of_card(&card.bus, item("bus"), true),
            of_card(&card.driver, item("driver"), true),
            read.fact(card.mtu, &item("mtu"), |mtu| mtu.to_string()),
        ]
    };
    let mut cards: Vec<&Interface> = read.facts.interfaces.iter().collect();
    cards.sort_by_key(|card| !card.physical);
    let columns = ["name", "card-kind", "link", "speed", "mac", "permanent-mac", "bus", "driver", "mtu"];
    made.table(language, "section-network", &columns, cards.into_iter().map(row).collect());
    made.problems = read.troubles(|_| true);
    made
}

/// Gateway and controller as seen from the device.
pub(super) fn reachability(language: Language, section: Option<&Told<Reachability>>) -> Section {
    let (mut made, reader) = Section::told(language, "reachability", "section-reachability", section);
    let Some(read) = reader else { return made };
    let row = |name: &str, peer: &Peer| {
        let item = |fact: &str| format!("{name}.{fact}");
        let reached = read.fact(peer.reachable, &item("reachable"), |reached| {
            language.text(if reached { "reached-yes" } else { "reached-no" })
        });
        let round_trip = match peer.reachable {
            Some(false) => Value::Nothing,
            _ => read.fact(peer.round_trip_micros, &item("round_trip"), format::micros),
        };
        vec![
            Value::Text(language.text(&format!("peer-{name}"))),
            read.code(peer.address.as_deref(), &item("address")),
            reached,
            round_trip,
            read.text(peer.method.as_deref(), &item("method")),
        ]
    };
    let rows = vec![row("gateway", &read.facts.gateway), row("controller", &read.facts.controller)];
    made.table(
        language,
        "section-reachability",
        &["peer", "address", "reached", "round-trip", "method"],
        rows,
    );
    made.problems = read.troubles(|_| true);
    made
}

/// Operating system and agent.
pub(super) fn software(language: Language, section: Option<&Told<Software>>) -> Section {
    let (mut made, reader) = Section::told(language, "software", "section-software", section);
    let Some(read) = reader else { return made };
    let facts = read.facts;
    made.fact(language, "fact-os", read.text(facts.os_name.as_deref(), "os_name"));
    made.fact(language, "fact-os-version", read.text(facts.os_version.as_deref(), "os_version"));
    made.fact(language, "fact-kernel", read.code(facts.kernel.as_deref(), "kernel"));
    made.fact(language, "fact-architecture", read.code(facts.architecture.as_deref(), "architecture"));
    made.fact(language, "fact-host", read.code(facts.host_name.as_deref(), "host_name"));
    made.fact(language, "fact-agent", Value::Text(shown(&facts.agent_version)));
    made.problems = read.troubles(|_| true);
    made
}

/// By what the device is recognised.
pub(super) fn evidence(language: Language, evidence: &[Evidence]) -> Section {
    let mut made = Section::new(language, "evidence", "section-evidence");
    if evidence.is_empty() {
        made.note = Some(language.text("evidence-none"));
        return made;
    }
    let row = |item: &Evidence| {
        let kind = item.kind.as_str().replace('_', "-");
        vec![
            Value::Text(language.text(&format!("evidence-{kind}"))),
            Value::Code(shown(&item.value)),
            Value::Text(language.text(if item.junk { "evidence-junk" } else { "evidence-good" })),
        ]
    };
    let rows = evidence.iter().map(row).collect();
    made.table(language, "section-evidence", &["evidence", "value", "evidence-worth"], rows);
    made
}

/// What the device had to drop.
pub(super) fn gaps(language: Language, gaps: &[GapLine]) -> Section {
    let mut made = Section::new(language, "gaps", "section-gaps");
    if gaps.is_empty() {
        made.note = Some(language.text("gaps-none"));
        return made;
    }
    let row = |gap: &GapLine| {
        let word = |prefix: &str, code: &str| {
            language.find(&format!("{prefix}-{}", code.replace('_', "-")), &[]).unwrap_or_else(|| shown(code))
        };
        vec![
            moment(language, gap.from),
            moment(language, gap.to),
            Value::Text(word("class", &gap.class)),
            Value::Text(format::count(gap.reports)),
            Value::Text(word("gap", &gap.reason)),
        ]
    };
    let rows = gaps.iter().map(row).collect();
    made.table(language, "section-gaps", &["from", "to", "class", "reports", "reason"], rows);
    made
}

impl Section {
    /// Adds a table; columns of figures are known by name.
    fn table(&mut self, language: Language, caption: &str, columns: &[&str], rows: Vec<Vec<Value>>) {
        if rows.is_empty() {
            return;
        }
        let columns = columns.iter().map(|name| {
            let label = format!("column-{name}");
            match *name {
                "size" | "free" | "speed" | "mtu" | "round-trip" | "reports" => {
                    number_column(language, &label)
                }
                _ => column(language, &label),
            }
        });
        self.tables.push(Table { caption: language.text(caption), columns: columns.collect(), rows });
    }
}

fn moment_or(language: Language, time: Option<UtcMicros>, otherwise: &str) -> Value {
    time.map_or_else(|| Value::Text(language.text(otherwise)), |time| moment(language, time))
}

fn unknown(language: Language, reason: &str) -> Value {
    Value::Unknown { why: language.text(reason), message: String::new() }
}

fn certificate(language: Language, until: Option<UtcMicros>, now: UtcMicros) -> Value {
    let Some(until) = until else { return Value::Text(language.text("certificate-none")) };
    let key = match until {
        until if until <= now => "certificate-over",
        until if until.since(now) < CERTIFICATE_SHORT => "certificate-short",
        _ => return moment(language, until),
    };
    Value::Text(language.with(key, &[("day", format::day(language, until).into())]))
}

/// When a certificate was made, and how the device came by it.
fn issued(language: Language, certificate: &CertificateLine) -> String {
    let key = format!("certificate-{}", certificate.issuance.as_str());
    let at = format::Moment::new(language, certificate.issued_at).text;
    language.with(&key, &[("at", at.into())])
}

/// How far the device's clock is off, and to which side.
fn clock(language: Language, off_secs: Option<i64>) -> Value {
    let Some(off) = off_secs else { return unknown(language, "reason-none") };
    let key = match off {
        off if off.abs() <= CLOCK_TOLERANCE_SECS => return Value::Text(language.text("clock-right")),
        off if off > 0 => "clock-ahead",
        _ => "clock-behind",
    };
    Value::Text(language.with(key, &[("span", format::span(language, off.unsigned_abs()).into())]))
}

fn gigahertz(khz: u64) -> String {
    format!("{:.2} GHz", khz as f64 / 1_000_000.0)
}

/// SMBIOS 7.4.1; the kinds that stand in classrooms have a word, the others their number.
fn chassis(language: Language, kind: u32) -> String {
    let key = match kind {
        3 | 4 | 6 | 7 => "chassis-desktop",
        8..=10 | 14 | 31 | 32 => "chassis-laptop",
        13 => "chassis-all-in-one",
        15 | 16 | 24 | 35 | 36 => "chassis-mini",
        17 | 23 | 28 => "chassis-server",
        1 => "chassis-other",
        number => {
            return language.with("chassis-number", &[("number", FluentValue::from(i64::from(number)))]);
        }
    };
    language.text(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(size: Option<u64>, free: Option<u64>, read_only: bool) -> Option<(u32, &'static str)> {
        let file_system =
            FileSystem { size_bytes: size, free_bytes: free, read_only, ..FileSystem::default() };
        used(Language::English, &file_system).map(|value| match value {
            Value::Share { percent, tone, .. } => (percent, tone),
            _ => unreachable!(),
        })
    }

    #[test]
    fn a_file_system_is_full_by_share_and_never_by_guess() {
        assert_eq!(share(Some(100), Some(40), false), Some((60, "ok")));
        assert_eq!(share(Some(100), Some(10), false), Some((90, "warn")));
        assert_eq!(share(Some(100), Some(0), false), Some((100, "bad")));
        assert_eq!(share(Some(100), Some(0), true), Some((100, "ok")), "a read-only one is full by nature");
        assert_eq!(share(Some(100), Some(200), false), Some((0, "ok")), "more free than there is");
        assert_eq!(share(Some(0), Some(0), false), None);
        assert_eq!(share(None, Some(1), false), None);
    }

    #[test]
    fn a_wrong_clock_is_told_with_its_side_and_size() {
        let told = |secs| match clock(Language::English, Some(secs)) {
            Value::Text(text) => text,
            _ => unreachable!(),
        };
        assert_eq!(told(-2), "right");
        assert_eq!(told(90), "ahead by 90 s");
        assert_eq!(told(-3 * 86_400), "behind by 3 days");
    }
}
