//! Whole configurations: the text of every mistake against golden files, and what right ones come to.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{layers::Layer, schema::*, value::*, *};

/// Stands at the end of every golden text.
const ACTIVE: &str = "Nothing was changed; the running configuration stays active.";

fn bars_schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "source": { "enum": ["mock", "ticks", "replay"], "default": "mock" },
            "interval": { "type": ["string", "number"], "format": "duration", "minimum": 0.05, "default": "2s" },
            "symbols": { "type": "array", "items": { "$ref": "#/$defs/symbol" }, "default": ["AAPL", "GOOGL", "MSFT"] },
            "resolutions": { "type": "array", "items": { "type": "string" }, "minItems": 1, "default": ["1"] },
            "fill": { "oneOf": [{ "const": "none" }, { "const": "previous_close" }] },
            "clock": { "type": "string", "enum": ["wall", "event"] },
            "session": { "type": "string", "pattern": "^(24x7|[0-9]{4}-[0-9]{4})$" },
            "limits": { "$ref": "#/$defs/limits", "default": {} },
            "licence": { "type": "object", "properties": {
                "code": { "type": "string", "writeOnly": true, "pattern": "^[0-9]+$" },
                "seal": { "type": "integer", "format": "password", "maximum": 99 },
                "holder": { "enum": ["us"], "writeOnly": true }
            } }
        },
        "$defs": {
            "symbol": { "type": "string", "minLength": 1, "maxLength": 32 },
            "limits": { "type": "object", "properties": { "max_fill": { "type": "integer", "default": 100 } } }
        }
    })
}

fn source(env: &[(&str, &str)], sets: &[&str]) -> Source {
    Source {
        path: PathBuf::from("config.toml"),
        env: env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        sets: sets.iter().map(|set| set.to_string()).collect(),
    }
}

fn load(text: &str) -> Loaded {
    load_with(text, &[], &[])
}

fn load_with(text: &str, env: &[(&str, &str)], sets: &[&str]) -> Loaded {
    let outcome = Config::from_text(&source(env, sets), text);
    outcome.unwrap_or_else(|found| panic!("{}", found.render(Paint::Plain, ACTIVE)))
}

/// The files of an input: behind a line `#### NAME` begins the file of the folder that has this name.
fn layers(input: &str) -> Layers {
    let mut texts = input.split("#### ");
    let file = texts.next().unwrap_or_default();
    let folder = texts.map(|one| {
        let (name, text) = one.split_once('\n').unwrap();
        Layer { name: name.to_owned(), text: text.to_owned() }
    });
    Layers { folder: folder.collect(), ..Layers::of("config.toml", file) }
}

/// The report on one input; its first lines say what comes from outside the files.
fn report(input: &str) -> String {
    let said = |word: &str| -> Vec<&str> {
        input.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(word)?.strip_prefix(": ")).collect()
    };
    let env: Vec<(&str, &str)> = said("env").iter().map(|line| line.split_once('=').unwrap()).collect();
    let loaded = match Config::from_layers(&source(&env, &said("set")), layers(input)) {
        Ok(loaded) => loaded,
        Err(found) => return found.render(Paint::Plain, ACTIVE),
    };
    let refused: Vec<Diagnostic> = said("refuse")
        .iter()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(pointer, message)| {
            Diagnostic::of_plugin(&loaded.document, "bars", pointer.trim_end_matches('/'), message)
        })
        .collect();
    if !refused.is_empty() {
        return Diagnostics::about(&loaded.document, refused).render(Paint::Plain, ACTIVE);
    }
    let settings = said("plugin").first().map(|name| check_settings(&loaded.document, name, &bars_schema()));
    match settings {
        Some(Err(found)) => found.render(Paint::Plain, ACTIVE),
        Some(Ok(settings)) => format!("{settings:#}\n"),
        None => "no mistake\n".to_owned(),
    }
}

