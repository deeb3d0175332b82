//! Which rules `--include`, `--exclude` and `--min-severity` keep.

use eqlipse_rules::{Rule, Severity};

/// A pattern of `--include` or `--exclude`: case-insensitive, `*` and `?` are wildcards, the whole text must match.
#[derive(Debug, Clone)]
pub struct Pattern(Vec<char>);

impl Pattern {
    /// The pattern of that text.
    pub fn new(text: &str) -> Pattern {
        Pattern(fold(text))
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        wildcard(&self.0, &fold(text))
    }

    /// Whether the rule's id, name, a tag, or the id or name of a tactic or technique matches.
    pub fn matches_rule(&self, rule: &Rule) -> bool {
        self.matches(&rule.rule_id)
            || self.matches(&rule.name)
            || rule.tags.iter().any(|tag| self.matches(tag))
            || threat_refs(rule).any(|(id, name)| self.matches(id) || self.matches(name))
    }
}

/// Which rules to keep.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    min_severity: Option<Severity>,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Selection {
    /// The selection that the options ask for.
    pub fn new(min_severity: Option<Severity>, include: &[String], exclude: &[String]) -> Selection {
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
        Selection { min_severity, include: patterns(include), exclude: patterns(exclude) }
    }

    /// Whether the rule is kept.
    pub fn keeps(&self, rule: &Rule) -> bool {
        self.min_severity.is_none_or(|least| highest_severity(rule) >= least)
            && !self.exclude.iter().any(|pattern| pattern.matches_rule(rule))
            && (self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches_rule(rule)))
    }
}

/// The highest severity that an alert of the rule can have: a field of the event may raise it.
fn highest_severity(rule: &Rule) -> Severity {
    rule.severity_mapping.iter().map(|mapping| mapping.severity).fold(rule.severity, Severity::max)
}

/// Id and name of every tactic, technique and sub-technique of the rule.
fn threat_refs(rule: &Rule) -> impl Iterator<Item = (&str, &str)> {
    rule.threat.iter().flat_map(|threat| {
        let techniques = threat.technique.iter().flat_map(|technique| {
            let subs = technique.subtechnique.iter().map(|sub| (sub.id.as_str(), sub.name.as_str()));
            std::iter::once((technique.id.as_str(), technique.name.as_str())).chain(subs)
        });
        std::iter::once((threat.tactic.id.as_str(), threat.tactic.name.as_str())).chain(techniques)
    })
}

fn fold(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Matches with one point of return: linear for a fixed number of `*`, never exponential.
fn wildcard(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_p, star_t)) = star else { return false };
                star = Some((star_p, star_t + 1));
                p = star_p + 1;
                t = star_t + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
        assert!(matches("ta0008", "TA0008"));
        assert!(!matches("TA000", "TA0008"));
        assert!(matches("*mshta*", "Network Connection via Mshta"));
        assert!(matches("T1218.???", "T1218.005"));
        assert!(!matches("T1218.???", "T1218"));
        assert!(matches("*a*b*c", "xxaxxbxxabc"));
        assert!(!matches("*a*b*c", "xxaxxbxxab"));
        assert!(matches("", "") && matches("*", "") && matches("**", "a"));
        assert!(!matches("", "a") && !matches("?", ""));
        assert!(matches("ÄRGER", "ärger"));
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
    }
}
