//! The readers on rules of our own, good and bad.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use eqlipse_rules::*;
use serde_json::{Map, Value, json};

const TOML: &str = r####"# a comment first
[metadata]
creation_date = "2026/01/02"
integration = "system"
maturity = "production"
updated_date = "2026/01/03"
owner = "blue team"

[rule]
author = ["A"]
description = "Finds a thing."
index = ["logs-*"]
language = "eql"
name = "A Thing"
note = """## Triage

Look.

## Setup

Turn it on.

## Related

None.
"""
risk_score = 73
rule_id = "0b5c2b5e-6d2f-4a44-9c1e-2f0a3f6f7a01"
severity = "high"
type = "eql"
query = '''
process where process.name : "thing.exe"
'''

[[rule.threat]]
framework = "MITRE ATT&CK"

[rule.threat.tactic]
id = "TA0002"
name = "Execution"
reference = "https://attack.mitre.org/tactics/TA0002/"

[[rule.threat.technique]]
id = "T1059"
name = "Command and Scripting Interpreter"
reference = "https://attack.mitre.org/techniques/T1059/"

[[rule.threat.technique.subtechnique]]
id = "T1059.001"
name = "PowerShell"
reference = "https://attack.mitre.org/techniques/T1059/001/"

[[rule.threat.technique.subtechnique]]
id = "T1059.003"
name = "Windows Command Shell"
reference = "https://attack.mitre.org/techniques/T1059/003/"
"####;

const PAGE: &str = r####"---
mapped_pages:
  - x
---

# Odd Child Process [prebuilt-rule-1-0-0-odd-child-process]

