//! `cargo xtask edge`: the built edge alone, many at once if need be.
//!
//! Its settings come from a file, its secrets from the command line, everything else (date and
//! flags of the runtime, assets) from `wrangler.toml`, so that what runs here is what is deployed.
//! The edge itself judges its settings: what is wrong there is for it to refuse.

mod raw;
mod settings;
mod wrangler;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

pub(crate) use raw::{Modules, workerd};
pub(crate) use settings::{Settings, Wrangler};

use crate::children::{self, Event, Family};
use crate::{build, files, needs, ports, setup};

/// The name of the edge among the children.
pub(crate) const NAME: &str = "edge";
/// More isolates than any test has use for; each is a runtime of its own.
const ISOLATES_MAX: u16 = 16;

/// Run the built edge alone; prints `ready http://127.0.0.1:N` per isolate, ends on SIGTERM
#[derive(Args)]
pub(crate) struct Edge {
    /// Settings of the edge: TOML with a table HALLPASS, or vars.HALLPASS as in wrangler.toml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to listen on 127.0.0.1, 0 for any free port; further isolates take the ports after it
    #[arg(long, value_name = "N")]
    port: u16,
    /// A secret of the edge, such as EDGE_CREDENTIAL or ASSERTION_KEY; repeatable
    #[arg(long = "secret", value_name = "NAME=VALUE", value_parser = parse_pair)]
    secrets: Vec<(String, String)>,
    /// Secrets of the edge in a file: a JSON object, as `hallpass init` writes it
    #[arg(long = "secrets", value_name = "FILE")]
    secrets_file: Option<PathBuf>,
    /// How many isolates, each with its own memory and port
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(ISOLATES_MAX)))]
    isolates: u16,
    /// Bare workerd in place of wrangler's runtime
    #[arg(long)]
    raw: bool,
    /// Take the edge in build/ as it is
    #[arg(long)]
    no_build: bool,
}

/// What to run, whoever asks for it.
pub(crate) struct Order {
    /// The settings the edge gets as its `HALLPASS` variable.
    pub(crate) settings: Settings,
    /// Secrets by name.
    pub(crate) secrets: BTreeMap<String, String>,
    /// One port per isolate, 0 for any.
    pub(crate) ports: Vec<u16>,
    /// Bare workerd instead of wrangler's runtime.
    pub(crate) raw: bool,
}

impl Edge {
    /// Runs the command until it is told to stop.
    pub(crate) fn run(self) -> Result<()> {
        let settings = Settings::read(&self.config)?;
        let mut secrets = match &self.secrets_file {
            Some(file) => read_secrets(file)?,
            None => BTreeMap::new(),
        };
        secrets.extend(self.secrets);
        if !self.no_build {
            setup::ensure(needs::to_run_the_edge())?;
            build::edge()?;
        }
        let order = Order {
            settings,
            secrets,
            ports: ports_from(self.port, self.isolates)?,
            raw: self.raw,
        };
        // Declared first, removed last: after the children that use it.
        let state = files::throw_away_folder("hallpass-edge-")?;
        let mut family = Family::new()?;
        let log = |_: &str, line: &str| eprintln!("{line}");
        for address in start(&mut family, &order, state.path(), log)? {
            println!("ready {address}");
        }
        run_until_stopped(&mut family)
    }
}

fn read_secrets(file: &Path) -> Result<BTreeMap<String, String>> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    // What serde says could repeat a secret.
    serde_json::from_str(&text)
        .map_err(|_| anyhow!("{shown} is no JSON object of secrets by their names"))
}

/// Starts the edge and waits until it accepts; the address of each isolate.
///
/// # Errors
/// When it is not built, a port is taken, or it does not come up.
pub(crate) fn start(
    family: &mut Family,
    order: &Order,
    state: &Path,
    mut log: impl FnMut(&'static str, &str),
) -> Result<Vec<String>> {
    if !build::is_built() {
        bail!(
            "no edge in {}: run `cargo xtask build --edge`",
            build::folder().display()
        );
    }
    for port in &order.ports {
        ports::require_free(*port, "--port")?;
    }
    let ready = if order.raw {
        raw::spawn(family, order, state)?;
        raw::ready_address
    } else {
        wrangler::spawn(family, order, state)?;
        children::ready_address
    };
    order
        .ports
        .iter()
        .map(|_| family.wait_for(NAME, ready, &mut log))
        .collect()
}

/// Starts any Worker in bare workerd as the edge would be, under a name of its own; its address.
///
/// # Errors
/// When it does not come up.
pub(crate) fn start_modules(
    family: &mut Family,
    name: &'static str,
    modules: &Modules,
    order: &Order,
    state: &Path,
    log: impl FnMut(&'static str, &str),
) -> Result<String> {
    raw::spawn_modules(family, name, modules, order, state)?;
    family.wait_for(name, raw::ready_address, log)
}

fn run_until_stopped(family: &mut Family) -> Result<()> {
    loop {
        match family.next()? {
            Event::Line(_, _, line) => eprintln!("{line}"),
            Event::Ended(name, status) => bail!("{}", children::ended(name, status)),
            Event::Stop => return Ok(()),
        }
    }
}

/// The ports of this many isolates.
fn ports_from(first: u16, isolates: u16) -> Result<Vec<u16>> {
    if first == 0 {
        return Ok(vec![0; usize::from(isolates)]);
    }
    (0..isolates)
        .map(|step| first.checked_add(step))
        .collect::<Option<_>>()
        .ok_or_else(|| anyhow!("--port {first} leaves no room for {isolates} isolates"))
}

/// `NAME=VALUE`, where the value may hold further `=`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => bail!("expected NAME=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_pair_splits_at_the_first_equals_sign() -> Result<()> {
        assert_eq!(parse_pair("KEY=a=b")?, ("KEY".to_owned(), "a=b".to_owned()));
        assert_eq!(parse_pair("KEY=")?, ("KEY".to_owned(), String::new()));
        Ok(())
    }

    #[test]
    fn parse_pair_refuses_what_has_no_name() {
        assert!(parse_pair("=value").is_err());
        assert!(parse_pair("value").is_err());
    }

    #[test]
    fn ports_from_counts_up_from_the_first() -> Result<()> {
        assert_eq!(ports_from(9000, 3)?, [9000, 9001, 9002]);
        assert_eq!(ports_from(0, 2)?, [0, 0]);
        Ok(())
    }

    #[test]
    fn ports_from_refuses_to_pass_the_last_port() -> Result<()> {
        assert_eq!(ports_from(65534, 2)?, [65534, 65535]);
        assert!(ports_from(65535, 2).is_err());
        Ok(())
    }
}
