//! The composition root: build, start, drain. Nothing else wires parts together.

use std::{io, net::SocketAddr, sync::Arc};

use axum::Router;
use bbt_proto::{
    enrollment::v1::{
        enrollment_service_server::EnrollmentServiceServer, renewal_service_server::RenewalServiceServer,
    },
    report::v1::report_service_server::ReportServiceServer,
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tonic::service::Routes;

use crate::{
    backup::Backups,
    certificates::{Certificates, ExchangeError, Source},
    config::{Config, DRAIN, DataFolder},
    context::Context,
    contractor::Webhook,
    control,
    county::{CountyError, OpenCounty, open},
    desk::Desk,
    files,
    grpc::{MESSAGE_BYTES, enrollment::Enrollment, issuing::Issuing, renewal::Renewal, reports::Reports},
    ingest::Ingest,
    listen::{
        accept::{Port, PortCounters, Security, serve},
        refusals::Refusals,
        terms::{self, Terms},
        tls::DeviceVerifier,
    },
    operation::Operations,
    tasks::{
        Nudge,
        certificate_renewal::CertificateRenewal,
        clock_watch::ClockWatch,
        drive,
        fault_analysis::{FaultAnalysis, Heard},
        inquiry_opening::InquiryOpening,
        outbox_delivery::OutboxDelivery,
        reconciliation::Reconciliation,
        store_watch::StoreWatch,
        ticket_opening::TicketOpening,
    },
    telemetry::{Health, LogHandle, filter},
    web,
};

/// Largest message about a certificate: a token, a request and some evidence have two kilobytes.
const ENROLLMENT_MESSAGE_BYTES: usize = 16 << 10;
/// Descriptors that are no connection of a port: the store's, backups', contractors', commands'.
const OWN_DESCRIPTORS: usize = 256;

/// Why the controller did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    County(#[from] CountyError),
    /// Certificates.
    #[error(transparent)]
    Certificates(#[from] ExchangeError),
    /// A port is taken or may not be used.
    #[error(
        "port {port} ({name}) cannot be opened on {address}: {reason}; end the program that holds it, or choose another with {variable}"
    )]
    Port {
        /// agents, enrollment, …
        name: &'static str,
        /// Where.
        address: SocketAddr,
        /// Its number.
        port: u16,
        /// What the system says.
        reason: io::Error,
        /// The variable that changes it.
        variable: String,
    },
    /// Something of the system.
    #[error("{what} failed: {reason}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        reason: io::Error,
    },
}

