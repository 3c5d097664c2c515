//! Commands that run nothing: what is in force, what editors and shells need to know, what an error means.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::needs;
use crate::process::{self, Ended, PLUGINS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(what_is_in_force_can_take_the_place_of_the_file),
        needs::nothing(each_value_names_its_source),
        needs::nothing(settings_of_plugins_are_shown_with_their_defaults),
        needs::nothing(the_shipped_configuration_is_printed_as_it_is),
        needs::program("python3-openapi", editors_find_what_is_wrong_by_the_schema),
        needs::programs(&["taplo"], editors_that_know_taplo_find_what_is_wrong),
        needs::nothing(a_broadcasters_own_variables_are_taken_and_named),
        needs::nothing(what_a_plugin_calls_secret_is_shown_to_nobody),
        needs::nothing(a_source_of_inputs_that_hears_nothing_is_told_at_its_place),
        needs::nothing(an_error_is_explained_by_its_code),
        needs::nothing(examples_of_errors_are_as_wrong_and_as_right_as_the_page_says),
        needs::nothing(programs_read_what_check_found),
        needs::nothing(offline_nothing_needs_to_be_there_but_the_file),
        needs::program("bash", shells_complete_the_commands),
        needs::nothing(there_is_a_manual_page_for_each_command),
        needs::nothing(whoever_reads_no_further_is_no_failure),
    ]
}

const BARS: &str = "[hub]\nmax_topics = 7\n[broadcasters.bars]\nplugin = \"bars\"\nsettings.interval = \"3s\"\n";

fn place(config: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let plugins = format!("[plugins]\ndirs = [{:?}]\n", PLUGINS.display().to_string());
    fs::write(place.path().join("config.toml"), format!("{config}{plugins}")).unwrap();
    place
}

