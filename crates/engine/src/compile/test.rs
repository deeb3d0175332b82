use std::sync::Arc;

use eqlipse_batch::ValueRef;
use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::CompareOp;

use crate::script::{Scalar, Script, equal, is_one_of, order};
use crate::text::{Fold, Regex, Wildcard};

/// A question about one value of one field. A leaf of the graph holds for an event if any of the field's values
/// passes its test.
#[derive(Debug)]
pub enum Test {
    /// Any value does.
    Exists,
    /// `value op constant`; never `!=`, which is a `not`.
    Compare(CompareOp, Scalar<'static>),
    /// `value in (…)`. Texts are folded already.
    OneOf(Vec<Scalar<'static>>, Fold),
    /// Any of the patterns matches the whole text.
    Text(Vec<FieldPattern>),
    /// A computed expression over the value, slot 0.
    Script(Script),
}

/// A pattern on a field's text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldPattern {
    /// The text itself, folded already.
    Exact(String, Fold),
    /// A wildcard pattern, folded already.
    Wildcard(Wildcard, Fold),
    /// A Lucene regular expression, case already built in.
    Regex(Arc<Regex>),
}

impl FieldPattern {
    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            FieldPattern::Exact(exact, fold) => fold.apply(text) == *exact,
            FieldPattern::Wildcard(pattern, fold) => pattern.matches(&fold.apply(text)),
            FieldPattern::Regex(regex) => regex.matches(text),
        }
    }
}

impl FieldPattern {
    fn write_key(&self, key: &mut Vec<u8>) {
        match self {
            FieldPattern::Exact(exact, fold) => write_text(key, b'e', *fold, exact),
            FieldPattern::Wildcard(pattern, fold) => write_text(key, b'w', *fold, &pattern.to_string()),
            FieldPattern::Regex(regex) => write_text(key, b'r', Fold::None, &format!("{regex:?}")),
        }
    }
}

/// The length stands before the text, so that no text can look like the next one's beginning.
fn write_text(key: &mut Vec<u8>, kind: u8, fold: Fold, text: &str) {
    key.extend_from_slice(&[kind, fold as u8]);
    key.extend_from_slice(&text.len().to_le_bytes());
    key.extend_from_slice(text.as_bytes());
}

impl Test {
    /// Whether a value of a field of type `ty` passes. The matcher has faster ways for most tests; this is what they
    /// must agree with.
    pub fn holds(&self, ty: FieldType, value: ValueRef<'_>) -> bool {
        self.holds_scalar(ty, &Scalar::of_field(ty, value))
    }

    pub(crate) fn holds_scalar(&self, ty: FieldType, scalar: &Scalar<'_>) -> bool {
        match self {
            Test::Exists => true,
            Test::Compare(CompareOp::Eq, constant) => equal(scalar, constant),
            Test::Compare(op, constant) => order(scalar, constant).is_some_and(|found| match op {
                CompareOp::Lt => found.is_lt(),
                CompareOp::Le => found.is_le(),
                CompareOp::Gt => found.is_gt(),
                CompareOp::Ge => found.is_ge(),
                CompareOp::Eq | CompareOp::Ne => false,
            }),
            Test::OneOf(list, fold) => is_one_of(scalar, list, *fold),
            Test::Text(patterns) => {
                let text = match scalar {
                    Scalar::Str(_) | Scalar::Version(_) => scalar.text(),
                    Scalar::Date(_) | Scalar::Ip(_) | Scalar::Null => None,
                    _ if ty == FieldType::Dynamic => scalar.text(),
                    _ => None,
                };
                text.is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(&text)))
            }
            Test::Script(script) => script.holds(std::slice::from_ref(scalar)),
        }
    }

    /// Writes bytes that differ between tests that differ. Tests of texts, which are nearly all, have a cheap way.
    pub(super) fn write_key(&self, key: &mut Vec<u8>) {
        match self {
            Test::Text(patterns) => {
                key.push(b't');
                patterns.iter().for_each(|pattern| pattern.write_key(key));
            }
            Test::OneOf(items, fold) if items.iter().all(|item| matches!(item, Scalar::Str(_))) => {
                key.push(b'o');
                items.iter().filter_map(Scalar::as_str).for_each(|text| write_text(key, b'o', *fold, text));
            }
            other => key.extend_from_slice(format!("d{other:?}").as_bytes()),
        }
    }

    /// Whether the leaf holds for an event without the field.
    pub fn holds_absent(&self) -> bool {
        matches!(self, Test::Script(script) if script.holds(&[Scalar::Null]))
    }
}
