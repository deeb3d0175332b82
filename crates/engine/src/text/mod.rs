//! Tests on text: wildcard patterns and Lucene's regular expressions.

mod fold;
mod lucene;
mod regex;
mod wildcard;

pub use fold::{Fold, equal_unicode_fold, unicode_lower};
pub use regex::{Regex, RegexError};
pub use wildcard::Wildcard;