fn ask(place: &TempDir, arguments: &[&str]) -> String {
    let ended = process::run(place.path(), arguments, &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    ended.stdout
}

fn run(config: &str, arguments: &[&str]) -> Ended {
    process::run(place(config).path(), arguments, &[])
}

fn what_is_in_force_can_take_the_place_of_the_file() {
    let place = place(BARS);
    let shown = ask(&place, &["config", "show", "--set", "hub.max_records=9"]);
    assert!(shown.contains("\nmax_records = 9\n") && !shown.contains(" # "), "{shown}");
    fs::write(place.path().join("config.toml"), &shown).unwrap();
    assert_eq!(ask(&place, &["config", "show"]), shown);
    assert!(ask(&place, &["check"]).contains("no mistakes"));
}

fn each_value_names_its_source() {
    let place = place(BARS);
    let env = [("BROADCASTD_HUB__MAX_RECORDS", "8")];
    let told = process::run(place.path(), &["config", "show", "--origin", "--set", "hub.max_per_ip=3"], &env).stdout;
    let source = |key: &str| {
        let line = told.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        line.split_once(" # ").unwrap().1.to_owned()
    };
    assert_eq!(source("max_topics"), "config.toml:2");
    assert_eq!(source("interval"), "config.toml:5");
    assert_eq!(source("max_records"), "BROADCASTD_HUB__MAX_RECORDS");
    assert_eq!(source("max_per_ip"), "--set hub.max_per_ip");
    assert_eq!(source("outbox"), "default");
    let told = process::run(place.path(), &["config", "show", "--format", "json"], &env).stdout;
    let all: Vec<Value> = serde_json::from_str(&told).unwrap();
    let one = |key: &str| all.iter().find(|one| one["key"] == key).unwrap().clone();
    assert_eq!(one("hub.max_topics")["line"], 2);
    assert_eq!(one("hub.max_records")["variable"], "BROADCASTD_HUB__MAX_RECORDS");
}

fn settings_of_plugins_are_shown_with_their_defaults() {
    let shown = ask(&place(BARS), &["config", "show", "--origin"]);
    let settings = shown.split_once("[broadcasters.bars.settings]").unwrap().1;
    assert!(settings.lines().any(|line| line.starts_with("interval = \"3s\"")), "{settings}");
    assert!(settings.lines().any(|line| line.starts_with("symbols = [") && line.ends_with("# default")), "{settings}");
}

fn the_shipped_configuration_is_printed_as_it_is() {
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.toml")).unwrap();
    assert_eq!(ask(&place(""), &["config", "default"]), shipped);
}

const VALIDATE: &str = "
import json, jsonschema, sys, tomllib
schema = json.load(open('schema.json'))
jsonschema.Draft7Validator.check_schema(schema)
errors = jsonschema.Draft7Validator(schema).iter_errors(tomllib.loads(sys.argv[1]))
print(sorted('.'.join(map(str, error.absolute_path)) for error in errors))
";

fn editors_find_what_is_wrong_by_the_schema() {
    let place = place(BARS);
    fs::write(place.path().join("schema.json"), ask(&place, &["config", "schema"])).unwrap();
    let wrong = |text: &str| {
        let output = Command::new("python3").args(["-c", VALIDATE, text]).current_dir(place.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(wrong(&ask(&place, &["config", "default"])), "[]");
    assert_eq!(wrong(&ask(&place, &["config", "show"])), "[]");
    assert_eq!(wrong("[hub]\nmax_topics = 0\n"), "['hub.max_topics']");
    let bars = "[broadcasters.bars]\nplugin = \"bars\"\n";
    assert_eq!(wrong(&format!("{bars}settings.symbols = 3\n")), "['broadcasters.bars.settings.symbols']");
    assert_eq!(wrong(&format!("{bars}enabled = 3\n")), "['broadcasters.bars.enabled']");
    assert_eq!(wrong("[broadcasters.other]\nplugin = \"x\"\nsettings.symbols = 3\n"), "[]", "another plugin's");
}

fn editors_that_know_taplo_find_what_is_wrong() {
    let place = place(BARS);
    fs::write(place.path().join("schema.json"), ask(&place, &["config", "schema"])).unwrap();
    let schema = format!("file://{}", place.path().join("schema.json").display());
    let lint = |text: &str| {
        fs::write(place.path().join("linted.toml"), text).unwrap();
        let mut taplo = Command::new("taplo");
        let output =
            taplo.args(["lint", "--schema", &schema, "linted.toml"]).current_dir(place.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for right in [ask(&place, &["config", "default"]), ask(&place, &["config", "show"]), BARS.to_owned()] {
        let (is_right, told) = lint(&right);
        assert!(is_right, "{told}\n{right}");
    }
    for (wrong, told) in [
        ("[hub]\nmax_topics = 0\n", "linted.toml:2:14"),
        ("[hub]\nmax_topic = 1\n", "'max_topic' was unexpected"),
        ("[broadcasters.bars]\nplugin = \"bars\"\nsettings.symbols = 3\n", "linted.toml:3:20"),
        ("[broadcasters.bars]\nenabled = true\n", "\"plugin\" is a required property"),
    ] {
        let (is_right, said) = lint(wrong);
        assert!(!is_right && said.contains(told), "{told} is not in\n{said}");
    }
}

fn a_broadcasters_own_variables_are_taken_and_named() {
    let place = place("[broadcasters.bars]\nplugin = \"bars\"\nenv = \"BAR_BROADCASTER\"\n");
    let run = |arguments: &[&str], env: &[(&str, &str)]| process::run(place.path(), arguments, env);
    let env = [
        ("BAR_BROADCASTER_ENABLED", "yes"),
        ("BAR_BROADCASTER_INTERVAL", "0.5"),
        ("BAR_BROADCASTER_SYMBOLS", "AAPL,MSFT"),
        ("BAR_BROADCASTER_RESOLUTIONS", "1,5,15,D"),
    ];
    let shown = run(&["config", "show", "--format", "json"], &env);
    let all: Vec<Value> = serde_json::from_str(&shown.stdout).unwrap_or_else(|_| panic!("{}", shown.stderr));
    for (key, value, variable) in [
        ("enabled", json!(true), env[0].0),
        ("settings.interval", json!(0.5), env[1].0),
        ("settings.symbols", json!(["AAPL", "MSFT"]), env[2].0),
        ("settings.resolutions", json!(["1", "5", "15", "D"]), env[3].0),
    ] {
        let key = format!("broadcasters.bars.{key}");
        let one = all.iter().find(|one| one["key"] == *key).unwrap();
        assert_eq!(one, &json!({"key": key, "value": value, "origin": "environment", "variable": variable}));
    }
    assert_eq!(run(&["check"], &env).code, Some(0));
    let disabled = run(&["config", "show"], &[("BAR_BROADCASTER_ENABLED", "no")]).stdout;
    assert!(disabled.contains("\nenabled = false\n"), "{disabled}");
    for (variable, value, code) in [
        ("BAR_BROADCASTER_ENABLED", "maybe", "C012"),
        ("BAR_BROADCASTER_INTERVAL", "fast", "C008"),
        ("BAR_BROADCASTER_RESOLUTION", "5", "C002"),
        ("BAR_BROADCASTER_TIMEZONE", "Europe/Berln", "C013"),
    ] {
        let refused = run(&["check"], &[(variable, value)]);
        let expected = format!("--> environment: {variable}\n");
        assert_eq!(refused.code, Some(78), "{variable}");
        assert!(refused.stderr.contains(&expected) && refused.stderr.contains(code), "{}", refused.stderr);
    }
}

fn what_a_plugin_calls_secret_is_shown_to_nobody() {
    let faulty = "[broadcasters.faulty]\nplugin = \"faulty\"\n";
    let place = place(&format!("{faulty}settings = {{ pin = \"4711-of-the-file\" }}\n"));
    let run = |arguments: &[&str], env: &[(&str, &str)]| process::run(place.path(), arguments, env);
    let variable = "BROADCASTD_BROADCASTERS__FAULTY__SETTINGS__PIN";
    let set = ["--set", "broadcasters.faulty.settings.pin=4711-of-the-line"];
    let from = [
        (&set[..0], &[][..], "config.toml:3"),
        (&set[..0], &[(variable, "4711-of-the-environment")], variable),
        (&set[..], &[], "--set "),
    ];
    for (arguments, env, origin) in from {
        let told = run(&[&["config", "show", "--origin"], arguments].concat(), env).stdout;
        let line = told.lines().find(|line| line.starts_with("pin = ")).unwrap();
        assert!(line.starts_with("pin = \"(hidden)\" ") && line.contains(origin), "{line}");
        let data = run(&[&["config", "show", "--format", "json"], arguments].concat(), env).stdout;
        assert!(!told.contains("4711") && !data.contains("4711"), "{told}{data}");
    }
    // Nor where it is wrong.
    let wrong = self::run(&format!("{faulty}settings = {{ pin = 4711 }}\n"), &["check"]);
    assert_eq!(wrong.code, Some(78));
    assert!(wrong.stderr.contains("faulty.settings.pin` must be a string, not this value"), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("config.toml:3:20") && !wrong.stderr.contains("4711"), "{}", wrong.stderr);
    // A secret of the daemon itself may not stand there at all.
    for setting in ["admin.token", "auth.jwt.secret", "server.tls.key"] {
        let given = format!("{setting}=hunter2");
        let refused = run(&["check", "--set", &given, "--set", "server.tls.cert=x"], &[]);
        let rule = "a secret is never inline: write \"credential:NAME\", { file = \"/path\" } or { env = \"NAME\" }";
        assert_eq!(refused.code, Some(78), "{setting}");
        assert!(refused.stderr.contains(rule) && !refused.stderr.contains("hunter2"), "{}", refused.stderr);
    }
}

fn a_source_of_inputs_that_hears_nothing_is_told_at_its_place() {
    for (plugin, source, usual) in
        [("bars", "ticks", "mock"), ("spc", "samples", "samples"), ("state_machines", "sessions", "sessions")]
    {
        let told = |listen: &str, source: Option<&str>| {
            let table = format!("[streams.in]\n[broadcasters.b]\nplugin = {plugin:?}\n{listen}\n");
            let given = source.map(|source| format!("settings.source = {source:?}\n")).unwrap_or_default();
            let place = place(&format!("{table}{given}"));
            let report: Value = serde_json::from_str(&ask(&place, &["check", "--format", "json"])).unwrap();
            let told = report["diagnostics"].as_array().unwrap().iter();
            told.map(|one| format!("{}:{} {}", one["code"], one["line"], one["message"])).collect::<Vec<_>>()
        };
        let warned = told("", Some(source));
        assert!(warned.len() == 1 && warned[0].starts_with("\"C043\":5 "), "{warned:?}");
        assert!(warned[0].contains("add listen = [") && warned[0].contains("to [broadcasters.b]"), "{warned:?}");
        let listens = told("listen = [\"in\"]", Some(source));
        assert_eq!((listens, told("", Some("mock"))), (vec![], vec![]), "{plugin}");
        let unsaid = told("", None); // what is not given has its default
        assert_eq!(unsaid.len(), usize::from(usual == source), "{plugin}: {unsaid:?}");
    }
}

fn an_error_is_explained_by_its_code() {
    let refused = run("[hub]\nmax_topic = 1\n", &["check"]);
    assert!(refused.stderr.contains("C002"), "{}", refused.stderr);
    for code in ["C002", "c002"] {
        let told = ask(&place(""), &["explain", code]);
        assert!(
            told.starts_with("## C002\n\nNo such setting exists at this place.\n") && !told.contains("C003"),
            "{told}"
        );
    }
    let list = ask(&place(""), &["explain"]);
    assert!(list.starts_with("C001  ") && list.lines().any(|line| line.starts_with("C043  ")), "{list}");
    let all: Value = serde_json::from_str(&ask(&place(""), &["explain", "--format", "json"])).unwrap();
    assert_eq!(all.as_array().unwrap().len(), list.lines().count());
    let one: Value = serde_json::from_str(&ask(&place(""), &["explain", "c002", "--format", "json"])).unwrap();
    assert_eq!((&one[0]["code"], one.as_array().unwrap().len()), (&Value::from("C002"), 1));
    assert!(one[0]["text"].as_str().unwrap().starts_with("## C002\n"), "{one}");
    let unknown = run("", &["explain", "E17"]);
    assert_eq!(unknown.code, Some(64));
    assert_eq!(unknown.stderr, "no error has the code \"E17\"; `broadcastd explain` lists those that there are\n");
}

fn examples_of_errors_are_as_wrong_and_as_right_as_the_page_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md")).unwrap();
    let plugins = PLUGINS.display().to_string();
    let mut shown = 0;
    for section in page.split("\n## ").skip(1) {
        let code = &section[..4];
        let block = |opening: &str| Some(section.split_once(opening)?.1.split_once("```").unwrap().0);
        let check = |text: &str| {
            let place = tempfile::tempdir().unwrap();
            fs::write(place.path().join("config.toml"), text).unwrap();
            process::run(place.path(), &["check", "--format", "json"], &[("BROADCASTD_PLUGIN_PATH", &plugins)])
        };
        let Some(wrong) = block("```toml wrong\n") else { continue };
        let refused = check(wrong);
        let report: Value = serde_json::from_str(&refused.stdout).unwrap();
        let found: Vec<&Value> = report["diagnostics"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
        assert_eq!((refused.code, found), (Some(78), vec![&Value::from(code)]), "{report:#}");
        let right = check(block("```toml right\n").unwrap());
        assert_eq!(right.code, Some(0), "{code}: {}", right.stdout);
        shown += 1;
    }
    assert!(shown >= 29, "only {shown} are shown by the text alone");
}

fn programs_read_what_check_found() {
    let wrong = run("[hub]\nmax_topic = 1\n", &["check", "--format", "json"]);
    assert_eq!((wrong.code, wrong.stderr.as_str()), (Some(78), ""));
    let report: Value = serde_json::from_str(&wrong.stdout).unwrap();
    let first = &report["diagnostics"][0];
    assert_eq!((&report["errors"], &first["code"], &first["line"]), (&1.into(), &"C002".into(), &2.into()));
    assert_eq!(first["suggestion"]["replacement"], "max_topics");
    let right: Value = serde_json::from_str(&run(BARS, &["check", "--format", "json"]).stdout).unwrap();
    assert_eq!((&right["errors"], right["diagnostics"].as_array().map(Vec::len)), (&0.into(), Some(0)));
}

fn offline_nothing_needs_to_be_there_but_the_file() {
    let config = "[broadcasters.x]\nplugin = \"not_built_yet\"\n";
    assert_eq!(run(config, &["check"]).code, Some(78));
    assert_eq!(run(config, &["check", "--offline"]).code, Some(0));
    assert_eq!(run("[hub]\nmax_topics = 0\n", &["check", "--offline"]).code, Some(78));
}

fn shells_complete_the_commands() {
    let place = place("");
    for (shell, word) in [("bash", "completions"), ("zsh", "completions"), ("fish", "completions")] {
        assert!(ask(&place, &["completions", shell]).contains(word), "{shell}");
    }
    fs::write(place.path().join("complete.bash"), ask(&place, &["completions", "bash"])).unwrap();
    let script = "source ./complete.bash; COMP_WORDS=(broadcastd conf); COMP_CWORD=1
        _broadcastd broadcastd conf broadcastd; echo \"${COMPREPLY[*]}\"";
    let output = Command::new("bash").args(["-c", script]).current_dir(place.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "config", "{output:?}");
}

fn there_is_a_manual_page_for_each_command() {
    let place = place("");
    let page = ask(&place, &["man"]);
    assert!(page.contains(".TH broadcastd 1") && page.contains("\\-\\-config"), "{page}");
    ask(&place, &["man", "new/man"]);
    for name in ["broadcastd.1", "broadcastd-check.1", "broadcastd-config-show.1", "broadcastd-explain.1"] {
        assert!(place.path().join("new/man").join(name).exists(), "{name}");
    }
    fs::write(place.path().join("file"), "").unwrap();
    let refused = process::run(place.path(), &["man", "file"], &[]);
    assert_eq!(refused.code, Some(77));
    assert!(refused.stderr.contains("cannot be written to file: "), "{}", refused.stderr);
}

fn whoever_reads_no_further_is_no_failure() {
    for arguments in [&["completions", "bash"][..], &["man"], &["config", "default"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_broadcastd"));
        let output = command.args(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""), "{arguments:?}");
    }
}
