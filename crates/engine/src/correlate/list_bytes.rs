//! Lists of matched rows as bytes.
//!
//! `eqlist02 | rules | events | keys | rows of each selection | own orders`, each with its number in front. Numbers take as
//! few bytes as they need, seven bits each, the low ones first. Of times, places, handles, and of the events and keys of rows,
//! it is the differences from the ones before that stand there: they are small. The times of own orders have eight bytes. `eqlist01`, all of whose numbers have four or
//! eight bytes, is read too.

use eqlipse_batch::{Arrival, OrderKey};

use super::kept::{MatchedEvent, OwnOrder, StageRow};
use super::key::KeyId;
use super::list::{KnownRules, ListedRule, MatchList};
use super::spill::{self, HAS_IDENTITY, HAS_TIEBREAKER, HAS_TIME, flags_of, take};
use crate::compile::RuleIndex;

const MAGIC: &[u8; 8] = b"eqlist02";
const FIXED_MAGIC: &[u8; 8] = b"eqlist01";

/// Room for more events and keys than this is made as they come: what damaged bytes promise, they may not have.
const MAX_RESERVED: u32 = 1 << 18;

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = take(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Numbers one after the other, each by its difference from the one before. Small ones are small below zero too.
#[derive(Default)]
struct Differences(u64);

impl Differences {
    fn put(&mut self, number: u64, out: &mut Vec<u8>) {
        let difference = number.wrapping_sub(std::mem::replace(&mut self.0, number)) as i64;
        put_number((difference << 1 ^ difference >> 63) as u64, out);
    }

    fn take(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        let number = take_number(bytes)?;
        self.0 = self.0.wrapping_add(number >> 1 ^ (number & 1).wrapping_neg());
        Some(self.0)
    }
}

/// What was written or read last.
#[derive(Default)]
struct Last {
    time: Differences,
    tiebreaker: Differences,
    source: Differences,
    position: Differences,
    handle: Differences,
    event: Differences,
    key: Differences,
}

impl Last {
    fn put_event(&mut self, event: &MatchedEvent, out: &mut Vec<u8>) {
        let OrderKey { time, tiebreaker, arrival } = event.order;
        out.push(flags_of(event));
        time.into_iter().for_each(|time| self.time.put(time as u64, out));
        tiebreaker.into_iter().for_each(|tiebreaker| self.tiebreaker.put(tiebreaker as u64, out));
        event.identity.into_iter().for_each(|identity| out.extend_from_slice(&identity.to_le_bytes()));
        self.source.put(u64::from(arrival.source), out);
        self.position.put(arrival.position, out);
        self.handle.put(event.handle, out);
    }

    fn take_event(&mut self, bytes: &mut &[u8]) -> Option<MatchedEvent> {
        let [flags] = take(bytes)?;
        let has = |flag: u8| flags & flag != 0;
        let time = if has(HAS_TIME) { Some(self.time.take(bytes)? as i64) } else { None };
        let tiebreaker = if has(HAS_TIEBREAKER) { Some(self.tiebreaker.take(bytes)? as i64) } else { None };
        let identity = if has(HAS_IDENTITY) { Some(take(bytes).map(u128::from_le_bytes)?) } else { None };
        let source = u32::try_from(self.source.take(bytes)?).ok()?;
        let arrival = Arrival { source, position: self.position.take(bytes)? };
        Some(MatchedEvent { order: OrderKey { time, tiebreaker, arrival }, identity, handle: self.handle.take(bytes)? })
    }
}

/// The bytes of a list.
struct Reader<'b> {
    bytes: &'b [u8],
    /// All numbers have four or eight bytes.
    is_fixed: bool,
    last: Last,
}

