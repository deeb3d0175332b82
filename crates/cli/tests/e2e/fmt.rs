//! `eqlipse rules fmt`, end to end.

use std::fs;

use crate::bench::{Bench, SEQUENCE, eqlipse};

const QUERY: &str = "process where event.type==\"start\"and process.name:(\"a.exe\",'')";

/// A rule with a query as it is written in TOML, quotes and all.
fn rule(query: &str) -> String {
    let head = SEQUENCE.split("query =").next().unwrap_or_default();
    // A comment and odd spaces outside of the query stay.
    format!("# kept\n{head}query   = {query}   # kept, too\n\n# end")
}

fn query() -> String {
    QUERY.replace(",''", ",\"b\"")
}

const FORMATTED: &str = "process where event.type == \"start\" and process.name : (\"a.exe\", \"b\")";

#[test]
fn files_are_written_in_place() {
    let bench = Bench::new();
    bench.file("rules/a.toml", rule(&format!("'''\n{}'''", query())));
    bench.file("rules/deep/b.toml", rule(&format!("'''\n{FORMATTED}\n'''")));
    bench.file("rules/c.test.toml", "[[tests]]\nname = \"no rule\"\n");
    let formatted = rule(&format!("'''\n{FORMATTED}\n'''"));
    let before = bench.read("rules/a.toml");
    let (out, err, code) = bench.run_all(&["rules", "fmt", "rules", "--check"]);
    assert_eq!((out.as_str(), code), ("rules/a.toml\n", 1), "{err}");
    assert!(err.contains("1 file would change, 1 unchanged"), "{err}");
    let (out, code) = bench.run(&["rules", "fmt", "rules", "--diff"]);
    assert_eq!(code, 0);
    assert!(out.contains(&format!("\n-{}'''", query())) && out.contains(&format!("\n+{FORMATTED}\n")), "{out}");
    assert_eq!(bench.read("rules/a.toml"), before);
    let (out, err, code) = bench.run_all(&["rules", "fmt", "rules"]);
    assert_eq!((out.as_str(), code), ("rules/a.toml\n", 0), "{err}");
    assert_eq!(bench.read("rules/a.toml"), formatted);
    assert_eq!(bench.run(&["rules", "fmt", "rules", "--check"]), (String::new(), 0));
}

#[test]
fn every_way_to_write_a_query() {
    let bench = Bench::new();
    let long = "any where process.name == \"some long name of a program\" and \
        process.args == \"some long text of an argument of this program\"";
    let broken = long.replace(" and ", " and\n  ");
    for (before, after) in [
        (format!("'{}'", query()), format!("'{FORMATTED}'")),
        (format!("'{long} and b'"), format!("'''\n{broken} and\n  b\n'''")),
        ("\"any where a==1\"".to_owned(), "\"any where a == 1\"".to_owned()),
        (format!("'''{}'''", query()), format!("'''\n{FORMATTED}\n'''")),
        ("\"\"\"\nany   where a\"\"\"".to_owned(), "\"\"\"\nany where a\n\"\"\"".to_owned()),
    ] {
        let path = bench.file("rule.toml", rule(&before));
        let (_, err, code) = bench.run_all(&["rules", "fmt", "rule.toml"]);
        assert_eq!((fs::read_to_string(&path).unwrap(), code), (rule(&after), 0), "{before}: {err}");
        assert_eq!(bench.run(&["rules", "fmt", "rule.toml", "--check"]).1, 0, "{before}");
    }
    let windows = rule(&format!("'''\n{}\n'''", query())).replace('\n', "\r\n");
    bench.file("rule.toml", windows);
    let (_, err, code) = bench.run_all(&["rules", "fmt", "rule.toml"]);
    let after = bench.read("rule.toml");
    assert!(code == 0 && !after.replace("\r\n", "").contains('\n') && after.contains(FORMATTED), "{err}{after}");
}

#[test]
fn what_cannot_be_formatted_is_said() {
    let bench = Bench::new();
    let escaped = bench.file("escaped.toml", rule("\"any where a == \\\"b\\\"\""));
    let before = fs::read_to_string(&escaped).unwrap();
    let (_, err, code) = bench.run_all(&["rules", "fmt", "escaped.toml"]);
    assert!(code == 1 && err.contains("not formatted") && err.contains("letter by letter"), "{err}");
    assert_eq!(fs::read_to_string(&escaped).unwrap(), before);
    bench.file("wrong.toml", rule("'any where'"));
    let (_, err, code) = bench.run_all(&["rules", "fmt", "wrong.toml"]);
    assert!(code == 1 && err.contains("the query is not well formed"), "{err}");
    assert_eq!(bench.run(&["rules", "fmt", "nowhere"]).1, 1);
    assert_eq!(bench.run(&["rules", "fmt"]).1, 2);
    assert_eq!(bench.run(&["rules", "fmt", "-", "rules"]).1, 2);
}

#[test]
fn a_bare_query() {
    for arguments in [["rules", "fmt", "-"], ["rules", "fmt", "--stdin"]] {
        let output = eqlipse().args(arguments).write_stdin(query()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{FORMATTED}\n"));
    }
    let output = eqlipse().args(["rules", "fmt", "-", "--check"]).write_stdin(query()).output().unwrap();
    assert_eq!((output.stdout.len(), output.status.code()), (0, Some(1)));
    let output = eqlipse().args(["rules", "fmt", "-"]).write_stdin("process where").output().unwrap();
    assert_eq!((output.stdout.len(), output.status.code()), (0, Some(1)));
}
