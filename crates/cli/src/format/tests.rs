//! Golden tests of the formats over hand-made reports, and what hostile values do in them: nothing.

use serde_json::Value;

use super::{csv, html, json, table};
use crate::fixture::{empty, full, taken_apart, written};
use crate::summary::verdict;
use crate::text::is_active;

fn table_text(width: usize) -> String {
    let hunt = full();
    let report = taken_apart(&hunt);
    anstream::adapter::strip_str(&written(|out| table::write(out, &report, width, false))).to_string()
}

fn page() -> String {
    let hunt = full();
    let report = taken_apart(&hunt);
    written(|out| html::write(out, &report))
}

#[test]
fn table_fits_its_width() {
    for width in [60, 80, 100, 140] {
        let text = table_text(width);
        let alerts = text.lines().take_while(|line| !line.is_empty());
        for line in alerts {
            assert!(unicode_width::UnicodeWidthStr::width(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn table_golden() {
    insta::assert_snapshot!("table-100", table_text(100));
    insta::assert_snapshot!("table-no-limit", table_text(0));
}

#[test]
fn csv_golden() {
    let hunt = full();
    let report = taken_apart(&hunt);
    insta::assert_snapshot!("csv", written(|out| csv::write(out, &report)));
}

#[test]
fn json_golden() {
    let hunt = full();
    let report = taken_apart(&hunt);
    let text = written(|out| json::write_object(out, &report));
    let mut value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["alerts"].as_array().map(Vec::len), Some(3 + 1 + 2));
    value["alerts"] = Value::Null;
    value["manifest"]["eqlipse"] = Value::Null;
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn ndjson_has_a_document_a_line() {
    let hunt = full();
    let report = taken_apart(&hunt);
    let text = written(|out| json::write_lines(out, &report));
    let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 6);
    assert_eq!(documents[0]["kibana.alert.rule.name"], "Mshta reaches the network");
    assert_eq!(documents[1]["kibana.alert.group.index"], 0);
    assert!(text.chars().all(|c| c == '\n' || !is_active(c)));
}

#[test]
fn html_head_golden() {
    let page = page();
    let head = page.split_once("<style>").unwrap().0;
    insta::assert_snapshot!("html-head", head.replace('\'', "\u{2019}").split("sha256-").next().unwrap());
}

#[test]
fn html_is_inert_and_self_contained() {
    let page = page();
    let body = page.split_once("</style>").unwrap().1.rsplit_once("<script>").unwrap().0;
    for bad in ["<script", "<img", "javascript:alert(1)\"", " style=", "<link", "<iframe", " onmouseover='"] {
        assert!(!body.contains(bad), "{bad}");
    }
    assert!(body.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(body.contains("evil\\u{202e}gpj.exe"));
    assert!(page.chars().all(|c| c == '\n' || !is_active(c)));
    let addresses = body.match_indices("href=\"").map(|(at, _)| &body[at + 6..]);
    assert!(addresses.into_iter().all(|rest| rest.starts_with('#') || rest.starts_with("https://attack.mitre.org/")));
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("<style").count(), 1);
}

#[test]
fn html_elements_are_balanced() {
    let page = page();
    for tag in ["section", "div", "details", "summary", "table", "tr", "td", "th", "svg", "ul", "dl", "article", "span"]
    {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn text_formats_are_inert() {
    let hunt = full();
    let report = taken_apart(&hunt);
    for text in [table_text(100), table_text(0)] {
        assert!(text.chars().all(|c| c == '\n' || !is_active(c)), "{text}");
    }
    let csv = written(|out| csv::write(out, &report));
    assert!(csv.chars().all(|c| matches!(c, '\n' | '\r') || !is_active(c)));
    assert!(csv.contains(",'=cmd|"));
}

#[test]
fn finding_nothing_and_being_unable_to_find_differ() {
    let of = |ran, blind| {
        let hunt = empty(ran, blind);
        verdict(&taken_apart(&hunt).summary)
    };
    assert_eq!(of(5, 0), "0 alerts. All 5 rules could have fired.");
    assert_eq!(of(5, 2), "0 alerts. 3 of 5 rules could have fired; 2 could not (no event in its indices: 2).");
    assert_eq!(
        of(5, 5),
        "0 alerts. Nothing could have been found: no rule could have fired on this data (no event in its indices: 5)."
    );
    assert_eq!(of(0, 0), "0 alerts. No rule ran.");
    let hunt = empty(5, 5);
    let report = taken_apart(&hunt);
    let page = written(|out| html::write(out, &report));
    assert!(page.contains("Nothing could have been found"));
    let text = written(|out| table::write(out, &report, 80, true));
    assert!(text.contains("Nothing could have been found") && text.contains("no event in its indices"));
}
