//! The reference interpreter: the plainest evaluation of an EQL query that there can be, to judge the engine by.
//!
//! It walks the syntax tree for every event and shares nothing with the columnar engine but the tree and the names of
//! the field types. The rules below are the contract between the two; where they are silent, the code here decides.
//!
//! # Values of a field
//!
//! A field's values are all scalars found at its dotted path, in document order: nested objects, dotted keys and any
//! mixture of them are the same path; arrays (of arrays, of objects) are flattened; nulls vanish. A field with no
//! value is missing. Each value then takes the field's type:
//!
//! | type | string | number | boolean |
//! |---|---|---|---|
//! | keyword | as it is | its text | `true`, `false` |
//! | long | numeric text¹, then as a number | `i64`, else `u64`; fractions are cut toward zero; out of range: dropped | dropped |
//! | double | numeric text¹, then as a number | `f64`; not finite: dropped | dropped |
//! | boolean | `true`; `false` and the empty string | dropped | as it is |
//! | date | date text²; else whole `i64` text after trimming, then as a number | milliseconds since the epoch, cut to whole nanoseconds; out of range of `i64` nanoseconds: dropped | dropped |
//! | ip | an address after trimming, no zone id; an IPv4-mapped IPv6 address is IPv4; else dropped | dropped | dropped |
//! | version | as keyword | as keyword | as keyword |
//! | dynamic | as it is | as it is | as it is |
//!
//! ¹ After trimming white space: `[+-]? (digits [. digits*] | . digits) ([eE] [+-]? digits)?`. Whole numbers are read
//! exactly as `i64`, then `u64`; everything else as `f64`.
//!
//! ² After trimming: `YYYY-MM-DD`, then optionally `T`, `t` or a space and `HH:MM[:SS[.digits]]` (a comma may stand
//! for the point; digits after the ninth are cut), then optionally `Z`, `z`, `±HH`, `±HHMM` or `±HH:MM`. No zone means
//! UTC; zones go to ±18:59. Second 60 is the first of the next minute. Hour 24 and impossible days are not dates.
//!
//! The *text* of a value: a whole number in decimal; a double as Rust's `{:?}` prints it (`5.0`, `0.1`, `1e30`);
//! `true`, `false`; an address as `std` prints it; a date as `jiff::Timestamp` prints it (`2024-01-02T03:04:05.6Z`).
//!
//! # Conditions, leaves, null
//!
//! `and`, `or` and `not` that are reached from the root of a condition through `and`, `or` and `not` alone are the
//! *upper* part. `a != b` there is `not (a == b)`, `a not in (…)` is `not (a in (…))`. Everything below is a *leaf*.
//!
//! - A leaf that names a field is two-valued. It holds if it evaluates to `true` for some combination of its fields'
//!   values: each field takes each of its values, or null if it is missing; a field named twice takes the same value
//!   in both places. Null, `false`, an error, and any value that is not boolean do not hold. More than
//!   [`MAX_COMBINATIONS`] combinations: the leaf does not hold.
//! - A leaf without a field is a constant, and keeps its null (errors are null): the upper part combines by Kleene's
//!   logic (`not null` is null, `null or true` is true), and a null at the root is no match. For the engine: push
//!   `not` down to the leaves; a constant null is false in either polarity.
//! - Inside a leaf: functions, arithmetic, patterns and orderings give null if an operand is null (exceptions in the
//!   functions' table); `not`, `and`, `or` follow Kleene. `==` is true if both sides are null, false if one side is
//!   the literal `null` and the other is not null, null if otherwise one side is null; `!=` is its `not`. `in` is null
//!   if the subject is null, and ignores nulls in its list. Nothing short-circuits: an error anywhere
//!   in the leaf (overflow, division by zero, `number("x")`, `between` out of order, a bad CIDR block or regular
//!   expression) ends that combination, whatever stands around it.
//!
//! # Comparisons
//!
//! By the kinds of the two values, in either order. "no" means that `==` and the orderings are all false.
//!
//! | | | rule |
//! |---|---|---|
//! | number | number | exact, across signed, unsigned and double; NaN: no |
//! | string | string | by bytes of UTF-8 |
//! | boolean | boolean | false < true |
//! | date | date | by nanoseconds |
//! | date | string | the string as a date field reads it, else no |
//! | date | number | the number as a date field reads it, else no |
//! | ip | ip | by the 16 bytes of the (mapped) IPv6 form |
//! | ip | string | `==`: the same address, or a CIDR block that contains it; orderings: an address, else no |
//! | version | version, string | by precedence³ |
//! | boolean | string | `==` on text; orderings: no |
//! | number of a plain long or double field | string | the string as numeric text¹, then as numbers; else no |
//! | any other number | string, version | `==` on text; orderings: no |
//! | anything else | | no |
//!
//! ³ `digits(.digits)*[-pre][+build]`: numbers part by part, fewer parts before more; a pre-release before none, its
//! dotted parts numerically where both are digits, digits before text, text by bytes, fewer before more; then the build as bytes, none
//! first. Whatever is not of this form comes after all that are, by bytes. `==` is equality of the text.
//!
//! `in` is `==` with each element of the list; `in~` folds case where both are strings.
//!
//! # Patterns and case
//!
//! `:`, `like`, `like~`, `regex`, `regex~` test strings, versions, and numbers and booleans of a *dynamic* plain field
//! by their text. Other values (numbers of typed fields, dates, addresses, computed numbers) never match, without being null.
//! Wildcards work on whole code points: `*` any number, `?` exactly one, line breaks included. A regular expression is
//! Lucene's with all optional operators, also on computed values; `regex~` folds character ranges too. Nested
//! deeper than [`MAX_REGEX_DEPTH`], or with a count above [`MAX_REGEX_REPEAT`], it is an error.
//!
//! Without case: where the subject is a plain field, ASCII letters are folded. Where it is computed, and inside the
//! `~` functions, every character is replaced by its lower case if that is a single character.
//!
//! # Functions
//!
//! Offsets and lengths are UTF-16 units; half of a surrogate pair cut off by `substring` or `between` becomes U+FFFD.
//! A string argument must be a string (or version), else the result is null; any null argument gives null, but:
//!
//! | function | |
//! |---|---|
//! | `add`, `subtract`, `multiply`, `divide`, `modulo`, and their operators, `-x` | not numbers: null. Both whole: exact, an error if two signed operands leave `i64` or, with an unsigned one, the result fits neither `i64` nor `u64`; `/` and `%` by zero are errors. Otherwise `f64` |
//! | `between` | an empty string or delimiter gives the string itself; no hit gives `""`; greedy end before start: error |
//! | `cidrMatch` | address or string (unparsable: null); blocks are strings, a bare address is a block of one; anything else is an error |
//! | `concat`, `string` | the text of any value |
//! | `indexOf` | null where there is no hit; null start is 0, negative start is 0, a start that is not whole: error |
//! | `number` | null base is no base. No base: `0x` and hexadecimal digits, else as base 10. Base 16: the `0x` is optional. Base 10: exactly `i64` text, else numeric text¹ as a double, else an error. Other bases (2 to 36): `i64` text, else an error. A base that is not whole or out of range: error |
//! | `stringContains` | empty string or needle: false; except that `stringContains(field, "")` with a plain field is true |
//! | `substring` | null start gives the string; null end is its length; positions that are not whole: error |
//! | `wildcard` | as `like` |
//!
//! # Order, keys, sequences, samples
//!
//! Events are ordered by time (none last), tiebreaker (none last), arrival. An event without a time takes no part in
//! sequences. A join key is every combination of the key fields' values (equal ones once); two numbers are the same key
//! if they are equal, versions are strings, and values of other different kinds never are. Order of keys: null,
//! booleans, numbers, strings by bytes, dates, addresses; part by part. An event with more than [`MAX_COMBINATIONS`] keys is no candidate.
//!
//! # Relations
//!
//! Events are gone through in order. A start whose parent's id is known to a relation, or (`descendant of`) is the id of
//! one that was so started, makes the process's id a started one; then an event that passes the relation's filter
//! makes its process's id known, inner relations first; then `event of` holds if the event's id is known, the others if
//! it is a started one; then an end takes the id out. An id with several values is each of them.
//!
//! # Pipes
//!
//! In a pipe, `x` is the field of the result's first event, `events[1].x` of its second; an event that is missing on
//! purpose has no fields. After `unique_count` or `count` the names `count` and `percent`, after `count` also `key`,
//! mean what was added. A `filter` is a condition. The keys of the other pipes are values: of each field its first;
//! errors and NaN are null. Keys are equal as join keys are, but without case (Unicode's); `sort` is stable and puts
//! keys in the order of join keys, without case. `count` keeps each key as it first came, and gives the rarest first,
//! then by key with case. `unique_count` after a counting pipe adds up the counts; `count` counts results.
//!
//! Sequences follow section 6 of the reference to the letter; several items missing at one end are taken together
//! (the latest hit of any, the earliest hit of any). Samples: keys ascending; per key the items are filled in order
//! with the earliest event not yet used in this sample, going back where an item finds none; with more than one sample
//! a key, the next combinations in that same search order.

