//! Readers and makers of what crosses the border: text, bytes, batches with a stride, tables of another size.
#![expect(unsafe_code, reason = "this file reads and writes memory that belongs to the other side of the C border")]

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::slice;

use super::{ABI_MINOR, E_INVALID, E_LIMIT, E_UNSUPPORTED, OK};
use super::{Bytes, Event, HostApi, Msg, PluginApi, Status, Str, Writer};

/// Text or bytes that break rule R3 or R7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadText {
    /// The pointer is NULL although the length is not 0.
    Null,
    /// The length is larger than any memory.
    Length,
    /// Not UTF-8.
    Encoding,
}

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadText::Null => "is NULL but has a length",
            BadText::Length => "is longer than memory can be",
            BadText::Encoding => "is not UTF-8",
        })
    }
}

impl std::error::Error for BadText {}

impl<'a> Str<'a> {
    /// No text: NULL and length 0.
    pub const EMPTY: Str<'static> = Str { ptr: std::ptr::null(), len: 0, lifetime: PhantomData };

    /// Lends text for `'a`.
    pub const fn new(text: &'a str) -> Self {
        Str { ptr: text.as_ptr(), len: text.len(), lifetime: PhantomData }
    }

    /// The text; length 0 reads as `""` whatever the pointer is.
    pub fn get(self) -> Result<&'a str, BadText> {
        str::from_utf8(borrow(self.ptr, self.len)?).map_err(|_| BadText::Encoding)
    }
}

impl<'a> Bytes<'a> {
    /// No bytes: NULL and length 0.
    pub const EMPTY: Bytes<'static> = Bytes { ptr: std::ptr::null(), len: 0, lifetime: PhantomData };

    /// Lends bytes for `'a`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Bytes { ptr: bytes.as_ptr(), len: bytes.len(), lifetime: PhantomData }
    }

    /// The bytes; length 0 reads as empty whatever the pointer is.
    pub fn get(self) -> Result<&'a [u8], BadText> {
        borrow(self.ptr, self.len)
    }
}

/// Only for the pointer and length of one `Str` or `Bytes`, whose making promised that they live for `'a`.
fn borrow<'a>(ptr: *const u8, len: usize) -> Result<&'a [u8], BadText> {
    if len == 0 {
        return Ok(&[]);
    }
    if ptr.is_null() {
        return Err(BadText::Null);
    }
    if isize::try_from(len).is_err() {
        return Err(BadText::Length);
    }
    // SAFETY: not NULL, a possible length, and by rule R3 readable and unchanged for the call, which is `'a`.
    Ok(unsafe { slice::from_raw_parts(ptr, len) })
}

impl<'a> Msg<'a> {
    /// A message of a kind with everything else empty.
    pub const fn new(kind: &'a str) -> Self {
        Msg {
            size: size_of::<Msg<'_>>() as u32,
            flags: 0,
            r#type: Str::new(kind),
            topic: Str::EMPTY,
            key: Str::EMPTY,
            record: Bytes::EMPTY,
            audience: Str::EMPTY,
            session_id: Str::EMPTY,
            payload: Bytes::EMPTY,
            unix_ns: 0,
            cause_seq: 0,
            cause_ordinal: 0,
            reserved: 0,
            cause_stream: Str::EMPTY,
            cause_epoch: Str::EMPTY,
        }
    }
}

impl Event<'_> {
    /// An event of a kind (`EVENT_*`) with everything else empty.
    pub const fn new(kind: u32) -> Self {
        Event {
            size: size_of::<Event<'_>>() as u32,
            kind,
            flags: 0,
            reserved: 0,
            id: 0,
            mono_ns: 0,
            unix_ns: 0,
            value: 0,
            stream: Str::EMPTY,
            topic: Str::EMPTY,
            r#type: Str::EMPTY,
            key: Str::EMPTY,
            audience: Str::EMPTY,
            session_id: Str::EMPTY,
            payload: Bytes::EMPTY,
            principal: Str::EMPTY,
            seq: 0,
            epoch: Str::EMPTY,
        }
    }
}

