//! A stream in pieces.

use std::io::{self, Read};

use super::pool::{Buffer, Pool, Pooled};

/// Bytes of a stream that have been read and not yet been passed on.
pub(crate) struct Feed<'r> {
    reader: &'r mut dyn Read,
    pool: Pool,
    pub(crate) bytes: Buffer,
    /// Offset of the first byte in the stream.
    pub(crate) offset: u64,
    /// Line of the first byte, from 1.
    pub(crate) line: u64,
    pub(crate) ended: bool,
    /// Why the stream broke.
    pub(crate) error: Option<io::Error>,
}

impl<'r> Feed<'r> {
    pub(crate) fn new(reader: &'r mut dyn Read, pool: Pool) -> Self {
        Self { reader, bytes: pool.take(), pool, offset: 0, line: 1, ended: false, error: None }
    }

    /// Reads on until there are `count` bytes or the stream ends or breaks.
    pub(crate) fn fill(&mut self, count: usize) {
        while self.bytes.len() < count && !self.ended {
            let wanted = count - self.bytes.len();
            match self.bytes.read(self.reader, wanted) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    self.ended = true;
                }
            }
        }
    }

    /// The first `count` bytes; the rest stays.
    pub(crate) fn take(&mut self, count: usize) -> Pooled {
        let mut rest = self.pool.take();
        rest.append(&self.bytes[count..]);
        let mut taken = std::mem::replace(&mut self.bytes, rest);
        taken.truncate(count);
        self.offset += count as u64;
        self.line += memchr::memchr_iter(b'\n', &taken).count() as u64;
        self.pool.hold(taken)
    }

    /// Passes over the first `count` bytes.
    pub(crate) fn skip(&mut self, count: usize) {
        self.offset += count as u64;
        self.line += memchr::memchr_iter(b'\n', &self.bytes[..count]).count() as u64;
        self.bytes.drop_first(count);
    }

    /// Passes over everything up to and with the next line break, in pieces of `piece` bytes.
    pub(crate) fn skip_line(&mut self, piece: usize) {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.bytes) {
                self.skip(end + 1);
                return;
            }
            self.skip(self.bytes.len());
            if self.ended {
                return;
            }
            self.fill(piece);
        }
    }
}
