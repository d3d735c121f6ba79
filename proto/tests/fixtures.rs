//! `fixtures/<version>` holds the bytes of messages as that version wrote them. A later build still reads them
//! as the same message, and still writes them so. Refresh (only for a version that is not released yet) with
//! `BBT_REGENERATE=1 cargo test -p bbt-proto --test fixtures`.

use std::{fmt::Debug, fs, path::Path};

use bbt_proto::{enrollment::v1 as enrollment, report::v1 as report};
use prost::Message;

fn check<M: Message + Default + PartialEq + Debug>(name: &str, message: &M) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/0.1").join(format!("{name}.bin"));
    if std::env::var_os("BBT_REGENERATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, message.encode_to_vec()).expect("written");
    }
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&M::decode(bytes.as_slice()).expect("readable"), message, "{name} is read as it was meant");
    assert_eq!(bytes, message.encode_to_vec(), "{name} is written as it was");
}

fn time() -> enrollment::SignedTime {
    enrollment::SignedTime {
        unix_micros: 1_790_000_000_000_000,
        nonce: vec![9; 16],
        signature: vec![0x30; 70],
    }
}

fn boot() -> report::OsBoot {
    report::OsBoot { id: vec![4; 16], started_mono_micros: 0, clean_stop: Some(false) }
}

fn frame(kind: report::Kind, class: report::Class, body: Vec<u8>) -> report::Frame {
    report::Frame {
        run_id: vec![1; 16].into(),
        seq: 42,
        class: class.into(),
        device_id: vec![2; 16].into(),
        os_boot: Some(boot()),
        wall_micros: 1_262_304_000_000_000,
        mono_micros: 600_000_000,
        kind: kind.into(),
        body: body.into(),
    }
}

#[test]
fn enrolment_messages_keep_their_bytes() {
    check(
        "hello_response",
        &enrollment::HelloResponse {
            protocol_revision: 1,
            nonce: vec![5; 16],
            time: Some(time()),
            signer_chain: vec![vec![0x30, 0x82], vec![0x30, 0x83]],
            trust_domain: format!("{}.bbt", "ab".repeat(16)),
        },
    );
    check(
        "enroll_request",
        &enrollment::EnrollRequest {
            protocol_revision: 1,
            nonce: vec![5; 16],
            token: "bbt-0123456789abcdefghjkmnpqrstvwxyz".into(),
            certificate_request: vec![0x30, 0x81],
            evidence: vec![enrollment::Evidence {
                kind: enrollment::EvidenceKind::BoardSerial.into(),
                value: "DEFAULT STRING".into(),
                junk: true,
            }],
            agent_version: "0.1.0".into(),
            host_name: "pc-201".into(),
        },
    );
    check(
        "enroll_response_approved",
        &enrollment::EnrollResponse {
            outcome: Some(enrollment::enroll_response::Outcome::Approved(enrollment::Approved {
                device_id: vec![2; 16],
                certificate_chain: vec![vec![0x30]],
                agent_addresses: vec!["203.0.113.7:7443".into()],
                trust_domain: format!("{}.bbt", "ab".repeat(16)),
                school_name: "梁河县第一中学".into(),
            })),
        },
    );
    check(
        "enroll_response_pending",
        &enrollment::EnrollResponse {
            outcome: Some(enrollment::enroll_response::Outcome::Pending(enrollment::Pending {
                reason: String::new(),
                retry_after_secs: 600,
            })),
        },
    );
}

#[test]
fn stream_messages_keep_their_bytes() {
    check(
        "open",
        &report::StreamRequest {
            body: Some(report::stream_request::Body::Open(report::Open {
                canary: 0,
                protocol_revision: 1,
                run_id: vec![1; 16],
                device_id: vec![2; 16],
                os_boot: Some(boot()),
                agent_version: "0.1.0".into(),
                sent_wall_micros: 1_262_304_000_000_000,
                sent_mono_micros: 600_000_000,
                evidence: vec![],
                config_revision: 0,
                backlog_frames: 7,
                backlog_bytes: 4_096,
            })),
        },
    );
    check(
        "welcome",
        &report::StreamResponse {
            body: Some(report::stream_response::Body::Welcome(report::Welcome {
                canary: 0,
                identity: 0,
                incarnation: vec![6; 16],
                time: Some(time()),
                signer_chain: vec![vec![0x30]],
                contact_window_secs: 25,
                max_undecided_batches: 4,
                max_undecided_bytes: 262_144,
            })),
        },
    );
    check(
        "ack",
        &report::StreamResponse {
            body: Some(report::stream_response::Body::Ack(report::Ack {
                verdicts: vec![
                    report::Verdict {
                        run_id: vec![1; 16],
                        first_seq: 1,
                        last_seq: 7,
                        code: report::Code::Committed.into(),
                        reason: String::new(),
                    },
                    report::Verdict {
                        run_id: vec![1; 16],
                        first_seq: 9,
                        last_seq: 9,
                        code: report::Code::Quarantined.into(),
                        reason: "the state cannot be read".into(),
                    },
                ],
                retry_after_ms: 5_000,
                time: Some(time()),
            })),
        },
    );
}

