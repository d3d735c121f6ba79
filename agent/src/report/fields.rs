//! Everything that can leave the device, in words for people: what `bbt-agent privacy` prints.
//!
//! One line per field of the contract, and per measured number and kind of evidence, which the contract keeps as
//! lists of their own. The test below walks the contract itself from every message that the agent sends: a field
//! that is sent and not described fails it, and so does a description of what does not exist.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Fields that serve one purpose.
struct Group {
    title: &'static str,
    /// What the county needs them for.
    purpose: &'static str,
    fields: &'static [Field],
}

/// `Message.field` of the contract, or `List.VALUE`, and what it says.
type Field = (&'static str, &'static str);

/// Never collected, not even as an option.
const NEVER: &[&str] = &[
    "the screen, as a picture or as video",
    "the camera and the microphone",
    "keystrokes and the clipboard",
    "window titles, web addresses, browsing history, name look-ups",
    "names and contents of files, and what is on USB sticks, and their serial numbers",
    "names, faces, voices and accounts of pupils and teachers; who is signed in; chats",
    "wireless networks nearby, and any place finer than the room",
];

/// There is no way to do these either.
const NO_CONTROL: &str =
    "The agent opens no port and takes no commands: no remote shell, no remote control, no access to files.";

const GROUPS: &[Group] = &[
    Group {
        title: "Becoming known",
        purpose: "sent once, when the device is enrolled, so that the county can tell whose device it is and give it a certificate",
        fields: &[
            ("HelloRequest.protocol_revision", "which edition of the contract this program speaks"),
            ("HelloRequest.nonce", "a random number, so that the county's answer cannot be an old one"),
            ("EnrollRequest.protocol_revision", "which edition of the contract this program speaks"),
            ("EnrollRequest.nonce", "the random number that the county gave"),
            ("EnrollRequest.token", "the enrolment token that a person typed"),
            ("EnrollRequest.certificate_request", "the public half of this device's key"),
            ("EnrollRequest.agent_version", "the version of this program"),
            ("EnrollRequest.host_name", "the PC's own name; people choose it, so it may hold a name"),
        ],
    },
    Group {
        title: "Recognising the device",
        purpose: "the same PC is known again after its disk was replaced or reset, and a copied disk is not taken for it",
        fields: &[
            ("Evidence.kind", "which of the following it is"),
            ("Evidence.value", "the number itself"),
            ("Evidence.junk", "whether the maker left a filler in its place"),
            ("EvidenceKind.TPM_EK", "the key built into the security chip; this version does not read it"),
            ("EvidenceKind.BOARD_UUID", "the number of the mainboard's firmware"),
            ("EvidenceKind.BOARD_SERIAL", "the serial number of the mainboard"),
            ("EvidenceKind.DISK_SERIAL", "the serial numbers of the built-in disks; never of disks on USB"),
            ("EvidenceKind.PERMANENT_MAC", "the burnt-in addresses of the built-in network cards"),
        ],
    },
    Group {
        title: "Board, firmware, processor, memory",
        purpose: "the asset in the ledger is compared with the set in the room: what was bought, what is there, what is missing",
        fields: &[
            ("Product.vendor", "maker of the PC and of its mainboard"),
            ("Product.name", "model of the PC and of its mainboard"),
            ("Product.version", "version of the PC and of its mainboard"),
            ("Product.serial", "serial number of the PC and of its mainboard"),
            ("Hardware.system_uuid", "the number of the mainboard's firmware"),
            ("Hardware.chassis_type", "the kind of case: desktop, all-in-one, and so on"),
            ("Firmware.vendor", "maker of the firmware"),
            ("Firmware.version", "version of the firmware"),
            ("Firmware.date", "date of the firmware"),
            ("Processor.vendor", "maker of the processor"),
            ("Processor.model", "model of the processor"),
            ("Processor.sockets", "how many processors"),
            ("Processor.cores", "how many cores"),
            ("Processor.threads", "how many threads"),
            ("Processor.max_khz", "highest speed of the processor"),
            ("Memory.total_bytes", "size of the memory"),
            ("Memory.swap_bytes", "size of the swap space"),
            ("MemoryModule.slot", "where a memory module sits"),
            ("MemoryModule.size_bytes", "size of a memory module"),
            ("MemoryModule.kind", "kind of a memory module, such as DDR4"),
            ("MemoryModule.speed_mts", "speed of a memory module"),
            ("MemoryModule.vendor", "maker of a memory module"),
            ("MemoryModule.part_number", "part number of a memory module"),
            ("MemoryModule.serial", "serial number of a memory module"),
        ],
    },
    Group {
        title: "Disks and their room",
        purpose: "a disk that is missing, exchanged or full is found before the lesson",
        fields: &[
            ("Disk.name", "the system's name for a disk, such as sda"),
            ("Disk.size_bytes", "size of a disk"),
            ("Disk.vendor", "maker of a disk"),
            ("Disk.model", "model of a disk"),
            ("Disk.serial", "serial number of a disk; never of one on USB"),
            ("Disk.firmware", "version of a disk's firmware"),
            ("Disk.wwn", "world-wide number of a disk; never of one on USB"),
            ("Disk.transport", "how a disk is connected"),
            ("Disk.rotational", "whether a disk turns"),
            ("Disk.removable", "whether a disk can be taken out"),
            ("Disk.read_only", "whether a disk can be written"),
            (
                "FileSystem.mount_point",
                "where a file system is mounted; people choose it, so it may hold a name",
            ),
            ("FileSystem.source", "the disk or share that a file system is on"),
            ("FileSystem.kind", "kind of a file system, such as ext4"),
            ("FileSystem.size_bytes", "size of a file system"),
            ("FileSystem.free_bytes", "free room on a file system"),
            ("FileSystem.read_only", "whether a file system can be written"),
        ],
    },
    Group {
        title: "Network",
        purpose: "a cut line is told from a broken PC, and nobody is sent to the wrong place",
        fields: &[
            ("Interface.name", "the system's name for a network card"),
            ("Interface.mac", "address of a network card"),
            ("Interface.permanent_mac", "burnt-in address of a network card"),
            ("Interface.physical", "whether it is a card or a program's"),
            ("Interface.bus", "how a network card is built in"),
            ("Interface.driver", "driver of a network card"),
            ("Interface.state", "whether the cable is in"),
            ("Interface.speed_mbps", "speed of the line to the next switch"),
            ("Interface.mtu", "largest packet of a network card"),
            ("Peer.address", "address of the school's router and of the county's controller"),
            ("Peer.reachable", "whether they answer"),
            ("Peer.round_trip_micros", "how long their answer takes"),
            ("Peer.method", "how they were asked"),
        ],
    },
    Group {
        title: "System",
        purpose: "old systems and old agents are found and updated",
        fields: &[
            ("Software.os_name", "name of the operating system"),
            ("Software.os_version", "version of the operating system"),
            ("Software.kernel", "version of its kernel"),
            ("Software.architecture", "kind of processor that it is made for"),
            ("Software.host_name", "the PC's own name; people choose it, so it may hold a name"),
            ("Software.agent_version", "the version of this program"),
        ],
    },
    Group {
        title: "What could not be found out",
        purpose: "a missing fact carries its reason, so that nobody takes unknown for absent",
        fields: &[
            ("Problem.item", "which fact is missing"),
            ("Problem.code", "why, in one word"),
            ("Problem.message", "why, in one sentence; it names the system's file or device that was asked"),
        ],
    },
    Group {
        title: "Load",
        purpose: "a set that is slow, overfull or badly connected is seen in numbers",
        fields: &[
            ("Samples.mono_micros", "when each measurement ended, counted from the start of the system"),
            ("Column.metric", "which of the following numbers it is"),
            ("Column.item", "of which disk or network card"),
            ("Column.min", "the least in a span"),
            ("Column.mean", "the mean in a span"),
            ("Column.max", "the greatest in a span"),
            ("Column.missing", "in which spans it was not known"),
            ("Metric.PROCESSOR_BUSY_PERMILLE", "how busy the processor is"),
            ("Metric.MEMORY_USED_KIB", "how much memory is in use"),
            ("Metric.SWAP_USED_KIB", "how much swap space is in use"),
            (
                "Metric.NETWORK_RECEIVED_BYTES_PER_SEC",
                "how much comes in over a network card; never what or from whom",
            ),
            (
                "Metric.NETWORK_SENT_BYTES_PER_SEC",
                "how much goes out over a network card; never what or to whom",
            ),
            ("Metric.GATEWAY_ROUND_TRIP_MICROS", "how long the school's router takes to answer"),
            ("Metric.CONTROLLER_ROUND_TRIP_MICROS", "how long the county's controller takes to answer"),
            ("Metric.DISK_READ_BYTES_PER_SEC", "how much is read from a disk; never what"),
            ("Metric.DISK_WRITTEN_BYTES_PER_SEC", "how much is written to a disk; never what"),
        ],
    },
    Group {
        title: "Use",
        purpose: "the county sees which sets serve lessons and which stand idle; it cannot see who used them, or for what",
        fields: &[
            ("Usage.corrected", "whether the times below are the county's or the device's"),
            ("UsageSlot.number", "which five minutes of which day"),
            ("UsageSlot.watched_secs", "for how many seconds of them the set was on and watched"),
            ("UsageSlot.active_secs", "for how many seconds somebody was signed in and used it; never who"),
            (
                "UsageSlot.idle_secs",
                "for how many seconds somebody was signed in and left it alone; never who",
            ),
            ("UsageSlot.unknown_secs", "for how many seconds the system did not tell which"),
            ("UsageSlot.unwatched_secs", "for how many seconds the set was on before this program started"),
        ],
    },
    Group {
        title: "Delivery",
        purpose: "each report counts once, in its order and at its time, and what got lost is known to be lost",
        fields: &[
            ("Open.protocol_revision", "which edition of the contract this program speaks"),
            ("Open.run_id", "a random number per start of this program"),
            ("Open.device_id", "the number that the county gave this device"),
            ("Open.agent_version", "the version of this program"),
            ("Open.sent_wall_micros", "what this device's clock says"),
            ("Open.sent_mono_micros", "time since the start of the system"),
            ("Open.config_revision", "which settings are in force"),
            ("Open.backlog_frames", "how many reports wait"),
            ("Open.backlog_bytes", "how large they are"),
            (
                "Open.canary",
                "a number of the county's that was on the disk at the start: it tells a disk that falls back",
            ),
            ("CanaryKept.number", "that the next such number is on the disk"),
            ("OsBoot.id", "a random number per start of the system"),
            ("OsBoot.started_mono_micros", "when the system started"),
            ("OsBoot.clean_stop", "whether it was shut down before, or the power cut"),
            ("Batch.sent_wall_micros", "what this device's clock says"),
            ("Batch.sent_mono_micros", "time since the start of the system"),
            ("Frame.run_id", "in which start of this program the report was made"),
            ("Frame.seq", "its number there"),
            ("Frame.class", "how urgent it is"),
            ("Frame.device_id", "of which device it is"),
            ("Frame.wall_micros", "when it was made, by this device's clock"),
            ("Frame.mono_micros", "when it was made, since the start of the system"),
            ("Frame.kind", "which kind of report it is"),
            ("Frame.body", "the report itself: one of those described on this page, nothing else"),
            ("Gap.class", "how urgent reports were that got lost"),
            ("Gap.run_id", "in which start of this program they were made"),
            ("Gap.first_seq", "the number of the first"),
            ("Gap.last_seq", "the number of the last"),
            ("Gap.count", "how many"),
            ("Gap.from_wall_micros", "from when they were"),
            ("Gap.to_wall_micros", "until when"),
            ("Gap.reason", "why they were dropped"),
            ("State.full", "whether a report tells everything or only what changed"),
        ],
    },
    Group {
        title: "Answers to settings",
        purpose: "the county knows whether its settings are in force",
        fields: &[
            ("ConfigOutcome.revision", "which settings"),
            ("ConfigOutcome.applied", "that they are in force"),
            ("Rejected.key", "which setting was not taken"),
            ("Rejected.reason", "why"),
        ],
    },
];

