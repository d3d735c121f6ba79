//! Disks: the block devices that `lsblk` calls disks, without disks in memory.
//!
//! A disk on USB may be a pupil's or a teacher's own stick: that one is there and how large it is belongs to the
//! set, the numbers by which it could be followed from set to set do not, and are not read.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bbt_proto::report::v1 as wire;

use super::{
    Collector, Section,
    source::{self, Problems, Unknown},
};
use crate::{
    decode::{text, udev},
    platform::{Platform, Roots},
};

pub(super) const NAME: &str = "storage";
/// Attributes are cached by the kernel; a dying disk can hold up its driver's.
const DEADLINE: Duration = Duration::from_secs(10);
/// A classroom PC has a handful; a report of more would not fit its frame.
const MAX_DISKS: usize = 64;
/// `/sys/block/*/size` counts in these whatever the disk's own sector size is.
const SECTOR_BYTES: u64 = 512;
/// Loop devices, device mapper, md arrays, memory and optical drives, which are no disks of their own.
const OTHER_PREFIXES: &[&str] = &["loop", "dm-", "md", "zram", "ram", "sr"];
/// `device/type` of SCSI direct access devices; others are tapes, scanners, optical drives.
const SCSI_DISK: &str = "0";
/// What the ATA driver puts where SCSI disks name their maker.
const NO_VENDOR: &str = "ATA";

pub(super) struct Storage;

impl Collector for Storage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn collect(&self, platform: &dyn Platform) -> Section {
        let roots = platform.roots();
        let mut problems = Problems::default();
        let folder = roots.sys.join("block");
        let listed = disk_names(&roots.sys)
            .map_err(|error| Unknown::from_io(format_args!("Listing {}", folder.display()), &error));
        let mut names = problems.keep("disks", listed).unwrap_or_default();
        if names.len() > MAX_DISKS {
            let message = format!("{} disks are there; the first {MAX_DISKS} are told.", names.len());
            problems.note("disks", Unknown::too_many(message));
            names.truncate(MAX_DISKS);
        }
        let disks = names.into_iter().map(|name| Source::new(roots, name).disk(&mut problems)).collect();
        Section::Storage(wire::Storage { disks, problems: problems.into_list() })
    }

    fn failed(&self, problem: wire::Problem) -> Section {
        Section::Storage(wire::Storage { problems: vec![problem], disks: Vec::new() })
    }
}

/// Names of the disks below the root `sys`, sorted.
pub(crate) fn disk_names(sys: &Path) -> io::Result<Vec<String>> {
    let folder = sys.join("block");
    let mut names = source::sorted_names(&folder)?;
    names.retain(|name| is_disk(&folder.join(name), name));
    Ok(names)
}

fn is_disk(folder: &Path, name: &str) -> bool {
    let says = |file: &str| fs::read_to_string(folder.join(file)).map(|text| text.trim().to_owned());
    if OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    // One of several paths to the same disk is hidden.
    if says("hidden").is_ok_and(|hidden| hidden == "1") {
        return false;
    }
    // Only SCSI counts its device types; a memory card says `MMC` or `SD`, others nothing.
    says("device/type").map_or(true, |kind| kind == SCSI_DISK || kind.parse::<u8>().is_err())
}

/// Where the facts of one disk are.
struct Source {
    name: String,
    folder: PathBuf,
    /// What udev wrote down; empty where there is none.
    udev: String,
    /// The device's place in the tree of devices, with its buses.
    place: PathBuf,
}

impl Source {
    fn new(roots: &Roots, name: String) -> Self {
        let folder = roots.sys.join("block").join(&name);
        let udev = source::attribute(&folder.join("dev"))
            .and_then(|number| source::table(&roots.run.join(format!("udev/data/b{number}"))))
            .unwrap_or_default();
        let place = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
        // Only what is below the root counts: a tree may itself lie in a folder called `usb`.
        let place = fs::canonicalize(&roots.sys)
            .ok()
            .and_then(|root| Some(place.strip_prefix(root).ok()?.to_owned()))
            .unwrap_or(place);
        Self { name, folder, udev, place }
    }

