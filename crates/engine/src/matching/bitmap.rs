//! A set of rows, 64 to a word.

#[derive(Clone, Debug, Default)]
pub(super) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// Empties the set and makes room for `rows` rows.
    pub(super) fn reset(&mut self, rows: usize) {
        self.words.clear();
        self.words.resize(rows.div_ceil(64), 0);
    }

    /// All of `rows` rows.
    pub(super) fn fill(&mut self, rows: usize) {
        self.words.clear();
        self.words.resize(rows.div_ceil(64), !0);
        self.trim(rows);
    }

    fn trim(&mut self, rows: usize) {
        if let (Some(last), 1..) = (self.words.last_mut(), rows % 64) {
            *last &= (1 << (rows % 64)) - 1;
        }
    }

    pub(super) fn insert(&mut self, row: u32) {
        self.words[row as usize / 64] |= 1 << (row % 64);
    }

    pub(super) fn remove(&mut self, row: u32) {
        self.words[row as usize / 64] &= !(1 << (row % 64));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(super) fn copy_from(&mut self, other: &Bitmap) {
        self.words.clone_from(&other.words);
    }

    pub(super) fn and(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    pub(super) fn and_not(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    pub(super) fn or(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub(super) fn complement(&mut self, rows: usize) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.trim(rows);
    }

    /// The rows, ascending.
    pub(super) fn rows(&self) -> impl Iterator<Item = u32> {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(index as u32 * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_rows() {
        for rows in [1usize, 63, 64, 65, 200] {
            let mut set = Bitmap::default();
            set.reset(rows);
            assert!(set.is_empty());
            set.insert(0);
            set.insert(rows as u32 - 1);
            let mut expected = vec![0, rows as u32 - 1];
            expected.dedup();
            assert_eq!(set.rows().collect::<Vec<_>>(), expected);
            set.complement(rows);
            assert_eq!(set.rows().count(), rows - expected.len());
            let mut all = Bitmap::default();
            all.fill(rows);
            assert_eq!(all.rows().count(), rows);
            all.and_not(&set);
            assert_eq!(all.rows().collect::<Vec<_>>(), expected);
        }
    }
}
