//! Drawing a message with its source lines.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::text::{HIDDEN, floor_char, inert, is_hostile, line_column};
use super::{Diagnostic, Severity};

/// A line longer than this many bytes is shown only around the place.
const LONG_LINE: usize = 2000;
/// How many bytes of a long line are shown on either side of the place.
const CONTEXT: usize = 100;
/// A place, or the distance from it to a label, longer than this many bytes is cut to the first line of the place.
const LONG_SPAN: usize = 4096;

/// The part of the source that is drawn, made inert, and where the places lie in it.
struct Window {
    text: String,
    first_line: usize,
    /// Whether the text begins within a line.
    cut: bool,
    primary: Range<usize>,
    labels: Vec<(Range<usize>, String)>,
}

pub(super) fn render(diagnostic: &Diagnostic, source: &str, name: &str, colour: bool) -> String {
    let window = window(diagnostic, source);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let labels = window.labels.into_iter().map(|(span, text)| AnnotationKind::Context.span(span).label(text));
    let mut snippet = Snippet::<Annotation<'_>>::source(window.text)
        .line_start(window.first_line)
        .fold(true)
        .annotation(AnnotationKind::Primary.span(window.primary))
        .annotations(labels);
    let mut group = Group::with_title(level.primary_title(inert(&diagnostic.message).into_owned()).id(diagnostic.code));
    if window.cut {
        // The column within the cut line would be wrong.
        let (line, column) = line_column(source, diagnostic.span.start as usize);
        group = group.element(Origin::path(inert(name).into_owned()).line(line).char_column(column));
    } else {
        snippet = snippet.path(inert(name).into_owned());
    }
    group = group.element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(inert(help).into_owned()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

fn window(diagnostic: &Diagnostic, source: &str) -> Window {
    let primary = char_range(source, diagnostic.span.start, diagnostic.span.end);
    let mut labels: Vec<_> = diagnostic
        .labels
        .iter()
        .map(|label| (char_range(source, label.span.start, label.span.end), inert(&label.text).into_owned()))
        .collect();
    let first = labels.iter().map(|(range, _)| range.start).fold(primary.start, usize::min);
    let last = labels.iter().map(|(range, _)| range.end).fold(primary.end, usize::max);
    let shown = lines_around(source, first, last);
    if last - first <= LONG_SPAN && source[shown.clone()].lines().all(|line| line.len() <= LONG_LINE) {
        return draw(source, shown, primary, labels, "", "");
    }
    let line = lines_around(source, primary.start, primary.start);
    let start = floor_char(source, primary.start.saturating_sub(CONTEXT)).max(line.start);
    let end = floor_char(source, (primary.end.min(line.end) + CONTEXT).min(primary.start + 2 * CONTEXT)).min(line.end);
    labels.retain(|(range, _)| range.start >= start && range.end <= end);
    let primary = primary.start..primary.end.min(end);
    let (before, after) = (if start > line.start { "…" } else { "" }, if end < line.end { "…" } else { "" });
    draw(source, start..end, primary, labels, before, after)
}

fn char_range(source: &str, start: u32, end: u32) -> Range<usize> {
    let start = floor_char(source, start as usize);
    start..floor_char(source, end as usize).max(start)
}

/// The whole lines that hold the bytes from `first` to `last`, without the last line break.
fn lines_around(source: &str, first: usize, last: usize) -> Range<usize> {
    let start = source[..first].rfind('\n').map_or(0, |at| at + 1);
    let end = source[last..].find('\n').map_or(source.len(), |at| last + at);
    start..end
}

fn draw(
    source: &str,
    shown: Range<usize>,
    primary: Range<usize>,
    labels: Vec<(Range<usize>, String)>,
    before: &str,
    after: &str,
) -> Window {
    let mut text = String::with_capacity(shown.len() + 8);
    text.push_str(before);
    // Byte offset in `shown` -> byte offset in `text`, for every character start and the end.
    let mut moved = vec![0; shown.len() + 1];
    for (at, c) in source[shown.clone()].char_indices() {
        moved[at] = text.len();
        let keep = c == '\n' || c == '\t' || (c == '\r' && source[shown.start + at + 1..].starts_with('\n'));
        text.push(if keep || !is_hostile(c) { c } else { HIDDEN });
    }
    moved[shown.len()] = text.len();
    text.push_str(after);
    let place = |range: Range<usize>| moved[range.start - shown.start]..moved[range.end - shown.start];
    Window {
        first_line: line_column(source, shown.start).0,
        cut: !before.is_empty(),
        primary: place(primary),
        labels: labels.into_iter().map(|(range, label)| (place(range), label)).collect(),
        text,
    }
}
