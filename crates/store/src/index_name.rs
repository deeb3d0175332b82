//! Names of indices and data streams: which there may be, and the folders that their segments are in.

use std::fmt::Write as _;

use thiserror::Error;

/// Characters that no name has.
const FORBIDDEN: [char; 10] = [' ', '"', '*', ',', '/', '<', '>', '?', '\\', '|'];
/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Why an index cannot have a name, in Elasticsearch's words: people look for them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("Invalid index name [{name}], {fault}")]
pub struct InvalidIndexName {
    name: String,
    fault: NameFault,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
enum NameFault {
    #[error(r#"must not contain the following characters [' ','"','*',',','/','<','>','?','\','|']"#)]
    Forbidden,
    #[error("must not contain white space or control characters")]
    Unseen,
    #[error("must not be empty")]
    Empty,
    #[error("must not contain '{0}'")]
    Contains(char),
    #[error("must not start with '_', '-', or '+'")]
    Start,
    #[error("index name is too long, ({0} > {MAX_NAME_BYTES})")]
    Long(usize),
    #[error("must not be '.' or '..'")]
    Dots,
    #[error("must be lowercase")]
    Upper,
}

/// Whether an index or a data stream may have this name: the rules are Elasticsearch's, and besides there may be no white
/// space or control characters of any kind, which are trimmed or forge lines of tables elsewhere.
///
/// # Errors
/// If it may not.
pub fn check_index_name(name: &str) -> Result<(), InvalidIndexName> {
    let is_lower = |letter: char| letter.to_lowercase().eq([letter]);
    let fault = match name {
        _ if name.contains(FORBIDDEN) => NameFault::Forbidden,
        _ if name.contains(is_unseen) => NameFault::Unseen,
        "" => NameFault::Empty,
        _ if name.contains('#') => NameFault::Contains('#'),
        _ if name.contains(':') => NameFault::Contains(':'),
        _ if name.starts_with(['_', '-', '+']) => NameFault::Start,
        _ if name.len() > MAX_NAME_BYTES => NameFault::Long(name.len()),
        "." | ".." => NameFault::Dots,
        _ if !name.chars().all(is_lower) => NameFault::Upper,
        _ => return Ok(()),
    };
    Err(InvalidIndexName { name: name.to_owned(), fault })
}

fn is_unseen(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control()
}

/// Stands in front of the two hexadecimal digits of a byte that a folder's name cannot have as it is, and at the end of a
/// piece of a name that goes on. S3 and all file systems take it, [`object_store`] leaves it alone, and earlier versions,
/// which took no name that needed an escape, never wrote it.
const ESCAPE: char = '!';
/// The longest name of a folder on common file systems.
const MAX_FOLDER_BYTES: usize = 255;
/// Names of folders that would be longer come in pieces of this size, each in the one before.
const PIECE_BYTES: usize = 240;

/// The folder of an index's segments, below that of all segments. Other indices have others, also where a file system or a
/// tool knows no case, changes accents or drops a dot at the end; names of plain letters stand for themselves.
pub(crate) fn folder_of(index: &str) -> String {
    let mut folder = String::with_capacity(index.len());
    for (at, byte) in index.bytes().enumerate() {
        let is_odd = (at == 0 && is_device(index)) || (byte == b'.' && at + 1 == index.len());
        match is_plain(byte) && !is_odd {
            true => folder.push(char::from(byte)),
            false => _ = write!(folder, "{ESCAPE}{byte:02x}"),
        }
    }
    if folder.len() <= MAX_FOLDER_BYTES {
        return folder;
    }
    let (mut pieces, mut rest) = (String::new(), folder.as_str());
    while let Some((piece, behind)) = rest.split_at_checked(PIECE_BYTES).filter(|(_, behind)| !behind.is_empty()) {
        pieces.extend([piece, "!/"]);
        rest = behind;
    }
    pieces + rest
}

/// The index whose folder this is, or was in earlier versions.
pub(crate) fn index_of(folder: &str) -> Option<String> {
    let (starts, last) = folder.rsplit_once('/').map_or((None, folder), |(starts, last)| (Some(starts), last));
    let mut text = String::with_capacity(folder.len());
    for piece in starts.into_iter().flat_map(|starts| starts.split('/')) {
        text.push_str(piece.strip_suffix(ESCAPE)?);
    }
    text.push_str(last);
    let mut parts = text.split(ESCAPE);
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, plain) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    let index = String::from_utf8(bytes).ok().filter(|index| check_index_name(index).is_ok())?;
    let was_its = || folder == index && folder.bytes().all(is_plain);
    (folder_of(&index) == folder || was_its()).then_some(index)
}

