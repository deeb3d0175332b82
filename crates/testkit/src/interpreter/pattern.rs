//! Case folding and wildcards.

/// Which characters count as one when case is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Case counts.
    None,
    /// ASCII letters only.
    Ascii,
    /// Every character whose lower case is a single character.
    Unicode,
}

impl Fold {
    /// The character that stands for all that are equal to `c`.
    pub fn char(self, c: char) -> char {
        match self {
            Fold::None => c,
            Fold::Ascii => c.to_ascii_lowercase(),
            Fold::Unicode => {
                let mut lower = c.to_lowercase();
                match (lower.next(), lower.next()) {
                    (Some(single), None) => single,
                    _ => c,
                }
            }
        }
    }

    /// The text with every character folded.
    pub fn text(self, text: &str) -> String {
        text.chars().map(|c| self.char(c)).collect()
    }
}

/// Whether the whole of `text` is what `pattern` describes: `*` any text, `?` one character.
pub fn wildcard(pattern: &str, text: &str, fold: Fold) -> bool {
    let pattern: Vec<char> = pattern.chars().map(|c| fold.char(c)).collect();
    let text: Vec<char> = text.chars().map(|c| fold.char(c)).collect();
    let (mut p, mut t) = (0, 0);
    // After the last `*` seen: where the pattern goes on, and where in the text it is being tried.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((after_star, tried)) = retry else { return false };
                (p, t) = (after_star, tried + 1);
                retry = Some((p, t));
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}
