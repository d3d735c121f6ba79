//! From a batch to its verdicts: check, deduplicate, merge, commit, and only then decide.

pub mod in_flight;
pub mod sessions;
pub mod speed;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bbt_domain::{
    access::Actor,
    ids::{DeviceId, RunId},
    report::{Body, Contact, Decision, Report},
};
use bbt_proto::report::v1::{Ack, Code, Verdict};
use bbt_store::{
    Receipt, StoreError, Tx,
    certificates::{CertificateRefusal, certificate_use},
    recognition::canary_kept,
    reports::{Delivery, Opening, Started, Whose, reports_commit, reports_quarantine, session_start},
};

use crate::{
    config::Limits,
    context::{Context, new_id},
    grpc::convert::BODY_BYTES,
    listen::{DevicePeer, refusals::Refusals},
    pki::{
        revoke::Denylist,
        signed_time::{SharedSigner, TimeSigner},
    },
    tasks::fault_analysis::Heard,
};
use in_flight::InFlight;
use sessions::Sessions;
use speed::Speeds;

/// A device whose reports could not be stored asks again after this long.
const RETRY_AFTER_MS: u32 = 5_000;

/// Takes reports of all devices.
pub struct Ingest {
    /// Store, clock, county.
    pub context: Arc<Context>,
    /// Who may not report.
    pub denylist: Arc<Denylist>,
    /// Who was turned away.
    pub refusals: Arc<Refusals>,
    /// Signs the time in each answer.
    pub signer: SharedSigner,
    /// Open streams.
    pub sessions: Arc<Sessions>,
    /// What was taken.
    pub counters: Counters,
    /// Told of each committed batch.
    pub heard: Arc<Heard>,
    /// Bytes under way.
    pub in_flight: InFlight,
    /// How fast each device may go.
    pub speeds: Speeds,
}

/// What was taken since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reports stored.
    pub committed: AtomicU64,
    /// Reports that were stored before.
    pub duplicate: AtomicU64,
    /// Reports set aside as unreadable.
    pub quarantined: AtomicU64,
    /// Reports that break a limit or are of another device.
    pub refused: AtomicU64,
    /// Batches that could not be stored.
    pub failed: AtomicU64,
    /// Batches of history for which there was no room.
    pub shed: AtomicU64,
    /// Microseconds from a batch's arrival to its commit, all batches together.
    pub commit_micros: AtomicU64,
    /// Batches decided.
    pub batches: AtomicU64,
}

/// A batch that waits for its commit.
pub struct Submitted {
    device: DeviceId,
    told_state: bool,
    /// Run and number of each report, in order, and the decision of those that need no store.
    reports: Vec<(RunId, u64, Option<Decision>)>,
    receipt: Result<Receipt<Vec<Decision>>, StoreError>,
    at: Instant,
}

impl Ingest {
    /// Ready to take reports.
    pub fn new(
        context: Arc<Context>,
        denylist: Arc<Denylist>,
        refusals: Arc<Refusals>,
        signer: SharedSigner,
        limits: &Limits,
        heard: Arc<Heard>,
    ) -> Self {
        let in_flight = InFlight::new(limits.in_flight_bytes);
        let speeds = Speeds::new(limits);
        let sessions = Arc::new(Sessions::default());
        Self {
            context,
            denylist,
            refusals,
            signer,
            sessions,
            counters: Counters::default(),
            heard,
            in_flight,
            speeds,
        }
    }

