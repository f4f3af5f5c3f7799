//! Schema files: what YAML says about models, seeds and sources, and the tests it puts on them.

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::settings::{RawConfig, Setting, config};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::yaml::{self, Fields, Node, Yaml};

/// What a YAML file says about one model or seed.
#[derive(Debug, Clone)]
pub(crate) struct Properties {
    pub(crate) of: PropertiesOf,
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) description: String,
    /// What a snapshot without SQL of its own reads: `ref(…)` or `source(…)`.
    pub(crate) relation: Option<String>,
    pub(crate) config: RawConfig,
    pub(crate) columns: Vec<ColumnProperties>,
    pub(crate) tests: Vec<TestProperties>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PropertiesOf {
    Model,
    Seed,
    Snapshot,
    /// A singular test.
    Test,
}

#[derive(Debug, Clone)]
pub(crate) struct ColumnProperties {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) data_type: Option<String>,
    pub(crate) quote: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) tests: Vec<TestProperties>,
}

/// A generic test as YAML asks for it.
#[derive(Debug, Clone)]
pub(crate) struct TestProperties {
    pub(crate) place: Place,
    /// Package in front of the name: `dbt_utils.equality`.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    /// The name the user gave it.
    pub(crate) custom_name: Option<String>,
    pub(crate) description: String,
    pub(crate) arguments: IndexMap<String, Json>,
    pub(crate) config: RawConfig,
}

#[derive(Debug, Clone)]
pub(crate) struct SourceProperties {
    pub(crate) source: String,
    pub(crate) table: String,
    pub(crate) place: Place,
    pub(crate) source_description: String,
    pub(crate) description: String,
    pub(crate) database: Option<String>,
    pub(crate) schema: String,
    pub(crate) identifier: String,
    pub(crate) tags: Vec<String>,
    pub(crate) config: RawConfig,
    pub(crate) columns: Vec<ColumnProperties>,
    pub(crate) tests: Vec<TestProperties>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SchemaFile {
    pub(crate) properties: Vec<Properties>,
    pub(crate) sources: Vec<SourceProperties>,
}

/// Keys of a test that configure it, also outside of `config:`.
const TEST_CONFIG: [&str; 15] = [
    "severity",
    "tags",
    "enabled",
    "where",
    "limit",
    "warn_if",
    "error_if",
    "fail_calc",
    "store_failures",
    "store_failures_as",
    "sql_header",
    "meta",
    "database",
    "schema",
    "alias",
];

pub(crate) fn parse(file: &str, text: &str) -> Result<SchemaFile> {
    let node = yaml::parse(file, text)?;
    let mut fields = Fields::of(file, "a schema file", &node)?;
    // Exposures and analyses describe, they build nothing; macros' entries are documentation.
    fields.ignore(&["version", "exposures", "analyses", "macros"]);
    for key in [
        "unit_tests",
        "semantic_models",
        "metrics",
        "saved_queries",
        "groups",
        "functions",
    ] {
        fields.refuse(key, "are not supported by the built-in runner")?;
    }
    let mut schema = SchemaFile::default();
    let kinds = [
        ("models", PropertiesOf::Model),
        ("seeds", PropertiesOf::Seed),
        ("snapshots", PropertiesOf::Snapshot),
        ("data_tests", PropertiesOf::Test),
    ];
    for (key, of) in kinds {
        for item in fields.list(key)? {
            schema.properties.push(properties(file, of, item)?);
        }
    }
    for item in fields.list("sources")? {
        source(file, item, &mut schema.sources)?;
    }
    fields.finish()?;
    Ok(schema)
}

fn properties(file: &str, of: PropertiesOf, node: &Node) -> Result<Properties> {
    let mut fields = Fields::of(file, "these properties", node)?;
    fields.ignore(&["docs", "meta", "access", "deprecation_date", "constraints"]);
    for key in ["versions", "latest_version", "time_spine", "group"] {
        fields.refuse(key, "is not supported by the built-in runner")?;
    }
    let relation = fields.text("relation")?;
    if relation.is_some() && of != PropertiesOf::Snapshot {
        return Err(Error::at(
            ErrorKind::Project,
            &fields.place(),
            "`relation` is for snapshots only; remove it",
        ));
    }
    let properties = Properties {
        of,
        place: fields.place(),
        name: fields.required_text("name")?,
        description: fields.text("description")?.unwrap_or_default(),
        relation,
        config: config(file, fields.take("config"))?,
        columns: fields
            .list("columns")?
            .iter()
            .map(|node| column(file, node))
            .collect::<Result<_>>()?,
        tests: tests(&mut fields)?,
    };
    fields.finish()?;
    Ok(properties)
}

fn column(file: &str, node: &Node) -> Result<ColumnProperties> {
    let mut fields = Fields::of(file, "a column", node)?;
    fields.ignore(&["meta", "constraints", "granularity"]);
    let tags = fields
        .take("tags")
        .map(|node| yaml::texts(file, "tags", node))
        .transpose()?
        .unwrap_or_default();
    let mut settings = Fields::of(
        file,
        "a column's config",
        fields.take("config").unwrap_or(&Node {
            line: 0,
            value: Yaml::Null,
        }),
    )
    .map(|mut settings| {
        settings.ignore(&["meta"]);
        let tags = settings.take("tags").map(|node| yaml::texts(file, "tags", node));
        settings.finish().map(|()| tags)
    })??
    .transpose()?
    .unwrap_or_default();
    settings.extend(tags);
    let column = ColumnProperties {
        name: fields.required_text("name")?,
        description: fields.text("description")?.unwrap_or_default(),
        data_type: fields.text("data_type")?,
        quote: fields.text("quote")?.is_some_and(|quote| quote == "true"),
        tags: settings,
        tests: tests(&mut fields)?,
    };
    fields.finish()?;
    Ok(column)
}

fn tests(fields: &mut Fields<'_>) -> Result<Vec<TestProperties>> {
    let file = fields.file;
    let mut found = Vec::new();
    for key in ["data_tests", "tests"] {
        for item in fields.list(key)? {
            found.push(test(file, item)?);
        }
    }
    Ok(found)
}

/// `unique`, or `accepted_values: {values: […], config: {…}}`, or `{test_name: …, …}`.
fn test(file: &str, node: &Node) -> Result<TestProperties> {
    let place = Place::new(file, node.line);
    let wrong = |what: &str| Error::at(ErrorKind::Project, &place, format!("a test must be {what}"));
    let empty = Node {
        line: node.line,
        value: Yaml::Null,
    };
    let (full_name, body) = match &node.value {
        Yaml::Scalar(Json::String(name)) => (name.clone(), &empty),
        Yaml::Map(entries) => match entries.iter().find(|entry| entry.key == "test_name") {
            Some(entry) => (yaml::text(file, "test_name", &entry.value)?, node),
            None => match entries.as_slice() {
                [only] => (only.key.clone(), &only.value),
                _ => {
                    return Err(wrong(
                        "one name with its arguments below it; check the indentation",
                    ));
                }
            },
        },
        _ => return Err(wrong("a name, or a name with its arguments below it")),
    };
    let (namespace, name) = match full_name.split_once('.') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
        None => (None, full_name),
    };
    let mut test = TestProperties {
        namespace,
        name,
        custom_name: None,
        description: String::new(),
        arguments: IndexMap::new(),
        config: RawConfig::new(),
        place: place.clone(),
    };
    for entry in Fields::of(file, "a test", body)?.rest() {
        test_key(file, &mut test, entry)?;
    }
    Ok(test)
}

