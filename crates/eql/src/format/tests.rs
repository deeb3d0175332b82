use super::*;

fn check(source: &str, expected: &str) {
    let formatted = format(source).unwrap_or_else(|error| panic!("{source}: {error:?}"));
    assert_eq!(formatted, expected, "of {source}");
    assert_eq!(format(&formatted).ok().as_deref(), Some(expected), "again");
}

const LONG: &str = "a.very_long_field_name_for_a_test == \"with a value that takes quite some room\"";

#[test]
fn spaces() {
    check("any where  a==1and(b:\"x\"or not c)", "any where a == 1 and (b : \"x\" or not c)");
    check("any where -1+-2*- a<=.5", "any where -1 + -2 * -a <= .5");
    check("any where ?a . b in~(1,-2 ,3)", "any where ?a.b in~ (1, -2, 3)");
    check("any where length ( a )==1", "any where length(a) == 1");
    check("any where stringContains~ (a , \"b\")", "any where stringContains~(a, \"b\")");
    check("any where `a b`.c==\"\"\"\\x\"\"\"", "any where `a b`.c == \"\"\"\\x\"\"\"");
    check("any where a|head 1+1|tail 5", "any where a\n| head 1 + 1\n| tail 5");
}

#[test]
fn sequences() {
    check(
        "sequence by a,b with maxspan = 5 m [any where x]by c with runs=2 ![any where y] by d until[any where z]by e",
        "sequence by a, b with maxspan=5m\n  [any where x] by c with runs=2\n ![any where y] by d\n\
         until [any where z] by e",
    );
    check("sample by a [any where x]\n\n\n[any where y]", "sample by a\n  [any where x]\n\n  [any where y]");
}

#[test]
fn long_chains_have_a_line_for_each_part() {
    check(
        &format!("any where event.type == \"start\" and host.os.type == \"linux\" and x == 1 and {LONG}"),
        &format!("any where event.type == \"start\" and host.os.type == \"linux\" and\n  x == 1 and\n  {LONG}"),
    );
    check(
        &format!("any where a and ({LONG} or b == \"padding padding padding\") and c"),
        &format!("any where a and\n  (\n    {LONG} or\n    b == \"padding padding padding\"\n  ) and\n  c"),
    );
    check(
        &format!("any where a and b or {LONG} and c == \"padding padding\""),
        &format!("any where a and b or\n  {LONG} and c == \"padding padding\""),
    );
    check(
        &format!("any where not ({LONG} or b == \"padding padding padding\")"),
        &format!("any where not (\n  {LONG} or\n  b == \"padding padding padding\"\n)"),
    );
}

#[test]
fn long_lists_are_filled_or_have_a_line_for_each_entry() {
    let short = (10..30).map(|n| format!("\"{n}\"")).collect::<Vec<_>>();
    let (first, second) = (short[..18].join(", "), short[18..].join(", "));
    check(&format!("any where a in ({first}, {second})"), &format!("any where a in (\n  {first},\n  {second}\n)"));
    let wide = "\"a path of more than forty columns, all of them\"";
    check(
        &format!("any where a in ({wide}, {wide}, \"x\")"),
        &format!("any where a in (\n  {wide},\n  {wide},\n  \"x\"\n)"),
    );
}

#[test]
fn comments_stay_at_their_place() {
    check("// first\n\nany where a // last\n// end", "// first\n\nany where a // last\n// end");
    check("any where /* x */ a and /* y */ b", "any where /* x */ a and /* y */ b");
    check("any where a // x\nand b // y\nor c", "any where\n  a and // x\n    b or // y\n  c");
    check("any where a\n// about b\nand b", "any where a and\n  // about b\n  b");
    check(
        "any where x in (\"a\", // one\n// two\n\"b\" // three\n)",
        "any where x in (\n  \"a\", // one\n  // two\n  \"b\" // three\n)",
    );
    check("any where x in ( // why\n\"a\"\n// end\n)", "any where x in ( // why\n  \"a\"\n  // end\n)");
    check("any where a == // x\n1 and b", "any where a == 1 and // x\n  b");
    check("any where a ==\n// x\n1", "any where\n  // x\n  a == 1");
    check(
        "sequence // s\n/* one */\n[any where a // a\n] by b\n// two\n[any where c] by d",
        "sequence // s\n  /* one */\n  [any where a // a\n  ] by b\n  // two\n  [any where c] by d",
    );
    check("/* one\n   two */ any where a", "/* one\n   two */\nany where a");
}

#[test]
fn relations() {
    let check = |source: &str, expected: &str| {
        assert_eq!(format_with(source, Dialect::Extended).expect(source), expected, "of {source}");
        assert_eq!(format_with(expected, Dialect::Extended).expect(expected), expected, "again");
    };
    check("any where child  of[any where  a]and b", "any where child of [any where a] and b");
    check("any where child of [any where a // x\n]", "any where child of [any where\n  a // x\n]");
    check(
        "any where child of [any // one\nwhere // two\na]",
        "any where child of [\n  // one\n  any where // two\n  a\n]",
    );
}

#[test]
fn blank_lines_between_parts_stay() {
    check("any where a and\n\n\n b\n\n and c", "any where a and\n\n  b and\n\n  c");
    check("any where (\n\na\n\n)", "any where (a)");
}
