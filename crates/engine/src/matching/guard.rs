//! A look at eight bytes before a pattern is tried.

use crate::text::Wildcard;

/// How many bytes are looked at.
const WIDTH: usize = 8;

/// Bytes that stand at a fixed place from the beginning or the end of every ASCII text in lower case that a pattern
/// matches. They lie beside the pattern, so that most candidates are ruled out without going to the pattern itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guard {
    bytes: u64,
    /// Which of the bytes count.
    mask: u64,
    /// Where they begin, from where `from_end` says.
    offset: u32,
    from_end: bool,
}

impl Guard {
    /// The guard of a pattern.
    pub(super) fn of(pattern: &Wildcard) -> Self {
        let (first, last) = pattern.ends();
        let telling = |text: &str| text.bytes().filter(|byte| *byte != b'?').count();
        if telling(last) >= telling(first) { Self::at_end(last.as_bytes()) } else { Self::at_start(first.as_bytes()) }
    }

    /// The last bytes of what texts begin with: patterns differ there, as paths begin alike.
    fn at_start(part: &[u8]) -> Self {
        let offset = part.len().saturating_sub(WIDTH);
        Self { offset: offset as u32, from_end: false, ..Self::with_bytes(&part[offset..], 0) }
    }

    /// The first bytes of what texts end with: files end alike.
    fn at_end(part: &[u8]) -> Self {
        let len = part.len().min(WIDTH);
        Self { offset: part.len().max(WIDTH) as u32, from_end: true, ..Self::with_bytes(&part[..len], WIDTH - len) }
    }

    /// A guard for at most eight bytes, with so many before them that do not count.
    fn with_bytes(part: &[u8], skipped: usize) -> Self {
        let (mut bytes, mut mask) = ([0; WIDTH], [0; WIDTH]);
        for (index, byte) in part.iter().enumerate().filter(|(_, byte)| **byte != b'?') {
            bytes[skipped + index] = byte.to_ascii_lowercase();
            mask[skipped + index] = u8::MAX;
        }
        Self { bytes: u64::from_le_bytes(bytes), mask: u64::from_le_bytes(mask), offset: 0, from_end: false }
    }

    /// Whether the pattern may match an ASCII text in lower case.
    pub(super) fn admits(&self, text: &[u8]) -> bool {
        let offset = self.offset as usize;
        let start = if self.from_end { text.len().checked_sub(offset) } else { Some(offset) };
        let window = start.and_then(|start| text.get(start..)?.first_chunk());
        // What is too short to look at is left to the pattern.
        window.is_none_or(|window| (u64::from_le_bytes(*window) ^ self.bytes) & self.mask == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_what_matches() {
        let patterns = [
            "*",
            "?",
            "*.exe",
            "?:\\windows\\*",
            "c:\\windows\\system32\\*.exe",
            "*\\powershell.exe",
            "cmd*",
            "*?",
            "a*b",
            "cmd.?xe",
            "*\\a?c\\*",
            "powershell.exe",
            "?????????*",
        ];
        let texts = [
            "",
            "a",
            "ab",
            "cmd.exe",
            "c:\\windows\\system32\\cmd.exe",
            "d:\\windows\\powershell.exe",
            "c:\\a.exe",
            "powershell.exe",
            "c:\\abc\\x",
            "123456789",
        ];
        for pattern in patterns.map(Wildcard::new) {
            let guard = Guard::of(&pattern);
            for text in texts.iter().filter(|text| pattern.matches(text)) {
                assert!(guard.admits(text.as_bytes()), "{pattern} on {text}");
            }
        }
    }

    #[test]
    fn rules_out_what_begins_or_ends_otherwise() {
        let cases = [
            ("?:\\windows\\temp\\*", "c:\\windows\\system32\\cmd.exe"),
            ("*\\powershell.exe", "c:\\windows\\explorer.exe"),
            ("*.dll", "c:\\windows\\explorer.exe"),
            ("sc.*", "c:\\windows\\explorer.exe"),
        ];
        for (pattern, text) in cases {
            assert!(!Guard::of(&Wildcard::new(pattern)).admits(text.as_bytes()), "{pattern} on {text}");
        }
    }
}
