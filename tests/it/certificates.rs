//! Certificates over the wire: renewed in two phases, given back to whoever proves an old key, signed by a new
//! intermediate without a restart, and not at all while the controller does not believe its clock.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use bbt_proto::report::v1::{Code, Kind};
use bbt_tests::{
    audit_lines::refusals,
    county::County,
    device::{Device, Knock, Stream, reason},
    moved_clock::MovedClock,
    wait::{SOON, eventually},
};
use rustls::AlertDescription;
use rustls_pki_types::CertificateDer;
use uuid::Uuid;

const DAY_SECS: i64 = 86_400;

#[test]
fn a_renewed_certificate_takes_the_old_ones_place_when_it_is_first_used() -> Result<()> {
    let mut county = County::start()?;
    let old = Device::enroll(&county)?;
    let lost = old.renew()??;
    let new = old.renew()??;
    old.open().context("the old one is good until the new one was used")?;

    new.open().context("opening a stream with the new one")?;

    assert_eq!(refused(old.try_open(old.greeting(Uuid::new_v4()))?), "certificate_superseded");
    assert_eq!(refused(old.renew()?), "certificate_superseded");
    assert_eq!(refused(lost.confirm()?), "certificate_superseded", "an answer that never arrived");
    county.restart()?;
    assert_eq!(refused(old.confirm()?), "certificate_superseded");
    new.confirm()??;
    let shown = county.json(["device", "show", &new.id.to_string()])?;
    assert_eq!(shown["certificate"]["issuance"], "renewal", "{shown}");
    assert!(shown["certificate"]["used_at"].is_string(), "{shown}");
    eventually(SOON, "an audit line", || {
        let about = format!("device:{}", old.id);
        let lines = refusals(&county)?;
        let line = lines.iter().find(|line| line.cause() == "certificate_superseded").context("none yet")?;
        ensure!(line.detail["about"] == about.as_str(), "{line:?}");
        Ok(())
    })
}

#[test]
fn a_device_comes_back_by_its_old_key_unless_it_was_revoked() -> Result<()> {
    let county = County::start()?;
    let old = Device::enroll(&county)?;
    let new = old.renew()??;
    new.confirm()??;

    let back = old.reattach(&county)??;
    back.open().context("a stream of a device that came back")?;
    assert_eq!(back.id, old.id);
    assert_eq!(county.devices()?.len(), 1);
    assert_eq!(refused(new.renew()?), "certificate_superseded", "the newest one used is the one");

    county.cli(["device", "revoke", &old.id.to_string()])?;
    for device in [&old, &new, &back] {
        assert_eq!(refused(device.reattach(&county)?), "revoked");
    }
    county.cli(["device", "unrevoke", &old.id.to_string()])?;
    back.reattach(&county)??;
    Ok(())
}

#[test]
fn a_device_that_slept_through_its_certificate_comes_back_once_the_clock_is_accepted() -> Result<()> {
    let clock = MovedClock::new()?;
    let mut county = County::init()?;
    county.set_clock(&clock);
    county.serve()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    told(&mut stream, 1)?;

    // The year is not what it was: by a dead battery, or because it is.
    clock.shift(200 * DAY_SECS)?;
    eventually(SOON, "a trouble", || {
        ensure!(county.json(["status"])?["troubles"].to_string().contains("clock_tripped"));
        Ok(())
    })?;
    assert!(!told(&mut stream, 2)?, "no time is signed");
    device.open().context("whoever holds a certificate goes on")?;
    assert_eq!(refused(device.renew()?), "clock_guard");

    county.cli(["clock", "accept"])?;
    assert_eq!(device.knock()?, Knock::Refused(AlertDescription::CertificateExpired));
    let back = device.reattach(&county)??;
    assert_eq!(back.id, device.id);
    assert!(told(&mut back.open()?, 1)?, "times are signed again");
    county.stop()
}

