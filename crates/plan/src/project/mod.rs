//! A dbt project as files → its typed parts, checked as far as no target, var or environment is needed.

pub(crate) mod profile;
pub(crate) mod schema;
pub(crate) mod seed;
pub(crate) mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Environment;

use crate::error::{Error, ErrorKind, Place, Result};
use crate::jinja::catalog::{ADAPTER, Catalog};
use crate::jinja::scan::{self, BlockKind};
use crate::jinja::session::{Session, World, base_environment, translate};
use profile::Profile;
use schema::SchemaFile;
use settings::Settings;

/// What makes a folder a dbt project or package.
const PROJECT_FILE: &str = "dbt_project.yml";

/// A loaded dbt project: pure data, from which any number of plans can be made.
pub struct Project {
    pub(crate) settings: Settings,
    /// The root project first.
    pub(crate) packages: Vec<Package>,
    pub(crate) catalog: Arc<Catalog>,
    /// Every template, parsed.
    pub(crate) env: Environment<'static>,
    /// `{% docs name %}` blocks by name.
    pub(crate) docs: BTreeMap<String, Doc>,
    targets: Vec<Profile>,
    default_target: String,
}

impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Project")
            .field("name", &self.settings.name)
            .finish_non_exhaustive()
    }
}

/// One package: the project itself, or one of its vendored packages.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder in the root project: empty, or `dbt_packages/<name>/`.
    pub(crate) folder: String,
    pub(crate) settings: Settings,
    pub(crate) files: Vec<SourceFile>,
    pub(crate) schema: SchemaFile,
}

/// A `{% docs name %}` block.
#[derive(Debug, Clone)]
pub(crate) struct Doc {
    pub(crate) package: String,
    pub(crate) file: String,
    pub(crate) text: String,
}

/// A file that is a node.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    pub(crate) kind: FileKind,
    /// Path from the root project's folder.
    pub(crate) path: String,
    pub(crate) name: String,
    /// Package, folders below the model path, name.
    pub(crate) fqn: Vec<String>,
    pub(crate) text: String,
    /// All of the file, where `text` is only a part of it.
    pub(crate) whole: Option<String>,
    /// Where `text` begins in the file; 0 if it is all of it.
    pub(crate) line: usize,
    /// Name of the template that renders it.
    pub(crate) template: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Model,
    Seed,
    Test,
    Snapshot,
}

impl Project {
    /// Loads a project from its files (path relative to the project's folder, with `/` → text).
    ///
    /// Everything that needs neither target nor vars is checked here: YAML and its keys, the syntax of every
    /// template, what this runner does not support.
    pub fn load(files: &BTreeMap<String, String>) -> Result<Project> {
        let root = read_settings(files, "")?;
        let mut catalog = Catalog::new(&root.name)?;
        catalog.search_order.clone_from(&root.search_order);
        let mut env = base_environment();
        let mut docs = BTreeMap::new();
        let mut packages = Vec::new();
        for prefix in package_folders(files, &root)? {
            packages.push(load_package(files, &prefix, &mut catalog, &mut env, &mut docs)?);
        }
        check_packages_file(files, packages.len() - 1)?;
        for found in catalog.iter() {
            let added = env.add_template_owned(found.template.clone(), found.source.clone());
            added.map_err(|error| translate(&error, "", None))?;
        }
        let profile = root.profile.clone().unwrap_or_else(|| root.name.clone());
        let (targets, default_target) = match files.get("profiles.yml") {
            Some(text) => profile::parse("profiles.yml", text, &profile)?,
            None => (Vec::new(), "default".to_owned()),
        };
        Ok(Project {
            settings: root,
            packages,
            catalog: Arc::new(catalog),
            env,
            docs,
            targets,
            default_target,
        })
    }

    /// `name:` of dbt_project.yml.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The targets of `profiles.yml` as written; empty without that file.
    pub fn targets(&self) -> &[Profile] {
        &self.targets
    }

