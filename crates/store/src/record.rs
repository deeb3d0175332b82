//! Events as bytes, as they stand in the log.

use std::borrow::Cow;

/// An event as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) index: Cow<'a, str>,
    pub(crate) id: Cow<'a, str>,
    /// Its sender gave it the id.
    pub(crate) is_own_id: bool,
    pub(crate) identity: Option<u128>,
    pub(crate) document: Cow<'a, str>,
}

const OWN_ID: u8 = 1;
const HAS_IDENTITY: u8 = 2;

/// A record without index and document.
pub(crate) struct Head<'a> {
    /// The number of the index.
    pub(crate) stream: u32,
    pub(crate) record: Record<'a>,
}

impl Record<'_> {
    fn write_flags(&self, out: &mut Vec<u8>) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.push(flag(self.is_own_id, OWN_ID) | flag(self.identity.is_some(), HAS_IDENTITY));
        self.identity.into_iter().for_each(|identity| out.extend_from_slice(&identity.to_le_bytes()));
    }

    /// Writes it without index and document, with the number of the index.
    pub(crate) fn write_head(&self, stream: u32, out: &mut Vec<u8>) {
        self.write_flags(out);
        put_u32(stream, out);
        put_bytes(self.id.as_bytes(), out);
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.write_flags(out);
        for text in [&self.index, &self.id, &self.document] {
            put_bytes(text.as_bytes(), out);
        }
    }
}

impl<'a> Record<'a> {
    /// The next record; `None` where the bytes hold none.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (is_own_id, identity) = take_flags(bytes)?;
        let mut text = || take_text(bytes).map(Cow::Borrowed);
        Some(Self { index: text()?, id: text()?, document: text()?, is_own_id, identity })
    }

    /// What [`write_head`](Self::write_head) wrote.
    pub(crate) fn take_head(bytes: &mut &'a [u8]) -> Option<Head<'a>> {
        let (is_own_id, identity) = take_flags(bytes)?;
        let stream = take_u32(bytes)?;
        let id = Cow::Borrowed(take_text(bytes)?);
        let (index, document) = (Cow::Borrowed(""), Cow::Borrowed(""));
        Some(Head { stream, record: Self { index, id, document, is_own_id, identity } })
    }
}

fn take_flags(bytes: &mut &[u8]) -> Option<(bool, Option<u128>)> {
    let [flags] = take_array(bytes)?;
    let identity = match flags & HAS_IDENTITY {
        0 => None,
        _ => Some(u128::from_le_bytes(take_array(bytes)?)),
    };
    Some((flags & OWN_ID != 0, identity))
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(bytes)?).ok()
}

/// Bytes with their length in front.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(bytes)? as usize;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

pub(crate) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take_array(bytes).map(u32::from_le_bytes)
}

pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_u32(bytes.len() as u32, out);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_u32(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_back(
            texts in proptest::collection::vec(".{0,20}", 3),
            is_own_id: bool,
            identity: Option<u128>,
            cut in 1usize..10,
        ) {
            let [index, id, document] = [0, 1, 2].map(|place: usize| Cow::Borrowed(texts[place].as_str()));
            let record = Record { index, id, is_own_id, identity, document };
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            let cut = &mut &bytes[..bytes.len().saturating_sub(cut)];
            prop_assert_eq!(Record::take(cut), None);
            record.write(&mut bytes);
            let rest = &mut &bytes[..];
            prop_assert_eq!(Record::take(rest), Some(record.clone()));
            prop_assert_eq!(Record::take(rest), Some(record));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_will_do(bytes: Vec<u8>) {
            Record::take(&mut &bytes[..]);
        }
    }
}
