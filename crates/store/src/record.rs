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

impl Record<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.push(flag(self.is_own_id, OWN_ID) | flag(self.identity.is_some(), HAS_IDENTITY));
        out.extend(self.identity.into_iter().flat_map(u128::to_le_bytes));
        for text in [&self.index, &self.id, &self.document] {
            out.extend((text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

impl<'a> Record<'a> {
    /// The next record; `None` where the bytes hold none.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let [flags] = take_array(bytes)?;
        let identity = match flags & HAS_IDENTITY {
            0 => None,
            _ => Some(u128::from_le_bytes(take_array(bytes)?)),
        };
        let mut text = || {
            let length = u32::from_le_bytes(take_array(bytes)?) as usize;
            let (taken, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            std::str::from_utf8(taken).ok().map(Cow::Borrowed)
        };
        Some(Self { index: text()?, id: text()?, document: text()?, is_own_id: flags & OWN_ID != 0, identity })
    }
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
