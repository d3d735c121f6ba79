//! A county's services, and a PC that asks them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bbt_domain::{
    access::Actor,
    identity::TrustDomain,
    ids::{DeviceId, Incarnation, SchoolId, TokenId},
    org::SchoolCode,
    time::UtcMicros,
};
use bbt_proto::{
    PROTOCOL_REVISION, REASON_METADATA,
    enrollment::v1::{
        Approved, ConfirmRequest, EnrollRequest, EnrollResponse, HelloRequest, HelloResponse,
        ReattachRequest, RenewRequest, enroll_response::Outcome,
        enrollment_service_server::EnrollmentService, renewal_service_server::RenewalService,
    },
};
use bbt_store::{
    Store, Tx,
    audit::audit_list,
    certificates::{CertificateRefusal, certificate_use},
    enrollment::{NewToken, token_create},
    meta::{County, county_create},
    schools::school_add,
};
use rcgen::{CertificateParams, KeyPair, SigningKey};
use rustls_pki_types::CertificateDer;
use tonic::{Request, Status};

use crate::{
    clock::{ManualClock, guard::GuardedClock},
    context::Context,
    grpc::{enrollment::Enrollment, issuing::Issuing, renewal::Renewal},
    listen::{DevicePeer, PeerAddress, refusals::Refusals, tls::DeviceVerifier},
    pki::{
        authority::{Authority, SharedAuthority, default_root_key},
        issue,
        revoke::Denylist,
        signed_time::TimeSigner,
        tokens,
    },
};

/// When every test begins.
pub(super) const START: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);
const TOKEN: &str = "a token of the tests";

/// A county's services about certificates.
pub(super) struct Stage {
    pub(super) clock: Arc<ManualClock>,
    pub(super) context: Arc<Context>,
    pub(super) authority: SharedAuthority,
    pub(super) denylist: Arc<Denylist>,
    pub(super) enrollment: Enrollment,
    pub(super) renewal: Renewal,
    pub(super) verifier: Arc<DeviceVerifier>,
    pub(super) folder: tempfile::TempDir,
}

impl Stage {
    /// With one school and a token without end.
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let clock = Arc::new(ManualClock::at(START));
        let authority = Authority::create(home, &default_root_key(home), "梁河县", START).unwrap();
        let authority = Arc::new(ArcSwap::from_pointee(authority));
        let context = county(home, Arc::clone(&clock)).await;
        let denylist = Arc::new(Denylist::open(&home.join("revocations.log")).unwrap());
        let domain = context.county.trust_domain.clone();
        let verifier =
            DeviceVerifier::new(authority.load().root(), domain.clone(), Arc::clone(&denylist)).unwrap();
        let listener = issue::listener(&authority.load(), home, &[], START).unwrap();
        let signer = TimeSigner::new(&listener, domain, context.clock.clone()).unwrap();
        let issuing = Issuing::new(Arc::clone(&context), Arc::clone(&authority));
        let refusals = Arc::new(Refusals::new(Arc::clone(&context)));
        let enrollment = Enrollment::new(
            Arc::clone(&context),
            issuing.clone(),
            Arc::new(ArcSwap::from_pointee(signer)),
            Arc::clone(&refusals),
            (Arc::clone(&verifier), Arc::clone(&denylist)),
            Arc::default(),
            vec!["county.example:7443".into()],
        );
        let renewal = Renewal::new(Arc::clone(&context), issuing, Arc::clone(&denylist), refusals);
        Self { clock, context, authority, denylist, enrollment, renewal, verifier, folder }
    }

    pub(super) fn later(&self, days: u64) {
        self.clock.advance(Duration::from_secs(days * 86_400));
    }

    pub(super) async fn hello(&self) -> Result<HelloResponse, Status> {
        let request = HelloRequest { protocol_revision: PROTOCOL_REVISION, nonce: vec![1; 16] };
        self.enrollment.hello(here(request)).await.map(tonic::Response::into_inner)
    }

    /// A PC of this county, by the token.
    pub(super) async fn pc(&self) -> Pc {
        let key = KeyPair::generate().unwrap();
        let request = EnrollRequest {
            protocol_revision: PROTOCOL_REVISION,
            nonce: self.hello().await.unwrap().nonce,
            token: TOKEN.into(),
            certificate_request: request_of(&key),
            ..EnrollRequest::default()
        };
        let approved = approved(EnrollmentService::enroll(&self.enrollment, here(request)).await).unwrap();
        Pc::of(key, &approved)
    }

    /// `pc` asks for a further certificate by this request.
    pub(super) async fn renew_by(
        &self,
        pc: &Pc,
        certificate_request: Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, Status> {
        // Nobody renews in the microsecond of the certificate before.
        self.clock.advance(Duration::from_micros(1));
        let request = self.on_the_devices_port(pc, RenewRequest { certificate_request });
        let renewed = RenewalService::renew(&self.renewal, request).await?;
        Ok(renewed.into_inner().certificate_chain)
    }

    /// The same PC with a new key and its certificate.
    pub(super) async fn renew(&self, pc: &Pc) -> Result<Pc, Status> {
        let key = KeyPair::generate().unwrap();
        let chain = self.renew_by(pc, request_of(&key)).await?;
        Ok(Pc { id: pc.id, key, chain })
    }

    pub(super) async fn confirm(&self, pc: &Pc) -> Result<(), Status> {
        let request = self.on_the_devices_port(pc, ConfirmRequest {});
        RenewalService::confirm(&self.renewal, request).await.map(drop)
    }

    /// What the county's records say when `pc` opens a stream.
    pub(super) async fn use_of(&self, pc: &Pc) -> Result<(), CertificateRefusal> {
        let (shown, now) = (self.shown(pc), self.context.now());
        let used =
            move |tx: &mut Tx<'_>| certificate_use(tx, &Actor::Device(shown.device), shown.serial, now);
        self.context.store.write(used).await.unwrap()
    }

    /// What a PC that is honest says to be taken back with a new key.
    pub(super) async fn way_back(&self, pc: &Pc) -> (ReattachRequest, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let request = ReattachRequest {
            protocol_revision: PROTOCOL_REVISION,
            nonce: self.hello().await.unwrap().nonce,
            certificate_request: request_of(&key),
            certificate: pc.chain[0].clone(),
            ..ReattachRequest::default()
        };
        (pc.signed(request), key)
    }

    pub(super) async fn reattach_by(&self, request: ReattachRequest) -> Result<Approved, Status> {
        approved(EnrollmentService::reattach(&self.enrollment, here(request)).await)
    }

    pub(super) async fn reattach(&self, pc: &Pc) -> Result<Pc, Status> {
        let (request, key) = self.way_back(pc).await;
        Ok(Pc::of(key, &self.reattach_by(request).await?))
    }

    /// As the handshake does it.
    pub(super) fn shown(&self, pc: &Pc) -> DevicePeer {
        self.verifier.peer(&CertificateDer::from(pc.chain[0].as_slice())).unwrap()
    }

    pub(super) async fn audit(&self, action: &'static str) -> usize {
        let read = move |tx: &mut Tx<'_>| audit_list(tx, &Actor::Local, action, None, 100);
        self.context.store.read(read).await.unwrap().len()
    }

    fn on_the_devices_port<T>(&self, pc: &Pc, message: T) -> Request<T> {
        let mut request = here(message);
        request.extensions_mut().insert(self.shown(pc));
        request
    }
}