    /// Says whose stream it is that shows the identity of a device, and records it if it is the device's; unless its
    /// certificate is not good for that.
    pub async fn session_start(
        &self,
        peer: DevicePeer,
        opening: Opening,
    ) -> Result<Result<Started, CertificateRefusal>, StoreError> {
        let (now, actor) = (self.context.now(), Actor::Device(peer.device));
        let start = move |tx: &mut Tx<'_>| match certificate_use(tx, &actor, peer.serial, now)? {
            Ok(()) => session_start(tx, &actor, &opening, now).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        };
        self.context.store.write(start).await
    }

    /// Records that a device has a canary on its disk. It is told a new one at each session, so a lost record is no
    /// harm.
    pub async fn canary_kept(&self, device: DeviceId, number: u64) {
        let kept = self.context.store.write(move |tx| canary_kept(tx, &Actor::Device(device), number)).await;
        if let Err(error) = kept {
            tracing::warn!(device.id = %device, %error, "the device's canary could not be recorded");
        }
    }

    /// Queues a batch. Batches of one device, and so of one stream, are committed in the order of these calls.
    pub async fn submit(
        &self,
        device: DeviceId,
        started: Started,
        session_run: RunId,
        reports: Vec<Report>,
        contact: Contact,
    ) -> Submitted {
        let at = Instant::now();
        let named = reports.iter().map(|report| (report.run, report.seq, over_limit(report))).collect();
        let reports: Vec<Report> =
            reports.into_iter().filter(|report| over_limit(report).is_none()).collect();
        let told_state = reports.iter().any(|report| matches!(report.body, Body::State(_)));
        let Started { school, whose } = started;
        let row_ids = reports.iter().map(|_| new_id(contact.received)).collect();
        let delivery = Delivery { reports, row_ids, contact, session_run, school };
        let commit = move |tx: &mut Tx<'_>| match whose {
            Whose::Device(_) => reports_commit(tx, &Actor::Device(device), &delivery),
            Whose::Clone => reports_quarantine(tx, &Actor::Device(device), &delivery),
        };
        let receipt = self.context.store.submit(*device.as_bytes(), commit).await;
        Submitted { device, told_state, reports: named, receipt, at }
    }

    /// Waits for a batch's commit and puts what became of it into words, with the time of its stream's signer.
    pub async fn decided(&self, submitted: Submitted, signer: &TimeSigner) -> Ack {
        let committed = match submitted.receipt {
            Ok(receipt) => receipt.committed().await,
            Err(error) => Err(error),
        };
        let time = signer.shared();
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        let mut decisions = match committed {
            Ok(decisions) => decisions.into_iter(),
            Err(error) => {
                tracing::error!(%error, "reports could not be stored; the device keeps them");
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                return Ack { verdicts: Vec::new(), retry_after_ms: RETRY_AFTER_MS, time };
            }
        };
        self.heard.report(submitted.device, submitted.told_state);
        let micros = u64::try_from(submitted.at.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.commit_micros.fetch_add(micros, Ordering::Relaxed);

        let mut verdicts: Vec<Verdict> = Vec::with_capacity(1);
        let mut retry_after_ms = 0;
        for (run, seq, decided) in submitted.reports {
            let decision = decided.or_else(|| decisions.next()).unwrap_or(Decision::Later);
            let (code, reason) = match decision {
                Decision::Committed => (Code::Committed, String::new()),
                Decision::Duplicate => (Code::Duplicate, String::new()),
                Decision::Quarantined(reason) => (Code::Quarantined, reason),
                Decision::Rejected(reason) => (Code::Rejected, reason),
                Decision::OtherIdentity => (Code::OtherIdentity, String::new()),
                Decision::Later => {
                    retry_after_ms = RETRY_AFTER_MS;
                    continue;
                }
            };
            self.count(code);
            extend(&mut verdicts, run, seq, code, reason);
        }
        Ack { verdicts, retry_after_ms, time }
    }

    /// The answer to a batch of history for which there is no room now.
    pub fn later(&self, signer: &TimeSigner) -> Ack {
        self.counters.shed.fetch_add(1, Ordering::Relaxed);
        let time = signer.shared();
        Ack { verdicts: Vec::new(), retry_after_ms: RETRY_AFTER_MS, time }
    }

    fn count(&self, code: Code) {
        let counter = match code {
            Code::Committed => &self.counters.committed,
            Code::Duplicate => &self.counters.duplicate,
            Code::Quarantined => &self.counters.quarantined,
            _ => &self.counters.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Joins a decision to the last verdict when it continues it without a hole, else begins one.
fn extend(verdicts: &mut Vec<Verdict>, run: RunId, seq: u64, code: Code, reason: String) {
    if let Some(last) = verdicts.last_mut()
        && last.run_id == run.as_bytes()
        && last.last_seq + 1 == seq
        && last.code == i32::from(code)
        && last.reason == reason
    {
        last.last_seq = seq;
        return;
    }
    let run_id = run.as_bytes().to_vec();
    verdicts.push(Verdict { run_id, first_seq: seq, last_seq: seq, code: code.into(), reason });
}

/// The limit that a report breaks, if it does.
fn over_limit(report: &Report) -> Option<Decision> {
    let bytes = match &report.body {
        Body::Samples(bytes) | Body::Unreadable { bytes, .. } => bytes.len(),
        Body::State(_) | Body::Usage { .. } | Body::Gap(_) => return None,
    };
    (bytes > BODY_BYTES)
        .then(|| Decision::Rejected(format!("its body has {bytes} bytes, {BODY_BYTES} are the most")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_never_covers_a_hole() {
        let run = RunId::from_bytes([1; 16]);
        let mut verdicts = Vec::new();
        for (seq, code) in
            [(1, Code::Committed), (2, Code::Committed), (4, Code::Committed), (5, Code::Duplicate)]
        {
            extend(&mut verdicts, run, seq, code, String::new());
        }
        let spans: Vec<_> = verdicts.iter().map(|v| (v.first_seq, v.last_seq, v.code)).collect();
        assert_eq!(spans, [(1, 2, 1), (4, 4, 1), (5, 5, 2)]);
    }
}
