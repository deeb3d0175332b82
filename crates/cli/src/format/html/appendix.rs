//! The end of the page: the rules that fired, what could not have been found, and the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use eqlipse_rules::Rule;
use serde_json::Value;

use super::alerts::attack_link;
use super::overview::badge;
use super::writer::Page;
use crate::attack;
use crate::format::Report;
use crate::summary::{Lack, lack_text, most_lacking};
use crate::text::{byte_size, counted, grouped};

pub(super) fn write(page: &mut Page, report: &Report) {
    rules(page, report);
    coverage(page, report);
    manifest(page, report);
}

fn rules(page: &mut Page, report: &Report) {
    if report.alerts.is_empty() {
        return;
    }
    let mut fired: BTreeMap<(&str, &str), (&Arc<Rule>, usize)> = BTreeMap::new();
    for alert in &report.alerts {
        fired.entry((&alert.rule.name, &alert.rule.rule_id)).or_insert((alert.rule, 0)).1 += 1;
    }
    page.raw("<section id=\"rules\"><h2>Rules with alerts</h2>");
    for (rule, alerts) in fired.into_values() {
        rule_card(page, rule, alerts);
    }
    page.raw("</section>\n");
}

fn rule_card(page: &mut Page, rule: &Rule, alerts: usize) {
    page.raw("<details class=\"rule\"><summary><span class=\"")
        .raw(badge(rule.severity))
        .raw("\">")
        .show(rule.severity);
    page.raw("</span><span class=\"name\">").text(&rule.name).raw("</span><span class=\"num\">");
    page.show(counted(alerts as u64, "alert")).raw("</span></summary><div class=\"body\">");
    page.prose(&rule.description);
    if let Some(query) = rule.query() {
        page.raw("<pre class=\"query\">").lines(query.trim()).raw("</pre>");
    }
    page.raw("<table class=\"fields\">");
    row(page, "rule_id", &rule.rule_id);
    row(page, "type", rule.rule_type().as_str());
    row(page, "version", &rule.version.to_string());
    row(page, "risk score", &rule.risk_score.to_string());
    row(page, "index", &rule.index().join(", "));
    row(page, "tags", &rule.tags.join(", "));
    row(page, "authors", &rule.author.join(", "));
    row(page, "license", rule.license.as_deref().unwrap_or(""));
    for text in &rule.false_positives {
        row(page, "false positives", text);
    }
    for address in &rule.references {
        row(page, "reference", address);
    }
    page.raw("<tr><th>ATT&amp;CK</th><td>");
    for id in attack::ids(rule) {
        attack_link(page, id);
    }
    page.raw("</td></tr></table></div></details>\n");
}

fn row(page: &mut Page, name: &str, value: &str) {
    if !value.is_empty() {
        page.raw("<tr>").plain("th", name).plain("td", value).raw("</tr>");
    }
}

fn coverage(page: &mut Page, report: &Report) {
    let rules = &report.summary.rules;
    page.raw("<section id=\"coverage\"><h2>Coverage</h2><p>A rule that could not have fired says nothing about what ");
    page.raw("happened: the events it needs are not in these logs. Of ")
        .show(counted(rules.ran as u64, "rule"))
        .raw(" run, ");
    page.show(grouped(rules.could_fire as u64))
        .raw(" could have fired and ")
        .show(grouped(rules.could_not_fire as u64));
    page.raw(" could not.</p>");
    lacking(page, report);
    blind_rules(page, report);
    not_run(page, report);
    page.raw("</section>\n");
}

fn lacking(page: &mut Page, report: &Report) {
    let rules = &report.summary.rules;
    if rules.could_not_fire == 0 {
        return;
    }
    page.raw("<table class=\"grid\"><thead><tr><th>What was missing</th><th class=\"num\">Rules</th><th>Most often</th></tr></thead>");
    let rows = [
        ("No event belongs to the rule's indices", rules.no_index, None),
        ("A category never occurred", rules.no_category, Some(Lack::Category)),
        ("A field never occurred", rules.no_field, Some(Lack::Field)),
    ];
    for (what, count, most) in rows.into_iter().filter(|(_, count, _)| *count > 0) {
        let most = most.map(|lack| most_lacking(&report.hunt.blind, lack, 8)).unwrap_or_default();
        let most: Vec<String> = most.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        page.raw("<tr>")
            .plain("td", what)
            .element("td", "num", &grouped(count as u64))
            .plain("td", &most.join(", "))
            .raw("</tr>");
    }
    page.raw("</table>");
}

