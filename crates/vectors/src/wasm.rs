//! The entry for Node: options as JSON in, tallies as JSON out.

use crate::{Options, run};
use wasm_bindgen::prelude::wasm_bindgen;

/// Runs the sets that the options name.
///
/// # Errors
///
/// A sentence about the options or the data.
#[wasm_bindgen(js_name = run)]
pub fn run_from_node(options: &str) -> Result<String, String> {
    let options: Options = serde_json::from_str(options).map_err(|error| error.to_string())?;
    let tallies = run(&options).map_err(|error| error.to_string())?;
    serde_json::to_string(&tallies).map_err(|error| error.to_string())
}
