//! Who is turned away: nothing of it is stored, the audit says so once a minute, and the person who can act
//! learns why.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Output,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bbt_proto::{
    enrollment::v1::EnrollRequest,
    report::v1::{Code, Frame, Kind},
};
use bbt_tests::{
    agent::Agent,
    audit_lines::{AuditLine, refusals, row_counts, rows_of},
    county::{County, Token},
    device::{Applicant, Device, Knock, reason, stolen_authority, try_enroll},
    pki::{Authority, Credentials, Leaf, Validity},
    wait::{SOON, eventually},
};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::{AlertDescription, SupportedProtocolVersion, version::TLS12};
use serde_json::{Value, json};
use tonic::Status;
use uuid::Uuid;

/// A revocation ends what is open within this time: a promise, not a speed.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);
/// The agent asks a controller that said "revoked" again after 10 to 15 minutes.
const ASKED_AGAIN_WITHIN: Duration = Duration::from_secs(16 * 60);

// ------------------------------------------------------------------------------ tokens and the pin

#[test]
fn a_token_that_was_never_made_lets_nobody_in() -> Result<()> {
    let county = County::start()?;
    let token = Token { token: "never-made".to_owned(), ..county.token()? };

    let said = refused_at_enrolment(&county, &token, "token_unknown")?;

    assert!(said.contains("does not know this token"), "{said}");
    assert!(said.contains("bbt-controller token create"), "{said}");
    Ok(())
}

#[test]
fn a_token_lets_in_as_many_as_it_was_made_for() -> Result<()> {
    let county = County::start()?;
    let token = county.token()?;
    try_enroll(&county, &token, Ipv4Addr::LOCALHOST.into())??;

    let said = refused_at_enrolment(&county, &token, "token_used")?;

    assert!(said.contains("was used"), "{said}");
    assert!(said.contains("bbt-controller token create"), "{said}");
    Ok(())
}

#[test]
fn a_token_lets_nobody_in_after_its_end() -> Result<()> {
    let county = County::start()?;
    let token = county.token_with(&["--expires", "1s"])?;
    let made = Instant::now();
    eventually(SOON, "the token's end", || {
        ensure!(made.elapsed() > Duration::from_secs(1), "it is still good");
        Ok(())
    })?;

    let said = refused_at_enrolment(&county, &token, "token_expired")?;

    assert!(said.contains("has expired"), "{said}");
    assert!(said.contains("bbt-controller token create"), "{said}");
    Ok(())
}

#[test]
fn an_agent_tells_its_token_to_nobody_but_the_pinned_county() -> Result<()> {
    let mut county = County::start()?;
    let token = county.token()?;
    let before = row_counts(&county)?;
    let digit = if token.ca_sha256.starts_with('0') { "1" } else { "0" };
    let pin = format!("{digit}{}", &token.ca_sha256[1..]);
    let agent = Agent::new()?;

    let output = agent.try_enroll(&Token { ca_sha256: pin, ..token.clone() })?;

    let said = failed(&output)?;
    assert!(said.contains("root certificate that was pinned"), "{said}");
    assert!(said.contains("--ca-sha256"), "{said}");
    assert!(agent.status()?["device"].is_null());
    assert_eq!(row_counts(&county)?, before);
    // The token was not used up: with the right pin the same line works.
    let output = agent.try_enroll(&token)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    county.stop()?;
    assert_eq!(refusals(&county)?, [], "it was the agent that refused");
    Ok(())
}

#[test]
fn twenty_attempts_of_one_peer_are_one_line_a_minute_for_each_cause() -> Result<()> {
    let mut county = County::start()?;
    let token = county.token()?;
    let before = row_counts(&county)?;
    let unknown = Token { token: "never-made".to_owned(), ..token };
    let minutes = Minutes::begin()?;
    let (one, other) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));

    for _ in 0..20 {
        let status = refusal_of(try_enroll(&county, &unknown, one.into())?)?;
        assert_eq!(reason(&status), "token_unknown");
    }
    let status = refusal_of(try_enroll(&county, &unknown, other.into())?)?;
    assert_eq!(reason(&status), "token_unknown");
    let mut applicant = Applicant::new(&county, one.into())?;
    let stale = EnrollRequest { nonce: vec![9; 16], ..applicant.request()? };
    assert_eq!(reason(&refusal_of(applicant.enroll(stale)?)?), "nonce_unknown");
    let garbled = EnrollRequest { certificate_request: b"noise".to_vec(), ..applicant.request()? };
    assert_eq!(reason(&refusal_of(applicant.enroll(garbled)?)?), "request_invalid");

    let least = minutes.passed()?;
    let told = audited(&mut county, 4)?;
    for (cause, peer) in
        [("token_unknown", one), ("token_unknown", other), ("nonce_unknown", one), ("request_invalid", one)]
    {
        assert_once_a_minute(&told, "enrollment.refused", cause, peer.into(), least);
    }
    assert_eq!(row_counts(&county)?, before);
    let logged = county.log().matches("cause=\"token_unknown\"").count();
    assert!((2..=2 * least).contains(&logged), "{logged} lines of two peers in {least} minutes");
    Ok(())
}

