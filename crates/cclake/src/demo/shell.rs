//! Commands and what they print.

use super::{cast::Lang, code, rng::Rng, words::TOPICS};

/// What stands before and after a topic in a line of output.
type Form = (&'static str, &'static str);

pub(super) fn command(rng: &mut Rng, lang: Lang) -> String {
    let topic = rng.pick(&TOPICS);
    let own: &[&str] = match lang {
        Lang::Rust => &[
            "cargo test",
            "cargo clippy --all-targets",
            "cargo build --release",
            "cargo fmt --check",
        ],
        Lang::TypeScript => &["pnpm test", "pnpm lint", "npx tsc --noEmit", "pnpm build"],
        Lang::Python => &[
            "pytest -q",
            "ruff check .",
            "python -m forecast.backtest --quick",
            "mypy .",
        ],
        Lang::Go => &[
            "go test ./...",
            "golangci-lint run",
            "go build ./...",
            "terraform plan -no-color",
        ],
    };
    match rng.below(10) {
        0..=4 => format!("{} 2>&1 | tail -{}", rng.pick(own), rng.pick(&[20, 40, 80])),
        5 => "git status --short && git diff --stat".to_owned(),
        6 => format!("git log --oneline -{} -- .", rng.between(5, 20)),
        7 => format!("grep -rn \"{topic}\" --include='*' . | head -30"),
        8 => format!(
            "git add -A && git commit -m \"$(cat <<'EOF'\nHandle empty {topic}\n\nCo-Authored-By: Claude <noreply@anthropic.com>\nEOF\n)\""
        ),
        _ => format!("ls -la src && wc -l src/{topic}*"),
    }
}

/// `lines` lines as `command` prints them, with a stray line of something else now and then.
pub(super) fn output(rng: &mut Rng, lang: Lang, command: &str, lines: u64) -> String {
    let usual = rng.pick(forms(lang, command));
    let mut text = String::with_capacity(64 * usize::try_from(lines).unwrap_or(0));
    for index in 0..lines {
        if index > 0 {
            text.push('\n');
        }
        let (before, after) = if rng.chance(150) {
            rng.pick(forms(lang, command))
        } else {
            usual
        };
        text.push_str(before);
        text.push_str(rng.pick(&TOPICS));
        text.push_str(after);
    }
    text
}

/// `lines` lines of a search for `pattern`.
pub(super) fn matches(rng: &mut Rng, lang: Lang, unique: &mut u64, lines: u64) -> String {
    let mut text = String::with_capacity(96 * usize::try_from(lines).unwrap_or(0));
    let mut path = code::path(rng, lang);
    for index in 0..lines {
        if index > 0 {
            text.push('\n');
        }
        if rng.chance(250) {
            path = code::path(rng, lang);
        }
        text.push_str(&path);
        text.push(':');
        text.push_str(&rng.between(1, 600).to_string());
        text.push(':');
        text.push_str(&code::line(rng, lang, unique));
    }
    text
}

/// Colours included, as tools that ignore pipes write them.
fn forms(lang: Lang, command: &str) -> &'static [Form] {
    if command.starts_with("git log") {
        return &[
            ("4f1c2ab Handle empty ", ""),
            ("90be77d Test ", " against the fixture"),
            ("c3d00e1 Rename ", "_v2"),
        ];
    }
    if command.starts_with("git") {
        return &[
            (" M src/", ".rs"),
            ("?? tests/fixtures/", ".json"),
            (" src/", " | 12 ++++----"),
        ];
    }
    if command.starts_with("ls") {
        return &[
            ("-rw-r--r--  1 mara  staff   4213 Jun  3 10:12 ", ""),
            ("drwxr-xr-x  8 mara  staff    256 Jun  1 09:40 ", ""),
        ];
    }
    match lang {
        Lang::Rust => &[
            ("test api::", "::empty_body ... ok"),
            ("   Compiling ", " v0.4.2 (/Users/mara/code/ledger-api)"),
            ("warning: unused variable: `", "`"),
        ],
        Lang::TypeScript => &[
            ("\u{1b}[32m✓\u{1b}[0m ", " handles an empty body (3 ms)"),
            (
                "src/lib/",
                ".ts:41:17 - error TS2345: argument of type 'string | undefined' is not assignable",
            ),
            ("  > storefront@2.1.0 ", ""),
        ],
        Lang::Python => &[
            ("tests/", ".py::test_empty PASSED"),
            (
                "forecast/",
                ".py:88:5: F841 local variable is assigned to but never used",
            ),
            ("INFO:backtest:", " finished in 1.42s"),
        ],
        Lang::Go => &[
            ("ok  \tlive.example/internal/", "\t0.412s"),
            ("--- FAIL: Test", " (0.00s)"),
            ("  # aws_instance.", " will be updated in-place"),
        ],
    }
}
