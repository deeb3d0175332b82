//! The quick way through a document.
//!
//! Nearly all documents are plain: sound JSON whose texts have simple escapes and whose numbers are small. They are
//! walked here, byte by byte, with a look at each key in the schema and without a deserializer's generality. Whatever is
//! not plain is left to serde_json, which also says what is wrong with it: this walk takes nothing that serde_json
//! refuses, and gives the same values.

use eqlipse_batch::{PathNode, RawValue};

use super::decode::Walk;

/// The document is for serde_json.
#[derive(Debug)]
pub(super) struct NotPlain;

type Plain<T> = Result<T, NotPlain>;

/// Keys at the top of a text that may make it something else than a document.
const WRAPPING: [&str; 4] = ["_source", "_index", "_id", "hits"];

/// Whole numbers of up to so many digits fit in 64 bits.
const SMALL: usize = 18;

/// Walks the document. Its values may have been pushed even if it turns out not to be plain.
///
/// Nesting must have been bounded before.
pub(super) fn walk(text: &str, walk: &mut Walk<'_>, scratch: &mut String) -> Plain<()> {
    let mut reader = Reader { text, at: 0, walk, scratch };
    reader.blanks();
    reader.top()?;
    reader.blanks();
    if reader.at == text.len() { Ok(()) } else { Err(NotPlain) }
}

struct Reader<'t, 'w, 'a> {
    text: &'t str,
    at: usize,
    walk: &'w mut Walk<'a>,
    /// Holds texts with escapes.
    scratch: &'w mut String,
}

impl<'t> Reader<'t, '_, '_> {
    #[inline]
    fn peek(&self) -> Plain<u8> {
        self.text.as_bytes().get(self.at).copied().ok_or(NotPlain)
    }