impl HostApi {
    /// A table that offers nothing yet, to be filled with `HostApi { log: Some(…), ..HostApi::EMPTY }`.
    pub const EMPTY: HostApi = HostApi {
        size: size_of::<HostApi>() as u32,
        abi_minor: ABI_MINOR,
        log: None,
        log_level: None,
        fail: None,
        publish: None,
        demand: None,
        reply: None,
        timer_set: None,
        timer_clear: None,
        wake: None,
        metric_open: None,
        metric_record: None,
        health: None,
        now_mono_ns: None,
        now_unix_ns: None,
        extension: None,
        metric_bounds: None,
    };
}

impl Writer<'_> {
    /// Appends `bytes`; `E_LIMIT` when the reader takes no more, `E_UNSUPPORTED` when it has no function.
    pub fn append(&self, bytes: &[u8]) -> Status {
        match self.write {
            // SAFETY: the maker of the writer promised that function and context belong together for its lifetime.
            Some(write) => unsafe { write(self.context, bytes.as_ptr(), bytes.len()) },
            None => E_UNSUPPORTED,
        }
    }
}

/// Bytes that a [`Writer`] collects, up to a limit.
#[derive(Debug)]
pub struct Collected {
    bytes: Vec<u8>,
    limit: usize,
    /// Of the first write that was not taken: what is there without it is no whole result.
    refused: Status,
}

impl Collected {
    /// Takes at most `limit` bytes; a write that would go beyond is refused whole with `E_LIMIT`.
    pub fn new(limit: usize) -> Self {
        Collected { bytes: Vec::new(), limit, refused: OK }
    }

    /// The writer to hand to the other side.
    pub fn writer(&mut self) -> Writer<'_> {
        let context = std::ptr::from_mut(self).cast::<c_void>();
        Writer { context, write: Some(collect), lifetime: PhantomData }
    }

    /// What was written, if all of it was taken; else the status of the first write that was not, whatever the writer
    /// made of it.
    pub fn into_bytes(self) -> Result<Vec<u8>, Status> {
        if self.refused == OK { Ok(self.bytes) } else { Err(self.refused) }
    }

    fn append(&mut self, bytes: Result<&[u8], BadText>) -> Status {
        let status = match bytes {
            Err(_) => E_INVALID,
            Ok(bytes) if bytes.len() > self.limit - self.bytes.len() => E_LIMIT,
            Ok(bytes) => {
                self.bytes.extend_from_slice(bytes);
                OK
            }
        };
        if self.refused == OK {
            self.refused = status;
        }
        status
    }
}

unsafe extern "C" fn collect(context: *mut c_void, bytes: *const u8, len: usize) -> Status {
    // SAFETY: only `Collected::writer` pairs this function with a context, a `Collected` borrowed for the writer's life.
    let collected = unsafe { context.cast::<Collected>().as_mut() };
    collected.map_or(E_INVALID, |collected| collected.append(borrow(bytes, len)))
}

/// A struct that starts with its writer's `size` (rule R1).
///
/// # Safety
/// `#[repr(C)]`, first field `size: u32`, and all bytes zero is a valid value.
pub unsafe trait Grows: Copy {}
// SAFETY: numbers, and pointers for which NULL is valid.
unsafe impl Grows for Msg<'_> {}
// SAFETY: numbers, and pointers for which NULL is valid.
unsafe impl Grows for Event<'_> {}
// SAFETY: numbers and optional functions.
unsafe impl Grows for HostApi {}
// SAFETY: numbers, optional functions, and pointers for which NULL is valid.
unsafe impl Grows for PluginApi {}

/// Reads a table as far as its own `size` says; the rest is zero, which means absent. NULL and a size that cannot
/// even hold itself are `None`.
///
/// # Safety
/// `table` is NULL, or points to as many readable bytes as its `size` says, and what it holds obeys the header for
/// as long as the result is used.
pub unsafe fn read_table<T: Grows>(table: *const T) -> Option<T> {
    if table.is_null() {
        return None;
    }
    // SAFETY: the caller's promise; what the table says of itself is the bound.
    unsafe { read_sized(table.cast(), usize::MAX) }.ok()
}

