//! Source files and their edits.

use std::fmt::Write;

use super::{
    cast::Lang,
    json::{Obj, array, quoted},
    rng::Rng,
    words::TOPICS,
};

/// Lines of source, no two alike within a session: so a line diff of an edit has one answer only.
pub(super) struct Source {
    pub(super) lines: Vec<String>,
}

/// One replaced, inserted or deleted stretch of a source.
pub(super) struct Hunk {
    at: usize,
    before: Vec<String>,
    pub(super) old: Vec<String>,
    pub(super) new: Vec<String>,
    after: Vec<String>,
}

pub(super) fn path(rng: &mut Rng, lang: Lang) -> String {
    let topic = rng.pick(&TOPICS);
    match lang {
        Lang::Rust => format!(
            "{}/{topic}.rs",
            rng.pick(&["src", "src/api", "src/store", "tests"])
        ),
        Lang::TypeScript => format!(
            "{}/{topic}.{}",
            rng.pick(&["src/lib", "src/components", "app"]),
            rng.pick(&["ts", "tsx"])
        ),
        Lang::Python => format!("{}/{topic}.py", rng.pick(&["forecast", "tests", "scripts"])),
        Lang::Go => format!(
            "{}/{topic}.go",
            rng.pick(&["cmd/live", "internal/plan", "internal/state"])
        ),
    }
}

pub(super) fn source(rng: &mut Rng, lang: Lang, unique: &mut u64, lines: u64) -> Source {
    Source {
        lines: (0..lines).map(|_| line(rng, lang, unique)).collect(),
    }
}

impl Source {
    pub(super) fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }

    /// As the Read tool shows it: right-aligned numbers and an arrow.
    pub(super) fn numbered(&self, start: usize) -> String {
        let mut text = String::with_capacity(self.lines.len() * 56);
        for (index, line) in self.lines.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            let _ = write!(text, "{:>6}", start + index);
            text.push('→');
            text.push_str(line);
        }
        text
    }

    /// A change somewhere in this source.
    pub(super) fn hunk(&self, rng: &mut Rng, lang: Lang, unique: &mut u64) -> Hunk {
        let removed = if rng.chance(200) { 0 } else { rng.tail(1, 14) };
        let added = if removed > 0 && rng.chance(100) {
            0
        } else {
            rng.tail(1, 30)
        };
        let at = rng.index(self.lines.len());
        let end = (at + usize::try_from(removed).unwrap_or(0)).min(self.lines.len());
        Hunk {
            at,
            before: self.lines[at.saturating_sub(3)..at].to_vec(),
            old: self.lines[at..end].to_vec(),
            new: source(rng, lang, unique, added).lines,
            after: self.lines[end..(end + 3).min(self.lines.len())].to_vec(),
        }
    }
}

impl Hunk {
    /// What the tool is asked to replace: with its context, as models do to make it unique.
    pub(super) fn old_string(&self) -> String {
        join(&[&self.before, &self.old, &self.after])
    }

    pub(super) fn new_string(&self) -> String {
        join(&[&self.before, &self.new, &self.after])
    }

    /// The hunk as `structuredPatch` holds it.
    pub(super) fn patch(&self) -> String {
        let context = self.before.len() + self.after.len();
        let start = (self.at + 1 - self.before.len()) as u64;
        let marked = [
            (' ', &self.before),
            ('-', &self.old),
            ('+', &self.new),
            (' ', &self.after),
        ];
        let lines = marked
            .iter()
            .flat_map(|(mark, lines)| lines.iter().map(move |line| quoted(&format!("{mark}{line}"))));
        Obj::sized(512)
            .int("oldStart", start)
            .int("oldLines", (context + self.old.len()) as u64)
            .int("newStart", start)
            .int("newLines", (context + self.new.len()) as u64)
            .raw("lines", &array(lines))
            .done()
    }
}

fn join(parts: &[&Vec<String>]) -> String {
    let lines: Vec<&str> = parts
        .iter()
        .flat_map(|part| part.iter().map(String::as_str))
        .collect();
    lines.join("\n")
}

pub(super) fn line(rng: &mut Rng, lang: Lang, unique: &mut u64) -> String {
    *unique += 1;
    let (before, after) = rng.pick(forms(lang));
    let mut line = String::with_capacity(64);
    line.push_str(before);
    line.push_str(rng.pick(&TOPICS));
    line.push('_');
    line.push_str(&unique.to_string());
    line.push_str(after);
    line
}

fn forms(lang: Lang) -> &'static [(&'static str, &'static str)] {
    match lang {
        Lang::Rust => &[
            ("    let ", " = self.store.get(&key)?;"),
            ("    pub fn ", "(&self, id: Id) -> Result<Amount> {"),
            ("        .with_", "(Duration::from_secs(30))"),
            ("    // the caller holds the lock, see ", ""),
            ("    assert_eq!(", ", \"unexpected \\\"state\\\"\");"),
            ("use crate::", "::{Error, Kind};"),
        ],
        Lang::TypeScript => &[
            ("  const ", " = await client.fetch(`/api/${id}`);"),
            ("export function ", "(props: Props): JSX.Element {"),
            ("    if (!", ") return null;"),
            ("  // TODO: drop ", " once the new checkout is live"),
            ("\t\t<Field name=\"", "\" label={t('label')} />"),
            ("  expect(", ").toEqual({ ok: true });"),
        ],
        Lang::Python => &[
            ("    ", " = frame.groupby(\"store\").sum()"),
            ("def ", "(series: pd.Series) -> pd.Series:"),
            ("        raise ValueError(f\"bad ", ": {value!r}\")"),
            ("    # keep ", " in local time, the model expects it"),
            ("@pytest.mark.parametrize(\"", "\", [0, 1, -1])"),
            ("    return np.where(", " > 0, 1.0, 0.0)"),
        ],
        Lang::Go => &[
            ("\t", ", err := plan.Load(ctx, path)"),
            ("func ", "(ctx context.Context) error {"),
            ("\t\treturn fmt.Errorf(\"", ": %w\", err)"),
            ("\t// ", " is nil for a fresh state"),
            ("\t\t{name: \"", "\", want: true},"),
            ("\tdefer ", ".Close()"),
        ],
    }
}
