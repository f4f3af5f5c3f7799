//! `profiles.yml`: the targets a project can be built for.

use serde_json::Value as Json;

use crate::error::{Error, ErrorKind, Place, Result};
use crate::yaml::{self, Fields};

/// One target of `profiles.yml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name of the target: `dev`, `prod`.
    pub name: String,
    /// Adapter type; the built-in runner builds `duckdb` only.
    pub adapter: String,
    /// `schema:` as written (may hold Jinja).
    pub schema: String,
    /// `threads:`; 1 if absent.
    pub threads: usize,
}

/// The targets of `profile`, and the default target's name.
pub(crate) fn parse(file: &str, text: &str, profile: &str) -> Result<(Vec<Profile>, String)> {
    let node = yaml::parse(file, text)?;
    let profiles = Fields::of(file, "profiles.yml", &node)?.rest();
    let Some(entry) = profiles.into_iter().find(|entry| entry.key == profile) else {
        let message = format!("no profile `{profile}`, which dbt_project.yml names");
        return Err(Error::at(ErrorKind::Project, &Place::new(file, 0), message));
    };
    let mut fields = Fields::of(file, "a profile", &entry.value)?;
    let default = fields.text("target")?.unwrap_or_else(|| "default".to_owned());
    let outputs = fields.take("outputs").cloned().unwrap_or_default();
    fields.finish()?;
    let mut targets = Vec::new();
    for output in Fields::of(file, "`outputs`", &outputs)?.rest() {
        // The rest of a target says how an adapter connects, which is its own business.
        let mut fields = Fields::of(file, "a target", &output.value)?;
        let threads = match fields.take("threads").map(|node| (node.line, node.to_json())) {
            None => 1,
            Some((line, value)) => threads(&value).ok_or_else(|| {
                Error::at(
                    ErrorKind::Project,
                    &Place::new(file, line),
                    "`threads` must be a whole number above 0",
                )
            })?,
        };
        targets.push(Profile {
            name: output.key.clone(),
            adapter: fields.required_text("type")?,
            schema: fields.text("schema")?.unwrap_or_else(|| "main".to_owned()),
            threads,
        });
    }
    Ok((targets, default))
}

fn threads(value: &Json) -> Option<usize> {
    value
        .as_u64()
        .and_then(|threads| usize::try_from(threads).ok())
        .filter(|&threads| threads > 0)
}
