//! A loaded plugin library: opened once per content and never closed, its table checked, its calls made safe to use.
#![expect(unsafe_code, reason = "this file loads foreign code and calls it through the C border")]

use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use broadcastd_plugin_api::abi::{self, Bytes, Collected, Entry, Event, InstanceHandle, PluginApi, Status, Str};
use libloading::os::unix::{self, RTLD_LOCAL, RTLD_NOW};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::bounded;
use super::broadcaster::fault;
use super::file::Image;
use super::handles::{self, Handle};
use super::host;
use super::note::{Note, Unusable};
use super::port::{Fault, Port};

/// The largest state that an instance may save.
pub const MAX_STATE: usize = 64 << 20;

/// The longest declaration of a stream: a thousand kinds have that with schemas of 4 KiB.
pub const MAX_STREAM: usize = 4 << 20;

/// `dlopen` is told never to unmap the library: a thread that touched a Rust library crashes when it ends later.
const RTLD_NODELETE: i32 = 0x1000;

/// A plugin, ready to make instances.
pub struct Library {
    pub note: Note,
    pub sha256: String,
    pub facts: Facts,
    /// `None`: it is not in this process, and was tried in another one.
    api: Option<PluginApi>,
    /// The file that was tried.
    pub tried: Option<Image>,
}

/// What a plugin says of itself when it is loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub description: String,
    /// JSON Schema of the settings.
    pub config_schema: String,
    /// Declaration of the stream as JSON; empty: a notifier.
    pub stream: String,
    /// 0: it keeps no state.
    pub state_version: u32,
    pub can_reconfigure: bool,
}

/// What a plugin makes of settings that it takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Taken {
    /// What is odd about them.
    pub odd: Vec<Fault>,
    /// The declaration of the stream with them, as JSON.
    pub stream: String,
}

impl Library {
    /// One that was tried in another process: all is known of it, and it makes no instances.
    pub fn tried(image: Image, note: Note, facts: Facts) -> Self {
        Self { note, sha256: image.sha256.clone(), facts, api: None, tried: Some(image) }
    }

    /// Asks the plugin whether it takes settings, and what its stream is with them. What is wrong is at its place in them.
    pub fn take(&self, broadcaster: &str, settings: &str, deadline: Duration) -> Result<Taken, Vec<Fault>> {
        let odd = self.validate(broadcaster, settings.to_owned(), deadline)?;
        let stream = self.stream_with(broadcaster, settings.to_owned(), deadline).map_err(|fault| vec![fault])?;
        Ok(Taken { odd, stream })
    }

    /// Asks the plugin about settings, beyond what the schema says: what is odd about them, or wrong. Nobody waits for
    /// the answer beyond the deadline.
    pub fn validate(&self, broadcaster: &str, settings: String, deadline: Duration) -> Result<Vec<Fault>, Vec<Fault>> {
        let Some(validate) = self.api.as_ref().and_then(|api| api.validate) else { return Ok(Vec::new()) };
        let port = Port::detached(broadcaster);
        let handle = handles::open(port.clone());
        let status = bounded::call((broadcaster, "validate"), deadline, move || {
            // SAFETY: `validate` is a function of the loaded table; handle and text live for the call.
            unsafe { validate(host::pointer(handle), Str::new(&settings)) }
        });
        handles::close(handle);
        match status {
            Ok(abi::OK) => Ok(port.take_warnings()),
            Ok(status) => Err(port.take_faults(status, "validate")),
            Err(fault) => Err(vec![fault]),
        }
    }

    /// Asks the plugin for the declaration of its stream with settings that it has taken; most have one for all. Nobody
    /// waits for the answer beyond the deadline.
    pub fn stream_with(&self, broadcaster: &str, settings: String, deadline: Duration) -> Result<String, Fault> {
        let stream_with = self.api.as_ref().and_then(|api| api.stream_with);
        let Some(stream_with) = stream_with.filter(|_| !self.facts.stream.is_empty()) else {
            return Ok(self.facts.stream.clone());
        };
        let port = Port::detached(broadcaster);
        let handle = handles::open(port.clone());
        let answered = bounded::call((broadcaster, "stream_with"), deadline, move || {
            let mut declared = Collected::new(MAX_STREAM);
            let writer = declared.writer();
            // SAFETY: `stream_with` is a function of the loaded table; handle, text and writer live for the call.
            let status = unsafe { stream_with(host::pointer(handle), Str::new(&settings), &raw const writer) };
            (status, declared.into_bytes())
        });
        handles::close(handle);
        let wrong = |status, why: String| fault(status, format!("the declaration of its stream {why}"));
        match answered? {
            (_, Err(abi::E_LIMIT)) => Err(wrong(abi::E_LIMIT, format!("has more than {} MiB", MAX_STREAM >> 20))),
            (abi::OK, Ok(bytes)) if bytes.is_empty() => {
                Err(wrong(abi::E_FAILED, "is empty with these settings".into()))
            }
            (abi::OK, Ok(bytes)) => String::from_utf8(bytes).map_err(|_| wrong(abi::E_INVALID, "is no UTF-8".into())),
            (abi::OK, Err(status)) | (status, _) => Err(port.take_fault(status, "stream_with")),
        }
    }
}

