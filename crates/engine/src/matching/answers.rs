use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::compile::LeafId;

/// The most memory that the answers of one thread take, in bytes, but for room that tables have in reserve.
const LIMIT: usize = 10 << 20;

/// Where fewer than one text in so many came before, looking does not pay.
const PAYS_FROM_ONE_IN: usize = 4;

/// So many texts of a field are looked up before it is judged whether that pays.
const JUDGED_TEXTS: usize = 1024;

/// Which leaves the texts of earlier batches passed. Most values of a log come again in every batch, and to look one up
/// costs less than to try all patterns of its field.
///
/// Texts are compared, not their hashes only: a forged collision must not give an event the answers of another.
#[derive(Debug)]
pub(super) struct Answers {
    fields: Vec<FieldAnswers>,
    lists: Lists,
    hasher: RandomState,
    /// Leaves of the text that is evaluated.
    scratch: Vec<LeafId>,
    bytes: usize,
    limit: usize,
}

/// The answers of one field.
#[derive(Debug, Default)]
struct FieldAnswers {
    entries: HashTable<Entry>,
    texts: String,
    /// Whether there were answers before the texts that are counted.
    is_warm: bool,
    /// Texts since it was judged last, and those of them that had an answer.
    asked: usize,
    known: usize,
    /// Too few texts came again.
    is_stopped: bool,
}

/// Where a text lies among the field's, and the number of its list.
#[derive(Debug)]
struct Entry {
    hash: u64,
    start: u32,
    len: u32,
    list: u32,
}

/// Lists of leaves, equal ones once: most texts pass the same few leaves or none.
#[derive(Debug, Default)]
struct Lists {
    leaves: Vec<LeafId>,
    ends: Vec<u32>,
    numbers: HashTable<u32>,
}

impl Answers {
    /// For so many fields, with no answer yet.
    pub(super) fn new(fields: usize) -> Self {
        Self::with_limit(fields, LIMIT)
    }

    fn with_limit(fields: usize, limit: usize) -> Self {
        Self {
            fields: (0..fields).map(|_| FieldAnswers::default()).collect(),
            lists: Lists::default(),
            hasher: RandomState::default(),
            scratch: Vec::new(),
            bytes: 0,
            limit,
        }
    }

    /// Begins a batch. When there is no more room all answers go, as what a log holds changes with its hosts and days.
    pub(super) fn start(&mut self) {
        if self.bytes >= self.limit {
            self.fields.iter_mut().for_each(FieldAnswers::clear);
            self.lists = Lists::default();
            self.bytes = 0;
        }
    }

    /// Whether a field's texts come again often enough to be looked up.
    pub(super) fn pay(&self, field: usize) -> bool {
        !self.fields[field].is_stopped
    }

    /// The leaves that a text of a field passes, each once; `evaluate` finds them where they are not known.
    pub(super) fn leaves(&mut self, field: usize, text: &str, evaluate: impl FnOnce(&mut Vec<LeafId>)) -> &[LeafId] {
        let Self { fields, lists, hasher, scratch, bytes, limit } = self;
        let answers = &mut fields[field];
        answers.asked += 1;
        let hash = hasher.hash_one(text.as_bytes());
        if let Some(list) = answers.get(hash, text) {
            answers.known += 1;
            return lists.get(list);
        }
        scratch.clear();
        evaluate(scratch);
        // The same leaf may have been found through several of its patterns.
        scratch.sort_unstable();
        scratch.dedup();
        if *bytes < *limit {
            let (list, grown) = lists.number(hasher, scratch);
            *bytes += grown + answers.add(hash, text, list);
        }
        scratch
    }

    /// Ends a field's texts of a batch, and gives the field up where too few of them came again.
    pub(super) fn judge(&mut self, field: usize) {
        let answers = &mut self.fields[field];
        if answers.asked < JUDGED_TEXTS {
            return;
        }
        if answers.is_warm && answers.known * PAYS_FROM_ONE_IN < answers.asked {
            self.bytes -= answers.bytes();
            *answers = FieldAnswers { is_stopped: true, ..FieldAnswers::default() };
        }
        answers.is_warm = true;
        (answers.asked, answers.known) = (0, 0);
    }
}