#[test]
fn every_mistake_reads_as_its_golden_text() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config");
    let rewrite = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut inputs: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    inputs.sort();
    let mut wrong = Vec::new();
    for input in &inputs {
        let text = report(&std::fs::read_to_string(input).unwrap());
        let expected = input.with_extension("txt");
        if rewrite {
            std::fs::write(&expected, &text).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("── {} ──\n{text}", expected.display()));
        }
    }
    assert!(inputs.len() >= 20, "only {} mistakes", inputs.len());
    assert!(wrong.is_empty(), "these read otherwise now; UPDATE_GOLDEN=1 rewrites them\n{}", wrong.join("\n"));
}

#[test]
fn every_error_that_can_be_repeated_has_a_golden_text() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let texts: Vec<String> = ["config", "process"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(golden.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    // A warning or a note is no error, and an address that is taken is another one each time.
    let elsewhere = [code::UNUSABLE_ADDRESS, code::IGNORED, code::ODD, code::UNCHECKED, code::OPEN, code::SILENT];
    for (code, _) in code::ALL.iter().filter(|(code, _)| !elsewhere.contains(code)) {
        assert!(texts.iter().any(|text| text.contains(&format!("error[{code}]"))), "{code} is never shown");
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    let empty = load("");
    assert_eq!(empty.config, Config::default());
    assert_eq!(empty.warnings.render(Paint::Plain, ACTIVE), "");
    assert_eq!(load("\u{feff}# only a comment\r\n").config, Config::default());
}

#[test]
fn the_shipped_file_shows_the_defaults_and_its_examples() {
    let shipped = Config::shipped(&source(&[], &[])).unwrap();
    let mut config = shipped.config;
    let bars = config.broadcasters.remove("bars").unwrap();
    assert_eq!(config.streams.remove("ticks"), Some(DeclaredStream::default()));
    holds_control_charts(&mut config);
    holds_state_machines(&mut config);
    holds_user_events(&mut config);
    let door = config.server.endpoints.pop().unwrap();
    assert_eq!((&*door.path, door.dialect, &*door.streams), ("/api/v1/ws", Dialect::Fastws, &["bars".to_owned()][..]));
    assert_eq!(door.auth, Auth::None);
    assert_eq!(config, Config::default(), "what the shipped file shows as default is none");
    assert_eq!((&*bars.plugin, &*bars.listen), ("bars", &[][..]));
    assert_eq!(bars.env.as_deref(), Some("BAR_BROADCASTER"));
    assert_eq!(bars.restart, Restart::default());
    let settings = check_settings(&shipped.document, "bars", &bars_schema()).unwrap();
    assert_eq!(settings["interval"], "2s");
    assert_eq!(settings["resolutions"], json!(["1"]));
}

/// Takes the example of control charts out, after a look at it.
fn holds_control_charts(config: &mut Config) {
    let door = config.server.endpoints.pop().unwrap();
    let streams = &["alerts".to_owned()][..];
    assert_eq!(
        (&*door.path, door.dialect, &*door.streams, door.auth),
        ("/ws/samples", Dialect::Spc, streams, Auth::None)
    );
    assert_eq!(config.streams.remove("samples"), Some(DeclaredStream::default()));
    let charts = config.broadcasters.remove("alerts").unwrap();
    assert_eq!((&*charts.plugin, &*charts.listen), ("spc", &["samples".to_owned()][..]));
}

/// Takes the example of state machines out, after a look at it.
fn holds_state_machines(config: &mut Config) {
    let door = config.server.endpoints.pop().unwrap();
    let streams = &["state_machines".to_owned()][..];
    assert_eq!((&*door.path, door.dialect, &*door.streams, door.auth), ("/ws", Dialect::Streams, streams, Auth::None));
    assert_eq!(config.streams.remove("sessions"), Some(DeclaredStream::default()));
    let machines = config.broadcasters.remove("state_machines").unwrap();
    assert_eq!((&*machines.plugin, &*machines.listen), ("state_machines", &["sessions".to_owned()][..]));
}

/// Takes the example of user events out, after a look at it: nobody is let in before `[auth]` says who users are.
fn holds_user_events(config: &mut Config) {
    assert!(!config.auth.knows_somebody());
    let door = config.server.endpoints.pop().unwrap();
    assert_eq!((&*door.path, door.dialect, &*door.streams), ("/ws/user", Dialect::User, &["user".to_owned()][..]));
    assert_eq!(door.auth, Auth::Required);
    let input = config.streams.remove("user_events").unwrap();
    assert!(input.private && !input.visible && input.broadcast.is_empty());
    assert_eq!(input.schema_modes["*"], SchemaMode::Enforce);
    let user = config.broadcasters.remove("user").unwrap();
    assert_eq!((&*user.plugin, &*user.listen), ("user_events", &["user_events".to_owned()][..]));
    assert!(user.allow_private && user.stream == StreamOverride::default());
}

#[test]
fn the_shipped_file_names_every_setting() {
    fn names(schema: Schema<'_>, found: &mut Vec<String>) {
        for variant in schema.variants() {
            for key in variant.properties().into_iter().flat_map(Map::keys) {
                found.push(key.clone());
                names(variant.property(key).unwrap(), found);
            }
            variant.additional().into_iter().for_each(|below| names(below, found));
            variant.items().into_iter().for_each(|below| names(below, found));
        }
    }
    let mut found = Vec::new();
    names(Schema::new(&SCHEMA), &mut found);
    assert!(found.len() > 60, "the schema was not walked");
    for name in found {
        assert!(SHIPPED.contains(&name), "config.toml does not mention `{name}`");
    }
}

#[test]
fn the_schema_asks_nothing_the_checker_leaves_out() {
    assert_eq!(Schema::new(&SCHEMA).unsupported(), [""; 0]);
}

#[test]
fn defaults_pass_their_own_schema_and_read_back() {
    let text = toml::to_string(&Config::default()).unwrap();
    assert_eq!(load(&text).config, Config::default());
}

#[test]
fn the_nearer_word_wins() {
    let text = "[hub]\nmax_topics = 1\nmax_records = 1\nmax_per_ip = 1\n";
    let env = [("BROADCASTD_HUB__MAX_TOPICS", "2"), ("BROADCASTD_HUB__MAX_RECORDS", "2")];
    let loaded = load_with(text, &env, &["hub.max_topics=3"]);
    let hub = &loaded.config.hub;
    assert_eq!((hub.max_topics, hub.max_records, hub.max_per_ip, hub.max_subscriptions), (3, 2, 1, 200));
    assert_eq!(loaded.document.origin("/hub/max_topics"), Some(&Origin::Set("hub.max_topics".into())));
    assert_eq!(
        loaded.document.origin("/hub/max_records"),
        Some(&Origin::Environment("BROADCASTD_HUB__MAX_RECORDS".into()))
    );
    assert_eq!(loaded.document.origin("/hub/max_per_ip"), Some(&Origin::File));
    assert_eq!(loaded.document.origin("/hub/max_subscriptions"), None);
}

#[test]
fn overrides_take_the_type_the_setting_has() {
    let env = [
        ("BROADCASTD_SERVER__LISTEN", "127.0.0.1:1, [::1]:2"),
        ("BROADCASTD_STREAMS__TICKS__TEMPLATE", "5"),
        ("BROADCASTD_STREAMS__TICKS__VISIBLE", "true"),
        ("BROADCASTD_HUB__PING__EVERY", "1.5"),
        ("BROADCASTD_SERVER__ENDPOINTS__0__PATH", "/other"),
        ("BROADCASTD_PLUGIN_PATH", "/not/an/override"),
    ];
    let sets = ["server.drain=3s", "hub.history={ events = 7 }", "log.level=\"debug\""];
    let config = load_with("[[server.endpoints]]\npath = \"/v1/ws\"\n", &env, &sets).config;
    assert_eq!(config.server.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse::<Address>().unwrap()]);
    assert_eq!(config.server.endpoints[0].path, "/other");
    assert_eq!((config.streams["ticks"].template.as_str(), config.streams["ticks"].visible), ("5", true));
    assert_eq!(config.hub.ping.every, Duration::from_millis(1500));
    assert_eq!(config.server.drain, Duration::from_secs(3));
    assert_eq!((config.hub.history.events, config.hub.history.age), (7, Duration::from_secs(300)));
    assert_eq!(config.log.level, "debug");
}

#[test]
fn an_override_of_a_table_keeps_the_overrides_inside_it() {
    let env = [("BROADCASTD_HUB__HISTORY", "{ bytes = 1 }"), ("BROADCASTD_HUB__HISTORY__EVENTS", "5")];
    let config = load_with("[hub.history]\nage = \"1s\"\n", &env, &[]).config;
    assert_eq!(config.hub.history, History { events: 5, bytes: Size(1), age: Duration::from_secs(300) });
}

#[test]
fn a_variable_with_one_underscore_too_few_is_warned_about() {
    let warned = load_with("", &[("BROADCASTD_HUB_MAX_TOPICS", "5")], &[]).warnings;
    let text = warned.render(Paint::Plain, "");
    assert!(text.contains("warning[C040]") && text.contains("BROADCASTD_HUB__MAX_TOPICS"), "{text}");
    assert!(text.ends_with("config.toml: 1 warning.\n"), "{text}");
}

/// Every setting of a schema that is no table, by its path; a name that the operator chooses is `x`.
fn leaves<'a>(path: &[String], schema: Schema<'a>, found: &mut Vec<(Vec<String>, Schema<'a>)>) {
    let tables = schema.certain();
    let named = tables.iter().filter_map(|one| Some((one, one.properties()?)));
    let mut below: Vec<(String, Schema<'_>)> =
        named.flat_map(|(one, names)| names.keys().map(|name| (name.clone(), one.property(name).unwrap()))).collect();
    below.extend(tables.iter().find_map(Schema::additional).map(|each| ("x".to_owned(), each)));
    let tables_in_list = tables
        .iter()
        .find_map(Schema::items)
        .filter(|each| each.certain().iter().any(|one| one.properties().is_some()));
    below.extend(tables_in_list.map(|each| ("0".to_owned(), each)));
    if below.is_empty() {
        found.push((path.to_vec(), schema));
    }
    for (name, schema) in below {
        leaves(&[path, &[name]].concat(), schema, found);
    }
}

/// A text that stands for a value in the environment, whatever its type may be.
fn sample(schema: Schema<'_>) -> String {
    let constant = schema.variants().iter().flat_map(Schema::constants).find_map(Value::as_str).map(str::to_owned);
    let format = schema.certain().iter().find_map(|one| one.text("format")).unwrap_or_default();
    let types = schema.types();
    let first =
        ["boolean", "integer", "number", "array", "string", "object"].into_iter().find(|one| types.contains(one));
    constant.unwrap_or_else(|| match (format, first) {
        ("duration" | "size", _) => "100".to_owned(),
        ("interval", _) => "1s..2s".to_owned(),
        ("socket-address", _) => "127.0.0.1:1".to_owned(),
        (_, Some("boolean")) => "true".to_owned(),
        (_, Some("integer" | "number")) => "1".to_owned(),
        (_, Some("object")) => "{ a = 1 }".to_owned(),
        _ => "credential:1".to_owned(), // a secret, and a text or a list of one that may not be what is wanted
    })
}

#[test]
fn every_setting_can_be_given_by_the_environment() {
    let schema = Schema::new(&SCHEMA);
    let mut all = Vec::new();
    leaves(&[], schema, &mut all);
    assert!(all.len() > 80, "only {} settings", all.len());
    for (path, wanted) in all {
        let variable = format!("BROADCASTD_{}", path.join("__").to_uppercase());
        let pointer = path.iter().fold(String::new(), |pointer, part| document::pointer_to(&pointer, part));
        let text = sample(wanted);
        let mut document = Document::parse("config.toml", "").unwrap();
        let env = [(variable.clone(), text.clone())].into();
        assert_eq!(overlay::apply(&mut document, &env, &[]), []);
        document.read_overrides("", schema);
        assert_eq!(document.origin(&pointer), Some(&Origin::Environment(variable.clone())), "{variable}");
        for found in check::check(&document, "", schema) {
            // A table of its own may need more than one variable, and a pattern more than a sample.
            let is_read = [code::MISSING_KEY, code::WRONG_FORMAT, code::OUT_OF_RANGE].contains(&found.code);
            assert!(
                is_read && found.at.origin == Origin::Environment(variable.clone()),
                "{variable}={text}: {found:?}"
            );
        }
    }
}

#[test]
fn a_list_of_tables_can_be_begun_by_the_environment() {
    let env = [
        ("BROADCASTD_SERVER__ENDPOINTS__1__PATH", "/b"),
        ("BROADCASTD_SERVER__ENDPOINTS__0__PATH", "/a"),
        ("BROADCASTD_SERVER__ENDPOINTS__0__STREAMS", "x"),
    ];
    let config = load_with("[streams.x]\n", &env, &["server.endpoints.1.dialect=sse"]).config;
    let doors: Vec<_> = config.server.endpoints.iter().map(|one| (&*one.path, one.dialect, &*one.streams[0])).collect();
    assert_eq!(doors, [("/a", Dialect::Native, "x"), ("/b", Dialect::Sse, "*")]);
    let gap = Config::from_text(&source(&env[..1], &[]), "").unwrap_err();
    assert_eq!(gap.items[0].code, code::WRONG_TYPE, "the first of them is missing");
}

#[test]
fn a_broadcaster_has_variables_of_its_own() {
    let env = [
        ("BAR_BROADCASTER_ENABLED", "No"),
        ("BAR_BROADCASTER_INTERVAL", "0.5"),
        ("BAR_BROADCASTER_SYMBOLS", "AAPL,GOOGL"),
        ("BAR_BROADCASTER_RESOLUTIONS", "1,5, 15,D"),
        ("BAR_BROADCASTERS", "of somebody else"),
    ];
    let loaded = load_with(SHIPPED, &env, &[]);
    assert!(!loaded.config.broadcasters["bars"].enabled);
    let settings = check_settings(&loaded.document, "bars", &bars_schema()).unwrap();
    let expected = json!({
        "source": "mock", "interval": 0.5, "symbols": ["AAPL", "GOOGL"], "resolutions": ["1", "5", "15", "D"],
        "limits": { "max_fill": 100 }
    });
    assert_eq!(settings, expected);
    let single = load_with(SHIPPED, &[("BAR_BROADCASTER_RESOLUTIONS", "5")], &["broadcasters.bars.settings.symbols=X"]);
    let settings = check_settings(&single.document, "bars", &bars_schema()).unwrap();
    assert_eq!((&settings["resolutions"], &settings["symbols"]), (&json!(["5"]), &json!(["X"])));
}

#[test]
fn the_command_line_wins_over_a_broadcasters_own_variables() {
    let env = [("BAR_BROADCASTER_INTERVAL", "0.5"), ("BROADCASTD_BROADCASTERS__BARS__SETTINGS__INTERVAL", "7")];
    let interval = |sets: &[&str]| {
        let loaded = load_with(SHIPPED, &env, sets);
        check_settings(&loaded.document, "bars", &bars_schema()).unwrap()["interval"].clone()
    };
    assert_eq!(interval(&[]), json!(0.5));
    assert_eq!(interval(&["broadcasters.bars.settings.interval=9"]), json!(9));
}

#[test]
fn the_longest_prefix_owns_a_variable() {
    let text = "[broadcasters.a]\nplugin = 'a'\nenv = 'BAR'\n[broadcasters.b]\nplugin = 'b'\nenv = 'BAR_B'\n";
    let config = load_with(text, &[("BAR_B_X", "1"), ("BAR_Y", "2")], &[]).config;
    assert_eq!(Value::from(config.broadcasters["a"].settings.clone()), json!({ "y": 2 }));
    assert_eq!(Value::from(config.broadcasters["b"].settings.clone()), json!({ "x": 1 }));
}

#[test]
fn switches_take_the_words_people_write() {
    for (word, expected) in [("true", true), ("1", true), ("YES", true), ("false", false), ("0", false), ("no", false)]
    {
        let config = load_with(SHIPPED, &[("BAR_BROADCASTER_ENABLED", word)], &[]).config;
        assert_eq!(config.broadcasters["bars"].enabled, expected, "{word}");
    }
}

#[test]
fn settings_without_any_get_the_plugins_defaults() {
    let loaded = load("[broadcasters.bars]\nplugin = \"bars\"\n");
    let settings = check_settings(&loaded.document, "bars", &bars_schema()).unwrap();
    assert_eq!(settings["symbols"], json!(["AAPL", "GOOGL", "MSFT"]));
    assert_eq!(settings["limits"], json!({ "max_fill": 100 }));
}

#[test]
fn dates_become_their_text() {
    let loaded =
        load("[broadcasters.a]\nplugin = \"a\"\nsettings = { from = 2026-11-20T08:00:00+01:00, day = 2026-11-20 }\n");
    let settings = Value::from(loaded.config.broadcasters["a"].settings.clone());
    assert_eq!(settings, json!({ "from": "2026-11-20T08:00:00+01:00", "day": "2026-11-20" }));
}

#[test]
fn a_finding_is_also_data() {
    let found = Config::from_text(&source(&[], &[]), "[log]\n\"ö\" = 1\nformat = \"jsn\"\n").unwrap_err().to_json();
    assert_eq!(found["errors"], 2);
    let expected = json!({
        "code": "C005", "severity": "error", "message": "`log.format` cannot be \"jsn\"", "pointer": "/log/format",
        "environment": null, "set": null, "file": "config.toml", "line": 3, "column": 10, "span": [24, 29],
        "label": "expected one of \"auto\", \"journald\", \"text\", \"json\"", "help": [], "notes": [],
        "suggestion": { "title": "did you mean this?", "span": [24, 29], "replacement": "\"json\"" }
    });
    assert_eq!(found["diagnostics"][1], expected);
}

#[test]
fn colours_are_only_there_when_asked_for() {
    let found = Config::from_text(&source(&[], &[]), "x = 1").unwrap_err();
    assert!(found.render(Paint::Coloured, "").contains("\u{1b}["));
    assert!(!found.render(Paint::Plain, "").contains('\u{1b}'));
}

#[test]
fn a_value_can_be_moved_to_the_edge_of_its_range() {
    assert_eq!(
        load("[server]\nshards = 1024\n[hub]\nmax_connections = 1\nflush = \"1s\"\nmax_message = 128\n")
            .config
            .hub
            .max_message,
        Size(128)
    );
    for edge in ["level = 0, min_size = \"0B\"", "level = 9, min_size = \"16MiB\""] {
        load(&format!("[hub]\ncompression = {{ {edge} }}"));
    }
    for over in [
        "[server]\nshards = 1025",
        "[hub]\nmax_connections = 0",
        "[hub]\nflush = \"1001ms\"",
        "[hub]\nmax_message = 127",
        "[hub.compression]\nlevel = 10",
        "[hub.compression]\nmin_size = 16_777_217",
    ] {
        let found = Config::from_text(&source(&[], &[]), over).unwrap_err();
        assert_eq!(found.items[0].code, code::OUT_OF_RANGE, "{over}");
    }
}

/// The one code and the text of what is wrong with a file on disk.
fn refused(path: &std::path::Path) -> (&'static str, String) {
    let found = Config::load(&Source { path: path.to_owned(), ..Source::default() }).unwrap_err();
    assert_eq!(found.items.len(), 1);
    (found.items[0].code, found.render(Paint::Plain, ACTIVE))
}

#[test]
fn files_that_are_none_are_refused_with_a_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    assert_eq!(refused(&file).0, code::UNREADABLE);
    assert!(refused(&file).1.contains("there is no file"));
    assert!(refused(folder.path()).1.contains("is a directory"));
    std::fs::write(&file, b"[log]\nlevel = \"\xff\"").unwrap();
    assert_eq!(refused(&file).0, code::NOT_UTF8);
    assert!(refused(&file).1.contains("on line 2"));
    std::fs::write(&file, "").unwrap();
    assert_eq!(Config::load(&Source { path: file.clone(), ..Source::default() }).unwrap().config, Config::default());
    let socket = folder.path().join("socket");
    let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(refused(&socket).1.contains("is not a regular file"));
}

#[test]
fn the_largest_file_is_read_and_one_byte_more_is_not() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let largest = usize::try_from(files::LARGEST).unwrap();
    std::fs::write(file.path(), "#".repeat(largest)).unwrap();
    assert_eq!(files::read(file.path()).unwrap().file.text.len(), largest);
    std::fs::write(file.path(), "#".repeat(largest + 1)).unwrap();
    assert_eq!(refused(file.path()).0, code::TOO_LARGE);
}

