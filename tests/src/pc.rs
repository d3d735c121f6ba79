//! What a classroom PC tells, for devices that say what a test has them say.

use std::{ops::Range, time::Duration};

use bbt_domain::{
    civil::Day,
    time::UtcMicros,
    usage::slots::{SLOT_SECS, first_of},
};
use bbt_proto::report::v1 as wire;

/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;
/// Slots of which use is told: a morning's lessons.
const TOLD_SLOTS: i64 = 36;
/// Slots between them and now, of which nothing is told: an hour.
const UNTOLD_SLOTS: i64 = 12;

/// A PC that can be bought for a classroom.
pub fn state(host_name: &str, memory_bytes: u64, free_bytes: u64) -> wire::State {
    let processor = wire::Processor {
        vendor: Some("GenuineIntel".into()),
        model: Some("Intel(R) Core(TM) i3-10100 CPU @ 3.60GHz".into()),
        sockets: Some(1),
        cores: Some(4),
        threads: Some(8),
        ..wire::Processor::default()
    };
    let memory = wire::Memory { total_bytes: Some(memory_bytes), ..wire::Memory::default() };
    wire::State {
        full: true,
        hardware: Some(wire::Hardware {
            processors: vec![processor],
            memory: Some(memory),
            ..wire::Hardware::default()
        }),
        file_systems: Some(disk(100 * GIB, free_bytes)),
        software: Some(wire::Software {
            host_name: Some(host_name.into()),
            agent_version: "0.0.0".into(),
            ..wire::Software::default()
        }),
        ..wire::State::default()
    }
}

/// One file system, of which so much is free.
pub fn disk(size_bytes: u64, free_bytes: u64) -> wire::FileSystems {
    let file_system = wire::FileSystem {
        mount_point: "/".into(),
        source: "/dev/sda1".into(),
        kind: "ext4".into(),
        size_bytes: Some(size_bytes),
        free_bytes: Some(free_bytes),
        read_only: false,
    };
    wire::FileSystems { file_systems: vec![file_system], problems: vec![] }
}

/// Three hours of the day, the last one until `now` (since 1970) left out: used, then left alone, then on without
/// a word about its use. Shorter in the first hours of the county's day.
pub fn usage(now: Duration) -> wire::Usage {
    let told = told(UtcMicros::from_secs(now.as_secs() as i64));
    let third = ((told.end - told.start) / 3).max(1);
    let whole = u32::from(SLOT_SECS);
    let slot = |number: i64| {
        let mut slot = wire::UsageSlot { number: number as u64, watched_secs: whole, ..Default::default() };
        match (number - told.start) / third {
            0 => slot.active_secs = whole,
            1 => slot.idle_secs = whole,
            _ => slot.unknown_secs = whole,
        }
        slot
    };
    wire::Usage { corrected: true, slots: told.clone().map(slot).collect() }
}

fn told(now: UtcMicros) -> Range<i64> {
    let (first, now) = (first_of(Day::of(now)), now.as_secs().div_euclid(i64::from(SLOT_SECS)));
    let passed = now - first;
    let untold = UNTOLD_SLOTS.min(passed / 4);
    (now - untold - TOLD_SLOTS).max(first)..now - untold
}