impl FieldAnswers {
    fn get(&self, hash: u64, text: &str) -> Option<u32> {
        let is_text = |entry: &Entry| {
            let start = entry.start as usize;
            entry.hash == hash
                && entry.len as usize == text.len()
                && self.texts.as_bytes()[start..start + text.len()] == *text.as_bytes()
        };
        self.entries.find(hash, is_text).map(|entry| entry.list)
    }

    /// Gives how many bytes it takes.
    fn add(&mut self, hash: u64, text: &str, list: u32) -> usize {
        let (Ok(start), Ok(len)) = (u32::try_from(self.texts.len()), u32::try_from(text.len())) else { return 0 };
        self.texts.push_str(text);
        self.entries.insert_unique(hash, Entry { hash, start, len, list }, |entry| entry.hash);
        text.len() + size_of::<Entry>()
    }

    /// What [`add`](Self::add) gave, in all.
    fn bytes(&self) -> usize {
        self.texts.len() + self.entries.len() * size_of::<Entry>()
    }

    fn clear(&mut self) {
        *self = Self { is_stopped: self.is_stopped, ..Self::default() };
    }
}

impl Lists {
    fn get(&self, number: u32) -> &[LeafId] {
        list(&self.leaves, &self.ends, number)
    }

    /// The number of a list, and by how many bytes the lists have grown.
    fn number(&mut self, hasher: &RandomState, wanted: &[LeafId]) -> (u32, usize) {
        let Self { leaves, ends, numbers } = self;
        let hash = hasher.hash_one(wanted);
        if let Some(number) = numbers.find(hash, |number| list(leaves, ends, *number) == wanted) {
            return (*number, 0);
        }
        let number = ends.len() as u32;
        leaves.extend_from_slice(wanted);
        ends.push(leaves.len() as u32);
        numbers.insert_unique(hash, number, |number| hasher.hash_one(list(leaves, ends, *number)));
        (number, size_of_val(wanted) + 2 * size_of::<u32>())
    }
}

fn list<'a>(leaves: &'a [LeafId], ends: &[u32], number: u32) -> &'a [LeafId] {
    let index = number as usize;
    let start = if index == 0 { 0 } else { ends[index - 1] as usize };
    &leaves[start..ends[index] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves of a text, and whether they had to be found.
    fn ask(answers: &mut Answers, field: usize, text: &str, leaves: &[u32]) -> (Vec<LeafId>, bool) {
        let mut is_new = false;
        let found = answers.leaves(field, text, |out| {
            is_new = true;
            out.extend(leaves.iter().copied().map(LeafId));
        });
        (found.to_vec(), is_new)
    }

    #[test]
    fn finds_leaves_once() {
        let mut answers = Answers::new(2);
        let texts = [("cmd.exe", &[3, 1, 3][..]), ("", &[]), ("sh", &[]), ("cmd", &[1, 3])];
        for is_first in [true, false] {
            answers.start();
            for (text, leaves) in texts {
                let mut expected: Vec<LeafId> = leaves.iter().copied().map(LeafId).collect();
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(ask(&mut answers, 0, text, leaves), (expected, is_first), "{text:?}");
            }
        }
        // Another field's answers are others.
        assert_eq!(ask(&mut answers, 1, "cmd.exe", &[7]), (vec![LeafId(7)], true));
    }

    #[test]
    fn gives_a_field_up_whose_texts_do_not_come_again() {
        let mut answers = Answers::new(2);
        for batch in 0..3 {
            answers.start();
            for index in 0..JUDGED_TEXTS {
                ask(&mut answers, 0, &format!("{batch} {index}"), &[]);
                ask(&mut answers, 1, &index.to_string(), &[1]);
            }
            answers.judge(0);
            answers.judge(1);
            // Nothing can be known in the first batch.
            assert_eq!(answers.pay(0), batch == 0);
            assert!(answers.pay(1));
        }
        assert_eq!(answers.fields[0].texts.capacity(), 0);
    }

    #[test]
    fn begins_anew_when_full() {
        let mut answers = Answers::with_limit(1, 1000);
        for index in 0..100 {
            ask(&mut answers, 0, &index.to_string(), &[index]);
        }
        assert!(answers.bytes < 1100);
        assert!(!ask(&mut answers, 0, "0", &[0]).1);
        assert!(ask(&mut answers, 0, "99", &[99]).1);
        answers.start();
        assert_eq!(answers.bytes, 0);
        assert_eq!(ask(&mut answers, 0, "0", &[0]), (vec![LeafId(0)], true));
    }
}