/// A folder with a file and a folder beside it.
fn with_folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("config.d")).unwrap();
    std::fs::write(place.path().join("config.toml"), "[hub]\nmax_topics = 1\n").unwrap();
    for (name, text) in files {
        std::fs::write(place.path().join("config.d").join(name), text).unwrap();
    }
    place
}

#[test]
fn the_most_files_are_read_and_one_more_is_not() {
    let place = with_folder(&[]);
    let write = |index: usize| std::fs::write(place.path().join(format!("config.d/{index}.toml")), "").unwrap();
    (0..files::MOST_FILES).for_each(write);
    let file = place.path().join("config.toml");
    assert_eq!(files::read(&file).unwrap().folder.len(), files::MOST_FILES);
    write(files::MOST_FILES);
    let (code, message) = refused(&file);
    assert_eq!(code, code::TOO_LARGE);
    assert!(message.contains("has 101 files that end in .toml; at most 100 are read"), "{message}");
}

#[test]
fn all_files_together_are_as_large_as_one_may_be() {
    let place = with_folder(&[]);
    let file = place.path().join("config.toml");
    let half = usize::try_from(files::LARGEST).unwrap() / 2;
    let fill = |name: &str, bytes: usize| std::fs::write(place.path().join(name), "#".repeat(bytes)).unwrap();
    fill("config.toml", half);
    fill("config.d/a.toml", half - 3);
    fill("config.d/b.toml", 3);
    assert_eq!(files::read(&file).unwrap().folder.len(), 2);
    fill("config.d/b.toml", 4);
    let (code, message) = refused(&file);
    assert_eq!(code, code::TOO_LARGE);
    let b = place.path().join("config.d/b.toml");
    assert!(
        message.contains(&format!("with `{}` the configuration is larger than 1024 KiB", b.display())),
        "{message}"
    );
}

