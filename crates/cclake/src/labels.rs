//! What projects are called where several of one name stand in a list.

use std::collections::{BTreeMap, HashMap, HashSet};

/// A label for each project.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    by_path: HashMap<String, String>,
}

impl Labels {
    /// Of names and paths: the name where no other path has it, else as much of the path from the right as tells it from
    /// the others.
    pub(crate) fn new<'p>(projects: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let mut namesakes: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for (name, path) in projects {
            namesakes.entry(name).or_default().insert(path);
        }
        let mut labels = Self::default();
        for (name, paths) in namesakes {
            if let (1, Some(path)) = (paths.len(), paths.iter().next()) {
                labels.by_path.insert((*path).to_owned(), name.to_owned());
            } else {
                labels.tell_apart(paths);
            }
        }
        labels
    }

    /// The label of a project; its path if it was not among those to be labelled.
    pub(crate) fn of<'l>(&'l self, path: &'l str) -> &'l str {
        self.by_path.get(path).map_or(path, String::as_str)
    }

    fn tell_apart(&mut self, mut paths: HashSet<&str>) {
        let all: Vec<_> = paths.iter().copied().collect();
        let deepest = all.iter().map(|path| parts(path).count()).max().unwrap_or(0);
        for count in 2..=deepest {
            let mut times: HashMap<String, usize> = HashMap::new();
            for path in &all {
                *times.entry(end(path, count)).or_default() += 1;
            }
            paths.retain(|path| {
                let label = end(path, count);
                let is_told = parts(path).count() >= count && times.get(&label) == Some(&1);
                if is_told {
                    self.by_path.insert((*path).to_owned(), label);
                }
                !is_told
            });
        }
    }
}

/// The last parts of a path, whichever way it separates them.
fn end(path: &str, count: usize) -> String {
    let mut last: Vec<_> = parts(path).rev().take(count).collect();
    last.reverse();
    last.join("/")
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split(['/', '\\']).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::Labels;

    fn check(paths: &[&str], expected: &[&str]) {
        let named = paths
            .iter()
            .map(|path| (path.rsplit(['/', '\\']).next().unwrap(), *path));
        let labels = Labels::new(named);
        let labels: Vec<_> = paths.iter().map(|path| labels.of(path)).collect();
        assert_eq!(labels, expected);
    }

    #[test]
    fn equal_names_show_what_differs() {
        check(&["/home/ada/shop", "/home/ada/cli"], &["shop", "cli"]);
        check(&["/home/ada/shop", "/home/ada/shop"], &["shop", "shop"]);
        check(
            &["/home/ada/cli", "/home/ada/shop", "/home/bob/cli"],
            &["ada/cli", "shop", "bob/cli"],
        );
        check(
            &["/a/x/src/cli", "/b/y/src/cli", "/c/cli"],
            &["x/src/cli", "y/src/cli", "c/cli"],
        );
        check(&["/cli", "/x/cli"], &["/cli", "x/cli"]);
        check(&["/x/cli", "/a/x/cli"], &["/x/cli", "a/x/cli"]);
        check(&[r"C:\ada\cli", "/home/bob/cli"], &["ada/cli", "bob/cli"]);
        check(&["/x/cli", r"\x\cli"], &["/x/cli", r"\x\cli"]);
        check(&["", ""], &["", ""]);
        assert_eq!(Labels::default().of("/home/ada/shop"), "/home/ada/shop");
    }
}
