//! PCs that have the identity of a device, because its disk was copied to them, and ask with a key of their own.
//!
//! Who was told apart at a stream ([`crate::recognition`]) comes here by the old key's proof. Its evidence says whether
//! it is the device after all, a sibling that a person already spoke about, or one that waits.

use bbt_domain::{
    identity::{AdmissionKind, Policy, Ruling, Verdict, compare, judge},
    ids::{DeviceId, SchoolId},
    time::UtcMicros,
};

use crate::{
    StoreError, Tx,
    admissions::{Asking, Request, admission_note, admission_of, admission_reopen},
    certificates::Reattaching,
    recognition::{
        comes_back_frozen, device_row, evidence_of, evidence_record, evidence_weigh, is_clone_run, matches,
    },
};

/// Who asks for a certificate with the proof of an old key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The device.
    Device,
    /// Another device that the county knows.
    Known(DeviceId),
    /// A PC that becomes a device of its own.
    New,
    /// A person has to say.
    Waits,
    /// A person turned it away.
    Refused,
    /// Too many wait already.
    Crowded,
}

/// Who it is that proves an old key of `device`; what waits is written down, and what is the device's own.
pub(crate) fn claim_of(
    tx: &mut Tx<'_>,
    device: DeviceId,
    reattaching: &Reattaching,
    is_live: &dyn Fn(DeviceId) -> bool,
    now: UtcMicros,
) -> Result<(Claim, Option<Request>), StoreError> {
    let school = device_row(tx, device)?.school;
    let asking = asking_of(device, school, reattaching);
    let told_apart = match reattaching.run {
        Some(run) => is_clone_run(tx, device, run)?,
        None => false,
    };
    let known = evidence_of(tx, device)?;
    let known = evidence_weigh(tx, known)?;
    let shown = evidence_weigh(tx, asking.evidence.clone())?;
    let verdict = judge(&Policy::STANDARD, &compare(&Policy::STANDARD, &known, &shown));
    if !told_apart && matches!(verdict, Verdict::Same | Verdict::Unknown) {
        evidence_record(tx, device, &asking.evidence, now)?;
        return Ok((Claim::Device, None));
    }
    let request = admission_of(tx, &asking)?;
    let claim = match request.and_then(|request| Some((request, request.ruling?))) {
        Some((_, Ruling::Refused)) => Claim::Refused,
        Some((Request { decided_device: Some(decided), .. }, Ruling::Same)) if decided == device => {
            evidence_record(tx, device, &asking.evidence, now)?;
            Claim::Device
        }
        Some((request, Ruling::Same | Ruling::New)) => decided(tx, &asking, request, is_live, now)?,
        // As at its stream: it goes on, and a person is asked.
        None if verdict == Verdict::Ask && !told_apart => Claim::Device,
        None => {
            let likely = matches(tx, &shown, Some(device))?;
            match likely.iter().find(|found| comes_back_frozen(found, school, is_live)) {
                Some(found) => Claim::Known(found.device),
                None => waits(tx, &asking, now)?,
            }
        }
    };
    Ok((claim, request))
}

/// What follows of a ruling. Whoever comes with another key after it was carried out lost the first one: that happens
/// to frozen disks every night, and to others not without a person's knowledge.
fn decided(
    tx: &mut Tx<'_>,
    asking: &Asking,
    request: Request,
    is_live: &dyn Fn(DeviceId) -> bool,
    now: UtcMicros,
) -> Result<Claim, StoreError> {
    let Some(device) = request.decided_device else { return Ok(Claim::New) };
    if !request.taken || request.key_sha256 == asking.key_sha256 {
        return Ok(Claim::Known(device));
    }
    if device_row(tx, device)?.frozen && !is_live(device) {
        admission_note(tx, asking, now)?;
        return Ok(Claim::Known(device));
    }
    admission_reopen(tx, request.id)?;
    waits(tx, asking, now)
}

fn waits(tx: &mut Tx<'_>, asking: &Asking, now: UtcMicros) -> Result<Claim, StoreError> {
    Ok(if admission_note(tx, asking, now)? { Claim::Waits } else { Claim::Crowded })
}

fn asking_of(device: DeviceId, school: SchoolId, reattaching: &Reattaching) -> Asking {
    Asking {
        kind: AdmissionKind::Clone,
        id: reattaching.admission,
        device: Some(device),
        school,
        token: None,
        key_sha256: Some(reattaching.key_sha256),
        evidence: reattaching.evidence.clone(),
        host_name: String::new(),
        agent_version: reattaching.agent_version.clone(),
        address: reattaching.peer.clone(),
    }
}