#[test]
fn every_file_that_cannot_be_read_is_named() {
    use std::os::unix::fs::symlink;
    let place = with_folder(&[("a.toml", ""), ("z.toml", "[")]);
    std::fs::write(place.path().join("config.d/b.toml"), b"\xff").unwrap();
    std::fs::create_dir(place.path().join("config.d/c.toml")).unwrap();
    symlink("nowhere", place.path().join("config.d/d.toml")).unwrap();
    let report = Config::load(&Source { path: place.path().join("config.toml"), ..Source::default() }).unwrap_err();
    let told = report.render(Paint::Plain, ACTIVE).replace(&place.path().display().to_string(), "");
    for line in [
        "--> /config.d/b.toml\n",
        "`/config.d/b.toml` is not UTF-8 text: byte 0, on line 1, belongs to no character",
        "--> /config.d/c.toml\n",
        "`/config.d/c.toml` is a directory",
        "move it elsewhere, or give it another ending than .toml",
        "there is no file `/config.d/d.toml`",
        "it is a link that leads nowhere",
        "/config.toml: 3 errors. ",
    ] {
        assert!(told.contains(line), "no {line} in\n{told}");
    }
    let json = report.to_json();
    assert_eq!(json["diagnostics"][0]["file"], place.path().join("config.d/b.toml").display().to_string());
}

