//! The extended dialect: pipes and relations that Elasticsearch refuses.

use eqlipse_eql::ast::{Body, ExprKind, PipeKind, Query};
use eqlipse_eql::{Catalogue, Dialect, check, format_with, limits, parse, parse_with, visit};

fn extended(source: &str) -> Query {
    parse_with(source, Dialect::Extended).unwrap_or_else(|errors| panic!("{source}: {errors:#?}"))
}

fn code(source: &str) -> &'static str {
    parse_with(source, Dialect::Extended).expect_err(source)[0].code
}

#[test]
fn pipes_parse_and_print() {
    for (source, printed) in [
        ("any where true | filter process.pid > 4", "any where true | filter process.pid > 4"),
        ("any where true | sort a -b, c d", "any where true | sort a - b, c, d"),
        ("any where true | sort a, -b", "any where true | sort a, -b"),
        ("any where true | count", "any where true | count"),
        ("any where true | count length(a) b | head 1", "any where true | count length(a), b | head 1"),
        ("any where true | unique a == \"x\"", "any where true | unique a == \"x\""),
        (
            "sequence [any where true] with runs=2 [any where true] | filter events[2].a == events[0].a",
            "sequence [any where true] with runs=2 [any where true] | filter events[2].a == events[0].a",
        ),
    ] {
        let query = extended(source);
        assert_eq!(query.to_string(), printed);
        assert!(extended(printed).eq_ignoring_spans(&query), "{source}");
    }
}

#[test]
fn elastic_refuses_them_by_name() {
    for pipe in ["filter a == 1", "unique a", "unique_count a", "count", "sort a"] {
        let source = format!("any where true | {pipe}");
        let errors = parse(&source).expect_err(&source);
        assert_eq!(errors[0].code, "unsupported-pipe", "{source}");
        extended(&source);
    }
    let source = "sequence [any where true] [any where true] | head events[0].a";
    assert_eq!(parse(source).expect_err(source)[0].code, "array-index");
}

#[test]
fn faults_have_messages() {
    let two = "sequence [any where true] [any where true]";
    assert_eq!(code("any where true | filter"), "pipe-argument");
    assert_eq!(code("any where true | sort"), "pipe-argument");
    assert_eq!(code("any where true | unique | head 1"), "pipe-argument");
    assert_eq!(code("any where true | sort a,"), "unexpected-token");
    assert_eq!(code("any where true | filter a == 1, b == 2"), "unexpected-token");
    assert_eq!(code("any where true | fliter a == 1"), "unknown-pipe");
    assert_eq!(code("any where true | filter events[0].a == 1"), "array-index");
    assert_eq!(code(&format!("{two} | filter events[2].a == 1")), "event-index");
    assert_eq!(code(&format!("{two} | filter events[99999999999].a == 1")), "event-index");
    assert_eq!(code("sample by a [any where true] [any where true] | count"), "sample-pipe");
    let many = format!("any where true | sort {}", "a ".repeat(limits::MAX_PIPE_EXPRESSIONS + 1));
    assert_eq!(code(&many), "too-many-expressions");
    // What a condition may compare stays Elastic's.
    assert_eq!(code("any where a == b"), "field-comparison");
}

#[test]
fn counts_are_fields_only_after_counting() {
    let names = |source: &str| {
        let query = extended(source);
        visit::fields(&query).into_iter().map(|field| field.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("any where true | filter count == 1"), ["count"]);
    assert_eq!(names("any where true | unique_count a | filter count == 1 and key == 2"), ["a", "key"]);
    assert_eq!(names("any where true | count a | filter key == 2 | sort percent"), ["a"]);
    let query = extended("any where true | count process.name | filter key : \"a\" and count > 3");
    assert!(check(&query, &Catalogue).is_empty());
    let query = extended("any where true | filter process.name");
    assert!(check(&query, &Catalogue)[0].is_error());
}

#[test]
fn events_are_counted_with_their_runs() {
    let query = extended(
        "sequence with maxspan=1m [any where true] with runs=3 ![any where true] [any where true] | sort events[4].x",
    );
    assert!(matches!(query.body, Body::Sequence(_)));
    let PipeKind::Sort(keys) = &query.pipes[0].kind else { panic!("{:?}", query.pipes) };
    assert!(matches!(keys[0].kind, ExprKind::EventField { event: 4, .. }));
}

#[test]
fn relations_parse_and_print() {
    for source in [
        "any where child of [process where true]",
        "process where a == 1 and not descendant of [any where event of [\"x y\" where b : \"c*\"]]",
        "sequence by a [any where event of [any where true]] [any where true or child of [file where c]] | head 1",
    ] {
        let query = extended(source);
        assert_eq!(query.to_string(), source);
        let formatted = format_with(source, Dialect::Extended).expect(source);
        assert!(extended(&formatted).eq_ignoring_spans(&query), "{formatted}");
        assert_eq!(parse(source).expect_err(source)[0].code, "unsupported-relationship");
    }
    let query = extended("any where a and child of [any where b or event of [any where c]]");
    let named: Vec<&str> = visit::fields(&query).iter().map(|field| &*field.name).collect();
    assert_eq!(named, ["a", "b", "c"]);
}

#[test]
fn faults_of_relations_have_messages() {
    assert_eq!(code("any where parent of [any where true]"), "unsupported-relationship");
    assert_eq!(code("any where true | filter child of [any where true]"), "unsupported-relationship");
    assert_eq!(code("any where child of any where true"), "unexpected-token");
    assert_eq!(code("any where child of [any where true"), "unexpected-token");
    assert_eq!(code("any where child of [sequence [any where true] [any where true]]"), "unexpected-token");
    let deep = format!("any where {}true{}", "child of [any where ".repeat(300), "]".repeat(300));
    assert_eq!(code(&deep), "nested-too-deep");
    for (source, expected) in [
        ("any where child of [any where true] == true", Some("relation-operand")),
        ("any where length(string(child of [any where true])) > 0", Some("relation-operand")),
        ("any where not (a == 1 or child of [any where child of [any where 7]])", Some("not-boolean")),
        ("any where not (a == 1 or child of [any where true])", None),
    ] {
        let diagnostics = check(&extended(source), &Catalogue);
        let found: Vec<&str> = diagnostics.iter().filter(|found| found.is_error()).map(|found| found.code).collect();
        assert_eq!(found.first().copied(), expected, "{source}: {diagnostics:?}");
    }
}
