//! Lines → collection: each becomes a document under its own `_id`, once, however often it is sent.
//!
//! A document is stored whole, else as its line alone, else it is a dead letter. What is there already stays as it is;
//! only where else its line was seen is noted in `sightings`, which is no member of the record.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use arrow_array::{Array as _, RecordBatch, cast::AsArray as _, types::Int64Type};
use bson::{DateTime, Document, RawDocumentBuf, doc};
use mongodb::{
    IndexModel,
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    options::{ReadPreference, SelectionCriteria, WriteConcern},
};

use super::{
    connect::{MongoSettings, Source, write_failure},
    document,
    reader::is_passing_code,
    record::{self, Line, Origin},
};
use crate::{
    dlq::DeadLetter,
    error::{Error, ErrorKind, Result},
    id::RecordId,
};

/// The kind of source, as dead letters name it.
pub(crate) const SOURCE: &str = "sync";

/// What people and tools look documents up by.
const INDEXED: [&str; 3] = ["ingestedAt", "sessionId", "uuid"];

/// Updates, or ids, in one command, at most.
const UPDATES: usize = 1000;

/// Server codes: <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>.
const DUPLICATE_KEY: i32 = 11000;
/// Somebody made an index on the field with a name or options of their own.
const OTHER_INDEX: [i32; 2] = [85, 86];

/// The collection that lines go to, on a server that answered.
pub struct Target {
    source: Source,
    uuid: Option<String>,
}

/// Lines as [`extract`](crate::extract()) hands them over, and what their documents say beside them.
#[derive(Debug)]
pub struct Lines<'a> {
    /// Rows of whole lines.
    pub batches: &'a [RecordBatch],
    /// Folders below which each project has a folder of its own.
    pub roots: &'a [PathBuf],
    /// Name of the machine the files are on.
    pub machine: &'a str,
    /// Name of the user.
    pub user: Option<&'a str>,
    /// Microseconds since 1970 UTC.
    pub now_us: i64,
}

/// What became of lines. `lines = inserted + already_there + refused`, always.
#[derive(Debug, Default)]
pub struct Stored {
    /// Documents that were not there.
    pub inserted: u64,
    /// Lines whose document was there already.
    pub already_there: u64,
    /// Places noted in documents that were there already.
    pub sightings: u64,
    /// Lines that MongoDB cannot hold.
    pub refused: Vec<DeadLetter>,
}

impl Target {
    /// Connects, and makes the collection and its indexes where they are missing.
    ///
    /// # Errors
    /// [`ErrorKind::SourceAway`] when it may help to wait, else [`ErrorKind::Source`], in one sentence that names the
    /// setting.
    pub fn connect(settings: &MongoSettings) -> Result<Self> {
        let source = Source::open(settings, 1)?;
        source
            .runtime
            .block_on(make_indexes(&source))
            .map_err(|error| write_failure(&error, settings))?;
        let uuid = source.runtime.block_on(source.uuid());
        Ok(Self { source, uuid })
    }

    /// Of which collection positions hold: another one, under whatever name, has nothing of what this one has.
    pub fn stamp(&self) -> Option<&str> {
        self.uuid.as_deref()
    }

    /// Whether the collection is the one that was connected to.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn is_same(&self) -> Result<bool> {
        let runtime = &self.source.runtime;
        runtime
            .block_on(async {
                self.source.database.run_command(doc! {"ping": 1}).await?;
                Ok(self.source.uuid().await == self.uuid)
            })
            .map_err(|error| self.failure(&error))
    }

    /// The file name under which the positions of this server's collection are kept.
    pub fn file_name(settings: &MongoSettings) -> String {
        let (namespace, place) = (settings.namespace(), settings.place());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let readable: String = namespace.chars().filter(|c| is_plain(*c)).take(80).collect();
        format!("{readable}-{}.json", RecordId::of_line(place.as_bytes()))
    }

    /// Stores lines, acknowledged by a majority of the servers when this returns.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect); some of them may be stored, and may be sent again.
    pub fn store(&self, lines: &Lines<'_>) -> Result<Stored> {
        let origin = Origin {
            machine: lines.machine.to_owned(),
            user: lines.user.map(str::to_owned),
            ingested_at: DateTime::from_millis(lines.now_us / 1000),
        };
        let lines = lines_of(lines)?;
        let storing = Storing {
            source: &self.source,
            lines: &lines,
            origin: &origin,
            stored: Stored::default(),
        };
        let stored = self.source.runtime.block_on(storing.run());
        stored.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &DriverError) -> Error {
        write_failure(error, &self.source.settings)
    }
}

