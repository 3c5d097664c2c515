//! The Rust mirror of `include/broadcastd_plugin.h`, and the readers that turn what crosses the border into safe types.
//!
//! Every name is the header's (`bcd_msg` is [`Msg`], `BCD_EVENT_TIMER` is [`EVENT_TIMER`]); fields and numbers are explained
//! there, once.
#![expect(unsafe_code, reason = "this file reads and writes memory that belongs to the other side of the C border")]

use std::ffi::c_void;
use std::marker::PhantomData;

pub use self::read::{BadBatch, BadItem, BadText, Batch, Collected, Grows, read_table};

mod read;

#[cfg(test)]
mod tests;

/// Major version of the border; it is part of the name of the exported symbol.
pub const ABI_MAJOR: u32 = 1;
/// Minor version: within a major, fields and numbers are only added.
pub const ABI_MINOR: u32 = 0;
/// The one symbol that a plugin exports, an [`Entry`].
pub const ENTRY_SYMBOL: &str = "broadcastd_plugin_v1";
/// ELF section of the note.
pub const NOTE_SECTION: &str = ".note.broadcastd";
/// Owner (ELF "name") of the note.
pub const NOTE_OWNER: &str = "broadcastd";
/// ELF type of the note.
pub const NOTE_TYPE: u32 = 1;
/// Bytes of [`Note::id`], padding included.
pub const NOTE_ID_MAX: u32 = 64;
/// Bytes of [`Note::version`], padding included.
pub const NOTE_VERSION_MAX: u32 = 32;

/// What a plugin file says about itself, readable without loading it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Note {
    pub abi_major: u32,
    pub abi_minor: u32,
    /// 1: panics unwind and are caught; 0: they abort, such a plugin is refused.
    pub unwinds: u32,
    pub id: [u8; NOTE_ID_MAX as usize],
    pub version: [u8; NOTE_VERSION_MAX as usize],
}

/// Result of a call; negative values are failures.
pub type Status = i32;
pub const OK: Status = 0;
/// Full now; [`EVENT_WRITABLE`] follows when there is room.
pub const E_AGAIN: Status = -1;
/// Bad argument, settings or state.
pub const E_INVALID: Status = -2;
/// The instance is destroyed or being replaced.
pub const E_CLOSED: Status = -3;
/// The plugin panicked; the instance is poisoned.
pub const E_PANIC: Status = -4;
/// The plugin could not do it; `fail` said why.
pub const E_FAILED: Status = -5;
/// This side does not know how.
pub const E_UNSUPPORTED: Status = -6;
/// A bound of the daemon was reached.
pub const E_LIMIT: Status = -7;
/// An answer to a command: what it names does not exist.
pub const E_NOT_FOUND: Status = -8;
/// An answer to a command: what it wants is at odds with how things are.
pub const E_CONFLICT: Status = -9;
/// An answer to a command: the principal may not do this.
pub const E_FORBIDDEN: Status = -10;

/// `bcd_str`: text that is borrowed for the length of a call.
///
/// Its fields are private so that a `Str` can only come from Rust text or from across the border, where rule R3
/// promises that it lives for the call. Whether it is UTF-8, and whether a NULL has a length, is checked by
/// [`Str::get`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str<'a> {
    ptr: *const u8,
    len: usize,
    lifetime: PhantomData<&'a str>,
}

/// `bcd_bytes`: bytes that are borrowed for the length of a call; see [`Str`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    ptr: *const u8,
    len: usize,
    lifetime: PhantomData<&'a [u8]>,
}

/// `bcd_writer`: where the callee writes a result; each call appends. The host makes one with [`Collected::writer`],
/// a plugin uses [`Writer::append`].
#[repr(C)]
pub struct Writer<'a> {
    context: *mut c_void,
    write: Option<unsafe extern "C" fn(context: *mut c_void, bytes: *const u8, len: usize) -> Status>,
    lifetime: PhantomData<&'a mut Collected>,
}

/// `bcd_host`: opaque, a handle that the host checks at every call.
#[repr(C)]
pub struct HostHandle {
    opaque: [u8; 0],
}

/// `bcd_instance`: opaque, one broadcaster inside the plugin.
#[repr(C)]
pub struct InstanceHandle {
    opaque: [u8; 0],
}

/// A newer message of the same topic, kind and key may replace this one in a waiting outbox.
pub const MSG_LATEST: u32 = 1;
/// Removes the key's record.
pub const MSG_DELETE: u32 = 2;
/// Refreshes the record: takes a number, is neither delivered nor kept.
pub const MSG_RECORD_ONLY: u32 = 4;
/// Private streams: to every audience, for kinds that config.toml lists.
pub const MSG_BROADCAST: u32 = 8;

/// `bcd_msg`: what a broadcaster publishes. The fields are explained in the header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Msg<'a> {
    pub size: u32,
    pub flags: u32,
    pub r#type: Str<'a>,
    pub topic: Str<'a>,
    pub key: Str<'a>,
    pub record: Bytes<'a>,
    pub audience: Str<'a>,
    pub session_id: Str<'a>,
    pub payload: Bytes<'a>,
    pub unix_ns: i64,
    pub cause_seq: u64,
    pub cause_ordinal: u32,
    pub reserved: u32,
    pub cause_stream: Str<'a>,
    pub cause_epoch: Str<'a>,
}

pub const EVENT_TIMER: u32 = 1;
pub const EVENT_DEMAND: u32 = 2;
pub const EVENT_MESSAGE: u32 = 3;
pub const EVENT_GAP: u32 = 4;
pub const EVENT_RECORDS: u32 = 5;
pub const EVENT_COMMAND: u32 = 6;
pub const EVENT_WAKE: u32 = 7;
pub const EVENT_WRITABLE: u32 = 8;
pub const EVENT_QUIESCE: u32 = 9;
pub const EVENT_STOP: u32 = 10;

