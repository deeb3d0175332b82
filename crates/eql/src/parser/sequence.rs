//! Sequences and samples.

use super::{Parsed, Parser};
use crate::ast::{EventFilter, ExprKind, Field, JoinKey, Sample, SampleItem, Sequence, SequenceItem, Span};
use crate::diagnostic::{Diagnostic, quoted};
use crate::lexer::{Token, TokenKind};
use crate::limits::{MAX_JOIN_KEYS, MAX_RUNS, MAX_SAMPLE_ITEMS, MAX_SEQUENCE_ITEMS};

/// Units of `maxspan`, in nanoseconds.
pub(crate) const UNITS: [(&str, i64); 5] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// `[filter] by keys with runs=N`, before it is known what it is an item of.
struct Item {
    open: Token,
    /// `None` where the filter has a fault, which is noted.
    filter: Option<EventFilter>,
    own_keys: Vec<JoinKey>,
    keys_span: Span,
    runs: Option<(u32, Span)>,
    span: Span,
}

impl Item {
    fn negated(&self) -> bool {
        self.open.kind == TokenKind::OpenMissing
    }
}

impl Parser<'_> {
    pub(super) fn sequence(&mut self) -> Parsed<Sequence> {
        let start = self.take().span;
        let mut global = self.keys()?;
        let maxspan = self.maxspan()?;
        if maxspan.is_some() && self.kind() == TokenKind::By {
            let message = "`by` must stand before `with`";
            let help = "write `sequence by … with maxspan=…`";
            self.note(Diagnostic::error("with-before-by", self.peek().span, message).help(help));
            global = self.keys()?;
        }
        let items = self.items()?;
        let until = match self.take_if(TokenKind::Until) {
            Some(_) => Some(self.until()?),
            None => None,
        };
        self.check_sequence(start, &items, maxspan.is_some());
        self.check_keys(&global, &items, until.as_ref());
        self.check_key_limit(&global, &items, start);
        let items = complete(items, &global, sequence_item);
        let until = complete(until.into_iter().collect(), &global, sequence_item).pop();
        Ok(Sequence { maxspan, global_keys: global.len(), items, until })
    }

    pub(super) fn sample(&mut self) -> Parsed<Sample> {
        let start = self.take().span;
        let global = self.keys()?;
        if self.kind() == TokenKind::With {
            let message = "a sample cannot have `with`: its events come in any order, at any distance";
            return Err(self.fail(Diagnostic::error("sample-with", self.peek().span, message)));
        }
        let items = self.items()?;
        if self.kind() == TokenKind::Until {
            let message = "a sample cannot have `until`: its events come in any order";
            return Err(self.fail(Diagnostic::error("sample-until", self.peek().span, message)));
        }
        self.check_sample(start, &global, &items);
        self.check_keys(&global, &items, None);
        self.check_key_limit(&global, &items, start);
        let (global_keys, items) = (global.len(), complete(items, &global, sample_item));
        Ok(Sample { global_keys, items })
    }

    /// `by a, ?b`, or nothing.
    fn keys(&mut self) -> Parsed<Vec<JoinKey>> {
        let mut keys = Vec::new();
        if self.take_if(TokenKind::By).is_none() {
            return Ok(keys);
        }
        loop {
            let key = self.expression()?.expr;
            keys.push(match key.kind {
                ExprKind::Field(field) => field,
                _ => {
                    let message = "a join key must be a field";
                    self.note(Diagnostic::error("key-not-field", key.span, message));
                    Field { name: String::new(), optional: false, span: key.span }
                }
            });
            if self.take_if(TokenKind::Comma).is_none() {
                return Ok(keys);
            }
        }
    }

    /// `with maxspan=5m`, or nothing.
    fn maxspan(&mut self) -> Parsed<Option<i64>> {
        if self.take_if(TokenKind::With).is_none() {
            return Ok(None);
        }
        self.expect(TokenKind::Maxspan, "`maxspan` after `with`")?;
        self.expect(TokenKind::Assign, "`=` after `maxspan`")?;
        let number = self.peek();
        if matches!(number.kind, TokenKind::Minus | TokenKind::Plus | TokenKind::Decimal) {
            let message = "`maxspan` takes a whole number above 0";
            return Err(self.fail(Diagnostic::error("bad-maxspan", number.span, message)));
        }
        self.expect(TokenKind::Integer, "a duration such as `5m`")?;
        let unit = self.unit(number)?;
        let value: Option<i64> = self.text(number.span).parse().ok();
        if value == Some(0) {
            let message = "`maxspan` must be above 0";
            return Err(self.fail(Diagnostic::error("bad-maxspan", number.span, message)));
        }
        match value.and_then(|value| value.checked_mul(unit)) {
            Some(span) => Ok(Some(span)),
            None => {
                let message = "`maxspan` is too long: the limit is 106,751 days";
                Err(self.fail(Diagnostic::error("bad-maxspan", self.since(number.span), message)))
            }
        }
    }

    fn unit(&mut self, number: Token) -> Parsed<i64> {
        let Some(word) = self.take_if(TokenKind::Identifier) else {
            let text = self.text(number.span);
            let message = "`maxspan` needs a unit: ms, s, m, h or d";
            let help = format!("for seconds write `maxspan={}s`", crate::diagnostic::inert(text));
            return Err(self.fail(Diagnostic::error("bad-maxspan", number.span, message).help(help)));
        };
        let text = self.text(word.span);
        match UNITS.iter().find(|(unit, _)| *unit == text) {
            Some((_, nanoseconds)) => Ok(*nanoseconds),
            None => {
                let message = format!("unknown unit {}", quoted(text));
                let help = "units are ms, s, m, h and d";
                Err(self.fail(Diagnostic::error("bad-maxspan", word.span, message).help(help)))
            }
        }
    }

    fn items(&mut self) -> Parsed<Vec<Item>> {
        let mut items = Vec::new();
        while matches!(self.kind(), TokenKind::OpenBracket | TokenKind::OpenMissing) {
            items.push(self.item()?);
        }
        if items.is_empty() {
            return Err(self.unexpected("`[`"));
        }
        Ok(items)
    }

    fn item(&mut self) -> Parsed<Item> {
        let open = self.take();
        let filter = self.bracketed(open)?.map(|(filter, _)| filter);
        let span = self.since(open.span);
        self.alias();
        let by = self.peek().span;
        let own_keys = self.keys()?;
        let keys_span = if own_keys.is_empty() { span } else { self.since(by) };
        self.alias();
        let runs = self.runs()?;
        self.alias();
        if runs.is_some() && self.kind() == TokenKind::By {
            let message = "`by` must stand before `with`";
            let help = "write `[…] by … with runs=…`";
            return Err(self.fail(Diagnostic::error("with-before-by", self.peek().span, message).help(help)));
        }
        Ok(Item { open, filter, own_keys, keys_span, runs, span })
    }

    /// `as name`, which Elastic Endpoint's dialect has: noted and skipped.
    fn alias(&mut self) {
        let next = self.peek();
        if next.kind != TokenKind::Identifier || self.text(next.span) != "as" {
            return;
        }
        self.take();
        self.take_if(TokenKind::Identifier);
        let message = "names for the events of a sequence are not supported by Elasticsearch";
        let help = "they belong to the dialect of Elastic Endpoint; relate events by their join keys";
        self.note(Diagnostic::error("unsupported-alias", self.since(next.span), message).help(help));
    }

    /// What stands between the bracket taken last and its partner. After a fault, goes on behind the partner.
    pub(super) fn bracketed(&mut self, open: Token) -> Parsed<Option<(EventFilter, u16)>> {
        let depth = self.depth;
        let filter = self.event_filter();
        if filter.is_ok() && self.take_if(TokenKind::CloseBracket).is_some() {
            return Ok(filter.ok());
        }
        if filter.is_ok() {
            let message = format!("expected an operator or `]`, found {}", self.describe(self.peek()));
            let mut fault = Diagnostic::error("unexpected-token", self.peek().span, message);
            fault.help = self.spelling_help(self.peek());
            self.note(fault.label(open.span, "opened here"));
        }
        self.depth = depth;
        self.skip_to_close()?;
        Ok(None)
    }

    fn skip_to_close(&mut self) -> Parsed<()> {
        let mut open = 1_u32;
        loop {
            match self.take().kind {
                TokenKind::OpenBracket | TokenKind::OpenMissing => open += 1,
                TokenKind::CloseBracket if open == 1 => return Ok(()),
                TokenKind::CloseBracket => open -= 1,
                TokenKind::End => return Err(super::Reported),
                _ => {}
            }
        }
    }

    /// `with runs=3`, or nothing.
    fn runs(&mut self) -> Parsed<Option<(u32, Span)>> {
        let Some(with) = self.take_if(TokenKind::With) else {
            return Ok(None);
        };
        let word = self.peek();
        if word.kind != TokenKind::Identifier || self.text(word.span) != "runs" {
            return Err(self.unexpected("`runs` after `with`"));
        }
        self.take();
        self.expect(TokenKind::Assign, "`=` after `runs`")?;
        let number = self.peek();
        let value = self.text(number.span).parse::<u64>().ok();
        match value.filter(|runs| number.kind == TokenKind::Integer && (1..=MAX_RUNS).contains(runs)) {
            Some(runs) => {
                self.take();
                Ok(Some((runs as u32, self.since(with.span))))
            }
            None => {
                let message = format!("`runs` takes a whole number from 1 to {MAX_RUNS}");
                Err(self.fail(Diagnostic::error("bad-runs", number.span, message)))
            }
        }
    }

    fn until(&mut self) -> Parsed<Item> {
        if !matches!(self.kind(), TokenKind::OpenBracket | TokenKind::OpenMissing) {
            return Err(self.unexpected("`[` after `until`"));
        }
        let item = self.item()?;
        if item.negated() {
            let message = "the `until` item cannot be negated";
            self.note(Diagnostic::error("negated-until", item.open.span, message).help("leave out the `!`"));
        }
        if let Some((_, span)) = item.runs {
            self.note(Diagnostic::error("until-runs", span, "the `until` item cannot have `with runs`"));
        }
        if matches!(self.kind(), TokenKind::OpenBracket | TokenKind::OpenMissing) {
            let message = "`until` takes one item and comes last";
            return Err(self.fail(Diagnostic::error("unexpected-token", self.peek().span, message)));
        }
        Ok(item)
    }

    fn check_sequence(&mut self, start: Span, items: &[Item], maxspan: bool) {
        let expanded: u64 = items.iter().map(|item| item.runs.map_or(1, |(runs, _)| u64::from(runs))).sum();
        if expanded < 2 {
            let message = "a sequence needs at least two items";
            let help = "for one event in a row use `[…] with runs=N`; for a single event leave out `sequence`";
            self.note(Diagnostic::error("too-few-items", start, message).help(help));
        }
        if expanded > MAX_SEQUENCE_ITEMS {
            let message = format!("the sequence has {expanded} items with its runs; the limit is {MAX_SEQUENCE_ITEMS}");
            self.note(Diagnostic::error("too-many-items", start, message));
        }
        let Some(missing) = items.iter().find(|item| item.negated()) else {
            return;
        };
        if !maxspan {
            let message = "a sequence with an absent event needs `maxspan`";
            let help = "write `sequence with maxspan=…`: without it nobody can say how long to wait";
            self.note(Diagnostic::error("missing-maxspan", missing.open.span, message).help(help));
        }
        if items.iter().all(Item::negated) {
            let message = "a sequence needs at least one event that is present";
            self.note(Diagnostic::error("all-items-missing", start, message));
        }
    }

    fn check_sample(&mut self, start: Span, global: &[JoinKey], items: &[Item]) {
        for item in items {
            if item.negated() {
                let message = "a sample cannot have an absent event";
                self.note(Diagnostic::error("sample-missing", item.open.span, message));
            }
            if let Some((_, span)) = item.runs {
                self.note(Diagnostic::error("sample-runs", span, "a sample cannot have `with runs`"));
            }
        }
        if !(2..=MAX_SAMPLE_ITEMS).contains(&items.len()) {
            let message = format!("a sample has 2 to {MAX_SAMPLE_ITEMS} items, found {}", items.len());
            self.note(Diagnostic::error("sample-items", start, message));
        }
        if global.is_empty() && items.iter().all(|item| item.own_keys.is_empty()) {
            let message = "a sample needs at least one join key";
            self.note(Diagnostic::error("sample-keys", start, message).help("write `sample by field`"));
        }
    }

    /// Every item, and `until`, has as many keys of its own as the first.
    fn check_keys(&mut self, global: &[JoinKey], items: &[Item], until: Option<&Item>) {
        let Some(first) = items.first() else {
            return;
        };
        let (wanted, global) = (first.own_keys.len(), global.len());
        for item in items.iter().chain(until).filter(|item| item.own_keys.len() != wanted) {
            let found = item.own_keys.len();
            let of_its_own = if global == 0 { "" } else { " of its own" };
            let plural = if found == 1 { "" } else { "s" };
            let message = format!("this item has {found} join key{plural}{of_its_own}, the first has {wanted}");
            let fault = Diagnostic::error("key-count", item.keys_span, message);
            self.note(fault.label(first.keys_span, format!("{wanted} here")));
        }
    }

    fn check_key_limit(&mut self, global: &[JoinKey], items: &[Item], span: Span) {
        let most = items.iter().map(|item| item.own_keys.len()).max().unwrap_or(0) + global.len();
        if most > MAX_JOIN_KEYS {
            let message = format!("an item has {most} join keys; the limit is {MAX_JOIN_KEYS}");
            self.note(Diagnostic::error("too-many-keys", span, message));
        }
    }
}

/// The items as the tree holds them, each with its whole key. Items with a fault are left out: the query fails anyway.
fn complete<T>(items: Vec<Item>, global: &[JoinKey], make: fn(Item, EventFilter, Vec<JoinKey>) -> T) -> Vec<T> {
    let with_keys = |mut item: Item| {
        let filter = item.filter.take()?;
        let keys = global.iter().cloned().chain(item.own_keys.drain(..)).collect();
        Some(make(item, filter, keys))
    };
    items.into_iter().filter_map(with_keys).collect()
}

fn sequence_item(item: Item, filter: EventFilter, keys: Vec<JoinKey>) -> SequenceItem {
    let runs = item.runs.map_or(1, |(runs, _)| runs);
    SequenceItem { filter, negated: item.negated(), keys, runs, span: item.span }
}

fn sample_item(item: Item, filter: EventFilter, keys: Vec<JoinKey>) -> SampleItem {
    SampleItem { filter, keys, span: item.span }
}
