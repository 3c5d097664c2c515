//! The table that plugins call: checks what crosses the border and hands it to the port behind the handle.
#![expect(unsafe_code, reason = "plugins call these functions through the C border")]

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use broadcastd_plugin_api::abi::{self, Batch, Bytes, HostApi, HostHandle, Msg, Status, Str};

use super::declared::Opening;
use super::handles::{self, Handle};
use super::port::Port;

/// The one table of this daemon, for every plugin and for good.
pub static HOST_API: HostApi = HostApi {
    log: Some(log),
    log_level: Some(log_level),
    fail: Some(fail),
    publish: Some(publish),
    demand: Some(demand),
    reply: Some(reply),
    timer_set: Some(timer_set),
    timer_clear: Some(timer_clear),
    wake: Some(wake),
    metric_open: Some(metric_open),
    metric_record: Some(metric_record),
    health: Some(health),
    now_mono_ns: Some(now_mono_ns),
    now_unix_ns: Some(now_unix_ns),
    extension: Some(extension),
    metric_bounds: Some(metric_bounds),
    ..HostApi::EMPTY
};

/// The table that a plugin is given.
#[derive(Clone, Copy)]
pub struct Table(*const HostApi);

impl Table {
    /// This daemon's.
    pub fn whole() -> Self {
        Self(&raw const HOST_API)
    }

    /// That of an earlier minor, of so many bytes: behind them is nothing that a plugin may use, and whoever calls it ends
    /// there. Made for good.
    pub fn shortened(size: usize) -> Self {
        const POINTER: usize = size_of::<usize>();
        /// No function is at this address, and it is not NULL, which a careless plugin would take for an absent one.
        const NOWHERE: usize = 8;
        let size = size.min(size_of::<HostApi>()) / POINTER * POINTER;
        let mut words = [NOWHERE; size_of::<HostApi>() / POINTER];
        // SAFETY: both have at least so many bytes, are apart, and any bytes make words.
        unsafe {
            std::ptr::copy_nonoverlapping((&raw const HOST_API).cast::<u8>(), words.as_mut_ptr().cast::<u8>(), size)
        };
        let words: &'static mut [usize] = Box::leak(Box::new(words));
        let table = words.as_mut_ptr().cast::<HostApi>();
        // SAFETY: the memory is ours, aligned for it and as large as the table; `size` is a plain number in it.
        unsafe { (&raw mut (*table).size).write(u32::try_from(size).expect("a table is small")) };
        Self(table)
    }

    pub fn pointer(self) -> *const HostApi {
        self.0
    }
}

