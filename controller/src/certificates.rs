//! The certificates that the running controller shows and signs with, and how they are exchanged while it runs.
//!
//! Every port looks up its settings at each handshake, so an exchange is felt by new connections only; open ones go
//! on. What is exchanged together: the settings of the three ports, and the signer of times, whose chain is that of
//! the listeners' certificate.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use bbt_domain::identity::TrustDomain;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;

use crate::{
    clock::SharedClock,
    listen::tls::{self, DeviceVerifier, TlsError},
    pki::{
        PkiError,
        authority::{Authority, SharedAuthority},
        issue::{self, Listener},
        signed_time::{SharedSigner, TimeSigner},
    },
};

/// Settings of a port, looked up at each handshake.
pub type PortSettings = Arc<ArcSwap<ServerConfig>>;

/// Certificates that could not be read, made or put to use; those in use stay.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Keys.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// TLS settings.
    #[error("the TLS settings of the listeners are not accepted: {0}")]
    Tls(#[from] TlsError),
}

/// What certificates are made from.
pub struct Source {
    /// Keys and certificates.
    pub folder: PathBuf,
    /// The authority in force.
    pub authority: SharedAuthority,
    /// In each signed time.
    pub domain: TrustDomain,
    /// By which certificates are good.
    pub clock: SharedClock,
    /// Who is let in on the devices' port.
    pub verifier: Arc<DeviceVerifier>,
}

/// See the head of the module.
pub struct Certificates {
    source: Source,
    /// Host names and addresses in the listeners' certificate.
    names: ArcSwap<Vec<String>>,
    /// The listeners' certificate in use; held while it is exchanged.
    shown: Mutex<CertificateDer<'static>>,
    /// Of the devices' port.
    pub agents: PortSettings,
    /// Of the enrolment port.
    pub enrollment: PortSettings,
    /// Of the console.
    pub console: PortSettings,
    /// Signs times.
    pub signer: SharedSigner,
}

impl Certificates {
    /// Those of the folder; a listeners' certificate is made if there is none that fits. That one is made even by a
    /// clock in doubt: its time is one that was, and without a certificate nobody could be told anything.
    pub fn open(source: Source, names: Vec<String>) -> Result<Self, ExchangeError> {
        let listener = issue::listener(&source.authority.load(), &source.folder, &names, source.clock.now())?;
        let In { agents, enrollment, console, signer } = source.put_in(&listener)?;
        Ok(Self {
            source,
            names: ArcSwap::from_pointee(names),
            shown: Mutex::new(listener.chain[0].clone()),
            agents: Arc::new(ArcSwap::from_pointee(agents)),
            enrollment: Arc::new(ArcSwap::from_pointee(enrollment)),
            console: Arc::new(ArcSwap::from_pointee(console)),
            signer: Arc::new(ArcSwap::from_pointee(signer)),
        })
    }

    /// What signs now.
    pub fn authority(&self) -> Arc<Authority> {
        self.source.authority.load_full()
    }

    /// Who is let in on the devices' port.
    pub fn verifier(&self) -> &Arc<DeviceVerifier> {
        &self.source.verifier
    }

    /// Makes the listeners' certificate anew if that is due (it ends soon, names were changed, another intermediate
    /// signs) and puts it to use; whether it did. Nothing is made while the clock is in doubt. Blocks for files.
    pub fn refresh(&self) -> Result<bool, ExchangeError> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let source = &self.source;
        if source.clock.doubt().is_some() {
            return Ok(false);
        }
        let now = source.clock.now();
        let listener = issue::listener(&source.authority.load(), &source.folder, &self.names.load(), now)?;
        if listener.chain[0] == *shown {
            return Ok(false);
        }
        let In { agents, enrollment, console, signer } = source.put_in(&listener)?;
        self.agents.store(Arc::new(agents));
        self.enrollment.store(Arc::new(enrollment));
        self.console.store(Arc::new(console));
        self.signer.store(Arc::new(signer));
        *shown = listener.chain[0].clone();
        Ok(true)
    }

    /// Reads the authority anew and takes these names; else as [`Certificates::refresh`].
    pub fn reload(&self, names: Vec<String>) -> Result<bool, ExchangeError> {
        self.source.authority.store(Arc::new(Authority::load(&self.source.folder)?));
        self.names.store(Arc::new(names));
        self.refresh()
    }
}

