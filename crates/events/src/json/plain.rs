//! The quick way through a document.
//!
//! Nearly all documents are plain: sound JSON whose texts have simple escapes and whose numbers are small. They are
//! walked here, byte by byte, with a look at each key in the schema and without a deserializer's generality. Whatever is
//! not plain is left to serde_json, which also says what is wrong with it: this walk takes nothing that serde_json
//! refuses, and gives the same values.

use eqlipse_batch::{PathNode, RawValue};

use super::MAX_JSON_DEPTH;
use super::decode::Walk;
use super::keys::{Key, KeyMemory, Place};
use crate::stamp::Opened;

/// The document is for serde_json.
#[derive(Debug)]
pub(super) struct NotPlain;

type Plain<T> = Result<T, NotPlain>;

/// Keys at the top of a text that may make it something else than a document.
const WRAPPING: [&str; 4] = ["_source", "_index", "_id", "hits"];

/// Whole numbers of up to so many digits fit in 64 bits.
const SMALL: usize = 18;

/// Walks the document. Its values may have been pushed even if it turns out not to be plain.
pub(super) fn walk(text: &str, walk: &mut Walk<'_>, keys: &mut KeyMemory, scratch: &mut String) -> Plain<()> {
    let root = walk.schema.root();
    let mut reader = Reader { text, at: 0, depth: 0, walk, keys, scratch };
    reader.blanks();
    reader.object(root, Some(Key::TOP))?;
    reader.blanks();
    if reader.at == text.len() { Ok(()) } else { Err(NotPlain) }
}