/// A library that is mapped and whose entry was not called yet.
pub struct Opened(Entry);

impl Opened {
    /// Opens it, never to be closed.
    pub fn open(path: &Path) -> Result<Self, Unusable> {
        // SAFETY: the file is whole, is ours alone and carries the note of a plugin; what its own start does is the risk
        // that whoever configures a plugin takes. It is never closed.
        let opened = unsafe { unix::Library::open(Some(path), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) };
        let opened = opened.map_err(not_opened)?;
        // SAFETY: the symbol's name carries the major of the border, and with it the function's type.
        let entry = unsafe { opened.get::<Entry>(abi::ENTRY_SYMBOL) };
        let entry = entry.map(|symbol| *symbol).map_err(|_| Unusable::without_entry())?;
        let _never_closed = opened.into_raw();
        Ok(Self(entry))
    }

    /// Calls its entry and checks the table that it answers.
    pub fn start(&self, note: Note, sha256: String) -> Result<Library, Unusable> {
        self.start_with(host::Table::whole(), note, sha256)
    }

    /// The same with another table of the host.
    pub fn start_with(&self, host: host::Table, note: Note, sha256: String) -> Result<Library, Unusable> {
        let port = Port::detached(&note.id);
        let loader = handles::open(port.clone());
        // SAFETY: the entry obeys the header; a table of the host lives for good, the handle is only ever looked up.
        let table = unsafe { (self.0)(host.pointer(), host::pointer(loader)) };
        handles::close(loader);
        if table.is_null() {
            let why = port.take_fault(abi::E_FAILED, "its entry").message;
            return Err(Unusable::new(format!("it refused to be loaded: {why}")));
        }
        // SAFETY: not NULL; by the header a table that says its size and lives as long as the library, which is for good.
        let Some(api) = (unsafe { abi::read_table(table) }) else {
            return Err(Unusable::new("its table's size field is wrong; rebuild it with the header of this daemon"));
        };
        checked(api, note, sha256)
    }
}

/// One instance, used and destroyed on the thread that made it.
pub struct Instance {
    api: PluginApi,
    raw: NonNull<InstanceHandle>,
    host: Handle,
}

impl Instance {
    pub fn create(library: &Arc<Library>, host: Handle, settings: &str) -> Result<Self, Status> {
        let api = library.api.ok_or(abi::E_UNSUPPORTED)?;
        let create = api.create.ok_or(abi::E_UNSUPPORTED)?;
        let mut raw = ptr::null_mut();
        // SAFETY: `create` is a function of the loaded table, and `raw` may be written to.
        let status = unsafe { create(host::pointer(host), Str::new(settings), &raw mut raw) };
        match NonNull::new(raw) {
            Some(raw) if status == abi::OK => Ok(Self { api, raw, host }),
            _ if status == abi::OK => Err(abi::E_FAILED),
            _ => Err(status),
        }
    }

    pub fn start(&mut self) -> Status {
        // SAFETY: the instance lives, and `&mut self` on its own thread keeps calls apart (rule R4).
        self.api.start.map_or(abi::OK, |start| unsafe { start(self.raw.as_ptr()) })
    }

