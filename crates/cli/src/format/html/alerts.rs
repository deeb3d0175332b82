//! The alerts with their events, and the bar that filters them.

use eqlipse_rules::Severity;

use super::MAX_ALERTS;
use super::chart::{duration, time_line};
use super::overview::badge;
use super::writer::Page;
use crate::attack;
use crate::date::readable;
use crate::format::Report;
use crate::keyfields::key_fields;
use crate::text::grouped;
use crate::view::{AlertView, EventView};

pub(super) fn write(page: &mut Page, report: &Report) {
    if report.alerts.is_empty() {
        return;
    }
    let shown = shown_alerts(&report.alerts);
    page.raw("<section id=\"alerts\"><h2>Alerts</h2>");
    if shown.len() < report.alerts.len() {
        page.raw("<p class=\"note\">This page shows the ").show(grouped(shown.len() as u64)).raw(" most severe of ");
        page.show(grouped(report.alerts.len() as u64))
            .raw(" alerts; all of them are in the json, ndjson and csv formats.</p>");
    }
    filter_bar(page, report);
    page.raw("<div class=\"list\">");
    for alert in shown {
        alert_card(page, alert);
    }
    page.raw("</div><p class=\"note nothing\" hidden>No alert matches the filter.</p></section>\n");
}

/// At most [`MAX_ALERTS`], the most severe, in their order.
fn shown_alerts<'a, 'b>(alerts: &'b [AlertView<'a>]) -> Vec<&'b AlertView<'a>> {
    let mut order: Vec<usize> = (0..alerts.len()).collect();
    if order.len() > MAX_ALERTS {
        order.sort_by_key(|&at| (std::cmp::Reverse(alerts[at].severity), at));
        order.truncate(MAX_ALERTS);
        order.sort_unstable();
    }
    order.into_iter().map(|at| &alerts[at]).collect()
}

fn filter_bar(page: &mut Page, report: &Report) {
    page.raw("<div class=\"filter\" role=\"search\"><input type=\"search\" id=\"query\" autocomplete=\"off\" ");
    page.raw("spellcheck=\"false\" placeholder=\"Filter: words, all must occur\" aria-label=\"Filter alerts\">");
    page.raw("<div class=\"severities\">");
    for count in &report.summary.alerts_by_severity {
        let severity = count.severity;
        page.raw("<label class=\"")
            .raw(badge(severity))
            .raw("\"><input type=\"checkbox\" checked")
            .attr("value", severity);
        page.raw(">").show(severity).raw(" <b>").show(grouped(count.alerts as u64)).raw("</b></label>");
    }
    page.raw("</div><span id=\"count\" role=\"status\"></span>");
    page.raw("<button type=\"button\" id=\"open\">Open all</button><button type=\"button\" id=\"close\">Close all</button></div>");
}

fn alert_card(page: &mut Page, alert: &AlertView) {
    page.raw("<details class=\"alert ")
        .raw(edge(alert.severity))
        .raw("\"")
        .attr("data-severity", alert.severity)
        .raw("><summary>");
    page.raw("<span class=\"").raw(badge(alert.severity)).raw("\">").show(alert.severity).raw("</span>");
    page.raw("<time>").text(&alert.time.map_or_else(|| "no time".to_owned(), readable)).raw("</time>");
    page.raw("<span class=\"name\">").text(alert.name).raw("</span>");
    page.raw("<span class=\"host\">").text(alert.host.unwrap_or("")).raw("</span>");
    page.raw("<span class=\"gist\">");
    gist(page, alert);
    page.raw("</span></summary><div class=\"body\">");
    about(page, alert);
    if alert.events.len() > 1 {
        page.raw("<div class=\"scroll\">");
        time_line(page, alert);
        page.raw("</div>");
    }
    for (at, event) in alert.events.iter().enumerate() {
        event_card(page, alert, at, event);
    }
    page.raw("</div></details>\n");
}

fn edge(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// One line for the closed card: the events of a sequence one after the other.
fn gist(page: &mut Page, alert: &AlertView) {
    for (at, event) in alert.events.iter().take(4).enumerate() {
        if at > 0 {
            page.raw("<i>then</i>");
        }
        page.text(&crate::text::cut(&crate::text::shown(&event.happening.line), 220));
    }
    if alert.events.len() > 4 {
        page.raw("<i>and ").show(alert.events.len() - 4).raw(" more</i>");
    }
}

fn about(page: &mut Page, alert: &AlertView) {
    page.prose(&alert.rule.description).raw("<dl class=\"facts\">");
    fact(page, "Risk score", |page| page.show(alert.risk_score));
    fact(page, "ATT&CK", |page| {
        for id in attack::ids(alert.rule) {
            attack_link(page, id);
        }
        page
    });
    if let Some(user) = &alert.user {
        fact(page, "User", |page| page.text(user));
    }
    for (field, value) in &alert.keys {
        fact(page, field, |page| page.element("code", "value", value));
    }
    for origin in alert.origins() {
        fact(page, "Read from", |page| page.text(&origin));
    }
    fact(page, "Alert id", |page| page.element("code", "value", alert.id));
    fact(page, "Rule", |page| page.element("code", "value", &alert.rule.rule_id));
    page.raw("</dl>");
}

fn fact(page: &mut Page, name: &str, value: impl FnOnce(&mut Page) -> &mut Page) {
    page.raw("<div>").plain("dt", name).raw("<dd>");
    value(page);
    page.raw("</dd></div>");
}

/// The id, as a link where it has the shape of an ATT&CK id.
pub(super) fn attack_link(page: &mut Page, id: &str) {
    match attack::address(id) {
        Some(address) => {
            page.raw("<a class=\"ttp\" rel=\"noreferrer noopener\"")
                .attr("href", address)
                .raw(">")
                .text(id)
                .raw("</a> ");
        }
        None => {
            page.element("span", "ttp", id);
        }
    }
}

fn event_card(page: &mut Page, alert: &AlertView, at: usize, event: &EventView) {
    page.raw("<article class=\"event\"><h3>");
    if alert.events.len() > 1 {
        page.element("span", "number", &(at + 1).to_string());
    }
    page.element("span", "category", &event.happening.category);
    page.raw("<time>").text(&event.time.map_or_else(String::new, readable)).raw("</time>");
    let before = at.checked_sub(1).and_then(|before| alert.events[before].time);
    if let (Some(before), Some(time)) = (before, event.time) {
        page.raw("<span class=\"after\">+").show(duration(time.saturating_sub(before))).raw("</span>");
    }
    page.raw("</h3>").element("p", "line", &event.happening.line).raw("<table class=\"fields\">");
    let fields = event.source.map(|source| key_fields(source, alert.rule, &alert.keys)).unwrap_or_default();
    for (name, value) in fields {
        page.raw("<tr>").plain("th", &name).plain("td", &value).raw("</tr>");
    }
    if let Some(index) = event.index {
        page.raw("<tr><th>_index</th>").plain("td", index).raw("</tr>");
    }
    if let Some(place) = event.place() {
        page.raw("<tr><th>read from</th>").plain("td", &place).raw("</tr>");
    }
    page.raw("</table></article>");
}
