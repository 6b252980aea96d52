//! The Workers that are measured, each in a workerd of its own, and what stands around them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::memory;
use crate::children::Family;
use crate::edge::{Modules, Order, Settings, start_modules};
use crate::needs::node;
use crate::{build, files, workspace};

const AROUND: &str = "stand-ins";
/// 32 bytes in base64url; nobody checks what is signed with it.
const ASSERTION_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One Worker under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worker {
    /// Forwards, and judges nothing.
    PassThrough,
    /// The same once more: the control.
    PassThroughAgain,
    /// The edge as it is deployed.
    Edge,
    /// The edge where the platform has no `WebCrypto` for its keys.
    EdgeWithoutWebCrypto,
}

/// What the stand-ins say about themselves.
#[derive(Deserialize)]
pub(super) struct Around {
    service_url: String,
    upstream_url: String,
    issuer: String,
    audience: String,
    edge_credential: String,
    session_hs256_key: String,
}

impl Worker {
    pub(super) const ALL: [Self; 4] = [
        Self::PassThrough,
        Self::PassThroughAgain,
        Self::Edge,
        Self::EdgeWithoutWebCrypto,
    ];

    /// Its name among the children.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PassThrough => "pass-through",
            Self::PassThroughAgain => "pass-through-again",
            Self::Edge => "edge",
            Self::EdgeWithoutWebCrypto => "edge-without-webcrypto",
        }
    }

    /// Whether it is an edge, which remembers signatures.
    pub(super) const fn remembers(self) -> bool {
        matches!(self, Self::Edge | Self::EdgeWithoutWebCrypto)
    }

    /// Its files, the main module first.
    fn modules(self) -> Modules {
        let own = |file: &str| (file.to_owned(), workspace::in_root("bench/gate").join(file));
        let built = |file: &str| (file.to_owned(), build::folder().join(file));
        let edge = build::OUTPUTS.map(built);
        Modules(match self {
            Self::PassThrough | Self::PassThroughAgain => vec![own("pass_through.mjs")],
            Self::Edge => edge.into(),
            Self::EdgeWithoutWebCrypto => [own("without_webcrypto.mjs")]
                .into_iter()
                .chain(edge)
                .collect(),
        })
    }

    fn order(self, around: &Around) -> Result<Order> {
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let (settings, bindings) = match self {
            Self::PassThrough | Self::PassThroughAgain => (
                Settings { table: None },
                vec![text("UPSTREAM_URL", &around.upstream_url)],
            ),
            Self::Edge | Self::EdgeWithoutWebCrypto => (
                around.settings()?,
                vec![
                    text("EDGE_CREDENTIAL", &around.edge_credential),
                    text("SESSION_HS256_KEY", &around.session_hs256_key),
                    text("ASSERTION_KEY", ASSERTION_KEY),
                    text("DIAGNOSTIC_CREDENTIAL", memory::CREDENTIAL),
                ],
            ),
        };
        Ok(Order {
            settings,
            secrets: bindings.into_iter().collect(),
            ports: vec![0],
            raw: true,
        })
    }
}

impl Around {
    fn settings(&self) -> Result<Settings> {
        let table = toml::toml! {
            environment = "development"
            hosts = ["127.0.0.1"]
            sign_in_path = "/sign-in"
            assertion = "hmac"
            token_algs = ["EdDSA", "ES256", "HS256"]
        };
        let mut table = table;
        for (name, value) in [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("service_url", &self.service_url),
            ("upstream_url", &self.upstream_url),
        ] {
            table.insert(name.to_owned(), value.clone().into());
        }
        // sign_in_path has to be for everybody.
        let routes = toml::Value::try_from([toml::toml! {
            path = "/sign-in"
            access = "public"
        }])?;
        table.insert("routes".to_owned(), routes);
        Ok(Settings { table: Some(table) })
    }
}

/// Starts service and app, which mint `tokens` of each kind into `folder`.
pub(super) fn start_around(family: &mut Family, folder: &Path, tokens: usize) -> Result<Around> {
    let mut command = node::command()?;
    command
        .arg(workspace::in_root("bench/gate/stand_in.mjs"))
        .arg(folder)
        .arg(tokens.to_string());
    family.spawn(AROUND, command, "")?;
    let told = |line: &str| serde_json::from_str(line).ok();
    family.wait_for(AROUND, told, |_, line| eprintln!("{line}"))
}

/// Starts one Worker; its address.
pub(super) fn start(
    family: &mut Family,
    worker: Worker,
    around: &Around,
    state: &Path,
) -> Result<String> {
    let folder: PathBuf = state.join(worker.name());
    files::create_private_folder(&folder)?;
    let order = worker.order(around)?;
    let log = |_: &str, line: &str| eprintln!("{line}");
    start_modules(
        family,
        worker.name(),
        &worker.modules(),
        &order,
        &folder,
        log,
    )
    .with_context(|| format!("{} does not start", worker.name()))
}
