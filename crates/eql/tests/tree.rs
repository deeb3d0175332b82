//! What trees texts become.

use eqlipse_eql::ast::*;
use eqlipse_eql::check::FieldType;
use eqlipse_eql::{Catalogue, FieldTypes, check, parse, parse_expression, visit};

fn condition(source: &str) -> ExprKind {
    parse_expression(source).unwrap_or_else(|errors| panic!("{source}: {errors:#?}")).kind
}

fn sequence(source: &str) -> Sequence {
    match parse(source).unwrap_or_else(|errors| panic!("{source}: {errors:#?}")).body {
        Body::Sequence(sequence) => sequence,
        body => panic!("{body:?}"),
    }
}

/// The text with every operation in brackets.
fn grouped(expr: &Expr) -> String {
    let many = |operands: &[Expr], word| operands.iter().map(grouped).collect::<Vec<_>>().join(word);
    match &expr.kind {
        ExprKind::Not(inner) => format!("<not {}>", grouped(inner)),
        ExprKind::Negate(inner) => format!("<-{}>", grouped(inner)),
        ExprKind::And(operands) => format!("<{}>", many(operands, " and ")),
        ExprKind::Or(operands) => format!("<{}>", many(operands, " or ")),
        ExprKind::Compare { op, left, right } => format!("<{} {op} {}>", grouped(left), grouped(right)),
        ExprKind::Arithmetic { op, left, right } => format!("<{} {op} {}>", grouped(left), grouped(right)),
        ExprKind::Match { op, subject, .. } => format!("<{} {op}>", grouped(subject)),
        ExprKind::In { subject, negated, .. } => {
            format!("<{}{} in>", grouped(subject), if *negated { " not" } else { "" })
        }
        _ => expr.to_string(),
    }
}

#[test]
fn precedence() {
    for (source, tree) in [
        ("a or b and c", "<a or <b and c>>"),
        ("a and b and (c and d) or e", "<<a and b and c and d> or e>"),
        ("not a and b", "<<not a> and b>"),
        ("not a == 1", "<not <a == 1>>"),
        ("not not a : \"x\"", "<not <not <a :>>>"),
        ("a + 1 * 2 - 3 == 4", "<<<a + <1 * 2>> - 3> == 4>"),
        ("a % 2 * 3 / 4 > -5", "<<<<a % 2> * 3> / 4> > <-5>>"),
        ("1 - 2 - a == 3", "<<<1 - 2> - a> == 3>"),
        ("-a * 2 == +1", "<<<-a> * 2> == 1>"),
        ("- - a == 1", "<<-<-a>> == 1>"),
        ("a + b in (3)", "<a + <b in>>"),
        ("-a in (3)", "<-<a in>>"),
        ("a not in (3) == true", "<<a not in> == true>"),
        ("a == 1 or not b == 2 and c", "<<a == 1> or <<not <b == 2>> and c>>"),
        ("(a or b) and c", "<<a or b> and c>"),
    ] {
        let expr = parse_expression(source).unwrap_or_else(|errors| panic!("{source}: {errors:#?}"));
        assert_eq!(grouped(&expr), tree, "{source}");
    }
}

