//! What every page has: head, navigation, and where it stands in the tree of pages.

use maud::{DOCTYPE, Markup, html};

use super::Docs;

/// The pages that stand in the navigation: file, name.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("index.html", "Overview"),
    ("lineage.html", "Lineage"),
    ("dictionary.html", "Dictionary"),
    ("er.html", "ER diagram"),
    ("metrics.html", "Metrics"),
    ("tests.html", "Tests"),
];

/// A page: its title, the way back to the top folder (`""` or `"../"`), which section it belongs to.
pub(super) struct Frame<'p> {
    pub(super) title: &'p str,
    pub(super) root: &'p str,
    pub(super) section: &'p str,
}

/// How the title of every page ends.
const BRAND: &str = " · cclake docs";

/// Whether a document is one of these pages.
pub(crate) fn is_page(html: &str) -> bool {
    html.contains(&format!("{BRAND}</title>"))
}

/// The whole document around `body`.
pub(super) fn document(docs: &Docs, frame: &Frame<'_>, body: &Markup) -> String {
    let Frame { title, root, section } = frame;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) (BRAND) }
                link rel="stylesheet" href=(format!("{root}style.css"));
                link rel="icon" href=(format!("{root}icon.svg"));
                script src=(format!("{root}script.js")) defer {}
            }
            body {
                header {
                    a.brand href=(format!("{root}index.html")) { "cclake docs" }
                    nav {
                        @for (file, name) in SECTIONS {
                            a href=(format!("{root}{file}")) aria-current=[(file == section).then_some("page")] { (name) }
                        }
                    }
                }
                main {
                    @if let Some(note) = &docs.catalog.note {
                        p.note { (super::text::prose(note)) }
                    }
                    (body)
                }
            }
        }
    }
    .into_string()
}
