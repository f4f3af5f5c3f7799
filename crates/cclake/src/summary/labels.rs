//! What projects are called where several of one name stand in a list.

/// A label for each name and path: the name where no other has it, else as much of the path from the right as tells them
/// apart.
pub(super) fn labels(projects: &[(&str, &str)]) -> Vec<String> {
    let label = |&(name, path): &(&str, &str)| {
        let others: Vec<_> = projects
            .iter()
            .filter(|(other, place)| *other == name && *place != path)
            .map(|(_, place)| *place)
            .collect();
        if others.is_empty() {
            return name.to_owned();
        }
        (2..=parts(path).count())
            .map(|count| end(path, count))
            .find(|text| {
                others
                    .iter()
                    .all(|other| end(other, parts(text).count()) != *text)
            })
            .unwrap_or_else(|| path.to_owned())
    };
    projects.iter().map(label).collect()
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
    use super::labels;

    fn check(paths: &[&str], expected: &[&str]) {
        let named: Vec<_> = paths
            .iter()
            .map(|path| (path.rsplit(['/', '\\']).next().unwrap(), *path))
            .collect();
        assert_eq!(labels(&named), expected);
    }

    #[test]
    fn equal_names_show_what_differs() {
        check(&["/home/ada/shop", "/home/ada/cli"], &["shop", "cli"]);
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
    }
}
