//! What `/metrics` says, and to whom.

use std::sync::Arc;

use crate::database::{Database, on_each_database};
use crate::running::Running;
use hallpass_service::http::{metrics_router, serve};
use hallpass_session::wire::Revoked;
use reqwest::StatusCode;

impl Running {
    async fn metrics(&self) -> String {
        let answer = self.get("/metrics", &self.admin).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert!(
            answer
                .header("content-type")
                .starts_with("application/openmetrics-text")
        );
        answer.body
    }

    /// The value of the series that begins so.
    pub(crate) async fn metric(&self, series: &str) -> String {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(series));
        value.unwrap_or("absent").trim().to_owned()
    }
}

async fn metrics_count_what_happened(database: Database) {
    let service = Running::start(database).await;
    let poll = service.get("/v1/edge/revocations", &service.edge).await;
    let head = poll.list_header().position.to;
    let created = service.create("ada").await;
    let renewed = service.renewed(&created.renewal_token).await;
    service.renewed(&created.renewal_token).await;
    service
        .renew("hp1.x")
        .await
        .refused(401, "renewal_malformed");
    service.renewed(&renewed.renewal_token).await;
    service.advance(11);
    service
        .renew(&created.renewal_token)
        .await
        .refused(401, "renewal_reused");
    service.create("ada").await;
    let _: Revoked = service
        .delete("/v1/subjects/YWRh/sessions", &service.app)
        .await
        .json(StatusCode::OK);
    service.get("/v1/edge/keys", "nobody's").await;
    service.get("/v1/edge/keys", &service.app).await;

    for (series, value) in [
        ("hallpass_sessions_created_total", "2"),
        ("hallpass_renewals_total{outcome=\"confirmed\"}", "2"),
        ("hallpass_renewals_total{outcome=\"repeated\"}", "1"),
        (
            "hallpass_renewals_total{outcome=\"renewal_malformed\"}",
            "1",
        ),
        ("hallpass_renewals_total{outcome=\"renewal_reused\"}", "1"),
        ("hallpass_replays_total", "1"),
        ("hallpass_revocations_total{by=\"app\"}", "1"),
        ("hallpass_sessions_revoked_total{by=\"app\"}", "1"),
        (
            "hallpass_credentials_refused_total{code=\"credential_invalid\"}",
            "1",
        ),
        (
            "hallpass_credentials_refused_total{code=\"scope_insufficient\"}",
            "1",
        ),
        (
            "hallpass_requests_total{route=\"/v1/edge/renew\",method=\"POST\",status=\"401\"}",
            "2",
        ),
        (
            "hallpass_request_duration_seconds_count{route=\"/v1/edge/renew\",method=\"POST\"}",
            "5",
        ),
        ("hallpass_build_info{version=\"0.1.0\"}", "1"),
        ("process_start_time_seconds", "1800000000"),
        ("hallpass_open_polls", "0"),
    ] {
        assert_eq!(service.metric(series).await, value, "{series}");
    }
    let newest = service.metric("hallpass_list_head").await;
    assert_eq!(newest, (head + 2).to_string(), "a replay and a revocation");
}

async fn metrics_say_how_far_edges_are(database: Database) {
    let service = Running::start(database).await;
    let sid = service.create("ada").await.session.sid;
    let poll = async |edge: &str| {
        let path = format!("/v1/edge/revocations?edge={edge}");
        service.get(&path, &service.edge).await.list_header()
    };
    let position = poll("a").await.position;
    service
        .delete(&format!("/v1/sessions/{sid}"), &service.app)
        .await;
    service.advance(3);
    poll("b").await;
    let path = format!(
        "/v1/edge/revocations?edge=c&epoch={}&after={}",
        position.epoch,
        position.to + 1
    );
    service.get(&path, &service.edge).await;
    service.advance(2);

    for (series, value) in [
        ("hallpass_edges ", "3"),
        ("hallpass_edges_behind", "2"),
        ("hallpass_edges_position_least", "0"),
        ("hallpass_edges_age_greatest_milliseconds", "5000"),
        ("hallpass_list_entries", "1"),
    ] {
        assert_eq!(service.metric(series).await, value, "{series}");
    }
    assert!(
        service
            .metric("hallpass_list_bytes")
            .await
            .parse::<u64>()
            .unwrap()
            > 100
    );
}

/// The metrics as the `OpenMetrics` grammar has them; panics where a line does not follow it.
fn parsed(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let body = text.strip_suffix("# EOF\n").expect("it ends as it must");
    for line in body.split_terminator('\n') {
        if let Some(said) = line.strip_prefix("# ") {
            let (keyword, rest) = said.split_once(' ').expect(line);
            let (name, value) = rest.split_once(' ').expect(line);
            if families.last().is_none_or(|family| family.name != name) {
                let is_new = families.iter().all(|family| family.name != name);
                assert!(is_new, "a family stands in one place: {line}");
                families.push(Family::new(name));
            }
            let family = families.last_mut().unwrap();
            assert!(family.series.is_empty(), "what it is stands first: {line}");
            match keyword {
                "HELP" => family.help = value.to_owned(),
                "TYPE" => family.kind = value.to_owned(),
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                _ => panic!("{line}"),
            }
        } else {
            let family = families.last_mut().expect(line);
            family.take_in(line);
        }
    }
    families
}

