//! `plugin run`: one plugin by itself, between the inputs on standard input and its events on standard output.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;
use std::time::Instant;

use broadcastd_plugin_api::StreamSpec;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::signal::unix::{SignalKind, signal};

use super::test::own_output;
use super::{environment, given};
use crate::cli::Exit;
use crate::commands::fail;
use crate::event::{Event, write_timestamp_in_nanos};
use crate::folders::Folders;
use crate::hub::signal::{Signal, Wakes};
use crate::log::{self, errors::Errors};
use crate::plugin::alone::Alone;
use crate::plugin::broadcaster::thread_name;
use crate::plugin::file::Image;
use crate::plugin::library::Library;
use crate::plugin::loaded;
use crate::plugin::note::{Note, Unusable};
use crate::plugin::port::Fault;
use crate::plugin::stream::declaration;
use crate::plugin::timing::{Clock, SystemClock, Timing};

/// Lines that are read ahead of the plugin; beyond, who writes them waits.
const AHEAD: usize = 256;

/// What is run, and how.
pub struct Asked<'a> {
    pub file: &'a Path,
    pub settings: Option<&'a str>,
    pub name: Option<&'a str>,
    pub log: &'a str,
}

/// Something that the main thread hears.
enum News {
    /// It was asked to end.
    Signal,
    /// The input has ended, and all of it was given: it ends.
    Ending,
    Ended(Result<(), String>),
}

pub fn run(asked: &Asked<'_>) -> Exit {
    let out = match own_output() {
        Ok(out) => out,
        Err(error) => return fail(Exit::Internal, &format!("standard output cannot be taken: {error}")),
    };
    let levels = log::start(log::Format::detect(None), asked.log, Errors::default());
    let exit = run_to(out, asked);
    levels.finish();
    exit
}

fn run_to(out: File, asked: &Asked<'_>) -> Exit {
    let ready = match Ready::new(asked) {
        Ok(ready) => ready,
        Err(why) => return fail(Exit::Config, &why),
    };
    let (tell, news) = channel();
    if let Err(error) = listen_to_signals(tell.clone()) {
        return fail(Exit::Internal, &format!("cannot listen to signals: {error}"));
    }
    let life = Arc::new(Life::default());
    let (lines, inputs) = sync_channel(AHEAD);
    read_inputs(lines, life.clone());
    let (own, name) = (life.clone(), thread_name(&ready.name));
    let started = thread::Builder::new().name(name).spawn(move || {
        let ended = Course { life: own, inputs, out, tell: tell.clone() }.run(ready);
        _ = tell.send(News::Ended(ended));
    });
    if let Err(error) = started {
        return fail(Exit::Internal, &format!("no thread can be started for it: {error}"));
    }
    wait(&news, &life)
}

