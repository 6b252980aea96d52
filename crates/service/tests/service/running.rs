//! A running service on a throw-away table, and a client of it.

use std::sync::Arc;

use crate::database::{Backup, Database, Table};
use hallpass_service::clock::{Clock, ManualClock};
use hallpass_service::config::{GivenSettings, Settings};
use hallpass_service::credential::{self, Scope};
use hallpass_service::http::{router, serve};
use hallpass_service::in_force::keep_reporting;
use hallpass_service::service::Service;
use hallpass_service::store::Store;
use hallpass_service::store::sql::SqlStore;
use hallpass_session::revocation::ListHeader;
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::{Created, Problem, Renewed};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::AnyConnection;
use tokio::task::JoinHandle;

/// Where the tests' clock starts.
pub(crate) const START: u64 = 1_800_000_000;
/// A user agent that most tests present.
pub(crate) const FIREFOX: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A service, the clock it reads, and one credential of each scope.
pub(crate) struct Running {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) edge: String,
    pub(crate) app: String,
    pub(crate) admin: String,
    pub(crate) service: Arc<Service>,
    pub(crate) store: Arc<SqlStore>,
    pub(crate) url: String,
    pub(crate) table: Arc<Table>,
    given: GivenSettings,
    client: reqwest::Client,
    server: JoinHandle<()>,
    reporting: JoinHandle<()>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Running {
    /// Starts with default settings.
    pub(crate) async fn start(database: Database) -> Self {
        Self::start_with(database, "").await
    }

    /// Starts with these settings, as in a file.
    pub(crate) async fn start_with(database: Database, settings: &str) -> Self {
        Self::start_in(Table::new(database), settings).await
    }

    /// Starts on a table of the caller's.
    pub(crate) async fn start_in(table: Table, settings: &str) -> Self {
        let clock = Arc::new(ManualClock::at(UnixSeconds::new(START)));
        let given = toml::from_str(settings).unwrap();
        Self::start_on(Arc::new(table), clock, given).await
    }

    async fn start_on(table: Arc<Table>, clock: Arc<ManualClock>, given: GivenSettings) -> Self {
        let settings = Settings::resolve(given.clone()).unwrap();
        let shared: Arc<dyn Clock> = clock.clone();
        let store = SqlStore::open(&table.url(), 4, Arc::clone(&shared))
            .await
            .unwrap();
        let mut secrets = Vec::new();
        for scope in [Scope::Edge, Scope::App, Scope::Admin] {
            let new = credential::create(scope, "", shared.now()).unwrap();
            store.add_credential(new.row).await.unwrap();
            secrets.push(new.secret);
        }
        let store = Arc::new(store);
        let shared_store: Arc<dyn Store> = store.clone();
        let started = Service::start(settings, None, shared_store, shared).await;
        let service = Arc::new(started.unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut stopping = service.stopping();
        let stop = async move {
            // Fails only when the service is gone, which is a reason to stop as well.
            let _gone = stopping.wait_for(|stop| *stop).await;
        };
        let server = tokio::spawn(serve(listener, router(Arc::clone(&service)), stop));
        let reporting = tokio::spawn(keep_reporting(Arc::clone(&service)));
        let [edge, app, admin] = secrets.try_into().unwrap();
        let client = reqwest::Client::new();
        Self {
            clock,
            edge,
            app,
            admin,
            service,
            store,
            url,
            table,
            given,
            client,
            server,
            reporting,
        }
    }

    /// Another process on the same table, under the same clock.
    pub(crate) async fn start_beside(&self) -> Self {
        let (table, clock) = (Arc::clone(&self.table), Arc::clone(&self.clock));
        Self::start_on(table, clock, self.given.clone()).await
    }

    /// Stops; the table stays as it is.
    pub(crate) async fn stop(self) -> Stopped {
        self.service.stop();
        drop(self.client);
        self.server.await.expect("the server does not panic");
        self.reporting.await.expect("reporting does not panic");
        self.service.close().await;
        Stopped {
            clock: self.clock,
            table: self.table,
            given: self.given,
        }
    }

    /// Ends without a word, as by `kill -9`.
    pub(crate) fn kill(self) {
        self.server.abort();
        self.reporting.abort();
    }

    /// Stops and starts again on the same table.
    pub(crate) async fn restart(self) -> Self {
        self.stop().await.start().await
    }

    /// A connection beside the service's own.
    pub(crate) async fn sql(&self) -> AnyConnection {
        self.table.sql().await
    }

    /// Runs a statement beside the service; how many rows it changed, or why it was refused.
    pub(crate) async fn try_execute(&self, sql: &str) -> Result<u64, String> {
        let statement = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
        let done = statement.execute(&mut self.sql().await).await;
        done.map(|done| done.rows_affected())
            .map_err(|error| error.to_string())
    }

    /// Runs a statement beside the service.
    pub(crate) async fn execute(&self, sql: &str) {
        self.try_execute(sql).await.unwrap();
    }

    /// The current second of the tests' clock.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now().get()
    }

    /// Moves the clock on.
    pub(crate) fn advance(&self, secs: u64) {
        self.clock.advance_ms(secs * 1000);
    }

    /// A request with a credential.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        credential: &str,
    ) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client
            .request(method, url)
            .header(AUTHORIZATION, format!("Bearer {credential}"))
    }

    /// GET with a credential.
    pub(crate) async fn get(&self, path: &str, credential: &str) -> Answer {
        answer(self.request(Method::GET, path, credential)).await
    }

    /// DELETE with a credential.
    pub(crate) async fn delete(&self, path: &str, credential: &str) -> Answer {
        answer(self.request(Method::DELETE, path, credential)).await
    }

    /// POST JSON with a credential.
    pub(crate) async fn post(&self, path: &str, credential: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path, credential).json(body)).await
    }

    /// Creates a session of `subject`.
    pub(crate) async fn create(&self, subject: &str) -> Created {
        self.post("/v1/sessions", &self.app, &creation(subject))
            .await
            .json(StatusCode::CREATED)
    }

    /// Presents a renewal token as [`FIREFOX`].
    pub(crate) async fn renew(&self, token: &str) -> Answer {
        self.renew_as(token, FIREFOX).await
    }

    /// Presents a renewal token as some browser.
    pub(crate) async fn renew_as(&self, token: &str, user_agent: &str) -> Answer {
        let body = json!({
            "renewal_token": token,
            "client": {"user_agent": user_agent, "ip": "203.0.113.7"},
            "request_id": "r",
        });
        self.post("/v1/edge/renew", &self.edge, &body).await
    }

    /// Renews and expects it to work.
    pub(crate) async fn renewed(&self, token: &str) -> Renewed {
        self.renew(token).await.json(StatusCode::OK)
    }
}

