//! `broadcastd top`: how the daemon is, live on a terminal, or once where there is none.

mod screen;
mod terminal;

use std::io::{self, Read as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use self::screen::Screen;
use self::terminal::Terminal;
use super::daemon::unreachable;
use super::{environment, fail, say};
use crate::cli::{Exit, Format, Top};
use crate::control::{Block, Control, Error, Events};

/// The stream on which the daemon tells of itself.
const PATH: &str = "/v1/sse?topic=daemon";
/// How long a daemon that went away is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// What is drawn on where there is no terminal: as wide and high as it becomes.
const UNBOUNDED: usize = usize::MAX;
const NO_FIGURES: &str = "the daemon ended before it told any figures; ask again";
/// What quits: q, Ctrl-C and Ctrl-D.
const QUIT: [u8; 4] = [b'q', b'Q', 3, 4];

/// Shows it until somebody quits.
pub fn top(top: &Top) -> Exit {
    let events = match open(top) {
        Ok(events) => events,
        Err(error) => return unreachable(&error),
    };
    if top.format == Format::Json {
        return lines(events, if top.once { 1 } else { usize::MAX });
    }
    if top.once {
        return once(events);
    }
    let terminal = match Terminal::open() {
        Ok(Some(terminal)) => terminal,
        Ok(None) => return once(events),
        Err(error) => return fail(Exit::Internal, &format!("the terminal cannot be used: {error}; try --once")),
    };
    let (sender, seen) = channel();
    let (listening, keys) = (sender.clone(), sender);
    let wish = top.clone();
    thread::spawn(move || listen(&wish, events, &listening));
    thread::spawn(move || watch_keys(&keys));
    let shown = live(&terminal, &seen);
    drop(terminal); // before anything is said
    shown.map_or_else(|error| fail(Exit::Internal, &format!("the terminal cannot be used: {error}")), |()| Exit::Done)
}

/// Something that changes the picture, or ends it.
enum Seen {
    Block(Block),
    Gone,
    Quit,
}

fn open(top: &Top) -> Result<Events, Error> {
    Control::find(top.socket.as_deref(), &environment())?.listen(PATH, None)
}

/// One picture, as soon as there are figures.
fn once(events: Events) -> Exit {
    let mut screen = Screen::default();
    for block in events {
        screen.hear(&block);
        if screen.has_figures() {
            say(screen.draw(UNBOUNDED, UNBOUNDED).trim_end());
            return Exit::Done;
        }
    }
    fail(Exit::Unavailable, NO_FIGURES)
}

/// For programs: the figures of so many seconds, or until the daemon ends.
fn lines(events: Events, wanted: usize) -> Exit {
    let figures = events.filter_map(|block| screen::figures(&block));
    let said = figures.take(wanted).map(|figures| say(&figures.to_string())).count();
    if said == 0 { fail(Exit::Unavailable, NO_FIGURES) } else { Exit::Done }
}

fn live(terminal: &Terminal, seen: &Receiver<Seen>) -> io::Result<()> {
    let mut screen = Screen::default();
    loop {
        let (width, height) = terminal.size();
        let picture = screen.draw(width, height.saturating_sub(1));
        let picture = if screen.has_figures() { picture } else { "waiting for figures\n".to_owned() };
        terminal.show(&format!("{picture}q quits"))?;
        match seen.recv() {
            Ok(Seen::Block(block)) => screen.hear(&block),
            Ok(Seen::Gone) => screen.trouble = Some("the daemon is gone; waiting until it is back".to_owned()),
            Ok(Seen::Quit) | Err(_) => return Ok(()),
        }
    }
}

/// Passes on what the daemon says, also when it comes back.
fn listen(top: &Top, events: Events, seen: &Sender<Seen>) {
    let mut events = Some(events);
    loop {
        for block in events.take().into_iter().flatten() {
            if seen.send(Seen::Block(block)).is_err() {
                return;
            }
        }
        if seen.send(Seen::Gone).is_err() {
            return;
        }
        thread::sleep(AGAIN_AFTER);
        events = open(top).ok();
    }
}

fn watch_keys(seen: &Sender<Seen>) {
    let mut keys = io::stdin().lock().bytes().map_while(Result::ok);
    // The last one, or that nobody can type any more.
    keys.find(|key| QUIT.contains(key));
    _ = seen.send(Seen::Quit);
}
