//! A county with its console, and a browser that keeps cookies and fills in forms.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bbt_domain::{
    access::{Actor, Role},
    facts::StateReport,
    fault::{
        FaultKind,
        policy::{Policy, Rules},
    },
    identity::{Evidence, EvidenceKind, TrustDomain},
    ids::{
        AdmissionId, AssetId, BootId, DeviceId, FaultId, Incarnation, RoomId, RunId, SchoolId, SetId,
        TokenId, UserId,
    },
    ledger::{entry, fields::Specification},
    money::Money,
    org::{RoomKind, SchoolCode},
    report::{Body as ReportBody, Class, Contact, Report},
    time::UtcMicros,
};
use bbt_store::{
    Store, StoreError, Tx,
    certificates::{NewCertificate, certificate_signed},
    enrollment::{Enrolling, NewToken, device_enroll, token_create},
    faults::fault_analyze,
    ledger::{NewAsset, asset_add},
    meta::{County as CountyRecord, county_create},
    people::{Person, person_add},
    reconciliation::reconcile_set,
    reports::{Delivery, Opening, reports_commit, session_start},
    rooms::{NewRoom, room_add},
    schools::school_add,
    sets::{SetFilter, SetLine, SetRef, set_list},
    tickets::{ticket_step, ticket_steps},
};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::{
    clock::ManualClock, context::Context, desk::Desk, listen::PeerAddress, password, pki::revoke::Denylist,
};

/// The account of every test.
pub(super) const LOGIN: &str = "admin";
pub(super) const PASSWORD: &str = "correct horse battery";

/// A console over a store of its own. Its clock stands at a Friday, 08:30 in the county.
pub(super) struct County {
    pub(super) context: Arc<Context>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) denylist: Arc<Denylist>,
    router: Router,
    _folder: tempfile::TempDir,
}

