//! Conditions and the expressions in them.

use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{ArithmeticOp, CompareOp, Expr, Function, Literal, MatchOp, Relation};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::build::*;
use super::{FIELDS, pools};

const COMPARISONS: &[CompareOp] =
    &[CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];

/// A condition: `and`, `or` and `not` over leaves of every kind.
pub fn condition() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(all_of),
            vec(inner.clone(), 2..4).prop_map(any_of),
            inner.prop_map(not),
        ]
    })
}

/// What may stand after `where`: a condition, now and then with relations between processes in it.
pub fn filter_condition() -> BoxedStrategy<Expr> {
    let either = |(related, other, negated, both): (Expr, Expr, bool, bool)| {
        let related = if negated { not(related) } else { related };
        if both { all_of(vec![related, other]) } else { any_of(vec![related, other]) }
    };
    let one = || related(condition().boxed());
    prop_oneof![
        12 => condition(),
        1 => one(),
        1 => (one(), condition(), any::<bool>(), any::<bool>()).prop_map(either),
        1 => (one(), one(), any::<bool>(), any::<bool>()).prop_map(either),
        1 => related(one()),
    ]
    .boxed()
}

/// `child of [any where …]` and its like.
pub(super) fn related(condition: BoxedStrategy<Expr>) -> BoxedStrategy<Expr> {
    let category = prop::option::weighted(0.2, select(pools::CATEGORIES));
    (select(&Relation::ALL[..]), category, condition)
        .prop_map(|(relation, category, condition)| relation_of(relation, filter(category, condition)))
        .boxed()
}

/// A condition without `and`, `or`, `not` at the top.
pub(super) fn leaf() -> BoxedStrategy<Expr> {
    prop_oneof![
        6 => field_comparison(),
        2 => null_check(),
        4 => pattern(),
        3 => membership(),
        4 => computed(),
        3 => boolean(),
        1 => comparison_as_value(),
        1 => select(&[true, false][..]).prop_map(bool_literal),
    ]
    .boxed()
}

fn field_of(types: &'static [FieldType]) -> BoxedStrategy<Expr> {
    let names: Vec<&'static str> = FIELDS.iter().filter(|(_, ty)| types.contains(ty)).map(|(name, _)| *name).collect();
    (select(names), prop::bool::weighted(0.2))
        .prop_map(|(name, optional)| if optional { optional_field(name) } else { field(name) })
        .boxed()
}

fn comparison_op() -> impl Strategy<Value = CompareOp> {
    prop_oneof![3 => Just(CompareOp::Eq), 2 => select(COMPARISONS)]
}

/// `left op right`, either way round.
fn compare_either(left: BoxedStrategy<Expr>, right: BoxedStrategy<Expr>) -> BoxedStrategy<Expr> {
    (comparison_op(), left, right, any::<bool>())
        .prop_map(|(op, left, right, swap)| if swap { compare(op, right, left) } else { compare(op, left, right) })
        .boxed()
}

fn text_constant() -> BoxedStrategy<Expr> {
    prop_oneof![8 => select(pools::TEXTS).prop_map(string), 1 => "[a-zA-Z.*?é]{0,3}".prop_map(|text| string(&text))]
        .boxed()
}

fn int_constant() -> BoxedStrategy<Expr> {
    prop_oneof![
        8 => select(pools::INTS).prop_map(int),
        4 => (0i64..4).prop_map(int),
        1 => Just(literal(Literal::UnsignedLong(u64::MAX))),
    ]
    .boxed()
}

fn number_constant() -> BoxedStrategy<Expr> {
    prop_oneof![2 => int_constant(), 1 => select(pools::DOUBLES).prop_map(double)].boxed()
}

fn date_constant() -> BoxedStrategy<Expr> {
    prop_oneof![select(pools::DATES).prop_map(string), int_constant()].boxed()
}

fn address_constant() -> BoxedStrategy<Expr> {
    select(pools::ADDRESSES).prop_map(string).boxed()
}

fn any_constant() -> BoxedStrategy<Expr> {
    prop_oneof![
        text_constant(),
        number_constant(),
        select(&[true, false][..]).prop_map(bool_literal),
        date_constant(),
        select(pools::BLOCKS).prop_map(string),
    ]
    .boxed()
}

