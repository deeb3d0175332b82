//! The drawings: bars, the histogram of alerts, and the time line of a sequence. Inline SVG without style attributes,
//! which the page's content security policy would refuse.

use eqlipse_rules::Severity;

use super::writer::Page;
use crate::date::readable;
use crate::text::{cut, shown};
use crate::view::AlertView;

/// Bars of the histogram.
const BUCKETS: usize = 72;
const HISTOGRAM_WIDTH: usize = 1080;
const HISTOGRAM_HEIGHT: usize = 120;
/// Width of a time line, and the least distance of two events that carry labels.
const LINE_WIDTH: f64 = 1000.0;
const LEAST_GAP: f64 = 130.0;
/// Room for the labels of the first and last event.
const MARGIN: f64 = 80.0;
/// Sequences with more events are drawn without labels.
const MOST_LABELLED: usize = 7;

/// A bar of parts, each with a class and a share.
pub fn stacked_bar(page: &mut Page, label: &str, parts: &[(&'static str, usize)]) {
    let total: usize = parts.iter().map(|(_, count)| count).sum();
    page.raw("<svg class=\"bar\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\"")
        .attr("aria-label", label);
    page.raw(">");
    let mut x = 0.0;
    for (class, count) in parts.iter().filter(|(_, count)| *count > 0) {
        let width = *count as f64 * 1000.0 / total as f64;
        rect(page, class, x, 0.0, width, 10.0);
        x += width;
    }
    page.raw("</svg>");
}

/// A bar that shows `part` of `whole`.
pub fn share_bar(page: &mut Page, class: &'static str, part: usize, whole: usize) {
    let width = part as f64 * 100.0 / whole.max(1) as f64;
    page.raw("<svg class=\"share\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    rect(page, class, 0.0, 0.0, width.max(1.5), 10.0);
    page.raw("</svg>");
}

fn rect(page: &mut Page, class: &'static str, x: f64, y: f64, width: f64, height: f64) {
    page.raw("<rect class=\"").raw(class).raw("\"");
    page.attr("x", fixed(x)).attr("y", fixed(y)).attr("width", fixed(width)).attr("height", fixed(height)).raw("/>");
}

fn fixed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The class that colours a severity in drawings.
pub fn fill(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "f-low",
        Severity::Medium => "f-medium",
        Severity::High => "f-high",
        Severity::Critical => "f-critical",
    }
}

/// When the alerts were, by severity. Nothing is drawn for fewer than two different times.
pub fn histogram(page: &mut Page, alerts: &[AlertView]) {
    if let Some((buckets, first, last)) = buckets(alerts) {
        draw_histogram(page, &buckets, first, last);
    }
}

/// Alerts of the tallest bar.
pub fn tallest(alerts: &[AlertView]) -> usize {
    buckets(alerts).map_or(0, |(buckets, ..)| most(&buckets))
}

type Bucket = [usize; Severity::ALL.len()];

fn most(buckets: &[Bucket]) -> usize {
    buckets.iter().map(|bucket| bucket.iter().sum()).max().unwrap_or(0)
}

/// Alerts by time and severity, with the first and the last time.
fn buckets(alerts: &[AlertView]) -> Option<(Vec<Bucket>, i64, i64)> {
    let times = || alerts.iter().filter_map(|alert| alert.time);
    let (first, last) = (times().min()?, times().max()?);
    if first == last {
        return None;
    }
    let mut buckets = vec![[0usize; Severity::ALL.len()]; BUCKETS];
    for alert in alerts {
        if let Some(time) = alert.time {
            let share =
                (i128::from(time) - i128::from(first)) * BUCKETS as i128 / (i128::from(last) - i128::from(first));
            buckets[(share as usize).min(BUCKETS - 1)][alert.severity as usize] += 1;
        }
    }
    Some((buckets, first, last))
}

fn draw_histogram(page: &mut Page, buckets: &[Bucket], first: i64, last: i64) {
    let most = most(buckets).max(1);
    page.raw("<svg class=\"histogram\" role=\"img\"")
        .attr("viewBox", format!("0 0 {HISTOGRAM_WIDTH} {}", HISTOGRAM_HEIGHT + 26));
    page.attr("aria-label", format!("alerts over time, at most {most} in one bar")).raw(">");
    let step = HISTOGRAM_WIDTH as f64 / buckets.len() as f64;
    for (at, bucket) in buckets.iter().enumerate() {
        let from = bucket_time(first, last, at);
        let total: usize = bucket.iter().sum();
        if total == 0 {
            continue;
        }
        page.raw("<g><title>").show(format!("from {from}: {total}")).raw("</title>");
        let mut y = HISTOGRAM_HEIGHT as f64;
        for severity in Severity::ALL {
            let count = bucket[severity as usize];
            if count > 0 {
                let height = (count as f64 / most as f64 * (HISTOGRAM_HEIGHT - 14) as f64).max(2.0);
                y -= height;
                rect(page, fill(severity), at as f64 * step + 1.0, y, step - 2.0, height);
            }
        }
        page.raw("</g>");
    }
    axis(page, first, last);
    page.raw("</svg>");
}

fn bucket_time(first: i64, last: i64, at: usize) -> String {
    let offset = (i128::from(last) - i128::from(first)) * at as i128 / BUCKETS as i128;
    readable((i128::from(first) + offset) as i64)
}

fn axis(page: &mut Page, first: i64, last: i64) {
    let base = HISTOGRAM_HEIGHT as f64;
    rect(page, "axis", 0.0, base, HISTOGRAM_WIDTH as f64, 1.0);
    let labels = [(0, "start", 0), (BUCKETS / 2, "middle", HISTOGRAM_WIDTH / 2), (BUCKETS, "end", HISTOGRAM_WIDTH)];
    for (at, anchor, x) in labels {
        let time = bucket_time(first, last, at);
        let time = time.split_once('.').map_or(time.as_str(), |(seconds, _)| seconds);
        page.raw("<text").attr("x", x).attr("y", HISTOGRAM_HEIGHT + 19).attr("text-anchor", anchor);
        page.raw(">").text(time).raw("</text>");
    }
}

/// The events of a sequence on a line: distances are true to time as far as the labels leave room.
pub fn time_line(page: &mut Page, alert: &AlertView) {
    let events = &alert.events;
    let labelled = events.len() <= MOST_LABELLED;
    let places = places(&offsets(alert), labelled);
    page.raw("<svg class=\"timeline\" role=\"img\"")
        .attr("viewBox", if labelled { "0 0 1160 92" } else { "0 0 1160 44" });
    page.attr("aria-label", format!("{} events in {}", events.len(), duration(alert.span()))).raw(">");
    let end = places.last().copied().unwrap_or(0.0);
    rect(page, "track", MARGIN, 23.0, end, 2.0);
    for (at, pair) in places.windows(2).enumerate() {
        if labelled {
            gap_label(page, alert, at, MARGIN + (pair[0] + pair[1]) / 2.0);
        }
    }
    for (at, (event, place)) in events.iter().zip(&places).enumerate() {
        let x = fixed(MARGIN + place);
        page.raw("<circle class=\"dot\" cy=\"24\"")
            .attr("cx", &x)
            .attr("r", if labelled { 11 } else { 5 })
            .raw("><title>");
        page.text(&event.happening.line).raw("</title></circle>");
        if labelled {
            let label = |page: &mut Page, class: &'static str, y: usize, text: &str| {
                page.raw("<text class=\"").raw(class).raw("\" text-anchor=\"middle\"");
                page.attr("x", &x).attr("y", y).raw(">").text(text).raw("</text>");
            };
            label(page, "number", 28, &(at + 1).to_string());
            label(page, "what", 56, &cut(&shown(&event.happening.category), 16));
            label(page, "who", 74, &cut(&shown(&event.actor().unwrap_or_default()), 18));
        }
    }
    page.raw("</svg>");
}

fn gap_label(page: &mut Page, alert: &AlertView, at: usize, x: f64) {
    let (Some(from), Some(to)) = (alert.events[at].time, alert.events[at + 1].time) else { return };
    page.raw("<text class=\"gap\" y=\"14\" text-anchor=\"middle\"").attr("x", fixed(x)).raw(">");
    page.show(format!("+{}", duration(to.saturating_sub(from)))).raw("</text>");
}

/// Each event's time after the first, in nanoseconds; an event without a time stands at its neighbour's.
fn offsets(alert: &AlertView) -> Vec<f64> {
    let first = alert.events.iter().find_map(|event| event.time).unwrap_or(0);
    let mut last = 0.0;
    let offset = |time: i64| (i128::from(time) - i128::from(first)) as f64;
    alert
        .events
        .iter()
        .map(|event| {
            last = event.time.map_or(last, offset).max(last);
            last
        })
        .collect()
}

/// Places on a line of [`LINE_WIDTH`] that keep the order and, for labels, the least distance.
fn places(offsets: &[f64], labelled: bool) -> Vec<f64> {
    let gaps = offsets.len().saturating_sub(1);
    let whole = offsets.last().copied().unwrap_or(0.0).max(1.0);
    let least = if labelled { LEAST_GAP } else { (LINE_WIDTH / gaps.max(1) as f64).min(12.0) };
    let free = (LINE_WIDTH - least * gaps as f64).max(0.0);
    offsets.iter().enumerate().map(|(at, offset)| least * at as f64 + offset / whole * free).collect()
}

/// A length of time in two units at most: `0.42 s`, `3 min 5 s`, `2 d 4 h`.
pub fn duration(nanos: i64) -> String {
    let nanos = nanos.max(0);
    let seconds = nanos / 1_000_000_000;
    match seconds {
        0 if nanos == 0 => "0 s".to_owned(),
        0 => format!("{} ms", (nanos / 1_000_000).max(1)),
        1..=59 => {
            let text = format!("{:.2}", nanos as f64 / 1e9);
            format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        60..=3_599 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let of = |millis: i64| duration(millis * 1_000_000);
        assert_eq!(of(0), "0 s");
        assert_eq!(duration(5), "1 ms");
        assert_eq!(of(420), "420 ms");
        assert_eq!(of(1_500), "1.5 s");
        assert_eq!(of(59_999), "60 s");
        assert_eq!(of(185_000), "3 min 5 s");
        assert_eq!(of(3_600_000), "1 h");
        assert_eq!(of(187_200_000), "2 d 4 h");
        assert_eq!(duration(i64::MIN), "0 s");
    }

    #[test]
    fn places_keep_order_and_distance() {
        let places = places(&[0.0, 0.0, 5.0, 1e18], true);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LEAST_GAP - 0.001), "{places:?}");
        assert!((places[3] - LINE_WIDTH).abs() < 0.001);
        assert_eq!(super::places(&[0.0], true), [0.0]);
        assert!(super::places(&[0.0; 100], false).iter().all(|place| *place <= LINE_WIDTH));
        assert!(super::places(&[], true).is_empty());
    }
}
