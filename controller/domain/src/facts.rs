//! What a device said it is and how it stands, in the county's terms.
//!
//! Unknown is `None` beside a [`Problem`] that says why, never zero and never an empty text. The JSON of these
//! types is what the command line and the API show, so keys are only ever added.

use serde::{Deserialize, Serialize};

/// Why a fact is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which item of the collector: `board.serial`, `sda`.
    pub item: String,
    /// Short stable word: `permission_denied`, `not_offered`, `hung`.
    pub code: String,
    /// One English sentence.
    pub message: String,
}

/// A made thing: the system, its board.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Maker.
    pub vendor: Option<String>,
    /// Model.
    pub name: Option<String>,
    /// Revision as the maker writes it.
    pub version: Option<String>,
    /// Serial number as the maker wrote it, junk included.
    pub serial: Option<String>,
}

/// BIOS or UEFI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// Maker.
    pub vendor: Option<String>,
    /// Version.
    pub version: Option<String>,
    /// Date as the maker wrote it.
    pub date: Option<String>,
}

/// One model of processor in the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processor {
    /// Maker.
    pub vendor: Option<String>,
    /// Full name.
    pub model: Option<String>,
    /// Sockets in use.
    pub sockets: Option<u32>,
    /// Cores of all sockets.
    pub cores: Option<u32>,
    /// Hardware threads of all cores.
    pub threads: Option<u32>,
    /// Highest clock.
    pub max_khz: Option<u64>,
}

/// Main memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Usable by the operating system.
    pub total_bytes: Option<u64>,
    /// Swap space.
    pub swap_bytes: Option<u64>,
    /// What stands in the slots.
    pub modules: Vec<MemoryModule>,
}

/// One memory module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryModule {
    /// Slot as printed on the board.
    pub slot: Option<String>,
    /// Size; absent for an empty slot.
    pub size_bytes: Option<u64>,
    /// DDR3, DDR4, …
    pub kind: Option<String>,
    /// Mega-transfers a second.
    pub speed_mts: Option<u32>,
    /// Maker.
    pub vendor: Option<String>,
    /// Maker's part number.
    pub part_number: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
}

/// Board, system, firmware, processors, memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The whole machine.
    pub system: Product,
    /// Its main board.
    pub board: Product,
    /// BIOS or UEFI.
    pub firmware: Firmware,
    /// Usually one.
    pub processors: Vec<Processor>,
    /// Main memory.
    pub memory: Memory,
    /// SMBIOS UUID.
    pub system_uuid: Option<String>,
    /// SMBIOS 7.4.1 chassis type.
    pub chassis_type: Option<u32>,
}

/// One disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The kernel's name.
    pub name: String,
    /// Size.
    pub size_bytes: Option<u64>,
    /// Maker.
    pub vendor: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Firmware revision.
    pub firmware: Option<String>,
    /// World wide name.
    pub wwn: Option<String>,
    /// nvme, sata, usb, virtio, …
    pub transport: Option<String>,
    /// Spinning.
    pub rotational: Option<bool>,
    /// Can be taken out.
    pub removable: Option<bool>,
    /// Cannot be written.
    pub read_only: Option<bool>,
}

/// Disks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Each disk.
    pub disks: Vec<Disk>,
}

/// One mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Where it is mounted.
    pub mount_point: String,
    /// What is mounted.
    pub source: String,
    /// ext4, ntfs, …
    pub kind: String,
    /// Size.
    pub size_bytes: Option<u64>,
    /// Free to an ordinary program.
    pub free_bytes: Option<u64>,
    /// Mounted read-only.
    pub read_only: bool,
}

/// Mounted file systems.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystems {
    /// Each file system.
    pub file_systems: Vec<FileSystem>,
}

/// One network card or virtual interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The kernel's name.
    pub name: String,
    /// Present address.
    pub mac: Option<String>,
    /// Burnt-in address.
    pub permanent_mac: Option<String>,
    /// A card, not a bridge, tunnel or the like.
    pub physical: bool,
    /// pci, usb, virtio, …
    pub bus: Option<String>,
    /// Kernel driver.
    pub driver: Option<String>,
    /// up, down, … (RFC 2863 ifOperStatus).
    pub state: Option<String>,
    /// Negotiated speed.
    pub speed_mbps: Option<u32>,
    /// Largest packet.
    pub mtu: Option<u32>,
}

/// Network cards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Each interface but the loopback.
    pub interfaces: Vec<Interface>,
}

/// A peer that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// As tried.
    pub address: Option<String>,
    /// Whether it answered.
    pub reachable: Option<bool>,
    /// There and back.
    pub round_trip_micros: Option<u64>,
    /// icmp or tcp.
    pub method: Option<String>,
}

/// What can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reachability {
    /// The way out.
    pub gateway: Peer,
    /// The county.
    pub controller: Peer,
}

/// Operating system and agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    /// Distribution or edition.
    pub os_name: Option<String>,
    /// Its version.
    pub os_version: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// x86_64, aarch64, loongarch64, …
    pub architecture: Option<String>,
    /// The machine's own name; proves nothing.
    pub host_name: Option<String>,
    /// Version of the agent.
    pub agent_version: String,
}

/// One section as a device told it: facts, and the problems beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told<T> {
    /// What was found.
    #[serde(flatten)]
    pub facts: T,
    /// Why the rest is unknown.
    pub problems: Vec<Problem>,
}

/// A state report: the sections that are told; the others are unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateReport {
    /// Every section is told; one that is absent is not known any more.
    pub full: bool,
    /// Board, system, processors, memory.
    pub hardware: Option<Told<Hardware>>,
    /// Disks.
    pub storage: Option<Told<Storage>>,
    /// File systems.
    pub file_systems: Option<Told<FileSystems>>,
    /// Network cards.
    pub network: Option<Told<Network>>,
    /// Gateway and controller.
    pub reachability: Option<Told<Reachability>>,
    /// Operating system and agent.
    pub software: Option<Told<Software>>,
}
