//! Keeps the device able to prove itself, as a task beside the uplink: the time, renewal, re-attachment.
//!
//! The two meet in two watched values. The uplink reads the [`Credentials`] in force before each attempt, and tries
//! at once when they were announced anew. This task reads from the [`Link`] what an attempt was refused for, and does
//! something about what concerns validity. Whether it helped, only the next stream can tell: the pauses between acts
//! grow until one is open and nothing more is needed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bbt_proto::enrollment::v1::Evidence;
use rustls::ClientConfig;
use tokio::sync::watch;

use super::{
    Identity, IdentityError, certificate, clock::Clock, hello, keystore, next, reattach::reattach, renew,
    trust,
};
use crate::{
    folder::Folder,
    platform::Platform,
    uplink::{
        Link, Phase,
        backoff::{self, Backoff},
        refusal::{Patience, Refusal},
        session::OF_ANOTHER,
    },
};

/// Timers do not count through sleep, so the time is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Who the device is now, and the secure connection that shows it.
#[derive(Debug)]
pub struct Credentials {
    /// With the certificate in force.
    pub identity: Identity,
    /// To the agents' listener.
    pub tls: Arc<ClientConfig>,
}

impl Credentials {
    /// An error when key and certificate are no pair.
    pub fn new(identity: Identity, clock: &Arc<Clock>) -> Result<Credentials, rustls::Error> {
        let tls = trust::device_config(&identity, clock.clone())?;
        Ok(Credentials { identity, tls })
    }
}

/// How the certificate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its end.
    pub valid_until_micros: i64,
    /// When it is to be renewed.
    pub renewal_due_micros: i64,
    /// Why the last act failed; none when nothing is in the way.
    pub refusal: Option<Refusal>,
}

impl Standing {
    fn of(identity: &Identity) -> Standing {
        Standing {
            valid_until_micros: identity.valid_secs.1.saturating_mul(1_000_000),
            renewal_due_micros: renew::due_micros(identity),
            refusal: None,
        }
    }
}

/// What has to be done, the first thing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The county has to be asked for the time.
    Time,
    /// A next pair is on disk and not proved, or its proof was cut off.
    Proof,
    /// The certificate in force is no longer taken.
    Reattachment,
    /// The certificate is to be renewed.
    Renewal,
}

/// The task.
#[derive(Debug)]
pub struct Upkeep {
    state: Folder,
    platform: Arc<dyn Platform>,
    clock: Arc<Clock>,
    evidence: Vec<Evidence>,
    run_id: [u8; 16],
    credentials: watch::Sender<Arc<Credentials>>,
    standing: watch::Sender<Standing>,
    has_next: bool,
    /// The county said that the identity is another PC's, and no stream was opened since: a line that broke in between
    /// changes nothing about that.
    is_of_another: bool,
    backoff: Backoff,
    resting_until: Instant,
}

impl Upkeep {
    /// For the credentials that a start begins with. `evidence` is what the machine is recognised by, `run_id` names
    /// the start.
    pub fn new(
        state: &Folder,
        platform: Arc<dyn Platform>,
        clock: Arc<Clock>,
        (evidence, run_id): (Vec<Evidence>, [u8; 16]),
        credentials: Credentials,
    ) -> Upkeep {
        let standing = Standing::of(&credentials.identity);
        Upkeep {
            state: state.clone(),
            platform,
            clock,
            evidence,
            run_id,
            credentials: watch::Sender::new(Arc::new(credentials)),
            standing: watch::Sender::new(standing),
            has_next: next::is_whole(state),
            is_of_another: false,
            backoff: Backoff::default(),
            resting_until: Instant::now(),
        }
    }

    /// The credentials in force.
    pub fn credentials(&self) -> watch::Receiver<Arc<Credentials>> {
        self.credentials.subscribe()
    }

