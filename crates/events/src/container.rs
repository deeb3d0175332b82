//! What logs come packed in: compressed streams, archives, UTF-16.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::pipeline::Progress;

/// The most layers of compression and archives around a log: `logs.zip` with a `day.tar.gz` with `x.json.gz` has four.
pub const MAX_LAYERS: usize = 4;
/// The most bytes that come out of one input, if that is also more than [`MAX_RATIO`] times its size.
pub const FREE_EXPANSION: u64 = 8 << 30;
/// How many times its size an input may grow to, beyond [`FREE_EXPANSION`]. Deflate cannot exceed it in one layer.
pub const MAX_RATIO: u64 = 1_100;
/// The largest zip archive that is read from standard input or from inside another archive, where it must be held in
/// memory.
pub const MAX_NESTED_ZIP: u64 = 256 << 20;
/// The most members that are read of one archive.
pub const MAX_MEMBERS: usize = 1_000_000;
/// The most memory that an xz stream may ask for; `xz -9` needs 65 MiB.
pub const MAX_XZ_MEMORY: u64 = 512 << 20;
/// The largest window of a zstd stream, as a power of two: 128 MiB, what `zstd` itself takes without `--long`.
pub const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// What content is packed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
    Xz,
    Zip,
    Tar,
    Utf16 { big_endian: bool },
}

/// Bytes that [`Packing::of`] wants to see.
pub(crate) const PACKING_PREFIX: usize = 512;

impl Packing {
    /// The packing of content that begins like this.
    pub(crate) fn of(prefix: &[u8]) -> Option<Self> {
        const TAR_MAGIC: usize = 257;
        match prefix {
            [0x1f, 0x8b, 0x08, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Some(Self::Xz),
            [b'P', b'K', 0x03, 0x04, ..] | [b'P', b'K', 0x05, 0x06, ..] => Some(Self::Zip),
            [0xff, 0xfe, ..] | [b'{' | b'[', 0x00, ..] => Some(Self::Utf16 { big_endian: false }),
            [0xfe, 0xff, ..] | [0x00, b'{' | b'[', ..] => Some(Self::Utf16 { big_endian: true }),
            _ if prefix.get(TAR_MAGIC..).is_some_and(|rest| rest.starts_with(b"ustar")) => Some(Self::Tar),
            _ => None,
        }
    }

    /// The name shown behind the format: `ndjson+gzip`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::Utf16 { .. } => "utf-16",
        }
    }
}

/// How `--format json` begins.
pub(crate) const OWN_REPORT: &[u8] = b"{\"manifest\":{";

/// What a file looks like that holds no log.
pub(crate) fn describe(prefix: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 17] = [
        (b"BZh", "bzip2 compressed data (gzip, zstd, xz and zip are read)"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive (zip, tar, gzip, zstd and xz are read)"),
        (b"Rar!", "a RAR archive (zip, tar, gzip, zstd and xz are read)"),
        (b"MSCF", "a Windows cabinet (zip, tar, gzip, zstd and xz are read)"),
        (b"\x04\x22\x4d\x18", "lz4 compressed data (gzip, zstd, xz and zip are read)"),
        (b"\x30\0\0\0LfLe", "an event log of Windows XP or older (EVT)"),
        (b"regf", "a Windows registry hive"),
        (b"MZ", "a Windows program"),
        (b"\x7fELF", "a program"),
        (b"SQLite format 3", "an SQLite database"),
        (b"PARE", "an encrypted Parquet file"),
        (b"\xd4\xc3\xb2\xa1", "a packet capture"),
        (b"\x0a\x0d\x0d\x0a", "a packet capture"),
        (b"%PDF", "a PDF document"),
        (OWN_REPORT, "a report of eqlipse (alerts are what rules find, not events to look at)"),
        (b"<", "XML or HTML"),
        (b"LPKSHHRH", "a systemd journal (export it with journalctl -o json)"),
    ];
    let start = prefix.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    let known = KNOWN.iter().find(|(magic, _)| prefix.starts_with(magic) || prefix[start..].starts_with(magic));
    let is_text = |byte: &u8| *byte >= 0x20 || byte.is_ascii_whitespace() || *byte == 0x1b;
    match known {
        Some((_, what)) => what,
        None if prefix.iter().all(is_text) => "text that is neither JSON nor NDJSON",
        None => "binary data of an unknown kind",
    }
}

/// The input as it lies on disk, counted and hashed on the way. Clones are one stream.
#[derive(Clone)]
pub(crate) struct Raw<'a>(Rc<RefCell<RawState<'a>>>);

struct RawState<'a> {
    inner: Box<dyn Read + 'a>,
    read: u64,
    hasher: Option<Sha256>,
    progress: Option<&'a Progress>,
}

impl<'a> Raw<'a> {
    pub(crate) fn new(inner: Box<dyn Read + 'a>, hash: bool) -> Self {
        let hasher = hash.then(Sha256::new);
        Self(Rc::new(RefCell::new(RawState { inner, read: 0, hasher, progress: None })))
    }

