//! The uplink against a controller that misbehaves on purpose.

use std::{path::Path, time::Duration};

use bbt_proto::report::v1 as wire;
use prost::Message;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::{
    VERSION,
    canary::Canary,
    folder::Folder,
    identity::{Identity, clock::Clock},
    platform::{Roots, fake::FakePlatform},
    spool::{Amount, Class, Draft, Handle, Limits, Origin},
    testing::{Act, Controller, County},
    uplink::session::FullStateRequest,
};

/// Far beyond what any step takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A device with its spool and uplink.
struct Device {
    platform: Arc<FakePlatform>,
    spool: Handle,
    link: watch::Receiver<Link>,
    _folder: TempDir,
}

impl Device {
    fn start(identity: Identity) -> Device {
        let folder = tempfile::tempdir().unwrap();
        let platform = Arc::new(FakePlatform::new(Roots::under(Path::new("/nowhere")), 1));
        let clock = Arc::new(Clock::new(platform.clone()));
        let origin = Origin {
            run_id: [1; 16],
            device_id: identity.device_id.into_bytes(),
            os_boot: wire::OsBoot::default(),
        };
        let limits = Limits { max_bytes: 1 << 20, max_age_micros: i64::MAX };
        let (spool, _) =
            Handle::start(folder.path().to_owned(), origin.clone(), limits, clock.clone()).unwrap();
        let (full_state, mut asked) = mpsc::channel::<FullStateRequest>(1);
        let (tell, link) = watch::channel(Link::default());
        let setting = Setting {
            clock: clock.clone(),
            spool: spool.clone(),
            origin,
            evidence: Vec::new(),
            agent_version: VERSION,
            canary: Canary::load(&Folder::at(folder.path())),
            full_state,
        };
        let credentials = Arc::new(Credentials::new(identity, &clock).unwrap());
        tokio::spawn(run(setting, watch::Sender::new(credentials).subscribe(), platform.clone(), tell));
        let states = spool.clone();
        tokio::spawn(async move {
            while let Some(answer) = asked.recv().await {
                let body = wire::State { full: true, ..wire::State::default() }.encode_to_vec();
                let draft = Draft { class: Class::State, kind: wire::Kind::State, body: body.into() };
                answer.send(states.append(draft).await.unwrap()).ok();
            }
        });
        Device { platform, spool, link, _folder: folder }
    }

    async fn append(&self, class: Class) -> u64 {
        let draft = Draft { class, kind: wire::Kind::Samples, body: vec![1; 100].into() };
        self.spool.append(draft).await.unwrap()
    }

    async fn until_refused(&mut self) -> Refusal {
        let seen = tokio::time::timeout(DEADLINE, self.link.wait_for(|link| link.refusal.is_some()));
        seen.await.unwrap().unwrap().refusal.clone().unwrap()
    }