/// A listeners' certificate at its places.
struct In {
    agents: ServerConfig,
    enrollment: ServerConfig,
    console: ServerConfig,
    signer: TimeSigner,
}

impl Source {
    fn put_in(&self, listener: &Listener) -> Result<In, ExchangeError> {
        let clock = || Arc::clone(&self.clock);
        Ok(In {
            agents: tls::agents(listener, Arc::clone(&self.verifier), clock())?,
            enrollment: tls::enrollment(listener, clock())?,
            console: tls::console(listener, clock())?,
            signer: TimeSigner::new(listener, self.domain.clone(), clock())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bbt_domain::time::UtcMicros;

    use super::*;
    use crate::{
        clock::{ManualClock, guard::GuardedClock},
        pki::{authority::default_root_key, proof::is_signed_by, revoke::Denylist, rotation::Successor},
    };

    const START: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);

    struct Keys {
        system: Arc<ManualClock>,
        certificates: Certificates,
        folder: tempfile::TempDir,
    }

    impl Keys {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let home = folder.path();
            let system = Arc::new(ManualClock::at(START));
            let guard = GuardedClock::open(&home.join("mark"), system.clone(), START).unwrap();
            let authority = Authority::create(home, &default_root_key(home), "梁河县", START).unwrap();
            let denylist = Arc::new(Denylist::open(&home.join("revocations.log")).unwrap());
            let domain = TrustDomain::from_random([1; 16]);
            let source = Source {
                folder: home.to_owned(),
                verifier: DeviceVerifier::new(authority.root(), domain.clone(), denylist).unwrap(),
                authority: Arc::new(ArcSwap::from_pointee(authority)),
                domain,
                clock: Arc::new(guard),
            };
            let certificates = Certificates::open(source, vec!["county.example".into()]).unwrap();
            Self { system, certificates, folder }
        }

        /// Days go by, and the clock is looked at on each.
        fn days(&self, days: u64) {
            for _ in 0..days {
                self.system.advance(Duration::from_secs(86_400));
                self.certificates.source.clock.now();
            }
        }

        fn shown(&self) -> CertificateDer<'static> {
            self.certificates.shown.lock().unwrap().clone()
        }
    }

    #[test]
    fn the_listeners_certificate_is_made_anew_60_days_before_its_end_and_not_sooner() {
        let keys = Keys::new();
        let (first, port) = (keys.shown(), keys.certificates.agents.load_full());
        keys.days(304);
        assert!(!keys.certificates.refresh().unwrap());
        keys.days(1);
        assert!(keys.certificates.refresh().unwrap());
        assert_ne!(keys.shown(), first);
        assert!(!Arc::ptr_eq(&port, &keys.certificates.agents.load_full()));
        assert_eq!(
            keys.certificates.signer.load().chain()[0],
            keys.shown().to_vec(),
            "times are signed by it"
        );
        assert!(!keys.certificates.refresh().unwrap(), "once");
    }

    #[test]
    fn nothing_is_made_while_the_clock_is_in_doubt() {
        let keys = Keys::new();
        let first = keys.shown();
        keys.system.set(START.plus(Duration::from_secs(350 * 86_400)));
        assert!(!keys.certificates.refresh().unwrap());
        assert_eq!(keys.shown(), first);
        assert!(keys.certificates.signer.load().shared().is_none(), "no time is signed either");
        keys.system.set(START);
        assert!(keys.certificates.signer.load().shared().is_some());
    }

    #[test]
    fn another_intermediate_or_other_names_are_taken_at_a_reload() {
        let keys = Keys::new();
        let (home, first) = (keys.folder.path(), keys.shown());
        assert!(!keys.certificates.reload(vec!["county.example".into()]).unwrap(), "nothing was changed");
        keys.days(20);
        let now = keys.certificates.source.clock.now();
        let successor = Successor::make(home, &default_root_key(home), "梁河县", now).unwrap();
        let adopted = successor.adopt(home, now).unwrap();
        assert!(keys.certificates.reload(vec!["county.example".into()]).unwrap());
        assert!(is_signed_by(&keys.shown(), &adopted.intermediates()[1]));
        assert!(is_signed_by(&first, &adopted.intermediates()[0]));
        assert!(keys.certificates.reload(vec!["other.example".into()]).unwrap());
    }
}
