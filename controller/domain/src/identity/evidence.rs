//! Hardware evidence, and how much two lists of it have in common.
//!
//! Every kind has a weight; what both sides show adds its weight to the score. A value that makers leave in place of
//! a real one ([`super::junk`]) counts nothing, and neither does one that was seen on [`Policy::common_from`]
//! devices: whatever it is, it does not tell devices apart. Values are compared exactly, as normalised.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::junk::is_junk;

/// A kind of hardware evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// Endorsement key of the TPM.
    TpmEk,
    /// SMBIOS UUID.
    BoardUuid,
    /// Serial of the main board.
    BoardSerial,
    /// Serial of a disk.
    DiskSerial,
    /// Burnt-in address of a network card.
    PermanentMac,
}

impl EvidenceKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::TpmEk, Self::BoardUuid, Self::BoardSerial, Self::DiskSerial, Self::PermanentMac];

    /// The word stored and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TpmEk => "tpm_ek",
            Self::BoardUuid => "board_uuid",
            Self::BoardSerial => "board_serial",
            Self::DiskSerial => "disk_serial",
            Self::PermanentMac => "permanent_mac",
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One hardware fact by which a device is recognised after its disk was replaced or cloned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it is.
    pub kind: EvidenceKind,
    /// Normalised value.
    pub value: String,
    /// A value that many devices share; kept, never scored.
    pub junk: bool,
}

impl EvidenceKind {
    /// The kind that [`EvidenceKind::as_str`] names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it is a fact of the main board, which a PC does not change as it changes disks and cards.
    const fn is_of_board(self) -> bool {
        matches!(self, Self::TpmEk | Self::BoardUuid | Self::BoardSerial)
    }
}

/// How much each kind of evidence says, and from which score on it says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Endorsement key of the TPM.
    pub tpm_ek: u32,
    /// SMBIOS UUID.
    pub board_uuid: u32,
    /// Serial of the main board.
    pub board_serial: u32,
    /// Serial of a disk.
    pub disk_serial: u32,
    /// Burnt-in address of a network card.
    pub permanent_mac: u32,
    /// So many disks and so many network cards count.
    pub parts: usize,
    /// From this score on two lists are of one device.
    pub same_from: u32,
    /// From this score on a person is asked.
    pub ask_from: u32,
    /// A value seen on so many devices tells nothing.
    pub common_from: u32,
}

impl Policy {
    /// The weights of the design.
    pub const STANDARD: Self = Self {
        tpm_ek: 60,
        board_uuid: 40,
        board_serial: 30,
        disk_serial: 25,
        permanent_mac: 20,
        parts: 2,
        same_from: 70,
        ask_from: 40,
        common_from: 3,
    };

    const fn weight(&self, kind: EvidenceKind) -> u32 {
        match kind {
            EvidenceKind::TpmEk => self.tpm_ek,
            EvidenceKind::BoardUuid => self.board_uuid,
            EvidenceKind::BoardSerial => self.board_serial,
            EvidenceKind::DiskSerial => self.disk_serial,
            EvidenceKind::PermanentMac => self.permanent_mac,
        }
    }

    /// What `values` of one kind weigh together: a board has one of each, disks and cards count up to a limit.
    fn weigh(&self, kind: EvidenceKind, values: usize) -> u32 {
        let counted = values.min(if kind.is_of_board() { 1 } else { self.parts });
        self.weight(kind) * counted as u32
    }
}

/// What a value is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worth {
    /// It tells devices apart.
    Counts,
    /// Makers leave it in place of a real one.
    Junk,
    /// Too many devices have it.
    Common,
}

/// A value and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// The value.
    pub evidence: Evidence,
    /// Its worth.
    pub worth: Worth,
}

/// Says what `evidence` is worth, which is on record for `devices` devices.
pub fn weigh(policy: &Policy, evidence: Evidence, devices: u32) -> Weighed {
    let worth = if evidence.junk || is_junk(evidence.kind, &evidence.value) {
        Worth::Junk
    } else if devices >= policy.common_from {
        Worth::Common
    } else {
        Worth::Counts
    };
    Weighed { evidence, worth }
}

