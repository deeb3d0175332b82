//! Counts the events that were read more than once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// So many identities wait in memory before they are written out: 32 MiB.
const IN_MEMORY: usize = 4 << 20;

/// Into how many parts they are written, by their first byte.
const PARTS: usize = 256;

/// The identities of one thread's events, of each the first 64 bits: enough to count with. Beyond a limit they lie in a
/// temporary file, parted by their first byte, so that the parts are counted one by one.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    memory: Vec<u64>,
    file: Option<File>,
    length: u64,
    /// By run and part: where its bytes lie in the file.
    runs: Vec<Vec<Range<u64>>>,
}

impl Identities {
    /// Adds identities.
    ///
    /// # Errors
    /// If the temporary file cannot be made or written.
    pub(crate) fn extend(&mut self, identities: impl Iterator<Item = u128>) -> io::Result<()> {
        self.memory.extend(identities.map(|identity| (identity >> 64) as u64));
        if self.memory.len() >= IN_MEMORY { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.memory.sort_unstable();
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        let bytes: Vec<u8> = self.memory.iter().flat_map(|identity| identity.to_le_bytes()).collect();
        file.seek(SeekFrom::End(0))?;
        file.write_all(&bytes)?;
        self.file = Some(file);
        let place = |part: usize| self.memory.partition_point(|identity| part_of(*identity) < part) as u64 * 8;
        let run = (0..PARTS).map(|part| self.length + place(part)..self.length + place(part + 1)).collect();
        self.runs.push(run);
        self.length += bytes.len() as u64;
        self.memory.clear();
        Ok(())
    }

    /// Appends the identities of a part that lie in the file.
    fn read(&mut self, part: usize, out: &mut Vec<u64>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        for range in self.runs.iter().map(|run| &run[part]) {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.seek(SeekFrom::Start(range.start))?;
            file.read_exact(&mut bytes)?;
            out.extend(bytes.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk)));
        }
        Ok(())
    }

    /// How many identities stand more than once in all of the lists, each beyond the first counted.
    ///
    /// # Errors
    /// If a temporary file cannot be written or read.
    pub(crate) fn repeated(mut lists: Vec<Identities>) -> io::Result<u64> {
        if lists.iter().all(|list| list.file.is_none()) {
            return Ok(repeated_in(lists.into_iter().flat_map(|list| list.memory).collect()));
        }
        lists.iter_mut().try_for_each(Identities::write_out)?;
        let mut repeated = 0;
        for part in 0..PARTS {
            let mut identities = Vec::new();
            lists.iter_mut().try_for_each(|list| list.read(part, &mut identities))?;
            repeated += repeated_in(identities);
        }
        Ok(repeated)
    }
}

fn part_of(identity: u64) -> usize {
    (identity >> 56) as usize
}

fn repeated_in(mut identities: Vec<u64>) -> u64 {
    identities.sort_unstable();
    let before = identities.len();
    identities.dedup();
    (before - identities.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_same_in_memory_and_in_the_file() {
        let identity = |number: u64| u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64;
        let lists = |write_out: bool| {
            let mut lists = vec![Identities::default(), Identities::default()];
            for (place, list) in lists.iter_mut().enumerate() {
                for start in [0, 500 * place as u64] {
                    list.extend((start..start + 1_000).map(identity)).unwrap();
                    if write_out {
                        list.write_out().unwrap();
                    }
                }
            }
            lists
        };
        // 0 to 999 three times, 500 to 1,499 once.
        assert_eq!(Identities::repeated(lists(false)).unwrap(), 2_500);
        assert_eq!(Identities::repeated(lists(true)).unwrap(), 2_500);
    }
}
