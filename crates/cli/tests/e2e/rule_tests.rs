//! `eqlipse rules test`, end to end.

use serde_json::Value;

use crate::bench::{Bench, SINGLE};

/// One test that passes, for [`SINGLE`].
const PASSES: &str = r#"
[[tests]]
name = "a <shell>"
alerts = 1
files = ["../events.ndjson"]
"#;

/// One that does not.
const FAILS: &str = r#"
[[tests]]
name = "no \"shell\" & more"
expect = []

[[tests.events]]
event.category = "process"
process.parent.name = "courier.exe"
"#;

fn bench(tests: &str) -> Bench {
    let bench = Bench::filled();
    bench.file("rules/single.test.toml", tests);
    bench
}

#[test]
fn tests_pass_and_fail() {
    let (out, err, code) = bench(PASSES).run_all(&["rules", "test", "rules"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("Shell by Courier\n  ok    a <shell>\nRules without tests\n  Courier Reaches"), "{out}");
    assert!(out.ends_with("1 test passed, 0 failed; 1 rule without tests\n"), "{out}");
    let (out, code) = bench(PASSES).run(&["rules", "test", "rules", "--require-tests"]);
    assert_eq!(code, 1, "{out}");
    // A file of tests stands for its rule.
    let both = format!("{PASSES}{FAILS}");
    for path in ["rules/single.toml", "rules/single.test.toml"] {
        let (out, code) = bench(&both).run(&["rules", "test", path]);
        let failed = "  FAIL  no \"shell\" & more\n        not expected: [0]\n1 test passed, 1 failed\n";
        assert!(code == 1 && out.ends_with(failed), "{out}");
    }
}

#[test]
fn tests_inside_the_rule() {
    let bench = Bench::new();
    bench.file("rule.toml", format!("{SINGLE}{}", FAILS.replace("[]", "[[0]]")));
    let (out, err, code) = bench.run_all(&["rules", "test", "rule.toml", "--require-tests"]);
    assert!(code == 0 && out.contains("1 test passed, 0 failed"), "{out}{err}");
    let (out, err, code) = bench.run_all(&["rules", "check", "rule.toml", "--strict"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn junit_is_well_formed() {
    let bench = bench(&format!("{PASSES}{FAILS}"));
    let (out, err, code) =
        bench.run_all(&["rules", "test", "rules", "--require-tests", "--format", "junit", "--output", "junit.xml"]);
    assert!(code == 1 && out.is_empty() && err.contains("1 test passed, 1 failed; 1 rule without"), "{out}{err}");
    let xml = bench.read("junit.xml");
    assert!(xml.contains("<testsuites name=\"eqlipse\" tests=\"3\" failures=\"2\" errors=\"0\">"), "{xml}");
    assert!(xml.contains("<testcase classname=\"Shell by Courier\" name=\"a &lt;shell&gt;\"/>"), "{xml}");
    assert!(xml.contains("name=\"no &quot;shell&quot; &amp; more\">"), "{xml}");
    let open = |name: &str| xml.matches(&format!("<{name} ")).count();
    for name in ["testsuites", "testsuite", "testcase", "failure"] {
        let empty = xml.lines().filter(|line| line.contains(&format!("<{name} ")) && line.ends_with("/>")).count();
        assert_eq!(open(name), xml.matches(&format!("</{name}>")).count() + empty, "{name}: {xml}");
    }
    let (out, _) = bench.run(&["rules", "test", "rules", "--format", "json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["counts"], serde_json::json!({ "passed": 1, "failed": 1, "errors": 0 }));
    assert_eq!(json["tests"][1]["message"], "not expected: [0]");
    assert_eq!(json["rules_without_tests"][0]["rule"], "Courier Reaches the Network");
}

#[test]
fn tests_out_of_order_are_errors() {
    let bench = bench(&PASSES.replace("alerts", "alert"));
    let (out, _, code) = bench.run_all(&["rules", "test", "rules"]);
    assert!(code == 1 && out.contains("rules/single.test.toml: ") && out.contains("unknown field `alert`"), "{out}");
    bench.file("rules/single.test.toml", PASSES.replace("events.ndjson", "nowhere.ndjson"));
    let (out, _, code) = bench.run_all(&["rules", "test", "rules"]);
    assert!(code == 1 && out.contains("ERR   a <shell>") && out.contains("nowhere.ndjson"), "{out}");
    bench.file("rules/single.test.toml", "");
    bench.file("rules/other.test.toml", PASSES);
    let (_, err, code) = bench.run_all(&["rules", "test", "rules"]);
    assert!(code == 1 && err.contains("other.test.toml: no rule beside it"), "{err}");
    assert_eq!(bench.run(&["rules", "test", "rules", "--nonsense"]).1, 2);
}

#[test]
fn coverage_names_what_the_tests_leave_out() {
    let bench = Bench::new();
    let query = r#"process where a == 1 and not (b : ("x*", "y") or c != 2) and true"#;
    bench.file("rules/r.toml", SINGLE.replace(r#"process where process.parent.name == "courier.exe""#, query));
    let test = |name: &str, events: &str| format!("[[tests]]\nname = \"{name}\"\nalerts = 0\nevents = [{events}]\n");
    let process = |more: &str| format!("{{event.category = \"process\", {more}}}");
    // Events of another category do not count, whatever they have.
    let other = "{event.category = \"file\", a = 1, b = \"y\", c = 2}".to_owned();
    let tests = |events: &[String]| bench.file("rules/r.test.toml", test("t", &events.join(", ")));
    let run = |more: &[&str]| bench.run(&[&["rules", "test", "rules"], more].concat());
    tests(&[other.clone(), process("a = 2, c = 2")]);
    let (out, code) = run(&["--coverage"]);
    assert_eq!(code, 0, "{out}");
    let expected = "    never true    a == 1\n    never true    b : (\"x*\", \"y\")\n    never true    c != 2\n";
    assert!(out.contains(expected) && out.ends_with("0 of 3 clauses seen true and false\n"), "{out}");
    assert_eq!(run(&["--require-coverage"]).1, 1);
    let (xml, code) = run(&["--require-coverage", "--format", "junit"]);
    assert!(code == 1 && xml.contains("failures=\"1\"") && xml.contains("name=\"covers every clause\""), "{xml}");
    let (xml, code) = run(&["--coverage", "--format", "junit"]);
    assert!(code == 0 && xml.contains("<system-out>never true: a == 1 in process where"), "{xml}");
    let json: Value = serde_json::from_str(&run(&["--coverage", "--format", "json"]).0).unwrap();
    assert_eq!((&json["coverage"]["clauses"], &json["coverage"]["covered"]), (&3.into(), &0.into()));
    assert_eq!(json["coverage"]["not_covered"][1]["clause"], "b : (\"x*\", \"y\")");
    tests(&[other, process("a = 2, c = 2"), process("a = 1, b = \"y\", c = 3")]);
    let (out, code) = run(&["--require-coverage"]);
    assert!(code == 0 && out.ends_with("; 3 of 3 clauses seen true and false\n"), "{out}");
}

#[test]
fn coverage_is_asked_of_tested_rules_only() {
    let bench = bench(PASSES);
    let (out, _) = bench.run(&["rules", "test", "rules", "--coverage"]);
    assert!(out.ends_with("; 1 rule without tests; 1 of 1 clause seen true and false\n"), "{out}");
    assert_eq!(bench.run(&["rules", "test", "rules", "--require-coverage"]).1, 0);
    let run = |more: &[&str]| bench.run(&[&["rules", "test", "rules", "--format", "junit"], more].concat());
    // The counts of the whole are those of its cases.
    for (more, failures) in [(&["--require-coverage"][..], 0), (&["--require-coverage", "--require-tests"], 1)] {
        let (xml, code) = run(more);
        let count = format!("failures=\"{failures}\"");
        assert!(code == failures && xml.lines().nth(1).unwrap().contains(&count), "{xml}");
        assert_eq!(xml.matches("<failure ").count(), usize::try_from(failures).unwrap(), "{xml}");
    }
}

#[test]
fn all_bundled_rules_pass_their_tests() {
    let (out, err, code) = Bench::new().run_all(&["rules", "test", "--require-tests", "--require-coverage"]);
    assert_eq!(code, 0, "{out}{err}");
    let (out, _) = Bench::new().run(&["rules", "test", "--format", "json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert!(json["counts"]["passed"].as_u64().unwrap() >= 80, "{}", json["counts"]);
}
