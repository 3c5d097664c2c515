//! What the daemon says about itself: others' validators read its documents, and the TypeScript compiler its types.

mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use broadcastd::describe::openapi::Method;
use broadcastd::describe::typescript::typescript;
use broadcastd::describe::{Declarations, Stream};
use broadcastd::hub::settings::Settings;
use broadcastd::hub::template::Template;
use broadcastd::server::routes::table::TABLE;
use broadcastd_plugin_api::{KindSpec, StreamSpec};
use fastrand::Rng;
use libtest_mimic::Trial;
use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::process::{self, Daemon, PORTS};
use crate::{http, needs};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("node-asyncapi", the_streams_are_described_as_asyncapi_asks),
        needs::program("node-asyncapi", a_wrong_asyncapi_document_is_caught),
        needs::program("python3-openapi", the_routes_are_described_as_openapi_asks),
        needs::program("python3-openapi", a_wrong_openapi_document_is_caught),
        needs::programs(
            &["node-asyncapi", "python3-openapi"],
            shipped::what_is_shipped_is_described_as_asyncapi_and_openapi_ask,
        ),
        needs::program("node-ajv", shipped::what_is_heard_fits_the_messages_that_are_described),
        needs::program("tsc", shipped::the_compiler_takes_the_types_of_what_is_shipped_and_what_is_heard),
        needs::nothing(shipped::an_operators_own_schema_of_a_known_kind_is_described),
        needs::programs(&["node-asyncapi", "tsc"], the_kinds_of_a_schema_file_are_described),
        needs::nothing(private_streams_are_described_to_operators_only),
        needs::nothing(what_is_served_is_described_and_what_is_described_is_served),
        needs::nothing(the_parameters_that_are_read_are_described_and_no_others),
        needs::nothing(the_types_of_bars_are_committed),
        needs::nothing(the_command_prints_what_the_daemon_serves),
        needs::nothing(a_form_that_is_none_is_refused),
        needs::program("tsc", the_compiler_takes_right_uses_and_refuses_wrong_ones),
        needs::program("tsc", the_compiler_takes_the_types_of_rust_types),
        needs::program("tsc", the_compiler_takes_whatever_a_schema_says),
    ]
}

const CONFIG: &str = "[broadcasters.bars]\nplugin = \"bars\"\n\
    [streams.ticks]\nvisible = true\ntemplate = \"{symbol}\"\n\
    [streams.secrets]\nvisible = true\nprivate = true\n\
    [streams.hidden]\nvisible = false\n";

const ASYNCAPI: &str = r#"
const { Parser } = require("@asyncapi/parser");
new Parser().parse(require("fs").readFileSync(0, "utf8")).then(({ document, diagnostics }) => {
  const wrong = diagnostics.filter(({ severity }) => severity < 2); // errors and warnings; the rest is advice
  for (const { code, message, path } of wrong) console.log(code, message, path.join("/"));
  if (!document || wrong.length) process.exit(1);
  const messages = document.channels().all().map((channel) => channel.id() + " " + channel.messages().all().map((m) => m.id()).join(","));
  console.log(messages.join("\n"));
});
"#;
const OPENAPI: &str = "import json, sys; from openapi_spec_validator import validate; validate(json.load(sys.stdin))";

/// Gives a document to a program on its input; what the program says, or with what it complains.
fn judge(program: &str, arguments: &[&str], document: &Value) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(document.to_string().as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.success() { Ok(said) } else { Err(format!("{said}{}", String::from_utf8_lossy(&ended.stderr))) }
}

