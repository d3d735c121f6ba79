//! One exam for every engine: what the operations promise, asked of a real store.

mod enrollment;
mod faults;
mod ledger;
mod reconciliation;
mod reports;
mod sets;
mod store;
mod usage;

use std::sync::Arc;

use bbt_domain::{
    access::Actor,
    identity::TrustDomain,
    ids::{DeviceId, Incarnation, SchoolId, SetId, TokenId},
    org::SchoolCode,
    set_code::SetCode,
    time::UtcMicros,
};

use crate::{
    Store,
    enrollment::{Enrolled, Enrolling, NewCertificate, NewToken, TokenRefusal, device_enroll, token_create},
    meta::{County, county_create},
    schools::school_add,
    sets::NewSet,
};

/// When every exam begins.
pub(super) const START: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);

/// The set that the device `device` gets.
pub(super) fn new_set(device: u8) -> NewSet {
    NewSet { id: SetId::from_bytes([device; 16]), codes: vec![SetCode::from_random(u32::from(device))] }
}

/// A store in a folder of its own with one school, and the folder that goes when it does.
pub(super) struct Exam {
    pub(super) store: Store,
    pub(super) folder: Arc<tempfile::TempDir>,
}

impl Exam {
    /// An empty county with the school `T1`.
    pub(super) async fn begin() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let exam = Self { store: open(&folder), folder };
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
        let Self { store, folder } = self;
        drop(store);
        Self { store: open(&folder), folder }
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

    /// Enrols `key` with the token, as the device `device` if it is new.
    pub(super) async fn enroll(
        &self,
        secret: u8,
        key: u8,
        device: u8,
        now: UtcMicros,
    ) -> Result<Enrolled, TokenRefusal> {
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
            evidence: vec![],
            peer: "192.0.2.1".into(),
        };
        let enrolled =
            self.store.write(move |tx| device_enroll(tx, &Actor::Anonymous, &enrolling, now)).await;
        enrolled.expect("the store works")
    }

    /// An enrolled device.
    pub(super) async fn device(&self, device: u8) -> DeviceId {
        self.token(device, 1, START.plus(std::time::Duration::from_secs(60))).await;
        self.enroll(device, device, device, START).await.expect("a device").device
    }
}

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("county.db"), START).expect("a store")
}
