use eqlipse_batch::OrderKey;

use super::key::{KeyId, KeyTable};
use crate::compile::RuleIndex;
use crate::script::Scalar;

/// An event that some stage matched.
#[derive(Clone, Copy, Debug)]
pub struct MatchedEvent {
    /// Its place in time.
    pub order: OrderKey,
    /// What tells it from others, if it was read twice.
    pub identity: Option<u128>,
    /// What the caller gave to find its document again.
    pub handle: u64,
}

/// A row that a stage matched: the event, with one of its join keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRow {
    /// The event.
    pub event: u32,
    /// The join key; the same one for all where the stage has none.
    pub key: KeyId,
}

/// An event's place in time by a rule's own fields.
#[derive(Clone, Debug)]
pub(super) struct OwnOrder {
    pub(super) rule: RuleIndex,
    pub(super) event: u32,
    pub(super) time: Option<i64>,
    /// The tiebreaker's value as key bytes, which keep its order.
    pub(super) tiebreaker: Option<Box<[u8]>>,
}

/// The fields of an event that a rule's pipes read.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) rule: RuleIndex,
    pub(super) event: u32,
    pub(super) values: CarriedValues,
}

/// By the field's place among those carried.
pub(super) type CarriedValues = Box<[Box<[Scalar<'static>]>]>;

/// The matched rows of one thread, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) events: Vec<MatchedEvent>,
    /// By selection.
    pub(super) rows: Vec<Vec<StageRow>>,
    pub(super) keys: KeyTable,
    pub(super) own_orders: Vec<OwnOrder>,
    pub(super) carried: Vec<Carried>,
}

/// What a row costs: itself, and its place in the list by which rows are written out or put together.
const ROW_BYTES: usize = size_of::<StageRow>() + 24;

impl Kept {
    pub(super) fn new(selections: usize) -> Self {
        Self { rows: vec![Vec::new(); selections], ..Self::default() }
    }

    /// About how much memory events, keys and so many rows take, or will take when they are put together.
    pub(super) fn bytes(&self, rows: usize) -> usize {
        self.events.len() * size_of::<MatchedEvent>() + rows * ROW_BYTES + self.keys.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the documentation says that a matched event costs.
    #[test]
    fn sizes_are_as_stated() {
        assert_eq!((size_of::<MatchedEvent>(), size_of::<StageRow>()), (96, 8));
    }
}
