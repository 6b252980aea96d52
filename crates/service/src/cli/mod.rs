//! The `hallpass` command line.
//!
//! One file per command. Reports go to standard output, for people or with `--json` for programs;
//! everything else goes to standard error. Exit codes: 0 done, 1 no, 2 wrong usage, 3 the database
//! cannot be reached.

mod audit;
mod completions;
mod config;
mod copy;
mod credentials;
mod doctor;
mod explain;
mod init;
mod keys;
mod migrate;
mod mint;
mod openapi;
mod presented;
mod reach;
mod recover;
mod remote;
mod report;
mod serve;
mod sessions;
mod subjects;
mod table;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::report::Format;
use crate::actor::Actor;
use crate::clock::SystemClock;
use crate::config::{DEFAULT_DATABASE_URL, GivenSettings, Settings, SettingsError, journal_file};
use crate::failure::{Failure, Fault, Outage};
use crate::journal::Journal;
use crate::store::StoreError;
use crate::store::sql::{SqlStore, check_url};

/// Connections that a command needs for reading.
const COMMAND_CONNECTIONS: u32 = 1;

/// The Hallpass session service and its operation.
#[derive(Parser)]
#[command(
    name = "hallpass",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(
    after_help = "Begin with `hallpass init --help`; `hallpass doctor` says what is wrong.\n\nExit codes: 0 done, 1 no, 2 wrong usage, 3 the database or the URL cannot be reached."
)]
struct Arguments {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(clap::Args)]
#[command(next_help_heading = "Everywhere")]
struct Everywhere {
    /// Settings file (TOML); flags and environment go before it
    #[arg(long, global = true, env = "HALLPASS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        env = "HALLPASS_DATABASE_URL",
        value_name = "URL",
        help = "The session table [default: sqlite://hallpass.db]"
    )]
    database_url: Option<String>,
    #[arg(
        long,
        global = true,
        env = "HALLPASS_JOURNAL_FILE",
        value_name = "FILE",
        help = "What was ended, outside the table; `off`: nowhere [default: beside an SQLite file]"
    )]
    journal_file: Option<PathBuf>,
    /// Write reports as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Settings that come from the environment.
    #[arg(skip)]
    from_environment: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the session service
    ///
    /// Creates the database and its keys on first use. Prints `ready URL` on standard output once
    /// it accepts connections; ends on SIGTERM or Ctrl-C after answering what is in flight.
    Serve(Box<GivenSettings>),
    /// Make what a new deployment starts with: settings, keys, database, credentials, the edge's values
    ///
    /// Writes hallpass.toml, master.key and hallpass.db for the service, wrangler-vars.toml and
    /// edge-secrets.json for the edge, all readable by their owner only, and says what to do next.
    /// Asks nothing and overwrites nothing. In production, the default here, it needs --service-url
    /// and --host; for trying out, --environment development is enough. Settings given by flag or
    /// environment are written into hallpass.toml, but not the database's URL from the environment.
    #[command(
        mut_arg("environment", |argument| argument.help(
            "Production refuses what is only good for trying out [default here: production]"
        )),
        after_help = "Example:\n  hallpass init --dir /etc/hallpass --service-url https://sessions.example --host app.example"
    )]
    Init(Box<init::InitArguments>),
    /// Show or check the settings as `serve` would see them
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Bring the database to this version's schema
    Migrate(migrate::MigrateArguments),
    /// Who ended sessions and changed keys and credentials
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Write a backup of the session table, beside the running service
    ///
    /// Everything as of one moment, for any of the databases. It holds addresses, user agents, and
    /// keys as they rest in the table: sealed, if there is a master key, which is not in it.
    Backup(copy::Target),
    /// Put a backup into an empty database
    ///
    /// `serve` refuses the table until `hallpass recover` has run on it.
    Restore(copy::RestoreArguments),
    /// Go on with a table that was restored from a backup
    ///
    /// Run it before `serve`. What the journal knows to be ended is ended again; sessions created
    /// since the backup are lost; those renewed since are adopted for a time, or everybody is signed
    /// out. Edges get a new epoch of the revocation list.
    Recover(recover::RecoverArguments),
    /// Credentials of those who call the service
    #[command(subcommand)]
    Credentials(credentials::CredentialsCommand),
    /// Signing and renewal keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Look at sessions and end them, in the database or at a session service
    Sessions(sessions::SessionsArguments),
    /// What is held on a person: hand it out, or forget it
    #[command(subcommand)]
    Subjects(subjects::SubjectsCommand),
    /// Look after the session table
    #[command(subcommand)]
    Table(table::TableCommand),
    /// Say rule by rule why a session token passes or is refused
    ///
    /// Give the token by standard input or file, never as an argument. Neither it nor its signature
    /// is printed. Exit code 0: it would pass; 1: it would not.
    Explain(Box<explain::ExplainArguments>),
    /// Say what is wrong with this deployment, and what to do about it
    ///
    /// Looks at settings, modes of files, keys, credentials, the journal and the database; with a URL
    /// also at the service or edge that runs there, and with a URL alone at that only. The variable
    /// `DIAGNOSTIC_CREDENTIAL`, if set, unlocks the edge's diagnostics. Changes nothing. Exit code 0:
    /// nothing is wrong; 1: something is; 3: the database or the URL cannot be reached.
    Doctor(Box<doctor::DoctorArguments>),
    /// Print the HTTP interface as `OpenAPI` 3.1
    Openapi,
    /// Look at a session token, or make one for a test
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Print what a shell completes, such as `hallpass completions bash`
    #[command(
        after_help = "Examples:\n  hallpass completions bash > ~/.local/share/bash-completion/completions/hallpass\n  \
                      hallpass completions zsh > \"${fpath[1]}/_hallpass\"\n  \
                      hallpass completions fish > ~/.config/fish/completions/hallpass.fish"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Why a command did not do its work.
