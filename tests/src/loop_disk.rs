//! A small disk of a test's own, in a file: it can be filled without filling anybody else's.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::program;

/// Large enough for a file system, small enough to be full at once.
const SIZE_BYTES: u64 = 64 << 20;
static BLOCK: [u8; 1 << 20] = [0x5a; 1 << 20];

/// A mounted file system; unmounted and gone when dropped. Mounting needs root.
#[derive(Debug)]
pub struct LoopDisk {
    _folder: TempDir,
    image: PathBuf,
    mount_point: PathBuf,
}

impl LoopDisk {
    /// An empty one.
    pub fn mount() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bbt-disk-").tempdir().context("making a folder")?;
        let (image, mount_point) = (folder.path().join("disk.img"), folder.path().join("disk"));
        File::create(&image)?.set_len(SIZE_BYTES)?;
        fs::create_dir(&mount_point)?;
        let format = ["-q", "-m", "0", "-e", "remount-ro"];
        program::succeed(Command::new("mkfs.ext4").args(format).arg(&image), b"")?;
        Self::mount_image(&image, &mount_point)?;
        Ok(Self { _folder: folder, image, mount_point })
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Writes until not one more megabyte fits.
    pub fn fill(&self) -> Result<()> {
        use std::io::Write;
        let mut file = File::create(self.filler())?;
        loop {
            match file.write_all(&BLOCK) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("filling a disk"),
            }
        }
    }

    /// Makes room again.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("freeing a disk")
    }

    /// Becomes read-only under those who have files open, as the system makes a disk on which it found an error.
    pub fn break_down(&self) -> Result<()> {
        let mut abort = Command::new("mount");
        // The mount itself reports the error that it makes.
        program::output(abort.args(["-o", "remount,abort"]).arg(&self.mount_point), b"").map(drop)
    }

    /// Is mounted anew, as after a repair; nobody has files open.
    pub fn mount_again(&self) -> Result<()> {
        program::succeed(Command::new("umount").arg(&self.mount_point), b"")?;
        Self::mount_image(&self.image, &self.mount_point)
    }

    fn mount_image(image: &Path, mount_point: &Path) -> Result<()> {
        program::succeed(Command::new("mount").args(["-o", "loop"]).arg(image).arg(mount_point), b"")
            .map(drop)
    }

    fn filler(&self) -> PathBuf {
        self.mount_point.join("filler")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: whoever still looks at it does not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.mount_point).status();
    }
}