Finds an odd child. See [date math]({{ref}}/common-options.html#date-math).

It has two paragraphs.

**Rule type**: eql

**Rule indices**:

* logs-a-*
* logs-*_b_*

**Severity**: low

**Risk score**: 21

**Runs every**: 10m

**Searches indices from**: now-20m ({{ref}}/common-options.html#date-math[Date Math format], see also [`x`](docs-content://y.md))

**Maximum alerts per execution**: 33

**References**:

* [https://example.com/a.html](https://example.com/a.md)
* <https://example.com/b>
* [a title](https://example.com/c)

**Tags**:

* One

**Version**: 4

**Rule authors**:

* A
* B

**Rule license**: Apache-2.0

## Investigation guide [_guide_1]

### First steps

**Ask** someone.

```sql
# not a heading
select 1
```

## Setup [_setup_1]

Install it.

## Rule query [_rule_query_1]

```eql
process where process.name == "a" and
  // # not a heading
  process.args : "**Rule type**: no"
```

**Framework**: MITRE ATT&CK^TM^

* Tactic:

    * Name: Execution
    * ID: TA0002
    * Reference URL: [https://attack.mitre.org/tactics/TA0002/](https://attack.mitre.org/tactics/TA0002/)

* Technique:

    * Name: Command and Scripting Interpreter
    * ID: T1059

* Technique:

    * Name: User Execution
    * ID: T1204

* Sub-technique:

    * Name: PowerShell
    * ID: T1059.001

* Sub-technique:

    * Name: Malicious File
    * ID: T1204.002

* Tactic:

    * Name: Impact
    * ID: TA0040

# Jobs Without an Anchor

Anomalies.

**Rule type**: machine_learning

**Rule indices**: None

**Severity**: high

**Risk score**: 73

**Machine learning job**: job_a, job_b

**Machine learning anomaly threshold**: 50

## Plain Query [plain]

Text.

**Rule type**: query

**Severity**: medium

**Risk score**: 47

## Rule query [_q]

```js
event.code:1
```

# Counting

**Rule type**: threshold

**Severity**: medium

**Risk score**: 47
"####;

fn api_rule(id: &str, version: u32) -> Map<String, Value> {
    let rule = json!({
        "rule_id": id, "name": format!("Rule {id}"), "description": "d", "type": "query", "query": "a:1",
        "language": "kuery", "severity": "low", "risk_score": 21, "index": ["x"], "version": version,
    });
    rule.as_object().expect("an object").clone()
}

fn line(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).expect("JSON") + "\n"
}

fn ids(load: &RuleLoad) -> Vec<(&str, u32)> {
    load.rules.iter().map(|loaded| (loaded.rule.id(), loaded.rule.version)).collect()
}

fn reasons(load: &RuleLoad) -> Vec<SkipReason> {
    load.skipped.iter().map(|skipped| skipped.reason.clone()).collect()
}

fn only(load: &RuleLoad) -> &LoadedRule {
    assert!(load.failures.is_empty(), "{:#?}", load.failures);
    let [loaded] = load.rules.as_slice() else { panic!("{load:#?}") };
    loaded
}

fn failure(text: &[u8]) -> String {
    let load = load_bytes("f", text);
    assert!(load.rules.is_empty(), "{load:#?}");
    let [failure] = load.failures.as_slice() else { panic!("{load:#?}") };
    failure.to_string()
}

fn asset(id: &str, version: u32) -> (String, Vec<u8>) {
    let value = json!({"id": format!("{id}_{version}"), "type": "security-rule", "attributes": api_rule(id, version)});
    (format!("kibana/security_rule/{id}_{version}.json"), value.to_string().into_bytes())
}

fn package() -> Vec<(String, Vec<u8>)> {
    let stub = json!({"id": "old_9", "type": "security-rule",
        "attributes": {"rule_id": "old", "version": 9, "name": "Old", "deprecated": true}});
    vec![
        ("manifest.yml".to_owned(), b"format_version: 3.0.0\n".to_vec()),
        ("docs/README.md".to_owned(), b"# Rules\n".to_vec()),
        ("img/logo.png".to_owned(), b"\x89PNG\0\0".to_vec()),
        asset("aaa", 2),
        asset("aaa", 10),
        asset("aaa", 9),
        asset("bbb", 1),
        ("kibana/security_rule/old_9.json".to_owned(), stub.to_string().into_bytes()),
    ]
}

fn zip(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).expect("a member");
        writer.write_all(content).expect("its content");
    }
    writer.finish().expect("a zip").into_inner()
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::write(path, content).expect("a file");
}

#[test]
fn toml_rule() {
    let load = load_bytes("rule.toml", TOML.as_bytes());
    let loaded = only(&load);
    let rule = &loaded.rule;
    assert_eq!(rule.id(), "0b5c2b5e-6d2f-4a44-9c1e-2f0a3f6f7a01");
    assert_eq!((rule.rule_type(), rule.language()), (RuleType::Eql, Some("eql")));
    assert_eq!((rule.severity, rule.risk_score), (Severity::High, 73));
    assert_eq!(rule.query(), Some("process where process.name : \"thing.exe\"\n"));
    assert_eq!(rule.index(), ["logs-*"]);
    assert_eq!(rule.note.as_deref(), Some("## Triage\n\nLook.\n## Related\n\nNone."));
    assert_eq!(rule.setup, "## Setup\n\nTurn it on.");
    assert_eq!(rule.tactic_ids().collect::<Vec<_>>(), ["TA0002"]);
    assert_eq!(rule.technique_ids().collect::<Vec<_>>(), ["T1059", "T1059.001", "T1059.003"]);
    let metadata = rule.metadata.as_ref().expect("metadata");
    assert_eq!(metadata.integration, ["system"]);
    assert_eq!(metadata.extra["owner"], json!("blue team"));
    assert!(!rule.is_deprecated() && !rule.is_building_block());
    assert_eq!(validate(rule), []);
    let offset = loaded.origin.query_offset.expect("an offset");
    assert!(TOML[offset..].starts_with("process where"));
    assert_eq!(loaded.content_hash.len(), 64);
}

#[test]
fn encodings_and_line_ends() {
    let crlf = TOML.replace('\n', "\r\n");
    let load = load_bytes("f", crlf.as_bytes());
    assert_eq!(only(&load).rule.name, "A Thing");
    let with_bom = format!("\u{feff}{TOML}");
    let load = load_bytes("f", with_bom.as_bytes());
    let offset = only(&load).origin.query_offset.expect("an offset");
    assert!(with_bom.as_bytes()[offset..].starts_with(b"process where"));
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        let text = format!("\u{feff}{}", line(api_rule("a", 1)));
        let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
        assert_eq!(ids(&load_bytes("f", &bytes)), [("a", 1)]);
    }
    assert_eq!(failure(b"\xff\xfe\x00\xd8\x00\xd8"), "f: not valid UTF-16 at byte 0");
    assert_eq!(failure(b"{\"a\": \"\xff\"}"), "f: not valid UTF-8 at byte 7");
}

#[test]
fn new_terms_are_flattened() {
    let text = r#"
[metadata]
maturity = "production"
[rule]
name = "New"
description = "d"
severity = "low"
risk_score = 21
rule_id = "x"
type = "new_terms"
language = "kuery"
query = 'a:1'
index = ["x"]
[rule.new_terms]
field = "new_terms_fields"
value = ["user.name", "host.name"]
[[rule.new_terms.history_window_start]]
field = "history_window_start"
value = "now-14d"
"#;
    let load = load_bytes("f", text.as_bytes());
    let RuleKind::NewTerms(kind) = &only(&load).rule.kind else { panic!() };
    assert_eq!(kind.new_terms_fields, ["user.name", "host.name"]);
    assert_eq!(kind.history_window_start.as_str(), "now-14d");
}

#[test]
fn faults_have_a_place() {
    let text = failure(TOML.replace("risk_score = 73", "risk_score = \"high\"").as_bytes());
    let expected = "f: `risk_score`: must be a whole number, not negative and not too large, not the text \"high\"";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains(" | risk_score = \"high\"\n") && text.ends_with("|              ^"), "{text}");

    let text = failure(TOML.replace("type = \"eql\"", "type = \"eq\"\nenabled = 1").as_bytes());
    assert!(text.contains("`type`: unknown rule type `eq`; use one of query, saved_query, eql"), "{text}");
    assert!(text.contains("; `enabled`: must be true or false, not 1"), "{text}");

    let text = failure(TOML.replace("language = \"eql\"", "language = ").as_bytes());
    assert!(text.starts_with("f: TOML syntax: "), "{text}");
    assert!(text.contains("at line 13, column "), "{text}");

    let text = failure(b"{\"rule_id\": \"a\",\n  \"name\": x}");
    assert_eq!(text, "f: JSON syntax: expected value at line 2, column 11\n  |\n2 |   \"name\": x}\n  |           ^");
}

