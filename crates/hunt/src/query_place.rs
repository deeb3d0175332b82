use std::fs;

use eqlipse_eql::Diagnostic;
use eqlipse_eql::ast::Span;
use eqlipse_rules::LoadedRule;

/// Where a rule's query stands, to draw messages about it: in the rule's file if it is there letter by letter, else by
/// itself.
#[derive(Debug)]
pub struct QueryPlace {
    text: String,
    /// Where the query begins in `text`, in bytes.
    offset: u32,
    name: String,
}

impl QueryPlace {
    /// Finds the query of a rule; reads the rule's file again.
    pub fn of(loaded: &LoadedRule, query: &str) -> Self {
        in_file(loaded, query).unwrap_or_else(|| Self {
            text: query.to_owned(),
            offset: 0,
            name: format!("{} (query of {})", loaded.origin, loaded.rule.name),
        })
    }

    /// The message with its source lines and carets, with terminal colours if `styled`.
    pub fn draw(&self, diagnostic: &Diagnostic, styled: bool) -> String {
        let moved = |span: Span| Span { start: span.start + self.offset, end: span.end + self.offset };
        let mut diagnostic = diagnostic.clone();
        diagnostic.span = moved(diagnostic.span);
        diagnostic.labels.iter_mut().for_each(|label| label.span = moved(label.span));
        diagnostic.render(&self.text, &self.name, styled)
    }
}

fn in_file(loaded: &LoadedRule, query: &str) -> Option<QueryPlace> {
    let origin = &loaded.origin;
    let offset = origin.query_offset.filter(|_| origin.member.is_none() && origin.path.as_os_str() != "-")?;
    let text = fs::read_to_string(&origin.path).ok()?;
    let stands_there = text.get(offset..).is_some_and(|rest| rest.starts_with(query));
    let offset = u32::try_from(offset).ok().filter(|_| u32::try_from(text.len()).is_ok())?;
    stands_there.then(|| QueryPlace { text, offset, name: origin.path.display().to_string() })
}
