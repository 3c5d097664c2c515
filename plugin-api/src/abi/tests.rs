//! Holds the mirror to the header: a C and a C++ program, made from the header's own text, print every size, offset
//! and number, and each must be what Rust says.
use std::collections::{BTreeMap, BTreeSet};
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

type Numbers = BTreeMap<String, i64>;

/// Everything a struct of the mirror has: a field that is missing here does not compile.
macro_rules! mirrored {
    ($numbers:ident, $c:literal, $rust:ident { $($field:ident),* } $(without $hidden:ident)?) => {{
        let _nothing_is_forgotten = |$rust { $($field: _,)* $($hidden: _)? }: $rust| ();
        $numbers.insert(format!("sizeof {}", $c), size_of::<$rust>() as i64);
        $($numbers.insert(format!("{}.{}", $c, name(stringify!($field))), offset_of!($rust, $field) as i64);)*
    }};
}

/// `r#type` is `type` in C.
fn name(field: &str) -> &str {
    field.strip_prefix("r#").unwrap_or(field)
}

fn structs() -> Numbers {
    let mut numbers = Numbers::new();
    mirrored!(numbers, "bcd_note", Note { abi_major, abi_minor, unwinds, id, version });
    mirrored!(numbers, "bcd_str", Str { ptr, len } without lifetime);
    mirrored!(numbers, "bcd_bytes", Bytes { ptr, len } without lifetime);
    mirrored!(numbers, "bcd_writer", Writer { context, write } without lifetime);
    mirrored!(
        numbers,
        "bcd_msg",
        Msg {
            size,
            flags,
            r#type,
            topic,
            key,
            record,
            audience,
            session_id,
            payload,
            unix_ns,
            cause_seq,
            cause_ordinal,
            reserved,
            cause_stream,
            cause_epoch
        }
    );
    mirrored!(
        numbers,
        "bcd_event",
        Event {
            size,
            kind,
            flags,
            reserved,
            id,
            mono_ns,
            unix_ns,
            value,
            stream,
            topic,
            r#type,
            key,
            audience,
            session_id,
            payload,
            principal,
            seq,
            epoch
        }
    );
    mirrored!(
        numbers,
        "bcd_host_api",
        HostApi {
            size,
            abi_minor,
            log,
            log_level,
            fail,
            publish,
            demand,
            reply,
            timer_set,
            timer_clear,
            wake,
            metric_open,
            metric_record,
            health,
            now_mono_ns,
            now_unix_ns,
            extension,
            metric_bounds
        }
    );
    mirrored!(
        numbers,
        "bcd_plugin_api",
        PluginApi {
            size,
            abi_minor,
            id,
            version,
            description,
            config_schema,
            stream,
            state_version,
            reserved,
            validate,
            create,
            start,
            on_events,
            save_state,
            restore_state,
            reconfigure,
            destroy,
            extension,
            stream_with
        }
    );
    numbers
}

