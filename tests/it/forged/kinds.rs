//! The kinds of certificates, in rooms by what is wrong with them.

use anyhow::{Context, Result, ensure};
use bbt_domain::time::UtcMicros;
use bbt_tests::der::{
    BASIC_CONSTRAINTS, CLIENT_AUTH, EXTENDED_KEY_USAGE, Extension, Form, KEY_USAGE, NAME_CONSTRAINTS,
    SERVER_AUTH, SUBJECT_ALT_NAME, Signer, algorithm, authority, common_name, names, public_key, purposes,
    sequence, tlv, usage, validity,
};
use uuid::Uuid;

use super::{Forgery, Met, Thief, UNKNOWN};

impl Thief {
    /// All of them.
    pub(super) fn forgeries(&self) -> Result<Vec<Forgery>> {
        let rooms = [
            self.by_others()?,
            self.at_other_times()?,
            self.for_other_purposes()?,
            self.of_other_names()?,
            self.of_other_forms()?,
            self.of_broken_bytes()?,
            self.in_odd_chains()?,
        ];
        Ok(rooms.into_iter().flatten().collect())
    }

    /// Signed by somebody else.
    fn by_others(&self) -> Result<Vec<Forgery>> {
        const CAUSE: Met = Met::Refused("foreign_certificate");
        let form = |issuer: &Signer| Form::device(issuer, &self.uri(), &self.key, self.now);
        let ca = |signer: &Signer, below: Option<u8>| {
            Form { subject: signer.name.clone(), key: signer.public_key(), ..form(signer) }
                .without(SUBJECT_ALT_NAME)
                .without(EXTENDED_KEY_USAGE)
                .with(usage(0x04))
                .with(authority(below))
        };
        let foreign = Signer::new(common_name("another county"))?;
        let foreign_ca = ca(&foreign, None).signed_by(&foreign)?;
        let namesake = Signer::new(self.issuing.name.clone())?;
        let namesake_ca = ca(&namesake, None).signed_by(&namesake)?;
        let root_namesake = Signer::new(self.root.name.clone())?;
        let of_root_namesake = Form { issuer: self.root.name.clone(), ..ca(&namesake, Some(0)) };
        // A device's certificate that is used as if it were an authority's.
        let device = Signer::new(common_name("a device"))?;
        let device_leaf = Form { key: device.public_key(), subject: device.name.clone(), ..self.good() };
        let device_leaf = device_leaf.signed_by(&self.issuing)?;
        let below = Signer::new(common_name("below issuing"))?;
        let below_ca =
            Form { issuer: self.issuing.name.clone(), ..ca(&below, None) }.signed_by(&self.issuing)?;
        let by_root = |signer: &Signer, form: Form| {
            Form { issuer: self.root.name.clone(), subject: signer.name.clone(), ..form }
                .signed_by(&self.root)
        };
        let flat = Signer::new(common_name("no authority"))?;
        let flat_ca = by_root(&flat, ca(&flat, None).without(BASIC_CONSTRAINTS))?;
        let narrow = Signer::new(common_name("of some names"))?;
        let subtree = tlv(0xa0, &sequence(&[&tlv(0x86, self.domain.as_bytes())]));
        let constraint = Extension { oid: NAME_CONSTRAINTS, critical: true, value: sequence(&[&subtree]) };
        let narrow_ca = by_root(&narrow, ca(&narrow, Some(0)).with(constraint))?;
        let server = Signer::new(common_name("for servers"))?;
        let server_ca = by_root(&server, ca(&server, Some(0)).with(purposes(&[SERVER_AUTH])))?;

        let self_signed = Form { issuer: self.key.name.clone(), ..form(&self.key) }.signed_by(&self.key)?;
        Ok(vec![
            self.shown("self-signed", vec![self_signed], CAUSE),
            self.shown(
                "another county's",
                vec![form(&foreign).signed_by(&foreign)?, foreign_ca.clone()],
                CAUSE,
            ),
            self.shown(
                "another county's under our root",
                vec![form(&foreign).signed_by(&foreign)?, foreign_ca, self.own[2].clone()],
                CAUSE,
            ),
            self.shown(
                "of a namesake of our issuer, beside the true one",
                vec![form(&namesake).signed_by(&namesake)?, self.own[1].clone(), self.own[2].clone()],
                CAUSE,
            ),
            self.shown(
                "of a namesake of our issuer, beside itself",
                vec![form(&namesake).signed_by(&namesake)?, namesake_ca],
                CAUSE,
            ),
            self.shown(
                "of an issuer under a namesake of our root",
                vec![form(&namesake).signed_by(&namesake)?, of_root_namesake.signed_by(&root_namesake)?],
                CAUSE,
            ),
            self.shown(
                "signed by a device",
                vec![form(&device).signed_by(&device)?, device_leaf, self.own[1].clone()],
                CAUSE,
            ),
            self.shown(
                "of an authority below our issuer, which may have none",
                vec![form(&below).signed_by(&below)?, below_ca, self.own[1].clone()],
                CAUSE,
            ),
            self.shown(
                "of an issuer that is no authority",
                vec![form(&flat).signed_by(&flat)?, flat_ca],
                CAUSE,
            ),
            self.shown(
                "of an issuer with constraints on names",
                vec![form(&narrow).signed_by(&narrow)?, narrow_ca],
                CAUSE,
            ),
            self.shown("of an issuer for servers", vec![form(&server).signed_by(&server)?, server_ca], CAUSE),
            self.shown("the device's own, by another key", self.own.clone(), CAUSE),
            self.shown("the listener's own", vec![self.listener.clone(), self.own[1].clone()], CAUSE),
            self.shown("the issuing one as a device's", vec![self.own[1].clone()], CAUSE),
            self.shown("the root as a device's", vec![self.own[2].clone()], CAUSE),
            self.shown("a device's without its issuer", vec![self.good().signed_by(&self.issuing)?], CAUSE),
            self.shown("none", Vec::new(), Met::Refused("no_certificate")),
        ])
    }

