//! The connection to a collection, and what goes wrong with one, in sentences that name the setting to look at.

use std::time::Duration;

use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use mongodb::{
    Client, Collection, Database,
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    options::{ClientOptions, CollectionOptions, ReadPreference, SelectionCriteria},
};
use tokio::runtime::Runtime;

use super::{
    reader::is_passing,
    secrets::{tells_secrets, without_secrets},
};
use crate::{
    batch::ChangeOrder,
    error::{Context as _, Error, ErrorKind, Result},
};

/// How long to look for a server before saying that there is none.
const PATIENCE: Duration = Duration::from_secs(8);

/// A change's place within its second, and a transaction's within its change, share 64 bits.
const INCREMENT_SHIFT: u32 = 24;

/// Where the conversations are.
#[derive(Clone, PartialEq, Eq)]
pub struct MongoSettings {
    /// `MONGO_URI`. It may hold a password.
    pub uri: String,
    /// `MONGO_DB`.
    pub database: String,
    /// `MONGO_COLLECTION`.
    pub collection: String,
    /// Documents that a cursor asks for at once.
    pub batch_size: u32,
}

impl MongoSettings {
    /// `database.collection`.
    pub fn namespace(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }

    /// The collection and where it is: `hosts/database.collection`, without secrets.
    pub fn place(&self) -> String {
        format!("{}/{}", hosts(&self.uri), self.namespace())
    }
}

impl std::fmt::Debug for MongoSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MongoSettings")
            .field("uri", &without_secrets(&self.uri))
            .field("namespace", &self.namespace())
            .finish_non_exhaustive()
    }
}

/// A collection on a server that answered.
pub struct Source {
    pub(crate) collection: Collection<RawDocumentBuf>,
    pub(crate) database: Database,
    pub(crate) settings: MongoSettings,
    pub(crate) namespace: String,
    /// Last, so that it outlives the connections, which are closed on it.
    pub(crate) runtime: Runtime,
}

/// The server's clock, and where its log of changes was at that moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ServerTime {
    pub(crate) clock: DateTime,
    pub(crate) order: ChangeOrder,
}

impl Source {
    /// Connects, and sees that the collection is there and may be read.
    ///
    /// # Errors
    /// [`ErrorKind::Source`], in one sentence that names the setting.
    pub fn connect(settings: &MongoSettings, threads: usize) -> Result<Self> {
        let source = Self::open(settings, threads)?;
        source
            .runtime
            .block_on(source.check())
            .map_err(|error| failure(&error, settings))??;
        Ok(source)
    }

    /// A collection that nobody has asked for yet: it need not be there.
    pub(crate) fn open(settings: &MongoSettings, threads: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("mongo")
            .enable_all()
            .build()
            .during(ErrorKind::Thread, "starting the threads that talk to MongoDB")?;
        let client = runtime
            .block_on(client(settings))
            .map_err(|error| failure(&error, settings))?;
        let database = client.database(&settings.database);
        Ok(Self {
            collection: database.collection_with_options(&settings.collection, primary()),
            database,
            settings: settings.clone(),
            namespace: settings.namespace(),
            runtime,
        })
    }

    /// `database.collection`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A driver's error in one sentence.
    pub(crate) fn failure(&self, error: &DriverError) -> Error {
        failure(error, &self.settings)
    }

    async fn check(&self) -> Result<Result<()>, DriverError> {
        self.database.run_command(doc! {"ping": 1}).await?;
        // Whether one may read it shows without reading anything.
        self.collection.find_one(doc! {"_id": {"$in": []}}).await?;
        if self.uuid().await.is_some() {
            return Ok(Ok(()));
        }
        // One may be allowed to read it and not to list any.
        let one = self
            .collection
            .find_one(doc! {})
            .projection(doc! {"_id": 1})
            .await?;
        if one.is_some() {
            return Ok(Ok(()));
        }
        let names = self.database.list_collection_names().await.unwrap_or_default();
        Ok(Err(unknown_collection(&self.settings, &names)))
    }

    /// The collection's UUID; none on a server that does not tell.
    pub(crate) async fn uuid(&self) -> Option<String> {
        let filter = doc! {"name": &self.settings.collection};
        let answer = self
            .database
            .run_command(doc! {"listCollections": 1, "filter": filter})
            .await
            .ok()?;
        let cursor = answer.get_document("cursor").ok()?;
        let first = cursor.get_array("firstBatch").ok()?.first()?.as_document()?;
        let info = first.get_document("info").ok()?;
        let Bson::Binary(uuid) = info.get("uuid")? else {
            return None;
        };
        Some(super::json::uuid_text(uuid))
    }

