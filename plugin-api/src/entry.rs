//! The ways into a plugin: C call → trait call, with panics, NULLs and sizes handled once, and the ELF note.
#![expect(unsafe_code, reason = "this file is called from the other side of the C border")]

use std::mem::size_of;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Deserializer;

use crate::abi::{
    self, Batch, Bytes, Event, HostApi, HostHandle, InstanceHandle, Note, PluginApi, Status, Str, Writer,
};
use crate::bridge;
use crate::broadcaster::Broadcaster;
use crate::context::{Context, Scratch};
use crate::failure::{Failure, FailureKind};
use crate::input::{Reconfigured, pointer_of};
use crate::stream::settings_schema;

pub(crate) use self::host::Host;
pub(crate) use self::loaded::{Loaded, Running, TakesMessages, publish};

mod dispatch;
mod host;
mod loaded;

/// The ELF note of a plugin, laid out as ELF wants it: sizes, type, owner, descriptor.
#[repr(C)]
pub struct ElfNote {
    name_size: u32,
    descriptor_size: u32,
    r#type: u32,
    owner: [u8; 12],
    note: Note,
}

impl ElfNote {
    /// Texts that are too long for the note do not compile.
    pub const fn new(id: &str, version: &str) -> Self {
        ElfNote {
            name_size: abi::NOTE_OWNER.len() as u32 + 1,
            descriptor_size: size_of::<Note>() as u32,
            r#type: abi::NOTE_TYPE,
            owner: padded(abi::NOTE_OWNER),
            note: Note {
                abi_major: abi::ABI_MAJOR,
                abi_minor: abi::ABI_MINOR,
                unwinds: cfg!(panic = "unwind") as u32,
                id: padded(id),
                version: padded(version),
            },
        }
    }
}

/// Text, padded with NUL to `N` bytes, of which the last is always NUL.
const fn padded<const N: usize>(text: &str) -> [u8; N] {
    assert!(text.len() < N, "too long for the note of a plugin");
    let mut bytes = [0; N];
    let mut index = 0;
    while index < text.len() {
        bytes[index] = text.as_bytes()[index];
        index += 1;
    }
    bytes
}

/// Who a plugin is; `export_plugin!` fills it from the package.
#[derive(Clone, Copy)]
pub struct Identity {
    pub id: &'static str,
    pub version: &'static str,
    pub description: &'static str,
}

/// What the exported symbol does: keeps the host's table, installs the bridges, answers the plugin's table. NULL after
/// `fail` when that is impossible.
///
/// # Safety
/// `host_api` is NULL or a table as the header describes it, which lives as long as the process.
pub unsafe fn load<B: Broadcaster>(
    identity: Identity,
    host_api: *const HostApi,
    loader: *mut HostHandle,
) -> *const PluginApi {
    // SAFETY: the caller's promise.
    let Some(api) = (unsafe { abi::read_table(host_api) }) else { return std::ptr::null() };
    host::keep_table(api);
    let host = Host::new(loader);
    let mut table = std::ptr::null();
    guard(host, || {
        bridge::install();
        table = Box::leak(Box::new(table_of::<B>(identity)?)); // once per library, which is never unloaded
        Ok(abi::OK)
    });
    table
}

fn table_of<B: Broadcaster>(identity: Identity) -> Result<PluginApi, Failure> {
    let stream = B::stream().map(|stream| serde_json::to_string(&stream)).transpose()?;
    let keeps_state = B::STATE_VERSION > 0;
    Ok(PluginApi {
        size: size_of::<PluginApi>() as u32,
        abi_minor: abi::ABI_MINOR,
        id: Str::new(identity.id),
        version: Str::new(identity.version),
        description: Str::new(identity.description),
        config_schema: Str::new(settings_schema::<B::Config>().to_string().leak()),
        stream: Str::new(stream.unwrap_or_default().leak()),
        state_version: B::STATE_VERSION,
        reserved: 0,
        validate: Some(validate::<B>),
        create: Some(create::<B>),
        start: Some(start::<B>),
        on_events: Some(on_events::<B>),
        save_state: keeps_state.then_some(save_state::<B>),
        restore_state: keeps_state.then_some(restore_state::<B>),
        reconfigure: Some(reconfigure::<B>),
        destroy: Some(destroy::<B>),
        extension: None,
        stream_with: Some(stream_with::<B>),
    })
}

