use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use jiff::civil::date;
use serde_json::Value;

use super::{Options, Truth, clock, generate, truth::Tokens};

/// As many sessions as a demo has unless told otherwise.
const SESSIONS: u64 = 120;

struct Tree {
    _folder: tempfile::TempDir,
    truth: Truth,
    reported: u64,
    /// Path below `projects` → content.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

fn tree(seed: u64, sessions: u64) -> Tree {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        out: folder.path().to_owned(),
        days: 30,
        sessions,
        seed,
        until: date(2026, 6, 30),
    };
    let mut reported = 0;
    let truth = generate(&options, &mut |bytes| reported += bytes).unwrap();
    let mut files = BTreeMap::new();
    collect(&folder.path().join("projects"), Path::new(""), &mut files);
    Tree {
        _folder: folder,
        truth,
        reported,
        files,
    }
}

fn collect(folder: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let below = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &below, files);
        } else {
            files.insert(below, fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let (one, again, other) = (tree(7, 24), tree(7, 24), tree(8, 24));
    assert_eq!(one.files, again.files);
    assert_eq!(one.truth, again.truth);
    assert_ne!(one.files, other.files);
    assert!(one.files.keys().all(|path| !other.files.contains_key(path)));
}

#[test]
fn no_sessions_are_an_empty_tree() {
    let Tree { truth, files, .. } = tree(1, 0);
    assert_eq!(truth, Truth::default());
    assert!(files.is_empty());
}

#[test]
fn the_totals_fit_each_other_and_the_files() {
    for seed in [1, 2] {
        let Tree {
            truth,
            files,
            reported,
            _folder: folder,
        } = tree(seed, 60);
        let stored = fs::read_to_string(folder.path().join("truth.json")).unwrap();
        assert_eq!(serde_json::from_str::<Truth>(&stored).unwrap(), truth);
        assert_eq!(truth.files, files.len() as u64);
        assert_eq!(
            truth.bytes,
            files.values().map(|bytes| bytes.len() as u64).sum::<u64>()
        );
        assert_eq!(truth.bytes, reported);
        assert_eq!(truth.sessions, 60);
        assert_eq!(truth.tool_calls, truth.tool_calls_by_name.values().sum::<u64>());
        let models = truth.tokens_by_day.values().flat_map(BTreeMap::values);
        assert_eq!(
            truth.tokens,
            models.fold(Tokens::default(), |sum, tokens| add(sum, *tokens))
        );
        check_lines(&truth, &files);
    }
}

fn add(a: Tokens, b: Tokens) -> Tokens {
    Tokens {
        input: a.input + b.input,
        output: a.output + b.output,
        cache_write_5m: a.cache_write_5m + b.cache_write_5m,
        cache_write_1h: a.cache_write_1h + b.cache_write_1h,
        cache_read: a.cache_read + b.cache_read,
    }
}

fn check_lines(truth: &Truth, files: &BTreeMap<PathBuf, Vec<u8>>) {
    let (mut records, mut uuids) = (BTreeSet::new(), BTreeSet::new());
    let (mut lines, mut dead, mut pending, mut with_uuid) = (0, 0, 0, 0);
    for bytes in files.values() {
        for line in bytes
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| *line != b"\n")
        {
            lines += 1;
            let object = serde_json::from_slice::<Value>(line)
                .ok()
                .filter(Value::is_object);
            match object {
                Some(object) => {
                    records.insert(line.trim_ascii_end());
                    if let Some(uuid) = object["uuid"].as_str() {
                        with_uuid += 1;
                        uuids.insert(uuid.to_owned());
                    }
                }
                None if line.ends_with(b"\n") => dead += 1,
                None => pending += 1,
            }
        }
    }
    assert_eq!(
        (truth.lines, truth.records, truth.dead_letters, truth.pending),
        (lines, records.len() as u64, dead, pending)
    );
    assert_eq!(truth.copied_records, with_uuid - uuids.len() as u64);
}