    #[inline]
    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Plain<()> {
        if self.peek()? != byte {
            return Err(NotPlain);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes the byte if it is next.
    #[inline]
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn top(&mut self) -> Plain<()> {
        let root = self.walk.schema.root();
        self.members(|reader, key| {
            if WRAPPING.contains(&key) {
                return Err(NotPlain);
            }
            reader.member(root, key)
        })
    }

    fn object(&mut self, at: PathNode) -> Plain<()> {
        self.members(|reader, key| reader.member(at, key))
    }

    #[inline]
    fn member(&mut self, at: PathNode, key: &str) -> Plain<()> {
        match self.walk.schema.step(at, key) {
            Some(node) => self.value(node),
            None => self.skip(),
        }
    }

    /// Calls `member` with each key, to read on behind the colon.
    #[inline]
    fn members(&mut self, mut member: impl FnMut(&mut Self, &'t str) -> Plain<()>) -> Plain<()> {
        self.expect(b'{')?;
        self.blanks();
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            self.expect(b'"')?;
            let key = self.bare_text()?;
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            member(self, key)?;
            self.blanks();
            if self.takes(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
            self.blanks();
        }
    }

    fn items(&mut self, mut item: impl FnMut(&mut Self) -> Plain<()>) -> Plain<()> {
        self.expect(b'[')?;
        self.blanks();
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            self.blanks();
            if self.takes(b']') {
                return Ok(());
            }
            self.expect(b',')?;
            self.blanks();
        }
    }

    /// A value at a node of the schema's path tree.
    fn value(&mut self, at: PathNode) -> Plain<()> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.text_value(at)
            }
            b'{' => self.object(at),
            b'[' => self.items(|reader| reader.value(at)),
            b't' => self.word("true").map(|()| self.walk.put(at, RawValue::Bool(true))),
            b'f' => self.word("false").map(|()| self.walk.put(at, RawValue::Bool(false))),
            b'n' => self.word("null"),
            _ => {
                let number = self.number()?;
                self.walk.put(at, number.value()?);
                Ok(())
            }
        }
    }

    /// Passes over a value.
    fn skip(&mut self) -> Plain<()> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.skip_text()
            }
            b'{' => self.members(|reader, _| reader.skip()),
            b'[' => self.items(Self::skip),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number().map(|_| ()),
        }
    }

    fn word(&mut self, word: &str) -> Plain<()> {
        let rest = &self.text.as_bytes()[self.at..];
        if !rest.starts_with(word.as_bytes()) {
            return Err(NotPlain);
        }
        self.at += word.len();
        Ok(())
    }

    /// The rest of a text without escapes, up to and with its closing quote.
    #[inline]
    fn bare_text(&mut self) -> Plain<&'t str> {
        let start = self.at;
        self.at = end_of_bare(self.text.as_bytes(), start);
        let content = self.text.get(start..self.at).ok_or(NotPlain)?;
        self.expect(b'"')?;
        Ok(content)
    }

    fn text_value(&mut self, at: PathNode) -> Plain<()> {
        let start = self.at;
        self.at = end_of_bare(self.text.as_bytes(), start);
        let head = self.text.get(start..self.at).ok_or(NotPlain)?;
        if self.takes(b'"') {
            self.walk.put(at, RawValue::Str(head));
            return Ok(());
        }
        self.scratch.clear();
        self.scratch.push_str(head);
        while !self.takes(b'"') {
            let escaped = self.escape()?;
            self.scratch.push(escaped);
            let start = self.at;
            self.at = end_of_bare(self.text.as_bytes(), start);
            self.scratch.push_str(self.text.get(start..self.at).ok_or(NotPlain)?);
        }
        self.walk.put(at, RawValue::Str(self.scratch));
        Ok(())
    }

    fn skip_text(&mut self) -> Plain<()> {
        loop {
            self.at = end_of_bare(self.text.as_bytes(), self.at);
            if self.takes(b'"') {
                return Ok(());
            }
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Plain<char> {
        self.expect(b'\\')?;
        let escaped = match self.peek()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.code_point(),
            _ => return Err(NotPlain),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// Four hexadecimal digits behind a `u`; surrogates are not plain.
    fn code_point(&mut self) -> Plain<char> {
        self.at += 1;
        let digits = self.text.get(self.at..self.at + 4).ok_or(NotPlain)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NotPlain);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or(NotPlain)
    }

    /// A number by JSON's grammar.
    fn number(&mut self) -> Plain<Number<'t>> {
        let start = self.at;
        self.takes(b'-');
        let first = self.at;
        let digits = self.digits()?;
        if digits > 1 && self.text.as_bytes()[first] == b'0' {
            return Err(NotPlain);
        }
        let mut is_whole = true;
        if self.takes(b'.') {
            is_whole = false;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.as_bytes().get(self.at) {
            is_whole = false;
            self.at += 1;
            _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        let text = self.text.get(start..self.at).ok_or(NotPlain)?;
        Ok(Number { text, is_small: is_whole && digits <= SMALL, is_whole })
    }

    /// How many digits follow, one at least.
    fn digits(&mut self) -> Plain<usize> {
        let start = self.at;
        while self.text.as_bytes().get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(NotPlain) } else { Ok(self.at - start) }
    }
}

/// A number that was read.
struct Number<'t> {
    text: &'t str,
    /// Whole, and sure to fit in 64 bits.
    is_small: bool,
    is_whole: bool,
}

impl Number<'_> {
    fn value(&self) -> Plain<RawValue<'static>> {
        // "-0" is a double to serde_json, and so is what is too large for 64 bits.
        if self.is_small && self.text != "-0" {
            return self.text.parse().map(RawValue::Int).map_err(|_| NotPlain);
        }
        if self.is_whole {
            return Err(NotPlain);
        }
        let value: f64 = self.text.parse().map_err(|_| NotPlain)?;
        if value.is_finite() { Ok(RawValue::Double(value)) } else { Err(NotPlain) }
    }
}

/// The place of the next quote, backslash or control character; the end if there is none.
#[inline]
fn end_of_bare(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Marks the bytes that are zero; the lowest mark is right, those above it may not be.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quotes = zeros(word ^ (ONES * b'"' as u64));
        let backslashes = zeros(word ^ (ONES * b'\\' as u64));
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quotes | backslashes | controls) & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_text_ends_at_the_first_byte_that_is_special() {
        let texts = ["", "abc", "abcdefgh", "abcdefghi", "é€𝄞 and more of it", "~\u{7f}\u{80}ÿ!#[]"];
        for text in texts {
            assert_eq!(end_of_bare(text.as_bytes(), 0), text.len(), "{text}");
            for special in ['"', '\\', '\0', '\u{1f}', '\n'] {
                for rest in ["", "\"\\\n", "and eight more bytes"] {
                    let whole = format!("{text}{special}{rest}");
                    assert_eq!(end_of_bare(whole.as_bytes(), 0), text.len(), "{whole:?}");
                }
            }
        }
    }
}
