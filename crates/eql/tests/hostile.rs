//! Texts that mean no good: nothing panics, overflows the stack or takes forever, and messages stay inert.

use std::time::{Duration, Instant};

use eqlipse_eql::{Catalogue, check, limits, parse, parse_expression};

/// Runs in a thread with the default stack of 2 MiB, whatever `RUST_MIN_STACK` says.
fn in_small_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).expect("thread starts");
    thread.join().expect("no panic")
}

/// The code of the first error, in a small thread.
fn first_code(source: String) -> Option<&'static str> {
    in_small_thread(move || parse(&source).err().map(|errors| errors[0].code))
}

/// `depth` levels of `open` around `middle`.
fn nest(open: &str, middle: &str, close: &str, depth: usize) -> String {
    format!("any where {}{middle}{}", open.repeat(depth), close.repeat(depth))
}

const SHAPES: [(&str, &str, &str); 12] = [
    ("(", "true", ")"),
    ("not ", "true", ""),
    ("not (", "true", ")"),
    ("-", "1", " == 1"),
    ("-(", "1", ")"),
    ("1 + ", "1", ""),
    ("1 + (", "1", ")"),
    ("length(", "x", ")"),
    ("x in (", "1", ")"),
    ("a or b and not c == 1 + 2 * - length(", "x", ")"),
    ("a or b and not c == 1 + 2 * - (", "x", ")"),
    ("a or b and not c == 1 + 2 * - x in (", "x", ")"),
];

#[test]
fn deep_nesting_is_an_error() {
    for (open, middle, close) in SHAPES {
        let code = first_code(nest(open, middle, close, 10_000));
        assert!(code.is_some(), "{open}");
    }
    for (open, middle, close) in SHAPES.into_iter().filter(|shape| shape.0 != "-" && !shape.0.contains(" in (")) {
        assert_eq!(first_code(nest(open, middle, close, 10_000)), Some("nested-too-deep"), "{open}");
    }
}

#[test]
fn unclosed_nesting_is_an_error() {
    for (open, ..) in SHAPES {
        assert!(first_code(format!("any where {}", open.repeat(20_000))).is_some(), "{open}");
    }
    assert!(first_code("sequence [".repeat(50_000)).is_some());
    assert!(first_code(format!("sequence {}", "[any where a ".repeat(20_000))).is_some());
}

/// The deepest trees that parse can also be checked, printed, compared and dropped in a small thread.
#[test]
fn everything_that_parses_can_be_used() {
    for (open, middle, close) in SHAPES {
        in_small_thread(move || {
            for depth in (1..limits::MAX_DEPTH as usize + 1).rev() {
                let Ok(query) = parse(&nest(open, middle, close, depth)) else {
                    continue;
                };
                check(&query, &Catalogue);
                let again = parse(&query.to_string()).expect("printed text parses");
                assert!(query.eq_ignoring_spans(&again));
                return;
            }
        });
    }
}

#[test]
fn long_rows_do_not_nest() {
    let source = format!("any where {}a", "a == 1 and b == 2 or ".repeat(20_000));
    assert_eq!(first_code(source), None);
    let list = format!("any where a in ({}1)", "1, ".repeat(60_000));
    assert_eq!(first_code(list), None);
}

#[test]
fn limits_are_named() {
    let too_long = format!("any where true {}", " ".repeat(limits::MAX_QUERY_BYTES));
    assert_eq!(first_code(too_long), Some("query-too-long"));
    let list = format!("any where a in ({}1)", "1, ".repeat(limits::MAX_LIST_ITEMS));
    assert_eq!(first_code(list), Some("list-too-long"));
    let keys = format!("sequence by {}a [any where true] [any where true]", "a, ".repeat(limits::MAX_JOIN_KEYS));
    assert_eq!(first_code(keys), Some("too-many-keys"));
    let items = format!("sequence {}", "[any where true] with runs=100 ".repeat(101));
    assert_eq!(first_code(items), Some("too-many-items"));
    let pipes = format!("any where true {}", "| head 1 ".repeat(limits::MAX_PIPES + 1));
    assert_eq!(first_code(pipes), Some("too-many-pipes"));
}

/// A pseudo-random sequence (xorshift), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const PIECES: [&str; 68] = [
    "any",
    "where",
    "process",
    "sequence",
    "sample",
    "join",
    "until",
    "with",
    "maxspan",
    "=",
    "5m",
    "runs",
    "by",
    "[",
    "]",
    "![",
    "(",
    ")",
    ",",
    ".",
    "?",
    "a",
    "b.c",
    "`d e`",
    "``",
    "`",
    "\"s\"",
    "\"",
    "\"\"\"r\"\"\"",
    "\"\"\"",
    "'q'",
    "'",
    "\\",
    "\"\\u{41}\"",
    "\"\\u{",
    "5",
    "5.",
    ".5",
    "1e999",
    "99999999999999999999",
    "==",
    "!=",
    "<",
    "<=",
    ":",
    "like",
    "like~",
    "regex",
    "in",
    "in~",
    "not",
    "and",
    "or",
    "null",
    "true",
    "+",
    "-",
    "*",
    "/",
    "%",
    "length",
    "wildcard~",
    "| head",
    "| sort",
    "/*",
    "*/",
    "//",
    "\n",
];

