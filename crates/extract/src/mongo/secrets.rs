//! Connection strings without what nobody may see.

use std::collections::HashSet;

/// A connection string as it may be shown: without password, certificate passwords and session tokens.
pub fn without_secrets(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        // Not a connection string, so nobody knows what it is: a password perhaps.
        return "***".to_owned();
    };
    // A password may hold an unescaped `@` or `/`; the last `@` ends it.
    let (user, rest) = match rest.rsplit_once('@') {
        // Behind `?` it may be a password's or an option's, and so may what is before it.
        Some((user, _)) if user.contains('?') => return format!("{scheme}://***"),
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let user = user.map(|user| match user.split_once(':') {
        // An escaped `:` may be the one that should part name and password.
        _ if user.contains('%') => "***@".to_owned(),
        Some((name, _)) => format!("{name}:***@"),
        None => format!("{user}@"),
    });
    let (hosts, options) = match rest.split_once('?') {
        Some((hosts, options)) => (hosts, Some(options)),
        None => (rest, None),
    };
    if !are_hosts(hosts) {
        return format!("{scheme}://***");
    }
    let options = options.map(|options| {
        let shown: Vec<_> = options.split('&').map(option_without_secret).collect();
        format!("?{}", shown.join("&"))
    });
    format!(
        "{scheme}://{}{hosts}{}",
        user.unwrap_or_default(),
        options.unwrap_or_default()
    )
}

/// Whether these can be hosts and ports: where the `@` is missing or escaped, they are a name and a password.
fn are_hosts(hosts: &str) -> bool {
    let is_socket = hosts.to_lowercase().starts_with("%2f");
    if hosts.contains('%') && !is_socket {
        return false;
    }
    hosts
        .split('/')
        .next()
        .unwrap_or_default()
        .split(',')
        .all(|host| {
            // Of `[::1]:27017` what is behind the brackets.
            let name_and_port = host.rsplit_once(']').map_or(host, |(_, port)| port);
            let port = name_and_port.split_once(':').map(|(_, port)| port);
            port.is_none_or(|port| port.parse::<u16>().is_ok())
        })
}

fn option_without_secret(option: &str) -> String {
    let Some((name, _)) = option.split_once('=') else {
        return "***".to_owned();
    };
    if HARMLESS_OPTIONS.contains(&name.to_lowercase().as_str()) {
        option.to_owned()
    } else {
        format!("{name}=***")
    }
}

/// Options whose values are no secrets, in lower case
/// (<https://www.mongodb.com/docs/manual/reference/connection-string-options/>).
const HARMLESS_OPTIONS: [&str; 35] = [
    "appname",
    "authmechanism",
    "authsource",
    "compressors",
    "connecttimeoutms",
    "directconnection",
    "heartbeatfrequencyms",
    "journal",
    "loadbalanced",
    "localthresholdms",
    "maxconnecting",
    "maxidletimems",
    "maxpoolsize",
    "maxstalenessseconds",
    "minpoolsize",
    "readconcernlevel",
    "readpreference",
    "readpreferencetags",
    "replicaset",
    "retryreads",
    "retrywrites",
    "serverselectiontimeoutms",
    "sockettimeoutms",
    "srvmaxhosts",
    "srvservicename",
    "ssl",
    "tls",
    "tlsallowinvalidcertificates",
    "tlsallowinvalidhostnames",
    "tlscafile",
    "tlscertificatekeyfile",
    "tlsinsecure",
    "w",
    "wtimeoutms",
    "zlibcompressionlevel",
];

/// Whether the text repeats something of the connection string that is not shown.
pub(crate) fn tells_secrets(text: &str, uri: &str) -> bool {
    let shown = without_secrets(uri);
    let pieces = |uri: &str| {
        // What an escaped character parts, too.
        let escapes = uri.split('%').map(|piece| piece.get(2..).unwrap_or_default());
        let uri = format!("{uri} {}", escapes.collect::<Vec<_>>().join(" ")).to_lowercase();
        let pieces = uri.split(|character: char| !character.is_alphanumeric());
        pieces
            .filter(|piece| piece.len() > 2)
            .map(str::to_owned)
            .collect::<HashSet<_>>()
    };
    let hidden = &pieces(uri) - &pieces(&shown);
    pieces(text).intersection(&hidden).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_shown() {
        for (uri, expected) in [
            (
                "mongodb://ada:s3cret@db:27017,db2/x?tls=true",
                "mongodb://ada:***@db:27017,db2/x?tls=true",
            ),
            ("mongodb+srv://ada:p@ss/w@db/x", "mongodb+srv://ada:***@db/x"),
            ("mongodb://ada:what?=s3cret@db", "mongodb://***"),
            (
                "mongodb://db/?tls=true&tlsCertificateKeyFilePassword=x@s3cret",
                "mongodb://***",
            ),
            (
                "mongodb://db/?pasword=s3cret&s3cret",
                "mongodb://db/?pasword=***&***",
            ),
            (
                "mongodb://db/?tlsCertificateKeyFilePassword=s3cret&authMechanismProperties=AWS_SESSION_TOKEN:s3cret",
                "mongodb://db/?tlsCertificateKeyFilePassword=***&authMechanismProperties=***",
            ),
            ("s3cret", "***"),
            ("mongodb://ada:s3cret%40db:27017/x", "mongodb://***"),
            ("mongodb://ada:s3cret", "mongodb://***"),
            ("mongodb://ada:1/s3cret%40db", "mongodb://***"),
            ("mongodb+srv://ada%3As3cret%40db/x", "mongodb+srv://***"),
            ("mongodb://ada%3As3cret@db/x", "mongodb://***@db/x"),
        ] {
            assert_eq!(tells_secrets("got s3cret", uri), uri.contains("s3cret"), "{uri}");
            assert_eq!(tells_secrets("got S3CRET", uri), uri.contains("s3cret"), "{uri}");
            assert!(!tells_secrets("got nothing", uri), "{uri}");
            let shown = without_secrets(uri);
            assert!(!shown.contains("s3cret"), "{shown}");
            assert_eq!(shown, expected);
        }
        for harmless in [
            "mongodb://localhost:27017",
            "mongodb://ada@db",
            "mongodb://[::1]:27017,[::2]/x",
            "mongodb://%2Ftmp%2Fmongodb-27017.sock/x",
        ] {
            assert_eq!(without_secrets(harmless), harmless);
        }
    }
}