fn document(address: &str, name: &str) -> Value {
    let answer = http::get(address, &format!("/v1/{name}.json"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn the_streams_are_described_as_asyncapi_asks() {
    let daemon = Daemon::start(CONFIG);
    for address in [&daemon.admin, &daemon.clients] {
        let streams = judge("node", &["-e", ASYNCAPI], &document(address, "asyncapi")).unwrap();
        assert!(streams.contains("bars bar,full_update\n"), "{streams}");
        assert!(streams.contains("ticks event,full_update"), "{streams}");
        assert!(streams.contains("broadcastd.v1 auth,"), "{streams}");
    }
    let document = document(&daemon.clients, "asyncapi");
    assert_eq!(document["channels"]["bars"]["address"], "bars:{symbol}:{resolution}");
    assert_eq!(document["channels"]["bars"]["parameters"]["resolution"]["default"], "1");
    assert_eq!(document["servers"]["v1_ws"]["host"], daemon.clients, "as it was bound");
    assert_eq!(
        document["channels"]["bars"]["servers"],
        json!([{"$ref": "#/servers/v1_ws"}, {"$ref": "#/servers/v1_sse"}])
    );
}

fn a_wrong_asyncapi_document_is_caught() {
    let daemon = Daemon::start(CONFIG);
    let good = document(&daemon.clients, "asyncapi");
    let with = |pointer: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is not there")) = value;
        bad
    };
    for bad in [
        with("/channels/bars/messages/bar/payload/allOf/0/$ref", json!("#/components/schemas/gone")),
        with("/channels/bars/parameters", json!({})),
        with("/operations/bars.events/action", json!("shout")),
    ] {
        assert!(judge("node", &["-e", ASYNCAPI], &bad).is_err());
    }
}

fn the_routes_are_described_as_openapi_asks() {
    let daemon = Daemon::start(CONFIG);
    for address in [&daemon.admin, &daemon.clients] {
        judge("python3", &["-c", OPENAPI], &document(address, "openapi")).unwrap();
    }
}

fn a_wrong_openapi_document_is_caught() {
    let daemon = Daemon::start(CONFIG);
    let mut bad = document(&daemon.admin, "openapi");
    bad["paths"]["/v1/streams/{stream}"]["get"]["parameters"] = json!([]);
    assert!(judge("python3", &["-c", OPENAPI], &bad).is_err());
}

/// A stream with a schema for each kind, one with a schema for all, and what is right and wrong to say of them.
fn the_kinds_of_a_schema_file_are_described() {
    const FILE: &str = include_str!("../../../docs/user-events.schema.json");
    const TICKS: &str = r##"{"$defs": {"price": {"type": "number"}},
        "properties": {"price": {"$ref": "#/$defs/price"}}, "required": ["price"]}"##;
    const STREAMS: &str = "[streams.user]\nvisible = true\nschema = \"user.json#/$defs/{kind}\"\n\
        [streams.ticks]\nvisible = true\nschema = \"ticks.json\"\n";
    const USES: &str = r#"import type { ServerMessage, UserMessage, TicksEvent } from "./types";
        declare const said: UserMessage, tick: TicksEvent;
        if (said.type === "CHAIN_UPDATE") { const side: "BUY" | "SELL" | undefined = said.data.orders[0]!.side; void side; }
        if (said.type === "SIGNAL_UPDATE") { const direction: "LONG" | "SHORT" = said.data.direction; void direction; }
        const price: number = tick.price; void price;
        // @ts-expect-error
        if (said.type === "PNL_UPDATE") said.data.nope;
        // @ts-expect-error
        if (said.type === "NO_KIND") void 0;
        export type { ServerMessage };"#;
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("user.json", FILE), ("ticks.json", TICKS), ("uses.ts", USES)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let daemon = Daemon::start_in(folder, STREAMS, &[]);
    let asyncapi = document(&daemon.clients, "asyncapi");
    let streams = judge("node", &["-e", ASYNCAPI], &asyncapi).unwrap();
    let file: Value = serde_json::from_str(FILE).unwrap();
    let kinds: Vec<&str> = file["$defs"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(kinds.len() > 10 && kinds.iter().all(|kind| streams.contains(kind)), "{streams}");
    assert!(streams.contains("ticks event,full_update\n"), "{streams}");
    assert!(asyncapi["components"]["schemas"]["ticks.event"]["required"] == json!(["price"]), "{asyncapi:#}");
    let types = process::run(daemon.folder.path(), &["schema", "ts"], &[]);
    assert_eq!(types.code, Some(0), "{}", types.stderr);
    fs::write(daemon.folder.path().join("types.ts"), types.stdout).unwrap();
    let compiled =
        Command::new("tsc").args(["--noEmit", "--strict", "uses.ts"]).current_dir(daemon.folder.path()).output();
    let compiled = compiled.unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
}

fn private_streams_are_described_to_operators_only() {
    let daemon = Daemon::start(CONFIG);
    let (client, operator) = (document(&daemon.clients, "asyncapi"), document(&daemon.admin, "asyncapi"));
    let channels = |document: &Value| document["channels"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(channels(&client), ["bars", "broadcastd.v1", "ticks"]);
    assert_eq!(channels(&operator), ["bars", "broadcastd.v1", "secrets", "ticks"]);
    assert!(!client.to_string().contains("secrets"));
}

/// The other half, that nothing is served which is not in the table, is a house rule: `routes_are_registered_in_one_place`.
fn what_is_served_is_described_and_what_is_described_is_served() {
    let pages = "[[server.endpoints]]\npath = \"/v1/ws\"\n[[server.endpoints]]\npath = \"/ws\"\ndialect = \"streams\"\n\
        [[server.endpoints]]\npath = \"/events\"\ndialect = \"sse\"\n";
    let daemon = Daemon::start(&format!("{CONFIG}{pages}"));
    let mut described = BTreeSet::new();
    for address in [&daemon.admin, &daemon.clients] {
        for (method, path, operation) in operations(&document(address, "openapi")) {
            let answer = ask(address, &method, &path, "");
            let code = &refusal(&answer)["code"];
            assert!(answer.status != 405 && code != "unknown_path", "{method} {path}: {}", answer.body);
            let declared = &operation["responses"][answer.status.to_string()];
            assert!(declared.is_object(), "{method} {path} answers {}, which is not described", answer.status);
            described.insert((method, path));
        }
    }
    let name = |method: Method| format!("{method:?}").to_lowercase();
    let table = TABLE.iter().map(|route| (name(route.method), route.path.to_owned()));
    // Those of server-sent events are wherever config has them; operators have one of their own.
    let streamed = ["/events", "/v1/sse"].map(|path| ("get".to_owned(), path.to_owned()));
    assert_eq!(described, table.chain(streamed).collect::<BTreeSet<_>>());
}

/// A refused parameter is answered with those that there are.
fn the_parameters_that_are_read_are_described_and_no_others() {
    let daemon = Daemon::start(CONFIG);
    let mut with_some = 0;
    for address in [&daemon.admin, &daemon.clients] {
        for (method, path, operation) in operations(&document(address, "openapi")) {
            let described = operation["parameters"].as_array().into_iter().flatten();
            let described: Vec<&str> =
                described.filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap()).collect();
            // Event sources add parameters of their own, so these are overlooked there.
            let is_strict = method == "get" && path != "/v1/sse";
            let answer = if is_strict { ask(address, &method, &path, "?nope=1") } else { continue };
            let refusal = refusal(&answer);
            let message = refusal["message"].as_str().unwrap_or_default();
            let known = message.split_once("; known: ").map_or_else(Vec::new, |(_, known)| known.split(", ").collect());
            assert_eq!(described, known, "{path} on {address}: {}", answer.body);
            with_some += usize::from(!known.is_empty());
        }
    }
    assert!(with_some >= 8);
}

/// The code and the sentence of a refusal; of another answer nothing.
fn refusal(answer: &http::Answer) -> Value {
    serde_json::from_str(&answer.body).map_or(Value::Null, |body: Value| body["error"].clone())
}

/// Every operation of an OpenAPI document, with its method and its path.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(|(method, operation)| (method.clone(), path.clone(), operation.clone()))
    });
    operations.collect()
}