#[test]
fn configurations_keep_their_bytes_and_their_secrets() {
    let config = report::Config {
        revision: 1_790_000_007,
        values: Some(report::Values {
            sample_interval_secs: Some(30),
            frame_interval_secs: Some(300),
            inventory_interval_secs: Some(86_400),
            spool_max_bytes: Some(64 << 20),
            spool_max_age_secs: Some(30 * 86_400),
        }),
        lessons: vec![report::Span { from_unix_secs: 1_790_035_200, to_unix_secs: 1_790_067_600 }],
        live: Some(report::Live {
            sample_interval_secs: 5,
            frame_interval_secs: 5,
            until_unix_secs: 1_790_000_600,
        }),
        secrets: vec![report::Secret { name: "projector/1/password".into(), value: b"swordfish".to_vec() }],
    };
    let printed = format!("{config:?}");
    assert!(printed.contains("projector/1/password") && !printed.contains("swordfish"), "{printed}");
    assert!(!printed.contains("115, 119"), "not as numbers either: {printed}");
    check("config", &report::StreamResponse { body: Some(report::stream_response::Body::Config(config)) });
    let outcome = |outcome| report::StreamRequest {
        body: Some(report::stream_request::Body::ConfigOutcome(report::ConfigOutcome {
            revision: 1_790_000_007,
            outcome: Some(outcome),
        })),
    };
    check("config_applied", &outcome(report::config_outcome::Outcome::Applied(true)));
    check(
        "config_rejected",
        &outcome(report::config_outcome::Outcome::Rejected(report::Rejected {
            key: "spool_max_bytes".into(),
            reason: "is more than half of the disk".into(),
        })),
    );
}

#[test]
fn frames_keep_their_bytes() {
    let state = report::State {
        full: true,
        hardware: Some(report::Hardware {
            problems: vec![report::Problem {
                item: "board.serial".into(),
                code: "permission_denied".into(),
                message: "Reading board_serial needs root.".into(),
            }],
            processors: vec![report::Processor {
                model: Some("Intel(R) Core(TM) i3-4170".into()),
                sockets: Some(1),
                cores: Some(2),
                threads: Some(4),
                ..Default::default()
            }],
            memory: Some(report::Memory { total_bytes: Some(8 << 30), ..Default::default() }),
            chassis_type: Some(3),
            ..Default::default()
        }),
        file_systems: Some(report::FileSystems {
            problems: vec![],
            file_systems: vec![report::FileSystem {
                mount_point: "/".into(),
                source: "/dev/sda1".into(),
                kind: "ext4".into(),
                size_bytes: Some(1 << 37),
                free_bytes: Some(1 << 33),
                read_only: false,
            }],
        }),
        ..Default::default()
    };
    check("frame_state", &frame(report::Kind::State, report::Class::State, state.encode_to_vec()));

    let samples = report::Samples {
        mono_micros: vec![60_000_000, 60_000_000, 60_000_000],
        columns: vec![report::Column {
            metric: report::Metric::ProcessorBusyPermille.into(),
            item: String::new(),
            min: vec![10, -5],
            mean: vec![20, -2],
            max: vec![900, 50],
            missing: vec![1],
        }],
    };
    check("frame_samples", &frame(report::Kind::Samples, report::Class::History, samples.encode_to_vec()));

    let gap = report::Gap {
        class: report::Class::History.into(),
        run_id: vec![3; 16],
        first_seq: 5,
        last_seq: 90,
        count: 80,
        from_wall_micros: 1_262_304_000_000_000,
        to_wall_micros: 1_262_307_600_000_000,
        reason: report::GapReason::SpoolFull.into(),
    };
    check("frame_gap", &frame(report::Kind::Gap, report::Class::State, gap.encode_to_vec()));

    let usage = report::Usage {
        corrected: true,
        slots: vec![
            report::UsageSlot { number: 5_966_666, unwatched_secs: 95, ..Default::default() },
            report::UsageSlot {
                number: 5_966_667,
                watched_secs: 290,
                active_secs: 180,
                idle_secs: 60,
                unknown_secs: 15,
                unwatched_secs: 10,
            },
        ],
    };
    check("frame_usage", &frame(report::Kind::Usage, report::Class::State, usage.encode_to_vec()));
}
