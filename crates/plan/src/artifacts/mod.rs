//! dbt's artifacts, as JSON values: what `dbt docs` and other tools read about a project and a run of it.
//!
//! Ids, names and fields follow dbt 1.12's schemas (manifest v12, run-results v6, catalog v1). Files and clocks are the
//! caller's: it writes the values and says what time it is.

mod catalog;
mod manifest;
mod nodes;
mod results;

pub use catalog::{CatalogTable, catalog};
pub use manifest::manifest;
pub use results::{NodeRun, Outcome, run_results};

use serde_json::{Value as Json, json};

use crate::inputs::Inputs;

/// The dbt whose artifacts these are like. Tools compare it with what they know.
const DBT_VERSION: &str = "1.12.0";

/// What all artifacts begin with. `generated_at` is ISO 8601 in UTC.
fn metadata(artifact: &str, inputs: &Inputs, generated_at: &str) -> serde_json::Map<String, Json> {
    let fields = [
        (
            "dbt_schema_version",
            format!("https://schemas.getdbt.com/dbt/{artifact}.json").into(),
        ),
        ("dbt_version", DBT_VERSION.into()),
        ("generated_at", generated_at.into()),
        ("invocation_id", inputs.invocation_id.clone().into()),
        ("invocation_started_at", inputs.run_started_at.clone().into()),
        ("env", json!({})),
    ];
    fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
