//! What is told, taken, kept and in force.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;

use super::*;

const DEVICE: Uuid = Uuid::from_bytes([5; 16]);
/// A Monday, 09:00 in the county.
const NOW_SECS: i64 = 1_790_557_200;
const NOW: Stamp =
    Stamp { wall_micros: 0, mono_micros: 100_000_000, guarded_micros: NOW_SECS * 1_000_000, signed: true };

fn state() -> (Folder, TempDir) {
    let temp = tempfile::tempdir().unwrap();
    let state = Folder::at(&temp.path().join("state"));
    state.prepare().unwrap();
    (state, temp)
}

fn own(text: &str) -> Config {
    Config::read(Path::new("agent.toml"), text, std::iter::empty()).unwrap()
}

fn told(revision: u64) -> wire::Config {
    let values = wire::Values {
        sample_interval_secs: Some(30),
        spool_max_bytes: Some(32 << 20),
        spool_max_age_secs: Some(10 * 86_400),
        ..wire::Values::default()
    };
    wire::Config { revision, values: Some(values), ..wire::Config::default() }
}

fn later(secs: i64) -> Stamp {
    let micros = secs * 1_000_000;
    Stamp { mono_micros: NOW.mono_micros + micros, guarded_micros: NOW.guarded_micros + micros, ..NOW }
}

fn is_applied(outcome: &wire::ConfigOutcome) -> bool {
    matches!(outcome.outcome, Some(Outcome::Applied(true)))
}

