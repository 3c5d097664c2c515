//! What `docs/state-machines.md` shows works as it is pasted: `curl` tells the story, and its listeners hear it.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use serde_json::Value;

use super::{Board, DOORS, Listener, config, native, publish};
use crate::dialogue;
use crate::house::{Client, say};
use crate::process::{self, Daemon};
use crate::tidy::tree;
use crate::user_events::page::Lines;
use crate::user_events::{shipped, unmocked};

const KINDS: [&str; 5] = ["instance_added", "instance_added", "state_change", "instance_removed", "instance_removed"];

fn text() -> String {
    fs::read_to_string(tree::root().join("docs/state-machines.md")).unwrap()
}

/// The lines of the page that are pasted into a shell, with the addresses of a test.
struct Pasted {
    /// Those of clients in a WebSocket: `npx wscat -c URL … -x WISH`.
    sockets: Vec<(String, String)>,
    /// That of a client with server-sent events.
    stream: String,
    /// Makes `tell` known.
    tell: String,
    story: Vec<String>,
}

impl Pasted {
    fn at(daemon: &Daemon) -> Self {
        let text = text().replace("127.0.0.1:9180", &daemon.admin).replace("127.0.0.1:8080", &daemon.clients);
        let blocks = text.split("```sh\n").skip(1).flat_map(|rest| rest.split("```").next().unwrap().lines());
        let lines: Vec<&str> = blocks.collect();
        let begins =
            |with: &'static str| lines.iter().filter(move |line| line.starts_with(with)).map(|line| (*line).to_owned());
        let socket = |line: String| {
            let (url, rest) = line.strip_prefix("npx wscat -c ").unwrap().split_once(' ').unwrap();
            let wish = rest.split_once("-x '").unwrap().1.strip_suffix('\'').unwrap();
            (url.to_owned(), wish.to_owned())
        };
        let one = |with: &'static str| {
            let [line] = begins(with).collect::<Vec<_>>().try_into().unwrap();
            line
        };
        let sockets: Vec<_> = begins("npx wscat").map(socket).collect();
        let all = Self { stream: one("curl -N "), tell: one("tell() "), story: begins("tell '").collect(), sockets };
        assert_eq!(2 + all.sockets.len() + all.story.len(), lines.len(), "every line is pasted: {lines:?}");
        all
    }

    /// Who joins now by each door, and what is shown to them.
    fn join(&self, daemon: &Daemon) -> Vec<Joined> {
        let socket = |(url, wish): &(String, String)| -> Box<dyn Listener + Send> {
            let mut client: Client = dialogue::open(&daemon.clients, url.split_once(&daemon.clients).unwrap().1);
            say(&mut client, wish);
            Box::new(client)
        };
        let curl = Lines::of(Command::new("sh").args(["-c", &format!("exec {}", self.stream)]));
        let mut doors: Vec<Box<dyn Listener + Send>> = self.sockets.iter().map(socket).collect();
        doors.push(Box::new(curl));
        let shown = |mut listener: Box<dyn Listener + Send>| (listener.shown(), listener);
        doors.into_iter().map(shown).map(|(shown, listener)| Joined { listener, shown }).collect()
    }

    /// Has `curl` tell this part of the story; it is taken.
    fn tell(&self, part: &str) {
        let script = format!("{}\n{part}", self.tell);
        let told = Command::new("sh").args(["-ec", &script]).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&told.stdout).into_owned();
        let answer: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{part}: {error}: {said}"));
        assert_eq!(answer["accepted"], 1, "{part}: {answer}");
    }
}

impl Listener for Lines {
    fn next(&mut self) -> Value {
        Lines::next(self)
    }
}

struct Joined {
    listener: Box<dyn Listener + Send>,
    shown: Vec<Value>,
}

impl Joined {
    /// The number of events that were told before it joined: it hears the others, up to this last one, and is shown what
    /// those come to.
    fn hears_the_rest_of(mut self, told: &[(String, Value)], boards: &[Board]) -> usize {
        let mut heard = Vec::new();
        while heard.last() != told.last() {
            heard.push(self.listener.event());
            assert!(heard.len() <= told.len(), "{heard:?}");
        }
        let before = told.len() - heard.len();
        assert_eq!(heard, told[before..], "the same, in the same order");
        boards[before].is_shown_by(&self.shown);
        before
    }
}

