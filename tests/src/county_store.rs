//! A county's store in this process, with a school and devices, for tests of the record itself: what a batch of
//! reports leaves in it, without controller and network.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use bbt_domain::{
    access::Actor,
    identity::TrustDomain,
    ids::{AdmissionId, BootId, DeviceId, Incarnation, RunId, SchoolId, SetId, TokenId},
    org::SchoolCode,
    report::{Body, Class, Contact, Decision, Report},
    set_code::SetCode,
    time::UtcMicros,
};
use bbt_store::{
    Receipt, Store,
    certificates::NewCertificate,
    enrollment::{Admitted, Enrolling, NewToken, device_enroll, token_create},
    meta::{County, county_create},
    reports::{Delivery, Opening, reports_commit, session_start},
    schools::school_add,
    sets::NewSet,
};
use uuid::Uuid;

use crate::county::{SCHOOL, SCHOOL_NAME};

/// When everything happens here.
const NOW: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);
const SCHOOL_ID: SchoolId = SchoolId::from_bytes([3; 16]);
/// The system's start in which all reports are made.
const BOOT: BootId = BootId::from_bytes([1; 16]);

/// The database in a county's folder.
pub const FILE_NAME: &str = "county.db";

/// A store that is open.
pub struct CountyStore {
    store: Store,
}

impl CountyStore {
    /// A new county's, in a folder that has none yet, with [`SCHOOL`].
    pub async fn create(folder: &Path) -> Result<Self> {
        let county = Self::open(folder)?;
        let named = County {
            name: "测试县".into(),
            trust_domain: TrustDomain::from_random([1; 16]),
            incarnation: Incarnation::from_bytes([2; 16]),
            created_at: NOW,
        };
        let code = school_code()?;
        let write = county.store.write(move |tx| {
            county_create(tx, &named)?;
            school_add(tx, &Actor::Local, SCHOOL_ID, &code, SCHOOL_NAME, NOW).map(drop)
        });
        write.await?;
        Ok(county)
    }

    /// The one in `folder`, or an empty one.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { store: Store::open(&folder.join(FILE_NAME), NOW)? })
    }

    /// Enrols the device no. `no`.
    pub async fn enroll(&self, no: u8) -> Result<DeviceId> {
        let code = school_code()?;
        let token = NewToken {
            id: TokenId::from_bytes([no; 16]),
            secret_sha256: [no; 32],
            school: code,
            uses: 1,
            expires_at: NOW.plus(Duration::from_secs(60)),
        };
        let enrolling = Enrolling {
            secret_sha256: [no; 32],
            key_sha256: [no; 32],
            device: DeviceId::from_bytes([no; 16]),
            set: NewSet { id: SetId::from_bytes([no; 16]), codes: vec![SetCode::from_random(u32::from(no))] },
            certificate: NewCertificate { serial: [no; 16], not_before: NOW, not_after: NOW },
            evidence: vec![],
            admission: AdmissionId::from_bytes([no; 16]),
            host_name: String::new(),
            agent_version: "test".into(),
            peer: "192.0.2.1".into(),
        };
        let enrolled = self.store.write(move |tx| {
            token_create(tx, &Actor::Local, &token, NOW)?;
            device_enroll(tx, &Actor::Anonymous, &enrolling, &|_| false, NOW)
        });
        match enrolled.await? {
            Ok(Admitted::Device(enrolled)) => Ok(enrolled.device),
            other => Err(anyhow!("not enrolled: {other:?}")),
        }
    }

    /// Makes `run` the one that changes the device's current state.
    pub async fn open_session(&self, device: DeviceId, run: RunId) -> Result<()> {
        let opening = Opening {
            run,
            boot: BOOT,
            clean_stop: None,
            agent_version: "test".into(),
            address: "192.0.2.1".into(),
            backlog_frames: 0,
            backlog_bytes: 0,
            clock_off_micros: 0,
            evidence: vec![],
            canary: 0,
            admission: AdmissionId::from_bytes([9; 16]),
        };
        let actor = Actor::Device(device);
        self.store
            .write(move |tx| session_start(tx, &actor, &opening, NOW).map(drop))
            .await
            .map_err(Into::into)
    }

    /// Hands in a batch that came on a stream of `session_run`; the receipt tells what became of it.
    pub async fn submit(
        &self,
        device: DeviceId,
        session_run: RunId,
        reports: Vec<Report>,
    ) -> Result<Receipt<Vec<Decision>>> {
        let delivery = Delivery {
            row_ids: reports.iter().map(|_| Uuid::new_v4().into_bytes()).collect(),
            reports,
            contact: Contact { received: NOW, sent_wall: NOW, sent_mono_micros: 2_000_000, boot: BOOT },
            session_run,
            school: SCHOOL_ID,
        };
        let actor = Actor::Device(device);
        let receipt = self.store.submit(*device.as_bytes(), move |tx| reports_commit(tx, &actor, &delivery));
        receipt.await.context("handing in a batch")
    }

    /// The same, committed.
    pub async fn deliver(
        &self,
        device: DeviceId,
        session_run: RunId,
        reports: Vec<Report>,
    ) -> Result<Vec<Decision>> {
        self.submit(device, session_run, reports).await?.committed().await.context("committing a batch")
    }
}

/// A report of a device.
pub fn report(device: DeviceId, run: RunId, seq: u64, body: Body) -> Report {
    Report {
        run,
        seq,
        class: if matches!(body, Body::Samples(_)) { Class::History } else { Class::State },
        device,
        boot: BOOT,
        clean_stop: None,
        wall: NOW,
        mono_micros: 1_000_000 + seq as i64,
        body,
    }
}

fn school_code() -> Result<SchoolCode> {
    SchoolCode::parse(SCHOOL).map_err(|error| anyhow!("{error:?}"))
}
