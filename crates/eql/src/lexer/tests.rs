use super::*;

fn kinds(source: &str) -> Vec<TokenKind> {
    let lexed = lex(source);
    assert!(lexed.diagnostics.is_empty(), "{source}: {:?}", lexed.diagnostics);
    lexed.tokens.iter().map(|token| token.kind).collect()
}

fn texts(source: &str) -> Vec<&str> {
    let lexed = lex(source);
    lexed.tokens.iter().map(|token| &source[token.span.start as usize..token.span.end as usize]).collect()
}

fn codes(source: &str) -> Vec<&'static str> {
    lex(source).diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn words_and_symbols() {
    use TokenKind as T;
    assert_eq!(
        kinds("a.b_2 AND and @timestamp"),
        [T::Identifier, T::Dot, T::Identifier, T::Identifier, T::And, T::Identifier, T::End]
    );
    assert_eq!(
        kinds("in in~ like~ regex~ startsWith~"),
        [T::In, T::InFold, T::LikeFold, T::RegexFold, T::TildeIdentifier, T::End]
    );
    assert_eq!(
        kinds("![a] != < <= ?x"),
        [
            T::OpenMissing,
            T::Identifier,
            T::CloseBracket,
            T::NotEqual,
            T::Less,
            T::LessEqual,
            T::Question,
            T::Identifier,
            T::End
        ]
    );
}

#[test]
fn numbers() {
    assert_eq!(
        texts("5 5. .5 5e14 5.5E-3 5m 1.2.3 5e"),
        ["5", "5.", ".5", "5e14", "5.5E-3", "5", "m", "1.2", ".3", "5", "e", ""]
    );
    assert_eq!(decode_number("9223372036854775807"), Some(Number::Int(i64::MAX)));
    assert_eq!(decode_number("9223372036854775808"), Some(Number::Unsigned(1 << 63)));
    assert_eq!(decode_number("18446744073709551616"), Some(Number::Double(18446744073709551616.0)));
    assert_eq!(decode_number("5."), Some(Number::Double(5.0)));
    assert_eq!(decode_number(".5"), Some(Number::Double(0.5)));
    assert_eq!(codes("1e999"), ["number-too-large"]);
}

#[test]
fn raw_strings_may_end_in_quotes() {
    assert_eq!(texts("\"\"\"a\"\"\"\"\" b"), ["\"\"\"a\"\"\"\"\"", "b", ""]);
    assert_eq!(texts("\"\"\"a\"\"\"\"\"\"\""), ["\"\"\"a\"\"\"\"\"", "\"\"", ""]);
    assert_eq!(texts(r#""""""""""#), [r#""""""""""#, ""]);
    assert_eq!(codes("\"\"\"a\n\"\"\""), ["unclosed-string", "unclosed-string"]);
}

#[test]
fn escapes() {
    let decode = |inner: &str| {
        let mut faults = Vec::new();
        let value = decode_string(inner, |range, _| faults.push((range.start, range.end)));
        (value, faults)
    };
    assert_eq!(decode(r#"a\b\t\n\f\r\"\\z"#), ("a\u{8}\t\n\u{c}\r\"\\z".into(), vec![]));
    assert_eq!(decode(r"\u{41}\u{0001F600}"), ("A😀".into(), vec![]));
    assert_eq!(decode(r"\d").1, [(0, 2)]);
    assert_eq!(decode(r"\é").1, [(0, 3)]);
    assert_eq!(decode(r"x\u{1}").1, [(1, 6)]);
    assert_eq!(decode(r"\u{D800}").1, [(0, 8)]);
    assert_eq!(decode(r"\u{110000}").1, [(0, 10)]);
    assert_eq!(decode(r"\u{000000041}").1, [(0, 13)]);
    assert_eq!(decode(r"\u{zz}").1, [(0, 3)]);
    assert_eq!(decode(r"\u0041").1, [(0, 2)]);
}

#[test]
fn comments_nest() {
    assert_eq!(texts("a // b\nc /* d /* e */ f */ g"), ["a", "c", "g", ""]);
    assert_eq!(codes("a /* b /* c */"), ["unclosed-comment"]);
    assert_eq!(codes(&"/*".repeat(100_000)), ["unclosed-comment"]);
}

#[test]
fn backticks() {
    assert_eq!(texts("`a b`.`c``d`"), ["`a b`", ".", "`c``d`", ""]);
    assert_eq!(decode_identifier("`c``d`"), "c`d");
    assert_eq!(codes("``"), ["empty-name"]);
    assert_eq!(codes("`a"), ["unclosed-backtick"]);
}

#[test]
fn foreign_operators_are_repaired() {
    assert_eq!(codes("a && b || !c"), ["unknown-operator"; 3]);
    assert_eq!(codes("a !: 1 <> 2 === 3"), ["unknown-operator"; 3]);
    assert_eq!(codes("'a' ?\"b\" ?'c'"), ["single-quotes", "old-raw-string", "old-raw-string"]);
    assert_eq!(codes("a \u{a0} b"), ["unknown-character"]);
}
