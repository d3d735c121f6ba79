//! A new issuing intermediate in the place of the one before.
//!
//! It is made where the root's key is (the command, which reads the key and keeps no copy) and taken over by whoever
//! holds the data folder, who never sees that key. Files are written in the order key, certificate, list; the list is
//! replaced in one step, and only what stands in it is ever used. The key of the one before is removed last: it is
//! kept to know what it signed, not to sign. Cut off before the list, the folder is what it was, with two files that
//! nobody reads and the next change overwrites; cut off after it, only an old key is left, and is removed at the next
//! opportunity.

use std::{fs, io, path::Path};

use bbt_domain::time::UtcMicros;
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{
    PkiError,
    authority::{
        Authority, LIST, certificate_file, intermediate, key_file, names, read_key, root_certificate, span_of,
    },
    proof, write_private,
};

/// A new intermediate on its way into the data folder.
pub struct Successor {
    /// PEM.
    pub certificate: String,
    /// PEM, PKCS #8.
    pub key: String,
}

impl Successor {
    /// Makes one for the county in `folder`, signed by the root whose key is in the file `root_key`.
    pub fn make(folder: &Path, root_key: &Path, county: &str, now: UtcMicros) -> Result<Self, PkiError> {
        let root = root_certificate(folder)?;
        let key = read_key(root_key)?;
        let (_, parsed) = parse(&root)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(PkiError::RootKey(root_key.to_owned()));
        }
        let (_, until) = span_of(&root)?;
        let (certificate, key) = intermediate(&Issuer::from_ca_cert_der(&root, key)?, county, now, until)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Whether this is an intermediate of the county's root, good at `now`, beside its own key.
    fn check(&self, root: &CertificateDer<'_>, now: UtcMicros) -> Result<(), PkiError> {
        let refuse = |reason: &str| Err(PkiError::Successor(reason.to_owned()));
        let (Ok(der), Ok(key)) =
            (CertificateDer::from_pem_slice(self.certificate.as_bytes()), KeyPair::from_pem(&self.key))
        else {
            return refuse("it is no certificate with its key");
        };
        let (rest, parsed) = parse(&der)?;
        let constraints = parsed.basic_constraints().ok().flatten().map(|found| found.value.clone());
        let may_sign = parsed.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
        let secs = now.as_secs();
        let validity = parsed.validity();
        if !rest.is_empty() || !proof::is_signed_by(&der, root) {
            return refuse("this county's root did not sign it");
        }
        if !constraints.is_some_and(|found| found.ca && found.path_len_constraint == Some(0)) || !may_sign {
            return refuse("it is not one that signs devices");
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return refuse("its key is another");
        }
        if validity.not_before.timestamp() > secs || validity.not_after.timestamp() <= secs {
            return refuse("it is not good today by the controller's clock");
        }
        Ok(())
    }

    /// Takes it over into `folder`: from the return on it signs. See the head of the module for the order.
    pub fn adopt(&self, folder: &Path, now: UtcMicros) -> Result<Authority, PkiError> {
        self.check(&root_certificate(folder)?, now)?;
        let mut names = names(folder)?;
        let name = format!("{}-{}", names[0], names.len() + 1);
        write_private(&key_file(folder, &name), self.key.as_bytes(), "issuing key")?;
        write_private(&certificate_file(folder, &name), self.certificate.as_bytes(), "issuing certificate")?;
        names.push(name);
        let list = serde_json::to_vec(&names).map_err(|error| PkiError::Successor(error.to_string()))?;
        write_private(&folder.join(LIST), &list, "list of issuing certificates")?;
        remove_retired_keys(folder)?;
        Authority::load(folder)
    }
}

/// Removes the keys of intermediates that do not sign any more, if there are any.
pub fn remove_retired_keys(folder: &Path) -> Result<(), PkiError> {
    let names = names(folder)?;
    for name in &names[..names.len() - 1] {
        let path = key_file(folder, name);
        match fs::remove_file(&path) {
            Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
                return Err(PkiError::File { what: "retired key", path, done: "removed", reason });
            }
            _ => {}
        }
    }
    Ok(())
}

