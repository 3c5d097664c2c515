//! Events into a plugin and publishes out of it, through the real library and the real host table.

#[path = "../../plugin/src/work.rs"]
mod work;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use broadcastd::event::Draft;
use broadcastd::hub::signal::Signal;
use broadcastd::plugin::file::Image;
use broadcastd::plugin::handles;
use broadcastd::plugin::library::Instance;
use broadcastd::plugin::loaded;
use broadcastd::plugin::note::Note;
use broadcastd::plugin::port::{Gate, Port};
use broadcastd::plugin::told::{Moment, Told};
use broadcastd_fan_out::process;
use broadcastd_plugin_api::Message;
use broadcastd_plugin_api::abi;

use super::publish::{payload, stream};

/// A plugin of ours is loaded in far less.
const LOADED_WITHIN: Duration = Duration::from_secs(10);
/// Events that the plugin publishes at a wake-up.
pub const TOGETHER: u64 = 256;

pub struct Border {
    instance: Instance,
    /// Gives the plugin's calls their place; it ends with the instance.
    _port: Arc<Port>,
    _cache: tempfile::TempDir,
}

impl Border {
    pub fn load() -> Result<Self> {
        let unusable = |why: broadcastd::plugin::note::Unusable| anyhow!("{why}");
        let cache = tempfile::tempdir()?;
        let image = Image::read(&process::program("libborder.so")?).map_err(unusable)?;
        let note = Note::read(&image.bytes).map_err(unusable)?;
        let library = loaded::load(&image, note, cache.path(), LOADED_WITHIN).map_err(unusable)?;
        let port = Port::detached("border");
        ensure!(port.desk().stream.set(stream("border")?).is_ok(), "the desk had a stream");
        let settings = format!("{{\"payload\":{:?}}}", std::str::from_utf8(&payload())?);
        let instance = Instance::create(&library, handles::open(port.clone()), &settings)
            .map_err(|status| anyhow!("the plugin answered {status}"))?;
        port.set_gate(Gate::Open);
        Ok(Self { instance, _port: port, _cache: cache })
    }

    /// Tells it of inputs, so many in one call.
    pub fn events(mut self, batch: u64) -> impl FnMut() {
        let told = inputs(batch);
        move || {
            let at = Moment { mono_ns: 1, unix_ns: 1 };
            let events: Vec<abi::Event<'_>> = black_box(&told).iter().map(|one| one.event(at)).collect();
            assert_eq!(self.instance.on_events(&events), abi::OK);
        }
    }

    /// Lets it publish so many events one by one, in one call.
    pub fn publish(mut self, batch: u64) -> impl FnMut() {
        move || self.tell(&Told::Timer(batch))
    }

    /// Lets it publish events together.
    pub fn publish_all(mut self) -> impl FnMut() {
        move || self.tell(&Told::Wake)
    }

    fn tell(&mut self, told: &Told) {
        let event = black_box(told).event(Moment { mono_ns: 1, unix_ns: 1 });
        assert_eq!(self.instance.on_events(&[event]), abi::OK);
    }
}

/// What the plugin does with each input, called as a function.
pub fn events_direct(batch: u64) -> impl FnMut() {
    let told = inputs(batch);
    let mut sum = 0u64;
    move || {
        for one in black_box(&told) {
            let Told::Message { from, input } = one else { continue };
            let event = &input.event;
            let message = Message {
                stream: from.name(),
                topic: &event.topic,
                kind: &event.kind,
                key: &event.key,
                audience: &event.audience,
                session_id: event.session_id.as_deref().unwrap_or(""),
                payload: &event.payload,
                seq: input.number,
                epoch: from.epoch(),
                unix_ns: event.unix_ns,
            };
            sum = sum.wrapping_add(on_message(black_box(&message)));
        }
        black_box(sum);
    }
}

#[inline(never)]
fn on_message(message: &Message<'_>) -> u64 {
    work::work(message.payload)
}

fn inputs(count: u64) -> Vec<Told> {
    let stream = stream("ticks").expect("a stream without limits can be declared");
    let listener = stream.listen(Arc::new(Signal::default()), None);
    let payload = payload();
    for _ in 0..count {
        let draft = Draft { kind: "tick", topic: "A", payload: &payload, ..Draft::default() };
        stream.publish(&draft, None).expect("the listener has room");
    }
    let batch = stream.read_inputs(listener, usize::MAX);
    batch.events.into_iter().map(|input| Told::Message { from: stream.clone(), input }).collect()
}
