//! The syntax tree of an EQL query.
//!
//! Every node that a message may point at carries its [`Span`] in the query text. The tree keeps what was written
//! (`runs`, list order, raw strings); meaning is given to it by the engine and, independently, by the reference
//! interpreter in `testkit`.

/// What a query may contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// What Elasticsearch accepts.
    #[default]
    Elastic,
    /// Also what only the older Python implementation has: the pipes `filter`, `unique`, `unique_count`, `count` and
    /// `sort`, and the relations `child of`, `descendant of` and `event of`.
    Extended,
}

/// A range of bytes in the query text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A whole query: what to find, then the pipes.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What to find.
    pub body: Body,
    /// `| head N`, `| filter condition`, …, in the order written.
    pub pipes: Vec<Pipe>,
}

/// The three kinds of query.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// `category where condition`
    Event(EventFilter),
    /// `sequence …`
    Sequence(Sequence),
    /// `sample by …`
    Sample(Sample),
}

/// `category where condition`: a test of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventFilter {
    /// The value that the event category field must equal, case-sensitively; `None` for `any`, which adds no
    /// condition at all.
    pub category: Option<String>,
    /// The condition after `where`.
    pub condition: Expr,
    /// From the category to the end of the condition.
    pub span: Span,
}

/// `sequence [by …] [with maxspan=…] item… [until item]`
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// The most that the last event may be later than the first, inclusive, in nanoseconds.
    pub maxspan: Option<i64>,
    /// How many of each item's keys come from the global `by`.
    pub global_keys: usize,
    /// The items as written: at least two after `runs` are expanded.
    pub items: Vec<SequenceItem>,
    /// The item that ends partial sequences of its key; never negated, `runs` is 1.
    pub until: Option<SequenceItem>,
}

/// `[filter] [by …] [with runs=N]`, or `![filter] …` for an event that must be absent.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceItem {
    /// Which events fill this item.
    pub filter: EventFilter,
    /// Written with `!`.
    pub negated: bool,
    /// The whole join key: global keys first, then the item's own. The same number for every item.
    pub keys: Vec<JoinKey>,
    /// How often the item must be filled in a row, 1 to 100.
    pub runs: u32,
    /// The item with its brackets.
    pub span: Span,
}

/// `sample [by …] [filter] [by …] …`: one event for each item, in any order, that share their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// How many of each item's keys come from the global `by`.
    pub global_keys: usize,
    /// Two or more items.
    pub items: Vec<SampleItem>,
}

/// One item of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleItem {
    /// Which events fill this item.
    pub filter: EventFilter,
    /// The whole join key: global keys first, then the item's own. At least one.
    pub keys: Vec<JoinKey>,
    /// The item with its brackets.
    pub span: Span,
}

/// A field that events are joined by. [`Field::optional`] keys (`?name`) may be null, and null equals null.
pub type JoinKey = Field;

/// A field's name as written in the query.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The dotted path, without backticks or the leading `?`.
    pub name: String,
    /// Written with `?`.
    pub optional: bool,
    /// Where it stands.
    pub span: Span,
}

impl PipeKind {
    /// The expressions that the pipe evaluates for each result.
    pub fn expressions(&self) -> &[Expr] {
        match self {
            Self::Head(_) | Self::Tail(_) => &[],
            Self::Filter(condition) => std::slice::from_ref(condition),
            Self::Unique(keys) | Self::UniqueCount(keys) | Self::Count(keys) | Self::Sort(keys) => keys,
        }
    }

    /// The expressions, to be changed.
    pub fn expressions_mut(&mut self) -> &mut [Expr] {
        match self {
            Self::Head(_) | Self::Tail(_) => &mut [],
            Self::Filter(condition) => std::slice::from_mut(condition),
            Self::Unique(keys) | Self::UniqueCount(keys) | Self::Count(keys) | Self::Sort(keys) => keys,
        }
    }

    /// Whether results have counts after this pipe.
    pub fn counts(&self) -> bool {
        matches!(self, Self::UniqueCount(_) | Self::Count(_))
    }
}

/// A pipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipe {
    /// Which pipe, with its argument.
    pub kind: PipeKind,
    /// From the name to the end of the arguments.
    pub span: Span,
}