/// Waits for the end, no longer than the plugin has for it.
fn wait(news: &Receiver<News>, life: &Life) -> Exit {
    let within = Timing::default().stop;
    let mut deadline: Option<Instant> = None;
    loop {
        let heard = match deadline {
            None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => news.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match heard {
            Ok(News::Signal) if life.is_over.swap(true, Ordering::Relaxed) => {
                return fail(Exit::Internal, "ended at once: what it had to save is lost");
            }
            Ok(News::Signal) => {
                life.signal.raise(Wakes::CONTROL);
                deadline = Some(Instant::now() + within);
            }
            Ok(News::Ending) => deadline = deadline.or_else(|| Some(Instant::now() + within)),
            Ok(News::Ended(Ok(()))) => {
                return match life.refused.load(Ordering::Relaxed) {
                    0 => Exit::Done,
                    refused => fail(Exit::Usage, &format!("{refused} inputs were refused")),
                };
            }
            Ok(News::Ended(Err(why))) => return fail(Exit::Internal, &why),
            Err(RecvTimeoutError::Timeout) => {
                return fail(
                    Exit::Internal,
                    &format!("the plugin did not stop within {within:?}; it must not wait in a call"),
                );
            }
            Err(RecvTimeoutError::Disconnected) => return fail(Exit::Internal, "its thread ended without a word"),
        }
    }
}

/// What the threads know of each other.
#[derive(Default)]
struct Life {
    is_over: AtomicBool,
    /// Inputs that were not taken.
    refused: AtomicU64,
    /// Wakes the plugin's thread.
    signal: Signal,
}

/// A plugin that is loaded, and settings that fit.
struct Ready {
    library: Arc<Library>,
    spec: Option<StreamSpec>,
    settings: String,
    name: String,
}

impl Ready {
    fn new(asked: &Asked<'_>) -> Result<Self, String> {
        let named = |why: Unusable| format!("plugin {}: {why}", asked.file.display());
        let image = Image::read(asked.file).map_err(named)?;
        let note = Note::read(&image.bytes).map_err(named)?;
        let name = asked.name.unwrap_or(&note.id).to_owned();
        let folders = Folders::shared(&environment())?;
        let create = Timing::default().create;
        let library = loaded::load(&image, note, &folders.cache, create).map_err(named)?;
        let schema = serde_json::from_str(&library.facts.config_schema).map_err(|error| error.to_string())?;
        let given = given::settings(asked.settings)?;
        let settings = given::checked(&given, &schema).map_err(|wrong| wrong.report)?.to_string();
        library.validate(&name, settings.clone(), create).map_err(|faults| {
            let told: Vec<String> = faults.iter().map(|fault| given::place(&fault.pointer, &fault.message)).collect();
            format!("the plugin refuses its settings: {}", told.join("; "))
        })?;
        let declared = library.stream_with(&name, settings.clone(), create);
        let declared = declared.map_err(|fault| given::place(&fault.pointer, &fault.message))?;
        let spec = declaration(&declared).map_err(named)?;
        Ok(Self { library, spec, settings, name })
    }
}

/// The plugin's thread.
struct Course {
    life: Arc<Life>,
    inputs: Receiver<Result<Vec<u8>, String>>,
    out: File,
    tell: Sender<News>,
}

impl Course {
    fn run(mut self, ready: Ready) -> Result<(), String> {
        self.life.signal.belongs_here();
        let clock = Arc::new(SystemClock::default());
        let mut alone = Alone::new(ready.library, ready.spec.as_ref(), &ready.name, clock.clone());
        alone.signal().belongs_here();
        let begun = alone.create(&ready.settings).and_then(|()| alone.begin());
        begun.and_then(|()| self.go_on(&mut alone, &*clock)).map_err(|fault| failed(&alone, &fault))?;
        _ = self.tell.send(News::Ending); // the main thread may have gone
        alone.stop().map_err(|fault| failed(&alone, &fault))?;
        self.print(&mut alone);
        Ok(())
    }

    /// Lets happen what happens, until it is over.
    fn go_on(&mut self, alone: &mut Alone, clock: &dyn Clock) -> Result<(), Fault> {
        let mut number = 0;
        let mut has_ended = false;
        while !self.life.is_over.load(Ordering::Relaxed) {
            self.life.signal.take(); // what comes from here on wakes
            has_ended |= self.take_inputs(alone, &mut number);
            let any = alone.turn()?;
            self.print(alone);
            if !any && has_ended {
                return Ok(());
            }
            if !any {
                let deadline = alone.port().next_timer();
                self.life.signal.wait(|| clock.park_until(deadline));
            }
        }
        Ok(())
    }

    /// Gives it the lines that are there; whether there are no more to come.
    fn take_inputs(&self, alone: &mut Alone, number: &mut u64) -> bool {
        for _ in 0..AHEAD {
            let line = match self.inputs.try_recv() {
                Ok(line) => line,
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            };
            *number += 1;
            if let Err(why) = line.and_then(|line| given::input(alone, &line)) {
                self.life.refused.fetch_add(1, Ordering::Relaxed);
                _ = writeln!(io::stderr(), "input line {number}: {why}");
            }
        }
        false
    }

    fn print(&mut self, alone: &mut Alone) {
        for event in alone.take_published() {
            let Ok(mut line) = serde_json::to_vec(&Line::of(&event)) else { continue };
            line.push(b'\n');
            if self.out.write_all(&line).is_err() {
                self.life.is_over.store(true, Ordering::Relaxed); // nobody reads any more
                return;
            }
        }
    }
}

fn failed(alone: &Alone, fault: &Fault) -> String {
    format!("the plugin failed in {}: {}", alone.last_call(), given::place(&fault.pointer, &fault.message))
}

/// An event as it is printed, which is what a producer would send.
#[derive(Serialize)]
struct Line<'a> {
    stream: &'a str,
    topic: &'a str,
    r#type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    audience: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    timestamp: String,
    data: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    fn of(event: &'a Event) -> Self {
        let mut timestamp = Vec::new();
        write_timestamp_in_nanos(event.unix_ns, &mut timestamp);
        Self {
            stream: &event.stream,
            topic: &event.topic,
            r#type: &event.kind,
            key: &event.key,
            audience: &event.audience,
            session_id: event.session_id.as_deref(),
            timestamp: String::from_utf8_lossy(&timestamp).trim_matches('"').to_owned(),
            data: serde_json::from_slice(&event.payload).ok(),
        }
    }
}

/// Reads line by line, and waits when the plugin is behind.
fn read_inputs(lines: SyncSender<Result<Vec<u8>, String>>, life: Arc<Life>) {
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let line = given::next_line(&mut input);
            let is_last = line.is_err();
            let Some(line) = line.transpose() else { break };
            if lines.send(line).is_err() || is_last {
                break;
            }
            life.signal.raise(Wakes::INPUT);
        }
        drop(lines);
        life.signal.raise(Wakes::CONTROL);
    });
}

fn listen_to_signals(tell: Sender<News>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    drop(_inside);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if tell.send(News::Signal).is_err() {
                    return;
                }
            }
        });
    })?;
    Ok(())
}