async fn county(home: &std::path::Path, clock: Arc<ManualClock>) -> Arc<Context> {
    let store = Store::open(&home.join("county.db"), START).unwrap();
    let county = County {
        name: "梁河县".into(),
        trust_domain: TrustDomain::from_random([1; 16]),
        incarnation: Incarnation::from_bytes([2; 16]),
        created_at: START,
    };
    let record = county.clone();
    let token = NewToken {
        id: TokenId::from_bytes([5; 16]),
        secret_sha256: tokens::secret_sha256(TOKEN),
        school: SchoolCode::parse("T1").unwrap(),
        uses: 100,
        expires_at: START.plus(Duration::from_secs(10 * 365 * 86_400)),
    };
    let make = move |tx: &mut Tx<'_>| {
        county_create(tx, &record)?;
        school_add(tx, &Actor::Local, SchoolId::from_bytes([3; 16]), &token.school, "测试小学", START)?;
        token_create(tx, &Actor::Local, &token, START)
    };
    store.write(make).await.unwrap();
    let guard = GuardedClock::open(&home.join("clock.mark"), clock, START).unwrap();
    Arc::new(Context {
        store,
        clock: Arc::new(guard),
        county,
        rules: Arc::default(),
        troubles: Arc::default(),
    })
}

/// A classroom PC: its key, and the certificate of it.
pub(super) struct Pc {
    pub(super) id: DeviceId,
    pub(super) key: KeyPair,
    /// Leaf, intermediate, root.
    pub(super) chain: Vec<Vec<u8>>,
}

impl Pc {
    fn of(key: KeyPair, approved: &Approved) -> Self {
        let id = DeviceId::from_slice(&approved.device_id).unwrap();
        Self { id, key, chain: approved.certificate_chain.clone() }
    }

    /// `request` with the proof of this PC's key.
    pub(super) fn signed(&self, request: ReattachRequest) -> ReattachRequest {
        let said = [request.nonce.as_slice(), &request.certificate_request].concat();
        ReattachRequest { signature: self.key.sign(&said).unwrap(), ..request }
    }
}

/// A certificate request of `key` that asks for nothing else.
pub(super) fn request_of(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

/// The machine's word beside a refusal.
pub(super) fn reason(status: &Status) -> &str {
    status.metadata().get(REASON_METADATA).and_then(|word| word.to_str().ok()).unwrap_or_default()
}

fn here<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(PeerAddress(SocketAddr::from(([192, 0, 2, 7], 50_000))));
    request
}

fn approved(answer: Result<tonic::Response<EnrollResponse>, Status>) -> Result<Approved, Status> {
    match answer?.into_inner().outcome {
        Some(Outcome::Approved(approved)) => Ok(approved),
        other => panic!("{other:?}"),
    }
}