#[test]
fn literals() {
    let literal = |source: &str| match condition(source) {
        ExprKind::Literal(literal) => literal,
        kind => panic!("{kind:?}"),
    };
    assert_eq!(literal("9223372036854775807"), Literal::Int(i64::MAX));
    assert_eq!(literal("9223372036854775808"), Literal::UnsignedLong(1 << 63));
    assert_eq!(literal("18446744073709551616"), Literal::Double(18446744073709551616.0));
    assert_eq!(literal("5."), Literal::Double(5.0));
    let string = |source: &str| match literal(source) {
        Literal::String(string) => (string.value, string.raw),
        literal => panic!("{literal:?}"),
    };
    assert_eq!(string(r#""a\"\\\u{e9}""#), ("a\"\\é".into(), false));
    assert_eq!(string(r#""it\'s""#), ("it's".into(), false));
    assert_eq!(string("\"\"\"C:\\a\"\"\"\"\""), ("C:\\a\"\"".into(), true));
    let ExprKind::Negate(inner) = condition("-9223372036854775808") else { panic!() };
    assert_eq!(inner.kind, ExprKind::Literal(Literal::UnsignedLong(1 << 63)));
}

#[test]
fn names() {
    let name = |source: &str| match condition(source) {
        ExprKind::Field(field) => (field.name, field.optional),
        kind => panic!("{kind:?}"),
    };
    assert_eq!(name("@timestamp"), ("@timestamp".into(), false));
    assert_eq!(name("?a.`b c`.`d``e`"), ("a.b c.d`e".into(), true));
    assert_eq!(name("`a.b`"), ("a.b".into(), false));
    assert_eq!(name("event . /* here */ `sequence`"), ("event.sequence".into(), false));
    assert_eq!(name("AND"), ("AND".into(), false));
    assert_eq!(name("runs.head.ms"), ("runs.head.ms".into(), false));
}

#[test]
fn spans_point_at_the_text() {
    let source = "any where length( a.b ) > 3 and x : \"y*\"";
    let Body::Event(filter) = parse(source).expect("parses").body else { panic!() };
    let at = |span: Span| &source[span.start as usize..span.end as usize];
    assert_eq!(at(filter.span), source);
    let ExprKind::And(operands) = &filter.condition.kind else { panic!() };
    assert_eq!(at(operands[0].span), "length( a.b ) > 3");
    let ExprKind::Compare { left, .. } = &operands[0].kind else { panic!() };
    let ExprKind::Call { name, args, .. } = &left.kind else { panic!() };
    assert_eq!((at(left.span), at(*name), at(args[0].span)), ("length( a.b )", "length", "a.b"));
    let ExprKind::Match { patterns, .. } = &operands[1].kind else { panic!() };
    assert_eq!(at(patterns[0].span), "\"y*\"");
}

#[test]
fn sequences() {
    let source = "sequence by g, ?h with maxspan = 90 s [any where a] by k with runs=3 ![b where c] by l until [any where d] by m";
    let sequence = sequence(source);
    assert_eq!((sequence.maxspan, sequence.global_keys), (Some(90_000_000_000), 2));
    let keys = |item: &SequenceItem| item.keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(keys(&sequence.items[0]), ["g", "?h", "k"]);
    assert_eq!(keys(&sequence.items[1]), ["g", "?h", "l"]);
    assert_eq!(sequence.until.as_ref().map(keys), Some(vec!["g".into(), "?h".into(), "m".into()]));
    assert_eq!((sequence.items[0].runs, sequence.items[0].negated), (3, false));
    assert_eq!((sequence.items[1].runs, sequence.items[1].negated), (1, true));
    let at = sequence.items[1].span;
    assert_eq!(&source[at.start as usize..at.end as usize], "![b where c]");
}

#[test]
fn one_item_with_runs_is_enough() {
    assert_eq!(sequence("sequence by a [any where true] with runs=2").items.len(), 1);
    assert!(parse("sequence by a [any where true] with runs=1").is_err());
}

#[test]
fn categories() {
    let category = |source: &str| match parse(source).expect("parses").body {
        Body::Event(filter) => filter.category,
        body => panic!("{body:?}"),
    };
    assert_eq!(category("any where true"), None);
    assert_eq!(category("\"any\" where true"), Some("any".into()));
    assert_eq!(category("Process where true"), Some("Process".into()));
    assert_eq!(category("\"\"\"a-b\"\"\" where true"), Some("a-b".into()));
}

#[test]
fn fields_of_a_query() {
    let query = parse("sequence by g [any where a == 1 and length(b) > 2] by k [any where c in (1) or a : \"x\"] by l");
    let query = query.expect("parses");
    let names: Vec<_> = visit::fields(&query).into_iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["g", "a", "b", "k", "c", "a", "l"]);
}

#[test]
fn optional_fields_may_be_compared() {
    assert!(parse("any where ?x == ?y").is_ok());
    assert!(parse("any where x == ?y").is_ok());
    assert!(parse("any where x == length(?y)").is_err());
}

/// Types from a table, to check without the catalogue.
struct Typed(&'static [(&'static str, FieldType)]);

impl FieldTypes for Typed {
    fn field_type(&self, name: &str) -> Option<FieldType> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, ty)| *ty)
    }

    fn suggest(&self, _name: &str) -> Option<String> {
        None
    }
}

