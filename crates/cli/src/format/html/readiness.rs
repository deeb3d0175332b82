//! `eqlipse rules readiness --format html`: which rules can fire, on one page.

use std::io::{self, Write};

use eqlipse_hunt::readiness::{Readiness, RuleReadiness, SourceCount, State, TacticTotals, Totals};

use super::overview::{LOGO, badge, card, legend};
use super::writer::Page;
use super::{chart, head};
use crate::rules::{data_line, kind, lack_lines, left_out, verdict};
use crate::text::{counted, grouped};

/// Sources that the page shows at most; those that would wake most rules are kept, and the page says so.
pub const MAX_SOURCES: usize = 1000;

/// Writes the page.
pub fn write(out: &mut dyn Write, judged: &Readiness) -> io::Result<()> {
    let mut page = Page::default();
    head(&mut page, "eqlipse rule readiness");
    page.raw(LOGO).raw("<div><h1>Rule readiness</h1><p class=\"verdict\">").text(&verdict(judged)).raw("</p>");
    page.raw("<p class=\"period\">").text(&data_line(judged)).raw("</p></div></div>\n<nav aria-label=\"Sections\">");
    page.raw("<a href=\"#tactics\">Tactics</a><a href=\"#missing\">Never seen</a><a href=\"#rules\">Rules</a>");
    page.raw("</nav></header>\n<main>\n");
    cards(&mut page, judged);
    tactics(&mut page, &judged.tactics);
    missing(&mut page, &judged.missing);
    rules(&mut page, judged);
    page.raw("</main>\n</body>\n</html>\n");
    out.write_all(page.finish().as_bytes())
}

fn parts(totals: &Totals) -> [(&'static str, usize); 3] {
    [("f-fired", totals.ready), ("f-silent", totals.partly), ("f-blind", totals.blind)]
}

fn cards(page: &mut Page, judged: &Readiness) {
    page.raw("<section class=\"cards\" aria-label=\"Summary\">");
    card(page, "Rules judged", judged.totals.all() as u64, "");
    chart::stacked_bar(page, "rules by state", &parts(&judged.totals));
    let words = ["ready", "partly ready", "blind"];
    let entries = parts(&judged.totals).into_iter().zip(words);
    let mut entries: Vec<_> =
        entries.map(|((class, count), word)| (class, format!("{} {word}", grouped(count as u64)))).collect();
    entries.extend(left_out(judged).map(|line| ("f-plain", line)));
    legend(page, &entries);
    let data = &judged.data;
    card(page, "Events read", data.events, "");
    let mut entries = vec![
        ("f-plain", counted(data.inputs as u64, "input")),
        ("f-plain", format!("{} of no index", grouped(data.without_index))),
        ("f-plain", format!("{} skipped", counted(data.skipped, "record"))),
    ];
    if !data.indices.is_empty() {
        let more = if data.more_indices { " and more" } else { "" };
        entries.push(("f-plain", format!("indices: {}{more}", data.indices.join(", "))));
    }
    legend(page, &entries);
    page.raw("</section>\n");
}

fn tactics(page: &mut Page, tactics: &[TacticTotals]) {
    page.raw("<section class=\"panel\" id=\"tactics\"><h2>Tactics</h2><div class=\"scroll\"><table class=\"grid\">");
    page.raw("<thead><tr><th>Tactic</th><th class=\"num\">Ready</th><th class=\"num\">Partly</th>");
    page.raw("<th class=\"num\">Blind</th><th class=\"barcell\"></th></tr></thead>");
    for TacticTotals { id, name, rules } in tactics {
        page.raw("<tr><td>").text(name).raw(" <small>").text(id.as_deref().unwrap_or("")).raw("</small></td>");
        for (_, count) in parts(rules) {
            page.element("td", "num", &grouped(count as u64));
        }
        page.raw("<td class=\"barcell\">");
        chart::stacked_bar(page, "rules by state", &parts(rules));
        page.raw("</td></tr>\n");
    }
    page.raw("</table></div></section>\n");
}

fn missing(page: &mut Page, missing: &[SourceCount]) {
    page.raw("<section class=\"panel\" id=\"missing\"><h2>Never seen <small>those first that would wake most blind ");
    page.raw("rules by themselves</small></h2>");
    if missing.is_empty() {
        page.raw("<p>Nothing that the rules read.</p></section>\n");
        return;
    }
    page.raw("<div class=\"scroll\"><table class=\"grid\"><thead><tr><th>Name</th><th>Kind</th>");
    page.raw("<th class=\"num\">Wakes</th><th class=\"num\">Blind</th><th class=\"num\">Partly</th></tr></thead>");
    for count in missing.iter().take(MAX_SOURCES) {
        page.raw("<tr>").plain("td", &count.source.name).plain("td", kind(count.source.kind));
        for number in [count.wakes, count.blind, count.partly] {
            page.element("td", "num", &grouped(number as u64));
        }
        page.raw("</tr>\n");
    }
    page.raw("</table></div>");
    if missing.len() > MAX_SOURCES {
        page.raw("<p class=\"note\">and ").show(grouped((missing.len() - MAX_SOURCES) as u64)).raw(" more</p>");
    }
    page.raw("</section>\n");
}

fn rules(page: &mut Page, judged: &Readiness) {
    page.raw("<section id=\"rules\"><h2>Rules</h2>");
    for (state, title, count) in [
        (State::Ready, "Ready", judged.totals.ready),
        (State::Partly, "Partly ready", judged.totals.partly),
        (State::Blind, "Blind", judged.totals.blind),
    ] {
        if count == 0 {
            continue;
        }
        page.raw("<details class=\"plain\"><summary>").text(title).raw(": ");
        page.show(counted(count as u64, "rule")).raw("</summary><table class=\"grid\"><thead><tr><th>Rule</th>");
        page.raw("<th>Severity</th><th>What is missing</th></tr></thead>");
        judged.rules.iter().filter(|rule| rule.state == state).for_each(|rule| row(page, rule));
        page.raw("</table></details>\n");
    }
    page.raw("</section>\n");
}

fn row(page: &mut Page, rule: &RuleReadiness) {
    page.raw("<tr>").plain("td", &rule.name).raw("<td><span class=\"").raw(badge(rule.severity)).raw("\">");
    page.show(rule.severity).raw("</span></td><td>");
    for line in lack_lines(rule) {
        page.raw("<div>").text(&line).raw("</div>");
    }
    page.raw("</td></tr>\n");
}
