//! The rules of the parent module and the worked examples of the EQL reference, one by one.

use std::cmp::Ordering;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::value::{cidr_contains, parse_number, relate};
use super::*;

/// Types for the tests: the catalogue, and a version field, which it lacks.
fn interpreter() -> Interpreter {
    let types = |name: &str| match name {
        "v" => FieldType::Version,
        "n" | "n2" => FieldType::Long,
        "d" => FieldType::Double,
        "b" => FieldType::Boolean,
        "t" => FieldType::Date,
        "ip" => FieldType::Ip,
        "s" | "s2" | "k" | "k1" | "k2" | "event.category" => FieldType::Keyword,
        _ => eqlipse_ecs::field_type(name).unwrap_or(FieldType::Dynamic),
    };
    Interpreter::new(Options { types: Box::new(types), ..Options::default() })
}

fn holds(condition: &str, doc: &Value) -> bool {
    let condition =
        eqlipse_eql::parse_expression(condition).unwrap_or_else(|e| panic!("{condition}: {}", e[0].message));
    let filter = EventFilter { category: None, condition, span: Default::default() };
    interpreter().matches(&filter, doc)
}

#[track_caller]
fn check(doc: Value, yes: &[&str], no: &[&str]) {
    for condition in yes {
        assert!(holds(condition, &doc), "{condition} must hold for {doc}");
    }
    for condition in no {
        assert!(!holds(condition, &doc), "{condition} must not hold for {doc}");
    }
}

fn constant(expression: &str) -> Result<Val<'static>, EvalError> {
    let parsed = eqlipse_eql::parse_expression(expression).unwrap_or_else(|e| panic!("{expression}: {}", e[0].message));
    // The text of strings is copied, as the tree does not outlive this function.
    Interpreter::default().constant(&parsed).map(|value| match value {
        Val::Str(s) => Val::Str(s.into_owned().into()),
        Val::Null => Val::Null,
        Val::Bool(b) => Val::Bool(b),
        Val::Int(i) => Val::Int(i),
        Val::UInt(u) => Val::UInt(u),
        Val::Double(d) => Val::Double(d),
        other => panic!("{other:?} is no constant"),
    })
}

fn text(s: &str) -> Result<Val<'static>, EvalError> {
    Ok(Val::Str(s.to_owned().into()))
}

/// Runs a query over events given as (time in seconds, fields), and gives the times of what it finds; -1 is missing.
fn run(query: &str, events: &[(i64, Value)]) -> Vec<Vec<i64>> {
    let query = eqlipse_eql::parse(query).unwrap_or_else(|e| panic!("{query}: {}", e[0].message));
    let input: Vec<_> = (events.iter().zip(0..))
        .map(|((time, doc), position)| Event {
            doc,
            arrival: (0, position),
            order: Some((time * 1_000_000_000, doc["tie"].as_i64())),
        })
        .collect();
    let found = interpreter().run(&query, &input);
    found.iter().map(|m| m.events.iter().map(|e| e.map_or(-1, |index| events[index].0)).collect()).collect()
}

/// Events written as `A1 B2`: item and time.
fn letters(events: &str) -> Vec<(i64, Value)> {
    events.split(' ').map(|e| (e[1..].parse().unwrap(), json!({"s": e[..1], "k": "one"}))).collect()
}

