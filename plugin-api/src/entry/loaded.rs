//! The other side of the border, for tests: calls a plugin through its table as the daemon does.
#![expect(unsafe_code, reason = "this file calls the C functions of a plugin")]

use std::any::TypeId;
use std::collections::BTreeMap;
use std::mem::size_of;
use std::sync::{Mutex, PoisonError};

use crate::abi::{
    self, Batch, Bytes, Collected, Event, HostApi, HostHandle, InstanceHandle, Msg, PluginApi, Status, Str,
};
use crate::broadcaster::Broadcaster;
use crate::entry::{Identity, load};

/// Saved state in a test may have so many bytes; the daemon's own limit is its config's.
const STATE_MAX: usize = 64 * 1024 * 1024;

/// What was loaded stays for as long as the process, as a library does: each broadcaster once, however often it is tested.
static LOADED: Mutex<BTreeMap<TypeId, Loaded>> = Mutex::new(BTreeMap::new());

/// A plugin of this very program, loaded through its C entry.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    pub(crate) api: &'static PluginApi,
    /// What it was given when it was loaded.
    _host: &'static HostApi,
}

/// One instance; destroyed when dropped.
pub(crate) struct Running {
    api: &'static PluginApi,
    instance: *mut InstanceHandle,
}

impl Loaded {
    /// `None` after `fail`.
    pub(crate) fn of<B: Broadcaster>(host: HostApi, loader: *mut HostHandle) -> Option<Loaded> {
        let mut all = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = all.get(&TypeId::of::<B>()) {
            return Some(*loaded);
        }
        let identity = Identity { id: "under_test", version: "0.0.0", description: "" };
        let host: &'static HostApi = Box::leak(Box::new(host));
        // SAFETY: the table is a whole one and lives as long as the process; what comes back is this crate's own, and does, too.
        let api = unsafe { load::<B>(identity, host, loader).as_ref() }?;
        let loaded = Loaded { api, _host: host };
        all.insert(TypeId::of::<B>(), loaded);
        Some(loaded)
    }

    pub(crate) fn validate(&self, loader: *mut HostHandle, settings: &str) -> Status {
        let validate = self.api.validate.expect("the safe layer has it");
        // SAFETY: the settings live for the call.
        unsafe { validate(loader, Str::new(settings)) }
    }

    pub(crate) fn create(&self, host: *mut HostHandle, settings: &str) -> Result<Running, Status> {
        let create = self.api.create.expect("the safe layer has it");
        let mut instance = std::ptr::null_mut();
        // SAFETY: the settings live for the call, the place for the instance is ours.
        match unsafe { create(host, Str::new(settings), &raw mut instance) } {
            abi::OK => Ok(Running { api: self.api, instance }),
            status => Err(status),
        }
    }
}

impl Running {
    pub(crate) fn start(&mut self) -> Status {
        let start = self.api.start.expect("the safe layer has it");
        // SAFETY: the instance lives until the drop of `self`, which is borrowed for the call.
        unsafe { start(self.instance) }
    }

