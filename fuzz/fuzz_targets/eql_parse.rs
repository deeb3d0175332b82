//! The lexer, parser, printer and formatter: no text makes them fail, and what parses means the same after printing
//! and after formatting.
#![no_main]

use eqlipse_eql::ast::Query;
use eqlipse_eql::{Dialect, FormatError, format_with, parse_with};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Elastic, Dialect::Extended] {
        match parse_with(text, dialect) {
            Ok(query) => assert_same(&query, &query.to_string(), dialect),
            Err(diagnostics) => {
                assert!(!diagnostics.is_empty());
                diagnostics.iter().for_each(|diagnostic| _ = diagnostic.render(text, "query", false));
            }
        }
    }
    match format_with(text, Dialect::Extended) {
        Ok(formatted) => {
            assert_eq!(
                format_with(&formatted, Dialect::Extended).ok().as_deref(),
                Some(formatted.as_str()),
                "formatted twice"
            );
            if let Ok(query) = parse_with(text, Dialect::Extended) {
                assert_same(&query, &formatted, Dialect::Extended);
            }
        }
        Err(FormatError::Changed) => panic!("formatting would change the query"),
        Err(FormatError::Syntax(_) | FormatError::TooLong) => {}
    }
});

fn assert_same(query: &Query, text: &str, dialect: Dialect) {
    match parse_with(text, dialect) {
        Ok(again) => assert!(again.eq_ignoring_spans(query), "{text}\nis\n{again}"),
        Err(errors) => {
            let is_limit = errors.iter().all(|error| ["nested-too-deep", "query-too-long"].contains(&error.code));
            assert!(is_limit, "{text}\n{}: {}", errors[0].code, errors[0].message);
        }
    }
}
