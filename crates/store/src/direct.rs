//! Files that are written from front to back and read whole, past the system's cache.
//!
//! What a service writes it reads much later, if ever: the log at the next start, a segment when a query asks for it. To
//! keep a copy in the system's cache costs more of a processor than all else about writing, page by page, and takes the
//! place of what is read. So they are written with `O_DIRECT` where there is such a thing: whole blocks, out of memory that
//! is aligned as the disk wants it. Where there is not, they are written as other files are.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// What disks and file systems want places, lengths and memory to be multiples of.
pub(crate) const BLOCK: usize = 4096;
/// How much is written at once.
const WRITE_BYTES: usize = 1 << 20;
/// Shorter files are written as others are: cutting off what fills the last block up would be most of the work.
const MIN_DIRECT: usize = 64 << 10;

/// Aligned memory.
#[derive(Debug)]
struct Blocks {
    memory: Vec<u8>,
    /// Where the first block begins.
    start: usize,
    /// In so many bytes from there on, there is something.
    used: usize,
}

impl Blocks {
    /// With room for so many bytes, in whole blocks.
    fn with_room(bytes: usize) -> Self {
        let memory = vec![0; bytes.next_multiple_of(BLOCK) + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { memory, start, used: 0 }
    }

    fn room(&mut self) -> &mut [u8] {
        let end = self.memory.len() - BLOCK + self.start;
        &mut self.memory[self.start + self.used..end]
    }

    /// What there is, and zeros to the end of the block.
    fn padded(&mut self) -> &[u8] {
        let (used, end) = (self.start + self.used, self.start + self.used.next_multiple_of(BLOCK));
        self.memory[used..end].fill(0);
        &self.memory[self.start..end]
    }

    /// Takes away what was put in first.
    fn take_away(&mut self, bytes: usize) {
        self.memory.copy_within(self.start + bytes..self.start + self.used, self.start);
        self.used -= bytes;
    }
}

impl AsRef<[u8]> for Blocks {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.used]
    }
}

/// A file that is written.
#[derive(Debug)]
pub(crate) struct DirectFile {
    path: PathBuf,
    file: File,
    is_direct: bool,
    /// Whole blocks that are written.
    written: u64,
    /// What comes behind them. Of its last block, some may be written.
    pending: Blocks,
}

/// A place in a file up to which all was [synced](DirectFile::sync).
pub(crate) struct Mark {
    written: u64,
    pending: Vec<u8>,
}

impl DirectFile {
    /// Makes a file, which must not be there yet if `is_new`. About so many bytes will be written to it.
    pub(crate) fn create(path: &Path, is_new: bool, bytes: usize) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).create_new(is_new).truncate(true);
        let (file, is_direct) = open(path, &options)?;
        let pending = Blocks::with_room(bytes.clamp(BLOCK, WRITE_BYTES));
        Ok(Self { path: path.to_owned(), file, is_direct, written: 0, pending })
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.written + self.pending.used as u64
    }

    fn write_out(&mut self) -> io::Result<()> {
        let bytes = if self.is_direct { self.pending.padded() } else { self.pending.as_ref() };
        let write = |mut file: &File| {
            file.seek(SeekFrom::Start(self.written))?;
            file.write_all(bytes)
        };
        match write(&self.file) {
            Err(error) if self.is_direct && is_unsupported(&error) => {
                // It could be opened so, and yet not be written so.
                self.write_as_others()?;
                self.write_out()
            }
            written => written,
        }
    }

    fn write_as_others(&mut self) -> io::Result<()> {
        self.file = OpenOptions::new().write(true).open(&self.path)?;
        self.is_direct = false;
        Ok(())
    }

    /// Sees to it that all is on disk. Zeros may stand behind it, up to the end of a block.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.file.sync_data()?;
        let whole = self.pending.used - self.pending.used % BLOCK;
        self.pending.take_away(whole);
        self.written += whole as u64;
        Ok(())
    }

    /// Where the file ends, to go back there. What is not synced must be little.
    pub(crate) fn mark(&self) -> Mark {
        Mark { written: self.written, pending: self.pending.as_ref().to_vec() }
    }

    /// Takes back what was written since. What is left stands on the disk as it did.
    pub(crate) fn go_back(&mut self, Mark { written, pending }: Mark) -> io::Result<()> {
        self.written = written;
        self.pending.used = 0;
        self.pending.room()[..pending.len()].copy_from_slice(&pending);
        self.pending.used = pending.len();
        self.trim()?;
        // The block that it ends in may have been written half.
        if pending.is_empty() { Ok(()) } else { self.sync() }
    }

    /// Takes away the zeros behind what was [synced](Self::sync).
    pub(crate) fn trim(&self) -> io::Result<()> {
        self.file.set_len(self.length())
    }

    /// Sees to it that the whole file is on disk as it is to stay.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.is_direct && self.length() < MIN_DIRECT as u64 {
            self.write_as_others()?;
        }
        self.write_out()?;
        self.trim()?;
        self.file.sync_all()
    }
}

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.room().is_empty() {
            self.write_out()?;
            self.written += self.pending.used as u64;
            self.pending.used = 0;
        }
        let room = self.pending.room();
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.pending.used += taken;
        Ok(taken)
    }

    /// What is not a whole block waits for [`sync`](Self::sync) or [`finish`](Self::finish).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a file past the cache, if that can be; says whether it is.