/// What a `bcd_instance` points to.
struct Instance<B> {
    broadcaster: B,
    host: Host,
    scratch: Scratch,
    poisoned: bool,
}

unsafe extern "C" fn validate<B: Broadcaster>(loader: *mut HostHandle, settings: Str<'_>) -> Status {
    let host = Host::new(loader);
    guard(host, || {
        let warnings = B::warnings(&parse::<B>(settings)?);
        warnings.iter().for_each(|(pointer, message)| host.fail(abi::OK, pointer, message));
        Ok(abi::OK)
    })
}

unsafe extern "C" fn stream_with<B: Broadcaster>(
    loader: *mut HostHandle,
    settings: Str<'_>,
    writer: *const Writer<'_>,
) -> Status {
    let host = Host::new(loader);
    guard(host, || {
        // SAFETY: the writer is the host's and stays for the call.
        let writer = unsafe { writer.as_ref() }.ok_or_else(without_writer)?;
        let stream = B::stream_with(&parse::<B>(settings)?).map(|stream| serde_json::to_vec(&stream)).transpose()?;
        Failure::check(writer.append(&stream.unwrap_or_default()), "declaring the stream").map(|()| abi::OK)
    })
}

unsafe extern "C" fn create<B: Broadcaster>(
    handle: *mut HostHandle,
    settings: Str<'_>,
    out: *mut *mut InstanceHandle,
) -> Status {
    let host = Host::new(handle);
    if out.is_null() {
        host.fail(abi::E_INVALID, "", "create was given nowhere to put the instance");
        return abi::E_INVALID;
    }
    guard(host, || {
        let mut scratch = Scratch::default();
        let broadcaster = B::new(parse::<B>(settings)?, &mut Context::new(host, &mut scratch))?;
        let instance = Box::new(Instance { broadcaster, host, scratch, poisoned: false });
        // SAFETY: not NULL, and the host gave it to be written to during this call.
        unsafe { out.write(Box::into_raw(instance).cast()) };
        Ok(abi::OK)
    })
}

unsafe extern "C" fn start<B: Broadcaster>(instance: *mut InstanceHandle) -> Status {
    let call = |broadcaster: &mut B, cx: &mut Context<'_>| broadcaster.start(cx).map(|()| abi::OK);
    // SAFETY: the host hands in what `create` made, and never two calls at once (rule R4).
    unsafe { with_instance(instance, call) }
}

unsafe extern "C" fn on_events<B: Broadcaster>(
    instance: *mut InstanceHandle,
    events: *const Event<'_>,
    count: usize,
    stride: usize,
) -> Status {
    // SAFETY: as in `start`; the events are the host's and stay for the call (rules R2 and R3).
    unsafe {
        with_parts(instance, |broadcaster: &mut B, host, scratch| {
            let wrong = |what: String| Failure::of(FailureKind::Invalid, what);
            let batch = Batch::new(events, count, stride).map_err(|why| wrong(format!("events: {why:?}")))?;
            for event in batch {
                let event = event.map_err(|bad| wrong(format!("an event of {} bytes", bad.size)))?;
                dispatch::event(broadcaster, &event, host, scratch)?;
            }
            Ok(abi::OK)
        })
    }
}

unsafe extern "C" fn save_state<B: Broadcaster>(instance: *mut InstanceHandle, writer: *const Writer<'_>) -> Status {
    // SAFETY: as in `start`; the writer is the host's and stays for the call.
    unsafe {
        with_instance(instance, |broadcaster: &mut B, _| {
            let writer = writer.as_ref().ok_or_else(without_writer)?;
            let state = broadcaster.save()?;
            Failure::check(writer.append(&state), "saving state").map(|()| abi::OK)
        })
    }
}

unsafe extern "C" fn restore_state<B: Broadcaster>(
    instance: *mut InstanceHandle,
    from_version: u32,
    state: Bytes<'_>,
) -> Status {
    let call = |broadcaster: &mut B, cx: &mut Context<'_>| {
        let state = state.get().map_err(|why| Failure::of(FailureKind::Invalid, format!("state {why}")))?;
        broadcaster.restore(from_version, state, cx).map(|()| abi::OK)
    };
    // SAFETY: as in `start`.
    unsafe { with_instance(instance, call) }
}

