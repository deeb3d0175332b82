//! The write-ahead log: what came in, in frames, until it is in segments.
//!
//! One thread writes. It takes all frames that wait, writes them and makes one `fsync` for all of them: the more senders
//! there are, the fewer syncs each of them costs. When the disk fails, the file is cut back to where it was sound and
//! every sender of that group is told; the next group tries again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::StoreError;
use crate::direct::{BLOCK, DirectFile};
use crate::frame::{Frame, next_frame};
use crate::sync::lock;

/// A new file begins when one is longer than this.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Between two looks at a file that somebody is writing.
const PAUSE: Duration = Duration::from_millis(10);
/// The most bytes of frames that share one sync.
const MAX_GROUP_BYTES: usize = 32 << 20;

/// What was found in a log at the start.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The sound frames, by sequence number.
    pub(crate) frames: BTreeMap<u64, Frame>,
    /// Bytes at the end of files that were no whole frame: their senders were never told that they were taken.
    pub(crate) cut: u64,
    /// Copies of files with damage in the middle.
    pub(crate) quarantined: Vec<PathBuf>,
}

/// A frame that waits to be written.
struct Waiting {
    bytes: Vec<u8>,
    /// The highest sequence number in it.
    last: u64,
    reply: SyncSender<Result<(), String>>,
}

/// The log of a store.
#[derive(Debug)]
pub(crate) struct Log {
    sender: Mutex<Option<Sender<Waiting>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    files: Arc<Mutex<Files>>,
}

/// Closed files, and the highest sequence number in each.
#[derive(Debug, Default)]
struct Files {
    closed: Vec<(PathBuf, u64)>,
    /// Of the open file.
    last: Option<u64>,
}

impl Log {
    /// Opens the log in a folder and reads what is in it.
    pub(crate) fn open(folder: &Path, quarantine: &Path) -> Result<(Self, Recovered), StoreError> {
        fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
        let mut recovered = Recovered::default();
        let mut files = Files::default();
        let mut number = 0;
        for path in log_files(folder)? {
            let last = recover(&path, quarantine, &mut recovered)?;
            number = number.max(file_number(&path).unwrap_or_default() + 1);
            files.closed.push((path, last));
        }
        let files = Arc::new(Mutex::new(files));
        let writer = Writer { folder: folder.to_owned(), number, open: None, files: files.clone() };
        let (sender, receiver) = channel();
        let thread = thread::Builder::new().name("eqlipse-log".to_owned()).spawn(move || writer.run(&receiver));
        let thread = thread.map_err(StoreError::io(folder))?;
        Ok((Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), files }, recovered))
    }

    /// Writes a frame, and returns when it is on disk.
    pub(crate) fn append(&self, bytes: Vec<u8>, last: u64) -> Result<(), String> {
        let (reply, answer) = sync_channel(1);
        let closed = || "the log is closed".to_owned();
        let sender = lock(&self.sender).clone().ok_or_else(closed)?;
        sender.send(Waiting { bytes, last, reply }).map_err(|_| closed())?;
        answer.recv().map_err(|_| closed())?
    }

    /// Deletes the files all of whose events are below this sequence number.
    pub(crate) fn forget_below(&self, sequence: u64) -> Result<(), StoreError> {
        let mut files = lock(&self.files);
        let (gone, kept) = std::mem::take(&mut files.closed).into_iter().partition(|(_, last)| *last < sequence);
        files.closed = kept;
        for (path, _) in gone {
            fs::remove_file(&path).map_err(StoreError::io(path))?;
        }
        Ok(())
    }

    /// Bytes of all files.
    pub(crate) fn bytes(folder: &Path) -> u64 {
        let sizes = fs::read_dir(folder).into_iter().flatten().flatten();
        sizes.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    /// Waits until what was handed over is written, and takes nothing more.
    pub(crate) fn close(&self) {
        lock(&self.sender).take();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic was told to those who waited.
            _ = thread.join();
        }
    }
}

fn file_number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn log_files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(folder).map_err(StoreError::io(folder))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    paths.sort_by_key(|path| file_number(path));
    Ok(paths)
}

/// What the bytes of a file turned out to be.
#[derive(Debug, Default)]
struct Scan {
    /// The highest sequence number.
    last: u64,
    /// Where the last sound frame ends.
    sound: usize,
    /// Something before that is no frame.
    is_damaged: bool,
}

