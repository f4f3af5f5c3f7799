//! Lines to files, with what can befall a file: the only part that touches the disk.

use std::{
    fs::{self, File, FileTimes},
    io::Write,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::{
    clock::Millis,
    records::Line,
    rng::Rng,
    truth::{Copied, Facts, Tally},
    twist::{Twist, Twists},
};

/// The bytes of a file with `lines`, damaged as the twists have it, each counted as it is put down.
pub(super) fn bytes(rng: &mut Rng, lines: &[Line], twists: &Twists, tally: &mut Tally) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.iter().map(|line| line.text.len() + 1).sum::<usize>() + 4096);
    let broken_at = twists
        .has(Twist::Malformed)
        .then(|| (rng.index(lines.len()), rng.between(1, 3)));
    let doubled_at = twists.has(Twist::Duplicate).then(|| rng.index(lines.len()));
    for (index, line) in lines.iter().enumerate() {
        if let Some((_, count)) = broken_at.filter(|(at, _)| *at == index) {
            for _ in 0..count {
                garbage(rng, &line.text, &mut out);
                tally.garbage(true);
            }
        }
        object(&mut out, line, &line.facts, tally);
        if doubled_at == Some(index) {
            object(
                &mut out,
                line,
                &Facts {
                    copy: Copied::Identical,
                    ..line.facts.clone()
                },
                tally,
            );
        }
        if twists.has(Twist::Blank) && rng.chance(60) {
            out.push(b'\n');
        }
    }
    if let Some(last) = lines.last().filter(|_| twists.has(Twist::Torn)) {
        out.extend_from_slice(cut(rng, &last.text));
        tally.garbage(false);
    } else if twists.has(Twist::NoFinalNewline) {
        while out.last() == Some(&b'\n') {
            out.pop();
        }
    }
    out
}

fn object(out: &mut Vec<u8>, line: &Line, facts: &Facts, tally: &mut Tally) {
    out.extend_from_slice(line.text.as_bytes());
    out.push(b'\n');
    tally.object(line.at, &line.text, facts);
}

/// A line that is no JSON object, near enough to `like` to have come from it.
fn garbage(rng: &mut Rng, like: &str, out: &mut Vec<u8>) {
    match rng.below(7) {
        0 => out.extend_from_slice(cut(rng, like)),
        1 => {
            out.extend_from_slice(cut(rng, like));
            out.extend_from_slice(like.as_bytes());
        }
        2 => out.extend_from_slice(rng.pick(&[&b"\"[redacted]\""[..], b"42", b"null"])),
        3 => out.extend_from_slice(b"{\"type\":\"user\",\"text\":\"\xff\xfe\"}"),
        4 => out.extend_from_slice(b"{\"type\":\"user\",\"sessionId\":[REDACTED],\"message\":{}}"),
        5 => out.extend_from_slice(b"[{\"type\":\"user\"}]"),
        _ => out.extend_from_slice(&[0; 48]),
    }
    out.push(b'\n');
}

/// The first part of a line, cut between any two bytes.
fn cut<'a>(rng: &mut Rng, text: &'a str) -> &'a [u8] {
    &text.as_bytes()[..=rng.index(text.len() - 1)]
}

/// Writes a file and its folders; its modification time becomes `at`, as if the last record had just been appended.
pub(super) fn write(path: &Path, bytes: &[u8], at: Millis) -> Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        let modified = UNIX_EPOCH + Duration::from_millis(at.max(0).cast_unsigned());
        file.set_times(FileTimes::new().set_modified(modified))
    };
    write().with_context(|| format!("cannot write demo file {}", path.display()))
}
