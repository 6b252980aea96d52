//! What the project needs on a machine, each with how to look for it and how to get it.
//!
//! Looking changes nothing and is quick. Installing puts things beside the cache's finished
//! folders and renames them into place, so that an interruption leaves nothing half done.

pub(crate) mod browser;
pub(crate) mod cargo_tool;
pub(crate) mod database;
pub(crate) mod debian;
pub(crate) mod nginx;
pub(crate) mod node;
pub(crate) mod schemathesis;
pub(crate) mod toolchain;
pub(crate) mod valgrind;

use anyhow::Result;
use clap::ValueEnum;
use hallpass_databases::Kind;

/// What `setup --only` chooses among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Rust's wasm target, the cargo-installed tools, the Node tools, nginx
    Tools,
    /// A Chromium for the browser tests
    Browser,
    /// PostgreSQL and MariaDB, with which tests start servers of their own
    Databases,
}

/// The outcome of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There, in the right version; where or which.
    Present(String),
    /// Absent or stale; what is wrong.
    Missing(String),
    /// Absent, and nothing asks for it.
    Unneeded(String),
}

/// One thing the project needs.
pub(crate) trait Need {
    /// Its name with the version asked for.
    fn name(&self) -> String;
    /// Looks for it.
    fn look(&self) -> Result<State>;
    /// Gets it; called only after a look that found it missing.
    fn install(&self) -> Result<()>;
}

/// Everything of one group, in the order it is to be installed.
pub(crate) fn of(group: Group) -> Result<Vec<Box<dyn Need>>> {
    Ok(match group {
        Group::Tools => vec![
            Box::new(toolchain::WasmTarget),
            Box::new(toolchain::Components),
            Box::new(node::NodeTools),
            Box::new(cargo_tool::wasm_bindgen()?),
            Box::new(cargo_tool::worker_build()),
            Box::new(cargo_tool::wasm_pack()),
            Box::new(valgrind::Valgrind),
            Box::new(schemathesis::Schemathesis),
            Box::new(nginx::Nginx),
        ],
        Group::Browser => vec![Box::new(browser::Chromium)],
        Group::Databases => databases(),
    })
}

/// The servers that the service is tested against.
pub(crate) fn databases() -> Vec<Box<dyn Need>> {
    let server = |kind| Box::new(database::Server(kind)) as Box<dyn Need>;
    Kind::ALL.map(server).into()
}

/// What compiling the edge takes.
///
/// # Errors
/// When the lock file does not say which versions.
pub(crate) fn to_build_the_edge() -> Result<Vec<Box<dyn Need>>> {
    Ok(vec![
        Box::new(toolchain::WasmTarget),
        Box::new(node::NodeTools),
        Box::new(cargo_tool::wasm_bindgen()?),
        Box::new(cargo_tool::worker_build()),
    ])
}

/// What running a built edge takes.
pub(crate) fn to_run_the_edge() -> Vec<Box<dyn Need>> {
    vec![Box::new(node::NodeTools)]
}