/// Finds the sound frames.
fn scan(bytes: &[u8], frames: &mut BTreeMap<u64, Frame>) -> Scan {
    let (mut at, mut scan) = (0, Scan::default());
    while at < bytes.len() {
        let Some((frame, length)) = Frame::decode(&bytes[at..]) else {
            at += next_frame(&bytes[at..]);
            continue;
        };
        scan.is_damaged |= at != scan.sound;
        at += length;
        scan.sound = at;
        scan.last = scan.last.max(frame.first + u64::from(frame.count.saturating_sub(1)));
        frames.insert(frame.first, frame);
    }
    scan
}

/// Reads the log of a store that another process may be writing, and changes nothing. Files that it deletes meanwhile
/// are passed over: what was in them is in segments by then. Returns the files in which something is damaged too.
///
/// What is read is the beginning of the log up to some moment: all files but the last one were whole when they were
/// listed, and of those that come later nothing is looked at.
pub(crate) fn read(folder: &Path) -> Result<(BTreeMap<u64, Frame>, Vec<PathBuf>), StoreError> {
    let (mut frames, mut damaged) = (BTreeMap::new(), Vec::new());
    for path in log_files(folder)? {
        // Where the writer fills its last block up, or takes a half-written frame back, while it is read, that looks like damage.
        let mut tries = 3;
        loop {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(StoreError::io(path)(error)),
            };
            tries -= 1;
            if !scan(&bytes, &mut frames).is_damaged {
                break;
            }
            if tries == 0 {
                damaged.push(path);
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    Ok((frames, damaged))
}

/// Reads a file's frames, and cuts off what was being written when the process ended. Returns the highest sequence
/// number in it.
fn recover(path: &Path, quarantine: &Path, recovered: &mut Recovered) -> Result<u64, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io(path))?;
    let Scan { last, sound, is_damaged } = scan(&bytes, &mut recovered.frames);
    if is_damaged {
        fs::create_dir_all(quarantine).map_err(StoreError::io(quarantine))?;
        let copy = quarantine.join(path.file_name().unwrap_or_default());
        fs::copy(path, &copy).map_err(StoreError::io(&copy))?;
        recovered.quarantined.push(copy);
    }
    if sound < bytes.len() {
        // A file that was not closed may have zeros up to the end of a block.
        let is_filled_up = bytes.len() - sound < BLOCK && bytes[sound..].iter().all(|byte| *byte == 0);
        recovered.cut += if is_filled_up { 0 } else { (bytes.len() - sound) as u64 };
        let file = OpenOptions::new().write(true).open(path).map_err(StoreError::io(path))?;
        file.set_len(sound as u64).and_then(|()| file.sync_all()).map_err(StoreError::io(path))?;
    }
    Ok(last)
}

/// The thread that writes.
struct Writer {
    folder: PathBuf,
    /// Of the next file.
    number: u64,
    open: Option<OpenFile>,
    files: Arc<Mutex<Files>>,
}

struct OpenFile {
    file: DirectFile,
    path: PathBuf,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Waiting>) {
        while let Ok(first) = receiver.recv() {
            let mut group = vec![first];
            let mut bytes = group[0].bytes.len();
            while bytes < MAX_GROUP_BYTES
                && let Ok(next) = receiver.try_recv()
            {
                bytes += next.bytes.len();
                group.push(next);
            }
            let written = self.write(&group).map_err(|error| error.to_string());
            for waiting in group {
                // Who does not wait any more has gone away.
                _ = waiting.reply.send(written.clone());
            }
        }
        self.close_file();
    }

    fn write(&mut self, group: &[Waiting]) -> io::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(create(&self.folder, &mut self.number)?),
        };
        let mark = open.file.mark();
        let written = group.iter().try_for_each(|waiting| open.file.write_all(&waiting.bytes));
        if let Err(error) = written.and_then(|()| open.file.sync()) {
            // What was half written must not stand before the next group.
            if open.file.go_back(mark).is_err() {
                self.close_file();
            }
            return Err(error);
        }
        let is_full = open.file.length() >= MAX_FILE_BYTES;
        let last = group.iter().map(|waiting| waiting.last).max();
        {
            let mut files = lock(&self.files);
            files.last = files.last.max(last);
        }
        if is_full {
            self.close_file();
        }
        Ok(())
    }

    fn close_file(&mut self) {
        let Some(open) = self.open.take() else { return };
        // Who reads it passes over zeros at the end.
        _ = open.file.trim();
        let mut files = lock(&self.files);
        let last = files.last.take().unwrap_or_default();
        files.closed.push((open.path, last));
    }
}

