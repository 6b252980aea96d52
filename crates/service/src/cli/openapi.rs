//! `hallpass openapi`.

use super::CommandError;

/// Prints the document as `docs/openapi.json` has it.
pub(super) fn run() -> Result<(), CommandError> {
    let document = serde_json::to_string_pretty(&crate::http::openapi_document());
    let document = document.map_err(|error| CommandError::No(error.to_string()))?;
    println!("{document}");
    Ok(())
}
