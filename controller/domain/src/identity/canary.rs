//! The state canary: a number that the device keeps on disk, told anew at each session.
//!
//! A device that comes back after a start of its system with an older number than one it had confirmed lost what it
//! wrote: a restore card or a freeze product put its disk back. Once is a bad disk or a restored backup; twice is
//! the class "frozen".

/// So often a device's state must have gone back until the device is of the frozen class.
pub const FROZEN_AT: u32 = 2;

/// What the county knows of a device's canary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Canary {
    /// The last number told to the device.
    pub told: u64,
    /// The highest one that the device has on disk, by its own word.
    pub kept: u64,
}

/// Whether the state of a device went back, which now says it has `has`. Without a new start of the system it lost
/// nothing: the number may still be on its way to the disk.
pub const fn rolled_back(canary: Canary, has: u64, new_boot: bool) -> bool {
    new_boot && has < canary.kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_number_after_a_new_start_is_a_state_that_went_back() {
        let canary = Canary { told: 9, kept: 7 };
        assert!(rolled_back(canary, 6, true));
        assert!(!rolled_back(canary, 7, true), "it has what it confirmed");
        assert!(!rolled_back(canary, 8, true), "its confirmation was lost on the way");
        assert!(!rolled_back(canary, 6, false), "the same start of the system");
    }

    #[test]
    fn a_device_that_never_confirmed_cannot_go_back() {
        assert!(!rolled_back(Canary { told: 5, kept: 0 }, 0, true));
    }
}