/// Serves the county in `folder` until the process is told to stop.
pub async fn run(
    folder: &DataFolder,
    clock: crate::clock::SharedClock,
    log: Option<LogHandle>,
) -> Result<(), ServeError> {
    let system = |what| move |reason| ServeError::System { what, reason };
    // Before anybody can see that it serves and ask it to end.
    let signals = Signals::listen().map_err(system("listening to signals"))?;
    let county = open(folder, clock).await?;
    // Of a controller that was killed: whoever waits for this one must not read it.
    let _ = std::fs::remove_file(folder.listen_json());
    probe_disk(folder);
    let certificates = open_certificates(&county, folder)?;

    let agents = bind("agents", county.config.listen.agents).await?;
    let enrollment = bind("enrollment", county.config.listen.enrollment).await?;
    let console = bind("console", county.config.listen.console).await?;
    let admin = bind("admin", county.config.listen.admin).await?;
    let socket = control::bind(&folder.socket()).map_err(system("opening the control socket"))?;
    let addresses =
        Addresses::of(&county.config, &agents, &enrollment, &console).map_err(system("reading the ports"))?;
    let desk = Desk::new(&addresses.console);

    let backups = Arc::new(Backups::default());
    let (stop, drain) = watch::channel(false);
    let exchange = Nudge::default();
    let parts = Parts::build(folder, &county, &backups, &certificates, &addresses, &exchange, drain.clone());
    let ports = [
        Port {
            name: "agents",
            security: Security::Device {
                config: Arc::clone(&certificates.agents),
                verifier: Arc::clone(certificates.verifier()),
                denylist: Arc::clone(&county.denylist),
            },
            terms: Terms::agents(&county.config.limits),
            router: parts.agents,
            listener: agents,
        },
        Port {
            name: "enrollment",
            security: Security::Server(Arc::clone(&certificates.enrollment)),
            terms: terms::ENROLLMENT,
            router: parts.enrollment,
            listener: enrollment,
        },
        Port {
            name: "console",
            security: Security::Server(Arc::clone(&certificates.console)),
            terms: terms::CONSOLE,
            router: web::router(Arc::clone(&county.context), desk.clone(), Arc::clone(&county.denylist)),
            listener: console,
        },
        Port {
            name: "admin",
            security: Security::Plain,
            terms: terms::ADMIN,
            router: Router::new(),
            listener: admin,
        },
    ];
    let counters: Vec<_> = ports.iter().map(|port| (port.name, Arc::new(PortCounters::default()))).collect();
    let health = Health::new(Arc::clone(&parts.ingest), counters.clone());
    raise_descriptor_limit(&ports);
    let listen_json = listen_json(&ports).map_err(system("reading the ports"))?;

    let mut serving = JoinSet::new();
    for (mut port, (_, counters)) in ports.into_iter().zip(counters) {
        if port.name == "admin" {
            port.router = Arc::clone(&health).router();
        }
        serving.spawn(serve(port, Arc::clone(&parts.refusals), counters, drain.clone()));
    }
    serving.spawn(control::serve(socket, parts.operations, drain.clone()));
    start_tasks(&county, desk, parts.heard, parts.booked, &drain, &mut serving);
    let renewal = CertificateRenewal::new(Arc::clone(&county.context), Arc::clone(&certificates));
    serving.spawn(drive(Arc::new(renewal), exchange, drain.clone()));
    files::write_atomically(&folder.listen_json(), listen_json.as_bytes(), 0o644)
        .map_err(system("writing run/listen.json"))?;
    tracing::info!(county = %county.context.county.name, listen = %listen_json.trim(), "ready");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    signals.wait_for_stop(folder, log, &county.context, &certificates).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    let _ = std::fs::remove_file(folder.listen_json());
    stop.send_replace(true);
    if timeout(DRAIN, async { while serving.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(secs = DRAIN.as_secs(), "connections were cut off");
        serving.shutdown().await;
    }
    if let Err(error) = county.guard.keep() {
        tracing::error!(%error, "the mark of the clock could not be written");
    }
    let _ = std::fs::remove_file(folder.socket());
    drop(county);
    Ok(())
}

/// Each stage wakes the next; none calls another.
fn start_tasks(
    county: &OpenCounty,
    desk: Desk,
    heard: Arc<Heard>,
    booked: Nudge,
    drain: &watch::Receiver<bool>,
    serving: &mut JoinSet<()>,
) {
    let context = || Arc::clone(&county.context);
    let [tickets, inquiries, outbox] = [(); 3].map(|()| Nudge::default());
    let door = Arc::new(Webhook::new(&county.config.webhooks, Arc::clone(&county.context.clock)));
    let followers = vec![tickets.clone(), inquiries.clone()];
    let analysis_nudge = heard.nudge.clone();
    let analysis = FaultAnalysis::new(context(), heard, followers);
    let opening = TicketOpening::new(context(), desk, outbox.clone());
    let asking = InquiryOpening::new(context());
    let delivery = OutboxDelivery::new(context(), door, Arc::clone(&county.sealing), outbox.clone());
    let watch = ClockWatch::new(context(), Arc::clone(&county.guard));
    serving.spawn(drive(Arc::new(watch), Nudge::default(), drain.clone()));
    serving.spawn(drive(Arc::new(Reconciliation::new(context())), booked, drain.clone()));
    serving.spawn(drive(Arc::new(StoreWatch::new(context())), Nudge::default(), drain.clone()));
    serving.spawn(drive(Arc::new(analysis), analysis_nudge, drain.clone()));
    serving.spawn(drive(Arc::new(opening), tickets, drain.clone()));
    serving.spawn(drive(Arc::new(asking), inquiries, drain.clone()));
    serving.spawn(drive(Arc::new(delivery), outbox, drain.clone()));
}

/// HOST:PORT as others see them.
struct Addresses {
    agents: Vec<String>,
    enrollment: String,
    console: String,
}

impl Addresses {
    fn of(
        config: &Config,
        agents: &TcpListener,
        enrollment: &TcpListener,
        console: &TcpListener,
    ) -> io::Result<Self> {
        let public = &config.public;
        let one = |public_address: &str, listener: &TcpListener| {
            let bound = listener.local_addr()?;
            io::Result::Ok(public_address_or_first(public_address, &public.names, bound))
        };
        let agents = match public.agents.as_str() {
            "" => public_addresses(&public.names, agents.local_addr()?),
            address => vec![address.to_owned()],
        };
        let enrollment = one(&public.enrollment, enrollment)?;
        Ok(Self { agents, enrollment, console: one(&public.console, console)? })
    }
}

/// Every name with the port that was bound; the bound address itself when it is one machine's alone or no name
/// is known.
pub fn public_addresses(names: &[String], bound: SocketAddr) -> Vec<String> {
    if bound.ip().is_loopback() || names.is_empty() {
        let ip = if bound.ip().is_unspecified() { [127, 0, 0, 1].into() } else { bound.ip() };
        return vec![SocketAddr::new(ip, bound.port()).to_string()];
    }
    let with_port = |name: &String| match name.parse::<std::net::IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, bound.port()).to_string(),
        Err(_) => format!("{name}:{}", bound.port()),
    };
    names.iter().map(with_port).collect()
}

