//! The door to contractors against a receiver that behaves in every way receivers do: what is delivered, what
//! is tried again and for which reason, and where nothing goes at all.

use std::{
    collections::VecDeque,
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use bbt_controller::{
    clock::SystemClock,
    config::Webhooks,
    contractor::{
        Door, Message, Outcome, Reason, Target, Webhook, WebhookSecret, WebhookUrl,
        webhook::{Deadlines, Resolution, Resolver},
    },
};
use bbt_domain::{
    outbox::{LineFault, Refusal, Stage, TlsFault},
    time::UtcMicros,
};
use bbt_tests::{
    contractor_stub::{Answer, Contractor},
    device::wait,
    pki::{Authority, Credentials, Leaf, Validity},
    wait::{SOON, eventually},
};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use tempfile::TempDir;

/// When the messages here are signed.
const NOW: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);
/// Patience with a receiver that is meant to be late.
const IMPATIENT: Deadlines =
    Deadlines { connect: Duration::from_millis(200), attempt: Duration::from_millis(400) };
/// What two sockets may hold between them, beside what is read.
const IN_SOCKETS: usize = 32 << 20;

// ------------------------------------------------------------------------------ what receivers answer

#[test]
fn a_message_arrives_as_it_was_stored_and_signed() -> Result<()> {
    let contractor = Contractor::start()?;
    contractor.then([Answer::Status(204)]);

    assert_eq!(deliver(&granting(), &granted(&contractor)?)?, Outcome::Delivered { status: 204 });

    let [received] = &contractor.received()[..] else { panic!("{:?}", contractor.refused()) };
    let message = message();
    assert_eq!((&received.id, &received.body, received.secs), (&message.id, &message.body, NOW.as_secs()));
    assert_eq!(received.path, "/tickets");
    assert_eq!(received.headers["host"], contractor.address().to_string());
    assert!(received.headers["user-agent"].starts_with("bbt-controller/"), "{:?}", received.headers);
    Ok(())
}

#[test]
fn a_message_signed_with_another_secret_is_not_taken() -> Result<()> {
    let (contractor, other) = (Contractor::start()?, Contractor::start()?);
    let target = Target { secret: WebhookSecret::parse(other.secret())?, ..granted(&contractor)? };

    let outcome = deliver(&granting(), &target)?;
    assert_eq!(outcome, Outcome::Retry { reason: Reason::Status { status: 401 } });
    assert_eq!((contractor.received().len(), contractor.refused().len()), (0, 1));
    Ok(())
}

#[test]
fn a_receiver_that_fails_gets_the_same_message_again() -> Result<()> {
    let contractor = Contractor::start()?;
    contractor.then([500, 429].map(Answer::Status));
    let (door, target) = (granting(), granted(&contractor)?);

    for status in [500, 429] {
        assert_eq!(deliver(&door, &target)?, Outcome::Retry { reason: Reason::Status { status } });
    }
    assert_eq!(deliver(&door, &target)?, Outcome::Delivered { status: 200 });

    let ids: Vec<_> = contractor.received().into_iter().map(|received| received.id).collect();
    assert_eq!(ids, [message().id, message().id, message().id]);
    Ok(())
}

#[test]
fn a_receiver_that_is_gone_is_given_up() -> Result<()> {
    let contractor = Contractor::start()?;
    contractor.then([Answer::Status(410)]);
    assert_eq!(deliver(&granting(), &granted(&contractor)?)?, Outcome::GiveUp { reason: Reason::Gone });
    Ok(())
}

#[test]
fn a_redirect_is_not_followed() -> Result<()> {
    let (contractor, elsewhere) = (Contractor::start()?, Contractor::start()?);
    contractor.then([Answer::Redirect(elsewhere.url())]);

    let outcome = deliver(&granting(), &granted(&contractor)?)?;
    assert_eq!(outcome, Outcome::Retry { reason: Reason::Redirect { status: 307 } });
    assert_eq!((contractor.received().len(), elsewhere.connections()), (1, 0));
    Ok(())
}

// ------------------------------------------------------------------------------ receivers that draw it out

#[test]
fn a_receiver_that_does_not_finish_its_headers_is_late() -> Result<()> {
    let door = granting().with_deadlines(IMPATIENT);
    for answer in [Answer::silence(), Answer::Bytes(b"HTTP/1.1 200 OK\r\nserver: ".to_vec())] {
        let contractor = Contractor::start()?;
        contractor.then([answer]);
        let outcome = deliver(&door, &granted(&contractor)?)?;
        assert_eq!(outcome, Outcome::Retry { reason: Reason::Late { stage: Stage::Answer } });
        assert_eq!(contractor.received().len(), 1, "it was asked");
    }
    Ok(())
}

