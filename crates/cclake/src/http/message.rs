//! Requests and responses: one of each a connection, and no request has a body.

use std::io::{self, BufRead as _, BufReader, Read, Write};

/// What a page may load: nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'";

/// Bytes of a head; browsers send one or two thousand.
const LONGEST_HEAD: u64 = 64 * 1024;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without what may stand behind `?`.
    pub(crate) path: String,
    pub(crate) host: Option<String>,
}

/// What it gets.
pub(crate) struct Response {
    /// Number and name.
    pub(crate) status: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) body: String,
}

/// Reads the head of a request; none when it is not one. What follows it stays unread.
pub(crate) fn read(input: impl Read) -> io::Result<Option<Request>> {
    // Cookies of other servers on this machine come too, in whatever encoding.
    let mut lines = BufReader::new(input.take(LONGEST_HEAD)).split(b'\n');
    let mut next = || -> io::Result<Option<String>> {
        let line = lines.next().transpose()?;
        Ok(line.map(|line| String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()))
    };
    let Some(first) = next()? else {
        return Ok(None);
    };
    let mut host = None;
    while let Some(line) = next()? {
        if line.is_empty() {
            return Ok(request(&first, host));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("host")
        {
            host = Some(value.trim().to_owned());
        }
    }
    Ok(None)
}

fn request(first_line: &str, host: Option<String>) -> Option<Request> {
    let parts: Vec<_> = first_line.split(' ').collect();
    let [method, target, version] = parts.as_slice() else {
        return None;
    };
    let path = target.split(['?', '#']).next()?;
    (path.starts_with('/') && version.starts_with("HTTP/1.")).then(|| Request {
        method: (*method).to_owned(),
        path: path.to_owned(),
        host,
    })
}

/// Writes a response, and nothing after it: the connection is to be closed.
pub(crate) fn write(mut output: impl Write, response: &Response, with_body: bool) -> io::Result<()> {
    let Response {
        status,
        media_type,
        body,
    } = response;
    let length = body.len();
    // In one piece: small ones wait for each other on their way.
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\nAllow: GET, HEAD\r\n\
         Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\r\n"
    );
    if with_body {
        text.push_str(body);
    }
    output.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_and_nothing_else() {
        let check = |head: &str, expected: Option<[&str; 3]>| {
            let read = read(head.as_bytes()).unwrap();
            let read = read.map(|request| [request.method, request.path, request.host.unwrap_or_default()]);
            assert_eq!(read, expected.map(|parts| parts.map(str::to_owned)), "{head:?}");
        };
        check(
            "GET /a.html?b=c HTTP/1.1\r\nAccept: */*\r\nhOST: localhost:1 \r\n\r\nbody",
            Some(["GET", "/a.html", "localhost:1"]),
        );
        check("HEAD / HTTP/1.0\n\n", Some(["HEAD", "/", ""]));
        for head in [
            "",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "\r\n\r\n",
        ] {
            check(head, None);
        }
        let latin = b"GET / HTTP/1.1\r\nCookie: caf\xe9\r\nHost: localhost\r\n\r\n";
        assert!(read(latin.as_slice()).unwrap().is_some());
        let endless = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", "a: b\r\n".repeat(20_000));
        check(&endless, None);
    }
}