/// The address that the configuration gives, else the first of [`public_addresses`].
pub fn public_address_or_first(configured: &str, names: &[String], bound: SocketAddr) -> String {
    match configured {
        "" => public_addresses(names, bound).swap_remove(0),
        address => address.to_owned(),
    }
}

/// What the ports share.
struct Parts {
    refusals: Arc<Refusals>,
    ingest: Arc<Ingest>,
    heard: Arc<Heard>,
    booked: Nudge,
    operations: Arc<Operations>,
    agents: Router,
    enrollment: Router,
}

impl Parts {
    fn build(
        folder: &DataFolder,
        county: &OpenCounty,
        backups: &Arc<Backups>,
        certificates: &Certificates,
        addresses: &Addresses,
        exchange: &Nudge,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let denylist = || Arc::clone(&county.denylist);
        let signer = || Arc::clone(&certificates.signer);
        let refusals = Arc::new(Refusals::new(Arc::clone(&county.context)));
        let heard = Arc::new(Heard::default());
        let booked = Nudge::default();
        let ingest = Arc::new(Ingest::new(
            Arc::clone(&county.context),
            denylist(),
            Arc::clone(&refusals),
            signer(),
            &county.config.limits,
            Arc::clone(&heard),
        ));

        let reports = ReportServiceServer::new(Reports::new(Arc::clone(&ingest), drain))
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        let (_, health) = tonic_health::server::health_reporter();
        let issuing = Issuing::new(Arc::clone(&county.context), Arc::clone(&county.authority));
        let renewal =
            Renewal::new(Arc::clone(&county.context), issuing.clone(), denylist(), Arc::clone(&refusals));
        let renewal = RenewalServiceServer::new(renewal)
            .max_decoding_message_size(ENROLLMENT_MESSAGE_BYTES)
            .max_encoding_message_size(ENROLLMENT_MESSAGE_BYTES);
        let agents = Routes::new(reports).add_service(renewal).add_service(health).into_axum_router();

        let enrollment = Enrollment::new(
            Arc::clone(&county.context),
            issuing,
            signer(),
            Arc::clone(&refusals),
            (Arc::clone(certificates.verifier()), denylist()),
            Arc::clone(&ingest.sessions),
            addresses.agents.clone(),
        );
        let enrollment = EnrollmentServiceServer::new(enrollment)
            .max_decoding_message_size(ENROLLMENT_MESSAGE_BYTES)
            .max_encoding_message_size(ENROLLMENT_MESSAGE_BYTES);
        let enrollment = Routes::new(enrollment).into_axum_router();

        let live = Arc::clone(&ingest);
        let operations = Operations {
            context: Arc::clone(&county.context),
            authority: Arc::clone(&county.authority),
            denylist: denylist(),
            sealing: Arc::clone(&county.sealing),
            webhooks: county.config.webhooks.clone(),
            desk: Desk::new(&addresses.console),
            booked: booked.clone(),
            folder: folder.clone(),
            backups: Arc::clone(backups),
            pki: county.pki.clone(),
            guard: Arc::clone(&county.guard),
            exchange: exchange.clone(),
            enrollment: addresses.enrollment.clone(),
            live: Box::new(move || json!({"streams": live.sessions.count()})),
        };
        Self { refusals, ingest, heard, booked, operations: Arc::new(operations), agents, enrollment }
    }
}

