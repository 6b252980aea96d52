//! `cargo xtask dev`: the whole system on this machine, one log, one Ctrl-C.
//!
//! Sets up what is missing, builds what changed, starts session service, demo app and edge, and
//! relays a line of log per request from each. When one of them ends, all end.

mod state;

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use toml::Value;

use crate::children::{self, Event, Family};
use crate::edge::{self, Wrangler};
use crate::{build, files, native, needs, ports, service, setup, tied, workspace};

use state::Secrets;

const DEMO: &str = "app";
const STATE: &str = ".hallpass";

/// Run the whole system: the edge, the session service and the demo app
#[derive(Args)]
pub(crate) struct Dev {
    /// Lifetime of a session token, to watch renewal happen [default: 300]
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    token_ttl: Option<u32>,
    /// Where edge, service and demo app listen on 127.0.0.1
    #[arg(
        long,
        value_name = "EDGE,SERVICE,APP",
        default_value = "8787,8788,8789"
    )]
    ports: Ports,
    /// Throw away .hallpass/ first: the database, and with it all sessions, and the secrets
    #[arg(long)]
    reset: bool,
}

/// Three different ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    edge: u16,
    service: u16,
    app: u16,
}

impl Dev {
    /// Runs the command until it is told to stop.
    pub(crate) fn run(&self) -> Result<()> {
        for port in [self.ports.edge, self.ports.service, self.ports.app] {
            ports::require_free(port, "--ports EDGE,SERVICE,APP")?;
        }
        let folder = self.state_folder()?;
        setup::ensure(needs::to_run_the_edge())?;
        let programs = native::build(native::Profile::Dev)?;
        build::edge()?;

        let service = self.service_order(programs, &folder);
        let secrets = Secrets::read_or_create(&folder, &service)?;
        let runtime = files::throw_away_folder("hallpass-edge-")?;
        let mut family = Family::new()?;
        service::start(&mut family, &service, relay)?;
        self.start_app(&mut family, &service, &secrets)?;
        let order = self.edge_order(&folder, &secrets)?;
        edge::start(&mut family, &order, runtime.path(), relay)?;

        println!("{}", self.banner());
        relay_until_stopped(&mut family)
    }

    fn state_folder(&self) -> Result<std::path::PathBuf> {
        let folder = workspace::in_root(STATE);
        if self.reset && folder.exists() {
            fs::remove_dir_all(&folder).context("cannot remove .hallpass/")?;
        }
        files::create_private_folder(&folder)?;
        Ok(folder)
    }

    fn service_order(&self, programs: std::path::PathBuf, folder: &Path) -> service::Order {
        let database = service::sqlite_url(&folder.join(state::DATABASE));
        let mut settings = service::default_settings(&database);
        if let Some(seconds) = self.token_ttl {
            settings.insert("token_lifetime_secs".to_owned(), seconds.to_string());
        }
        service::Order {
            programs,
            port: self.ports.service,
            settings,
            folder: folder.to_path_buf(),
        }
    }

    fn start_app(
        &self,
        family: &mut Family,
        service: &service::Order,
        secrets: &Secrets,
    ) -> Result<()> {
        let mut command = tied::command(service.programs.join(native::DEMO));
        service::remove_settings(&mut command);
        command.args(["--listen", &format!("127.0.0.1:{}", self.ports.app)]);
        command.args([
            "--service-url",
            &format!("http://127.0.0.1:{}", self.ports.service),
        ]);
        command.args(["--issuer", &service.settings["issuer"]]);
        for host in ["127.0.0.1", "localhost"] {
            command.args(["--audience", &format!("http://{host}:{}", self.ports.edge)]);
        }
        command
            .env("APP_CREDENTIAL", &secrets.app)
            .env("ASSERTION_KEY", &secrets.assertion_key);
        family.spawn(DEMO, command, "")?;
        family.wait_for(DEMO, children::ready_address, relay)?;
        Ok(())
    }

    /// The settings of `wrangler.toml` with these ports, left in the state folder to be looked at.
    fn edge_order(&self, folder: &Path, secrets: &Secrets) -> Result<edge::Order> {
        let mut settings = Wrangler::read()?.vars;
        let table = settings.table.get_or_insert_default();
        for (key, port) in [
            ("service_url", self.ports.service),
            ("upstream_url", self.ports.app),
        ] {
            table.insert(
                key.to_owned(),
                Value::String(format!("http://127.0.0.1:{port}")),
            );
        }
        fs::write(folder.join("edge.toml"), toml::to_string(&settings)?)?;
        let ports = vec![self.ports.edge];
        Ok(edge::Order {
            settings,
            secrets: secrets.of_the_edge(),
            ports,
            raw: false,
        })
    }

    fn banner(&self) -> String {
        let Ports { edge, service, app } = self.ports;
        let places = [
            (
                format!("http://localhost:{edge}/"),
                "the demo app behind the edge: any user, password demo",
            ),
            (
                format!("http://localhost:{edge}/.session/"),
                "your sessions: see them, end them",
            ),
            (
                format!("http://127.0.0.1:{service}/"),
                "the session service",
            ),
            (
                format!("http://127.0.0.1:{app}/"),
                "the demo app itself: refuses who comes past the edge",
            ),
        ];
        let lines = places.map(|(address, what)| format!("    {address:<34} {what}\n"));
        format!(
            "\n  Hallpass is running.\n\n{}\n  State and secrets: {STATE}/ (--reset throws them away). \
             Ctrl-C stops everything.\n",
            lines.concat()
        )
    }
}

impl FromStr for Ports {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<u16> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        match numbers[..] {
            [0, ..] | [_, 0, _] | [.., 0] => bail!("0 is no port to come back to"),
            [edge, service, app] if edge != service && service != app && app != edge => {
                Ok(Self { edge, service, app })
            }
            _ => bail!("expected three different ports, such as 8787,8788,8789"),
        }
    }
}

fn relay(name: &'static str, line: &str) {
    eprintln!("{name:>7} │ {line}");
}

fn relay_until_stopped(family: &mut Family) -> Result<()> {
    loop {
        match family.next()? {
            Event::Line(name, _, line) => relay(name, &line),
            Event::Ended(name, status) => {
                bail!("{}; stopped the others", children::ended(name, status))
            }
            Event::Stop => {
                eprintln!("Stopping.");
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_take_three_different_numbers() -> Result<()> {
        assert_eq!(
            "1,2,3".parse::<Ports>()?,
            Ports {
                edge: 1,
                service: 2,
                app: 3
            }
        );
        Ok(())
    }

    #[test]
    fn ports_refuse_too_few_too_many_equal_and_zero() {
        for text in [
            "1,2",
            "1,2,3,4",
            "1,2,1",
            "1,1,2",
            "1,2,2",
            "0,1,2",
            "1,2,0",
            "a,b,c",
            "1,2,65536",
        ] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }
}