#[test]
fn random_token_soup() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..20_000 {
        let mut source = String::from(["any where ", "sequence [any where ", ""][random.below(3)]);
        for _ in 0..random.below(30) {
            source.push_str(PIECES[random.below(PIECES.len())]);
            source.push_str(["", " "][random.below(2)]);
        }
        use_it(&source);
    }
}

#[test]
fn cut_anywhere_and_garbled() {
    let source = "sequence by host.id, ?user.id with maxspan=5m\n  [process where process.name : (\"é*\", \"\"\"b\"\"\")] by \
                  x with runs=3 /* c */\n ![file where not length(`a b`.c) >= -5 or d in~ (\"x\", null)] by y\nuntil [any \
                  where e regex \"\\u{e9}\"] by z | head 3 | tail 2 // end";
    assert!(parse(source).is_ok());
    for (cut, _) in source.char_indices() {
        use_it(&source[..cut]);
        use_it(&source[cut..]);
        for garbage in ["\0", "\u{202e}", "é", "\"", "(", "]", "$x", "\r", "!", "`"] {
            use_it(&format!("{}{garbage}{}", &source[..cut], &source[cut..]));
        }
    }
}

/// Does everything that can be done with a text.
fn use_it(source: &str) {
    match parse(source) {
        Ok(query) => {
            let again = parse(&query.to_string()).unwrap_or_else(|errors| panic!("{query}: {errors:?}"));
            assert!(query.eq_ignoring_spans(&again), "{source}");
            check(&query, &Catalogue).iter().for_each(|diagnostic| drop(diagnostic.render(source, "x", true)));
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "{source}");
            for error in errors {
                let shown = error.render(source, "x", false);
                assert!(shown.starts_with("error["), "{shown}");
            }
        }
    }
    drop(parse_expression(source));
}

#[test]
fn messages_are_inert() {
    let hostile = "\u{1b}[31m\u{9b}2J\u{202e}\u{200b}\u{2028}\u{feff}\u{7}";
    for source in [
        format!("any where x == {hostile}"),
        format!("any where \"{hostile}\" y"),
        format!("any where `{hostile}`(1)"),
        format!("any where `{hostile}` : 5"),
        format!("{hostile} where x"),
        format!("any where x == \"\\{hostile}\""),
        format!("any where cidrMatch(x, \"{hostile}\")"),
        format!("any where source.ip : \"{hostile}\" and `{hostile}` and x in (\"{hostile}*\")"),
    ] {
        let found = parse(&source).map_or_else(|errors| errors, |query| check(&query, &Catalogue));
        assert!(!found.is_empty(), "{source:?}");
        for diagnostic in found {
            let shown = diagnostic.render(&source, &format!("name {hostile}"), false);
            let bad = shown
                .chars()
                .find(|c| *c != '\n' && (c.is_control() || "\u{202e}\u{200b}\u{2028}\u{feff}".contains(*c)));
            assert_eq!(bad, None, "{shown}");
        }
    }
}

#[test]
fn huge_faulty_texts_are_quick() {
    let start = Instant::now();
    for source in [
        "x".repeat(limits::MAX_QUERY_BYTES),
        "\"".repeat(limits::MAX_QUERY_BYTES),
        "€".repeat(limits::MAX_QUERY_BYTES / 3),
        "[".repeat(limits::MAX_QUERY_BYTES),
        "/*".repeat(limits::MAX_QUERY_BYTES / 2),
        format!("any where {}", "a b ".repeat(limits::MAX_QUERY_BYTES / 5)),
        format!("any where {}(", "a == 1 or ".repeat(limits::MAX_QUERY_BYTES / 11)),
        format!("any where {}(", "a == 1 or\n".repeat(limits::MAX_QUERY_BYTES / 11)),
        format!("any where {} == 1", "a".repeat(limits::MAX_QUERY_BYTES / 2)),
        format!("any where {} f(1)", "f(1) or ".repeat(limits::MAX_QUERY_BYTES / 10)),
    ] {
        let found = parse(&source).map_or_else(|errors| errors, |query| check(&query, &Catalogue));
        assert!(found.len() <= limits::MAX_DIAGNOSTICS);
        for diagnostic in found {
            let shown = diagnostic.render(&source, "huge", false);
            assert!(shown.len() < 10_000, "{}", shown.len());
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