/// Clients join before the story, between its parts, and all the while somebody tells it.
pub fn the_story_of_the_page_is_heard_alike_at_every_door() {
    let daemon = Daemon::start(&unmocked(&shipped("")));
    let pasted = Pasted::at(&daemon);
    let mut first = pasted.join(&daemon);
    assert_eq!(first.len(), 3, "the native protocol, a page, server-sent events");
    let is_told = AtomicBool::new(false);
    let mut joined = thread::scope(|scope| {
        let racing = scope.spawn(|| {
            let mut joined = Vec::new();
            while !is_told.load(Relaxed) {
                joined.extend(pasted.join(&daemon));
            }
            joined
        });
        let mut between = Vec::new();
        for part in &pasted.story {
            pasted.tell(part);
            between.extend(pasted.join(&daemon));
        }
        is_told.store(true, Relaxed);
        between.extend(racing.join().unwrap());
        between
    });
    // It begins anew, so that whoever came at the end hears something, too.
    pasted.tell(&pasted.story[0]);
    let (mut told, mut boards) = (Vec::new(), vec![Board::default()]);
    for kind in KINDS.iter().chain(&KINDS[..2]) {
        let (heard, data) = first[0].listener.event();
        assert_eq!(heard, *kind);
        let mut board = boards.last().unwrap().clone();
        board.take(&heard, &data);
        boards.push(board);
        told.push((heard, data));
    }
    for other in first.drain(1..) {
        assert_eq!(other.hears_the_rest_of(&told, &boards), 0);
    }
    let mut moments: Vec<usize> = joined.drain(..).map(|one| one.hears_the_rest_of(&told, &boards)).collect();
    println!("they joined after so many events: {moments:?}");
    moments.sort_unstable();
    moments.dedup();
    assert!([2, 3, 5].iter().all(|moment| moments.contains(moment)), "{moments:?}");
}

/// The machine that the page declares takes the story that it tells, and leads everywhere.
pub fn the_machine_of_the_page_allows_its_story() {
    let page = text();
    let machine = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let daemon = Daemon::start(&format!("{DOORS}{machine}"));
    let mut client = native(&daemon);
    client.shown();
    let story = page.lines().filter_map(|line| line.strip_prefix("tell '")?.strip_suffix('\''));
    story.for_each(|input| publish(&daemon, &serde_json::from_str(input).unwrap()));
    assert_eq!(KINDS.map(|_| client.event().0), KINDS);
    assert!(!daemon.log_text().contains("nothing leads"), "{}", daemon.log_text());
}

/// To the letter as the page shows it: by `check`, and in the log at the start and at a reload.
pub fn where_a_machine_leads_nowhere_check_and_the_log_say_so_at_its_line() {
    let page = text();
    let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let machine = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let island = "  { id = \"ERROR\" },\n  { id = \"ISLAND\", max_time = \"1s\", on_timeout = \"ERROR\" },\n";
    let lines = machine.lines().filter(|line| !line.contains("event = \"reset\""));
    let odd = lines.fold(DOORS.to_owned(), |text, line| text + line + "\n");
    let odd = odd.replace("  { id = \"ERROR\" },\n", island);
    let daemon = Daemon::start(&odd);
    let warned = |skip: usize| -> String {
        let line: Value = serde_json::from_str(&daemon.wait_for_log_after(skip, "nothing leads")).unwrap();
        assert_eq!(line["level"], "WARN", "{line}");
        line["message"].as_str().unwrap().to_owned()
    };
    let without_numbers = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
    let is_shown = |told: &str| {
        let (told, shown) = (without_numbers(told), without_numbers(shown));
        assert!(told.contains(shown.trim_end()), "{shown} in\n{told}");
    };
    is_shown(&warned(0));
    daemon.reload(|| daemon.configure(&config()));
    let skip = daemon.log_lines();
    daemon.reload(|| daemon.configure(&odd));
    is_shown(&warned(skip));
    assert_eq!(daemon.log_text().matches("which is not final").count(), 2, "once at the start, once at the reload");

    let checked = process::run(daemon.folder.path(), &["check"], &[]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    is_shown(&checked.stdout);
    let json = process::run(daemon.folder.path(), &["check", "--format", "json"], &[]).stdout;
    let report: Value = serde_json::from_str(&json).unwrap();
    let told = report["diagnostics"].as_array().unwrap();
    let whole = std::fs::read_to_string(daemon.folder.path().join("config.toml")).unwrap();
    let line = |id: &str| 1 + whole.lines().position(|line| line.contains(&format!("{{ id = {id:?}"))).unwrap();
    let each = |name: &str| told.iter().map(|one| one[name].clone()).collect::<Vec<Value>>();
    assert_eq!((&report["errors"], each("severity")), (&0.into(), vec!["warning".into(); 2]), "{report:#}");
    assert_eq!(
        (each("code"), each("line")),
        (vec!["C043".into(); 2], vec![line("ERROR").into(), line("ISLAND").into()])
    );
}
