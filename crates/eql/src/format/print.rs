//! The parts of a query to lines.

use super::lexemes::{Lexeme, is_line_comment};
use super::tree::{Entry, Expr, Filter, Group, Node, Section, Tree};
use super::{FILL_WIDTH, WIDTH};
use crate::lexer::TokenKind as T;

/// How much deeper what is in parentheses stands.
const STEP: usize = 2;

/// The most columns that a line begins at; what is nested deeper begins there, too.
const MAX_INDENT: usize = 60;

/// Fields that say what kind of event it is: by custom, conditions on them stand on the first line.
const LEADING_FIELDS: [&[&str]; 3] = [&["event"], &["host", ".", "os"], &["data_stream"]];

/// Lays out a query.
pub(super) fn print(tree: &Tree<'_>) -> String {
    let mut printer = Printer::new(&tree.lexemes);
    for section in &tree.sections {
        printer.section(section);
    }
    let end = tree.lexemes.len() - 1;
    if !tree.lexemes[end].own.is_empty() {
        printer.start_line(0);
        printer.lead(end, 0, true);
    }
    printer.out
}

struct Printer<'t, 'a> {
    lexemes: &'t [Lexeme<'a>],
    /// How many comments and blank lines before a lexeme force a line break, counted from the first lexeme.
    before: Vec<usize>,
    /// How many comments behind a lexeme force a line break, counted likewise.
    behind: Vec<usize>,
    out: String,
    column: usize,
    /// The lexeme written last, if it is on this line.
    last: Option<usize>,
    /// A line break that is written once something follows it: how deep, and whether after a blank line.
    pending: Option<(usize, bool)>,
    /// How deep the line begins.
    depth: usize,
    /// The line ends in a `//` comment.
    commented: bool,
}