/// The most combinations of field values that one leaf, or one join key, of one event may have.
pub const MAX_COMBINATIONS: usize = 65_536;

mod date;
mod eval;
mod flat;
mod functions;
mod key;
mod pattern;
mod pipes;
mod regex;
mod relations;
mod sample;
mod sequence;
mod value;

#[cfg(test)]
mod tests;

use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{Body, EventFilter, Expr, Query};
use serde_json::Value;

pub use eval::{EvalError, Evaluated};
pub use flat::Flat;
pub use pattern::{Fold, wildcard};
pub use regex::{MAX_DEPTH as MAX_REGEX_DEPTH, MAX_REPEAT as MAX_REGEX_REPEAT, Regex, RegexError};
pub use relations::ProcessEvents;
pub use value::Val;

/// What the interpreter needs to know beside the query.
pub struct Options {
    /// The field that a query's category is compared with.
    pub category_field: String,
    /// The field that gives an event's time.
    pub timestamp_field: String,
    /// The field that orders events of the same time.
    pub tiebreaker_field: Option<String>,
    /// The type of each field.
    pub types: Box<dyn Fn(&str) -> FieldType + Send + Sync>,
    /// How many samples of one key are returned.
    pub max_samples_per_key: usize,
    /// Events after this time may still come, so that a sequence that ends with a missing event waits for its `maxspan`
    /// to pass; without it nothing more comes.
    pub end: Option<i64>,
    /// How relations tell the starts and ends of processes.
    pub processes: ProcessEvents,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            category_field: "event.category".into(),
            timestamp_field: "@timestamp".into(),
            tiebreaker_field: Some("event.sequence".into()),
            types: Box::new(|name| eqlipse_ecs::field_type(name).unwrap_or(FieldType::Dynamic)),
            max_samples_per_key: 1,
            end: None,
            processes: ProcessEvents::default(),
        }
    }
}

