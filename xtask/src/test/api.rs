//! The session service against its own description: schemathesis, from outside.
//!
//! It makes requests from docs/openapi.json, good and bad ones, and looks that every answer is one
//! of those documented: status, type, headers, form; that bad input is refused, and that nothing is
//! an error of ours.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::summary::Totals;
use crate::children::Family;
use crate::needs::schemathesis;
use crate::{files, native, service, step, workspace};

/// Seconds for the whole run: each route gets hundreds of requests in them.
const BUDGET_SECS: u32 = 40;
/// Not looked at: that all data of the schema's form is accepted, since some rules cannot be said in
/// a schema, such as that `after` needs its `epoch`; and that a request without a credential gets 401
/// or 403, since after a hundred of them it gets 429. `tests/service/refusals.rs` looks at the latter.
const EXCLUDED_CHECKS: &str = "positive_data_acceptance,ignored_auth";

/// Runs it; counts as one test.
///
/// # Errors
/// When the service does not come up.
pub(super) fn run() -> Result<Totals> {
    let state = files::throw_away_folder("hallpass-api-")?;
    let database = service::sqlite_url(&state.path().join("hallpass.db"));
    let order = service::Order {
        programs: native::ready_programs()?,
        port: 0,
        settings: service::default_settings(&database),
        folder: state.path().to_path_buf(),
    };
    let mut family = Family::new()?;
    let address = service::start(&mut family, &order, |_, _| {})?;
    let config = state.path().join("schemathesis.toml");
    files::write_private(&config, &credentials(&order)?)?;

    let finished = step::observe("schemathesis", command(&config, &address)?)?;
    if !finished.status.success() {
        eprint!("{}", finished.output);
        return Ok(Totals::one_failure());
    }
    let summary = finished.output.lines().rev();
    let cases = summary.clone().find(|line| line.contains("generated"));
    match cases {
        Some(cases) => eprintln!("schemathesis: {}", cases.trim()),
        None => bail!("schemathesis did not say what it did:\n{}", finished.output),
    }
    Ok(Totals::one_success())
}

/// A credential for each scheme of the description.
fn credentials(order: &service::Order) -> Result<String> {
    let mut config = String::new();
    for scope in ["edge", "app", "admin"] {
        let credential = service::create_credential(order, scope)?;
        writeln!(config, "[auth.openapi.{scope}]\nbearer = \"{credential}\"")
            .context("cannot write to memory")?;
    }
    Ok(config)
}

fn command(config: &Path, address: &str) -> Result<std::process::Command> {
    let mut command = schemathesis::command()?;
    command.arg("--config-file").arg(config).arg("run");
    command.arg(workspace::in_root("docs/openapi.json"));
    command.args(["--url", address, "--phases", "examples,coverage,fuzzing"]);
    command.args(["--max-time", &BUDGET_SECS.to_string(), "--no-color"]);
    command.args(["--exclude-checks", EXCLUDED_CHECKS]);
    command.current_dir(config.parent().unwrap_or(Path::new("/")));
    Ok(command)
}
