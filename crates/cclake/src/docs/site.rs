//! Which pages there are, by path; each is made when it is asked for.

use cclake_plan::Node;

use super::Docs;
use super::pages;

/// A page or a file beside it.
pub(crate) struct Page {
    pub(crate) media_type: &'static str,
    pub(crate) body: String,
}

/// All pages by their paths.
pub(crate) struct Site {
    docs: Docs,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/script.js");
const ICON: &str = include_str!("assets/icon.svg");

impl Site {
    pub(crate) fn new(docs: Docs) -> Site {
        Site { docs }
    }

    /// Whether its pages tell what the warehouse holds.
    pub(crate) fn is_whole(&self) -> bool {
        self.docs.is_whole()
    }

    /// What stands under `path`, which has no slash in front.
    pub(crate) fn page(&self, path: &str) -> Option<Page> {
        let docs = &self.docs;
        let html = |body: String| Page {
            media_type: HTML,
            body,
        };
        Some(match path {
            "" | "index.html" => html(pages::overview(docs)),
            "lineage.html" => html(pages::lineage(docs)),
            "dictionary.html" => html(pages::dictionary(docs)),
            "er.html" => html(pages::entities(docs)),
            "metrics.html" => html(pages::metrics(docs)),
            "tests.html" => html(pages::tests(docs)),
            "style.css" => asset("text/css; charset=utf-8", STYLE),
            "script.js" => asset("text/javascript; charset=utf-8", SCRIPT),
            "icon.svg" => asset("image/svg+xml", ICON),
            _ => {
                if let Some(node) = docs.nodes().find(|node| node_path(docs, &node.id) == path) {
                    html(pages::node(docs, node))
                } else {
                    let (node, column) = self.column(path)?;
                    html(pages::column(docs, node, &column))
                }
            }
        })
    }

    fn column(&self, path: &str) -> Option<(&Node, String)> {
        let rest = path.strip_prefix("column/")?;
        let of = |node: &&Node| rest.starts_with(self.docs.slug(&node.id));
        self.docs.nodes().filter(of).find_map(|node| {
            let columns = self.docs.columns(node);
            let mut names = columns.into_iter().map(|column| column.name);
            let name = names.find(|name| column_path(&self.docs, &node.id, name) == path)?;
            Some((node, name))
        })
    }

    /// Every path, for those who want all.
    pub(crate) fn paths(&self) -> Vec<String> {
        let docs = &self.docs;
        let fixed = super::layout::SECTIONS.iter().map(|(file, _)| (*file).to_owned());
        let assets = ["style.css", "script.js", "icon.svg"].map(str::to_owned);
        let nodes = docs.nodes().map(|node| node_path(docs, &node.id));
        let columns = docs.nodes().flat_map(|node| {
            let columns = docs.columns(node).into_iter();
            columns.map(|column| column_path(docs, &node.id, &column.name))
        });
        fixed.chain(assets).chain(nodes).chain(columns).collect()
    }
}

fn asset(media_type: &'static str, body: &str) -> Page {
    Page {
        media_type,
        body: body.to_owned(),
    }
}

/// The path of a node's page.
pub(super) fn node_path(docs: &Docs, id: &str) -> String {
    format!("model/{}.html", docs.slug(id))
}

/// The path of a column's page.
pub(super) fn column_path(docs: &Docs, id: &str, column: &str) -> String {
    // A disk may take `A` and `a` for one file; so does SQL.
    format!(
        "column/{}.{}.html",
        docs.slug(id),
        super::file_name(&column.to_lowercase())
    )
}
