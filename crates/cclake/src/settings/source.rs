//! Which source, and where its collection is.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use cclake_extract::mongo::{MongoSettings, without_secrets};
use serde::Serialize;

use super::{Given, Key, Origin, Resolver, machine_file, remembered_machine};

/// Where conversations come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    /// Claude Code's files.
    #[default]
    Jsonl,
    /// A collection.
    Mongodb,
}

pub(super) const SOURCES: &[(&str, SourceKind)] =
    &[("jsonl", SourceKind::Jsonl), ("mongodb", SourceKind::Mongodb)];

impl Resolver<'_> {
    pub(super) fn mongo(&mut self) -> anyhow::Result<MongoSettings> {
        let default = |key: Key| move || key.setting().default.to_owned();
        let uri = self.take(Key::MongoUri)?;
        let uri = uri.unwrap_or_else(default(Key::MongoUri));
        self.note(Key::MongoUri, without_secrets(&uri));
        Ok(MongoSettings {
            uri,
            database: self.text(Key::MongoDb, default(Key::MongoDb))?,
            collection: self.text(Key::MongoCollection, default(Key::MongoCollection))?,
            batch_size: u32::try_from(self.number(Key::BatchSize, 500, [1, 1_000_000])?)?,
        })
    }

    pub(super) fn seconds(&mut self, key: Key, least: f64) -> anyhow::Result<Duration> {
        const MOST: f64 = 86_400.0;
        let text = self
            .take(key)?
            .unwrap_or_else(|| key.setting().default.to_owned());
        let seconds = match text.parse() {
            Ok(seconds) if (least..=MOST).contains(&seconds) => seconds,
            _ => bail!(
                "{} is `{text}`: give a number of seconds from {least} to {MOST}",
                self.place(key)
            ),
        };
        self.note(key, &text);
        Ok(Duration::from_secs_f64(seconds))
    }

    /// Whose records these are, as `sync` notes it.
    pub(super) fn user(&mut self) -> anyhow::Result<Option<String>> {
        let login = ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| self.environment.variable(name));
        let login = login.map(str::to_owned);
        let user = self.take(Key::User)?.or(login);
        self.note(Key::User, user.clone().unwrap_or_default());
        Ok(user)
    }

    /// The name given, else the one remembered, so that a host's new name does not make its files those of another.
    pub(super) fn machine(&mut self, data_dir: &Path) -> anyhow::Result<String> {
        let file = machine_file(data_dir);
        if !self.given.contains_key(&Key::Machine)
            && let Some(name) = remembered_machine(&file)
        {
            let given = Given {
                values: vec![name],
                origin: Origin::File(file),
            };
            self.given.insert(Key::Machine, given);
        }
        self.text(Key::Machine, || {
            gethostname::gethostname().to_string_lossy().into_owned()
        })
    }
}