/// An event as it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The document.
    pub doc: &'a Value,
    /// Where it came in: the source, and the place in it.
    pub arrival: (u32, u64),
    /// Its time and tiebreaker, where they are not to be read from the document.
    pub order: Option<(i64, Option<i64>)>,
}

/// What a query finds: an event, a sequence or a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The events by index in the input; `None` is an event missing on purpose.
    pub events: Vec<Option<usize>>,
    /// The join key.
    pub join_keys: Vec<Value>,
    /// What `unique_count` and `count` add.
    pub counted: Option<Counted>,
}

/// How many results a counting pipe took together.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// How many there were.
    pub count: u64,
    /// Their share of all; none where all were counted.
    pub percent: Option<f64>,
    /// What they share, for `count`.
    pub key: Vec<Value>,
}

/// An event whose fields are gathered.
struct Ready<'a> {
    index: usize,
    fields: Flat<'a>,
    time: Option<i64>,
}

/// Events gathered and put in order once, for any number of queries.
pub struct Prepared<'a>(Vec<Ready<'a>>);

impl<'a> Prepared<'a> {
    fn iter(&self) -> impl Iterator<Item = &Ready<'a>> {
        self.0.iter()
    }

    /// The time of an event in a sequence, which always has one.
    fn time(&self, place: usize) -> i128 {
        i128::from(self.0[place].time.unwrap_or_default())
    }
}

