//! Memory that chunks leave behind for the next.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use super::UNIT_BYTES;

/// The most buffers that wait for use.
const MAX_IDLE: usize = 64;
/// Buffers that grew for one long document are given back.
const MAX_CAPACITY: usize = 2 * UNIT_BYTES;

/// Buffers that wait for use. Fresh memory would cost more than the reading: the system has to clear it.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Bytes that come back here when they are dropped.
    pub(crate) fn hold(&self, bytes: Vec<u8>) -> Pooled {
        Pooled { bytes, pool: self.clone() }
    }

    fn give(&self, mut bytes: Vec<u8>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && (1..=MAX_CAPACITY).contains(&bytes.capacity()) {
            bytes.clear();
            idle.push(bytes);
        }
    }
}

/// Bytes out of a [`Pool`].
pub(crate) struct Pooled {
    bytes: Vec<u8>,
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

    #[test]
    fn buffers_come_back_empty() {
        let pool = Pool::default();
        let held = pool.hold(b"abc".to_vec());
        assert_eq!(*held, *b"abc");
        drop(held);
        let again = pool.take();
        assert!(again.is_empty() && again.capacity() >= 3);
        assert_eq!(pool.take().capacity(), 0);
        drop(pool.hold(Vec::with_capacity(MAX_CAPACITY + 1)));
        assert_eq!(pool.take().capacity(), 0);
    }
}