#[test]
fn missing_things_get_defaults_and_notes() {
    let load = load_bytes("f", br#"{"type": "eql", "query": "any where true", "name": "N"}"#);
    let rule = &only(&load).rule;
    assert_eq!((rule.severity, rule.risk_score, rule.max_signals), (Severity::Low, 21, 100));
    assert_eq!((rule.from.as_str(), rule.to.as_str(), rule.interval.seconds()), ("now-6m", "now", 300));
    let fields: Vec<String> = validate(rule).into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["severity", "risk_score", "rule_id", "description", "index"]);
    // The derived id does not change from load to load.
    assert_eq!(rule.id(), load_bytes("g", br#"{"type":"eql","query":"q","name":"N"}"#).rules[0].rule.id());
}

#[test]
fn bad_values_are_reported() {
    let check = |changes: Value| {
        let mut fields = api_rule("a", 1);
        fields.extend(changes.as_object().expect("an object").clone());
        let rule = Rule::from_json(fields).expect("a rule");
        validate(&rule).iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(check(json!({})), "");
    assert_eq!(
        check(json!({"severity": "urgent", "risk_score": 99})),
        "severity: unknown severity `urgent`: use low, medium, high or critical; `critical` is used"
    );
    assert_eq!(check(json!({"risk_score": 101})), "risk_score: 101 is not between 0 and 100; 21 is used");
    assert_eq!(check(json!({"max_signals": 0})), "max_signals: 0 is less than 1; 1 is used");
    let interval = "interval: `5x` is not an interval: write digits and one of s, m, h, d, such as `5m`; 5m is used";
    assert_eq!(check(json!({"interval": "5x"})), interval);
    let from = "from: `then-5m` is not date math: it must begin with `now`, or with a date and `||`; now-6m is used";
    assert_eq!(check(json!({"from": "then-5m"})), from);
    assert_eq!(check(json!({"from": "now"})), "from: `now` does not come before `to`, `now`");
    let gap = "from: the window is shorter than the interval of 5m: events between runs are missed";
    assert_eq!(check(json!({"from": "now-4m"})), gap);
    let threat = json!({"threat": [{"framework": "MITRE ATT&CK", "tactic": {"id": "T5"}, "technique": [
        {"id": "T1059", "subtechnique": [{"id": "T1204.001"}, {"id": "T1059.1"}]}, {"id": "1059"}]}]});
    assert_eq!(
        check(threat),
        "threat[0].tactic.id: `T5` is not an ATT&CK id such as TA0005 | \
         threat[0].technique.subtechnique: `T1204.001` is not a sub-technique of T1059 | \
         threat[0].technique.subtechnique: `T1059.1` is not an ATT&CK id such as T1218.005 | \
         threat[0].technique: `1059` is not an ATT&CK id such as T1218"
    );
    let foreign = json!({"threshold": {"field": "a", "value": 1}, "new_terms_fields": []});
    assert_eq!(check(foreign), "threshold: has no effect in a rule of type query");
    assert_eq!(
        check(json!({"alert_suppression": {"group_by": ["a", "b", "c", "d"], "duration": {"value": 0, "unit": "h"}}})),
        "alert_suppression.group_by: must name 1 to 3 fields, not 4 | alert_suppression.duration.value: must be 1 or more"
    );
}

#[test]
fn every_type_reads_its_fields() {
    let read = |changes: Value| {
        let mut fields = api_rule("a", 1);
        fields.extend(changes.as_object().expect("an object").clone());
        Rule::from_json(fields)
    };
    let fault = |changes: Value| read(changes).expect_err("a fault").to_string();
    assert_eq!(fault(json!({"type": null})).split(';').next(), Some("`type`: missing"));
    assert_eq!(fault(json!({"type": "eql"})), "`language`: `kuery` does not fit this rule type; use eql");
    assert_eq!(fault(json!({"type": "saved_query"})), "`saved_id`: missing");
    assert_eq!(fault(json!({"type": "threshold"})), "`threshold`: missing; a threshold rule needs `{field, value}`");
    assert_eq!(fault(json!({"type": "threshold", "threshold": {"field": 1}})).split(';').count(), 1);
    assert_eq!(fault(json!({"type": "new_terms"})), "`new_terms_fields`: missing; `history_window_start`: missing");
    assert_eq!(fault(json!({"type": "threat_match"})), "`threat_query`: missing; `threat_index`: missing");
    assert_eq!(
        fault(json!({"type": "machine_learning", "anomaly_threshold": 101})),
        "`anomaly_threshold`: 101 is not between 0 and 100; `machine_learning_job_id`: missing"
    );
    let rule = read(json!({"type": "threshold", "threshold": {"field": "host.name", "value": 5,
        "cardinality": [{"field": "user.name", "value": 2}]}}))
    .expect("a rule");
    let RuleKind::Threshold(kind) = &rule.kind else { panic!() };
    assert_eq!((kind.threshold.field.as_slice(), kind.threshold.value), (&["host.name".to_owned()][..], 5));
    let again = Rule::from_json(rule.to_json()).expect("a rule");
    assert_eq!(again, rule);
    let rule = read(json!({"type": "esql", "language": "esql", "query": "from x"})).expect("a rule");
    assert_eq!((rule.query(), rule.index()), (Some("from x"), &[][..]));
    let jobs = json!({"type": "machine_learning", "anomaly_threshold": 50, "machine_learning_job_id": "j"});
    assert_eq!(read(jobs).expect("a rule").query(), None);
}

#[test]
fn ndjson_export() {
    let mut unknown = api_rule("b", 3);
    unknown.insert("shade".to_owned(), json!("blue"));
    let export = [
        line(api_rule("a", 1)),
        line(&unknown),
        "\n".to_owned(),
        line(json!({"list_id": "l", "namespace_type": "single", "type": "detection", "name": "L"})),
        line(json!({"list_id": "l", "item_id": "i", "entries": [], "namespace_type": "single"})),
        line(json!({"id": "c", "type": "action", "attributes": {"actionTypeId": ".slack"}, "references": []})),
        line(json!({"exported_count": 5, "exported_rules_count": 2, "missing_rules": []})),
    ]
    .concat();
    let load = load_bytes("export.ndjson", export.as_bytes());
    assert!(load.failures.is_empty(), "{:#?}", load.failures);
    assert_eq!(ids(&load), [("a", 1), ("b", 3)]);
    assert_eq!(load.rules[1].origin.to_string(), "export.ndjson:2");
    assert_eq!(load.rules[1].rule.extra["shade"], json!("blue"));
    let expected =
        [SkipReason::ExceptionList, SkipReason::ExceptionItem, SkipReason::Connector, SkipReason::ExportSummary];
    assert_eq!(reasons(&load), expected);
    let warnings: Vec<String> = load.warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "export.ndjson:2: unknown field `shade`, kept but not used (rules with it: 1)",
        "export.ndjson:5: exceptions are not applied; 1 were found",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn damaged_ndjson() {
    let export = [
        "{\"rule_id\": broken\n".to_owned(),
        line(api_rule("a", 1)),
        line(json!({"rule_id": "c", "name": "no type"})),
        line(json!({"what": "is this"})),
        "[1]\n".to_owned(),
        line(json!({"exported_rules_count": 3})),
    ]
    .concat();
    let load = load_bytes("e", export.as_bytes());
    assert_eq!(ids(&load), [("a", 1)]);
    let places: Vec<Option<usize>> = load.failures.iter().map(|failure| failure.origin.line).collect();
    assert_eq!(places, [Some(1), Some(3), Some(4), Some(5)]);
    let text = load.failures[0].to_string();
    assert!(text.starts_with("e:1: JSON syntax: expected value at line 1, column 13"), "{text}");
    let warning = load.warnings[0].to_string();
    assert_eq!(warning, "e:6: the export's summary counts 3 rules, but 2 stand before it");
}

#[test]
fn single_json_array_and_page() {
    let load = load_bytes("f", serde_json::to_string_pretty(&api_rule("a", 1)).expect("JSON").as_bytes());
    assert_eq!(ids(&load), [("a", 1)]);
    let array = json!([api_rule("a", 1), api_rule("b", 1), {"no": "rule"}]).to_string();
    let load = load_bytes("f", array.as_bytes());
    assert_eq!((ids(&load), load.failures.len()), (vec![("a", 1), ("b", 1)], 1));
    let page = json!({"page": 1, "perPage": 20, "total": 1, "data": [api_rule("a", 1)]}).to_string();
    assert_eq!(ids(&load_bytes("f", page.as_bytes())), [("a", 1)]);
}

#[test]
fn package_as_zip_and_as_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    package().iter().for_each(|(name, content)| write(folder.path(), name, content));
    let zipped = load_bytes("p.zip", &zip(&package()));
    let unpacked = load(&[folder.path().into()]);
    for load in [&zipped, &unpacked] {
        assert!(load.failures.is_empty() && load.warnings.is_empty(), "{load:#?}");
        assert_eq!(ids(load), [("aaa", 10), ("bbb", 1)]);
        let reasons = reasons(load);
        assert_eq!(reasons.iter().filter(|reason| **reason == SkipReason::Superseded).count(), 2);
        assert_eq!(reasons.iter().filter(|reason| **reason == SkipReason::DeprecatedStub).count(), 1);
        assert_eq!(reasons.iter().filter(|reason| matches!(reason, SkipReason::NotARule(_))).count(), 3);
    }
    let origin = zipped.rules[0].origin.to_string();
    assert_eq!(origin, "p.zip!kibana/security_rule/aaa_10.json");
}

#[test]
fn assets_of_two_packages() {
    let (newer, older) = (zip(&[asset("a", 3)]), zip(&[asset("a", 2)]));
    let folder = tempfile::tempdir().expect("a folder");
    for (first, second) in [(&newer, &older), (&older, &newer)] {
        write(folder.path(), "1.zip", first);
        write(folder.path(), "2.zip", second);
        let load = load(&[folder.path().into()]);
        assert_eq!((ids(&load), reasons(&load)), (vec![("a", 3)], vec![SkipReason::Superseded]));
    }
}

#[test]
fn hostile_zips() {
    let bomb = zip(&[("a.json".to_owned(), vec![b' '; 3 << 20])]);
    assert!(failure(&bomb).contains("(MAX_ZIP_RATIO)"));
    let large = zip(&[("a.json".to_owned(), vec![b' '; (64 << 20) + 1])]);
    assert!(failure(&large).contains("(MAX_ZIP_MEMBER_SIZE)"));
    assert!(failure(&zip(&[])).ends_with("not a rule: an empty zip"));
    let good = zip(&package());
    for cut in (4..good.len()).step_by(97) {
        let load = load_bytes("z", &good[..cut]);
        assert!(load.rules.is_empty() && !load.failures.is_empty());
    }
    for at in (0..good.len()).step_by(13) {
        let mut damaged = good.clone();
        damaged[at] ^= 0x55;
        load_bytes("z", &damaged);
    }
    let nested = zip(&[("in.zip".to_owned(), good)]);
    let load = load_bytes("z", &nested);
    assert_eq!(reasons(&load), [SkipReason::NotARule("a zip inside a zip".to_owned())]);
}

#[test]
fn published_pages() {
    let load = load_bytes("page.md", PAGE.as_bytes());
    let [failure] = load.failures.as_slice() else { panic!("{load:#?}") };
    assert!(failure.to_string().contains("published pages do not say what `threshold` is"), "{failure}");
    let [odd, jobs, plain] = load.rules.as_slice() else { panic!("{load:#?}") };

    assert!(PAGE.lines().nth(odd.origin.line.expect("a line") - 1).expect("it").starts_with("# Odd Child"));
    let offset = odd.origin.query_offset.expect("an offset");
    assert!(PAGE[offset..].starts_with(odd.rule.query().expect("a query")));
    let expected = json!({
        "rule_id": "prebuilt-rule-1-0-0-odd-child-process",
        "name": "Odd Child Process",
        "description": "Finds an odd child. See date math.\n\nIt has two paragraphs.",
        "severity": "low", "risk_score": 21, "interval": "10m", "from": "now-20m", "max_signals": 33, "version": 4,
        "references": ["https://example.com/a.html", "https://example.com/b", "https://example.com/c"],
        "tags": ["One"], "author": ["A", "B"], "license": "Apache-2.0", "type": "eql",
        "index": ["logs-a-*", "logs-*_b_*"],
        "note": "### First steps\n\n**Ask** someone.\n\n```sql\n# not a heading\nselect 1\n```",
        "setup": "Install it.",
        "query": "process where process.name == \"a\" and\n  // # not a heading\n  process.args : \"**Rule type**: no\"",
        "threat": [
            {"framework": "MITRE ATT&CK", "tactic": {"id": "TA0002", "name": "Execution",
                "reference": "https://attack.mitre.org/tactics/TA0002/"}, "technique": [
                {"id": "T1059", "name": "Command and Scripting Interpreter", "subtechnique": [
                    {"id": "T1059.001", "name": "PowerShell"}]},
                {"id": "T1204", "name": "User Execution", "subtechnique": [
                    {"id": "T1204.002", "name": "Malicious File"}]},
            ]},
            {"framework": "MITRE ATT&CK", "tactic": {"id": "TA0040", "name": "Impact"}},
        ],
    });
    let expected: Rule = serde_json::from_value(expected).expect("a rule");
    assert_eq!(odd.rule, expected);

    assert_eq!((jobs.rule.id(), jobs.rule.rule_type()), ("jobs-without-an-anchor", RuleType::MachineLearning));
    let RuleKind::MachineLearning(kind) = &jobs.rule.kind else { panic!() };
    assert_eq!((kind.anomaly_threshold, kind.machine_learning_job_id.len()), (50, 2));
    assert_eq!((plain.rule.id(), plain.rule.query()), ("plain", Some("event.code:1")));
    assert_eq!(plain.rule.language(), Some("kuery"));
}

#[test]
fn folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write(root, "b/rule.txt", TOML);
    write(root, "a/rules.json", json!([api_rule("a", 1)]).to_string());
    write(root, "README.md", "# Rules\n");
    write(root, "LICENSE", "All of it.\n");
    write(root, ".hidden", TOML);
    write(root, ".git/config", "[core]\n");
    write(root, "package.json", "{\"name\": \"x\", \"version\": \"1\"}");
    write(root, "broken.json", "{\"name\": ");
    write(root, "log.evtx", b"ElfFile\0\0\0");
    write(root, "events.ndjson", line(json!({"@timestamp": "x", "event": {}})).repeat(1000));
    write(root, "bad.toml", "[rule]\nname = \n");
    write(root, "theirs.toml", "[package]\nname = \n");
    write(root, "connectors.toml", "[metadata]\n[[action_connectors]]\nid = 1\n");
    let load = load(&[root.into()]);
    assert_eq!(ids(&load), [("a", 1), ("0b5c2b5e-6d2f-4a44-9c1e-2f0a3f6f7a01", 1)]);
    let [failure] = load.failures.as_slice() else { panic!("{load:#?}") };
    assert_eq!(failure.origin.path, root.join("bad.toml"));
    let reasons = reasons(&load);
    assert_eq!(reasons.iter().filter(|reason| **reason == SkipReason::Hidden).count(), 2);
    assert_eq!(reasons.iter().filter(|reason| **reason == SkipReason::Connector).count(), 1);
    assert_eq!(reasons.iter().filter(|reason| matches!(reason, SkipReason::NotARule(_))).count(), 7);
    assert_eq!(reasons.len(), 10);
}

#[cfg(unix)]
#[test]
fn links() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "..data/rule.toml", TOML);
    std::os::unix::fs::symlink("..data/rule.toml", folder.path().join("rule.toml")).expect("a link");
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).expect("a link");
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).expect("a link");
    let load = load(&[folder.path().into()]);
    assert_eq!((load.rules.len(), load.failures.len()), (1, 0), "{load:#?}");
    let expected = [SkipReason::Hidden, SkipReason::NotAFile, SkipReason::NotAFile];
    assert_eq!(reasons(&load), expected);
}