/// The reference interpreter.
#[derive(Default)]
pub struct Interpreter {
    options: Options,
}

impl Interpreter {
    /// An interpreter with these options.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Runs one query over events in any order.
    pub fn run(&self, query: &Query, events: &[Event<'_>]) -> Vec<Match> {
        self.run_prepared(query, &self.prepare(events))
    }

    /// Gathers the events' fields and puts them in order.
    pub fn prepare<'a>(&self, events: &[Event<'a>]) -> Prepared<'a> {
        let mut ready: Vec<_> = events
            .iter()
            .enumerate()
            .map(|(index, event)| {
                let fields = self.flatten(event.doc);
                let (time, tiebreaker) = match event.order {
                    Some((time, tiebreaker)) => (Some(time), tiebreaker),
                    None => (self.time_of(&fields), self.tiebreaker_of(&fields)),
                };
                let order = (time.is_none(), time, tiebreaker.is_none(), tiebreaker, event.arrival, index);
                (order, Ready { index, fields, time })
            })
            .collect();
        ready.sort_by_key(|(order, _)| *order);
        Prepared(ready.into_iter().map(|(_, event)| event).collect())
    }

    /// Runs one query over prepared events.
    pub fn run_prepared(&self, query: &Query, events: &Prepared<'_>) -> Vec<Match> {
        if let Some((query, events)) = relations::resolve(self, query, events) {
            return self.run_prepared(&query, &events);
        }
        let found: Vec<(key::Key, Vec<Option<usize>>)> = match &query.body {
            Body::Event(filter) => events
                .iter()
                .enumerate()
                .filter(|(_, event)| self.matches_flat(filter, &event.fields))
                .map(|(place, _)| (Vec::new(), vec![Some(place)]))
                .collect(),
            Body::Sequence(sequence) => sequence::find(self, sequence, events),
            Body::Sample(sample) => sample::find(self, sample, events)
                .into_iter()
                .map(|(key, places)| (key, places.into_iter().map(Some).collect()))
                .collect(),
        };
        let found = found.into_iter().map(|(key, places)| pipes::Found { key, places, counted: None }).collect();
        let json = |key: &key::Key| key.iter().map(key::KeyPart::to_json).collect();
        pipes::run(self, &query.pipes, events, found)
            .into_iter()
            .map(|pipes::Found { key, places, counted }| Match {
                events: places.into_iter().map(|place| place.map(|place| events.0[place].index)).collect(),
                join_keys: json(&key),
                counted: counted.map(|counted| Counted {
                    count: counted.count,
                    percent: counted.percent,
                    key: json(&counted.key),
                }),
            })
            .collect()
    }

    /// Whether a document passes a filter.
    pub fn matches(&self, filter: &EventFilter, doc: &Value) -> bool {
        self.matches_flat(filter, &self.flatten(doc))
    }

    /// Whether an event passes a filter.
    pub fn matches_flat(&self, filter: &EventFilter, event: &Flat<'_>) -> bool {
        let in_category = filter.category.as_ref().is_none_or(|category| {
            event.values(&self.options.category_field).iter().any(|value| value.as_str() == Some(category))
        });
        in_category && self.evaluator(event).condition(&filter.condition) == Some(true)
    }

    /// The value of an expression without fields.
    pub fn constant<'v>(&self, expr: &'v Expr) -> Evaluated<'v> {
        self.evaluator(&Flat::default()).value(expr, &eval::Binding::EMPTY)
    }

    /// Gathers the fields of a document.
    pub fn flatten<'a>(&self, doc: &'a Value) -> Flat<'a> {
        Flat::new(doc, &*self.options.types)
    }

    fn evaluator<'e>(&'e self, event: &'e Flat<'e>) -> eval::Evaluator<'e> {
        eval::Evaluator { event, types: &*self.options.types }
    }

    fn time_of(&self, fields: &Flat<'_>) -> Option<i64> {
        fields.values(&self.options.timestamp_field).iter().find_map(Val::to_date)
    }

    fn tiebreaker_of(&self, fields: &Flat<'_>) -> Option<i64> {
        let field = self.options.tiebreaker_field.as_ref()?;
        fields.values(field).iter().find_map(Val::to_i64)
    }
}
