//! The top of the page: verdict, cards, activity, ATT&CK heat map, top rules and hosts.

use eqlipse_rules::Severity;

use super::chart;
use super::writer::Page;
use crate::attack::{self, Cell, Column};
use crate::format::Report;
use crate::summary::{SeverityCount, Summary, verdict};
use crate::text::{byte_size, counted, grouped};

/// Rules and hosts named at most in the two tables.
const MOST_NAMED: usize = 12;

pub(super) fn write(page: &mut Page, report: &Report) {
    header(page, report);
    page.raw("<main>\n");
    cards(page, &report.summary);
    activity(page, report);
    heat_map(page, report);
    tops(page, &report.summary);
}

fn header(page: &mut Page, report: &Report) {
    page.raw(LOGO).raw("<div><h1>Hunt report</h1><p class=\"verdict\">").text(&verdict(&report.summary)).raw("</p>");
    if let (Some(first), Some(last)) = (&report.summary.first_alert, &report.summary.last_alert) {
        page.raw("<p class=\"period\">Alerts from <time>")
            .text(first)
            .raw("</time> to <time>")
            .text(last)
            .raw("</time></p>");
    }
    page.raw("</div></div>\n<nav aria-label=\"Sections\">");
    if !report.alerts.is_empty() {
        page.raw("<a href=\"#attack\">ATT&amp;CK</a><a href=\"#alerts\">Alerts</a><a href=\"#rules\">Rules</a>");
    }
    page.raw("<a href=\"#coverage\">Coverage</a><a href=\"#manifest\">Manifest</a></nav></header>\n");
}

pub(super) const LOGO: &str = "<header><div class=\"title\"><svg class=\"logo\" viewBox=\"0 0 64 64\" aria-hidden=\"true\">\
    <circle class=\"corona\" cx=\"32\" cy=\"32\" r=\"27\"/><circle class=\"sun\" cx=\"32\" cy=\"32\" r=\"22\"/>\
    <circle class=\"moon\" cx=\"37\" cy=\"29\" r=\"20\"/></svg>";

fn cards(page: &mut Page, summary: &Summary) {
    page.raw("<section class=\"cards\" aria-label=\"Summary\">");
    alerts_card(page, summary);
    rules_card(page, summary);
    data_card(page, summary);
    faults_card(page, summary);
    page.raw("</section>\n");
}

pub(super) fn card(page: &mut Page, title: &str, number: u64, of: &str) {
    page.raw("<div class=\"card\">").plain("h2", title).raw("<p class=\"big\">").show(grouped(number));
    page.raw("<small>").text(of).raw("</small></p>");
}