    fn at_other_times(&self) -> Result<Vec<Forgery>> {
        let day = |days: i64| UtcMicros::from_secs(self.now.as_secs() + days * 86_400);
        let at = |from, until| Form { validity: validity(from, until), ..self.good() };
        let odd = |validity: Vec<u8>| Form { validity, ..self.good() };
        let year_9999 = sequence(&[&tlv(0x17, b"250101000000Z"), &tlv(0x18, b"99991231235959Z")]);
        let no_month = sequence(&[&tlv(0x17, b"251301000000Z"), &tlv(0x17, b"491301000000Z")]);
        let no_zone = sequence(&[&tlv(0x17, b"250101000000"), &tlv(0x17, b"490101000000")]);
        Ok(vec![
            self.issued("expired yesterday", "expired_certificate", &at(day(-180), day(-1)))?,
            self.issued("expired years ago", "expired_certificate", &at(day(-4_000), day(-3_820)))?,
            self.issued("not good before tomorrow", "expired_certificate", &at(day(1), day(180)))?,
            self.issued("that ends before it begins", "expired_certificate", &at(day(1), day(-1)))?,
            self.issued("good until the year 9999", "unfit_certificate", &odd(year_9999))?,
            self.issued("good for ten years", "unfit_certificate", &at(day(-1), day(3_650)))?,
            self.issued("of a thirteenth month", "foreign_certificate", &odd(no_month))?,
            self.issued("of a time without a zone", "foreign_certificate", &odd(no_zone))?,
        ])
    }