fn ask(address: &str, method: &str, path: &str, query: &str) -> http::Answer {
    let path = path.replace("{name}", "bars").replace("{stream}", "ticks").replace("{broadcaster}", "bars");
    let path = path.replace("{command}", "list").replace("{id}", "one") + query;
    match method {
        "get" => http::get(address, &path),
        "post" => http::post(address, &path, "application/json", b"[]"),
        other => http::ask(address, &format!("{} {path} HTTP/1.1", other.to_uppercase()), &[], b""),
    }
}

fn the_types_of_bars_are_committed() {
    let file = golden();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), format!("{PORTS}[broadcasters.bars]\nplugin = \"bars\"\n")).unwrap();
    let types = process::run(folder.path(), &["schema", "ts"], &[]);
    assert_eq!(types.code, Some(0), "{}", types.stderr);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &types.stdout).unwrap();
    }
    assert_eq!(types.stdout, fs::read_to_string(&file).unwrap_or_default(), "UPDATE_GOLDEN=1 writes it");
}

fn the_command_prints_what_the_daemon_serves() {
    let daemon = Daemon::start(CONFIG);
    let printed = process::run(daemon.folder.path(), &["schema", "asyncapi"], &[]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let mut printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    let mut served = document(&daemon.admin, "asyncapi");
    for server in ["v1_ws", "v1_sse"] {
        assert_eq!(printed["servers"][server]["host"].take(), "127.0.0.1:0", "as it is configured");
        served["servers"][server]["host"].take();
    }
    assert_eq!(printed, served);
}

fn a_form_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["schema"][..], &["schema", "xml"]] {
        let ended = process::run(folder.path(), arguments, &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(ended.stderr.contains("ts"), "{}", ended.stderr);
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/types/bars.ts")
}

/// What the compiler says against these files.
fn compile(files: &BTreeMap<String, String>) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let options = ["--strict", "--noEmit", "--target", "es2022", "--module", "esnext", "--pretty", "false"];
    let ended = Command::new("tsc").args(options).args(files.keys()).current_dir(folder.path()).output().unwrap();
    if ended.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ended.stdout).into_owned()) }
}