#[test]
fn named_files_must_be_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let fails = |name: &str, content: &[u8]| {
        write(folder.path(), name, content);
        let load = load(&[folder.path().join(name).into()]);
        let [failure] = load.failures.as_slice() else { panic!("{load:#?}") };
        failure.error.to_string()
    };
    assert_eq!(fails("empty", b" \n"), "not a rule: the file is empty");
    assert!(fails("text", b"hello\n").starts_with("not a rule: neither TOML with a [rule] table"));
    assert!(fails("gz", b"\x1f\x8b\x08\0").starts_with("not a rule: a gzip file"));
    assert!(fails("evtx", b"ElfFile\0").starts_with("not a rule: a Windows event log"));
    assert_eq!(fails("cargo", b"[package]\nname = 'x'\n"), "not a rule: TOML without a [rule] table");
    assert_eq!(fails("r", b"[a]\n[rule]\n").split(';').next(), Some("`type`: missing"));
    assert_eq!(fails("o", b"{}"), "not a rule: a JSON object without the fields of a rule");
    assert_eq!(fails("n", b"{}\n{}\n"), "not a rule: NDJSON in whose first 2 lines there is no rule");
    assert!(fails("s", b"title: x\nlogsource:\n  a: b\ndetection:\n  c: d\n").starts_with("not a rule: a Sigma rule"));
    let load = load(&[folder.path().join("absent").into()]);
    assert!(load.failures[0].error.to_string().starts_with("cannot read: "));
}

