//! `hallpass init`: everything a new deployment starts with, in one folder.
//!
//! Settings file, master key, database with keys and credentials, and what the edge needs: its
//! settings for wrangler.toml and a file of its secrets. Nothing is asked: what cannot be known is
//! demanded by the name of its flag. Nothing is overwritten: a file or a table that is there already
//! is refused, and what a failed run made is taken away again.

mod edge;
mod made;
mod settings_file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hallpass_session::base64url;
use serde::Serialize;

use self::edge::EdgePart;
use self::made::Made;
use super::{CommandError, Everywhere, report};
use crate::clock::{Clock, SystemClock, random_bytes};
use crate::config::{Environment, GivenSettings, Settings};
use crate::credential::{self, Scope};
use crate::journal::Journal;
use crate::key_changes::first_keys;
use crate::master_key::MasterKey;
use crate::store::Store;
use crate::store::sql::{SqlStore, database_file, database_url, pending_migrations};

const SETTINGS: &str = "hallpass.toml";
const MASTER_KEY: &str = "master.key";
const DATABASE: &str = "hallpass.db";
const EDGE_SETTINGS: &str = "wrangler-vars.toml";
const EDGE_SECRETS: &str = "edge-secrets.json";
/// One that writes and one that reads.
const CONNECTIONS: u32 = 1;

#[derive(clap::Args)]
pub(super) struct InitArguments {
    /// Folder for what is made; it may be there already
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    edge: edge::EdgeArguments,
    #[command(flatten)]
    given: GivenSettings,
}

/// What a run is going to make.
struct Plan {
    folder: PathBuf,
    /// As they are written.
    given: GivenSettings,
    settings: Settings,
    /// Whether the database's address stays in the environment, for its password's sake.
    database_in_environment: bool,
    edge: EdgePart,
}

/// What was made.
#[derive(Serialize)]
struct Report {
    environment: Environment,
    files: Files,
    credentials: Credentials,
    assertion_key: String,
    next: Vec<String>,
}

#[derive(Serialize)]
struct Files {
    settings: PathBuf,
    master_key: PathBuf,
    /// None on a database server.
    database: Option<PathBuf>,
    edge_settings: PathBuf,
    edge_secrets: PathBuf,
}

/// Shown once; the table has their digests.
#[derive(Serialize)]
struct Credentials {
    edge: String,
    app: String,
    admin: String,
}

pub(super) async fn run(
    everywhere: &Everywhere,
    arguments: InitArguments,
) -> Result<(), CommandError> {
    if everywhere.config.is_some() {
        let text = "init writes a settings file and reads none: leave --config and HALLPASS_CONFIG \
                    away, and choose the folder with --dir";
        return Err(CommandError::Usage(text.to_owned()));
    }
    let plan = Plan::of(everywhere, arguments)?;
    let mut made = Made::default();
    let report = plan.carry_out(&mut made).await?;
    made.keep();
    report::write(everywhere.format(), &report, in_words);
    Ok(())
}

impl Plan {
    fn of(everywhere: &Everywhere, arguments: InitArguments) -> Result<Self, CommandError> {
        let InitArguments { dir, edge, given } = arguments;
        let given = everywhere.above(given);
        let environment = given.environment.unwrap_or(Environment::Production);
        let edge = edge.resolve(environment)?;
        made::folder(&dir)?;
        let folder = dir.canonicalize().map_err(|error| named(&dir, &error))?;
        let in_folder = |file: &str| folder.join(file);
        let database_url = match given.database_url.as_deref() {
            None => database_url(&in_folder(DATABASE))?,
            Some(url) => match database_file(url) {
                Some(file) => database_url(&file)?,
                None => url.to_owned(),
            },
        };
        let given = GivenSettings {
            environment: Some(environment),
            issuer: Some(given.issuer.unwrap_or_else(|| edge.service_url.clone())),
            audience: Some(given.audience.unwrap_or_else(|| edge.audience())),
            database_url: Some(database_url),
            master_key_file: Some(
                given
                    .master_key_file
                    .unwrap_or_else(|| in_folder(MASTER_KEY)),
            ),
            ..given
        };
        let given = with_whole_paths(given)?;
        Ok(Self {
            settings: Settings::resolve(given.clone())?,
            database_in_environment: everywhere.is_from_environment("database_url"),
            folder,
            given,
            edge,
        })
    }

