//! Runs the edge in bare workerd: no normalised paths, no cache, no code but the edge's own.
//!
//! Each isolate is a service with its own copy of the edge in one workerd; assets come straight
//! from the disk.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use super::settings::Wrangler;
use super::{NAME, Order};
use crate::children::Family;
use crate::needs::node;
use crate::{build, files, tied, workspace};

const CONFIG: &str = "edge.capnp";

/// A Worker as its files by the names they import each other with, the main module first.
pub(crate) struct Modules(pub(crate) Vec<(String, PathBuf)>);

impl Modules {
    /// The edge that was built last.
    fn of_the_edge() -> Self {
        let built = |file: &str| (file.to_owned(), build::folder().join(file));
        Self(build::OUTPUTS.map(built).into())
    }
}

/// Starts workerd with the edge; it says on standard output which port each isolate got.
///
/// # Errors
/// When it is missing or cannot be started.
pub(crate) fn spawn(family: &mut Family, order: &Order, state: &Path) -> Result<()> {
    spawn_modules(family, NAME, &Modules::of_the_edge(), order, state)
}

/// Starts workerd with a Worker.
///
/// # Errors
/// When it is missing or cannot be started.
pub(crate) fn spawn_modules(
    family: &mut Family,
    name: &'static str,
    modules: &Modules,
    order: &Order,
    state: &Path,
) -> Result<()> {
    for (module, file) in &modules.0 {
        fs::copy(file, state.join(module))?;
    }
    let config = state.join(CONFIG);
    // It holds secrets.
    files::write_private(&config, &configuration(&Wrangler::read()?, order, modules)?)?;
    let mut command = tied::command(workerd()?);
    command
        .args(["serve", "--control-fd=1"])
        .arg(config)
        .current_dir(state);
    family.spawn(name, command, "")
}

/// The address in workerd's word that a socket listens.
pub(crate) fn ready_address(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Listening {
        event: String,
        port: u16,
    }
    let said: Listening = serde_json::from_str(line).ok()?;
    (said.event == "listen").then(|| format!("http://127.0.0.1:{}", said.port))
}

fn configuration(wrangler: &Wrangler, order: &Order, modules: &Modules) -> Result<String> {
    let modules: String = modules.0.iter().map(|(name, _)| module(name)).collect();
    let assets = workspace::in_root(&wrangler.assets.directory);
    let bindings = bindings(wrangler, order)?;
    let flags: Vec<_> = wrangler
        .compatibility_flags
        .iter()
        .map(|flag| quote(flag))
        .collect();
    let mut services = String::new();
    let mut sockets = String::new();
    for (isolate, port) in order.ports.iter().enumerate() {
        writeln!(services, "    (name = \"edge{isolate}\", worker = .edge),")?;
        writeln!(
            sockets,
            "    (name = \"http{isolate}\", address = \"127.0.0.1:{port}\", http = (), \
             service = \"edge{isolate}\"),"
        )?;
    }
    Ok(format!(
        r#"using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
{services}    (name = "assets", disk = (path = {assets})),
    (name = "internet", network = (
      allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [
{sockets}  ],
);

const edge :Workerd.Worker = (
  modules = [
{modules}  ],
  compatibilityDate = {date},
  compatibilityFlags = [{flags}],
  bindings = [
{bindings}  ],
);
"#,
        assets = quote(&assets.display().to_string()),
        date = quote(&wrangler.compatibility_date),
        flags = flags.join(", "),
    ))
}

fn module(name: &str) -> String {
    let is_wasm = Path::new(name).extension().is_some_and(|it| it == "wasm");
    let kind = if is_wasm { "wasm" } else { "esModule" };
    let name = quote(name);
    format!("    (name = {name}, {kind} = embed {name}),\n")
}

fn bindings(wrangler: &Wrangler, order: &Order) -> Result<String> {
    let mut lines = format!(
        "    (name = {}, service = \"assets\"),\n",
        quote(&wrangler.assets.binding)
    );
    if let Some(table) = &order.settings.table {
        let json = serde_json::to_string(table)?;
        writeln!(lines, "    (name = \"HALLPASS\", json = {}),", quote(&json))?;
    }
    for (name, value) in &order.secrets {
        writeln!(
            lines,
            "    (name = {}, text = {}),",
            quote(name),
            quote(value)
        )?;
    }
    Ok(lines)
}

/// A string of Cap'n Proto's schema language.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_control() => quoted.extend(format!("\\x{:02x}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// workerd itself rather than its package's script: its process id is then workerd's.
pub(crate) fn workerd() -> Result<PathBuf> {
    node::native_program(&[
        (
            "linux",
            "x86_64",
            "@cloudflare/workerd-linux-64/bin/workerd",
        ),
        (
            "linux",
            "aarch64",
            "@cloudflare/workerd-linux-arm64/bin/workerd",
        ),
        (
            "macos",
            "x86_64",
            "@cloudflare/workerd-darwin-64/bin/workerd",
        ),
        (
            "macos",
            "aarch64",
            "@cloudflare/workerd-darwin-arm64/bin/workerd",
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Settings;

    #[test]
    fn quote_escapes_quotes_backslashes_and_control_bytes() {
        assert_eq!(quote("a\"b\\c\n"), r#""a\"b\\c\x0a""#);
        assert_eq!(quote("é"), "\"é\"");
    }

    #[test]
    fn ready_address_reads_the_port_of_a_socket() {
        let line = r#"{"event":"listen","socket":"http0","port":4711}"#;
        assert_eq!(
            ready_address(line).as_deref(),
            Some("http://127.0.0.1:4711")
        );
    }

    #[test]
    fn ready_address_ignores_what_the_edge_logs() {
        assert_eq!(ready_address(r#"{"event":"request","port":1}"#), None);
        assert_eq!(ready_address("hello"), None);
    }

    #[test]
    fn configuration_has_a_service_and_a_socket_per_isolate() -> Result<()> {
        let settings: Settings = toml::from_str("[HALLPASS]\nissuer = \"i\"\n")?;
        let secrets = [("ASSERTION_KEY".to_owned(), "k".to_owned())].into();
        let order = Order {
            settings,
            secrets,
            ports: vec![0, 0],
            raw: true,
        };
        let text = configuration(&Wrangler::read()?, &order, &Modules::of_the_edge())?;
        assert_eq!(text.matches("worker = .edge").count(), 2);
        assert_eq!(text.matches("address = \"127.0.0.1:0\"").count(), 2);
        assert!(text.contains(r#"(name = "index_bg.wasm", wasm = embed "index_bg.wasm")"#));
        assert!(text.contains(r#"(name = "HALLPASS", json = "{\"issuer\":\"i\"}")"#));
        assert!(text.contains(r#"(name = "ASSERTION_KEY", text = "k")"#));
        Ok(())
    }
}
