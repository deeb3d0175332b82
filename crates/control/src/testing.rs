//! What the tests share.

use serde_json::{Map, Value, json};

use crate::Control;

/// A new database in a folder that is gone with the first value.
pub(crate) fn open() -> (tempfile::TempDir, Control) {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
    (folder, control)
}

/// A rule with `rule_id` `x-1`, and some fields more or other ones.
pub(crate) fn rule(extra: Value) -> Map<String, Value> {
    let document = json!({
        "rule_id": "x-1", "name": "n", "description": "d", "severity": "low", "risk_score": 21, "type": "eql",
        "language": "eql", "query": "process where true", "index": ["logs-*"], "from": "now-9m",
    });
    let (Value::Object(mut document), Value::Object(extra)) = (document, extra) else { unreachable!() };
    document.extend(extra);
    document
}