#[derive(Debug)]
enum CommandError {
    /// Asked and answered: no. Exit code 1.
    No(String),
    /// The report has said why; with this exit code.
    Reported(u8),
    /// The command or the settings make no sense. Exit code 2.
    Usage(String),
    /// The database cannot be reached. Exit code 3.
    Unreachable(String),
}

impl CommandError {
    /// Why, in words; nothing if the report has said it.
    fn text(&self) -> &str {
        match self {
            Self::No(text) | Self::Usage(text) | Self::Unreachable(text) => text,
            Self::Reported(_) => "",
        }
    }
}

/// Reads the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(&CommandError::No(error.to_string())),
    };
    let done = runtime.block_on(Actor::command().does(dispatch(arguments)));
    // What was interrupted may still wait for a file or a pipe.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// Reads the command line; help never shows what the environment holds.
fn parse() -> Result<Arguments, clap::Error> {
    let matches = hide_environment(Arguments::command()).get_matches();
    let mut arguments = Arguments::from_arg_matches(&matches)?;
    arguments.everywhere.from_environment = from_environment(&matches);
    Ok(arguments)
}

fn hide_environment(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| argument.hide_env_values(true))
        .mut_subcommands(hide_environment)
}

/// Arguments of this command and those below it that the environment gave.
fn from_environment(matches: &ArgMatches) -> Vec<String> {
    // What a command hands down to those below it is seen here too, and not known here.
    let is_known = |id: &str| matches.try_contains_id(id).is_ok();
    let given =
        |id: &&str| is_known(id) && matches.value_source(id) == Some(ValueSource::EnvVariable);
    let ids = matches.ids().map(clap::Id::as_str).filter(given);
    let mut found: Vec<String> = ids.map(str::to_owned).collect();
    if let Some((_, below)) = matches.subcommand() {
        found.extend(from_environment(below));
    }
    found
}