    /// The server's time now.
    pub(crate) async fn time(&self) -> Result<ServerTime, DriverError> {
        let hello = self.database.run_command(doc! {"hello": 1}).await?;
        let clock = hello
            .get_datetime("localTime")
            .copied()
            .unwrap_or_else(|_| DateTime::now());
        let operation = operation_time(&hello);
        let order = match operation {
            Some(time) => change_order(time, 0),
            None => clock_order(clock),
        };
        Ok(ServerTime { clock, order })
    }
}

/// Rows carry the primary's time, which a secondary's documents may be behind.
fn primary() -> CollectionOptions {
    let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
    CollectionOptions::builder().selection_criteria(primary).build()
}

async fn client(settings: &MongoSettings) -> Result<Client, DriverError> {
    let mut options = ClientOptions::parse(&settings.uri).await?;
    options.app_name = options.app_name.or_else(|| Some("cclake".to_owned()));
    let patience = options.server_selection_timeout.unwrap_or(PATIENCE);
    options.server_selection_timeout = Some(patience.min(PATIENCE));
    options.connect_timeout = Some(options.connect_timeout.unwrap_or(PATIENCE).min(PATIENCE));
    Client::with_options(options)
}

fn operation_time(answer: &Document) -> Option<bson::Timestamp> {
    match answer.get("operationTime") {
        Some(Bson::Timestamp(time)) => Some(*time),
        _ => None,
    }
}

/// The place of the `number`th change at `time` (those of a transaction share it).
pub(crate) fn change_order(time: bson::Timestamp, number: u32) -> ChangeOrder {
    ChangeOrder {
        cluster_ts: i64::from(time.time) * 1_000_000,
        sequence: (i64::from(time.increment) << INCREMENT_SHIFT) + i64::from(number),
    }
}

/// The place of what a server without an oplog was asked for at `clock`.
fn clock_order(clock: DateTime) -> ChangeOrder {
    let millis = clock.timestamp_millis();
    ChangeOrder {
        cluster_ts: millis.div_euclid(1000) * 1_000_000,
        sequence: millis.rem_euclid(1000) << INCREMENT_SHIFT,
    }
}

fn unknown_collection(settings: &MongoSettings, names: &[String]) -> Error {
    let message = if names.is_empty() {
        format!(
            "MONGO_DB is `{}`, and there is no such database on the server, or it is empty",
            settings.database
        )
    } else {
        let names: Vec<_> = names.iter().take(10).map(String::as_str).collect();
        format!(
            "MONGO_COLLECTION is `{}`, and the database `{}` has no such collection; it has {}",
            settings.collection,
            settings.database,
            names.join(", ")
        )
    };
    Error::new(ErrorKind::Source, message)
}

/// Server codes: <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>.
const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;

/// A driver's error in one sentence: the driver's own names whole topologies, and would show passwords.
pub(crate) fn failure(error: &DriverError, settings: &MongoSettings) -> Error {
    let hosts = hosts(&settings.uri);
    let detail = detail(error);
    let namespace = settings.namespace();
    let message = match &*error.kind {
        DriverErrorKind::Authentication { .. } => format!(
            "MONGO_URI: {hosts} refuses the user name or the password (or they belong to another `authSource`)"
        ),
        DriverErrorKind::Command(command) if command.code == AUTHENTICATION_FAILED => format!(
            "MONGO_URI: {hosts} refuses the user name or the password (or they belong to another `authSource`)"
        ),
        DriverErrorKind::Command(command) if command.code == UNAUTHORIZED => {
            format!("MONGO_URI: its user may not read {namespace}; grant it the role `read` on that database")
        }
        DriverErrorKind::ServerSelection { .. } | DriverErrorKind::Io(_) if is_tls(&detail) => {
            format!("MONGO_URI: no TLS connection to {hosts}: {detail}")
        }
        DriverErrorKind::ServerSelection { .. } if is_authentication(&detail) => format!(
            "MONGO_URI: {hosts} refuses the user name or the password (or they belong to another `authSource`)"
        ),
        // A server without TLS only falls silent.
        DriverErrorKind::ServerSelection { .. } if wants_tls(&settings.uri) && !is_nobody(&detail) => {
            format!("MONGO_URI: no TLS connection to {hosts}, which the URI asks for: {detail}")
        }
        DriverErrorKind::ServerSelection { .. } => {
            format!("MONGO_URI: no MongoDB server answers at {hosts}: {detail}")
        }
        DriverErrorKind::Io(_) | DriverErrorKind::ConnectionPoolCleared { .. } => format!(
            "MONGO_URI: the connection to {hosts} broke off ({detail}); run it again, and it goes on where it was"
        ),
        DriverErrorKind::InvalidArgument { .. } | DriverErrorKind::DnsResolve { .. }
            if tells_secrets(&detail, &settings.uri) =>
        {
            "MONGO_URI is no connection string that MongoDB knows: in a user name or a password, write %40 for @, %2F for /, \
             %3F for ? and %3A for :, and see \
             https://www.mongodb.com/docs/manual/reference/connection-string-options/ for the options"
                .to_owned()
        }
        DriverErrorKind::InvalidArgument { .. } => {
            format!("MONGO_URI (or MONGO_DB, MONGO_COLLECTION) is not valid: {detail}")
        }
        DriverErrorKind::DnsResolve { .. } => format!("MONGO_URI: {hosts} is not found: {detail}"),
        DriverErrorKind::InvalidTlsConfig { .. } => {
            format!("MONGO_URI: its TLS options are not valid: {detail}")
        }
        _ => format!("MongoDB at {hosts}, reading {namespace}: {detail}"),
    };
    Error::new(kind(error, &detail), message)
}

