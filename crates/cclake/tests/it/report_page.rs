//! The page of `report --html`: whole, escaped, and in need of nothing else.

use serde_json::json;

use crate::report::{response, said, scene};

/// The tags of a page in order, after a check that they are nested well; and its text.
fn parsed(page: &str) -> (Vec<String>, String) {
    let (mut tags, mut text, mut open) = (Vec::new(), String::new(), Vec::new());
    let mut rest = page.strip_prefix("<!doctype html>").unwrap();
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap()
            .to_owned();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(
                open.pop().as_deref(),
                Some(closed),
                "{closed} is closed out of turn"
            );
        } else if !tag.ends_with('/') && name != "meta" {
            open.push(name);
        }
        tags.push(tag.to_owned());
    }
    assert!(open.is_empty(), "{open:?} stay open");
    (tags, text)
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let scene = scene();
    let evil = "/home/ada/</script><img src=x onerror=alert(1)>";
    let summary =
        json!({"type": "summary", "summary": "<b>\"title\"</b> & more", "leafUuid": "u-m5"}).to_string();
    let lines = response(
        "s4",
        evil,
        "m5",
        "2026-02-11T12:00:00.000Z",
        "<i>model</i>",
        &said(),
    ) + &summary
        + "\n";
    scene.write("-evil/s4.jsonl", lines);
    scene.run(&["run"]);
    scene.run(&["report", "--html", "page.html"]);
    let page = std::fs::read_to_string(scene.path("page.html")).unwrap();
    let (tags, text) = parsed(&page);
    for name in [
        "API-price equivalent",
        "Tool failure rate",
        "Spend and tokens by day and model",
        "When: messages by weekday and hour",
        "Tools and their failures",
        "Top projects",
        "Top sessions",
        "Most-changed files",
        "Data quality",
        "a.rs",
        "$0.37",
        "acme-coder",
        "&lt;img src=x onerror=alert(1)&gt;",
        "&lt;i&gt;model&lt;/i&gt;",
        "&lt;b&gt;&quot;title&quot;&lt;/b&gt; &amp; more",
    ] {
        assert!(text.contains(name), "the page lacks {name}");
    }
    assert!(
        !page.contains("http://")
            && !page.contains("https://")
            && !page.contains("url(")
            && !page.contains("@import")
    );
    for tag in &tags {
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(
            !["script", "link", "img", "iframe", "object", "base", "form", "a"].contains(&name),
            "{tag}"
        );
    }
    assert!(tags.iter().any(|tag| tag.contains("default-src 'none'")));
    let drafts = std::fs::read_dir(scene.path("")).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("page.html.")
    });
    assert_eq!(drafts.count(), 0);

    let written = scene.json(&[
        "report",
        "--html",
        "shop.html",
        "-p",
        "shop",
        "--since",
        "20260203",
    ]);
    let page = std::fs::read_to_string(scene.path("shop.html")).unwrap();
    assert_eq!(written, json!({"html": "shop.html", "bytes": page.len()}));
    let (_, text) = parsed(&page);
    assert!(text.contains("$0.20") && !text.contains("acme-coder"), "{text}");
    scene.run(&["report", "--html", "none.html", "--until", "20200101"]);
    assert!(
        std::fs::read_to_string(scene.path("none.html"))
            .unwrap()
            .contains("Nothing in this period.")
    );
}

/// A link stays a link, and what is no file takes the page as it comes.
#[cfg(unix)]
#[test]
fn the_page_goes_where_a_link_or_a_pipe_leads() {
    use std::os::unix::fs::symlink;
    let scene = scene();
    let is_page = |text: &str| text.starts_with("<!doctype html>") && text.ends_with("</html>\n");
    std::fs::create_dir(scene.path("public")).unwrap();
    std::fs::write(scene.path("public/old.html"), "old").unwrap();
    for (link, target, file) in [
        ("link.html", "public/old.html", "public/old.html"),
        ("public/chain.html", "../link.html", "public/old.html"),
        ("new.html", "public/new.html", "public/new.html"),
    ] {
        symlink(target, scene.path(link)).unwrap();
        scene.run(&["report", "--html", link]);
        let page = std::fs::read_to_string(scene.path(file)).unwrap();
        assert!(is_page(&page), "{link}");
        assert_eq!(
            std::fs::read_link(scene.path(link)).unwrap().to_str(),
            Some(target)
        );
        std::fs::write(scene.path(file), "old").unwrap();
    }
    symlink("circle.html", scene.path("circle.html")).unwrap();
    let ran = scene.try_run(&["report", "--html", "circle.html"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("cannot write circle.html"), "{}", ran.stderr);

    assert!(is_page(&scene.run(&["report", "--html", "/dev/stdout"])));
    let log = std::fs::File::create(scene.path("log")).unwrap();
    std::fs::write(scene.path("log"), "before\n").unwrap();
    let mut command = scene.command(&["report", "--html", "/dev/stdout"]);
    assert!(command.stdout(log).status().unwrap().success());
    let log = std::fs::read_to_string(scene.path("log")).unwrap();
    assert!(
        log.strip_prefix("before\n").is_some_and(is_page),
        "what stood there is gone"
    );
    let pipe = scene.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    scene.run(&["report", "--html", "pipe"]);
    assert!(is_page(&reader.join().unwrap()));
}
