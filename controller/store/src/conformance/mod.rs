//! One exam for every engine: what the operations promise, asked of a real store.
//!
//! An exam is a plain function of an [`Exam`]; the list `exams![…]` at the head of its file makes a test of it on
//! each engine, and one that is in no list is dead code. Those on PostgreSQL need `BBT_TEST_POSTGRES`, the address
//! of a database in which they may make schemas; `tests/run.sh` starts a server and sets it. Without it they say
//! so and pass, unless `BBT_TEST_POSTGRES_REQUIRED` is set.

/// Makes tests of exams: `exams![one, two]` on both engines, `exams![on postgres: three]` on one.
macro_rules! exams {
    (on $engine:ident: $($exam:ident),+ $(,)?) => {
        mod $engine {
            $(
                #[tokio::test]
                async fn $exam() {
                    crate::conformance::$engine(super::$exam).await;
                }
            )+
        }
    };
    ($($exam:ident),+ $(,)?) => {
        exams![on sqlite: $($exam),+];
        exams![on postgres: $($exam),+];
    };
}

mod admissions;
mod backup;
mod certificates;
mod clones;
mod enrollment;
mod faults;
mod ledger;
mod place;
mod reconciliation;
mod reports;
mod server;
mod sets;
mod sqlite_file;
mod store;
mod twins;
mod usage;

use bbt_domain::{
    access::Actor,
    identity::{Evidence, TrustDomain},
    ids::{AdmissionId, DeviceId, Incarnation, SchoolId, SetId, TokenId},
    org::SchoolCode,
    set_code::SetCode,
    time::UtcMicros,
};
use serde_json::json;

use crate::{
    Store, StoreError, Tx,
    audit::audit_note,
    certificates::NewCertificate,
    enrollment::{Admitted, Enrolled, Enrolling, NewToken, TokenRefusal, device_enroll, token_create},
    meta::{County, county_create},
    params,
    schools::school_add,
    sets::NewSet,
};
use place::Place;

/// When every exam begins.
pub(super) const START: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);

/// The set that the device `device` gets.
pub(super) fn new_set(device: u8) -> NewSet {
    NewSet { id: SetId::from_bytes([device; 16]), codes: vec![SetCode::from_random(u32::from(device))] }
}

/// Sits an exam on a file.
async fn sqlite<F: Future<Output = ()>>(exam: impl FnOnce(Exam) -> F) {
    exam(Exam::begin(Place::folder()).await).await;
}

/// Sits an exam on the server, if there is one.
async fn postgres<F: Future<Output = ()>>(exam: impl FnOnce(Exam) -> F) {
    if let Some(place) = Place::schema() {
        exam(Exam::begin(place).await).await;
    }
}

/// Notes a step that no program of today knows.
fn become_newer(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let sql = "INSERT INTO schema_migration (version, checksum, applied_us) VALUES (99, $1, 0)";
    tx.execute(sql, params![vec![0_u8; 32]])
}

/// Reads a number, writes the next, and adds a line to the audit: what goes wrong unless it is done alone.
fn count_up(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let found = tx.query_first("SELECT value FROM meta WHERE key = 'count'", params![], |row| row.text(0))?;
    let next = found.map_or(1, |text| text.parse::<i64>().expect("a number") + 1);
    tx.execute("DELETE FROM meta WHERE key = 'count'", params![])?;
    tx.execute("INSERT INTO meta (key, value) VALUES ('count', $1)", params![next.to_string()])?;
    audit_note(tx, &Actor::System("exam"), "count", &next.to_string(), &json!({}), START)?;
    Ok(next)
}

/// A store in a place of its own with one school. The place goes when the exam is over.
pub(super) struct Exam {
    pub(super) store: Store,
    place: Place,
}

impl Exam {
    /// A county with the school `T1`.
    async fn begin(place: Place) -> Self {
        let exam = Self { store: place.open().expect("a store"), place };
        let county = County {
            name: "梁河县".into(),
            trust_domain: TrustDomain::from_random([1; 16]),
            incarnation: Incarnation::from_bytes([2; 16]),
            created_at: START,
        };
        exam.store
            .write(move |tx| {
                county_create(tx, &county)?;
                let code = SchoolCode::parse("T1").expect("a code");
                school_add(tx, &Actor::Local, SchoolId::from_bytes([3; 16]), &code, "测试小学", START)
            })
            .await
            .expect("a school");
        exam
    }

    /// Closes the store and opens it again.
    pub(super) fn reopen(self) -> Self {
        let Self { store, place } = self;
        drop(store);
        Self { store: place.open().expect("a store"), place }
    }

    /// A token of `uses`; its secret's hash is 32 times `secret`.
    pub(super) async fn token(&self, secret: u8, uses: u32, expires_at: UtcMicros) {
        let token = NewToken {
            id: TokenId::from_bytes([secret; 16]),
            secret_sha256: [secret; 32],
            school: SchoolCode::parse("T1").expect("a code"),
            uses,
            expires_at,
        };
        self.store.write(move |tx| token_create(tx, &Actor::Local, &token, START)).await.expect("a token");
    }

    /// Enrols `key` with the token, as the device `device` if it is new; nothing is known of its hardware.
    pub(super) async fn enroll(
        &self,
        secret: u8,
        key: u8,
        device: u8,
        now: UtcMicros,
    ) -> Result<Enrolled, TokenRefusal> {
        match self.admit(secret, key, device, vec![], now).await? {
            Admitted::Device(enrolled) => Ok(enrolled),
            Admitted::Waiting(waiting) => panic!("it waits: {waiting:?}"),
        }
    }

    /// The same for a PC that shows `evidence`, while no stream is open.
    pub(super) async fn admit(
        &self,
        secret: u8,
        key: u8,
        device: u8,
        evidence: Vec<Evidence>,
        now: UtcMicros,
    ) -> Result<Admitted, TokenRefusal> {
        let enrolling = Enrolling {
            secret_sha256: [secret; 32],
            key_sha256: [key; 32],
            device: DeviceId::from_bytes([device; 16]),
            set: new_set(device),
            certificate: NewCertificate {
                serial: uuid::Uuid::new_v4().into_bytes(),
                not_before: now,
                not_after: now,
            },
            evidence,
            admission: AdmissionId::from_bytes([key; 16]),
            host_name: "bgs-01".into(),
            agent_version: "0.1.0".into(),
            peer: "192.0.2.1".into(),
        };
        let admitted = self
            .store
            .write(move |tx| device_enroll(tx, &Actor::Anonymous, &enrolling, &|_| false, now))
            .await;
        admitted.expect("the store works")
    }

    /// An enrolled device.
    pub(super) async fn device(&self, device: u8) -> DeviceId {
        self.token(device, 1, START.plus(std::time::Duration::from_secs(60))).await;
        self.enroll(device, device, device, START).await.expect("a device").device
    }
}