    /// How the certificate stands.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Goes on until it is dropped, or until there is no uplink any more.
    pub async fn run(mut self, mut link: watch::Receiver<Link>) {
        loop {
            let seen = link.borrow_and_update().clone();
            let pause = self.look(&seen).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => (),
                changed = link.changed() => if changed.is_err() {
                    return;
                }
            }
        }
    }

    /// Does what is needed now, if it is time for it; returns how long there is nothing to do.
    pub(super) async fn look(&mut self, link: &Link) -> Duration {
        match (&link.phase, &link.refusal) {
            (Phase::Connected { .. }, _) => self.is_of_another = false,
            (_, Some(refusal)) if refusal.code == OF_ANOTHER => self.is_of_another = true,
            _ => {}
        }
        let Some(need) = self.need(link) else {
            if matches!(link.phase, Phase::Connected { .. }) {
                self.backoff.succeeded();
                self.resting_until = Instant::now();
                self.tell(None);
            }
            return self.until_due();
        };
        let rest = self.resting_until.saturating_duration_since(Instant::now());
        if !rest.is_zero() {
            return rest;
        }
        let refusal = self.act(need).await.err();
        let chance = self.chance();
        // What was learnt may ask for something else, which nobody has to wait for.
        let same = self.need(link) == Some(need);
        let patience = refusal.as_ref().filter(|_| same).and_then(|refusal| refusal.patience.pause(chance));
        let pause = patience.unwrap_or_else(|| self.backoff.failed(chance));
        self.resting_until = Instant::now() + pause;
        self.tell(refusal);
        pause
    }

    pub(super) fn need(&self, link: &Link) -> Option<Need> {
        // What was refused is news only until the next attempt is made.
        let refused = match (&link.phase, &link.refusal) {
            (Phase::Waiting { .. }, Some(refusal)) => refusal.code,
            _ => "",
        };
        let now = self.clock.stamp();
        let standing = self.standing.borrow();
        let is_past = |moment: i64| now.signed && now.guarded_micros >= moment;
        if refused == "time_wrong" || self.clock.is_disputed() {
            Some(Need::Time)
        } else if self.has_next {
            Some(Need::Proof)
        } else if matches!(refused, "certificate_expired" | "certificate_superseded")
            || self.is_of_another
            || is_past(standing.valid_until_micros)
        {
            Some(Need::Reattachment)
        } else if is_past(standing.renewal_due_micros) {
            Some(Need::Renewal)
        } else {
            None
        }
    }

    async fn act(&mut self, need: Need) -> Result<(), Refusal> {
        let in_force = self.credentials.borrow().clone();
        match need {
            Need::Time => {
                let Identity { enrolment_address, root, .. } = &in_force.identity;
                hello::ask_time(enrolment_address, *root, self.platform.as_ref(), &self.clock).await?;
                tracing::info!("the county told the time");
                self.credentials.send_modify(|_| ());
                return Ok(());
            }
            Need::Proof => (),
            Need::Renewal => self.renew(&in_force).await?,
            Need::Reattachment => self.reattach(&in_force.identity).await?,
        }
        self.prove().await
    }

    /// Steps 1 and 2 of [`next`], by renewal.
    async fn renew(&mut self, in_force: &Credentials) -> Result<(), Refusal> {
        let (request, public_key) = self.request()?;
        let chain = renew::renew(&in_force.identity, &in_force.tls, request, &public_key).await?;
        self.keep(&chain)
    }

    /// Steps 1 and 2 of [`next`], by proof of the old key.
    async fn reattach(&mut self, identity: &Identity) -> Result<(), Refusal> {
        let (request, public_key) = self.request()?;
        let (platform, shown) = (self.platform.as_ref(), (self.evidence.clone(), self.run_id));
        let given = reattach(identity, request, &public_key, shown, platform, &self.clock).await?;
        if given.device_id != identity.device_id {
            tracing::info!(device.id = %given.device_id, "the county gave this PC an identity of its own");
        }
        keystore::move_to(&self.state, &given.agent_addresses, &given.school_name).map_err(of_disk)?;
        self.keep(&given.chain)
    }

    fn request(&self) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
        let key = next::key_or_new(&self.state).map_err(of_disk)?;
        let request = certificate::request(&key).map_err(|error| own_fault(&error))?;
        Ok((request, key.public_key_raw().to_vec()))
    }

    fn keep(&mut self, chain: &[Vec<u8>]) -> Result<(), Refusal> {
        next::store_chain(&self.state, chain).map_err(of_disk)?;
        self.has_next = true;
        Ok(())
    }

    /// Steps 3 to 5 of [`next`].
    async fn prove(&mut self) -> Result<(), Refusal> {
        let Some((chain, key)) = next::pair(&self.state).map_err(of_disk)? else {
            self.has_next = false;
            return Ok(());
        };
        let identity = keystore::load_with(&self.state, chain, key).map_err(of_disk)?;
        let proved = Credentials::new(identity, &self.clock).map_err(|error| own_fault(&error))?;
        if let Err(refusal) = renew::prove(&proved.identity, &proved.tls).await {
            if is_final(&refusal) {
                next::drop_chain(&self.state).map_err(of_disk)?;
                self.has_next = false;
            }
            return Err(refusal);
        }
        // The controller knows this one only, from here on, whatever the disk says to it.
        self.standing.send_replace(Standing::of(&proved.identity));
        self.credentials.send_replace(Arc::new(proved));
        next::promote(&self.state).map_err(of_disk)?;
        keystore::name_device(&self.state).map_err(of_disk)?;
        self.has_next = false;
        tracing::info!(
            until = self.standing.borrow().valid_until_micros / 1_000_000,
            "a new certificate is in force"
        );
        Ok(())
    }

    fn until_due(&self) -> Duration {
        let left =
            self.standing.borrow().renewal_due_micros.saturating_sub(self.clock.stamp().guarded_micros);
        Duration::from_micros(u64::try_from(left).unwrap_or_default())
            .clamp(Duration::from_secs(1), LOOK_EVERY)
    }

    fn tell(&self, refusal: Option<Refusal>) {
        self.standing.send_if_modified(|standing| {
            let changed = standing.refusal != refusal;
            if let Some(refusal) = refusal.as_ref().filter(|_| changed) {
                tracing::warn!(code = refusal.code, "the certificate is not seen to: {refusal}");
            }
            standing.refusal = refusal;
            changed
        });
    }

    fn chance(&self) -> f64 {
        let mut random = [0; 8];
        self.platform.random(&mut random);
        backoff::unit(random)
    }
}

/// The next certificate will never be taken, so that another one is asked for with the same key. A revoked device
/// keeps it: revocations are taken back.
fn is_final(refusal: &Refusal) -> bool {
    refusal.patience == Patience::Person
        && matches!(
            refusal.code,
            "certificate_expired" | "certificate_superseded" | "certificate_unknown" | "certificate_foreign"
        )
}

fn of_disk(error: IdentityError) -> Refusal {
    Refusal::passing("identity_disk", error.to_string(), "check the disk of the state folder and its rights")
}

fn own_fault(error: &dyn std::error::Error) -> Refusal {
    Refusal::passing(
        "identity_unusable",
        error.to_string(),
        "remove the identity folder and enrol this device again",
    )
}