    pub fn on_events(&mut self, events: &[Event<'_>]) -> Status {
        let Some(on_events) = self.api.on_events else { return abi::OK };
        // SAFETY: as above; the slice lives for the call and is laid out by its own stride.
        unsafe { on_events(self.raw.as_ptr(), events.as_ptr(), events.len(), size_of::<Event<'_>>()) }
    }

    /// As a host of a later minor tells it: its events have more at their end, and say so.
    pub fn on_larger_events(&mut self, events: &[Event<'_>]) -> Status {
        #[repr(C)]
        struct Larger<'a> {
            known: Event<'a>,
            _added: [u64; 4],
        }
        const SIZE: u32 = size_of::<Larger<'_>>() as u32;
        let Some(on_events) = self.api.on_events else { return abi::OK };
        let larger: Vec<Larger<'_>> = events
            .iter()
            .map(|event| Larger { known: Event { size: SIZE, ..*event }, _added: [u64::MAX; 4] })
            .collect();
        // SAFETY: as above; the list lives for the call and is laid out by its own stride.
        unsafe { on_events(self.raw.as_ptr(), larger.as_ptr().cast(), larger.len(), size_of::<Larger<'_>>()) }
    }

    /// The state, or `None` when the plugin keeps none.
    pub fn save_state(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let Some(save) = self.api.save_state.filter(|_| self.api.state_version > 0) else {
            return Ok(None);
        };
        let mut collected = Collected::new(MAX_STATE);
        let writer = collected.writer();
        // SAFETY: as above; the writer lives for the call.
        let status = unsafe { save(self.raw.as_ptr(), &raw const writer) };
        match collected.into_bytes() {
            Err(refused) => {
                self.say_instead(refused, &format!("its state is not whole: {}", reason_of_refusal(refused)));
                Err(refused)
            }
            Ok(bytes) if status == abi::OK => Ok(Some(bytes)),
            Ok(_) => Err(status),
        }
    }

    pub fn restore_state(&mut self, from_version: u32, state: &[u8]) -> Status {
        let Some(restore) = self.api.restore_state else { return abi::E_UNSUPPORTED };
        // SAFETY: as above; the bytes live for the call.
        unsafe { restore(self.raw.as_ptr(), from_version, Bytes::new(state)) }
    }

    pub fn reconfigure(&mut self, settings: &str) -> Status {
        let Some(reconfigure) = self.api.reconfigure else { return abi::E_UNSUPPORTED };
        // SAFETY: as above; the text lives for the call.
        unsafe { reconfigure(self.raw.as_ptr(), Str::new(settings)) }
    }

    /// The daemon knows better why the call fails than the plugin.
    fn say_instead(&self, status: Status, message: &str) {
        if let Some(port) = handles::find(self.host) {
            port.forget_fault();
            port.fail(status, "", message);
        }
    }
}

fn reason_of_refusal(refused: Status) -> String {
    if refused == abi::E_LIMIT {
        return format!("at most {} MiB are kept; save less", MAX_STATE >> 20);
    }
    "it wrote from NULL".to_owned()
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.api.destroy {
            // SAFETY: the instance was made by `create` and is destroyed once, on its own thread.
            unsafe { destroy(self.raw.as_ptr()) };
        }
        handles::close(self.host);
    }
}

fn not_opened(error: libloading::Error) -> Unusable {
    let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    let hint = if text.contains("static TLS") {
        "; a C library in it uses static thread-local storage: rebuild that one with -ftls-model=global-dynamic"
    } else if text.contains("failed to map segment") {
        "; the cache directory must not be mounted noexec"
    } else if text.contains("cannot open shared object file") || text.contains("undefined symbol") {
        "; install or link what it needs"
    } else {
        ""
    };
    Unusable::new(format!("it cannot be loaded: {text}{hint}"))
}

fn checked(api: PluginApi, note: Note, sha256: String) -> Result<Library, Unusable> {
    let text = |field: &str, text: Str<'static>| {
        text.get().map_err(|error| Unusable::new(format!("its table's {field} {error}; correct it and rebuild it")))
    };
    let id = text("id", api.id)?;
    if id != note.id {
        return Err(Unusable::new(format!(
            "its table says it is \"{id}\", its note \"{}\"; give both the same id and rebuild it",
            note.id
        )));
    }
    text("version", api.version)?;
    let missing: Vec<&str> = [
        ("create", api.create.is_none()),
        ("on_events", api.on_events.is_none()),
        ("destroy", api.destroy.is_none()),
        ("save_state", api.state_version > 0 && api.save_state.is_none()),
        ("restore_state", api.state_version > 0 && api.restore_state.is_none()),
    ]
    .into_iter()
    .filter_map(|(name, is_missing)| is_missing.then_some(name))
    .collect();
    if !missing.is_empty() {
        return Err(Unusable::new(format!("its table lacks {}; fill it in and rebuild it", missing.join(", "))));
    }
    let config_schema = text("config_schema", api.config_schema)?;
    if let Err(error) = serde_json::from_str::<IgnoredAny>(config_schema) {
        return Err(Unusable::new(format!("its table's config_schema is no JSON: {error}; correct it and rebuild it")));
    }
    let facts = Facts {
        description: text("description", api.description)?.to_owned(),
        config_schema: config_schema.to_owned(),
        stream: text("stream", api.stream)?.to_owned(),
        state_version: api.state_version,
        can_reconfigure: api.reconfigure.is_some(),
    };
    Ok(Library { note, sha256, facts, api: Some(api), tried: None })
}