async fn dispatch(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments {
        everywhere,
        command,
    } = arguments;
    match command {
        Command::Serve(given) => serve::run(everywhere.settings(*given)?).await,
        Command::Init(arguments) => init::run(&everywhere, *arguments).await,
        Command::Config(command) => config::run(&everywhere, command),
        Command::Migrate(arguments) => migrate::run(&everywhere, &arguments).await,
        Command::Audit(command) => audit::run(&everywhere, command).await,
        Command::Table(command) => table::run(&everywhere, command).await,
        Command::Backup(to) => copy::back_up(&everywhere, to).await,
        Command::Restore(arguments) => copy::restore(&everywhere, arguments).await,
        Command::Recover(arguments) => recover::run(&everywhere, arguments).await,
        Command::Credentials(command) => credentials::run(&everywhere, command).await,
        Command::Keys(command) => keys::run(&everywhere, command).await,
        Command::Sessions(arguments) => sessions::run(&everywhere, arguments).await,
        Command::Subjects(command) => subjects::run(&everywhere, command).await,
        Command::Doctor(arguments) => doctor::run(&everywhere, *arguments).await,
        Command::Openapi => openapi::run(),
        Command::Token(command) => token::run(&everywhere, command).await,
        Command::Completions { shell } => {
            completions::run(shell);
            Ok(())
        }
        Command::Explain(arguments) => explain::run(&everywhere, *arguments).await,
    }
}

impl Everywhere {
    /// Flags and environment over the file, whole and in range.
    fn settings(&self, given: GivenSettings) -> Result<Settings, CommandError> {
        Ok(Settings::resolve(self.given(given)?)?)
    }

    fn given(&self, given: GivenSettings) -> Result<GivenSettings, CommandError> {
        Ok(self.above(given).or(&self.file()?)?)
    }

    /// What flags and environment say.
    fn above(&self, given: GivenSettings) -> GivenSettings {
        let database_url = self.database_url.clone();
        GivenSettings {
            database_url,
            journal_file: self.journal_file.clone(),
            ..given
        }
    }

    /// What the settings file says.
    fn file(&self) -> Result<GivenSettings, CommandError> {
        match &self.config {
            Some(path) => Ok(GivenSettings::read(path)?),
            None => Ok(GivenSettings::default()),
        }
    }

    fn database_url(&self) -> Result<String, CommandError> {
        let given = self.given(GivenSettings::default())?;
        let url = given
            .database_url
            .unwrap_or_else(|| DEFAULT_DATABASE_URL.to_owned());
        check_url(&url)
            .map_err(|problem| CommandError::Usage(format!("database_url: {problem}")))?;
        Ok(url)
    }

    /// Where what is ended is written outside the table.
    fn journal_file(&self) -> Result<Option<PathBuf>, CommandError> {
        let given = self.given(GivenSettings::default())?;
        Ok(journal_file(
            given.journal_file.as_deref(),
            &self.database_url()?,
        ))
    }

    /// Opens the table for a command.
    async fn open(&self) -> Result<SqlStore, CommandError> {
        let url = self.database_url()?;
        let journal = self.journal_file()?.as_deref().map(Journal::at);
        let clock = Arc::new(SystemClock::default());
        Ok(SqlStore::open_with_journal(&url, COMMAND_CONNECTIONS, clock, journal).await?)
    }

    /// Whether the environment gave the argument of this id.
    fn is_from_environment(&self, id: &str) -> bool {
        self.from_environment.iter().any(|given| given == id)
    }

    fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Human
        }
    }
}

fn complain(error: &CommandError) -> ExitCode {
    let code = match error {
        CommandError::Reported(code) => return ExitCode::from(*code),
        CommandError::No(_) => 1,
        CommandError::Usage(_) => 2,
        CommandError::Unreachable(_) => 3,
    };
    eprintln!("hallpass: {}", error.text());
    ExitCode::from(code)
}

impl From<SettingsError> for CommandError {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Busy(_) => {
                Self::Unreachable(error.to_string())
            }
            _ => Self::No(error.to_string()),
        }
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Outage(Outage::Database(error)) => error.into(),
            Failure::Fault(Fault::Keys(text)) => Self::No(text),
            Failure::Fault(Fault::Randomness(error)) => Self::No(error.to_string()),
            other => Self::No(format!("{other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