/// What two lists of evidence say of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Weight of what both show.
    pub score: u32,
    /// Weight of the kinds in which both show something and agree in nothing.
    pub against: u32,
    /// Whether they show the same main board.
    pub board_agrees: bool,
    /// Whether they show different main boards.
    pub board_differs: bool,
}

/// Compares what is `known` of a device with what somebody has `shown`.
pub fn compare(policy: &Policy, known: &[Weighed], shown: &[Weighed]) -> Comparison {
    let mut comparison = Comparison::default();
    for kind in EvidenceKind::ALL {
        let (known, shown) = (values(known, kind), values(shown, kind));
        let shared = known.intersection(&shown).count();
        if shared > 0 {
            comparison.score += policy.weigh(kind, shared);
            comparison.board_agrees |= kind.is_of_board();
        } else if !known.is_empty() && !shown.is_empty() {
            comparison.against += policy.weigh(kind, known.len().min(shown.len()));
            comparison.board_differs |= kind.is_of_board();
        }
    }
    comparison
}

/// The values of one kind that tell devices apart.
fn values(weighed: &[Weighed], kind: EvidenceKind) -> BTreeSet<&str> {
    let counting = weighed.iter().filter(|one| one.worth == Worth::Counts && one.evidence.kind == kind);
    counting.map(|one| one.evidence.value.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy::STANDARD;

    fn weighed(items: &[(EvidenceKind, &str)]) -> Vec<Weighed> {
        let evidence = |(kind, value): &(EvidenceKind, &str)| Evidence {
            kind: *kind,
            value: (*value).to_owned(),
            junk: false,
        };
        items.iter().map(|item| weigh(&POLICY, evidence(item), 1)).collect()
    }

    #[test]
    fn two_disks_and_two_cards_count_and_no_more() {
        use EvidenceKind::{DiskSerial, PermanentMac};
        let many = weighed(&[
            (DiskSerial, "D1"),
            (DiskSerial, "D2"),
            (DiskSerial, "D3"),
            (PermanentMac, "00:E0:4C:00:00:01"),
            (PermanentMac, "00:E0:4C:00:00:02"),
            (PermanentMac, "00:E0:4C:00:00:03"),
        ]);
        assert_eq!(compare(&POLICY, &many, &many).score, 2 * 25 + 2 * 20);
    }

    #[test]
    fn junk_and_what_three_devices_have_counts_nothing() {
        let uuid = |value: &str, devices| {
            let evidence = Evidence { kind: EvidenceKind::BoardUuid, value: value.into(), junk: false };
            vec![weigh(&POLICY, evidence, devices)]
        };
        let real = "4C4C4544-0042-3510-8052-B4C04F4E3232";
        assert_eq!(compare(&POLICY, &uuid(real, 2), &uuid(real, 2)).score, 40);
        for (value, devices) in [(real, 3), ("03000200-0400-0500-0006-000700080009", 1)] {
            assert_eq!(compare(&POLICY, &uuid(value, devices), &uuid(value, devices)), Comparison::default());
        }
    }

    fn lists() -> impl Strategy<Value = Vec<Weighed>> {
        let kind = prop::sample::select(EvidenceKind::ALL.to_vec());
        let one = (kind, 0..4_u8, 0..5_u32).prop_map(|(kind, value, devices)| {
            let evidence = Evidence { kind, value: format!("PF0A1B{value}C"), junk: false };
            weigh(&POLICY, evidence, devices)
        });
        prop::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn the_score_does_not_depend_on_who_asks_nor_on_order(a in lists(), b in lists()) {
            let forth = compare(&POLICY, &a, &b);
            prop_assert_eq!(forth, compare(&POLICY, &b, &a));
            let mut turned = a.clone();
            turned.reverse();
            prop_assert_eq!(forth, compare(&POLICY, &turned, &b));
        }

        #[test]
        fn nothing_speaks_against_oneself_and_nobody_is_more_alike(a in lists(), b in lists()) {
            let own = compare(&POLICY, &a, &a);
            prop_assert_eq!(own.against, 0);
            prop_assert!(compare(&POLICY, &a, &b).score <= own.score);
        }
    }
}
