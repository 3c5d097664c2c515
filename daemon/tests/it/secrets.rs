//! Secrets wherever one is asked for: each of the three forms is read, one that is missing is told with its place, and what
//! it says is printed nowhere.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::http;
use crate::needs;
use crate::process::{self, Daemon, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_form_of_a_secret_is_read),
        needs::nothing(a_key_comes_by_file_or_credential),
        needs::nothing(a_key_lies_beside_the_configuration_wherever_the_daemon_is_started),
        needs::nothing(a_secret_of_the_unit_is_not_looked_for_elsewhere),
        needs::nothing(a_secret_that_is_not_there_is_told_at_its_place),
        needs::nothing(a_secret_that_is_written_out_is_refused_and_not_repeated),
    ]
}

/// Long enough for every use.
const WORD: &str = "correct-horse-battery-staple-0123456789";

const FORMS: [&str; 3] = ["\"credential:word\"", "{ file = \"secrets/word\" }", "{ env = \"WORD\" }"];

/// Every setting that is a secret and may be in a variable, in one configuration behind `PORTS`.
fn config(form: &str) -> String {
    format!(
        "token = {form}\n[auth.jwt]\nsecret = {form}\n[streams.alerts]\n\
         [broadcasters.hook]\nplugin = \"webhook\"\nlisten = [\"alerts\"]\n\
         settings = {{ url = \"http://127.0.0.1:9\", secret = {form}, bearer = {form} }}\n\
         [broadcasters.mail]\nplugin = \"email\"\nlisten = [\"alerts\"]\n\
         settings = {{ smtp = \"smtps://localhost:9\", from = \"a@example.com\", to = [\"b@example.com\"], user = \"a\", password = {form} }}\n\
         [broadcasters.bus]\nplugin = \"mqtt\"\nlisten = [\"alerts\"]\n\
         settings = {{ broker = \"mqtt://127.0.0.1:9\", user = \"a\", password = {form} }}\n"
    )
}

/// How often a secret is asked for there.
const PLACES: usize = 6;

fn secrets(folder: &Path) -> String {
    let secrets = folder.join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("word"), format!("{WORD}\n")).unwrap();
    secrets.display().to_string()
}

fn every_form_of_a_secret_is_read() {
    for form in FORMS {
        let folder = tempfile::tempdir().unwrap();
        let credentials = secrets(folder.path());
        let env = [("CREDENTIALS_DIRECTORY", &*credentials), ("WORD", WORD)];
        let daemon = Daemon::start_in(folder, &config(form), &env);
        let ask = |headers: &[(&str, &str)]| http::ask(&daemon.admin, "GET /v1/status HTTP/1.1", headers, b"").status;
        let bearer = format!("Bearer {WORD}");
        assert_eq!((ask(&[("Authorization", "Bearer no")]), ask(&[("Authorization", &bearer)])), (401, 200), "{form}");
        for name in ["hook", "mail", "bus"] {
            let headers = [("Authorization", &*bearer)];
            let one = http::ask(&daemon.admin, &format!("GET /v1/broadcasters/{name} HTTP/1.1"), &headers, b"").json();
            assert_eq!(one["is_running"], true, "{form}: {one}");
        }
        let shown = process::run(daemon.folder.path(), &["config", "show", "--origin"], &env).stdout;
        assert!(shown.matches("word").count() + shown.matches("WORD").count() >= PLACES, "{shown}");
        assert!(!shown.contains(WORD) && !daemon.log_text().contains(WORD), "{form}");
    }
}

fn a_key_comes_by_file_or_credential() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = secrets(folder.path());
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("tls.crt"), pair.cert.pem()).unwrap();
    fs::write(folder.path().join("secrets/word"), pair.signing_key.serialize_pem()).unwrap();
    let env = [("CREDENTIALS_DIRECTORY", &*credentials), ("WORD", "x")];
    let check = |form: &str| {
        let config = format!("{PORTS}[server.tls]\ncert = \"tls.crt\"\nkey = {form}\n");
        fs::write(folder.path().join("config.toml"), config).unwrap();
        process::run(folder.path(), &["check"], &env)
    };
    for form in &FORMS[..2] {
        let ended = check(form);
        assert_eq!(ended.code, Some(0), "{form}: {}", ended.stderr);
    }
    let refused = check(FORMS[2]);
    assert_eq!(refused.code, Some(78));
    assert!(
        refused.stderr.contains("this secret is a file; write { file = \"/path\" } in place of the variable WORD"),
        "{}",
        refused.stderr
    );
}

