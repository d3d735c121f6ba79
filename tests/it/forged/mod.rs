//! Forged and odd certificates at the agents' port: nobody gets in with one, nothing breaks, and each is written
//! down with its cause once a minute. The thief here has the county's root key, its issuing key and a device.

mod kinds;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context, Result, ensure};
use bbt_domain::time::UtcMicros;
use bbt_tests::{
    audit_lines::{AuditLine, refusals, row_counts},
    county::County,
    der::{Form, Signer, common_name},
    device::{Device, Knock, reason, root},
    pki::Credentials,
    wait::{SOON, eventually, since_1970},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use uuid::Uuid;

/// What becomes of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// The handshake fails, and the audit has this cause.
    Refused(&'static str),
    /// The handshake fails before it is about a certificate: nobody's business.
    Noise,
    /// TLS lets it in; a stream is refused with this word.
    Named(&'static str),
    /// It is as good as a device's own.
    LetIn,
}

struct Forgery {
    what: &'static str,
    chain: Vec<Vec<u8>>,
    key: PrivateKeyDer<'static>,
    met: Met,
}

#[test]
fn no_forged_certificate_is_let_in_and_each_is_written_down_once() -> Result<()> {
    let mut county = County::start()?;
    let thief = Thief::new(&county)?;
    let forgeries = thief.forgeries()?;
    ensure!(forgeries.iter().filter(|forgery| forgery.met != Met::LetIn).count() >= 60, "sixty kinds");
    let before = row_counts(&county)?;
    let minute = minute()?;

    let mut otherwise = Vec::new();
    for (index, forgery) in forgeries.iter().enumerate() {
        // The second time within the minute is not written down again.
        for _ in 0..2 {
            match thief.show(&county, forgery, peer(index)) {
                Ok(met) if met == forgery.met => {}
                other => otherwise.push(format!("{}: {other:?}", forgery.what)),
            }
        }
    }
    assert_eq!(otherwise, [""; 0]);

    assert_eq!(thief.device.knock()?, Knock::LetIn, "an honest device still is");
    assert_eq!(row_counts(&county)?, before, "nothing of it is stored");
    county.ensure_running()?;
    let log = county.log();
    ensure!(!log.contains("panicked"), "{log}");
    let minutes = self::minute()? - minute + 1;
    each_is_written_down(&mut county, &forgeries, usize::try_from(minutes)?)
}

fn each_is_written_down(county: &mut County, forgeries: &[Forgery], minutes: usize) -> Result<()> {
    let written = |lines: &[AuditLine], index: usize| {
        let peer = peer(index).to_string();
        lines
            .iter()
            .filter(|line| line.subject == peer)
            .map(|line| line.cause().to_owned())
            .collect::<Vec<_>>()
    };
    eventually(SOON, "the lines of the audit", || {
        let lines = refusals(county)?;
        let missing = forgeries.iter().enumerate().filter_map(|(index, forgery)| {
            let (Met::Refused(cause) | Met::Named(cause)) = forgery.met else { return None };
            let told = written(&lines, index);
            (!told.iter().any(|told| told == cause)).then(|| format!("{}: {told:?}", forgery.what))
        });
        let missing: Vec<_> = missing.collect();
        ensure!(missing.is_empty(), "{missing:#?}");
        Ok(())
    })?;
    county.stop()?;
    let (lines, log) = (refusals(county)?, county.log());
    for (index, forgery) in forgeries.iter().enumerate() {
        let told = written(&lines, index);
        let logged = log.lines().filter(|line| line.contains(&format!("peer={} ", peer(index)))).count();
        match forgery.met {
            Met::Refused(cause) | Met::Named(cause) => {
                ensure!((1..=minutes).contains(&told.len()), "{}: {told:?}", forgery.what);
                ensure!(told.iter().all(|told| told == cause), "{}: {told:?}", forgery.what);
                ensure!((1..=minutes).contains(&logged), "{}: {logged} lines of the log", forgery.what);
            }
            Met::Noise | Met::LetIn => ensure!(told.is_empty(), "{}: {told:?}", forgery.what),
        }
    }
    Ok(())
}

/// Each comes from an address of its own, so that it gets its own line of the audit.
fn peer(index: usize) -> IpAddr {
    let last = u8::try_from(index + 1).expect("there are fewer than 255");
    Ipv4Addr::new(127, 0, 2, last).into()
}

fn minute() -> Result<u64> {
    Ok(since_1970()?.as_secs() / 60)
}

/// Holds the county's keys and an enrolled device.
struct Thief {
    device: Device,
    revoked: Uuid,
    domain: String,
    now: UtcMicros,
    own: Vec<Vec<u8>>,
    /// Of a key of the thief's own, which all forgeries are for.
    key: Signer,
    root: Signer,
    issuing: Signer,
    listener: Vec<u8>,
}

impl Thief {
    fn new(county: &County) -> Result<Self> {
        let (device, revoked) = (Device::enroll(county)?, Device::enroll(county)?);
        county.cli(["device", "revoke", &revoked.id.to_string()])?;
        // What an honest device leaves behind is there before anything is counted.
        drop(device.open()?);
        let own = device.credentials().context("an enrolled device has a certificate")?;
        let own: Vec<_> = own.chain.iter().map(|der| der.to_vec()).collect();
        ensure!(own.len() == 3, "leaf, issuing, root");
        let status = county.json(["status"])?;
        let domain = status["trust_domain"].as_str().context("`status` names the trust domain")?;
        let read = |path: &str| {
            let path = county.data().join(path);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let listener = CertificateDer::from_pem_slice(read("pki/listener.crt")?.as_bytes())?;
        Ok(Self {
            device,
            revoked: revoked.id,
            domain: domain.to_owned(),
            now: UtcMicros::from_secs(i64::try_from(since_1970()?.as_secs())?),
            key: Signer::new(common_name("bbt device"))?,
            root: Signer::from_pem(subject(&root(county)?)?, &read("pki/root.key")?)?,
            issuing: Signer::from_pem(subject(&own[1])?, &read("pki/issuing.key")?)?,
            listener: listener.to_vec(),
            own,
        })
    }

    /// What becomes of somebody who shows `forgery`.
    fn show(&self, county: &County, forgery: &Forgery, from: IpAddr) -> Result<Met> {
        let chain = forgery.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let credentials = Credentials { chain, key: forgery.key.clone_key() };
        let id = if let Met::Named(_) = forgery.met { UNKNOWN } else { self.device.id };
        let device = Device::holding(county, id, Some(credentials))?.from_address(from);
        match (device.knock(), forgery.met) {
            (Ok(Knock::LetIn), Met::Named(_)) => match device.try_open(device.greeting(Uuid::new_v4()))? {
                Ok(_) => Ok(Met::LetIn),
                Err(status) if reason(&status) == "unknown_device" => Ok(Met::Named("unknown_device")),
                Err(status) => Err(status.into()),
            },
            (Ok(Knock::LetIn), _) => device.open().map(|_| Met::LetIn),
            // The alert says no more than that; why stands in the audit.
            (Ok(Knock::Refused(_)), met @ (Met::Refused(_) | Met::Noise)) => Ok(met),
            (Ok(Knock::Refused(alert)), _) => anyhow::bail!("refused with {alert:?}"),
            // A connection that ends without an alert is no less ended.
            (Err(_), Met::Noise) => Ok(Met::Noise),
            (Err(error), _) => Err(error),
        }
    }

    fn uri(&self) -> String {
        self.uri_of(self.device.id)
    }

    fn uri_of(&self, id: Uuid) -> String {
        format!("spiffe://{}/device/{id}", self.domain)
    }

    /// A certificate of the known device as the county itself would have issued it, but for the thief's key.
    fn good(&self) -> Form {
        Form::device(&self.issuing, &self.uri(), &self.key, self.now)
    }

    /// What the county's issuing key signs.
    fn issued(&self, what: &'static str, cause: &'static str, form: &Form) -> Result<Forgery> {
        Ok(self.shown(what, vec![form.signed_by(&self.issuing)?, self.own[1].clone()], Met::Refused(cause)))
    }

    fn shown(&self, what: &'static str, chain: Vec<Vec<u8>>, met: Met) -> Forgery {
        Forgery { what, chain, key: self.key.private_key(), met }
    }
}

/// A device that nobody ever enrolled.
const UNKNOWN: Uuid = Uuid::from_bytes([0x42; 16]);

fn subject(der: &[u8]) -> Result<Vec<u8>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).context("reading a certificate")?;
    Ok(certificate.subject().as_raw().to_vec())
}
