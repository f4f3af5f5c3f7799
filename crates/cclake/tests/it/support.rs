//! A scene: an empty home, a folder of transcripts and a data directory, with the real executable to run in it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A test's own world; gone when dropped.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
    logs: PathBuf,
}

/// What a command said and how it ended.
pub(crate) struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Scene {
    /// An empty home with an empty folder of transcripts.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("home/.claude/projects");
        std::fs::create_dir_all(&logs).unwrap();
        Self { folder, logs }
    }

    /// A scene whose transcripts lie elsewhere and are only read.
    pub(crate) fn reading(logs: &Path) -> Self {
        Self {
            logs: logs.to_owned(),
            ..Self::new()
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// One of the lake's data files.
    pub(crate) fn data_file(&self) -> PathBuf {
        let mut found = self.data().join("iceberg/analytics/conversations/data");
        while found.is_dir() {
            let mut entries = std::fs::read_dir(&found).unwrap();
            found = entries.next().unwrap().unwrap().path();
        }
        found
    }

    /// Writes a transcript.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.logs.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Appends to a transcript.
    pub(crate) fn append(&self, name: &str, contents: impl AsRef<[u8]>) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.logs.join(name))
            .unwrap();
        file.write_all(contents.as_ref()).unwrap();
    }

    /// The executable in this scene's environment and nothing else.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_cclake"), args)
    }

    /// Another program in this scene's environment.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CCLAKE_DATA_DIR", self.data())
            .env("CCLAKE_PATHS", &self.logs)
            .env("CCLAKE_TIME_ZONE", "UTC")
            .env("CCLAKE_MACHINE", "laptop")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn try_run(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args))
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let ran = self.try_run(args);
        assert_eq!(ran.status, 0, "{args:?} failed\n{}\n{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs a command with `--json`; what it printed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.run(&[args, &["--json"]].concat());
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{args:?} printed no JSON: {error}\n{text}"))
    }

    /// The rows of a query as objects.
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        let rows = self.json(&["query", sql]);
        rows.as_array().unwrap().clone()
    }

    /// The rows of a query as `a|b|c` lines.
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        self.query(sql).iter().map(row_text).collect()
    }

    /// The one number a query gives.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let row = self.query(sql);
        let value = row[0].as_object().unwrap().values().next().unwrap();
        value
            .as_i64()
            .or_else(|| value.as_str()?.parse().ok())
            .unwrap_or_else(|| panic!("{sql} gave {value}"))
    }
}

pub(crate) fn finish(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn row_text(row: &Value) -> String {
    let mut text = String::new();
    for (index, value) in row.as_object().unwrap().values().enumerate() {
        let separator = if index == 0 { "" } else { "|" };
        match value {
            Value::String(value) => write!(text, "{separator}{value}").unwrap(),
            Value::Null => write!(text, "{separator}-").unwrap(),
            value => write!(text, "{separator}{value}").unwrap(),
        }
    }
    text
}

/// The real transcripts beside the repository; says so when they are not there.
pub(crate) fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    match folder.canonicalize() {
        Ok(folder) if folder.join("manifest.json").is_file() => Some(folder),
        _ => {
            println!("NOT RUN on real transcripts: there is no {}", folder.display());
            None
        }
    }
}

/// A command of ours that serves HTTP and says where on its first line; ended when dropped.
pub(crate) struct Listening {
    pub child: Child,
    pub address: String,
}

impl Listening {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let line = first_line(&mut child);
        let address = line
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next());
        let address = address
            .unwrap_or_else(|| panic!("no address in {line:?}"))
            .to_owned();
        Self { child, address }
    }

    /// The answer as it comes.
    pub(crate) fn ask(&self, method: &str, path: &str, host: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program says first.
pub(crate) fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let said = child.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// The most memory that a process has taken so far, in kB; 0 where it ended, or the system does not say.
pub(crate) fn peak_memory_kb(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| {
        let kilobytes = line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?;
        kilobytes.parse().ok()
    });
    peak.unwrap_or(0)
}

/// Copies a folder with all that is in it, but for what a dbt run leaves behind.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() && name != "logs" && name != "target" {
            copy(&path, &to.join(name));
        } else if path.is_file() {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Every file below a folder, in order.
pub(crate) fn transcripts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(transcripts(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The dbt project as it stands in the repository.
pub(crate) fn dbt_project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../analytics/dbt")
}

/// A user's prompt as Claude Code writes it.
pub(crate) fn prompt(session: &str, uuid: &str, second: u32, text: &str) -> String {
    format!(
        r#"{{"parentUuid":null,"isSidechain":false,"userType":"external","cwd":"/home/ada/shop","sessionId":"{session}","version":"2.1.40","gitBranch":"main","type":"user","message":{{"role":"user","content":"{text}"}},"uuid":"{uuid}","timestamp":"2026-02-03T10:00:{second:02}.000Z"}}"#
    )
}

/// One line of an assistant's response.
pub(crate) fn response(session: &str, uuid: &str, second: u32, message: &str, output_tokens: u32) -> String {
    format!(
        r#"{{"parentUuid":null,"isSidechain":false,"userType":"external","cwd":"/home/ada/shop","sessionId":"{session}","version":"2.1.40","gitBranch":"main","type":"assistant","message":{{"id":"{message}","type":"message","role":"assistant","model":"claude-opus-4-6","content":[{{"type":"text","text":"done"}}],"stop_reason":"end_turn","usage":{{"input_tokens":3,"output_tokens":{output_tokens},"cache_creation_input_tokens":10,"cache_read_input_tokens":100,"cache_creation":{{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":0}}}}}},"requestId":"req_{message}","uuid":"{uuid}","timestamp":"2026-02-03T10:00:{second:02}.000Z"}}"#
    )
}

/// Columns that say when and by whom, not what.
pub(crate) const TRACE: &str = "_synced_at, _run_id";
/// Columns that number loads; equal only when the data came in the same portions.
pub(crate) const LOAD_ORDER: &str = "_load_seq, _version, version, last_load";

/// Every table's name, row count and hash of all rows, without the `ignored` columns.
pub(crate) fn tables(scene: &Scene, ignored: &[&str]) -> Vec<String> {
    let ignored: Vec<_> = ignored.iter().flat_map(|list| list.split(", ")).collect();
    let tables = scene.query(
        "select schema_name || '.' || table_name as name,
                (select list(column_name order by column_index) from duckdb_columns() c
                 where c.schema_name = t.schema_name and c.table_name = t.table_name) as columns
         from duckdb_tables() t
         where schema_name in ('raw', 'staging', 'intermediate', 'marts') and table_name <> 'loads' order by 1",
    );
    assert!(tables.len() > 10, "{tables:?}");
    let hashes = tables.iter().map(|table| {
        let name = table["name"].as_str().unwrap();
        let columns = table["columns"].as_array().unwrap().iter().map(|column| column.as_str().unwrap());
        let columns: Vec<_> = columns.filter(|column| !ignored.contains(column)).collect();
        format!(
            "select '{name}' as name, count(*) as n, coalesce(sum(hash(r)::hugeint), 0)::varchar as hash from (select {} from {name}) r",
            columns.join(", ")
        )
    });
    scene.lines(&(hashes.collect::<Vec<_>>().join(" union all ") + " order by name"))
}
