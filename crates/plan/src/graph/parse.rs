//! dbt's parse phase: each file and each test rendered once, to learn its configuration and what it refers to.

use std::sync::Arc;

use minijinja::value::{Serde, Value};
use serde_json::{Value as Json, json};

use super::config::{self, CommonConfig, Materialization};
use super::layers::Layers;
use super::{Detail, Node, NodeKind};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::inputs::Inputs;
use crate::jinja::catalog::DBT;
use crate::jinja::session::{Dependency, Frame, Phase, Session, relation_value};
use crate::jinja::values::Relation;
use crate::project::schema::{Properties, PropertiesOf};
use crate::project::settings::{ConfigTree, RawConfig, Setting};
use crate::project::{FileKind, Package, Project, SourceFile};

/// A node that is not linked yet. Disabled ones are kept to say so when something refers to them.
pub(super) struct Draft {
    pub(super) node: Node,
    pub(super) enabled: bool,
}

pub(super) struct Parser<'a> {
    pub(super) project: &'a Project,
    pub(super) session: &'a Session,
    pub(super) inputs: &'a Inputs,
    pub(super) drafts: Vec<Draft>,
}

pub(super) fn parse(project: &Project, session: &Session, inputs: &Inputs) -> Result<Vec<Draft>> {
    let mut parser = Parser {
        project,
        session,
        inputs,
        drafts: Vec::new(),
    };
    for package in &project.packages {
        parser.package(package)?;
    }
    Ok(parser.drafts)
}

/// A node before its type is known: what files and properties say.
pub(super) struct Common<'a> {
    pub(super) id: String,
    pub(super) package: &'a Package,
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) fqn: Vec<String>,
    pub(super) layers: Layers,
    pub(super) frame: Frame,
    /// The node's own file, to find lines in; empty for a generic test.
    pub(super) text: &'a str,
}