/// Why a batch cannot be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBatch {
    /// NULL although the count is not 0.
    Null,
    /// The stride cannot hold a `size`, or count × stride is more than memory.
    Stride,
}

/// An item whose `size` cannot hold itself or is larger than the stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadItem {
    /// What the item says of itself, in bytes.
    pub size: u32,
}

/// An array of growing structs, laid out by its writer `stride` bytes apart (rule R2). Items come as this side knows
/// them: what an older writer did not have is zero, what a newer one has more is left out.
pub struct Batch<'a, T> {
    next: *const u8,
    left: usize,
    stride: usize,
    lifetime: PhantomData<&'a T>,
}

impl<T: Grows> Batch<'_, T> {
    /// # Safety
    /// `items` is NULL or points to `count * stride` readable bytes that stay unchanged for the lifetime, and the
    /// pointers inside obey rule R3.
    pub unsafe fn new(items: *const T, count: usize, stride: usize) -> Result<Self, BadBatch> {
        if count > 0 {
            if items.is_null() {
                return Err(BadBatch::Null);
            }
            let bytes = count.checked_mul(stride).and_then(|bytes| isize::try_from(bytes).ok());
            if stride < size_of::<u32>() || bytes.is_none() {
                return Err(BadBatch::Stride);
            }
        }
        Ok(Batch { next: items.cast(), left: count, stride, lifetime: PhantomData })
    }
}

impl<T: Grows> Iterator for Batch<'_, T> {
    type Item = Result<T, BadItem>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: `new` was promised `count` items of `stride` bytes, and this is one of them.
        let item = unsafe { read_sized(self.next, self.stride) };
        self.next = self.next.wrapping_add(self.stride);
        Some(item)
    }
}

/// # Safety
/// `bytes` has at least 4 readable bytes, and as many as its `size` says when that is within `room`.
unsafe fn read_sized<T: Grows>(bytes: *const u8, room: usize) -> Result<T, BadItem> {
    // SAFETY: the caller promises the first 4 bytes; they need not be aligned.
    let size = unsafe { bytes.cast::<u32>().read_unaligned() };
    let written = size as usize;
    if written < size_of::<u32>() || written > room {
        return Err(BadItem { size });
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: both sides have that many bytes; zero is valid for what is left (`Grows`), and so is what obeys the header.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes, value.as_mut_ptr().cast(), whole_words(written).min(size_of::<T>()));
        Ok(value.assume_init())
    }
}

