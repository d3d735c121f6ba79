//! `HOST:PORT`, parsed once.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use rustls::pki_types::ServerName;

/// A controller's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Text that is not an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address of the form HOST:PORT (an IPv6 address stands in brackets)")]
pub struct AddressError(String);

impl Address {
    /// Name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name the server's certificate must carry.
    pub fn server_name(&self) -> Result<ServerName<'static>, AddressError> {
        ServerName::try_from(self.host.clone()).map_err(|_| AddressError(self.to_string()))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let wrong = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if host.contains(':') => return Err(wrong()),
            None => host.to_owned(),
        };
        let address = Address { host, port };
        if port == 0 || address.server_name().is_err() {
            return Err(wrong());
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_as_they_are_typed() {
        for text in ["county.example:7444", "10.1.2.3:7443", "[fd00::1]:7443"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["county.example", "county.example:", ":7444", "fd00::1:7443", "a b:1", "x:0", "x:70000", "[x]:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
