//! Finds the documents in JSON that is not one document a line: arrays, search responses, indented text.

use std::ops::Range;

/// What a [`Splitter`] comes upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// A document or hit.
    Document(Range<usize>),
    /// Something else, at this offset.
    Skipped(usize, &'static str),
}

/// Scans text that comes piece by piece, following only brackets and strings; whether a document is sound is for the
/// decoder to say. Memory is constant, whatever the text.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    at: usize,
    depth: usize,
    in_string: bool,
    in_stray: bool,
    /// Where the last string began.
    string_start: usize,
    /// The last string that ended was `hits`.
    said_hits: bool,
    /// The value that follows is that of the key `hits` at the top, and of `hits` in there.
    hits_keys: [bool; 2],
    open: Option<Open>,
    /// The depth inside the list whose members are the documents.
    list: Option<usize>,
    found_hits: bool,
    line_start: i64,
    resync: Option<Resync>,
}

/// A document that has begun.
#[derive(Clone, Copy, Debug)]
struct Open {
    start: usize,
    depth: usize,
    column: i64,
    /// It is too long to be kept.
    dropped: bool,
}

/// The way back to sound text after a fault: the next line that begins like a document and is not indented deeper than
/// the one that was lost.
#[derive(Clone, Copy, Debug)]
struct Resync {
    column: i64,
    in_line: bool,
}

const UNEXPECTED: &str = "expected a JSON object";

impl Splitter {
    /// The next finding in `bytes`, which begin where they began at the last call; `None` when more are needed.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Option<Split> {
        while self.at < bytes.len() {
            let found = if self.resync.is_some() {
                self.find_next_document(bytes)?;
                None
            } else if self.in_stray {
                self.scan_stray(bytes);
                None
            } else if self.in_string {
                self.scan_string(bytes)?
            } else {
                self.scan_structure(bytes)
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether the list of hits of a search response has begun.
    pub(crate) fn found_hits(&self) -> bool {
        self.found_hits
    }

    /// The first byte that is still needed.
    pub(crate) fn keep_from(&self) -> usize {
        self.open.filter(|open| !open.dropped).map_or(self.at, |open| open.start)
    }

    /// Takes note that so many bytes, all before [`keep_from`](Self::keep_from), are gone from the front.
    pub(crate) fn forget(&mut self, count: usize) {
        self.at -= count;
        self.string_start = self.string_start.saturating_sub(count);
        self.line_start -= count as i64;
        if let Some(open) = &mut self.open {
            open.start = open.start.saturating_sub(count);
        }
    }

    /// Gives up the document that has begun, and says where it began.
    pub(crate) fn drop_open(&mut self) -> Option<usize> {
        let open = self.open.as_mut().filter(|open| !open.dropped)?;
        open.dropped = true;
        Some(open.start)
    }

    /// What the end of the text leaves unfinished.
    pub(crate) fn finish(&mut self) -> Option<Split> {
        let open = self.open.take();
        let depth = std::mem::take(&mut self.depth);
        match open {
            Some(Open { dropped: true, .. }) => None,
            Some(open) => Some(Split::Skipped(open.start, "the document is cut short")),
            None if depth > 0 => Some(Split::Skipped(self.at, "the text ends inside a list of documents")),
            None => None,
        }
    }

    fn is_between_documents(&self) -> bool {
        self.open.is_none() && self.depth == self.list.unwrap_or(0)
    }

    fn scan_string(&mut self, bytes: &[u8]) -> Option<Option<Split>> {
        let rest = &bytes[self.at..];
        let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', rest) else {
            self.at = bytes.len();
            return None;
        };
        self.at += found;
        match bytes[self.at] {
            b'"' => {
                self.in_string = false;
                self.said_hits = bytes.get(self.string_start..self.at) == Some(b"hits");
                self.at += 1;
                Some(None)
            }
            b'\\' if self.at + 1 == bytes.len() => None,
            b'\\' => {
                self.at += 2;
                Some(None)
            }
            _ => Some(Some(self.lose("a line break inside a string"))),
        }
    }

    /// Gives up the document, and whatever else has begun here, for the text behind this line.
    fn lose(&mut self, reason: &'static str) -> Split {
        let open = self.open.take();
        self.in_string = false;
        self.hits_keys = [false; 2];
        self.depth = open.map_or(self.list.unwrap_or(0), |open| open.depth);
        let column = open.map_or(0, |open| open.column);
        self.resync = Some(Resync { column, in_line: true });
        Split::Skipped(open.filter(|open| !open.dropped).map_or(self.at, |open| open.start), reason)
    }

    /// `None` when the text ends first.
    fn find_next_document(&mut self, bytes: &[u8]) -> Option<()> {
        let resync = self.resync.as_mut()?;
        if resync.in_line {
            let Some(found) = memchr::memchr(b'\n', &bytes[self.at..]) else {
                self.at = bytes.len();
                return None;
            };
            self.at += found + 1;
            self.line_start = self.at as i64;
            resync.in_line = false;
        }
        let indent = bytes[self.at..].iter().position(|byte| !matches!(byte, b' ' | b'\t' | b',' | b'\r'));
        self.at = indent.map_or(bytes.len(), |indent| self.at + indent);
        let byte = bytes.get(self.at)?;
        if matches!(byte, b'{' | b'[' | b']') && self.at as i64 - self.line_start <= resync.column {
            self.resync = None;
        } else {
            resync.in_line = true;
        }
        Some(())
    }

    fn scan_structure(&mut self, bytes: &[u8]) -> Option<Split> {
        // Inside a document most bytes outside strings are digits, letters and blanks that mean nothing here.
        if !self.is_between_documents() {
            let is_special = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b':' | b',' | b'\n');
            self.at += bytes[self.at..].iter().position(is_special).unwrap_or(bytes.len() - self.at);
        }
        let byte = *bytes.get(self.at)?;
        let at = self.at;
        self.at += 1;
        match byte {
            b'{' => self.open_object(at),
            b'[' => return self.open_array(at),
            b'}' | b']' => return self.close(at),
            b'"' => return self.open_string(at),
            b'\n' => self.line_start = self.at as i64,
            b':' | b',' if self.list.is_none() && self.depth <= 2 => self.note_key(byte == b':'),
            b' ' | b'\t' | b'\r' | b',' | b':' | 0x1e => {}
            _ if self.is_between_documents() => return Some(self.skip_stray(at)),
            _ => {}
        }
        None
    }

