//! Where a county is on a server: the address that people write.

use std::{net::IpAddr, time::Duration};

use postgres::config::{Config, Host, SslMode, TargetSessionAttrs};

use crate::engine::OpenError;

/// The schema of a county whose address names none.
const SCHEMA: &str = "bbt";
/// PostgreSQL cuts longer names off without a word.
const SCHEMA_BYTES: usize = 63;
/// A server that does not answer within it is away; whoever waits is told.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which the server is asked for a sign of life, and between three such questions. A server that
/// lost its power says no farewell, and what waits for it waits at most for twice this long.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Questions without an answer that end a connection.
const KEEPALIVES: u32 = 3;

/// A server and a county's schema on it.
pub(super) struct Place {
    /// How to connect.
    pub(super) config: Config,
    /// Needs no quotes in SQL.
    pub(super) schema: String,
    /// For people; without the password.
    pub(super) name: String,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let fault = |fault: String| OpenError::Address { fault };
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(fault(
                "does not begin with postgres://: write postgres://USER@HOST/DATABASE?schema=NAME".into(),
            ));
        }
        let (url, schema) = split_schema(url);
        let schema = schema.unwrap_or(SCHEMA);
        if !is_plain_name(schema) {
            return Err(fault(format!(
                "has schema {schema:?}: use up to {SCHEMA_BYTES} of a-z, 0-9 and _, a letter first, not pg_"
            )));
        }
        let mut config: Config = url.parse().map_err(|error: postgres::Error| {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            fault(format!("cannot be read{cause}"))
        })?;
        match config.get_ssl_mode() {
            SslMode::Disable => {}
            SslMode::Prefer if is_on_this_machine(&config) => {}
            SslMode::Prefer => {
                return Err(fault(
                    "is of another machine, and TLS to PostgreSQL is not built in: use a server or a tunnel's end \
                     on this machine, or say sslmode=disable if nobody else can listen on the way"
                        .into(),
                ));
            }
            _ => {
                return Err(fault(
                    "asks for TLS (sslmode), which is not built in: use a socket of this machine or a tunnel, and \
                     sslmode=disable"
                        .into(),
                ));
            }
        }
        let name = name_of(&config, schema);
        config
            .application_name("bbt-controller")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(KEEPALIVES)
            .tcp_user_timeout(KEEPALIVE * KEEPALIVES)
            // Of several hosts the one that is not a standby.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { config, schema: schema.to_owned(), name })
    }
}

/// Takes `schema=NAME` out of a URL: it is ours, the driver does not know it.
fn split_schema(url: &str) -> (String, Option<&str>) {
    let Some((address, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let schema = query.split('&').find_map(|pair| pair.strip_prefix("schema="));
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("schema=")).collect();
    (format!("{address}?{}", rest.join("&")), schema)
}

fn is_plain_name(schema: &str) -> bool {
    schema.len() <= SCHEMA_BYTES
        && schema.starts_with(|first: char| first.is_ascii_lowercase())
        && schema.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !schema.starts_with("pg_")
}

fn is_on_this_machine(config: &Config) -> bool {
    let named = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
    });
    named && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

fn name_of(config: &Config, schema: &str) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Unix(folder) => folder.display().to_string(),
            Host::Tcp(name) => name.clone(),
        })
        .collect();
    format!("postgres://{}/{}?schema={schema}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str) -> String {
        Place::parse(url).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_address_names_server_and_schema_and_its_name_no_password() {
        let place =
            Place::parse("postgresql://bbt:geheim@localhost/fleet?schema=lianghe&connect_timeout=9").unwrap();
        assert_eq!(place.schema, "lianghe");
        assert_eq!(place.name, "postgres://localhost/fleet?schema=lianghe");
        assert_eq!(Place::parse("postgres://bbt@%2Frun%2Fpostgresql/fleet").unwrap().schema, "bbt");
    }

    #[test]
    fn what_would_not_work_is_said_with_a_remedy() {
        assert!(fault("sqlite:county.db").contains("postgres://USER@HOST"));
        assert!(fault("postgres://localhost/fleet?schema=Liang%20He").contains("a-z"));
        assert!(fault("postgres://localhost/fleet?schema=pg_temp").contains("pg_"));
        assert!(fault("postgres://localhost/fleet?colour=red").contains("colour"));
        assert!(fault("postgres://localhost/fleet?sslmode=require").contains("not built in"));
        assert!(fault("postgres://db.example/fleet").contains("sslmode=disable"));
        assert_eq!(fault("postgres://db.example/fleet?sslmode=disable"), "");
        assert!(!fault("postgres://bbt:geheim@db.example/fleet").contains("geheim"));
    }
}