/// The pipes that event and sequence queries may have. All but the first two belong to [`Dialect::Extended`].
#[derive(Clone, Debug, PartialEq)]
pub enum PipeKind {
    /// The first N results.
    Head(u64),
    /// The last N results.
    Tail(u64),
    /// The results that pass a condition.
    Filter(Expr),
    /// The first result of each key.
    Unique(Vec<Expr>),
    /// The first result of each key, with how many there were.
    UniqueCount(Vec<Expr>),
    /// How many results each key has, in place of the results; of all, where there is no key.
    Count(Vec<Expr>),
    /// The results by their keys, ascending.
    Sort(Vec<Expr>),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A constant.
    Literal(Literal),
    /// A field's value.
    Field(Field),
    /// `events[0].name` in a pipe: a field of one of a sequence's events.
    EventField {
        /// Which event, counted from 0 with `runs` expanded.
        event: u32,
        /// The field.
        field: Field,
    },
    /// `not e`
    Not(Box<Expr>),
    /// `a and b and …`; two or more, nested `and`s flattened.
    And(Vec<Expr>),
    /// `a or b or …`; two or more, nested `or`s flattened.
    Or(Vec<Expr>),
    /// `left op right`
    Compare {
        /// The operator.
        op: CompareOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// `subject : "a*"`, `subject like~ ("a*", "b?")`, `subject regex "…"`: whole-value pattern tests.
    Match {
        /// The operator as written.
        op: MatchOp,
        /// What is tested.
        subject: Box<Expr>,
        /// One pattern or more; any may match.
        patterns: Vec<StringLiteral>,
    },
    /// `subject in (a, b)`, `subject not in~ (a, b)`
    In {
        /// What is tested.
        subject: Box<Expr>,
        /// `in~`: strings compare without case.
        fold: bool,
        /// `not in`
        negated: bool,
        /// The constants.
        list: Vec<Expr>,
    },
    /// `-e` (`+e` leaves no node)
    Negate(Box<Expr>),
    /// `left op right` on numbers
    Arithmetic {
        /// The operator.
        op: ArithmeticOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// `function(args)`, `function~(args)`
    Call {
        /// Which function.
        function: Function,
        /// Written with `~`: strings compare without case.
        fold: bool,
        /// The arguments.
        args: Vec<Expr>,
        /// Where the name stands.
        name: Span,
    },
    /// `child of [filter]`: whether the event's process stands in this relation to one that had an event like this.
    /// Only in [`Dialect::Extended`], only where `and`, `or` and `not` alone lead to it.
    Relation {
        /// Which relation.
        relation: Relation,
        /// The other process's event.
        filter: Box<EventFilter>,
    },
}

/// How a process relates to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `child of`: started by it.
    Child,
    /// `descendant of`: started by it, or by a descendant of it.
    Descendant,
    /// `event of`: the same.
    Event,
}

impl Relation {
    /// All relations.
    pub const ALL: [Self; 3] = [Self::Child, Self::Descendant, Self::Event];

    /// The word before `of`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Child => "child",
            Self::Descendant => "descendant",
            Self::Event => "event",
        }
    }
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean(bool),
    /// A whole number that fits i64.
    Int(i64),
    /// A whole number above `i64::MAX` that fits u64 (Elasticsearch's `unsigned_long`).
    UnsignedLong(u64),
    /// Any other number.
    Double(f64),
    /// A string.
    String(StringLiteral),
}

/// A string constant.
#[derive(Clone, Debug, PartialEq)]
pub struct StringLiteral {
    /// The text with escapes resolved.
    pub value: String,
    /// Written as `"""…"""`.
    pub raw: bool,
    /// Where it stands, quotes included.
    pub span: Span,
}

/// Comparison operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`, exactly `not (a == b)`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// Pattern operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `:`; means the same as `like~`
    Colon,
    /// `like`: `*` any text, `?` one character
    Like,
    /// `like~`
    LikeFold,
    /// `regex`: Lucene's dialect, the whole value
    Regex,
    /// `regex~`
    RegexFold,
}

impl MatchOp {
    /// Whether case is ignored.
    pub fn fold(self) -> bool {
        matches!(self, Self::Colon | Self::LikeFold | Self::RegexFold)
    }

    /// Whether the patterns are regular expressions rather than wildcards.
    pub fn is_regex(self) -> bool {
        matches!(self, Self::Regex | Self::RegexFold)
    }
}

/// Arithmetic operators, with Java's widening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; whole numbers truncate toward zero
    Divide,
    /// `%`; takes the dividend's sign
    Modulo,
}

/// EQL's functions. Names are matched without case; [`Function::name`] gives the documented spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is documented under its own name in the EQL reference")]
pub enum Function {
    Add,
    Between,
    CidrMatch,
    Concat,
    Divide,
    EndsWith,
    IndexOf,
    Length,
    Modulo,
    Multiply,
    Number,
    StartsWith,
    String,
    StringContains,
    Substring,
    Subtract,
    Wildcard,
}