impl<'t, 'a> Printer<'t, 'a> {
    fn new(lexemes: &'t [Lexeme<'a>]) -> Self {
        let sums = |forces: fn(&Lexeme<'_>) -> bool| {
            let mut sum = 0;
            let mut add = |lexeme| {
                sum += usize::from(forces(lexeme));
                sum
            };
            std::iter::once(0).chain(lexemes.iter().map(&mut add)).collect()
        };
        let before = sums(|lexeme| !lexeme.own.is_empty() || lexeme.blank);
        let behind = sums(|lexeme| !lexeme.trailing.is_empty());
        let out = String::new();
        Self { lexemes, before, behind, out, column: 0, last: None, pending: None, depth: 0, commented: false }
    }

    fn write(&mut self, text: &str) {
        if let Some((depth, blank)) = self.pending.take() {
            self.out.push_str(if blank { "\n\n" } else { "\n" });
            self.out.extend(std::iter::repeat_n(' ', depth));
            self.column = depth;
        }
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    /// Goes to a new line, unless nothing is written yet.
    fn start_line(&mut self, depth: usize) {
        if !self.out.is_empty() {
            self.pending = Some((depth, false));
        }
        (self.column, self.last, self.depth, self.commented) = (depth, None, depth, false);
    }

    /// Leaves a blank line before the line that begins here.
    fn blank(&mut self) {
        if let Some((_, blank)) = &mut self.pending {
            *blank = true;
        }
    }

    /// Writes the comments before a lexeme that stand on lines of their own, where a line begins.
    fn lead(&mut self, at: usize, depth: usize, keep_blank: bool) {
        let lexemes = self.lexemes;
        let lexeme = &lexemes[at];
        for (number, comment) in lexeme.own.iter().enumerate() {
            if comment.blank && (number > 0 || keep_blank) {
                self.blank();
            }
            self.write(comment.text);
            self.start_line(depth);
        }
        if lexeme.blank && (keep_blank || !lexeme.own.is_empty()) {
            self.blank();
        }
    }

    fn token(&mut self, at: usize) {
        if self.commented {
            self.start_line(self.depth + STEP);
        }
        let lexemes = self.lexemes;
        let lexeme = &lexemes[at];
        let mut gap = self.last.is_some_and(|last| is_spaced(lexemes, last, at));
        for comment in &lexeme.inline {
            let needs_space = self.last.is_some_and(|last| !is_opener(lexemes[last].kind));
            self.write(if needs_space || gap { " " } else { "" });
            self.write(comment);
            gap = !is_closer(lexeme.kind);
            self.last = Some(at);
        }
        self.write(if gap { " " } else { "" });
        self.write(lexeme.text);
        self.last = Some(at);
    }

    fn tokens(&mut self, range: std::ops::RangeInclusive<usize>) {
        range.for_each(|at| self.token(at));
    }

    /// Writes the comments behind a lexeme; the caller goes to a new line. Whether there were any.
    fn trailing(&mut self, at: usize) -> bool {
        let lexemes = self.lexemes;
        for comment in &lexemes[at].trailing {
            self.write(" ");
            self.write(comment);
            self.commented |= is_line_comment(comment);
        }
        !lexemes[at].trailing.is_empty()
    }

    /// Whether comments or blank lines between the first and the last lexeme force a line break.
    fn is_forced(&self, first: usize, last: usize) -> bool {
        self.before[last + 1] > self.before[first + 1] || self.behind[last] > self.behind[first]
    }

    /// The columns of some lexemes on one line; `None` if that cannot be or they are more than `most`.
    fn width(&self, first: usize, last: usize, most: usize) -> Option<usize> {
        if self.is_forced(first, last) {
            return None;
        }
        let mut width = 0;
        for at in first..=last {
            let lexeme = &self.lexemes[at];
            let spaced = at > first && is_spaced(self.lexemes, at - 1, at);
            let inline: usize = lexeme.inline.iter().map(|comment| comment.chars().count() + 1).sum();
            width += usize::from(spaced) + inline + lexeme.text.chars().count();
            if width > most {
                return None;
            }
        }
        Some(width)
    }

    /// Whether some lexemes fit on what is left of the line, with `tail` more columns behind them.
    fn fits(&self, first: usize, last: usize, tail: usize) -> bool {
        let gap = usize::from(self.last.is_some_and(|before| is_spaced(self.lexemes, before, first)));
        let room = WIDTH.checked_sub(self.column + gap + tail);
        room.is_some_and(|room| self.width(first, last, room).is_some())
    }

    fn section(&mut self, section: &Section) {
        let depth = match section {
            Section::Item { filter, .. } => match self.lexemes[filter.head[0]].kind {
                T::Until => 0,
                // The brackets stand one under the other.
                T::OpenMissing => STEP - 1,
                _ => STEP,
            },
            _ => 0,
        };
        self.start_line(depth);
        self.lead(section.first(), depth, true);
        match section {
            Section::Line(line) => self.line(line),
            Section::Filter(filter) => {
                self.filter(filter, STEP, 0, 0);
                self.trailing(filter.condition.last());
            }
            Section::Item { filter, tail } => self.item(filter, tail, depth),
            Section::Pipe { head, entries } => self.pipe(head, entries),
        }
    }

    /// A line that is not broken, with the comments at its end.
    fn line(&mut self, line: &[usize]) {
        line.iter().for_each(|at| self.token(*at));
        if let Some(last) = line.last() {
            self.trailing(*last);
        }
    }

    fn item(&mut self, filter: &Filter, tail: &[usize], depth: usize) {
        let close = tail[0];
        let width = self.width(close, tail[tail.len() - 1], WIDTH).unwrap_or(0);
        // Conditions stand under the first letter in the brackets.
        let within = STEP + 1;
        self.filter(filter, within, within, width);
        let commented = self.trailing(filter.condition.last());
        if commented || !self.lexemes[close].own.is_empty() {
            self.start_line(within);
            self.lead(close, within, true);
            self.start_line(depth);
        }
        self.line(tail);
    }

    fn pipe(&mut self, head: &[usize], entries: &[Entry]) {
        head.iter().for_each(|at| self.token(*at));
        let mut commented = self.trailing(head[head.len() - 1]);
        for entry in entries {
            let first = entry.expr.first();
            if commented || !self.lexemes[first].own.is_empty() {
                self.start_line(STEP);
                self.lead(first, STEP, false);
            }
            self.expr(&entry.expr, STEP, 0);
            let last = entry.comma.unwrap_or(entry.expr.last());
            entry.comma.into_iter().for_each(|comma| self.token(comma));
            commented = self.trailing(last);
        }
    }

    /// A condition behind its `where`. Lines after the first begin at `depth`; a single operand closes at `closing`.
    fn filter(&mut self, filter: &Filter, depth: usize, closing: usize, tail: usize) {
        let Filter { head, condition } = filter;
        head.iter().for_each(|at| self.token(*at));
        let commented = head.last().is_some_and(|at| self.trailing(*at));
        let first = condition.first();
        if commented || !self.lexemes[first].own.is_empty() {
            self.start_line(depth);
            self.lead(first, depth, false);
            return self.expr(condition, depth, tail);
        }
        if self.fits(first, condition.last(), tail) {
            return self.tokens(first..=condition.last());
        }
        match condition {
            Expr::Operand(nodes) => self.operand(nodes, closing),
            Expr::Chain { parts, operators } => {
                let on_line = self.leading_parts(parts, operators);
                if on_line == 0 {
                    self.start_line(depth);
                }
                self.chain(parts, operators, on_line, depth, tail);
            }
        }
    }

    /// Writes the parts that go on the line of the `where`: the first if it fits, and then what says the kind of event.
    fn leading_parts(&mut self, parts: &[Expr], operators: &[usize]) -> usize {
        let mut count = 0;
        while count < operators.len() {
            let (first, last, operator) = (parts[count].first(), parts[count].last(), operators[count]);
            let is_and = self.lexemes[operator].kind == T::And;
            let may_follow = count == 0 || is_and && self.before[first + 1] == self.before[first];
            let is_leading = is_and && self.is_leading(first);
            if !may_follow || count > 0 && !is_leading || !self.fits(first, last, 1 + self.operator_width(operator)) {
                break;
            }
            self.tokens(first..=last);
            self.token(operator);
            count += 1;
            if self.trailing(operator) || !is_leading {
                break;
            }
        }
        count
    }

    fn is_leading(&self, first: usize) -> bool {
        let text = |at: usize| self.lexemes.get(first + at).map(|lexeme| lexeme.text);
        LEADING_FIELDS.iter().any(|path| path.iter().enumerate().all(|(at, part)| text(at) == Some(part)))
    }

    fn operator_width(&self, operator: usize) -> usize {
        self.width(operator, operator, WIDTH).unwrap_or(0)
    }

    /// An expression at the start of a line or behind something on it; its last lexeme is followed by `tail` columns.
    fn expr(&mut self, expr: &Expr, depth: usize, tail: usize) {
        if self.fits(expr.first(), expr.last(), tail) {
            return self.tokens(expr.first()..=expr.last());
        }
        match expr {
            Expr::Operand(nodes) => self.operand(nodes, depth),
            Expr::Chain { parts, operators } => self.chain(parts, operators, 0, depth, tail),
        }
    }

    /// The parts of a chain from `from` on, each on its line.
    fn chain(&mut self, parts: &[Expr], operators: &[usize], from: usize, depth: usize, tail: usize) {
        for (at, part) in parts.iter().enumerate().skip(from) {
            if at > 0 {
                self.start_line(depth);
                self.lead(part.first(), depth, true);
            }
            let operator = operators.get(at).copied();
            let tail = operator.map_or(tail, |operator| 1 + self.operator_width(operator));
            // An `and` within an `or` that is not in parentheses: its lines stand deeper than the other parts.
            let inner = if matches!(part, Expr::Chain { .. }) { deeper(depth) } else { depth };
            self.expr(part, inner, tail);
            if let Some(operator) = operator {
                self.token(operator);
                self.trailing(operator);
            }
        }
    }

    /// An operand that does not fit: the parentheses that cannot be on one line are opened, or else the last.
    fn operand(&mut self, nodes: &[Node], depth: usize) {
        let must_open = |group: &Group| self.width(group.open, group.close, WIDTH - depth).is_none();
        let can_open = |group: &Group| group.entries.len() > 1 || group.entries.iter().any(is_long);
        let mut open: Vec<bool> = nodes
            .iter()
            .map(|node| {
                matches!(node, Node::Group(group)
                    if self.is_forced(group.open, group.close) || must_open(group) && can_open(group))
            })
            .collect();
        if !open.contains(&true) {
            let last = nodes.iter().rposition(|node| matches!(node, Node::Group(group) if can_open(group)));
            last.into_iter().for_each(|at| open[at] = true);
        }
        for (node, open) in nodes.iter().zip(open) {
            match node {
                Node::Group(group) if open => self.group(group, depth),
                node => self.tokens(node.first()..=node.last()),
            }
        }
    }

    /// Parentheses with their content on lines of its own.
    fn group(&mut self, group: &Group, depth: usize) {
        let within = deeper(depth);
        self.token(group.open);
        self.trailing(group.open);
        if let Some(first) = group.head.first() {
            if !self.lexemes[*first].own.is_empty() {
                self.start_line(within);
                self.lead(*first, within, false);
            }
            self.line(&group.head);
        }
        self.start_line(within);
        match &group.entries[..] {
            [] => {}
            [entry] if entry.comma.is_none() => {
                self.lead(entry.expr.first(), within, false);
                self.expr(&entry.expr, within, 0);
                self.trailing(entry.expr.last());
            }
            entries => self.list(entries, within),
        }
        if !self.lexemes[group.close].own.is_empty() {
            self.start_line(within);
            self.lead(group.close, within, true);
        }
        self.start_line(depth);
        self.token(group.close);
    }

    /// Entries on lines of their own, or as many to a line as fit if all are short.
    fn list(&mut self, entries: &[Entry], depth: usize) {
        let is_short = |entry: &Entry| self.width(entry.expr.first(), entry.expr.last(), FILL_WIDTH).is_some();
        let fill = entries.iter().all(is_short);
        let mut fresh = true;
        for entry in entries {
            let (first, last) = (entry.expr.first(), entry.expr.last());
            let has_own = !self.lexemes[first].own.is_empty();
            if !fresh && (has_own || !fill || !self.fits(first, last, 1)) {
                self.start_line(depth);
                fresh = true;
            }
            if fresh {
                self.lead(first, depth, false);
            }
            self.expr(&entry.expr, depth, 1);
            let end = entry.comma.unwrap_or(last);
            entry.comma.into_iter().for_each(|comma| self.token(comma));
            fresh = self.trailing(end);
            if fresh && entry.comma.is_some() {
                self.start_line(depth);
            }
        }
    }
}

