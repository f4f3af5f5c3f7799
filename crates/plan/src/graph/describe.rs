//! Descriptions: what schema files say about nodes, `{{ doc(…) }}` included, and sources, which are nothing else.

use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::value::Value;
use serde_json::Value as Json;

use super::config::CommonConfig;
use super::parse::{Draft, Parser, folders};
use super::{Column, Detail, Node, NodeKind};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::jinja::session::Frame;
use crate::jinja::values::Relation;
use crate::project::Package;
use crate::project::schema::{ColumnProperties, Properties, SourceProperties};

/// A source's configuration that changes nothing the runner does, or that it heeds.
const SOURCE_CONFIG: [&str; 7] = [
    "enabled",
    "meta",
    "tags",
    "freshness",
    "loaded_at_field",
    "loaded_at_query",
    "event_time",
];

impl Parser<'_> {
    pub(super) fn source(&mut self, package: &Package, source: &SourceProperties) -> Result<()> {
        self.session.enter(Frame {
            package: package.name.clone(),
            file: source.place.file.clone(),
            ..Frame::default()
        });
        let relation = self.source_relation(source)?;
        let raw = self.evaluated(&source.config)?;
        if let Some((key, setting)) = raw.iter().find(|(key, _)| !SOURCE_CONFIG.contains(&key.as_str())) {
            let message = format!("config `{key}` of a source is not known to the built-in runner");
            return Err(Error::at(ErrorKind::Unsupported, &setting.place, message));
        }
        let enabled = raw
            .get("enabled")
            .is_none_or(|setting| setting.value != Json::Bool(false));
        let fqn = [
            vec![package.name.clone()],
            folders(&source.place.file),
            vec![source.source.clone(), source.table.clone()],
        ]
        .concat();
        let node = Node {
            id: format!("source.{}.{}.{}", package.name, source.source, source.table),
            name: format!("{}.{}", source.source, source.table),
            package: package.name.clone(),
            kind: NodeKind::Source,
            place: source.place.clone(),
            described_at: Some(source.place.clone()),
            fqn,
            relation: Some(relation),
            description: if source.description.is_empty() {
                source.source_description.clone()
            } else {
                source.description.clone()
            },
            columns: self.columns(&source.place, &source.columns)?,
            tags: source.tags.clone(),
            depends_on: Vec::new(),
            tests: Vec::new(),
            common: no_config(),
            detail: Detail::Source,
            config: IndexMap::new(),
            dependencies: IndexMap::new(),
            macros: Vec::new(),
            targets: Arc::default(),
            model: Value::default(),
        };
        self.drafts.push(Draft { node, enabled });
        Ok(())
    }

    fn source_relation(&self, source: &SourceProperties) -> Result<Relation> {
        let text = |text: &str| -> Result<String> {
            Ok(self.session.evaluate_text(&source.place, text)?.to_string())
        };
        let database = source.database.as_deref().map(text).transpose()?;
        Ok(Relation {
            database: database.unwrap_or_else(|| self.inputs.database.clone()),
            schema: text(&source.schema)?,
            identifier: text(&source.identifier)?,
        })
    }

    pub(super) fn describe(&self, node: &mut Node, properties: Option<&Properties>) -> Result<()> {
        let Some(properties) = properties else {
            return Ok(());
        };
        node.described_at = Some(properties.place.clone());
        node.description = self.description(&properties.place, &properties.description)?;
        node.columns = self.columns(&properties.place, &properties.columns)?;
        Ok(())
    }

    /// Descriptions may be `{{ doc('name') }}`.
    fn description(&self, place: &Place, text: &str) -> Result<String> {
        let Some((before, rest)) = text.split_once("{{") else {
            return Ok(text.to_owned());
        };
        let call = rest.split_once("}}").and_then(|(call, after)| {
            let name = call
                .trim()
                .strip_prefix("doc(")?
                .strip_suffix(')')?
                .trim()
                .trim_matches(['\'', '"']);
            Some((name, after))
        });
        let Some((name, after)) = call else {
            return Err(Error::at(
                ErrorKind::Unsupported,
                place,
                "a description may hold no Jinja but `{{ doc('name') }}`",
            ));
        };
        let Some(doc) = self.project.docs.get(name) else {
            return Err(Error::at(
                ErrorKind::Project,
                place,
                format!("there is no docs block `{name}`"),
            ));
        };
        let doc = &doc.text;
        Ok(format!("{before}{doc}{}", self.description(place, after)?))
    }

    fn columns(&self, place: &Place, columns: &[ColumnProperties]) -> Result<Vec<Column>> {
        let column = |column: &ColumnProperties| {
            Ok(Column {
                name: column.name.clone(),
                description: self.description(place, &column.description)?,
                data_type: column.data_type.clone(),
                tests: Vec::new(),
            })
        };
        columns.iter().map(column).collect()
    }
}

fn no_config() -> CommonConfig {
    CommonConfig {
        enabled: true,
        schema: None,
        alias: None,
        database: None,
        tags: Vec::new(),
        pre_hooks: Vec::new(),
        post_hooks: Vec::new(),
        full_refresh: None,
    }
}