// ------------------------------------------------------------------------------ certificates

#[test]
fn only_this_countys_certificates_of_devices_are_let_in() -> Result<()> {
    let mut county = County::start()?;
    let known = Device::enroll(&county)?;
    let before = row_counts(&county)?;
    let minutes = Minutes::begin()?;
    let strangers = strangers(&county, known.id)?;

    for (index, stranger) in strangers.iter().enumerate() {
        let device = stranger.at(&county, index)?;
        // Every attempt is refused; the second within the minute is not written down again.
        for _ in 0..2 {
            assert_eq!(device.knock()?, Knock::Refused(stranger.alert), "{}", stranger.what);
        }
    }

    assert_eq!(known.knock()?, Knock::LetIn);
    let most = minutes.passed()?;
    let told = audited(&mut county, strangers.len())?;
    for (index, stranger) in strangers.iter().enumerate() {
        assert_once_a_minute(&told, "connection.refused", stranger.cause, peer(index), most);
    }
    assert_eq!(row_counts(&county)?, before);
    Ok(())
}

#[test]
fn an_old_tls_is_not_spoken_on_the_ports_of_devices() -> Result<()> {
    let county = County::start()?;
    const OLD: &[&SupportedProtocolVersion] = &[&TLS12];
    let known = Device::enroll(&county)?.speaking(OLD);
    assert_eq!(known.knock()?, Knock::Refused(AlertDescription::ProtocolVersion));
    Ok(())
}

#[test]
fn a_device_that_is_not_in_the_records_is_told_to_enrol() -> Result<()> {
    let mut county = County::start()?;
    let id = Uuid::new_v4();
    let credentials = stolen_authority(&county)?.device(&domain(&county)?, id, Validity::Current)?;
    let device = Device::holding(&county, id, Some(credentials))?;
    let before = row_counts(&county)?;
    let minutes = Minutes::begin()?;

    for _ in 0..20 {
        let status = refusal_of(device.try_open(device.greeting(Uuid::new_v4()))?)?;
        assert_eq!((status.code(), reason(&status)), (tonic::Code::PermissionDenied, "unknown_device"));
        assert!(status.message().contains("enrol it anew"), "{status}");
    }

    let most = minutes.passed()?;
    let told = audited(&mut county, 1)?;
    assert_once_a_minute(&told, "connection.refused", "unknown_device", Ipv4Addr::LOCALHOST.into(), most);
    assert_eq!(row_counts(&county)?, before);
    Ok(())
}

// ------------------------------------------------------------------------------ another's name

#[test]
fn a_stream_is_opened_in_ones_own_name_only() -> Result<()> {
    let mut county = County::start()?;
    let (device, other) = (Device::enroll(&county)?, Device::enroll(&county)?);
    let before = row_counts(&county)?;
    let minutes = Minutes::begin()?;

    for _ in 0..20 {
        let status = refusal_of(device.try_open(other.greeting(Uuid::new_v4()))?)?;
        assert_eq!((status.code(), reason(&status)), (tonic::Code::PermissionDenied, "other_identity"));
        assert!(status.message().contains(&other.id.to_string()), "{status}");
    }

    let most = minutes.passed()?;
    let told = audited(&mut county, 1)?;
    assert_once_a_minute(&told, "reports.refused", "other_identity", Ipv4Addr::LOCALHOST.into(), most);
    assert_eq!(told[0].detail["about"], format!("device:{}", device.id));
    assert_eq!(row_counts(&county)?, before);
    Ok(())
}