/// A size that ends inside a pointer or a length would leave half of it, which is worse than none.
fn whole_words(size: usize) -> usize {
    size - size % size_of::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked_before_it_is_believed() {
        assert_eq!(Str::EMPTY.get(), Ok(""));
        assert_eq!(Str::new("å").get(), Ok("å"));
        let dangling = Str { ptr: std::ptr::null(), len: 3, lifetime: PhantomData };
        assert_eq!(dangling.get(), Err(BadText::Null));
        let endless = Str { ptr: c"x".as_ptr().cast(), len: usize::MAX, lifetime: PhantomData };
        assert_eq!(endless.get(), Err(BadText::Length));
        let latin = Str { ptr: [0xe5_u8].as_ptr(), len: 1, lifetime: PhantomData };
        assert_eq!(latin.get(), Err(BadText::Encoding));
    }

    /// A message as a later minor version might have it.
    #[repr(C)]
    struct Newer<'a> {
        known: Msg<'a>,
        added: [u64; 3],
    }

    #[test]
    fn a_stride_larger_than_the_struct_is_walked_by_the_stride() {
        let newer = |kind| {
            let known = Msg { size: size_of::<Newer<'_>>() as u32, ..Msg::new(kind) };
            Newer { known, added: [u64::MAX; 3] }
        };
        let items = [newer("a"), newer("b"), newer("c")];
        // SAFETY: three items of that stride, alive for the test.
        let batch = unsafe { Batch::<Msg<'_>>::new(items.as_ptr().cast(), 3, size_of::<Newer<'_>>()) }.unwrap();
        let kinds: Vec<_> = batch.map(|item| item.unwrap().r#type.get().unwrap()).collect();
        assert_eq!(kinds, ["a", "b", "c"]);
    }

    #[test]
    fn what_an_older_writer_did_not_have_is_empty() {
        let older = std::mem::offset_of!(Msg<'_>, topic);
        let items = [Msg { size: older as u32, topic: Str::new("beyond"), ..Msg::new("a") }];
        // SAFETY: one item of that stride, alive for the test.
        let mut batch = unsafe { Batch::new(items.as_ptr(), 1, size_of::<Msg<'_>>()) }.unwrap();
        let item: Msg<'_> = batch.next().unwrap().unwrap();
        assert_eq!((item.r#type.get(), item.topic.get()), (Ok("a"), Ok("")));
    }

    #[test]
    fn lies_about_sizes_are_refused() {
        let items = [Msg { size: 3, ..Msg::new("a") }, Msg { size: 4096, ..Msg::new("b") }];
        // SAFETY: two items of that stride, alive for the test.
        let batch = unsafe { Batch::new(items.as_ptr(), 2, size_of::<Msg<'_>>()) }.unwrap();
        let sizes: Vec<_> = batch.map(|item| item.map(|_| ()).unwrap_err().size).collect();
        assert_eq!(sizes, [3, 4096]);
        // SAFETY: nothing is read of a batch that is refused.
        let refuse = |count, stride| unsafe { Batch::new(items.as_ptr(), count, stride) }.err();
        assert_eq!(refuse(2, 3), Some(BadBatch::Stride));
        assert_eq!(refuse(usize::MAX, 8), Some(BadBatch::Stride));
        assert_eq!(refuse(2, 4), None);
        // SAFETY: NULL is what is tested.
        let null = |count| unsafe { Batch::<Msg<'_>>::new(std::ptr::null(), count, 8) }.err();
        assert_eq!((null(1), null(0)), (Some(BadBatch::Null), None));
    }

    #[test]
    fn a_shorter_table_has_no_later_functions() {
        unsafe extern "C" fn level(_: *mut super::super::HostHandle) -> u32 {
            3
        }
        let cut = std::mem::offset_of!(HostApi, fail) as u32;
        let table = HostApi { size: cut, log_level: Some(level), ..HostApi::EMPTY };
        // SAFETY: a whole table, alive for the call.
        let read = unsafe { read_table(&raw const table) }.unwrap();
        assert!(read.log_level.is_some() && read.fail.is_none());
        let half = HostApi { size: cut - 4, log_level: Some(level), ..HostApi::EMPTY };
        // SAFETY: a whole table, alive for the call.
        let read = unsafe { read_table(&raw const half) }.unwrap();
        assert!(read.log_level.is_none(), "half a pointer is no function");
        let tiny = HostApi { size: 2, ..HostApi::EMPTY };
        // SAFETY: a whole table, and NULL.
        assert!(unsafe { read_table(&raw const tiny).is_none() && read_table::<HostApi>(std::ptr::null()).is_none() });
    }

    #[test]
    fn a_writer_takes_up_to_its_limit() {
        let mut collected = Collected::new(5);
        let writer = collected.writer();
        assert_eq!((writer.append(b"abc"), writer.append(b"de"), writer.append(b"")), (OK, OK, OK));
        assert_eq!(collected.into_bytes().as_deref(), Ok(b"abcde".as_slice()));
    }

    #[test]
    fn a_result_with_a_write_missing_is_none() {
        let mut beyond = Collected::new(5);
        let writer = beyond.writer();
        assert_eq!((writer.append(b"abc"), writer.append(b"def"), writer.append(b"de")), (OK, E_LIMIT, OK));
        assert_eq!(beyond.into_bytes(), Err(E_LIMIT));
        let mut null = Collected::new(5);
        let writer = null.writer();
        // SAFETY: the writer's own function and context; NULL with a length is what is tested.
        let status = unsafe { writer.write.unwrap()(writer.context, std::ptr::null(), 3) };
        assert_eq!((status, writer.append(b"abcdef"), null.into_bytes()), (E_INVALID, E_LIMIT, Err(E_INVALID)));
    }
}