#[test]
fn a_file_in_the_place_of_the_folder_is_no_folder() {
    let place = with_folder(&[]);
    std::fs::remove_dir(place.path().join("config.d")).unwrap();
    std::fs::write(place.path().join("config.d"), "").unwrap();
    let (code, message) = refused(&place.path().join("config.toml"));
    assert_eq!((code, message.contains("config.d` is no folder\n")), (code::UNREADABLE, true), "{message}");
}

#[test]
fn files_of_the_folder_are_laid_over_the_file_in_the_order_of_their_names() {
    let place = with_folder(&[
        ("20-b.toml", "[hub]\nmax_records = 22\nrate = { burst = 7 }\n"),
        ("10-a.toml", "[hub]\nmax_topics = 2\nmax_records = 11\nrate.commands = 3\n[streams.a]\n"),
        ("30-c.toml~", "["),
        (".40-d.toml", "["),
    ]);
    let source =
        Source { path: place.path().join("config.toml"), ..source(&[("BROADCASTD_HUB__MAX_PER_IP", "5")], &[]) };
    let loaded = Config::load(&source).unwrap();
    let hub = &loaded.config.hub;
    assert_eq!((hub.max_topics, hub.max_records, hub.rate.commands, hub.rate.burst, hub.max_per_ip), (2, 22, 3, 7, 5));
    assert!(loaded.config.streams.contains_key("a"));
    let line = |pointer: &str| {
        let position = loaded.document.layers().position(loaded.document.at_value(pointer).span.unwrap().start);
        format!("{}:{}", position.file.rsplit('/').next().unwrap(), position.line)
    };
    assert_eq!(line("/hub/max_topics"), "10-a.toml:2");
    assert_eq!(line("/hub/max_records"), "20-b.toml:2");
    assert_eq!(line("/hub/rate/commands"), "10-a.toml:4");
    assert_eq!(line("/hub/rate/burst"), "20-b.toml:3");
    assert_eq!(line("/hub"), "config.toml:1", "a table is where it was begun");
}