fn field_comparison() -> BoxedStrategy<Expr> {
    let block = select(pools::BLOCKS).prop_map(string);
    let block = (select(&[CompareOp::Eq, CompareOp::Ne][..]), field_of(&[FieldType::Ip]), block);
    prop_oneof![
        4 => compare_either(field_of(&[FieldType::Keyword]), text_constant()),
        3 => compare_either(field_of(&[FieldType::Long, FieldType::Double]), number_constant()),
        1 => compare_either(field_of(&[FieldType::Date]), date_constant()),
        1 => compare_either(field_of(&[FieldType::Ip]), address_constant()),
        1 => block.prop_map(|(op, field, block)| compare(op, field, block)),
        1 => compare_either(field_of(&[FieldType::Boolean]), any::<bool>().prop_map(bool_literal).boxed()),
        3 => compare_either(field_of(&[FieldType::Dynamic]), any_constant()),
        // Kinds that do not go together.
        1 => compare_either(field_of(&[FieldType::Keyword]), number_constant()),
        1 => compare_either(field_of(&[FieldType::Long, FieldType::Double]), text_constant()),
    ]
    .boxed()
}

fn any_field() -> BoxedStrategy<Expr> {
    field_of(&[
        FieldType::Keyword,
        FieldType::Long,
        FieldType::Double,
        FieldType::Boolean,
        FieldType::Date,
        FieldType::Ip,
        FieldType::Dynamic,
    ])
}

fn null_check() -> BoxedStrategy<Expr> {
    let subject = prop_oneof![3 => any_field(), 1 => text(2), 1 => number(2)];
    (select(&[CompareOp::Eq, CompareOp::Ne][..]), subject, any::<bool>())
        .prop_map(|(op, subject, swap)| if swap { compare(op, null(), subject) } else { compare(op, subject, null()) })
        .boxed()
}

fn text_field() -> BoxedStrategy<Expr> {
    field_of(&[FieldType::Keyword, FieldType::Dynamic])
}

fn pattern() -> BoxedStrategy<Expr> {
    let subject = || prop_oneof![3 => text_field(), 1 => text(2)];
    let wildcard = prop_oneof![select(pools::WILDCARDS), select(pools::TEXTS)];
    let wildcards = select(&[MatchOp::Colon, MatchOp::Like, MatchOp::LikeFold][..]);
    let regexes = select(&[MatchOp::Regex, MatchOp::RegexFold][..]);
    prop_oneof![
        3 => (wildcards, subject(), vec(wildcard, 1..4)),
        1 => (regexes, subject(), vec(select(pools::REGEXES), 1..3)),
    ]
    .prop_map(|(op, subject, patterns)| matches(op, subject, &patterns))
    .boxed()
}

fn membership() -> BoxedStrategy<Expr> {
    let in_list = |subject: BoxedStrategy<Expr>, element: BoxedStrategy<Expr>, fold: BoxedStrategy<bool>| {
        (subject, fold, any::<bool>(), vec(element, 1..4))
            .prop_map(|(subject, fold, negated, list)| is_in(subject, fold, negated, list))
    };
    let plain = || Just(false).boxed();
    prop_oneof![
        2 => in_list(prop_oneof![text_field(), text(2)].boxed(), text_constant(), any::<bool>().boxed()),
        1 => in_list(
            prop_oneof![field_of(&[FieldType::Long, FieldType::Double]), number(2)].boxed(),
            number_constant(),
            plain(),
        ),
        1 => in_list(field_of(&[FieldType::Ip]), address_constant(), plain()),
        1 => in_list(field_of(&[FieldType::Dynamic]), number_constant(), plain()),
    ]
    .boxed()
}

fn computed() -> BoxedStrategy<Expr> {
    prop_oneof![compare_either(text(2), text_constant()), compare_either(number(2), number_constant())].boxed()
}

/// `(leaf) == null`, `string(leaf) == "true"`: where null is more than false.
fn comparison_as_value() -> BoxedStrategy<Expr> {
    let inner = prop_oneof![
        field_comparison(),
        pattern(),
        computed(),
        boolean(),
        vec(prop_oneof![field_comparison(), boolean()], 2..3).prop_map(all_of),
        vec(prop_oneof![field_comparison(), boolean()], 2..3).prop_map(any_of),
        field_comparison().prop_map(not),
    ];
    let against = select(vec![null(), bool_literal(true), bool_literal(false)]);
    (inner, select(&[CompareOp::Eq, CompareOp::Ne][..]), against, any::<bool>())
        .prop_map(|(inner, op, against, as_text)| match as_text {
            true => compare(op, call(Function::String, false, vec![inner]), string("true")),
            false => compare(op, inner, against),
        })
        .boxed()
}

