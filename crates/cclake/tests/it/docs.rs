//! `cclake docs`: every page is served, says what it must, and links to nothing that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Listening, Scene, finish, prompt, response};

fn serve(scene: &Scene) -> Listening {
    Listening::start(&mut scene.command(&["docs", "serve", "--port", "0"]))
}

/// Status and body.
fn request(served: &Listening, method: &str, path: &str, host: &str) -> (u16, String) {
    let answer = served.ask(method, path, host);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, as_read(body))
}

fn get(served: &Listening, path: &str) -> (u16, String) {
    request(served, "GET", path, &served.address)
}

fn scene() -> Scene {
    let scene = Scene::new();
    let lines = [
        prompt("s", "u1", 1, "fix <b>it</b>"),
        response("s", "u2", 2, "m1", 7),
    ];
    scene.write("p/s.jsonl", lines.join("\n") + "\n");
    scene.run(&["run"]);
    scene
}

/// Names as a person reads them: without the places where lines may break.
fn as_read(html: &str) -> String {
    html.replace("<wbr>", "")
}

/// Where a page links to, as paths of the site.
fn links(page: &str, html: &str) -> Vec<String> {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut links = Vec::new();
    for attribute in ["href=\"", "src=\""] {
        for part in html.split(attribute).skip(1) {
            let link = part.split('"').next().unwrap().split('#').next().unwrap();
            assert!(!link.starts_with("//"), "{page} links to {link}");
            if link.is_empty() || link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            links.push(match link.strip_prefix("../") {
                Some(link) => link.to_owned(),
                None if folder.is_empty() => link.to_owned(),
                None => format!("{folder}/{link}"),
            });
        }
    }
    links
}

#[test]
fn every_page_is_there_and_links_only_to_pages() {
    let scene = scene();
    let served = serve(&scene);
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    let mut open = vec![String::new()];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let (status, body) = get(&served, &format!("/{path}"));
        assert_eq!(status, 200, "/{path}");
        open.extend(links(&path, &body));
        pages.insert(path, body);
    }
    let expected: &[(&str, &[&str])] = &[
        (
            "",
            &["Model lineage", "fct_messages", "<svg", "last published build"],
        ),
        (
            "dictionary.html",
            &["fct_tool_calls", "cache_read_tokens", "BIGINT"],
        ),
        ("er.html", &["<svg", "dim_sessions", "PK", "FK"]),
        ("metrics.html", &["tool_success_rate", "agg_daily_summary"]),
        (
            "tests.html",
            &[
                "unique",
                "relationships → dim_projects",
                "tokens_are_conserved",
                "pass",
            ],
        ),
        (
            "lineage.html",
            &[
                "Every column of every model is resolved",
                "raw.conversations.message.usage.input_tokens",
            ],
        ),
        (
            "model/fct_messages.html",
            &[
                "One row per",
                "int_messages_enriched",
                "as written",
                "compiled",
                "TIMESTAMP WITH TIME ZONE",
            ],
        ),
        (
            "model/raw.conversations.html",
            &["source", "session_id", "2 rows"],
        ),
        ("model/tool_categories.html", &["seed"]),
        (
            "column/fct_messages.input_tokens.html",
            &["message.usage.input_tokens", "agg_daily_summary", "<svg"],
        ),
        (
            "column/raw.conversations.message.html",
            &[
                "Used by",
                "Gold columns made from it",
                "message.usage.output_tokens",
            ],
        ),
    ];
    for (path, texts) in expected {
        let page = pages
            .get(*path)
            .unwrap_or_else(|| panic!("no page links to /{path}"));
        for text in *texts {
            assert!(page.contains(text), "/{path} does not say {text}");
        }
        assert!(!page.contains("unknown:"), "/{path}");
    }
    assert_eq!(get(&served, "/nothing.html").0, 404);
    assert_eq!(get(&served, "/../../etc/passwd").0, 404);
    assert_eq!(request(&served, "POST", "/", &served.address).0, 405);
    assert_eq!(request(&served, "GET", "/", "evil.example").0, 403);
    assert_eq!(request(&served, "GET", "/", "localhost:1").0, 200);

    // The same pages as files.
    let folder = scene.path("site");
    scene.run(&["docs", "export", folder.to_str().unwrap()]);
    for (path, body) in pages.iter().filter(|(path, _)| !path.is_empty()) {
        let file = std::fs::read_to_string(folder.join(path)).unwrap();
        assert_eq!(&as_read(&file), body, "{path}");
    }
}

#[test]
fn ctrl_c_ends_it_quietly_and_a_busy_port_is_said() {
    let scene = scene();
    let mut served = serve(&scene);
    let port = served.address.rsplit(':').next().unwrap().to_owned();
    let ran = scene.try_run(&["docs", "serve", "--port", &port]);
    assert_eq!(ran.status, 2);
    assert_eq!(
        ran.stderr,
        format!(
            "cclake: port {port} is in use by another program: give another one with --port (0 takes any free one)\n"
        )
    );
    served.signal("-INT");
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    served
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "Ctrl-C ends it.\n");
}