fn a_secret_that_is_not_there_is_told_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().display().to_string();
    let whole = format!("cannot read the secret in {nothing}/secrets/word: No such file");
    let check = |config: &str, env: &[(&str, &str)]| {
        fs::write(folder.path().join("config.toml"), format!("{PORTS}{config}")).unwrap();
        let ended = process::run(folder.path(), &["check"], env);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        ended.stderr
    };
    let credential = [("CREDENTIALS_DIRECTORY", &*nothing)];
    for (form, env, why) in [
        (FORMS[0], &credential[..], "cannot read the secret in "),
        (FORMS[1], &[], &*whole),
        (FORMS[2], &[], "the environment variable WORD is not set"),
        (FORMS[2], &[("WORD", " ")], "the secret is empty"),
    ] {
        let token = check(&format!("token = {form}\n"), env);
        assert!(token.contains(why) && token.contains("--> config.toml:5:"), "{token}");
        let secret = check(&format!("[auth.jwt]\nsecret = {form}\n"), env);
        assert!(secret.contains(why) && secret.contains("--> config.toml:6:"), "{secret}");
    }
}

fn a_secret_of_the_unit_is_not_looked_for_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tls.crt"), "not looked at without its key").unwrap();
    let of_all = [
        ("admin.token", "token = \"credential:word\"\n"),
        ("auth.jwt.secret", "[auth.jwt]\nsecret = \"credential:word\"\n"),
        ("server.tls.key", "[server.tls]\ncert = \"tls.crt\"\nkey = \"credential:word\"\n"),
    ];
    for (setting, config) in of_all {
        fs::write(folder.path().join("config.toml"), format!("{PORTS}{config}")).unwrap();
        let run = |arguments: &[&str]| process::run(folder.path(), arguments, &[]);
        let note = format!("`{setting}` cannot be checked here: it is given by the unit (LoadCredential=word:/path)");
        let checked = run(&["check"]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        for part in [&*format!("note[C046]: {note}"), "1 note.", "config.toml: no mistakes"] {
            assert!(checked.stdout.contains(part), "no {part} in\n{}", checked.stdout);
        }
        let json: Value = serde_json::from_str(&run(&["check", "--format", "json"]).stdout).unwrap();
        assert_eq!((&json["errors"], &json["diagnostics"][0]["severity"]), (&json!(0), &json!("note")));
        let healthy = format!("ok       configuration  config.toml: no mistakes; {note}");
        let doctor = run(&["doctor"]).stdout;
        assert!(doctor.lines().any(|line| line == healthy), "{doctor}");
        let described = run(&["schema", "asyncapi"]);
        let scheme = if setting == "server.tls.key" { "\"wss\"" } else { "\"ws\"" };
        assert!(described.stdout.contains(scheme), "{setting}: {}{}", described.stdout, described.stderr);
        let daemon = run(&["run", "--strict"]);
        assert_eq!(daemon.code, Some(78), "the daemon itself needs it");
        assert!(daemon.stderr.contains("needs systemd's LoadCredential=word:/path"), "{}", daemon.stderr);
    }
}

fn a_key_lies_beside_the_configuration_wherever_the_daemon_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let house = folder.path().join("house");
    fs::create_dir(&house).unwrap();
    fs::write(house.join("token"), WORD).unwrap();
    fs::write(house.join("config.toml"), format!("{PORTS}token = {{ file = \"token\" }}\n")).unwrap();
    let check = |config: &str| process::run(folder.path(), &["--config", config, "check"], &[]);
    for config in ["house/config.toml", &house.join("config.toml").display().to_string()] {
        let ended = check(config);
        assert_eq!(ended.code, Some(0), "{config}: {}", ended.stderr);
    }
    fs::rename(house.join("token"), folder.path().join("token")).unwrap();
    let refused = check("house/config.toml");
    assert!(refused.stderr.contains("/house/token: No such file"), "{}", refused.stderr);
}

fn a_secret_that_is_written_out_is_refused_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), format!("{PORTS}{}", config(&format!("\"{WORD}\"")))).unwrap();
    let daemons = process::run(folder.path(), &["check"], &[]).stderr;
    let rule = "a secret is never inline: write \"credential:NAME\", { file = \"/path\" } or { env = \"NAME\" }";
    assert_eq!(daemons.matches(rule).count(), 2, "{daemons}");
    assert!(!daemons.contains(WORD), "{daemons}");
    // With these mended, plugins have their say.
    let mended = config(&format!("\"{WORD}\"")).replacen(&format!("\"{WORD}\""), FORMS[2], 2);
    fs::write(folder.path().join("config.toml"), format!("{PORTS}{mended}")).unwrap();
    let plugins = process::run(folder.path(), &["check"], &[("WORD", WORD)]).stderr;
    assert_eq!(plugins.matches(rule).count(), PLACES - 2, "{plugins}");
    assert!(!plugins.contains(WORD), "{plugins}");
}
