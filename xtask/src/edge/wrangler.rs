//! Runs the edge in wrangler's local runtime, by way of a small script for Node.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::settings::Wrangler;
use super::{NAME, Order};
use crate::children::Family;
use crate::needs::node;
use crate::{build, workspace};

const SCRIPT: &str = "xtask/js/wrangler-edge.mjs";

/// Starts the script; it prints a `ready` line per isolate.
///
/// # Errors
/// When Node is missing or cannot be started.
pub(crate) fn spawn(family: &mut Family, order: &Order, state: &Path) -> Result<()> {
    let config = state.join("wrangler.json");
    let text = serde_json::to_string_pretty(&configuration(&Wrangler::read()?, order)?)?;
    fs::write(&config, text).context("cannot write the edge's configuration")?;

    let mut command = node::command()?;
    command.arg(workspace::in_root(SCRIPT)).current_dir(state);
    // Nothing calls home, and what wrangler keeps for itself stays with this run.
    command.env("CLOUDFLARE_CF_FETCH_ENABLED", "false");
    command.env("WRANGLER_SEND_METRICS", "false");
    command.env("WRANGLER_LOG_PATH", state.join("wrangler-logs"));
    command.env("WRANGLER_REGISTRY_PATH", state.join("wrangler-registry"));
    let line = json!({"config": config, "secrets": order.secrets, "ports": order.ports});
    family.spawn(NAME, command, &format!("{line}\n"))
}

/// `wrangler.toml` without its build, with absolute paths and these settings.
fn configuration(wrangler: &Wrangler, order: &Order) -> Result<Value> {
    let mut vars = json!({});
    if let Some(table) = &order.settings.table {
        vars["HALLPASS"] = serde_json::to_value(table)?;
    }
    Ok(json!({
        "name": wrangler.name,
        "main": build::folder().join("index.js"),
        "compatibility_date": wrangler.compatibility_date,
        "compatibility_flags": wrangler.compatibility_flags,
        "send_metrics": false,
        "assets": {
            "directory": workspace::in_root(&wrangler.assets.directory),
            "binding": wrangler.assets.binding,
            "run_worker_first": wrangler.assets.run_worker_first,
        },
        "vars": vars,
        // The runtime drops what is written; that a bound dataset harms no request is shown.
        "analytics_engine_datasets": [{"binding": "ANALYTICS", "dataset": "hallpass"}],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Settings;

    fn order(settings: &str) -> Result<Order> {
        let settings: Settings = toml::from_str(settings)?;
        let secrets = [("EDGE_CREDENTIAL".to_owned(), "secret".to_owned())].into();
        Ok(Order {
            settings,
            secrets,
            ports: vec![0],
            raw: false,
        })
    }

    #[test]
    fn configuration_carries_the_settings_and_no_secret() -> Result<()> {
        let config = configuration(&Wrangler::read()?, &order("[HALLPASS]\nissuer = \"i\"\n")?)?;
        assert_eq!(config["vars"], json!({"HALLPASS": {"issuer": "i"}}));
        assert!(!config.to_string().contains("secret"));
        Ok(())
    }

    #[test]
    fn configuration_has_no_variable_without_settings() -> Result<()> {
        assert_eq!(
            configuration(&Wrangler::read()?, &order("")?)?["vars"],
            json!({})
        );
        Ok(())
    }
}
