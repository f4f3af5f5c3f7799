//! Settings that lead nowhere: one sentence that names them, soon, and never a password.

use std::time::{Duration, Instant};

use bson::doc;

use super::{World, entry};
use crate::support::finish;

#[track_caller]
fn check(world: &World, variables: &[(&str, &str)], expected: &[&str]) {
    let began = Instant::now();
    let mut command = world.command(&["extract"]);
    command.envs(variables.iter().copied());
    let ran = finish(&mut command);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    for part in expected {
        assert!(ran.stderr.contains(part), "no `{part}` in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn a_wrong_setting_is_named_in_one_sentence() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "x")]);
    check(
        &world,
        &[("MONGO_URI", "mongodb://127.0.0.1:1/?directConnection=true")],
        &["MONGO_URI", "127.0.0.1:1"],
    );
    check(
        &world,
        &[("MONGO_URI", "mongodb://no-such-host.invalid:27017")],
        &["MONGO_URI", "no-such-host.invalid"],
    );
    check(&world, &[("MONGO_URI", "s3cret")], &["MONGO_URI"]);
    for uri in [
        "mongodb://ada:s3cret?x@127.0.0.1:1",
        "mongodb://127.0.0.1:1/?authMechanismProperties=s3cret",
        "mongodb://127.0.0.1:1/?tls=true&tlsCertificateKeyFilePassword=x@s3cret",
    ] {
        check(&world, &[("MONGO_URI", uri)], &["MONGO_URI"]);
        let config = finish(world.command(&["config"]).env("MONGO_URI", uri));
        assert!(!config.stdout.contains("s3cret"), "{}", config.stdout);
    }
    check(&world, &[("MONGO_DB", "no_such")], &["MONGO_DB", "no_such"]);
    check(
        &world,
        &[("MONGO_COLLECTION", "no_such")],
        &["MONGO_COLLECTION", "no_such", "entries"],
    );
    let uri = format!("{}&tls=true", world.server.uri());
    check(&world, &[("MONGO_URI", &uri)], &["MONGO_URI", "TLS"]);
}

#[test]
fn a_user_who_may_not_is_told_so() {
    let Some(mut world) = World::new() else { return };
    world.insert(vec![entry(1, "x")]);
    world.server.command(
        "admin",
        doc! {"createUser": "ada", "pwd": "s3cret", "roles": [{"role": "read", "db": "other"}]},
    );
    world.server.command(
        "admin",
        doc! {"createUser": "bob", "pwd": "s3cret", "roles": [{"role": "read", "db": "claude_logs"}]},
    );
    world.server.restart(&["--auth"]);
    let uri = |user: &str| {
        format!(
            "mongodb://{user}@127.0.0.1:{}/?directConnection=true&authSource=admin",
            world.server.port()
        )
    };
    check(
        &world,
        &[("MONGO_URI", &uri("ada:wrong-s3cret"))],
        &["MONGO_URI", "password"],
    );
    check(
        &world,
        &[("MONGO_URI", &uri("ada:s3cret"))],
        &["MONGO_URI", "claude_logs.entries"],
    );
    let mut command = world.command(&["extract"]);
    let ran = finish(command.env("MONGO_URI", uri("bob:s3cret")));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let config = finish(world.command(&["config"]).env("MONGO_URI", uri("bob:s3cret")));
    assert!(config.stdout.contains("bob:***@127.0.0.1") && !config.stdout.contains("s3cret"));
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let Some(world) = World::with(&["--tls-cert-file", &certificate, "--tls-key-file", &key]) else {
        return;
    };
    let uri = |options: &str| format!("{}&tls=true{options}", world.server.uri());
    check(
        &world,
        &[("MONGO_URI", &uri(""))],
        &["MONGO_URI", "TLS", "certificate"],
    );
    // Whoever names it as its own authority is let in, and then no such collection is there.
    let trusted = uri(&format!("&tlsCAFile={certificate}"));
    check(&world, &[("MONGO_URI", &trusted)], &["MONGO_DB"]);
    check(&world, &[], &["MONGO_URI"]);
}
