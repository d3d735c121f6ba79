//! The rules of the repository that no compiler knows.

use std::{fs, process::Command};

use bbt_tests::repository;

/// Where everything lives. A new top-level folder is a decision for ARCHITECTURE.md.
const FOLDERS: &[&str] = &[".cargo", ".ci", ".config", "agent", "controller", "deploy", "proto", "tests"];

/// Beginnings of paths that only one machine has.
const PATHS_OF_ONE_MACHINE: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

#[test]
fn the_top_level_has_only_its_fixed_folders() {
    for file in tracked() {
        if let Some((folder, _)) = file.path.split_once('/') {
            assert!(FOLDERS.contains(&folder), "{} lies in none of {FOLDERS:?}", file.path);
        }
    }
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    // Recorded trees of other machines keep the paths that those machines had.
    for file in tracked().iter().filter(|file| !file.path.contains("fixtures/")) {
        let Ok(text) = fs::read_to_string(repository().join(&file.path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let found = PATHS_OF_ONE_MACHINE.iter().find(|path| begins_a_path(line, path));
            assert_eq!(found, None, "{}:{} names a path of one machine: {line}", file.path, number + 1);
        }
    }
}

/// Whether `path` stands in `line` as the beginning of a path, not inside of a longer one or of an address.
fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        line[..at]
            .chars()
            .next_back()
            .is_none_or(|before| !before.is_alphanumeric() && !"._-~*}>".contains(before))
    })
}

#[test]
fn a_path_is_told_from_a_part_of_one() {
    let root = PATHS_OF_ONE_MACHINE[1];
    assert!(begins_a_path(&format!("cd {root}bbt"), root));
    assert!(!begins_a_path(&format!("https://example.org{root}bbt"), root));
}

#[test]
fn the_lock_of_npm_names_no_registry() {
    for file in tracked().iter().filter(|file| file.path.ends_with("package-lock.json")) {
        let text = read(&file.path);
        assert!(
            !text.contains("\"resolved\""),
            "{}: a registry's address binds everybody to it; `npm install` in that folder writes it without",
            file.path
        );
    }
}

#[test]
fn what_has_an_interpreter_line_is_executable_and_nothing_else_is() {
    for file in tracked() {
        let script = fs::read(repository().join(&file.path)).is_ok_and(|bytes| bytes.starts_with(b"#!"));
        assert_eq!(
            file.executable, script,
            "{}: `git update-index --chmod=+x` (or -x) makes mode and first line agree",
            file.path
        );
    }
}

#[test]
fn every_toml_file_can_be_read() {
    for file in tracked().iter().filter(|file| file.path.ends_with(".toml")) {
        if let Err(error) = read(&file.path).parse::<toml::Table>() {
            panic!("{}: {error}", file.path);
        }
    }
}

struct Tracked {
    path: String,
    executable: bool,
}

/// The files that belong to the repository, as git's index has them.
fn tracked() -> Vec<Tracked> {
    let output = Command::new("git")
        // A checkout may belong to another user than the one who tests it, as in a container.
        .args(["-c", "safe.directory=*", "-c", "core.quotePath=false", "ls-files", "--stage"])
        .current_dir(repository())
        .output()
        .unwrap_or_else(|error| {
            panic!("starting `git ls-files`: {error}; these tests need git and a checkout")
        });
    assert!(output.status.success(), "`git ls-files`: {}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).expect("our file names are UTF-8");
    let files: Vec<Tracked> = listing
        .lines()
        .map(|line| {
            let (mode, path) = line.split_once('\t').expect("git puts a tab before the path");
            Tracked { path: path.to_owned(), executable: mode.starts_with("100755") }
        })
        // Deleted and not yet committed so.
        .filter(|file| repository().join(&file.path).exists())
        .collect();
    assert!(!files.is_empty(), "git lists no files in {}", repository().display());
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}