fn blind_rules(page: &mut Page, report: &Report) {
    if report.hunt.blind.is_empty() {
        return;
    }
    page.raw("<details class=\"plain\"><summary>Rules that could not have fired</summary><table class=\"grid\">");
    page.raw("<thead><tr><th>Rule</th><th>What was missing</th></tr></thead>");
    for blind in &report.hunt.blind {
        page.raw("<tr>").plain("td", &blind.rule.name).plain("td", &lack_text(blind)).raw("</tr>");
    }
    page.raw("</table></details>");
}

fn not_run(page: &mut Page, report: &Report) {
    let rules = &report.hunt.rules;
    if !rules.not_run.is_empty() {
        let types: Vec<String> =
            rules.not_run.iter().map(|(kind, count)| format!("{kind} {}", grouped(*count as u64))).collect();
        page.raw("<p>Loaded but of types that eqlipse does not run yet: ").text(&types.join(", ")).raw(".</p>");
    }
    if rules.unloaded.is_empty() {
        return;
    }
    page.raw("<h3>Rules not loaded</h3><table class=\"grid\"><thead><tr><th>From</th><th>Reason</th></tr></thead>");
    for unloaded in &rules.unloaded {
        let origin = match &unloaded.name {
            Some(name) => format!("{name} ({})", unloaded.origin),
            None => unloaded.origin.clone(),
        };
        page.raw("<tr>").plain("td", &origin).raw("<td><pre>").lines(&unloaded.reason).raw("</pre></td></tr>");
    }
    page.raw("</table>");
}

fn manifest(page: &mut Page, report: &Report) {
    page.raw("<section id=\"manifest\"><h2>Manifest</h2><table class=\"fields\">");
    let part = |pointer: &str| report.manifest.pointer(pointer).map(value_text).unwrap_or_default();
    row(page, "eqlipse", &part("/eqlipse/version"));
    row(page, "commit", &part("/eqlipse/commit"));
    row(page, "target", &part("/eqlipse/target"));
    row(page, "rule set SHA-256", &report.hunt.rules.sha256);
    if let Some(Value::Object(options)) = report.manifest.pointer("/options") {
        for (name, value) in options {
            row(page, &name.replace('_', " "), &value_text(value));
        }
    }
    page.raw("</table>");
    inputs(page, report);
    skipped(page, report);
    let json = serde_json::to_string_pretty(&report.manifest).unwrap_or_default();
    page.raw("<details class=\"plain\"><summary>Manifest as JSON</summary><pre id=\"manifest-json\">").lines(&json);
    page.raw("</pre></details></section>\n");
}

/// A value of the manifest on one line; nothing for null and empty lists.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(value_text).collect::<Vec<_>>().join(", "),
        Value::Object(object) => {
            object.iter().map(|(name, value)| format!("{name} {}", value_text(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn inputs(page: &mut Page, report: &Report) {
    page.raw("<h3>Inputs</h3><div class=\"scroll\"><table class=\"grid\"><thead><tr><th>Input</th><th>Format</th>");
    page.raw("<th class=\"num\">Size</th><th class=\"num\">Events</th><th class=\"num\">Skipped</th><th>SHA-256</th></tr></thead>");
    for input in &report.hunt.inputs {
        page.raw("<tr>").plain("td", &input.name).plain("td", &input.format).element(
            "td",
            "num",
            &byte_size(input.bytes),
        );
        page.element("td", "num", &grouped(input.events)).element("td", "num", &grouped(input.skipped));
        page.element("td", "hash", input.sha256.as_deref().unwrap_or("")).raw("</tr>");
    }
    page.raw("</table></div>");
}

fn skipped(page: &mut Page, report: &Report) {
    let hunt = report.hunt;
    if hunt.inputs.iter().all(|input| input.first_skipped.is_empty()) && hunt.problems.is_empty() {
        return;
    }
    page.raw(
        "<h3>Skipped</h3><table class=\"grid\"><thead><tr><th>Input</th><th>Place</th><th>Reason</th></tr></thead>",
    );
    for problem in &hunt.problems {
        page.raw("<tr><td colspan=\"3\">").text(&problem.to_string()).raw("</td></tr>");
    }
    for input in &hunt.inputs {
        for record in &input.first_skipped {
            page.raw("<tr>")
                .plain("td", &input.name)
                .plain("td", &record.place)
                .plain("td", &record.reason)
                .raw("</tr>");
        }
        let more = input.skipped.saturating_sub(input.first_skipped.len() as u64);
        if more > 0 && !input.first_skipped.is_empty() {
            page.raw("<tr>")
                .plain("td", &input.name)
                .plain("td", "")
                .plain("td", &format!("and {} more", grouped(more)))
                .raw("</tr>");
        }
    }
    page.raw("</table>");
}