/// A stopped service's table.
pub(crate) struct Stopped {
    clock: Arc<ManualClock>,
    table: Arc<Table>,
    pub(crate) given: GivenSettings,
}

impl Stopped {
    /// Starts on the same table.
    pub(crate) async fn start(self) -> Running {
        Running::start_on(self.table, self.clock, self.given).await
    }

    /// The table as it is.
    pub(crate) fn back_up(&self) -> Backup {
        self.table.back_up()
    }

    /// The table as it was.
    pub(crate) fn restore(&self, backup: &Backup) {
        self.table.restore(backup);
    }
}

impl Answer {
    /// The body, once the status is as expected.
    pub(crate) fn json<T: DeserializeOwned>(&self, status: StatusCode) -> T {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// Asserts a problem document with this status and code.
    pub(crate) fn refused(&self, status: u16, code: &str) {
        let problem: Problem = self.json(StatusCode::from_u16(status).unwrap());
        assert_eq!((problem.status, problem.code.as_str()), (status, code));
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("x-request-id"), problem.request_id);
    }

    /// A header as text; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// `Hallpass-List`.
    pub(crate) fn list_header(&self) -> ListHeader {
        ListHeader::parse(self.header("hallpass-list")).unwrap()
    }
}

/// Sends a request.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer {
        status,
        headers,
        body: response.text().await.unwrap(),
    }
}

/// Body of a creation.
pub(crate) fn creation(subject: &str) -> Value {
    json!({
        "subject": subject,
        "amr": ["pwd"],
        "ext": {"role": "editor"},
        "request": "AAAAAAAAAAAAAAAAAAAAAA",
        "client": {"ip": "203.0.113.7", "user_agent": FIREFOX, "country": "DE", "city": "Berlin"},
    })
}