impl<'b> Reader<'b> {
    fn number(&mut self) -> Option<u32> {
        match self.is_fixed {
            true => take(&mut self.bytes).map(u32::from_le_bytes),
            false => u32::try_from(take_number(&mut self.bytes)?).ok(),
        }
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let length = self.number()? as usize;
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn event(&mut self) -> Option<MatchedEvent> {
        match self.is_fixed {
            true => spill::take_event(&mut self.bytes),
            false => self.last.take_event(&mut self.bytes),
        }
    }

    fn row(&mut self) -> Option<StageRow> {
        let (event, key) = match self.is_fixed {
            true => (self.number()?, self.number()?),
            false => {
                let (event, key) = (self.last.event.take(&mut self.bytes)?, self.last.key.take(&mut self.bytes)?);
                (u32::try_from(event).ok()?, u32::try_from(key).ok()?)
            }
        };
        Some(StageRow { event, key: KeyId(key) })
    }

    fn rule(&mut self) -> Option<ListedRule> {
        let fingerprint = u128::from_le_bytes(take(&mut self.bytes)?);
        let count = self.number()?;
        let selections = (0..count).map(|_| self.number()).collect::<Option<_>>()?;
        Some(ListedRule { fingerprint, selections })
    }

    fn own_order(&mut self) -> Option<OwnOrder> {
        let (rule, event) = (RuleIndex(self.number()?), self.number()?);
        let [has_time, has_tiebreaker] = take(&mut self.bytes)?;
        let time = i64::from_le_bytes(take(&mut self.bytes)?);
        let tiebreaker = self.text()?;
        let (time, tiebreaker) = ((has_time == 1).then_some(time), (has_tiebreaker == 1).then(|| tiebreaker.into()));
        Some(OwnOrder { rule, event, time, tiebreaker })
    }
}

impl MatchList {
    /// Appends the list as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut last = Last::default();
        let length = |length: usize, out: &mut Vec<u8>| put_number(length as u64, out);
        out.extend_from_slice(MAGIC);
        length(self.rules.0.len(), out);
        for rule in &*self.rules.0 {
            out.extend(rule.fingerprint.to_le_bytes());
            length(rule.selections.len(), out);
            rule.selections.iter().for_each(|selection| put_number(u64::from(*selection), out));
        }
        length(self.events.len(), out);
        self.events().for_each(|event| last.put_event(&event, out));
        length(self.keys.len(), out);
        for key in 0..self.keys.len() as u32 {
            let bytes = self.keys.bytes_of(KeyId(key));
            length(bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        length(self.ends.len(), out);
        for selection in 0..self.ends.len() as u32 {
            let rows = self.rows_of(selection);
            length(rows.len(), out);
            for row in rows {
                last.event.put(u64::from(row.event), out);
                last.key.put(u64::from(row.key.0), out);
            }
        }
        length(self.own_orders.len(), out);
        for OwnOrder { rule, event, time, tiebreaker } in &self.own_orders {
            put_number(u64::from(rule.0), out);
            put_number(u64::from(*event), out);
            out.extend([u8::from(time.is_some()), u8::from(tiebreaker.is_some())]);
            out.extend(time.unwrap_or_default().to_le_bytes());
            let tiebreaker = tiebreaker.as_deref().unwrap_or_default();
            length(tiebreaker.len(), out);
            out.extend_from_slice(tiebreaker);
        }
    }

    /// A list out of bytes, which may be damaged: `None` if they are no list.
    pub fn decode(mut bytes: &[u8], known: &KnownRules) -> Option<Self> {
        let magic = take(&mut bytes)?;
        if magic != *MAGIC && magic != *FIXED_MAGIC {
            return None;
        }
        let mut reader = Reader { bytes, is_fixed: magic == *FIXED_MAGIC, last: Last::default() };
        let mut list = MatchList::default();
        let count = reader.number()?;
        let rules: Vec<ListedRule> = (0..count).map(|_| reader.rule()).collect::<Option<_>>()?;
        let events = reader.number()?;
        list.events.reserve(events.min(MAX_RESERVED) as usize);
        for _ in 0..events {
            let event = reader.event()?;
            list.latest = list.latest.max(event.order.time);
            list.events.push(event.into());
        }
        let keys = reader.number()?;
        list.keys.reserve(keys.min(MAX_RESERVED) as usize);
        for number in 0..keys {
            // A key that stands there twice would shift all that follow.
            if list.keys.intern(reader.text()?).0 != number {
                return None;
            }
        }
        for _ in 0..reader.number()? {
            for _ in 0..reader.number()? {
                let row = reader.row().filter(|row| list.has_row(row))?;
                list.rows.push(row);
            }
            list.ends.push(u32::try_from(list.rows.len()).ok()?);
        }
        for _ in 0..reader.number()? {
            list.own_orders.push(reader.own_order()?);
        }
        let is_sound = reader.bytes.is_empty() && list.is_sound(&rules);
        is_sound.then(|| {
            list.rules = known.share(rules);
            list
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::correlate::spill::{put_bytes, put_event, put_u32};

    fn event() -> impl Strategy<Value = MatchedEvent> {
        let order = (any::<Option<i64>>(), any::<Option<i64>>(), any::<u32>(), any::<u64>());
        (order, any::<Option<u128>>(), any::<u64>()).prop_map(
            |((time, tiebreaker, source, position), identity, handle)| MatchedEvent {
                order: OrderKey { time, tiebreaker, arrival: Arrival { source, position } },
                identity,
                handle,
            },
        )
    }

    /// Two selections, some keys, and rows of them.
    fn list() -> impl Strategy<Value = MatchList> {
        let rows = prop::collection::vec((0u32..4, 0u32..3), 0..6);
        (prop::collection::vec(event(), 4), rows.clone(), rows, any::<Option<i64>>()).prop_map(
            |(events, first, second, time)| {
                let row = |(event, key)| StageRow { event, key: KeyId(key) };
                let mut list = MatchList {
                    ends: vec![first.len() as u32, (first.len() + second.len()) as u32],
                    rows: first.into_iter().chain(second).map(row).collect(),
                    latest: events.iter().filter_map(|event| event.order.time).max(),
                    events: events.into_iter().map(Into::into).collect(),
                    ..MatchList::default()
                };
                [&b""[..], b"a", &[7; 200]].iter().for_each(|key| _ = list.keys.intern(key));
                let tiebreaker = Some((*b"x").into());
                list.own_orders.push(OwnOrder { rule: RuleIndex(0), event: 3, time, tiebreaker });
                let rules = vec![ListedRule { fingerprint: 9, selections: [1, 0].into() }];
                list.rules = KnownRules::default().share(rules);
                list
            },
        )
    }

    /// As lists were written before.
    fn fixed(list: &MatchList) -> Vec<u8> {
        let mut out = FIXED_MAGIC.to_vec();
        put_u32(1, &mut out);
        out.extend(9u128.to_le_bytes());
        [2, 1, 0].iter().for_each(|number| put_u32(*number, &mut out));
        put_u32(list.events.len() as u32, &mut out);
        list.events().for_each(|event| put_event(&event, &mut out));
        put_u32(list.keys.len() as u32, &mut out);
        (0..list.keys.len() as u32).for_each(|key| put_bytes(list.keys.bytes_of(KeyId(key)), &mut out));
        put_u32(2, &mut out);
        for selection in 0..2 {
            put_u32(list.rows_of(selection).len() as u32, &mut out);
            list.rows_of(selection)
                .iter()
                .for_each(|row| [row.event, row.key.0].iter().for_each(|n| put_u32(*n, &mut out)));
        }
        put_u32(1, &mut out);
        let OwnOrder { rule, event, time, tiebreaker } = &list.own_orders[0];
        [rule.0, *event].iter().for_each(|number| put_u32(*number, &mut out));
        out.extend([u8::from(time.is_some()), 1]);
        out.extend(time.unwrap_or_default().to_le_bytes());
        put_bytes(tiebreaker.as_deref().unwrap(), &mut out);
        out
    }

    fn told(list: &MatchList) -> String {
        let events: Vec<MatchedEvent> = list.events().collect();
        let keys: Vec<&[u8]> = (0..list.keys.len() as u32).map(|key| list.keys.bytes_of(KeyId(key))).collect();
        format!("{:?}", (&list.rules, events, &list.rows, &list.ends, keys, &list.own_orders, list.latest))
    }

    proptest! {
        #[test]
        fn lists_come_back_of_both_forms(list in list(), cut in 0usize..100) {
            let (mut bytes, known) = (Vec::new(), KnownRules::default());
            list.encode(&mut bytes);
            prop_assert!(fixed(&list).starts_with(FIXED_MAGIC) && bytes.starts_with(MAGIC));
            for bytes in [bytes, fixed(&list)] {
                prop_assert_eq!(told(&MatchList::decode(&bytes, &known).unwrap()), told(&list));
                prop_assert!(MatchList::decode(&bytes[..bytes.len() - 1 - cut.min(bytes.len() - 1)], &known).is_none());
            }
        }

        /// Each event comes to its part with all of its rows, in the order in which they were.
        #[test]
        fn lists_are_split(lists in prop::collection::vec(list(), 1..4), places in prop::collection::vec(prop::option::of(0u32..3), 12)) {
            let handle = |list: usize, event: u32| (list * 4) as u64 + u64::from(event);
            let refs: Vec<&MatchList> = lists.iter().collect();
            let place = |list: usize, event: u32, _: &MatchedEvent| {
                Some((places[handle(list, event) as usize]?, handle(list, event)))
            };
            for (part, split) in MatchList::split(&refs, 3, place).iter().enumerate() {
                let is_here = |list: usize, event: u32| places[handle(list, event) as usize] == Some(part as u32);
                for selection in 0..2 {
                    let rows_of = |list: &MatchList, handle: &dyn Fn(u32) -> u64| -> Vec<(u64, Vec<u8>)> {
                        let rows = list.rows_of(selection).iter();
                        rows.map(|row| (handle(row.event), list.keys.bytes_of(row.key).to_vec())).collect()
                    };
                    let made = rows_of(split, &|event| split.events[event as usize].event().handle);
                    let all = lists.iter().enumerate().flat_map(|(number, list)| rows_of(list, &|event| handle(number, event)));
                    let expected: Vec<_> = all.filter(|(handle, _)| places[*handle as usize] == Some(part as u32)).collect();
                    prop_assert_eq!(made, expected);
                }
                let own = (0..lists.len()).filter(|list| is_here(*list, 3)).map(|list| handle(list, 3));
                prop_assert!(split.own_orders.iter().map(|own| split.events[own.event as usize].event().handle).eq(own));
                prop_assert_eq!(split.latest, split.events().filter_map(|event| event.order.time).max());
                prop_assert!(split.is_sound(&split.rules.0) && split.rows.iter().all(|row| split.has_row(row)));
            }
        }

        #[test]
        fn any_bytes_will_do(bytes in prop::collection::vec(any::<u8>(), 0..200), is_fixed: bool) {
            let magic = if is_fixed { FIXED_MAGIC } else { MAGIC };
            _ = MatchList::decode(&[magic, &bytes[..]].concat(), &KnownRules::default());
        }
    }
}