/// Every numeric constant of the mirror, read from its source so that none is forgotten. Only literals can be read
/// here, and that is what the mirror has.
fn constants() -> Numbers {
    let source = include_str!("../abi.rs");
    let declared = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(": "));
    let number = |value: &str| value.split_once(" = ")?.1.trim_end_matches(';').parse().ok();
    declared.filter_map(|(name, value)| Some((format!("BCD_{name}"), number(value)?))).collect()
}

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// The fields of every struct and every numeric macro of the header, as `bcd_msg.size` and `BCD_OK`.
fn declared(header: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = None;
    for line in without_comments(header).lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("typedef struct ").and_then(|rest| rest.strip_suffix(" {")) {
            found.push(format!("sizeof {name}"));
            inside = Some(name.to_owned());
        } else if line.starts_with('}') {
            inside = None;
        } else if let Some(name) = &inside {
            found.extend(field(line).map(|field| format!("{name}.{field}")));
        } else if let Some((name, value)) = line.strip_prefix("#define ").and_then(|define| define.split_once(' ')) {
            let value = value.trim().trim_matches(['(', ')']);
            if value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// `bcd_status (*write)(void *context, …);` is `write`, `char id[BCD_NOTE_ID_MAX];` is `id`, `size_t len;` is `len`.
fn field(line: &str) -> Option<&str> {
    let part = match line.split_once("(*") {
        Some((_, function)) => function.split(')').next()?,
        None => line.split([';', '[']).next()?.rsplit([' ', '*']).next()?,
    };
    (!part.is_empty()).then_some(part)
}

fn without_comments(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = after.split_once("*/").expect("the comment ends").1;
    }
    kept + rest
}

fn program(declared: &[String]) -> String {
    let mut text = String::from("#include <stdio.h>\n#include \"broadcastd_plugin.h\"\nint main(void) {\n");
    for what in declared {
        let value = match (what.strip_prefix("sizeof "), what.split_once('.')) {
            (Some(name), _) => format!("sizeof({name})"),
            (_, Some((name, field))) => format!("offsetof({name}, {field})"),
            _ => what.clone(),
        };
        text += &format!("printf(\"%s=%lld\\n\", \"{what}\", (long long)({value}));\n");
    }
    text + "return 0;\n}\n"
}

/// Compiles and runs a program; what it prints, read.
fn run(compiler: &str, flags: &[&str], program: &str) -> Numbers {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join(format!("layout.{}", flags[0]));
    let binary = folder.path().join("layout");
    std::fs::write(&source, program).unwrap();
    let compiled = Command::new(compiler)
        .args(&flags[1..])
        .args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(header())
        .arg("-o")
        .args([&binary, &source])
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}; install a C and a C++ compiler"));
    assert!(compiled.status.success(), "{compiler}: {}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(&binary).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    printed.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.parse().unwrap())).collect()
}

#[test]
fn header_and_mirror_are_the_same() {
    let text = std::fs::read_to_string(header().join("broadcastd_plugin.h")).unwrap();
    let declared = declared(&text);
    let mirror: Numbers = structs().into_iter().chain(constants()).collect();
    let program = program(&declared);
    for (compiler, flags) in [("cc", ["c", "-std=c99"]), ("c++", ["cc", "-std=c++11"])] {
        let differences = differences(&run(compiler, &flags, &program), &mirror);
        assert!(differences.is_empty(), "{compiler}: {differences:#?}");
    }
}

fn differences(header: &Numbers, mirror: &Numbers) -> Vec<String> {
    let names: BTreeSet<_> = header.keys().chain(mirror.keys()).collect();
    let both = names.into_iter().map(|name| (name, header.get(name), mirror.get(name)));
    let differ = both.filter(|(_, header, mirror)| header != mirror);
    differ.map(|(name, header, mirror)| format!("{name}: {header:?} in the header, {mirror:?} in the mirror")).collect()
}

#[test]
fn texts_are_the_same() {
    let text = std::fs::read_to_string(header().join("broadcastd_plugin.h")).unwrap();
    let texts = [("ENTRY_SYMBOL", ENTRY_SYMBOL), ("NOTE_SECTION", NOTE_SECTION), ("NOTE_OWNER", NOTE_OWNER)];
    for (name, value) in texts {
        assert!(text.contains(&format!("#define BCD_{name} \"{value}\"\n")), "{name} is {value} in the mirror");
    }
}

#[test]
fn the_parser_sees_every_sort_of_field() {
    let header = "#define BCD_X 1u /* 2 */\n#define BCD_Y (-3)\n#define BCD_Z \"no number\"\n\
                  typedef struct s {\n  const char *ptr; /* int hidden; */\n  char id[BCD_X];\n  int (*call)(int a, int b);\n\
                  } s;\ntypedef int other;\n";
    assert_eq!(declared(header), ["BCD_X", "BCD_Y", "sizeof s", "s.ptr", "s.id", "s.call"]);
}