fn rejection(config: wire::Config) -> wire::Rejected {
    let (state, _temp) = state();
    let mut configuration = Configuration::open(&state, DEVICE, &Config::default());
    match configuration.apply(config, &NOW, Some(1 << 30)).outcome {
        Some(Outcome::Rejected(rejected)) => rejected,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_good_is_in_force_after_a_restart_and_a_rejected_one_changes_nothing() {
    let (state, _temp) = state();
    let mut configuration = Configuration::open(&state, DEVICE, &Config::default());
    assert_eq!(configuration.revision(), 0);
    assert!(is_applied(&configuration.apply(told(7), &NOW, None)));
    let mut bad = told(8);
    bad.values.as_mut().unwrap().sample_interval_secs = Some(1);
    let outcome = configuration.apply(bad, &NOW, None);
    assert_eq!(outcome.revision, 8);
    assert!(!is_applied(&outcome));
    for configuration in [configuration, Configuration::open(&state, DEVICE, &Config::default())] {
        assert_eq!(configuration.revision(), 7);
        assert_eq!(configuration.in_force().intervals().sample, Duration::from_secs(30));
        assert_eq!(configuration.in_force().limits().max_bytes, 32 << 20);
    }
}

#[test]
fn a_damaged_file_or_that_of_another_device_is_set_aside_and_the_built_in_values_hold() {
    let (state, _temp) = state();
    let open = |device| Configuration::open(&state, device, &Config::default());
    let path = kept::path(&state);
    assert!(is_applied(&open(DEVICE).apply(told(7), &NOW, None)));
    let good = fs::read(&path).unwrap();
    for index in [0, 40, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[index] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(open(DEVICE).revision(), 0, "a flipped bit in byte {index}");
        assert_eq!(fs::read(state.configuration().join("damaged")).unwrap(), damaged);
        assert!(!path.exists());
    }
    fs::write(&path, b"").unwrap();
    assert_eq!(open(DEVICE).revision(), 0, "a power cut left nothing");
    fs::write(&path, &good).unwrap();
    let clone = open(Uuid::from_bytes([6; 16]));
    assert_eq!((clone.revision(), clone.in_force()), (0, open(DEVICE).in_force()));
}

#[test]
fn the_file_of_the_machine_goes_before_the_county_only_where_its_limit_is_lower() {
    let (state, _temp) = state();
    let in_force = |text: &str| {
        let mut configuration = Configuration::open(&state, DEVICE, &own(text));
        configuration.apply(told(7), &NOW, None);
        configuration.in_force()
    };
    let lower = in_force("[spool]\nmax_bytes = 2000000\nmax_age_days = 3").limits();
    assert_eq!((lower.max_bytes, lower.max_age_micros), (2_000_000, 3 * 86_400_000_000));
    let higher = in_force("[spool]\nmax_bytes = 900000000\nmax_age_days = 300").limits();
    assert_eq!((higher.max_bytes, higher.max_age_micros), (32 << 20, 10 * 86_400_000_000));
    let interval = in_force("[report]\nsample_secs = 10\nframe_secs = 40").intervals();
    assert_eq!(interval.sample, Duration::from_secs(30), "the county decides about intervals");
    assert_eq!(interval.frame, Duration::from_secs(40), "where it says something");
}

#[test]
fn every_value_is_shown_with_its_source() {
    let (state, _temp) = state();
    let mut configuration = Configuration::open(&state, DEVICE, &own("[report]\nframe_secs = 120"));
    configuration.apply(told(7), &NOW, None);
    let mut text = String::new();
    configuration.told(&NOW).write_text(&mut text).unwrap();
    for line in [
        "revision 7\n",
        "sample_interval_secs = 30 (the county)\n",
        "frame_interval_secs = 120 (agent.toml)\n",
        "inventory_interval_secs = 86400 (built in)\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_live_look_ends_by_itself_and_is_not_kept() {
    let (state, _temp) = state();
    let mut configuration = Configuration::open(&state, DEVICE, &Config::default());
    let live =
        wire::Live { sample_interval_secs: 5, frame_interval_secs: 5, until_unix_secs: NOW_SECS + 600 };
    let looked_at = wire::Config { live: Some(live), ..told(7) };
    assert!(is_applied(&configuration.apply(looked_at.clone(), &NOW, None)));
    let intervals = configuration.in_force().intervals();
    assert_eq!([intervals.reading, intervals.sample, intervals.frame], [Duration::from_secs(5); 3]);
    assert_eq!(configuration.live_ends(), Some(later(600).mono_micros));
    // It survives a reconnect: told again, it ends when it would have ended.
    assert!(is_applied(&configuration.apply(looked_at.clone(), &later(60), None)));
    assert_eq!(configuration.live_ends(), Some(later(600).mono_micros));
    assert!(!configuration.end_live(later(599).mono_micros));
    assert!(configuration.end_live(later(600).mono_micros));
    assert_eq!(configuration.in_force().intervals().sample, Duration::from_secs(30));
    assert!(is_applied(&configuration.apply(looked_at.clone(), &later(601), None)), "too late to begin");
    assert_eq!(configuration.live_ends(), None);
    configuration.apply(looked_at, &NOW, None);
    let restarted = Configuration::open(&state, DEVICE, &Config::default());
    assert_eq!((restarted.revision(), restarted.live_ends()), (7, None));
}

#[test]
fn it_is_quiet_within_a_lesson_and_never_after_the_last_one_known() {
    let (state, _temp) = state();
    let mut configuration = Configuration::open(&state, DEVICE, &Config::default());
    assert_eq!(configuration.quiet_until(&NOW), None);
    let lesson = |from, to| wire::Span { from_unix_secs: NOW_SECS + from, to_unix_secs: NOW_SECS + to };
    let lessons = vec![lesson(-3_600, 3_600), lesson(7_200, 10_800)];
    assert!(is_applied(&configuration.apply(wire::Config { lessons, ..told(7) }, &NOW, None)));
    assert_eq!(configuration.quiet_until(&NOW), Some(later(3_600).mono_micros));
    assert_eq!(configuration.quiet_until(&later(3_600)), None, "the bell");
    assert_eq!(configuration.quiet_until(&later(7_200)), Some(later(10_800).mono_micros));
    assert_eq!(configuration.quiet_until(&later(30 * 86_400)), None, "the county was not heard for a month");
}

#[test]
fn secrets_are_the_agents_alone_printed_nowhere_and_gone_when_withdrawn() {
    const CANARY: &[u8] = b"swordfish-4711";
    let (state, temp) = state();
    let mut configuration = Configuration::open(&state, DEVICE, &Config::default());
    let secret = wire::Secret { name: "projector/1/password".to_owned(), value: CANARY.to_vec() };
    configuration.apply(wire::Config { secrets: vec![secret], ..told(7) }, &NOW, None);
    let mut shown = String::new();
    configuration.told(&NOW).write_text(&mut shown).unwrap();
    assert!(shown.contains("projector/1/password"), "{shown}");
    let printed = format!("{configuration:?} {shown} {:?}", configuration.told(&NOW));
    assert!(!printed.contains("swordfish"), "{printed}");
    assert!(!printed.contains(&format!("{:?}", CANARY).replace(['[', ']'], "")), "nor as numbers: {printed}");
    let holders = || -> Vec<String> {
        let files = fs::read_dir(state.configuration()).unwrap().map(|file| file.unwrap().path());
        let holds = |path: &std::path::PathBuf| {
            fs::read(path).unwrap().windows(CANARY.len()).any(|window| window == CANARY)
        };
        files.filter(holds).map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(holders(), ["in_force"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(kept::path(&state)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = Configuration::open(&state, DEVICE, &Config::default());
    assert_eq!(again.told.secrets[0].value, CANARY, "whoever asks the projector has it after a restart");
    configuration.apply(told(8), &NOW, None);
    assert!(holders().is_empty());
    drop(temp);
}

#[test]
fn the_first_value_that_cannot_be_taken_is_named_with_the_reason() {
    let with = |change: fn(&mut wire::Config)| {
        let mut config = told(7);
        change(&mut config);
        rejection(config)
    };
    /// The key and the reason that are told of what was changed.
    type Case = (&'static str, &'static str, fn(&mut wire::Config));
    let cases: [Case; 8] = [
        ("sample_interval_secs", "4 is not from 5 to 86400", |config| {
            config.values.as_mut().unwrap().sample_interval_secs = Some(4);
        }),
        ("inventory_interval_secs", "60 is not", |config| {
            config.values.as_mut().unwrap().inventory_interval_secs = Some(60);
        }),
        ("spool_max_bytes", "more than half of the disk", |config| {
            config.values.as_mut().unwrap().spool_max_bytes = Some((1 << 29) + 1);
        }),
        ("lessons", "no lesson", |config| {
            config.lessons = vec![wire::Span { from_unix_secs: NOW_SECS, to_unix_secs: NOW_SECS }];
        }),
        ("lessons", "three weeks ahead", |config| {
            let from_unix_secs = NOW_SECS + 30 * 86_400;
            config.lessons = vec![wire::Span { from_unix_secs, to_unix_secs: from_unix_secs + 60 }];
        }),
        ("live.sample_interval_secs", "1 is not from 5", |config| {
            let until_unix_secs = NOW_SECS + 60;
            config.live =
                Some(wire::Live { sample_interval_secs: 1, frame_interval_secs: 5, until_unix_secs });
        }),
        ("live.until_unix_secs", "longer than 30 minutes", |config| {
            let until_unix_secs = NOW_SECS + 2 * 3_600;
            config.live =
                Some(wire::Live { sample_interval_secs: 5, frame_interval_secs: 5, until_unix_secs });
        }),
        ("secrets", "projector/1/password has 0 bytes", |config| {
            config.secrets = vec![wire::Secret { name: "projector/1/password".to_owned(), value: vec![] }];
        }),
    ];
    for (key, reason, change) in cases {
        let rejected = with(change);
        assert_eq!(rejected.key, key);
        assert!(rejected.reason.contains(reason), "{}", rejected.reason);
    }
}
