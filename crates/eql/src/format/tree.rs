//! Tokens to the parts that lines are broken at: sections, chains of `and` and `or`, parentheses and lists.

use super::lexemes::{Lexeme, settle_line, settle_operators};
use crate::lexer::TokenKind as T;

/// A query, cut up. Everything in it is a place in `lexemes`.
pub(super) struct Tree<'a> {
    pub lexemes: Vec<Lexeme<'a>>,
    pub sections: Vec<Section>,
}

/// What begins a line of its own.
pub(super) enum Section {
    /// `sequence by …`
    Line(Vec<usize>),
    /// `category where condition`
    Filter(Filter),
    /// `[category where condition] by …`, with `until` before it or not.
    Item {
        /// Up to `where`.
        filter: Filter,
        /// From `]` on.
        tail: Vec<usize>,
    },
    /// `| name …`
    Pipe {
        /// `|` and the name.
        head: Vec<usize>,
        /// The arguments.
        entries: Vec<Entry>,
    },
}

/// Words up to `where` and the condition behind it.
pub(super) struct Filter {
    pub head: Vec<usize>,
    pub condition: Expr,
}

/// One of a list, and the comma behind it.
pub(super) struct Entry {
    pub expr: Expr,
    pub comma: Option<usize>,
}

/// An expression.
pub(super) enum Expr {
    /// What holds no `and` or `or` outside parentheses.
    Operand(Vec<Node>),
    /// Parts with one operator between them.
    Chain { parts: Vec<Expr>, operators: Vec<usize> },
}

/// A piece of an operand.
pub(super) enum Node {
    Leaf(usize),
    Group(Group),
}

/// `(…)`, or `[…]` within an expression.
pub(super) struct Group {
    pub open: usize,
    /// `category where`, in brackets.
    pub head: Vec<usize>,
    pub entries: Vec<Entry>,
    pub close: usize,
}

impl Node {
    pub fn first(&self) -> usize {
        match self {
            Self::Leaf(at) => *at,
            Self::Group(group) => group.open,
        }
    }

    pub fn last(&self) -> usize {
        match self {
            Self::Leaf(at) => *at,
            Self::Group(group) => group.close,
        }
    }
}

impl Expr {
    pub fn first(&self) -> usize {
        match self {
            Self::Operand(nodes) => nodes.first().map_or(0, Node::first),
            Self::Chain { parts, .. } => parts.first().map_or(0, Expr::first),
        }
    }

    pub fn last(&self) -> usize {
        match self {
            Self::Operand(nodes) => nodes.last().map_or(0, Node::last),
            Self::Chain { parts, .. } => parts.last().map_or(0, Expr::last),
        }
    }
}

impl Section {
    pub fn first(&self) -> usize {
        match self {
            Self::Line(line) | Self::Pipe { head: line, .. } => line[0],
            Self::Filter(filter) | Self::Item { filter, .. } => filter.head[0],
        }
    }
}

/// Cuts up the lexemes of a well-formed query; `None` if they are not what was expected.
pub(super) fn build(lexemes: Vec<Lexeme<'_>>) -> Option<Tree<'_>> {
    let mut builder = Builder { lexemes, next: 0, blank: Vec::new() };
    let sections = builder.sections()?;
    let Builder { mut lexemes, mut blank, .. } = builder;
    settle_operators(&mut lexemes);
    blank.extend(sections.iter().map(Section::first));
    blank.sort_unstable();
    for (at, lexeme) in lexemes.iter_mut().enumerate() {
        lexeme.blank &= !lexeme.own.is_empty() || blank.binary_search(&at).is_ok();
    }
    Some(Tree { lexemes, sections })
}

struct Builder<'a> {
    lexemes: Vec<Lexeme<'a>>,
    next: usize,
    /// Lexemes before which a blank line may stand.
    blank: Vec<usize>,
}

