//! What is printed parses back to the same tree, for any tree.

use eqlipse_eql::ast::*;
use eqlipse_eql::{parse, parse_expression};
use proptest::prelude::*;

const NOWHERE: Span = Span { start: 0, end: 0 };

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,4}",
        Just("*\\x?".to_string()),
        any::<String>(),
        proptest::collection::vec(prop_oneof![Just('"'), Just('\\'), Just('\n'), Just('\u{202e}'), Just('a')], 0..6)
            .prop_map(|characters| characters.into_iter().collect()),
    ]
}

fn string() -> impl Strategy<Value = StringLiteral> {
    (text(), any::<bool>()).prop_map(|(value, raw)| {
        // What no raw string can hold is never raw.
        let raw = raw && !value.contains(['\r', '\n']) && !value.contains("\"\"\"");
        StringLiteral { value, raw, span: NOWHERE }
    })
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_@][a-z0-9_]{0,3}",
        Just("sequence".into()),
        Just("runs".into()),
        Just("a b-c".into()),
        Just("`".into()),
        Just("5".into()),
        Just("é".into()),
        Just("".into()),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    (proptest::collection::vec(segment(), 1..4), any::<bool>())
        .prop_map(|(segments, optional)| Field { name: segments.join("."), optional, span: NOWHERE })
        .prop_filter("a name is not empty", |field| !field.name.is_empty())
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Boolean),
        (0..=i64::MAX).prop_map(Literal::Int),
        (1 << 63..=u64::MAX).prop_map(Literal::UnsignedLong),
        any::<f64>().prop_filter("a literal", |value| value.is_finite()).prop_map(|value| Literal::Double(value.abs())),
        string().prop_map(Literal::String),
    ]
}

fn expr(kind: ExprKind) -> Expr {
    Expr { kind, span: NOWHERE }
}

fn constant() -> impl Strategy<Value = Expr> {
    (literal(), any::<bool>()).prop_map(|(literal, negate)| {
        let number = matches!(literal, Literal::Int(_) | Literal::UnsignedLong(_) | Literal::Double(_));
        let literal = expr(ExprKind::Literal(literal));
        if negate && number { expr(ExprKind::Negate(Box::new(literal))) } else { literal }
    })
}

fn compare_op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::*;
    proptest::sample::select(vec![Eq, Ne, Lt, Le, Gt, Ge])
}

fn match_op() -> impl Strategy<Value = MatchOp> {
    use MatchOp::*;
    proptest::sample::select(vec![Colon, Like, LikeFold, Regex, RegexFold])
}

fn arithmetic_op() -> impl Strategy<Value = ArithmeticOp> {
    use ArithmeticOp::*;
    proptest::sample::select(vec![Add, Subtract, Multiply, Divide, Modulo])
}

/// A call with as many arguments as the function takes; those that must be constant are.
fn call(args: impl Strategy<Value = Expr> + Clone) -> impl Strategy<Value = Expr> {
    let functions: Vec<_> = Function::all().collect();
    let args = proptest::collection::vec(args, 4);
    (proptest::sample::select(functions), any::<bool>(), args, proptest::collection::vec(constant(), 4), 0..4_usize)
        .prop_map(|(function, fold, args, constants, extra)| {
            let signature = function.signature();
            let most = signature.max_args().unwrap_or(signature.min_args() + 2).min(4);
            let count = (signature.min_args() + extra).min(most);
            let pick = |(index, (arg, constant))| match signature.param(index) {
                Some(param) if param.constant => constant,
                _ => arg,
            };
            let args = args.into_iter().zip(constants).enumerate().take(count).map(pick).collect();
            expr(ExprKind::Call { function, fold: fold && signature.fold, args, name: NOWHERE })
        })
}