    fn disk(self, problems: &mut Problems) -> wire::Disk {
        let item = |fact: &str| format!("{}.{fact}", self.name);
        let transport = self.transport();
        let may_be_somebodys = transport.as_ref().is_ok_and(|transport| transport == "usb");
        let numbers = |read: fn(&Source) -> Result<String, Unknown>| match may_be_somebodys {
            true => Err(Unknown::not_offered(
                "A disk on USB may be a person's own; its numbers are not collected.",
            )),
            false => read(&self),
        };
        let sectors: Result<u64, Unknown> = source::number(&self.folder.join("size"));
        wire::Disk {
            size_bytes: problems
                .keep(item("size"), sectors.map(|sectors| sectors.saturating_mul(SECTOR_BYTES))),
            vendor: problems.keep(item("vendor"), self.vendor()),
            model: problems.keep(
                item("model"),
                self.first(&["ID_MODEL_ENC", "ID_MODEL"], &["device/model", "device/name"]),
            ),
            serial: problems.keep(item("serial"), numbers(Source::serial)),
            firmware: problems.keep(
                item("firmware"),
                self.first(&["ID_REVISION"], &["device/firmware_rev", "device/rev", "device/fwrev"]),
            ),
            wwn: problems.keep(item("wwn"), numbers(Source::wwn)),
            transport: problems.keep(item("transport"), transport),
            rotational: problems
                .keep(item("rotational"), source::flag(&self.folder.join("queue/rotational"))),
            removable: problems.keep(item("removable"), source::flag(&self.folder.join("removable"))),
            read_only: problems.keep(item("read_only"), source::flag(&self.folder.join("ro"))),
            name: self.name,
        }
    }

    /// The first of udev's keys and the kernel's files that says something. udev comes first: it asks the
    /// disk itself, where the kernel's model of a SATA disk is cut at 16 characters.
    fn first(&self, udev_keys: &[&str], files: &[&str]) -> Result<String, Unknown> {
        if let Some(value) = udev_keys.iter().find_map(|key| udev::value(&self.udev, key)) {
            return Ok(value);
        }
        let tried: Vec<_> = files.iter().map(|file| source::attribute(&self.folder.join(file))).collect();
        let mut reasons = Vec::new();
        for outcome in tried {
            match outcome {
                Ok(value) => return Ok(value),
                Err(unknown) => reasons.push(unknown),
            }
        }
        let nothing = || Unknown::not_offered("No source tells it.");
        Err(reasons.into_iter().next().unwrap_or_else(nothing))
    }

    fn vendor(&self) -> Result<String, Unknown> {
        let vendor = self.first(&["ID_VENDOR_ENC", "ID_VENDOR"], &["device/vendor", "device/manfid"])?;
        if vendor == NO_VENDOR {
            return Err(Unknown::not_offered("An ATA disk does not name its maker; the model does."));
        }
        Ok(vendor)
    }

    fn serial(&self) -> Result<String, Unknown> {
        let keys = ["SCSI_IDENT_SERIAL", "ID_SCSI_SERIAL", "ID_SERIAL_SHORT"];
        self.first(&keys, &["device/serial", "serial"])
            .or_else(|why| serial_page(&self.folder.join("device/vpd_pg80")).ok_or(why))
    }

    fn wwn(&self) -> Result<String, Unknown> {
        let wwn = self.first(&["ID_WWN_WITH_EXTENSION", "ID_WWN"], &["wwid", "device/wwid"])?;
        // As udev and lsblk write it.
        Ok(wwn.strip_prefix("naa.").map_or(wwn.clone(), |number| format!("0x{number}")))
    }

    /// The bus nearest to the disk that people know by name, from the disk's place in the tree of devices.
    fn transport(&self) -> Result<String, Unknown> {
        let buses = [
            ("usb", "usb"),
            ("nvme", "nvme"),
            ("mmc_host", "mmc"),
            ("ata", "sata"),
            ("virtio", "virtio"),
            ("vmbus", "vmbus"),
            ("session", "iscsi"),
        ];
        let parts: Vec<_> = self.place.iter().filter_map(|part| part.to_str()).collect();
        // The last part is the disk's own name.
        let above = parts.split_last().map(|(_, above)| above).unwrap_or_default();
        let named = |prefix: &str, part: &str| {
            part.strip_prefix(prefix)
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
        };
        buses
            .iter()
            .find(|(prefix, _)| above.iter().any(|part| named(prefix, part)))
            .map(|(_, transport)| (*transport).to_owned())
            .ok_or_else(|| {
                Unknown::not_offered(format!("The place {} names no known bus.", self.place.display()))
            })
    }
}

/// The unit serial number page (SPC-4 7.8.17) as the kernel keeps it: four bytes, the last two its length.
fn serial_page(file: &Path) -> Option<String> {
    let page = source::binary(file).ok()?;
    let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
    text::clean_bytes(page.get(4..)?.get(..length)?)
}
