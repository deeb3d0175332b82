//! The rule page as Elastic's documentation publishes it.
//!
//! A page names its fields in bold (`**Severity**: medium`), its query in a fence, its ATT&CK mapping as nested lists.
//! It carries no rule id: the anchor of the heading, `[prebuilt-rule-…]`, becomes the id, or, where there is none,
//! the heading in lower case with hyphens. A page may hold several rules; each begins at the last heading before its
//! `**Rule type**` line.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::load::LoadError;
use crate::load::found::{Found, rule};

/// The field every rule page has.
const MARK: &str = "**Rule type**";

/// Whether the text is a rule page.
pub(crate) fn has_rule(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with(MARK))
}

/// Reads every rule of a page.
pub(crate) fn read(text: &str) -> Result<Vec<Found>, LoadError> {
    let lines = split(text);
    let starts = rule_starts(&lines);
    let mut found = Vec::with_capacity(starts.len());
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(lines.len());
        let first = lines.get(*start).map_or(0, |line| line.offset);
        let last = lines.get(end).map_or(text.len(), |line| line.offset);
        let mut page = Page::default();
        page.read(&lines[*start..end]);
        let mut entry = Found::new(&text.as_bytes()[first..last], read_rule(page.fields));
        entry.query_offset = page.query_offset;
        found.push(if starts.len() > 1 { entry.at_line(start + 1) } else { entry });
    }
    Ok(found)
}

fn read_rule(mut fields: Map<String, Value>) -> Result<crate::load::found::Entry, LoadError> {
    let unsupported = match fields.get("type").and_then(Value::as_str) {
        Some("threshold") => Some("threshold"),
        Some("new_terms") => Some("new_terms_fields"),
        Some("threat_match") => Some("threat_mapping"),
        _ => None,
    };
    if let Some(field) = unsupported {
        let message = format!("published pages do not say what `{field}` is; use the TOML or JSON form of this rule");
        return Err(LoadError::NotARule(message));
    }
    if fields.get("type").and_then(Value::as_str) == Some("query") {
        fields.insert("language".to_owned(), json!("kuery"));
    }
    rule(fields)
}

/// A line, with what stands around it.
struct Line<'a> {
    offset: usize,
    /// Without the line break.
    text: &'a str,
    /// Inside a fence, the fence lines themselves excluded.
    fenced: bool,
    /// A fence line: the language where it opens, `None` where it closes.
    fence: Option<Option<&'a str>>,
}

impl<'a> Line<'a> {
    /// The title of an ATX heading.
    fn heading(&self) -> Option<&'a str> {
        if self.fenced {
            return None;
        }
        let title = self.text.trim_start_matches('#');
        let level = self.text.len() - title.len();
        ((1..=6).contains(&level) && title.starts_with(' ')).then(|| title.trim())
    }

    /// `**name**: value`.
    fn field(&self) -> Option<(&'a str, &'a str)> {
        if self.fenced {
            return None;
        }
        let (name, value) = self.text.trim_start().strip_prefix("**")?.split_once("**")?;
        Some((name.trim(), value.trim_start().strip_prefix(':')?.trim()))
    }

    /// `* item`, at any depth.
    fn item(&self) -> Option<&'a str> {
        let text = self.text.trim_start();
        text.strip_prefix("* ").or_else(|| text.strip_prefix("- ")).map(str::trim).filter(|_| !self.fenced)
    }
}

fn split(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut open: Option<usize> = None;
    let mut offset = 0;
    for raw in text.split_inclusive('\n') {
        let line = raw.trim_end_matches(['\n', '\r']);
        let ticks = line.trim_start().bytes().take_while(|byte| *byte == b'`').count();
        let language = line.trim_start()[ticks..].trim();
        let fence = match open {
            None if ticks >= 3 && !language.contains('`') => {
                open = Some(ticks);
                Some(Some(language))
            }
            Some(width) if ticks >= width && language.is_empty() => {
                open = None;
                Some(None)
            }
            _ => None,
        };
        lines.push(Line { offset, text: line, fenced: open.is_some() && fence.is_none(), fence });
        offset += raw.len();
    }
    lines
}

