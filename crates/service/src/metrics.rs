//! What the service counts, in the form that Prometheus reads.
//!
//! No label has a subject, a session, an address, an edge or anything else that somebody outside
//! can choose: routes are our own patterns, codes our own words. So the number of series is bounded
//! by the program, and whoever reads them learns about nobody.
//!
//! Source: docs/operations.md (Metrics); <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::time::Duration;

use hallpass_session::wire::EndedBy;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::edges::EdgesSeen;
use crate::failure::{Failure, Refusal};
use crate::store::StoreLoad;

/// Type of the text that [`Metrics::write`] makes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the latency buckets, in seconds: from a read of memory to the longest request.
const LATENCY_SECS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Labels and their values.
type Labels<const N: usize> = [(&'static str, String); N];

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels<3>, Counter>,
    latency: Family<Labels<2>, Histogram, fn() -> Histogram>,
    refused: Family<Labels<1>, Counter>,
    renewals: Family<Labels<1>, Counter>,
    replays: Counter,
    deliveries: Family<Labels<1>, Counter>,
    created: Counter,
    revocations: Family<Labels<1>, Counter>,
    ended: Family<Labels<1>, Counter>,
    list_head: Gauge,
    list_entries: Gauge,
    list_bytes: Gauge,
    edges: Gauge,
    edges_behind: Gauge,
    edges_least: Gauge,
    edges_age: Gauge,
    open_polls: Gauge,
    database: DatabaseLoad,
}

/// How busy the connections to the database are.
struct DatabaseLoad {
    connections: Gauge,
    idle: Gauge,
    waiting: Gauge,
    queued: Gauge,
}

impl Metrics {
    /// Nothing counted yet, by a process that started at this second.
    #[must_use]
    pub fn new(started_at: u64) -> Self {
        let mut registry = Registry::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("hallpass_build", "This program", version);
        let all = &mut registry;
        let started: Gauge = add(all, "process_start_time_seconds", "Second of the start");
        started.set(signed(started_at));
        let latency = Family::new_with_constructor(histogram as fn() -> Histogram);
        let help = "Time to the answer in seconds, the wait of a poll included";
        all.register("hallpass_request_duration_seconds", help, latency.clone());
        Self {
            latency,
            requests: add(
                all,
                "hallpass_requests",
                "Answers by route, method and status",
            ),
            refused: add(
                all,
                "hallpass_credentials_refused",
                "Requests refused for their credential, by code",
            ),
            renewals: add(all, "hallpass_renewals", "Renewals by outcome"),
            replays: add(
                all,
                "hallpass_replays",
                "Sessions ended because two parties held them",
            ),
            deliveries: add(
                all,
                "hallpass_webhook_deliveries",
                "Attempts to deliver an event, by outcome",
            ),
            created: add(all, "hallpass_sessions_created", "Sessions created"),
            revocations: add(
                all,
                "hallpass_revocations",
                "Revocations by who asked; one ends many sessions, one or none",
            ),
            ended: add(
                all,
                "hallpass_sessions_revoked",
                "Live sessions that revocations ended, by who asked",
            ),
            list_head: add(
                all,
                "hallpass_list_head",
                "Number of the newest revocation known here",
            ),
            list_entries: add(
                all,
                "hallpass_list_entries",
                "Revoked sessions in the whole list",
            ),
            list_bytes: add(
                all,
                "hallpass_list_bytes",
                "Size of the whole list when last signed; edges refuse 16 MiB",
            ),
            edges: add(
                all,
                "hallpass_edges",
                "Edges that were answered within their own bound",
            ),
            edges_behind: add(
                all,
                "hallpass_edges_behind",
                "Those of them that did not hold the newest revocation when they asked",
            ),
            edges_least: add(
                all,
                "hallpass_edges_position_least",
                "Smallest number that one of them held when it asked",
            ),
            edges_age: add(
                all,
                "hallpass_edges_age_greatest_milliseconds",
                "Longest time since one of them was answered",
            ),
            open_polls: add(
                all,
                "hallpass_open_polls",
                "Polls that are being answered now",
            ),
            database: DatabaseLoad::new(all),
            registry,
        }
    }

    /// Everything as text, with what is true at this moment.
    pub(crate) fn write(&self, edges: &EdgesSeen, open_polls: usize, store: StoreLoad) -> String {
        self.edges.set(counted(edges.count));
        self.edges_behind.set(counted(edges.behind));
        self.edges_least.set(signed(edges.least_position));
        self.edges_age.set(signed(edges.greatest_age_ms));
        self.open_polls.set(counted(open_polls));
        self.database.set(store);
        let mut written = String::new();
        // Writing to a String does not fail.
        let _infallible = text::encode(&mut written, &self.registry);
        written
    }

    /// Notes an answer.
    pub(crate) fn note_answer(&self, route: &str, method: &str, status: u16, took: Duration) {
        let route = ("route", route.to_owned());
        let method = ("method", method.to_owned());
        let status = ("status", status.to_string());
        self.latency
            .get_or_create(&[route.clone(), method.clone()])
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&[route, method, status]).inc();
    }

    /// Notes a refusal of a credential.
    pub(crate) fn note_refused_credential(&self, refusal: &Refusal) {
        let code = [("code", refusal.code().to_owned())];
        self.refused.get_or_create(&code).inc();
    }

    /// Notes a renewal: `confirmed` or `repeated` when it was answered, else the code of its failure.
    pub(crate) fn note_renewal(&self, outcome: Result<Confirmation, &Failure>) {
        if let Err(Failure::Refusal(Refusal::RenewalReused)) = outcome {
            self.replays.inc();
        }
        let outcome = match outcome {
            Ok(Confirmation::Written) => "confirmed",
            Ok(Confirmation::AsBefore) => "repeated",
            Err(failure) => failure.code(),
        };
        let outcome = [("outcome", outcome.to_owned())];
        self.renewals.get_or_create(&outcome).inc();
    }

    /// Notes an attempt of the webhook.
    pub(crate) fn note_delivery(&self, is_delivered: bool) {
        let outcome = if is_delivered { "delivered" } else { "failed" };
        let outcome = [("outcome", outcome.to_owned())];
        self.deliveries.get_or_create(&outcome).inc();
    }

    /// Notes a creation.
    pub(crate) fn note_creation(&self) {
        self.created.inc();
    }

    /// Notes a revocation that ended so many live sessions.
    pub(crate) fn note_revocation(&self, by: EndedBy, ended: u64) {
        let by = match by {
            EndedBy::User => "user",
            EndedBy::Admin => "admin",
            EndedBy::App => "app",
            EndedBy::System => "system",
        };
        let by = [("by", by.to_owned())];
        self.revocations.get_or_create(&by).inc();
        self.ended.get_or_create(&by).inc_by(ended);
    }

    /// Notes the number of a revocation.
    pub(crate) fn note_list_head(&self, head: u64) {
        self.list_head.set(signed(head));
    }

    /// Notes how many sessions the whole list has.
    pub(crate) fn note_list_entries(&self, entries: usize) {
        self.list_entries.set(counted(entries));
    }

    /// The newest revocation noted.
    pub(crate) fn list_head(&self) -> u64 {
        self.list_head.get().unsigned_abs()
    }

    /// Notes the size of a whole list.
    pub(crate) fn note_whole_list(&self, bytes: usize) {
        self.list_bytes.set(counted(bytes));
    }
}

impl DatabaseLoad {
    fn new(all: &mut Registry) -> Self {
        Self {
            connections: add(
                all,
                "hallpass_pool_connections",
                "Open connections to the database, but that of the serial writes",
            ),
            idle: add(
                all,
                "hallpass_pool_connections_idle",
                "Those of them that nobody uses",
            ),
            waiting: add(
                all,
                "hallpass_pool_waiting",
                "Reads and renewals that wait for such a connection",
            ),
            queued: add(
                all,
                "hallpass_writes_waiting",
                "Writes that wait to be committed in order",
            ),
        }
    }

    fn set(&self, load: StoreLoad) {
        self.connections.set(counted(load.connections));
        self.idle.set(counted(load.idle));
        self.waiting.set(counted(load.waiting));
        self.queued.set(counted(load.queued));
    }
}

/// Whether a renewal that was answered changed the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// A child was presented for the first time.
    Written,
    /// The confirmed token, or one that is tolerated.
    AsBefore,
}

fn add<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn histogram() -> Histogram {
    Histogram::new(LATENCY_SECS)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn counted(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