/// A bare boolean: a field, or a call of a function that gives one.
pub fn boolean() -> BoxedStrategy<Expr> {
    let tests = select(&[Function::StartsWith, Function::EndsWith, Function::StringContains][..]);
    let block = select(pools::BLOCKS).prop_map(string);
    let pattern = select(pools::WILDCARDS).prop_map(string);
    prop_oneof![
        1 => field_of(&[FieldType::Boolean]),
        3 => (tests, any::<bool>(), text(1), prop_oneof![3 => text_constant(), 1 => text(1)])
            .prop_map(|(test, fold, s, t)| call(test, fold, vec![s, t])),
        1 => (field_of(&[FieldType::Ip]), vec(block, 1..3)).prop_map(|(ip, blocks)| {
            call(Function::CidrMatch, false, std::iter::once(ip).chain(blocks).collect())
        }),
        1 => (any::<bool>(), text(1), vec(pattern, 1..3)).prop_map(|(fold, s, patterns)| {
            call(Function::Wildcard, fold, std::iter::once(s).chain(patterns).collect())
        }),
    ]
    .boxed()
}

/// A text expression that names a field: a field, or a call.
pub fn text(depth: u32) -> BoxedStrategy<Expr> {
    if depth == 0 {
        return text_field();
    }
    let position = || prop_oneof![4 => (-4i64..8).prop_map(int), 1 => Just(null()), 1 => number(0)];
    let inner = || text(depth - 1);
    let part =
        || prop_oneof![4 => select(&["", "a", "c", ".", "e", "É", "😀", "exe"][..]).prop_map(string), 1 => inner()];
    let anything = || prop_oneof![any_field(), inner(), text_constant(), number_constant()];
    prop_oneof![
        2 => text_field(),
        1 => (inner(), vec(anything(), 0..3)).prop_map(|(first, rest)| {
            call(Function::Concat, false, std::iter::once(first).chain(rest).collect())
        }),
        1 => any_field().prop_map(|value| call(Function::String, false, vec![value])),
        2 => (any::<bool>(), inner(), part(), part(), prop::option::of(any::<bool>())).prop_map(
            |(fold, s, left, right, greedy)| {
                let args = [s, left, right].into_iter().chain(greedy.map(bool_literal));
                call(Function::Between, fold, args.collect())
            }
        ),
        2 => (inner(), position(), prop::option::of(position())).prop_map(|(s, start, end)| {
            call(Function::Substring, false, [s, start].into_iter().chain(end).collect())
        }),
    ]
    .boxed()
}

/// A number expression that names a field: a field, arithmetic, or a call.
pub fn number(depth: u32) -> BoxedStrategy<Expr> {
    // A double where a whole number is asked for is a type error, so plain numbers are whole.
    let plain = field_of(&[FieldType::Long]);
    if depth == 0 {
        return plain;
    }
    let inner = || number(depth - 1);
    let operand = || prop_oneof![2 => inner(), 2 => number_constant(), 1 => field_of(&[FieldType::Double])];
    let operators = select(
        &[
            ArithmeticOp::Add,
            ArithmeticOp::Subtract,
            ArithmeticOp::Multiply,
            ArithmeticOp::Divide,
            ArithmeticOp::Modulo,
        ][..],
    );
    let functions =
        select(&[Function::Add, Function::Subtract, Function::Multiply, Function::Divide, Function::Modulo][..]);
    let base = prop_oneof![2 => Just(None), 1 => Just(Some(null())), 2 => select(&[10i64, 16, 8, 36][..]).prop_map(|b| Some(int(b)))];
    prop_oneof![
        2 => plain,
        2 => text(1).prop_map(|s| call(Function::Length, false, vec![s])),
        1 => (any::<bool>(), text(1), prop_oneof![text_constant(), text(1)], prop::option::of((-2i64..6).prop_map(int)))
            .prop_map(|(fold, s, t, start)| call(Function::IndexOf, fold, [s, t].into_iter().chain(start).collect())),
        1 => (text(1), base).prop_map(|(s, base)| call(Function::Number, false, std::iter::once(s).chain(base).collect())),
        2 => (operators, inner(), operand(), any::<bool>()).prop_map(|(op, a, b, swap)| {
            if swap { arithmetic(op, b, a) } else { arithmetic(op, a, b) }
        }),
        1 => (functions, inner(), operand()).prop_map(|(function, a, b)| call(function, false, vec![a, b])),
        1 => inner().prop_map(negate),
    ]
    .boxed()
}