pub(super) fn legend(page: &mut Page, entries: &[(&'static str, String)]) {
    page.raw("<ul class=\"legend\">");
    for (class, text) in entries {
        page.raw("<li><i class=\"").raw(class).raw("\"></i>").text(text).raw("</li>");
    }
    page.raw("</ul></div>");
}

fn alerts_card(page: &mut Page, summary: &Summary) {
    let hosts = match summary.hosts() {
        0 => String::new(),
        hosts => format!("on {}", counted(hosts as u64, "host")),
    };
    card(page, "Alerts", summary.alerts as u64, &hosts);
    let parts: Vec<(&'static str, usize)> =
        summary.alerts_by_severity.iter().map(|count| (chart::fill(count.severity), count.alerts)).collect();
    chart::stacked_bar(page, "alerts by severity", &parts);
    let entry = |count: &SeverityCount| {
        (chart::fill(count.severity), format!("{} {}", count.severity, grouped(count.alerts as u64)))
    };
    let mut entries: Vec<_> = summary.alerts_by_severity.iter().map(entry).collect();
    if summary.alerts_capped > 0 {
        entries.push(("f-none", format!("{} more, over the limit of --max-alerts", grouped(summary.alerts_capped))));
    }
    legend(page, &entries);
}

fn rules_card(page: &mut Page, summary: &Summary) {
    let rules = &summary.rules;
    card(page, "Rules run", rules.ran as u64, "");
    let fired = summary.alerts_by_rule.len();
    let silent = rules.could_fire.saturating_sub(fired);
    chart::stacked_bar(page, "rules", &[("f-fired", fired), ("f-silent", silent), ("f-blind", rules.could_not_fire)]);
    legend(
        page,
        &[
            ("f-fired", format!("{} with alerts", grouped(fired as u64))),
            ("f-silent", format!("{} could have fired and did not", grouped(silent as u64))),
            ("f-blind", format!("{} could not have fired", grouped(rules.could_not_fire as u64))),
        ],
    );
}

fn data_card(page: &mut Page, summary: &Summary) {
    let read = &summary.read;
    card(page, "Events read", read.events, "");
    let mut entries = vec![
        ("f-plain", format!("{}, {}", counted(read.inputs as u64, "input"), byte_size(read.bytes))),
        ("f-plain", format!("{} left out", counted(read.duplicates, "duplicate"))),
    ];
    if read.outside > 0 {
        entries.push(("f-plain", format!("{} outside the time window", grouped(read.outside))));
    }
    if read.untimed > 0 {
        entries.push(("f-plain", format!("{} without a time", grouped(read.untimed))));
    }
    legend(page, &entries);
}

fn faults_card(page: &mut Page, summary: &Summary) {
    let (read, rules) = (&summary.read, &summary.rules);
    let not_run: usize = rules.not_run.values().sum();
    let faults = read.skipped + read.problems as u64 + rules.not_loaded as u64;
    card(page, "Skipped", faults, if faults == 0 { "nothing" } else { "" });
    legend(
        page,
        &[
            (
                "f-plain",
                format!("{} in {}", counted(read.skipped, "record"), counted(read.inputs_with_faults as u64, "input")),
            ),
            ("f-plain", format!("{} without events", counted(read.problems as u64, "input"))),
            ("f-plain", format!("{} not loaded", counted(rules.not_loaded as u64, "rule"))),
            ("f-plain", format!("{} of types not run yet", counted(not_run as u64, "rule"))),
        ],
    );
}

fn activity(page: &mut Page, report: &Report) {
    if report.summary.first_alert != report.summary.last_alert {
        page.raw("<section class=\"panel\"><h2>Alerts over time <small>UTC, at most ");
        page.show(grouped(chart::tallest(&report.alerts) as u64)).raw(" in one bar</small></h2>");
        chart::histogram(page, &report.alerts);
        page.raw("</section>\n");
    }
}

fn heat_map(page: &mut Page, report: &Report) {
    let columns = attack::matrix(report.alerts.iter().map(|alert| alert.rule.as_ref()));
    if columns.is_empty() {
        return;
    }
    let cells = columns.iter().flat_map(|column| column.techniques.values());
    let most = cells.map(|cell| cell.alerts).max().unwrap_or(1).max(1);
    page.raw("<section class=\"panel\" id=\"attack\"><h2>MITRE ATT&amp;CK</h2><div class=\"matrix\">");
    for column in &columns {
        tactic(page, column, most);
    }
    page.raw("</div>");
    let without: Vec<&str> = attack::TACTICS
        .iter()
        .filter(|(id, _)| !columns.iter().any(|column| column.id == *id))
        .map(|(_, name)| *name)
        .collect();
    if !without.is_empty() {
        page.raw("<p class=\"note\">No alerts in ").text(&without.join(", ")).raw(".</p>");
    }
    page.raw("</section>\n");
}

fn tactic(page: &mut Page, column: &Column, most: usize) {
    page.raw("<div class=\"tactic\"><button type=\"button\" class=\"pick head\"")
        .attr("data-query", &column.id)
        .raw("><b>");
    page.text(&column.name).raw("</b><span>").text(&column.id).raw("</span><em>").show(grouped(column.alerts as u64));
    page.raw("</em></button>");
    for (id, cell) in &column.techniques {
        technique(page, id, cell, most);
    }
    page.raw("</div>");
}

fn technique(page: &mut Page, id: &str, cell: &Cell, most: usize) {
    page.raw("<div class=\"technique ").raw(heat(cell.alerts, most)).raw("\">");
    pick(page, "pick", id, cell);
    for (id, sub) in &cell.subs {
        pick(page, "pick sub", id, sub);
    }
    page.raw("</div>");
}

fn pick(page: &mut Page, class: &'static str, id: &str, cell: &Cell) {
    page.raw("<button type=\"button\" class=\"").raw(class).raw("\"").attr("data-query", id);
    page.attr("title", format!("{id} {}", cell.name)).raw("><b>").text(&cell.name).raw("</b><span>").text(id);
    page.raw("</span><em>").show(grouped(cell.alerts as u64));
    page.raw("</em></button>");
}

/// Five steps on a logarithmic scale, as counts spread widely.
fn heat(alerts: usize, most: usize) -> &'static str {
    let share = if most <= 1 { 0.5 } else { (alerts as f64).ln() / (most as f64).ln() };
    ["h1", "h2", "h3", "h4", "h5"][((share * 5.0) as usize).min(4)]
}

fn tops(page: &mut Page, summary: &Summary) {
    if summary.alerts == 0 {
        return;
    }
    page.raw("<div class=\"halves\"><section class=\"panel\"><h2>Rules with most alerts</h2><table class=\"top\">");
    let most = summary.alerts_by_rule.first().map_or(1, |rule| rule.alerts);
    for rule in summary.alerts_by_rule.iter().take(MOST_NAMED) {
        top_row(page, &rule.name, rule.alerts, most, chart::fill(rule.severity));
    }
    page.raw("</table>");
    more(page, summary.alerts_by_rule.len(), "rule");
    page.raw("</section><section class=\"panel\"><h2>Hosts with most alerts</h2><table class=\"top\">");
    let most = summary.alerts_by_host.first().map_or(1, |host| host.alerts);
    for host in summary.alerts_by_host.iter().take(MOST_NAMED) {
        top_row(page, &host.host, host.alerts, most, "f-fired");
    }
    page.raw("</table>");
    more(page, summary.alerts_by_host.len(), "host");
    page.raw("</section></div>\n");
}

fn top_row(page: &mut Page, name: &str, count: usize, most: usize, class: &'static str) {
    page.raw("<tr><td><button type=\"button\" class=\"pick\"").attr("data-query", name).raw(">").text(name);
    page.raw("</button></td><td class=\"num\">").show(grouped(count as u64)).raw("</td><td class=\"barcell\">");
    chart::share_bar(page, class, count, most);
    page.raw("</td></tr>");
}

fn more(page: &mut Page, all: usize, noun: &str) {
    if all > MOST_NAMED {
        page.raw("<p class=\"note\">and ").show(counted((all - MOST_NAMED) as u64, noun)).raw(" more</p>");
    }
}

/// The class of a severity's badge.
pub(super) fn badge(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "badge low",
        Severity::Medium => "badge medium",
        Severity::High => "badge high",
        Severity::Critical => "badge critical",
    }
}