fn test_key(file: &str, test: &mut TestProperties, entry: &yaml::Entry) -> Result<()> {
    let key = entry.key.as_str();
    let place = Place::new(file, entry.line);
    match key {
        "test_name" => {}
        "name" => test.custom_name = Some(yaml::text(file, key, &entry.value)?),
        "description" => test.description = yaml::text(file, key, &entry.value)?,
        "config" => test.config.extend(config(file, Some(&entry.value))?),
        "arguments" => {
            let arguments = Fields::of(file, "`arguments`", &entry.value)?.rest();
            test.arguments.extend(
                arguments
                    .into_iter()
                    .map(|argument| (argument.key.clone(), argument.value.to_json())),
            );
        }
        "model" => {
            return Err(Error::at(
                ErrorKind::Project,
                &place,
                "a test's `model` is the one it stands under; remove this argument",
            ));
        }
        _ if TEST_CONFIG.contains(&key) => {
            test.config.insert(
                key.to_owned(),
                Setting {
                    value: entry.value.to_json(),
                    place,
                },
            );
        }
        _ => {
            test.arguments.insert(key.to_owned(), entry.value.to_json());
        }
    }
    Ok(())
}

/// `tags` of a source's `config:`.
fn config_tags(config: &RawConfig) -> Vec<String> {
    match config.get("tags").map(|setting| &setting.value) {
        Some(Json::String(tag)) => vec![tag.clone()],
        Some(Json::Array(tags)) => tags
            .iter()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

fn source(file: &str, node: &Node, found: &mut Vec<SourceProperties>) -> Result<()> {
    let mut fields = Fields::of(file, "a source", node)?;
    fields.ignore(&[
        "loader",
        "loaded_at_field",
        "loaded_at_query",
        "freshness",
        "meta",
    ]);
    for key in ["quoting", "overrides"] {
        fields.refuse(key, "is not supported by the built-in runner")?;
    }
    let name = fields.required_text("name")?;
    let description = fields.text("description")?.unwrap_or_default();
    let database = fields.text("database")?;
    let schema = fields.text("schema")?.unwrap_or_else(|| name.clone());
    let tags = fields
        .take("tags")
        .map(|node| yaml::texts(file, "tags", node))
        .transpose()?
        .unwrap_or_default();
    let source_config = config(file, fields.take("config"))?;
    for table in fields.list("tables")? {
        let mut fields = Fields::of(file, "a source's table", table)?;
        fields.ignore(&[
            "loader",
            "loaded_at_field",
            "loaded_at_query",
            "freshness",
            "meta",
            "docs",
        ]);
        for key in ["quoting", "external"] {
            fields.refuse(key, "is not supported by the built-in runner")?;
        }
        let table_name = fields.required_text("name")?;
        let mut all_tags = tags.clone();
        all_tags.extend(
            fields
                .take("tags")
                .map(|node| yaml::texts(file, "tags", node))
                .transpose()?
                .unwrap_or_default(),
        );
        let mut table_config = source_config.clone();
        table_config.extend(config(file, fields.take("config"))?);
        all_tags.extend(config_tags(&table_config));
        found.push(SourceProperties {
            source: name.clone(),
            place: fields.place(),
            source_description: description.clone(),
            description: fields.text("description")?.unwrap_or_default(),
            database: database.clone(),
            schema: schema.clone(),
            identifier: fields.text("identifier")?.unwrap_or_else(|| table_name.clone()),
            table: table_name,
            tags: all_tags,
            config: table_config,
            columns: fields
                .list("columns")?
                .iter()
                .map(|node| column(file, node))
                .collect::<Result<_>>()?,
            tests: tests(&mut fields)?,
        });
        fields.finish()?;
    }
    fields.finish()
}