/// Whether a byte stands for itself in the name of a folder. No upper case letter does, so that no two names differ by case.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
}

/// Whether Windows means a device by a file of this name.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let is_numbered = |stem: &str| stem.len() == 1 && stem.as_bytes()[0].is_ascii_digit();
    matches!(stem, "con" | "prn" | "aux" | "nul")
        || ["com", "lpt"].iter().any(|start| stem.strip_prefix(start).is_some_and(is_numbered))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use object_store::path::Path as ObjectPath;
    use proptest::prelude::*;

    use super::*;

    /// Names that Elasticsearch allows, with all that needs care in them.
    fn names() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("~".to_owned()),
            Just("!7e".to_owned()),
            Just("!".to_owned()),
            Just("%7e".to_owned()),
            Just(".".to_owned()),
            Just("\u{e9}".to_owned()),
            Just("e\u{301}".to_owned()),
            Just("\u{df}\u{17f}".to_owned()),
            Just("con".to_owned()),
            "[+@=~!$&'()%\\^`\\[\\]{};]{1,90}",
            "[a-z0-9._-]{1,90}",
            "\\PC{1,60}".prop_map(|text| text.to_lowercase()),
        ];
        proptest::collection::vec(piece, 1..6)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("not allowed", |name| check_index_name(name).is_ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn folders_are_each_of_one_index(name in names(), other in names()) {
            let folder = folder_of(&name);
            prop_assert_eq!(index_of(&folder), Some(name.clone()));
            prop_assert_eq!(folder == folder_of(&other), name == other);
            for part in folder.split('/') {
                prop_assert!(!part.is_empty() && part.len() <= MAX_FOLDER_BYTES && !part.ends_with('.'));
                prop_assert!(part.bytes().all(|byte| is_plain(byte) || byte == b'!') && !is_device(part));
                // What the object store lists is what it was told.
                let object = ObjectPath::default().join(part);
                prop_assert_eq!(object.as_ref(), part);
            }
        }

        #[test]
        fn what_is_no_folder_is_of_no_index(folder in "[a-z0-9.!/~A-F-]{0,20}") {
            if let Some(index) = index_of(&folder) {
                prop_assert!(folder_of(&index) == folder || index == folder);
            }
        }
    }

    #[test]
    fn folders_are_readable_and_those_of_earlier_versions_stay() {
        let folders = HashMap::from([
            ("logs-endpoint.events.process-default", "logs-endpoint.events.process-default"),
            (".hidden_1", ".hidden_1"),
            ("a+b@c=d~e!f", "a!2bb!40c!3dd!7ee!21f"),
            ("a.", "a!2e"),
            ("nul.txt", "!6eul.txt"),
            ("com1", "!63om1"),
            ("community", "community"),
        ]);
        for (index, folder) in folders {
            assert_eq!(folder_of(index), folder);
        }
        for old in ["a.", "nul", "x".repeat(255).as_str()] {
            assert_eq!(index_of(old).as_deref(), Some(old));
        }
        let long = "~".repeat(100);
        assert_eq!(folder_of(&long), format!("{}!/{}", "!7e".repeat(80), "!7e".repeat(20)));
        for odd in ["", "a/b", "a!7", "a!zz", "A", "a!/b", "a!61", "a!7E", "a!ff", "~", "!2f", "a!"] {
            assert_eq!(index_of(odd), None, "{odd}");
        }
    }
}
