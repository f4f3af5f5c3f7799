//! Generic tests: what schema files put on models, seeds, sources and their columns.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::names::{test_hash, test_names};
use super::parse::{Common, Parser, folders};
use super::{Detail, GenericTest, NodeKind, config};
use crate::compile;
use crate::error::{Error, ErrorKind, Result};
use crate::jinja::catalog::{DBT, Macro};
use crate::jinja::session::Frame;
use crate::jinja::values::quote;
use crate::project::Package;
use crate::project::schema::{ColumnProperties, Properties, PropertiesOf, SourceProperties, TestProperties};

/// What a generic test stands under.
struct Under<'a> {
    id: String,
    /// `ref('x')` or `source('a', 'b')`.
    call: String,
    name: String,
    prefix: &'static str,
    /// Tags its tests inherit.
    tags: &'a [String],
}

impl Parser<'_> {
    pub(super) fn property_tests(&mut self, package: &Package, properties: &Properties) -> Result<()> {
        let kind = match properties.of {
            PropertiesOf::Model => "model",
            PropertiesOf::Seed => "seed",
            PropertiesOf::Test => "test",
            PropertiesOf::Snapshot => "snapshot",
        };
        let id = format!("{kind}.{}.{}", package.name, properties.name);
        let Some(draft) = self.drafts.iter().find(|draft| draft.node.id == id) else {
            let message = format!("there is no {kind} `{}` for these properties", properties.name);
            return Err(Error::at(ErrorKind::Graph, &properties.place, message));
        };
        if !draft.enabled {
            return Ok(());
        }
        let under = Under {
            id,
            call: format!("ref('{}')", properties.name),
            name: properties.name.clone(),
            prefix: "",
            tags: &[],
        };
        self.tests(package, &under, &properties.tests, &properties.columns)
    }

    pub(super) fn source_tests(&mut self, package: &Package, source: &SourceProperties) -> Result<()> {
        let under = Under {
            id: format!("source.{}.{}.{}", package.name, source.source, source.table),
            call: format!("source('{}', '{}')", source.source, source.table),
            name: format!("{}_{}", source.source, source.table),
            prefix: "source_",
            tags: &source.tags,
        };
        let enabled = self
            .drafts
            .iter()
            .any(|draft| draft.node.id == under.id && draft.enabled);
        if enabled {
            self.tests(package, &under, &source.tests, &source.columns)
        } else {
            Ok(())
        }
    }

    fn tests(
        &mut self,
        package: &Package,
        under: &Under<'_>,
        tests: &[TestProperties],
        columns: &[ColumnProperties],
    ) -> Result<()> {
        for column in columns {
            for test in &column.tests {
                self.generic(package, under, test, Some(column))?;
            }
        }
        for test in tests {
            self.generic(package, under, test, None)?;
        }
        Ok(())
    }

    fn generic(
        &mut self,
        package: &Package,
        under: &Under<'_>,
        test: &TestProperties,
        column: Option<&ColumnProperties>,
    ) -> Result<()> {
        let arguments = arguments(under, test, column);
        let custom = test.custom_name.clone().map(|name| (name.clone(), name));
        let (alias, full) = custom.unwrap_or_else(|| {
            let namespace = test
                .namespace
                .as_ref()
                .map(|namespace| format!("{namespace}_"))
                .unwrap_or_default();
            let test_type = format!("{namespace}{}{}", under.prefix, test.name);
            test_names(&test_type, &under.name, &arguments)
        });
        let hash = test_hash(&full, &test.name, test.namespace.as_deref(), &arguments);
        let detail = GenericTest {
            found: self.test_macro(package, test)?,
            arguments,
            attached: under.id.clone(),
            column: column.map(|column| column.name.clone()),
            name: test.name.clone(),
            namespace: test.namespace.clone(),
            alias,
        };
        let fqn = [
            vec![package.name.clone()],
            folders(&test.place.file),
            vec![full.clone()],
        ]
        .concat();
        self.session.enter(Frame {
            package: package.name.clone(),
            file: test.place.file.clone(),
            ..Frame::default()
        });
        let mut layers = self.tree_layers(package, &fqn, |of| &of.settings.tests)?;
        layers.add(&self.evaluated(&test.config)?);
        let (mut settings, test_config) = config::test(&layers.0, &test.place)?;
        settings.tags.extend(under.tags.iter().cloned());
        settings
            .tags
            .extend(column.into_iter().flat_map(|column| column.tags.clone()));
        settings.tags.sort();
        settings.tags.dedup();
        self.session
            .enter(self.frame(package, &test.place.file, &full, &layers));
        // dbt's own tests refer to nothing but their arguments.
        if settings.enabled && detail.found.package == DBT {
            compile::test_arguments(self.session, &test.place, &detail)?;
        } else if settings.enabled {
            compile::test_sql(self.session, &test.place, &detail)?;
        }
        let mut frame = self.session.leave();
        frame.macros.insert_before(0, detail.found.id());
        let id = format!("test.{}.{full}.{hash}", package.name);
        let common = Common {
            id,
            package,
            name: &full,
            place: test.place.clone(),
            fqn,
            layers,
            frame,
            text: "",
        };
        let mut draft = self.draft(
            common,
            settings,
            NodeKind::Test,
            Detail::Generic(test_config, detail),
        )?;
        draft.node.description.clone_from(&test.description);
        self.drafts.push(draft);
        Ok(())
    }

    fn test_macro(&self, package: &Package, test: &TestProperties) -> Result<Arc<Macro>> {
        let name = format!("test_{}", test.name);
        let found = match &test.namespace {
            Some(namespace) => self.project.catalog.get(namespace, &name),
            None => self.project.catalog.resolve(&package.name, &name),
        };
        found.cloned().ok_or_else(|| {
            let message = format!(
                "there is no test `{}`; define it with `{{% test {}(…) %}}` in tests/generic",
                test.name, test.name
            );
            Error::at(ErrorKind::Graph, &test.place, message)
        })
    }
}

/// What the test's macro is called with, as written.
fn arguments(
    under: &Under<'_>,
    test: &TestProperties,
    column: Option<&ColumnProperties>,
) -> IndexMap<String, Json> {
    let mut arguments = test.arguments.clone();
    if let Some(column) = column {
        let name = if column.quote {
            quote(&column.name)
        } else {
            column.name.clone()
        };
        arguments.insert("column_name".to_owned(), name.into());
    }
    let model = format!("{{{{ get_where_subquery({}) }}}}", under.call);
    arguments.insert("model".to_owned(), model.into());
    arguments
}