struct Reader<'t, 'w, 'a> {
    text: &'t str,
    at: usize,
    /// How many objects and arrays are open.
    depth: usize,
    walk: &'w mut Walk<'a>,
    keys: &'w mut KeyMemory,
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
        while let Some(blank @ (b' ' | b'\n' | b'\t' | b'\r')) = self.text.as_bytes().get(self.at) {
            self.walk.row.has_line_break |= matches!(blank, b'\n' | b'\r');
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

    /// An object at a node of the schema's path tree, the value of a key if that is remembered.
    fn object(&mut self, at: PathNode, owner: Option<Key>) -> Plain<()> {
        let mut place = owner.map(Key::inside);
        let mut opened = Opened { first: self.at + 1, is_empty: true };
        self.list(b'{', b'}', |reader| {
            opened.is_empty = false;
            let (key, node) = reader.key(at, place)?;
            place = key.map(Key::after).or(place);
            reader.blanks();
            match node {
                Some(node) if reader.is_stamped(node) => reader.stamped_value(at, node, key),
                Some(node) => reader.value(node, key),
                None => reader.skip(),
            }
        })?;
        self.note_object(at, opened);
        Ok(())
    }

    /// Whether a value at this node has to do with the time of arrival.
    #[inline]
    fn is_stamped(&self, node: PathNode) -> bool {
        self.walk.stamp.is_some_and(|stamp| [stamp.time, stamp.event, stamp.ingested].contains(&node))
    }

    /// A value at such a node, in an object at the node `at`. What the time of arrival comes to stand for is no value.
    fn stamped_value(&mut self, at: PathNode, node: PathNode, key: Option<Key>) -> Plain<()> {
        let Some(stamp) = self.walk.stamp else { return self.value(node, key) };
        if node == stamp.time {
            self.walk.row.places.has_timestamp = true;
        } else if node == stamp.event {
            self.walk.row.places.has_odd_event |= self.peek()? != b'{';
        } else if self.depth == if at == stamp.event { 2 } else { 1 } {
            let (start, has_unasked) = (self.at, self.walk.row.has_unasked);
            self.skip()?;
            self.walk.row.has_unasked = has_unasked;
            self.walk.row.places.note_ingested(start..self.at);
            return Ok(());
        } else {
            // In a list.
            self.walk.row.places.is_odd = true;
        }
        self.value(node, key)
    }

    /// Takes note of an object that was walked.
    #[inline]
    fn note_object(&mut self, at: PathNode, opened: Opened) {
        let Some(stamp) = self.walk.stamp else { return };
        match self.depth {
            0 => self.walk.row.places.root = Some(opened),
            1 if at == stamp.event => self.walk.row.places.note_event(opened),
            _ => {}
        }
    }

    /// A key and its colon: what is below `at` under this key.
    #[inline]
    fn key(&mut self, at: PathNode, place: Option<Place>) -> Plain<(Option<Key>, Option<PathNode>)> {
        self.expect(b'"')?;
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if let Some((key, node, length)) = place.and_then(|place| self.keys.guess(place, at, rest)) {
            self.at += length;
            return Ok((Some(key), node));
        }
        self.unforeseen_key(at, place)
    }

    #[inline(never)]
    fn unforeseen_key(&mut self, at: PathNode, place: Option<Place>) -> Plain<(Option<Key>, Option<PathNode>)> {
        let key = self.bare_text()?;
        // Is never learnt, and so never foreseen.
        if at == self.walk.schema.root() && WRAPPING.contains(&key) {
            return Err(NotPlain);
        }
        self.blanks();
        self.expect(b':')?;
        let node = self.walk.schema.step(at, key);
        Ok((place.and_then(|place| self.keys.learn(place, at, key, node)), node))
    }

    /// What stands between two brackets, with commas in between.
    #[inline]
    fn list(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Plain<()>) -> Plain<()> {
        self.expect(open)?;
        self.depth += 1;
        if self.depth > MAX_JSON_DEPTH {
            return Err(NotPlain);
        }
        self.blanks();
        if !self.takes(close) {
            loop {
                item(self)?;
                self.blanks();
                if self.takes(close) {
                    break;
                }
                self.expect(b',')?;
                self.blanks();
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// A value at a node of the schema's path tree, behind this key if it is remembered.
    fn value(&mut self, at: PathNode, key: Option<Key>) -> Plain<()> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.text_value(at)
            }
            b'{' => self.object(at, key),
            b'[' => self.list(b'[', b']', |reader| reader.value(at, key)),
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

    /// Passes over a value. Nothing, null or empty, is no value that anybody could have asked for.
    fn skip(&mut self) -> Plain<()> {
        match self.peek()? {
            b'{' => return self.list(b'{', b'}', Self::skip_member),
            b'[' => return self.list(b'[', b']', Self::skip),
            b'n' => return self.word("null"),
            _ => self.walk.pass_over(),
        }
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.skip_text()
            }
            b't' => self.word("true"),
            b'f' => self.word("false"),
            _ => self.number().map(|_| ()),
        }
    }

    fn skip_member(&mut self) -> Plain<()> {
        self.expect(b'"')?;
        self.skip_text()?;
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        self.skip()
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
    #[inline]
    fn number(&mut self) -> Plain<Number<'t>> {
        let start = self.at;
        let is_negative = self.takes(b'-');
        let first = self.at;
        let (digits, whole) = self.digits()?;
        if digits > 1 && self.text.as_bytes()[first] == b'0' {
            return Err(NotPlain);
        }
        let is_whole = !matches!(self.text.as_bytes().get(self.at), Some(b'.' | b'e' | b'E'));
        if is_whole {
            // "-0" is a double to serde_json, and so is what is too large for 64 bits.
            let is_plain = digits <= SMALL && !(is_negative && whole == 0);
            let whole = if is_negative { whole.wrapping_neg() } else { whole };
            return Ok(if is_plain { Number::Whole(whole) } else { Number::Odd });
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.as_bytes().get(self.at) {
            self.at += 1;
            _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        self.text.get(start..self.at).map(Number::Broken).ok_or(NotPlain)
    }

    /// How many digits follow, one at least, and the number they give if they are few.
    #[inline]
    fn digits(&mut self) -> Plain<(usize, i64)> {
        let start = self.at;
        let mut value = 0i64;
        while let Some(digit @ b'0'..=b'9') = self.text.as_bytes().get(self.at) {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start { Err(NotPlain) } else { Ok((self.at - start, value)) }
    }
}

/// A number that was read.
enum Number<'t> {
    Whole(i64),
    /// Sound, and not for this walk to read.
    Odd,
    /// With a fraction or an exponent.
    Broken(&'t str),
}

impl Number<'_> {
    fn value(self) -> Plain<RawValue<'static>> {
        match self {
            Self::Whole(value) => Ok(RawValue::Int(value)),
            Self::Odd => Err(NotPlain),
            Self::Broken(text) => {
                let value: f64 = text.parse().map_err(|_| NotPlain)?;
                if value.is_finite() { Ok(RawValue::Double(value)) } else { Err(NotPlain) }
            }
        }
    }
}

/// The place of the next quote, backslash or control character; the end if there is none.
#[inline]
pub(crate) fn end_of_bare(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        // Marks the bytes below a limit; the lowest mark is right, those above it may not be. With its second bit turned
        // over, a quote comes to lie right behind the control characters.
        let controls_and_quotes = (word ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
        let backslashes = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
        let found = (controls_and_quotes | backslashes) & !word & HIGH;
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
