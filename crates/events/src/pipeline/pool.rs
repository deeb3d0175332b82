//! Memory that chunks leave behind for the next.

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use super::UNIT_BYTES;

/// The most buffers that wait for use.
const MAX_IDLE: usize = 64;
/// Buffers that grew for one long document are given back.
const MAX_CAPACITY: usize = 2 * UNIT_BYTES;

/// The least that a buffer grows by.
const MIN_GROWTH: usize = 8 << 10;

/// Bytes, and behind them room for more, which is cleared once and not for every use.
#[derive(Default)]
pub(crate) struct Buffer {
    memory: Vec<u8>,
    length: usize,
}

impl Buffer {
    /// Appends what the stream gives in one read, at most `count` bytes, and says how many.
    pub(crate) fn read(&mut self, stream: &mut dyn Read, count: usize) -> io::Result<usize> {
        if self.memory.len() == self.length {
            // A small input takes little memory, whatever is asked for.
            self.memory.resize(self.length + count.min(self.length.max(MIN_GROWTH)), 0);
        }
        let end = self.memory.len().min(self.length + count);
        let read = stream.read(&mut self.memory[self.length..end])?;
        self.length = end.min(self.length + read);
        Ok(read)
    }

    /// Appends bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        self.memory[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    /// Drops all but the first `count` bytes.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.length = self.length.min(count);
    }

    /// Drops the first `count` bytes.
    pub(crate) fn drop_first(&mut self, count: usize) {
        self.memory.copy_within(count..self.length, 0);
        self.length -= count;
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

/// Buffers that wait for use. Fresh memory would cost more than the reading: the system has to clear it.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Buffer>>>);

impl Pool {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Buffer {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Bytes that come back here when they are dropped.
    pub(crate) fn hold(&self, bytes: Buffer) -> Pooled {
        Pooled { bytes, pool: self.clone() }
    }

    fn give(&self, mut bytes: Buffer) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && (1..=MAX_CAPACITY).contains(&bytes.memory.capacity()) {
            bytes.truncate(0);
            idle.push(bytes);
        }
    }
}

/// Bytes out of a [`Pool`].
pub(crate) struct Pooled {
    bytes: Buffer,
    pool: Pool,
}

impl Deref for Pooled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.append(bytes);
        buffer
    }

    #[test]
    fn buffers_come_back_empty() {
        let pool = Pool::default();
        let held = pool.hold(buffer(b"abc"));
        assert_eq!(*held, *b"abc");
        drop(held);
        let again = pool.take();
        assert!(again.is_empty() && again.memory.capacity() >= 3);
        assert_eq!(pool.take().memory.capacity(), 0);
        drop(pool.hold(buffer(&vec![0; MAX_CAPACITY + 1])));
        assert_eq!(pool.take().memory.capacity(), 0);
    }

    #[test]
    fn a_used_buffer_shows_nothing_of_what_it_held() {
        let mut buffer = buffer(b"abcdef");
        buffer.drop_first(2);
        assert_eq!(*buffer, *b"cdef");
        buffer.truncate(1);
        assert_eq!(buffer.read(&mut &b"xyz"[..], 2).unwrap(), 2);
        assert_eq!(*buffer, *b"cxy");
        assert_eq!(buffer.read(&mut &b""[..], 2).unwrap(), 0);
        buffer.append(b"0123456789");
        assert_eq!(*buffer, *b"cxy0123456789");
        let mut large = Buffer::default();
        let stream = vec![7; 100_000];
        let mut rest = &stream[..];
        while large.read(&mut rest, 60_000).unwrap() > 0 {}
        assert_eq!(*large, *stream);
    }
}