#[test]
fn a_body_that_never_ends_is_cut_off_and_the_message_delivered() -> Result<()> {
    let contractor = Contractor::start()?;
    contractor.then([Answer::Endless]);

    assert_eq!(deliver(&granting(), &granted(&contractor)?)?, Outcome::Delivered { status: 200 });
    let taken = eventually(SOON, "the end of the endless body", || {
        contractor.endless_bytes().context("it is still being read")
    })?;
    assert!(taken < IN_SOCKETS, "{taken} bytes were taken");
    Ok(())
}

#[test]
fn a_body_that_never_comes_is_not_waited_for() -> Result<()> {
    let contractor = Contractor::start()?;
    contractor.then([Answer::Bytes(b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\n".to_vec())]);
    assert_eq!(deliver(&granting(), &granted(&contractor)?)?, Outcome::Delivered { status: 202 });
    Ok(())
}

#[test]
fn what_is_no_http_or_has_endless_headers_is_told_as_that() -> Result<()> {
    let endless_headers = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    for answer in [b"220 mail.example ESMTP\r\n".to_vec(), endless_headers] {
        let contractor = Contractor::start()?;
        contractor.then([Answer::Bytes(answer)]);
        assert_eq!(deliver(&granting(), &granted(&contractor)?)?, Outcome::Retry { reason: Reason::NotHttp });
    }
    Ok(())
}

#[test]
fn a_reset_is_told_as_one() -> Result<()> {
    let contractor = Contractor::start()?;
    contractor.then([Answer::Reset]);
    assert_eq!(deliver(&granting(), &granted(&contractor)?)?, Outcome::Retry { reason: Reason::CutOff });
    Ok(())
}

#[test]
fn a_port_where_nobody_listens_is_told_as_that() -> Result<()> {
    let address = TcpListener::bind("127.0.0.77:0")?.local_addr()?;
    let outcome = deliver(&granting(), &target(&format!("http://{address}/"), true)?)?;
    assert_eq!(outcome, Outcome::Retry { reason: Reason::Unreachable { fault: LineFault::Refused } });
    Ok(())
}

// ------------------------------------------------------------------------------ TLS

#[test]
fn a_certificate_must_lead_to_a_root_of_the_file_and_name_the_host_today() -> Result<()> {
    let (trusted, foreign) = (Authority::foreign()?, Authority::foreign()?);
    let folder = TempDir::new()?;
    let door = under(&[], &roots(&folder, &[&trusted])?);
    let fault = |fault| Outcome::Retry { reason: Reason::Tls { fault } };
    let here = IpAddr::from([127, 0, 0, 1]);
    for (credentials, outcome) in [
        (trusted.issue(host(here))?, Outcome::Delivered { status: 200 }),
        (foreign.issue(host(here))?, fault(TlsFault::UnknownIssuer)),
        (host(here).self_signed()?, fault(TlsFault::UnknownIssuer)),
        (trusted.issue(host([127, 0, 0, 2].into()))?, fault(TlsFault::WrongName)),
        (trusted.issue(Leaf { validity: Validity::Expired, ..host(here) })?, fault(TlsFault::NotValidNow)),
    ] {
        let contractor = secured(credentials)?;
        assert_eq!(deliver(&door, &granted(&contractor)?)?, outcome);
        let delivered = matches!(outcome, Outcome::Delivered { .. });
        assert_eq!(contractor.received().len(), usize::from(delivered), "nothing is sent before trust");
    }
    Ok(())
}

#[test]
fn a_receiver_without_tls_gets_nothing_in_the_open() -> Result<()> {
    let folder = TempDir::new()?;
    let door = under(&[], &roots(&folder, &[&Authority::foreign()?])?);
    let contractor = Contractor::start()?;
    let target = Target { url: url(&contractor.url().replace("http:", "https:"))?, ..granted(&contractor)? };

    let outcome = deliver(&door.with_deadlines(IMPATIENT), &target)?;
    // It waits for the end of a line that TLS does not send, or says that this is no HTTP.
    let reasons = [Reason::Tls { fault: TlsFault::Handshake }, Reason::Late { stage: Stage::Secure }];
    assert!(reasons.map(|reason| Outcome::Retry { reason }).contains(&outcome), "{outcome:?}");
    assert_eq!(contractor.received().len() + contractor.refused().len(), 0);
    Ok(())
}

#[test]
fn a_receiver_that_does_not_shake_hands_is_late() -> Result<()> {
    let folder = TempDir::new()?;
    let door = under(&[], &roots(&folder, &[&Authority::foreign()?])?).with_deadlines(IMPATIENT);
    // The system takes the connection, and nobody ever speaks on it.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let outcome = deliver(&door, &target(&format!("https://{}/", silent.local_addr()?), true)?)?;
    assert_eq!(outcome, Outcome::Retry { reason: Reason::Late { stage: Stage::Secure } });
    Ok(())
}

#[test]
fn without_roots_a_message_waits_until_there_are_some() -> Result<()> {
    let authority = Authority::foreign()?;
    let contractor = secured(authority.issue(host([127, 0, 0, 1].into()))?)?;
    let folder = TempDir::new()?;
    let file = folder.path().join("roots.pem");
    let door = under(&[], &file);
    let target = granted(&contractor)?;

    let path = file.display().to_string();
    assert_eq!(deliver(&door, &target)?, Outcome::Retry { reason: Reason::NoRoots { path } });
    roots(&folder, &[&authority])?;
    assert_eq!(deliver(&door, &target)?, Outcome::Delivered { status: 200 });
    Ok(())
}

// ------------------------------------------------------------------------------ where nothing goes

#[test]
fn what_is_inside_is_closed_unless_it_is_listed_or_granted() -> Result<()> {
    let contractor = Contractor::start()?;
    let (entered, granted) = (target_of(&contractor, false)?, target_of(&contractor, true)?);

    for door in [under(&[], &nowhere()), under(&["10.0.0.0/8", "127.0.0.2/32"], &nowhere())] {
        assert_eq!(deliver(&door, &entered)?, refused([127, 0, 0, 1], Refusal::Range));
    }
    assert_eq!(contractor.connections(), 0);

    let listing = under(&["127.0.0.0/30"], &nowhere());
    assert_eq!(deliver(&listing, &entered)?, Outcome::Delivered { status: 200 });
    assert_eq!(deliver(&granting(), &granted)?, Outcome::Delivered { status: 200 });
    assert_eq!(contractor.connections(), 2);
    Ok(())
}

#[test]
fn a_name_that_leads_elsewhere_the_second_time_opens_nothing() -> Result<()> {
    let open = Contractor::start_at([127, 0, 0, 2].into(), None)?;
    let closed = Contractor::start()?;
    let door = under(&["127.0.0.2/32"], &nowhere())
        .with_resolver(Names::then([vec![open.address()], vec![closed.address()]]));
    let target = Target { url: named(&open)?, ..target_of(&open, false)? };

    assert_eq!(deliver(&door, &target)?, Outcome::Delivered { status: 200 });
    assert_eq!(deliver(&door, &target)?, refused([127, 0, 0, 1], Refusal::Range));
    assert_eq!((open.received().len(), closed.connections()), (1, 0));
    Ok(())
}

#[test]
fn a_name_of_several_addresses_leads_to_the_open_ones_alone() -> Result<()> {
    let open = Contractor::start_at([127, 0, 0, 2].into(), None)?;
    let closed = Contractor::start()?;
    let door = under(&["127.0.0.2/32"], &nowhere())
        .with_resolver(Names::then([vec![closed.address(), open.address()]]));
    let target = Target { url: named(&open)?, ..target_of(&open, false)? };

    assert_eq!(deliver(&door, &target)?, Outcome::Delivered { status: 200 });
    assert_eq!((open.received().len(), closed.connections()), (1, 0));
    Ok(())
}

#[test]
fn a_granted_name_does_not_lead_to_the_keys_of_a_cloud() -> Result<()> {
    let keys = [169, 254, 169, 254];
    let door = granting().with_resolver(Names::then([vec![SocketAddr::from((keys, 80))]]));
    assert_eq!(deliver(&door, &target("http://tickets.example/", true)?)?, refused(keys, Refusal::Range));
    Ok(())
}

#[test]
fn a_public_address_is_called_over_https_at_its_ports_alone() -> Result<()> {
    let public = [1, 2, 3, 4];
    // Something is listed, so that what the name leads to decides.
    for (url, port, refusal) in
        [("http://tickets.example/", 80, Refusal::Plain), ("https://tickets.example:22/", 22, Refusal::Port)]
    {
        let door = under(&["10.0.0.0/8"], &nowhere())
            .with_resolver(Names::then([vec![SocketAddr::from((public, port))]]));
        assert_eq!(deliver(&door, &target(url, false)?)?, refused(public, refusal));
    }
    Ok(())
}

#[test]
fn a_name_without_an_address_and_a_name_server_without_an_answer_are_told_apart() -> Result<()> {
    let target = target("http://tickets.example/", true)?;
    let none = granting().with_resolver(Names::then([]));
    assert_eq!(deliver(&none, &target)?, Outcome::Retry { reason: Reason::NoAddress });
    let silent = granting().with_resolver(SilentNames).with_deadlines(IMPATIENT);
    let outcome = deliver(&silent, &target)?;
    assert_eq!(outcome, Outcome::Retry { reason: Reason::Late { stage: Stage::Resolve } });
    Ok(())
}

// ------------------------------------------------------------------------------ doors, targets, names

/// A door that lists nothing and has no roots.
fn granting() -> Webhook {
    under(&[], &nowhere())
}

fn under(allow: &[&str], ca_file: &Path) -> Webhook {
    let allow = allow.iter().map(|text| text.parse().expect("a range of addresses")).collect();
    Webhook::new(&Webhooks { allow, ca_file: ca_file.to_owned() }, Arc::new(SystemClock))
}

fn nowhere() -> PathBuf {
    PathBuf::from("/nowhere/roots.pem")
}

fn message() -> Message {
    Message {
        id: "0198c9a1-7b5e-7c3a-9d1e-3f2b6a5c4d10".to_owned(),
        kind: "ticket.opened".to_owned(),
        body: r#"{"type":"ticket.opened","version":1,"data":{"school":"梁河县第一中学"}}"#.to_owned(),
    }
}

fn deliver(door: &Webhook, target: &Target) -> Result<Outcome> {
    wait("a delivery", async { door.deliver(target, &message(), NOW).await })
}

fn url(text: &str) -> Result<WebhookUrl> {
    Ok(WebhookUrl::parse(text)?)
}

fn granted(contractor: &Contractor) -> Result<Target> {
    target_of(contractor, true)
}

fn target_of(contractor: &Contractor, granted_by_local: bool) -> Result<Target> {
    let secret = WebhookSecret::parse(contractor.secret())?;
    Ok(Target { url: url(&contractor.url())?, secret, granted_by_local })
}

/// Where no message arrives, so that any secret will do.
fn target(text: &str, granted_by_local: bool) -> Result<Target> {
    let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    Ok(Target { url: url(text)?, secret, granted_by_local })
}

/// The contractor under a name.
fn named(contractor: &Contractor) -> Result<WebhookUrl> {
    url(&format!("http://tickets.example:{}/", contractor.address().port()))
}

fn refused(address: [u8; 4], refusal: Refusal) -> Outcome {
    Outcome::Retry { reason: Reason::Refused { address: address.into(), refusal } }
}

fn secured(credentials: Credentials) -> Result<Contractor> {
    Contractor::start_at([127, 0, 0, 1].into(), Some(credentials))
}

/// A server's certificate for the host `ip`.
fn host(ip: IpAddr) -> Leaf {
    Leaf {
        names: vec![SanType::IpAddress(ip)],
        validity: Validity::Current,
        usage: ExtendedKeyUsagePurpose::ServerAuth,
    }
}

/// `roots.pem` in the folder, with the certificates of these.
fn roots(folder: &TempDir, authorities: &[&Authority]) -> Result<PathBuf> {
    let pem = |authority: &&Authority| {
        let text = BASE64_STANDARD.encode(authority.certificate());
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    let path = folder.path().join("roots.pem");
    fs::write(&path, authorities.iter().map(pem).collect::<String>())?;
    Ok(path)
}

/// A name server that gives one answer after the other, and then none.
struct Names(Mutex<VecDeque<Vec<SocketAddr>>>);

impl Names {
    fn then(answers: impl IntoIterator<Item = Vec<SocketAddr>>) -> Self {
        Self(Mutex::new(answers.into_iter().collect()))
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> Resolution<'a> {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// A name server that never answers.
struct SilentNames;

impl Resolver for SilentNames {
    fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> Resolution<'a> {
        Box::pin(std::future::pending())
    }
}