#[test]
fn reports_that_name_another_device_are_refused_and_their_neighbours_stored() -> Result<()> {
    let mut county = County::start()?;
    let (device, other) = (Device::enroll(&county)?, Device::enroll(&county)?);
    let mut stream = device.open()?;
    let minutes = Minutes::begin()?;
    for round in 0..20 {
        let first = 3 * round + 1;
        let own = |seq| stream.frame(seq, Kind::State, Vec::new());
        let foreign = Frame { device_id: other.id.as_bytes().to_vec().into(), ..own(first + 1) };
        let frames = vec![own(first), foreign, own(first + 2)];
        stream.send(frames)?;
        let codes: Vec<_> = stream.ack()?.verdicts.iter().map(|v| (v.first_seq, v.code())).collect();
        let wanted = [Code::Committed, Code::OtherIdentity, Code::Committed];
        assert_eq!(codes, (first..).zip(wanted).collect::<Vec<_>>());
    }

    let most = minutes.passed()?;
    let told = audited(&mut county, 1)?;
    assert_once_a_minute(&told, "reports.refused", "other_identity", Ipv4Addr::LOCALHOST.into(), most);
    assert_eq!(rows_of(&county, "run")?, 1, "only the sender has reported");
    Ok(())
}

// ------------------------------------------------------------------------------ revocation

#[test]
fn a_revoked_agent_is_cut_off_says_so_and_comes_back() -> Result<()> {
    let county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.run()?;
    let id = county.first_report()?["id"].as_str().context("a device has an id")?.to_owned();

    let mut told = 0;
    let mut hears_of_it = |agent: &Agent| {
        told += 1;
        eventually(SOON, "the agent's word of it", || {
            ensure!(agent.log().matches("is revoked").count() == told, "{}", agent.log());
            Ok(())
        })
    };
    for _ in 0..3 {
        eventually(SOON, "the agent's stream", || open_streams(&county, 1))?;
        county.cli(["device", "revoke", &id])?;
        eventually(REVOKED_WITHIN, "the end of the revoked device's stream", || open_streams(&county, 0))?;
        hears_of_it(&agent)?;

        // While the device is away nobody can tell it: TLS does when it comes back.
        agent.kill()?;
        agent.run()?;
        hears_of_it(&agent)?;

        county.cli(["device", "unrevoke", &id])?;
        agent.kill()?;
        agent.run()?;
    }
    eventually(SOON, "the agent's stream", || open_streams(&county, 1))?;

    let causes: Vec<_> = refusals(&county)?.iter().map(|line| line.cause().to_owned()).collect();
    assert!(!causes.is_empty() && causes.iter().all(|cause| cause == "revoked"), "{causes:?}");
    let log = county.log();
    let about = format!("about=\"device:{id}\"");
    assert!(log.lines().any(|line| line.contains("cause=\"revoked\"") && line.contains(&about)), "{log}");
    Ok(())
}

#[test]
fn the_status_of_a_revoked_agent_says_who_can_act() -> Result<()> {
    let county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.run()?;
    let id = county.first_report()?["id"].as_str().context("a device has an id")?.to_owned();
    agent.kill()?;
    county.cli(["device", "revoke", &id])?;
    agent.run()?;

    eventually(SOON, "the agent's own word of it", || says_revoked(&agent))?;
    let text = String::from_utf8(agent.output("status", [""; 0])?.stdout)?;
    assert!(text.contains("bbt-controller device unrevoke"), "{text}");
    assert!(text.contains("reports are kept here"), "{text}");

    county.cli(["device", "unrevoke", &id])?;
    agent.kill()?;
    agent.run()?;
    eventually(SOON, "a status without a problem", || {
        let status = agent.status()?;
        let run = &status["last_run"];
        ensure!(run["connection"]["state"] == "connected" && run["problems"] == json!([]), "{status}");
        Ok(())
    })
}

#[test]
fn the_doctor_of_an_agent_asks_the_county_and_disturbs_nobody() -> Result<()> {
    let county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.run()?;
    let id = county.first_report()?["id"].as_str().context("a device has an id")?.to_owned();

    let output = agent.output("doctor", [""; 0])?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}");
    assert!(text.contains("lets this device in") && text.contains("at the county"), "{text}");
    assert_eq!(agent.status()?["last_run"]["problems"], json!([]), "the stream went on");

    county.cli(["device", "revoke", &id])?;
    let output = agent.output("doctor", ["--json"])?;
    assert_eq!(output.status.code(), Some(1));
    let diagnosis: Value = serde_json::from_slice(&output.stdout)?;
    let checks = diagnosis["checks"].as_array().context("a list of checks")?;
    let controller = checks.iter().find(|check| check["what"] == "controller").context("a line of it")?;
    assert_eq!(controller["verdict"], "bad");
    assert!(
        controller["remedy"].as_str().is_some_and(|text| text.contains("device unrevoke")),
        "{controller}"
    );
    Ok(())
}