#[test]
fn standard_input_and_duplicates() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.json", json!(api_rule("a", 1)).to_string());
    write(folder.path(), "b.json", json!(api_rule("a", 2)).to_string());
    write(folder.path(), "c.json", serde_json::to_string_pretty(&api_rule("a", 1)).expect("JSON"));
    let input = line(api_rule("z", 1));
    let paths = ["-".into(), folder.path().into(), folder.path().join("a.json").into(), "-".into()];
    let load = load_with_stdin(&paths, &mut input.as_bytes());
    assert_eq!(ids(&load), [("z", 1), ("a", 1)]);
    assert_eq!(load.rules[0].origin.to_string(), "<stdin>");
    let [failure] = load.failures.as_slice() else { panic!("{load:#?}") };
    let (a, b) = (folder.path().join("a.json"), folder.path().join("b.json"));
    let expected = format!("{}: the rule id a is already taken by {}", b.display(), a.display());
    assert_eq!(failure.to_string(), expected);
    let same = SkipReason::SameRule(Box::new(Origin::file(a.clone())));
    assert_eq!(reasons(&load), [same, SkipReason::SameFile, SkipReason::SameFile]);
    assert!(load.warnings[0].message.starts_with("the same rule as in "));
}

#[test]
fn deep_and_odd_texts() {
    let deep = "[".repeat(100_000);
    assert!(failure(format!("{{\"rule_id\": {deep}").as_bytes()).contains("recursion limit exceeded"));
    assert!(failure(format!("[rule]\nquery = {deep}").as_bytes()).contains("TOML syntax"));
    let dotted = format!("[rule]\n{} = 1\n", ["a"; 20_000].join("."));
    load_bytes("f", dotted.as_bytes());
    let tables = format!("[rule]\n[rule.{}]\n", ["a"; 20_000].join("."));
    load_bytes("f", tables.as_bytes());
    let mut long = api_rule("a", 1);
    long.insert("severity".to_owned(), json!(["x".repeat(100_000)]));
    assert!(failure(json!(long).to_string().as_bytes()).len() < 500);
    let line = format!("{{\"rule_id\": \"{}\u{1b}[31m\u{202e}\", x", "é".repeat(5000));
    let text = failure(line.as_bytes());
    assert!(text.len() < 1000 && !text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
}

/// No reader panics on a damaged text.
#[test]
fn damaged_texts() {
    let json = serde_json::to_string_pretty(&api_rule("a", 1)).expect("JSON");
    for text in [TOML, PAGE, &json] {
        for at in 0..text.len() {
            load_bytes("f", &text.as_bytes()[..at]);
            load_bytes("f", &text.as_bytes()[at..]);
            let mut damaged = text.as_bytes().to_vec();
            damaged[at] = b"[]{}'\"\n*`#:.("[at % 13];
            load_bytes("f", &damaged);
        }
    }
}
