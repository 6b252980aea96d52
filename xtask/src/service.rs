//! `cargo xtask service`: the session service alone, on state that is thrown away.
//!
//! Also how `dev` starts it: the same program, told by flags what to be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Serialize;

use crate::children::{self, Event, Family};
use crate::{edge, files, native, ports, tied};

/// The name of the service among the children.
pub(crate) const NAME: &str = "service";
const ISSUER: &str = "http://127.0.0.1:8788";
const AUDIENCE: &str = "hallpass-demo";

/// Run the session service alone on throw-away state; prints `ready …` and `credentials FILE`
///
/// FILE is JSON: {"edge","app","admin","issuer","audience"}. With HALLPASS_BIN_DIR set, the
/// programs in that folder are run instead of being built first.
#[derive(Args)]
pub(crate) struct Service {
    /// Where to listen on 127.0.0.1, 0 for any free port
    #[arg(long, value_name = "N")]
    port: u16,
    /// The database; the default is an SQLite file that goes when the service does
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// A setting of the service (docs/protocol.md, section 10), such as `token_lifetime_secs=5`
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = edge::parse_pair)]
    settings: Vec<(String, String)>,
}

/// What one run of the service is told.
pub(crate) struct Order {
    /// The folder with the `hallpass` program.
    pub(crate) programs: PathBuf,
    /// Port on 127.0.0.1, 0 for any.
    pub(crate) port: u16,
    /// Settings by name, `database_url` among them.
    pub(crate) settings: BTreeMap<String, String>,
    /// The folder it runs in.
    pub(crate) folder: PathBuf,
}

/// What another program needs to talk to the service.
#[derive(Serialize)]
struct Credentials {
    edge: String,
    app: String,
    admin: String,
    issuer: String,
    audience: String,
}

impl Service {
    /// Runs the command until it is told to stop.
    pub(crate) fn run(self) -> Result<()> {
        let programs = native::ready_programs()?;
        // Declared first, removed last: after the service that writes into it.
        let state = files::throw_away_folder("hallpass-service-")?;
        let order = self.order(programs, state.path());
        let file = write_credentials(&order)?;

        let mut family = Family::new()?;
        let address = start(&mut family, &order, |_, line| eprintln!("{line}"))?;
        println!("ready {address}");
        println!("credentials {}", file.display());
        loop {
            match family.next()? {
                Event::Line(_, _, line) => eprintln!("{line}"),
                Event::Ended(name, status) => bail!("{}", children::ended(name, status)),
                Event::Stop => return Ok(()),
            }
        }
    }

    fn order(self, programs: PathBuf, folder: &Path) -> Order {
        let database = self
            .database
            .unwrap_or_else(|| sqlite_url(&folder.join("hallpass.db")));
        let mut settings = default_settings(&database);
        settings.extend(self.settings);
        Order {
            programs,
            port: self.port,
            settings,
            folder: folder.to_path_buf(),
        }
    }
}

/// The URL of an SQLite file.
pub(crate) fn sqlite_url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// What every run in development and tests is told.
pub(crate) fn default_settings(database: &str) -> BTreeMap<String, String> {
    [
        ("database_url", database),
        ("issuer", ISSUER),
        ("audience", AUDIENCE),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Starts the service and waits until it accepts; its address.
///
/// # Errors
/// When the port is taken or the service does not come up.
pub(crate) fn start(
    family: &mut Family,
    order: &Order,
    log: impl FnMut(&'static str, &str),
) -> Result<String> {
    ports::require_free(order.port, "--port")?;
    let mut command = tied::command(order.programs.join(native::SERVICE));
    command
        .arg("serve")
        .args(flags(order))
        .current_dir(&order.folder);
    remove_settings(&mut command);
    family.spawn(NAME, command, "")?;
    family.wait_for(NAME, children::ready_address, log)
}

/// Creates a credential in the order's database; the credential.
///
/// # Errors
/// When the `hallpass` command fails; its words are part of the message.
pub(crate) fn create_credential(order: &Order, scope: &str) -> Result<String> {
    let mut command = Command::new(order.programs.join(native::SERVICE));
    command.args([
        "credentials",
        "create",
        "--scope",
        scope,
        "--name",
        "development",
    ]);
    if let Some(database) = order.settings.get("database_url") {
        command.args(["--database-url", database]);
    }
    remove_settings(&mut command);
    let output = command
        .current_dir(&order.folder)
        .output()
        .context("cannot run hallpass")?;
    if !output.status.success() {
        bail!(
            "hallpass credentials create: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    find_credential(&String::from_utf8_lossy(&output.stdout), scope)
        .ok_or_else(|| anyhow!("hallpass credentials create printed no credential"))
}

fn find_credential(printed: &str, scope: &str) -> Option<String> {
    let prefix = format!("hpc_{scope}_");
    printed
        .split_whitespace()
        .find(|word| word.starts_with(&prefix))
        .map(str::to_owned)
}

/// `token_lifetime_secs` is `--token-lifetime-secs`.
fn flags(order: &Order) -> Vec<String> {
    let listen = ["--listen".to_owned(), format!("127.0.0.1:{}", order.port)];
    let settings = order.settings.iter();
    let pairs =
        settings.flat_map(|(key, value)| [format!("--{}", key.replace('_', "-")), value.clone()]);
    listen.into_iter().chain(pairs).collect()
}

/// Drops `HALLPASS_…` from a child's environment: the developer's own settings must not reach into a run that is told everything.
pub(crate) fn remove_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HALLPASS_") {
            command.env_remove(name);
        }
    }
}

fn write_credentials(order: &Order) -> Result<PathBuf> {
    let setting = |key: &str| order.settings.get(key).cloned().unwrap_or_default();
    let credentials = Credentials {
        edge: create_credential(order, "edge")?,
        app: create_credential(order, "app")?,
        admin: create_credential(order, "admin")?,
        issuer: setting("issuer"),
        audience: setting("audience"),
    };
    let file = order.folder.join("credentials.json");
    files::write_private(&file, &serde_json::to_string_pretty(&credentials)?)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(settings: &[(&str, &str)]) -> Service {
        let settings = settings
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Service {
            port: 0,
            database: None,
            settings,
        }
    }

    #[test]
    fn flags_spell_settings_as_the_service_does() {
        let order =
            service(&[("token_lifetime_secs", "5")]).order("bin".into(), Path::new("/tmp/x"));
        let flags = flags(&order).join(" ");
        assert!(flags.starts_with("--listen 127.0.0.1:0 "), "{flags}");
        assert!(flags.contains("--token-lifetime-secs 5"), "{flags}");
        assert!(
            flags.contains("--database-url sqlite:///tmp/x/hallpass.db"),
            "{flags}"
        );
    }

    #[test]
    fn order_lets_a_setting_replace_a_default() {
        let order = service(&[("issuer", "other")]).order("bin".into(), Path::new("/tmp/x"));
        assert_eq!(
            order.settings.get("issuer").map(String::as_str),
            Some("other")
        );
    }

    #[test]
    fn find_credential_takes_the_word_of_that_scope() {
        assert_eq!(
            find_credential("new: hpc_app_abc\n", "app").as_deref(),
            Some("hpc_app_abc")
        );
        assert_eq!(find_credential("new: hpc_app_abc\n", "edge"), None);
    }
}
