//! Unpacks `tests/fixtures/*.tree`, the sysfs, procfs and so on of a machine in one readable text:
//!
//! ```text
//! # a comment
//! sys/class/dmi/id/sys_vendor = one line
//! sys/block/sda -> ../devices/target/of/a/link
//! sys/bus/pci/                              a folder
//! proc/cpuinfo <<                           lines up to >>
//! sys/firmware/dmi/tables/DMI hex <<        bytes up to >>
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use bbt_agent::platform::{Roots, fake::FakePlatform};
use tempfile::TempDir;

/// An unpacked tree; it is removed when this is dropped.
pub(crate) struct Tree {
    folder: TempDir,
}

impl Tree {
    /// Unpacks `tests/fixtures/<machine>.tree`.
    pub(crate) fn unpack(machine: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{machine}.tree"));
        let text = fs::read_to_string(&source).unwrap();
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(path) = line.strip_suffix(" <<") {
                let body: Vec<&str> = lines.by_ref().take_while(|line| *line != ">>").collect();
                match path.strip_suffix(" hex") {
                    Some(path) => tree.write(path, &from_hex(&body.concat())),
                    None => tree.write(path, (body.join("\n") + "\n").as_bytes()),
                }
            } else if let Some((path, target)) = line.split_once(" -> ") {
                std::os::unix::fs::symlink(target, tree.at(path)).unwrap();
            } else if let Some((path, value)) = line.split_once(" =") {
                tree.write(path, format!("{}\n", value.strip_prefix(' ').unwrap_or(value)).as_bytes());
            } else if line.ends_with('/') {
                fs::create_dir_all(tree.at(line)).unwrap();
            } else {
                panic!("{machine}.tree has a line that is none of the known forms: {line}");
            }
        }
        tree
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::under(self.folder.path())
    }

    pub(crate) fn platform(&self) -> FakePlatform {
        FakePlatform::new(self.roots(), 1)
    }

    /// Takes a file or a folder away.
    pub(crate) fn remove(&self, path: &str) {
        let path = self.at(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// Puts a folder where a file was: opening it works and reading it fails, for root too.
    pub(crate) fn make_unreadable(&self, path: &str) {
        self.remove(path);
        fs::create_dir(self.at(path)).unwrap();
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.at(path), bytes).unwrap();
    }

    /// The place of `path`, its folder made.
    fn at(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| u8::try_from(character.to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