    fn for_other_purposes(&self) -> Result<Vec<Forgery>> {
        const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
        const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0];
        let with = |extension| self.good().with(extension);
        Ok(vec![
            self.issued("a server's", "foreign_certificate", &with(purposes(&[SERVER_AUTH])))?,
            self.issued("for code", "foreign_certificate", &with(purposes(&[CODE_SIGNING])))?,
            self.issued("for any purpose", "foreign_certificate", &with(purposes(&[ANY])))?,
            self.issued(
                "for clients and servers",
                "unfit_certificate",
                &with(purposes(&[CLIENT_AUTH, SERVER_AUTH])),
            )?,
            self.issued("without a purpose", "unfit_certificate", &self.good().without(EXTENDED_KEY_USAGE))?,
            self.issued("that may not sign", "unfit_certificate", &with(usage(0x20)))?,
            self.issued("that may sign certificates", "unfit_certificate", &with(usage(0x84)))?,
            self.issued("whose key is for nothing", "unfit_certificate", &self.good().without(KEY_USAGE))?,
            self.issued("of an authority", "foreign_certificate", &with(authority(None)))?,
        ])
    }

    fn of_other_names(&self) -> Result<Vec<Forgery>> {
        let uri = self.uri();
        let id = self.device.id.to_string();
        let other = self.uri_of(Uuid::new_v4());
        let host = format!("{id}.{}", self.domain);
        let named =
            |what, these: &[(u8, &[u8])]| self.issued(what, "wrong_name", &self.good().with(names(these)));
        let uri_is = |what, text: &str| named(what, &[(6, text.as_bytes())]);
        let domain = &self.domain;
        let mut twice = self.good();
        twice.extensions.push(names(&[(6, other.as_bytes())]));
        let nul = [uri.as_bytes(), b"\0.evil"].concat();
        let high = [uri.as_bytes(), &[0xe9]].concat();
        let long = format!("{uri}/{}", "a".repeat(2_000));
        let directory = sequence(&[&common_name(&uri)]);
        Ok(vec![
            self.issued("of a common name alone", "wrong_name", &self.good().without(SUBJECT_ALT_NAME))?,
            named("of no name", &[])?,
            named("of two devices", &[(6, uri.as_bytes()), (6, other.as_bytes())])?,
            named("of one device twice", &[(6, uri.as_bytes()), (6, uri.as_bytes())])?,
            named("of a device and a host", &[(6, uri.as_bytes()), (2, host.as_bytes())])?,
            named("of a host", &[(2, host.as_bytes())])?,
            named("of a host named like a device", &[(2, uri.as_bytes())])?,
            named("of an e-mail address", &[(1, b"device@county.example")])?,
            named("of an address", &[(7, &[127, 0, 0, 1])])?,
            named("of a device and an address", &[(6, uri.as_bytes()), (7, &[127, 0, 0, 1])])?,
            named("of a directory's name", &[(0x24, &directory)])?,
            self.issued("with two lists of names", "foreign_certificate", &twice)?,
            uri_is(
                "of another trust domain",
                &format!("spiffe://00112233445566778899aabbccddeeff.bbt/device/{id}"),
            )?,
            uri_is("of a trust domain below ours", &format!("spiffe://x.{domain}/device/{id}"))?,
            uri_is("of a user", &format!("spiffe://{domain}/user/{id}"))?,
            uri_is("with a longer path", &format!("{uri}/more"))?,
            uri_is("with a slash behind", &format!("{uri}/"))?,
            uri_is("with two slashes", &format!("spiffe://{domain}//device/{id}"))?,
            uri_is("with a way up", &format!("spiffe://{domain}/x/../device/{id}"))?,
            uri_is("with an id in upper case", &format!("spiffe://{domain}/device/{}", id.to_uppercase()))?,
            uri_is("with a scheme in upper case", &uri.replace("spiffe", "SPIFFE"))?,
            uri_is("of another scheme", &uri.replace("spiffe", "https"))?,
            uri_is("with an escaped letter", &uri.replace("device", "d%65vice"))?,
            uri_is("with a query", &format!("{uri}?device=other"))?,
            uri_is("with a fragment", &format!("{uri}#other"))?,
            uri_is("with a port", &format!("spiffe://{domain}:7443/device/{id}"))?,
            uri_is("with a user before the domain", &format!("spiffe://county@{domain}/device/{id}"))?,
            uri_is("with an id without hyphens", &uri.replace(&id, &id.replace('-', "")))?,
            uri_is("with an id in braces", &uri.replace(&id, &format!("{{{id}}}")))?,
            uri_is("with a blank behind", &format!("{uri} "))?,
            uri_is("with a line's end behind", &format!("{uri}\n"))?,
            uri_is("of two thousand letters", &long)?,
            uri_is("of an empty URI", "")?,
            named("with a NUL in its name", &[(6, &nul)])?,
            named("with a byte that is no letter", &[(6, &high)])?,
            self.issued("of a revoked device", "revoked", &{
                let uri = self.uri_of(self.revoked);
                self.good().with(names(&[(6, uri.as_bytes())]))
            })?,
            {
                let uri = self.uri_of(UNKNOWN);
                let unknown = self.good().with(names(&[(6, uri.as_bytes())])).signed_by(&self.issuing)?;
                self.shown(
                    "of a device that was never enrolled",
                    vec![unknown, self.own[1].clone()],
                    Met::Named("unknown_device"),
                )
            },
        ])
    }

    fn of_other_forms(&self) -> Result<Vec<Forgery>> {
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
        const MD5_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4];
        const SHA1_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5];
        const SHA1_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
        const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
        const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
        const UNKNOWN_EXTENSION: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0x0f, 9];
        let null = tlv(5, &[]);
        let under = |oid: &[u8]| {
            let algorithm = algorithm(oid, &null);
            Form { outer_algorithm: algorithm.clone(), algorithm, ..self.good() }
        };
        let rsa = |bytes: usize| {
            let modulus = [vec![0, 0xc1], vec![0x5d; bytes - 1]].concat();
            let numbers = sequence(&[&tlv(2, &modulus), &tlv(2, &[1, 0, 1])]);
            Form { key: public_key(&algorithm(RSA, &null), &numbers), ..self.good() }
        };
        let key = |algorithm: Vec<u8>, key: &[u8]| Form { key: public_key(&algorithm, key), ..self.good() };
        let point = [vec![4], vec![0x11; 96]].concat();
        let serial = |bytes: &[u8]| Form { serial: tlv(2, bytes), ..self.good() };
        let version = |version: Vec<u8>| Form { version, ..self.good() };
        let extension = |critical, bytes: usize| {
            let value = tlv(4, &vec![7; bytes]);
            self.good().with(Extension { oid: UNKNOWN_EXTENSION, critical, value })
        };
        let v1 = Form { version: Vec::new(), extensions: Vec::new(), ..self.good() };
        let foreign = "foreign_certificate";
        Ok(vec![
            self.issued("signed with MD5", foreign, &under(MD5_RSA))?,
            self.issued("signed with SHA-1 and RSA", foreign, &under(SHA1_RSA))?,
            self.issued("signed with SHA-1 and ECDSA", foreign, &under(SHA1_ECDSA))?,
            self.issued("of a key of RSA 1024", "unfit_certificate", &rsa(128))?,
            self.issued("of a key of RSA 2048", "unfit_certificate", &rsa(256))?,
            self.issued(
                "of a key of P-384",
                "unfit_certificate",
                &key(algorithm(EC_KEY, &tlv(6, P384)), &point),
            )?,
            self.issued("of a key of Ed25519", "unfit_certificate", &key(algorithm(ED25519, &[]), &[9; 32]))?,
            self.issued(
                "of a key of no curve",
                "unfit_certificate",
                &key(algorithm(EC_KEY, &[]), &point[..65]),
            )?,
            self.issued("with a serial of 21 bytes", "unfit_certificate", &serial(&[0x51; 21]))?,
            self.issued("with a serial of 400 bytes", "unfit_certificate", &serial(&[0x51; 400]))?,
            self.issued("with a negative serial", "unfit_certificate", &serial(&[0x91; 16]))?,
            self.issued("with the serial zero", "unfit_certificate", &serial(&[0]))?,
            self.issued("without a serial's bytes", "unfit_certificate", &serial(&[]))?,
            self.issued("of version 1", foreign, &v1)?,
            self.issued("of version 2", foreign, &version(tlv(0xa0, &tlv(2, &[1]))))?,
            self.issued("of version 9", foreign, &version(tlv(0xa0, &tlv(2, &[8]))))?,
            self.issued("that demands something unknown", foreign, &extension(true, 4))?,
            self.issued(
                "with an extension of five thousand bytes",
                "unfit_certificate",
                &extension(false, 5_000),
            )?,
        ])
    }

    fn of_broken_bytes(&self) -> Result<Vec<Forgery>> {
        let good = self.good().signed_by(&self.issuing)?;
        let broken = |what, leaf: Vec<u8>| {
            self.shown(what, vec![leaf, self.own[1].clone()], Met::Refused("foreign_certificate"))
        };
        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        let sha512 = [&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3][..], &[4]].concat();
        let two_minds = Form { outer_algorithm: algorithm(&sha512, &[]), ..self.good() };
        // From SEQUENCE 0x30 0x82 hi lo: indefinite length, and a length of three bytes where two do.
        let indefinite = [&[0x30, 0x80][..], &good[4..], &[0, 0]].concat();
        let padded = [&[0x30, 0x83, 0][..], &good[2..]].concat();
        ensure!(good[..2] == [0x30, 0x82], "a certificate of more than 255 bytes");
        let rest = Form { rest: tlv(4, b"more"), ..self.good() };
        let pem = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_vec();
        Ok(vec![
            broken("with a signature that was changed", flipped(good.len() - 1)),
            broken("with a serial that was changed", flipped(20)),
            broken("with an empty signature", self.good().with_signature(&[])),
            broken("with a signature of zeros", self.good().with_signature(&[0; 71])),
            broken("of two algorithms", two_minds.signed_by(&self.issuing)?),
            broken("cut off", good[..good.len() - 9].to_vec()),
            broken("of its first byte", good[..1].to_vec()),
            broken("with more behind", [&good[..], &[0; 4]].concat()),
            broken("with more behind its fields", rest.signed_by(&self.issuing)?),
            broken("of indefinite length", indefinite),
            broken("of a length in three bytes", padded),
            broken("of nested nothing", vec![0x30; 2_000]),
            broken("of noise", vec![0xa5; 700]),
            broken("in text", pem),
        ])
    }

    fn in_odd_chains(&self) -> Result<Vec<Forgery>> {
        let [leaf, issuing, root] = [0, 1, 2].map(|at| self.own[at].clone());
        let good = self.good().signed_by(&self.issuing)?;
        let long = |times| [vec![good.clone()], vec![issuing.clone(); times]].concat();
        let other = Signer::new(common_name("somebody else"))?;
        let other = Form::device(&other, "spiffe://x/device/1", &other, self.now).signed_by(&other)?;
        let own_key = || {
            let own = self.device.credentials().context("an enrolled device has a certificate")?;
            Ok::<_, anyhow::Error>(own.key.clone_key())
        };
        let accepted = |what, chain: Vec<Vec<u8>>| {
            Ok::<_, anyhow::Error>(Forgery { what, chain, key: own_key()?, met: Met::LetIn })
        };
        Ok(vec![
            self.shown("with twenty issuers", long(20), Met::Refused("unfit_certificate")),
            self.shown("with a hundred issuers", long(100), Met::Refused("unfit_certificate")),
            self.shown("twenty times the same", vec![good.clone(); 20], Met::Refused("unfit_certificate")),
            self.shown(
                "with an issuer of five thousand bytes",
                vec![good.clone(), vec![0x30; 5_000]],
                Met::Refused("unfit_certificate"),
            ),
            self.shown("with an issuer of a hundred kilobytes", vec![good, vec![0x30; 100_000]], Met::Noise),
            // Odd, and the device's own: its key was proven, and its issuer found.
            accepted("as it was issued", vec![leaf.clone(), issuing.clone(), root.clone()])?,
            accepted("without the root", vec![leaf.clone(), issuing.clone()])?,
            accepted("with root and issuer changed about", vec![leaf.clone(), root, issuing.clone()])?,
            accepted("with its issuer twice", vec![leaf.clone(), issuing.clone(), issuing.clone()])?,
            accepted("with a stranger's beside it", vec![leaf, other, issuing])?,
        ])
    }
}
