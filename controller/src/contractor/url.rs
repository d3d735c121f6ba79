//! Addresses of receivers, as people enter them.

use std::{fmt, net::SocketAddr};

use bbt_domain::outbox::Refusal;
use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery},
};
use rustls_pki_types::ServerName;

use super::address::AddressRules;

/// Longest address: what browsers and proxies agree on.
const URL_BYTES: usize = 2_048;

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the open.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The address of a receiver: well formed; whether it may be called is for [`AddressRules`] to say.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    text: String,
    scheme: Scheme,
    host: ServerName<'static>,
    port: u16,
    host_header: HeaderValue,
    path: PathAndQuery,
}

impl WebhookUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Self::read(text).map_err(|fault| UrlError { url: without_password(text), fault })
    }

    fn read(text: &str) -> Result<Self, UrlFault> {
        if text.len() > URL_BYTES {
            return Err(UrlFault::Long);
        }
        if !text.is_ascii() {
            return Err(UrlFault::Foreign);
        }
        if text.contains('#') {
            return Err(UrlFault::Fragment);
        }
        let parts = text.parse::<Uri>().map_err(|_| UrlFault::Form)?.into_parts();
        let scheme = match parts.scheme.as_ref().map(http::uri::Scheme::as_str) {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err(UrlFault::Form),
        };
        let authority = parts.authority.ok_or(UrlFault::Form)?;
        if authority.as_str().contains('@') {
            return Err(UrlFault::Password);
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self {
            text: text.to_owned(),
            scheme,
            host: ServerName::try_from(bare).map_err(|_| UrlFault::Host)?.to_owned(),
            port: port(&authority, scheme)?,
            host_header: HeaderValue::from_str(authority.as_str()).map_err(|_| UrlFault::Host)?,
            path: parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }

    /// Whether `rules` let it be entered. A name's addresses are not known yet: they are looked at whenever a
    /// connection is made.
    pub fn admit(&self, rules: &AddressRules, granted: bool) -> Result<(), UrlError> {
        let admitted = match &self.host {
            ServerName::IpAddress(ip) => {
                rules.permit(SocketAddr::new((*ip).into(), self.port), self.scheme, granted)
            }
            _ => rules.permit_name(self.scheme, self.port, granted),
        };
        admitted.map_err(|refusal| UrlError { url: self.text.clone(), fault: UrlFault::Refused(refusal) })
    }

    /// As it was entered. It may hold a key in its path: it is not for logs.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host, a name or an address.
    pub fn host(&self) -> &ServerName<'static> {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the request names them.
    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// What follows the host.
    pub(super) fn path(&self) -> &PathAndQuery {
        &self.path
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({:?} {:?})", self.scheme, self.host_header)
    }
}

/// The port that is written, or the scheme's own. `Uri` reads a port that is none as if none were written.
fn port(authority: &Authority, scheme: Scheme) -> Result<u16, UrlFault> {
    let written = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    match (written, authority.port_u16()) {
        ("", _) => Ok(scheme.default_port()),
        (_, Some(port)) if port > 0 => Ok(port),
        _ => Err(UrlFault::Port),
    }
}

/// An address that cannot be a receiver's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("webhook address {url:?} cannot be used: {fault}")]
pub struct UrlError {
    url: String,
    fault: UrlFault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum UrlFault {
    #[error("write it as https://HOST/PATH")]
    Form,
    #[error("it is longer than {URL_BYTES} characters: ask the contractor for a shorter one")]
    Long,
    #[error("write the host in its xn-- form and other letters of the path as %XX")]
    Foreign,
    #[error("leave out the part from # on, which is never sent")]
    Fragment,
    #[error("leave out user and password: the signature tells the receiver who sends")]
    Password,
    #[error("its host is neither a name nor an address")]
    Host,
    #[error("its port must be a number from 1 to 65535")]
    Port,
    #[error("{0}")]
    Refused(Refusal),
}

/// The text without what stands before `@`, which nobody wants to read in an error.
fn without_password(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, host)| format!("…@{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> WebhookUrl {
        WebhookUrl::parse(text).unwrap()
    }

    #[test]
    fn an_address_is_taken_apart() {
        let url = parsed("https://tickets.example.com/bbt/in?firm=7");
        assert_eq!((url.scheme(), url.port()), (Scheme::Https, 443));
        assert_eq!(url.host().to_str(), "tickets.example.com");
        assert_eq!(url.host_header(), "tickets.example.com");
        assert_eq!(url.path().as_str(), "/bbt/in?firm=7");
        let url = parsed("http://[fd00::1]:8080");
        assert_eq!((url.scheme(), url.port(), url.path().as_str()), (Scheme::Http, 8080, "/"));
        assert_eq!(
            (url.host().to_str().as_ref(), url.host_header()),
            ("fd00::1", &"[fd00::1]:8080".parse().unwrap())
        );
    }

    #[test]
    fn an_address_that_is_none_names_itself_and_the_remedy() {
        let long = format!("https://a.example/{}", "x".repeat(URL_BYTES));
        for (text, remedy) in [
            ("tickets.example.com", "write it as https://"),
            ("/in", "write it as https://"),
            ("ftp://a.example/", "write it as https://"),
            ("https:///in", "write it as https://"),
            ("https://a b.example/", "write it as https://"),
            ("https://维修.example/", "xn--"),
            ("https://a.example/in#part", "leave out the part from #"),
            ("https://-/", "neither a name nor an address"),
            ("https://a.example:/", "port"),
            ("https://a.example:0/", "port"),
            ("https://a.example:99999/", "port"),
            (&long, "shorter"),
        ] {
            let error = WebhookUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = WebhookUrl::parse("https://bbt:geheim@a.example/").unwrap_err().to_string();
        assert!(error.contains("leave out user and password") && error.contains("a.example"), "{error}");
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn a_key_in_the_path_does_not_reach_a_log() {
        assert!(!format!("{:?}", parsed("https://a.example/in?key=geheim")).contains("geheim"));
    }

    #[test]
    fn what_can_be_said_without_asking_for_addresses_is_said_when_it_is_entered() {
        let (closed, open) =
            (AddressRules::default(), AddressRules::new(vec!["10.0.0.0/8".parse().unwrap()]));
        let admit =
            |text: &str, rules, granted| parsed(text).admit(rules, granted).map_err(|error| error.fault);
        assert_eq!(admit("https://a.example/", &closed, false), Ok(()));
        for (text, refusal) in [
            ("http://a.example/", Refusal::Plain),
            ("https://a.example:22/", Refusal::Port),
            ("https://127.0.0.1/", Refusal::Range),
            ("http://10.0.0.1:9000/", Refusal::Range),
        ] {
            assert_eq!(admit(text, &closed, false), Err(UrlFault::Refused(refusal)), "{text}");
            assert_eq!(admit(text, &closed, true), Ok(()), "{text} granted");
        }
        // The name may lead to a listed address.
        assert_eq!(admit("http://a.example:9000/", &open, false), Ok(()));
        assert_eq!(admit("http://10.0.0.1:9000/", &open, false), Ok(()));
        assert_eq!(admit("http://192.168.0.1/", &open, false), Err(UrlFault::Refused(Refusal::Range)));
    }
}