/// The sizes that tables of earlier minors could have had: each ends before the function that is named.
pub fn sizes() -> [(usize, &'static str); 16] {
    macro_rules! before {
        ($($function:ident)*) => { [$((std::mem::offset_of!(HostApi, $function), stringify!($function))),*] };
    }
    before!(log log_level fail publish demand reply timer_set timer_clear wake metric_open metric_record health
        now_mono_ns now_unix_ns extension metric_bounds)
}

/// A handle as plugins hold it: a pointer that points nowhere and is only ever compared.
pub fn pointer(handle: Handle) -> *mut HostHandle {
    std::ptr::without_provenance_mut(handle.to_bits())
}

/// The one way in: finds the port, and lets no panic of the daemon out, which would end the process.
fn enter<T>(host: *mut HostHandle, closed: T, call: impl FnOnce(&Port) -> T) -> T {
    match handles::find(Handle::from_bits(host.addr())) {
        Some(port) => catch_unwind(AssertUnwindSafe(|| call(&port))).unwrap_or(closed),
        None => closed,
    }
}

unsafe extern "C" fn log(host: *mut HostHandle, level: u32, target: Str<'_>, message: Str<'_>) {
    enter(host, (), |port| {
        let message = message.get().unwrap_or("(a line that is no UTF-8)");
        port.log(level, target.get().unwrap_or_default(), message);
    });
}

unsafe extern "C" fn log_level(host: *mut HostHandle) -> u32 {
    enter(host, abi::LOG_ERROR, Port::log_level)
}

unsafe extern "C" fn fail(host: *mut HostHandle, status: Status, pointer: Str<'_>, message: Str<'_>) {
    enter(host, (), |port| {
        let message = message.get().unwrap_or("(a reason that is no UTF-8)");
        port.fail(status, pointer.get().unwrap_or_default(), message);
    });
}

unsafe extern "C" fn publish(host: *mut HostHandle, messages: *const Msg<'_>, count: usize, stride: usize) -> i64 {
    enter(host, i64::from(abi::E_CLOSED), |port| {
        // SAFETY: rules R2 and R3 promise `count` messages of `stride` bytes, unchanged for the call; lies about NULL,
        // sizes and strides are refused, and what a message points to is checked when it is read.
        match unsafe { Batch::new(messages, count, stride) } {
            Ok(batch) => port.publish(batch.map(|message| {
                message.map_err(|bad| format!("its size field says {} bytes, which its stride cannot hold", bad.size))
            })),
            Err(bad) => i64::from(port.refuse(abi::E_INVALID, &format!("of a batch, this is wrong: {bad:?}"))),
        }
    })
}

unsafe extern "C" fn demand(host: *mut HostHandle, topic: Str<'_>) -> i64 {
    enter(host, i64::from(abi::E_CLOSED), |port| match topic.get() {
        Ok(topic) => port.demand(topic),
        Err(_) => i64::from(abi::E_INVALID),
    })
}

unsafe extern "C" fn reply(host: *mut HostHandle, request: u64, status: Status, payload: Bytes<'_>) -> Status {
    // What cannot be read is no JSON either, so that the request is settled by that.
    enter(host, abi::E_CLOSED, |port| port.reply(request, status, payload.get().unwrap_or(b"\xff")))
}

unsafe extern "C" fn timer_set(host: *mut HostHandle, id: u64, delay_ns: i64, interval_ns: i64) -> Status {
    enter(host, abi::E_CLOSED, |port| port.timer_set(id, delay_ns, interval_ns))
}

unsafe extern "C" fn timer_clear(host: *mut HostHandle, id: u64) -> Status {
    enter(host, abi::E_CLOSED, |port| port.timer_clear(id))
}

unsafe extern "C" fn wake(host: *mut HostHandle) -> Status {
    enter(host, abi::E_CLOSED, Port::wake)
}

unsafe extern "C" fn metric_open(
    host: *mut HostHandle,
    kind: u32,
    name: Str<'_>,
    help: Str<'_>,
    labels: Str<'_>,
) -> i64 {
    enter(host, i64::from(abi::E_CLOSED), |port| match (name.get(), help.get(), labels.get()) {
        (Ok(name), Ok(help), Ok(labels)) => port.metric_open(&Opening { kind, name, help, labels }),
        _ => i64::from(abi::E_INVALID),
    })
}

unsafe extern "C" fn metric_bounds(host: *mut HostHandle, name: Str<'_>, bounds: Str<'_>) -> Status {
    enter(host, abi::E_CLOSED, |port| match (name.get(), bounds.get()) {
        (Ok(name), Ok(bounds)) => port.metric_bounds(name, bounds),
        _ => abi::E_INVALID,
    })
}

unsafe extern "C" fn metric_record(host: *mut HostHandle, metric: i64, value: f64) {
    enter(host, (), |port| port.metric_record(metric, value));
}

unsafe extern "C" fn health(host: *mut HostHandle, health: u32, reason: Str<'_>) {
    enter(host, (), |port| port.set_health(health, reason.get().unwrap_or("(a reason that is no UTF-8)")));
}

unsafe extern "C" fn now_mono_ns(host: *mut HostHandle) -> i64 {
    enter(host, 0, |port| port.desk().clock.mono_ns())
}

unsafe extern "C" fn now_unix_ns(host: *mut HostHandle) -> i64 {
    enter(host, 0, |port| port.desk().clock.unix_ns())
}

/// None are known yet.
unsafe extern "C" fn extension(_host: *mut HostHandle, _id: Str<'_>) -> *const c_void {
    std::ptr::null()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls every function of the table. What they answer, as far as they answer at all: first those that refuse.
    fn call_all(handle: Handle) -> ([i64; 8], [i64; 4]) {
        let (host, text) = (pointer(handle), Str::new("g"));
        let message = Msg { payload: Bytes::new(b"{}"), ..Msg::new("bar") };
        // SAFETY: all texts and the message live for the calls, and the handle is only looked up.
        unsafe {
            log(host, abi::LOG_ERROR, text, text);
            fail(host, abi::E_FAILED, text, text);
            health(host, abi::HEALTH_DEGRADED, text);
            let refuse = [
                publish(host, &raw const message, 1, size_of::<Msg<'_>>()),
                demand(host, text),
                i64::from(reply(host, 1, abi::OK, Bytes::EMPTY)),
                i64::from(timer_set(host, 7, 0, 1)),
                i64::from(timer_clear(host, 8)),
                i64::from(wake(host)),
                metric_open(host, abi::METRIC_GAUGE, text, text, Str::EMPTY),
                i64::from(metric_bounds(host, text, Str::new("[1]"))),
            ];
            metric_record(host, 1, 1.0);
            let level = i64::from(log_level(host));
            (refuse, [level, now_mono_ns(host), now_unix_ns(host), extension(host, text).addr() as i64])
        }
    }

    #[test]
    fn every_call_with_an_old_handle_is_refused_and_does_nothing_to_the_next_instance() {
        let old = handles::open(Port::detached("old"));
        handles::close(old);
        let next: Vec<_> = (0..64).map(|_| Port::detached("next")).collect(); // one of them is in the old one's place
        let fresh: Vec<Handle> = next.iter().map(|port| handles::open(port.clone())).collect();
        for port in &next {
            port.timer_set(8, 1 << 60, 0);
        }
        let closed = i64::from(abi::E_CLOSED);
        assert_eq!(call_all(old), ([closed; 8], [i64::from(abi::LOG_ERROR), 0, 0, 0]));
        for port in &next {
            assert_eq!(port.next_timer().map(|due| due >= 1 << 60), Some(true), "none was set, none was cleared");
            assert_eq!(port.health(), super::super::port::Health::Ok);
            assert!(port.take_fault(0, "it").message.ends_with("gave no reason"));
            assert_eq!(port.desk().declared.render(), "");
        }
        let (answers, _) = call_all(fresh[0]);
        assert!(!answers.contains(&closed), "a good handle is not refused: the calls are real ones: {answers:?}");
        fresh.into_iter().for_each(handles::close);
    }

    #[test]
    fn a_shortened_table_has_what_lies_before_its_end_and_nothing_of_use_behind() {
        for (size, before) in sizes() {
            let table = Table::shortened(size);
            // SAFETY: the table is there for good, and has as many bytes as it says and more.
            let (read, behind) = unsafe {
                let words = table.pointer().cast::<usize>();
                (abi::read_table(table.pointer()).unwrap(), words.add(size / size_of::<usize>()).read())
            };
            let has = [read.log.is_some(), read.publish.is_some(), read.metric_bounds.is_some()];
            let ends = |name| sizes().iter().find(|(_, named)| *named == name).map(|(at, _)| *at < size);
            assert_eq!(has.map(Some), ["log", "publish", "metric_bounds"].map(ends), "before {before}");
            assert_eq!((read.size as usize, behind), (size, 8), "whoever calls it ends there");
        }
        // SAFETY: this one is the daemon's own.
        assert!(unsafe { abi::read_table(Table::whole().pointer()) }.unwrap().metric_bounds.is_some());
    }

    #[test]
    fn text_that_is_none_is_refused_or_told() {
        let port = Port::detached("bad");
        let handle = handles::open(port.clone());
        let (host, bad) = (pointer(handle), Bytes::new(b"\xff"));
        // SAFETY: both are a pointer and a length, and the bytes live for the test; that they are no text is what is tested.
        let bad: Str<'_> = unsafe { std::mem::transmute(bad) };
        // SAFETY: as above.
        let answers = unsafe {
            fail(host, abi::E_FAILED, bad, bad);
            health(host, abi::HEALTH_DEGRADED, bad);
            let bounds = i64::from(metric_bounds(host, bad, bad));
            [demand(host, bad), metric_open(host, abi::METRIC_GAUGE, bad, bad, bad), bounds]
        };
        assert_eq!(answers, [i64::from(abi::E_INVALID); 3]);
        assert_eq!(port.take_fault(abi::E_FAILED, "it").message, "(a reason that is no UTF-8)");
        assert_eq!(port.health(), super::super::port::Health::Degraded("(a reason that is no UTF-8)".to_owned()));
        handles::close(handle);
    }
}
