//! What an explanation says, in the shape that `--format json` writes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// Why a rule fired on some events, or why it did not.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The rule or query.
    pub subject: SubjectInfo,
    /// What was read.
    pub data: DataInfo,
    /// Whether there is at least one alert.
    pub fired: bool,
    /// How many alerts there are.
    pub alerts: u64,
    /// What matters most, in the order in which to look at it; empty where the rule fired and lacks nothing.
    pub findings: Vec<Finding>,
    /// The stages as written, `until` last.
    pub stages: Vec<StageReport>,
    /// How far sequences came; absent for other rules.
    pub sequence: Option<SequenceReport>,
    /// How far samples came; absent for other rules.
    pub sample: Option<SampleReport>,
    /// The first alerts, each with its events and why every clause held.
    pub hits: Vec<HitReport>,
}

/// The rule or query that is explained.
#[derive(Clone, Debug, Serialize)]
pub struct SubjectInfo {
    /// The rule's id; absent for a query.
    pub rule_id: Option<String>,
    /// The rule's name; absent for a query.
    pub name: Option<String>,
    /// `event`, `sequence` or `sample`.
    pub kind: &'static str,
    /// The query as written.
    pub query: String,
    /// Its index patterns; empty where they do not count.
    pub index: Vec<String>,
}

/// What was read.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DataInfo {
    /// Inputs that are logs.
    pub inputs: u64,
    /// Events read, each once.
    pub events: u64,
    /// Copies of events that had been read before.
    pub duplicates: u64,
    /// Events without a readable time, which take no part in sequences.
    pub untimed: u64,
    /// Records that could not be read.
    pub skipped: u64,
    /// Inputs that gave nothing, and why.
    pub problems: Vec<String>,
}

/// One reason why a rule did not fire, or could not see all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    #[serde(flatten)]
    pub kind: FindingKind,
    /// The same in words.
    pub message: String,
}

/// The kinds of finding, in the order in which they are reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FindingKind {
    /// No event has a field without which a stage cannot match.
    FieldAbsent {
        /// The field.
        field: String,
        /// Fields that the data has and that are named much like it, nearest first.
        near: Vec<String>,
        /// Numbers of the stages that need it.
        stages: Vec<usize>,
    },
    /// The index patterns hide events from the rule.
    IndexHides {
        /// How many.
        hidden: u64,
        /// Whether these are all events.
        all: bool,
        /// Indices that hidden events belong to, with their number.
        indices: BTreeMap<String, u64>,
    },
    /// No event has the category of a stage.
    CategoryUnseen {
        /// The category.
        category: String,
        /// The categories that events have, with their number.
        seen: BTreeMap<String, u64>,
        /// The stages.
        stages: Vec<usize>,
    },
    /// A clause that no event passes.
    ClauseNeverTrue {
        /// The stage.
        stage: usize,
        /// The clause's id.
        clause: usize,
    },
    /// Each clause is passed by some event, and all of them together by none.
    NeverTogether {
        /// The stage.
        stage: usize,
        /// The clause that alone kept out most events.
        clause: Option<usize>,
    },
    /// Events that pass a stage's condition lack a join key.
    KeyMissing {
        /// The stage.
        stage: usize,
        /// The key field.
        field: String,
        /// How many events lack nothing else.
        events: u64,
    },
    /// All stages matched, but no sequence or sample was completed.
    NotCorrelated {
        /// The furthest stage that a key reached.
        stage: usize,
    },
}

/// A stage: the one event of an event rule, an item of a sequence or sample, an `until`.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// 1 for the first.
    pub number: usize,
    /// What the stage is for.
    pub role: Role,
    /// How often it must match in a row.
    pub runs: u32,
    /// The filter in EQL.
    pub text: String,
    /// The clauses, in the order written, index patterns and category first, join keys last. An event matches if it
    /// passes all of them.
    pub clauses: Vec<Clause>,
    /// Events that match.
    pub matched: u64,
    /// The clause that alone kept out most events; absent where none did.
    pub killer: Option<usize>,
    /// Events that came nearest to a match, in groups that failed the same clauses.
    pub near_misses: Vec<NearMiss>,
}

/// What a stage is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An event that must be there.
    Event,
    /// An event that must not be there: `![…]`.
    Missing,
    /// An event that ends partial sequences.
    Until,
}

/// A condition, and the conditions that it is made of.
#[derive(Clone, Debug, Serialize)]
pub struct Clause {
    /// Its number, unique within the explanation.
    pub id: usize,
    /// What it is.
    pub kind: ClauseKind,
    /// The condition as EQL, or in words for index patterns, category and join keys.
    pub text: String,
    /// The fields it reads.
    pub fields: Vec<String>,
    /// Those of them that no event has.
    pub absent_fields: Vec<String>,
    /// Events that pass it.
    pub passed: u64,
    /// Events that pass it and every clause before it; only for clauses of a stage.
    pub passed_so_far: Option<u64>,
    /// Events that pass every other clause of the stage, but not this one; only for clauses of a stage.
    pub failed_only_this: Option<u64>,
    /// What it is made of: operands of `and` and `or`, what is negated, the patterns of a list.
    pub children: Vec<Clause>,
}

/// The kinds of clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClauseKind {
    /// The rule's index patterns.
    Index,
    /// The event category.
    Category,
    /// One test.
    Test,
    /// `and` below an `or` or `not`.
    All,
    /// `or`.
    Any,
    /// `not`.
    Not,
    /// One of the patterns or values of a test.
    Pattern,
    /// A field of the join key, which must be there.
    Key,
}

