//! The reference interpreter: the plainest evaluation of an EQL query that there can be, to judge the engine by.
//!
//! It walks the syntax tree for every event and shares nothing with the columnar engine but the tree and the names of
//! the field types. The rules below are the contract between the two; where they are silent, the code here decides.
//!
//! # Values of a field
//!
//! A field's values are all scalars found at its dotted path, in document order: nested objects, dotted keys and any
//! mixture of them are the same path; arrays (of arrays, of objects) are flattened; nulls vanish. A field with no
//! value is missing. Each value then takes the field's type:
//!
//! | type | string | number | boolean |
//! |---|---|---|---|
//! | keyword | as it is | its text | `true`, `false` |
//! | long | numeric text¹, then as a number | `i64`, else `u64`; fractions are cut toward zero; out of range: dropped | dropped |
//! | double | numeric text¹, then as a number | `f64`; not finite: dropped | dropped |
//! | boolean | `true`; `false` and the empty string | dropped | as it is |
//! | date | date text²; else numeric text¹, then as a number | milliseconds since the epoch, fractions cut; out of range of `i64` nanoseconds: dropped | dropped |
//! | ip | an address, no zone id; an IPv4-mapped IPv6 address is IPv4; else dropped | dropped | dropped |
//! | version | as it is | dropped | dropped |
//! | dynamic | as it is | as it is | as it is |
//!
//! ¹ After trimming white space: `[+-]? (digits [. digits*] | . digits) ([eE] [+-]? digits)?`. Whole numbers are read
//! exactly as `i64`, then `u64`; everything else as `f64`.
//!
//! ² After trimming: `YYYY-MM-DD`, then optionally `T`, `t` or a space and `HH:MM[:SS[.digits]]` (a comma may stand
//! for the point; digits after the ninth are cut), then optionally `Z`, `z`, `±HH`, `±HHMM` or `±HH:MM`. No zone means
//! UTC. Second 60 is read as 59. Hour 24 and impossible days are not dates.
//!
//! The *text* of a value: a whole number in decimal; a double as `serde_json` prints it (`5.0`, `0.1`, `1e30`);
//! `true`, `false`; an address as `std` prints it; a date as `jiff::Timestamp` prints it (`2024-01-02T03:04:05.6Z`).
//!
//! # Conditions, leaves, null
//!
//! `and`, `or` and `not` that are reached from the root of a condition through `and`, `or` and `not` alone are the
//! *upper* part. `a != b` there is `not (a == b)`, `a not in (…)` is `not (a in (…))`. Everything below is a *leaf*.
//!
//! - A leaf that names a field is two-valued. It holds if it evaluates to `true` for some combination of its fields'
//!   values: each field takes each of its values, or null if it is missing; a field named twice takes the same value
//!   in both places. Null, `false`, an error, and any value that is not boolean do not hold. More than
//!   [`MAX_COMBINATIONS`] combinations: the leaf does not hold.
//! - A leaf without a field is a constant, and keeps its null (errors are null): the upper part combines by Kleene's
//!   logic (`not null` is null, `null or true` is true), and a null at the root is no match. For the engine: push
//!   `not` down to the leaves; a constant null is false in either polarity.
//! - Inside a leaf: functions, arithmetic, patterns and orderings give null if an operand is null (exceptions in the
//!   functions' table); `not`, `and`, `or` follow Kleene. `==` is true if both sides are null, false if one side is
//!   the literal `null` and the other is not null, null if otherwise one side is null; `!=` is its `not`. `in` is null
//!   if the subject is null, and ignores nulls in its list. Nothing short-circuits: an error anywhere
//!   in the leaf (overflow, division by zero, `number("x")`, `between` out of order, a bad CIDR block or regular
//!   expression) ends that combination, whatever stands around it.
//!
//! # Comparisons
//!
//! By the kinds of the two values, in either order. "no" means that `==` and the orderings are all false.
//!
//! | | | rule |
//! |---|---|---|
//! | number | number | exact, across signed, unsigned and double; NaN: no |
//! | string | string | by bytes of UTF-8 |
//! | boolean | boolean | false < true |
//! | date | date | by nanoseconds |
//! | date | string | the string as date text² or whole milliseconds (as a date field reads it), else no |
//! | date | number | the number as milliseconds since the epoch (fractions cut), out of range: no |
//! | ip | ip | by the 16 bytes of the (mapped) IPv6 form |
//! | ip | string | `==`: the same address, or a CIDR block that contains it; orderings: an address, else no |
//! | version | version, string | by precedence³ |
//! | boolean | string | `==` on text; orderings: no |
//! | number of a plain long or double field | string | the string as numeric text¹, then as numbers; else no |
//! | any other number | string, version | `==` on text; orderings: no |
//! | anything else | | no |
//!
//! ³ `digits(.digits)*[-pre][+build]`: numbers part by part, fewer parts before more; a pre-release before none, its
//! dotted parts numerically where both are digits, digits before text, text by bytes, fewer before more; then the build as bytes, none
//! first. Whatever is not of this form comes after all that are, by bytes. `==` is equality of the text.
//!
//! `in` is `==` with each element of the list; `in~` folds case where both are strings.
//!
//! # Patterns and case
//!
//! `:`, `like`, `like~`, `regex`, `regex~` test strings, versions, and numbers and booleans of a *dynamic* plain field
//! by their text. Other values (numbers of typed fields, dates, addresses, computed numbers) never match, without being null.
//! Wildcards work on whole code points: `*` any number, `?` exactly one, line breaks included. A regular expression is
//! Lucene's with all optional operators, also on computed values; `regex~` folds character ranges too.
//!
//! Without case: where the subject is a plain field, ASCII letters are folded. Where it is computed, and inside the
//! `~` functions, every character is replaced by its lower case if that is a single character.
//!
//! # Functions
//!
//! Offsets and lengths are UTF-16 units; half of a surrogate pair cut off by `substring` or `between` becomes U+FFFD.
//! A string argument must be a string (or version), else the result is null; any null argument gives null, but:
//!
//! | function | |
//! |---|---|
//! | `add`, `subtract`, `multiply`, `divide`, `modulo`, and their operators, `-x` | not numbers: null. Both whole: exact, an error if two signed operands leave `i64` or, with an unsigned one, the result fits neither `i64` nor `u64`; `/` and `%` by zero are errors. Otherwise `f64` |
//! | `between` | an empty string or delimiter gives the string itself; no hit gives `""`; greedy end before start: error |
//! | `cidrMatch` | address or string (unparsable: null); blocks are strings, a bare address is no block: error |
//! | `concat`, `string` | the text of any value |
//! | `indexOf` | null where there is no hit; null start is 0, negative start is 0, a start that is not whole: error |
//! | `number` | null base is no base. No base: `0x` and hexadecimal digits, else as base 10. Base 16: the `0x` is optional. Base 10: exactly `i64` text, else numeric text¹ as a double, else an error. Other bases (2 to 36): `i64` text, else an error. A base that is not whole or out of range: error |
//! | `stringContains` | empty string or needle: false; except that `stringContains(field, "")` with a plain field is true |
//! | `substring` | null start gives the string; null end is its length; positions that are not whole: error |
//! | `wildcard` | as `like` |
//!
//! # Order, keys, sequences, samples
//!
//! Events are ordered by time (none last), tiebreaker (none last), arrival. An event without a time takes no part in
//! sequences. A join key is every combination of the key fields' values (equal ones once); two numbers are the same key
//! if they are equal, versions are strings, and values of other different kinds never are. Order of keys: null,
//! booleans, numbers, strings by bytes, dates, addresses; part by part. An event with more than [`MAX_COMBINATIONS`] keys is no candidate.
//!
//! Sequences follow section 6 of the reference to the letter; several items missing at one end are taken together
//! (the latest hit of any, the earliest hit of any). Samples: keys ascending; per key the items are filled in order
//! with the earliest event not yet used in this sample, going back where an item finds none; with more than one sample
//! a key, the next combinations in that same search order.

/// The most combinations of field values that one leaf, or one join key, of one event may have.
pub const MAX_COMBINATIONS: usize = 65_536;
