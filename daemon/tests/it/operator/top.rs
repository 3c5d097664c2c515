//! `broadcastd top`: one picture where there is no terminal, and a terminal that is left as it was found.

use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use super::{command, printed};
use crate::needs;
use crate::process::{self, Daemon};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(without_a_terminal_it_is_one_picture),
        needs::nothing(for_programs_it_is_a_line_each_second),
        needs::program("script", on_a_terminal_it_is_live_until_q),
    ]
}

const BARS: &str = "[broadcasters.bars]\nplugin = \"bars\"\n";

fn without_a_terminal_it_is_one_picture() {
    let daemon = Daemon::start(BARS);
    let _listening = daemon.subscriber("bars");
    let shown = |arguments: &[&str]| printed(&daemon, arguments).contains("   subscriptions        1   ");
    crate::house::until("the figures are of a second that knows it", || shown(&["top", "--once"]));
    for arguments in [&["top"][..], &["top", "--once"]] {
        let picture = printed(&daemon, arguments);
        assert!(
            picture.starts_with("connections ") && picture.contains("   subscriptions        1   lagged "),
            "{picture}"
        );
        assert!(
            picture.contains(
                "\nBROADCASTER  STATE    RESTARTS  ERRORS  WHAT IS WRONG\nbars         running         0       0\n"
            ),
            "{picture}"
        );
        assert!(!picture.contains('\x1b'), "{picture}");
    }
    let nobody = process::run(tempfile::tempdir().unwrap().path(), &["top"], &[]);
    assert_eq!(nobody.code, Some(69));
}

fn for_programs_it_is_a_line_each_second() {
    let daemon = Daemon::start(BARS);
    let one: Value = serde_json::from_str(&printed(&daemon, &["top", "--once", "--format", "json"])).unwrap();
    assert_eq!(one["subscriptions"], 0, "{one}");
    let mut watching = command(&daemon, &["top", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map_while(Result::ok);
    for _ in 0..2 {
        let figures: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        assert!(figures["published_per_s"].is_number(), "{figures}");
    }
    daemon.stop();
    lines.for_each(drop);
    assert!(process::wait(&mut watching).success(), "it ends with the daemon");
}

fn on_a_terminal_it_is_live_until_q() {
    let daemon = Daemon::start(BARS);
    let binary = command(&daemon, &[]).get_program().to_str().unwrap().to_owned();
    for key in ["q", "\x03"] {
        let mut script = std::process::Command::new("script");
        let line = format!("{binary} top; echo ended: $?; stty -a | grep -o ' -*icanon'");
        script.args(["-qec", &line, "/dev/null"]).env("HOME", daemon.folder.path()).current_dir(daemon.folder.path());
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut keys = child.stdin.take().unwrap();
        let mut drawn = String::new();
        let mut out = child.stdout.take().unwrap();
        let mut piece = [0; 4096];
        while !drawn.contains("BROADCASTER") {
            let count = std::io::Read::read(&mut out, &mut piece).unwrap();
            assert!(count > 0, "it ended: {drawn}");
            drawn += &String::from_utf8_lossy(&piece[..count]);
        }
        keys.write_all(key.as_bytes()).unwrap();
        std::io::Read::read_to_string(&mut out, &mut drawn).unwrap();
        assert!(process::wait(&mut child).success());
        let (_, rest) = drawn.split_once("\x1b[?25h\x1b[?1049l").unwrap_or_else(|| panic!("{drawn:?}"));
        let rest: Vec<&str> = rest.split_whitespace().collect();
        assert_eq!(rest, ["ended:", "0", "icanon"], "{drawn:?}");
    }
}