    async fn carry_out(self, made: &mut Made) -> Result<Report, CommandError> {
        let files = self.files();
        let master = self.master_key(made, &files.master_key)?;
        made.file(&files.settings, &self.settings_text()?)?;
        let edge_settings = self.edge.settings_text(&self.settings);
        made.file(&files.edge_settings, &edge_settings)?;
        let credentials = self.fill_table(made, &files, &master).await?;
        let assertion_key = random_key()?;
        let secrets = edge::secrets(&credentials.edge, &assertion_key, &random_key()?);
        made.file(&files.edge_secrets, &secrets)?;
        Ok(Report {
            environment: self.settings.environment,
            next: self.next(&files),
            files,
            credentials,
            assertion_key,
        })
    }

    fn files(&self) -> Files {
        let in_folder = |file: &str| self.folder.join(file);
        let master_key = self.settings.master_key_file.clone();
        Files {
            settings: in_folder(SETTINGS),
            master_key: master_key.unwrap_or_else(|| in_folder(MASTER_KEY)),
            database: database_file(&self.settings.database_url),
            edge_settings: in_folder(EDGE_SETTINGS),
            edge_secrets: in_folder(EDGE_SECRETS),
        }
    }

    /// A new one, unless a file of another name was given.
    fn master_key(&self, made: &mut Made, file: &Path) -> Result<MasterKey, CommandError> {
        if file == self.folder.join(MASTER_KEY) {
            made.file(file, &format!("{}\n", random_key()?))?;
        }
        MasterKey::read(file).map_err(CommandError::Usage)
    }

    fn settings_text(&self) -> Result<String, CommandError> {
        let written = GivenSettings {
            database_url: self
                .given
                .database_url
                .clone()
                .filter(|_| !self.database_in_environment),
            ..self.given.clone()
        };
        settings_file::write(&written, self.database_in_environment)
    }

    /// Credentials first: a table is taken for a new one for as long as it has no keys.
    async fn fill_table(
        &self,
        made: &mut Made,
        files: &Files,
        master: &MasterKey,
    ) -> Result<Credentials, CommandError> {
        let url = &self.settings.database_url;
        let journal = self.settings.journal_file.as_deref();
        match &files.database {
            Some(file) => made.database(file, journal)?,
            None => refuse_another_schema(url).await?,
        }
        let journal = journal.map(Journal::at);
        if let Some(journal) = &journal {
            journal
                .open()
                .map_err(|error| CommandError::Usage(error.to_string()))?;
        }
        let clock = Arc::new(SystemClock::default());
        let now = clock.now();
        let store = SqlStore::open_with_journal(url, CONNECTIONS, clock, journal).await?;
        let filled = async {
            if !store.keys().await?.is_empty() {
                return Err(in_use());
            }
            let credentials = create_credentials(&store).await?;
            let keys = first_keys(Some(master), &self.settings.issuer, now);
            let keys = keys.map_err(crate::failure::Failure::from)?;
            store.add_first_keys(keys).await?;
            Ok(credentials)
        };
        let filled = filled.await;
        store.close().await;
        filled
    }

    fn next(&self, files: &Files) -> Vec<String> {
        let shown = |file: &Path| file.display().to_string();
        let (settings, secrets) = (shown(&files.settings), shown(&files.edge_secrets));
        let mut next = Vec::new();
        if self.database_in_environment {
            next.push(
                "Set HALLPASS_DATABASE_URL wherever `hallpass` runs: the settings file does not \
                 hold it."
                    .to_owned(),
            );
        }
        next.push(format!(
            "Run the service: hallpass serve --config {settings}"
        ));
        next.extend(self.next_for_edge(&shown(&files.edge_settings), &secrets));
        next.extend([
            "Give your app APP_CREDENTIAL and ASSERTION_KEY: docs/use-with-your-app.md".to_owned(),
            format!(
                "Keep a copy of {} apart from backups of the database.",
                shown(&files.master_key)
            ),
        ]);
        next
    }