    fn open_object(&mut self, at: usize) {
        if self.is_between_documents() {
            let column = at as i64 - self.line_start;
            self.open = Some(Open { start: at, depth: self.depth, column, dropped: false });
            self.hits_keys = [false; 2];
        }
        self.depth += 1;
    }

    fn open_array(&mut self, at: usize) -> Option<Split> {
        let between = self.is_between_documents();
        self.depth += 1;
        let is_hits = self.depth == 3 && self.hits_keys == [true; 2] && self.list.is_none();
        if is_hits {
            self.open = None;
            self.list = Some(3);
            self.found_hits = true;
            self.hits_keys = [false; 2];
        } else if between && self.list.is_none() {
            self.list = Some(1);
        } else if between {
            return Some(Split::Skipped(at, UNEXPECTED));
        }
        None
    }

    fn close(&mut self, at: usize) -> Option<Split> {
        let Some(depth) = self.depth.checked_sub(1) else {
            self.resync = Some(Resync { column: i64::MAX, in_line: true });
            return Some(Split::Skipped(at, "a closing bracket without an opening one"));
        };
        self.depth = depth;
        match self.open {
            Some(open) if open.depth == depth => {
                self.open = None;
                return (!open.dropped).then_some(Split::Document(open.start..at + 1));
            }
            Some(_) => {}
            None if self.list == Some(depth + 1) => self.list = None,
            None => {}
        }
        None
    }

    fn open_string(&mut self, at: usize) -> Option<Split> {
        self.in_string = true;
        self.string_start = self.at;
        self.is_between_documents().then_some(Split::Skipped(at, UNEXPECTED))
    }

    /// Follows the keys of the two outer levels, by the string in front of a colon.
    fn note_key(&mut self, colon: bool) {
        let is_hits = colon && self.said_hits;
        match self.depth {
            1 => self.hits_keys = [is_hits, false],
            2 => self.hits_keys[1] = is_hits && self.hits_keys[0],
            _ => {}
        }
        self.said_hits = false;
    }

    fn skip_stray(&mut self, at: usize) -> Split {
        match self.list {
            None => self.resync = Some(Resync { column: i64::MAX, in_line: true }),
            Some(_) => self.in_stray = true,
        }
        Split::Skipped(at, UNEXPECTED)
    }

