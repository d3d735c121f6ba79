//! Mounted file systems that hold files, with their room.

use std::{path::Path, time::Duration};

use bbt_proto::report::v1 as wire;

use super::{
    Collector, Section,
    source::{self, Problems, Unknown},
};
use crate::{
    decode::mountinfo::{self, Mount},
    platform::Platform,
};

pub(super) const NAME: &str = "file_systems";
/// Asking a file system on a dying disk can take long.
const DEADLINE: Duration = Duration::from_secs(10);
/// A classroom PC has a handful; a report of more would not fit its frame.
const MAX_FILE_SYSTEMS: usize = 64;

pub(super) struct FileSystems;

impl Collector for FileSystems {
    fn name(&self) -> &'static str {
        NAME
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn collect(&self, platform: &dyn Platform) -> Section {
        let mut problems = Problems::default();
        let table = source::table(&platform.roots().proc.join("self/mountinfo"));
        let table = problems.keep("file_systems", table).unwrap_or_default();
        let mut mounts = mountinfo::file_systems(mountinfo::parse(&table));
        if mounts.len() > MAX_FILE_SYSTEMS {
            let message = format!("{} are mounted; the first {MAX_FILE_SYSTEMS} are told.", mounts.len());
            problems.note("file_systems", Unknown::too_many(message));
            mounts.truncate(MAX_FILE_SYSTEMS);
        }
        let file_systems =
            mounts.into_iter().map(|mount| file_system(mount, platform, &mut problems)).collect();
        Section::FileSystems(wire::FileSystems { file_systems, problems: problems.into_list() })
    }

    fn failed(&self, problem: wire::Problem) -> Section {
        Section::FileSystems(wire::FileSystems { problems: vec![problem], file_systems: Vec::new() })
    }
}

fn file_system(mount: Mount, platform: &dyn Platform, problems: &mut Problems) -> wire::FileSystem {
    let Mount { mount_point, kind, source, read_only, .. } = mount;
    let space = platform
        .space(Path::new(&mount_point))
        .map_err(|error| Unknown::from_io(format_args!("Asking for the room of {mount_point}"), &error));
    let space = problems.keep(format_args!("{mount_point}.size"), space);
    wire::FileSystem {
        mount_point,
        source,
        kind,
        size_bytes: space.map(|space| space.size_bytes),
        free_bytes: space.map(|space| space.free_bytes),
        read_only,
    }
}