async fn bind(name: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|reason| ServeError::Port {
        name,
        address,
        port: address.port(),
        reason,
        variable: format!("{}LISTEN__{}=ADDRESS:PORT", crate::config::ENV_PREFIX, name.to_uppercase()),
    })
}

fn listen_json(ports: &[Port]) -> io::Result<String> {
    let mut chosen = serde_json::Map::new();
    for port in ports {
        chosen.insert(port.name.to_owned(), json!(port.listener.local_addr()?.to_string()));
    }
    Ok(format!("{}\n", serde_json::Value::Object(chosen)))
}

/// Those of the county's folder, with the settings of the ports.
fn open_certificates(county: &OpenCounty, folder: &DataFolder) -> Result<Arc<Certificates>, ExchangeError> {
    let domain = county.context.county.trust_domain.clone();
    let denylist = Arc::clone(&county.denylist);
    let verifier = DeviceVerifier::new(county.authority.load().root(), domain.clone(), denylist)?;
    let source = Source {
        folder: folder.pki(),
        authority: Arc::clone(&county.authority),
        domain,
        clock: Arc::clone(&county.context.clock),
        verifier,
    };
    Certificates::open(source, county.config.public.names.clone()).map(Arc::new)
}

/// What the system may tell the controller.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns on SIGTERM or SIGINT; SIGHUP reads certificates, the log level and the rules of faults anew.
    async fn wait_for_stop(
        mut self,
        folder: &DataFolder,
        log: Option<LogHandle>,
        context: &Context,
        certificates: &Arc<Certificates>,
    ) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => match Config::load(folder.path()) {
                    Ok(config) => {
                        context.rules.store(Arc::new(config.rules()));
                        let changed = log.as_ref().map(|log| log.reload(filter(&config.log)));
                        reload_certificates(certificates, config.public.names.clone()).await;
                        tracing::info!(level = config.log.level, ok = !matches!(changed, Some(Err(_))), "reloaded");
                    }
                    Err(error) => tracing::error!(%error, "not reloaded, everything stays as it was"),
                },
            }
        }
    }
}

async fn reload_certificates(certificates: &Arc<Certificates>, names: Vec<String>) {
    let certificates = Arc::clone(certificates);
    match tokio::task::spawn_blocking(move || certificates.reload(names)).await {
        Ok(Ok(exchanged)) => tracing::info!(exchanged, "certificates were read"),
        Ok(Err(error)) => tracing::error!(%error, "certificates stay as they were"),
        Err(error) => tracing::error!(%error, "certificates stay as they were"),
    }
}

/// Each connection is a descriptor: asks for as many as the system allows, and says when those are too few.
fn raise_descriptor_limit(ports: &[Port]) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let connections: usize = ports.iter().map(|port| port.terms.caps.connections).sum();
    let needed = (connections + OWN_DESCRIPTORS) as u64;
    if let Some(allowed) = limit.maximum.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "fewer files may be open than the ports take connections: raise LimitNOFILE of the service, or lower limits.agent_connections"
        );
    }
}

fn probe_disk(folder: &DataFolder) {
    match bbt_store::FsyncProbe::measure(folder.path()) {
        Ok(probe) if probe.is_suspicious() => tracing::warn!(
            median_us = probe.median.as_micros() as u64,
            "the disk says written faster than it can write: a power cut may lose what was acknowledged; switch off its volatile write cache"
        ),
        Ok(probe) => {
            tracing::info!(median_us = probe.median.as_micros() as u64, "the disk's time to write 4 KiB")
        }
        Err(error) => tracing::warn!(%error, "the disk could not be measured"),
    }
}