fn the_compiler_takes_right_uses_and_refuses_wrong_ones() {
    let uses = include_str!("descriptions/uses.ts");
    let with = |uses: &str| {
        let types = fs::read_to_string(golden()).unwrap();
        compile(&BTreeMap::from([("bars.ts".to_owned(), types), ("uses.ts".to_owned(), uses.to_owned())]))
    };
    assert_eq!(with(uses), Ok(()));
    let wrong = uses.matches("// @ts-expect-error").count();
    assert!(wrong >= 8);
    let unexpected = with(&uses.replace("// @ts-expect-error", "//")).unwrap_err();
    assert_eq!(unexpected.matches("error TS").count(), wrong, "{unexpected}");
}

/// The types of a stream with these kinds.
fn types_of(kinds: BTreeMap<String, KindSpec>) -> String {
    let template = Template::parse("{symbol}:{class=1}").unwrap();
    let settings = Arc::new(Settings { kinds, template, ..Settings::default() });
    typescript(&Declarations { doors: Vec::new(), streams: vec![Stream { name: "s".into(), settings }] })
}

fn the_compiler_takes_the_types_of_rust_types() {
    let kinds = rust_types().kinds;
    assert!(kinds.len() > 10);
    let types = types_of(kinds);
    assert!(!types.contains("unknown /*"), "{types}");
    assert_eq!(compile(&BTreeMap::from([("rust.ts".to_owned(), types.clone())])), Ok(()), "{types}");
}

fn the_compiler_takes_whatever_a_schema_says() {
    const STREAMS: usize = 200;
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut files = BTreeMap::new();
    for number in 0..STREAMS {
        let kinds =
            (0..3).map(|_| (name(&mut rng), KindSpec { schema: root(&mut rng), collection: None, record: None }));
        files.insert(format!("types{number}.ts"), types_of(kinds.collect()));
    }
    if let Err(said) = compile(&files) {
        let first = said.split('(').next().unwrap();
        panic!("SEED={seed}: {said}\n{}", files[first]);
    }
}

fn root(rng: &mut Rng) -> Value {
    let mut schema = any_schema(rng, 4);
    if let Value::Object(map) = &mut schema {
        map.insert(
            "$defs".to_owned(),
            json!({"a": any_schema(rng, 3), "b": any_schema(rng, 3), "class": any_schema(rng, 2)}),
        );
    }
    schema
}

