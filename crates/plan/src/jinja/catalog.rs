//! All macros of the project, its packages and the built-in `dbt` package, and which one a name means.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scan::{self, BlockKind};
use crate::error::{Error, ErrorKind, Place, Result};

/// The package of the macros that come with dbt.
pub(crate) const DBT: &str = "dbt";

/// The adapter whose macros `adapter.dispatch` prefers.
pub(crate) const ADAPTER: &str = "duckdb";

const BUILTIN: &str = include_str!("builtin.sql");

#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) package: String,
    pub(crate) name: String,
    /// Name of the template that defines it: `file#macro`.
    pub(crate) template: String,
    pub(crate) source: String,
    /// As written, tags included.
    pub(crate) text: String,
    pub(crate) place: Place,
}

impl Macro {
    /// dbt's unique id.
    pub(crate) fn id(&self) -> String {
        format!("macro.{}.{}", self.package, self.name)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// The root project, whose macros override dbt's.
    pub(crate) root: String,
    macros: BTreeMap<(String, String), Arc<Macro>>,
    /// `dispatch:` of dbt_project.yml: namespace → packages in order.
    pub(crate) search_order: BTreeMap<String, Vec<String>>,
}

impl Catalog {
    pub(crate) fn new(root: &str) -> Result<Catalog> {
        let mut catalog = Catalog {
            root: root.to_owned(),
            ..Catalog::default()
        };
        catalog.add_file(DBT, "dbt/builtin.sql", BUILTIN)?;
        Ok(catalog)
    }

    /// Adds the macros and generic tests of one file.
    pub(crate) fn add_file(&mut self, package: &str, file: &str, text: &str) -> Result<()> {
        for block in scan::blocks(file, text)? {
            let place = Place::new(file, block.line);
            let name = match block.kind {
                BlockKind::Macro => block.name,
                BlockKind::Test => format!("test_{}", block.name),
                BlockKind::Materialization => {
                    let message = format!(
                        "materialization `{}` is the project's own; the built-in runner has only dbt's",
                        block.name
                    );
                    return Err(Error::at(ErrorKind::Unsupported, &place, message));
                }
                BlockKind::Snapshot | BlockKind::Docs => continue,
            };
            let template = scan::template(file, &name);
            let made = Macro {
                package: package.to_owned(),
                name: name.clone(),
                template,
                source: block.template,
                text: block.text,
                place,
            };
            if let Some(other) = self
                .macros
                .insert((package.to_owned(), name.clone()), Arc::new(made))
            {
                let message = format!(
                    "macro `{name}` is defined twice; the other one is at {}",
                    other.place
                );
                return Err(Error::at(
                    ErrorKind::Project,
                    &Place::new(file, block.line),
                    message,
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Macro>> {
        self.macros.values()
    }

    pub(crate) fn of_package<'a>(&'a self, package: &'a str) -> impl Iterator<Item = &'a Arc<Macro>> {
        self.macros.values().filter(move |found| found.package == package)
    }

    pub(crate) fn get(&self, package: &str, name: &str) -> Option<&Arc<Macro>> {
        self.macros.get(&(package.to_owned(), name.to_owned()))
    }

    /// The macro that `name` means to a node of `package`: its own, the root project's, dbt's.
    pub(crate) fn resolve(&self, package: &str, name: &str) -> Option<&Arc<Macro>> {
        [package, &self.root, DBT]
            .into_iter()
            .find_map(|package| self.get(package, name))
    }

    /// The macro that `adapter.dispatch(name, namespace)` means to a node of `package`.
    pub(crate) fn dispatch(&self, package: &str, name: &str, namespace: Option<&str>) -> Option<&Arc<Macro>> {
        let searched: Vec<&str> = match namespace {
            None => vec![package, &self.root, DBT],
            Some(namespace) => match self.search_order.get(namespace) {
                Some(order) => order.iter().map(String::as_str).collect(),
                None => vec![&self.root, namespace],
            },
        };
        searched.into_iter().find_map(|package| {
            [ADAPTER, "default"]
                .into_iter()
                .find_map(|prefix| self.get(package, &format!("{prefix}__{name}")))
        })
    }
}