#[test]
#[ignore = "waits out the agent's quarter of an hour; run it with --ignored"]
fn an_agent_whose_access_is_given_back_returns_unaided() -> Result<()> {
    let county = County::start()?;
    let mut agent = Agent::enroll(&county)?;
    agent.run()?;
    let id = county.first_report()?["id"].as_str().context("a device has an id")?.to_owned();
    county.cli(["device", "revoke", &id])?;
    eventually(SOON, "the agent's own word of it", || says_revoked(&agent))?;

    county.cli(["device", "unrevoke", &id])?;

    eventually(ASKED_AGAIN_WITHIN, "the agent's return", || open_streams(&county, 1))?;
    agent.stop()
}

#[test]
fn a_revoked_device_hears_it_on_its_open_stream_and_after_that_from_tls() -> Result<()> {
    let mut county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let minutes = Minutes::begin()?;

    county.cli(["device", "revoke", &device.id.to_string()])?;

    let status = stream.ended()?;
    assert_eq!((status.code(), reason(&status)), (tonic::Code::PermissionDenied, "revoked"));
    let before = row_counts(&county)?;
    for _ in 0..20 {
        assert_eq!(device.knock()?, Knock::Refused(AlertDescription::CertificateRevoked));
    }
    // A new certificate for the same key would be a way around.
    county.kill()?;
    county.serve()?;
    assert_eq!(device.knock()?, Knock::Refused(AlertDescription::CertificateRevoked), "after a restart");
    assert_eq!(row_counts(&county)?, before);

    county.cli(["device", "unrevoke", &device.id.to_string()])?;
    assert_eq!(device.knock()?, Knock::LetIn);
    let most = minutes.passed()?;
    let told = audited(&mut county, 1)?;
    let revoked = told.iter().filter(|line| line.cause() == "revoked").count();
    // The restarted controller may not know what the one before wrote in this minute.
    assert!((1..=most + 1).contains(&revoked), "{told:?}");
    assert_eq!(told[0].detail["about"], format!("device:{}", device.id));
    Ok(())
}

// ------------------------------------------------------------------------------ helpers

/// Somebody with a certificate that is not good enough.
struct Stranger {
    what: &'static str,
    credentials: Option<Credentials>,
    alert: AlertDescription,
    cause: &'static str,
}

impl Stranger {
    /// From an address of its own, so that it gets its own line of the audit.
    fn at(&self, county: &County, index: usize) -> Result<Device> {
        let credentials = self.credentials.as_ref().map(Credentials::copy);
        Ok(Device::holding(county, Uuid::nil(), credentials)?.from_address(peer(index)))
    }
}

fn peer(index: usize) -> IpAddr {
    let last = u8::try_from(index + 1).expect("there are few strangers");
    Ipv4Addr::new(127, 0, 1, last).into()
}

/// All who come with another certificate than a device's of this county; those with our own issuing key name
/// the device `known`.
fn strangers(county: &County, known: Uuid) -> Result<Vec<Stranger>> {
    let domain = domain(county)?;
    let (foreign, ours) = (Authority::foreign()?, stolen_authority(county)?);
    let uri = format!("spiffe://{domain}/device/{known}");
    let issued = |leaf: Leaf| ours.issue(leaf).map(Some);
    let dns = SanType::DnsName(format!("{known}.{domain}").try_into()?);
    let other = Uuid::new_v4();
    let wrong_name = |what, credentials| Stranger {
        what,
        credentials,
        alert: AlertDescription::AccessDenied,
        cause: "wrong_name",
    };
    let stranger = |what, credentials, alert, cause| Stranger { what, credentials, alert, cause };
    Ok(vec![
        stranger("none", None, AlertDescription::CertificateRequired, "no_certificate"),
        stranger(
            "another county's",
            Some(foreign.device(&domain, known, Validity::Current)?),
            AlertDescription::UnknownCA,
            "foreign_certificate",
        ),
        stranger(
            "self-made",
            Some(Leaf::device(&domain, known)?.self_signed()?),
            AlertDescription::UnknownCA,
            "foreign_certificate",
        ),
        stranger(
            "expired",
            Some(ours.device(&domain, known, Validity::Expired)?),
            AlertDescription::CertificateExpired,
            "expired_certificate",
        ),
        stranger(
            "not yet good",
            Some(ours.device(&domain, known, Validity::NotYet)?),
            AlertDescription::CertificateExpired,
            "expired_certificate",
        ),
        stranger(
            "a server's",
            issued(Leaf { usage: ExtendedKeyUsagePurpose::ServerAuth, ..Leaf::device(&domain, known)? })?,
            AlertDescription::UnsupportedCertificate,
            "foreign_certificate",
        ),
        wrong_name(
            "of two devices",
            issued(Leaf::named(&[&uri, &format!("spiffe://{domain}/device/{other}")])?)?,
        ),
        wrong_name("twice the same", issued(Leaf::named(&[&uri, &uri])?)?),
        wrong_name("in upper case", issued(Leaf::named(&[&uri.to_uppercase()])?)?),
        wrong_name(
            "with an id in upper case",
            issued(Leaf::named(&[&format!(
                "spiffe://{domain}/device/{}",
                known.to_string().to_uppercase()
            )])?)?,
        ),
        wrong_name(
            "of another trust domain",
            issued(Leaf::device("00112233445566778899aabbccddeeff.bbt", known)?)?,
        ),
        wrong_name("with a longer path", issued(Leaf::named(&[&format!("{uri}/more")])?)?),
        wrong_name("with a query", issued(Leaf::named(&[&format!("{uri}?device={other}")])?)?),
        wrong_name("with a host name", issued(Leaf { names: vec![dns.clone()], ..Leaf::named(&[])? })?),
        wrong_name(
            "with a host name beside its own",
            issued(Leaf { names: vec![SanType::URI(uri.as_str().try_into()?), dns], ..Leaf::named(&[])? })?,
        ),
        wrong_name("without a name", issued(Leaf::named(&[])?)?),
    ])
}