    /// Adds what was and will be read to this progress.
    pub(crate) fn count(&self, progress: &'a Progress) {
        let state = &mut *self.0.borrow_mut();
        state.progress = Some(progress);
        progress.add_bytes(state.read);
    }

    /// Bytes read so far.
    pub(crate) fn read_so_far(&self) -> u64 {
        self.0.borrow().read
    }

    /// Reads what nobody asked for, so that size and hash are those of the whole, and gives the hash.
    pub(crate) fn finish(&mut self) -> Option<String> {
        if self.0.borrow().hasher.is_some() {
            // What cannot be read was said by whoever wanted it; the hash is then that of what could be.
            _ = io::copy(self, &mut io::sink());
        }
        self.0.borrow_mut().hasher.take().map(|hasher| hex(&hasher.finalize()))
    }
}

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        let count = state.inner.read(buffer)?;
        state.read += count as u64;
        if let Some(hasher) = &mut state.hasher {
            hasher.update(&buffer[..count]);
        }
        if let Some(progress) = state.progress {
            progress.add_bytes(count as u64);
        }
        Ok(count)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stream whose beginning can be looked at. Errors on the way are kept until the reader gets there.
pub(crate) struct Peek<'a> {
    inner: Box<dyn Read + 'a>,
    head: Vec<u8>,
    at: usize,
    ended: bool,
    error: Option<io::Error>,
}

impl<'a> Peek<'a> {
    pub(crate) fn new(inner: Box<dyn Read + 'a>) -> Self {
        Self { inner, head: Vec::new(), at: 0, ended: false, error: None }
    }

    /// The next `count` bytes, or fewer where the stream ends or breaks.
    pub(crate) fn peek(&mut self, count: usize) -> &[u8] {
        while self.head.len() - self.at < count && !self.ended {
            let wanted = (count - (self.head.len() - self.at)) as u64;
            match (&mut self.inner).take(wanted).read_to_end(&mut self.head) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) => {
                    self.error = Some(error);
                    self.ended = true;
                }
            }
        }
        let end = self.head.len().min(self.at + count);
        &self.head[self.at..end]
    }

    /// Whether the stream ends within the bytes that were looked at.
    pub(crate) fn ends_within(&mut self, count: usize) -> bool {
        self.peek(count + 1).len() <= count
    }

    /// Why the stream breaks within the bytes that were looked at.
    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Passes over bytes that were looked at.
    pub(crate) fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.head.len());
    }
}

impl Read for Peek<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.head.len() {
            let count = (&self.head[self.at..]).read(buffer)?;
            self.at += count;
            if self.at == self.head.len() {
                self.head = Vec::new();
                self.at = 0;
            }
            return Ok(count);
        }
        match self.error.take() {
            Some(error) => Err(error),
            None if self.ended => Ok(0),
            None => self.inner.read(buffer),
        }
    }
}

/// The stream inside a compressed one, if it can be read with so much memory.
pub(crate) fn decompress<'a>(packing: Packing, stream: Peek<'a>, max_memory: u64) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match packing {
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stream)),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(stream)?;
            // Zstd knows no window of less than a kibibyte.
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG.min(max_memory.max(1 << 10).ilog2()))?;
            Box::new(decoder)
        }
        Packing::Xz => {
            let memory = MAX_XZ_MEMORY.min(max_memory);
            let decoder = liblzma::stream::Stream::new_stream_decoder(memory, liblzma::stream::CONCATENATED)
                .map_err(io::Error::from)?;
            Box::new(liblzma::read::XzDecoder::new_stream(stream, decoder))
        }
        Packing::Utf16 { big_endian } => Box::new(Utf16::new(stream, big_endian)),
        Packing::Zip | Packing::Tar => Box::new(stream),
    })
}

/// Counts what comes out of an input against what went in, and stops at the limit.
pub(crate) struct Limited<'a> {
    inner: Box<dyn Read + 'a>,
    budget: Budget<'a>,
}

/// What has come out of an input so far. Clones count together.
#[derive(Clone)]
pub(crate) struct Budget<'a> {
    raw: Raw<'a>,
    size: u64,
    produced: Rc<Cell<u64>>,
}

impl<'a> Budget<'a> {
    /// The budget of an input of so many bytes on disk, 0 if that is not known beforehand.
    pub(crate) fn new(raw: Raw<'a>, size: u64) -> Self {
        Self { raw, size, produced: Rc::default() }
    }