/// Events that failed the same clauses of a stage.
#[derive(Clone, Debug, Serialize)]
pub struct NearMiss {
    /// How many events.
    pub events: u64,
    /// How many clauses of the stage they passed.
    pub passed: usize,
    /// How many clauses the stage has.
    pub of: usize,
    /// The first of them.
    pub event: EventInfo,
    /// The clauses that it failed, with what it had instead.
    pub failed: Vec<ClauseState>,
    /// The clauses that it passed.
    pub held: Vec<ClauseState>,
}

/// What a clause made of one event.
#[derive(Clone, Debug, Serialize)]
pub struct ClauseState {
    /// The clause's id.
    pub clause: usize,
    /// What it is.
    pub kind: ClauseKind,
    /// Its text.
    pub text: String,
    /// Whether the event passed it.
    pub held: bool,
    /// The values that the event has for the clause's fields; an empty list where it lacks the field.
    pub values: BTreeMap<String, Vec<Value>>,
    /// Which of several patterns or values matched.
    pub matched: Vec<String>,
    /// The operands that decided.
    pub because: Vec<ClauseState>,
}

/// An event, short.
#[derive(Clone, Debug, Serialize)]
pub struct EventInfo {
    /// Its time.
    pub time: Option<String>,
    /// The input it came from.
    pub origin: Option<String>,
    /// The index it belongs to.
    pub index: Vec<String>,
    /// Its id, where it has one.
    pub id: Option<String>,
    /// What happened, in one line.
    pub summary: String,
}

/// How far sequences came.
#[derive(Clone, Debug, Serialize)]
pub struct SequenceReport {
    /// The fields that join the events, by stage.
    pub keys: Vec<Vec<String>>,
    /// The most that the last event may be later than the first, in nanoseconds.
    pub maxspan_ns: Option<i64>,
    /// By step (a stage with runs is several): how many join keys reached it.
    pub keys_reached: Vec<u64>,
    /// What ended sequences that were not completed, with their number.
    pub ended: Vec<EndCount>,
    /// The longest of those that were not completed.
    pub longest: Vec<Partial>,
}

/// How many sequences ended in one way after a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndCount {
    /// Steps that were filled.
    pub steps: usize,
    /// How they ended.
    pub reason: &'static str,
    /// How many.
    pub sequences: u64,
}

/// A sequence that was not completed.
#[derive(Clone, Debug, Serialize)]
pub struct Partial {
    /// The join key, one value for each field.
    pub key: Vec<Value>,
    /// Steps that were filled.
    pub steps: usize,
    /// How many steps there are.
    pub of: usize,
    /// The events that fill them.
    pub events: Vec<EventInfo>,
    /// What ended it.
    pub end: End,
    /// The same in words.
    pub message: String,
}

/// What ended a sequence that was not completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum End {
    /// No event for the next step came with this key.
    NoNextEvent {
        /// The step that was waited for, 1 for the first.
        step: usize,
        /// Events that match the step, whatever their key.
        matching_elsewhere: u64,
        /// The key of the one nearest in time among those.
        other_key: Option<Vec<Value>>,
    },
    /// The event for the next step came before the one that it should follow, and none after.
    WrongOrder {
        /// The step.
        step: usize,
        /// How much earlier, in nanoseconds; 0 where only the tiebreaker or the order in the file decides.
        earlier_ns: i64,
        /// When.
        time: Option<String>,
    },
    /// The event for the next step came too late.
    MaxspanExceeded {
        /// The step.
        step: usize,
        /// By how much, in nanoseconds.
        by_ns: i64,
        /// When it came.
        time: Option<String>,
    },
    /// An `until` event came.
    Until {
        /// When.
        time: Option<String>,
    },
    /// An event that must be missing was there.
    ForbiddenEvent {
        /// The stage, 1 for the first.
        stage: usize,
        /// When.
        time: Option<String>,
    },
    /// `head` or `tail` left the whole sequence out.
    Pipe,
}

impl End {
    /// The name of the reason.
    pub fn reason(&self) -> &'static str {
        match self {
            End::NoNextEvent { .. } => "no_next_event",
            End::WrongOrder { .. } => "wrong_order",
            End::MaxspanExceeded { .. } => "maxspan_exceeded",
            End::Until { .. } => "until",
            End::ForbiddenEvent { .. } => "forbidden_event",
            End::Pipe => "pipe",
        }
    }
}

/// How far samples came.
#[derive(Clone, Debug, Serialize)]
pub struct SampleReport {
    /// The fields that join the events, by stage.
    pub keys: Vec<Vec<String>>,
    /// By number of filled items, from one: how many keys.
    pub keys_filled: Vec<u64>,
    /// The keys that filled most items and not all.
    pub nearest: Vec<SampleMiss>,
}

/// A key for which a sample is not complete.
#[derive(Clone, Debug, Serialize)]
pub struct SampleMiss {
    /// The join key.
    pub key: Vec<Value>,
    /// By stage: events with this key.
    pub events: Vec<u64>,
    /// Numbers of the stages without an event; empty where one event would have to fill several.
    pub missing: Vec<usize>,
    /// The first event of each stage that has one.
    pub first: Vec<EventInfo>,
}

/// An alert.
#[derive(Clone, Debug, Serialize)]
pub struct HitReport {
    /// The join key.
    pub key: Vec<Value>,
    /// The events, by step.
    pub events: Vec<HitEvent>,
}

/// An event of an alert.
#[derive(Clone, Debug, Serialize)]
pub struct HitEvent {
    /// The stage it fills, 1 for the first.
    pub stage: usize,
    /// The event; absent where it must be missing.
    pub event: Option<EventInfo>,
    /// The clauses of the stage, and what they found.
    pub held: Vec<ClauseState>,
}
