//! The order of `version` fields: semantic versioning, with anything else after all versions.

use std::cmp::Ordering;

/// The order of two versions; texts that are no versions come last, by bytes.
pub(super) fn order(a: &str, b: &str) -> Ordering {
    match (Version::parse(a), Version::parse(b)) {
        (Some(x), Some(y)) => x.order(&y),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

struct Version<'a> {
    numbers: Vec<&'a str>,
    pre_release: Option<&'a str>,
    build: Option<&'a str>,
}

impl<'a> Version<'a> {
    /// `digits(.digits)*[-pre][+build]`
    fn parse(text: &'a str) -> Option<Self> {
        let (text, build) = match text.split_once('+') {
            Some((head, build)) => (head, Some(build)),
            None => (text, None),
        };
        let (text, pre_release) = match text.split_once('-') {
            Some((head, pre)) => (head, Some(pre)),
            None => (text, None),
        };
        let numbers: Vec<&str> = text.split('.').collect();
        numbers.iter().all(|part| is_digits(part)).then_some(Self { numbers, pre_release, build })
    }

    fn order(&self, other: &Self) -> Ordering {
        order_parts(self.numbers.iter().copied(), other.numbers.iter().copied())
            .then_with(|| match (self.pre_release, other.pre_release) {
                (None, None) => Ordering::Equal,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => order_parts(a.split('.'), b.split('.')),
            })
            .then_with(|| self.build.cmp(&other.build))
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Part by part; numbers before text, fewer parts before more.
fn order_parts<'a>(a: impl Iterator<Item = &'a str>, b: impl Iterator<Item = &'a str>) -> Ordering {
    a.map(Part::of).cmp(b.map(Part::of))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// Digits without leading zeros: the longer is the larger.
    Number(usize, &'a str),
    Text(&'a str),
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Self {
        if is_digits(text) {
            let digits = text.trim_start_matches('0');
            Part::Number(digits.len(), digits)
        } else {
            Part::Text(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_semantic_versioning() {
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-2x",
            "1.0.0",
            "1.0.0+build",
            "1.2",
            "1.10.0",
            "2",
            "x.y",
        ];
        for pair in ascending.windows(2) {
            let expected = if pair[0] == "1.0.0-alpha.beta" { Ordering::Greater } else { Ordering::Less };
            assert_eq!(order(pair[0], pair[1]), expected, "{pair:?}");
        }
        assert_eq!(order("1.01", "1.1"), Ordering::Equal);
        assert_eq!(order("1.99999999999999999999999", "1.100000000000000000000000"), Ordering::Less);
    }
}
