//! 磁盘空间不足: a file system that can be written has less than the policy's share *and* less than the policy's
//! room. Looked at at any hour. A file system whose room is unknown proves nothing either way.

use super::Finding;
use crate::{
    facts::FileSystem,
    fault::{
        FaultKind, Reason, Sign,
        input::{DeviceFacts, Input},
        policy::Policy,
        reason::Room,
    },
    org::SetStanding,
};

pub(super) fn look(input: &Input<'_>) -> Finding {
    Finding {
        kind: FaultKind::DiskNearlyFull,
        sign: sign(input),
        known_until: input.set.known_until().unwrap_or(input.now).min(input.now),
        tolerance: input.rules.policy.disk_tolerance(),
    }
}

fn sign(input: &Input<'_>) -> Sign {
    if input.set.standing == SetStanding::Sealed || input.set.reporting().next().is_none() {
        return Sign::Good { since: input.now, reason: Reason::NotExpected };
    }
    let rooms = input.set.reporting().flat_map(rooms);
    // The one with the smallest share left speaks for the set.
    let Some(fullest) = rooms.min_by_key(share_permyriad) else { return Sign::Unknown };
    // The fullest by share may be large enough by bytes while another one is not.
    let low = input.set.reporting().flat_map(self::rooms).filter(|room| is_low(room, &input.rules.policy));
    match low.min_by_key(|room| room.free_bytes) {
        Some(room) => Sign::Bad { since: room.told_at, reason: Reason::DiskLow(room) },
        None => Sign::Good { since: fullest.told_at, reason: Reason::DiskRoomy(fullest) },
    }
}

fn rooms(device: &DeviceFacts) -> impl Iterator<Item = Room> {
    let told = device.snapshot.file_systems.as_ref();
    told.into_iter().flat_map(|section| {
        let room = |file_system: &FileSystem| {
            Some(Room {
                device: device.id,
                mount_point: file_system.mount_point.clone(),
                free_bytes: file_system.free_bytes?,
                size_bytes: file_system.size_bytes.filter(|size| *size > 0)?,
                told_at: section.told_at,
            })
        };
        let writable = section.told.facts.file_systems.iter().filter(|file_system| !file_system.read_only);
        writable.filter_map(room)
    })
}

fn is_low(room: &Room, policy: &Policy) -> bool {
    share_permyriad(room) < u128::from(policy.disk_below_percent) * 100
        && room.free_bytes < policy.disk_below_bytes
}

/// The share left, in hundredths of a percent.
fn share_permyriad(room: &Room) -> u128 {
    u128::from(room.free_bytes) * 10_000 / u128::from(room.size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::testing::{Case, GIB, file_system};

    fn sign_of(file_systems: &[(&str, u64, u64)]) -> Sign {
        let mut case = Case::new();
        case.tell(100, file_systems.iter().map(|(mount, size, free)| file_system(mount, *size, *free)));
        sign(&case.input())
    }

    #[test]
    fn both_the_share_and_the_room_must_be_small() {
        for (size, free, bad) in [
            (100 * GIB, 5 * GIB - 1, true),
            (100 * GIB, 5 * GIB, false),
            (1_000 * GIB, 50 * GIB, false),
            (10 * GIB, GIB, false),
            (10 * GIB, GIB - 1, true),
            (10 * GIB, 0, true),
        ] {
            assert_eq!(matches!(sign_of(&[("/", size, free)]), Sign::Bad { .. }), bad, "{free} of {size}");
        }
    }

    #[test]
    fn the_one_with_the_least_room_is_named_with_its_figures() {
        let Sign::Bad { reason: Reason::DiskLow(room), since } =
            sign_of(&[("/", 100 * GIB, 50 * GIB), ("/data", 20 * GIB, GIB), ("/home", 90 * GIB, 4 * GIB)])
        else {
            panic!("no bad sign")
        };
        assert_eq!((room.mount_point.as_str(), room.free_bytes, room.size_bytes), ("/data", GIB, 20 * GIB));
        assert_eq!(since.as_secs(), 100);
    }

    #[test]
    fn what_cannot_be_written_or_is_not_known_proves_nothing() {
        let mut case = Case::new();
        let read_only = FileSystem { read_only: true, ..file_system("/iso", GIB, 0) };
        let unknown = FileSystem { free_bytes: None, ..file_system("/x", GIB, 0) };
        case.tell(100, [read_only, unknown]);
        assert_eq!(sign(&case.input()), Sign::Unknown);
        assert_eq!(sign(&Case::new().input()), Sign::Unknown, "never told");
    }

    #[test]
    fn a_sealed_set_has_no_fault() {
        let mut case = Case::new();
        case.tell(100, [file_system("/", 100 * GIB, 0)]);
        case.set.standing = SetStanding::Sealed;
        assert!(matches!(sign(&case.input()), Sign::Good { reason: Reason::NotExpected, .. }));
    }
}