/// Whether waiting may help.
fn kind(error: &DriverError, detail: &str) -> ErrorKind {
    let is_unknown_host = matches!(&*error.kind, DriverErrorKind::DnsResolve { .. });
    if (is_passing(error) || is_unknown_host) && !is_tls(detail) && !is_authentication(detail) {
        ErrorKind::SourceAway
    } else {
        ErrorKind::Source
    }
}

/// The same while writing.
pub(crate) fn write_failure(error: &DriverError, settings: &MongoSettings) -> Error {
    let namespace = settings.namespace();
    let message = match &*error.kind {
        DriverErrorKind::Command(command) if command.code == UNAUTHORIZED => format!(
            "MONGO_URI: its user may not write {namespace}; grant it the role `readWrite` on that database"
        ),
        DriverErrorKind::InsertMany(failed) => {
            let reason = failed.write_concern_error.as_ref();
            let reason = reason.map_or_else(|| detail(error), |error| error.message.clone());
            format!(
                "MongoDB at {}, writing {namespace}: {reason}",
                hosts(&settings.uri)
            )
        }
        _ => return failure(error, settings),
    };
    // What a server says of a write it could not do for now names no document: the next try may find it well.
    let kind = match &*error.kind {
        DriverErrorKind::InsertMany(_) => ErrorKind::SourceAway,
        _ => ErrorKind::Source,
    };
    Error::new(kind, message)
}

fn wants_tls(uri: &str) -> bool {
    let uri = uri.to_lowercase();
    uri.starts_with("mongodb+srv:") || uri.contains("tls=true") || uri.contains("ssl=true")
}

/// Whether there is no server at all, whatever it would speak.
fn is_nobody(detail: &str) -> bool {
    let detail = detail.to_lowercase();
    ["refused", "lookup", "unreachable"]
        .iter()
        .any(|word| detail.contains(word))
}

fn is_tls(detail: &str) -> bool {
    let detail = detail.to_lowercase();
    ["tls", "certificate", "handshake", "invalidcontenttype"]
        .iter()
        .any(|word| detail.contains(word))
}

fn is_authentication(detail: &str) -> bool {
    let detail = detail.to_lowercase();
    detail.contains("authentication") || detail.contains("scram")
}

/// The innermost reason, without topologies and label sets.
fn detail(error: &DriverError) -> String {
    let message = match &*error.kind {
        DriverErrorKind::Command(command) => format!("{} ({})", command.message, command.code_name),
        DriverErrorKind::ServerSelection { message, .. } => last_reason(message),
        DriverErrorKind::Io(error) => error.to_string(),
        DriverErrorKind::InvalidArgument { message, .. } | DriverErrorKind::DnsResolve { message, .. } => {
            message.clone()
        }
        kind => kind.to_string(),
    };
    message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}

/// Of `… Servers: [ { Address: …, Error: Kind: I/O error: connection refused, labels: {} } ]` the reason.
fn last_reason(message: &str) -> String {
    let reason = message.split("Error: ").nth(1).unwrap_or("it timed out");
    let reason = reason.split(", labels:").next().unwrap_or(reason);
    let reason = reason.trim_start_matches("Kind: ");
    reason.trim_end_matches([' ', '}', ']', ',']).to_owned()
}

/// The hosts of a connection string.
pub(crate) fn hosts(uri: &str) -> String {
    let shown = without_secrets(uri);
    let rest = shown.split_once("://").map_or("", |(_, rest)| rest);
    let rest = rest.split('?').next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
    rest.split('/').next().unwrap_or_default().to_owned()
}