/// Rows of one operator are flat in every tree that the parser makes.
fn row(operands: Vec<Expr>, and: bool) -> Expr {
    let flat = operands.into_iter().flat_map(|operand| match (operand.kind, and) {
        (ExprKind::And(inner), true) | (ExprKind::Or(inner), false) => inner,
        (kind, _) => vec![expr(kind)],
    });
    let flat = flat.collect();
    expr(if and { ExprKind::And(flat) } else { ExprKind::Or(flat) })
}

fn expression() -> impl Strategy<Value = Expr> {
    let leaf =
        prop_oneof![literal().prop_map(|l| expr(ExprKind::Literal(l))), field().prop_map(|f| expr(ExprKind::Field(f)))];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(|inner| expr(ExprKind::Not(inner))),
            boxed.clone().prop_map(|inner| expr(ExprKind::Negate(inner))),
            (proptest::collection::vec(inner.clone(), 2..5), any::<bool>()).prop_map(|(row_of, and)| row(row_of, and)),
            (compare_op(), boxed.clone(), constant(), any::<bool>()).prop_map(|(op, subject, value, swap)| {
                let value = Box::new(value);
                let (left, right) = if swap { (value, subject) } else { (subject, value) };
                expr(ExprKind::Compare { op, left, right })
            }),
            (match_op(), boxed.clone(), proptest::collection::vec(string(), 1..4))
                .prop_map(|(op, subject, patterns)| expr(ExprKind::Match { op, subject, patterns })),
            (boxed.clone(), any::<bool>(), any::<bool>(), proptest::collection::vec(constant(), 1..4))
                .prop_map(|(subject, fold, negated, list)| expr(ExprKind::In { subject, fold, negated, list })),
            (arithmetic_op(), boxed.clone(), boxed).prop_map(|(op, left, right)| expr(ExprKind::Arithmetic {
                op,
                left,
                right
            })),
            call(inner),
        ]
    })
}

fn filter() -> impl Strategy<Value = EventFilter> {
    let category = proptest::option::of(prop_oneof![text(), Just("any".into()), Just("process".into())]);
    (category, expression()).prop_map(|(category, condition)| EventFilter { category, condition, span: NOWHERE })
}

fn pipes() -> impl Strategy<Value = Vec<Pipe>> {
    let kind = prop_oneof![(0..1000_u64).prop_map(PipeKind::Head), (0..1000_u64).prop_map(PipeKind::Tail)];
    proptest::collection::vec(kind.prop_map(|kind| Pipe { kind, span: NOWHERE }), 0..3)
}

/// The keys of each of `count` items: the global ones, then the item's own.
fn keys(count: usize) -> impl Strategy<Value = (usize, Vec<Vec<JoinKey>>)> {
    (0..3_usize, 0..3_usize).prop_flat_map(move |(global, own)| {
        let global_keys = proptest::collection::vec(field(), global);
        let own_keys = proptest::collection::vec(proptest::collection::vec(field(), own), count);
        (global_keys, own_keys).prop_map(|(global, own)| {
            let whole = |own| global.iter().cloned().chain(own).collect();
            (global.len(), own.into_iter().map(whole).collect())
        })
    })
}

