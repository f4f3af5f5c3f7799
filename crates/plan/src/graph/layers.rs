//! The layers of configuration that dbt merges: folders, schema files, the file itself.

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::project::settings::{RawConfig, Setting};

/// Merged configuration, before it is understood: also what templates see as `config.get(…)`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers(pub(crate) RawConfig);

impl Layers {
    /// Lays `over` on top: lists of tags and hooks add up, `meta` merges, anything else replaces.
    pub(crate) fn add(&mut self, over: &RawConfig) {
        for (key, setting) in over {
            let key = match key.as_str() {
                "pre-hook" => "pre_hook",
                "post-hook" => "post_hook",
                other => other,
            };
            self.add_one(key, setting);
        }
    }

    fn add_one(&mut self, key: &str, setting: &Setting) {
        let merged = match (key, self.0.get(key)) {
            ("tags" | "pre_hook" | "post_hook", Some(below)) => {
                let mut all = items(&below.value);
                all.extend(items(&setting.value));
                Json::Array(all)
            }
            (
                "meta" | "column_types",
                Some(Setting {
                    value: Json::Object(below),
                    ..
                }),
            ) => {
                let mut all = below.clone();
                if let Json::Object(over) = &setting.value {
                    all.extend(over.clone());
                }
                Json::Object(all)
            }
            _ => setting.value.clone(),
        };
        self.0.insert(
            key.to_owned(),
            Setting {
                value: merged,
                place: setting.place.clone(),
            },
        );
    }

    pub(crate) fn values(&self) -> IndexMap<String, Json> {
        self.0
            .iter()
            .map(|(key, setting)| (key.clone(), setting.value.clone()))
            .collect()
    }
}

/// One value or a list of values.
pub(crate) fn items(value: &Json) -> Vec<Json> {
    match value {
        Json::Array(items) => items.clone(),
        Json::Null => Vec::new(),
        one => vec![one.clone()],
    }
}
