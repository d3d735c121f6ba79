//! Logs, metrics and health.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bbt_domain::{access::Actor, time::UtcMicros};
use bbt_store::meta::commit_probe;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use tokio::sync::Mutex;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::{config::Log, ingest::Ingest, listen::accept::PortCounters, trouble::Kind};

/// A load balancer may ask every few milliseconds; the store is asked at most this often.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A store that has not committed within this long cannot commit.
const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// The library of HTTP/2, as it names itself in what it logs.
const H2: &str = "h2";

/// Changes the log level of the running program.
pub type LogHandle = reload::Handle<Targets, tracing_subscriber::Registry>;

/// Starts logging to standard error.
pub fn log(config: &Log) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter(config));
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr;
    // A second start within one process (tests) keeps the first logger.
    let _ = if config.format == "json" {
        registry.with(tracing_subscriber::fmt::layer().json().with_writer(writer)).try_init()
    } else {
        registry.with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer)).try_init()
    };
    handle
}

/// The level as a filter; the configuration was checked when it was read. What h2 says of the mistakes of peers
/// would let any of them fill the log, so it is heard only where it is asked for by name.
pub fn filter(config: &Log) -> Targets {
    let filter: Targets =
        config.level.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    let is_named = filter.iter().any(|(target, _)| target == H2);
    if is_named { filter } else { filter.with_target(H2, tracing::Level::ERROR) }
}

/// What the admin port tells.
pub struct Health {
    ingest: Arc<Ingest>,
    probed: Mutex<Option<(UtcMicros, Result<(), String>)>>,
    registry: Registry,
}

impl Health {
    /// Counts what `ingest` and the ports count.
    pub fn new(ingest: Arc<Ingest>, ports: Vec<(&'static str, Arc<PortCounters>)>) -> Arc<Self> {
        let mut registry = Registry::with_prefix("bbt");
        registry.register_collector(Box::new(Numbers { ingest: Arc::clone(&ingest), ports }));
        Arc::new(Self { ingest, probed: Mutex::new(None), registry })
    }

    /// `/healthz`, `/readyz`, `/metrics`.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// Whether the store commits, asked at most once per [`PROBE_EVERY`].
    async fn ready(&self) -> Result<(), String> {
        let context = &self.ingest.context;
        if let Some(trouble) = context.troubles.stops_reports() {
            return Err(trouble.to_string());
        }
        let mut probed = self.probed.lock().await;
        let now = context.now();
        if let Some((at, result)) = probed.as_ref()
            && *at <= now
            && now.since(*at) < PROBE_EVERY
        {
            return result.clone();
        }
        let probe = context.store.write(move |tx| commit_probe(tx, &Actor::System("health"), now));
        let result = match tokio::time::timeout(PROBE_WITHIN, probe).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the store has not committed within {} s", PROBE_WITHIN.as_secs())),
        };
        *probed = Some((now, result.clone()));
        result
    }
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    match health.ready().await {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    let mut text = String::new();
    if encode(&mut text, &health.registry).is_err() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], as_plain_text(&text))
        .into_response()
}

/// OpenMetrics names a counter without `_total` in its HELP and TYPE lines and ends with `# EOF`; the older
/// text format, which every Prometheus reads, names it in full and ends.
fn as_plain_text(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(kind @ ("HELP" | "TYPE")), Some(name), Some(rest))
                if counters.contains(&name) =>
            {
                text.push_str(&format!("# {kind} {name}_total {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// Reads the program's counters when asked.
struct Numbers {
    ingest: Arc<Ingest>,
    ports: Vec<(&'static str, Arc<PortCounters>)>,
}

impl std::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Numbers").finish_non_exhaustive()
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.ingest.counters;

        let mut reports =
            encoder.encode_descriptor("reports", "Reports decided, by verdict", None, MetricType::Counter)?;
        for (verdict, counter) in [
            ("committed", &counters.committed),
            ("duplicate", &counters.duplicate),
            ("quarantined", &counters.quarantined),
            ("refused", &counters.refused),
        ] {
            let labels = [("verdict", verdict)];
            ConstCounter::new(load(counter)).encode(reports.encode_family(&labels)?)?;
        }

        let (commits, writes) = self.ingest.context.store.counters();
        for (name, help, value) in [
            ("batches", "Batches decided", load(&counters.batches)),
            ("batches_failed", "Batches that could not be stored", load(&counters.failed)),
            ("batches_shed", "Batches of history for which there was no room", load(&counters.shed)),
            ("store_commits", "Commits of the store", commits),
            ("store_writes", "Writes in those commits", writes),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let waited = encoder.encode_descriptor(
            "commit_wait",
            "Time from a batch's arrival to its commit, all batches together",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        ConstCounter::new(load(&counters.commit_micros) as f64 / 1e6).encode(waited)?;
        let noted = self.ingest.context.troubles.all();
        let mut troubles =
            encoder.encode_descriptor("trouble", "1 while this is wrong", None, MetricType::Gauge)?;
        for kind in Kind::ALL {
            let labels = [("kind", kind.as_str())];
            let is_noted = noted.iter().any(|noted| noted.trouble.kind() == kind);
            ConstGauge::new(i64::from(is_noted)).encode(troubles.encode_family(&labels)?)?;
        }
        let streams =
            encoder.encode_descriptor("streams_open", "Open streams of devices", None, MetricType::Gauge)?;
        ConstGauge::new(self.ingest.sessions.count() as i64).encode(streams)?;

        let mut open =
            encoder.encode_descriptor("connections_open", "Open connections", None, MetricType::Gauge)?;
        for (port, counters) in &self.ports {
            let labels = [("port", *port)];
            ConstGauge::new(load(&counters.open) as i64).encode(open.encode_family(&labels)?)?;
        }
        let mut ended =
            encoder.encode_descriptor("connections", "Connections, by outcome", None, MetricType::Counter)?;
        for (port, counters) in &self.ports {
            for (outcome, counter) in [
                ("accepted", &counters.accepted),
                ("over_cap", &counters.over_cap),
                ("handshake_failed", &counters.handshakes_failed),
            ] {
                let labels = [("port", *port), ("outcome", outcome)];
                ConstCounter::new(load(counter)).encode(ended.encode_family(&labels)?)?;
            }
        }
        let mut turned_away = encoder.encode_descriptor(
            "requests_over_cap",
            "Requests turned away because of a cap",
            None,
            MetricType::Counter,
        )?;
        for (port, counters) in &self.ports {
            let labels = [("port", *port)];
            let counter = ConstCounter::new(load(&counters.requests_over_cap));
            counter.encode(turned_away.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_do_wrong_is_logged_only_where_it_is_asked_for() {
        let hears = |level: &str, target: &str| {
            let config = Log { level: level.to_owned(), ..Log::default() };
            filter(&config).would_enable(target, &tracing::Level::WARN)
        };
        assert!(!hears("debug", "h2::proto::streams::recv"));
        assert!(hears("info,h2=debug", "h2::proto::streams::recv"));
        assert!(hears("info", "bbt_controller::listen::refusals"));
    }

    #[test]
    fn counters_are_named_as_the_text_format_wants_them() {
        let open =
            "# HELP bbt_x Things.\n# TYPE bbt_x counter\nbbt_x_total 3\n# TYPE bbt_y gauge\nbbt_y 1\n# EOF\n";
        let plain = "# HELP bbt_x_total Things.\n# TYPE bbt_x_total counter\nbbt_x_total 3\n# TYPE bbt_y gauge\nbbt_y 1\n";
        assert_eq!(as_plain_text(open), plain);
    }
}
