//! `bbt.enrollment.v1.RenewalService`: served on the devices' port, where the certificate of the connection says who
//! asks.
//!
//! Renewing is in two phases. `Renew` gives a certificate for a new key and takes nothing away. The new one takes the
//! old one's place when it is first used: by `Confirm`, or by a stream that is opened with it. So an agent that is cut
//! off anywhere between the two still holds a certificate that is good, and asks again.

use std::{net::IpAddr, sync::Arc};

use bbt_domain::{access::Actor, ids::DeviceId};
use bbt_proto::enrollment::v1::{
    ConfirmRequest, ConfirmResponse, RenewRequest, RenewResponse, renewal_service_server::RenewalService,
};
use bbt_store::certificates::{CertificateRefusal, Renewing, certificate_renew, certificate_use};
use tonic::{Request, Response, Status};

use super::{
    certificate_refusal, device_of,
    gate::{Gate, Pace},
    issuing::{Issuing, unavailable},
    peer_of, refusal,
};
use crate::{
    context::Context,
    listen::{
        DevicePeer,
        refusals::{Cause, Refusals},
    },
    pki::{issue::DeviceKey, revoke::Denylist},
};

/// Renewals of one device: one in ten minutes for long, six at once. A device renews every 60 days, one with a restore
/// card perhaps at every start; what comes faster is broken.
const PACE: Pace = Pace { cost: 600, per_sec: 1, burst: 6 };
/// Renewals at once; each costs a signature and two commits. They are spread over days, and whoever finds no place comes
/// again.
const AT_ONCE: usize = 16;

/// The service.
pub struct Renewal {
    context: Arc<Context>,
    issuing: Issuing,
    denylist: Arc<Denylist>,
    refusals: Arc<Refusals>,
    gate: Gate<DeviceId>,
}

impl Renewal {
    /// Asks `denylist` at each call.
    pub fn new(
        context: Arc<Context>,
        issuing: Issuing,
        denylist: Arc<Denylist>,
        refusals: Arc<Refusals>,
    ) -> Self {
        let gate = Gate::new("renewals", PACE, AT_ONCE);
        Self { context, issuing, denylist, refusals, gate }
    }

    fn refuse(&self, device: DeviceId, peer: IpAddr, cause: Cause, message: String) -> Status {
        self.refusals.note(cause, peer, Some(format!("device:{device}")));
        refusal(cause, message)
    }

    fn refuse_certificate(&self, device: DeviceId, peer: IpAddr, why: CertificateRefusal) -> Status {
        let (cause, message) = certificate_refusal(device, why);
        self.refuse(device, peer, cause, message)
    }

    /// The list in memory is asked before the store: it is right even while the store cannot be read.
    fn admit(&self, device: DeviceId, peer: IpAddr) -> Result<(), Status> {
        if self.denylist.denies(device) {
            return Err(self.refuse_certificate(device, peer, CertificateRefusal::Revoked));
        }
        Ok(())
    }

    async fn renew(&self, request: &[u8], shown: DevicePeer, peer: IpAddr) -> Result<RenewResponse, Status> {
        let device = shown.device;
        let now = self.issuing.date()?;
        let key = DeviceKey::from_request(request)
            .map_err(|error| self.refuse(device, peer, Cause::RequestInvalid, error.to_string()))?;
        let draft = self.issuing.draft(now)?;
        let renewing = Renewing {
            shown: shown.serial,
            key_sha256: key.sha256(),
            certificate: draft.certificate.clone(),
            peer: peer.to_string(),
        };
        let actor = Actor::Device(device);
        let asked = actor.clone();
        let recorded =
            self.context.store.write(move |tx| certificate_renew(tx, &asked, &renewing, now)).await;
        recorded.map_err(unavailable)?.map_err(|why| self.refuse_certificate(device, peer, why))?;
        let certificate_chain = self.issuing.sign(actor, device, &key, &draft).await?;
        tracing::info!(%device, %peer, until = %draft.certificate.not_after, "a certificate was renewed");
        Ok(RenewResponse { certificate_chain })
    }

    async fn confirm(&self, shown: DevicePeer, peer: IpAddr) -> Result<(), Status> {
        let (device, now) = (shown.device, self.context.now());
        let note =
            move |tx: &mut bbt_store::Tx<'_>| certificate_use(tx, &Actor::Device(device), shown.serial, now);
        let used = self.context.store.write(note).await.map_err(unavailable)?;
        used.map_err(|why| self.refuse_certificate(device, peer, why))
    }
}

#[tonic::async_trait]
impl RenewalService for Renewal {
    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let (peer, shown) = (peer_of(&request)?, device_of(&request)?);
        self.admit(shown.device, peer)?;
        self.gate.slow_down(shown.device)?;
        let _turn = self.gate.turn()?;
        let request = request.into_inner().certificate_request;
        Renewal::renew(self, &request, shown, peer).await.map(Response::new)
    }

    async fn confirm(&self, request: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        let (peer, shown) = (peer_of(&request)?, device_of(&request)?);
        self.admit(shown.device, peer)?;
        let _turn = self.gate.turn()?;
        Renewal::confirm(self, shown, peer).await.map(|()| Response::new(ConfirmResponse {}))
    }
}