fn parse<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<(&'a [u8], x509_parser::certificate::X509Certificate<'a>), PkiError> {
    x509_parser::parse_x509_certificate(der).map_err(|_| PkiError::Successor("it cannot be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;
    use crate::pki::authority::default_root_key;

    const START: UtcMicros = UtcMicros::from_const(1_790_000_000_000_000);
    const COUNTY: &str = "梁河县";

    struct Keys {
        folder: tempfile::TempDir,
        first: Authority,
    }

    impl Keys {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root_key = default_root_key(folder.path());
            let first = Authority::create(folder.path(), &root_key, COUNTY, START).unwrap();
            Self { folder, first }
        }

        fn path(&self) -> &Path {
            self.folder.path()
        }

        fn successor(&self, now: UtcMicros) -> Successor {
            Successor::make(self.path(), &default_root_key(self.path()), COUNTY, now).unwrap()
        }

        fn files(&self) -> Vec<String> {
            let files = fs::read_dir(self.path()).unwrap();
            let mut names: Vec<_> =
                files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn year(number: u64) -> UtcMicros {
        START.plus(Duration::from_secs(number * 365 * 86_400))
    }

    #[test]
    fn the_new_one_signs_and_the_old_one_is_kept_without_its_key() {
        let keys = Keys::new();
        let second = keys.successor(year(1)).adopt(keys.path(), year(1)).unwrap();
        assert_eq!(second.intermediates()[..1], *keys.first.intermediates());
        assert_ne!(second.intermediate(), keys.first.intermediate());
        assert_eq!((second.since(), second.until()), (year(1), year(4)));
        let third = keys.successor(year(2)).adopt(keys.path(), year(2)).unwrap();
        assert_eq!(third.intermediates().len(), 3);
        let files = keys.files();
        let of_keys: Vec<_> = files.iter().filter(|name| name.ends_with(".key")).collect();
        assert_eq!(of_keys, ["issuing-3.key", "root.key"]);
    }

    #[test]
    fn a_folder_of_any_moment_between_is_the_one_before_or_the_one_after() {
        let keys = Keys::new();
        let (before, old_key) = (keys.files(), fs::read(keys.path().join("issuing.key")).unwrap());
        let successor = keys.successor(year(1));
        let whole = successor.adopt(keys.path(), year(1)).unwrap();
        let after: Vec<(PathBuf, Vec<u8>)> = keys
            .files()
            .into_iter()
            .filter(|name| !before.contains(name))
            .map(|name| (keys.path().join(&name), fs::read(keys.path().join(name)).unwrap()))
            .collect();
        let order = ["issuing-2.key", "issuing-2.crt", "issuing.json"];
        for written in 0..=order.len() {
            for (path, bytes) in &after {
                let is_written = order[..written].iter().any(|name| path.ends_with(name));
                if is_written { fs::write(path, bytes).unwrap() } else { fs::remove_file(path).unwrap() }
            }
            fs::write(keys.path().join("issuing.key"), &old_key).unwrap();
            let loaded = Authority::load(keys.path()).unwrap();
            let expected = if written == order.len() { &whole } else { &keys.first };
            assert_eq!(loaded.intermediates(), expected.intermediates(), "{written} files written");
            if written < order.len() {
                let again = successor.adopt(keys.path(), year(1)).unwrap();
                assert_eq!(again.intermediates(), whole.intermediates(), "begun anew after {written} files");
            } else {
                remove_retired_keys(keys.path()).unwrap();
                assert!(!keys.path().join("issuing.key").exists());
            }
        }
    }

    #[test]
    fn a_successor_that_is_none_changes_nothing() {
        let (keys, other) = (Keys::new(), Keys::new());
        let (good, theirs) = (keys.successor(year(1)), other.successor(year(1)));
        let read = |keys: &Keys, name: &str| fs::read_to_string(keys.path().join(name)).unwrap();
        let root = Successor { certificate: read(&keys, "root.crt"), key: read(&keys, "root.key") };
        let mixed = Successor { certificate: good.certificate.clone(), key: keys.successor(year(1)).key };
        let nothing = Successor { certificate: String::new(), key: String::new() };
        let before = keys.files();
        for (what, wrong, now) in [
            ("another county's", &theirs, year(1)),
            ("the root itself", &root, year(1)),
            ("another's key", &mixed, year(1)),
            ("nothing", &nothing, year(1)),
            ("one of tomorrow", &good, START),
            ("one of before", &good, year(5)),
        ] {
            assert!(wrong.adopt(keys.path(), now).is_err(), "{what}");
            assert_eq!(keys.files(), before, "{what}");
        }
    }

    #[test]
    fn another_key_than_the_roots_is_named() {
        let (keys, other) = (Keys::new(), Keys::new());
        let theirs = default_root_key(other.path());
        let error = Successor::make(keys.path(), &theirs, COUNTY, START).map(drop).unwrap_err().to_string();
        assert!(error.contains(theirs.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_person_is_reminded_when_it_is_a_year_old_or_ends_within_half_a_year() {
        let keys = Keys::new();
        let day = Duration::from_secs(86_400);
        assert!(!keys.first.is_to_be_replaced(year(1).minus(day)));
        assert!(keys.first.is_to_be_replaced(year(1)));
        let last = keys.successor(year(19)).adopt(keys.path(), year(19)).unwrap();
        let half = year(20).minus(182 * day);
        assert!(!last.is_to_be_replaced(half.minus(day)), "it ends with the root");
        assert!(last.is_to_be_replaced(half));
    }

    #[test]
    fn an_intermediate_does_not_outlive_its_root() {
        let keys = Keys::new();
        let last = keys.successor(year(19)).adopt(keys.path(), year(19)).unwrap();
        assert_eq!(last.until(), year(20));
    }
}