    /// The target of that name, or the default one, with its Jinja rendered.
    pub fn target(&self, name: Option<&str>, env: &BTreeMap<String, String>) -> Result<Profile> {
        let place = Place::new("profiles.yml", 0);
        let session = Session::new(
            &self.env,
            Arc::clone(&self.catalog),
            World {
                env: env.clone(),
                ..World::default()
            },
        );
        let name = match name {
            Some(name) => name.to_owned(),
            None => session.evaluate_text(&place, &self.default_target)?.to_string(),
        };
        let Some(target) = self.targets.iter().find(|target| target.name == name) else {
            let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
            return Err(Error::at(
                ErrorKind::Project,
                &place,
                format!("there is no target `{name}`; there are: {}", names.join(", ")),
            ));
        };
        if target.adapter != ADAPTER {
            let message = format!(
                "target `{name}` is for {}; the built-in runner builds {ADAPTER} only",
                target.adapter
            );
            return Err(Error::at(ErrorKind::Unsupported, &place, message));
        }
        Ok(Profile {
            schema: session.evaluate_text(&place, &target.schema)?.to_string(),
            ..target.clone()
        })
    }
}

fn read_settings(files: &BTreeMap<String, String>, prefix: &str) -> Result<Settings> {
    let file = format!("{prefix}{PROJECT_FILE}");
    match files.get(&file) {
        Some(text) => settings::parse(&file, text),
        None => Err(Error::at(
            ErrorKind::Project,
            &Place::new(file, 0),
            "the project's main file is missing",
        )),
    }
}

/// `""` for the root, then `dbt_packages/<name>/` for each vendored package.
fn package_folders(files: &BTreeMap<String, String>, root: &Settings) -> Result<Vec<String>> {
    let mut folders = vec![String::new()];
    let below = format!("{}/", root.packages_path);
    for path in files
        .range(below.clone()..)
        .map(|(path, _)| path)
        .take_while(|path| path.starts_with(&below))
    {
        let Some((folder, rest)) = path[below.len()..].split_once('/') else {
            continue;
        };
        let prefix = format!("{below}{folder}/");
        if rest == PROJECT_FILE {
            folders.push(prefix);
        } else if !files.contains_key(&format!("{prefix}{PROJECT_FILE}")) {
            return Err(Error::at(
                ErrorKind::Project,
                &Place::new(prefix, 0),
                "this package has no dbt_project.yml",
            ));
        }
    }
    Ok(folders)
}

/// dbt refuses a project whose packages.yml and dbt_packages do not go together; so does this.
fn check_packages_file(files: &BTreeMap<String, String>, found: usize) -> Result<()> {
    let listed = ["packages.yml", "dependencies.yml"]
        .into_iter()
        .find_map(|file| Some((file, files.get(file)?)));
    let expected = match listed {
        None => 0,
        Some((file, text)) => {
            let node = crate::yaml::parse(file, text)?;
            let mut fields = crate::yaml::Fields::of(file, "packages.yml", &node)?;
            fields.refuse("projects", "is not supported by the built-in runner")?;
            let packages = fields.list("packages")?.len();
            fields.finish()?;
            packages
        }
    };
    if expected == found {
        return Ok(());
    }
    let message = format!(
        "{expected} packages are listed but {found} are in the packages folder; dbt wants both to agree"
    );
    Err(Error::at(
        ErrorKind::Project,
        &Place::new(listed.map_or("packages.yml", |(file, _)| file), 0),
        message,
    ))
}