/// The whole list for programs.
#[must_use]
pub fn privacy_json() -> Value {
    let items: Vec<Value> = GROUPS
        .iter()
        .flat_map(|group| {
            group.fields.iter().map(|(field, says)| {
                json!({ "field": field, "says": says, "subject": group.title, "purpose": group.purpose })
            })
        })
        .collect();
    json!({ "items": items, "never_collected": NEVER, "no_control": NO_CONTROL })
}

/// The whole list for people.
#[must_use]
pub fn privacy_text() -> String {
    let mut page = String::from("What bbt-agent can send to the county, and what for\n");
    // Writing to a string does not fail.
    for Group { title, purpose, fields } in GROUPS {
        let _ = write!(page, "\n{title}\n  For: {purpose}.\n");
        for (field, says) in *fields {
            let _ = writeln!(page, "  {field:<39} {says}");
        }
    }
    page.push_str("\nWhat is never collected, not even as an option\n");
    for never in NEVER {
        let _ = writeln!(page, "  - {never}");
    }
    let _ = write!(page, "\n{NO_CONTROL}\n");
    page
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::Path,
    };

    use super::*;

    /// What the agent calls the controller with; it makes no other calls.
    const SENT: [&str; 3] = [
        ".bbt.enrollment.v1.HelloRequest",
        ".bbt.enrollment.v1.EnrollRequest",
        ".bbt.report.v1.StreamRequest",
    ];
    /// Lists whose values are subjects of their own, not mere technicalities.
    const TELLING_LISTS: [&str; 2] = [".bbt.enrollment.v1.EvidenceKind", ".bbt.report.v1.Metric"];

    /// The contract by full names: of each message its fields and their types, of each list its values.
    #[derive(Default)]
    struct Contract {
        messages: BTreeMap<String, Vec<(String, String)>>,
        lists: BTreeMap<String, Vec<String>>,
    }

    impl Contract {
        fn read() -> Contract {
            let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
            let sources = ["bbt/enrollment/v1/enrollment.proto", "bbt/report/v1/report.proto"];
            let mut contract = Contract::default();
            for file in protox::compile(sources, [proto]).unwrap().file {
                let full_name = |name: &str| format!(".{}.{name}", file.package());
                for message in &file.message_type {
                    assert!(message.nested_type.is_empty(), "the walk knows no nested messages");
                    let fields = message.field.iter();
                    let fields = fields.map(|field| (field.name().to_owned(), field.type_name().to_owned()));
                    contract.messages.insert(full_name(message.name()), fields.collect());
                }
                for list in &file.enum_type {
                    let prefix = list.value[0].name().trim_end_matches("UNSPECIFIED");
                    let values = list.value[1..].iter();
                    let values = values.map(|value| value.name().trim_start_matches(prefix).to_owned());
                    contract.lists.insert(full_name(list.name()), values.collect());
                }
            }
            contract
        }

        /// The messages that the body of a frame may be: those that its kinds name.
        fn bodies(&self) -> impl Iterator<Item = String> {
            self.lists[".bbt.report.v1.Kind"].iter().map(|kind| {
                let (first, rest) = kind.split_at(1);
                format!(".bbt.report.v1.{first}{}", rest.to_lowercase())
            })
        }

        /// Every field without fields of its own that is reached from what is sent.
        fn sent(&self) -> BTreeSet<String> {
            let mut pending: Vec<String> = SENT.map(str::to_owned).into_iter().chain(self.bodies()).collect();
            let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
            while let Some(name) = pending.pop() {
                if !seen.insert(name.clone()) {
                    continue;
                }
                let short = name.rsplit('.').next().unwrap_or_default();
                if TELLING_LISTS.contains(&name.as_str()) {
                    found.extend(self.lists[&name].iter().map(|value| format!("{short}.{value}")));
                }
                for (field, of_type) in self.messages.get(&name).into_iter().flatten() {
                    if !self.messages.contains_key(of_type) {
                        found.insert(format!("{short}.{field}"));
                    }
                    if !of_type.is_empty() {
                        pending.push(of_type.clone());
                    }
                }
                let known = self.messages.contains_key(&name) || self.lists.contains_key(&name);
                assert!(known, "{name} is neither a message nor a list of the contract");
            }
            found
        }
    }

    #[test]
    fn what_is_sent_is_described_and_what_is_described_is_sent() {
        let described: Vec<&str> =
            GROUPS.iter().flat_map(|group| group.fields).map(|(field, _)| *field).collect();
        let once: BTreeSet<String> = described.iter().map(|field| (*field).to_owned()).collect();
        assert_eq!(once.len(), described.len(), "a field is described twice");
        let sent = Contract::read().sent();
        let missing: Vec<_> = sent.difference(&once).collect();
        assert!(missing.is_empty(), "sent and not described in GROUPS: {missing:?}");
        let gone: Vec<_> = once.difference(&sent).collect();
        assert!(gone.is_empty(), "described in GROUPS and never sent: {gone:?}");
    }

    #[test]
    fn both_forms_name_every_field_and_what_is_never_collected() {
        let (text, json) = (privacy_text(), privacy_json());
        for (field, says) in GROUPS.iter().flat_map(|group| group.fields) {
            assert!(text.contains(field) && text.contains(says), "{field}");
        }
        let count: usize = GROUPS.iter().map(|group| group.fields.len()).sum();
        assert_eq!(json["items"].as_array().unwrap().len(), count);
        for never in NEVER {
            assert!(text.contains(never), "{never}");
        }
        assert_eq!(json["never_collected"], json!(NEVER));
    }
}