impl Builder<'_> {
    fn kind(&self) -> T {
        self.lexemes[self.next.min(self.lexemes.len() - 1)].kind
    }

    fn take(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    fn take_if(&mut self, kind: T) -> Option<usize> {
        (self.kind() == kind).then(|| self.take())
    }

    /// A line up to the token that `ends` says yes to.
    fn line(&mut self, ends: impl Fn(T) -> bool) -> Vec<usize> {
        let mut line = Vec::new();
        while self.kind() != T::End && !ends(self.kind()) {
            line.push(self.take());
        }
        settle_line(&mut self.lexemes, &line);
        line
    }

    fn sections(&mut self) -> Option<Vec<Section>> {
        let mut sections = Vec::new();
        if matches!(self.kind(), T::Sequence | T::Sample | T::Join) {
            sections.push(Section::Line(self.line(is_open_bracket)));
        } else {
            sections.push(Section::Filter(self.filter(Vec::new())?));
        }
        while is_open_bracket(self.kind()) || self.kind() == T::Until {
            let mut head: Vec<usize> = self.take_if(T::Until).into_iter().collect();
            if !is_open_bracket(self.kind()) {
                return None;
            }
            head.push(self.take());
            let filter = self.filter(head)?;
            let mut tail = vec![self.take_if(T::CloseBracket)?];
            tail.append(&mut self.line(|kind| is_open_bracket(kind) || matches!(kind, T::Until | T::Pipe)));
            settle_line(&mut self.lexemes, &tail);
            sections.push(Section::Item { filter, tail });
        }
        while self.kind() == T::Pipe {
            let head = vec![self.take(), self.take()];
            settle_line(&mut self.lexemes, &head);
            let entries = self.entries()?;
            sections.push(Section::Pipe { head, entries });
        }
        (self.kind() == T::End).then_some(sections)
    }

    fn filter(&mut self, mut head: Vec<usize>) -> Option<Filter> {
        while self.kind() != T::Where {
            if self.kind() == T::End {
                return None;
            }
            head.push(self.take());
        }
        head.push(self.take());
        settle_line(&mut self.lexemes, &head);
        Some(Filter { head, condition: self.expr(T::Or)? })
    }

    /// A list up to what closes it, which may be empty.
    fn entries(&mut self) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        while !ends_operand(self.kind()) {
            let expr = self.expr(T::Or)?;
            let comma = self.take_if(T::Comma);
            let more = comma.is_some();
            entries.push(Entry { expr, comma });
            if !more {
                break;
            }
        }
        Some(entries)
    }

    fn expr(&mut self, operator: T) -> Option<Expr> {
        let part = |builder: &mut Self| match operator {
            T::Or => builder.expr(T::And),
            _ => builder.operand(),
        };
        let first = part(self)?;
        if self.kind() != operator {
            return Some(first);
        }
        let (mut parts, mut operators) = (vec![first], Vec::new());
        while let Some(at) = self.take_if(operator) {
            operators.push(at);
            // A line break before the operator shows on the operator, one behind it on the operand.
            self.blank.push(self.next);
            parts.push(part(self)?);
        }
        Some(Expr::Chain { parts, operators })
    }

    fn operand(&mut self) -> Option<Expr> {
        let mut nodes = Vec::new();
        while !ends_operand(self.kind()) {
            let is_group = self.kind() == T::OpenParen || is_open_bracket(self.kind());
            nodes.push(if is_group { Node::Group(self.group()?) } else { Node::Leaf(self.take()) });
        }
        let places = nodes.iter().flat_map(|node| match node {
            Node::Leaf(at) => vec![*at],
            Node::Group(group) => vec![group.open, group.close],
        });
        let line: Vec<usize> = places.collect();
        settle_line(&mut self.lexemes, &line);
        (!nodes.is_empty()).then_some(Expr::Operand(nodes))
    }

    fn group(&mut self) -> Option<Group> {
        let open = self.take();
        let has_where = self.lexemes.get(self.next + 1).is_some_and(|lexeme| lexeme.kind == T::Where);
        let is_bracket = self.lexemes[open].kind != T::OpenParen;
        let head = if is_bracket && has_where { vec![self.take(), self.take()] } else { Vec::new() };
        settle_line(&mut self.lexemes, &head);
        let entries = self.entries()?;
        let closer = if is_bracket { T::CloseBracket } else { T::CloseParen };
        Some(Group { open, head, entries, close: self.take_if(closer)? })
    }
}

fn is_open_bracket(kind: T) -> bool {
    matches!(kind, T::OpenBracket | T::OpenMissing)
}

fn ends_operand(kind: T) -> bool {
    matches!(kind, T::And | T::Or | T::Comma | T::CloseParen | T::CloseBracket | T::Pipe | T::End)
}
