//! `/proc/self/mountinfo`: what is mounted where, and which of it is a file system with room of its own.

use std::collections::BTreeMap;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number; the major one is 0 where no block device stands behind it.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub mount_point: String,
    /// `ext4`, `ntfs3`, `overlay`, …
    pub kind: String,
    /// `/dev/sda1`, or whatever the file system calls its source.
    pub source: String,
    /// The mount or the file system itself is read-only.
    pub read_only: bool,
}

/// Of loop devices.
const LOOP_MAJOR: u32 = 7;
/// File systems on disks that have no block device number of their own.
const KINDS_ON_MANY_DISKS: &[&str] = &["btrfs", "bcachefs", "zfs"];

/// All mounts, in the order of the file, which is the order they were mounted in.
#[must_use]
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

/// Those that hold files on a disk, once per file system, at its shortest mount point: block-backed ones, loop
/// mounts if writable (read-only ones are program packages and images), and an overlay that is the root.
#[must_use]
pub fn file_systems(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut visible: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in mounts {
        // A later mount hides an earlier one at the same place.
        visible.insert(mount.mount_point.clone(), mount);
    }
    let mut by_device: BTreeMap<(u32, u32), Mount> = BTreeMap::new();
    for mount in visible.into_values().filter(holds_files) {
        match by_device.get(&mount.device) {
            Some(known) if known.mount_point.len() <= mount.mount_point.len() => {}
            _ => {
                by_device.insert(mount.device, mount);
            }
        }
    }
    let mut kept: Vec<Mount> = by_device.into_values().collect();
    kept.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
    kept
}

fn holds_files(mount: &Mount) -> bool {
    match mount.device.0 {
        0 => {
            KINDS_ON_MANY_DISKS.contains(&mount.kind.as_str())
                || (mount.kind == "overlay" && mount.mount_point == "/")
        }
        LOOP_MAJOR => !mount.read_only,
        _ => true,
    }
}

/// `id parent major:minor root mount-point options [tag…] - kind source super-options`
fn line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let (major, minor) = before.next()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let mount_point = unescape(before.nth(1)?);
    let options = before.next()?;
    let mut after = after.split(' ');
    let kind = unescape(after.next()?);
    let source = unescape(after.next()?);
    let super_options = after.next().unwrap_or_default();
    let read_only = [options, super_options].iter().any(|options| options.split(',').any(|one| one == "ro"));
    (!mount_point.is_empty()).then_some(Mount { device, mount_point, kind, source, read_only })
}

/// The kernel writes blank, tab, newline and backslash as three octal digits.
fn unescape(raw: &str) -> String {
    let mut rest = raw.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        match octal_escape(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn octal_escape(bytes: &[u8]) -> Option<u8> {
    let digits = bytes.strip_prefix(b"\\")?.get(..3)?;
    digits
        .iter()
        .try_fold(0u16, |value, digit| {
            char::from(*digit).to_digit(8).map(|digit| value * 8 + u16::try_from(digit).unwrap_or(0))
        })
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,discard
30 27 8:2 /srv/docs /mnt/d rw,relatime shared:1 master:2 - ext4 /dev/sda2 rw
31 27 8:1 / /boot/efi rw - vfat /dev/sda1 rw
32 27 8:17 / /media/My\\040Disk\\134x ro - fuseblk /dev/sdb1 rw,user_id=0
33 27 7:1 / /snap/core/1 ro,nodev - squashfs /dev/loop1 ro
34 27 7:2 / /mnt/image rw - ext4 /dev/loop2 rw
35 27 0:40 / /data rw - btrfs /dev/sdc1 rw,subvol=/
36 27 0:41 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
37 27 0:42 / /run rw - tmpfs tmpfs rw
";

    #[test]
    fn what_holds_files_is_kept_once_at_its_shortest_place() {
        let kept = file_systems(parse(MOUNTS));
        let places: Vec<_> = kept.iter().map(|mount| mount.mount_point.as_str()).collect();
        assert_eq!(places, ["/", "/boot/efi", "/data", "/media/My Disk\\x", "/mnt/image"]);
        assert!(kept[3].read_only, "the mount says ro");
        assert!(!kept[0].read_only);
        assert_eq!((kept[2].kind.as_str(), kept[2].source.as_str()), ("btrfs", "/dev/sdc1"));
    }

    #[test]
    fn an_overlay_is_kept_as_root_alone() {
        let kept = file_systems(parse("1 0 0:50 / / rw - overlay overlay rw,lowerdir=/a\n"));
        assert_eq!(kept.len(), 1);
    }

    #[test]
    fn a_hidden_mount_is_not_told() {
        let text = "1 0 8:1 / /mnt rw - ext4 /dev/sda1 rw\n2 1 8:2 / /mnt rw - xfs /dev/sdb1 rw\n";
        let kept = file_systems(parse(text));
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].kind, "xfs");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[0-9a-z:/ \\\\,\n-]{0,300}|.{0,200}") {
            let _ = file_systems(parse(&text));
        }

        #[test]
        fn a_file_cut_anywhere_gives_the_lines_before_the_cut(cut in 0..MOUNTS.len()) {
            let whole = parse(MOUNTS);
            let cut = parse(&MOUNTS[..cut]);
            let sure = cut.len().saturating_sub(1);
            prop_assert_eq!(&cut[..sure], &whole[..sure]);
        }
    }
}