/// A line that is no record, or no document, as a letter of this queue: the same line may lie there for the lake, or for
/// another collection, too.
pub fn dead_letter(place: &str, file: &str, offset: u64, reason: String, bytes: &[u8]) -> DeadLetter {
    DeadLetter {
        id: letter_id(place, file, offset, bytes),
        ..DeadLetter::new(SOURCE, file, offset, reason, bytes)
    }
}

/// Of a letter that the collection at this [place](MongoSettings::place) waits for; tells whose it is.
pub(crate) fn letter_id(place: &str, file: &str, offset: u64, bytes: &[u8]) -> RecordId {
    RecordId::of_dead_letter(&format!("{place}\n{file}"), offset, bytes)
}

async fn make_indexes(source: &Source) -> Result<(), DriverError> {
    for field in INDEXED {
        let index = IndexModel::builder().keys(doc! {field: 1}).build();
        match source.collection.create_index(index).await {
            Ok(_) => {}
            Err(error) if matches!(&*error.kind, DriverErrorKind::Command(command) if OTHER_INDEX.contains(&command.code)) =>
                {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn lines_of<'a>(lines: &Lines<'a>) -> Result<Vec<Line<'a>>> {
    let mut found = Vec::new();
    for batch in lines.batches {
        let text = |name: &str| {
            batch
                .column_by_name(name)
                .and_then(|column| column.as_string_opt::<i32>())
        };
        let offsets = batch.column_by_name("source_offset");
        let offsets = offsets.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let columns = (text("_id"), text("_raw_json"), text("source_file"), offsets);
        let (Some(ids), Some(texts), Some(files), Some(offsets)) = columns else {
            return Err(Error::new(
                ErrorKind::Format,
                "a batch lacks its lines; please report this",
            ));
        };
        for row in 0..ids.len() {
            let id = ids.value(row).parse();
            found.push(Line {
                id: id.map_err(|error| Error::new(ErrorKind::Format, error))?,
                text: texts.value(row),
                file: files.value(row),
                offset: offsets.value(row),
                project: project_of(files.value(row), lines.roots),
            });
        }
    }
    Ok(found)
}

/// The folder that Claude Code named after the project: the first below a root, else the file's own.
fn project_of<'a>(file: &'a str, roots: &[PathBuf]) -> &'a str {
    let path = Path::new(file);
    let below = roots.iter().find_map(|root| path.strip_prefix(root).ok());
    let first = below.and_then(|below| below.parent()?.iter().next());
    let own = || path.parent()?.file_name();
    first
        .or_else(own)
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// Lines on their way.
struct Storing<'a> {
    source: &'a Source,
    lines: &'a [Line<'a>],
    origin: &'a Origin,
    stored: Stored,
}

