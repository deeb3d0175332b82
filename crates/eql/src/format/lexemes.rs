//! Tokens with the comments that belong to them.

use crate::lexer::{Comment, Gap, TokenKind, gap, lex};

/// A comment on lines of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'a> {
    pub text: &'a str,
    /// A blank line stands before it.
    pub blank: bool,
}

/// A token and its comments.
#[derive(Clone, Debug)]
pub(super) struct Lexeme<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    /// On lines of their own, before it.
    pub own: Vec<Own<'a>>,
    /// Before it on its line: `/* … */ token`.
    pub inline: Vec<&'a str>,
    /// Behind it, up to the end of its line. Only the last can be a `//` comment.
    pub trailing: Vec<&'a str>,
    /// A blank line stands before it.
    pub blank: bool,
}

impl<'a> Lexeme<'a> {
    /// Takes over the comments on lines of their own that belonged to an operator before this, so that the operator
    /// can stand at the end of the line above.
    fn take_own(&mut self, own: Vec<Own<'a>>, blank: bool) {
        if self.own.is_empty() && own.is_empty() {
            self.blank |= blank;
        } else if self.own.is_empty() {
            self.blank = false;
        }
        self.own.splice(0..0, own);
    }
}

/// Whether nothing may follow the comment on its line.
pub(super) fn is_line_comment(text: &str) -> bool {
    text.starts_with("//")
}

/// The lexemes of a source without faults, the last of which is [`TokenKind::End`].
pub(super) fn read(source: &str) -> Vec<Lexeme<'_>> {
    let mut lexemes: Vec<Lexeme<'_>> = Vec::new();
    let mut end = 0;
    for token in lex(source).tokens {
        let gap = gap(source, end, token.span.start);
        end = token.span.end;
        let text = &source[token.span.start as usize..token.span.end as usize];
        let lexeme = attach(source, &gap, token.kind, text, lexemes.last_mut());
        lexemes.push(lexeme);
    }
    lexemes
}

fn attach<'a>(
    source: &'a str,
    gap: &Gap,
    kind: TokenKind,
    text: &'a str,
    before: Option<&mut Lexeme<'a>>,
) -> Lexeme<'a> {
    let comment = |comment: &Comment| &source[comment.span.start as usize..comment.span.end as usize];
    let is_short = |text: &str| !text.contains('\n') && !is_line_comment(text);
    let mut rest = &gap.comments[..];
    if let Some(before) = before {
        let count = trailing(gap, kind, |at| comment(&gap.comments[at]));
        before.trailing.extend(rest[..count].iter().map(comment));
        rest = &rest[count..];
    }
    let mut inline = Vec::new();
    let mut breaks = gap.breaks;
    while let Some((last, others)) = rest.split_last() {
        if breaks > 0 || kind == TokenKind::End || !is_short(comment(last)) {
            break;
        }
        inline.insert(0, comment(last));
        breaks = last.breaks;
        rest = others;
    }
    let own: Vec<Own<'a>> = rest.iter().map(|c| Own { text: comment(c), blank: c.breaks > 1 }).collect();
    Lexeme { kind, text, own, inline, trailing: Vec::new(), blank: breaks > 1 }
}

/// How many of the first comments of a gap end the line of the token before it.
fn trailing<'a>(gap: &Gap, next: TokenKind, comment: impl Fn(usize) -> &'a str) -> usize {
    let fits = |at: &usize| gap.comments[*at].breaks == 0 && !comment(*at).contains('\n');
    let count = (0..gap.comments.len()).take_while(fits).count();
    let breaks = gap.comments.get(count).map_or(gap.breaks, |comment| comment.breaks);
    let ends_line = breaks > 0 || next == TokenKind::End || count > 0 && is_line_comment(comment(count - 1));
    if ends_line { count } else { 0 }
}

/// Operators and commas stand at the end of a line: comments around them go to what is before or behind.
pub(super) fn settle_operators(lexemes: &mut [Lexeme<'_>]) {
    for at in 1..lexemes.len().saturating_sub(1) {
        if !matches!(lexemes[at].kind, TokenKind::And | TokenKind::Or | TokenKind::Comma) {
            continue;
        }
        let mut trailing = std::mem::take(&mut lexemes[at - 1].trailing);
        let mut own = std::mem::take(&mut lexemes[at].own);
        let blank = std::mem::take(&mut lexemes[at].blank);
        let behind = std::mem::take(&mut lexemes[at].trailing);
        if own.is_empty() && trailing.last().is_none_or(|last| !is_line_comment(last)) {
            trailing.extend(behind);
        } else {
            own.extend(behind.into_iter().map(|text| Own { text, blank: false }));
        }
        lexemes[at].trailing = trailing;
        lexemes[at + 1].take_own(own, blank);
    }
}

/// Moves the comments inside a line, given by the places of its lexemes, to its ends: those on lines of their own
/// before its first lexeme, those that end a line behind its last. Comments just inside parentheses stay.
pub(super) fn settle_line<'a>(lexemes: &mut [Lexeme<'a>], line: &[usize]) {
    let (Some(&first), Some(&last)) = (line.first(), line.last()) else { return };
    if first == last {
        return;
    }
    let (mut own, mut trailing) = (Vec::new(), Vec::new());
    for &at in line {
        let lexeme = &mut lexemes[at];
        let is_closer = matches!(lexeme.kind, TokenKind::CloseParen | TokenKind::CloseBracket);
        if at != first && !is_closer {
            own.extend(lexeme.own.drain(..).map(|comment| comment.text));
            lexeme.blank = false;
        }
        if at != last && lexeme.kind != TokenKind::OpenParen {
            trailing.append(&mut lexeme.trailing);
        }
    }
    trailing.append(&mut lexemes[last].trailing);
    let before_last = &trailing[..trailing.len().saturating_sub(1)];
    let split = before_last.iter().rposition(|text| is_line_comment(text)).map_or(0, |at| at + 1);
    lexemes[last].trailing = trailing.split_off(split);
    own.extend(trailing);
    let first = &mut lexemes[first];
    let blank = first.own.is_empty() && !own.is_empty() && std::mem::take(&mut first.blank);
    let moved = own.into_iter().enumerate().map(|(at, text)| Own { text, blank: blank && at == 0 });
    first.own.extend(moved);
}