fn create(folder: &Path, number: &mut u64) -> io::Result<OpenFile> {
    let path = folder.join(format!("{number:012}.log"));
    *number += 1;
    let file = DirectFile::create(&path, true, usize::MAX)?;
    // The file's name must be as lasting as what is in it.
    File::open(folder)?.sync_all()?;
    Ok(OpenFile { file, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(first: u64) -> Vec<u8> {
        crate::frame::tests::encoded(first, &["a", "b"])
    }

    fn firsts(recovered: &Recovered) -> Vec<u64> {
        recovered.frames.keys().copied().collect()
    }

    #[test]
    fn frames_survive_and_a_torn_end_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (at, quarantine) = (folder.path().join("log"), folder.path().join("quarantine"));
        let (log, recovered) = Log::open(&at, &quarantine).unwrap();
        assert!(recovered.frames.is_empty());
        for first in [0, 2, 4] {
            log.append(encoded(first), first + 1).unwrap();
        }
        log.close();
        assert!(log.append(Vec::new(), 0).is_err());
        let path = at.join("000000000000.log");
        let mut bytes = fs::read(&path).unwrap();
        let whole = bytes.len();
        bytes.extend_from_slice(&encoded(6)[..20]);
        fs::write(&path, &bytes).unwrap();
        let (log, recovered) = Log::open(&at, &quarantine).unwrap();
        assert_eq!((firsts(&recovered), recovered.cut, recovered.quarantined.len()), (vec![0, 2, 4], 20, 0));
        assert_eq!(recovered.frames[&2].records().unwrap()[1].document, "{\"n\":2}");
        assert_eq!(fs::metadata(&path).unwrap().len(), whole as u64);
        log.forget_below(5).unwrap();
        assert!(path.exists());
        log.forget_below(6).unwrap();
        assert!(!path.exists());
    }

    /// Whether its last block is filled up with zeros or not.
    #[test]
    fn a_file_that_was_not_closed_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let [at, killed, quarantine] = ["log", "killed", "quarantine"].map(|name| folder.path().join(name));
        let (log, _) = Log::open(&at, &quarantine).unwrap();
        for first in [0, 2] {
            log.append(encoded(first), first + 1).unwrap();
        }
        fs::create_dir(&killed).unwrap();
        let path = killed.join("000000000000.log");
        fs::copy(at.join("000000000000.log"), &path).unwrap();
        log.append(encoded(4), 5).unwrap();
        log.close();
        let whole = [0, 2, 4].map(|first| encoded(first).len()).iter().sum::<usize>();
        assert_eq!(fs::metadata(at.join("000000000000.log")).unwrap().len(), whole as u64);
        // More zeros than that were something else once.
        for (zeros, cut) in [(0, 0), (BLOCK - 1, 0), (BLOCK, BLOCK as u64)] {
            let bytes = [&fs::read(&path).unwrap()[..], &vec![0; zeros]].concat();
            fs::write(&path, bytes).unwrap();
            let (_, recovered) = Log::open(&killed, &quarantine).unwrap();
            assert_eq!((firsts(&recovered), recovered.cut, recovered.quarantined.len()), (vec![0, 2], cut, 0));
        }
    }

    #[test]
    fn damage_in_the_middle_costs_its_frame_only() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = folder.path().join("quarantine");
        let frames: Vec<Vec<u8>> = [0, 2, 4].map(encoded).into();
        let mut bytes = frames.concat();
        bytes[frames[0].len() + 30] ^= 1;
        fs::write(folder.path().join("000000000007.log"), bytes).unwrap();
        let (log, recovered) = Log::open(folder.path(), &quarantine).unwrap();
        assert_eq!((firsts(&recovered), recovered.cut), (vec![0, 4], 0));
        assert_eq!(recovered.quarantined, [quarantine.join("000000000007.log")]);
        log.append(encoded(6), 7).unwrap();
        assert!(folder.path().join("000000000008.log").exists());
    }
}