    /// Passes over the rest of a number or word that stands where a document should.
    fn scan_stray(&mut self, bytes: &[u8]) {
        let ends = |byte: &u8| matches!(byte, b',' | b'{' | b'}' | b'[' | b']' | b'"' | b'\n');
        match bytes[self.at..].iter().position(ends) {
            Some(length) => {
                self.at += length;
                self.in_stray = false;
            }
            None => self.at = bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `text`, fed `step` bytes at a time with everything unneeded forgotten.
    fn split(text: &str, step: usize) -> (Vec<String>, Vec<(usize, &'static str)>) {
        let mut splitter = Splitter::default();
        let (mut documents, mut skipped) = (Vec::new(), Vec::new());
        let (mut buffer, mut base) = (Vec::new(), 0);
        let mut take = |found, buffer: &[u8], base| match found {
            Split::Document(range) => documents.push(String::from_utf8(buffer[range].to_vec()).unwrap()),
            Split::Skipped(at, reason) => skipped.push((base + at, reason)),
        };
        for piece in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(found) = splitter.next(&buffer) {
                take(found, &buffer, base);
            }
            let keep = splitter.keep_from();
            buffer.drain(..keep);
            splitter.forget(keep);
            base += keep;
        }
        if let Some(found) = splitter.finish() {
            take(found, &buffer, base);
        }
        (documents, skipped)
    }

    fn check(text: &str, documents: &[&str], skipped: &[usize]) {
        for step in [1, 2, 3, 7, 1000] {
            let (found, lost) = split(text, step);
            assert_eq!(found, documents, "{text} in steps of {step}");
            assert_eq!(lost.iter().map(|(at, _)| *at).collect::<Vec<_>>(), skipped, "{text} in steps of {step}");
        }
    }

    #[test]
    fn arrays_and_concatenations() {
        check("[]", &[], &[]);
        check("", &[], &[]);
        check(r#"[{"a":[{"b":"]}"}]}, {"c":"\\"}]"#, &[r#"{"a":[{"b":"]}"}]}"#, r#"{"c":"\\"}"#], &[]);
        check("{\n \"a\": 1\n}\n{\"b\":2}{}", &["{\n \"a\": 1\n}", "{\"b\":2}", "{}"], &[]);
        check("[{},{}]\n[{\"a\":1}]", &["{}", "{}", "{\"a\":1}"], &[]);
    }

    #[test]
    fn search_responses() {
        let hit = r#"{"_index":"x","_source":{"hits":{"hits":[{"a":1}]}}}"#;
        check(
            &format!(r#"{{"took":1,"hits":{{"total":{{"value":1}},"hits":[{hit},{hit}]}},"x":{{"y":[{{}}]}}}}"#),
            &[hit, hit],
            &[],
        );
        let page = format!(r#"{{"hits":{{"hits":[{hit}]}}}}"#);
        check(&format!("{page}\n{page}\n{{\"a\":1}}"), &[hit, hit, "{\"a\":1}"], &[]);
        for text in [
            r#"{"hits":[{"hits":[{}]}]}"#,
            r#"{"a":"hits","b":{"hits":[{}]}}"#,
            r#"{"hits":1,"b":{"hits":[{}]}}"#,
            r#"{"hits":{"a":"hits","b":[{}]}}"#,
            r#"{"hits":{"hits":{"hits":[{}]}}}"#,
            r#"{"a":{"hits":{"hits":[{}]}}}"#,
        ] {
            check(text, &[text], &[]);
        }
    }

    #[test]
    fn faults_are_located_and_passed_over() {
        check("[1, {\"a\":1}, \"x,{}\", null, [{}], {}]", &["{\"a\":1}", "{}"], &[1, 13, 21, 27]);
        check("{\"a\":1}\nrubbish {}\n{\"b\":2}", &["{\"a\":1}", "{\"b\":2}"], &[8]);
        check("{}}\n{}", &["{}", "{}"], &[2]);
        check("[{\"a\":1},{\"a\":", &["{\"a\":1}"], &[9]);
        check("[{\"a\":1},", &["{\"a\":1}"], &[9]);
        check("[\n {\"a\":\"x\n\"},\n {\"b\":1}\n]", &["{\"b\":1}"], &[3]);
        check("[\n {\"a\":\"x\n  {\"q\":1},\n ,{\"b\":1}\n]", &[], &[3]);
        check("[\n {\"a\":\"x\n  {\"q\":1},\n {\"b\":1}\n]\n{}", &["{\"b\":1}", "{}"], &[3]);
    }

    #[test]
    fn no_text_breaks_it() {
        let pieces = ["{", "}", "[", "]", "\"", "\\", "\n", ",", ":", "hits", " ", "1"];
        let mut state = 7u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
            }
            assert_eq!(split(&text, 1).0, split(&text, 1000).0, "{text:?}");
        }
    }
}
