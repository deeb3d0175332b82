//! Alert ids: SHA-256 over the texts Kibana hashes.

use sha2::{Digest, Sha256};

/// Searches do not ask for versions, so Kibana hashes the text of an absent value.
const VERSION: &str = "undefined";

/// The id of an alert on one event.
pub(crate) fn event_id(index: &str, id: &str, space: &str, rule_id: &str) -> String {
    hash(&[index, id, VERSION, space, ":", rule_id])
}

/// What the ids of a sequence's building blocks have in common: the ancestors of all of them, as id and index pairs.
pub(crate) struct BlockIds {
    hasher: Sha256,
}

impl BlockIds {
    /// Hashes the ancestors, which are those of each block in turn.
    pub fn new<'a>(ancestors: impl Iterator<Item = (&'a str, &'a str)>, rule_id: &str) -> BlockIds {
        let mut hasher = Sha256::new();
        for (id, index) in ancestors {
            hasher.update(id);
            hasher.update(index);
        }
        hasher.update(rule_id);
        BlockIds { hasher }
    }

    /// The id of a building block by its position.
    pub fn block(&self, position: usize) -> String {
        let mut hasher = self.hasher.clone();
        hasher.update(position.to_string());
        hex(&hasher.finalize())
    }

    /// The id of the whole, where the ancestors are those of the shell.
    pub fn shell(self) -> String {
        hex(&self.hasher.finalize())
    }
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected values are what `printf %s … | sha256sum` gives.

    #[test]
    fn event_ids_hash_index_id_version_space_and_rule() {
        let id = event_id("logs-1", "e1", "default", "r1");
        assert_eq!(id, "52d46bd5f34a8d510b0ce7001655b490ee2f66373150dfaba7fe23d35a8c91c1");
    }

    #[test]
    fn block_and_shell_ids_hash_the_ancestors() {
        let ancestors = || [("e1", "i"), ("e2", "i")].into_iter();
        assert_eq!(
            BlockIds::new(ancestors(), "r1").block(0),
            "a11333db283c505453903803a8374718916a56e957144db4240d9d41085fd6d0"
        );
        assert_eq!(
            BlockIds::new(ancestors(), "r1").block(1),
            "fc40a64069ec41923a84c24c30b2acea4dc3198aa835a1620db1904b6fce0111"
        );
        assert_eq!(
            BlockIds::new(ancestors(), "r1").shell(),
            "6644597483453d56ee432e561e5a9f341ac9f9197fe42ad452612bfa332b3eaa"
        );
    }
}
