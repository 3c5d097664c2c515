//! Identity from outside: keys that change under the running daemon, and the tokens that the page for operators shows.

use std::fs;
use std::process::Command;
use std::time::Instant;

use broadcastd::event::unix_now;
use broadcastd::identity::keys::Key;
use broadcastd::identity::{Config, Verifier};
use libtest_mimic::Trial;
use serde_json::json;

use crate::dialogue;
use crate::house::{hear_close, hear_json, say};
use crate::needs;
use crate::process::Daemon;
use crate::reads::SECRET;
use crate::signing::{EC, ED, RSA, Signer, claims};
use crate::tidy::tree;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(keys_are_taken_when_their_file_changes),
        needs::nothing(a_token_of_each_algorithm_says_who_somebody_is),
        needs::programs(&["openssl", "python3"], the_tokens_of_the_page_are_good),
    ]
}

fn keys_are_taken_when_their_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.pem");
    fs::write(&keys, EC).unwrap();
    let required = "[[server.endpoints]]\npath = \"/v1/ws\"\nauth = \"required\"\n";
    let daemon = Daemon::start(&format!("{required}[auth]\njwt = {{ keys = {keys:?} }}\n"));
    let said = |text: &str, line: &str| {
        let skip = daemon.log_lines();
        fs::write(&keys, text).unwrap();
        daemon.wait_for_log_after(skip, line)
    };
    assert!(said(&[EC, ED].concat(), "the keys of [auth] have changed and were taken").contains('2'));
    assert!(said(&ED[..40], "the keys that were there before stay").contains("cannot be used"));
    assert!(said(ED, "the keys of [auth] have changed and were taken").contains('1'));
    assert!(!daemon.log_text().contains("the configuration was reloaded"), "config.toml was not touched");
}

fn a_token_of_each_algorithm_says_who_somebody_is() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.pem");
    fs::write(&keys, [RSA, EC, ED].concat()).unwrap();
    let required = "[[server.endpoints]]\npath = \"/v1/ws\"\nauth = \"required\"\n";
    let trust = format!("[auth]\njwt = {{ keys = {keys:?}, secret = {{ env = \"JWT\" }} }}\n");
    let daemon = Daemon::start_with(&format!("{required}{trust}"), &[("JWT", SECRET)]);
    let shown = |signer: Signer| {
        let mut client = dialogue::open(&daemon.clients, "/v1/ws");
        let token = signer.sign(&claims("user-1", json!({})));
        say(&mut client, &json!({"type": "auth", "token": token, "id": "auth"}).to_string());
        client
    };
    let known = [
        ("HS256", Signer::secret(SECRET.as_bytes())),
        ("RS256", Signer::rsa()),
        ("ES256", Signer::ec()),
        ("EdDSA", Signer::ed()),
    ];
    for (algorithm, signer) in known {
        let mut client = shown(signer);
        let answer = std::iter::repeat_with(|| hear_json(&mut client)).find(|said| said["id"] == "auth").unwrap();
        assert_eq!(answer["data"]["status"], "authenticated", "{algorithm}: {answer}");
    }
    for foreign in [Signer::foreign(), Signer::foreign_ed()] {
        assert_eq!(hear_close(&mut shown(foreign)).0, 4001);
    }
}

fn the_tokens_of_the_page_are_good() {
    let page = fs::read_to_string(tree::root().join("docs/identity.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, script: &str| {
        let ended = Command::new(program).args(["-c", script]).current_dir(folder.path()).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    let shell: Vec<String> = blocks(&page, "sh").into_iter().filter(|block| !block.contains("curl")).collect();
    let [by_secret, by_key, service] = shell.try_into().expect("three blocks to paste");
    let tokens = run("sh", &[by_secret, by_key].concat());
    let python = run("python3", &blocks(&page, "python").concat());
    let [first, second]: [&str; 2] = tokens.lines().collect::<Vec<_>>().try_into().unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let secret = Key::secret(read("jwt.secret").trim().as_bytes()).unwrap();
    for (token, keys) in
        [(first, vec![secret.clone()]), (second, Key::file(&read("jwt.pem")).unwrap()), (python.trim(), vec![secret])]
    {
        let verifier = Verifier::default();
        verifier.set(Config { keys, ..Config::default() }, Instant::now());
        let identity = verifier.verify(token, unix_now()).unwrap_or_else(|rejected| panic!("{rejected}: {token}"));
        assert_eq!(&**identity.name(), "user-1");
        assert_eq!(identity.may_publish("ticks:A"), token != python.trim());
    }
    let hash = run("sh", &service);
    let token = read("ingest.token");
    let expected = broadcastd::identity::service::Hash::of(&token);
    assert_eq!(broadcastd::identity::service::Hash::from_hex(&hash[..64]), Some(expected), "{hash}");
}

/// The blocks of the page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let opened = format!("```{language}\n");
    page.split(&opened).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}