impl Parser<'_> {
    fn package(&mut self, package: &Package) -> Result<()> {
        for file in &package.files {
            let properties = properties_of(package, file);
            match file.kind {
                FileKind::Model | FileKind::Seed | FileKind::Snapshot => {
                    self.relation_file(package, file, properties)?;
                }
                FileKind::Test => self.singular(package, file, properties)?,
            }
        }
        for source in &package.schema.sources {
            self.source(package, source)?;
        }
        for properties in &package.schema.properties {
            self.property_tests(package, properties)?;
        }
        for source in &package.schema.sources {
            self.source_tests(package, source)?;
        }
        Ok(())
    }

    /// Root project's configuration of a package wins over the package's own.
    pub(super) fn tree_layers(
        &self,
        package: &Package,
        fqn: &[String],
        tree: fn(&Package) -> &ConfigTree,
    ) -> Result<Layers> {
        let mut layers = Layers::default();
        let root = self
            .project
            .packages
            .first()
            .filter(|root| root.name != package.name);
        for of in std::iter::once(package).chain(root) {
            for config in tree(of).path(fqn) {
                layers.add(&self.evaluated(config)?);
            }
        }
        Ok(layers)
    }

    /// YAML configuration may hold Jinja. Hooks keep theirs: they are rendered with their node. So does `where`.
    pub(super) fn evaluated(&self, config: &RawConfig) -> Result<RawConfig> {
        let mut evaluated = RawConfig::new();
        for (key, setting) in config {
            let late = matches!(key.as_str(), "pre_hook" | "post_hook" | "pre-hook" | "post-hook");
            let value = if late {
                setting.value.clone()
            } else {
                self.session.evaluate_json(&setting.place, &setting.value)?
            };
            evaluated.insert(
                key.clone(),
                Setting {
                    value,
                    place: setting.place.clone(),
                },
            );
        }
        Ok(evaluated)
    }

    pub(super) fn frame(&self, package: &Package, file: &str, name: &str, layers: &Layers) -> Frame {
        Frame {
            phase: Phase::Parse,
            package: package.name.clone(),
            file: file.to_owned(),
            this: relation_value(&self.relation(name)),
            model: model_value(
                &json!({"name": name, "package_name": package.name, "original_file_path": file}),
            ),
            config: layers.values(),
            ..Frame::default()
        }
    }

    fn relation(&self, name: &str) -> Relation {
        Relation {
            database: self.inputs.database.clone(),
            schema: self.inputs.target_schema.clone(),
            identifier: name.to_owned(),
        }
    }

    fn relation_file(
        &mut self,
        package: &Package,
        file: &SourceFile,
        properties: Option<&Properties>,
    ) -> Result<()> {
        let (word, tree): (&str, fn(&Package) -> &ConfigTree) = match file.kind {
            FileKind::Seed => ("seed", |of| &of.settings.seeds),
            FileKind::Snapshot => ("snapshot", |of| &of.settings.snapshots),
            FileKind::Model | FileKind::Test => ("model", |of| &of.settings.models),
        };
        self.session.enter(Frame {
            package: package.name.clone(),
            file: file.path.clone(),
            ..Frame::default()
        });
        let mut layers = self.tree_layers(package, &file.fqn, tree)?;
        if let Some(properties) = properties {
            layers.add(&self.evaluated(&properties.config)?);
        }
        self.session
            .enter(self.frame(package, &file.path, &file.name, &layers));
        if file.kind != FileKind::Seed {
            self.session.render_file(&file.template)?;
        }
        let mut frame = self.session.leave();
        let place = Place::new(&file.path, file.line);
        let config_place = Place::new(&file.path, file.line.saturating_sub(1) + config_line(&file.text));
        layers.add(&captured(&mut frame, &config_place));
        let id = format!("{word}.{}.{}", package.name, file.name);
        let common = Common {
            id,
            package,
            name: &file.name,
            place: place.clone(),
            fqn: file.fqn.clone(),
            layers,
            frame,
            text: &file.text,
        };
        let raw = common.layers.0.clone();
        let (settings, kind, detail) = match file.kind {
            FileKind::Seed => {
                let (settings, seed) = config::seed(&raw, &place)?;
                (settings, NodeKind::Seed, Detail::Seed(seed))
            }
            FileKind::Snapshot => {
                let (settings, snapshot) = config::snapshot::snapshot(&raw, &place)?;
                (settings, NodeKind::Snapshot, Detail::Snapshot(snapshot))
            }
            FileKind::Model | FileKind::Test => {
                let (settings, model) = config::model(&raw, &place)?;
                let kind = NodeKind::Model(model.materialization);
                (settings, kind, Detail::Model(model))
            }
        };
        let mut draft = self.draft(common, settings, kind, detail)?;
        self.describe(&mut draft.node, properties)?;
        self.drafts.push(draft);
        Ok(())
    }

    fn singular(
        &mut self,
        package: &Package,
        file: &SourceFile,
        properties: Option<&Properties>,
    ) -> Result<()> {
        self.session.enter(Frame {
            package: package.name.clone(),
            file: file.path.clone(),
            ..Frame::default()
        });
        let mut layers = self.tree_layers(package, &file.fqn, |of| &of.settings.tests)?;
        if let Some(properties) = properties {
            layers.add(&self.evaluated(&properties.config)?);
        }
        self.session
            .enter(self.frame(package, &file.path, &file.name, &layers));
        self.session.render_file(&file.path)?;
        let mut frame = self.session.leave();
        layers.add(&captured(
            &mut frame,
            &Place::new(&file.path, config_line(&file.text)),
        ));
        let place = Place::new(&file.path, 0);
        let (settings, test) = config::test(&layers.0, &place)?;
        let id = format!("test.{}.{}", package.name, file.name);
        let common = Common {
            id,
            package,
            name: &file.name,
            place,
            fqn: file.fqn.clone(),
            layers,
            frame,
            text: &file.text,
        };
        let mut draft = self.draft(common, settings, NodeKind::Test, Detail::Singular(test))?;
        self.describe(&mut draft.node, properties)?;
        self.drafts.push(draft);
        Ok(())
    }

    /// Relation and hooks of a parsed node.
    pub(super) fn draft(
        &self,
        mut common: Common<'_>,
        settings: CommonConfig,
        kind: NodeKind,
        detail: Detail,
    ) -> Result<Draft> {
        let mut relation = None;
        if settings.enabled && kind != NodeKind::Test {
            let mut placed = self.place_relation(&common, &settings)?;
            if let Detail::Snapshot(snapshot) = &detail {
                placed.schema = snapshot.target_schema.clone().unwrap_or(placed.schema);
                placed.database = snapshot.target_database.clone().unwrap_or(placed.database);
            }
            relation = Some(placed);
        }
        let model = node_value(&common, kind, relation.as_ref(), &settings);
        common.frame.model = model_value(&model);
        if let Some(relation) = &relation {
            common.frame.this = relation_value(relation);
        }
        common.frame.config = common.layers.values();
        common.frame.context = None;
        self.session.enter(common.frame);
        if settings.enabled {
            for (sql, place) in settings.pre_hooks.iter().chain(&settings.post_hooks) {
                self.session.render(place, sql)?;
            }
        }
        let frame = self.session.leave();
        if kind == NodeKind::Model(Materialization::Ephemeral) {
            relation = None;
        }
        let enabled = settings.enabled;
        let text = common.text;
        let node = Node {
            id: common.id,
            name: common.name.to_owned(),
            package: common.package.name.clone(),
            kind,
            place: common.place,
            described_at: None,
            fqn: common.fqn,
            relation,
            description: String::new(),
            columns: Vec::new(),
            tags: settings.tags.clone(),
            depends_on: Vec::new(),
            tests: Vec::new(),
            common: settings,
            detail,
            config: frame.config,
            dependencies: frame
                .dependencies
                .into_iter()
                .map(|dependency| with_line(dependency, text))
                .collect(),
            macros: frame.macros.into_iter().collect(),
            targets: Arc::default(),
            model: frame.model,
        };
        Ok(Draft { node, enabled })
    }

    /// The project's `generate_schema_name` and `generate_alias_name`, or dbt's.
    fn place_relation(&self, common: &Common<'_>, settings: &CommonConfig) -> Result<Relation> {
        let node = model_value(&node_value(common, NodeKind::Test, None, settings));
        let root = &self.project.settings.name;
        let named = |name: &str, custom: Option<&String>| -> Result<String> {
            let found = self
                .project
                .catalog
                .get(root, name)
                .or_else(|| self.project.catalog.get(DBT, name));
            let found = found
                .ok_or_else(|| Error::at(ErrorKind::Project, &common.place, format!("no macro `{name}`")))?;
            let custom = custom.map_or_else(|| Value::from(()), |custom| Value::from(custom.clone()));
            let args = [custom, node.clone()];
            Ok(self
                .session
                .call(found, &args, &common.place)?
                .to_string()
                .trim()
                .to_owned())
        };
        self.session.enter(Frame {
            package: common.package.name.clone(),
            file: common.place.file.clone(),
            config: common.layers.values(),
            ..Frame::default()
        });
        Ok(Relation {
            database: settings
                .database
                .clone()
                .unwrap_or_else(|| self.inputs.database.clone()),
            schema: named("generate_schema_name", settings.schema.as_ref())?,
            identifier: named("generate_alias_name", settings.alias.as_ref())?,
        })
    }
}