fn sequence() -> impl Strategy<Value = Sequence> {
    let item = (filter(), any::<bool>(), prop_oneof![Just(1_u32), 1..=100_u32]);
    let units = proptest::sample::select(vec![1_000_000_i64, 1_000_000_000, 60_000_000_000, 86_400_000_000_000]);
    let maxspan = (1..10_000_i64, units).prop_map(|(count, unit)| count * unit);
    let parts =
        (proptest::collection::vec(item, 2..5), proptest::option::of(maxspan), keys(5), any::<bool>(), filter());
    parts.prop_map(|(items, maxspan, (global_keys, keys), until, until_filter)| {
        let mut items: Vec<_> = items
            .into_iter()
            .zip(&keys)
            .map(|((filter, negated, runs), keys)| {
                let negated = negated && maxspan.is_some();
                SequenceItem { filter, negated, keys: keys.clone(), runs, span: NOWHERE }
            })
            .collect();
        items[0].negated = false;
        let until = until.then(|| SequenceItem {
            filter: until_filter,
            negated: false,
            keys: keys[4].clone(),
            runs: 1,
            span: NOWHERE,
        });
        Sequence { maxspan, global_keys, items, until }
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let parts = (proptest::collection::vec(filter(), 2..=5), keys(5));
    let sample = parts.prop_map(|(filters, (global_keys, keys))| {
        let item = |(filter, keys)| SampleItem { filter, keys, span: NOWHERE };
        Sample { global_keys, items: filters.into_iter().zip(keys).map(item).collect() }
    });
    sample.prop_filter("a sample has keys", |sample| !sample.items[0].keys.is_empty())
}

fn query() -> impl Strategy<Value = Query> {
    prop_oneof![
        (filter(), pipes()).prop_map(|(filter, pipes)| Query { body: Body::Event(filter), pipes }),
        (sequence(), pipes()).prop_map(|(sequence, pipes)| Query { body: Body::Sequence(sequence), pipes }),
        sample().prop_map(|sample| Query { body: Body::Sample(sample), pipes: Vec::new() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_expressions_parse_back(tree in expression()) {
        let printed = tree.to_string();
        let parsed = parse_expression(&printed).unwrap_or_else(|errors| panic!("{printed}\n{errors:#?}"));
        prop_assert_eq!(parsed.without_spans(), tree, "{}", printed);
    }

    #[test]
    fn printed_queries_parse_back(tree in query()) {
        for printed in [format!("{tree}"), format!("{tree:#}")] {
            let parsed = parse(&printed).unwrap_or_else(|errors| panic!("{printed}\n{errors:#?}"));
            prop_assert_eq!(&parsed.without_spans(), &tree, "{}", printed);
            prop_assert!(parsed.eq_ignoring_spans(&tree));
        }
    }
}

#[test]
fn canonical_form() {
    for (source, printed) in [
        ("any where  a==1and(b==2 and c==3)", "any where a == 1 and b == 2 and c == 3"),
        ("any where (a == 1 or b == 2) and not (c == 3)", "any where (a == 1 or b == 2) and not c == 3"),
        ("any where not (a == 1 and b == 2)", "any where not (a == 1 and b == 2)"),
        ("any where (a + 1) * 2 == - (3 - 4) % 5", "any where (a + 1) * 2 == -(3 - 4) % 5"),
        ("any where a - (b - c) - d == 0", "any where a - (b - c) - d == 0"),
        ("any where a + b in (3) == true", "any where a + (b in (3)) == true"),
        ("any where (a + b) not in~ (-3, +4.0)", "any where (a + b) not in~ (-3, 4.0)"),
        ("\"any\" where LENGTH(`b c`.d) > .5", "\"any\" where length(`b c`.d) > 0.5"),
        (
            "any where a:(\"x\") and ?b like~ (\"y\", \"\"\"z\\\"\"\"\")",
            "any where a : \"x\" and ?b like~ (\"y\", \"\"\"z\\\"\"\"\")",
        ),
        ("any where true|head 2*5|tail 3", "any where true | head 10 | tail 3"),
        (
            "sequence by a with maxspan=120 s [any where true] by b with runs=2 [any where true] by c until [any where d] by e",
            "sequence by a with maxspan=2m [any where true] by b with runs=2 [any where true] by c until [any where d] by e",
        ),
    ] {
        let query = parse(source).unwrap_or_else(|errors| panic!("{source}: {errors:#?}"));
        assert_eq!(query.to_string(), printed);
    }
    let query =
        parse("sequence with maxspan=90s [any where a] ![any where b] [any where c] until [any where d] | head 1");
    let pretty =
        "sequence with maxspan=90s\n  [any where a]\n ![any where b]\n  [any where c]\nuntil [any where d]\n| head 1";
    assert_eq!(format!("{:#}", query.expect("parses")), pretty);
}