/// `bcd_event`: the one flat record for everything a broadcaster is told. The fields are explained in the header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Event<'a> {
    pub size: u32,
    pub kind: u32,
    pub flags: u32,
    pub reserved: u32,
    pub id: u64,
    pub mono_ns: i64,
    pub unix_ns: i64,
    pub value: i64,
    pub stream: Str<'a>,
    pub topic: Str<'a>,
    pub r#type: Str<'a>,
    pub key: Str<'a>,
    pub audience: Str<'a>,
    pub session_id: Str<'a>,
    pub payload: Bytes<'a>,
    pub principal: Str<'a>,
    pub seq: u64,
    pub epoch: Str<'a>,
}

pub const LOG_ERROR: u32 = 1;
pub const LOG_WARN: u32 = 2;
pub const LOG_INFO: u32 = 3;
pub const LOG_DEBUG: u32 = 4;
pub const LOG_TRACE: u32 = 5;

pub const METRIC_COUNTER: u32 = 1;
pub const METRIC_GAUGE: u32 = 2;
pub const METRIC_HISTOGRAM: u32 = 3;

pub const HEALTH_OK: u32 = 0;
pub const HEALTH_DEGRADED: u32 = 1;

/// `bcd_host_api`: what the host offers. `None` is a function that the host does not have. Contracts: the header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostApi {
    pub size: u32,
    pub abi_minor: u32,
    pub log: Option<unsafe extern "C" fn(*mut HostHandle, level: u32, target: Str<'_>, message: Str<'_>)>,
    pub log_level: Option<unsafe extern "C" fn(*mut HostHandle) -> u32>,
    pub fail: Option<unsafe extern "C" fn(*mut HostHandle, Status, pointer: Str<'_>, message: Str<'_>)>,
    pub publish: Option<unsafe extern "C" fn(*mut HostHandle, *const Msg<'_>, count: usize, stride: usize) -> i64>,
    pub demand: Option<unsafe extern "C" fn(*mut HostHandle, topic: Str<'_>) -> i64>,
    pub reply: Option<unsafe extern "C" fn(*mut HostHandle, request: u64, Status, payload: Bytes<'_>) -> Status>,
    pub timer_set: Option<unsafe extern "C" fn(*mut HostHandle, id: u64, delay_ns: i64, interval_ns: i64) -> Status>,
    pub timer_clear: Option<unsafe extern "C" fn(*mut HostHandle, id: u64) -> Status>,
    pub wake: Option<unsafe extern "C" fn(*mut HostHandle) -> Status>,
    pub metric_open:
        Option<unsafe extern "C" fn(*mut HostHandle, kind: u32, name: Str<'_>, help: Str<'_>, labels: Str<'_>) -> i64>,
    pub metric_record: Option<unsafe extern "C" fn(*mut HostHandle, metric: i64, value: f64)>,
    pub health: Option<unsafe extern "C" fn(*mut HostHandle, health: u32, reason: Str<'_>)>,
    pub now_mono_ns: Option<unsafe extern "C" fn(*mut HostHandle) -> i64>,
    pub now_unix_ns: Option<unsafe extern "C" fn(*mut HostHandle) -> i64>,
    pub extension: Option<unsafe extern "C" fn(*mut HostHandle, id: Str<'_>) -> *const c_void>,
    pub metric_bounds: Option<unsafe extern "C" fn(*mut HostHandle, name: Str<'_>, bounds: Str<'_>) -> Status>,
}

/// `bcd_plugin_api`: what a plugin offers; lives as long as its library, which is never unloaded.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PluginApi {
    pub size: u32,
    pub abi_minor: u32,
    pub id: Str<'static>,
    pub version: Str<'static>,
    pub description: Str<'static>,
    pub config_schema: Str<'static>,
    pub stream: Str<'static>,
    pub state_version: u32,
    pub reserved: u32,
    pub validate: Option<unsafe extern "C" fn(*mut HostHandle, settings: Str<'_>) -> Status>,
    pub create:
        Option<unsafe extern "C" fn(*mut HostHandle, settings: Str<'_>, instance: *mut *mut InstanceHandle) -> Status>,
    pub start: Option<unsafe extern "C" fn(*mut InstanceHandle) -> Status>,
    pub on_events:
        Option<unsafe extern "C" fn(*mut InstanceHandle, *const Event<'_>, count: usize, stride: usize) -> Status>,
    pub save_state: Option<unsafe extern "C" fn(*mut InstanceHandle, *const Writer<'_>) -> Status>,
    pub restore_state: Option<unsafe extern "C" fn(*mut InstanceHandle, from_version: u32, Bytes<'_>) -> Status>,
    pub reconfigure: Option<unsafe extern "C" fn(*mut InstanceHandle, settings: Str<'_>) -> Status>,
    pub destroy: Option<unsafe extern "C" fn(*mut InstanceHandle)>,
    pub extension: Option<unsafe extern "C" fn(*mut InstanceHandle, id: Str<'_>) -> *const c_void>,
    pub stream_with:
        Option<unsafe extern "C" fn(*mut HostHandle, settings: Str<'_>, writer: *const Writer<'_>) -> Status>,
}

/// `bcd_entry`: the type of the exported symbol [`ENTRY_SYMBOL`].
pub type Entry = unsafe extern "C" fn(*const HostApi, loader: *mut HostHandle) -> *const PluginApi;

// SAFETY: the pointers inside are functions and `'static` text, which any thread may use.
unsafe impl Send for PluginApi {}
// SAFETY: as above; nothing in the table changes after it was made.
unsafe impl Sync for PluginApi {}