fn properties_of<'a>(package: &'a Package, file: &SourceFile) -> Option<&'a Properties> {
    let of = match file.kind {
        FileKind::Model => PropertiesOf::Model,
        FileKind::Seed => PropertiesOf::Seed,
        FileKind::Snapshot => PropertiesOf::Snapshot,
        FileKind::Test => PropertiesOf::Test,
    };
    package
        .schema
        .properties
        .iter()
        .find(|properties| properties.of == of && properties.name == file.name)
}

/// What the file's own `config(…)` calls said.
fn captured(frame: &mut Frame, place: &Place) -> RawConfig {
    let mut config = RawConfig::new();
    for (key, value) in frame.captured.drain(..) {
        config.insert(
            key,
            Setting {
                value,
                place: place.clone(),
            },
        );
    }
    config
}

/// The line where the dependency's name is first quoted; 0 if it is not written out in the file.
fn with_line(dependency: Dependency, text: &str) -> (Dependency, usize) {
    let (Dependency::Ref { name, .. } | Dependency::Source { table: name, .. }) = &dependency;
    let quoted = ['\'', '"']
        .iter()
        .filter_map(|quote| text.find(&format!("{quote}{name}{quote}")))
        .min();
    let line = quoted.map_or(0, |at| text[..at].matches('\n').count() + 1);
    (dependency, line)
}

/// The line of the first `config(`, where in-file configuration is looked for.
fn config_line(text: &str) -> usize {
    text.find("config(")
        .map_or(0, |at| text[..at].matches('\n').count() + 1)
}

fn node_value(
    common: &Common<'_>,
    kind: NodeKind,
    relation: Option<&Relation>,
    settings: &CommonConfig,
) -> Json {
    json!({
        "name": common.name,
        "alias": relation.map(|relation| relation.identifier.clone()),
        "schema": relation.map(|relation| relation.schema.clone()),
        "database": relation.map(|relation| relation.database.clone()),
        "unique_id": common.id,
        "resource_type": kind.resource_type(),
        "package_name": common.package.name,
        "original_file_path": common.place.file,
        "path": common.place.file,
        "fqn": common.fqn,
        "tags": settings.tags,
        "version": null,
        "config": common.layers.values(),
    })
}

fn model_value(json: &Json) -> Value {
    Value::from(Serde(json))
}

/// The folders of a schema file below its first folder.
pub(super) fn folders(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file.split('/').skip(1).map(str::to_owned).collect();
    parts.pop();
    parts
}