/// One metric.
struct Family {
    name: String,
    kind: String,
    help: String,
    /// Name with labels, and value.
    series: Vec<(String, f64)>,
}

impl Family {
    fn new(name: &str) -> Self {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(name.bytes().all(is_name), "{name}");
        let name = name.to_owned();
        Self {
            name,
            kind: String::new(),
            help: String::new(),
            series: Vec::new(),
        }
    }

    fn take_in(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
            None => (series, ""),
        };
        let suffix = name.strip_prefix(&self.name).expect(line);
        let suffixes: &[&str] = match self.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            kind => panic!("{kind}: {line}"),
        };
        assert!(suffixes.contains(&suffix), "{line}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once('=').expect(line);
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'));
            let is_plain = |value: &str| !value.contains(['"', '\\', '\n']);
            assert!(value.is_some_and(is_plain), "{line}");
        }
        let value: f64 = value.parse().expect(line);
        assert!(
            self.series.iter().all(|(known, _)| known != series),
            "{line}"
        );
        self.series.push((series.to_owned(), value));
    }

    /// Buckets never fall, and the last one counts everything.
    fn check_buckets(&self) {
        let mut last: Option<(&str, f64)> = None;
        for (series, count) in &self.series {
            let Some((rest, end)) = series.split_once("le=\"") else {
                if let Some(("+Inf\"}", all)) = last.take().filter(|_| series.contains("_count")) {
                    assert!((all - count).abs() < 0.5, "{series}");
                }
                continue;
            };
            assert!(rest.contains("_bucket"), "{series}");
            if let Some((_, before)) = last.filter(|(before, _)| *before != "+Inf\"}") {
                assert!(*count >= before, "{series}");
            }
            last = Some((end, *count));
        }
    }
}

async fn metrics_follow_the_grammar_and_are_all_documented(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    service.renewed(&created.renewal_token).await;
    service.poll("edge=a").await;
    service
        .delete("/v1/subjects/YWRh/sessions", &service.app)
        .await;
    service.get("/v1/edge/keys", "nobody's").await;

    let families = parsed(&service.metrics().await);

    let documented = include_str!("../../../../docs/operations.md");
    for family in &families {
        assert!(!family.help.is_empty(), "{}", family.name);
        let suffix = match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let series = format!("`{}{suffix}", family.name);
        assert!(documented.contains(&series), "docs/operations.md: {series}");
        for (series, value) in &family.series {
            assert!(value.is_finite(), "{series}");
        }
        if family.kind == "histogram" {
            family.check_buckets();
        }
    }
    let value = |series: &str| {
        let all = families.iter().flat_map(|family| &family.series);
        let mut found = all.filter(|(name, _)| name == series);
        found.next().map(|(_, value)| *value)
    };
    assert!(value("hallpass_pool_connections") >= Some(1.0));
    assert!(value("hallpass_pool_connections_idle") <= value("hallpass_pool_connections"));
    assert_eq!(value("hallpass_pool_waiting"), Some(0.0));
    assert_eq!(value("hallpass_writes_waiting"), Some(0.0));
}

async fn metrics_name_nobody_and_have_no_series_that_callers_choose(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada.lovelace").await;
    service.renewed(&created.renewal_token).await;
    let edge_id = "/v1/edge/revocations?edge=chosen-by-somebody";
    service.get(edge_id, &service.edge).await;
    service.get("/chosen/by/somebody", &service.edge).await;
    let method = "CHOSEN".parse().unwrap();
    service
        .request(method, "/healthz", &service.edge)
        .send()
        .await
        .unwrap();

    let text = service.metrics().await;

    for secret in [
        "lovelace",
        &created.session.sid,
        "chosen",
        "CHOSEN",
        "203.0.113.7",
        "Firefox",
        "127.0.0.1",
    ] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

async fn metrics_are_for_admins_or_for_their_own_address(database: Database) {
    let service = Running::start(database).await;
    let refused = service.get("/metrics", &service.edge).await;
    refused.refused(403, "scope_insufficient");
    service
        .get("/metrics", "")
        .await
        .refused(401, "credential_invalid");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = metrics_router(Arc::clone(&service.service));
    let server = tokio::spawn(serve(listener, routes, std::future::pending()));
    let own = reqwest::get(format!("{url}/metrics")).await.unwrap();
    assert_eq!(own.status(), StatusCode::OK);
    let text = own.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let other = reqwest::get(format!("{url}/v1/edge/keys")).await.unwrap();
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    server.abort();
}

on_each_database![
    metrics_count_what_happened,
    metrics_say_how_far_edges_are,
    metrics_follow_the_grammar_and_are_all_documented,
    metrics_name_nobody_and_have_no_series_that_callers_choose,
    metrics_are_for_admins_or_for_their_own_address,
];
