//! The dbt project to build: the one inside the binary, or the user's own folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// Folders a dbt run leaves in the project's own; they are no part of it. `dbt_packages` is.
const GENERATED: &[&str] = &["target", "logs"];

/// Extensions of the files that are read; pictures and programs lie in a project's folder too.
const TEXTS: &[&str] = &["sql", "yml", "yaml", "csv", "md"];

/// The project's text files by their path inside it.
pub(crate) fn files(settings: &Settings) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = match &settings.dbt_project_dir {
        Some(folder) => {
            let mut files = BTreeMap::new();
            read_folder(folder, folder, &[], &mut files)?;
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
        .filter(|path| has_extension(Path::new(path.as_ref()), TEXTS) && !is_foreign(path))
        .filter_map(|path| {
            let file = EmbeddedProject::get(&path)?;
            Some((path.into_owned(), String::from_utf8(file.data.into_owned()).ok()?))
        })
        .collect()
}

/// Reads the folder behind `within`, the real paths of the folders that lead to it: a link to one of them leads nowhere new.
fn read_folder(
    root: &Path,
    folder: &Path,
    within: &[PathBuf],
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let what = || format!("cannot read the dbt project folder {}", folder.display());
    let real = folder.canonicalize().with_context(what)?;
    if within.contains(&real) {
        return Ok(());
    }
    let within = [within, &[real]].concat();
    for entry in std::fs::read_dir(folder).with_context(what)? {
        let path = entry.with_context(what)?.path();
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .replace('\\', "/");
        if is_foreign(&name) {
            continue;
        }
        if path.is_dir() {
            read_folder(root, &path, &within, files)?;
        } else if has_extension(&path, TEXTS) {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {} of the dbt project as text", path.display()))?;
            files.insert(name, text);
        } else if has_extension(&path, &["py"]) {
            // A model in Python is refused by its name.
            files.insert(name, String::new());
        }
    }
    Ok(())
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extensions.contains(&extension))
}

/// What dbt or other tools keep beside the project's own files.
fn is_foreign(path: &str) -> bool {
    let mut parts = path.split('/');
    parts
        .clone()
        .any(|part| part.starts_with('.') || part == "node_modules")
        || parts.next().is_some_and(|part| GENERATED.contains(&part))
}