/// The line each rule begins on: the last heading before its mark.
fn rule_starts(lines: &[Line<'_>]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut heading = 0;
    for (index, line) in lines.iter().enumerate() {
        if line.heading().is_some() {
            heading = index;
        } else if !line.fenced && line.text.trim_start().starts_with(MARK) && starts.last() != Some(&heading) {
            starts.push(heading);
        }
    }
    starts
}

/// What the reader is in the middle of.
#[derive(Default, PartialEq)]
enum Section {
    /// Text under the rule's heading.
    #[default]
    Description,
    /// Items of a list field.
    List(&'static str),
    /// Items of the ATT&CK mapping.
    Framework,
    /// Under a heading whose text goes to a field.
    Guide(&'static str),
    /// Under the query's heading.
    Query,
    /// Between fields.
    Nothing,
}

/// One rule's page, being read.
#[derive(Default)]
struct Page {
    fields: Map<String, Value>,
    section: Section,
    description: Vec<String>,
    guide: Vec<String>,
    threat: ThreatList,
    query_start: Option<usize>,
    query_offset: Option<usize>,
    query: Vec<String>,
}

impl Page {
    fn read(&mut self, lines: &[Line<'_>]) {
        let has_title = lines.first().is_some_and(|line| line.heading().is_some());
        if let Some(title) = lines.first().and_then(Line::heading) {
            self.title(title);
        }
        for line in lines.iter().skip(usize::from(has_title)) {
            self.line(line);
        }
        self.end_guide();
        let description = self.description.join("\n");
        self.put("description", json!(strip_links(description.trim())));
        let threat = std::mem::take(&mut self.threat).finish();
        if !threat.is_empty() {
            self.put("threat", Value::Array(threat));
        }
    }

    fn put(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
    }

    fn title(&mut self, title: &str) {
        let (name, anchor) = split_anchor(title);
        self.put("name", json!(name));
        self.put("rule_id", json!(anchor.map_or_else(|| slug(name), str::to_owned)));
    }

    fn line(&mut self, line: &Line<'_>) {
        if let Section::Guide(_) = self.section {
            // A guide's own sub-headings stay in it; only the page's known sections end it.
            if line.heading().is_none_or(|title| section_of(title).is_none()) && !ends_guide(line) {
                return self.guide.push(line.text.to_owned());
            }
        }
        if let Some(title) = line.heading() {
            self.end_guide();
            self.section = section_of(title).unwrap_or(Section::Nothing);
        } else if self.section == Section::Query && (line.fenced || line.fence.is_some()) {
            self.query_line(line);
        } else if let Some((name, value)) = line.field() {
            self.end_guide();
            self.field(name, value);
        } else {
            self.body(line);
        }
    }

    fn body(&mut self, line: &Line<'_>) {
        match &self.section {
            Section::Description => self.description.push(line.text.to_owned()),
            Section::List(field) => {
                let field = *field;
                if let Some(item) = line.item() {
                    self.push(field, item);
                }
            }
            Section::Framework => {
                if let Some(item) = line.item() {
                    self.threat.item(item);
                }
            }
            _ => {}
        }
    }

    fn push(&mut self, field: &str, item: &str) {
        let text = link_text(item);
        match self.fields.get_mut(field) {
            Some(Value::Array(items)) => items.push(json!(text)),
            _ => self.put(field, json!([text])),
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        self.section = Section::Nothing;
        let value = strip_links(value);
        let value = value.trim();
        match name {
            "Rule type" => self.put("type", json!(value)),
            "Severity" => self.put("severity", json!(value)),
            "Risk score" => self.put("risk_score", number(value)),
            "Runs every" => self.put("interval", json!(first_word(value))),
            "Searches indices from" => self.put("from", json!(first_word(value))),
            "Maximum alerts per execution" => self.put("max_signals", number(value)),
            "Version" => self.put("version", number(value)),
            "Rule license" => self.put("license", json!(value)),
            "Machine learning anomaly threshold" | "Anomaly threshold" => self.put("anomaly_threshold", number(value)),
            "Rule indices" => self.list("index", value),
            "References" => self.list("references", value),
            "Tags" => self.list("tags", value),
            "Rule authors" => self.list("author", value),
            "Machine learning job" | "Machine learning jobs" => self.list("machine_learning_job_id", value),
            "Framework" => {
                self.section = Section::Framework;
                self.threat.framework(value);
            }
            _ => {}
        }
    }

    /// A list field has its items below, or one value, or `None`, behind the colon.
    fn list(&mut self, field: &'static str, value: &str) {
        self.section = Section::List(field);
        if !value.is_empty() && !value.eq_ignore_ascii_case("none") {
            value.split(',').for_each(|item| self.push(field, item.trim()));
        }
    }

    fn query_line(&mut self, line: &Line<'_>) {
        match line.fence {
            // Only the first fence is the query.
            Some(Some(_)) if !self.fields.contains_key("query") => {
                self.query_start = Some(line.offset);
                self.query.clear();
            }
            Some(None) if self.query_start.take().is_some() => {
                let query = self.query.join("\n");
                self.put("query", json!(query));
            }
            None if self.query_start.is_some() => {
                if self.query.is_empty() {
                    self.query_offset = Some(line.offset);
                }
                self.query.push(line.text.to_owned());
            }
            _ => {}
        }
    }

    fn end_guide(&mut self) {
        if let Section::Guide(field) = self.section {
            let text = self.guide.join("\n");
            let text = strip_links(text.trim());
            if !text.is_empty() {
                self.put(field, json!(text));
            }
        }
        self.guide.clear();
        self.section = Section::Nothing;
    }
}

fn ends_guide(line: &Line<'_>) -> bool {
    line.field().is_some_and(|(name, _)| name == "Framework")
}

fn section_of(title: &str) -> Option<Section> {
    match split_anchor(title).0.to_ascii_lowercase().as_str() {
        "rule query" => Some(Section::Query),
        "investigation guide" => Some(Section::Guide("note")),
        "setup" => Some(Section::Guide("setup")),
        _ => None,
    }
}

/// Takes the `[anchor]` off a heading.
fn split_anchor(title: &str) -> (&str, Option<&str>) {
    let parts = title.strip_suffix(']').and_then(|title| title.rsplit_once('['));
    match parts {
        Some((name, anchor)) if !anchor.is_empty() && !anchor.contains(char::is_whitespace) => {
            (name.trim(), Some(anchor))
        }
        _ => (title, None),
    }
}

fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

fn number(value: &str) -> Value {
    value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number))
}

fn first_word(value: &str) -> &str {
    value.split([' ', '(', '\t']).next().unwrap_or_default()
}

/// The text of a list item that is one link, else the item. The site rewrites link targets to `.md`; the text keeps
/// the true address.
fn link_text(item: &str) -> &str {
    let link = item.strip_prefix('[').and_then(|rest| rest.strip_suffix(')')).and_then(|rest| rest.split_once("]("));
    match link {
        Some((text, _)) if text.contains("://") => text,
        Some((_, target)) => target,
        None => item.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(item),
    }
}

/// Replaces links whose target only the documentation site knows (`{{ref}}/…`, `docs-content://…`) by their text.
fn strip_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut marks = Marks::new(text);
    let mut at = 0;
    while let Some(mark) = marks.next(at) {
        let before = &text[at..mark];
        let after = &text[mark..];
        let end = after.find([')', '[', ' ', '\n']).unwrap_or(after.len());
        let link = before.strip_suffix("](").and_then(|head| head.rsplit_once('['));
        at = match link {
            Some((head, label)) if after[end..].starts_with(')') => {
                out.push_str(head);
                out.push_str(label);
                mark + end + 1
            }
            _ => {
                out.push_str(before);
                // `{{ref}}/page.html[label]` keeps its label.
                let label = after[end..].strip_prefix('[').and_then(|tail| tail.lines().next()?.split_once(']'));
                let (label, taken) = label.map_or(("", 0), |(label, _)| (label, label.len() + 2));
                out.push_str(label);
                mark + end + taken
            }
        };
    }
    out.push_str(&text[at..]);
    out
}

/// Where the next of two marks stands. Remembers what lies ahead, so that each part of the text is searched once.
struct Marks<'a> {
    text: &'a str,
    next: [(&'static str, Option<usize>); 2],
}

impl<'a> Marks<'a> {
    fn new(text: &'a str) -> Marks<'a> {
        Marks { text, next: ["{{", "docs-content://"].map(|mark| (mark, text.find(mark))) }
    }

    fn next(&mut self, from: usize) -> Option<usize> {
        for (mark, place) in &mut self.next {
            if place.is_some_and(|place| place < from) {
                *place = self.text[from..].find(*mark).map(|place| place + from);
            }
        }
        self.next.iter().filter_map(|(_, place)| *place).min()
    }
}

/// What the next `Name`, `ID` and `Reference URL` items describe.
#[derive(Clone, Copy, Default, PartialEq)]
enum Level {
    #[default]
    None,
    Tactic,
    Technique,
    SubTechnique,
}

/// The ATT&CK mapping, being read.
#[derive(Default)]
struct ThreatList {
    framework: String,
    level: Level,
    threats: Vec<Tactic>,
}

#[derive(Default)]
struct Tactic {
    framework: String,
    tactic: Reference,
    techniques: Vec<(Reference, Vec<Reference>)>,
}

#[derive(Default)]
struct Reference {
    id: String,
    name: String,
    reference: String,
}

impl Reference {
    fn json(&self) -> Map<String, Value> {
        let fields = [("id", &self.id), ("name", &self.name), ("reference", &self.reference)];
        fields.into_iter().map(|(field, text)| (field.to_owned(), json!(text))).collect()
    }
}

impl ThreatList {
    /// The trade mark sign behind the name comes as `TM`, `^TM^` or `™`.
    fn framework(&mut self, value: &str) {
        let name = value.trim_end_matches('™').trim_end_matches("^TM^").trim_end_matches("TM");
        self.framework = name.trim().to_owned();
        self.level = Level::None;
    }

    fn item(&mut self, item: &str) {
        let Some((name, value)) = item.split_once(':') else { return };
        let value = link_text(value.trim());
        match name.trim() {
            "Tactic" => {
                self.level = Level::Tactic;
                self.threats.push(Tactic { framework: self.framework.clone(), ..Tactic::default() });
            }
            "Technique" => {
                self.level = Level::Technique;
                self.tactic().techniques.push(Default::default());
            }
            "Sub-technique" => {
                self.level = Level::SubTechnique;
                let tactic = self.tactic();
                if tactic.techniques.is_empty() {
                    tactic.techniques.push(Default::default());
                }
                if let Some((_, subs)) = tactic.techniques.last_mut() {
                    subs.push(Reference::default());
                }
            }
            field => self.set(field, value),
        }
    }

    /// The tactic that techniques go to; a page that leaves it out gets an empty one, which validation reports.
    fn tactic(&mut self) -> &mut Tactic {
        if self.threats.is_empty() {
            self.threats.push(Tactic { framework: self.framework.clone(), ..Tactic::default() });
        }
        let last = self.threats.len() - 1;
        &mut self.threats[last]
    }

    fn set(&mut self, field: &str, value: &str) {
        let level = self.level;
        if level == Level::None {
            return;
        }
        let tactic = self.tactic();
        let target = match (level, tactic.techniques.last_mut()) {
            (Level::Technique, Some((technique, _))) => technique,
            (Level::SubTechnique, Some((_, subs))) => match subs.last_mut() {
                Some(sub) => sub,
                None => return,
            },
            _ => &mut tactic.tactic,
        };
        match field {
            "Name" => target.name = value.to_owned(),
            "ID" => target.id = value.to_owned(),
            "Reference URL" => target.reference = value.to_owned(),
            _ => {}
        }
    }

    fn finish(self) -> Vec<Value> {
        self.threats.into_iter().map(Tactic::finish).collect()
    }
}

impl Tactic {
    fn finish(mut self) -> Value {
        self.sort_subs();
        let techniques: Vec<Value> = self.techniques.iter().map(technique_json).collect();
        json!({"framework": self.framework, "tactic": self.tactic.json(), "technique": techniques})
    }

    /// Pages list all techniques, then all sub-techniques; the ids say which belongs to which.
    fn sort_subs(&mut self) {
        let places = self.techniques.iter().enumerate().map(|(at, (technique, _))| (technique.id.clone(), at));
        let places: HashMap<String, usize> = places.collect();
        for position in 0..self.techniques.len() {
            let subs = std::mem::take(&mut self.techniques[position].1);
            let (kept, moved): (Vec<_>, Vec<_>) = subs.into_iter().partition(|sub| {
                let parent = sub.id.split('.').next().unwrap_or_default();
                places.get(parent).is_none_or(|place| *place == position)
            });
            self.techniques[position].1 = kept;
            for sub in moved {
                let parent = sub.id.split('.').next().unwrap_or_default();
                let place = places.get(parent).copied().unwrap_or(position);
                self.techniques[place].1.push(sub);
            }
        }
    }
}

fn technique_json((technique, subs): &(Reference, Vec<Reference>)) -> Value {
    let mut map = technique.json();
    if !subs.is_empty() {
        let subs: Vec<Value> = subs.iter().map(|sub| Value::Object(sub.json())).collect();
        map.insert("subtechnique".to_owned(), Value::Array(subs));
    }
    Value::Object(map)
}
