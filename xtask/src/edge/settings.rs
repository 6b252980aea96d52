//! Reads the edge's settings and what `wrangler.toml` says about the runtime.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::workspace;

/// The edge's settings as it will see them: the `HALLPASS` variable.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Settings {
    /// Absent when the file has no such table; the edge then says that it is misconfigured.
    #[serde(rename = "HALLPASS")]
    pub(crate) table: Option<toml::Table>,
}

/// A settings file: the table alone, or as `wrangler.toml` has it.
#[derive(Deserialize)]
struct File {
    vars: Option<Settings>,
    #[serde(flatten)]
    alone: Settings,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// When it cannot be read or is not TOML.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the settings in {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not valid", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        Ok(file.vars.unwrap_or(file.alone))
    }
}

/// The part of `wrangler.toml` that describes the edge wherever it runs.
#[derive(Debug, Deserialize)]
pub(crate) struct Wrangler {
    /// The name of the Worker.
    pub(crate) name: String,
    /// The runtime's date of behaviour.
    pub(crate) compatibility_date: String,
    /// The runtime's switches.
    #[serde(default)]
    pub(crate) compatibility_flags: Vec<String>,
    /// The portal's files.
    pub(crate) assets: Assets,
    /// The development default of the settings.
    pub(crate) vars: Settings,
}

/// `[assets]`.
#[derive(Debug, Deserialize)]
pub(crate) struct Assets {
    /// Folder, relative to the root of the work tree.
    pub(crate) directory: String,
    /// The name the edge knows it by.
    pub(crate) binding: String,
    /// Whether the edge sees a request before any asset answers it.
    pub(crate) run_worker_first: bool,
}

impl Wrangler {
    /// Reads `wrangler.toml`.
    ///
    /// # Errors
    /// When it cannot be read or lacks something.
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(workspace::in_root("wrangler.toml"))?;
        toml::from_str(&text).context("wrangler.toml is not as expected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrangler_toml_has_development_settings_and_no_asset_before_the_edge() -> Result<()> {
        let wrangler = Wrangler::read()?;
        assert!(wrangler.assets.run_worker_first);
        let table = wrangler.vars.table.unwrap_or_default();
        assert_eq!(
            table.get("environment").and_then(|v| v.as_str()),
            Some("development")
        );
        Ok(())
    }

    #[test]
    fn settings_without_the_table_are_left_for_the_edge_to_refuse() -> Result<()> {
        assert_eq!(toml::from_str::<Settings>("")?.table, None);
        Ok(())
    }

    #[test]
    fn settings_are_the_table_alone_or_as_wrangler_has_it() -> Result<()> {
        let alone = Settings::parse("[HALLPASS]\nissuer = \"a\"\n")?;
        assert!(alone.table.is_some());
        assert_eq!(Settings::parse("[vars.HALLPASS]\nissuer = \"a\"\n")?, alone);
        Ok(())
    }

    #[test]
    fn settings_keep_routes_as_an_array_of_tables() -> Result<()> {
        let settings: Settings = toml::from_str("[[HALLPASS.routes]]\npath = \"/a\"\n")?;
        let json = serde_json::to_value(settings.table)?;
        assert_eq!(json, serde_json::json!({"routes": [{"path": "/a"}]}));
        Ok(())
    }
}