    fn next_for_edge(&self, settings: &str, secrets: &str) -> Vec<String> {
        match self.settings.environment {
            Environment::Development => vec![format!(
                "Run the edge: cargo xtask edge --port 8787 --config {settings} --secrets {secrets}"
            )],
            Environment::Production => vec![
                format!(
                    "Let {} lead to it ({}), by a TLS proxy or a tunnel.",
                    self.edge.service_url, self.settings.listen
                ),
                format!(
                    "Put {settings} into wrangler.toml in place of [vars.HALLPASS] and its routes."
                ),
                format!("Give the edge its secrets: npx wrangler secret bulk {secrets}"),
                format!("Deploy the edge: npx wrangler deploy; then delete {secrets}"),
            ],
        }
    }
}

/// A settings file may be read from any folder.
fn with_whole_paths(mut given: GivenSettings) -> Result<GivenSettings, CommandError> {
    let paths = [
        &mut given.journal_file,
        &mut given.master_key_file,
        &mut given.tls_certificate,
        &mut given.tls_key,
        &mut given.webhook_secret_file,
    ];
    for path in paths.into_iter().flatten() {
        if path != Path::new("off") {
            *path = std::path::absolute(&*path).map_err(|error| named(path, &error))?;
        }
    }
    Ok(given)
}

/// Opening a table brings it to this version's schema: only a new one, or one of this version.
async fn refuse_another_schema(url: &str) -> Result<(), CommandError> {
    let pending = pending_migrations(url).await?;
    let is_new = pending.first().is_some_and(|first| first.version == 1);
    if pending.is_empty() || is_new {
        Ok(())
    } else {
        Err(in_use())
    }
}

fn in_use() -> CommandError {
    CommandError::No(
        "the database is in use already, and init overwrites nothing: name an empty one with \
         --database-url"
            .to_owned(),
    )
}

async fn create_credentials(store: &dyn Store) -> Result<Credentials, CommandError> {
    Ok(Credentials {
        edge: create_credential(store, Scope::Edge).await?,
        app: create_credential(store, Scope::App).await?,
        admin: create_credential(store, Scope::Admin).await?,
    })
}

async fn create_credential(store: &dyn Store, scope: Scope) -> Result<String, CommandError> {
    let new = credential::create(scope, "made by init", SystemClock::default().now())
        .map_err(|error| CommandError::No(error.to_string()))?;
    store.add_credential(new.row).await?;
    Ok(new.secret)
}

/// 32 random bytes in base64url.
fn random_key() -> Result<String, CommandError> {
    let bytes: [u8; 32] = random_bytes().map_err(|error| CommandError::No(error.to_string()))?;
    Ok(base64url::encode(&bytes))
}

fn named(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::No(format!("{}: {error}", path.display()))
}

fn in_words(report: &Report) -> String {
    let Files {
        settings,
        master_key,
        database,
        edge_settings,
        edge_secrets,
    } = &report.files;
    let mut lines = vec!["Made, readable by their owner only:".to_owned()];
    let mut file = |path: &Path, what: &str| lines.push(format!("  {}  {what}", path.display()));
    file(settings, "(settings of the service)");
    file(master_key, "(seals the keys in the database)");
    if let Some(database) = database {
        file(database, "(the session table)");
    }
    file(edge_settings, "(settings of the edge)");
    file(edge_secrets, "(secrets of the edge)");
    let Credentials { app, admin, .. } = &report.credentials;
    lines.extend([
        String::new(),
        "Shown once, write them down where secrets are kept:".to_owned(),
        format!("  APP_CREDENTIAL={app}"),
        format!("  ASSERTION_KEY={}", report.assertion_key),
        format!("  ADMIN_CREDENTIAL={admin}"),
        String::new(),
        "Next:".to_owned(),
    ]);
    let steps = report.next.iter().enumerate();
    lines.extend(steps.map(|(index, step)| format!("  {}. {step}", index + 1)));
    lines.join("\n")
}
