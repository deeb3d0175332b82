//! `--format ndjson` and `--format json`: alert documents as Kibana writes them.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use eqlipse_alerts::Alert;
use eqlipse_rules::{Rule, on_all_cores};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::Report;
use crate::text::first_active;

/// One document a line: a sequence's shell before its building blocks.
pub fn write_lines(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    write_documents(report.hunt.alerts.as_slice(), |own, rule| {
        out.write_all(own)?;
        out.write_all(rule)?;
        out.write_all(b"\n")
    })
}

/// One object: `manifest`, `alerts` (the documents) and `summary`. One document a line, so that it can be read and
/// compared by line.
pub fn write_object(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    out.write_all(b"{\"manifest\":")?;
    write_value(out, &report.manifest)?;
    out.write_all(b",\n\"alerts\":[")?;
    let mut separator: &[u8] = b"\n";
    write_documents(report.hunt.alerts.as_slice(), |own, rule| {
        out.write_all(separator)?;
        separator = b",\n";
        out.write_all(own)?;
        out.write_all(rule)
    })?;
    out.write_all(b"],\n\"summary\":")?;
    write_value(out, &report.summary)?;
    out.write_all(b"}\n")
}

/// Alerts whose text stands in memory at a time.
const ALERTS_AT_A_TIME: usize = 256;

/// Bytes that most documents come to without their rule's fields.
const DOCUMENT_BYTES: usize = 4_096;

/// Calls `write` with the JSON of each document of the alerts, in their order and in two pieces. The text is made on all
/// cores.
fn write_documents(alerts: &[Alert], mut write: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
    let rules = rule_texts(alerts)?;
    for alerts in alerts.chunks(ALERTS_AT_A_TIME) {
        for (alert, texts) in alerts.iter().zip(on_all_cores(alerts, own_texts)) {
            let rule = rules.get(&address(&alert.rule)).map_or(&b"}"[..], Vec::as_slice);
            texts?.iter().try_for_each(|own| write(own, rule))?;
        }
    }
    Ok(())
}

/// Where a rule lies, which is quicker told than what it is called.
fn address(rule: &Arc<Rule>) -> usize {
    Arc::as_ptr(rule).addr()
}

/// By [`address`]: how the documents of the rule's alerts end, made once for all of them.
fn rule_texts(alerts: &[Alert]) -> io::Result<HashMap<usize, Vec<u8>>> {
    let firsts: HashMap<usize, &Alert> = alerts.iter().map(|alert| (address(&alert.rule), alert)).collect();
    let firsts: Vec<(usize, &Alert)> = firsts.into_iter().collect();
    let texts = on_all_cores(&firsts, |(address, alert)| {
        let mut text = Vec::new();
        write_value(&mut text, &alert.rule_fields())?;
        // What was the beginning of an object goes on with one.
        text[0] = b',';
        Ok((*address, text))
    });
    texts.into_iter().collect()
}

/// How each of an alert's documents begins.
fn own_texts(alert: &Alert) -> io::Result<Vec<Vec<u8>>> {
    let own = alert.own_fields().into_iter();
    own.map(|own| {
        let mut text = Vec::with_capacity(DOCUMENT_BYTES);
        write_value(&mut text, &own)?;
        // Its rule's fields follow.
        text.pop();
        Ok(text)
    })
    .collect()
}

/// `value` as JSON on one line.
pub fn write_value(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Inert(CompactFormatter));
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// `value` as JSON in indented lines, with a line break at the end.
pub fn write_pretty(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Inert(PrettyFormatter::new()));
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// Writes out as `\u` escapes what JSON may hold as it is but a terminal would act on. The values stay the same.
struct Inert<F>(F);

macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $type)*) -> io::Result<()> {
            self.0.$name(writer $(, $argument)*)
        })*
    };
}

impl<F: Formatter> Formatter for Inert<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = first_active(rest) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let active = from.chars().next().unwrap_or_default();
            for unit in active.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &from[active.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    pass_on! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn active_characters_are_escaped_and_values_kept() {
        let value = json!({"a\u{202e}": ["x\u{9b}2J\u{7f}\n", "\u{e0041}"], "b": {"c": 1}, "d": []});
        let mut out = Vec::new();
        write_value(&mut out, &value).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, r#"{"a\u202e":["x\u009b2J\u007f\n","\udb40\udc41"],"b":{"c":1},"d":[]}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let mut pretty = Vec::new();
        write_pretty(&mut pretty, &value).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&pretty).unwrap(), value);
        assert!(pretty.starts_with(b"{\n  \"a\\u202e\": [\n"));
    }
}