/// A schema, right or not quite, that may refer to itself and to three others.
fn any_schema(rng: &mut Rng, depth: usize) -> Value {
    let mut schema = serde_json::Map::new();
    for _ in 0..rng.usize(1..4) {
        let inner = |rng: &mut Rng| if depth == 0 { json!({"type": "string"}) } else { any_schema(rng, depth - 1) };
        let list = |rng: &mut Rng| (0..rng.usize(0..3)).map(|_| inner(rng)).collect::<Value>();
        let named = |rng: &mut Rng| (0..rng.usize(0..3)).map(|_| (name(rng), inner(rng))).collect::<Value>();
        let (keyword, value) = match rng.u32(..21) {
            0..4 => {
                ("type", json!(rng.choice(["string", "number", "integer", "null", "boolean", "object", "array", "x"])))
            }
            4 => ("type", json!(["array", "object", "null"])),
            5..7 => (
                "$ref",
                json!(rng.choice(["#", "#/$defs/a", "#/$defs/b", "#/$defs/class", "#/properties/a", "x.json"])),
            ),
            7..9 => ("properties", named(rng)),
            9 => ("required", json!([name(rng), "a"])),
            10 => ("additionalProperties", inner(rng)),
            11 => ("patternProperties", named(rng)),
            12 => ("items", if rng.bool() { inner(rng) } else { list(rng) }),
            13 => ("prefixItems", list(rng)),
            14 => (if rng.bool() { "minItems" } else { "maxItems" }, json!(rng.u32(..3))),
            15 => ("oneOf", list(rng)),
            16 => ("anyOf", list(rng)),
            17 => ("allOf", list(rng)),
            18 => ("enum", json!(["a", 1, -1.5, null, true, {"a": [name(rng)]}, []])),
            19 => ("const", json!({"b": name(rng)})),
            _ => ("description", json!(format!("{} */ x\n{}", name(rng), name(rng)))),
        };
        schema.insert(keyword.to_owned(), value);
    }
    if rng.u32(..20) == 0 { rng.bool().into() } else { schema.into() }
}

fn name(rng: &mut Rng) -> String {
    let names =
        ["a", "b", "class", "a-b", "", "1", "é", "*/", "\"; evil", "constructor", "__proto__", "Event", "\n", "${x}"];
    (*rng.choice(names).as_ref().unwrap()).to_string()
}

/// Types as authors of plugins write them.
fn rust_types() -> StreamSpec {
    #[derive(JsonSchema)]
    struct Unit;
    #[derive(JsonSchema)]
    struct Wrapped(#[expect(dead_code, reason = "only its schema is used")] u64);
    #[derive(JsonSchema)]
    struct Pair(
        #[expect(dead_code, reason = "only its schema is used")] String,
        #[expect(dead_code, reason = "only its schema is used")] Option<f32>,
    );
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Side {
        Buy,
        Sell,
    }
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Order<T> {
        /// Who */ wants it.
        side: Side,
        price: Option<f64>,
        #[schemars(rename = "class")]
        kind: T,
        #[schemars(rename = "not an identifier")]
        odd: [u8; 3],
        tags: BTreeMap<String, Vec<(i64, String)>>,
        #[schemars(flatten)]
        rest: BTreeMap<String, Value>,
    }
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Tree {
        value: Side,
        children: Vec<Tree>,
        parent: Option<Box<Tree>>,
    }
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum External {
        Nothing,
        /// One.
        One(u8),
        Two(u8, String),
        Named {
            a: bool,
        },
    }
    #[derive(JsonSchema)]
    #[schemars(tag = "type", rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Internal {
        Empty,
        Tree(Tree),
        Named { side: Option<Side> },
    }
    #[derive(JsonSchema)]
    #[schemars(tag = "t", content = "c", deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Adjacent {
        A(Internal),
        B,
    }
    #[derive(JsonSchema)]
    #[schemars(untagged)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Untagged {
        Text(String),
        Either(Result<u8, String>),
        Deep(Option<Box<Untagged>>),
        All(Vec<Untagged>),
    }
    StreamSpec::new("")
        .kind::<Unit>("unit")
        .kind::<Wrapped>("wrapped")
        .kind::<Pair>("pair")
        .kind::<Side>("side")
        .kind::<Order<Unit>>("order")
        .kind::<Order<Option<External>>>("class")
        .kind::<Tree>("tree")
        .kind::<External>("external")
        .kind::<Internal>("internal")
        .kind::<Adjacent>("adjacent")
        .kind::<Untagged>("untagged")
        .kind::<BTreeMap<u32, Option<char>>>("map")
        .kind::<Value>("anything")
        .kind::<std::collections::BTreeSet<Option<Side>>>("set")
}