unsafe extern "C" fn reconfigure<B: Broadcaster>(instance: *mut InstanceHandle, settings: Str<'_>) -> Status {
    let call = |broadcaster: &mut B, cx: &mut Context<'_>| {
        let config = parse::<B>(settings)?;
        Ok(match broadcaster.reconfigure(config, cx)? {
            Reconfigured::Done => abi::OK,
            Reconfigured::Replace => abi::E_UNSUPPORTED,
        })
    };
    // SAFETY: as in `start`.
    unsafe { with_instance(instance, call) }
}

unsafe extern "C" fn destroy<B: Broadcaster>(instance: *mut InstanceHandle) {
    if instance.is_null() {
        return;
    }
    // SAFETY: `create` made it with `Box::into_raw`, and the host destroys an instance once and calls it no more.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<B>>()) };
    let host = instance.host;
    guard(host, || {
        drop(instance);
        Ok(abi::OK)
    });
    bridge::forget(host);
}

fn without_writer() -> Failure {
    Failure::of(FailureKind::Invalid, "there is no writer")
}

/// Settings, read and checked for what the schema cannot say.
fn parse<B: Broadcaster>(settings: Str<'_>) -> Result<B::Config, Failure> {
    let text = settings.get().map_err(|why| Failure::at("", format!("the text of the settings {why}")))?;
    let mut json = Deserializer::from_str(text);
    let config = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Failure::at(pointer_of(error.path()), error.inner().to_string()))?;
    json.end()?;
    B::validate(&config)?;
    Ok(config)
}

/// # Safety
/// `instance` is NULL or came from `create::<B>`, is not destroyed, and nobody else uses it during the call.
unsafe fn with_instance<B: Broadcaster>(
    instance: *mut InstanceHandle,
    call: impl FnOnce(&mut B, &mut Context<'_>) -> Result<Status, Failure>,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { with_parts(instance, |broadcaster, host, scratch| call(broadcaster, &mut Context::new(host, scratch))) }
}

/// # Safety
/// As [`with_instance`].
unsafe fn with_parts<B: Broadcaster>(
    instance: *mut InstanceHandle,
    call: impl FnOnce(&mut B, Host, &mut Scratch) -> Result<Status, Failure>,
) -> Status {
    // SAFETY: the caller's promise.
    let Some(instance) = (unsafe { instance.cast::<Instance<B>>().as_mut() }) else { return abi::E_INVALID };
    if instance.poisoned {
        return abi::E_PANIC;
    }
    let Instance { broadcaster, host, scratch, poisoned } = instance;
    let status = guard(*host, || call(broadcaster, *host, scratch));
    *poisoned = status == abi::E_PANIC;
    status
}

/// The one place where a panic ends and a failure becomes a number (rule R6).
fn guard(host: Host, call: impl FnOnce() -> Result<Status, Failure>) -> Status {
    let _inside = bridge::enter(host);
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(status)) => status,
        Ok(Err(failure)) => {
            failure.places().for_each(|(pointer, message)| host.fail(failure.status(), pointer, message));
            failure.status()
        }
        Err(payload) => {
            host.fail(abi::E_PANIC, "", &bridge::panic_text(&*payload));
            std::mem::forget(payload); // its destructor could panic once more, outside of any guard
            abi::E_PANIC
        }
    }
}

/// Exports a [`Broadcaster`] as the plugin that this library is: writes the entry symbol and the ELF note. Use it once
/// per library. The id is the name of the library (`libbars.so` is `bars`), version and description are the
/// package's.
///
/// The crate may say `#![forbid(unsafe_code)]`: what is unsafe here belongs to this crate's macro.
#[macro_export]
macro_rules! export_plugin {
    ($broadcaster:ty) => {
        const _: () = {
            #[used]
            #[unsafe(link_section = ".note.broadcastd")]
            static NOTE: $crate::entry::ElfNote =
                $crate::entry::ElfNote::new(env!("CARGO_CRATE_NAME"), env!("CARGO_PKG_VERSION"));

            #[unsafe(no_mangle)]
            unsafe extern "C" fn broadcastd_plugin_v1(
                host_api: *const $crate::abi::HostApi,
                loader: *mut $crate::abi::HostHandle,
            ) -> *const $crate::abi::PluginApi {
                let identity = $crate::entry::Identity {
                    id: env!("CARGO_CRATE_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                    description: env!("CARGO_PKG_DESCRIPTION"),
                };
                // SAFETY: the host calls this with its table and the loader's handle, as the header says.
                unsafe { $crate::entry::load::<$broadcaster>(identity, host_api, loader) }
            }
        };
    };
}
