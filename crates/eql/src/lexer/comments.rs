//! Comments, which the lexer leaves out: found in the gaps between the tokens, so that reading a query costs nothing
//! more where nobody asks for them.

use crate::ast::Span;

/// A comment and the line breaks before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    /// Where it stands, with its marks, without the line break that ends a `//` comment.
    pub span: Span,
    /// Line breaks since the token or comment before it.
    pub breaks: u32,
}

/// What stands between two tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The comments, in order.
    pub comments: Vec<Comment>,
    /// Line breaks behind the last comment.
    pub breaks: u32,
}

/// Reads the gap from `start` to `end`, where the lexer found only white space and comments.
pub(crate) fn gap(source: &str, start: u32, end: u32) -> Gap {
    let (mut at, end) = (start as usize, end as usize);
    let mut gap = Gap::default();
    while at < end {
        let rest = &source[at..end];
        let length = comment_length(rest);
        if length > 0 {
            let text = rest[..length].trim_end();
            let span = Span { start: at as u32, end: (at + text.len()) as u32 };
            gap.comments.push(Comment { span, breaks: std::mem::take(&mut gap.breaks) });
            at += length;
        } else {
            gap.breaks += u32::from(rest.starts_with('\n'));
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    gap
}

/// How long the comment at the start of `text` is; 0 if there is none.
pub(super) fn comment_length(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return 0;
    }
    block_comment(text.as_bytes()).unwrap_or(text.len())
}

/// The length of the block comment that `bytes` begins with, if it is closed. Comments nest, so this counts; the loop
/// looks at each byte once.
pub(super) fn block_comment(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (2, 1);
    while open > 0 {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (at, open) = (at + 2, open + 1),
            (b'*', Some(b'/')) => (at, open) = (at + 2, open - 1),
            _ => at += 1,
        }
    }
    Some(at)
}