#[cfg(target_os = "linux")]
fn open(path: &Path, options: &OpenOptions) -> io::Result<(File, bool)> {
    use std::os::unix::fs::OpenOptionsExt;
    match options.clone().custom_flags(libc::O_DIRECT).open(path) {
        // A file system that has no such thing says so when it has made the file.
        Err(error) if is_unsupported(&error) => options.clone().create_new(false).open(path).map(|file| (file, false)),
        opened => opened.map(|file| (file, true)),
    }
}

#[cfg(not(target_os = "linux"))]
fn open(path: &Path, options: &OpenOptions) -> io::Result<(File, bool)> {
    options.open(path).map(|file| (file, false))
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

/// The bytes of a file that nobody writes, so many of them; fewer if it ends before.
pub(crate) fn read(path: &Path, length: usize) -> io::Result<Bytes> {
    match read_past_cache(path, length) {
        Err(error) if is_unsupported(&error) => {
            let mut bytes = Vec::with_capacity(length);
            File::open(path)?.take(length as u64).read_to_end(&mut bytes)?;
            Ok(bytes.into())
        }
        read => read,
    }
}

fn read_past_cache(path: &Path, length: usize) -> io::Result<Bytes> {
    let (mut file, _) = open(path, OpenOptions::new().read(true))?;
    let mut blocks = Blocks::with_room(length);
    while blocks.used < length {
        match file.read(blocks.room()) {
            Ok(0) => break,
            Ok(read) => blocks.used += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    blocks.used = blocks.used.min(length);
    Ok(Bytes::from_owner(blocks))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize),
        Sync,
        WriteAndGoBack(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let length = prop_oneof![0usize..10, 4_000usize..4_200, 1_000_000usize..3_000_000];
        let step = prop_oneof![
            3 => length.clone().prop_map(Step::Write),
            2 => Just(Step::Sync),
            1 => length.prop_map(Step::WriteAndGoBack),
        ];
        prop::collection::vec(step, 0..12)
    }

    /// Whether a file has these bytes, and nothing else but zeros up to the end of a block.
    fn has_all(path: &Path, all: &[u8]) -> bool {
        let bytes = fs::read(path).unwrap();
        let zeros = bytes.strip_prefix(all);
        zeros.is_some_and(|zeros| zeros.len() < BLOCK && zeros.iter().all(|byte| *byte == 0))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
        /// With and without `O_DIRECT`, and whatever is left of it on the way.
        #[test]
        fn files_are_what_was_written(steps in steps(), is_direct: bool, room in 0usize..2_000_000) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut file = DirectFile::create(&path, true, room).unwrap();
            if !is_direct {
                (file.file, file.is_direct) = (OpenOptions::new().write(true).open(&path).unwrap(), false);
            }
            let (mut all, mut next) = (Vec::new(), 0u8);
            let mut bytes = |length: usize| -> Vec<u8> {
                let bytes = (0..length).map(|_| { next = next.wrapping_mul(31).wrapping_add(7); next });
                bytes.collect()
            };
            for step in steps {
                match step {
                    Step::Write(length) => {
                        let bytes = bytes(length);
                        file.write_all(&bytes).unwrap();
                        all.extend(bytes);
                    }
                    Step::Sync => {
                        file.sync().unwrap();
                        prop_assert!(has_all(&path, &all));
                    }
                    Step::WriteAndGoBack(length) => {
                        file.sync().unwrap();
                        let mark = file.mark();
                        file.write_all(&bytes(length)).unwrap();
                        file.go_back(mark).unwrap();
                        prop_assert!(has_all(&path, &all));
                    }
                }
                prop_assert_eq!(file.length(), all.len() as u64);
            }
            file.finish().unwrap();
            prop_assert!(fs::read(&path).unwrap() == all);
            for length in [all.len() / 2, all.len(), all.len() + 5_000] {
                prop_assert!(read(&path, length).unwrap() == all[..length.min(all.len())]);
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_so_is_written_as_others_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = DirectFile::create(&path, true, 0).unwrap();
        if !file.is_direct {
            eprintln!("skipped: this file system writes no file past the cache");
            return;
        }
        // Memory that no disk takes.
        file.pending.start = if file.pending.start == 0 { 1 } else { file.pending.start - 1 };
        file.write_all(&[7; 50_000]).unwrap();
        assert!(!file.is_direct);
        let mark = {
            file.sync().unwrap();
            file.mark()
        };
        file.write_all(&[8; 50_000]).unwrap();
        file.go_back(mark).unwrap();
        file.write_all(&[9; 50_000]).unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), [[7; 50_000], [9; 50_000]].concat());
        assert!(DirectFile::create(&path, true, 0).is_err());
    }
}