#[test]
fn a_list_takes_the_place_of_the_list_and_its_places_with_it() {
    let text = "[[server.endpoints]]\npath = \"/a\"\n[[server.endpoints]]\npath = \"/b\"\n\
                #### config.d/x.toml\n[[server.endpoints]]\npath = \"/c\"\n#### config.d/y.toml\n[streams]\na = 3\n\
                #### config.d/z.toml\n[streams.a]\nvisible = true\n";
    let loaded = Config::from_layers(&source(&[], &[]), layers(text)).unwrap();
    let paths: Vec<&str> = loaded.config.server.endpoints.iter().map(|one| &*one.path).collect();
    assert_eq!(paths, ["/c"]);
    assert!(loaded.document.places.keys().all(|key| !key.starts_with("/server/endpoints/1")));
    assert_eq!(
        loaded
            .document
            .layers()
            .position(loaded.document.at_value("/server/endpoints/0/path").span.unwrap().start)
            .file,
        "config.d/x.toml"
    );
    assert!(loaded.config.streams["a"].visible, "a table takes the place of a number");
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything: then there is nothing to refuse.
    if std::fs::File::open(file.path()).is_err() {
        assert!(refused(file.path()).1.contains("may not be read by this user"));
    }
}

proptest::proptest! {
    /// Whatever stands in a file, the answer is a configuration or a report, never a panic.
    #[test]
    fn no_text_brings_the_reader_down(text in "(\\[{1,2}[a-z.]{0,12}\\]{0,2}|[a-z_.\"]{0,9} ?=? ?|[0-9a-z\"'{}\\[\\],.=#-]{0,12}|\n|é|\r\n|\u{0})*") {
        if let Err(found) = Config::from_text(&source(&[], &[]), &text) {
            found.render(Paint::Plain, ACTIVE);
            found.to_json();
        }
    }

    /// Real settings with wrong values and overrides: every finding points into the text.
    #[test]
    fn no_value_brings_the_checker_down(
        key in proptest::sample::select(vec!["server", "server.listen", "server.endpoints", "hub.ping.every", "hub.outbox",
            "streams.a", "streams.a.private", "broadcasters.b", "broadcasters.b.listen", "broadcasters.b.env", "admin.token",
            "broadcasters.b.restart.backoff", "log.level", "log.format", "plugins.dirs"]),
        value in proptest::sample::select(vec!["1", "-1", "1.5", "true", "\"\"", "\"x\"", "[]", "[1]", "[[]]", "{}",
            "{ a = 1 }", "[\"a\", \"b\"]", "[{}]", "\"\\u0000é\"", "1979-05-27", "1e300"]),
        raw in "[ -~é]{0,12}",
    ) {
        let text = format!("{key} = {value}\n");
        let env = format!("BROADCASTD_{}", key.to_uppercase().replace('.', "__"));
        for env in [vec![], vec![(env.as_str(), raw.as_str())]] {
            if let Err(found) = Config::from_text(&source(&env, &[]), &text) {
                assert!(!found.items.is_empty());
                found.render(Paint::Coloured, ACTIVE);
                found.to_json();
            }
        }
    }
}