/// What is said of conditions on fields named after their types.
#[test]
fn types() {
    let typed = Typed(&[
        ("keyword", FieldType::Keyword),
        ("long", FieldType::Long),
        ("double", FieldType::Double),
        ("boolean", FieldType::Boolean),
        ("date", FieldType::Date),
        ("ip", FieldType::Ip),
        ("version", FieldType::Version),
        ("dynamic", FieldType::Dynamic),
    ]);
    for (source, expected) in [
        ("boolean", &[][..]),
        ("dynamic", &[]),
        ("?unmapped", &[]),
        ("not null", &[]),
        ("keyword : \"a\" and version : \"1.*\" and dynamic like \"b\"", &[]),
        ("long : \"1\"", &["not-string"]),
        ("double like \"1\" or date regex \"2\" or boolean : \"true\"", &["not-string"; 3]),
        ("long == \"4\" and long != 5 and keyword == 5 and keyword == true", &[]),
        ("boolean == \"true\" and date == 5 and date > \"now-1d\" and ip == \"10.0.0.0/8\"", &[]),
        ("ip == \"::1\" or ip in (\"10.0.0.1\", \"fe80::/10\")", &[]),
        ("boolean == \"yes\"", &["never-holds"]),
        ("\"yes\" == boolean", &["never-holds"]),
        ("ip == 5", &["never-holds"]),
        ("date == true", &["never-holds"]),
        ("long in (1, \"2\")", &["mixed-list"]),
        ("long in (1, 2.5, null)", &["never-holds"]),
        ("long in (\"a\", \"b\") or boolean", &["never-holds", "never-holds"]),
        ("keyword in (\"null\", null)", &[]),
        ("long + double * 2 - dynamic > 5", &[]),
        ("keyword + 1 > 5", &["not-number"]),
        ("-date > 5", &["not-number"]),
        ("concat(keyword, long, boolean, null) == \"a\"", &[]),
        ("string(ip) : \"10.*\"", &[]),
        ("length(keyword, keyword) == 1", &["argument-count"]),
        ("length(string(long)) + 1 == 2", &[]),
        ("number(keyword) > 5 and number(keyword, 16) == 1", &[]),
        ("substring(keyword, number(keyword)) == \"a\"", &[]),
        ("substring(keyword, 1.5) == \"a\"", &["argument-type"]),
        ("between(keyword, \"a\", \"b\", 1) == \"c\"", &["argument-type"]),
        ("startsWith(keyword, null)", &[]),
        ("cidrMatch(ip, \"::1\", \"10.0.0.0/8\")", &[]),
        ("cidrMatch(dynamic, \"10.0.0.0/-1\", \"10.0.0.0/\", \"x/8\", \"10.0.0/8\")", &["bad-cidr"; 4]),
        ("(long > 5) == true", &[]),
        ("string(long) == 5", &["never-holds"]),
        ("1 == 2 or boolean", &["always-false"]),
        ("1 == 1 and boolean", &["always-true"]),
        ("boolean and (boolean or \"a\" < \"b\")", &["always-true"]),
        ("long == 1 and not long == \"x\"", &["never-holds"]),
        ("wildcard(keyword, \"\")", &["empty-pattern"]),
    ] {
        let found: Vec<_> = match parse(&format!("any where {source}")) {
            Ok(query) => check(&query, &typed).iter().map(|diagnostic| diagnostic.code).collect(),
            Err(errors) => errors.iter().map(|error| error.code).collect(),
        };
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn keys_of_like_kind() {
    for (keys, expected) in [
        (["process.pid", "process.parent.pid"], 0),
        (["process.pid", "system.load.1"], 0),
        (["process.name", "no.such.field"], 0),
        (["process.name", "process.pid"], 1),
        (["source.ip", "host.name"], 1),
    ] {
        let source = format!("sequence [any where true] by {} [any where true] by `{}`", keys[0], keys[1]);
        let found = check(&parse(&source).expect("parses"), &Catalogue);
        assert_eq!(found.iter().filter(|diagnostic| diagnostic.is_error()).count(), expected, "{source}");
    }
}