fn load_package(
    files: &BTreeMap<String, String>,
    prefix: &str,
    catalog: &mut Catalog,
    env: &mut Environment<'static>,
    docs: &mut BTreeMap<String, Doc>,
) -> Result<Package> {
    let settings = read_settings(files, prefix)?;
    let name = settings.name.clone();
    let packages = format!("{}/", settings.packages_path);
    let mut package = Package {
        name: name.clone(),
        folder: prefix.to_owned(),
        files: Vec::new(),
        schema: SchemaFile::default(),
        settings,
    };
    for (path, text) in files
        .range(prefix.to_owned()..)
        .take_while(|(path, _)| path.starts_with(prefix))
    {
        let inner = &path[prefix.len()..];
        if inner.starts_with(&packages) {
            continue;
        }
        let Some((role, folders)) = role(&package.settings, inner) else {
            continue;
        };
        let extension = inner.rsplit_once('.').map_or("", |(_, extension)| extension);
        match (role, extension) {
            (_, "yml" | "yaml") => {
                let mut schema = schema::parse(path, text)?;
                for properties in &schema.properties {
                    if let Some(relation) = &properties.relation {
                        let file = SourceFile {
                            name: properties.name.clone(),
                            ..source_file(&name, FileKind::Snapshot, path, folders, text)
                        };
                        let sql = format!("select * from {{{{ {relation} }}}}");
                        let line = properties.place.line;
                        add_snapshot(&mut package, env, file, &sql, line)?;
                    }
                }
                package.schema.properties.append(&mut schema.properties);
                package.schema.sources.append(&mut schema.sources);
            }
            (_, "md") => {
                let blocks = scan::blocks(path, text)?
                    .into_iter()
                    .filter(|block| block.kind == BlockKind::Docs);
                docs.extend(blocks.map(|block| {
                    let doc = Doc {
                        package: name.clone(),
                        file: path.clone(),
                        text: block.body.trim().to_owned(),
                    };
                    (block.name, doc)
                }));
            }
            (Role::Macros, "sql") => catalog.add_file(&name, path, text)?,
            (Role::File(FileKind::Snapshot), "sql") => {
                for block in scan::blocks(path, text)? {
                    if block.kind == BlockKind::Snapshot {
                        let mut file = source_file(&name, FileKind::Snapshot, path, folders, text);
                        // The file's own name stays in front of the snapshot's.
                        file.fqn.push(block.name.clone());
                        file.name = block.name;
                        add_snapshot(&mut package, env, file, &block.body, block.line)?;
                    }
                }
            }
            (Role::File(FileKind::Seed), "csv") | (Role::File(FileKind::Model | FileKind::Test), "sql") => {
                let Role::File(kind) = role else { continue };
                package.files.push(source_file(&name, kind, path, folders, text));
                if kind != FileKind::Seed {
                    let added = env.add_template_owned(path.clone(), scan::with_mutable_literals(text));
                    added.map_err(|error| translate(&error, path, None))?;
                }
            }
            (Role::File(FileKind::Model), "py") => {
                return Err(Error::at(
                    ErrorKind::Unsupported,
                    &Place::new(path, 0),
                    "Python models are not supported by the built-in runner",
                ));
            }
            _ => {}
        }
    }
    Ok(package)
}

/// Adds a snapshot whose SQL starts at `line` of its file.
fn add_snapshot(
    package: &mut Package,
    env: &mut Environment<'static>,
    mut file: SourceFile,
    sql: &str,
    line: usize,
) -> Result<()> {
    file.template = scan::template(&file.path, &file.name);
    file.whole = Some(std::mem::replace(&mut file.text, sql.to_owned()));
    file.line = line;
    let template = format!(
        "{}{}",
        "\n".repeat(line.saturating_sub(1)),
        scan::with_mutable_literals(sql)
    );
    env.add_template_owned(file.template.clone(), template)
        .map_err(|error| translate(&error, &file.path, None))?;
    package.files.push(file);
    Ok(())
}

#[derive(Clone, Copy)]
enum Role {
    Macros,
    File(FileKind),
}

/// What a file is by the folder it lies in, and its path below that folder. `tests/generic` holds macros.
fn role<'a>(settings: &Settings, path: &'a str) -> Option<(Role, &'a str)> {
    let under = |folders: &[String]| {
        folders
            .iter()
            .find_map(|folder| path.strip_prefix(folder.as_str())?.strip_prefix('/'))
    };
    if let Some(rest) = under(&settings.test_paths) {
        let generic = rest.starts_with("generic/");
        return Some((
            if generic {
                Role::Macros
            } else {
                Role::File(FileKind::Test)
            },
            rest,
        ));
    }
    under(&settings.macro_paths)
        .map(|rest| (Role::Macros, rest))
        .or_else(|| under(&settings.model_paths).map(|rest| (Role::File(FileKind::Model), rest)))
        .or_else(|| under(&settings.seed_paths).map(|rest| (Role::File(FileKind::Seed), rest)))
        .or_else(|| under(&settings.snapshot_paths).map(|rest| (Role::File(FileKind::Snapshot), rest)))
}

fn source_file(package: &str, kind: FileKind, path: &str, below: &str, text: &str) -> SourceFile {
    let mut fqn: Vec<String> = std::iter::once(package)
        .chain(below.split('/'))
        .map(str::to_owned)
        .collect();
    let name = fqn.pop().unwrap_or_default();
    let name = name
        .rsplit_once('.')
        .map_or(name.as_str(), |(name, _)| name)
        .to_owned();
    fqn.push(name.clone());
    SourceFile {
        kind,
        path: path.to_owned(),
        name,
        fqn,
        text: text.to_owned(),
        whole: None,
        line: 0,
        template: path.to_owned(),
    }
}