    pub(crate) fn on_events(&mut self, events: &[Event<'_>]) -> Status {
        let on_events = self.api.on_events.expect("the safe layer has it");
        // SAFETY: as in `start`; the events live for the call and lie as far apart as said.
        unsafe { on_events(self.instance, events.as_ptr(), events.len(), size_of::<Event<'_>>()) }
    }

    pub(crate) fn save_state(&mut self) -> Result<Vec<u8>, Status> {
        let save_state = self.api.save_state.ok_or(abi::E_UNSUPPORTED)?;
        let mut state = Collected::new(STATE_MAX);
        let writer = state.writer();
        // SAFETY: as in `start`; the writer lives for the call.
        match unsafe { save_state(self.instance, &raw const writer) } {
            abi::OK => state.into_bytes(),
            status => Err(status),
        }
    }

    pub(crate) fn restore_state(&mut self, from_version: u32, state: &[u8]) -> Status {
        let Some(restore_state) = self.api.restore_state else { return abi::E_UNSUPPORTED };
        // SAFETY: as in `start`; the state lives for the call.
        unsafe { restore_state(self.instance, from_version, Bytes::new(state)) }
    }

    pub(crate) fn reconfigure(&mut self, settings: &str) -> Status {
        let reconfigure = self.api.reconfigure.expect("the safe layer has it");
        // SAFETY: as in `start`; the settings live for the call.
        unsafe { reconfigure(self.instance, Str::new(settings)) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let destroy = self.api.destroy.expect("the safe layer has it");
        // SAFETY: made by `create`, destroyed only here.
        unsafe { destroy(self.instance) }
    }
}

/// A host that takes messages as a batch.
pub(crate) trait TakesMessages {
    fn publish(host: *mut HostHandle, messages: Batch<'_, Msg<'_>>) -> i64;
}

/// `publish` of the table of a host in this program.
pub(crate) unsafe extern "C" fn publish<H: TakesMessages>(
    host: *mut HostHandle,
    messages: *const Msg<'_>,
    count: usize,
    stride: usize,
) -> i64 {
    // SAFETY: the plugin keeps the messages for the call, as rules R2 and R3 say.
    match unsafe { Batch::new(messages, count, stride) } {
        Ok(batch) => H::publish(host, batch),
        Err(_) => i64::from(abi::E_INVALID),
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use super::*;
    use crate::{Context, Failure, StreamSpec};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Config {
        #[serde(default)]
        kinds: Vec<String>,
    }

    struct Quiet;

    impl Broadcaster for Quiet {
        type Config = Config;
        const STATE_VERSION: u32 = 1;

        fn stream() -> Option<StreamSpec> {
            Some(StreamSpec::new("{a}"))
        }

        fn stream_with(config: &Config) -> Option<StreamSpec> {
            config.kinds.iter().fold(Self::stream(), |spec, kind| Some(spec?.kind::<Config>(kind)))
        }

        fn new(_: Config, _: &mut Context<'_>) -> Result<Self, Failure> {
            Ok(Quiet)
        }
    }

    static HOST: HostApi = HostApi::EMPTY;

    #[test]
    fn nulls_and_wrong_sizes_are_refused() {
        let loaded = Loaded::of::<Quiet>(HOST, null_mut()).unwrap();
        let api = loaded.api;
        assert!(loaded.create(null_mut(), "{").is_err());
        let running = loaded.create(null_mut(), "{}").unwrap();
        let instance = running.instance;
        let timer = Event::new(abi::EVENT_TIMER);
        // SAFETY: the instance lives; every other argument is a NULL or a size that must be refused before it is used.
        let statuses = unsafe {
            [
                api.create.unwrap()(null_mut(), Str::new("{}"), null_mut()),
                api.start.unwrap()(null_mut()),
                api.on_events.unwrap()(null_mut(), null(), 0, 0),
                api.on_events.unwrap()(instance, null(), 1, size_of::<Event<'_>>()),
                api.on_events.unwrap()(instance, &raw const timer, 1, 3),
                api.on_events.unwrap()(instance, &raw const timer, usize::MAX, 8),
                api.on_events.unwrap()(instance, &raw const timer, 1, size_of::<Event<'_>>() - 8),
                api.save_state.unwrap()(instance, null()),
                api.stream_with.unwrap()(null_mut(), Str::new("{}"), null()),
                api.reconfigure.unwrap()(instance, Str::EMPTY),
            ]
        };
        assert_eq!(statuses, [abi::E_INVALID; 10]);
        // SAFETY: nothing is destroyed; no events may be anywhere.
        unsafe {
            api.destroy.unwrap()(null_mut());
            assert_eq!(api.on_events.unwrap()(instance, null(), 0, 0), abi::OK);
        }
        let identity = Identity { id: "a", version: "1", description: "" };
        // SAFETY: NULL is what is tested.
        let table = unsafe { load::<Quiet>(identity, null(), null_mut()) };
        assert!(table.is_null());
    }

    #[test]
    fn a_stream_is_declared_as_the_settings_say() {
        let api = Loaded::of::<Quiet>(HOST, null_mut()).unwrap().api;
        let declared = |settings: &str| {
            let mut stream = Collected::new(STATE_MAX);
            let writer = stream.writer();
            // SAFETY: the settings and the writer live for the call.
            let status = unsafe { api.stream_with.unwrap()(null_mut(), Str::new(settings), &raw const writer) };
            let text = String::from_utf8(stream.into_bytes().unwrap()).unwrap();
            (status, serde_json::from_str::<StreamSpec>(&text).map(|spec| spec.kinds.into_keys().collect()).ok())
        };
        let of_table: StreamSpec = serde_json::from_str(api.stream.get().unwrap()).unwrap();
        assert!(of_table.kinds.is_empty());
        assert_eq!(declared("{}"), (abi::OK, Some(vec![])));
        assert_eq!(declared(r#"{"kinds":["b","a"]}"#), (abi::OK, Some(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(declared(r#"{"kinds":7}"#), (abi::E_INVALID, None), "what validate would refuse");
    }

    #[test]
    fn events_that_nobody_knows_are_ignored() {
        let loaded = Loaded::of::<Quiet>(HOST, null_mut()).unwrap();
        let mut running = loaded.create(null_mut(), "{}").unwrap();
        let unknown = Event { flags: u32::MAX, ..Event::new(4711) };
        assert_eq!(running.on_events(&[unknown, unknown]), abi::OK);
    }
}