/// Clients that send half a request, no body, or never read: others are answered, and Ctrl-C ends it all the same.
#[test]
fn clients_that_hang_keep_nobody_else_waiting() {
    let scene = scene();
    let mut served = serve(&scene);
    let open = |text: &str| {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let host = &served.address;
    let mut hanging = vec![open(""), open("GET / HTTP/1.1\r\nHo")];
    for length in [10, 100_000] {
        hanging.push(open(&format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
        )));
        hanging.push(open(&format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
        )));
    }
    for _ in 0..20 {
        hanging.push(open(&format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )));
    }
    for (request, expected) in [
        ("POST / HTTP/1.1\r\nContent-Length: 5", "HTTP/1.1 405"),
        ("POST / HTTP/1.1\r\nContent-Length: 5000", "HTTP/1.1 405"),
        ("GET / HTTP/1.1\r\nContent-Length: 5000", "HTTP/1.1 200"),
        ("GET / HTTP/1.0", "HTTP/1.1 200"),
        ("nonsense", "HTTP/1.1 400"),
    ] {
        let mut answer = String::new();
        open(&format!("{request}\r\nHost: {host}\r\n\r\n"))
            .read_to_string(&mut answer)
            .unwrap();
        assert!(answer.starts_with(expected), "{request:?}: {answer}");
    }

    let begun = Instant::now();
    served.signal("-TERM");
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn pages_are_not_put_among_other_files() {
    let scene = Scene::new();
    let folder = scene.path("site");
    let name = folder.to_str().unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("index.html"), "<title>mine</title>").unwrap();
    let ran = scene.try_run(&["docs", "export", name]);
    assert_eq!(ran.status, 2);
    assert_eq!(
        ran.stderr,
        format!(
            "cclake: {name} holds files that `cclake docs export` did not write: give a folder that is empty or not there yet\n"
        )
    );
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_file(folder.join("index.html")).unwrap();
    scene.run(&["docs", "export", name]);
    // What hosts want beside the pages stays.
    std::fs::write(folder.join("CNAME"), "docs.example").unwrap();
    scene.run(&["docs", "export", name]);
    assert!(folder.join("CNAME").is_file());
}

#[test]
fn pages_follow_the_warehouse_and_need_none() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "hello") + "\n");
    let served = serve(&scene);
    let (status, page) = get(&served, "/");
    assert!(
        status == 200 && page.contains("There is no warehouse yet"),
        "{page}"
    );
    assert!(
        get(&served, "/lineage.html")
            .1
            .contains("raw.conversations.message.usage.input_tokens")
    );
    scene.run(&["run"]);
    assert!(!get(&served, "/").1.contains("There is no warehouse yet"));
    assert!(get(&served, "/model/raw.conversations.html").1.contains("1 rows"));
}

#[test]
fn a_project_of_ones_own_is_shown_with_what_is_not_known() {
    let scene = Scene::new();
    let project = scene.path("project");
    std::fs::create_dir_all(project.join("models")).unwrap();
    std::fs::write(
        project.join("dbt_project.yml"),
        "name: mine\nversion: '1'\nprofile: mine\n",
    )
    .unwrap();
    std::fs::write(
        project.join("profiles.yml"),
        "mine:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: x.db, schema: marts, threads: 1}\n",
    )
    .unwrap();
    std::fs::write(project.join("models/one.sql"), "select 1 as \"<i>\", 2 as b").unwrap();
    std::fs::write(
        project.join("models/two.sql"),
        "select columns('b') from {{ ref('one') }}",
    )
    .unwrap();
    std::fs::write(
        project.join("models/m.yml"),
        "models:\n  - {name: one, description: \"<script>alert(1)</script>\"}\n",
    )
    .unwrap();
    let folder = scene.path("site");
    let mut command = scene.command(&["docs", "export", folder.to_str().unwrap()]);
    let ran = finish(command.env("CCLAKE_DBT_PROJECT_DIR", &project));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let page = std::fs::read_to_string(folder.join("model/one.html")).unwrap();
    assert!(
        page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert"),
        "{page}"
    );
    assert!(page.contains("&lt;i&gt;"));
    let page = std::fs::read_to_string(folder.join("lineage.html")).unwrap();
    assert!(
        page.contains("chooses columns by their names, which is not followed"),
        "{page}"
    );
}

/// What is read off the SQL, without a warehouse to look into, is what the database then has, in its order.
#[test]
fn the_derived_columns_are_those_of_the_database() {
    let scene = Scene::new();
    let folder = scene.path("site");
    scene.run(&["docs", "export", folder.to_str().unwrap()]);
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "hello") + "\n");
    scene.run(&["run"]);
    let tables = scene.query(
        "select table_name as name, list(column_name order by ordinal_position) as columns from information_schema.columns
         where table_schema in ('staging', 'intermediate', 'marts') group by all order by 1",
    );
    assert!(tables.len() > 20);
    for table in tables {
        let name = table["name"].as_str().unwrap();
        let page = std::fs::read_to_string(folder.join(format!("model/{name}.html"))).unwrap();
        let derived: Vec<&str> = page
            .split("<tr id=\"")
            .skip(1)
            .map(|row| row.split('"').next().unwrap())
            .collect();
        let columns: Vec<&str> = table["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(derived, columns, "{name}");
    }
}