#[test]
fn absent_fields_are_false_and_not_is_the_complement() {
    check(
        json!({"other": 1}),
        &[
            r#"s != "x""#,
            "not n > 5",
            r#"not s : "x*""#,
            r#"s not in ("x")"#,
            "s == null",
            "not length(s) > 0",
            "n + 1 != 2",
            "length(s) == null",
            "(n > 5) == null",
            r#"not (s : "a" and n == 1)"#,
            r#"not ?unmapped == "x""#,
            "?unmapped == null",
        ],
        &[r#"s == "x""#, "n > 5", r#"s : "x*""#, r#"s in ("x")"#, "s != null", "length(s) > 0", "b", "?unmapped"],
    );
}

#[test]
fn empty_arrays_and_nulls_are_missing() {
    for value in [json!([]), json!([null]), json!(null), json!([[], [null]])] {
        check(json!({ "s": value }), &["s == null", r#"s != "x""#], &["s != null", r#"s : "*""#]);
    }
    check(json!({"s": [null, "x"]}), &["s != null", r#"s == "x""#], &["s == null"]);
}

#[test]
fn any_value_satisfies_a_predicate() {
    let doc = json!({"n": [0, 5], "n2": [10, 20], "s": ["ab", "c"], "s2": "ab"});
    check(
        doc,
        &[
            "n > 1 and n < 3",
            "n != 3",
            r#"s : "A*" and s : "C""#,
            "n + n2 == 25",
            "n + n2 == 10",
            "n + n == 10",
            r#"length(s) == 1 and length(s) == 2"#,
            r#"concat(s, s) == "cc""#,
            r#"concat(s, s2) == "cab""#,
            r#"string(n > 1 and n < 6) == "true""#,
        ],
        &["n != 5", "n + n == 5", r#"concat(s, s) == "abc""#, r#"string(n > 1 and n < 3) == "true""#, "n not in (0)"],
    );
}

#[test]
fn paths_may_be_dotted_nested_or_mixed() {
    let docs = [
        json!({"process.parent.name": "x"}),
        json!({"process": {"parent": {"name": "x"}}}),
        json!({"process.parent": {"name": "x"}}),
        json!({"process": {"parent.name": "x"}}),
        json!({"process": [{"parent": [{"name": ["y", ["x"]]}, null]}]}),
        json!({"process": {"parent.name": "y"}, "process.parent": {"name": "x"}}),
    ];
    for doc in docs {
        check(doc, &[r#"process.parent.name == "x""#], &["process.parent != null"]);
    }
}

#[test]
fn constants_keep_their_null() {
    let everything = json!({"s": "x"});
    check(
        everything,
        &["true", "not false", "null == null", "null or true", "not (null and false)", r#"s == "x" or null"#, "1 < 2"],
        &[
            "null",
            "not null",
            "null > 1",
            "not (null > 1)",
            "not (null or s == \"y\")",
            "1 / 0 == 1",
            "not (1 / 0 == 1)",
        ],
    );
}

#[test]
fn errors_end_only_their_combination() {
    check(
        json!({"s": ["x", "10"], "n": [i64::MAX, 1], "n2": 0}),
        &["number(s) > 5", "n + 1 == 2", "not n / n2 == 1", "not (n / n2 == 1) == null"],
        &[
            "(number(s) > 50) == null",
            "n / n2 == 1",
            "(n / n2 == 1) == null",
            "string(n / n2 == 1 or n == 1) == \"true\"",
        ],
    );
}

#[test]
fn too_many_combinations_do_not_hold() {
    let values: Vec<i64> = (0..300).collect();
    check(json!({"n": values, "n2": values}), &["n == 299", "not n + n2 == 1", "n + n == 598"], &["n + n2 == 1"]);
}

#[test]
fn values_take_the_type_of_their_field() {
    let doc = json!({
        "s": [5, 5.0, 1e30, true, "x"],
        "n": ["7", " 8 ", "9.9", -10.9, true, "x", "1e400", 18_446_744_073_709_551_615u64, 1e19, "inf"],
        "d": [1, "2.5", "-0", "x", "1e999"],
        "b": ["true", "", "x", 1],
        "ip": ["10.0.0.1", " ::FFFF:1.2.3.4 ", "x", 5],
        "t": ["2024-01-02", 1000, "1500", 2000.5, "x"],
        "v": ["1.10", 2],
    });
    check(
        doc,
        &[
            r#"s == "5""#,
            r#"s == "5.0""#,
            r#"s == "1e30""#,
            r#"s == "true""#,
            "s == 5",
            "s == true",
            "n == 7",
            "n == 8",
            "n == 9",
            "n == -10",
            "n == 18446744073709551615",
            "n == 10000000000000000000",
            r#"n == " 7.0""#,
            r#"n < "-9""#,
            "d == 1",
            "d == 2.5",
            r#"d == "2.50""#,
            "b",
            "b == false",
            r#"b == "true""#,
            r#"ip == "10.0.0.1""#,
            r#"ip == "1.2.3.4""#,
            r#"ip == "::ffff:10.0.0.1""#,
            r#"ip == "10.0.0.0/8""#,
            r#"ip < "1.2.3.5""#,
            r#"t == "2024-01-02T00:00:00Z""#,
            r#"t == "1970-01-01 00:00:01.5""#,
            "t == 1000",
            r#"t == "1970-01-01T00:00:02.0005Z""#,
            r#"t < "1971-01-01""#,
            r#"v > "1.9""#,
            r#"v == "2""#,
        ],
        &[
            "s > 4",
            r#"n == "0x7""#,
            "d == 0.1",
            r#"b == "TRUE""#,
            r#"ip == "11.0.0.0/8""#,
            r#"ip > "10.0.0.0/8""#,
            r#"t == "now""#,
            r#"v == "1.10.0""#,
            r#"n : "7""#,
            r#"ip : "10.*""#,
        ],
    );
}

#[test]
fn dynamic_fields_keep_the_kind_of_their_value() {
    check(
        json!({"x": [5, 2.5, "10", true, "abc"]}),
        &[
            "x == 5",
            "x == 5.0",
            "x == 10",
            "x == \"5\"",
            "x < 3",
            "x == true",
            r#"x == "true""#,
            r#"x : "2?5""#,
            r#"x : "T*""#,
            "x",
        ],
        &["x == \"5.0\"", "x > 9", "x == 1", "length(x) == 1"],
    );
    check(json!({"x": "5"}), &["x == 5", r#"x > "4""#, "length(x) == 1"], &["x > 4", "x == 5.0"]);
    check(json!({"x": "true"}), &["x == true"], &["x"]);
}

#[test]
fn numbers_compare_exactly() {
    let cases = [
        (Val::Int((1 << 53) + 1), Val::Double(9_007_199_254_740_992.0), Some(Ordering::Greater)),
        (Val::Int(i64::MAX), Val::Double(9_223_372_036_854_775_807.0), Some(Ordering::Less)),
        (Val::UInt(u64::MAX), Val::Double(1.844_674_407_370_955_2e19), Some(Ordering::Less)),
        (Val::Int(-3), Val::Double(-2.5), Some(Ordering::Less)),
        (Val::Int(-2), Val::Double(-2.5), Some(Ordering::Greater)),
        (Val::Int(0), Val::Double(-0.0), Some(Ordering::Equal)),
        (Val::Int(0), Val::Double(f64::NAN), None),
        (Val::Int(5), Val::Double(f64::INFINITY), Some(Ordering::Less)),
        (Val::UInt(1 << 63), Val::Int(-1), Some(Ordering::Greater)),
    ];
    for (a, b, expected) in cases {
        assert_eq!(relate(&a, false, &b, false).ordering(), expected, "{a:?} {b:?}");
        assert_eq!(relate(&b, false, &a, false).ordering(), expected.map(Ordering::reverse), "{b:?} {a:?}");
    }
}

#[test]
fn versions_are_ordered_by_precedence() {
    let ascending = [
        "1.2.0-alpha",
        "1.2.0-alpha.1",
        "1.2.0-alpha.2",
        "1.2.0-alpha.10",
        "1.2.0-alpha.beta",
        "1.2.0-rc",
        "1.2.0",
        "1.2.0+build",
        "1.2.0.1",
        "1.10",
        "2",
        "10.0",
        "",
        "1.x",
        "abc",
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            let (x, y) = (Val::Version((*a).into()), Val::Version((*b).into()));
            assert_eq!(relate(&x, false, &y, false).ordering(), Some(i.cmp(&j)), "{a} {b}");
        }
    }
}

#[test]
fn numeric_text() {
    for text in ["", " ", "x", "inf", "nan", "NaN", "0x10", "1_000", "1f", "--1", "1e", ".", "e5", "١"] {
        assert_eq!(parse_number(text), None, "{text:?}");
    }
    assert_eq!(parse_number(" +5 "), Some(Val::Int(5)));
    assert_eq!(parse_number(".5"), Some(Val::Double(0.5)));
    assert_eq!(parse_number("5."), Some(Val::Double(5.0)));
    assert_eq!(parse_number("-1E-1"), Some(Val::Double(-0.1)));
    assert_eq!(parse_number("9223372036854775808"), Some(Val::UInt(1 << 63)));
}

#[test]
fn date_text() {
    let base = 1_704_164_645_000_000_000; // 2024-01-02T03:04:05Z
    for (text, expected) in [
        ("2024-01-02T03:04:05Z", Some(base)),
        (" 2024-01-02t03:04:05z ", Some(base)),
        ("2024-01-02 03:04:05", Some(base)),
        ("2024-01-02T04:04:05+01", Some(base)),
        ("2024-01-02T01:34:05-0130", Some(base)),
        ("2024-01-02T01:34:05-01:30", Some(base)),
        ("2024-01-02T03:04:05.5", Some(base + 500_000_000)),
        ("2024-01-02T03:04:05,123456789999Z", Some(base + 123_456_789)),
        ("2024-01-02T03:04", Some(base - 5_000_000_000)),
        ("2024-01-02T03:03:60Z", Some(base - 5_000_000_000)),
        ("2024-01-02", Some(base - 11_045_000_000_000)),
        ("2024-01-02Z", None),
        ("2024-01-02T", None),
        ("2024-01-02T03", None),
        ("2024-01-02T24:00:00Z", None),
        ("2024-01-02T03:04:61Z", None),
        ("2024-01-02T03:04:05.Z", None),
        ("2024-01-02T03:04:05+19:00", None),
        ("2024-02-30", None),
        ("2024-1-2", None),
        ("0001-01-01", None),
        ("9999-12-31", None),
        ("20240102", None),
        ("2024", None),
        ("2024-01-é2", None),
        ("", None),
    ] {
        assert_eq!(date::parse(text), expected, "{text}");
    }
    for nanos in [0, i64::MIN, i64::MAX, base + 1] {
        assert_eq!(date::parse(&date::print(nanos)), Some(nanos));
    }
}

#[test]
fn address_blocks() {
    let ip = |text: &str| value::parse_ip(text).unwrap();
    let v4: IpAddr = ip("10.1.2.3");
    for (block, expected) in [
        ("10.0.0.0/8", Some(true)),
        ("10.9.9.9/8", Some(true)),
        ("11.0.0.0/8", Some(false)),
        ("0.0.0.0/0", Some(true)),
        ("10.1.2.3/32", Some(true)),
        ("10.1.2.3", Some(true)),
        ("10.1.2.4", Some(false)),
        ("::/0", Some(true)),
        ("::ffff:10.0.0.0/104", Some(true)),
        ("2001:db8::/32", Some(false)),
        ("10.0.0.0/33", None),
        ("10.0.0.0/", None),
        ("10.0.0.0/+8", None),
        ("10.0.0/8", None),
        ("x", None),
    ] {
        assert_eq!(cidr_contains(block, v4), expected, "{block}");
    }
    assert_eq!(cidr_contains("0.0.0.0/0", ip("::1")), Some(false));
    assert_eq!(cidr_contains("2001:db8::/33", ip("2001:db8:8000::")), Some(false));
    check(
        json!({"ip": ["10.1.2.3", "fe80::1"], "x": "10.1.2.3"}),
        &[
            r#"cidrMatch(ip, "1.0.0.0/8", "10.0.0.0/8")"#,
            r#"cidrMatch(ip, "fe80::/10")"#,
            r#"cidrMatch(x, "10.0.0.0/8")"#,
        ],
        &[r#"cidrMatch(ip, "11.0.0.0/8")"#, r#"cidrMatch(missing.ip, "10.0.0.0/8")"#],
    );
}

#[test]
fn case_and_wildcards() {
    check(
        json!({"s": "CMD.exe É ſ\nx*?\\"}),
        &[
            r#"s : "cmd.EXE*""#,
            r#"s like "CMD*""#,
            r#"s like~ "cmd*""#,
            r#"s : "*É*""#,
            r#"concat(s) : "*é*""#,
            r#"s : "*\\""#,
            r#"s : "*""#,
            r#"s : ("no", "c*")"#,
            r#"startsWith~(s, "cmd")"#,
            r#"stringContains~(s, "é")"#,
            r#"endsWith~(s, "X*?\\")"#,
            r#"s in~ ("x", "cmd.EXE É ſ\nX*?\\")"#,
            r#"concat(s) in~ ("cmd.EXE é ſ\nX*?\\")"#,
        ],
        &[
            r#"s like "cmd*""#,
            r#"s : "*é*""#,
            r#"s : "cmd""#,
            r#"startsWith(s, "cmd")"#,
            r#"s in ("cmd.exe é ſ\nx*?\\")"#,
            r#"s in~ ("cmd.EXE é ſ\nX*?\\")"#,
            r#"s : """#,
        ],
    );
    check(json!({"s": ""}), &[r#"s : "*""#, r#"s : """#, r#"s == """#], &[r#"s : "?""#, "s == null"]);
    check(json!({"s": "😀"}), &[r#"s : "?""#, "length(s) == 2"], &[r#"s : "??""#]);
    check(json!({"s": "\u{212a}"}), &[r#"concat(s) : "k""#], &[r#"s : "k""#]);
}

#[test]
fn folding_keeps_offsets() {
    for c in '\0'..=char::MAX {
        for fold in [Fold::Ascii, Fold::Unicode] {
            assert_eq!(fold.char(c).len_utf16(), c.len_utf16(), "{c:?}");
            assert_eq!(fold.char(fold.char(c)), fold.char(c), "{c:?}");
        }
    }
}

#[test]
fn wildcards_agree_with_their_definition() {
    fn plain(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skip| plain(rest, &text[skip..])),
            [c, rest @ ..] => text.split_first().is_some_and(|(t, tail)| (*c == '?' || c == t) && plain(rest, tail)),
        }
    }
    let words = |alphabet: &[char]| {
        let mut all = vec![String::new()];
        for _ in 0..4 {
            let longer = all.iter().flat_map(|w| alphabet.iter().map(move |c| format!("{w}{c}"))).collect::<Vec<_>>();
            all.extend(longer);
            all.sort();
            all.dedup();
        }
        all
    };
    for pattern in words(&['a', 'b', '*', '?']) {
        for text in words(&['a', 'b']) {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            assert_eq!(wildcard(&pattern, &text, Fold::None), plain(&p, &t), "{pattern} {text}");
        }
    }
}

#[test]
fn regular_expressions_are_lucenes() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &[""], &["a"]),
        ("a.c", &["abc", "a\nc", "a😀c"], &["ac", "xabc"]),
        ("^a$", &["^a$"], &["a"]),
        ("ab|cd", &["ab", "cd"], &["abd", "acd"]),
        ("(ab)*", &["", "abab"], &["aba"]),
        ("a+?", &["", "a", "aaa"], &["b"]),
        ("a{2}", &["aa"], &["a", "aaa"]),
        ("a{2,}", &["aa", "aaaa"], &["a"]),
        ("a{1,3}", &["a", "aaa"], &["", "aaaa"]),
        ("(a{0,2}){2}b", &["b", "aaaab"], &["aaaaab"]),
        ("[a-c^]", &["b", "^"], &["d"]),
        ("[^a-c]", &["d", "\n"], &["a", ""]),
        ("[\\]\\-x]+", &["]-x"], &["\\"]),
        ("\\d\\D\\w\\W\\s\\S", &["1a_- x"], &["aa_- x"]),
        ("[\\d_]+", &["1_2"], &["a"]),
        ("\\.\\*\\\\", &[".*\\"], &["a*\\"]),
        ("~abc", &["xbc"], &["abc"]),
        ("~(abc)", &["", "ab", "abcd"], &["abc"]),
        ("~(.*x.*)", &["abc", ""], &["axc"]),
        ("a~(b+)c", &["ac", "abxc"], &["abc", "abbc"]),
        (".*a.*&.*b.*", &["ab", "bxa"], &["a", "b"]),
        ("a&b", &[], &["a", "b", ""]),
        ("@", &["", "anything\n"], &[]),
        ("a@#", &[], &["a", ""]),
        ("#|a", &["a"], &[""]),
        ("\"a.*b\"c", &["a.*bc"], &["axbc"]),
        ("<5-12>", &["5", "12", "012", "0005"], &["4", "13", ""]),
        ("<05-12>", &["05", "12"], &["5", "012"]),
        ("<12-5>x", &["7x"], &["x"]),
        ("*a", &["*a"], &["a"]),
        ("a||b", &["a", "|b"], &["", "b"]),
        ("()a", &["a"], &[""]),
        (")a", &[")a"], &["a"]),
    ];
    for (pattern, yes, no) in cases {
        let regex = Regex::parse(pattern).unwrap_or_else(|e| panic!("{pattern}: {}", e.0));
        yes.iter().for_each(|text| assert!(regex.is_match(text, Fold::None), "{pattern} must match {text:?}"));
        no.iter().for_each(|text| assert!(!regex.is_match(text, Fold::None), "{pattern} must not match {text:?}"));
    }
}

#[test]
fn bad_regular_expressions_are_errors() {
    for pattern in [
        "(", "a)", "[", "[]", "[a", "[b-a]", "a{", "a{x}", "a{2,1}", "a{1001}", "\\", "\"a", "<1>", "<a-b>", "<1-2",
        "a|", "~", "a&", "<-1-2>",
    ] {
        assert!(Regex::parse(pattern).is_err(), "{pattern}");
    }
    assert!(Regex::parse(&"(".repeat(100_000)).is_err());
    assert!(Regex::parse(&format!("a{}", "*".repeat(100_000))).is_err());
    assert!(Regex::parse(&"~".repeat(100_001)).is_err());
}

#[test]
fn regular_expressions_without_case() {
    let test = |pattern: &str, text: &str, fold| Regex::parse(pattern).unwrap().is_match(text, fold);
    assert!(
        test("[a-c]x", "BX", Fold::Ascii) && test("[A-C]X", "bx", Fold::Ascii) && !test("[^a-c]", "B", Fold::Ascii)
    );
    assert!(!test("é", "É", Fold::Ascii) && test("é", "É", Fold::Unicode) && test("[à-ÿ]", "É", Fold::Unicode));
    assert!(test("\u{212a}", "k", Fold::Unicode) && test("k", "\u{212a}", Fold::Unicode));
    assert!(test("\"Ab\"", "aB", Fold::Ascii) && test("~a", "b", Fold::Ascii) && !test("~a", "A", Fold::Ascii));
    check(
        json!({"s": "CMD.EXE"}),
        &[r#"s regex~ "cmd\\.[a-z]+""#],
        &[r#"s regex "cmd\\.[a-z]+""#, r#"s regex~ "cmd""#],
    );
}

#[test]
fn long_texts_do_not_take_long() {
    let long = "a".repeat(20_000);
    for pattern in ["(a|aa)*b", ".*a.*a.*a.*b", "(a*)*b", "(.*){1000}b", "a{0,1000}b"] {
        assert!(!Regex::parse(pattern).unwrap().is_match(&long, Fold::None), "{pattern}");
    }
    assert!(
        wildcard(&"*a".repeat(50), &long, Fold::None) && !wildcard(&format!("{}b", "*a".repeat(50)), &long, Fold::None)
    );
}

#[test]
fn arithmetic_is_javas() {
    let int = |i| Ok(Val::Int(i));
    assert_eq!(constant("7 / 2"), int(3));
    assert_eq!(constant("-7 / 2"), int(-3));
    assert_eq!(constant("-7 % 3"), int(-1));
    assert_eq!(constant("7 % -3"), int(1));
    assert_eq!(constant("7 / 2.0"), Ok(Val::Double(3.5)));
    assert_eq!(constant("1.0 / 0"), Ok(Val::Double(f64::INFINITY)));
    assert_eq!(constant("1 / 0"), Err(EvalError::DivisionByZero));
    assert_eq!(constant("1 % 0"), Err(EvalError::DivisionByZero));
    assert_eq!(constant("subtract(-2, 4)"), int(-6));
    assert_eq!(constant("9223372036854775807 + 1"), Err(EvalError::Overflow));
    assert_eq!(constant("-9223372036854775808"), int(i64::MIN));
    assert_eq!(constant("-9223372036854775808 / -1"), Err(EvalError::Overflow));
    assert_eq!(constant("-9223372036854775808 % -1"), int(0));
    assert_eq!(constant("18446744073709551615 + 0"), Ok(Val::UInt(u64::MAX)));
    assert_eq!(constant("18446744073709551615 + 1"), Err(EvalError::Overflow));
    assert_eq!(constant("18446744073709551615 * 18446744073709551615"), Err(EvalError::Overflow));
    assert_eq!(constant("add(1, null)"), Ok(Val::Null));
    assert_eq!(constant("2 + 3 * 4 - -1"), int(15));
    check(json!({"n": 7}), &["n % 2.5 == 2.0", "-n == -7", "n - 7 == 0"], &["n / 2 == 3.5"]);
}

#[test]
fn between_takes_the_text_in_the_middle() {
    assert_eq!(constant(r#"between("a[b]c]d", "[", "]")"#), text("b"));
    assert_eq!(constant(r#"between("a[b]c]d", "[", "]", true)"#), text("b]c"));
    assert_eq!(constant(r#"between("abc", "x", "c")"#), text(""));
    assert_eq!(constant(r#"between("abc", "a", "x")"#), text(""));
    assert_eq!(constant(r#"between("abc", "", "c")"#), text("abc"));
    assert_eq!(constant(r#"between("abc", "a", "")"#), text("abc"));
    assert_eq!(constant(r#"between("", "a", "b")"#), text(""));
    assert_eq!(constant(r#"between("]a[b", "[", "]", true)"#), Err(EvalError::BetweenBackwards));
    assert_eq!(constant(r#"between("abcB", "A", "b")"#), text(""));
    assert_eq!(constant(r#"between~("xAByz", "a", "Y")"#), text("B"));
    assert_eq!(constant(r#"between(null, "a", "b")"#), Ok(Val::Null));
    assert_eq!(constant(r#"between("abc", "a", "c", null)"#), Ok(Val::Null));
}

#[test]
fn texts_are_found_and_cut() {
    let int = |i| Ok(Val::Int(i));
    assert_eq!(constant(r#"indexOf("abcabc", "c")"#), int(2));
    assert_eq!(constant(r#"indexOf("abcabc", "c", 3)"#), int(5));
    assert_eq!(constant(r#"indexOf("abcabc", "c", -9)"#), int(2));
    assert_eq!(constant(r#"indexOf("abcabc", "c", null)"#), int(2));
    assert_eq!(constant(r#"indexOf("abcabc", "c", 6)"#), Ok(Val::Null));
    assert_eq!(constant(r#"indexOf("abc", "", 9)"#), int(3));
    assert_eq!(constant(r#"indexOf("😀x", "x")"#), int(2));
    assert_eq!(constant(r#"indexOf~("ÄB", "äb")"#), int(0));
    assert_eq!(constant(r#"substring("hello", -3, -1)"#), text("ll"));
    assert_eq!(constant(r#"substring("hello", 3, 1)"#), text(""));
    assert_eq!(constant(r#"substring("hello", -99, 99)"#), text("hello"));
    assert_eq!(constant(r#"substring("hello", null, 2)"#), text("hello"));
    assert_eq!(constant(r#"substring("hello", 2, null)"#), text("llo"));
    assert_eq!(constant(r#"substring("😀x", 1)"#), text("\u{fffd}x"));
    assert_eq!(constant(r#"length("😀é")"#), int(3));
    assert_eq!(constant(r#"concat("a", 1, 2.5, true)"#), text("a12.5true"));
    assert_eq!(constant(r#"concat("a", null)"#), Ok(Val::Null));
    assert_eq!(constant("string(5.0)"), text("5.0"));
    assert_eq!(constant("string(null)"), Ok(Val::Null));
    for yes in
        [r#"startsWith("ab", "")"#, r#"endsWith("ab", "")"#, r#"endsWith("ab", "b")"#, r#"stringContains("abc", "b")"#]
    {
        assert_eq!(constant(yes), Ok(Val::Bool(true)), "{yes}");
    }
    for no in [r#"stringContains("abc", "")"#, r#"stringContains("", "a")"#, r#"startsWith("ab", "A")"#] {
        assert_eq!(constant(no), Ok(Val::Bool(false)), "{no}");
    }
    check(
        json!({"s": "a*c", "t": "2024-01-02", "ip": "::1"}),
        &[
            r#"stringContains(s, "")"#,
            r#"stringContains(s, "*")"#,
            r#"endsWith(s, "*c")"#,
            r#"concat(t, " ", ip) == "2024-01-02T00:00:00Z ::1""#,
        ],
        &[r#"stringContains(s2, "")"#, r#"endsWith(s, "?c")"#, r#"stringContains(concat(s, s), "")"#],
    );
}

#[test]
fn numbers_are_read_from_text() {
    let bad = |s: &str| Err(EvalError::NotANumber(s.into()));
    for (expression, expected) in [
        (r#"number("0x1f")"#, Ok(Val::Int(31))),
        (r#"number("0x1f", 16)"#, Ok(Val::Int(31))),
        (r#"number("1f", 16)"#, Ok(Val::Int(31))),
        (r#"number("0x1f", null)"#, Ok(Val::Int(31))),
        (r#"number("0x1f", 10)"#, bad("0x1f")),
        (r#"number("1e3")"#, Ok(Val::Double(1000.0))),
        (r#"number(" 5")"#, Ok(Val::Double(5.0))),
        (r#"number("9223372036854775808")"#, Ok(Val::Double(9_223_372_036_854_775_808.0))),
        (r#"number("777", 8)"#, Ok(Val::Int(511))),
        (r#"number("7.5", 8)"#, bad("7.5")),
        (r#"number("5", 99)"#, bad("5")),
        (r#"number("5", 1)"#, bad("5")),
        (r#"number("NaN")"#, bad("NaN")),
        (r#"number("")"#, bad("")),
        (r#"number(null)"#, Ok(Val::Null)),
    ] {
        assert_eq!(constant(expression), expected, "{expression}");
    }
}

#[test]
fn lists_skip_nulls() {
    check(
        json!({"n": 1}),
        &["n in (1, null)", "n not in (2, null)", "n in (1.0)", "n not in (null)", r#"s not in ("x")"#],
        &["n in (null)", "s in (null)", "n not in (1)"],
    );
}

#[test]
fn categories_are_compared_with_case() {
    let events = [
        (1, json!({"event": {"category": ["network", "process"]}})),
        (2, json!({"event.category": "Process"})),
        (3, json!({})),
    ];
    assert_eq!(run("process where true", &events), [[1]]);
    assert_eq!(run("any where true", &events), [[1], [2], [3]]);
}

#[test]
fn pipes_chain_left_to_right() {
    let events: Vec<_> = (0..20).rev().map(|time| (time, json!({}))).collect();
    let found = run("any where true | tail 10 | head 7", &events);
    assert_eq!(found.concat(), (10..17).collect::<Vec<_>>());
    assert!(run("any where true | head 0", &events).is_empty());
    assert_eq!(run("any where true | tail 50", &events).len(), 20);
}

#[test]
fn order_is_time_tiebreaker_arrival() {
    let events =
        [(1, json!({"n": 0})), (0, json!({"n": 1})), (0, json!({"n": 2, "tie": 2})), (0, json!({"n": 3, "tie": 1}))];
    let query = eqlipse_eql::parse("any where true").unwrap();
    let input: Vec<_> = (events.iter().zip(0..))
        .map(|((time, doc), at)| Event { doc, arrival: (0, at), order: Some((*time, doc["tie"].as_i64())) })
        .collect();
    let found = interpreter().run(&query, &input);
    assert_eq!(found.iter().flat_map(|m| m.events.clone()).flatten().collect::<Vec<_>>(), [3, 2, 1, 0]);
}

#[test]
fn times_are_read_from_the_document() {
    let docs = [
        json!({"@timestamp": "2024-01-02T00:00:01Z", "event": {"sequence": "2"}}),
        json!({"@timestamp": 1_704_153_601_000i64, "event.sequence": 1}),
        json!({"@timestamp": "none"}),
        json!({"@timestamp": ["x", "2024-01-02"]}),
    ];
    let input: Vec<_> = docs.iter().map(|doc| Event { doc, arrival: (0, 0), order: None }).collect();
    let run = |query: &str| {
        let found = interpreter().run(&eqlipse_eql::parse(query).unwrap(), &input);
        found.into_iter().flat_map(|m| m.events).flatten().collect::<Vec<_>>()
    };
    assert_eq!(run("any where true"), [3, 1, 0, 2]);
    assert_eq!(run("sequence [any where true] [any where true]"), [3, 1, 1, 0]);
}

#[test]
fn sequences_of_the_reference() {
    let two = r#"sequence [any where s == "A"] [any where s == "B"]"#;
    assert_eq!(run(two, &letters("A1 A2 B3 B4 A5")), [[2, 3]]);
    let any = "sequence [any where true] [any where true]";
    assert_eq!(run(any, &letters("A1 A2 A3")), [[1, 2], [2, 3]]);
    let until = r#"sequence with maxspan=10s [any where s == "A"] [any where s == "B"] until [any where s == "U"]"#;
    assert_eq!(run(until, &letters("A0 A3 U4 B5 A6 B16 A20 B31")), [[6, 16]]);
    let missing = r#"sequence with maxspan=10s [any where s == "A"] [any where s == "B"] ![any where s == "M"] [any where s == "C"]"#;
    assert!(run(missing, &letters("A1 B2 M3 B4 C5")).is_empty());
    assert_eq!(run(missing, &letters("A1 B2 B4 C5 M5")), [[1, 2, -1, 5]]);
}

#[test]
fn until_kills_what_is_at_or_before_it() {
    let query =
        |until: &str| format!(r#"sequence [any where s == "A"] [any where s == "B"] until [any where {until}]"#);
    assert!(run(&query(r#"s == "A""#), &letters("A1 B2")).is_empty());
    assert_eq!(run(&query(r#"s == "B""#), &letters("A1 B2 B3")), [[1, 2]]);
    assert_eq!(run(&query(r#"s == "U""#), &letters("U1 A1 B2")), [[1, 2]]);
    assert!(run(&query(r#"s == "U""#), &letters("A1 U1 B2")).is_empty());
}

#[test]
fn runs_repeat_an_item() {
    let query = r#"sequence [any where s == "A"] with runs=3 [any where s == "B"]"#;
    assert_eq!(run(query, &letters("A1 A2 A3 A4 B5")), [[2, 3, 4, 5]]);
    assert!(run(query, &letters("A1 A2 B3")).is_empty());
    let only = "sequence [any where true] with runs=2";
    assert_eq!(run(only, &letters("A1 A2 A3")), [[1, 2], [2, 3]]);
}

#[test]
fn equal_times_follow_the_order_of_events() {
    let two = r#"sequence with maxspan=1s [any where s == "A"] [any where s == "B"]"#;
    assert_eq!(run(two, &letters("A1 B1")), [[1, 1]]);
    assert!(run(two, &letters("B1 A1")).is_empty());
    let tied = [(1, json!({"s": "B", "tie": 2})), (1, json!({"s": "A", "tie": 1}))];
    assert_eq!(run(two, &tied), [[1, 1]]);
}

#[test]
fn keys_split_sequences() {
    let event = |time: i64, s: &str, k: Value| (time, json!({"s": s, "k": k}));
    let by = |key: &str| format!(r#"sequence by {key} [any where s == "A"] [any where s == "B"]"#);
    let events = [
        event(1, "A", json!("x")),
        event(2, "A", json!(null)),
        event(3, "B", json!(null)),
        event(4, "B", json!(["y", "x"])),
        event(5, "B", json!("x")),
    ];
    assert_eq!(run(&by("k"), &events), [[1, 4]]);
    assert_eq!(run(&by("?k"), &events), [[2, 3], [1, 4]]);
    let arrays = [event(1, "A", json!(["y", "x", "x"])), event(2, "B", json!(["x", "y"]))];
    assert_eq!(run(&by("k"), &arrays), [[1, 2], [1, 2]]);
    let mixed = [(1, json!({"s": "A", "k1": "x", "n": 1})), (2, json!({"s": "B", "k2": "x", "n2": "1.0"}))];
    let query = r#"sequence [any where s == "A"] by k1, n [any where s == "B"] by k2, n2"#;
    assert_eq!(run(query, &mixed), [[1, 2]]);
}

#[test]
fn join_keys_are_given_back() {
    let docs = [json!({"k": ["b", "a"], "n": 1, "ip": "::1"}), json!({"k": ["a", "b"], "n": "1", "ip": "::1"})];
    let input: Vec<_> = (docs.iter().zip(0..))
        .map(|(doc, at)| Event { doc, arrival: (0, at as u64), order: Some((at, None)) })
        .collect();
    let query = eqlipse_eql::parse("sequence by k, n, ip, ?x [any where true] [any where true]").unwrap();
    let keys: Vec<_> = interpreter().run(&query, &input).into_iter().map(|m| json!(m.join_keys)).collect();
    assert_eq!(keys, [json!(["a", 1, "::1", null]), json!(["b", 1, "::1", null])]);
}

#[test]
fn one_event_fills_one_stage_of_a_sequence() {
    let query = "sequence [any where true] [any where true] [any where true]";
    assert_eq!(run(query, &letters("A1 A2 A3 A4")), [[1, 2, 3], [2, 3, 4]]);
    assert!(run(query, &letters("A1 A2")).is_empty());
}

#[test]
fn events_missing_at_the_ends() {
    let leading = r#"sequence with maxspan=5s ![any where s == "M"] [any where s == "A"] [any where s == "B"]"#;
    assert_eq!(run(leading, &letters("M1 A5 B7")), [[-1, 5, 7]]);
    assert!(run(leading, &letters("M2 A5 B7")).is_empty());
    assert_eq!(run(leading, &letters("M5 A5 B7")), [[-1, 5, 7]]);
    let trailing = r#"sequence with maxspan=5s [any where s == "A"] [any where s == "B"] ![any where s == "M"]"#;
    assert_eq!(run(trailing, &letters("A1 B3")), [[1, 3, -1]]);
    assert!(run(trailing, &letters("A1 B3 M6")).is_empty());
    assert_eq!(run(trailing, &letters("A1 B3 M7")), [[1, 3, -1]]);
    assert_eq!(run(trailing, &letters("A1 B3 M3")), [[1, 3, -1]]);
    let both = r#"sequence with maxspan=5s ![any where s == "M"] [any where s == "A"] ![any where s == "N"]"#;
    assert!(run(both, &letters("M1 A3 N6")).is_empty());
    assert_eq!(run(both, &letters("M1 A3 N7")), [[-1, 3, -1]]);
    assert_eq!(run(both, &letters("M1 A3")), [[-1, 3, -1]]);
    assert_eq!(run(both, &letters("A3 N4")), [[-1, 3, -1]]);
}

#[test]
fn several_missing_at_one_end_count_together() {
    let query =
        r#"sequence with maxspan=5s ![any where s == "M"] ![any where s == "N"] [any where s == "A"] with runs=2"#;
    assert!(run(query, &letters("N1 M4 A5 A6")).is_empty());
    assert!(run(query, &letters("M0 N4 A5 A6")).is_empty());
    assert_eq!(run(query, &letters("N0 M0 A5 A6")), [[-1, -1, 5, 6]]);
}

#[test]
fn samples_find_distinct_events() {
    let doc = |s: &str, n: i64, k: &str| json!({"s": s, "n": n, "k": k});
    let events = [
        (1, doc("A", 1, "y")),
        (2, doc("A", 2, "y")),
        (3, doc("A", 1, "x")),
        (4, doc("B", 2, "x")),
        (5, doc("A", 2, "z")),
    ];
    let query = r#"sample by k [any where s == "A"] [any where n == 2]"#;
    assert_eq!(run(query, &events), [[3, 4], [1, 2]]);
    // The first event serves both items; the search must go back to find it a partner.
    let query = r#"sample by k [any where s == "A"] [any where n == 1]"#;
    assert_eq!(run(query, &events), [[2, 1]]);
}

#[test]
fn more_samples_of_one_key() {
    let docs: Vec<_> = (0..4).map(|n| json!({"k": "x", "n": n})).collect();
    let input: Vec<_> = docs.iter().map(|doc| Event { doc, arrival: (0, 0), order: None }).collect();
    let query = eqlipse_eql::parse("sample by k [any where n < 2] [any where true]").unwrap();
    let options = Options { max_samples_per_key: 4, ..Options::default() };
    let found = Interpreter::new(options).run(&query, &input);
    let found: Vec<Vec<_>> = found.into_iter().map(|m| m.events.into_iter().flatten().collect()).collect();
    assert_eq!(found, [[0, 1], [0, 2], [0, 3], [1, 0]]);
}

/// The other form of the algorithm that the reference gives: one slot for each key and stage, where the newest
/// partial sequence overwrites; an `until` event empties its key's slots after its own matching.
fn by_slots(events: &[(i64, Value)], stages: &[&str], maxspan: Option<i64>, until: Option<&str>) -> Vec<Vec<i64>> {
    let mut slots: std::collections::BTreeMap<String, Vec<Option<Vec<i64>>>> = Default::default();
    let mut found = Vec::new();
    for (time, event) in events {
        let (letter, key) = (event["s"].as_str().unwrap(), event["k"].as_str().unwrap());
        let slots = slots.entry(key.into()).or_insert_with(|| vec![None; stages.len()]);
        for stage in (0..stages.len()).rev().filter(|stage| stages[*stage].contains(letter)) {
            let before = if stage == 0 { Some(Vec::new()) } else { slots[stage - 1].take() };
            let Some(mut partial) = before else { continue };
            partial.push(*time);
            if maxspan.is_some_and(|maxspan| time - partial[0] > maxspan) {
                continue;
            }
            if stage + 1 == stages.len() { found.push(partial) } else { slots[stage] = Some(partial) }
        }
        if until.is_some_and(|until| until.contains(letter)) {
            slots.fill(None);
        }
    }
    found
}

#[test]
fn sequences_agree_with_the_slot_form() {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    let event = ("[ABC]", 0i64..3, prop::sample::select(vec!["x", "y"]));
    let stage = prop::sample::select(vec!["A", "B", "C", "AB", "BC", "ABC"]);
    let until = prop::option::of(prop::sample::select(vec!["A", "B", "C"]));
    let strategy =
        (prop::collection::vec(event, 0..30), prop::collection::vec(stage, 2..5), prop::option::of(1i64..10), until);
    let mut runner = TestRunner::new(ProptestConfig { cases: 5_000, failure_persistence: None, ..Default::default() });
    let outcome = runner.run(&strategy, |(events, stages, maxspan, until)| {
        let mut time = 0;
        let mut step = |by: i64| {
            time += by;
            time
        };
        let events: Vec<_> = events.into_iter().map(|(s, by, k)| (step(by), json!({"s": s, "k": k}))).collect();
        let item = |letters: &str| {
            let list: Vec<String> = letters.chars().map(|c| format!("{:?}", c.to_string())).collect();
            format!("[any where s in ({})]", list.join(", "))
        };
        let with = maxspan.map_or(String::new(), |maxspan| format!("with maxspan={maxspan}s"));
        let items: Vec<_> = stages.iter().map(|stage| item(stage)).collect();
        let until_item = until.map_or(String::new(), |until| format!("until {}", item(until)));
        let query = format!("sequence by k {with} {} {until_item}", items.join(" "));
        prop_assert_eq!(run(&query, &events), by_slots(&events, &stages, maxspan, until), "{}", query);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn prepared_events_can_be_shared() {
    fn shared<T: Sync + Send>() {}
    shared::<Interpreter>();
    shared::<Prepared<'static>>();
}