#[test]
fn a_clock_that_fell_back_while_the_controller_was_off_is_accepted_without_a_start() -> Result<()> {
    let mut county = County::start()?;
    let device = Device::enroll(&county)?;
    county.stop()?;
    let mark = county.data().join("clock.mark");
    let ahead = "2099-01-01T00:00:00Z\n";
    fs::write(&mark, ahead)?;
    assert_eq!(county.json(["status"])?["time"].as_str().context("a time")?.get(..4), Some("2099"));

    let accepted = county.json(["clock", "accept"])?;

    assert!(accepted["before"].as_str().context("a time")?.starts_with("2099"), "{accepted}");
    county.serve()?;
    device.open().context("a controller that believes its clock")?;
    assert_eq!(county.json(["status"])?["clock"], "ok");
    Ok(())
}

#[test]
fn a_new_intermediate_signs_without_a_restart_and_the_old_one_is_still_known() -> Result<()> {
    let county = County::start()?;
    let device = Device::enroll(&county)?;
    let mut stream = device.open()?;
    let before = device.shown_by_the_controller()?;
    let root_key = away(&county)?;

    let made = county.json(["ca", "rotate", "--root-key", path(&root_key)?])?;

    assert_eq!(made["intermediates"], 2, "{made}");
    told(&mut stream, 1).context("an open stream goes on")?;
    let after = changed(&device, &before)?;
    assert_ne!(after, before, "the listeners show a certificate of the new one");
    let renewed = device.renew()??;
    let issuers = |device: &Device| issuer_key(device.certificate().context("a certificate")?);
    assert_ne!(issuers(&renewed)?, issuers(&device)?, "the new one signs");
    renewed.open()?;
    device.reattach(&county)??.open().context("a device with a certificate of the old one")?;
    assert!(!county.data().join("pki/issuing.key").exists(), "the old one signs nothing more");
    Ok(())
}

#[test]
fn a_hang_up_shows_new_names_and_a_rotation_of_a_stopped_controller_is_there_at_the_start() -> Result<()> {
    let mut county = County::start()?;
    let device = Device::enroll(&county)?;
    let before = device.shown_by_the_controller()?;
    let file = county.data().join("controller.toml");
    let text = fs::read_to_string(&file)?.replace("names = [", "names = [\"county.example\", ");
    fs::write(&file, text)?;

    county.hang_up()?;

    let after = changed(&device, &before)?;
    assert!(names(&after)?.contains("county.example"), "{}", names(&after)?);

    county.stop()?;
    let wrong =
        county.output(["ca", "rotate", "--root-key", path(&county.data().join("pki/issuing.key"))?])?;
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("not that of this county's root"));
    let root_key = away(&county)?;
    county.cli(["ca", "rotate", "--root-key", path(&root_key)?])?;
    county.serve()?;
    assert_ne!(device.shown_by_the_controller()?, after);
    device.renew()??.confirm()??;
    Ok(())
}

/// Sends one report; whether a time came with its verdict.
fn told(stream: &mut Stream, seq: u64) -> Result<bool> {
    let frame = stream.frame(seq, Kind::State, vec![]);
    stream.send(vec![frame])?;
    let ack = stream.ack()?;
    ensure!(ack.verdicts.iter().all(|verdict| verdict.code() == Code::Committed), "{ack:?}");
    Ok(ack.time.is_some())
}

/// The reason of a refusal.
fn refused<T>(answer: Result<T, tonic::Status>) -> String {
    answer.err().map(|status| reason(&status).to_owned()).unwrap_or_default()
}

/// The root's key, where the controller does not have it.
fn away(county: &County) -> Result<PathBuf> {
    let (kept, away) = (county.data().join("pki/root.key"), county.data().with_file_name("root.key"));
    fs::rename(kept, &away).context("taking the root's key away")?;
    Ok(away)
}

fn path(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("a path of words")
}

/// What the controller shows once it is not `before` any more.
fn changed(device: &Device, before: &CertificateDer<'_>) -> Result<CertificateDer<'static>> {
    eventually(SOON, "another certificate of the listeners", || {
        let shown = device.shown_by_the_controller()?;
        ensure!(shown != *before, "still the one before");
        Ok(shown)
    })
}

fn names(certificate: &CertificateDer<'_>) -> Result<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)?;
    let names = parsed.subject_alternative_name()?.context("no names")?;
    Ok(format!("{:?}", names.value.general_names))
}

/// By which its issuer's key is known.
fn issuer_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>> {
    use x509_parser::extensions::ParsedExtension;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)?;
    let found = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(key) => key.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    });
    found.context("no key of an issuer")
}
