//! The dbt project to build: the one inside the binary, or the user's own folder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use rust_embed::RustEmbed;

use crate::prices;
use crate::settings::Settings;

/// `analytics/dbt` as it was when the binary was built.
#[derive(RustEmbed)]
#[folder = "../../analytics/dbt/"]
struct EmbeddedProject;

/// The seed that the setting `prices` replaces.
const OWN_PRICES: &str = "seeds/model_prices_override.csv";

/// Files a dbt run leaves behind; they are no part of the project.
const GENERATED: &[&str] = &["target", "logs", ".user.yml", ".git", ".DS_Store"];

/// The project's text files by their path inside it.
pub(crate) fn files(settings: &Settings) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = match &settings.dbt_project_dir {
        Some(folder) => {
            let mut files = BTreeMap::new();
            read_folder(folder, folder, &mut files)?;
            files
        }
        None => embedded(),
    };
    if let Some(path) = &settings.prices {
        let Some(seed) = files.get_mut(OWN_PRICES) else {
            bail!("the dbt project has no {OWN_PRICES}, so that `prices` cannot be used with it");
        };
        *seed = prices::read(path, seed)?;
    }
    Ok(files)
}

fn embedded() -> BTreeMap<String, String> {
    EmbeddedProject::iter()
        .filter(|path| !is_generated(path))
        .filter_map(|path| {
            let file = EmbeddedProject::get(&path)?;
            Some((path.into_owned(), String::from_utf8(file.data.into_owned()).ok()?))
        })
        .collect()
}

fn read_folder(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    let what = || format!("cannot read the dbt project folder {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(what)? {
        let path = entry.with_context(what)?.path();
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .replace('\\', "/");
        if is_generated(&name) {
            continue;
        }
        if path.is_dir() {
            read_folder(root, &path, files)?;
        } else {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {} of the dbt project as text", path.display()))?;
            files.insert(name, text);
        }
    }
    Ok(())
}

fn is_generated(path: &str) -> bool {
    GENERATED.contains(&path.split('/').next().unwrap_or_default())
}
