//! Reading one fact from one file, and saying why there is none.

use std::{fmt, fs, io, io::Read, path::Path, str::FromStr};

use bbt_proto::report::v1::Problem;

use crate::decode::text;

/// One attribute is at most a page; the kernel writes no longer ones.
const MAX_ATTRIBUTE_BYTES: u64 = 4_096;
/// Whole tables: `/proc/cpuinfo` of 256 processors is 400 KB, `mountinfo` of a container host 200 KB.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// More problems than a section can honestly have; what follows is counted in one.
const MAX_PROBLEMS: usize = 200;

/// Why a fact is unknown.
#[derive(Clone, Debug)]
pub(super) struct Unknown {
    code: &'static str,
    message: String,
}

impl Unknown {
    /// The system has no such source, or the source says nothing.
    pub(super) fn not_offered(message: impl Into<String>) -> Self {
        Self { code: "not_offered", message: message.into() }
    }

    /// The source is there and makes no sense.
    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        Self { code: "unreadable", message: message.into() }
    }

    /// More items than are reported.
    pub(super) fn too_many(message: impl Into<String>) -> Self {
        Self { code: "too_many", message: message.into() }
    }

    /// `tried` is a sentence's beginning: "Reading /sys/… ".
    pub(super) fn from_io(tried: impl fmt::Display, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied => "permission_denied",
            io::ErrorKind::NotFound | io::ErrorKind::Unsupported => "not_offered",
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed_out",
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => "unreachable",
            _ => "unreadable",
        };
        let remedy = if code == "permission_denied" { "; an agent that runs as root may" } else { "" };
        Self { code, message: format!("{tried} failed: {error}{remedy}.") }
    }

    pub(super) fn into_problem(self, item: impl fmt::Display) -> Problem {
        Problem { item: item.to_string(), code: self.code.into(), message: self.message }
    }
}

/// What a collector could not find out, in the order it met it.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// Notes why `item` is unknown.
    pub(super) fn note(&mut self, item: impl fmt::Display, unknown: Unknown) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(unknown.into_problem(item));
        } else {
            self.left_out += 1;
        }
    }

    /// The fact, if it was found; else notes why not.
    pub(super) fn keep<T>(&mut self, item: impl fmt::Display, found: Result<T, Unknown>) -> Option<T> {
        found.map_err(|unknown| self.note(item, unknown)).ok()
    }

    pub(super) fn into_list(mut self) -> Vec<Problem> {
        if self.left_out > 0 {
            self.list.push(Problem {
                item: "problems".into(),
                code: "too_many".into(),
                message: format!("{} more problems were met.", self.left_out),
            });
        }
        self.list
    }
}

/// One attribute's text, trimmed and capped; an empty one is not offered.
pub(super) fn attribute(file: &Path) -> Result<String, Unknown> {
    let raw = bytes(file, MAX_ATTRIBUTE_BYTES)?;
    text::clean_bytes(&raw).ok_or_else(|| Unknown::not_offered(format!("{} is empty.", file.display())))
}

/// One attribute as a number.
pub(super) fn number<T: FromStr>(file: &Path) -> Result<T, Unknown> {
    let text = attribute(file)?;
    text.parse().map_err(|_| {
        Unknown::unreadable(format!("{} holds {text:?}, which is not the number expected.", file.display()))
    })
}

/// An attribute of `0` or `1`.
pub(super) fn flag(file: &Path) -> Result<bool, Unknown> {
    number::<u8>(file).map(|value| value != 0)
}

/// A whole table as text.
pub(super) fn table(file: &Path) -> Result<String, Unknown> {
    bytes(file, MAX_FILE_BYTES).map(|raw| String::from_utf8_lossy(&raw).into_owned())
}

/// A whole table as bytes.
pub(super) fn binary(file: &Path) -> Result<Vec<u8>, Unknown> {
    bytes(file, MAX_FILE_BYTES)
}

/// The last part of what a link such as `device/driver` points to.
pub(super) fn link_name(link: &Path) -> Result<String, Unknown> {
    let target = fs::read_link(link)
        .map_err(|error| Unknown::from_io(format_args!("Reading the link {}", link.display()), &error))?;
    let name = target.file_name().and_then(|name| text::clean(&name.to_string_lossy()));
    name.ok_or_else(|| Unknown::unreadable(format!("{} leads nowhere.", link.display())))
}

/// Names in a folder, sorted.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, Unknown> {
    sorted_names(folder)
        .map_err(|error| Unknown::from_io(format_args!("Listing {}", folder.display()), &error))
}

/// The same for those who deal with the error themselves.
pub(super) fn sorted_names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> =
        fs::read_dir(folder)?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn bytes(file: &Path, limit: u64) -> Result<Vec<u8>, Unknown> {
    let mut raw = Vec::new();
    fs::File::open(file)
        .and_then(|open| open.take(limit).read_to_end(&mut raw))
        .map_err(|error| Unknown::from_io(format_args!("Reading {}", file.display()), &error))?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_word() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("empty"), "\n").unwrap();
        fs::write(file("word"), "fast\n").unwrap();
        fs::create_dir(file("folder")).unwrap();
        assert_eq!(attribute(&file("absent")).unwrap_err().code, "not_offered");
        assert_eq!(attribute(&file("empty")).unwrap_err().code, "not_offered");
        assert_eq!(attribute(&file("folder")).unwrap_err().code, "unreadable");
        assert_eq!(number::<u32>(&file("word")).unwrap_err().code, "unreadable");
        assert_eq!(attribute(&file("word")).unwrap(), "fast");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(Unknown::from_io("Reading it", &denied).code, "permission_denied");
    }

    #[test]
    fn problems_beyond_the_limit_are_counted() {
        let mut problems = Problems::default();
        for index in 0..MAX_PROBLEMS + 3 {
            problems.note(index, Unknown::not_offered("Nothing there."));
        }
        let list = problems.into_list();
        assert_eq!(list.len(), MAX_PROBLEMS + 1);
        assert_eq!(list[MAX_PROBLEMS].message, "3 more problems were met.");
    }
}
