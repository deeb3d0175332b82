//! Which key comes next.
//!
//! Documents of one kind have the same keys in the same order. So where the walk stands in front of a key, it first
//! compares the text with the key that came in this place the last time; what that key means to the schema is then known
//! without a look at the key's end or into the schema. A wrong guess costs a comparison.

use eqlipse_batch::PathNode;

/// So many keys are remembered; one more takes the place of another.
const KEYS: usize = 2048;
/// The longest key that is remembered, with what is compared behind it.
const LONGEST: usize = 32;
/// What stands behind a key in nearly all texts.
const END: &str = "\":";

/// A remembered key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u16);

/// A place in front of a key, known by what was there before.
#[derive(Clone, Copy)]
pub(super) struct Place(u16);

impl Key {
    /// The key around the whole document.
    pub(super) const TOP: Self = Self(0);

    /// In front of the first key of the object behind this key.
    pub(super) fn inside(self) -> Place {
        Place(self.0 * 2)
    }

    /// Behind this key and its value.
    pub(super) fn after(self) -> Place {
        Place(self.0 * 2 + 1)
    }
}

/// The keys that came lately, and in which order.
pub(super) struct KeyMemory {
    keys: Box<[Known]>,
    /// The key that came last in each [`Place`].
    came: Box<[Key]>,
}

/// A key below a node of the schema's path tree.
#[derive(Clone, Copy)]
struct Known {
    /// Its first 16 bytes with [`END`], and zeros where it is shorter.
    head: u128,
    /// The last 16 bytes, if it is not shorter.
    tail: u128,
    length: u8,
    below: PathNode,
    node: Option<PathNode>,
}

impl KeyMemory {
    pub(super) fn new(root: PathNode) -> Self {
        // Nothing is zero bytes long, so that this is never found.
        let nothing = Known { head: 1, tail: 0, length: 16, below: root, node: None };
        Self { keys: vec![nothing; KEYS].into(), came: vec![Key::TOP; 2 * KEYS].into() }
    }

    /// The key that `rest` begins with, its node below `below`, and its length up to and with the colon; if it is the
    /// one that came in this place the last time.
    #[inline]
    pub(super) fn guess(&self, place: Place, below: PathNode, rest: &[u8]) -> Option<(Key, Option<PathNode>, usize)> {
        let key = self.came[place.0 as usize];
        let known = &self.keys[key.0 as usize];
        let length = usize::from(known.length);
        let differs = u128::from_le_bytes(*rest.first_chunk()?) ^ known.head;
        let is_it = match length {
            0..16 => differs << (8 * (16 - length)) == 0,
            _ => differs == 0 && last_16(rest.get(..length)?) == Some(known.tail),
        };
        (is_it && known.below == below).then_some((key, known.node, length))
    }

    /// Remembers a key that came in this place. `None` if it is too long for that.
    pub(super) fn learn(&mut self, place: Place, below: PathNode, key: &str, node: Option<PathNode>) -> Option<Key> {
        let length = key.len() + END.len();
        if length > LONGEST {
            return None;
        }
        let mut bytes = [0; LONGEST];
        bytes[..key.len()].copy_from_slice(key.as_bytes());
        bytes[key.len()..length].copy_from_slice(END.as_bytes());
        let head = u128::from_le_bytes(*bytes.first_chunk()?);
        let tail = last_16(&bytes[..length]).unwrap_or(0);
        let known = Known { head, tail, length: length as u8, below, node };
        let key = known.home();
        self.keys[usize::from(key.0)] = known;
        self.came[usize::from(place.0)] = key;
        Some(key)
    }
}

impl Known {
    /// Where it is remembered. Keys that share a place only cost each other their guesses.
    fn home(&self) -> Key {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let folded = self.head ^ self.tail.rotate_left(61);
        let word = folded as u64 ^ (folded >> 64) as u64 ^ (u64::from(self.below.number()) << 32);
        // The top's place is left to it.
        Key((word.wrapping_mul(ODD) >> 40) as u16 % (KEYS as u16 - 1) + 1)
    }
}

fn last_16(bytes: &[u8]) -> Option<u128> {
    bytes.last_chunk().map(|chunk| u128::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use eqlipse_batch::Schema;

    use super::*;

    #[test]
    fn keys_are_known_by_place_node_and_every_byte() {
        let mut schema = Schema::builder();
        schema.add("a.b");
        let schema = schema.build();
        let top = schema.root();
        let node = schema.step(top, "a");
        for length in 0..40 {
            let name = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"[..length].to_owned();
            let text = format!("{name}\": 1, and what else there is to come");
            let mut memory = KeyMemory::new(top);
            let place = Key::TOP.inside();
            assert!(memory.guess(place, top, text.as_bytes()).is_none());
            let Some(key) = memory.learn(place, top, &name, node) else {
                assert!(length > 30);
                continue;
            };
            let known = memory.guess(place, top, text.as_bytes());
            assert!(known == Some((key, node, length + 2)), "{name}");
            assert!(memory.guess(place, node.unwrap(), text.as_bytes()).is_none());
            assert!(memory.guess(key.after(), top, text.as_bytes()).is_none());
            for at in 0..length + 2 {
                let mut other = text.clone().into_bytes();
                other[at] ^= 1;
                assert!(memory.guess(place, top, &other).is_none(), "{name} {at}");
                assert!(memory.guess(place, top, &text.as_bytes()[..at]).is_none());
            }
        }
    }
}
