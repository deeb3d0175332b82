//! The formatter over random queries with comments and line breaks anywhere between their tokens.

use eqlipse_eql::format::comments;
use eqlipse_eql::{Dialect, format_with, parse_with};
use eqlipse_testkit::generate;
use proptest::prelude::*;

/// What may stand between two tokens; all of it is white space to the parser.
const GAPS: [&str; 16] = [
    " ",
    " ",
    " ",
    "\n",
    "\n\n",
    "\r\n\t",
    " // line\n",
    "\n// own line\n",
    "\n\n// own line after a blank\n\n",
    " /* inline */ ",
    "/**/",
    "\n/* own */\n",
    " /* a\n  /* nested */ b */ ",
    " /* one */ // two\n",
    " // one\n // two\n",
    "\n/* before */ ",
];

/// Puts a gap at every space that stands outside of strings.
fn spread(query: &str, gaps: &[usize]) -> String {
    let mut spread = String::new();
    let mut gaps = gaps.iter().cycle();
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in query.char_indices() {
        match quote {
            Some("\"\"\"") if query[at..].starts_with("\"\"\"") && !query[at + 1..].starts_with("\"\"\"") => {
                quote = None
            }
            Some("\"") if !escaped && c == '"' => quote = None,
            Some("`") if c == '`' => quote = None,
            Some(_) => {}
            None if c == ' ' => {
                spread.push_str(GAPS[gaps.next().copied().unwrap_or(0) % GAPS.len()]);
                continue;
            }
            None if query[at..].starts_with("\"\"\"") => quote = Some("\"\"\""),
            None if c == '"' => quote = Some("\""),
            None if c == '`' => quote = Some("`"),
            None => {}
        }
        escaped = c == '\\' && !escaped;
        spread.push(c);
    }
    spread
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn formatting_keeps_meaning_and_comments(
        query in generate::query(),
        gaps in prop::collection::vec(0..GAPS.len(), 1..60),
    ) {
        let source = spread(&query.to_string(), &gaps);
        // Where a raw string ends is not always where this test thinks.
        prop_assume!(parse_with(&source, Dialect::Extended).is_ok_and(|parsed| parsed.eq_ignoring_spans(&query)));
        let formatted = format_with(&source, Dialect::Extended).unwrap_or_else(|error| panic!("{error}\n{source}"));
        let parsed = parse_with(&formatted, Dialect::Extended).unwrap_or_else(|errors| panic!("{formatted}\n{errors:#?}"));
        prop_assert!(parsed.eq_ignoring_spans(&query), "{}\n{}", source, formatted);
        prop_assert_eq!(comments(&source).len(), comments(&formatted).len(), "{}\n{}", source, formatted);
        let again = format_with(&formatted, Dialect::Extended).unwrap_or_else(|error| panic!("{error}\n{formatted}"));
        prop_assert_eq!(&again, &formatted, "of\n{}", source);
    }
}