/// How a document is made of a line.
type Make = fn(Line<'_>, &Origin) -> Option<RawDocumentBuf>;

impl Storing<'_> {
    async fn run(mut self) -> Result<Stored, DriverError> {
        let all = (0..self.lines.len()).map(|line| (line, String::new())).collect();
        let left = self.insert(all, record::whole).await?;
        let left = self.insert(left, record::bare).await?;
        let place = self.source.settings.place();
        let letters = left.into_iter().filter_map(|(line, reason)| {
            let Line {
                text, file, offset, ..
            } = self.lines.get(line)?;
            let offset = u64::try_from(*offset).unwrap_or_default();
            let reason = if reason.is_empty() {
                TOO_LARGE.to_owned()
            } else {
                reason
            };
            Some(dead_letter(&place, file, offset, reason, text.as_bytes()))
        });
        self.stored.refused = letters.collect();
        Ok(self.stored)
    }

    /// Inserts what can be made and is not there; what is left, with the server's reason if it has one.
    async fn insert(
        &mut self,
        lines: Vec<(usize, String)>,
        make: Make,
    ) -> Result<Vec<(usize, String)>, DriverError> {
        let (mut sent, mut documents, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (line, reason) in lines {
            match self.lines.get(line).and_then(|line| make(*line, self.origin)) {
                Some(document) => {
                    sent.push(line);
                    documents.push(document);
                }
                None => left.push((line, reason)),
            }
        }
        if documents.is_empty() {
            return Ok(left);
        }
        let refused = self.send(&documents).await?;
        self.stored.inserted += (documents.len() - refused.len()) as u64;
        let mut doubled = Vec::new();
        for (index, code, message) in refused {
            let Some(line) = sent.get(index) else { continue };
            if code == DUPLICATE_KEY {
                doubled.push((*line, message));
            } else {
                left.push((*line, message));
            }
        }
        left.extend(self.see_again(doubled).await?);
        Ok(left)
    }

    /// Sends documents; which of them the server refused, with code and message.
    async fn send(&self, documents: &[RawDocumentBuf]) -> Result<Vec<(usize, i32, String)>, DriverError> {
        let insert = self.source.collection.insert_many(documents).ordered(false);
        let Err(error) = insert.write_concern(WriteConcern::majority()).await else {
            return Ok(Vec::new());
        };
        let DriverErrorKind::InsertMany(failed) = &*error.kind else {
            return Err(error);
        };
        let refused = failed.write_errors.as_deref().unwrap_or_default();
        if failed.write_concern_error.is_some()
            || refused.is_empty()
            || refused.iter().any(|error| is_passing_code(error.code))
        {
            return Err(error);
        }
        let refused = refused
            .iter()
            .map(|error| (error.index, error.code, error.message.clone()));
        Ok(refused.collect())
    }

    /// Notes where lines were seen whose documents are there already; those that are not there, since another unique
    /// index than that of `_id` refuses them.
    async fn see_again(
        &mut self,
        doubled: Vec<(usize, String)>,
    ) -> Result<Vec<(usize, String)>, DriverError> {
        if doubled.is_empty() {
            return Ok(Vec::new());
        }
        let places = self.places(&doubled).await?;
        let (mut updates, mut left) = (Vec::new(), Vec::new());
        for (index, message) in doubled {
            let Some(line) = self.lines.get(index) else {
                continue;
            };
            let id = line.id.to_string();
            let Some(known) = places.get(&id) else {
                left.push((index, message));
                continue;
            };
            self.stored.already_there += 1;
            let place = (self.origin.machine.clone(), line.file.to_owned(), line.offset);
            if !known.contains(&place) {
                let (machine, file, offset) = place;
                let sighting = doc! {"machine": machine, "sourceFile": file, "sourceOffset": offset};
                // Its time too, or whoever reads what is new would not see it.
                let update = doc! {"$addToSet": {"sightings": sighting}, "$max": {"ingestedAt": self.origin.ingested_at}};
                updates.push(doc! {"q": {"_id": id}, "u": update});
            }
        }
        for updates in updates.chunks(UPDATES) {
            self.stored.sightings += self.update(updates).await?;
        }
        Ok(left)
    }

    /// Where the documents of these lines say that they were seen.
    async fn places(
        &self,
        lines: &[(usize, String)],
    ) -> Result<HashMap<String, HashSet<Place>>, DriverError> {
        let ids = lines.iter().filter_map(|(line, _)| self.lines.get(*line));
        let ids: Vec<String> = ids.map(|line| line.id.to_string()).collect();
        let mut places = HashMap::new();
        for ids in ids.chunks(UPDATES) {
            self.places_of(ids, &mut places).await?;
        }
        Ok(places)
    }

    async fn places_of(
        &self,
        ids: &[String],
        places: &mut HashMap<String, HashSet<Place>>,
    ) -> Result<(), DriverError> {
        let mut cursor = self
            .source
            .collection
            .find(doc! {"_id": {"$in": ids}})
            .projection(doc! {"machine": 1, "sourceFile": 1, "sourceOffset": 1, "sightings": 1})
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .await?;
        while cursor.advance().await? {
            let document = cursor.current();
            if let Ok(id) = document.get_str("_id") {
                let sightings = document.get_array("sightings").ok();
                let sightings = sightings
                    .into_iter()
                    .flatten()
                    .filter_map(|value| value.ok()?.as_document());
                let seen = [document].into_iter().chain(sightings).filter_map(place_of);
                places.insert(id.to_owned(), seen.collect());
            }
        }
        Ok(())
    }

    /// How many the server took.
    async fn update(&self, updates: &[Document]) -> Result<u64, DriverError> {
        let command = doc! {
            "update": &self.source.settings.collection, "updates": updates, "ordered": false,
            "writeConcern": {"w": "majority"},
        };
        let answer = self.source.database.run_command(command).await?;
        // A document too full for one sighting more keeps those it has.
        let errors = answer
            .get_array("writeErrors")
            .map(Vec::as_slice)
            .unwrap_or_default();
        let code = |error: &bson::Bson| error.as_document().and_then(|error| error.get_i32("code").ok());
        let is_passing = errors.iter().filter_map(code).any(is_passing_code);
        if is_passing || answer.contains_key("writeConcernError") {
            return Err(DriverError::from(std::io::Error::other(
                "the server could not note sightings",
            )));
        }
        Ok(updates.len().saturating_sub(errors.len()) as u64)
    }
}

/// Machine, file and offset.
type Place = (String, String, i64);

fn place_of(document: &bson::RawDocument) -> Option<Place> {
    let text = |key: &str| document.get_str(key).ok().map(str::to_owned);
    let offset = document::integer(document.get("sourceOffset").ok()??)?;
    Some((text("machine")?, text("sourceFile")?, offset))
}

const TOO_LARGE: &str = "larger than the 16 MB that MongoDB takes as one document";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_the_folder_below_the_root() {
        let roots = [PathBuf::from("/home/ada/.claude/projects"), "/old".into()];
        for (file, expected) in [
            ("/home/ada/.claude/projects/-shop/s.jsonl", "-shop"),
            ("/home/ada/.claude/projects/-shop/s/subagents/a.jsonl", "-shop"),
            ("/home/ada/.claude/projects/s.jsonl", "projects"),
            ("/old/-x/s.jsonl", "-x"),
            ("/linked/-y/s.jsonl", "-y"),
            ("/s.jsonl", ""),
        ] {
            assert_eq!(project_of(file, &roots), expected, "{file}");
        }
    }

    #[test]
    fn each_collection_of_each_server_has_positions_of_its_own() {
        let name = |uri: &str, collection: &str| {
            Target::file_name(&MongoSettings {
                uri: uri.into(),
                database: "d".into(),
                collection: collection.into(),
                batch_size: 1,
            })
        };
        let names = [
            name("mongodb://a:1", "c/..\\x"),
            name("mongodb://b:1", "c/..\\x"),
            name("mongodb://a:1", "c..x"),
        ];
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3, "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("d.c..x-")), "{names:?}");
        // A new password is no new server.
        assert_eq!(
            name("mongodb://u:p@a:1/?x=1", "c"),
            name("mongodb://u:q@a:1", "c")
        );
    }
}
