#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]
use arrow_array::*;
use arrow_schema::*;
use cclake_lake::*;
use std::sync::Arc;
use std::time::Instant;
const TEXT: &[&str] = &[
    "type",
    "project_path",
    "session_id",
    "message",
    "tool_use",
    "tool_use_result",
    "data",
    "uuid",
    "parent_uuid",
    "logical_parent_uuid",
    "leaf_uuid",
    "subtype",
    "user_type",
    "version",
    "git_branch",
    "agent_id",
    "slug",
    "entrypoint",
    "permission_mode",
    "prompt_id",
    "origin",
    "request_id",
    "source_tool_assistant_uuid",
    "source_tool_use_id",
    "tool_use_id",
    "parent_tool_use_id",
    "summary",
    "content",
    "level",
    "_parse_error",
];
const KEYS: &[&str] = &[
    "type",
    "cwd",
    "sessionId",
    "message",
    "tool_use",
    "toolUseResult",
    "data",
    "uuid",
    "parentUuid",
    "logicalParentUuid",
    "leafUuid",
    "subtype",
    "userType",
    "version",
    "gitBranch",
    "agentId",
    "slug",
    "entrypoint",
    "permissionMode",
    "promptId",
    "origin",
    "requestId",
    "sourceToolAssistantUuid",
    "sourceToolUseId",
    "toolUseID",
    "parentToolUseID",
    "summary",
    "content",
    "level",
    "_x",
];
fn ts(s: &str) -> Option<i64> {
    // 2025-10-01T12:34:56.789Z
    let n = |a: usize, b: usize| s.get(a..b)?.parse::<i64>().ok();
    let (y, m, d) = (n(0, 4)?, n(5, 7)?, n(8, 10)?);
    let (yy, mm) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let era = yy / 400;
    let yoe = yy - era * 400;
    let doy = (153 * mm + 2) / 5 + d - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    let days = era * 146097 + doe - 719468;
    Some(
        ((days * 24 + n(11, 13)?) * 60 + n(14, 16)?) * 60_000_000
            + n(17, 19)? * 1_000_000
            + n(20, 23).unwrap_or(0) * 1000,
    )
}
fn schema() -> Arc<Schema> {
    let t = || DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let mut f = vec![
        Field::new("_id", DataType::Utf8, false),
        Field::new("timestamp", t(), true),
    ];
    for n in TEXT {
        f.push(Field::new(*n, DataType::Utf8, true));
    }
    for n in ["is_sidechain", "is_meta"] {
        f.push(Field::new(n, DataType::Boolean, true));
    }
    for n in ["source", "source_file"] {
        f.push(Field::new(n, DataType::Utf8, false));
    }
    f.push(Field::new("source_offset", DataType::Int64, false));
    for n in ["machine", "_op", "_run_id"] {
        f.push(Field::new(n, DataType::Utf8, false));
    }
    f.push(Field::new("_synced_at", t(), false));
    f.push(Field::new("_cluster_ts", t(), true));
    f.push(Field::new("_seq", DataType::Int64, true));
    f.push(Field::new("_raw_json", DataType::Utf8, false));
    Arc::new(Schema::new(f))
}
fn walk(p: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
    for e in std::fs::read_dir(p).unwrap() {
        let p = e.unwrap().path();
        if p.is_dir() {
            walk(&p, out)
        } else if p.extension().is_some_and(|e| e == "jsonl") {
            out.push(p)
        }
    }
}
fn batch(file: &str, lines: &[(usize, &str)]) -> RecordBatch {
    let vals: Vec<serde_json::Value> = lines
        .iter()
        .map(|l| serde_json::from_str(l.1).unwrap_or_default())
        .collect();
    let mut c: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            lines
                .iter()
                .map(|l| format!("{:016x}{:016x}", fx(l.1), l.1.len())),
        )),
        Arc::new(
            TimestampMicrosecondArray::from_iter(vals.iter().map(|v| v["timestamp"].as_str().and_then(ts)))
                .with_timezone("+00:00"),
        ),
    ];
    for k in KEYS {
        c.push(Arc::new(StringArray::from_iter(vals.iter().map(|v| {
            match &v[*k] {
                serde_json::Value::Null => None,
                serde_json::Value::String(s) if *k != "message" && *k != "toolUseResult" => Some(s.clone()),
                o => Some(o.to_string()),
            }
        }))));
    }
    for k in ["isSidechain", "isMeta"] {
        c.push(Arc::new(BooleanArray::from_iter(
            vals.iter().map(|v| v[k].as_bool()),
        )));
    }
    let n = lines.len();
    let rep = |s: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(s, n))) };
    c.push(rep("jsonl"));
    c.push(rep(file));
    c.push(Arc::new(Int64Array::from_iter_values(
        lines.iter().map(|l| l.0 as i64),
    )));
    c.push(rep("vm"));
    c.push(rep("upsert"));
    c.push(rep("run-1"));
    c.push(Arc::new(
        TimestampMicrosecondArray::from(vec![1_790_000_000_000_000; n]).with_timezone("+00:00"),
    ));
    c.push(Arc::new(
        TimestampMicrosecondArray::from_iter((0..n).map(|_| None)).with_timezone("+00:00"),
    ));
    c.push(Arc::new(Int64Array::from_iter((0..n).map(|_| None::<i64>))));
    c.push(Arc::new(StringArray::from_iter_values(lines.iter().map(|l| l.1))));
    RecordBatch::try_new(schema(), c).unwrap()
}
fn fx(s: &str) -> u64 {
    s.bytes().fold(0xcbf29ce484222325, |h, b| {
        (h ^ b as u64).wrapping_mul(0x100000001b3)
    })
}
fn hwm() -> String {
    std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"))
        .map(|l| l.split_whitespace().skip(1).collect::<String>())
        .collect::<Vec<_>>()
        .join("/")
}
fn cpu() -> u64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<u64>().unwrap() + f[12].parse::<u64>().unwrap()) * 10
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut files = vec![];
    walk(a[1].as_ref(), &mut files);
    files.sort();
    let rows_max: usize = a.get(3).map_or(100_000, |s| s.parse().unwrap());
    let mut batches = vec![];
    for f in &files {
        let t = std::fs::read_to_string(f).unwrap();
        let mut off = 0;
        let mut lines = vec![];
        for l in t.split_inclusive('\n') {
            let e = l.trim_end_matches('\n');
            if !e.is_empty() {
                lines.push((off, e));
            }
            off += l.len();
        }
        for c in lines.chunks(rows_max) {
            batches.push(batch(f.to_str().unwrap(), c));
        }
    }
    if let Ok(d)=std::env::var("DAYS"){let d:i64=d.parse().unwrap(); let mut i=0i64; for b in &mut batches{let mut c=b.columns().to_vec(); c[1]=Arc::new(TimestampMicrosecondArray::from_iter_values((0..b.num_rows()).map(|_|{i+=1;(i%d+15000)*86_400_000_000+i})).with_timezone("+00:00")); *b=RecordBatch::try_new(b.schema(),c).unwrap();}}
  let n: usize = batches.iter().map(|b| b.num_rows()).sum();
    println!("rows {n} batches {} rss {}", batches.len(), hwm());
    let mut s=LakeSettings::new(&a[2]); match std::env::var("PB").as_deref(){Ok("none")=>s.partition_by=PartitionBy::None,Ok("month")=>s.partition_by=PartitionBy::Month,_=>{}}
    let t = Instant::now();
    let mut lake = match Lake::open(&s, &schema()) {
        Ok(l) => l,
        Err(e) => {
            println!("OPEN ERR {:?} {e}", e.kind());
            std::process::exit(2)
        }
    };
    println!("open {:?}", t.elapsed());
    let c0 = cpu();
    let t = Instant::now();
    let r = lake.append(
        batches,
        &Commit {
            commit_id: format!("c{}", lake.head().map_or(0, |h| h.sequence_number)),
            ..Default::default()
        },
    );
    println!(
        "append {:?} cpu {} ms rss {} -> {}",
        t.elapsed(),
        cpu() - c0,
        hwm(),
        match &r {
            Ok(h) => format!("{h:?}"),
            Err(e) => format!("ERR {:?} {e} || {e:?}", e.kind()),
        }
    );
    let t = Instant::now();
    lake.append(
        vec![],
        &Commit {
            commit_id: "none".into(),
            ..Default::default()
        },
    )
    .unwrap();
    println!("empty append {:?}", t.elapsed());
    let t = Instant::now();
    let f = lake.files_since(0).unwrap();
    println!("files {} in {:?}", f.len(), t.elapsed());
    let t = Instant::now();
    let mut k = 0;
    lake.scan_columns(&["source_file", "source_offset", "_id", "machine"], &mut |b| {
        k += b.num_rows();
        Ok::<_, Error>(())
    })
    .unwrap();
    println!("scan positions {k} rows {:?}", t.elapsed());
    let t = Instant::now();
    let (mut k, mut m) = (0, 0);
    lake.read(&f, None, &mut |b| {
        k += b.num_rows();
        m = m.max(b.get_array_memory_size());
        Ok::<_, Error>(())
    })
    .unwrap();
    println!(
        "read all {k} rows {:?} largest batch {m} rss {}",
        t.elapsed(),
        hwm()
    );
    let one = batch("x", &[(0, "{\"timestamp\":\"2026-01-01T00:00:00.000Z\"}")]);
    let t = Instant::now();
    if a.len() > 4 {
        lake.append(
            vec![one],
            &Commit {
                commit_id: "one".into(),
                ..Default::default()
            },
        )
        .unwrap();
        println!("one row append {:?}", t.elapsed());
    }
}
