//! What `init` writes for the edge: its settings for wrangler.toml, and its secrets.
//!
//! What the edge would refuse is refused here already. Source: docs/protocol.md §9.

use hallpass_session::path::CanonicalPath;
use serde_json::json;
use toml::Value;

use crate::cli::CommandError;
use crate::config::{DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER, Environment, Settings};

const DEVELOPMENT_HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];
const DEVELOPMENT_UPSTREAM: &str = "http://127.0.0.1:8789";

#[derive(clap::Args)]
#[command(next_help_heading = "Edge")]
pub(super) struct EdgeArguments {
    #[arg(
        long,
        value_name = "URL",
        help = "Where edges reach the service [default in development: http://127.0.0.1:8788]"
    )]
    service_url: Option<String>,
    /// A name under which users know the app, such as app.example; repeatable
    /// [default in development: localhost, 127.0.0.1]
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    #[arg(
        long,
        value_name = "URL",
        help = "Where edges reach the app [default: the zone's own origin; in development \
                http://127.0.0.1:8789]"
    )]
    upstream_url: Option<String>,
    /// The app's sign-in page, where page loads without a session go
    #[arg(long, value_name = "PATH", default_value = "/sign-in")]
    sign_in_path: String,
}

/// What the edge is told, checked.
pub(super) struct EdgePart {
    pub(super) service_url: String,
    hosts: Vec<String>,
    upstream_url: String,
    sign_in_path: String,
    environment: Environment,
}

impl EdgeArguments {
    pub(super) fn resolve(self, environment: Environment) -> Result<EdgePart, CommandError> {
        let is_development = environment == Environment::Development;
        let demanded = |flag: &str, example: &str| {
            CommandError::Usage(format!(
                "{flag}: a deployment needs it, such as {flag} {example}; for trying out say \
                 --environment development"
            ))
        };
        let service_url = match self.service_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if is_development => DEVELOPMENT_ISSUER.to_owned(),
            None => return Err(demanded("--service-url", "https://sessions.example")),
        };
        let hosts = match self.hosts {
            hosts if !hosts.is_empty() => hosts,
            _ if is_development => DEVELOPMENT_HOSTS.map(str::to_owned).to_vec(),
            _ => return Err(demanded("--host", "app.example")),
        };
        let upstream_url = match self.upstream_url {
            Some(url) => url,
            None if is_development => DEVELOPMENT_UPSTREAM.to_owned(),
            None => String::new(),
        };
        let part = EdgePart {
            service_url,
            hosts,
            upstream_url,
            sign_in_path: self.sign_in_path,
            environment,
        };
        part.check()?;
        Ok(part)
    }
}

impl EdgePart {
    /// `aud` of session tokens, unless somebody says.
    pub(super) fn audience(&self) -> String {
        match (self.environment, self.hosts.first()) {
            (Environment::Production, Some(host)) => host.clone(),
            _ => DEVELOPMENT_AUDIENCE.to_owned(),
        }
    }

    /// `[vars.HALLPASS]`, ready to be pasted.
    pub(super) fn settings_text(&self, settings: &Settings) -> String {
        let environment = match self.environment {
            Environment::Development => "development",
            Environment::Production => "production",
        };
        let hosts: Vec<String> = self.hosts.iter().map(|host| quoted(host)).collect();
        let hosts = hosts.join(", ");
        let zone = self.hosts.first().map_or("", String::as_str);
        let example = match self.environment {
            Environment::Production => format!(
                "# Above the first table there, say which requests go through the edge:\n\
                 # routes = [{{ pattern = {}, zone_name = {} }}]\n",
                quoted(&format!("{zone}/*")),
                quoted(zone)
            ),
            Environment::Development => String::new(),
        };
        format!(
            "# Settings of the edge: put them into wrangler.toml in place of its [vars.HALLPASS] and\n\
             # what follows it. Every key: docs/settings.md.\n\
             {example}\n\
             [vars.HALLPASS]\n\
             environment = {environment}\n\
             issuer = {issuer}\n\
             audience = {audience}\n\
             service_url = {service_url}\n\
             upstream_url = {upstream_url} # empty: the zone's own origin\n\
             hosts = [{hosts}]\n\
             sign_in_path = {sign_in_path}\n\
             assertion = \"hmac\"\n\
             list_max_age_secs = 10 # the bound on revocation\n\
             \n\
             # The first match wins; what matches no route needs a session.\n\
             [[vars.HALLPASS.routes]]\n\
             path = {sign_in_path}\n\
             access = \"optional\"\n\
             \n\
             # [[vars.HALLPASS.routes]]\n\
             # path = \"/assets/*\"\n\
             # access = \"public\"\n",
            environment = quoted(environment),
            issuer = quoted(&settings.issuer),
            audience = quoted(&settings.audience),
            service_url = quoted(&self.service_url),
            upstream_url = quoted(&self.upstream_url),
            sign_in_path = quoted(&self.sign_in_path),
        )
    }

    fn check(&self) -> Result<(), CommandError> {
        let wrong = |text: &str| Err(CommandError::Usage(text.to_owned()));
        if !is_base_url(&self.service_url, self.environment) {
            return wrong(
                "--service-url: must be https:// and a host; http:// only in development or on \
                 the edge's own machine",
            );
        }
        if !is_upstream(&self.upstream_url) {
            return wrong("--upstream-url: must be https:// or http:// and a host, without a path");
        }
        if !self.hosts.iter().all(|host| is_host(host)) {
            return wrong("--host: must be a name without scheme, port or path");
        }
        match CanonicalPath::parse(&self.sign_in_path) {
            Ok(path)
                if path.as_str() == self.sign_in_path && !self.sign_in_path.ends_with("/*") =>
            {
                Ok(())
            }
            _ => wrong("--sign-in-path: must be a plain path such as /sign-in"),
        }
    }
}

/// The edge's secrets by the names it knows them by, as `wrangler secret bulk` takes them.
pub(super) fn secrets(credential: &str, assertion_key: &str, diagnostic: &str) -> String {
    let secrets = json!({
        "EDGE_CREDENTIAL": credential,
        "ASSERTION_KEY": assertion_key,
        "DIAGNOSTIC_CREDENTIAL": diagnostic,
    });
    format!("{secrets:#}\n")
}

/// Whether the edge takes it: https, or http in development and for its own machine.
fn is_base_url(url: &str, environment: Environment) -> bool {
    let Ok(uri) = url.parse::<axum::http::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let is_plain = !host.is_empty() && uri.query().is_none() && !url.contains(['#', '@', '\\']);
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    is_plain
        && match uri.scheme_str() {
            Some("https") => true,
            Some("http") => is_local || environment == Environment::Development,
            _ => false,
        }
}

/// An app may be reached by plain http inside one's own network, but not below a path.
fn is_upstream(url: &str) -> bool {
    let has_no_path = |url: &str| {
        let uri = url.parse::<axum::http::Uri>();
        uri.is_ok_and(|uri| uri.path() == "/")
    };
    url.is_empty() || (is_base_url(url, Environment::Development) && has_no_path(url))
}

fn is_host(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"/:@*".contains(&b);
    !host.is_empty() && host.bytes().all(plain)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