fn deeper(depth: usize) -> usize {
    (depth + STEP).min(MAX_INDENT)
}

/// Whether an entry has something to break.
fn is_long(entry: &Entry) -> bool {
    match &entry.expr {
        Expr::Chain { .. } => true,
        Expr::Operand(nodes) => nodes.iter().any(|node| matches!(node, Node::Group(_))),
    }
}

fn is_opener(kind: T) -> bool {
    matches!(kind, T::OpenParen | T::OpenBracket | T::OpenMissing)
}

fn is_closer(kind: T) -> bool {
    matches!(kind, T::CloseParen | T::CloseBracket | T::Comma)
}

/// Whether a space stands between two lexemes on one line.
fn is_spaced(lexemes: &[Lexeme<'_>], before: usize, at: usize) -> bool {
    let (last, next) = (lexemes[before].kind, lexemes[at].kind);
    let is_pipe_name = before > 0 && lexemes[before - 1].kind == T::Pipe;
    let joined = is_opener(last)
        || is_closer(next)
        || matches!(last, T::Dot | T::Question | T::Assign)
        || matches!(next, T::Dot | T::Assign)
        // A call.
        || next == T::OpenParen && matches!(last, T::Identifier | T::TildeIdentifier) && !is_pipe_name
        // A duration.
        || next == T::Identifier && matches!(last, T::Integer | T::Decimal)
        || is_sign(lexemes, before);
    !joined
}

/// Whether a lexeme is the sign of a number rather than an operator between two.
fn is_sign(lexemes: &[Lexeme<'_>], at: usize) -> bool {
    let ends_operand = |kind: T| {
        kind.is_string()
            || matches!(
                kind,
                T::Identifier
                    | T::QuotedIdentifier
                    | T::Integer
                    | T::Decimal
                    | T::True
                    | T::False
                    | T::Null
                    | T::CloseParen
                    | T::CloseBracket
            )
    };
    matches!(lexemes[at].kind, T::Plus | T::Minus) && (at == 0 || !ends_operand(lexemes[at - 1].kind))
}