fn domain(county: &County) -> Result<String> {
    let status = county.json(["status"])?;
    status["trust_domain"].as_str().map(str::to_owned).context("`status` names the trust domain")
}

/// Enrols the real agent and expects it to fail for `cause`, with nothing stored on either side and a line in
/// audit and log; gives what the agent said.
fn refused_at_enrolment(county: &County, token: &Token, cause: &str) -> Result<String> {
    let before = row_counts(county)?;
    let agent = Agent::new()?;
    let said = failed(&agent.try_enroll(token)?)?;
    assert_eq!(row_counts(county)?, before);
    assert!(agent.status()?["device"].is_null());
    let lines = eventually(SOON, "a line of the audit", || {
        let lines = refusals(county)?;
        ensure!(!lines.is_empty(), "there is none");
        Ok(lines)
    })?;
    let told: Vec<_> = lines.iter().map(|line| (line.action.as_str(), line.cause())).collect();
    assert_eq!(told, [("enrollment.refused", cause)]);
    assert!(county.log().contains(&format!("refused cause=\"{cause}\"")), "{}", county.log());
    Ok(said)
}

fn failed(output: &Output) -> Result<String> {
    let said = String::from_utf8(output.stderr.clone())?;
    ensure!(output.status.code() == Some(1), "it ended with {}: {said}", output.status);
    Ok(said)
}

fn refusal_of<T>(answer: Result<T, Status>) -> Result<Status> {
    answer.err().context("it was not refused")
}

fn open_streams(county: &County, wanted: u64) -> Result<()> {
    let streams = county.json(["status"])?["live"]["streams"].clone();
    ensure!(streams == wanted, "{streams} streams are open");
    Ok(())
}

fn says_revoked(agent: &Agent) -> Result<()> {
    let status = agent.status()?;
    let problems = status["last_run"]["problems"].as_array().context("a run has problems")?;
    ensure!(problems.iter().any(|problem| problem["code"] == "revoked"), "{status}");
    Ok(())
}

/// Waits for `least` lines, ends the controller, so that nothing more is written, and gives the lines.
fn audited(county: &mut County, least: usize) -> Result<Vec<AuditLine>> {
    eventually(SOON, "the lines of the audit", || {
        let lines = refusals(county)?;
        ensure!(lines.len() >= least, "there are {lines:?}");
        Ok(())
    })?;
    county.stop()?;
    refusals(county)
}

/// The minutes of the clock in which something happened.
struct Minutes(u64);

impl Minutes {
    fn begin() -> Result<Self> {
        Ok(Self(Self::now()?))
    }

    /// How many there were: one, unless the clock turned.
    fn passed(&self) -> Result<usize> {
        Ok(usize::try_from(Self::now()? - self.0)? + 1)
    }

    fn now() -> Result<u64> {
        Ok(bbt_tests::wait::since_1970()?.as_secs() / 60)
    }
}

/// At least one line, and at most one for each of the minutes.
fn assert_once_a_minute(told: &[AuditLine], action: &str, cause: &str, peer: IpAddr, minutes: usize) {
    let subject = peer.to_string();
    let about = |line: &&AuditLine| {
        (line.action.as_str(), line.cause(), line.subject.as_str()) == (action, cause, subject.as_str())
    };
    let lines = told.iter().filter(about).count();
    assert!(
        (1..=minutes).contains(&lines),
        "{lines} lines of {cause} by {peer} in {minutes} minutes: {told:#?}"
    );
}