impl County {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now: UtcMicros = "2026-09-18T00:30:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(now));
        let store = Store::open(&folder.path().join("county.db"), now).unwrap();
        let county = CountyRecord {
            name: "梁河县".into(),
            trust_domain: TrustDomain::from_random([1; 16]),
            incarnation: Incarnation::from_bytes([2; 16]),
            created_at: now,
        };
        let record = county.clone();
        store.write(move |tx: &mut Tx<'_>| county_create(tx, &record)).await.unwrap();
        let person = Person {
            id: UserId::from_bytes([3; 16]),
            login: LOGIN.into(),
            role: Role::CountyAdmin,
            password: password::hash(PASSWORD).unwrap(),
            language: String::new(),
        };
        store.write(move |tx: &mut Tx<'_>| person_add(tx, &Actor::Local, &person, now)).await.unwrap();
        let context = Arc::new(Context {
            store,
            clock: clock.clone(),
            county,
            rules: Arc::default(),
            troubles: Arc::default(),
        });
        let denylist = Arc::new(Denylist::open(&folder.path().join("revocations.log")).unwrap());
        let router =
            crate::web::router(context.clone(), Desk::new("county.example:8443"), Arc::clone(&denylist));
        Self { context, clock, denylist, router, _folder: folder }
    }

    /// Enrols a device; its id is made of `number`.
    pub(super) async fn device(&self, number: u8) -> DeviceId {
        let now = self.context.now();
        let device = DeviceId::from_bytes([number; 16]);
        let code = SchoolCode::parse("2153000123").unwrap();
        let evidence = |kind, value: &str, junk| Evidence { kind, value: value.into(), junk };
        let token = NewToken {
            id: TokenId::from_bytes([number; 16]),
            secret_sha256: [number; 32],
            school: code.clone(),
            uses: 1,
            expires_at: now.plus(Duration::from_secs(60)),
        };
        let enrolling = Enrolling {
            secret_sha256: [number; 32],
            key_sha256: [number; 32],
            device,
            set: self.context.new_set().unwrap(),
            certificate: NewCertificate {
                serial: [number; 16],
                not_before: now,
                not_after: now.plus(Duration::from_secs(180 * 86_400)),
            },
            evidence: vec![
                evidence(EvidenceKind::BoardSerial, "PF0X1234", false),
                evidence(EvidenceKind::BoardUuid, "00000000-0000-0000-0000-000000000000", true),
            ],
            admission: AdmissionId::from_bytes([number; 16]),
            host_name: "bgs-01".into(),
            agent_version: "0.1.0".into(),
            peer: "192.0.2.9:50000".into(),
        };
        let write = move |tx: &mut Tx<'_>| {
            let school = SchoolId::from_bytes([4; 16]);
            match school_add(tx, &Actor::Local, school, &code, "梁河县第一中学", now) {
                Ok(_) | Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
            token_create(tx, &Actor::Local, &token, now)?;
            device_enroll(tx, &Actor::Anonymous, &enrolling, &|_| false, now)?.unwrap();
            certificate_signed(tx, &Actor::Anonymous, &[number; 16], b"der")
        };
        self.context.store.write(write).await.unwrap();
        device
    }

    /// Lets a device report, as of now.
    pub(super) async fn report(&self, device: DeviceId, bodies: Vec<ReportBody>) {
        let now = self.context.now();
        let (run, boot) = (RunId::from_bytes(self.context.new_id()), BootId::from_bytes([6; 16]));
        let opening = Opening {
            run,
            boot,
            clean_stop: Some(false),
            agent_version: "0.1.0".into(),
            address: "192.0.2.9:50001".into(),
            backlog_frames: 1_234,
            backlog_bytes: 5 << 20,
            clock_off_micros: -3 * 86_400 * 1_000_000,
            evidence: vec![],
            canary: 0,
            admission: AdmissionId::from_bytes([9; 16]),
        };
        let report = |(seq, body)| Report {
            run,
            seq,
            class: Class::State,
            device,
            boot,
            clean_stop: Some(false),
            wall: now,
            mono_micros: 0,
            body,
        };
        let reports: Vec<Report> = (1..).zip(bodies).map(report).collect();
        let row_ids = reports.iter().map(|_| self.context.new_id()).collect();
        let contact = Contact { received: now, sent_wall: now, sent_mono_micros: 0, boot };
        let write = move |tx: &mut Tx<'_>| {
            let actor = Actor::Device(device);
            let school = session_start(tx, &actor, &opening, now)?.school;
            let (reports, row_ids) = (reports.clone(), Vec::clone(&row_ids));
            let delivery = Delivery { reports, row_ids, contact, session_run: run, school };
            reports_commit(tx, &actor, &delivery)
        };
        self.context.store.write(write).await.unwrap();
    }

    /// A full state report.
    pub(super) async fn report_state(&self, device: DeviceId, state: StateReport) {
        self.report(device, vec![ReportBody::State(Box::new(state))]).await;
    }

    /// The set that `device` is of.
    pub(super) async fn set_of(&self, device: DeviceId) -> SetLine {
        let now = self.context.now();
        let all = move |tx: &mut Tx<'_>| set_list(tx, &Actor::Local, &SetFilter::default(), None, 500, now);
        let sets = self.context.store.read(all).await.unwrap();
        sets.into_iter().find(|set| set.devices.iter().any(|of_set| of_set.id == device)).unwrap()
    }

    /// Adds a room to a school; its id.
    pub(super) async fn room(&self, school: &str, name: &str) -> RoomId {
        let id = RoomId::from_bytes(self.context.new_id());
        let (school, now) = (SchoolCode::parse(school).unwrap(), self.context.now());
        let room = NewRoom { id, school, name: name.into(), kind: RoomKind::Classroom };
        self.context.store.write(move |tx| room_add(tx, &Actor::Local, &room, now)).await.unwrap();
        id
    }