    /// Waits until nothing is undecided.
    async fn until_drained(&self) {
        let drained = async {
            while self.spool.summary().await.unwrap().backlog_total() != Amount::default() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, drained).await.unwrap();
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn controller() -> (Arc<County>, Controller) {
    let county = Arc::new(County::new());
    let controller = Controller::start(county.clone()).await;
    (county, controller)
}

#[tokio::test]
async fn a_stream_opens_with_the_full_state_and_every_report_is_stored_once() {
    let (county, controller) = controller().await;
    let device = Device::start(county.device(controller.address, county.root()));
    until("greeting", || !controller.seen().opens.is_empty()).await;
    for class in [Class::State, Class::Urgent] {
        device.append(class).await;
    }
    until("three reports", || controller.seen().stored.len() == 3).await;
    device.until_drained().await;
    let seen = controller.seen();
    assert_eq!(seen.frames.len(), 3);
    let first = &seen.frames[0];
    assert!(wire::State::decode(first.body.clone()).unwrap().full);
    assert_eq!(seen.opens[0].run_id, [1; 16]);
}

#[tokio::test]
async fn what_was_under_way_when_the_stream_broke_is_sent_again() {
    let (county, controller) = controller().await;
    controller.will([Act::Cut, Act::StoreAndCut]);
    let device = Device::start(county.device(controller.address, county.root()));
    let seq = device.append(Class::State).await;
    until("third stream", || controller.seen().opens.len() == 3).await;
    device.until_drained().await;
    let seen = controller.seen();
    let times = seen.frames.iter().filter(|frame| frame.seq == seq).count();
    assert!(times >= 2, "sent {times} times");
    assert!(seen.stored.iter().any(|key| key.seq == seq));
}

#[tokio::test]
async fn a_rejected_report_is_told_as_a_gap() {
    let (county, controller) = controller().await;
    controller.will([Act::Verdict(wire::Code::Rejected)]);
    let device = Device::start(county.device(controller.address, county.root()));
    let is_gap = |frame: &wire::Frame| frame.kind() == wire::Kind::Gap;
    until("a gap", || controller.seen().frames.iter().any(is_gap)).await;
    device.until_drained().await;
    let seen = controller.seen();
    let rejected = seen.frames[0].seq;
    let gap = seen.frames.iter().find(|frame| is_gap(frame)).unwrap();
    let gap = wire::Gap::decode(gap.body.clone()).unwrap();
    assert_eq!((gap.first_seq, gap.last_seq, gap.count), (rejected, rejected, 1));
    assert_eq!(gap.reason(), wire::GapReason::Rejected);
}

#[tokio::test]
async fn a_controller_without_room_gets_its_pause_and_then_everything_on_the_same_stream() {
    let (county, controller) = controller().await;
    controller.will([Act::Pause { millis: 50 }]);
    let device = Device::start(county.device(controller.address, county.root()));
    until("first batch", || !controller.seen().frames.is_empty()).await;
    device.platform.advance(Duration::from_secs(1));
    let advance = async {
        // The pause may begin after the clock was moved; it is moved until it is over.
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            device.platform.advance(Duration::from_secs(1));
        }
    };
    tokio::select! {
        () = device.until_drained() => (),
        () = advance => (),
    }
    let seen = controller.seen();
    assert_eq!(seen.opens.len(), 1);
    assert_eq!(seen.stored.len(), 1);
    assert_eq!(seen.frames.len(), 2);
}

#[tokio::test]
async fn a_revoked_device_is_told_why_and_keeps_its_reports() {
    let (county, controller) = controller().await;
    controller.will([Act::Refuse("revoked")]);
    let mut device = Device::start(county.device(controller.address, county.root()));
    device.append(Class::State).await;
    let refusal = device.until_refused().await;
    assert_eq!(refusal.code, "revoked");
    assert!(refusal.remedy.contains("device unrevoke"));
    assert_eq!(device.spool.summary().await.unwrap().backlog_total().frames, 1);
    assert!(controller.seen().frames.is_empty());
}

#[tokio::test]
async fn a_device_of_another_county_learns_that_it_is_foreign() {
    let (county, controller) = controller().await;
    let other = County::new();
    let mut device = Device::start(other.device(controller.address, county.root()));
    assert_eq!(device.until_refused().await.code, "certificate_foreign");
    assert!(controller.seen().opens.is_empty());
}

#[tokio::test]
async fn a_controller_of_another_county_gets_nothing() {
    let (county, controller) = controller().await;
    let other = County::new();
    let mut device = Device::start(county.device(controller.address, other.root()));
    assert_eq!(device.until_refused().await.code, "controller_foreign");
    assert!(controller.seen().opens.is_empty());
}

#[tokio::test]
async fn an_unreachable_controller_is_named() {
    let county = County::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut device = Device::start(county.device(address, county.root()));
    let refusal = device.until_refused().await;
    assert_eq!(refusal.code, "unreachable");
    assert!(refusal.problem.contains(&address.to_string()), "{refusal}");
}