#[test]
fn every_quirk_shows_in_a_demo_of_the_usual_size() {
    let Tree { truth, files, .. } = tree(3, SESSIONS);
    let has = |needle: &str| {
        files
            .values()
            .any(|bytes| String::from_utf8_lossy(bytes).contains(needle))
    };
    for needle in [
        "\"isSidechain\":true",
        "\"type\":\"agent_progress\"",
        "\"normalizedMessages\":[{",
        "\"type\":\"bash_progress\"",
        "\"type\":\"hook_progress\"",
        "\"type\":\"mcp_progress\"",
        "\"subtype\":\"compact_boundary\"",
        "\"isCompactSummary\":true",
        "\"trigger\":\"manual\"",
        "\"model\":\"<synthetic>\"",
        "\"isApiErrorMessage\":true",
        "\"subtype\":\"api_error\"",
        "\"subtype\":\"turn_duration\"",
        "\"type\":\"summary\"",
        "\"type\":\"file-history-snapshot\"",
        "\"type\":\"queue-operation\"",
        "\"type\":\"last-prompt\"",
        "\"type\":\"attachment\"",
        "<task-notification>",
        "<bash-input>",
        "\"type\":\"ai-title\"",
        "{\"hook\":",
        "\"isMeta\":true",
        "<command-name>/model",
        "[Request interrupted by user for tool use]",
        "This session is being continued",
        "\"stop_reason\":null",
        "\"stop_reason\":\"end_turn\"",
        "\"thinking\":\"\"",
        "\"type\":\"image\"",
        "\"ephemeral_1h_input_tokens\":0",
        "\"model\":\"acme-coder-preview\"",
        "\"cwd\":\"/Users/mara/code/café-menu\"",
        "/.worktrees/",
        "/.claude/worktrees/",
        "\"gitBranch\":\"HEAD\"",
        "\"gitBranch\":\"\"",
        "\"version\":\"1.0.17\"",
        "\"version\":\"2.1.181\"",
        "Exit code ",
        "<tool_use_error>File has not been read yet",
        "Sibling tool call errored",
        "No such tool available: execute_command",
        "doesn't want to take this action right now",
        "the user said:",
        "\"structuredPatch\":[]",
        "\"structuredPatch\":[{",
        "\"originalFileContents\":",
        "\"requestId\":\"req_011C",
    ] {
        assert!(has(needle), "no {needle}");
    }
    for tool in [
        "Bash",
        "Read",
        "Edit",
        "MultiEdit",
        "Write",
        "Grep",
        "Glob",
        "Task",
        "Agent",
        "TodoWrite",
        "WebFetch",
        "WebSearch",
        "LS",
        "NotebookEdit",
        "Skill",
        "mcp__linear-server__list_issues",
    ] {
        assert!(truth.tool_calls_by_name.contains_key(tool), "no {tool}");
    }
    for (name, count) in counts(&truth) {
        assert!(count > 0, "no {name}");
    }
    let ends = |end: &str| files.values().any(|bytes| bytes.ends_with(end.as_bytes()));
    assert!(
        ends("}\n") && ends("}"),
        "no file without final newline, or none with"
    );
    assert!(files.values().any(Vec::is_empty), "no empty file");
    assert!(
        files
            .values()
            .any(|bytes| bytes.windows(2).any(|pair| pair == b"\n\n")),
        "no blank line"
    );
    assert!(truth.tokens_by_day.len() > 15);
}

fn counts(truth: &Truth) -> [(&'static str, u64); 16] {
    [
        ("dead letter", truth.dead_letters),
        ("pending tail", truth.pending),
        ("prompt", truth.human_prompts),
        ("progress-only response", truth.responses_progress_only),
        ("5-minute cache write", truth.tokens.cache_write_5m),
        ("1-hour cache write", truth.tokens.cache_write_1h),
        ("sub-agent's call", truth.tool_calls_sub_agents),
        ("progress-only call", truth.tool_calls_progress_only),
        ("failure", truth.tool_errors),
        ("progress-only failure", truth.tool_errors_progress_only),
        ("rejection", truth.rejections),
        ("unanswered call", truth.unanswered),
        ("removed line", truth.lines_removed),
        ("change without patch", truth.lines_added_without_patch),
        ("identical copy", truth.copied_identical),
        ("rewritten copy", truth.copied_records - truth.copied_identical),
    ]
}

#[test]
fn files_lie_where_claude_code_puts_them_and_are_as_old_as_their_last_record() {
    let Tree {
        files,
        _folder: folder,
        ..
    } = tree(5, SESSIONS);
    let depth = |path: &Path| path.components().count();
    let agents: BTreeSet<usize> = files
        .keys()
        .filter(|path| path.to_string_lossy().contains("agent-"))
        .map(|path| depth(path))
        .collect();
    assert_eq!(agents, BTreeSet::from([2, 4]));
    assert!(
        files
            .keys()
            .any(|path| path.starts_with("-Users-mara-code-caf--menu"))
    );
    assert!(
        files
            .keys()
            .any(|path| path.starts_with("-Users-mara-code-storefront--worktrees-checkout-redesign"))
    );
    for path in files.keys() {
        let modified = fs::metadata(folder.path().join("projects").join(path))
            .unwrap()
            .modified()
            .unwrap();
        let day = jiff::Timestamp::try_from(modified).unwrap().to_string();
        assert!(day.starts_with("2026-0"), "{}: {day}", path.display());
    }
}

#[test]
fn a_tree_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("projects")).unwrap();
    let options = Options {
        out: folder.path().to_owned(),
        days: 1,
        sessions: 1,
        seed: 1,
        until: date(2026, 6, 30),
    };
    let error = generate(&options, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
}

#[test]
fn instants_are_written_as_javascript_writes_them() {
    for (at, expected) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_001, "2000-02-29T00:00:00.001Z"),
        (1_782_863_999_999, "2026-06-30T23:59:59.999Z"),
    ] {
        assert_eq!(clock::iso(at), expected);
    }
}