    /// Decides the faults of `set` without waiting, and opens the tickets that follow.
    pub(super) async fn decide_faults(&self, set: SetId) {
        let now = self.context.now();
        let rules =
            Rules { policy: Policy { disk_raise_after_secs: 0, ..Policy::default() }, ..Rules::default() };
        let ids = FaultKind::ALL.map(|_| FaultId::from_bytes(self.context.new_id()));
        let means = Desk::new("county.example:8443").means(&self.context);
        let decide = move |tx: &mut Tx<'_>| {
            let actor = Actor::System("faults");
            fault_analyze(tx, &actor, set, &rules, &ids, now)?;
            for step in ticket_steps(tx, &actor, 1)? {
                ticket_step(tx, &actor, step, &means, now)?;
            }
            Ok(())
        };
        self.context.store.write(decide).await.unwrap();
    }

    /// Books a computer with 4 GiB of memory for `set`, and holds it against what was reported.
    pub(super) async fn book(&self, set: SetId) {
        let now = self.context.now();
        let asset = NewAsset {
            id: AssetId::from_bytes(self.context.new_id()),
            set: Some(SetRef::Id(set)),
            opening: entry::Opening {
                asset_no: "JX-2024-0042".parse().unwrap(),
                name: "触控一体机主机".into(),
                class: "A02010105@2022".parse().unwrap(),
                cost_fen: Money::from_fen(480_000),
                acquired_on: "2024-09-30".parse().unwrap(),
                put_to_use_on: None,
                booked_on: None,
                serial: None,
                specification: Specification {
                    processor: Some("Intel Core i5-10400".into()),
                    memory_bytes: Some(4 << 30),
                    disk_bytes: None,
                },
            },
        };
        let book = move |tx: &mut Tx<'_>| {
            asset_add(tx, &Actor::Local, &asset, now)?;
            reconcile_set(tx, &Actor::System("reconciliation"), set, now)
        };
        assert!(self.context.store.write(book).await.unwrap() > 0, "a difference");
    }

    /// A browser that has not been here before.
    pub(super) fn browser(&self) -> Browser<'_> {
        Browser { county: self, cookies: BTreeMap::new(), address: [192, 0, 2, 7], form_token: String::new() }
    }

    /// A browser that is signed in.
    pub(super) async fn signed_in(&self) -> Browser<'_> {
        let mut browser = self.browser();
        let page = browser.sign_in(LOGIN, PASSWORD).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
        browser.get("/refusals").await;
        browser
    }
}

/// Keeps cookies and the form token of the page it saw last.
pub(super) struct Browser<'a> {
    county: &'a County,
    pub(super) cookies: BTreeMap<String, String>,
    pub(super) address: [u8; 4],
    pub(super) form_token: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Page {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The `Set-Cookie` of the cookie called `name`.
    pub(super) fn set_cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
        cookies.into_iter().find(|cookie| cookie.starts_with(&format!("{name}=")))
    }

    #[track_caller]
    pub(super) fn assert_has(&self, text: &str) {
        assert!(self.body.contains(text), "{text:?} is missing in {}", self.body);
    }
}

impl Browser<'_> {
    pub(super) async fn get(&mut self, path: &str) -> Page {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a form as the page seen last would.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.form_token.clone();
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        self.send(form(path).header("sec-fetch-site", "same-origin").body(encoded(&all)).unwrap()).await
    }

    pub(super) async fn sign_in(&mut self, login: &str, password: &str) -> Page {
        self.get("/login").await;
        self.post("/login", &[("login", login), ("password", password)]).await
    }

    pub(super) async fn send(&mut self, mut request: Request<Body>) -> Page {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.headers_mut().insert(header::COOKIE, pairs.join("; ").parse().unwrap());
        }
        request.extensions_mut().insert(PeerAddress(SocketAddr::from((self.address, 40_000))));
        let response = self.county.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let page = Page {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into(),
        };
        for cookie in page.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        if let Some((_, rest)) = page.body.split_once("name=\"form_token\" value=\"") {
            self.form_token = rest.split('"').next().unwrap().into();
        }
        page
    }
}

/// The beginning of a form's request.
pub(super) fn form(path: &str) -> http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

/// Fields as the body of a form.
pub(super) fn encoded(fields: &[(&str, &str)]) -> Body {
    let value = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<_> = fields.iter().map(|(name, text)| format!("{name}={}", value(text))).collect();
    Body::from(pairs.join("&"))
}