    pub(crate) fn limit(&self, inner: Box<dyn Read + 'a>) -> Box<dyn Read + 'a> {
        Box::new(Limited { inner, budget: self.clone() })
    }
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let produced = self.budget.produced.get() + count as u64;
        self.budget.produced.set(produced);
        let size = self.budget.size.max(self.budget.raw.read_so_far());
        if produced > FREE_EXPANSION.max(size.saturating_mul(MAX_RATIO)) {
            let message =
                format!("it expands to more than {MAX_RATIO} times its size and more than {FREE_EXPANSION} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(count)
    }
}

/// UTF-16 as UTF-8. Half surrogate pairs become U+FFFD.
struct Utf16<'a> {
    inner: Peek<'a>,
    big_endian: bool,
    /// A byte without its other half.
    odd: Option<u8>,
    high: Option<u16>,
    text: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<'a> Utf16<'a> {
    fn new(mut inner: Peek<'a>, big_endian: bool) -> Self {
        if matches!(inner.peek(2), [0xff, 0xfe] | [0xfe, 0xff]) {
            inner.skip(2);
        }
        Self { inner, big_endian, odd: None, high: None, text: Vec::new(), at: 0, ended: false }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.at = 0;
        let mut bytes = [0; 8192];
        let count = self.inner.read(&mut bytes)?;
        self.ended = count == 0;
        let chained = self.odd.take().into_iter().chain(bytes[..count].iter().copied());
        let mut half = None;
        for byte in chained {
            match half.take() {
                None => half = Some(byte),
                Some(first) if self.big_endian => self.unit(u16::from_be_bytes([first, byte])),
                Some(first) => self.unit(u16::from_le_bytes([first, byte])),
            }
        }
        self.odd = half;
        if self.ended && (self.odd.take().is_some() || self.high.take().is_some()) {
            self.push(char::REPLACEMENT_CHARACTER);
        }
        Ok(())
    }

    fn unit(&mut self, unit: u16) {
        let pair = self.high.take();
        let units = pair.into_iter().chain([unit]);
        for decoded in char::decode_utf16(units) {
            match decoded {
                Ok(character) => self.push(character),
                Err(error)
                    if (0xd800..0xdc00).contains(&error.unpaired_surrogate()) && error.unpaired_surrogate() == unit =>
                {
                    self.high = Some(unit);
                }
                Err(_) => self.push(char::REPLACEMENT_CHARACTER),
            }
        }
    }

    fn push(&mut self, character: char) {
        self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

impl Read for Utf16<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() && !self.ended {
            self.refill()?;
        }
        let count = (&self.text[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// A file that is opened when it is first read, so that many readers can hold their own place in it.
pub(crate) struct LazyFile {
    path: PathBuf,
    file: Option<File>,
}

impl LazyFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), file: None }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(File::open(&self.path)?)),
        }
    }
}

impl Clone for LazyFile {
    fn clone(&self) -> Self {
        Self::new(&self.path)
    }
}

impl Read for LazyFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file()?.read(buffer)
    }
}

impl Seek for LazyFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file()?.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
        let bytes = |unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    fn decoded(bytes: &[u8], big_endian: bool) -> String {
        let mut text = String::new();
        Utf16::new(Peek::new(Box::new(OneByOne(bytes))), big_endian).read_to_string(&mut text).unwrap();
        text
    }

    /// Gives one byte a call.
    struct OneByOne<'a>(&'a [u8]);

    impl Read for OneByOne<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    #[test]
    fn utf16_becomes_utf8() {
        let text = "\u{feff}{\"ä\":\"😀\"}";
        for big_endian in [false, true] {
            assert_eq!(decoded(&utf16(text, big_endian), big_endian), "{\"ä\":\"😀\"}");
        }
        assert_eq!(decoded(&[b'a', 0, b'b'], false), "a\u{fffd}");
        assert_eq!(decoded(&[0x3d, 0xd8, b'b', 0, 0x00, 0xde, 0x3d, 0xd8], false), "\u{fffd}b\u{fffd}\u{fffd}");
    }

    #[test]
    fn packing_by_content() {
        assert_eq!(Packing::of(&[0x1f, 0x8b, 8, 0]), Some(Packing::Gzip));
        assert_eq!(Packing::of(b"PK\x03\x04..."), Some(Packing::Zip));
        assert_eq!(Packing::of(&utf16("{\"a\"", true)), Some(Packing::Utf16 { big_endian: true }));
        assert_eq!(Packing::of(b"{}"), None);
        assert_eq!(Packing::of(b""), None);
    }

    #[test]
    fn peeking_takes_nothing() {
        let mut peek = Peek::new(Box::new(OneByOne(b"abcdef")));
        assert_eq!(peek.peek(3), b"abc");
        assert!(peek.ends_within(6));
        assert!(!peek.ends_within(5));
        peek.skip(1);
        let mut rest = String::new();
        peek.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "bcdef");
    }

    #[test]
    fn unknown_content_is_described() {
        assert_eq!(describe(b"hello\n"), "text that is neither JSON nor NDJSON");
        assert_eq!(describe(b"\x00\x01\x02"), "binary data of an unknown kind");
        assert_eq!(describe(b"\n <Events>"), "XML or HTML");
        assert_eq!(describe(b""), "text that is neither JSON nor NDJSON");
    }
}
